"""Robust within a radius of 1 by one attack step from a random start (Wong et al. 2020)."""

from dataclasses import replace
from pathlib import Path

from rgd.attacks import L2, PGD
from rgd.lab.recipe import read
from rgd.objectives import RobustCrossEntropy

recipe = replace(
    read(Path(__file__).with_name("mnist_vanilla.py")),
    name="mnist/fgsm",
    objective=RobustCrossEntropy(PGD(L2(1.0), steps=1, step=1.25, random_start=True, early_stop=False)),
)
