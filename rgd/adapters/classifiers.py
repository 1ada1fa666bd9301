"""Classifiers of others, which never saw noise: as guides through the denoiser's estimate x0, and as judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rgd.errors import one_of, require

MODES = ("nearest", "bilinear", "bicubic")


@dataclass(frozen=True)
class Sees:
    """How a network of others sees an image: the `mean` and `std` of its channels, pixels in [0, 1]; the `size`
    (height, width) to which the *whole* image is resized, None for as it is; and by which interpolation.

    The default is for a network that takes pixels in [-1, 1]. Libraries' own transforms enlarge an image and then cut
    its borders off, which suits photographs of 500 pixels: of a small image the borders are part.
    """

    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    size: tuple[int, int] | None = None
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        one_of("the interpolation", self.interpolation, MODES)
        fits = len(self.mean) == len(self.std) and min(self.std) > 0
        require(fits, "mean and std", (self.mean, self.std), "as many, and every std above 0")

    def __call__(self, x0: Tensor) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] as the network wants them; grey ones in as many channels as it wants."""
        if len(self.mean) > 1 and x0.shape[1] == 1:
            x0 = x0.expand(-1, len(self.mean), -1, -1)
        if self.size is not None and x0.shape[2:] != self.size:
            smooth = {} if self.interpolation == "nearest" else {"antialias": True, "align_corners": False}
            x0 = F.interpolate(x0, self.size, mode=self.interpolation, **smooth)
        mean, std = (torch.tensor(values).to(x0).reshape(-1, 1, 1) for values in (self.mean, self.std))
        return ((x0 + 1) / 2 - mean) / std


class CleanClassifier(nn.Module):
    """A network of others as (x0 (B, C, H, W) in [-1, 1], t) -> logits (B, K); t is not looked at.

    As a guide it goes through the denoiser's estimate: `rgd.grad_log_prob_of_x0(classifier, denoise)`. `spec` says what
    the network is, for its identity, where it has no configuration of its own: a name, or the function that made it.
    """

    def __init__(self, network: nn.Module, sees: Sees | None = None, spec: Any = None) -> None:
        super().__init__()
        self.network, self.sees, self.spec = network.eval().requires_grad_(False), sees or Sees(), spec

    @property
    def config(self) -> Any:
        """How it sees, and what it is: its `spec`, or the network's own configuration, if it has one."""
        if self.spec is not None:
            return {"spec": self.spec, "sees": self.sees}
        own = getattr(self.network, "config", None) or getattr(self.network, "pretrained_cfg", None)
        return own and {"class": type(self.network).__name__, "config": dict(own), "sees": self.sees}

    def forward(self, x0: Tensor, t: Tensor | None = None) -> Tensor:
        return self.network(self.sees(x0))

    def features(self, x0: Tensor) -> Tensor:
        """(B, F): what its last linear layer is given."""
        *_, last = (module for module in self.network.modules() if isinstance(module, nn.Linear))
        given: list[Tensor] = []
        with last.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0])):
            self(x0)
        return given[0].flatten(1)


def from_timm(network: Any, size: Sequence[int] | None = None) -> CleanClassifier:
    """A timm model with the means, the size and the interpolation of its own `pretrained_cfg`.

    Args:
        network: from `timm.create_model`.
        size: (height, width) to resize to, for a network that was trained on others than its configuration says.
    """
    found: Mapping[str, Any] = network.pretrained_cfg
    wanted = tuple(size or found["input_size"][1:])
    how = found.get("interpolation", "bilinear")
    how = how if how in MODES else "bilinear"
    return CleanClassifier(network, Sees(tuple(found["mean"]), tuple(found["std"]), (wanted[0], wanted[1]), how))


def from_torchvision(network: nn.Module, transforms: Any, size: Sequence[int] | None = None) -> CleanClassifier:
    """A torchvision model with what belongs to its weights.

    Args:
        network: such as `resnet18(weights=weights)`.
        transforms: `weights.transforms()`.
        size: (height, width) to resize to, if not the weights' own crop.
    """
    wanted, how = tuple(size or (transforms.crop_size[0],) * 2), transforms.interpolation.value
    return CleanClassifier(network, Sees(tuple(transforms.mean), tuple(transforms.std), (wanted[0], wanted[1]), how))
