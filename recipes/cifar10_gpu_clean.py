"""A classifier of the GPU's set that never saw noise."""

from dataclasses import replace
from pathlib import Path

from rgd.lab.recipe import read
from rgd.objectives import CleanCrossEntropy

vanilla = read(Path(__file__).with_name("cifar10_gpu_vanilla.py"))
recipe = replace(vanilla, name="cifar10/gpu_clean", objective=CleanCrossEntropy())
