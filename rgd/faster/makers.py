"""Generators for long steps, which draw a possible image instead of the mean; and images as latents."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rgd.denoiser import Prediction
from rgd.mixtures import Mixture
from rgd.randomness import generator
from rgd.schedule import Schedule, per_image
from rgd.training.objectives import Loss


@dataclass(frozen=True, eq=False)
class Maker:
    """A generator (xt with z, t) -> x0 as a denoiser (Xiao et al. 2022): its answer is one of those that are possible,
    drawn by z, and not their mean; `ddpm` samples with it, on the few times that it was trained for."""

    network: nn.Module
    schedule: Schedule
    random: Generator

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        z = torch.randn(xt.shape, generator=self.random)
        x0 = self.network(torch.cat([xt, z], dim=1), t)
        eps = self.schedule.eps_from_x0(xt, t, x0)
        return Prediction(x0, eps, fraction=xt.new_zeros(()))


def posterior(world: Mixture, random: Generator) -> Any:
    """The perfect generator, by draws from the exact p(x0 | xt) of a mixture whose clouds are diagonal, each a class of
    its own."""

    def network(given: Tensor, t: Tensor) -> Tensor:
        xt, z = given.chunk(2, dim=1)
        signal, sigma = (world.schedule.at(name, t, xt) for name in ("signal", "sigma"))
        chances = world.logits(xt, t).softmax(dim=1)
        k = torch.multinomial(chances, 1, generator=random)[:, 0]
        mean, variance = (part.to(xt)[k].reshape(xt.shape) for part in (world.means, world.variances))
        gain = signal * variance / (signal**2 * variance + sigma**2)
        spread = (variance * (1 - signal * gain)).sqrt()
        return mean + gain * (xt - signal * mean) + spread * z

    return network


class Point(nn.Module):
    """A network of vectors as one of images (B, C, 1, 1)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.network(x, t)[:, :, None, None]


def compete(
    maker: nn.Module, critic: nn.Module, times: Schedule, draw: Callable[[Generator], Tensor], rounds: int, seed: int,
    penalty: float, lr: float = 1e-3,
) -> nn.Module:  # fmt: skip
    """Train a generator for long steps against a critic of (the step's end, its start, t), as denoising diffusion GANs
    do (Xiao et al. 2022), with a penalty on the critic's slope at what is true. What comes back is the average of its
    weights. `draw` gives a batch of images."""
    random, average = generator(seed, "compete"), deepcopy(maker).requires_grad_(False)
    makes, judges = (torch.optim.Adam(network.parameters(), lr, (0.5, 0.9)) for network in (maker, critic))
    variance = times.posterior_variance

    def step(x0: Tensor, xt: Tensor, rows: Tensor) -> Tensor:
        noise = torch.randn(xt.shape, generator=random)
        spread = per_image(variance[rows].sqrt(), xt).to(xt)
        return times.posterior_mean(x0, xt, times.timesteps[rows]) + spread * noise

    for k in range(rounds):
        x0 = draw(random)
        rows = torch.randint(times.T, (len(x0),), generator=random)
        t = times.timesteps[rows]
        xt = times.q_sample(x0, t, torch.randn(x0.shape, generator=random))
        made = step(maker(torch.cat([xt, torch.randn(x0.shape, generator=random)], dim=1), t), xt, rows)
        true = torch.cat([step(x0, xt, rows), xt], dim=1).requires_grad_()
        judges.zero_grad()
        with sdpa_kernel(SDPBackend.MATH):  # the fast ones cannot be differentiated twice
            said = critic(true, t)
        (slope,) = torch.autograd.grad(said.sum(), true, create_graph=True)
        doubt = F.softplus(-said).mean() + F.softplus(critic(torch.cat([made.detach(), xt], dim=1), t)).mean()
        (doubt + penalty / 2 * slope.square().flatten(1).sum(1).mean()).backward()
        judges.step()
        makes.zero_grad()
        F.softplus(-critic(torch.cat([made, xt], dim=1), t)).mean().backward()
        makes.step()
        with torch.no_grad():
            for mean, weight in zip(average.parameters(), maker.parameters(), strict=True):
                mean.lerp_(weight, max(0.005, 1 / (k + 1)))
    return average.eval()


@dataclass(frozen=True)
class Autoencoding:
    """Reconstruct, and pay a little for what the latents know: a variational autoencoder's bound, with a small beta."""

    beta: float = 0.0005

    def __call__(self, network: nn.Module, schedule: Schedule, x0: Tensor, y: Tensor, generator: Generator) -> Loss:
        like = network.encode(x0[:1])  # type: ignore[operator]
        again, kl = network(x0, torch.randn((len(x0), *like.shape[1:]), generator=generator))
        return Loss((again - x0).square().flatten(1).sum(1).mean() / 100 + self.beta * kl.mean())
