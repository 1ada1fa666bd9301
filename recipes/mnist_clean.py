"""The vanilla classifier's recipe on images without noise: a classifier that has never seen xt."""

from dataclasses import replace
from pathlib import Path

from rgd.lab.recipe import read
from rgd.objectives import CleanCrossEntropy

recipe = replace(read(Path(__file__).with_name("mnist_vanilla.py")), name="mnist/clean", objective=CleanCrossEntropy())
