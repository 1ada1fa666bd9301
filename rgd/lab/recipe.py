"""Recipes: all that it takes to make a model again.

`rgd train mnist/robust` follows one of the tables in recipes/, `rgd train mine.py` your own, in a file that ends with
`recipe = Recipe(...)`. What comes out is a `Model` whose metadata says which recipe, data, seed, device and commit it
came from.
"""

from __future__ import annotations

import itertools
import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from rgd import schedule as schedules
from rgd.data import Dataset, stream
from rgd.denoiser import Variance
from rgd.errors import require
from rgd.identity import identity
from rgd.lab import datasets
from rgd.lab.judge import JudgeConfig
from rgd.lab.origin import provenance
from rgd.lab.tables import look_up, table
from rgd.networks import UNetConfig, build
from rgd.processes import processes
from rgd.training import Training, TrainStep, fit
from rgd.training.checkpoints import Model, load, write_atomic
from rgd.training.objectives import Objective


@dataclass(frozen=True)
class Recipe:
    """How a published model, or one of a demo's, is made.

    Attributes:
        name: of the model, e.g. "digits/robust".
        data: what `rgd.data.load` takes, or, if it streams, `rgd.data.stream`.
        network: its architecture.
        objective: what it is trained to do.
        training: for how long, and how.
        schedule, T: the noise.
        variance: of the reverse steps of a denoiser.
        streams: whether images are read while they are used, as `rgd.data.stream` does, at the network's size.
        crop: if it streams, how little of an image's shorter side a training may see, see there.
        about: a sentence on the model, for its card; no part of what makes it.
    """

    name: str
    data: str
    network: Any
    objective: Objective
    training: Training
    schedule: Literal["linear", "cosine"] = "linear"
    T: int = 1000
    variance: Variance = "large"
    streams: bool = False
    crop: float = 1.0
    about: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        schedules.named(self.schedule, self.T)
        require(self.streams or self.crop == 1, "crop", self.crop, "1 for images that are not streamed")

    def images(self) -> Dataset:
        """What it trains on. Raises as `rgd.data.load` or `rgd.data.stream`."""
        if self.streams:
            return stream(self.data, size=self.network.image_size, crop=self.crop)
        return datasets.load(self.data)

    def makes(self, data: Dataset) -> dict[str, Any]:
        """The identity of the weights that come of it on these images; how one samples is no part of it."""
        parts = {"objective": self.objective, "training": self.training, "schedule": self.make_schedule()}
        return {"network": identity(self.network), "data": data.digest} | {k: identity(v) for k, v in parts.items()}

    def make_schedule(self) -> schedules.Schedule:
        """The noise schedule."""
        return schedules.named(self.schedule, self.T)


def read(what: Path | str) -> Recipe:
    """A recipe by its name, "mnist/robust"; or your own, in a file that defines `recipe`, or `recipes` by name.

    Args:
        what: a name of `names()`, "mine.py", or "mine.py:NAME". A file is run: read it first if it is not yours.

    Raises:
        RgdError: if there is no such name or file, or no recipe in it.
    """
    return look_up(what, "recipe", Recipe)


def names() -> tuple[str, ...]:
    """The project's recipes, those of the published models among them."""
    return tuple(sorted(table("recipe")))


def listing() -> str:
    """A line for each of the project's recipes: its name, and what it makes."""
    return "\n".join(f"{name:<{max(map(len, names()))}}  {read(name).about}" for name in names())


def train(recipe: Recipe, folder: Path | str, data: Dataset | None = None, progress: bool = True) -> Model:
    """Make a recipe's model in a folder, or resume making it; a model already there is loaded.

    The folder holds the training state, `log.jsonl` and, at the end, `model.safetensors`.

    Raises:
        RgdError: of the kinds that `fit` and `Model.save` raise.
    """
    folder = Path(folder)
    finished = folder / "model.safetensors"
    group = processes()
    data = recipe.images() if data is None else data
    made_from = recipe.makes(data)
    model = group.first(lambda: load(finished) if finished.exists() else None)
    if model is not None and model.provenance.get("made_from") == made_from:
        model.network.to(group.device)
        # The variance is how one samples, and no part of training.
        now = replace(model, denoising=model.denoising and {**model.denoising, "variance": recipe.variance})
        if now.denoising != model.denoising and group.rank == 0:
            now.save(finished)
        group.wait()
        return now
    network, schedule, training = build(recipe.network, recipe.training.seed), recipe.make_schedule(), recipe.training
    folder.mkdir(parents=True, exist_ok=True)
    steps = fit(network, recipe.objective, data, schedule, training, folder)
    first = next(steps)
    done = first.step if first.repeated else first.step - 1
    log = _Log(folder / "log.jsonl", training, done) if group.rank == 0 else None
    hidden = not progress or group.rank > 0
    try:
        with tqdm(total=training.steps, initial=done, desc=recipe.name, unit="step", disable=hidden) as bar:
            for last in itertools.chain([first], steps):
                if log is not None and not last.repeated and (row := log.add(last)):
                    bar.set_postfix({k: f"{v:.3f}" for k, v in row.items() if k != "step"})
                bar.update()
    finally:
        if log is not None and log.stretch:
            log.write(log.sums())
    # What was streamed is not to be found again as a whole, in memory.
    images = {"streamed" if recipe.streams else "data": data.source}
    made_of = {"made_from": made_from, "recipe": recipe.name, **images, "seed": training.seed}
    made_in = {"images_seen": last.images, "hours": round(last.seconds / 3600, 4), **provenance()}
    predicts = getattr(recipe.objective, "predicts", "eps" if isinstance(recipe.network, UNetConfig) else None)
    denoising = {} if predicts is None else {"predicts": predicts, "variance": recipe.variance}
    noised = None if isinstance(recipe.network, JudgeConfig) else schedule
    model = Model(last.network.eval().requires_grad_(False), noised, denoising, data.classes, {**made_of, **made_in})
    if group.rank == 0:
        model.save(finished)
    group.wait()
    return model


class _Log:
    """The rows of a training: averages over its steps, one for each hundredth of it and wherever its state is saved.

    So a run that goes on from there begins a row. Where it was stopped by an error or Ctrl-C, and saved then, the file
    has the sums of the row that it had begun: whoever goes on completes it.
    """

    def __init__(self, path: Path, training: Training, done: int) -> None:
        self.path, self.training, self.stretch, self.rows = path, training, list[TrainStep](), []
        for line in path.read_bytes().splitlines() if path.exists() else ():
            with suppress(AttributeError, KeyError, TypeError, ValueError):  # one cut short, or of somebody else
                row = {str(name): float(value) for name, value in json.loads(line).items()}
                self.rows += [row | {"step": int(row["step"])}] if row["step"] <= done else []
        last = [row for row in self.rows if row["step"] == done]
        self.begun: dict[str, float] = last[0] if last and all("begun" in row for row in last) else {}

    def add(self, last: TrainStep) -> dict[str, float] | None:
        """A step; the row that it completes, if it does."""
        self.stretch.append(last)
        every, steps = max(1, self.training.steps // 100), self.training.steps
        if last.step != steps and last.step % every and last.step % self.training.save_every:
            return None
        sums = self.sums()
        row = {name: v if name == "step" else v / sums["begun"] for name, v in sums.items() if name != "begun"}
        if last.step == steps:
            self.rows = [each for each in self.rows if "begun" not in each]
        self.write(row)
        self.stretch, self.begun = [], {}
        return row

    def sums(self) -> dict[str, float]:
        sums = {**self.begun, "step": self.stretch[-1].step, "begun": self.begun.get("begun", 0) + len(self.stretch)}
        for step in self.stretch:
            for name, value in {"loss": step.loss, **step.statistics}.items():
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums

    def write(self, row: dict[str, float]) -> None:
        write_atomic(self.path, "".join(f"{json.dumps(each)}\n" for each in (*self.rows, row)).encode())
        self.rows.append(row)
