"""The networks: ADM's U-Net, its encoder half as a classifier, and a small judge.

The U-Net is that of Dhariwal & Nichol (2021), with all its options and its own state-dict keys, so that published
weights load as they are. Beyond it: odd image sizes, a pixel-unshuffle stem (`patch`) that makes the network work
on (H/2, W/2) for CPUs, and a null label for classifier-free guidance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class _Config:
    """What the U-Net and the classifier have in common, under ADM's names and with its defaults.

    Attributes:
        image_size: height and width of the images.
        in_channels, out_channels: of the images, and of the output (for a classifier, the number of classes).
        model_channels: width of the first level; level i is `channel_mult[i]` times as wide.
        num_res_blocks: residual blocks a level.
        attention_resolutions: the down-sampling factors at which there is attention (2 means at half size).
        num_heads, num_head_channels: heads by number or, where `num_head_channels` is not -1, by width.
        use_new_attention_order: split q, k, v before the heads rather than after.
        use_scale_shift_norm: the embedding scales and shifts the normalised features rather than being added.
        resblock_updown: residual blocks change the resolution; otherwise `conv_resample` says whether convolutions do.
        patch: side of the pixel-unshuffle stem; 1 for none.
    """

    image_size: int
    in_channels: int
    model_channels: int
    out_channels: int
    num_res_blocks: int
    attention_resolutions: tuple[int, ...]
    channel_mult: tuple[int, ...] = (1, 2, 4, 8)
    dropout: float = 0.0
    conv_resample: bool = True
    num_heads: int = 1
    num_head_channels: int = -1
    use_new_attention_order: bool = False
    use_scale_shift_norm: bool = False
    resblock_updown: bool = False
    patch: int = 1

    def heads(self, channels: int, heads: int | None = None) -> int:
        """The number of attention heads at a width; ValueError if the width does not divide into them."""
        if self.num_head_channels != -1:
            heads = channels // self.num_head_channels
        heads = self.num_heads if heads is None or heads == -1 else heads
        if heads < 1 or channels % heads or (self.num_head_channels not in (-1, channels // heads)):
            raise ValueError(
                f"attention at width {channels} cannot be split into heads of {self.num_head_channels} channels; "
                f"choose a num_head_channels that divides {channels}, or give num_heads"
            )
        return heads

    @property
    def embedding_channels(self) -> int:
        """Width of the embedding of t (and y)."""
        return 4 * self.model_channels


@dataclass(frozen=True, kw_only=True)
class UNetConfig(_Config):
    """ADM's U-Net. `out_channels` is `in_channels`, or twice that where the variance is learned.

    `num_classes` makes it class-conditional; `null_label` adds a label for "no class" (y = -1, or y = None).
    """

    num_classes: int | None = None
    null_label: bool = False
    num_heads_upsample: int = -1


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(_Config):
    """ADM's classifier: the U-Net's encoder half and a way to pool its output into logits."""

    pool: Literal["adaptive", "attention", "spatial", "spatial_v2"] = "adaptive"


@dataclass(frozen=True, kw_only=True)
class JudgeConfig:
    """A plain convolutional classifier of clean images: it scores samples and never guides.

    Each of `stages` halves the image and has twice the width of the one before. The `fast` form is for
    photographs and few steps (after Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024): a fixed stem that
    nearly whitens 2 x 2 patches, convolutions that begin as the identity, images halved between a stage's two
    convolutions and not after them, and each channel's largest value in place of all its values. Once trained, it looks
    at an image and at its mirror image, and its features are the mean of both.
    """

    image_size: int
    in_channels: int
    out_channels: int
    width: int = 32
    features: int = 64
    stages: int = 2
    fast: bool = False


NetworkConfig = UNetConfig | EncoderConfig | JudgeConfig


def build(config: NetworkConfig, seed: int = 0) -> UNet | EncoderUNet | Judge:
    """The network that a configuration describes, with fresh weights that the seed decides."""
    with torch.random.fork_rng(devices=[]):  # layers draw their weights from the global state: lend them another
        torch.default_generator.manual_seed(seed)  # and not torch.manual_seed, which would seed the GPUs too
        if isinstance(config, UNetConfig):
            return UNet(config)
        return EncoderUNet(config) if isinstance(config, EncoderConfig) else Judge(config)


def time_embedding(t: Tensor, dim: int) -> Tensor:
    """Cosines and sines of t (B,) at `dim // 2` frequencies from 1 down to 1/10000: (B, dim)."""
    half = dim // 2
    frequencies = torch.exp(-math.log(10_000) / half * torch.arange(half, device=t.device))
    angles = t[:, None].float() * frequencies
    return F.pad(torch.cat([angles.cos(), angles.sin()], dim=1), (0, dim % 2))


def _wherever_asked(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Take the inputs to the weights' device and the output back to the first input's: a network on a GPU can be asked
    about images on the CPU, as a notebook will. Where they are together already, nothing is moved."""

    @wraps(forward)
    def answer(self: nn.Module, *given: Tensor | None, **named: Tensor | None) -> Tensor:
        home = next(self.parameters()).device
        asked = next(v.device for v in (*given, *named.values()) if v is not None)
        moved = [None if v is None else v.to(home) for v in given]
        named = {name: None if v is None else v.to(home) for name, v in named.items()}
        return forward(self, *moved, **named).to(asked)

    return answer


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(32, channels), channels)


def _zero(layer: nn.Module) -> nn.Module:
    """A layer whose output starts at zero, so that every residual branch starts as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Downsample(nn.Module):
    """Halves height and width (rounding up), by a strided convolution or by averaging."""

    def __init__(self, channels: int, conv: bool) -> None:
        super().__init__()
        self.op: nn.Module
        if conv:
            self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        else:
            self.op = nn.AvgPool2d(2, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    """Doubles height and width by repetition, followed by a convolution or not."""

    def __init__(self, channels: int, conv: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1) if conv else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class ResBlock(nn.Module):
    """Norm, SiLU, convolution, twice, with the embedding let in between; `resample` changes the resolution."""

    def __init__(self, config: _Config, channels: int, out_channels: int, resample: nn.Module | None = None) -> None:
        super().__init__()
        self.scale_shift = config.use_scale_shift_norm
        self.resample = resample
        self.in_layers = nn.Sequential(_norm(channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1))
        self.emb_layers = nn.Sequential(
            nn.SiLU(), nn.Linear(config.embedding_channels, out_channels * (2 if self.scale_shift else 1))
        )
        self.out_layers = nn.Sequential(
            _norm(out_channels),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            _zero(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
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
            norm, *rest = self.out_layers
            h = torch.addcmul(shift, norm(h), 1 + scale)
            for layer in rest:
                h = layer(h)
        else:
            h = self.out_layers(h + embedding)
        return self.skip_connection(x) + h


def _pointwise(layer: nn.Module, x: Tensor) -> Tensor:
    """A Conv1d of width 1 as a matrix product, (B, C, N) to (B, C', N), whose memory runs along the channels."""
    return F.linear(x.mT, layer.weight[..., 0], layer.bias).mT  # type: ignore[arg-type, index]


def attention(qkv: Tensor, heads: int, new_order: bool) -> Tensor:
    """Self-attention over positions: (B, 3C, N) to (B, C, N)."""
    B, channels, N = qkv.shape
    tokens = qkv.mT  # the fused kernels want memory to run along the channels; `_pointwise` sees to that
    if new_order:
        q, k, v = tokens.reshape(B, N, 3, heads, -1).transpose(1, 3).unbind(2)
    else:
        q, k, v = tokens.reshape(B, N, heads, 3, -1).transpose(1, 2).unbind(3)
    h = F.scaled_dot_product_attention(q, k, v)
    return h.transpose(1, 2).reshape(B, N, channels // 3).mT


class AttentionBlock(nn.Module):
    """Self-attention between the positions of an image, as a residual branch."""

    def __init__(self, config: _Config, channels: int, heads: int | None = None) -> None:
        super().__init__()
        self.heads, self.new_order = config.heads(channels, heads), config.use_new_attention_order
        self.norm = _norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = _zero(nn.Conv1d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        qkv = _pointwise(self.qkv, self.norm(x).flatten(2))
        return x + _pointwise(self.proj_out, attention(qkv, self.heads, self.new_order)).reshape(x.shape)


class AttentionPool(nn.Module):
    """Pools (B, C, H, W) into (B, out) by letting the mean attend to every position."""

    def __init__(self, config: _Config, size: int, channels: int, out_channels: int) -> None:
        super().__init__()
        self.heads = config.heads(channels)
        self.positional_embedding = nn.Parameter(torch.randn(channels, size**2 + 1) / channels**0.5)
        self.qkv_proj = nn.Conv1d(channels, 3 * channels, 1)
        self.c_proj = nn.Conv1d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2)
        x = torch.cat([x.mean(2, keepdim=True), x], dim=2) + self.positional_embedding.to(x.dtype)
        return self.c_proj(attention(_pointwise(self.qkv_proj, x), self.heads, new_order=True)[:, :, :1])[:, :, 0]


class Stage(nn.Sequential):
    """A sequence in which the residual blocks also receive the embedding."""

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:  # type: ignore[override]
        for layer in self:
            x = layer(x, embedding) if isinstance(layer, ResBlock) else layer(x)
        return x


class _Encoder(nn.Module):
    """The half that both networks share: the time embedding, the way down, and the middle."""

    def __init__(self, config: _Config) -> None:
        super().__init__()
        self.time_channels = config.model_channels
        self.time_embed = nn.Sequential(
            nn.Linear(config.model_channels, config.embedding_channels),
            nn.SiLU(),
            nn.Linear(config.embedding_channels, config.embedding_channels),
        )
        channels = config.channel_mult[0] * config.model_channels
        stem = nn.Conv2d(config.in_channels * config.patch**2, channels, 3, padding=1)
        self.input_blocks = nn.ModuleList([Stage(stem)])
        self.skip_channels = [channels]
        self.bottom_size = -(-config.image_size // config.patch)
        for level, multiple in enumerate(config.channel_mult):
            for _ in range(config.num_res_blocks):
                layers: list[nn.Module] = [ResBlock(config, channels, multiple * config.model_channels)]
                channels = multiple * config.model_channels
                if 2**level in config.attention_resolutions:
                    layers.append(AttentionBlock(config, channels))
                self._add(Stage(*layers), channels)
            if level < len(config.channel_mult) - 1:
                down: nn.Module = Downsample(channels, config.conv_resample and not config.resblock_updown)
                if config.resblock_updown:
                    down = ResBlock(config, channels, channels, resample=down)
                self._add(Stage(down), channels)
                self.bottom_size = -(-self.bottom_size // 2)
        self.middle_block = Stage(
            ResBlock(config, channels, channels),
            AttentionBlock(config, channels),
            ResBlock(config, channels, channels),
        )
        self.patch = config.patch
        self.bottom_channels = channels

    def _add(self, stage: Stage, channels: int) -> None:
        self.input_blocks.append(stage)
        self.skip_channels.append(channels)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return next(self.parameters()).dtype

    def embed(self, t: Tensor) -> Tensor:
        return self.time_embed(time_embedding(t, self.time_channels).to(self.dtype))

    def encode(self, x: Tensor, embedding: Tensor) -> Iterator[Tensor]:
        """The output of every block on the way down, and last the middle's."""
        if self.patch > 1:
            x = _unshuffle(x, self.patch)
        for stage in self.input_blocks:
            x = stage(x, embedding)
            yield x
        yield self.middle_block(x, embedding)


def _unshuffle(x: Tensor, patch: int) -> Tensor:
    """Pixels of each patch become channels; the image is first padded to whole patches."""
    height, width = x.shape[-2:]
    return F.pixel_unshuffle(F.pad(x, (0, -width % patch, 0, -height % patch)), patch)


class UNet(_Encoder):
    """(xt, t, y) -> (B, out_channels, H, W): ADM's U-Net. What the output means is the denoiser's affair.

    Args of the call: xt float (B, C, H, W); t int64 (B,); y int64 (B,) where the network is class-conditional,
    -1 (or y = None for all) meaning "no label" where it has a null label.

    Raises:
        ValueError: if labels are needed and not given, or given and not known to the network.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(config)
        self.config = config
        if config.num_classes is not None:
            self.label_emb = nn.Embedding(config.num_classes + config.null_label, config.embedding_channels)
        self.output_blocks = nn.ModuleList()
        channels, skips = self.bottom_channels, list(self.skip_channels)
        for level, multiple in reversed(list(enumerate(config.channel_mult))):
            for i in range(config.num_res_blocks + 1):
                width = multiple * config.model_channels
                layers: list[nn.Module] = [ResBlock(config, channels + skips.pop(), width)]
                channels = width
                if 2**level in config.attention_resolutions:
                    layers.append(AttentionBlock(config, channels, config.num_heads_upsample))
                if level and i == config.num_res_blocks:
                    up: nn.Module = Upsample(channels, config.conv_resample and not config.resblock_updown)
                    layers.append(ResBlock(config, channels, channels, resample=up) if config.resblock_updown else up)
                self.output_blocks.append(Stage(*layers))
        self.out = nn.Sequential(
            _norm(channels),
            nn.SiLU(),
            _zero(nn.Conv2d(channels, config.out_channels * config.patch**2, 3, padding=1)),
        )

    def _embed_label(self, y: Tensor | None, like: Tensor) -> Tensor:
        if self.config.num_classes is None:
            raise ValueError("labels were given to an unconditional network; leave y out, or guide it")
        if y is None:
            if not self.config.null_label:
                raise ValueError("a class-conditional network without a null label needs labels y")
            y = torch.full((len(like),), -1, device=like.device)
        elif y.device.type == "cpu" and len(y):  # a GPU would have to be waited for
            low, high = int(y.min()), int(y.max())
            if high >= self.config.num_classes or (low < 0 and not self.config.null_label):
                raise ValueError(
                    f"labels {low} to {high} were given to a network that knows 0 to {self.config.num_classes - 1}"
                    f"{', and -1 for none' if self.config.null_label else ', and has no null label'}"
                )
        return self.label_emb(torch.where(y < 0, self.config.num_classes, y))

    @_wherever_asked
    def forward(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        embedding = self.embed(t)
        if y is not None or self.config.num_classes is not None:
            embedding = embedding + self._embed_label(y, xt)
        *skips, x = self.encode(xt, embedding)
        for stage in self.output_blocks:
            skip = skips.pop()
            # An odd size was rounded up on the way down: cut the surplus row and column.
            x = x[..., : skip.shape[-2], : skip.shape[-1]]
            x = stage(torch.cat([x, skip], dim=1), embedding)
        x = self.out(x)
        if self.patch > 1:
            x = F.pixel_shuffle(x, self.patch)[..., : xt.shape[-2], : xt.shape[-1]]
        return x


class EncoderUNet(_Encoder):
    """(xt, t) -> logits (B, out_channels): ADM's time-dependent classifier."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.config = config
        channels, classes = self.bottom_channels, config.out_channels
        seen = sum(self.skip_channels) + channels
        heads: dict[str, list[nn.Module]] = {
            "adaptive": [
                _norm(channels),
                nn.SiLU(),
                nn.AdaptiveAvgPool2d(1),
                _zero(nn.Conv2d(channels, classes, 1)),
                nn.Flatten(),
            ],
            "attention": [_norm(channels), nn.SiLU()],
            "spatial": [nn.Linear(seen, 2048), nn.ReLU(), nn.Linear(2048, classes)],
            "spatial_v2": [nn.Linear(seen, 2048), _norm(2048), nn.SiLU(), nn.Linear(2048, classes)],
        }
        if config.pool not in heads:
            raise ValueError(f"pool must be one of {', '.join(heads)}, not {config.pool!r}")
        layers = heads[config.pool]
        if config.pool == "attention":
            layers.append(AttentionPool(config, self.bottom_size, channels, classes))
        self.out = nn.Sequential(*layers)

    @_wherever_asked
    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        outputs = self.encode(xt, self.embed(t))
        if self.config.pool.startswith("spatial"):
            return self.out(torch.cat([h.mean(dim=(2, 3)) for h in outputs], dim=1))
        *_, h = outputs
        return self.out(h)


class Judge(nn.Module):
    """x0 -> logits: convolutional stages and one hidden layer, whose output is the `features`."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.config = config
        channels, size = config.in_channels, config.image_size
        layers: list[nn.Module] = []
        if config.fast:
            layers, channels, size = [PatchStem(channels)], 8 * channels, size - 1
        for stage in range(config.stages):
            width = config.width * 2**stage
            layers += self._stage(channels, width, config.fast)
            channels, size = width, -(-size // 2)
        if config.fast:
            layers, size = [*layers, nn.AdaptiveMaxPool2d(1)], 1
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * size**2, config.features))
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

    @_wherever_asked
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


class MLP(nn.Module):
    """(xt, t) -> logits for points of few dimensions, such as draws from a mixture in the plane.

    Args:
        dim: entries of one point, whatever its shape.
        classes: outputs.
        width: of the hidden layers and of the embedding of t.
        depth: residual layers, each of which the embedding scales and shifts.
    """

    def __init__(self, dim: int, classes: int, width: int = 128, depth: int = 3) -> None:
        super().__init__()
        self.width = width
        self.first = nn.Linear(dim, width)
        self.time_embed = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2 * depth * width))
        self.hidden = nn.ModuleList([nn.Sequential(nn.SiLU(), nn.Linear(width, width)) for _ in range(depth)])
        self.out = nn.Sequential(nn.SiLU(), nn.Linear(width, classes))

    @_wherever_asked
    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        embedding = self.time_embed(time_embedding(t, self.width).to(xt.dtype))
        scales, shifts = embedding.unflatten(1, (2, len(self.hidden), self.width)).unbind(1)
        h = self.first(xt.flatten(1))
        for layer, scale, shift in zip(self.hidden, scales.unbind(1), shifts.unbind(1)):
            h = h + layer(torch.addcmul(shift, h, 1 + scale))
        return self.out(h)
