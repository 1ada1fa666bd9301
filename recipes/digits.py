"""What makes the models of scikit-learn's 8x8 digits: each in a minute or so."""

from dataclasses import replace
from functools import partial

from rgd.attacks import L2, PGD
from rgd.lab.judge import JudgeConfig
from rgd.lab.recipe import Recipe
from rgd.networks import EncoderConfig, UNetConfig
from rgd.training import Training, objectives

digits = partial(Recipe, data="digits")
sizes = dict(image_size=8, in_channels=1, model_channels=32, channel_mult=(1, 2), num_res_blocks=1)
blocks = dict(attention_resolutions=(2,), num_head_channels=32, use_scale_shift_norm=True)

ddpm = digits(
    name="digits/ddpm",
    about="An unconditional DDPM.",
    network=UNetConfig(out_channels=1, **sizes, **blocks), objective=objectives.Denoising(),
    training=Training(steps=3000, lr=1e-3, warmup=50, ema=0.995, clip=1.0, save_every=500),
)  # fmt: skip
judge = digits(
    name="digits/judge",
    about="Clean images, another architecture, another seed: it scores samples and never guides.",
    network=JudgeConfig(image_size=8, in_channels=1, out_channels=10),
    objective=objectives.CleanCrossEntropy(takes_time=False), training=Training(steps=500, lr=1e-3, seed=1),
)  # fmt: skip
vanilla = digits(
    name="digits/vanilla",
    about="The ordinary time-dependent classifier: cross-entropy on noised images.",
    network=EncoderConfig(out_channels=10, pool="attention", **sizes, **blocks),
    objective=objectives.NoisyCrossEntropy(), training=Training(steps=1000, lr=1e-3, save_every=500),
)  # fmt: skip
robust = replace(
    vanilla, name="digits/robust",
    about="The vanilla one's recipe on attacked noised images: PGD-7 within the paper's radius.",
    objective=objectives.RobustCrossEntropy(PGD(L2(0.5), steps=7)),
)  # fmt: skip

recipes = {recipe.name: recipe for recipe in (ddpm, judge, vanilla, robust)}
