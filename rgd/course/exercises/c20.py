"""Chapter 20: editing with a guide."""

from __future__ import annotations

import numpy as np
import torch

from rgd.course.task import Answer, Task, close, exercise

DOUBLE = torch.float64


@exercise("edit-up", points=2, minutes=10)
def edit_up(task: Task, up: Answer) -> None:
    """The x0 that xt and eps imply, noised by the same eps to another level."""

    def ask(now: float, then: float) -> None:
        x, eps = task.normal(2, 1, 3, 3, dtype=DOUBLE), task.normal(2, 1, 3, 3, dtype=DOUBLE)
        x0 = (x - (1 - now) ** 0.5 * eps) / now**0.5
        right = then**0.5 * x0 + (1 - then) ** 0.5 * eps
        mistakes = {
            "alpha_bar is a share of the variance: the image and the noise get its square root, and that of what is "
            "left.": then * (x - (1 - now) * eps) / now + (1 - then) * eps,
            "That is x0. Noise it again, to the level above.": x0,
            "The noise that is added is what is missing after x0 has been found: all of sqrt(1 - then).":
                then**0.5 * x0 + max(now - then, 0) ** 0.5 * eps,
            "That adds noise to x, which has some already. Take that out first.":
                (then / now) ** 0.5 * x + (1 - then) ** 0.5 * eps,
            "That is the way from the other level to this one.":
                now**0.5 * (x - (1 - then) ** 0.5 * eps) / then**0.5 + (1 - now) ** 0.5 * eps,
        }  # fmt: skip
        close(up(x, eps, now, then), right, 1e-9, mistakes)

    with task.check("a step up", "First the x0 that x and eps imply, then x0 with the same eps at the other level."):
        ask(task.uniform(0.6, 0.9), task.uniform(0.2, 0.5))
    with task.check("the first step", "Of a clean image alpha_bar is 1, and nothing has to be taken out."):
        ask(1.0, task.uniform(0.8, 0.95))
    with task.check("a step down", "The same formula leads down: nothing in it says which level has more noise."):
        ask(task.uniform(0.2, 0.5), task.uniform(0.6, 0.9))


@exercise("edit-noise", points=3, minutes=20)
def edit_noise(task: Task, noise_of: Answer) -> None:
    """What is left of the aim without the step's mean, in units of its standard deviation."""

    def ask(now: float, then: float, eta: float) -> None:
        shape = (2, 1, 3, 3)
        aim, x0, eps = (task.normal(*shape, dtype=DOUBLE) for _ in range(3))
        sigma = eta * ((1 - then) / (1 - now) * (1 - now / then)) ** 0.5
        along = (1 - then - sigma**2) ** 0.5
        right = (aim - then**0.5 * x0 - along * eps) / sigma
        mistakes = {
            "That is the noise times sigma. How often must the sampler's own noise be counted?": right * sigma,
            "sigma is a standard deviation: divide by it, and not by its square.": right / sigma,
            "Part of the noise is renewed, and less of eps is kept: its factor is sqrt(1 - then - sigma^2).":
                (aim - then**0.5 * x0 - (1 - then) ** 0.5 * eps) / sigma,
            "What is left of eps after the step is missing from the mean.": (aim - then**0.5 * x0) / sigma,
            "The mean is to be taken from the aim.": -right,
            "x0 is there at the level of the aim, so its factor is sqrt(then).":
                (aim - now**0.5 * x0 - along * eps) / sigma,
        }  # fmt: skip
        close(noise_of(aim, x0, eps, now, then, sigma), right, 1e-9, mistakes)

    with task.check("as random as ancestral sampling", "aim = sqrt(then) x0 + sqrt(1 - then - sigma^2) eps + sigma z."):
        ask(task.uniform(0.2, 0.4), task.uniform(0.5, 0.8), 1.0)
    with task.check("less random", "The same formula, with another sigma."):
        ask(task.uniform(0.2, 0.4), task.uniform(0.5, 0.8), task.uniform(0.3, 0.6))


@exercise("edit-equal", points=3, minutes=20)
def edit_equal(task: Task, distance_at: Answer) -> None:
    """Between the two scales that enclose an accuracy, and nowhere beyond them."""

    def ask(right: list[float], far: list[float], at: float) -> None:
        order = np.argsort(right)
        x, y = np.array(right)[order], np.array(far)[order]
        wanted = float(np.interp(at, x, y, left=np.nan, right=np.nan))
        if np.isnan(wanted):
            given = distance_at(list(right), list(far), at)
            close(torch.tensor(float(given)).isnan(), torch.tensor(True), 1e-6)
            return
        mistakes = {
            "That is the distance at the nearest scale. Go between the two scales around it.":
                y[int(np.argmin(abs(x - at)))],
            "That is the distance at the first scale that is accurate enough, and no interpolation.":
                y[int(np.argmax(x >= at))],
            "Sort by the accuracy first: a larger scale need not have a greater one.":
                float(np.interp(at, right, far)),
            "That is the accuracy at a distance. Asked for is the distance at an accuracy.":
                float(np.interp(at, np.sort(far), x)),
        }  # fmt: skip
        close(distance_at(list(right), list(far), at), wanted, 1e-9, mistakes)

    low, high = task.uniform(0.3, 0.4), task.uniform(0.85, 0.95)
    with task.check("between two scales", "A straight line through the two neighbours."):
        ask([low, 0.6, high], [4.0, 7.0, 13.0], 0.7)
    with task.check("an accuracy that falls again", "Which two scales are neighbours in accuracy?"):
        ask([low, high, 0.6, 0.8], [4.0, 15.0, 5.0, 9.0], 0.7)
    with task.check("out of reach", "Where no scale is as accurate, nothing is known: float('nan')."):
        ask([low, 0.6, 0.7], [4.0, 7.0, 9.0], high)
