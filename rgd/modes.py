"""The mode of a network, training or evaluation, module by module: who changes it for a while gives it back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

Modes = list[tuple[nn.Module, bool]]


def modes_of(network: object) -> Modes:
    """Each module with whether it is in training mode; of what is no module, nothing."""
    return [(module, module.training) for module in network.modules()] if isinstance(network, nn.Module) else []


def set_modes(modes: Modes) -> None:
    """Give each module its own mode: `network.train()` would also wake a norm that its owner has frozen."""
    for module, training in modes:
        module.training = training


@contextmanager
def evaluating(network: object) -> Iterator[None]:
    """A network as it will be used: dropout is off, and batch norm uses its running statistics and leaves them alone:
    it says of an image the same whatever else is in the batch. What is no module is left as it is."""
    modes = modes_of(network)
    set_modes([(module, False) for module, _ in modes])
    try:
        yield
    finally:
        set_modes(modes)
