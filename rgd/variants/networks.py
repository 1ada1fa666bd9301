"""Networks that are a U-Net seen another way, and two that are none; each is built from a configuration, so that its
weights can name it. A class may say its `role`, which is then that of a model that holds it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from rgd.errors import require
from rgd.layers import wherever_asked
from rgd.networks import UNet, UNetConfig, build, register
from rgd.randomness import noise_at
from rgd.schedule import per_image


def unet_of(config: UNetConfig, **others: Any) -> UNet:
    """A plain U-Net by what such a configuration says of one, others aside."""
    unet: UNet = build(UNetConfig(**{field.name: getattr(config, field.name) for field in fields(UNetConfig)} | others))
    return unet


@dataclass(frozen=True, kw_only=True)
class ToldConfig(UNetConfig):
    """A U-Net that is told the scale of guidance, which is `scale` where nobody says it."""

    scale: float = 1.0


@register(ToldConfig)
class Told(nn.Module):
    """A U-Net told the scale of guidance, by one more channel: a guided denoiser's student (Meng et al. 2023)."""

    def __init__(self, config: ToldConfig) -> None:
        super().__init__()
        self.config, self.unet = config, unet_of(config, in_channels=config.in_channels + 1)

    @classmethod
    def of(cls, unet: UNet, scale: float) -> Self:
        """Made of one that is not told: it begins by saying at every scale what that one says."""
        told, weights = cls(ToldConfig(**vars(unet.config), scale=scale)), unet.state_dict()
        stem = weights["input_blocks.0.0.weight"]
        weights["input_blocks.0.0.weight"] = torch.cat([stem, torch.zeros_like(stem[:, : unet.patch**2])], dim=1)
        told.unet.load_state_dict(weights)
        return told

    def forward(self, xt: Tensor, t: Tensor, y: Tensor | None = None, scale: float | Tensor | None = None) -> Tensor:
        said = torch.as_tensor(self.config.scale if scale is None else scale).to(xt).expand(len(xt))
        return self.unet(torch.cat([xt, per_image(said, xt).expand_as(xt[:, :1])], dim=1), t, y)

    def at(self, scale: float | Tensor) -> Any:
        """The network (xt, t, y) at one scale, or at one for each image (B,). ValueError unless it is finite."""
        require(bool(torch.as_tensor(scale).isfinite().all()), "scale", scale, "finite")
        return partial(self, scale=scale)


@dataclass(frozen=True, kw_only=True)
class MadeConfig(UNetConfig):
    """A U-Net of xt and of a z of the same shape; `in_channels` are those of one."""


@register(MadeConfig)
class Made(nn.Module):
    """A generator for long steps (Xiao et al. 2022) as a network of x0: one of those that are possible, and not their
    mean. Its z is drawn by a seed, t, and where xt is positive: an image is the same in every batch."""

    def __init__(self, config: MadeConfig, unet: nn.Module | None = None) -> None:
        super().__init__()
        self.config, self.unet = config, unet or unet_of(config, in_channels=2 * config.in_channels)

    def forward(self, xt: Tensor, t: Tensor, seed: int = 0) -> Tensor:
        return self.unet(torch.cat([xt, noise_at(xt, t, seed, "z")], dim=1), t)

    def at(self, seed: int) -> Any:
        """The network (xt, t) that draws its z by another seed."""
        return partial(self, seed=seed)


@dataclass(frozen=True, kw_only=True)
class StraightConfig(UNetConfig):
    """A U-Net of the velocity on a path of `T` times."""

    T: int = 1000


@register(StraightConfig)
class Straight(nn.Module):
    """A network of the velocity eps - x0 on rectified flow's path (1 - s) x0 + s eps, s = (t + 1/2) / T, as one that
    predicts eps on the schedule of that path (`rgd.faster.flow.straight`): then DDIM's step is Euler's, and every guide
    and sampler knows it. `flow` (x, t) -> velocity may be another than the U-Net of the configuration."""

    def __init__(self, config: StraightConfig, flow: nn.Module | None = None) -> None:
        super().__init__()
        self.config, self.flow = config, unet_of(config) if flow is None else flow

    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        s = per_image((t.to(xt.dtype) + 0.5) / self.config.T, xt)
        x = ((1 - s).square() + s.square()).sqrt() * xt
        return x + (1 - s) * self.flow(x, t)


@dataclass(frozen=True)
class AutoencoderConfig:
    """An autoencoder of one-channel images, whose latents vary about as much as noise if multiplied by `scale`."""

    channels: int = 4
    width: int = 32
    scale: float = 1.0


class Row(nn.Sequential):
    """Layers, one after the other, which answer where they are asked, as networks do."""

    forward = wherever_asked(nn.Sequential.forward)


@register(AutoencoderConfig)
class Autoencoder(nn.Module):
    """Images (B, 1, H, W) to latents (B, channels, H / 4, W / 4) and back: two halves for `rgd.adapters.Latents`."""

    role = "autoencoder"

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config, channels, width = config, config.channels, config.width
        self.coder = Row(
            nn.Conv2d(1, width, 4, 2, 1), nn.SiLU(), nn.Conv2d(width, 2 * width, 4, 2, 1), nn.SiLU(),
            nn.Conv2d(2 * width, 2 * channels, 3, 1, 1),
        )  # fmt: skip
        self.decode = Row(
            nn.Conv2d(channels, 2 * width, 3, 1, 1), nn.SiLU(), nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
            nn.SiLU(), nn.ConvTranspose2d(width, width, 4, 2, 1), nn.SiLU(), nn.Conv2d(width, 1, 3, 1, 1),
        )  # fmt: skip

    def encode(self, x0: Tensor) -> Tensor:
        """The mean of the latents."""
        return self.coder(x0).chunk(2, dim=1)[0]

    def forward(self, x0: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.coder(x0).chunk(2, dim=1)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1)
        return self.decode(mean + (0.5 * log_variance).exp() * noise), kl


@dataclass(frozen=True)
class TableConfig:
    """A table of so many classes, whose entries have a shape."""

    classes: int
    shape: tuple[int, ...]


@register(TableConfig)
class Table(nn.Module):
    """What was learned of each class, in `values` (classes, ...): (y) -> (B, ...). ValueError for other labels."""

    role = "table"

    def __init__(self, config: TableConfig) -> None:
        super().__init__()
        self.config, self.values = config, nn.Parameter(torch.zeros(config.classes, *config.shape))

    def forward(self, y: Tensor) -> Tensor:
        labels, n = y.cpu().tolist(), len(self.values)
        require(set(labels) <= set(range(n)), "labels", labels, f"0 to {n - 1}")
        return self.values[y.to(self.values.device)].to(y.device)
