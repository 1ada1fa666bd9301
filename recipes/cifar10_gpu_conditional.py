"""The class-conditional DDPM of the GPU's set, with a null label for classifier-free guidance."""

from dataclasses import replace
from pathlib import Path

from rgd.lab.recipe import read
from rgd.objectives import Denoising

unconditional = read(Path(__file__).with_name("cifar10_gpu_ddpm.py"))
recipe = replace(
    unconditional,
    name="cifar10/gpu_conditional",
    network=replace(unconditional.network, num_classes=10, null_label=True),
    objective=Denoising(conditional=True, label_dropout=0.1),
)
