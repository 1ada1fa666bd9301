"""Robust within a radius of 1, twice the paper's."""

from dataclasses import replace
from pathlib import Path

from rgd.attacks import L2, PGD
from rgd.lab.recipe import read
from rgd.objectives import RobustCrossEntropy

recipe = replace(
    read(Path(__file__).with_name("cifar10_vanilla.py")),
    name="cifar10/robust_1",
    objective=RobustCrossEntropy(PGD(L2(1.0), steps=7)),
)
