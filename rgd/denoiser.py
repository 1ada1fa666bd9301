"""Denoisers: from whatever a network predicts to one answer, (xt, t, y) -> Prediction(x0, eps, fraction).

Samplers and guidance know nothing else. A Gaussian mixture (`rgd.mixture`) is a denoiser too, an exact one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Protocol, Self, TypeVar

from torch import Tensor, nn

from rgd.errors import one_of
from rgd.schedule import Schedule

Predicts = Literal["eps", "x0", "v"]
Variance = Literal["small", "large", "learned"]


@dataclass(frozen=True)
class Prediction:
    """What a denoiser says of xt: the expected clean image x0 and noise eps, (B, C, H, W), which always agree with xt.

    `fraction` is where the variance of a reverse step lies between beta_tilde (0) and beta (1), see
    `Schedule.log_variance`; it broadcasts against x0. `gradient`, if any, is a guidance gradient that shifts the mean
    of an ancestral step by Sigma_t times itself (ADM's form); guidance in the score form moves x0 and eps instead.
    """

    x0: Tensor
    eps: Tensor
    fraction: Tensor
    gradient: Tensor | None = None


class Denoiser(Protocol):
    """Anything that can be sampled from: a callable that knows its schedule."""

    @property
    def schedule(self) -> Schedule:
        """The process whose times t it understands."""

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        """xt float (B, C, H, W), unbounded; t int64 (B,); y int64 (B,) or None."""


Part = TypeVar("Part")


def begin(part: Part) -> Part:
    """A denoiser or gradient at the start of a trajectory, as every sampler asks for it: what remembers its calls, such
    as `rgd.smooth`, or holds such a part, has a method `begin()` that gives a copy without memories."""
    return part.begin() if hasattr(part, "begin") else part


@dataclass(frozen=True, eq=False)
class Holder:
    """What holds denoisers or gradients in its fields."""

    def over(self, change: Callable[[Any], Any]) -> Self:
        """A copy with every field changed."""
        return replace(self, **{f.name: change(getattr(self, f.name)) for f in fields(self)})

    def begin(self) -> Self:
        """See `begin`."""
        return self.over(begin)


@dataclass(frozen=True, eq=False)
class Wrapper(Holder):
    """A denoiser around a denoiser, whose schedule it keeps."""

    denoise: Denoiser

    @property
    def schedule(self) -> Schedule:
        """The schedule of the denoiser inside."""
        return self.denoise.schedule


def open_ended(part: Part) -> Part:
    """The same denoiser, its x0 not cut to the pixel range."""
    if isinstance(part, Holder):
        return part.over(open_ended)
    return replace(part, clip=False) if isinstance(part, NetworkDenoiser) else part


def split_output(output: Tensor, channels: int) -> tuple[Tensor, Tensor | None]:
    """A network's output as (prediction, variance channels or None)."""
    if output.shape[1] not in (channels, 2 * channels):
        wanted = f"{channels} channels, or {2 * channels} where it learns the variance"
        raise ValueError(f"for images of {channels} channels a network gives {wanted}, not {output.shape[1]}")
    prediction, *variance = output.split(channels, dim=1)
    return prediction, variance[0] if variance else None


def x0_from(predicts: Predicts, output: Tensor, xt: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """The clean image behind a prediction of eps, of x0, or of v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x0."""
    if predicts == "eps":
        return schedule.x0_from_eps(xt, t, output)
    if predicts == "v":
        return schedule.at("signal", t, xt) * xt - schedule.at("sigma", t, xt) * output
    one_of("what a network predicts", predicts, Predicts)
    return output


@dataclass(frozen=True, eq=False)
class NetworkDenoiser:
    """A network (xt, t, y) -> output as a denoiser, on the schedule that it was trained on.

    Its first C output channels are what it `predicts`. The variance of a reverse step is beta_tilde ("small"), beta
    ("large"), or "learned", from C more channels in [-1, 1] (Nichol & Dhariwal eq. 15). With `clip`, x0 is cut to the
    pixel range [-1, 1], and eps follows it; xt itself is never cut. A network that is not `conditional` is called as
    (xt, t), and never shown the labels meant for its guide. ValueError for a `predicts` or `variance` that is none.
    """

    network: nn.Module
    schedule: Schedule
    predicts: Predicts = "eps"
    variance: Variance = "large"
    clip: bool = True
    conditional: bool = False

    def __post_init__(self) -> None:
        one_of("what a network predicts", self.predicts, Predicts)
        one_of("the variance of a reverse step", self.variance, Variance)

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        output = self.network(xt, t, y) if self.conditional and y is not None else self.network(xt, t)
        output, variance = split_output(output.to(xt.dtype), xt.shape[1])
        if (variance is not None) != (self.variance == "learned"):
            channels = "no variance channels" if variance is None else "variance channels"
            raise ValueError(f"variance={self.variance!r} does not fit a network with {channels}")
        x0 = x0_from(self.predicts, output, xt, t, self.schedule)
        x0 = x0.clamp(-1, 1) if self.clip else x0
        fraction = xt.new_full((), float(self.variance == "large")) if variance is None else (variance + 1) / 2
        return Prediction(x0, self.schedule.eps_from_x0(xt, t, x0), fraction)
