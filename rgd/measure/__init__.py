"""Measuring samples, gradients and classifiers; every number comes with a 95 % interval.

`estimates` (numbers and intervals), `features` (what a network sees in images), `scores` (of samples), `gradients` (of
classifiers), `classifiers` (right how often), `plots` (how it all is drawn). As `rgd.metrics`, what most need.
"""

from rgd.measure.classifiers import accuracy_by_t
from rgd.measure.estimates import Estimate, calibration_error, combine, jackknife, mean, proportion, share
from rgd.measure.features import Features, extract, load_inception, quantise, register_judge
from rgd.measure.scores import METRICS, estimate, evaluate, paired_difference

__all__ = [
    "METRICS",
    "Estimate",
    "Features",
    "accuracy_by_t",
    "calibration_error",
    "combine",
    "estimate",
    "evaluate",
    "extract",
    "jackknife",
    "load_inception",
    "mean",
    "paired_difference",
    "proportion",
    "quantise",
    "register_judge",
    "share",
]
