"""The robust classifier of MNIST within a radius of 2, four times the paper's."""

from dataclasses import replace
from pathlib import Path

from rgd.attacks import L2, PGD
from rgd.lab.recipe import read
from rgd.objectives import RobustCrossEntropy

recipe = replace(
    read(Path(__file__).with_name("mnist_vanilla.py")),
    name="mnist/robust_2",
    objective=RobustCrossEntropy(PGD(L2(2.0), steps=7)),
)
