"""Experiments: comparisons, studies, matchings and truths, by name or from a file; `run` runs any."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rgd.checkpoints import write_atomic
from rgd.lab import comparison, matching, study, truth
from rgd.lab.comparison import Comparison
from rgd.lab.matching import Matching
from rgd.lab.study import Study
from rgd.lab.tables import look_up, table
from rgd.processes import processes

Experiment = Comparison | Study | Matching | truth.Experiment


def names() -> tuple[str, ...]:
    """The project's experiments, in the order in which they are best run."""
    return tuple(table("experiment"))


def read(what: Path | str, quick: bool = False) -> Experiment:
    """An experiment by its name, "compare_mnist"; or your own, in a file that defines `experiment`, or `experiments`.

    Args:
        what: a name of `names()`, "mine.py", or "mine.py:NAME". A file is run: read it first if it is not yours.
        quick: a small version in its place, see `small`.

    Raises:
        RgdError: if there is no such name or file, or no experiment in it.
    """
    kinds: Any = (Comparison, Study, Matching, truth.Experiment)
    plan = look_up(what, "experiment", kinds)
    return small(plan) if quick else plan


def small(plan: Experiment) -> Experiment:
    """The same in minutes: small, but complete, except for twins."""
    if isinstance(plan, Comparison):
        return comparison.small(plan)
    if isinstance(plan, Study):
        alone = tuple((name, None) for name, _ in plan.classifiers)
        return replace(plan, classifiers=alone, levels=(0, 100, 300), images=100)
    if isinstance(plan, Matching):
        return replace(plan, levels=(200, 400, 600), images=250)
    few: dict[str, Any] = {"radii": (0.0, 0.1), "draws": (1500,), "seeds": (0,), "steps": 60}
    return replace(plan, **few, levels=(0, 100, 300), points=200, samples=100)


def models(plan: Experiment) -> tuple[str, ...]:
    """The names of the models that an experiment needs."""
    if isinstance(plan, truth.Experiment):
        return ()
    if isinstance(plan, Study):
        names = {plan.judge, plan.denoiser, *(name for pair in plan.classifiers for name in pair)}
    elif isinstance(plan, Matching):
        names = {*plan.denoisers, *plan.classifiers}
    else:
        names = {plan.judge, *(name for entry in plan.entries for name in (entry.denoiser, entry.guide))}
    return tuple(sorted(name for name in names if name is not None))


def run(plan: Experiment, folder: Path | str, out: Path | str, runs: Path | str = "runs") -> dict[str, Any]:
    """Run an experiment, or what is left of it.

    Args:
        folder: where what was done is kept, and how long it took.
        out: the JSON file of the results. What it has already of the same models and plan is not done again: name
            another file to have all of it anew.
        runs: where `rgd train` put models that are not published.

    Raises:
        CheckpointError: if a model cannot be had.
    """
    clock, began = Path(folder) / "seconds.json", time.perf_counter()
    before = json.loads(clock.read_text()) if clock.exists() else 0.0
    earlier = json.loads(Path(out).read_text()) if Path(out).exists() else {}
    if isinstance(plan, truth.Experiment | Matching):
        if _is_of(earlier, plan, runs):
            return earlier
    elif not before:  # the others take over what the file has, and so what it took
        before = earlier.get("seconds", 0.0)
    try:
        if isinstance(plan, truth.Experiment):
            results = truth.run(plan, folder, out)
        elif isinstance(plan, Study):
            results = study.run(plan, folder, out, runs=runs)
        elif isinstance(plan, Matching):
            results = matching.run(plan, folder, out, runs=runs)
        else:
            results = comparison.run(plan, folder, out, runs=runs)
    finally:  # a run that is stopped took time too
        seconds = before + time.perf_counter() - began
        if processes().rank == 0:
            write_atomic(clock, json.dumps(seconds).encode())
    results["seconds"] = round(seconds)
    if processes().rank == 0:
        write_atomic(Path(out), json.dumps(results, indent=1).encode())
    return results


def _is_of(results: dict[str, Any], plan: truth.Experiment | Matching, runs: Path | str) -> bool:
    """Whether results are all that a plan asks for, of the models as they are."""
    same = results.get("plan") == json.loads(json.dumps(asdict(plan))) and "seconds" in results
    return same and all(
        comparison.find(name, runs).provenance == made for name, made in results.get("made", {}).items()
    )
