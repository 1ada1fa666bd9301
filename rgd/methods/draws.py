"""Guidance by samples: a gradient from draws of what an image may be, and images noised a little and drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from rgd.attacks import Classifier, log_prob
from rgd.denoiser import Denoiser, Prediction, Wrapper
from rgd.errors import require
from rgd.guidance import Gradient, unconditional
from rgd.randomness import NoiseStream, noise_at
from rgd.samplers import Noise, Sampler, ddim, ddpm
from rgd.schedule import Schedule


@dataclass(frozen=True, eq=False)
class Until(Wrapper):
    """A denoiser whose process starts at the time `level`, where it is sampled from."""

    level: int

    @property
    def schedule(self) -> Schedule:
        """The rows up to that time."""
        whole = self.denoise.schedule
        kept = whole.timesteps <= self.level
        return Schedule(whole.alpha_bar[kept], whole.timesteps[kept])

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        return self.denoise(xt, t, y)


def grad_by_draws(
    classifier: Classifier, denoise: Denoiser, draws: int = 16, steps: int = 4, seed: int = 0
) -> Gradient:
    """grad_xt log p(y | xt) without any derivative of the classifier, from draws of p(x0 | xt).

    By Tweedie's formula, with labels and without, it is sqrt(alpha_bar) / (1 - alpha_bar) (E[x0 | xt, y] - E[x0 | xt]).
    Both means are taken over the same draws, the first with weights p(y | x0): right as draws and steps grow, where the
    denoiser is. A call asks the denoiser draws * steps times for each image.

    Args:
        classifier: of clean images; called at t = 0. Its gradient is never asked for.
        denoise: whose ancestral steps draw the images; labels are kept from it.
        draws: x0 for each xt.
        steps: from xt to x0.
        seed: an image draws its noise by the seed, t, and where xt is positive.

    Raises:
        ValueError: for fewer than 2 draws, or a batch of several times t.
    """
    require(draws >= 2, "the number of draws", draws, "at least 2")

    def gradient(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        require(bool((t == t[0]).all()), "t", t.tolist(), "one time for the whole batch")
        part, x = Until(unconditional(denoise), int(t[0])), xt.repeat_interleave(draws, dim=0)

        def fresh(k: int, shape: Sequence[int]) -> Tensor:
            return torch.stack([noise_at(xt, t, seed, k, i) for i in range(draws)], dim=1).reshape(*shape)

        for step in ddpm(part, x, steps=min(steps, part.schedule.T), noise=fresh):
            x = step.x
        with torch.no_grad():
            log_p = log_prob(classifier(x, torch.zeros(len(x)).to(t)), y.repeat_interleave(draws))
        weights = (log_p.reshape(-1, draws).softmax(1) - 1 / draws).to(xt)
        signal, sigma = (denoise.schedule.at(name, t, xt) for name in ("signal", "sigma"))
        means = torch.einsum("bk,bkd->bd", weights, x.reshape(len(xt), draws, -1)).reshape(xt.shape)
        return signal / sigma**2 * means

    return gradient


def gibbs(
    guided: Denoiser, x0: Tensor, y: Tensor | None = None, *, level: int, rounds: int = 1, steps: int = 8,
    sampler: Sampler = ddim, seed: int = 0, first: int = 0,
) -> Tensor:  # fmt: skip
    """Gibbs-like guidance (Moufad et al. 2025, arXiv:2505.21101): samples that are noised a little and drawn again.

    What guidance at a constant scale gets wrong is what lies between it and the noised tempered density, a Renyi
    divergence whose gradient vanishes as the noise does. So begin with samples x0 of p(x | y), at scale 1, and guide at
    the scale that is wanted in weak noise alone.

    Args:
        guided: the denoiser, guided at that scale.
        x0: samples (B, C, H, W), about [-1, 1].
        y: their labels (B,).
        level: the time t up to which they are noised in each round.
        rounds: how often.
        steps: of each round.
        sampler: as for `rgd.sample`.
        seed: image i draws its noise by (seed, first + i), and by the round.

    Raises:
        ValueError: for no round, or a level at which the process is not known.
    """
    require(rounds >= 1, "the number of rounds", rounds, "at least 1")
    require(level in guided.schedule.timesteps, "the level", level, "one of the times of the process")
    part, stream = Until(guided, level), NoiseStream(seed, first)
    t = torch.full((len(x0),), level, device=x0.device)
    for k in range(rounds):
        later = partial(_later, stream, 1 + k * (steps + 1))  # draw 0 was x_T's
        x = guided.schedule.q_sample(x0, t, later(0, x0.shape).to(x0))
        for step in sampler(part, x, y, steps=min(steps, part.schedule.T), noise=later):
            x0 = step.x
    return x0


def _later(stream: Noise, start: int, k: int, shape: Sequence[int]) -> Tensor:
    return stream(start + k, shape)
