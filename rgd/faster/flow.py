"""Rectified flow as what it is: a schedule, a target for its network, and the same samplers and guides."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from rgd.schedule import Schedule, per_image
from rgd.training.objectives import Loss


def straight(T: int = 1000) -> Schedule:
    """Rectified flow's path (1 - s) x0 + s eps, s = (t + 1/2) / T, as a schedule: divided by the root of its two
    shares' squares, so that its variance is that of every other."""
    s = (torch.arange(T).double() + 0.5) / T
    return Schedule((1 - s).square() / ((1 - s).square() + s.square()))


@dataclass(frozen=True)
class Flow:
    """Rectified flow (Esser et al. 2024): the mean squared error of eps - x0, at an s that is uniform, or logit-normal,
    which asks more often in the middle."""

    logit_normal: bool = False

    def __call__(self, network: nn.Module, schedule: Schedule, x0: Tensor, y: Tensor, generator: Generator) -> Loss:
        draw = torch.randn if self.logit_normal else torch.rand
        s = draw(len(y), generator=generator)
        s = s.sigmoid() if self.logit_normal else s
        t, eps = (s * schedule.T).long().clamp(max=schedule.T - 1), torch.randn(x0.shape, generator=generator)
        s = per_image((t.to(x0.dtype) + 0.5) / schedule.T, x0)
        return Loss(F.mse_loss(network((1 - s) * x0 + s * eps, t), eps - x0))
