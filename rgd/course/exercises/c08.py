"""Chapter 8: classifiers that know the time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rgd.course import worlds
from rgd.course.task import Answer, Task, close, exercise, must, ratios
from rgd.guidance import grad_log_prob

DOUBLE = torch.float64


@exercise("time-best", points=2, minutes=10)
def time_best(task: Task, best_accuracy: Answer) -> None:
    """The best rule is the sign along m, and errs where the noise reaches over the middle."""

    def ask(low: float, high: float) -> None:
        a = torch.tensor([task.uniform(low, high) for _ in range(3)], dtype=DOUBLE)
        z = torch.tensor([task.uniform(*some) for some in ((0.3, 0.6), (0.7, 1.1), (1.2, 1.6))], dtype=DOUBLE)
        length, share = z * ((1 - a) / a).sqrt(), torch.special.ndtr
        right = share(z)
        mistakes = {
            "That is how often the best classifier is wrong.": 1 - right,
            "The image is multiplied by the root of alpha_bar.": share(z * a.sqrt()),
            "1 - alpha_bar is the variance of the noise; take its standard deviation.": share(z / (1 - a).sqrt()),
            "The border is halfway between the two means: how far is that from each?": share(2 * z),
            "erf is not the share of normal numbers below something, nor half of it: mind the root of 2.":
                share(z * 2**0.5),
            "The noise has a standard deviation too, which is not one.": share(length * a.sqrt()),
            "The clean images lie at m; at level t they are nearer to each other.": share(length / (1 - a).sqrt()),
            "That is how sure one may be of an image at a mean; asked for is how often one is right.":
                (2 * z**2).sigmoid(),
            "That is the share of images on one side of the border twice over.": 2 * right - 1,
        }  # fmt: skip
        given = list(zip(length.tolist(), a.tolist()))
        ratios(best_accuracy, given, right.tolist(), {said: value / right for said, value in mistakes.items()})

    with task.check("in between", "Only the place along m tells the classes apart. How is it distributed at level t?"):
        ask(0.3, 0.7)
    with task.check("in strong noise", "How far are the means from the border, in standard deviations of the noise?"):
        ask(0.01, 0.1)
    with task.check("in weak noise", "Whatever the level, it is one formula: of the length and of alpha_bar."):
        ask(0.9, 0.97)


def _left(logits: Tensor, y: Tensor) -> Tensor:
    """What the logits tell about the label, in bits."""
    p = logits.double().softmax(1)[torch.arange(len(y)), y]
    return (logits.shape[1] * p).log2().mean()


def _bits(task: Task, bits: Answer) -> None:
    """A classifier that knows something, of a few classes, and of ten."""
    answers, wanted = [], []
    mistakes: dict[str, list[Any]] = {}
    for K, dtype in ((task.integer(3, 9), torch.float32), (10, DOUBLE)):
        y, n = task.integers(0, K, 30), 30
        logits = 2 * torch.nn.functional.one_hot(y, K).to(dtype) + task.normal(n, K, dtype=dtype)
        p = logits.double().softmax(1)
        of_y, right = p[torch.arange(n), y], _left(logits, y)
        answers.append(bits(logits, y))
        wanted.append(right)
        for said, value in {
            "Those are nats, of which one has 1.44 bits.": right * math.log(2),
            "There are as many classes as logits, and not always ten.": math.log2(10) + of_y.log2().mean(),
            "Average over the images; that is their sum.": right * n,
            "That is the entropy of the label less that of the classifier's answer, be it right or wrong.":
                math.log2(K) + (p * p.log2()).sum(1).mean(),
            "Average the logarithms, and not the probabilities.": math.log2(K) + of_y.mean().log2(),
            "That is what is not known; asked for is what is.": -of_y.log2().mean(),
            "That is the bound with its sign turned: what was to be known, less what is still not.": -right,
            "Those are digits, logarithms to the base ten.": right * math.log10(2),
            "Logits are not yet logarithms of probabilities.":
                math.log2(K) + logits.double()[torch.arange(n), y].mean() / math.log(2),
        }.items():  # fmt: skip
            mistakes.setdefault(said, []).append(value)
    close(answers, wanted, 1e-4, mistakes)


def _drowned(task: Task, half_drowned: Answer) -> None:
    """Levels close enough to each other for another threshold to be another level."""
    answers, wanted = [], []
    mistakes: dict[str, list[int]] = {}
    for K in (task.integer(4, 7), task.integer(14, 20)):
        y, n = task.integers(0, K, 25), 25
        knows = torch.nn.functional.one_hot(y, K) + 0.2 * task.normal(n, K, dtype=DOUBLE)
        levels = (task.integer(1, 9) + task.integers(3, 25, 60).cumsum(0)).tolist()
        logits = {t: knows * s for t, s in zip(levels, torch.logspace(1, -0.7, 60, dtype=DOUBLE))}
        left = torch.stack([_left(f, y) for f in logits.values()])

        def below(most: float, left: Tensor = left) -> int:
            return int((left < most).nonzero()[0])

        k = below(math.log2(K) / 2)
        answers.append(half_drowned(logits, y))
        wanted.append(levels[k])
        for said, value in {
            "Return the level, not its number in the list.": k,
            "That is the last level at which half of it is left.": levels[k - 1],
            "What there was to know depends on how many classes there are.": levels[below(math.log2(10) / 2)],
            "Compare bits with bits: half of the entropy in nats is another number.": levels[below(math.log(K) / 2)],
            "Half of the label is not half a bit.": levels[below(0.5)],
            "That is the noisiest level.": levels[-1],
        }.items():  # fmt: skip
            mistakes.setdefault(said, []).append(value)
    close(answers, wanted, 1e-9, mistakes)


@exercise("time-bits", points=3, minutes=15)
def time_bits(task: Task, bits: Answer, half_drowned: Answer) -> None:
    """The entropy of the label less the cross-entropy, over the logarithm of two."""
    with task.check("a classifier that knows something", "The bound is in the text; put the cross-entropy into it."):
        _bits(task, bits)
    with task.check("one that misleads", "Who is sure of a wrong class knows less than nothing: let it be negative."):
        y = task.integers(0, 6, 20)
        wrong = task.uniform(4, 8) * torch.nn.functional.one_hot((y + 1) % 6, 6)
        answers = [bits(wrong, y), bits(torch.zeros(20, 6), y)]
        close(answers, [_left(wrong, y), 0.0], 1e-4)
    with task.check(
        "half of it drowned", "Where does the bound fall below half of the label's entropy for the first time?"
    ):
        _drowned(task, half_drowned)


@exercise("time-guess", points=3, minutes=20)
def time_guess(task: Task, guess_time: Answer) -> None:
    """Images are made of a mean square that lies a little beside that of a known level."""

    def ask(shape: tuple[int, ...], mean_square: float) -> None:
        schedule = worlds.schedule(task)
        a, T = schedule.alpha_bar, schedule.T
        t = task.integers(T // 6, T - T // 6, 7)
        table = a * mean_square + 1 - a
        square = table[t] + task.uniform(-0.3, 0.3) * (table[t + 1] - table[t])
        x = task.uniform(0.3, 0.6) + task.normal(7, *shape, dtype=DOUBLE)
        xt = x * (square / x.flatten(1).square().mean(1)).sqrt().reshape(-1, 1, 1, 1)
        others = {
            "Every image has a mean square of its own; that is the mean over the batch.":
                (table, square.mean().expand(7)),
            "The square of a length is a sum over entries; compare means with means.":
                (table, square * xt[0].numel()),
            "Compare squares: that is the root of the mean square.": (table, square.sqrt()),
            "That is the variance of the entries; their mean counts too.": (table, xt.flatten(1).var(1)),
            "Take the mean square of clean images that is handed over.": (a * 0.83 + 1 - a, square),
            "The image's mean square is multiplied by alpha_bar, not by its root.":
                (a.sqrt() * mean_square + 1 - a, square),
            "That is the mean square of the image's share alone; the noise has its own.": (a * mean_square, square),
            "What is handed over is the mean square: do not square it again.": (a * mean_square**2 + 1 - a, square),
        }  # fmt: skip
        mistakes: dict[str, Any] = {
            said: (here[:, None] - levels).abs().argmin(1) for said, (levels, here) in others.items()
        }
        mistakes["That is one level beside: levels are counted from 0."] = t + 1
        mistakes["That is one level less noisy than the nearest."] = t - 1
        mistakes["The level is a whole number from 0 to T - 1, and not a share of T."] = t / T
        close(guess_time(xt, schedule, mean_square), t, 1e-9, mistakes)

    with task.check("dark images", "What is the mean square of x_t on average? Go through all of the levels."):
        ask((1, 5, 4), task.uniform(0.05, 0.5))
    with task.check(
        "bright images of three channels", "For a mean square above one it falls with t: ask for the nearest."
    ):
        ask((3, 2, 4), task.uniform(2, 5))
    with task.check("beyond every level", "Where no level is as far out, the nearest is the first or the last."):
        schedule, ones = worlds.schedule(task), torch.ones(2, 1, 3, 3, dtype=DOUBLE)
        xt = ones * torch.tensor([1.2, 0.1], dtype=DOUBLE).reshape(-1, 1, 1, 1)
        close(guess_time(xt, schedule, task.uniform(0.2, 0.7)), [schedule.T - 1, 0], 1e-9)


def _written(given: Any) -> Any:
    """A function as it was returned: handed copies, no gradient would find its way back."""
    return given.written if isinstance(given, Answer) else given


@exercise("time-temperature", points=3, minutes=15)
def time_temperature(task: Task, cooled: Answer) -> None:
    """Softmax of the logits over tau, image by image, whatever is added to all logits of an image."""

    def ask(shape: tuple[int, ...], n: int, K: int) -> None:
        network, tau = worlds.classifier(task, math.prod(shape), K), _temperature(task)
        xt, t = task.normal(n, *shape, dtype=DOUBLE), task.integers(1, 900, n)
        f, of_t = network(xt, t).detach(), tau(t)[:, None]
        mistakes = {
            "The hotter the less sure: logits are divided by a temperature.": f * of_t,
            "It is logits that are divided, not probabilities.": f.softmax(1) / of_t,
            "Return logits, and not probabilities.": (f / of_t).softmax(1),
            "Every image has its own level, and a temperature of its own; that is the mean over the batch.":
                f / of_t.mean(),
            "Every image has its own level, and a temperature of its own; that is the first one's.": f / of_t[0],
            "That is the temperature of one level before: ask for it at t.": f / tau(t - 1)[:, None],
            "That is the network as it was.": f,
            "Divide once.": f / of_t**2,
        }  # fmt: skip
        if n == K:
            mistakes["A temperature belongs to a row, and PyTorch lays it along the columns: reshape it."] = f / of_t.T
        weights = [p.clone() for p in network.parameters()]
        given = cooled(network, tau)(xt, t)
        same = all(torch.equal(p, before) for p, before in zip(network.parameters(), weights))
        must(same, "The network's weights have changed; divide its answers instead.")
        must(getattr(given, "shape", None) == f.shape, f"Logits are of the shape {tuple(f.shape)}.")
        said = {hint: value.log_softmax(1) for hint, value in mistakes.items()}
        close(given.log_softmax(1), (f / of_t).log_softmax(1), 1e-4, said)

    with task.check("each image at its own level", "What `tau(t)` says is one number for each image, for all classes."):
        ask((1, 2, 2), 6, 4)
    with task.check("as many images as classes", "Reshape what `tau(t)` says to (-1, 1)."):
        ask((3, 1, 2), 5, 5)
    with task.check(
        "as a guide", "A guide asks for its gradient: let nothing detach the logits from xt (no `no_grad`)."
    ):
        network, tau = worlds.classifier(task, 4, 3), _temperature(task)
        xt, t, y = task.normal(6, 1, 2, 2, dtype=DOUBLE), task.integers(1, 900, 6), task.integers(0, 3, 6)
        at = xt.clone().requires_grad_()
        f = network(at, t)
        slopes = torch.stack([torch.autograd.grad(f[:, k].sum(), at, retain_graph=True)[0] for k in range(3)], 1)
        weights = torch.nn.functional.one_hot(y, 3) - (f.detach() / tau(t)[:, None]).softmax(1)
        right = torch.einsum("bk,bkchw->bchw", weights / tau(t)[:, None], slopes)
        close(grad_log_prob(_written(cooled(network, tau)))(xt, t, y), right, 1e-4)


def _temperature(task: Task) -> Callable[[Tensor], Tensor]:
    """Of each level, (B,) as t is: between 0.5 and 5."""
    rate = task.uniform(0.02, 0.05)
    return lambda t: 0.5 + 4.5 * (rate * t.double()).sin().square()
