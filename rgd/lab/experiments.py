"""Experiments: a file names one, whatever its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rgd.lab import recipe
from rgd.lab.bench import Plan, run
from rgd.lab.comparison import Comparison
from rgd.lab.matching import Matching
from rgd.lab.study import Study
from rgd.lab.truth import Truth

__all__ = ["Plan", "read", "run"]


def read(file: Path | str, quick: bool = False) -> Plan:
    """What a file defines as `experiment`, or as `quick`, its small version. The file is run.

    Raises:
        RgdError: if there is no such file, or no experiment of that name in it.
    """
    kinds: Any = (Comparison, Study, Matching, Truth)
    return recipe.read_named(file, "quick" if quick else "experiment", kinds)
