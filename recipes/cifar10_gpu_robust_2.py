"""Robust within a radius of 2, four times the paper's; of the GPU's set."""

from dataclasses import replace
from pathlib import Path

from rgd.attacks import L2, PGD
from rgd.lab.recipe import read
from rgd.objectives import RobustCrossEntropy

recipe = replace(
    read(Path(__file__).with_name("cifar10_gpu_vanilla.py")),
    name="cifar10/gpu_robust_2",
    objective=RobustCrossEntropy(PGD(L2(2.0), steps=7)),
)
