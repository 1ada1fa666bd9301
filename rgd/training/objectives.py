"""Objectives: what a network is trained to do, as (network, schedule, x0, y, generator) -> Loss.

`fit` works with any of them, and with your own function of that form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from rgd.attacks import L2, PGD, Attack, Threat, radii
from rgd.denoiser import Predicts, split_output, x0_from
from rgd.errors import at_least, one_of, require
from rgd.modes import evaluating
from rgd.schedule import Schedule, per_image


@dataclass(frozen=True)
class Loss:
    """A batch's loss, ready for `backward()`, and statistics to log, detached and still on the device."""

    value: Tensor
    statistics: dict[str, Tensor] = field(default_factory=dict)


class Objective(Protocol):
    """Anything that turns a batch into a loss, drawing all its randomness from the generator."""

    def __call__(self, network: nn.Module, schedule: Schedule, x0: Tensor, y: Tensor, generator: Generator) -> Loss:
        """x0: float (B, C, H, W) in [-1, 1]; y: int64 (B,)."""


@runtime_checkable
class Stateful(Protocol):
    """The description of an objective that remembers something from step to step."""

    def begin(self) -> Objective:
        """The objective of one training, which remembers nothing yet; `fit` asks for it."""


def unwrap(network: nn.Module) -> nn.Module:
    """The network inside a distributed wrapper: attacks must not wake the wrapper's gradient exchange."""
    return network.module if isinstance(network, nn.parallel.DistributedDataParallel | nn.DataParallel) else network


def draw_xt(schedule: Schedule, x0: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """(xt, t, eps) for a batch: t uniform on 0 ... T - 1, eps standard normal."""
    t = torch.randint(schedule.T, (len(x0),), generator=generator, device=generator.device).to(x0.device)
    eps = torch.randn(x0.shape, generator=generator, device=generator.device, dtype=x0.dtype).to(x0.device)
    return schedule.q_sample(x0, t, eps), t, eps


@dataclass(frozen=True)
class Denoising:
    """The DDPM loss: mean squared error of what the network `predicts` (L_simple, DDPM eq. 14).

    A network with twice the image's channels also learns its variance, by the variational bound, which does not
    reach the mean (L_hybrid with lambda = 1/1000, Nichol & Dhariwal 2021). A `conditional` one is given the labels, of
    which a share, `label_dropout`, is replaced by the null label, for classifier-free guidance.

    Raises ValueError for another target, or a share outside [0, 1] or without labels.
    """

    predicts: Predicts = "eps"
    conditional: bool = False
    label_dropout: float = 0.0

    def __post_init__(self) -> None:
        one_of("predicts", self.predicts, Predicts)
        allowed = "in [0, 1]" if self.conditional else "0 without conditional=True"
        require(0 <= self.label_dropout <= self.conditional, "label_dropout", self.label_dropout, allowed)

    def __call__(self, network: nn.Module, schedule: Schedule, x0: Tensor, y: Tensor, generator: Generator) -> Loss:
        xt, t, eps = draw_xt(schedule, x0, generator)
        if self.conditional:
            if self.label_dropout and not getattr(getattr(unwrap(network), "config", None), "null_label", True):
                raise ValueError("to drop labels, the network needs a null label: UNetConfig(null_label=True)")
            dropped = torch.rand(len(y), generator=generator, device=generator.device).to(y.device) < self.label_dropout
            output = network(xt, t, torch.where(dropped, -1, y))
        else:
            output = network(xt, t)
        mse, vb = denoising_terms(self.predicts, output.float(), schedule, x0, xt, t, eps)
        if vb is None:
            return Loss(mse.mean(), {"mse": mse.detach().mean()})
        return Loss((mse + vb).mean(), {"mse": mse.detach().mean(), "vb": vb.detach().mean()})


def denoising_terms(
    predicts: Predicts, output: Tensor, schedule: Schedule, x0: Tensor, xt: Tensor, t: Tensor, eps: Tensor
) -> tuple[Tensor, Tensor | None]:
    """The terms of L_hybrid, image by image: the squared error (B,) and, with a learned variance, the bound (B,) in
    bits per dimension times T / 1000, as ADM weighs it."""
    one_of("predicts", predicts, Predicts)
    output, variance = split_output(output, x0.shape[1])
    if predicts == "v":
        target = schedule.at("signal", t, x0) * eps - schedule.at("sigma", t, x0) * x0
    else:
        target = eps if predicts == "eps" else x0
    mse = (output - target).square().flatten(1).mean(dim=1)
    if variance is None:
        return mse, None
    x0_hat = x0_from(predicts, output.detach(), xt, t, schedule)
    bound = variational_bound(schedule, x0_hat, schedule.log_variance(t, (variance + 1) / 2), x0, xt, t)
    return mse, bound * schedule.T / 1000


def variational_bound(
    schedule: Schedule, x0_hat: Tensor, log_variance: Tensor, x0: Tensor, xt: Tensor, t: Tensor
) -> Tensor:
    """One term of the bound on -log p(x0), in bits per dimension, (B,): L_{t-1} of DDPM eq. 5, or L_0 where t = 0."""
    mean, mean_hat = schedule.posterior_mean(x0, xt, t), schedule.posterior_mean(x0_hat, xt, t)
    log_true = schedule.at("log_posterior_variance", t, x0)
    kl = 0.5 * (
        log_variance - log_true - 1 + (log_true - log_variance).exp() + (mean - mean_hat).square() / log_variance.exp()
    )
    nll = -discretized_log_likelihood(x0, mean_hat, 0.5 * log_variance)
    return torch.where(per_image(t == 0, x0), nll, kl).flatten(1).mean(dim=1) / math.log(2)


def discretized_log_likelihood(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """log of a normal distribution's mass in the pixel's bin, of width 2/255 (DDPM eq. 13); shape of x.

    The end bins reach to infinity. The distribution function is ADM's tanh approximation of the exact one.
    """

    def cdf(z: Tensor) -> Tensor:
        return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))

    inverse = (-log_scale).exp()
    upper, lower = cdf((x - mean + 1 / 255) * inverse), cdf((x - mean - 1 / 255) * inverse)
    mass = torch.where(x < -0.999, upper, torch.where(x > 0.999, 1 - lower, upper - lower))
    return mass.clamp_min(1e-12).log()


@dataclass(frozen=True)
class NoisyCrossEntropy:
    """The vanilla time-dependent classifier: cross-entropy of f(xt, t), t uniform."""

    def __call__(self, network: nn.Module, schedule: Schedule, x0: Tensor, y: Tensor, generator: Generator) -> Loss:
        xt, t, _ = draw_xt(schedule, x0, generator)
        return _cross_entropy(network(xt, t), y, "accuracy")


PAPER_ATTACK = PGD(L2(0.5), steps=7)


@dataclass(frozen=True)
class RobustCrossEntropy:
    """The paper's objective: cross-entropy of f(xt + delta*, t), with delta* found by an attack on xt; no clean term.

    The attack meets the network in evaluation mode, as whoever attacks it later will: in training mode batch norm would
    let the images of a batch answer for each other, and count the attack's passes (Pang et al., arXiv:2010.00467, find
    that it costs no robustness). The training pass that follows has the network's own modes.
    """

    attack: Attack = PAPER_ATTACK

    def __call__(self, network: nn.Module, schedule: Schedule, x0: Tensor, y: Tensor, generator: Generator) -> Loss:
        xt, t, _ = draw_xt(schedule, x0, generator)
        with evaluating(unwrap(network)):
            attacked = self.attack(unwrap(network), xt, t, y, generator)
        return _cross_entropy(network(attacked, t), y, "robust_accuracy")


@dataclass(frozen=True)
class FreeCrossEntropy:
    """Robust training at the price of ordinary training (Shafahi et al., arXiv:1904.12843), on xt.

    Each noised batch is shown `replays` times. The backward pass that trains the weights also says how to change the
    perturbation, which moves by `step` radii before the next replay and is carried over to the next batch. So as many
    steps see `replays` times fewer images, and every pass has the network's own modes.

    A run that is resumed begins with a new batch, and so does not end with the same bits. Raises ValueError for
    replays < 1, or a step that is not positive and finite.
    """

    threat: Threat
    replays: int = 4
    step: float = 1.0

    def __post_init__(self) -> None:
        at_least(self, replays=1)
        require(0 < self.step < math.inf, "step", self.step, "a positive number of radii")

    def begin(self) -> Objective:
        """One training's own."""
        return _Replays(self)


class _Replays:
    """A batch (xt, t, y) that is shown again, how often still, and the perturbation u in the unit ball."""

    def __init__(self, free: FreeCrossEntropy) -> None:
        self.free, self.left = free, 0
        self.batch: tuple[Tensor, Tensor, Tensor]
        self.u: Tensor | None = None

    def __call__(self, network: nn.Module, schedule: Schedule, x0: Tensor, y: Tensor, generator: Generator) -> Loss:
        threat = self.free.threat
        if self.left == 0:
            xt, t, _ = draw_xt(schedule, x0, generator)
            self.batch, self.left = (xt, t, y), self.free.replays
        self.left -= 1
        xt, t, y = self.batch
        if self.u is None or self.u.shape != xt.shape or self.u.grad is None:
            u = torch.zeros_like(xt)
        else:
            gradient = self.u.grad.nan_to_num(0, 0, 0)  # a GradScaler lets float16 overflow now and then
            u = threat.project(self.u.detach() + self.free.step * threat.direction(gradient))
        self.u = u.requires_grad_()
        return _cross_entropy(network(xt + radii(threat, xt, t) * self.u, t), y, "robust_accuracy")


@dataclass(frozen=True)
class CleanCrossEntropy:
    """Cross-entropy on images without noise: of f(x0, t = 0) where the network takes a time, else of f(x0).

    With `label_smoothing` s the target is the label's class with probability 1 - s and any class with probability s;
    ValueError for one outside [0, 1].
    """

    takes_time: bool = True
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        require(0 <= self.label_smoothing <= 1, "label_smoothing", self.label_smoothing, "in [0, 1]")

    def __call__(self, network: nn.Module, schedule: Schedule, x0: Tensor, y: Tensor, generator: Generator) -> Loss:
        logits = network(x0, torch.zeros_like(y)) if self.takes_time else network(x0)
        return _cross_entropy(logits, y, "accuracy", self.label_smoothing)


def _cross_entropy(logits: Tensor, y: Tensor, name: str, label_smoothing: float = 0.0) -> Loss:
    value = F.cross_entropy(logits.float(), y, label_smoothing=label_smoothing)
    return Loss(value, {name: (logits.detach().argmax(1) == y).float().mean()})
