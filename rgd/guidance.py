"""Guidance: a wrapper around a denoiser that returns a denoiser, so that every guidance works with every sampler."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from rgd.attacks import Classifier
from rgd.denoiser import Denoiser, NetworkDenoiser, Prediction
from rgd.schedule import Schedule

Gradient = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(xt (B, C, H, W), t (B,), y (B,)) -> a gradient of the shape of xt."""


def grad_log_prob(classifier: Classifier) -> Gradient:
    """The gradient that decides everything: (xt, t, y) -> grad_xt log p(y | xt, t), of the shape of xt.

    A classifier that knows its gradient in closed form (a `Mixture`) offers it as `.grad_log_prob` and is believed.

    Raises (when called):
        ValueError: if y is None.
    """
    exact = getattr(classifier, "grad_log_prob", None)
    if exact is not None:
        return exact

    def gradient(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        if y is None:
            raise ValueError("a classifier's gradient points to a class: give labels y, int64 of shape (B,)")
        with torch.enable_grad():
            xt = xt.detach().requires_grad_()
            log_prob = classifier(xt, t).log_softmax(dim=1)
            return torch.autograd.grad(log_prob.gather(1, y[:, None]).sum(), xt)[0]

    return gradient


def grad_log_prob_of_x0(classifier: Classifier, denoise: Denoiser) -> Gradient:
    """grad_xt log p(y | x0_hat(xt)) for a classifier that never saw noise, differentiated through the denoiser.

    Each call costs a forward and a backward pass through both. The classifier is asked at t = 0. The denoiser's x0
    is taken before it is cut to the pixel range, where the derivative would be zero (as on every black pixel).
    """
    open_ended = _open_ended(denoise)

    def of_x0(xt: Tensor, t: Tensor) -> Tensor:
        return classifier(open_ended(xt, t).x0, torch.zeros_like(t))

    return grad_log_prob(of_x0)


def grad_log_prob_at_x0(classifier: Classifier, denoise: Denoiser, tau: tuple[float, float] = (1.0, 0.5)) -> Gradient:
    """EluCD's gradient (arXiv:2310.11311): at the detached x0_hat(xt), so that the denoiser is not differentiated.

    grad log [exp(tau_1 f_y) / sum_k exp(tau_2 f_k)], where a tau_2 below tau_1 flattens the marginal term, times
    sin(pi t / T), which is small at both ends of the process.
    """

    def gradient(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            x0 = denoise(xt, t).x0
        with torch.enable_grad():
            x0 = x0.requires_grad_()
            logits = classifier(x0, torch.zeros_like(t))
            joint = tau[0] * logits.gather(1, y[:, None])[:, 0] - (tau[1] * logits).logsumexp(dim=1)
            (at_x0,) = torch.autograd.grad(joint.sum(), x0)
        return _per_image((math.pi * (t + 0.5) / denoise.schedule.T).sin().to(xt), xt) * at_x0

    return gradient


class Smoothed:
    """A gradient averaged over the steps of a trajectory, with weight `decay` on the past; made by `smooth`."""

    def __init__(self, gradient: Gradient, decay: float) -> None:
        self.gradient, self.decay = gradient, decay
        self._mean: Tensor | None = None
        self._first = self._t = -1

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        now, gradient = int(t[0]), self.gradient(xt, t, y)
        # Sampling goes down in t: a rise, or a batch of another shape, is the start of a new trajectory. So is the time
        # of the start itself, at which a sampler asks once; Heun's, which asks twice at the others, has moved by then.
        new = self._mean is None or self._mean.shape != gradient.shape or now > self._t or now == self._first
        if self._mean is None or new:
            self._mean, self._first = gradient, now
        else:
            self._mean = torch.lerp(gradient, self._mean, self.decay)
        self._t = now
        return self._mean


def smooth(gradient: Gradient, decay: float = 0.9) -> Smoothed:
    """The exponential average of a gradient over the steps of sampling, which steadies that of a classifier of x0.

    Raises:
        ValueError: unless 0 <= decay < 1.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"the weight of the past lies in [0, 1), not {decay}")
    return Smoothed(gradient, decay)


def cap(gradient: Gradient, schedule: Schedule, most: float = 3.0) -> Gradient:
    """The same direction, but nowhere so long that sqrt(1 - alpha_bar) ||g||_2 is more than `most`, image by image.

    For a gradient that is far too long where the noise is strong, as that of a classifier that never saw noise is. At
    scale s guidance then moves eps, whose own length is about sqrt(C H W), by at most s times `most`.

    Raises:
        ValueError: unless most > 0.
    """
    if not most > 0:
        raise ValueError(f"the greatest length must be positive, not {most}")

    def gradient_within(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        g, sigma = gradient(xt, t, y), schedule.at("sigma", t, xt)
        return g * (most / _per_image((sigma * g).flatten(1).norm(dim=1), xt).clamp(min=most))

    return gradient_within


@dataclass(frozen=True)
class GuidanceRecord:
    """What one guided step did, image by image.

    Attributes:
        t: int64 (B,).
        gradient_norm: ||g||_2, before the scale, (B,).
        relative: how far guidance moved eps, relative to it: ||sqrt(1 - alpha_bar) s g|| / ||eps||, (B,).
    """

    t: Tensor
    gradient_norm: Tensor
    relative: Tensor


@dataclass(frozen=True, eq=False)
class Guided:
    """A denoiser steered by a gradient; made by `guide`."""

    denoise: Denoiser
    gradient: Gradient
    scale: float
    interval: tuple[float, float]
    form: Literal["score", "mean"]
    record: Callable[[GuidanceRecord], None] | None

    @property
    def schedule(self) -> Schedule:
        """The schedule of the denoiser inside."""
        return self.denoise.schedule

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        prediction = self.denoise(xt, t, y)
        inside = _inside(t, self.interval)
        if self.scale == 0 or not inside.any():
            return prediction  # and the classifier is not even called
        gradient = self.gradient(xt, t, y)  # type: ignore[arg-type]
        shift = torch.where(_per_image(inside, xt), self.scale * gradient, 0)
        sigma = self.schedule.at("sigma", t, xt)
        eps_shift = sigma * shift
        if self.record is not None:
            relative = eps_shift.flatten(1).norm(dim=1) / prediction.eps.flatten(1).norm(dim=1)
            self.record(GuidanceRecord(t, gradient.flatten(1).norm(dim=1), relative))
        if self.form == "mean":
            earlier = 0 if prediction.gradient is None else prediction.gradient
            return replace(prediction, gradient=earlier + shift)
        x0_shift = sigma / self.schedule.at("signal", t, xt) * eps_shift
        return replace(prediction, x0=prediction.x0 + x0_shift, eps=prediction.eps - eps_shift)


def guide(
    denoise: Denoiser,
    gradient: Gradient,
    scale: float = 1.0,
    interval: tuple[float, float] = (0, math.inf),
    form: Literal["score", "mean"] = "score",
    record: Callable[[GuidanceRecord], None] | None = None,
) -> Guided:
    """Classifier guidance (Dhariwal & Nichol 2021), always with the gradient g at xt.

    Args:
        denoise: any denoiser. It receives the labels too: wrap it in `unconditional` to keep them from a
            conditional one. At scale 1 guidance is Bayes' rule, exact only if the denoiser is unconditional.
        gradient: (xt, t, y) -> g; for a classifier, `grad_log_prob(classifier)`.
        scale: s; 0 leaves the denoiser as it is, without calling the classifier.
        interval: guide only where interval[0] <= t < interval[1].
        form: "score" moves eps by -sqrt(1 - alpha_bar) s g, for every sampler; "mean" is ADM's and the paper's
            ancestral form: the mean shifts by Sigma_t s g, which only `ddpm` can do.
        record: called with a `GuidanceRecord` at each guided step, e.g. `records.append`.

    Raises:
        ValueError: if the scale or the interval is not a number, or the form unknown.
    """
    _check(scale, interval)
    if form not in ("score", "mean"):
        raise ValueError(f"the form of guidance is 'score' or 'mean', not {form!r}")
    return Guided(denoise, gradient, scale, interval, form, record)


@dataclass(frozen=True, eq=False)
class Unconditional:
    """A denoiser that never sees the label; made by `unconditional`."""

    denoise: Denoiser

    @property
    def schedule(self) -> Schedule:
        """The schedule of the denoiser inside."""
        return self.denoise.schedule

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        return self.denoise(xt, t, None)


def unconditional(denoise: Denoiser) -> Unconditional:
    """The same denoiser without labels: of a conditional network, its null label."""
    return Unconditional(denoise)


@dataclass(frozen=True, eq=False)
class Extrapolated:
    """Away from a weak denoiser, through a strong one and beyond; made by `classifier_free` and `autoguidance`."""

    strong: Denoiser
    weak: Denoiser
    scale: float
    interval: tuple[float, float]

    @property
    def schedule(self) -> Schedule:
        """The schedule of the strong denoiser."""
        return self.strong.schedule

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        strong = self.strong(xt, t, y)
        inside = _inside(t, self.interval)
        if self.scale == 1 or not inside.any():
            return strong
        weak = self.weak(xt, t, y)
        beyond = (self.scale - 1) * _per_image(inside, xt).to(xt)
        return replace(
            strong,
            x0=strong.x0 + beyond * (strong.x0 - weak.x0),
            eps=strong.eps + beyond * (strong.eps - weak.eps),
        )


def classifier_free(denoise: Denoiser, scale: float, interval: tuple[float, float] = (0, math.inf)) -> Extrapolated:
    """Classifier-free guidance (Ho & Salimans 2022): eps_null + scale (eps_y - eps_null).

    Scale 1 is the conditional model (their w = 0), 0 the unconditional one. The denoiser must answer to y = None.

    Raises:
        ValueError: if the scale or the interval is not a number.
    """
    return autoguidance(denoise, unconditional(denoise), scale, interval)


def autoguidance(
    denoise: Denoiser, worse: Denoiser, scale: float, interval: tuple[float, float] = (0, math.inf)
) -> Extrapolated:
    """Autoguidance (Karras et al. 2024): away from a worse version of the same model, given the same label.

    Raises:
        ValueError: if the scale or the interval is not a number.
    """
    _check(scale, interval)
    return Extrapolated(denoise, worse, scale, interval)


def _open_ended(denoise: Denoiser) -> Denoiser:
    """The same denoiser, its x0 not cut to the pixel range."""
    if isinstance(denoise, Unconditional):
        return Unconditional(_open_ended(denoise.denoise))
    if isinstance(denoise, Guided):
        return replace(denoise, denoise=_open_ended(denoise.denoise))
    if isinstance(denoise, Extrapolated):
        return replace(denoise, strong=_open_ended(denoise.strong), weak=_open_ended(denoise.weak))
    return replace(denoise, clip=False) if isinstance(denoise, NetworkDenoiser) else denoise


def _check(scale: float, interval: tuple[float, float]) -> None:
    if not math.isfinite(scale):
        raise ValueError(f"the guidance scale must be a finite number, not {scale}")
    if math.isnan(interval[0]) or math.isnan(interval[1]) or interval[0] > interval[1]:
        raise ValueError(f"the interval is (lowest t, first t above it), not {interval}")


def _inside(t: Tensor, interval: tuple[float, float]) -> Tensor:
    return (t >= interval[0]) & (t < interval[1])


def _per_image(value: Tensor, like: Tensor) -> Tensor:
    return value.reshape(-1, *[1] * (like.ndim - 1))
