"""What the command line asks before any work, so that nothing fails after it; errors name the option."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rgd import networks
from rgd.adapters import CleanClassifier
from rgd.errors import RgdError
from rgd.lab import named
from rgd.processes import processes
from rgd.samplers import Sampler, SampleStep
from rgd.training import checkpoints


def need(right: bool, otherwise: str) -> None:
    """RgdError, which says `otherwise`, unless it is right."""
    if not right:
        raise RgdError(otherwise)


def numbers(least: float, below: float = math.inf, **options: Any) -> None:
    """RgdError for an option that is not, or does not hold only, finite numbers of [least, below)."""
    for name, given in options.items():
        for value in given if isinstance(given, tuple) else (given,):
            right = math.isfinite(value) and least <= value < below
            need(right, f"--{name.replace('_', '-')} takes numbers from {least:g} to below {below:g}, not {value}")


def room_for(out: Path) -> Path:
    """The same path, its folder made; RgdError where no file can be written to it."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RgdError(f"--out: there can be no folder {out.parent} ({error.strerror}); name another") from error
    writable = os.access(out.parent, os.W_OK) and not out.is_dir()
    need(writable, f"--out: {out} is a folder, or in one that may not be written to; name another")
    return out


ROLES = {"denoiser": "a denoiser", "classifier": "a time-dependent classifier", "judge": "a judge"}


def load(path: Path, role: checkpoints.Role) -> checkpoints.Model:
    """A model from its file, or one of others by name, on this process's device; RgdError if it is for something else.

    A classifier of others that never saw noise may guide and may judge.
    """
    model = processes().first(lambda: named.model(path) if named.is_spec(path) else checkpoints.load(path))
    model.network.to(processes().device)
    right = model.role == role or (role == "classifier" and isinstance(model.network, CleanClassifier))
    need(right, f"{path} holds the network {type(model.network).__name__}, where {ROLES[role]} is needed")
    return model


def know(classes: Sequence[str]) -> None:
    """Import the network classes that the user names, "package.module:Class", also from the folder they are in."""
    if classes:
        named.look_here()
    for name in classes:
        networks.named(name)


def while_finite(sampler: Sampler, *arguments: Any, **options: Any) -> Iterator[SampleStep]:
    """The steps of a sampler; RgdError at the first that leaves NaN or infinities, for all that follow would too."""
    for step in sampler(*arguments, **options):
        where = f"step {step.k}, at t = {step.t}, gave NaN or infinite pixels, and nothing was written"
        need(bool(step.x.isfinite().all()), f"{where}: take a smaller --scale, or more --steps")
        yield step
