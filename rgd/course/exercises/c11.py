"""Chapter 11: gradients people can read."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rgd import schedule as schedules
from rgd.attacks import Classifier
from rgd.course import worlds
from rgd.course.task import Answer, Task, close, exercise, must, ratios
from rgd.guidance import Gradient, grad_log_prob
from rgd.measure import gradients
from rgd.mixtures import Mixture
from rgd.schedule import Schedule, per_image

HERE = 784  # dimensions of an image of this chapter


@exercise("read-strangers", points=2, minutes=10)
def read_strangers(task: Task, typical_cosine: Answer, images_needed: Answer) -> None:
    """The square of a random cosine is 1 / D on average, in any number of dimensions."""
    dims = [task.integer(*some) for some in ((3, 12), (50, 700), (900, 20_000))]
    with task.check("two random directions", "A unit vector's squared entries add up to one. What is each on average?"):
        mistakes: dict[str, Any] = {
            "That is the mean of its square; the root is still to be taken.": [D**-0.5 for D in dims],
            "That is the mean of its size; asked for is the root of the mean square.": (2 / math.pi) ** 0.5,
            "The mean is zero; asked for is the root of the mean square.": 0.0,
            "That grows with D, and no cosine is larger than one.": dims,
            "D is handed over; that is right for this chapter's images alone.": [(D / HERE) ** 0.5 for D in dims],
        }
        ratios(typical_cosine, [(D,) for D in dims], [D**-0.5 for D in dims], mistakes)
    with task.check(
        "images that are needed", "Of n images the mean spreads as one cosine does, over the root of n. Solve for n."
    ):
        given = [(task.uniform(0.1, 0.9) * 2 * D**-0.5, D) for D in dims]
        wanted = [4 / (D * mean**2) for mean, D in given]
        mistakes = {
            "At that number the mean is as large as its standard error; it is to be twice as large.": 0.25,
            "Twice the standard error, not 1.96 times.": 1.96**2 / 4,
            "The standard error falls with the root of n: square what you have.": [n**-0.5 for n in wanted],
            "One cosine spreads by your first answer: put it in.": dims,
            "The typical cosine is to be squared, too.": [D**0.5 for D in dims],
            "D is handed over; that many are needed in this chapter's dimensions.": [D / HERE for D in dims],
            "Return a real number; do not round it.": [math.ceil(n) / n for n in wanted],
        }
        ratios(images_needed, given, wanted, mistakes)


def _rings(side: int, ring: Callable[[Tensor], Tensor], f: Tensor | None = None) -> Tensor:
    """How many frequencies are in each ring, by a rule for their lengths; f are those of one axis."""
    f = torch.fft.fftfreq(side, 1 / side, dtype=torch.float64) if f is None else f
    found = ring((f[:, None] ** 2 + f**2).sqrt()).long().flatten()
    return found.bincount(minlength=side // 2 + 1)[: side // 2 + 1].double()


@exercise("read-white", points=2, minutes=15)
def read_white(task: Task, white_spectrum: Answer) -> None:
    """A single white pixel has the same energy at every frequency."""

    def ask(side: int) -> None:
        pixel = torch.zeros(1, 1, side, side, dtype=torch.float64)
        pixel[0, 0, 1, 2] = 1
        right, last = gradients.spectrum(pixel), side // 2
        inner = _rings(side, torch.round)
        quarter = _rings(side, lambda length: length.round().clamp_max(last), torch.arange(last + 1).double())
        mistakes = {
            "Rings are not all as large: how many frequencies are in each?": torch.full_like(right, 1 / (last + 1)),
            "Those are numbers of frequencies. Shares of them add up to one.": right * side**2,
            "The frequencies in the corners go to the last ring.": inner / side**2,
            "The corners count, too: they go to the last ring.": inner / inner.sum(),
            "Lengths are rounded to the nearest whole number, not down.":
                _rings(side, lambda length: length.clamp_max(last)) / side**2,
            "Along each axis frequencies run to both sides of zero.": quarter / quarter.sum(),
            "A ring's length is only about the number of frequencies in it. Count them.":
                torch.arange(last + 1) / torch.arange(last + 1).sum(),
        }  # fmt: skip
        close(white_spectrum(side), right, 1e-4, mistakes)

    with task.check("even sides", "White noise has as much energy at one frequency as at any other."):
        ask(2 * task.integer(4, 9))
        ask(2 * task.integer(9, 14))
    with task.check("odd sides", "Take the frequencies of an image of side H as `spectrum` does, and its rings."):
        ask(2 * task.integer(4, 9) + 1)
        ask(2 * task.integer(15, 24) + 1)


def _between(classifier: Classifier, xt: Tensor, t: Tensor, classes: int) -> Tensor:
    """The gradient of the log odds of each class against the last, (classes - 1, *xt.shape)."""
    xt, t = xt.clone().requires_grad_(), t.clone()
    logits = classifier(xt, t)
    fits = isinstance(logits, Tensor) and logits.shape == (len(xt), classes)
    must(fits, "What you make takes (xt, t) and returns logits, (B, classes).")
    must(logits.requires_grad, "No gradient flows from its logits to xt.")
    odds = (logits[:, :-1] - logits[:, -1:]).sum(0)
    return torch.stack([torch.autograd.grad(each, xt, retain_graph=True)[0] for each in odds])


@exercise("read-average", points=3, minutes=15)
def read_average(task: Task, averaged: Answer) -> None:
    """The average of log probabilities has the average slope between any two classes."""

    def ask(classes: int, shape: tuple[int, ...], n: int) -> None:
        a, b = (worlds.classifier(task, math.prod(shape), classes).requires_grad_(False) for _ in range(2))
        xt, t = task.normal(n, *shape, dtype=torch.float64), task.integers(0, 900, n)
        first, second = _between(a, xt, t, classes), _between(b, xt, t, classes)

        def mean_p(xt: Tensor, t: Tensor) -> Tensor:
            return (a(xt, t).softmax(1) + b(xt, t).softmax(1)) / 2

        def log_mean_p(xt: Tensor, t: Tensor) -> Tensor:
            return mean_p(xt, t).log()

        mistakes = {
            "The average of two probabilities does not have the average slope. What of them has?":
                _between(log_mean_p, xt, t, classes),
            "Those are probabilities. Logits are wanted.": _between(mean_p, xt, t, classes),
            "That is the sum, and twice as long as the average.": first + second,
            "That is the first one alone.": first,
            "That is the second one alone.": second,
            "Through the second one no gradient flows.": first / 2,
            "Through the first one no gradient flows.": second / 2,
        }  # fmt: skip
        made = averaged(a, b)
        mine = made.written if isinstance(made, Answer) else made
        must(callable(mine), "Return a function of (xt, t).")
        close(_between(mine, xt, t, classes), (first + second) / 2, 1e-5, mistakes)

    hint = "What is to be averaged, so that the slope between two classes is: logits, probabilities, or their logs?"
    with task.check("points in the plane", hint):
        ask(3, (1, 1, 2), 6)
    with task.check("images of three channels, more classes", hint):
        ask(5, (3, 2, 3), 4)


def _turned(task: Task) -> Gradient:
    """A gradient that is no classifier's."""
    turn = task.uniform(0.5, 2)

    def gradient(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return turn * xt.cos() + per_image(y.double() - 0.7, xt) * xt.sin() / per_image(1 + t.double() / 300, xt)

    return gradient


@exercise("read-wrong-label", points=3, minutes=20)
def read_wrong_label(task: Task, explained_towards: Answer, kept: Answer) -> None:
    """2 <eps_hat - eps, sigma g> - sigma^2 ||g||^2; of labels that know nothing the first is zero."""

    def ask(world: Mixture, gradient: Gradient, n: int) -> None:
        x0, _, t, eps = worlds.points(task, world, n)
        labels = task.integers(0, 3, n)

        def explained(g: Tensor, apart: Tensor) -> Tensor:
            return 2 * (apart * g).flatten(1).sum(1) - g.flatten(1).square().sum(1)

        def parts(schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            xt = schedule.q_sample(x0, t, eps)
            return schedule.at("sigma", t, xt), gradient(xt, t, labels), world(xt, t).eps - eps

        sigma, g, apart = parts(world.schedule, t)
        xt, here = world.schedule.q_sample(x0, t, eps), schedules.linear(1000)
        page, page_g, page_apart = parts(here, t)
        earlier, earlier_g, earlier_apart = parts(world.schedule, t - 1)
        right, inner = explained(sigma * g, apart), (apart * sigma * g).flatten(1).sum(1)
        mistakes = {
            "What the denoiser says must not know the label.": explained(sigma * g, world(xt, t, labels).eps - eps),
            "Is the sign right? The gradient is held against what is said minus the noise.":
                explained(sigma * g, -apart),
            "The inner product counts twice.": right - inner,
            "The gradient's own energy is to be taken off.": 2 * inner,
            "That is the inner product alone.": inner,
            "The gradient is multiplied by sigma in both terms.": explained(g, apart),
            "The gradient is multiplied by sigma in its own energy, too.": 2 * inner - g.flatten(1).square().sum(1),
            "The gradient is multiplied by sigma, not by its square.": explained(sigma**2 * g, apart),
            "Sum over the entries of an image; that is their mean.": right / x0[0].numel(),
            "Each image has its own level: that is the noise of the first one.": explained(sigma[0] * g, apart),
            "The schedule is the denoiser's own, not this page's.": explained(page * page_g, page_apart),
            "The noise level is the denoiser's own; that sigma is of this page's schedule.": explained(page * g, apart),
            "That is one step earlier: all is asked at t.": explained(earlier * earlier_g, earlier_apart),
            "One number for each image; that is their mean.": right.mean().expand(n),
        }  # fmt: skip
        close(explained_towards(gradient, world, x0, t, eps, labels), right, 1e-5, mistakes)

    hint = "Noise the images, ask the denoiser and the gradient at xt, and put both into what the chapter calls so."
    with task.check("a classifier's gradient", hint):
        world = worlds.world(task)
        ask(world, grad_log_prob(worlds.classifier(task, 2, 3)), 9)
    with task.check("images of three channels, any gradient", hint):
        ask(worlds.world(task, shape=(3, 2, 4)), _turned(task), 5)
    with task.check("labels drawn at random", "What is the mean of eps_hat - eps, given xt alone?"):
        given = [(task.uniform(low, high),) for low, high in ((0.05, 0.3), (0.35, 0.65), (0.7, 0.95))]
        mistakes = {
            "Those that are right by chance are no help: drawn at random they count for nothing together.":
                [(1 - 0.9 * q) / (1 - q) for (q,) in given],
            "A label drawn at random costs nothing in this product: it only gives nothing.":
                [(1 - 2 * q) / (1 - q) for (q,) in given],
            "The labels enter the product once, so their share does, too.": [1 - q for (q,) in given],
            "That is the share that is lost.": [q / (1 - q) for (q,) in given],
            "That is what random labels give. The others are right.": 0.0,
            "That would be so if all labels were right.": [1 / (1 - q) for (q,) in given],
        }  # fmt: skip
        ratios(kept, given, [1 - q for (q,) in given], mistakes)
