"""From images back to the noise that a sampler makes them of: DDIM inversion, edit-friendly noise, and part of the way.

An edit begins at such noise and comes back with a guide. So the less of the way it goes, the more of an image it keeps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rgd.denoiser import Denoiser, Prediction, Wrapper, begin
from rgd.errors import require
from rgd.randomness import NoiseStream
from rgd.samplers import Noise, SampleStep, Steps, implicit
from rgd.schedule import Schedule


@dataclass(frozen=True, eq=False)
class Until(Wrapper):
    """A denoiser whose process ends at a time t; made by `until`."""

    t: int

    @cached_property
    def schedule(self) -> Schedule:
        """The rows of the schedule up to t."""
        whole = self.denoise.schedule
        kept = whole.timesteps <= self.t
        return Schedule(whole.alpha_bar[kept], whole.timesteps[kept])

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        return self.denoise(xt, t, y)


def until(denoise: Denoiser, t: int) -> Until:
    """The same denoiser, its process ended at t: samplers begin there, from an image that is not yet all noise, and
    spread their steps from 0 to t. ValueError if no time of its schedule is that early."""
    first = int(denoise.schedule.timesteps[0])
    require(t >= first, "the last time", t, f"at least the schedule's first, {first}")
    return Until(denoise, t)


def _ask(denoise: Denoiser, x: Tensor, t: int, y: Tensor | None) -> Prediction:
    prediction = denoise(x, torch.full((len(x),), t, device=x.device), y)
    if prediction.gradient is not None:
        raise ValueError("guidance in the mean form has no meaning for DDIM; use form='score'")
    return prediction


@torch.no_grad()
def invert(
    denoise: Denoiser, x0: Tensor, y: Tensor | None = None, *, steps: Steps = 50, rounds: int = 0
) -> Iterator[SampleStep]:
    """DDIM inversion (Song et al. 2021): from images x0 (B, C, H, W) up to the noise that `ddim` makes them of.

    Step k leads up to x at the time t, by the eps of where it starts, so that a round trip errs by what eps changes
    within a step. Each of `rounds` takes the step again by the eps of where it has led: if that converges, as it does
    for many steps, `ddim` with the same steps comes back exactly. ValueError for guidance in the mean form.
    """
    denoise, schedule = begin(denoise), denoise.schedule.respace(steps)
    x, at, before = x0, int(schedule.timesteps[0]), 1.0
    for k, t in enumerate(schedule.timesteps.tolist(), 1):
        start, signal, sigma = x, float(schedule.signal[k - 1]), float(schedule.sigma[k - 1])
        for _ in range(1 + rounds):
            prediction, at = _ask(denoise, x, at, y), t
            # x = signal x0 + sigma eps, and x0 is that of start = before x0 + sqrt(1 - before^2) eps.
            x = signal / before * start + (sigma - signal / before * (1 - before**2) ** 0.5) * prediction.eps
        yield SampleStep(k, t, x, prediction.x0)
        before = signal


@dataclass(frozen=True, eq=False)
class Friendly:
    """The noise of every step by which `ddim` with eta = 1 draws given images; made by `friendly`.

    It is what the sampler takes as `noise`. `x` (B, C, H, W) is where to start, `noises` (steps - 1, B, C, H, W) are
    those of its steps, and `rest` is to be added at the end, as the last step draws none.
    """

    x: Tensor
    noises: Tensor
    rest: Tensor

    def __call__(self, k: int, shape: Sequence[int]) -> Tensor:
        """The noise of step k, from 1."""
        return self.noises[k - 1]


@torch.no_grad()
def friendly(
    denoise: Denoiser, x0: Tensor, y: Tensor | None = None, *, steps: Steps = 50, noise: Noise | None = None
) -> Friendly:
    """Edit-friendly noise of images x0 (B, C, H, W) (Huberman-Spiegelglas et al., arXiv:2304.06140).

    Every level gets a noised x0 of its own, by fresh `noise` (k, shape), level k counted from 0; what leads `ddim` with
    eta = 1 from each to the next is the noise of that step. So the sampler comes back exactly, for any denoiser.
    ValueError for guidance in the mean form.
    """
    denoise, schedule, noise = begin(denoise), denoise.schedule.respace(steps), noise or NoiseStream(0)
    fresh = [noise(k, x0.shape).to(x0) for k in range(schedule.T)]
    levels = [a * x0 + b * eps for a, b, eps in zip(schedule.signal.tolist(), schedule.sigma.tolist(), fresh)]
    noises = []
    for i in reversed(range(schedule.T)):
        mean, sigma = implicit(schedule, i, levels[i], _ask(denoise, levels[i], int(schedule.timesteps[i]), y))
        noises.append((levels[i - 1] - mean) / sigma if i else x0 - mean)
    *drawn, rest = noises
    return Friendly(levels[-1], torch.stack(drawn) if drawn else x0.new_empty(0, *x0.shape), rest)
