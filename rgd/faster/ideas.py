"""What seven works make of the price of a sample: the core idea of each, as chapter 22 shows it.

Whatever is trained here is trained by `rgd.fit`: a distillation, a flow and an autoencoder are objectives like others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rgd.denoiser import NetworkDenoiser, Prediction
from rgd.mixtures import Mixture
from rgd.networks import UNet, build
from rgd.randomness import generator
from rgd.schedule import Schedule, per_image
from rgd.training.objectives import Loss, draw_xt

Teacher = Callable[[Tensor, Tensor, Tensor, Tensor], Prediction]
"""(xt, t, y, scale (B,)) -> what is to be learned."""


class Told(nn.Module):
    """A U-Net that is told the scale of guidance, by one more channel. Made of one that is not, it begins by saying at
    every scale what that one says."""

    def __init__(self, unet: UNet) -> None:
        super().__init__()
        self.unet = build(replace(unet.config, in_channels=unet.config.in_channels + 1))
        weights = unet.state_dict()
        stem = weights["input_blocks.0.0.weight"]
        weights["input_blocks.0.0.weight"] = torch.cat([stem, torch.zeros_like(stem[:, : unet.patch**2])], dim=1)
        self.unet.load_state_dict(weights)

    def forward(self, xt: Tensor, t: Tensor, y: Tensor, scale: Tensor) -> Tensor:
        return self.unet(torch.cat([xt, per_image(scale, xt).expand_as(xt[:, :1])], dim=1), t, y)

    def at(self, scale: float | Tensor) -> Any:
        """The network (xt, t, y) at one scale, or at one for each image (B,)."""
        return lambda xt, t, y: self(xt, t, y, torch.as_tensor(scale, dtype=xt.dtype).expand(len(xt)))


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


def straight(T: int = 1000) -> Schedule:
    """Rectified flow's path (1 - s) x0 + s eps, s = (t + 1/2) / T, as a schedule: divided by the root of its two
    shares' squares, so that its variance is that of every other."""
    s = (torch.arange(T).double() + 0.5) / T
    return Schedule((1 - s).square() / ((1 - s).square() + s.square()))


def place(t: Tensor, T: int, like: Tensor) -> Tensor:
    """s of t (B,), shaped to multiply images."""
    return per_image((t.to(like.dtype) + 0.5) / T, like)


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
        s = place(t, schedule.T, x0)
        return Loss(F.mse_loss(network((1 - s) * x0 + s * eps, t), eps - x0))


class Straight(nn.Module):
    """A network of the velocity eps - x0 on the straight path, as one that predicts eps on the schedule `straight(T)`:
    then DDIM's step is Euler's, and every guide and sampler knows it."""

    def __init__(self, flow: nn.Module, T: int = 1000) -> None:
        super().__init__()
        self.flow, self.T = flow, T

    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        s = place(t, self.T, xt)
        x = ((1 - s).square() + s.square()).sqrt() * xt
        return x + (1 - s) * self.flow(x, t)


class Reused:
    """A U-Net's denoiser whose encoder is asked in every `every`-th step only (Li et al. 2024): between, its features
    stand in for what it would say, and the decoder alone works, at its own time."""

    def __init__(self, denoise: NetworkDenoiser, every: int) -> None:
        self.denoise, self.every, self.schedule = denoise, every, denoise.schedule
        self.begin()

    def begin(self) -> Reused:
        """Samplers call it where a trajectory begins."""
        self.asked, self.features = 0, list[Tensor]()
        return self

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        unet: Any = self.denoise.network
        decoder, key = copy(unet), self.asked % self.every == 0
        self.asked += 1

        def encode(x: Tensor, embedding: Tensor) -> Iterable[Tensor]:
            if key:
                self.features = list(unet.encode(x, embedding))
            return self.features

        decoder.encode = encode
        return replace(self.denoise, network=decoder)(xt, t, y)


def rounded(x: Tensor, low: Tensor, high: Tensor, bits: int) -> Tensor:
    """x, cut to [low, high] and rounded to one of 2^bits values there. Its derivative, which is zero, is replaced by
    that of the cut alone."""
    step = (high - low).clamp_min(1e-8) / (2**bits - 1)
    cut = torch.maximum(torch.minimum(x, high), low)
    return cut + (((cut - low) / step).round() * step + low - cut).detach()


def layers(network: nn.Module) -> Iterator[tuple[str, Any]]:
    """What multiplies by weights: convolutions and linear layers, by their names."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear)
    return ((name, layer) for name, layer in network.named_modules() if isinstance(layer, kinds))


@torch.no_grad()
def ranges(network: nn.Module, inputs: Iterable[tuple[Tensor, ...]]) -> dict[str, tuple[Tensor, Tensor]]:
    """The lowest and highest value that enters each layer: a calibration (Shang et al. 2023 ask on what inputs)."""
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(name: str, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        low, high = found.get(name, (given[0].min(), given[0].max()))
        found[name] = torch.minimum(low, given[0].min()), torch.maximum(high, given[0].max())

    hooks = [layer.register_forward_pre_hook(partial(watch, name)) for name, layer in layers(network)]
    for given in inputs:
        network(*given)
    for hook in hooks:
        hook.remove()
    return found


def quantised(network: nn.Module, seen: dict[str, tuple[Tensor, Tensor]], bits: int) -> Any:
    """A copy that multiplies numbers of so many bits: weights by their own range, channel by channel, and what enters a
    layer by a calibration, if it has seen the layer called (attention uses the weights of some without a call). The
    arithmetic is simulated: its errors are what matters here."""
    small = deepcopy(network)
    for name, layer in layers(small):
        weight = layer.weight
        most = weight.flatten(1).abs().amax(dim=1).reshape(-1, *[1] * (weight.ndim - 1))
        weight.data = rounded(weight.data, -most, most, bits)
        if name in seen:
            layer.register_forward_pre_hook(partial(entering, *seen[name], bits))
    return small


def entering(low: Tensor, high: Tensor, bits: int, layer: nn.Module, given: tuple[Tensor, ...]) -> Any:
    """A hook that rounds what enters a layer."""
    return rounded(given[0], low, high, bits), *given[1:]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A generator (xt with z, t) -> x0 as a denoiser (Xiao et al. 2022): its answer is one of those that are possible,
    drawn by z, and not their mean; `ddpm` samples with it, on the few times that it was trained for."""

    network: nn.Module
    schedule: Schedule
    random: Generator

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        z = torch.randn(xt.shape, generator=self.random)
        x0 = self.network(torch.cat([xt, z], dim=1), t)
        return Prediction(x0, self.schedule.eps_from_x0(xt, t, x0), fraction=xt.new_zeros(()))


def posterior(world: Mixture, random: Generator) -> Any:
    """The perfect generator, by draws from the exact p(x0 | xt) of a mixture whose clouds are diagonal, each a class of
    its own."""

    def network(given: Tensor, t: Tensor) -> Tensor:
        xt, z = given.chunk(2, dim=1)
        signal, sigma = (world.schedule.at(name, t, xt) for name in ("signal", "sigma"))
        k = torch.multinomial(world.logits(xt, t).softmax(dim=1), 1, generator=random)[:, 0]
        mean, variance = (part.to(xt)[k].reshape(xt.shape) for part in (world.means, world.variances))
        gain = signal * variance / (signal**2 * variance + sigma**2)
        return mean + gain * (xt - signal * mean) + (variance * (1 - signal * gain)).sqrt() * z

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


class Autoencoder(nn.Module):
    """Images (B, 1, 28, 28) to latents (B, channels, 7, 7) and back."""

    def __init__(self, channels: int = 4, width: int = 32) -> None:
        super().__init__()
        self.coder = nn.Sequential(
            nn.Conv2d(1, width, 4, 2, 1), nn.SiLU(), nn.Conv2d(width, 2 * width, 4, 2, 1), nn.SiLU(),
            nn.Conv2d(2 * width, 2 * channels, 3, 1, 1),
        )  # fmt: skip
        self.decode = nn.Sequential(
            nn.Conv2d(channels, 2 * width, 3, 1, 1), nn.SiLU(), nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
            nn.SiLU(), nn.ConvTranspose2d(width, width, 4, 2, 1), nn.SiLU(), nn.Conv2d(width, 1, 3, 1, 1),
        )  # fmt: skip

    def encode(self, x0: Tensor) -> Tensor:
        """The mean of the latents."""
        return self.coder(x0).chunk(2, dim=1)[0]

    def forward(self, x0: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.coder(x0).chunk(2, dim=1)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1)
        return self.decode(mean + (0.5 * log_variance).exp() * noise), kl


@dataclass(frozen=True)
class Autoencoding:
    """Reconstruct, and pay a little for what the latents know: a variational autoencoder's bound, with a small beta."""

    beta: float = 0.002

    def __call__(self, network: nn.Module, schedule: Schedule, x0: Tensor, y: Tensor, generator: Generator) -> Loss:
        like = network.encode(x0[:1])  # type: ignore[operator]
        again, kl = network(x0, torch.randn((len(x0), *like.shape[1:]), generator=generator))
        return Loss((again - x0).square().flatten(1).sum(1).mean() / 100 + self.beta * kl.mean())
