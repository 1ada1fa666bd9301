"""The class-conditional DDPM of MNIST, with a null label on a tenth of the images for classifier-free guidance."""

from dataclasses import replace
from pathlib import Path

from rgd.lab.recipe import read
from rgd.objectives import Denoising

unconditional = read(Path(__file__).with_name("mnist_ddpm.py"))
recipe = replace(
    unconditional,
    name="mnist/conditional",
    network=replace(unconditional.network, num_classes=10, null_label=True),
    objective=Denoising(conditional=True, label_dropout=0.1),
    training=replace(unconditional.training, steps=5_000),
)
