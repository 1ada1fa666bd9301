"""The judge of MNIST: clean images, another architecture, another seed; it scores samples and never guides."""

from rgd.lab.judge import JudgeConfig
from rgd.lab.recipe import Recipe
from rgd.objectives import CleanCrossEntropy
from rgd.training import Training

recipe = Recipe(
    name="mnist/judge",
    data="mnist",
    network=JudgeConfig(image_size=28, in_channels=1, out_channels=10),
    objective=CleanCrossEntropy(takes_time=False),
    training=Training(steps=6000, lr=2e-3, warmup=100, ema=0.999, seed=1),
)
