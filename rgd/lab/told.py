"""A U-Net that is told how strongly to guide: the student of a guided denoiser (Meng et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor, nn

from rgd.networks import UNet, UNetConfig, build, register
from rgd.schedule import per_image


@dataclass(frozen=True, kw_only=True)
class ToldConfig(UNetConfig):
    """A U-Net that is told the scale of guidance, which is `scale` where nobody says it."""

    scale: float = 1.0


@register(ToldConfig)
class Told(nn.Module):
    """A U-Net that is told the scale of guidance, by one more channel."""

    def __init__(self, config: ToldConfig) -> None:
        super().__init__()
        known = {field.name: getattr(config, field.name) for field in fields(UNetConfig)}
        self.config, self.unet = config, build(UNetConfig(**known | {"in_channels": config.in_channels + 1}))

    @classmethod
    def of(cls, unet: UNet, scale: float) -> Self:
        """Made of one that is not told: it begins by saying at every scale what that one says."""
        told, weights = cls(ToldConfig(**vars(unet.config), scale=scale)), unet.state_dict()
        stem = weights["input_blocks.0.0.weight"]
        weights["input_blocks.0.0.weight"] = torch.cat([stem, torch.zeros_like(stem[:, : unet.patch**2])], dim=1)
        told.unet.load_state_dict(weights)
        return told

    def forward(self, xt: Tensor, t: Tensor, y: Tensor | None = None, scale: Tensor | None = None) -> Tensor:
        scale = xt.new_full((len(xt),), self.config.scale) if scale is None else scale
        return self.unet(torch.cat([xt, per_image(scale, xt).expand_as(xt[:, :1])], dim=1), t, y)

    def at(self, scale: float | Tensor) -> Any:
        """The network (xt, t, y) at one scale, or at one for each image (B,)."""
        return lambda xt, t, y=None: self(xt, t, y, torch.as_tensor(scale, dtype=xt.dtype).expand(len(xt)))
