"""Chapter 1: mixtures under noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rgd.course import worlds
from rgd.course.task import Answer, Task, close, exercise, must, number, ratios
from rgd.mixtures import Mixture, mixture
from rgd.schedule import Schedule

EARLIER = "That is one level earlier than t."
FIRST = "Each has its own level: that is the first one's."
ALONG = "PyTorch has laid the levels along the columns. They belong to the first dimension."


@exercise("mixtures-one", points=2, minutes=10)
def mixtures_one(task: Task, score_of_one: Answer) -> None:
    """A Gaussian stays one: its mean shrinks, and noise adds to its variance."""

    def ask(n: int, D: int, v: float) -> None:
        schedule, m, x = worlds.schedule(task), 1.5 * task.normal(D).double(), task.normal(n, D).double()
        t = task.integers(1, schedule.T, n)
        world = mixture(m.reshape(1, 1, 1, D), v, schedule)

        def score(t: Tensor) -> Tensor:
            return world.score(x.reshape(n, 1, 1, D), t).reshape(n, D)

        def by(a: Tensor) -> Tensor:
            return (a.sqrt() * m - x) / (a * v + 1 - a)

        flat = schedule.alpha_bar[t]
        a, right = flat[:, None], score(t)
        home, variance = a.sqrt() * m - x, a * v + 1 - a
        mistakes = {
            "The score leads home, towards the mean: turn it round.": -right,
            "Noise moves the mean too: by what is the clean point multiplied?": (m - x) / variance,
            "The mean is multiplied by what the clean point is multiplied by, which is not alpha_bar itself.":
                (a * m - x) / variance,
            "A factor of the point is in its variance twice.": home / (a.sqrt() * v + 1 - a),
            "What shrinks the point shrinks the variance of the data too.": home / (v + 1 - a),
            "The noise has a variance of its own, which adds to that of the data.": home / (a * v),
            "That is for data that are a single point. They have a variance of their own.": home / (1 - a),
            "The score has the variance below it, not the standard deviation.": home / variance.sqrt(),
            "v is the variance, not the standard deviation.": home / (a * v**2 + 1 - a),
            "The noise has the variance 1 - alpha_bar, not its root.": home / (a * v + (1 - a).sqrt()),
            "That is still to be divided by the variance.": home,
            "That is the score of clean data.": (m - x) / v,
            EARLIER: score(t - 1),
            FIRST: score(t[:1].expand(n)),
        }  # fmt: skip
        close(score_of_one(x, t, m, v, schedule), right, 1e-5, mistakes | ({ALONG: by(flat)} if n == D else {}))

    with task.check("points in the plane", "Which mean and which variance has xt? Then it is the score of a Gaussian."):
        ask(9, 2, task.uniform(0.1, 0.5))
    with task.check("as many points as dimensions", "Each point has its own level, which holds for all its entries."):
        D = task.integer(3, 7)
        ask(D, D, task.uniform(2, 4))


@exercise("mixtures-three", points=2, minutes=10)
def mixtures_three(task: Task, score_from_x0: Answer) -> None:
    """Tweedie's formula, with the noise that xt and x0 imply."""

    def ask(schedule: Schedule, xt: Tensor, x0_hat: Tensor, t: Tensor, right: Tensor) -> None:
        def by(a: Tensor) -> Tensor:
            return (a.sqrt() * x0_hat - xt) / (1 - a)

        flat = schedule.alpha_bar[t]
        signal, sigma, a = (schedule.at(name, t, xt) for name in ("signal", "sigma", "alpha_bar"))
        mistakes = {
            "The score points towards clean images: turn it round.": -right,
            "That is the noise. Tweedie's formula makes the score of it.": -sigma * right,
            "That is the noise with its sign turned. Which factor has it in Tweedie's formula?": sigma * right,
            "The difference is still to be divided by a variance. Which one?": sigma**2 * right,
            "Noise has multiplied the clean image by something.": (x0_hat - xt) / sigma**2,
            "The clean image is multiplied by the root of alpha_bar.": (a * x0_hat - xt) / sigma**2,
            "It is xt that stands alone. The clean image has the factor.": (x0_hat - signal * xt) / sigma**2,
            EARLIER: by(schedule.alpha_bar[t - 1].reshape(-1, 1, 1, 1)),
            FIRST: by(a[0]),
        }
        mistakes |= {ALONG: by(flat)} if len(t) == xt.shape[-1] else {}
        close(score_from_x0(xt, x0_hat, t, schedule), right, 1e-4, mistakes)

    with task.check("the best denoiser", "Which noise belongs to x0_hat? Put it into Tweedie's formula."):
        world = worlds.world(task)
        x0, _, t, eps = worlds.points(task, world, 9)
        xt = world.schedule.q_sample(x0, t, eps)
        ask(world.schedule, xt, world(xt, t).x0, t, world.score(xt, t))
    with task.check("a denoiser that errs", "Take x0_hat and the schedule as they are handed over; ask no world."):
        schedule = worlds.schedule(task)
        xt, x0_hat = (task.normal(4, 3, 2, 4, dtype=torch.float64) for _ in range(2))
        t = task.integers(1, schedule.T, 4)
        right = -schedule.eps_from_x0(xt, t, x0_hat) / schedule.at("sigma", t, xt)
        ask(schedule, xt, x0_hat, t, right)


def _total_variance(world: Mixture, x: Tensor, t: int) -> float:
    """Of the clean point, without a derivative: within the parts, whose posteriors are Gaussian, and between them."""
    parts = replace(world, labels=torch.arange(len(world.means)))
    share = parts.logits(x.reshape(1, 1, 1, -1), torch.tensor([t])).softmax(1)[0]
    a, v, m = world.schedule.alpha_bar[t], world.variances, world.means.flatten(1)
    kept = v / (a * v + 1 - a)
    mean = m + a.sqrt() * kept * (x - a.sqrt() * m)
    within, between = (1 - a) * kept.sum(1), (mean - share @ mean).square().sum(1)
    return float(share @ (within + between))


def _score(world: Mixture) -> Callable[[Tensor, Any], Tensor]:
    """As the page has it: points (B, D), or one (D,), at one level."""

    def score(x: Tensor, t: Any) -> Tensor:
        points = x.reshape(-1, 1, 1, world.variances.shape[1])
        return world.score(points, torch.as_tensor(t).expand(len(points))).reshape(x.shape)

    return score


@exercise("mixtures-unsure", points=4, minutes=25)
def mixtures_unsure(task: Task, total_variance: Answer) -> None:
    """The second half of Tweedie's formula."""

    def one(*given: Any) -> Tensor:
        found = number(total_variance(*given))
        must(found.numel() == 1, f"Return one number, the trace. The shape is {tuple(found.shape)}.")
        return found.reshape(())

    def ask(world: Mixture) -> None:
        schedule, D = world.schedule, world.variances.shape[1]
        given, wanted, wrong = [], [], dict[str, list[float]]()
        for _ in range(3):
            t = task.integer(schedule.T // 10, schedule.T // 2)
            x, a = task.normal(D, dtype=torch.float64), float(schedule.alpha_bar[t])
            given.append((_score(world), x, t, schedule))
            right, share = _total_variance(world, x, t), (1 - a) / a
            wanted.append(right)
            bent = (right / share - D) / (1 - a)  # the trace of the Hessian
            mistakes = {
                "The trace of the identity is the number of dimensions, not 1.": share * (1 + (1 - a) * bent),
                "The trace of the identity is 2 in the plane alone.": share * (2 + (1 - a) * bent),
                "What stands before the bracket is missing.": right / share,
                "What stands before the bracket is turned over.": right / share**2,
                "In the bracket stands 1 - alpha_bar, not its root.": share * (D + (1 - a) ** 0.5 * bent),
                "In the bracket the Hessian has a factor.": share * (D + bent),
                "The Hessian is added. Where the density is bent down, that makes the variance smaller.":
                    share * (D - (1 - a) * bent),
                "That is the trace of the Hessian alone.": bent,
                "That is the average over the entries; the trace is their sum.": right / D,
                "That is a standard deviation; asked for is the variance.": right**0.5,
                "That is the variance if the density were flat: the Hessian is missing.": share * D,
                EARLIER: _total_variance(world, x, t - 1),
            }  # fmt: skip
            for said, value in mistakes.items():
                wrong.setdefault(said, []).append(value / right)
        ratios(Answer(one), given, wanted, wrong)

    with task.check("one cloud", "Differentiate the score that is handed over, at x, and add up its diagonal."):
        ask(mixture(task.normal(1, 1, 1, 3, dtype=torch.float64), task.uniform(0.1, 0.5), worlds.schedule(task)))
    with task.check("clouds in the plane", "The score, the level and the schedule are those that are handed over."):
        ask(worlds.world(task))
    with task.check("clouds in more dimensions", "How many entries has x? So many has the diagonal."):
        ask(worlds.world(task, shape=(1, 1, task.integer(4, 7))))
