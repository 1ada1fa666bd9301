"""Chapter 3: what guidance really samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rgd import ddim, guide, unconditional
from rgd import schedule as schedules
from rgd.course import worlds
from rgd.course.task import Answer, Task, close, exercise, must, number
from rgd.mixtures import mixture
from rgd.schedule import Schedule

DOUBLE = torch.float64


def _mode(s: float, m: float, v: float, apart: float | None = None) -> float:
    """Where the slope of the tilted density is zero, by bisection. The means are `apart`, by default 2 m."""
    apart = 2 * m if apart is None else apart
    low, high = -100.0, 100.0
    for _ in range(60):
        here = (low + high) / 2
        pull = s * apart / (1 + torch.tensor(apart * here / v, dtype=DOUBLE).exp().item())
        low, high = (here, high) if pull > here - m else (low, here)
    return low


def _mean(s: float, m: float, v: float) -> float:
    x = torch.linspace(-4, 9, 4001, dtype=DOUBLE)
    p = (-((x - m) ** 2) / (2 * v) + s * torch.nn.functional.logsigmoid(2 * m * x / v)).softmax(0)
    return float(p @ x)


@exercise("guidance-tilt", points=2, minutes=10)
def guidance_tilt(task: Task, mode: Answer) -> None:
    """At the mode, the pull of the tilt is what the Gaussian holds against it."""

    def ask(line: Tensor, low: float, high: float) -> None:
        given, wanted = [], []
        mistakes: dict[str, list[float]] = {}
        for _ in range(3):
            s, m, v = task.uniform(low, high), task.uniform(0.4, 0.8), task.uniform(0.25, 0.5)
            given.append(mode(s, m, v, line))
            right = _mode(s, m, v)
            wanted.append(right)
            for said, value in {
                "That is the mode of the class itself, which nothing has tilted.": m,
                "The density of both classes was tilted. The first factor is that of class 0 alone.":
                    _mode(s - 1, m, v),
                "How far apart are the two means? Both classes have a share in the odds.": _mode(s, m, v, m),
                "v is the variance, not the standard deviation.": _mode(s, m, v**2),
                "That is the mean of the tilted density. Asked for is its mode.": _mean(s, m, v),
                "That is the mode for class 1. Class 0 has the mean m.": -right,
                "That is the number of the point. Return the point, x of it.": int((line - right).abs().argmin()),
            }.items():  # fmt: skip
                mistakes.setdefault(said, []).append(value)
        close(given, wanted, 0.004, mistakes)

    line = torch.linspace(-2, 7, 9001, dtype=DOUBLE)
    with task.check("scales below one", "Add the logarithms: that of a Gaussian, and s times that of a posterior."):
        ask(line, 0.2, 0.9)
    with task.check("scales above one", "The posterior is raised to the power of s, and nothing else is."):
        ask(line, 2, 12)
    with task.check("very large scales", "Powers of small numbers vanish: compare logarithms. The mode moves on."):
        ask(line, 50, 400)
    with task.check("another grid", "Look along the grid x that is handed over, in whatever order its points are."):
        ask(line[torch.randperm(len(line), generator=task.random)] + 0.0003, 2, 12)


def _distance(task: Task, schedule: Schedule) -> Callable[[float], float]:
    """How far guidance at the levels below `end` stays from what its scale is said to sample: quantiles of the start
    sampled without chance, in a world like the chapter's, mirrored and stretched. So little that some tenth of T always
    comes to 0.79 of the distance at all levels, or less, where 0.8 is asked for."""
    stretch, s = task.uniform(0.97, 1.03), task.uniform(3.9, 4.1)
    centres = stretch * torch.tensor([-1.4, 0.6, 0.0], dtype=DOUBLE) * (1 - 2 * task.integer(0, 2))
    world = mixture(centres.reshape(3, 1, 1, 1), 0.06 * stretch**2, schedule, torch.tensor([0, 0, 1]))
    line = torch.linspace(-5, 5, 1001, dtype=DOUBLE)
    images, zeros = line.reshape(-1, 1, 1, 1), torch.zeros(1001, dtype=torch.int64)
    log_class = world.logits(images, zeros).log_softmax(1)[:, 0]
    tilted = (world.log_prob(images, zeros) + s * log_class).softmax(0).cumsum(0)
    start = torch.special.ndtri((torch.arange(200, dtype=DOUBLE) + 0.5) / 200).reshape(-1, 1, 1, 1)

    def distance(end: float) -> float:
        steer = guide(unconditional(world), world.grad_log_prob, s, (0, float(end)))
        for step in ddim(steer, start, zeros[:200], steps=25):
            x = step.x
        below = torch.searchsorted(x.flatten().sort().values, line) / 200
        return float((below - tilted).abs().max())

    return distance


@exercise("guidance-interval", points=3, minutes=20)
def guidance_interval(task: Task, end: Answer) -> None:
    """An end of guidance is right if it does what is asked of it; several are."""

    def ask(schedule: Schedule) -> None:
        distance, T = _distance(task, schedule), schedule.T
        given = number(end(distance, T))
        must(given.numel() == 1, "Return one number, the level at which guidance ends.")
        level = float(given)
        must(0 <= level <= T, f"Levels go from 0 to T = {T}. That is {level:g}.")
        must(level > 1, "Return the level where guidance ends, not the distance there.")
        must(level < T, "That is guidance at all levels. Where is it to be left out?")
        there, everywhere = distance(level), distance(T)
        must(
            there <= 0.8 * everywhere,
            f"Guidance that ends at {level:g} of {T} stays {there:.3f} away, and {everywhere:.3f} at all levels. "
            "Which end is good depends on the schedule: ask `distance` about several.",
        )

    T = 25 * task.integer(8, 16)  # the same for both: no level, and no share of T, is good enough for the two of them
    with task.check("a linear schedule", "Ask `distance` about several ends between 0 and T."):
        ask(schedules.linear(T))
    with task.check("a cosine schedule", "The same level is another noise here. Ask `distance`."):
        ask(schedules.cosine(T))


@exercise("guidance-same", points=3, minutes=15)
def guidance_same(task: Task, both: Answer) -> None:
    """Guidance by any gradient moves eps by -sigma s g; only the exact one makes the two the same."""
    world = worlds.world(task, shape=(1, 2, 1))
    schedule = world.schedule
    x0, y, _, eps = worlds.points(task, world, 12)
    t, s = task.integers(1, schedule.T * 3 // 4, 12), task.uniform(1.5, 5)
    xt, turn = schedule.q_sample(x0, t, eps), task.uniform(0.5, 2)

    def gradient(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return turn * xt.cos() + y.reshape(-1, 1, 1, 1) / 2

    sigma, g, exact = schedule.at("sigma", t, xt), gradient(xt, t, y), world.grad_log_prob(xt, t, y)
    knows, blind = -sigma * world.score(xt, t, y), -sigma * world.score(xt, t)
    signs = "Guidance adds s times the gradient to the score. What is done to the noise's prediction has its sign."
    noise = "The noise's prediction is moved by the gradient times s, and by the standard deviation of the noise."
    page = "Guide by the gradient that is handed over. The world's own is asked for nowhere."
    swapped = "First the one that is told the class, then the one that is not."
    with task.check("told the class", "Guide the world's denoiser, which is handed y, at scale s."):
        mistakes = {
            "That is the prediction without guidance.": knows,
            "Scale s belongs to the one that is told the class, 1 + s to the other.": knows - sigma * (1 + s) * g,
            signs: knows + sigma * s * g,
            noise: knows - s * g,
            page: knows - sigma * s * exact,
            swapped: blind - sigma * (1 + s) * g,
        }
        close(both(world, gradient, xt, t, y, s)[0], knows - sigma * s * g, 1e-5, mistakes)
    with task.check("not told the class", "Keep the label from the denoiser, but not from the gradient: 1 + s."):
        mistakes = {
            "This one was told the class too: a guided denoiser hands the label on, unless it is kept from it.":
                knows - sigma * (1 + s) * g,
            "The class is counted once less here than in the other, if both are guided at s.": blind - sigma * s * g,
            signs: blind + sigma * (1 + s) * g,
            noise: blind - (1 + s) * g,
            page: blind - sigma * (1 + s) * exact,
            swapped: knows - sigma * s * g,
        }  # fmt: skip
        close(both(world, gradient, xt, t, y, s)[1], blind - sigma * (1 + s) * g, 1e-5, mistakes)
    with task.check("the exact gradient", "With the exact gradient, and there alone, the two are the same vector."):
        right = knows - sigma * s * exact
        close(torch.stack([number(part) for part in both(world, world.grad_log_prob, xt, t, y, s)]),
              torch.stack([right, right]), 1e-5)  # fmt: skip
    with task.check("scale zero", "At s = 0 the first is not guided at all; the second still is, once."):
        close(torch.stack([number(part) for part in both(world, gradient, xt, t, y, 0.0)]),
              torch.stack([knows, blind - sigma * g]), 1e-5)  # fmt: skip
