"""The questions that the book asks, each a kind of experiment; by name or from a file, and `run` runs any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rgd.editing.experiment import Editing
from rgd.experiments.comparison import Comparison, Drawn, Entry
from rgd.experiments.matching import Matching
from rgd.experiments.rivals import Rival
from rgd.experiments.study import Study
from rgd.experiments.tangents import Tangents
from rgd.experiments.tempering import Tempering
from rgd.experiments.truth import Truth
from rgd.lab.bench import Plan, run
from rgd.lab.tables import look_up, table

__all__ = ["Comparison", "Drawn", "Editing", "Entry", "Matching", "Rival", "Study", "Tangents", "Tempering", "Truth"]
__all__ += ["Plan", "names", "read", "run"]


def names() -> tuple[str, ...]:
    """The project's experiments, in the order in which they are best run."""
    return tuple(table("experiment"))


def read(what: Path | str, quick: bool = False) -> Plan:
    """An experiment by its name, "compare_mnist"; or your own, in a file that defines `experiment`, or `experiments`.

    Args:
        what: a name of `names()`, "mine.py", or "mine.py:NAME". A file is run: read it first if it is not yours.
        quick: a small version in its place: complete, except for twins, and done in minutes.

    Raises:
        RgdError: if there is no such name or file, or no experiment in it.
    """
    kinds: Any = (Comparison, Study, Matching, Truth, Tempering, Tangents, Editing)
    plan: Plan = look_up(what, "experiment", kinds)
    return plan.small() if quick else plan
