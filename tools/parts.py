"""The small models that chapters 21 and 22 train, those of seed 0, as files.

`python -m tools.parts` makes them all, in `runs/NAME/model.safetensors`, in some minutes; or those that are named.
From there `tools.publish` takes them, as it takes what `rgd train` makes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import tyro

from rgd import measure
from rgd.data import Dataset
from rgd.experiments import read
from rgd.faster import trained
from rgd.faster.work import Work, labels
from rgd.lab import datasets
from rgd.lab.origin import provenance
from rgd.neighbours.counting import OBJECTIVES, canvases, counter
from rgd.randomness import noise
from rgd.samplers import ddim
from rgd.schedule import linear
from rgd.training.checkpoints import Model

HELD_OUT = 100  # the seed of canvases on which no counter was trained


@dataclass(frozen=True)
class Part:
    """One of them.

    Attributes:
        about: a sentence for its card.
        make: the model.
        test: images on which it was not trained.
    """

    about: str
    make: Callable[[], Model]
    test: Callable[[], Dataset]


def made(network: Any, data: Dataset, objective: str, steps: int, began: float) -> dict[str, Any]:
    """Where a model came from, as `rgd train` would say it."""
    training = {"steps": steps, "batch_size": 64}
    how = {"network": asdict(network.config), "objective": objective, "training": training}
    hours = round((time.perf_counter() - began) / 3600, 4)
    told = {"made_from": {"recipe": how, "data": data.digest}, "data": data.name, "seed": 0, "hours": hours}
    return {**told, "images_seen": 64 * steps, **provenance()}


def count(name: str) -> Model:
    """A counter of dots, as in chapter 21's experiment."""
    began, steps, data = time.perf_counter(), read("noise").training, canvases(4000, 0)
    network: Any = counter(OBJECTIVES[name], steps, 0, data, linear(1000))
    about = made(network, data, repr(OBJECTIVES[name]), steps, began)
    return Model(network, linear(1000), {}, data.classes, about)


@cache
def students() -> dict[int, Model]:
    """By their steps, those of digits guided by the robust classifier, as in chapter 22's experiment."""
    began, plan = time.perf_counter(), replace(read("fewer"), data="digits")
    work, found = Work(plan, SimpleNamespace(images=datasets.load)), dict[int, Model]()  # type: ignore[arg-type]
    denoising = {"predicts": "v", "variance": "large", "clip": False}
    steps = 1.5 * plan.training  # of the denoiser and its guide
    for halvings, (times, student) in enumerate(trained.students(work, "robust", 0)):
        steps += (0.3 if halvings else 0.6) * plan.training
        objective = f"Follow, of a Denoising guided by a RobustCrossEntropy; then {halvings} times Halved"
        about = made(student, work.digits, objective, round(steps), began)
        model = Model(student, times, denoising, work.digits.classes, about)
        found[times.T] = replace(model, provenance={**about, "samples": samples(model, work)})
    return found


def samples(model: Model, work: Work) -> dict[str, Any]:
    """What the chapter's judge sees in what a student draws in as many steps as it was made for."""
    xT = noise((work.plan.digits, *work.digits.shape), 1000)
    y = labels(xT)
    *_, step = ddim(model.use(), xT, y, steps=min(16, model.use().schedule.T))
    seen = measure.extract(step.x.clamp(-1, 1), work.judge, labels=y)
    return {name: measure.estimate(name, seen, work.real).to_json() for name in ("accuracy", "fd", "recall")}


def _student(steps: int) -> Part:
    about = (
        f"Draws digits of 8x8 pixels in {steps} steps of one network, guided at any scale from 0 to 4, and 4 if none "
        "is said: the student of a class-conditional denoiser that a robust classifier guides (chapter 22)."
    )
    return Part(about, lambda: students()[steps], lambda: datasets.load("digits", "test"))


def _counter(name: str) -> Part:
    how = {"vanilla": "noised", "robust": "attacked and noised"}[name]
    about = f"Counts the dots of a canvas of 16x16 pixels, one to five; it learned on {how} canvases (chapter 21)."
    return Part(about, lambda: count(name), lambda: canvases(2000, HELD_OUT))


PARTS = {f"dots/{name}": _counter(name) for name in OBJECTIVES}
PARTS |= {f"digits/student_{steps}": _student(steps) for steps in (4, 2)}


def main(names: Annotated[tuple[str, ...], tyro.conf.Positional] = tuple(PARTS), runs: Path = Path("runs")) -> None:
    """Make them.

    Args:
        names: which.
        runs: where.
    """
    for name in names:
        model = PARTS[name].make()
        model = replace(model, provenance={"recipe": name, **model.provenance})
        model.save(runs / name / "model.safetensors")
        print(f"{name}: {sum(p.numel() for p in model.network.parameters()):,} parameters")


if __name__ == "__main__":
    tyro.cli(main)
