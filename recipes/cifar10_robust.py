"""The robust classifier of CIFAR-10, within the paper's radius: the vanilla one's recipe under PGD-7."""

from dataclasses import replace
from pathlib import Path

from rgd.attacks import L2, PGD
from rgd.lab.recipe import read
from rgd.objectives import RobustCrossEntropy

recipe = replace(
    read(Path(__file__).with_name("cifar10_vanilla.py")),
    name="cifar10/robust",
    objective=RobustCrossEntropy(PGD(L2(0.5), steps=7)),
)
