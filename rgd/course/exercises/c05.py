"""Chapter 5: what a denoiser learns."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor

from rgd.course import worlds
from rgd.course.task import Answer, Task, close, exercise, must, number
from rgd.mixtures import Mixture, mixture
from rgd.schedule import Schedule
from rgd.training.objectives import variational_bound

DOUBLE = torch.float64


def _two(given: Any, said: str) -> Any:
    must(hasattr(given, "__len__") and getattr(given, "shape", None) != () and len(given) == 2, said)
    return given


@exercise("loss-floor", points=2, minutes=10)
def loss_floor(task: Task, floor: Answer) -> None:
    """What the exact denoiser of one Gaussian misses: it is linear, so that four points with the right variances, and
    no covariance, have its mean squared error."""

    def ask(low: float, high: float) -> None:
        schedule, v, n = worlds.schedule(task), task.uniform(low, high), task.integer(4, 9)
        t = task.integers(schedule.T // 20, schedule.T * 9 // 10, n)
        known = mixture(torch.zeros(1, 1, dtype=DOUBLE), v, schedule)
        x0 = v**0.5 * torch.tensor([1, 1, -1, -1], dtype=DOUBLE).repeat(n)[:, None]
        eps = torch.tensor([1, -1, 1, -1], dtype=DOUBLE).repeat(n)[:, None]
        times = t.repeat_interleave(4)
        xt = schedule.q_sample(x0, times, eps)

        def error(guess: Tensor, of: Tensor = eps) -> Tensor:
            return (guess - of).square().reshape(n, 4).mean(1)

        def of(variance: float, image: Tensor, noise: Tensor) -> Tensor:
            return image * variance / (image * variance + noise)

        right, a = error(known(xt, times).eps), schedule.alpha_bar[t]
        mistakes = {
            "That is what nobody can know of x0. Asked for is the noise.": error(known(xt, times).x0, x0),
            "That is what can be known of the noise. Asked for is what cannot.": 1 - right,
            "That is the root of the error. Asked for is its square.": right.sqrt(),
            "v is the variance, not the standard deviation.": of(v**2, a, 1 - a),
            "That is the error of xt itself as a guess; a better one can be had.": error(xt),
            "That is the error of xt over sigma, which takes the image for zero; a better guess can be had.":
                a * v / (1 - a),
            "x0 is multiplied by the root of alpha_bar, and its variance by the square of that.":
                of(v, a**2, (1 - a) ** 2),
            "That is so if v is 1. How wide are the data?": a,
            "One number for each alpha_bar; that is their mean.": right.mean().expand(n),
        }  # fmt: skip
        close(floor(a, v), right, 1e-5, mistakes)

    hint = "eps and xt are jointly Gaussian: what is their covariance, and what is known of eps once xt is?"
    with task.check("data narrower than the noise", hint):
        ask(0.05, 0.6)
    with task.check("data wider than the noise", hint):
        ask(1.8, 6.0)


@exercise("loss-v", points=2, minutes=15)
def loss_v(task: Task, from_v: Answer) -> None:
    """(xt, v) is (x0, eps) turned, and can be turned back."""

    def ask(which: int, shape: tuple[int, ...], own: bool) -> None:
        schedule, n = worlds.schedule(task), shape[0]
        t = task.integers(schedule.T // 10, schedule.T * 2 // 3, n if own else 1).expand(n)
        x0, eps = task.normal(*shape, dtype=DOUBLE), task.normal(*shape, dtype=DOUBLE)
        xt = schedule.q_sample(x0, t, eps)
        a, cosine, sine = (schedule.at(name, t, xt) for name in ("alpha_bar", "signal", "sigma"))
        v = cosine * eps - sine * x0
        back = "Take the roots of alpha_bar and of 1 - alpha_bar."
        turned = "That turns (xt, v) further. Turn the other way."
        swapped = "First the image, then the noise."
        exchanged = "Which of xt and v has the image in it at the clean end, and which has the noise?"
        both = [
            {
                turned: cosine * xt + sine * v,
                swapped: eps,
                back: a * xt - (1 - a) * v,
                "That takes v for the noise.": schedule.x0_from_eps(xt, t, v),
                exchanged: sine * xt - cosine * v,
                "The estimate has the sign of the image.": -x0,
            },
            {
                turned: cosine * v - sine * xt,
                swapped: x0,
                back: (1 - a) * xt + a * v,
                "That takes v for the image.": schedule.eps_from_x0(xt, t, v),
                exchanged: cosine * xt + sine * v,
                "That is v itself.": v,
                "The estimate has the sign of the noise.": -eps,
            },
        ]
        given = _two(from_v(xt, v, a if own else float(a.flatten()[0])), "Return two estimates, (x0, eps).")
        close(given[which], (x0, eps)[which], 1e-6, both[which])

    with task.check("the image", "Write xt and v as rows of a rotation, and turn back by the same angle."):
        for shape in ((6, 2), (5, 3)):
            ask(0, shape, False)
    with task.check("the noise", "The same rotation back has a second row."):
        for shape in ((6, 2), (5, 3)):
            ask(1, shape, False)
    with task.check("images, each at its own level", "alpha_bar may be a tensor with a number for each example."):
        for which in (0, 1):
            ask(which, (4, 3, 2, 2), True)


def _leap(task: Task) -> Schedule:
    """A schedule that loses about a third of its signal in each step, but for one, at whatever times."""
    n = task.integer(7, 11)
    steps = torch.tensor([task.uniform(0.3, 0.6) for _ in range(n)], dtype=DOUBLE)
    steps[task.integer(2, 6)] = task.uniform(2.5, 3.0)  # of the logarithm of alpha_bar / (1 - alpha_bar)
    return Schedule((task.uniform(4.5, 5.5) - steps.cumsum(0)).sigmoid(), task.integers(3, 30, n).cumsum(0))


def _terms(world: Mixture, clean: Tensor, noise: Tensor) -> Tensor:
    """From k = 1 on, by the library: the bound's terms in nats, with the posterior's variance of a step and with beta,
    and the squared error of eps; (3, T - 1)."""
    process, found = world.schedule, []
    for time in process.timesteps[1:]:
        t = time.expand(len(clean))
        xt = process.q_sample(clean, t, noise)
        guess = world(xt, t)
        tables = (process.at(name, t, xt) for name in ("log_posterior_variance", "log_beta"))
        bits = [variational_bound(process, guess.x0, table, clean, xt, t).mean() for table in tables]
        nats = math.log(2) * clean.shape[1] * torch.stack(bits)
        found.append(torch.cat([nats, (guess.eps - noise).square().sum(1).mean()[None]]))
    return torch.stack(found, dim=1)


@exercise("loss-levels", points=3, minutes=20)
def loss_levels(task: Task, costliest: Answer) -> None:
    """By the library's bound, on processes whose largest step is now here, now there."""
    given: list[tuple[Mixture, Tensor, Tensor]] = []
    for process in (worlds.schedule(task).respace(task.integer(6, 10)), _leap(task), _leap(task)):
        dim = task.integer(2, 5)
        world = mixture(task.normal(3, dim, dtype=DOUBLE), task.uniform(0.05, 0.3), process)
        clean, _ = world.sample(60, task.random)
        given.append((world, clean, task.normal(*clean.shape, dtype=DOUBLE)))

    @cache
    def answered() -> list[tuple[Tensor, Tensor]]:
        found = [costliest(world, world.schedule, *draws) for world, *draws in given]
        pairs = [_two(one, "Return two numbers, k and the nats.") for one in found]
        return [(number(k), number(nats)) for k, nats in pairs]

    narrow, wide, errors = zip(*(_terms(*one) for one in given))
    numbers = [1 + int(terms.argmax()) for terms in narrow]
    with task.check("which step", "Take the mean of each term over the examples, and the k of the largest."):
        mistakes: dict[str, Any] = {
            "The terms begin with k = 1: so does their number.": [k - 1 for k in numbers],
            "That is the time of the step. Its number says which of the kept levels it is.":
                [int(world.schedule.timesteps[k]) for (world, *_), k in zip(given, numbers)],
            "It is the first step here and another there: a process may have its largest step anywhere.":
                [1 for _ in given],
            "That is the term that is smallest.": [1 + int(terms.argmin()) for terms in narrow],
            "That is where the noise is hardest to tell. Each level has a weight.":
                [1 + int(one.argmax()) for one in errors],
        }  # fmt: skip
        close([k for k, _ in answered()], numbers, 1e-6, mistakes)
    with task.check("what it costs", "The mean of that term over the examples, summed over their entries."):
        right = torch.stack([terms.max() for terms in narrow])
        entries = torch.tensor([clean.shape[1] for _, clean, _ in given])
        shares = [(world.schedule.posterior_variance / world.schedule.beta)[1:] for world, *_ in given]
        mistakes = {
            "That is the squared error. Its weight is missing.": [one[k - 1] for one, k in zip(errors, numbers)],
            "That is the largest squared error. Each level has a weight.": [one.max() for one in errors],
            "A term is summed over the entries of an example, not averaged.": right / entries,
            "It is averaged over the examples, not summed.": 60 * right,
            "That is with the variance beta of a step. Asked for is the other.": [terms.max() for terms in wide],
            "The weight has the variance of the model's step in it, which is that of the posterior here.":
                [(terms * share).max() for terms, share in zip(narrow, shares)],
            "That is the mean of all terms; asked for is the largest.": [terms.mean() for terms in narrow],
            "That is the sum of all terms; asked for is the largest.": [terms.sum() for terms in narrow],
            "That is in bits.": right / math.log(2),
            "That is in bits for each entry. Asked for is the term itself, in nats.": right / math.log(2) / entries,
        }  # fmt: skip
        close([nats for _, nats in answered()], right, 1e-4, mistakes)
