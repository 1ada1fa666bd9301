"""What a trained network can be spared: its encoder at most steps, and most of its bits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import copy, deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rgd.denoiser import NetworkDenoiser, Prediction


class Reused:
    """A U-Net's denoiser whose encoder is asked in every `every`-th step only (Li et al. 2024): between, its features
    stand in for what it would say, and the decoder alone works, at its own time."""

    def __init__(self, denoise: NetworkDenoiser, every: int) -> None:
        self.denoise, self.every, self.schedule = denoise, every, denoise.schedule
        self.begin()

    def begin(self) -> Reused:
        """Samplers call it where a trajectory begins."""
        self.asked, self.features = 0, list[Tensor]()
        return self

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        unet: Any = self.denoise.network
        decoder, key = copy(unet), self.asked % self.every == 0
        self.asked += 1

        def encode(x: Tensor, embedding: Tensor) -> Iterable[Tensor]:
            if key:
                self.features = list(unet.encode(x, embedding))
            return self.features

        decoder.encode = encode
        return replace(self.denoise, network=decoder)(xt, t, y)


def rounded(x: Tensor, low: Tensor, high: Tensor, bits: int) -> Tensor:
    """x, cut to [low, high] and rounded to one of 2^bits values there. Its derivative, which is zero, is replaced by
    that of the cut alone."""
    step = (high - low).clamp_min(1e-8) / (2**bits - 1)
    cut = torch.maximum(torch.minimum(x, high), low)
    return cut + (((cut - low) / step).round() * step + low - cut).detach()


def layers(network: nn.Module) -> Iterator[tuple[str, Any]]:
    """What multiplies by weights: convolutions and linear layers, by their names."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear)
    return ((name, layer) for name, layer in network.named_modules() if isinstance(layer, kinds))


@torch.no_grad()
def ranges(network: nn.Module, inputs: Iterable[tuple[Tensor, ...]]) -> dict[str, tuple[Tensor, Tensor]]:
    """The lowest and highest value that enters each layer: a calibration (Shang et al. 2023 ask on what inputs)."""
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(name: str, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        low, high = found.get(name, (given[0].min(), given[0].max()))
        low, high = low.minimum(given[0].min()), high.maximum(given[0].max())
        found[name] = low, high

    hooks = [layer.register_forward_pre_hook(partial(watch, name)) for name, layer in layers(network)]
    for given in inputs:
        network(*given)
    for hook in hooks:
        hook.remove()
    return found


def quantised(network: nn.Module, seen: dict[str, tuple[Tensor, Tensor]], bits: int) -> Any:
    """A copy that multiplies numbers of so many bits: weights by their own range, channel by channel, and what enters a
    layer by a calibration, if it has seen the layer called (attention uses the weights of some without a call). The
    arithmetic is simulated: its errors are what matters here."""
    small = deepcopy(network)
    for name, layer in layers(small):
        weight = layer.weight
        most = weight.flatten(1).abs().amax(dim=1)
        most = most.reshape(-1, *[1] * (weight.ndim - 1))
        weight.data = rounded(weight.data, -most, most, bits)
        if name in seen:
            layer.register_forward_pre_hook(partial(entering, *seen[name], bits))
    return small


def entering(low: Tensor, high: Tensor, bits: int, layer: nn.Module, given: tuple[Tensor, ...]) -> Any:
    """A hook that rounds what enters a layer."""
    return rounded(given[0], low, high, bits), *given[1:]
