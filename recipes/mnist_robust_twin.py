"""The robust classifier of MNIST with another seed: does training again give the same gradient?"""

from dataclasses import replace
from pathlib import Path

from rgd.lab.recipe import read

first = read(Path(__file__).with_name("mnist_robust.py"))
recipe = replace(first, name="mnist/robust_twin", training=replace(first.training, seed=100))
