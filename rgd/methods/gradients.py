"""Gradients other than the classifier's own at xt: cheaper, steadier, or kept from becoming too long."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rgd.attacks import Classifier, lengths, log_prob
from rgd.denoiser import Denoiser, Holder, begin
from rgd.errors import require
from rgd.guidance import Gradient
from rgd.schedule import Schedule, per_image


def logits_and_gradient(classifier: Classifier, xt: Tensor, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, K) and grad_xt log p(y | xt, t), from one call; a closed form, `grad_log_prob`, is believed."""
    if hasattr(classifier, "grad_log_prob"):
        return classifier(xt, t), classifier.grad_log_prob(xt, t, y)
    with torch.enable_grad():
        xt = xt.detach().requires_grad_()
        logits = classifier(xt, t)
        return logits.detach(), torch.autograd.grad(log_prob(logits, y).sum(), xt)[0]


def grad_log_prob_at_x0(classifier: Classifier, denoise: Denoiser, tau: tuple[float, float] = (1.0, 0.5)) -> Gradient:
    """EluCD's gradient (arXiv:2310.11311): at the detached x0_hat(xt), so that the denoiser is not differentiated.

    grad log [exp(tau_1 f_y) / sum_k exp(tau_2 f_k)], where a tau_2 below tau_1 flattens the marginal term, times
    sin(pi t / T), which is small at both ends of the process.
    """
    T = int(denoise.schedule.timesteps[-1]) + 1  # also of a process that was respaced

    def gradient(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            x0 = denoise(xt, t).x0
        with torch.enable_grad():
            x0 = x0.requires_grad_()
            logits = classifier(x0, torch.zeros_like(t))
            beyond = (tau[0] - tau[1]) * logits.gather(1, y[:, None])[:, 0]
            (at_x0,) = torch.autograd.grad((beyond + log_prob(tau[1] * logits, y)).sum(), x0)
        return per_image((math.pi * (t + 0.5) / T).sin().to(xt), xt) * at_x0

    return gradient


@dataclass(frozen=True, eq=False)
class Smoothed:
    """A gradient averaged over the calls of a trajectory; made by `smooth`."""

    gradient: Gradient
    decay: float

    def begin(self) -> Gradient:
        """The average over one trajectory, which starts here."""
        gradient, mean = begin(self.gradient), None

        def average(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
            nonlocal mean
            now = gradient(xt, t, y)
            mean = now if mean is None else torch.lerp(now, mean, self.decay)
            return mean

        return average

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Outside a trajectory there is no past: the gradient itself."""
        return self.gradient(xt, t, y)


def smooth(gradient: Gradient, decay: float = 0.9) -> Smoothed:
    """The exponential average of a gradient over the steps of sampling, which steadies that of a classifier of x0.

    Every trajectory has its own: samplers begin one by `rgd.denoiser.begin`, and a denoiser of your own around a guided
    one passes `begin` on. Heun's method asks twice a step, and both answers count. ValueError unless 0 <= decay < 1.
    """
    require(0 <= decay < 1, "the weight of the past", decay, "in [0, 1)")
    return Smoothed(gradient, decay)


@dataclass(frozen=True, eq=False)
class Capped(Holder):
    """A gradient that is nowhere too long; made by `cap`."""

    gradient: Gradient
    schedule: Schedule
    most: float

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        g, sigma = self.gradient(xt, t, y), self.schedule.at("sigma", t, xt)
        return g * (self.most / per_image(lengths(sigma * g), xt).clamp(min=self.most))


def cap(gradient: Gradient, schedule: Schedule, most: float = 3.0) -> Capped:
    """The same direction, but nowhere so long that sqrt(1 - alpha_bar) ||g||_2 is more than `most`, image by image.

    For a gradient that is far too long where the noise is strong, as that of a classifier that never saw noise is. At
    scale s guidance then moves eps, whose own length is about sqrt(C H W), by at most s times `most`. ValueError unless
    most > 0.
    """
    require(most > 0, "the greatest length", most, "positive")
    return Capped(gradient, schedule, most)
