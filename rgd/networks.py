"""The networks: ADM's U-Net, and its encoder half as a classifier.

The U-Net is that of Dhariwal & Nichol (2021), with all its options and its own state-dict keys, so that published
weights load. Beyond it: odd image sizes, a pixel-unshuffle stem for CPUs, and a null label.
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
    ResBlock,
    Stage,
    block,
    group_norm,
    resampling,
    time_embedding,
    unshuffle,
    wherever_asked,
    zero,
)

Pool = Literal["adaptive", "attention", "spatial", "spatial_v2"]


@dataclass(frozen=True, kw_only=True)
class UNetConfig(Config):
    """ADM's U-Net: `out_channels` is `in_channels`, or twice that where the variance is learned; `num_classes` makes it
    class-conditional, and `null_label` adds a label for "no class" (y = -1, or y = None)."""

    num_classes: int | None = None
    null_label: bool = False
    num_heads_upsample: int = -1

    def __post_init__(self) -> None:
        super().__post_init__()
        classes = self.num_classes
        require(classes is None or classes >= 1, "num_classes", classes, "at least 1, or None")
        labels = not self.null_label or classes is not None
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
# A door: what registers itself once it is imported.
_ELSEWHERE = {"Judge": "rgd.lab.judge"}
_ELSEWHERE |= dict.fromkeys(("Told", "Made", "Straight", "Autoencoder", "Table"), "rgd.variants.networks")


def register(config: type) -> Callable[[N], N]:
    """A class decorator: its networks are built from configurations of the class `config`, and weights may name it."""

    def remember(network: N) -> N:
        NETWORKS[network.__name__] = config, network
        return network

    return remember


def config_class(network: str) -> type:
    """The class of the configurations of a network; KeyError for a name that nobody registered."""
    if network not in NETWORKS and network in _ELSEWHERE:
        import_module(_ELSEWHERE[network])
    return NETWORKS[network][0]


def named(path: str) -> type[nn.Module]:
    """The registered network class of "package.module:Class", whose module is imported: it is the user who says which
    code to run, never a file. ValueError for another form, a class that is not there, or one that is not registered."""
    module, _, name = path.partition(":")
    require(bool(module and name), "a network", path, "given as package.module:Class")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"there is no network {path} ({error}): is its folder on the path?") from error
    if found not in [network for _, network in NETWORKS.values()]:
        raise ValueError(f"{path} cannot be built from a file: decorate the class with rgd.networks.register(Config)")
    return found


def build(config: Any, seed: int = 0) -> Any:
    """The network that a configuration describes, its weights fresh from the seed; TypeError if none is registered."""
    network = next((network for known, network in NETWORKS.values() if type(config) is known), None)
    if network is None:
        known = ", ".join(c.__name__ for c, _ in NETWORKS.values())
        hint = "or register a class of your own with rgd.networks.register"
        raise TypeError(f"no network is built from {config!r}: give one of {known}, {hint}")
    with torch.random.fork_rng(devices=[]):  # layers draw their weights from the global state: lend them another
        torch.default_generator.manual_seed(seed)  # and not torch.manual_seed, which would seed the GPUs too
        return network(config)


class _Encoder(nn.Module):
    """The half that both networks share: the time embedding, the way down, and the middle."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.patch, self.time_channels, embedding = config.patch, config.model_channels, config.embedding_channels
        self.time_embed = nn.Sequential(
            nn.Linear(config.model_channels, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        channels = config.widths[0]
        stem = nn.Conv2d(config.in_channels * config.patch**2, channels, 3, padding=1)
        self.input_blocks, self.skip_channels = nn.ModuleList([Stage(stem)]), [channels]
        for level, width in enumerate(config.widths):
            if level:
                self.input_blocks.append(Stage(resampling(config, channels, up=False)))
                self.skip_channels.append(channels)
            for _ in range(config.num_res_blocks):
                self.input_blocks.append(block(config, level, channels))
                channels = width
                self.skip_channels.append(channels)
        self.middle_block = Stage(
            ResBlock(config, channels, channels), AttentionBlock(config, channels), ResBlock(config, channels, channels)
        )

    def embed(self, t: Tensor) -> Tensor:
        return self.time_embed(time_embedding(t, self.time_channels).to(next(self.parameters()).dtype))

    def encode(self, x: Tensor, embedding: Tensor) -> Iterator[Tensor]:
        """The output of every block on the way down, and last the middle's."""
        x = unshuffle(x, self.patch) if self.patch > 1 else x
        for stage in self.input_blocks:
            x = stage(x, embedding)
            yield x
        yield self.middle_block(x, embedding)


@register(UNetConfig)
class UNet(_Encoder):
    """(xt, t, y) -> (B, out_channels, H, W): ADM's U-Net. What the output means is the denoiser's affair.

    xt float (B, C, H, W); t int64 (B,); y int64 (B,) where the network is class-conditional, -1 (or y = None for all)
    meaning "no label" where it has a null label. ValueError if labels are needed and not given, or are not known to it.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(config)
        self.config = config
        if config.num_classes is not None:
            self.label_emb = nn.Embedding(config.num_classes + config.null_label, config.embedding_channels)
        self.output_blocks = nn.ModuleList()
        channels, skips = self.skip_channels[-1], list(self.skip_channels)
        for level in reversed(range(len(config.channel_mult))):
            for i in range(config.num_res_blocks + 1):
                stage = block(config, level, channels + skips.pop(), config.num_heads_upsample)
                channels = config.widths[level]
                if level and i == config.num_res_blocks:
                    stage.append(resampling(config, channels, up=True))
                self.output_blocks.append(stage)
        last = zero(nn.Conv2d(channels, config.out_channels * config.patch**2, 3, padding=1))
        self.out = nn.Sequential(group_norm(channels), nn.SiLU(), last)

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
        return x if self.patch == 1 else F.pixel_shuffle(x, self.patch)[..., : xt.shape[-2], : xt.shape[-1]]


@register(EncoderConfig)
class EncoderUNet(_Encoder):
    """(xt, t) -> logits (B, out_channels): ADM's time-dependent classifier."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.config = config
        channels, classes = self.skip_channels[-1], config.out_channels
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
            height, width = (-(-n // (config.patch * 2 ** (len(config.channel_mult) - 1))) for n in config.shape[1:])
            layers.append(AttentionPool(config, height * width, channels, classes))
        self.out = nn.Sequential(*layers)

    @wherever_asked
    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        outputs = self.encode(xt, self.embed(t))
        if self.config.pool.startswith("spatial"):
            return self.out(torch.cat([h.mean(dim=(2, 3)) for h in outputs], dim=1))
        *_, h = outputs
        return self.out(h)
