"""Other ways to use the difference between two denoisers: what is told the class and what is not, or strong and weak.

All take guidance of any kind, by a classifier (`guide`) or by labels (`classifier_free`, `autoguidance`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor, nn

from rgd.attacks import lengths
from rgd.denoiser import Denoiser, NetworkDenoiser, Prediction, Wrapper, begin
from rgd.errors import require
from rgd.guidance import Extrapolated, Guided
from rgd.layers import AttentionBlock, pointwise
from rgd.schedule import per_image


@dataclass(frozen=True, eq=False)
class PlainNoise(Wrapper):
    """The guided image with the unguided noise; made by `cfg_plus_plus`."""

    denoise: Guided | Extrapolated

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        plain, guided = self.denoise.both(xt, t, y)
        return replace(guided, eps=plain.eps)


def cfg_plus_plus(guided: Guided | Extrapolated) -> PlainNoise:
    """CFG++ (Chung et al. 2024, arXiv:2406.08070): x0 is guided, and what noise is added to it again is not.

    For `ddim`, the one sampler that uses both: the two no longer agree with xt. A DDIM step then ends lower by
    sqrt(1 - alpha_bar') times what guidance took from eps, so that scales do not compare with those of plain guidance.
    """
    return PlainNoise(guided)


@dataclass(frozen=True, eq=False)
class Projected(Wrapper):
    """A difference without the part along the image; made by `projected`."""

    denoise: Guided | Extrapolated
    momentum: float
    most: float
    parallel: float

    def begin(self) -> Denoiser:  # type: ignore[override]
        """One trajectory, whose differences are remembered."""
        inside, past = begin(self.denoise), None

        def along(difference: Tensor) -> Tensor:
            nonlocal past
            past = difference if past is None else difference + self.momentum * past
            return past

        return _Trajectory(inside, self, along)

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        """Outside a trajectory there is no past."""
        return self.turned(self.denoise, lambda difference: difference, xt, t, y)

    def turned(
        self, guided: Guided | Extrapolated, along: Callable[[Tensor], Tensor], xt: Tensor, t: Tensor, y: Tensor | None
    ) -> Prediction:
        """D_y + (s - 1) times what is left of D_y - D, where D_y is guidance at scale 1."""
        plain, moved = guided.both(xt, t, y)
        difference = (moved.x0 - plain.x0) / guided.scale
        towards = plain.x0 + difference
        left = along(difference)
        left = left * per_image((self.most / lengths(left)).clamp(max=1), xt)
        axis = towards / per_image(lengths(towards).clamp(min=1e-12), xt)
        shadow = per_image((left * axis).flatten(1).sum(1), xt) * axis
        x0 = towards + (guided.scale - 1) * (left - (1 - self.parallel) * shadow)
        return replace(moved, x0=x0, eps=guided.schedule.eps_from_x0(xt, t, x0))


@dataclass(frozen=True, eq=False)
class _Trajectory(Wrapper):
    denoise: Guided | Extrapolated
    how: Projected
    along: Callable[[Tensor], Tensor]

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        return self.how.turned(self.denoise, self.along, xt, t, y)


def projected(
    guided: Guided | Extrapolated, momentum: float = -0.5, most: float = math.inf, parallel: float = 0.0
) -> Projected:
    """Adaptive projected guidance (Sadat et al. 2024, arXiv:2410.02416), of x0.

    What lies between the guided image at scale 1, D_y, and the unguided one: to it comes `momentum` times what there
    was before; its length (pixel range [-1, 1], over the whole image) is cut to `most`; of its part along D_y, which
    only raises the contrast, the share `parallel` stays; and the image is D_y + (s - 1) times that. At scale 1 nothing
    changes. ValueError for guidance at scale 0, or in an interval: what lies outside has no D_y.
    """
    require(guided.scale != 0, "the scale", guided.scale, "other than 0")
    require(guided.interval == (0, math.inf), "the interval", guided.interval, "(0, inf)")
    require(most > 0, "the greatest length", most, "positive")
    return Projected(guided, momentum, most, parallel)


class _Alone(nn.Module):
    """An attention block whose every position attends to itself alone."""

    def __init__(self, block: AttentionBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        B, C = x.shape[:2]
        qkv = pointwise(self.block.qkv, self.block.norm(x).flatten(2))
        parts = (B, 3, C, -1) if self.block.new_order else (B, self.block.heads, 3, C // self.block.heads, -1)
        values = qkv.reshape(parts).select(-3, 2).reshape(B, C, -1)
        return x + pointwise(self.block.proj_out, values).reshape(x.shape)


def perturbed(denoise: NetworkDenoiser) -> NetworkDenoiser:
    """The weak model of perturbed-attention guidance (Ahn et al. 2024, arXiv:2403.17377): the same network, in a copy
    in which no position attends to another. `autoguidance(denoise, perturbed(denoise), 1 + s)` is theirs at scale s.
    ValueError for a network without our attention blocks."""
    network = copy.deepcopy(denoise.network)
    found = [(m, name) for m in network.modules() for name, b in m.named_children() if isinstance(b, AttentionBlock)]
    require(bool(found), "the network", type(network).__name__, "one with attention blocks, as `rgd.UNet` has")
    for parent, name in found:
        setattr(parent, name, _Alone(getattr(parent, name)))
    return replace(denoise, network=network)
