"""Experiments: a file of the folder recipes/ names one, whatever its kind, and `run` runs it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rgd.checkpoints import write_atomic
from rgd.lab import comparison, matching, study, truth
from rgd.lab import recipe as recipes
from rgd.lab.comparison import Comparison
from rgd.lab.matching import Matching
from rgd.lab.study import Study
from rgd.processes import processes

Experiment = Comparison | Study | Matching | truth.Experiment


def read(file: Path | str, quick: bool = False) -> Experiment:
    """What a file defines as `experiment`, or as `quick`, its small version. The file is run.

    Raises:
        RgdError: if there is no such file, or no experiment of that name in it.
    """
    kinds: Any = (Comparison, Study, Matching, truth.Experiment)
    return recipes.read_named(file, "quick" if quick else "experiment", kinds)


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
