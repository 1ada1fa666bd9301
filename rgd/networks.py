"""The networks: ADM's U-Net, and its encoder half as a classifier.

The U-Net is that of Dhariwal & Nichol (2021), with all its options and its own state-dict keys, so that published
weights load as they are. Beyond it: odd image sizes, a pixel-unshuffle stem (`patch`) that makes the network work
on (H/2, W/2) for CPUs, and a null label for classifier-free guidance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rgd.errors import one_of, require
from rgd.layers import (
    AttentionBlock,
    AttentionPool,
    Config,
    Downsample,
    ResBlock,
    Stage,
    Upsample,
    group_norm,
    time_embedding,
    unshuffle,
    wherever_asked,
    zero,
)

Pool = Literal["adaptive", "attention", "spatial", "spatial_v2"]


@dataclass(frozen=True, kw_only=True)
class UNetConfig(Config):
    """ADM's U-Net. `out_channels` is `in_channels`, or twice that where the variance is learned.

    `num_classes` makes it class-conditional; `null_label` adds a label for "no class" (y = -1, or y = None).
    """

    num_classes: int | None = None
    null_label: bool = False
    num_heads_upsample: int = -1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.num_classes is None or self.num_classes >= 1, "num_classes", self.num_classes, "at least 1, or None"
        )
        labels = not self.null_label or self.num_classes is not None
        require(labels, "null_label", self.null_label, "False where num_classes is None")


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(Config):
    """ADM's classifier: the U-Net's encoder half and a way to pool its output into logits."""

    pool: Pool = "adaptive"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("pool", self.pool, Pool)


N = TypeVar("N", bound=type[nn.Module])
NETWORKS: dict[str, tuple[type, type[nn.Module]]] = {}
_ELSEWHERE = {"Judge": "rgd.lab.judge"}  # a door: what registers itself once it is imported


def register(config: type) -> Callable[[N], N]:
    """A class decorator: networks of this class are built from configurations of the class `config`, and files of
    weights may name it."""

    def remember(network: N) -> N:
        NETWORKS[network.__name__] = config, network
        return network

    return remember


def config_class(network: str) -> type:
    """The class of the configurations of a network; KeyError for a name that nobody registered."""
    if network not in NETWORKS and network in _ELSEWHERE:
        import_module(_ELSEWHERE[network])
    return NETWORKS[network][0]


def build(config: Any, seed: int = 0) -> Any:
    """The network that a configuration describes, with fresh weights that the seed decides.

    Raises:
        TypeError: for what is no configuration of a registered network.
    """
    network = next((network for known, network in NETWORKS.values() if type(config) is known), None)
    if network is None:
        raise TypeError(
            f"no network is built from {config!r}: give one of {', '.join(c.__name__ for c, _ in NETWORKS.values())}, "
            "or register a class of your own with rgd.networks.register"
        )
    with torch.random.fork_rng(devices=[]):  # layers draw their weights from the global state: lend them another
        torch.default_generator.manual_seed(seed)  # and not torch.manual_seed, which would seed the GPUs too
        return network(config)


class _Encoder(nn.Module):
    """The half that both networks share: the time embedding, the way down, and the middle."""

    def __init__(self, config: Config) -> None:
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

    def embed(self, t: Tensor) -> Tensor:
        return self.time_embed(time_embedding(t, self.time_channels).to(next(self.parameters()).dtype))

    def encode(self, x: Tensor, embedding: Tensor) -> Iterator[Tensor]:
        """The output of every block on the way down, and last the middle's."""
        if self.patch > 1:
            x = unshuffle(x, self.patch)
        for stage in self.input_blocks:
            x = stage(x, embedding)
            yield x
        yield self.middle_block(x, embedding)


@register(UNetConfig)
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
            group_norm(channels),
            nn.SiLU(),
            zero(nn.Conv2d(channels, config.out_channels * config.patch**2, 3, padding=1)),
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

    @wherever_asked
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


@register(EncoderConfig)
class EncoderUNet(_Encoder):
    """(xt, t) -> logits (B, out_channels): ADM's time-dependent classifier."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.config = config
        channels, classes = self.bottom_channels, config.out_channels
        seen = sum(self.skip_channels) + channels
        start = [group_norm(channels), nn.SiLU()]
        heads: dict[str, list[nn.Module]] = {
            "adaptive": [*start, nn.AdaptiveAvgPool2d(1), zero(nn.Conv2d(channels, classes, 1)), nn.Flatten()],
            "attention": start,
            "spatial": [nn.Linear(seen, 2048), nn.ReLU(), nn.Linear(2048, classes)],
            "spatial_v2": [nn.Linear(seen, 2048), group_norm(2048), nn.SiLU(), nn.Linear(2048, classes)],
        }
        layers = heads[config.pool]
        if config.pool == "attention":
            layers.append(AttentionPool(config, self.bottom_size, channels, classes))
        self.out = nn.Sequential(*layers)

    @wherever_asked
    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        outputs = self.encode(xt, self.embed(t))
        if self.config.pool.startswith("spatial"):
            return self.out(torch.cat([h.mean(dim=(2, 3)) for h in outputs], dim=1))
        *_, h = outputs
        return self.out(h)
