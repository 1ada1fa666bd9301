"""A smaller class-conditional DDPM after a tenth of the training: what autoguidance steers away from."""

from dataclasses import replace
from pathlib import Path

from rgd.lab.recipe import read

whole = read(Path(__file__).with_name("cifar10_gpu_conditional.py"))
recipe = replace(
    whole,
    name="cifar10/gpu_early",
    network=replace(whole.network, model_channels=40, num_head_channels=40, num_res_blocks=1),
    training=replace(whole.training, steps=whole.training.steps // 10, ema=0.99),
)
