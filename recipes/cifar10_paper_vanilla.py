"""The robust classifier's recipe without the attack."""

from dataclasses import replace
from pathlib import Path

from rgd.lab.recipe import read
from rgd.objectives import NoisyCrossEntropy

recipe = replace(
    read(Path(__file__).with_name("cifar10_paper_robust.py")),
    name="cifar10/paper_vanilla",
    objective=NoisyCrossEntropy(),
)
