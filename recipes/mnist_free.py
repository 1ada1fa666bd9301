"""Robust within a radius of 1 at the price of ordinary training: batches are used four times (Shafahi et al. 2019)."""

from dataclasses import replace
from pathlib import Path

from rgd.attacks import L2
from rgd.lab.recipe import read
from rgd.objectives import FreeCrossEntropy

recipe = replace(
    read(Path(__file__).with_name("mnist_vanilla.py")),
    name="mnist/free",
    objective=FreeCrossEntropy(L2(1.0), replays=4),
)
