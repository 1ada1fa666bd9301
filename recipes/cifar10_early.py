"""CIFAR-10's small DDPM after a twentieth of its training: what autoguidance steers away from."""

from dataclasses import replace
from pathlib import Path

from rgd.lab.recipe import read

whole = read(Path(__file__).with_name("cifar10_ddpm.py"))
recipe = replace(
    whole, name="cifar10/early", training=replace(whole.training, steps=whole.training.steps // 20, ema=0.99)
)
