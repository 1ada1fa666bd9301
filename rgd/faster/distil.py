"""Distillation: one pass for the two of guidance, and one step for two steps, each an objective for `rgd.fit`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from rgd.denoiser import Prediction
from rgd.schedule import Schedule, per_image
from rgd.training.objectives import Loss, draw_xt

Teacher = Callable[[Tensor, Tensor, Tensor, Tensor], Prediction]
"""(xt, t, y, scale (B,)) -> what is to be learned."""


def velocity(schedule: Schedule, t: Tensor, x0: Tensor, eps: Tensor) -> Tensor:
    """v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x0: what a network can say of any t, with one x0 in it."""
    return schedule.at("signal", t, x0) * eps - schedule.at("sigma", t, x0) * x0


@dataclass(frozen=True, eq=False)
class Follow:
    """Say in one pass what a guided teacher says in two, at any time and any scale up to `most` (Meng et al. 2023,
    their first stage). The network is a `Told`, and predicts v."""

    teacher: Teacher
    most: float = 4.0

    def __call__(self, network: nn.Module, schedule: Schedule, x0: Tensor, y: Tensor, generator: Generator) -> Loss:
        xt, t, _ = draw_xt(schedule, x0, generator)
        scale = self.most * torch.rand(len(y), generator=generator)
        with torch.no_grad():
            told = self.teacher(xt, t, y, scale)
        return Loss(F.mse_loss(network(xt, t, y, scale), velocity(schedule, t, told.x0, told.eps)))


def every_second(schedule: Schedule) -> Schedule:
    """A schedule of half as many times, the last among them."""
    return Schedule(schedule.alpha_bar[1::2], schedule.timesteps[1::2])


def down(schedule: Schedule, rows: Tensor, found: Prediction) -> Tensor:
    """A step of DDIM from the rows (B,) of a schedule to the row before; from row 0, to the image."""
    left = per_image(schedule.alpha_bar_prev[rows], found.x0).to(found.x0)
    return left.sqrt() * found.x0 + (1 - left).sqrt() * found.eps


def shortcut(times: Schedule, rows: Tensor, xt: Tensor, teacher: Callable[[Tensor, Tensor], Prediction]) -> Tensor:
    """The x0 with which one step of DDIM, from rows (B,) of a schedule to two rows before, ends where the teacher's two
    steps end; the teacher is (xt, t) -> Prediction."""
    t, earlier = times.timesteps[rows], rows - 1
    middle = down(times, rows, teacher(xt, t))
    end = down(times, earlier, teacher(middle, times.timesteps[earlier]))
    left = per_image(times.alpha_bar_prev[earlier], xt).to(xt)
    ratio = (1 - left).sqrt() / times.at("sigma", t, xt)  # of the noise that stays
    return (end - ratio * xt) / (left.sqrt() - ratio * times.at("signal", t, xt))


@dataclass(frozen=True, eq=False)
class Halved:
    """Do in one step of DDIM what a teacher does in two (Salimans & Ho 2022, and the second stage of Meng et al.).

    The teacher's `times` are twice as many as the student's, `every_second`. With `most` the network is a `Told`, else
    it knows neither scale nor label. It is compared in what it `predicts`, "v" or "x0".
    """

    teacher: Teacher
    times: Schedule
    most: float | None = None
    predicts: str = "v"

    def __call__(self, network: nn.Module, schedule: Schedule, x0: Tensor, y: Tensor, generator: Generator) -> Loss:
        rows = 2 * torch.randint(self.times.T // 2, (len(y),), generator=generator) + 1
        t, scale = self.times.timesteps[rows], (self.most or 0) * torch.rand(len(y), generator=generator)
        xt = self.times.q_sample(x0, t, torch.randn(x0.shape, generator=generator))
        with torch.no_grad():
            wanted = shortcut(self.times, rows, xt, lambda x, at: self.teacher(x, at, y, scale))
        output = network(xt, t) if self.most is None else network(xt, t, y, scale)
        if self.predicts == "v":
            wanted = velocity(self.times, t, wanted, self.times.eps_from_x0(xt, t, wanted))
        return Loss(F.mse_loss(output, wanted))
