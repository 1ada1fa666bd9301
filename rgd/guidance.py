"""Guidance: a wrapper around a denoiser that returns a denoiser, so that every guidance works with every sampler."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from rgd.attacks import Classifier, lengths, log_prob
from rgd.denoiser import Denoiser, Prediction, Wrapper, open_ended
from rgd.errors import one_of, require
from rgd.schedule import Schedule, per_image

Form = Literal["score", "mean"]
Interval = tuple[float, float]
"""(lowest t, first t above it)."""
Gradient = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(xt (B, C, H, W), t (B,), y (B,)) -> a gradient of the shape of xt."""


def grad_log_prob(classifier: Classifier) -> Gradient:
    """The gradient that decides everything: (xt, t, y) -> grad_xt log p(y | xt, t). ValueError where y is None.

    A classifier that knows its gradient in closed form (a `Mixture`) offers it as `.grad_log_prob` and is believed.
    """
    if hasattr(classifier, "grad_log_prob"):
        return classifier.grad_log_prob

    def gradient(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        if y is None:
            raise ValueError("a classifier's gradient points to a class: give labels y, int64 of shape (B,)")
        with torch.enable_grad():
            xt = xt.detach().requires_grad_()
            return torch.autograd.grad(log_prob(classifier(xt, t), y).sum(), xt)[0]

    return gradient


def grad_log_prob_of_x0(classifier: Classifier, denoise: Denoiser) -> Gradient:
    """grad_xt log p(y | x0_hat(xt)) for a classifier that never saw noise, differentiated through it and the denoiser.

    The classifier is asked at t = 0, of the denoiser's x0 before that is cut to the pixel range, which would make the
    derivative zero (as on every black pixel).
    """
    uncut = open_ended(denoise)

    def of_x0(xt: Tensor, t: Tensor) -> Tensor:
        return classifier(uncut(xt, t).x0, torch.zeros_like(t))

    return grad_log_prob(of_x0)


@dataclass(frozen=True)
class GuidanceRecord:
    """What one guided step did, image by image, (B,): at time t, with a gradient of length `gradient_norm` before the
    scale, it moved eps by `relative` = ||sqrt(1 - alpha_bar) s g|| / ||eps||."""

    t: Tensor
    gradient_norm: Tensor
    relative: Tensor


LOST = 1e-5
"""The alpha_bar below which nothing of an image is left in xt; x_T of the linear schedule has 4e-5."""


def _within_reach(x0_shift: Tensor, alpha_bar: Tensor, scale: float) -> Tensor:
    """How much of a shift to keep, shaped to multiply it: less than 1 only where alpha_bar < `LOST`.

    Guidance moves x0 by s g sigma^2 / sqrt(alpha_bar): with the exact g by s (E[x0 | xt, y] - E[x0 | xt]), between
    images in [-1, 1] no more than 2 s sqrt(C H W). A learned g is not quite zero where the factor is 20,000, as at the
    end of the cosine schedule; the next step, if it is a long one, would take over an image far beyond any.
    """
    most = 2 * abs(scale) * math.sqrt(math.prod(x0_shift.shape[1:]))
    share = per_image((most / lengths(x0_shift)).clamp(max=1), x0_shift)
    return torch.where(alpha_bar < LOST, share, 1)


def _eps_shift(shift: Tensor, t: Tensor, schedule: Schedule, scale: float) -> Tensor:
    """By how much guidance in the score form lowers eps, for shift = s g."""
    sigma, signal, alpha_bar = (schedule.at(name, t, shift) for name in ("sigma", "signal", "alpha_bar"))
    eps_shift = sigma * shift
    return eps_shift * _within_reach(sigma / signal * eps_shift, alpha_bar, scale)


def _move(prediction: Prediction, eps_shift: Tensor, t: Tensor, schedule: Schedule) -> Prediction:
    ratio = schedule.at("sigma", t, eps_shift) / schedule.at("signal", t, eps_shift)
    return replace(prediction, x0=prediction.x0 + ratio * eps_shift, eps=prediction.eps - eps_shift)


def move(prediction: Prediction, gradient: Tensor, t: Tensor, schedule: Schedule, scale: float) -> Prediction:
    """A prediction at t (B,), guided by a gradient g (B, C, H, W) at a scale, in the score form; see `guide`."""
    return _move(prediction, _eps_shift(scale * gradient, t, schedule, scale), t, schedule)


@dataclass(frozen=True, eq=False)
class Guided(Wrapper):
    """A denoiser steered by a gradient; made by `guide`."""

    gradient: Gradient
    scale: float
    interval: Interval
    form: Form
    record: Callable[[GuidanceRecord], None] | None

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        return self.both(xt, t, y)[1]

    def both(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> tuple[Prediction, Prediction]:
        """What the denoiser says, and the same guided."""
        prediction, inside = self.denoise(xt, t, y), _inside(t, self.interval)
        if self.scale == 0 or not inside.any():
            return prediction, prediction  # and the classifier is not even called
        gradient = self.gradient(xt, t, y)  # type: ignore[arg-type]
        shift = torch.where(per_image(inside, xt), self.scale * gradient, 0)
        if self.form == "mean":
            eps_shift = self.schedule.at("sigma", t, xt) * shift
            earlier = 0 if prediction.gradient is None else prediction.gradient
            moved = replace(prediction, gradient=earlier + shift)
        else:
            eps_shift = _eps_shift(shift, t, self.schedule, self.scale)
            moved = _move(prediction, eps_shift, t, self.schedule)
        if self.record is not None:
            self.record(GuidanceRecord(t, lengths(gradient), lengths(eps_shift) / lengths(prediction.eps)))
        return prediction, moved


def guide(
    denoise: Denoiser, gradient: Gradient, scale: float = 1.0, interval: Interval = (0, math.inf), form: Form = "score",
    record: Callable[[GuidanceRecord], None] | None = None,
) -> Guided:  # fmt: skip
    """Classifier guidance (Dhariwal & Nichol 2021), always with the gradient g at xt.

    Args:
        denoise: receives the labels too: wrap a conditional one in `unconditional` to keep them from it. At scale 1
            guidance is Bayes' rule, exact only if the denoiser is unconditional.
        gradient: g; for a classifier, `grad_log_prob(classifier)`.
        scale: s; 0 leaves the denoiser as it is, without calling the classifier.
        interval: guide only where interval[0] <= t < interval[1].
        form: "score" moves eps by -sqrt(1 - alpha_bar) s g, for every sampler; where xt is all noise, though, x0 by no
            more than images differ. "mean" is ADM's and the paper's ancestral form: the mean shifts by Sigma_t s g,
            which only `ddpm` can do.
        record: called with a `GuidanceRecord` at each guided step, e.g. `records.append`.

    Raises ValueError if the scale or the interval is not a number, or the form unknown.
    """
    _check(scale, interval)
    one_of("the form of guidance", form, Form)
    return Guided(denoise, gradient, scale, interval, form, record)


@dataclass(frozen=True, eq=False)
class Unconditional(Wrapper):
    """A denoiser that never sees the label; made by `unconditional`."""

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        return self.denoise(xt, t, None)


def unconditional(denoise: Denoiser) -> Unconditional:
    """The same denoiser without labels: of a conditional network, its null label."""
    return Unconditional(denoise)


@dataclass(frozen=True, eq=False)
class Extrapolated(Wrapper):
    """Away from a weak denoiser, through a strong one and beyond; made by `classifier_free` and `autoguidance`."""

    weak: Denoiser
    scale: float
    interval: Interval

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        plain = self.scale == 1 or not _inside(t, self.interval).any()
        return self.denoise(xt, t, y) if plain else self.both(xt, t, y)[1]

    def both(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> tuple[Prediction, Prediction]:
        """What the weak denoiser says, and what lies beyond the strong one."""
        strong, weak = self.denoise(xt, t, y), self.weak(xt, t, y)
        more = (self.scale - 1) * per_image(_inside(t, self.interval), xt).to(xt)
        x0, eps = strong.x0 + more * (strong.x0 - weak.x0), strong.eps + more * (strong.eps - weak.eps)
        return weak, replace(strong, x0=x0, eps=eps)


def classifier_free(denoise: Denoiser, scale: float, interval: Interval = (0, math.inf)) -> Extrapolated:
    """Classifier-free guidance (Ho & Salimans 2022): eps_null + scale (eps_y - eps_null).

    Scale 1 is the conditional model (their w = 0), 0 the unconditional one. The denoiser must answer to y = None.
    ValueError as for `guide`.
    """
    return autoguidance(denoise, unconditional(denoise), scale, interval)


def autoguidance(denoise: Denoiser, worse: Denoiser, scale: float, interval: Interval = (0, math.inf)) -> Extrapolated:
    """Autoguidance (Karras et al. 2024): away from a worse version of the same model, given the same label.

    ValueError as for `guide`.
    """
    _check(scale, interval)
    return Extrapolated(denoise, worse, scale, interval)


def _check(scale: float, interval: Interval) -> None:
    require(math.isfinite(scale), "the guidance scale", scale, "a finite number")
    require(interval[0] <= interval[1], "the interval", interval, "(lowest t, first t above it)")


def _inside(t: Tensor, interval: Interval) -> Tensor:
    return (t >= interval[0]) & (t < interval[1])
