"""Robust within a radius that grows with the noise, from 0.5 at t = 0 to about 2; of the GPU's set."""

from dataclasses import replace
from pathlib import Path

from rgd.attacks import L2, PGD, NoiseRadius
from rgd.lab.recipe import read
from rgd.objectives import RobustCrossEntropy

vanilla = read(Path(__file__).with_name("cifar10_gpu_vanilla.py"))
radius = NoiseRadius(vanilla.make_schedule(), clean=0.5, noisy=2.0)
recipe = replace(vanilla, name="cifar10/gpu_robust_growing", objective=RobustCrossEntropy(PGD(L2(radius), steps=7)))
