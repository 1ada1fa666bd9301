"""Robust within a radius of 1 by three attack steps in place of seven."""

from dataclasses import replace
from pathlib import Path

from rgd.attacks import L2, PGD
from rgd.lab.recipe import read
from rgd.objectives import RobustCrossEntropy

recipe = replace(
    read(Path(__file__).with_name("mnist_vanilla.py")),
    name="mnist/pgd3",
    objective=RobustCrossEntropy(PGD(L2(1.0), steps=3)),
)
