"""The robust classifier of the GPU's set, within the paper's radius."""

from dataclasses import replace
from pathlib import Path

from rgd.attacks import L2, PGD
from rgd.lab.recipe import read
from rgd.objectives import RobustCrossEntropy

recipe = replace(
    read(Path(__file__).with_name("cifar10_gpu_vanilla.py")),
    name="cifar10/gpu_robust",
    objective=RobustCrossEntropy(PGD(L2(0.5), steps=7)),
)
