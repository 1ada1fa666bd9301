"""One attack step from a random start, as `mnist_fgsm`, but an image that is misread already stays where it is."""

from dataclasses import replace
from pathlib import Path

from rgd.attacks import L2, PGD
from rgd.lab.recipe import read
from rgd.objectives import RobustCrossEntropy

recipe = replace(
    read(Path(__file__).with_name("mnist_vanilla.py")),
    name="mnist/fgsm_stop",
    objective=RobustCrossEntropy(PGD(L2(1.0), steps=1, step=1.25, random_start=True, early_stop=True)),
)
