"""Samplers: from noise x_T to images, one step at a time.

All are generators: `for step in ddim(denoise, x, y, steps=25)` yields every step, and the caller plots, logs or stops.
Guidance is in the denoiser, so every sampler is guided. `sample` runs one to its end for any number of images.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from rgd.denoiser import Denoiser, Prediction, begin
from rgd.memory import in_batches
from rgd.processes import processes
from rgd.randomness import NoiseStream
from rgd.schedule import Schedule

Steps = int | str | Sequence[int] | None
Noise = Callable[[int, Sequence[int]], Tensor]
"""(number of the step, shape) -> standard normal noise; a `NoiseStream` is one."""


@dataclass(frozen=True)
class SampleStep:
    """Step number k, from 1: it starts at the time t and leads to x (B, C, H, W), in the end the sample. x0 is the
    denoiser's (guided) estimate of the clean image at t."""

    k: int
    t: int
    x: Tensor
    x0: Tensor


class Sampler(Protocol):
    """The signature that all samplers share, from x_T to x_0; each has its own default number of steps.

    x is x_T (B, C, H, W), y the labels (B,), or None. `steps` are as `Schedule.respace` takes them. `noise` is
    (k, shape) -> the noise of step k; by default a stream that x_T decides, so that another x_T is another draw in
    full. A trajectory begins by `rgd.denoiser.begin(denoise)`, so that nothing is remembered of another one.
    """

    def __call__(
        self, denoise: Denoiser, x: Tensor, y: Tensor | None = None, *, steps: Steps = None, noise: Noise | None = None
    ) -> Iterator[SampleStep]: ...


def noise_of(x: Tensor) -> NoiseStream:
    """A stream that the start decides: ancestral sampling forgets x_T, and with one stream for all starts its samples
    would be copies."""
    digest = hashlib.blake2b(x.detach().float().cpu().numpy().tobytes(), digest_size=7).digest()
    return NoiseStream(int.from_bytes(digest, "little"))


def _ask(denoise: Denoiser, x: Tensor, t: int, y: Tensor | None, sampler: str) -> Prediction:
    prediction = denoise(x, torch.full((len(x),), t, device=x.device), y)
    if prediction.gradient is not None:
        raise ValueError(f"guidance in the mean form has no meaning for {sampler}; use form='score'")
    return prediction


class Kernel(Protocol):
    """The law of a step from row i of the schedule to row i - 1: a mean (B, C, H, W) and a standard deviation, which
    broadcasts against it and is 0 where the step draws nothing."""

    def __call__(self, schedule: Schedule, i: int, x: Tensor, prediction: Prediction) -> tuple[Tensor, Tensor]: ...


def ancestral(schedule: Schedule, i: int, x: Tensor, prediction: Prediction) -> tuple[Tensor, Tensor]:
    """The `Kernel` of `ddpm`: the last step, to i = -1, is the mean alone."""
    at = torch.full((len(x),), int(schedule.timesteps[i]), device=x.device)
    variance = schedule.log_variance(at, prediction.fraction.expand_as(x)).exp()
    mean = schedule.posterior_mean(prediction.x0, x, at)
    if prediction.gradient is not None:
        mean = mean + variance * prediction.gradient
    return mean, variance.sqrt() if i > 0 else variance.new_zeros(())


def implicit(schedule: Schedule, i: int, x: Tensor, prediction: Prediction, eta: float = 1.0) -> tuple[Tensor, Tensor]:
    """The `Kernel` of `ddim` with that eta."""
    previous = float(schedule.alpha_bar_prev[i])
    sigma = eta * float(schedule.posterior_variance[i]) ** 0.5
    mean = previous**0.5 * prediction.x0 + max(1 - previous - sigma**2, 0) ** 0.5 * prediction.eps
    return mean, mean.new_full((), sigma)


@torch.no_grad()
def ddpm(
    denoise: Denoiser, x: Tensor, y: Tensor | None = None, *, steps: Steps = None, noise: Noise | None = None
) -> Iterator[SampleStep]:
    """Ancestral sampling (DDPM algorithm 2), with the denoiser's variance and, in the mean form, its gradient."""
    denoise, schedule, noise = begin(denoise), denoise.schedule.respace(steps), noise or noise_of(x)
    for k, i in enumerate(reversed(range(schedule.T)), 1):
        t = int(schedule.timesteps[i])
        prediction = denoise(x, torch.full((len(x),), t, device=x.device), y)
        x, sigma = ancestral(schedule, i, x, prediction)
        if i > 0:
            x = x + sigma * noise(k, x.shape).to(x)
        yield SampleStep(k, t, x, prediction.x0)


@torch.no_grad()
def ddim(
    denoise: Denoiser, x: Tensor, y: Tensor | None = None, *, steps: Steps = 50, noise: Noise | None = None,
    eta: float = 0.0,
) -> Iterator[SampleStep]:  # fmt: skip
    """DDIM (Song et al. 2021, eq. 12): deterministic for eta = 0, as random as ancestral sampling for eta = 1."""
    denoise, schedule, noise = begin(denoise), denoise.schedule.respace(steps), noise or noise_of(x)
    for k, i in enumerate(reversed(range(schedule.T)), 1):
        t = int(schedule.timesteps[i])
        prediction = _ask(denoise, x, t, y, "DDIM")
        x, sigma = implicit(schedule, i, x, prediction, eta)
        if eta > 0 and i > 0:
            x = x + sigma * noise(k, x.shape).to(x)
        yield SampleStep(k, t, x, prediction.x0)


@torch.no_grad()
def dpm_solver(
    denoise: Denoiser, x: Tensor, y: Tensor | None = None, *, steps: Steps = 20, noise: Noise | None = None,
    eta: float = 0.0,
) -> Iterator[SampleStep]:  # fmt: skip
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): second order from one evaluation a step.

    In lambda = log(sqrt(alpha_bar) / sqrt(1 - alpha_bar)) the ODE for x0 is linear; the last two estimates of x0
    extrapolate it. The first step, and the last one, to lambda = infinity, are of first order. For eta = 1 it solves
    the reverse SDE instead (theirs, SDE-DPM-Solver++), which renews as much noise as ancestral sampling; for eta
    between, the share exp(-2 eta h) of the noise's variance stays over a step h in lambda.
    """
    denoise, schedule, noise = begin(denoise), denoise.schedule.respace(steps), noise or noise_of(x)
    noise_share = 1 - schedule.alpha_bar
    log_snr = 0.5 * (schedule.alpha_bar / noise_share).log()
    earlier: Tensor | None = None
    for k, i in enumerate(reversed(range(schedule.T)), 1):
        t = int(schedule.timesteps[i])
        x0 = _ask(denoise, x, t, y, "DPM-Solver++").x0
        if i == 0:
            x = x0
        else:
            h = log_snr[i - 1] - log_snr[i]
            ahead = x0 if earlier is None else x0 + (x0 - earlier) * float(h / (log_snr[i] - log_snr[i + 1]) / 2)
            keep = float((noise_share[i - 1] / noise_share[i]).sqrt() * torch.exp(-eta * h))
            x = keep * x - float(schedule.signal[i - 1] * torch.expm1(-(1 + eta) * h)) * ahead
            if eta > 0:
                x = x + float(schedule.sigma[i - 1] * (-torch.expm1(-2 * eta * h)).sqrt()) * noise(k, x.shape).to(x)
        earlier = x0
        yield SampleStep(k, t, x, x0)


@torch.no_grad()
def heun(
    denoise: Denoiser, x: Tensor, y: Tensor | None = None, *, steps: Steps = 20, noise: Noise | None = None
) -> Iterator[SampleStep]:
    """Heun's second-order method (Karras et al. 2022, algorithm 1): two evaluations a step, one at the last.

    In the scaled variable x / sqrt(alpha_bar), with sigma = sqrt(1 - alpha_bar) / sqrt(alpha_bar), the ODE reads
    dx / dsigma = eps; Euler's method is DDIM, and this is its trapezoidal correction. Draws no noise. The correction's
    weight in x is at most 1: the cosine schedule's first step, from sigma = 20,000 to 10, would give it 800, where for
    data N(m, I) the right one is 1 / (1 + sqrt(1 - alpha_bar')), alpha_bar' being that at the step's end.
    """
    denoise, schedule = begin(denoise), denoise.schedule.respace(steps)
    sigma = (schedule.sigma / schedule.signal).tolist()
    for k, i in enumerate(reversed(range(schedule.T)), 1):
        t = int(schedule.timesteps[i])
        here = _ask(denoise, x, t, y, "Heun's method")
        if i == 0:
            x = here.x0
        else:
            signal = float(schedule.signal[i - 1])
            euler = signal * here.x0 + float(schedule.sigma[i - 1]) * here.eps
            there = _ask(denoise, euler, int(schedule.timesteps[i - 1]), y, "Heun's method")
            x = euler + min(signal * (sigma[i] - sigma[i - 1]) / 2, 1) * (here.eps - there.eps)
        yield SampleStep(k, t, x, here.x0)


def sample(
    denoise: Denoiser, shape: Sequence[int], y: Tensor | None = None, *, sampler: Sampler = ddim, steps: Steps = None,
    seed: int = 0, batch_size: int = 256, device: torch.device | str | None = None, progress: bool | str = True,
) -> Tensor:  # fmt: skip
    """Images float32 (N, C, H, W) of the given shape, about [-1, 1] and not clipped, on the CPU of every process.

    Image i depends on the seed, on i and on its label alone: any batch size and any number of processes give the
    same images, to rounding. y are labels int64 (N,), or None; with `steps` None the sampler has its own default, or
    all there are; `progress` is the bar's label, or whether there is one. Where memory runs out, batches are halved,
    with a warning. ValueError for labels of another shape, or an empty batch; OutOfMemory if one image has no room.
    """
    if y is not None and y.shape != (shape[0],):
        raise ValueError(f"{shape[0]} images need as many labels, not y of shape {tuple(y.shape)}")
    if batch_size < 1:
        raise ValueError(f"a batch holds at least one image, not {batch_size}")
    own = inspect.signature(sampler).parameters["steps"].default if steps is None else steps
    steps = min(own, denoise.schedule.T) if steps is None and isinstance(own, int) else own
    group = processes()
    device = group.device if device is None else torch.device(device)
    mine = range(shape[0] * group.rank // group.count, shape[0] * (group.rank + 1) // group.count)
    T = denoise.schedule.respace(steps).T
    label = progress if isinstance(progress, str) else "sampling"
    with tqdm(total=len(mine) * T, desc=label, unit="step", disable=not progress or group.rank > 0) as bar:

        def draw(start: int, stop: int) -> Tensor:
            stream, bar.n = NoiseStream(seed, start), (start - mine.start) * T
            x = stream(0, (stop - start, *shape[1:]), device)
            labels = None if y is None else y[start:stop].to(device)
            for step in sampler(denoise, x, labels, steps=steps, noise=stream):
                x = step.x
                bar.update(stop - start)
            return x.float().cpu()

        done = [torch.empty(0, *shape[1:]), *in_batches(draw, mine, batch_size, label)]
    return group.gather(torch.cat(done), shape[0])
