"""A classifier of CIFAR-10 that never saw noise: the vanilla one's recipe on clean images."""

from dataclasses import replace
from pathlib import Path

from rgd.lab.recipe import read
from rgd.objectives import CleanCrossEntropy

vanilla = read(Path(__file__).with_name("cifar10_vanilla.py"))
recipe = replace(vanilla, name="cifar10/clean", objective=CleanCrossEntropy())
