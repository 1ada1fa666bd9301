"""The noise schedule: how much of an image is left at each time t.

xt = sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps, for t = 0 (almost clean) ... T - 1 (almost pure noise).
Every table (T,) follows from `alpha_bar`, in float64, and is cast where it is used. A time t is everywhere the one that
the network was trained with, also after `respace`; only a table itself is indexed by row.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from rgd.errors import one_of, require


def per_image(value: Tensor, like: Tensor) -> Tensor:
    """Numbers (B,), shaped to multiply images."""
    return value.reshape(-1, *[1] * (like.ndim - 1))


@dataclass(frozen=True, eq=False)
class Schedule:
    """A discrete diffusion process. Two with the same tables are equal.

    `alpha_bar`, strictly decreasing inside (0, 1), is the share of the variance that is still image; `timesteps`, int64
    and rising, are the times by which a network knows the steps: 0 to T - 1, except after `respace`. ValueError if not.
    """

    alpha_bar: Tensor
    timesteps: Tensor = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        alpha_bar = torch.as_tensor(self.alpha_bar, dtype=torch.float64).cpu()
        if alpha_bar.ndim != 1 or len(alpha_bar) == 0:
            raise ValueError(f"alpha_bar must be a non-empty vector, not of shape {tuple(alpha_bar.shape)}")
        if not (alpha_bar[0] < 1 and alpha_bar[-1] > 0 and (alpha_bar.diff() < 0).all()):
            raise ValueError("alpha_bar must decrease strictly and stay inside (0, 1)")
        timesteps = torch.arange(len(alpha_bar)) if self.timesteps is None else self.timesteps
        timesteps = torch.as_tensor(timesteps, dtype=torch.int64).cpu()
        if len(timesteps) != len(alpha_bar):
            raise ValueError(f"{len(alpha_bar)} values of alpha_bar need as many timesteps, not {len(timesteps)}")
        if timesteps[0] < 0 or not (timesteps.diff() > 0).all():
            raise ValueError(f"timesteps rise strictly from 0 or more, not as {timesteps.tolist()}")
        object.__setattr__(self, "alpha_bar", alpha_bar)
        object.__setattr__(self, "timesteps", timesteps)

    def _bytes(self) -> tuple[bytes, bytes]:
        return self.alpha_bar.numpy().tobytes(), self.timesteps.numpy().tobytes()

    def __eq__(self, other: object) -> bool:
        return self._bytes() == other._bytes() if isinstance(other, Schedule) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._bytes())

    def __repr__(self) -> str:
        first, last = float(self.alpha_bar[0]), float(self.alpha_bar[-1])
        return f"Schedule(T={self.T}, alpha_bar={first:.6g} to {last:.6g})"

    @property
    def T(self) -> int:
        """The number of steps."""
        return len(self.alpha_bar)

    @cached_property
    def signal(self) -> Tensor:
        """sqrt(alpha_bar), what x0 is multiplied by."""
        return self.alpha_bar.sqrt()

    @cached_property
    def sigma(self) -> Tensor:
        """sqrt(1 - alpha_bar), what eps is multiplied by. Float32 would lose the difference's digits near t = 0."""
        return (1 - self.alpha_bar).sqrt()

    @cached_property
    def alpha_bar_prev(self) -> Tensor:
        """alpha_bar one step less noisy, with 1 (a clean image) before the first."""
        return torch.cat([torch.ones(1, dtype=torch.float64), self.alpha_bar[:-1]])

    @cached_property
    def beta(self) -> Tensor:
        """The variance each step adds: 1 - alpha_bar_t / alpha_bar_{t-1}."""
        return 1 - self.alpha_bar / self.alpha_bar_prev

    @cached_property
    def posterior_variance(self) -> Tensor:
        """beta_tilde, the variance of q(x_{t-1} | xt, x0) (DDPM eq. 7); it is 0 at t = 0."""
        return self.beta * (1 - self.alpha_bar_prev) / (1 - self.alpha_bar)

    @cached_property
    def _rows(self) -> Tensor | None:
        """The row of each time, T (which is none) for a time left out; None where each time is its own row."""
        if torch.equal(self.timesteps, torch.arange(self.T)):
            return None
        rows = torch.full((int(self.timesteps[-1]) + 1,), self.T)
        rows[self.timesteps] = torch.arange(self.T)
        return rows

    @cached_property
    def _tables(self) -> dict[tuple[str, torch.device], Tensor]:
        return {}

    def _table(self, name: str, device: torch.device) -> Tensor:
        if (name, device) not in self._tables:  # each table moves to a device once; Apple's has no float64
            table = getattr(self, name)
            narrow = device.type == "mps" and table.is_floating_point()
            self._tables[name, device] = (table.float() if narrow else table).to(device)
        return self._tables[name, device]

    def at(self, name: str, t: Tensor, like: Tensor) -> Tensor:
        """The entries of the table `name` at times `t` (B,), in the type of `like` and shaped to multiply it.
        ValueError for a time that is none of `timesteps`; a GPU raises its own, later: to ask it would mean to wait."""
        try:
            rows = t if self._rows is None else self._table("_rows", t.device)[t]
            entries = self._table(name, t.device)[rows]
        except IndexError as error:
            known = f"the {self.T} of its `timesteps`, {int(self.timesteps[0])} to {int(self.timesteps[-1])}"
            other = sorted({*t.tolist()} - {*self.timesteps.tolist()})[:5]
            raise ValueError(f"a schedule knows only {known}, not t = {', '.join(map(str, other))}") from error
        return per_image(entries.to(like.dtype), like)

    def q_sample(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """xt given x0, t (B,) and the noise eps (DDPM eq. 4)."""
        return self.at("signal", t, x0) * x0 + self.at("sigma", t, x0) * eps

    def x0_from_eps(self, xt: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """The x0 that xt and the noise eps imply."""
        return (xt - self.at("sigma", t, xt) * eps) / self.at("signal", t, xt)

    def eps_from_x0(self, xt: Tensor, t: Tensor, x0: Tensor) -> Tensor:
        """The noise that xt and x0 imply."""
        return (xt - self.at("signal", t, xt) * x0) / self.at("sigma", t, xt)

    @cached_property
    def _posterior_x0(self) -> Tensor:
        return self.alpha_bar_prev.sqrt() * self.beta / (1 - self.alpha_bar)

    @cached_property
    def _posterior_xt(self) -> Tensor:
        return (1 - self.beta).sqrt() * (1 - self.alpha_bar_prev) / (1 - self.alpha_bar)

    def posterior_mean(self, x0: Tensor, xt: Tensor, t: Tensor) -> Tensor:
        """The mean of q(x_{t-1} | xt, x0) (DDPM eq. 7)."""
        return self.at("_posterior_x0", t, xt) * x0 + self.at("_posterior_xt", t, xt) * xt

    @cached_property
    def log_beta(self) -> Tensor:
        """log beta_t, the upper end of the variance of a reverse step."""
        return self.beta.log()

    @cached_property
    def log_posterior_variance(self) -> Tensor:
        """log beta_tilde_t, its lower end. At t = 0, where beta_tilde is 0, the value of t = 1 stands in."""
        variance = self.posterior_variance.clone()
        variance[0] = variance[1] if self.T > 1 else self.beta[0]
        return variance.log()

    def log_variance(self, t: Tensor, fraction: Tensor) -> Tensor:
        """Log variance of a reverse step, interpolated from beta_tilde (`fraction` 0) to beta (1) (Nichol & Dhariwal
        eq. 15). The fraction does not depend on the steps taken: a network that predicts it serves every respacing."""
        low, high = self.at("log_posterior_variance", t, fraction), self.at("log_beta", t, fraction)
        return fraction * high + (1 - fraction) * low

    def respace(self, steps: int | str | Sequence[int] | None) -> Schedule:
        """The same process seen at fewer times; alpha_bar at the kept times is unchanged.

        None keeps all; an integer n keeps n evenly spaced times, the first and last among them (1 keeps the last, where
        sampling starts); a sequence, or "10,15,25", gives a count for each of equally long sections; "ddim25" strides
        evenly from t = 0, and "quadratic25" keeps both ends and is denser where there is little noise. (Both after the
        DDIM paper, whose own quadratic spacing leaves out the noisiest fifth.) "25 from 40" and "quadratic25 from 40"
        begin at t = 40 in place of 0, where sampling ends. ValueError for what cannot be had.
        """
        if steps is None:
            return self
        kept = torch.tensor(_kept_times(self.T, steps))
        return Schedule(self.alpha_bar[kept], self.timesteps[kept])


def _kept_times(T: int, steps: int | str | Sequence[int]) -> list[int]:
    if isinstance(steps, str):
        spacing = re.fullmatch(r"ddim(\d+)|(quadratic|)(\d+)(?: from (\d+))?|\d+(,\d+)*", steps)
        if not spacing:
            raise ValueError(f"steps are a number, '10,15,25', 'ddim25', 'quadratic25' or '25 from 40', not {steps!r}")
        if spacing[2] or spacing[4]:
            count, first, power = int(spacing[3]), int(spacing[4] or 0), 2 if spacing[2] else 1
            if not 2 <= count <= T - first:
                raise ValueError(f"of {T} times, 2 to {T - first} can be kept from {first} on, not {count}")
            low, high = first ** (1 / power), (T - 1) ** (1 / power)
            even = [low + (high - low) * i / (count - 1) for i in range(count)]
            return [max(first + i, int(place**power + 1e-9)) for i, place in enumerate(even)]
        if spacing[1]:
            stride = next((stride for stride in range(1, T + 1) if len(range(0, T, stride)) == int(spacing[1])), None)
            if stride is None:
                raise ValueError(f"no integer stride visits exactly {spacing[1]} of {T} times; try {spacing[1]} alone")
            return list(range(0, T, stride))
        steps = [int(count) for count in steps.split(",")]
    counts = list(steps) if isinstance(steps, Iterable) else [operator.index(steps)]
    if counts == [1]:
        return [T - 1]
    if not counts or min(counts) < 1:
        raise ValueError(f"a schedule needs at least one step in each section, not {counts}")
    kept: list[int] = []
    for section, count in zip(torch.arange(T).tensor_split(len(counts)), counts):
        times = section.tolist()
        if count > len(times):
            raise ValueError(f"{count} steps cannot be taken from a section of {len(times)} times; None takes all")
        gap = (len(times) - 1) / max(count - 1, 1)
        kept += [times[round(i * gap)] for i in range(count)]
    return kept


def linear(T: int = 1000) -> Schedule:
    """beta rises linearly from 1e-4 to 0.02 (DDPM), scaled by 1000 / T so that x_T is noise for any T."""
    require(T >= 1, "T", T, "at least 1")
    beta = torch.linspace(0.1 / T, min(20 / T, 0.999), T, dtype=torch.float64)
    return Schedule((1 - beta).cumprod(0))


def cosine(T: int = 1000) -> Schedule:
    """alpha_bar follows a squared cosine (Nichol & Dhariwal eq. 17), each beta capped at 0.999."""
    require(T >= 1, "T", T, "at least 1")
    time = torch.linspace(0, 1, T + 1, dtype=torch.float64)
    f = ((time + 0.008) / 1.008 * math.pi / 2).cos() ** 2
    return Schedule((1 - (1 - f[1:] / f[:-1]).clamp(max=0.999)).cumprod(0))


def karras(T: int = 1000, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Schedule:
    """Noise levels sigma = sqrt((1 - alpha_bar) / alpha_bar) whose rho-th roots are evenly spaced (EDM eq. 5)."""
    require(T >= 2, "T", T, "at least 2")
    require(0 < sigma_min < sigma_max, "sigma_min and sigma_max", (sigma_min, sigma_max), "0 < sigma_min < sigma_max")
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    sigma = torch.linspace(low, high, T, dtype=torch.float64) ** rho
    return Schedule(1 / (1 + sigma**2))


def named(name: str, T: int = 1000) -> Schedule:
    """The schedule of that name, "linear" or "cosine"; ValueError for any other."""
    makers = {"linear": linear, "cosine": cosine}
    one_of("a schedule", name, makers)
    return makers[name](T)
