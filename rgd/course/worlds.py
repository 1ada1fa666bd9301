"""Small worlds and networks for the exercises, drawn from a task's seed: none is that of the page."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rgd import schedule as schedules
from rgd.course.task import Task
from rgd.experiments.worlds import MLP
from rgd.mixtures import Mixture, mixture
from rgd.schedule import Schedule


def schedule(task: Task) -> Schedule:
    """Linear or cosine, of a few hundred steps."""
    make = schedules.linear if task.integer(0, 2) else schedules.cosine
    return make(task.integer(300, 900))


def world(task: Task, classes: int = 3, shape: tuple[int, ...] = (1, 1, 2)) -> Mixture:
    """Two Gaussians for each class, of unequal weights and widths, in float64."""
    K = 2 * classes
    means = 1.5 * task.normal(K, *shape, dtype=torch.float64)
    variances, weights = ([task.uniform(low, high) for _ in range(K)] for low, high in ((0.05, 0.4), (0.5, 2.0)))
    return mixture(means, torch.tensor(variances), schedule(task), torch.arange(K) % classes, torch.tensor(weights))


def points(task: Task, this: Mixture, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A batch at unequal noise levels: (x0, y, t, eps), in float64."""
    x0, y = this.sample(n, task.random)
    t = task.integers(1, this.schedule.T, n)
    return x0, y, t, task.normal(*x0.shape, dtype=torch.float64)


def classifier(task: Task, dim: int, classes: int, sharpness: float = 3.0) -> nn.Module:
    """An untrained network, (xt, t) -> logits, whose answers differ from point to point, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.integer(0, 2**31))
        network = MLP(dim, classes, width=32, depth=2).double()
    with torch.no_grad():
        list(network.parameters())[-2].mul_(sharpness)  # the last layer's weights
    return network
