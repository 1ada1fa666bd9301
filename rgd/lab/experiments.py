"""Experiments: comparisons, studies, matchings and truths, by name or from a file; `run` runs any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rgd.lab.bench import Plan, run
from rgd.lab.comparison import Comparison
from rgd.lab.comparison import small as smaller
from rgd.lab.matching import Matching
from rgd.lab.study import Study
from rgd.lab.tables import look_up, table
from rgd.lab.truth import Truth

__all__ = ["Plan", "names", "read", "run", "small"]


def names() -> tuple[str, ...]:
    """The project's experiments, in the order in which they are best run."""
    return tuple(table("experiment"))


def read(what: Path | str, quick: bool = False) -> Plan:
    """An experiment by its name, "compare_mnist"; or your own, in a file that defines `experiment`, or `experiments`.

    Args:
        what: a name of `names()`, "mine.py", or "mine.py:NAME". A file is run: read it first if it is not yours.
        quick: a small version in its place, see `small`.

    Raises:
        RgdError: if there is no such name or file, or no experiment in it.
    """
    kinds: Any = (Comparison, Study, Matching, Truth)
    plan: Plan = look_up(what, "experiment", kinds)
    return small(plan) if quick else plan


def small(plan: Plan) -> Plan:
    """The same in minutes: small, but complete, except for twins."""
    if isinstance(plan, Comparison):
        return smaller(plan)
    if isinstance(plan, Study):
        alone = tuple((name, None) for name, _ in plan.classifiers)
        return replace(plan, classifiers=alone, levels=(0, 100, 300), images=100)
    if isinstance(plan, Matching):
        return replace(plan, levels=(200, 400, 600), images=250)
    assert isinstance(plan, Truth)
    few: dict[str, Any] = {"radii": (0.0, 0.1), "draws": (1500,), "seeds": (0,), "steps": 60}
    return replace(plan, **few, levels=(0, 100, 300), points=200, samples=100)
