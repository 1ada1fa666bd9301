"""A network made to need less memory while it trains, for more time, with the same gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from rgd.errors import OutOfMemory, require


@contextmanager
def recomputing(network: nn.Module, on: bool = True) -> Iterator[None]:
    """A network that, where gradients are wanted, keeps what goes into each of its stages and computes what is inside
    again on the way back: less memory for one more forward pass (Chen et al. 2016, arXiv:1604.06174), and the same
    gradients. ValueError for a network that has no such stages; unless `on`, nothing is changed."""
    stages: list[Any] = [module for module in network.modules() if hasattr(module, "recompute")] if on else []
    require(not on or bool(stages), "recompute", on, f"False for a {type(network).__name__}, which has no stages")
    for stage in stages:
        stage.recompute = True
    try:
        yield
    finally:
        for stage in stages:
            stage.recompute = False


@contextmanager
def divided(network: object, size: int) -> Iterator[None]:
    """Within, the network computes at most `size` images at once. What lies between a piece's input and its output is
    forgotten, and computed again for the gradient, which is that of the whole to rounding; dropout draws anew. What is
    no module is left as it is.

    OutOfMemory for a network with a batch norm that trains, whose images answer for each other.
    """
    if not isinstance(network, nn.Module):
        yield
        return
    if any(isinstance(module, _BatchNorm) and module.training for module in network.modules()):
        raise OutOfMemory("no memory for a batch, which a batch norm must see whole: set accumulate, or a smaller one")
    whole = network.forward

    def forward(*given: Any, **named: Any) -> Any:
        rows = len(given[0])
        if rows <= size:
            return whole(*given, **named)

        def piece(value: Any, start: int) -> Any:
            return value[start : start + size] if isinstance(value, Tensor) and value.shape[:1] == (rows,) else value

        return torch.cat([
            checkpoint(whole, *(piece(value, start) for value in given), use_reentrant=False,
                       **{name: piece(value, start) for name, value in named.items()})
            for start in range(0, rows, size)
        ])  # fmt: skip

    network.forward = forward
    try:
        yield
    finally:
        del network.forward
