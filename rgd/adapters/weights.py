"""Weights of others: the state dict of a file, whatever it was wrapped in when it was saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from rgd.errors import CheckpointError
from rgd.training.checkpoints import load_weights, read_state_dict

INSIDE = ("state_dict", "model_state_dict", "model", "net", "params")  # where training programs put the weights


def load_from(network: nn.Module, path: Path | str, *, trusted: bool = False) -> tuple[str, ...]:
    """Load a file's weights into a network of the same architecture, and return the names that were left over.

    Names may all begin alike ("module.", "model.", "module.model."): the beginning is found by the names that follow
    it. What does not begin so, such as a normalisation or an attacker's own copy, is left over and told: look at it.

    Args:
        network: as it was built for these weights, head and all.
        path: .safetensors, or a PyTorch file of weights.
        trusted: read a PyTorch file that holds more than weights; that can run any code of its author's.

    Raises:
        CheckpointError: for a file that cannot be read, or lacks weights of the network, with names and shapes.
    """
    found: Any = read_state_dict(path, trusted)
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path} holds a {type(found).__name__}, where weights by name are needed")
    for name in INSIDE:
        if isinstance(found.get(name), Mapping):
            found = found[name]
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    wanted = set(network.state_dict())
    some = min(wanted)
    prefixes = [name.removesuffix(some) for name in tensors if name.endswith(some)]
    fitting = [p for p in prefixes if all(p + name in tensors for name in wanted)]
    if len(fitting) > 1:
        raise CheckpointError(f"{path} holds these weights {len(fitting)} times, after {fitting}: keep one")
    if not fitting:
        load_weights(network, tensors, path)  # which says what does not fit
    load_weights(network, {name: tensors[fitting[0] + name] for name in wanted}, path)
    return tuple(sorted(tensors.keys() - {fitting[0] + name for name in wanted}))
