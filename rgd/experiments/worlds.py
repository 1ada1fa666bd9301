"""Worlds whose every gradient is a formula: labelled Gaussian mixtures, each with a network to learn them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rgd.lab import datasets
from rgd.layers import time_embedding, wherever_asked
from rgd.mixtures import Mixture, mixture
from rgd.networks import EncoderConfig, build
from rgd.randomness import generator
from rgd.schedule import Schedule


class MLP(nn.Module):
    """(xt, t) -> logits for points of few dimensions, such as draws from a mixture in the plane.

    `dim` are the entries of one point, whatever its shape; `width` is that of the hidden layers and of the embedding of
    t, which scales and shifts each of `depth` residual layers.
    """

    def __init__(self, dim: int, classes: int, width: int = 128, depth: int = 3) -> None:
        super().__init__()
        self.width = width
        self.first = nn.Linear(dim, width)
        self.time_embed = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2 * depth * width))
        self.hidden = nn.ModuleList([nn.Sequential(nn.SiLU(), nn.Linear(width, width)) for _ in range(depth)])
        self.out = nn.Sequential(nn.SiLU(), nn.Linear(width, classes))

    @wherever_asked
    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        embedding = self.time_embed(time_embedding(t, self.width).to(xt.dtype))
        scales, shifts = embedding.unflatten(1, (2, len(self.hidden), self.width)).unbind(1)
        h = self.first(xt.flatten(1))
        for layer, scale, shift in zip(self.hidden, scales.unbind(1), shifts.unbind(1)):
            h = h + layer(torch.addcmul(shift, h, 1 + scale))
        return self.out(h)


@dataclass(frozen=True)
class World:
    """A mixture whose every gradient is a formula, and a network to learn them.

    Attributes:
        mixture: of points of shape (C, H, W), in float64: where a class is certain its gradient is very small.
        network: a seed -> a fresh classifier.
        walk: L2 length of a walk from one class towards another.
    """

    mixture: Mixture
    network: Callable[[int], nn.Module]
    walk: float


def plane(schedule: Schedule) -> World:
    """Three classes of two Gaussians each in the plane, on a circle, so that no straight line parts them."""
    angle = torch.arange(6) * torch.pi / 3
    means = 1.2 * torch.stack([angle.cos(), angle.sin()], dim=1).reshape(6, 1, 1, 2).double()
    return World(mixture(means, 0.08, schedule, torch.arange(6) % 3), seeded(2, 3), 1.2)


def sphere(schedule: Schedule, dim: int = 64) -> World:
    """Five classes of two round Gaussians each around random points of a sphere in `dim` dimensions."""
    means = torch.randn(10, dim, generator=generator(0, "sphere"))
    means = (3 * means / means.norm(dim=1, keepdim=True)).reshape(10, 1, 1, dim).double()
    return World(mixture(means, 0.2, schedule, torch.arange(10) % 5), seeded(dim, 5, width=256), 3.0)


def digits(schedule: Schedule) -> World:
    """scikit-learn's digits as a mixture: two Gaussians for each class, with full covariances (Ledoit and Wolf's)."""
    from sklearn import cluster, covariance  # here, for they take half a second

    real = datasets.load("digits")
    parts, labels = [], torch.arange(20) // 2
    for k in range(10):
        x = real.x0(real.labels == k).flatten(1).double().numpy()  # in float32 its covariances are the machine's
        half = cluster.KMeans(2, n_init=10, random_state=0).fit_predict(x)
        parts += [x[half == 0], x[half == 1]]
    means = torch.from_numpy(np.stack([part.mean(axis=0) for part in parts])).double().reshape(-1, 1, 8, 8)
    covariances = torch.from_numpy(np.stack([covariance.LedoitWolf().fit(part).covariance_ for part in parts])).double()
    world = mixture(means, covariances, schedule, labels, torch.tensor([len(part) for part in parts]))
    config = EncoderConfig(
        image_size=8, in_channels=1, out_channels=10, model_channels=32, channel_mult=(1, 2), num_res_blocks=1,
        attention_resolutions=(2,), num_head_channels=32, use_scale_shift_norm=True, pool="attention", patch=2,
    )  # fmt: skip
    return World(world, lambda seed: build(config, seed), 3.0)


def seeded(dim: int, classes: int, width: int = 128) -> Callable[[int], MLP]:
    """Seed -> `MLP`, as `build` does it: layers draw their weights from the global state, which is lent another."""

    def network(seed: int) -> MLP:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return MLP(dim, classes, width)

    return network


WORLDS: dict[str, Callable[[Schedule], World]] = {f.__name__: f for f in (plane, sphere, digits)}
