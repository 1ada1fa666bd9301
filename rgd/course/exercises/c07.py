"""Chapter 7: from noise to images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rgd.course import worlds
from rgd.course.task import Answer, Task, close, exercise, must, number, ratios
from rgd.denoiser import Prediction
from rgd.mixtures import Mixture
from rgd.samplers import ddim
from rgd.schedule import Schedule

DOUBLE = torch.float64


@exercise("sampling-gaussian", points=2, minutes=10)
def sampling_gaussian(task: Task, shrink: Answer) -> None:
    """A point of the path keeps its number of standard deviations."""

    def ask(schedules: list[Schedule], variance: Callable[[Schedule], float]) -> None:
        given, wanted = [], []
        mistakes: dict[str, list[float]] = {}
        for schedule in schedules:
            v, ends = variance(schedule), schedule.alpha_bar[[0, -1]]
            first, last = (ends * v + 1 - ends).sqrt().tolist()
            squares, added, swapped = (
                float(at[0] / at[1])
                for at in (
                    (ends * v**2 + 1 - ends).sqrt(),
                    (ends * v).sqrt() + (1 - ends).sqrt(),
                    (ends + (1 - ends) * v).sqrt(),
                )
            )
            given.append((v, schedule))
            wanted.append(first / last)
            for said, value in {
                "That is the factor of the way from the image to the noise; asked for is the way back.": last / first,
                "That is a ratio of variances; the path keeps the number of standard deviations.": (first / last) ** 2,
                "At t = 0 a little noise is left: the path ends there, and not at the clean image.": v**0.5 / last,
                "At the last level the deviation is not one for every schedule and every v.": first,
                "v is a variance already; do not square it.": squares,
                "The variances of image and noise add up, not their standard deviations.": added,
                "Which of the two weights belongs to the image, and which to the noise?": swapped,
            }.items():
                mistakes.setdefault(said, []).append(value / wanted[-1])
        ratios(shrink, given, wanted, mistakes)

    with task.check("a narrow Gaussian", "How wide is the distribution of x_t at the one level, and at the other?"):
        ask([worlds.schedule(task) for _ in range(2)], lambda s: task.uniform(2, 9) * float(1 - s.alpha_bar[0]))
    with task.check("a wide one", "Data that are wider than noise spread on their way; nothing else is different."):
        ask([worlds.schedule(task) for _ in range(2)], lambda s: task.uniform(3, 9))
    with task.check("a part of a schedule", "Take the first and the last level of the schedule handed over."):
        whole = [worlds.schedule(task) for _ in range(2)]
        parts = [Schedule(s.alpha_bar[s.T // task.integer(8, 13) : s.T // task.integer(3, 5)]) for s in whole]
        ask(parts, lambda s: task.uniform(0.1, 0.4))


def _step(task: Task, world: Mixture, n: int, eta: float, steps: int) -> tuple[list[Any], Tensor]:
    """(what the answer is handed, where the library gets to): the first of a few steps from some level."""
    level = task.integer(world.schedule.T // 3, world.schedule.T)
    denoise = replace(world, schedule=Schedule(world.schedule.alpha_bar[: level + 1]))
    x, z = (task.normal(n, *world.means.shape[1:], dtype=DOUBLE) for _ in range(2))
    kept = denoise.schedule.respace(steps)
    guess = denoise(x, torch.full((n,), level))
    sigma = eta * kept.posterior_variance[-1].sqrt()
    reached = next(ddim(denoise, x, steps=steps, eta=eta, noise=lambda k, shape: z)).x
    return [guess, kept.alpha_bar_prev[-1], sigma, z], reached


def _eta_mistakes(guess: Prediction, a: Tensor, sigma: Tensor, z: Tensor) -> dict[str, Tensor]:
    x0, eps, noise = guess.x0, guess.eps, (1 - a).sqrt()
    kept = (1 - a - sigma**2).clamp(min=0).sqrt()
    image, fresh = a.sqrt() * x0, sigma * z
    return {
        "That is too much noise: what is kept has to make room for the fresh noise.": image + noise * eps + fresh,
        "Of independent noises the variances add up, and not the standard deviations.":
            image + (noise - sigma) * eps + fresh,
        "sigma is a standard deviation, and not a variance.": image + (1 - a - sigma).clamp(min=0).sqrt() * eps + fresh,
        "The fresh noise is missing: that is a step towards too little noise.": image + kept * eps,
        "That is DDIM's step, whatever sigma is.": image + noise * eps,
        "The fresh noise has the standard deviation sigma: z has one.": image + kept * eps + sigma**2 * z,
        "The two noises are swapped: z is the fresh one.": image + kept * z + sigma * eps,
        "The noise of the guess is kept in part; that has fresh noise alone.": image + fresh,
        "alpha_bar is the share of the variance. What is the image multiplied by?": a * x0 + kept * eps + fresh,
    }  # fmt: skip


@exercise("sampling-eta", points=3, minutes=15)
def sampling_eta(task: Task, step: Answer) -> None:
    """DDIM's eq. 12, as the library steps."""
    with task.check("all to one level", "The image's weight is the level's; so is the variance of all its noise."):
        given, reached = _step(task, worlds.world(task), 6, task.uniform(0.4, 0.9), task.integer(3, 9))
        guess, before = given[0], (given[0].x0.clone(), given[0].eps.clone())
        mistakes, answer = _eta_mistakes(*given), step(*given)
        same = torch.equal(guess.x0, before[0]) and torch.equal(guess.eps, before[1])
        must(same, "The guess has changed: `*=` and `+=` write into the tensor that they begin at.")
        close(answer, reached, 1e-5, mistakes)
    with task.check(
        "each to its own", "`a_next` and `sigma` multiply images as they are: the first one's are its own."
    ):
        world = worlds.world(task, shape=(2, 3, 2))
        every = [_step(task, world, 1, task.uniform(0.4, 0.9), task.integer(3, 9)) for _ in range(5)]
        x0, eps = (torch.cat([getattr(given[0], part) for given, _ in every]) for part in ("x0", "eps"))
        guess = replace(every[0][0][0], x0=x0, eps=eps)
        a, sigma = (torch.stack([given[part] for given, _ in every]).reshape(-1, 1, 1, 1) for part in (1, 2))
        z = torch.cat([given[3] for given, _ in every])
        mistakes = _eta_mistakes(guess, a, sigma, z)
        close(step(guess, a, sigma, z), torch.cat([to for _, to in every]), 1e-5, mistakes)
    with task.check("without dice", "For sigma = 0 it is a step of DDIM, or its last one, to the clean image."):
        pairs = [_step(task, worlds.world(task), 4, 0.0, steps) for steps in (task.integer(3, 9), 1)]
        close([step(*given) for given, _ in pairs], torch.stack([to for _, to in pairs]), 1e-5)


def _there(world: Mixture, points: Tensor, steps: int | str, at: Callable[[Schedule, int], Tensor]) -> Tensor:
    """Euler's method in x / sqrt(alpha_bar), up to the noisiest level; it asks at the times that `at` says."""
    kept = world.schedule.respace(steps)
    slope, x = kept.sigma / kept.signal, points / kept.signal[0]
    for k in range(kept.T - 1):
        x = x + (slope[k + 1] - slope[k]) * world(kept.signal[k] * x, at(kept, k).expand(len(x))).eps
    return kept.signal[-1] * x


def _back(world: Mixture, noise: Tensor, steps: int | str) -> Tensor:
    *_, last = ddim(world, noise, steps=steps)
    return last.x


def _pair(given: Any) -> tuple[Tensor, Tensor]:
    must(isinstance(given, tuple | list) and len(given) == 2, "Return a pair: where they end, and the points again.")
    return number(given[0]), number(given[1])


@exercise("sampling-invert", points=3, minutes=20)
def sampling_invert(task: Task, there_and_back: Answer) -> None:
    """Euler's method forwards, and DDIM back."""
    world, steps = worlds.world(task), task.integer(7, 12)
    points = world.sample(6, task.random)[0]
    noise = _there(world, points, steps, lambda kept, k: kept.timesteps[k])
    home = _back(world, noise, steps)
    with task.check("the way there", "Take the guess apart as DDIM does, and put it together one level noisier."):
        mistakes = {
            "Those are the points that you were handed: each step leads one level further.": points,
            "First where they end, then the points after both ways.": home,
            "Ask for the guess at the level where the points are, not at the one that they go to.":
                _there(world, points, steps, lambda kept, k: kept.timesteps[k + 1]),
            "The denoiser knows a kept level by its time, `timesteps[k]`, and not by its number.":
                _there(world, points, steps, lambda kept, k: torch.tensor(k)),
            "That is one step from the cleanest level to the noisiest; walk along all of the kept ones.":
                _there(world, points, 2, lambda kept, k: kept.timesteps[k]),
        }  # fmt: skip
        close(_pair(there_and_back(world, points, steps))[0], noise, 1e-3, mistakes)
    with task.check("and back", "Sample by DDIM from where your points end, with the same steps; no dice are thrown."):
        end, given = _pair(there_and_back(world, points, steps))
        must(end.shape == points.shape, "That needs points to start from: mend the way there first.")
        mistakes = {
            "Those are the points that you were handed; sample from where they end.": points,
            "That is where they end; sample from there.": end,
            "That way back has other steps than the way there.": _back(world, end, 50),
        }
        close(given, _back(world, end, steps), 1e-3, mistakes)
    with task.check("other images at other times", "`steps` may be 'quadratic12': leave it to `respace`."):
        world = worlds.world(task, shape=(2, 1, 3))
        points, quadratic = world.sample(4, task.random)[0], f"quadratic{task.integer(7, 12)}"
        noise = _there(world, points, quadratic, lambda kept, k: kept.timesteps[k])
        given = torch.stack(_pair(there_and_back(world, points, quadratic)))
        close(given, torch.stack([noise, _back(world, noise, quadratic)]), 1e-3)
