"""Measuring samples, gradients and classifiers; every number comes with a 95 % interval.

`estimates` (numbers and intervals), `features` (what a network sees in images), `scores` (of samples), `gradients` (of
classifiers), `classifiers` (right how often). As `rgd.metrics`, what most need.
"""

from typing import Any

from rgd.measure.classifiers import accuracy_by_t
from rgd.measure.estimates import Estimate, calibration_error, jackknife, mean, proportion, share
from rgd.measure.features import Features, extract, quantise
from rgd.measure.scores import METRICS, estimate, evaluate, paired_difference

__all__ = ["METRICS", "Estimate", "Features", "accuracy_by_t", "calibration_error", "estimate", "evaluate"]
__all__ += ["extract", "jackknife", "mean", "paired_difference", "proportion", "quantise", "share"]


def __getattr__(name: str) -> Any:
    """`load_inception` and `register_judge`, which users know by this door."""
    if name not in ("load_inception", "register_judge"):
        raise AttributeError(f"module 'rgd.measure' has no attribute {name!r}")
    from rgd.lab import eyes

    return getattr(eyes, name)
