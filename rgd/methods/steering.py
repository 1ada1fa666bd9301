"""Exact steering: walkers with weights, that sample p(x) p(y | x)^s and not merely something sharper.

Guidance at scale s follows the score of p_t(xt) p_t(y | xt)^s at every t, and those densities are not the noised
versions of one another, so that it ends elsewhere (chapter 3). Many walkers know by how much: each has a weight, and
those of small weight are replaced by copies of others. As they grow in number, what they sample becomes exact (Skreta
et al. 2025, arXiv:2503.02819; Wu et al. 2023, arXiv:2306.17775).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

from rgd.attacks import Classifier, log_prob
from rgd.denoiser import Denoiser, Prediction, begin
from rgd.errors import one_of, require
from rgd.guidance import move
from rgd.memory import in_batches
from rgd.methods.gradients import logits_and_gradient
from rgd.processes import processes
from rgd.randomness import NoiseStream, generator
from rgd.samplers import Kernel, Steps, ancestral
from rgd.schedule import Schedule

Scale = float | Callable[[float], float]
"""s, or s as a function of alpha_bar, from about 0 (noise) to 1 (an image)."""
Weights = Literal["twisted", "feynman-kac"]


@dataclass(frozen=True)
class Annealed:
    """s = 1 + (end - 1) alpha_bar^power: at first what Bayes' rule asks for, and the scale `end` of clean images alone.

    At a constant scale the walkers choose among a class's modes while they are noise, by densities that are none of the
    target's; copies cannot bring back a mode that was left.
    """

    end: float
    power: float = 4.0

    def __call__(self, alpha_bar: float) -> float:
        return 1 + (self.end - 1) * alpha_bar**self.power


@dataclass(frozen=True)
class Steered:
    """What `steer` returns.

    Attributes:
        x: (N, walkers, C, H, W), float32 on the CPU; the walkers of an island, all for one class, weigh the same.
        ess: (steps + 1, N), the effective sample size of each island by step, between 1 and the number of walkers,
            before it was resampled.
        log_evidence: (N,), an estimate of log E[p(y | x)^s], without bias in E, by which islands of one class would be
            weighed against each other.
        ancestors: (N, walkers), the walker at the start from which each comes.
    """

    x: Tensor
    ess: Tensor
    log_evidence: Tensor
    ancestors: Tensor


def effective(log_weights: Tensor) -> Tensor:
    """The effective sample size of weights (N, K): 1 / the sum of their squares, once they sum to 1, (N,)."""
    return (-(2 * log_weights.log_softmax(dim=1)).logsumexp(dim=1)).exp()


def systematic(log_weights: Tensor, u: Tensor) -> Tensor:
    """Systematic resampling: indices (N, K) of walkers, each as often as its weight says, to within one copy.

    Args:
        log_weights: (N, K), not necessarily normalised.
        u: uniform numbers (N,) in [0, 1), one for each island.
    """
    K = log_weights.shape[1]
    edges = log_weights.double().softmax(dim=1).cumsum(dim=1)
    places = (torch.arange(K, device=u.device) + u.double()[:, None]) / K
    return torch.searchsorted(edges, places, right=True).clamp(max=K - 1)


@dataclass(frozen=True)
class _Process:
    """All that a step needs. Row i of the schedule is a time, and -1 a clean image."""

    denoise: Denoiser
    guide: Classifier
    target: Classifier
    scale: Scale
    schedule: Schedule
    weights: Weights
    kernel: Kernel
    threshold: float

    def __post_init__(self) -> None:
        one_of("weights", self.weights, Weights)
        require(0 <= self.threshold <= 1, "the threshold", self.threshold, "a share of the walkers, in [0, 1]")
        scales = [self.at(i) for i in range(-1, self.schedule.T)]
        require(all(0 <= s < math.inf for s in scales), "the scale", scales, "0 or more at every step")
        if self.target is not self.guide and self.weights == "feynman-kac":
            raise ValueError('the weights "feynman-kac" can follow no target but the guide\'s own; use "twisted"')

    def at(self, i: int) -> float:
        """The scale at row i."""
        alpha_bar = float(self.schedule.alpha_bar[i]) if i >= 0 else 1.0
        return float(self.scale(alpha_bar) if callable(self.scale) else self.scale)

    def grown(self, i: int, log_p: Tensor, said: Tensor) -> Tensor:
        """What the classifier adds to log weights (B,) as walkers arrive at row i, where it says `log_p`."""
        if self.weights == "twisted" or i == self.schedule.T - 1:
            return self.at(i) * log_p - said
        return (self.at(i) - self.at(i + 1)) * log_p

    def step(self, i: int, x: Tensor, g: Tensor, prediction: Prediction, z: Tensor | None) -> tuple[Tensor, Tensor]:
        """From row i to the next: where the walkers arrive, and what the way adds to their log weights (B,).

        "twisted" lets the gradient move the mean by as much as the step's own variance allows, for only then are the
        plain and the guided step like enough to be weighed against each other; the last step, without noise, is plain.
        """
        s, schedule = self.at(i), self.schedule
        if self.weights == "feynman-kac":
            t = torch.full((len(x),), int(schedule.timesteps[i]), device=x.device)
            mean, std = self.kernel(schedule, i, x, move(prediction, g, t, schedule, s))
            beta = float((schedule.alpha_bar_prev[i] / schedule.alpha_bar[i]).log())  # its integral over the step
            added = s * (s - 1) / 2 * beta * g.flatten(1).square().sum(1)
        else:
            mean, std = self.kernel(schedule, i, x, prediction)
            pull = std * s * g
            mean, added = mean + std * pull, x.new_zeros(len(x))
            if z is not None:  # the density of the step without the pull, over that with it
                added = -(z * pull + pull**2 / 2).flatten(1).sum(1)
        if z is None:
            return mean, added
        if (std == 0).any():
            raise ValueError("walkers need a kernel with noise: `ancestral`, or `implicit` with eta > 0")
        return mean + std * z, added


@dataclass
class _Walkers:
    """The weights of walkers in islands, (N, K), and what became of them: on the CPU, for not every GPU has float64."""

    log_weights: Tensor
    log_evidence: Tensor
    ancestors: Tensor
    ess: list[Tensor]

    @classmethod
    def start(cls, N: int, K: int) -> _Walkers:
        weights = torch.zeros(N, K, dtype=torch.float64)
        return cls(weights, weights[:, 0].clone(), torch.arange(K).expand(N, K), [])

    def weigh(self, log_ratio: Tensor) -> None:
        """Multiplies the weights, given as log (N * K,)."""
        self.log_weights = self.log_weights + log_ratio.cpu().double().reshape(self.log_weights.shape)
        self.ess.append(effective(self.log_weights))

    def resample(self, threshold: float, seed: int, first: int, k: int) -> Tensor | None:
        """Which walker each is replaced by, (N * K,), in islands whose effective size is below the threshold; None if
        there is none such. Island n draws by (seed, first + n, k) alone."""
        N, K = self.log_weights.shape
        few = self.ess[-1] < threshold * K if threshold < 1 else torch.ones_like(self.ess[-1], dtype=torch.bool)
        if not few.any():
            return None
        draws = [torch.rand((), generator=generator(seed, "resample", first + n, k)) for n in range(N)]
        order = torch.where(few[:, None], systematic(self.log_weights, torch.stack(draws)), torch.arange(K))
        self.log_evidence = self.log_evidence + torch.where(few, self.log_weights.logsumexp(1) - math.log(K), 0)
        self.log_weights = torch.where(few[:, None], 0, self.log_weights)
        self.ancestors = self.ancestors.gather(1, order)
        return (order + K * torch.arange(N)[:, None]).flatten()


def steer(
    denoise: Denoiser,
    classifier: Classifier,
    y: Tensor,
    shape: Sequence[int],
    *,
    scale: Scale = 1.0,
    walkers: int = 64,
    target: Classifier | None = None,
    weights: Weights = "twisted",
    kernel: Kernel = ancestral,
    steps: Steps = None,
    threshold: float = 0.5,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    progress: bool | str = True,
) -> Steered:
    """Samples of p(x) p(y | x)^s, exact as the walkers grow in number: an island of walkers for each label.

    The walkers of an island take guided steps. Their weights are, "twisted", how much more likely a step is without the
    guide than with it, times how p(y | xt)^s has grown: exact in the limit for any guide, also a wrong one, as far as
    the plain process is. Or, "feynman-kac", the integral of s (s - 1) / 2 beta ||g||^2 dt + log p(y | xt) ds: for small
    steps and a classifier whose gradient is right at every t.

    Args:
        denoise: unconditional: it is called without labels.
        classifier: the guide, (xt, t) -> logits.
        y: labels int64 (N,), an island each.
        shape: of one image, (C, H, W).
        scale: s >= 0. As a function of alpha_bar, such as `Annealed(4)`, it counts for the target where alpha_bar is 1.
        walkers: in an island. They depend on each other; islands do not.
        target: p(y | x) itself, called with clean images at t = 0, if it is not the guide's; with it, "twisted" samples
            what *it* says, and the guide only decides how many walkers that takes.
        weights: see above.
        kernel: of the steps: `ancestral`, or `partial(implicit, eta=...)` with eta > 0.
        steps: as for a sampler.
        threshold: an island is resampled once its effective sample size falls below this share of the walkers.
        seed: walker w of island n draws its noise as image n * walkers + w of `rgd.sample` does.
        batch_size: images at a time, fewer where memory runs out; an island is never divided.
        device, progress: as for `rgd.sample`.

    Raises:
        ValueError: for a kernel that draws no noise, a number out of its range, or a target with "feynman-kac".
    """
    require(walkers >= 1, "the number of walkers", walkers, "at least 1")
    require(y.ndim == 1 and len(y) >= 1, "y", tuple(y.shape), "of shape (N,), a label for each island")
    schedule = denoise.schedule.respace(steps)
    process = _Process(denoise, classifier, target or classifier, scale, schedule, weights, kernel, threshold)
    y, islands = y.to(processes().device if device is None else device), max(1, batch_size // walkers)
    label = progress if isinstance(progress, str) else "steering"
    with tqdm(total=-(-len(y) // islands) * schedule.T, desc=label, unit="step", disable=not progress) as bar:
        some = partial(_island, process, y, tuple(shape), walkers, seed, bar.update)
        parts = list(in_batches(some, range(len(y)), islands, f"{label}, each an island"))
    x, ess, evidence, ancestors = zip(*parts, strict=True)
    return Steered(torch.cat(x), torch.cat(ess, dim=1), torch.cat(evidence), torch.cat(ancestors))


@torch.no_grad()
def _island(
    process: _Process, y: Tensor, shape: tuple[int, ...], K: int, seed: int, told: Callable[[], object],
    first: int, last: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Some islands side by side, from noise to images: the fields of `Steered`."""
    y, N, device, schedule = y[first:last], last - first, y.device, process.schedule
    denoise, labels = begin(process.denoise), y.repeat_interleave(K)
    stream, walkers = NoiseStream(seed, first * K), _Walkers.start(N, K)
    x = stream(0, (N * K, *shape), device)
    said = step = x.new_zeros(N * K)  # log p(y | xt)^s where the walkers came from; what the step adds to the weights
    for k, i in enumerate(reversed(range(schedule.T))):
        t = torch.full((N * K,), int(schedule.timesteps[i]), device=device)
        logits, g = logits_and_gradient(process.guide, x, t, labels)
        walkers.weigh(step + process.grown(i, log_p := log_prob(logits, labels), said))
        if (order := walkers.resample(process.threshold, seed, first, k)) is not None:
            x, log_p, g = x[order], log_p[order], g[order]
        said = process.at(i) * log_p
        x, step = process.step(i, x, g, denoise(x, t), stream(k + 1, x.shape, device).to(x) if i else None)
        told()
    log_p = log_prob(process.target(x, torch.zeros_like(t)), labels)
    walkers.weigh(step + process.grown(-1, log_p, said))
    order = walkers.resample(1.0, seed, first, schedule.T)
    x, ess = x[order].float().cpu().reshape(N, K, *shape), torch.stack(walkers.ess)
    return x, ess, walkers.log_evidence, walkers.ancestors


def accepted(target: Classifier, x0: Tensor, y: Tensor, scale: float, seed: int = 0, first: int = 0) -> Tensor:
    """Which of the samples x0 (B, C, H, W) of p(x | y) to keep, (B,), so that they follow p(x) p(y | x)^s for s >= 1.

    Each is kept with probability p(y | x0)^(s - 1): nothing has to be steered beyond Bayes' rule, and where classes lie
    well apart nearly all are kept. Image i draws by (seed, first + i) alone. ValueError for a scale below 1.
    """
    require(scale >= 1, "the scale", scale, "1 or more: rejection can take away, and not add")
    with torch.no_grad():
        log_p = log_prob(target(x0, torch.zeros_like(y)), y)
    draws = [torch.rand((), generator=generator(seed, "accepted", first + i)) for i in range(len(y))]
    return torch.stack(draws).to(log_p).log() < (scale - 1) * log_p
