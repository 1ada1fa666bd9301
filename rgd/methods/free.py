"""Guidance by a classifier that was trained for nothing but clean images: one form of many, and steps taken again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rgd.attacks import Classifier, log_prob
from rgd.denoiser import Denoiser, Prediction, Wrapper, begin, open_ended
from rgd.errors import require
from rgd.randomness import noise_at
from rgd.samplers import Noise, SampleStep, Steps, implicit, noise_of


@dataclass(frozen=True, eq=False)
class TrainingFree(Wrapper):
    """x0 led uphill, and the noise as it was; made by `training_free`."""

    classifier: Classifier
    rho: float
    mu: float
    rounds: int
    spread: float
    draws: int
    seed: int

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        if y is None:
            raise ValueError("a classifier guides to classes: give labels y")
        with torch.no_grad():
            plain = self.denoise(xt, t, y)
        x0, width = plain.x0, self.spread * self.schedule.at("sigma", t, xt)
        near = [width * noise_at(xt, t, self.seed, k) for k in range(self.draws)] if self.spread else [0.0]

        def log_p(x0: Tensor) -> Tensor:
            found = [log_prob(self.classifier(x0 + e, torch.zeros_like(t)), y) for e in near]
            return torch.stack(found).logsumexp(dim=0) - math.log(len(near))

        for _ in range(self.rounds if self.mu else 0):
            with torch.enable_grad():
                here = x0.detach().requires_grad_()
                x0 = x0 + self.mu * torch.autograd.grad(log_p(here).sum(), here)[0]
        if self.rho:
            with torch.enable_grad():
                here = xt.detach().requires_grad_()
                (g,) = torch.autograd.grad(log_p(open_ended(self.denoise)(here, t, y).x0).sum(), here)
            x0 = x0 + self.rho * g / self.schedule.at("signal", t, xt)
        return replace(plain, x0=x0)


def training_free(
    denoise: Denoiser, classifier: Classifier, rho: float = 0.0, mu: float = 0.0, *, rounds: int = 1,
    spread: float = 0.0, draws: int = 1, seed: int = 0,
) -> TrainingFree:  # fmt: skip
    """TFG (Ye et al. 2024, arXiv:2409.15761): guidance by a classifier of clean images, for `ddim` and `recurrent`.

    lp(x0) is the log of the mean, over draws of noise e, of p(y | x0 + spread sqrt(1 - alpha_bar) e). Then x0_hat(xt)
    moves by D_0, which is `rounds` steps of mu grad_x0 lp, and by rho grad_xt lp(x0_hat(xt)) / sqrt(alpha_bar), and the
    noise that is added to it again is that of xt, as in CFG++: a DDIM step of theirs, whichever its length. Others are
    cases of it: rho alone is DPS, with a spread LGD, taken again (`recurrent`) FreeDoM; mu alone is MPGD; both, taken
    again, universal guidance. With rho = s (1 - alpha_bar) it is `cfg_plus_plus` of `grad_log_prob_of_x0` at scale s.

    Args:
        denoise: what is guided; it is told the labels too, see `rgd.unconditional`.
        classifier: (x0, t) -> logits, called at t = 0.
        rho: of the gradient through the denoiser.
        mu: of the steps at x0, whose unit is that of pixels in [-1, 1].
        rounds: how many of those.
        spread, draws: of the noise.
        seed: an image draws it by the seed, t, and where xt is positive.

    Raises:
        ValueError: for fewer than one draw, or none of rho and mu.
    """
    require(draws >= 1, "the number of draws", draws, "at least 1")
    require(bool(rho or (mu and rounds)), "rho and mu", (rho, mu), "not both 0")
    return TrainingFree(denoise, classifier, rho, mu, rounds, spread, draws, seed)


@torch.no_grad()
def recurrent(
    denoise: Denoiser, x: Tensor, y: Tensor | None = None, *, steps: Steps = 50, noise: Noise | None = None,
    times: int = 2,
) -> Iterator[SampleStep]:  # fmt: skip
    """DDIM whose every step is taken so many `times`: between them x is noised back to where the step began (as
    universal guidance, arXiv:2302.07121, and FreeDoM do), so that errors are forgotten and a guide is heard again.
    ValueError for no time; without `noise`, that of x."""
    require(times >= 1, "times", times, "at least 1")
    denoise, schedule, noise = begin(denoise), denoise.schedule.respace(steps), noise or noise_of(x)
    for k, i in enumerate(reversed(range(schedule.T)), 1):
        t = torch.full((len(x),), int(schedule.timesteps[i]), device=x.device)
        keep = float(schedule.alpha_bar[i] / schedule.alpha_bar_prev[i])
        for again in range(times):
            if again:
                x = keep**0.5 * x + (1 - keep) ** 0.5 * noise((k - 1) * (times - 1) + again, x.shape).to(x)
            prediction = denoise(x, t, y)
            x, _ = implicit(schedule, i, x, prediction, eta=0.0)
        yield SampleStep(k, int(t[0]), x, prediction.x0)
