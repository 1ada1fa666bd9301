"""What the U-Net and the classifier are made of, under ADM's names: blocks, attention, and the embedding of t."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rgd.errors import at_least, require


def image_shape(config: Any) -> tuple[int, int, int]:
    """(C, H, W) of a configuration's `in_channels` and `image_size`, a side or (height, width)."""
    size = config.image_size
    height, width = size if isinstance(size, tuple) else (size, size)
    return config.in_channels, height, width


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the U-Net and the classifier have in common, with ADM's defaults.

    Images have `in_channels` and the side `image_size`, or (height, width); a classifier's `out_channels` are its
    classes. Level i has the width `channel_mult[i] * model_channels` and `num_res_blocks` residual blocks. Attention
    stands at the down-sampling factors `attention_resolutions` (2 means at half size), its heads given by number or,
    unless `num_head_channels` is -1, by width; the new order splits q, k, v before the heads rather than after. With
    `use_scale_shift_norm` the embedding scales and shifts the normalised features rather than being added. Residual
    blocks change the resolution with `resblock_updown`, else convolutions if `conv_resample`. `dropout` is the share of
    a residual block's features that training drops, `patch` the side of the pixel-unshuffle stem, 1 for none.
    ValueError for an option that cannot be.
    """

    image_size: int | tuple[int, int]
    in_channels: int
    model_channels: int
    out_channels: int
    num_res_blocks: int
    attention_resolutions: tuple[int, ...]
    channel_mult: tuple[float, ...] = (1, 2, 4, 8)
    dropout: float = 0.0
    conv_resample: bool = True
    num_heads: int = 1
    num_head_channels: int = -1
    use_new_attention_order: bool = False
    use_scale_shift_norm: bool = False
    resblock_updown: bool = False
    patch: int = 1

    def __post_init__(self) -> None:
        sides = self.image_size if isinstance(self.image_size, tuple) else (self.image_size,) * 2
        whole = len(sides) == 2 and all(isinstance(side, int) and side >= 1 for side in sides)
        require(whole, "image_size", self.image_size, "a whole number, at least 1, or two of them")
        at_least(self, in_channels=1, model_channels=1, out_channels=1, num_res_blocks=1, patch=1)
        whole = all(
            multiple * self.model_channels == width >= 1 for multiple, width in zip(self.channel_mult, self.widths)
        )
        wanted = "one multiple or more, which times model_channels give whole numbers of channels"
        require(len(self.widths) > 0 and whole, "channel_mult", self.channel_mult, wanted)
        require(0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return image_shape(self)

    @property
    def widths(self) -> tuple[int, ...]:
        """The channels of each level."""
        return tuple(int(multiple * self.model_channels) for multiple in self.channel_mult)

    def heads(self, channels: int, heads: int = -1) -> int:
        """The number of attention heads at a width; ValueError if the width does not divide into them."""
        if self.num_head_channels != -1:
            heads = channels // self.num_head_channels
        heads = self.num_heads if heads == -1 else heads
        if heads < 1 or channels % heads or self.num_head_channels not in (-1, channels // heads):
            raise ValueError(
                f"attention at width {channels} cannot be split into heads of {self.num_head_channels} channels; "
                f"choose a num_head_channels that divides {channels}, or give num_heads"
            )
        return heads

    @property
    def embedding_channels(self) -> int:
        """Width of the embedding of t (and y)."""
        return 4 * self.model_channels


def time_embedding(t: Tensor, dim: int) -> Tensor:
    """Cosines and sines of t (B,) at `dim // 2` frequencies from 1 down to 1/10000: (B, dim)."""
    half = dim // 2
    frequencies = torch.exp(-math.log(10_000) / half * torch.arange(half, device=t.device))
    angles = t[:, None].float() * frequencies
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=1), (0, dim % 2))


def wherever_asked(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Take the inputs to the weights' device and precision and the output back to the first input's: a network on a GPU
    can be asked about images on the CPU, as a notebook will, and one in half precision about images in single."""

    @wraps(forward)
    def answer(self: nn.Module, *given: Tensor | None, **named: Tensor | None) -> Tensor:
        home, asked = next(self.parameters()), next(v for v in (*given, *named.values()) if v is not None)

        def moved(v: Tensor | None) -> Tensor | None:
            return v if v is None else v.to(home.device, home.dtype if v.is_floating_point() else v.dtype)

        output = forward(self, *map(moved, given), **{name: moved(v) for name, v in named.items()})
        return output.to(asked.device, output.dtype if asked.dtype == home.dtype else asked.dtype)

    return answer


def group_norm(channels: int) -> nn.GroupNorm:
    """Of as many groups as ADM has, 32, or as few as the channels divide into."""
    return nn.GroupNorm(math.gcd(32, channels), channels)


def zero(layer: nn.Module) -> nn.Module:
    """A layer whose output starts at zero, so that every residual branch starts as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class ResBlock(nn.Module):
    """Norm, SiLU, convolution, twice, with the embedding let in between; `resample` changes the resolution."""

    def __init__(self, config: Config, channels: int, out_channels: int, resample: nn.Module | None = None) -> None:
        super().__init__()
        self.scale_shift = config.use_scale_shift_norm
        self.resample = resample
        self.in_layers = nn.Sequential(group_norm(channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1))
        added = out_channels * (2 if self.scale_shift else 1)
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(config.embedding_channels, added))
        last = zero(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.out_layers = nn.Sequential(group_norm(out_channels), nn.SiLU(), nn.Dropout(config.dropout), last)
        self.skip_connection = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        norm, silu, conv = self.in_layers
        h = silu(norm(x))
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = conv(h)
        embedding = self.emb_layers(embedding)[:, :, None, None]
        if self.scale_shift:
            scale, shift = embedding.chunk(2, dim=1)
            norm, silu, dropout, conv = self.out_layers
            h = conv(dropout(silu(torch.addcmul(shift, norm(h), 1 + scale))))
        else:
            h = self.out_layers(h + embedding)
        return self.skip_connection(x) + h


def pointwise(layer: nn.Module, x: Tensor) -> Tensor:
    """A Conv1d of width 1 as a matrix product, (B, C, N) to (B, C', N), whose memory runs along the channels."""
    return F.linear(x.mT, layer.weight[..., 0], layer.bias).mT  # type: ignore[arg-type, index]


def attention(qkv: Tensor, heads: int, new_order: bool) -> Tensor:
    """Self-attention over positions: (B, 3C, N) to (B, C, N)."""
    B, channels, N = qkv.shape
    tokens = qkv.mT  # the fused kernels want memory to run along the channels; `pointwise` sees to that
    if new_order:
        q, k, v = tokens.reshape(B, N, 3, heads, -1).transpose(1, 3).unbind(2)
    else:
        q, k, v = tokens.reshape(B, N, heads, 3, -1).transpose(1, 2).unbind(3)
    h = F.scaled_dot_product_attention(q, k, v)
    return h.transpose(1, 2).reshape(B, N, channels // 3).mT


class AttentionBlock(nn.Module):
    """Self-attention between the positions of an image, as a residual branch."""

    def __init__(self, config: Config, channels: int, heads: int = -1) -> None:
        super().__init__()
        self.heads, self.new_order = config.heads(channels, heads), config.use_new_attention_order
        self.norm = group_norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zero(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        qkv = pointwise(self.qkv, self.norm(x).flatten(2))
        return x + pointwise(self.proj_out, attention(qkv, self.heads, self.new_order)).reshape(x.shape)


class AttentionPool(nn.Module):
    """Pools (B, C, H, W) into (B, out) by letting the mean attend to every one of the H W `places`."""

    def __init__(self, config: Config, places: int, channels: int, out_channels: int) -> None:
        super().__init__()
        self.heads = config.heads(channels)
        self.positional_embedding = nn.Parameter(torch.randn(channels, places + 1) / channels**0.5)
        self.qkv_proj = nn.Conv1d(channels, 3 * channels, 1)
        self.c_proj = nn.Conv1d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, places = x.flatten(2), self.positional_embedding.shape[1] - 1
        require(x.shape[2] == places, "places to pool", x.shape[2], f"{places}, as of images of the size known to it")
        x = torch.cat([x.mean(2, keepdim=True), x], dim=2) + self.positional_embedding.to(x.dtype)
        return self.c_proj(attention(pointwise(self.qkv_proj, x), self.heads, new_order=True)[:, :, :1])[:, :, 0]


class Stage(nn.Sequential):
    """A sequence in which the residual blocks also receive the embedding; see `rgd.compute.room.recomputing`."""

    recompute = False

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:  # type: ignore[override]
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(self._through, x, embedding, use_reentrant=False)
        return self._through(x, embedding)

    def _through(self, x: Tensor, embedding: Tensor) -> Tensor:
        for layer in self:
            x = layer(x, embedding) if isinstance(layer, ResBlock) else layer(x)
        return x


def block(config: Config, level: int, channels: int, heads: int = -1) -> Stage:
    """From `channels` to the level's width: a residual block, and attention where it is asked for."""
    width = config.widths[level]
    stage = Stage(ResBlock(config, channels, width))
    return stage.append(AttentionBlock(config, width, heads)) if 2**level in config.attention_resolutions else stage


def resampling(config: Config, channels: int, up: bool) -> nn.Module:
    """Doubles height and width by repetition and, with `conv_resample`, a convolution; or halves them, rounding up, by
    such a convolution or by averaging. With `resblock_updown` a residual block does so, without another convolution."""
    conv = config.conv_resample and not config.resblock_updown
    if up:
        smooth = nn.Conv2d(channels, channels, 3, padding=1) if conv else nn.Identity()
        change = nn.Sequential(OrderedDict(repeat=nn.Upsample(scale_factor=2), conv=smooth))
    else:
        op = nn.Conv2d(channels, channels, 3, 2, padding=1) if conv else nn.AvgPool2d(2, ceil_mode=True)
        change = nn.Sequential(OrderedDict(op=op))
    return ResBlock(config, channels, channels, resample=change) if config.resblock_updown else change


def unshuffle(x: Tensor, patch: int) -> Tensor:
    """Pixels of each patch become channels; the image is first padded to whole patches."""
    height, width = x.shape[-2:]
    return F.pixel_unshuffle(F.pad(x, (0, -width % patch, 0, -height % patch)), patch)
