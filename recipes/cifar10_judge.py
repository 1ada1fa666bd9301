"""The judge of CIFAR-10: clean images, another architecture, another seed; it scores samples and never guides."""

from rgd.networks import JudgeConfig
from rgd.objectives import CleanCrossEntropy
from rgd.recipes import Recipe
from rgd.training import Training

recipe = Recipe(
    name="cifar10/judge",
    data="cifar10",
    network=JudgeConfig(image_size=32, in_channels=3, out_channels=10, width=64, stages=3, pool_early=True),
    objective=CleanCrossEntropy(takes_time=False),
    training=Training(
        steps=8000, lr=2e-3, warmup=200, ema=0.999, flip=True, shift=3, seed=1, precision="bf16", save_every=500
    ),
)
