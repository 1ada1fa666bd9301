"""The judge: a small convolutional classifier of clean images, which scores samples and never guides."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rgd.layers import image_shape, wherever_asked
from rgd.networks import register


@dataclass(frozen=True, kw_only=True)
class JudgeConfig:
    """A plain convolutional classifier of clean images: it scores samples and never guides.

    Each of `stages` halves the image and has twice the width of the one before. The `fast` form is for
    photographs and few steps (after Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024): a fixed stem that
    nearly whitens 2 x 2 patches, convolutions that begin as the identity, images halved between a stage's two
    convolutions and not after them, and each channel's largest value in place of all its values. Once trained, it looks
    at an image and at its mirror image, and its features are the mean of both.
    """

    image_size: int | tuple[int, int]
    in_channels: int
    out_channels: int
    width: int = 32
    features: int = 64
    stages: int = 2
    fast: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return image_shape(self)


@register(JudgeConfig)
class Judge(nn.Module):
    """x0 -> logits: convolutional stages and one hidden layer, whose output is the `features`."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.config = config
        channels, *sides = config.shape
        layers: list[nn.Module] = []
        if config.fast:
            layers, channels, sides = [PatchStem(channels)], 8 * channels, [side - 1 for side in sides]
        for stage in range(config.stages):
            width = config.width * 2**stage
            layers += self._stage(channels, width, config.fast)
            channels, sides = width, [-(-side // 2) for side in sides]
        if config.fast:
            layers, sides = [*layers, nn.AdaptiveMaxPool2d(1)], [1]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * math.prod(sides), config.features))
        self.head = nn.Sequential(nn.ReLU(), nn.Dropout(0.3), nn.Linear(config.features, config.out_channels))
        self.to(memory_format=torch.channels_last)  # faster, on CPUs too

    @staticmethod
    def _stage(channels: int, width: int, fast: bool) -> list[nn.Module]:
        pool = nn.MaxPool2d(2, ceil_mode=True)
        layers: list[nn.Module] = []
        for c, after in ((channels, fast), (width, not fast)):
            convolution = nn.Conv2d(c, width, 3, padding=1, bias=False)
            if fast:
                nn.init.dirac_(convolution.weight.data[:c])
            layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
            layers += [pool] if after else []
        return layers

    def features(self, x0: Tensor) -> Tensor:
        """The (B, features) representation in which distances are measured."""
        if self.config.fast and not self.training:
            return (self.body(x0) + self.body(x0.flip(-1))) / 2
        return self.body(x0)

    def spatial(self, x0: Tensor) -> Tensor:
        """Seven channels of the last stage's output at every place, (B, 7 h w): as many as sFID takes."""
        last = next(i for i, layer in enumerate(self.body) if isinstance(layer, nn.AdaptiveMaxPool2d | nn.Flatten))
        return self.body[:last](x0)[:, :7].flatten(1)

    @wherever_asked
    def forward(self, x0: Tensor) -> Tensor:
        return self.head(self.features(x0))


class PatchStem(nn.Module):
    """Every 2 x 2 patch in a cosine basis over places and channels, each entry normalised, with both signs.

    Neighbouring pixels and colours of a photograph are nearly the same number. Their cosine basis (for three channels
    brightness, red against blue, green against both) is nearly that of their principal components, so that normalising
    its entries whitens them without having looked at the data.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        over_places, over_channels = _cosine_basis(2), _cosine_basis(channels)
        basis = torch.einsum("ac,bi,dj->abdcij", over_channels, over_places, over_places)
        self.basis: Tensor
        self.register_buffer("basis", basis.reshape(4 * channels, channels, 2, 2), persistent=False)
        self.norm = nn.BatchNorm2d(4 * channels)

    def forward(self, x0: Tensor) -> Tensor:
        h = self.norm(F.conv2d(x0, self.basis.to(x0)))
        return torch.cat([h, -h], dim=1).relu()


def _cosine_basis(n: int) -> Tensor:
    """The rows of the orthonormal discrete cosine transform of n values (DCT-II)."""
    k, i = torch.arange(n)[:, None], torch.arange(n)
    rows = torch.cos(math.pi * k * (2 * i + 1) / (2 * n)) * math.sqrt(2 / n)
    return torch.cat([rows[:1] / math.sqrt(2), rows[1:]])
