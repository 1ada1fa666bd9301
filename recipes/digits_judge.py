"""The judge of the digits: clean images, another architecture, another seed; it scores samples and never guides."""

from rgd.lab.judge import JudgeConfig
from rgd.lab.recipe import Recipe
from rgd.objectives import CleanCrossEntropy
from rgd.training import Training

recipe = Recipe(
    name="digits/judge",
    data="digits",
    network=JudgeConfig(image_size=8, in_channels=1, out_channels=10),
    objective=CleanCrossEntropy(takes_time=False),
    training=Training(steps=500, lr=1e-3, seed=1),
)
