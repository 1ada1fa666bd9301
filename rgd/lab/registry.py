"""The published models: `rgd.zoo.load("mnist/robust")` gives what the rest of `rgd` takes, on the best device.

Weights are looked for in $RGD_ZOO (a folder, or the address of one), else beside this package (in a clone), else they
are downloaded once from the project's repository at this version. Wherever they come from, they must have the SHA-256
that `zoo.json`, which is part of the package, gives for them.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

import pooch
import torch

from rgd import DISTRIBUTION, __version__
from rgd.checkpoints import Model
from rgd.checkpoints import load as load_file
from rgd.denoiser import NetworkDenoiser
from rgd.errors import CheckpointError
from rgd.lab.judge import Judge
from rgd.networks import EncoderUNet
from rgd.processes import processes

CLONE = Path(__file__).resolve().parents[2] / "weights"


@cache
def _registry() -> dict[str, dict[str, Any]]:
    return json.loads(files("rgd.lab").joinpath("zoo.json").read_text())


def names() -> tuple[str, ...]:
    """The names of the published models, e.g. "mnist/robust"."""
    return tuple(sorted(_registry()))


def address() -> str:
    """Where the weights of this version lie: a folder in the project's repository."""
    try:
        urls = dict(entry.split(", ", 1) for entry in metadata(DISTRIBUTION).get_all("Project-URL") or [])
        return f"{urls['Repository']}/raw/v{__version__}/weights"
    except (PackageNotFoundError, KeyError) as error:
        raise CheckpointError(
            "rgd was not installed, so that it does not know where its weights are published: pip install it, "
            "or set RGD_ZOO to a folder that holds them"
        ) from error


def path(name: str) -> Path:
    """The local file of a published model, downloaded if need be, and checked.

    Raises:
        CheckpointError: for a name that is not published, a file with another hash, or one that cannot be had.
    """
    if name not in _registry():
        close = difflib.get_close_matches(name, names(), n=1)
        raise CheckpointError(
            f"no model {name!r} is published{f', did you mean {close[0]!r}?' if close else ''} There are "
            f"{', '.join(names()) or 'none'}. One of your own is loaded by rgd.checkpoints.load(path)"
        )
    digest, file = _registry()[name]["sha256"], f"{name}.safetensors"
    place = os.environ.get("RGD_ZOO")
    if place is None and (CLONE / file).exists():
        place = str(CLONE)
    if place is not None and "://" not in place:
        local = Path(place).expanduser() / file
        if not local.is_file():
            raise CheckpointError(f"RGD_ZOO is {place}, and there is no {file} in it")
        if hashlib.sha256(local.read_bytes()).hexdigest() != digest:
            raise CheckpointError(
                f"{local} is not the published {name}: its hash is another. Restore it, make it again with "
                f"rgd train recipes/{name.replace('/', '_')}.py, or load it by rgd.checkpoints.load(path)"
            )
        return local
    url = f"{(place or address()).rstrip('/')}/{file}"
    folder = pooch.os_cache("rgd") / "weights" / Path(name).parent
    try:
        return Path(pooch.retrieve(url, f"sha256:{digest}", f"{Path(name).name}-{digest[:8]}.safetensors", folder))
    except (OSError, ValueError) as error:  # no network, no such file, or another hash
        raise CheckpointError(
            f"{name} cannot be had from {url}: {error}. Download it by hand, and set RGD_ZOO to the folder that "
            f"holds {file}"
        ) from error


def model(name: str, device: torch.device | str | None = None) -> Model:
    """A published model with its schedule, classes and provenance; default on the best device.

    Raises:
        CheckpointError: see `path`.
    """
    return load_file(path(name), processes().device if device is None else device)


def load(name: str, device: torch.device | str | None = None) -> NetworkDenoiser | EncoderUNet | Judge:
    """A published model, ready for use: a denoiser (xt, t, y) -> Prediction, a classifier (xt, t) -> logits, or a
    judge x0 -> logits; in evaluation mode, its weights frozen.

    Raises:
        CheckpointError: see `path`.
    """
    return model(name, device).use()
