"""The judge of CIFAR-10 for a GPU: the small judge's recipe, wider and for longer."""

from dataclasses import replace
from pathlib import Path

from rgd.lab.recipe import read

small = read(Path(__file__).with_name("cifar10_judge.py"))
recipe = replace(
    small,
    name="cifar10/gpu_judge",
    network=replace(small.network, width=128),
    training=replace(small.training, steps=8000, batch_size=512, lr=4e-3, shift=4),
)
