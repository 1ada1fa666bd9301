"""Recipes: one small typed file for each model, enough to make it again.

A recipe file is Python and ends with `recipe = Recipe(...)`; `rgd train recipes/NAME.py` runs it. What comes out is a
`Model` whose metadata says which recipe, data, seed, device and commit it came from.
"""

from __future__ import annotations

import datetime
import itertools
import json
import platform
import runpy
import subprocess
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from tqdm import tqdm

from rgd import schedule as schedules
from rgd.checkpoints import Model, load, write_atomic
from rgd.data import Dataset
from rgd.denoiser import Variance
from rgd.errors import RgdError
from rgd.lab import datasets
from rgd.lab.judge import JudgeConfig
from rgd.networks import UNetConfig, build
from rgd.objectives import Denoising, Objective
from rgd.processes import processes
from rgd.schedule import Schedule
from rgd.training import Training, TrainStep, fit


@dataclass(frozen=True)
class Recipe:
    """How a published model, or one of a demo's, is made.

    Attributes:
        name: of the model, e.g. "digits/robust".
        data: what `rgd.data.load` takes.
        network: its architecture.
        objective: what it is trained to do.
        training: for how long, and how.
        schedule, T: the noise.
        variance: of the reverse steps of a denoiser.
    """

    name: str
    data: str
    network: Any
    objective: Objective
    training: Training
    schedule: Literal["linear", "cosine"] = "linear"
    T: int = 1000
    variance: Variance = "large"

    def make_schedule(self) -> Schedule:
        """The noise schedule."""
        return schedules.named(self.schedule, self.T)


T = TypeVar("T")


def read(path: Path | str) -> Recipe:
    """The recipe in a Python file. The file is run: read it first if it is not yours.

    Raises:
        RgdError: if there is no such file, or no recipe in it.
    """
    return read_named(path, "recipe", Recipe)


def read_named(path: Path | str, name: str, kind: type[T] | tuple[type[T], ...]) -> T:
    """What a Python file of the folder recipes/ defines by a name.

    Raises:
        RgdError: if there is no such file, or nothing of that name and kind in it.
    """
    if not Path(path).is_file():
        raise RgdError(f"there is no recipe {path}; those of the project are in the folder recipes/")
    found = runpy.run_path(str(path)).get(name)
    if not isinstance(found, kind):
        kinds = " or ".join(f"{k.__name__}(...)" for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise RgdError(f"{path} does not define `{name} = {kinds}`")
    return found


def commit() -> str | None:
    """The commit of the source tree that rgd is imported from, "+" if it was changed since; None outside a clone.

    What is written to `results/` is no such change: a long run writes there more than once.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # fails if the clone around us is somebody else's
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)results")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def device_name(device: torch.device) -> str:
    """In words, e.g. "NVIDIA T4" or "x86_64 CPU, 2 threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {device.type.upper()}, {torch.get_num_threads()} threads"


def provenance() -> dict[str, Any]:
    """Where and when a result was made: every file of ours carries this."""
    from rgd import __version__

    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "rgd": __version__,
        "torch": torch.__version__,
        "device": device_name(processes().device),
        "processes": processes().count,
    }


@dataclass
class History:
    """What training logged, averaged over about a hundred stretches of equal length: one list for each statistic."""

    every: int
    rows: list[dict[str, float]] = field(default_factory=list)
    _sums: dict[str, torch.Tensor] = field(default_factory=dict)
    _count: int = 0

    def add(self, step: TrainStep) -> dict[str, float] | None:
        """Take in a step; a row when a stretch is full."""
        for name, value in {"loss": step.loss, **step.statistics}.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach()
        self._count += 1
        if self._count < self.every:
            return None
        row = {"step": step.step} | {name: float(total / self._count) for name, total in self._sums.items()}
        self.rows.append(row)
        self._sums, self._count = {}, 0
        return row


def train(recipe: Recipe, folder: Path | str, data: Dataset | None = None, progress: bool = True) -> Model:
    """Make a recipe's model in a folder, or resume making it; a model already there is loaded.

    The folder holds the training state, `log.jsonl` and, at the end, `model.safetensors`.

    Raises:
        RgdError: of the kinds that `fit` and `Model.save` raise.
    """
    folder = Path(folder)
    finished = folder / "model.safetensors"
    group = processes()
    data = datasets.load(recipe.data) if data is None else data
    fingerprint = json.loads(json.dumps({"recipe": _describe(recipe), "data": data.digest}))
    if finished.exists():
        model = load(finished, group.device)
        if model.provenance.get("made_from") == fingerprint:
            # The variance is how one samples, and no part of training.
            return replace(model, denoising=model.denoising and {**model.denoising, "variance": recipe.variance})
    network, schedule, training = build(recipe.network, recipe.training.seed), recipe.make_schedule(), recipe.training
    history = History(max(1, training.steps // 100))
    folder.mkdir(parents=True, exist_ok=True)
    steps = fit(network, recipe.objective, data, schedule, training, folder)
    last = next(steps)
    steps = itertools.chain([last], steps)
    if group.rank == 0:
        _forget_after(folder / "log.jsonl", last.step - 1 if last.lr > 0 else last.step)
    hidden = not progress or group.rank > 0
    with tqdm(total=training.steps, initial=last.step - 1, desc=recipe.name, unit="step", disable=hidden) as bar:
        for last in steps:
            bar.update()
            row = history.add(last) if last.lr > 0 else None  # a finished run repeats its last step, without its loss
            if row is not None and group.rank == 0:
                bar.set_postfix({k: f"{v:.3f}" for k, v in row.items() if k != "step"})
                with open(folder / "log.jsonl", "a") as log:
                    log.write(json.dumps(row) + "\n")
    made = {
        "made_from": fingerprint,
        "recipe": recipe.name,
        "data": data.name,
        "seed": training.seed,
        "images_seen": last.images,
        "hours": round(last.seconds / 3600, 4),
        **provenance(),
    }
    denoiser = isinstance(recipe.network, UNetConfig)
    denoising: dict[str, Any] = {}
    if denoiser:
        predicts = recipe.objective.predicts if isinstance(recipe.objective, Denoising) else "eps"
        denoising = {"predicts": predicts, "variance": recipe.variance}
    judge = isinstance(recipe.network, JudgeConfig)
    result = last.network.eval().requires_grad_(False)
    model = Model(result, None if judge else schedule, denoising, data.classes, made)
    if group.rank == 0:
        model.save(finished)
    group.wait()
    return model


def _forget_after(log: Path, step: int) -> None:
    """Take from a log what a killed run wrote after the state from which it is resumed, and a line cut short."""
    if log.exists():
        whole = [line for line in log.read_text().splitlines(keepends=True) if line.endswith("}\n")]
        write_atomic(log, "".join(line for line in whole if json.loads(line)["step"] <= step).encode())


def _describe(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain values; `save_every` does not change what comes out."""
    training = {k: v for k, v in asdict(recipe.training).items() if k != "save_every"}
    return {
        "network": asdict(recipe.network),
        "objective": repr(recipe.objective),
        "training": training,
        "schedule": f"{recipe.schedule} {recipe.T}",
    }
