"""The judge of CIFAR-10: clean images, another architecture, another seed; it scores samples and never guides."""

from rgd.lab.judge import JudgeConfig
from rgd.lab.recipe import Recipe
from rgd.objectives import CleanCrossEntropy
from rgd.training import Training

recipe = Recipe(
    name="cifar10/judge",
    data="cifar10",
    network=JudgeConfig(image_size=32, in_channels=3, out_channels=10, width=80, stages=3, fast=True),
    objective=CleanCrossEntropy(takes_time=False, label_smoothing=0.1),
    training=Training(steps=9400, lr=2e-3, warmup=200, ema=0.999, flip=True, shift=3, seed=1, save_every=500),
)
