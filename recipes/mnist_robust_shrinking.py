"""The robust classifier of MNIST within a radius that shrinks with the noise, from 4 at t = 0 to nothing.

Four is a third of the way to an image of another class, about the share that recipes/truth.py found best on mixtures.
"""

from dataclasses import replace
from pathlib import Path

from rgd.attacks import L2, PGD, NoiseRadius
from rgd.lab.recipe import read
from rgd.objectives import RobustCrossEntropy

vanilla = read(Path(__file__).with_name("mnist_vanilla.py"))
radius = NoiseRadius(vanilla.make_schedule(), clean=4.0, noisy=0.0)
recipe = replace(vanilla, name="mnist/robust_shrinking", objective=RobustCrossEntropy(PGD(L2(radius), steps=7)))
