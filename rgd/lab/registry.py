"""The published models: `rgd.zoo.load("mnist/robust")` gives what the rest of `rgd` takes, on the best device.

Weights are looked for in $RGD_ZOO (a folder, or the address of one), else beside this package (in a clone), else they
are downloaded once from the project's repository at this version. Wherever they come from, they must have the SHA-256
that `zoo.json`, which is part of the package, gives for them.
"""

from __future__ import annotations

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
from rgd.errors import CheckpointError, MissingModel
from rgd.lab import named
from rgd.lab.tables import instead
from rgd.processes import processes
from rgd.training.checkpoints import Model
from rgd.training.checkpoints import load as load_file

CLONE = Path(__file__).resolve().parents[2] / "weights"


@cache
def _registry() -> dict[str, str]:
    """The SHA-256 of each published file, by the name of its model."""
    entries = json.loads(files("rgd.lab").joinpath("zoo.json").read_text())
    return {name: entry["sha256"] for name, entry in entries.items()}


def names() -> tuple[str, ...]:
    """The names of the published models, e.g. "mnist/robust"."""
    return tuple(sorted(_registry()))


def address() -> str:
    """Where the weights of this version lie: a folder in the project's repository."""
    try:
        urls = dict(entry.split(", ", 1) for entry in metadata(DISTRIBUTION).get_all("Project-URL") or [])
        return f"{urls['Repository']}/raw/v{__version__}/weights"
    except (PackageNotFoundError, KeyError) as error:
        remedy = "pip install it, or set RGD_ZOO to a folder that holds its weights"
        raise CheckpointError(f"rgd was not installed, so that its repository is not known: {remedy}") from error


def path(name: str) -> Path:
    """The local file of a published model, downloaded if need be, and checked.

    Raises:
        CheckpointError: for a name that is not published, a file with another hash, or one that cannot be had.
    """
    if name not in _registry():
        own = "one of your own is loaded by rgd.checkpoints.load(path)"
        raise CheckpointError(f"no model {name!r} is published{instead(names(), name)} ({own})")
    file = f"{name}.safetensors"
    place = os.environ.get("RGD_ZOO") or (str(CLONE) if (CLONE / file).exists() else address())
    if "://" not in place:
        local = Path(place).expanduser() / file
        if not local.is_file():
            raise CheckpointError(f"RGD_ZOO is {place}, and there is no {file} in it")
        if pooch.file_hash(local) != _registry()[name]:
            raise CheckpointError(
                f"{local} is not the published {name}: its hash is another. Restore it, make it again with "
                f"rgd train {name} (or as its card says), or load it by rgd.checkpoints.load(path)"
            )
        return local
    hashes = {f"{name}.safetensors": digest for name, digest in _registry().items()}
    try:
        known = pooch.create(pooch.os_cache("rgd") / "weights", place.rstrip("/") + "/", registry=hashes)
        return Path(known.fetch(file))
    except (OSError, ValueError) as error:  # no network, no such file, or another hash
        remedy = f"Download it by hand, and set RGD_ZOO to the folder that holds {file}"
        raise CheckpointError(f"{name} cannot be had from {place}: {error}. {remedy}") from error


def model(name: str, device: torch.device | str | None = None) -> Model:
    """A published model with its schedule, classes and provenance; default on the best device. Raises as `path`."""
    return load_file(path(name), processes().device if device is None else device)


def load(name: str, device: torch.device | str | None = None) -> Any:
    """A published model, ready for use: a denoiser (xt, t, y) -> Prediction, a classifier (xt, t) -> logits, a judge
    x0 -> logits, or what its card says; in evaluation mode, its weights frozen. Raises as `path`."""
    return model(name, device).use()


def _rounded(own: Model, published: Model) -> bool:
    """Whether the published weights are these, to what half precision may have left of them."""
    ours, theirs = own.network.state_dict(), published.network.state_dict()
    near = (torch.allclose(ours[n].float(), v.float(), rtol=1e-3, atol=1e-7) for n, v in theirs.items() if n in ours)
    return ours.keys() == theirs.keys() and all(near)


def find(name: str, runs: Path | str = "runs") -> Model:
    """A model by name: as made by `rgd train` in `runs/NAME`, else as published; or one of others, see `rgd.lab.named`.

    One that was made here and then published is taken as published, with its weights rounded: results must not depend
    on who has the unrounded ones. One whose weights were changed since is another.

    Raises:
        MissingModel: if it is neither.
        CheckpointError: if the file is damaged.
    """
    if named.is_spec(name):
        return named.model(name)
    made = Path(runs) / name / "model.safetensors"
    own = load_file(made, processes().device) if made.exists() else None
    if name in names():
        published = model(name)
        if own is None or (own.provenance == published.provenance and _rounded(own, published)):
            return published
    if own is None:
        raise MissingModel(f"{name} is not published, and there is no {made}: make it with rgd train {name}")
    return own
