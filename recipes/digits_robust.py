"""The robust time-dependent classifier of the digits: the vanilla one's recipe, trained on attacked noised images."""

from dataclasses import replace
from pathlib import Path

from rgd.attacks import L2, PGD
from rgd.lab.recipe import read
from rgd.objectives import RobustCrossEntropy

recipe = replace(
    read(Path(__file__).with_name("digits_vanilla.py")),
    name="digits/robust",
    objective=RobustCrossEntropy(PGD(L2(0.5), steps=7)),
)
