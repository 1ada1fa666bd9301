"""What makes the models of CIFAR-10 in three sizes: for two CPU cores, for 25 minutes of a large GPU (gpu_), and the
paper's (paper_)."""

from dataclasses import replace
from functools import partial

from rgd.attacks import L2, PGD, NoiseRadius
from rgd.lab.judge import JudgeConfig
from rgd.lab.recipe import Recipe
from rgd.networks import EncoderConfig, UNetConfig
from rgd.training import Training, objectives

cifar10 = partial(Recipe, data="cifar10")
pixels = dict(image_size=32, in_channels=3, use_scale_shift_norm=True)
small = dict(channel_mult=(1, 2, 2), num_res_blocks=1, attention_resolutions=(2,), patch=2, **pixels)
known = dict(num_classes=10, null_label=True)
denoising = dict(weight_decay=0.0, clip=1.0, flip=True)

ddpm = cifar10(
    name="cifar10/ddpm",
    about="A DDPM for two CPU cores, on 16x16 patches of four pixels. It is class-conditional with a null label, so "
    "that without a label it is the unconditional model, and one training serves both.",
    network=UNetConfig(out_channels=3, model_channels=48, num_head_channels=48, **known, **small),
    objective=objectives.Denoising(conditional=True, label_dropout=0.2),
    training=Training(steps=6000, lr=1e-3, warmup=100, ema=0.999, save_every=200, **denoising),
)
early = replace(
    ddpm, name="cifar10/early",
    about="The small DDPM after a twentieth of its training: what autoguidance steers away from.",
    training=replace(ddpm.training, steps=300, ema=0.99),
)  # fmt: skip
vanilla = cifar10(
    name="cifar10/vanilla",
    about="The ordinary time-dependent classifier, for two CPU cores: cross-entropy on noised images.",
    network=EncoderConfig(out_channels=10, model_channels=40, num_head_channels=40, pool="attention", **small),
    objective=objectives.NoisyCrossEntropy(),
    training=Training(steps=3000, lr=1e-3, warmup=100, flip=True, save_every=500),
)
judge = cifar10(
    name="cifar10/judge",
    about="Clean images, another architecture, another seed: it scores samples and never guides.",
    network=JudgeConfig(image_size=32, in_channels=3, out_channels=10, width=80, stages=3, fast=True),
    objective=objectives.CleanCrossEntropy(takes_time=False, label_smoothing=0.1),
    training=Training(steps=9400, lr=2e-3, warmup=200, ema=0.999, flip=True, shift=3, seed=1, save_every=500),
)

larger = dict(channel_mult=(1, 2, 2), num_res_blocks=2, attention_resolutions=(2,), dropout=0.1, **pixels)
deeper = dict(channel_mult=(1, 2, 2, 2), num_res_blocks=1, attention_resolutions=(4,), pool="attention", **pixels)
gpu_ddpm = cifar10(
    name="cifar10/gpu_ddpm",
    about="An unconditional DDPM of four times the small one's size.",
    network=UNetConfig(out_channels=3, model_channels=80, num_head_channels=80, **larger),
    objective=objectives.Denoising(),
    training=Training(steps=4000, batch_size=512, lr=1e-3, warmup=200, ema=0.9995, **denoising),
)
gpu_conditional = replace(
    gpu_ddpm, name="cifar10/gpu_conditional",
    about="The class-conditional DDPM of the GPU's set, with a null label for classifier-free guidance.",
    network=replace(gpu_ddpm.network, **known),
    objective=objectives.Denoising(conditional=True, label_dropout=0.1),
)  # fmt: skip
gpu_early = replace(
    gpu_conditional, name="cifar10/gpu_early",
    about="A smaller class-conditional DDPM after a tenth of the training: what autoguidance steers away from.",
    network=replace(gpu_conditional.network, model_channels=40, num_head_channels=40, num_res_blocks=1),
    training=replace(gpu_conditional.training, steps=400, ema=0.99),
)  # fmt: skip
gpu_vanilla = cifar10(
    name="cifar10/gpu_vanilla",
    about="The ordinary time-dependent classifier of the GPU's set.",
    network=EncoderConfig(out_channels=10, model_channels=32, num_head_channels=32, **deeper),
    objective=objectives.NoisyCrossEntropy(),
    training=Training(steps=4000, batch_size=256, lr=1e-3, warmup=100, flip=True, shift=2),
)
gpu_judge = replace(
    judge, name="cifar10/gpu_judge", about="The small judge's recipe, wider and for longer.",
    network=replace(judge.network, width=128),
    training=replace(judge.training, steps=8000, batch_size=512, lr=4e-3, shift=4),
)  # fmt: skip

papers = dict(attention_resolutions=(2, 4), **pixels)
paper_ddpm = cifar10(
    name="cifar10/paper_ddpm",
    about="A class-conditional DDPM with a null label, after improved-diffusion's: for a GPU.",
    network=UNetConfig(
        out_channels=6, model_channels=128, channel_mult=(1, 2, 2, 2), num_res_blocks=3, num_heads=4, dropout=0.1,
        **known, **papers,
    ),
    objective=objectives.Denoising(conditional=True, label_dropout=0.1),
    training=Training(steps=200_000, lr=1e-4, anneal=False, warmup=500, ema=0.9999, **denoising), variance="learned",
)  # fmt: skip
paper_vanilla = cifar10(
    name="cifar10/paper_vanilla", about="The paper's robust classifier without the attack.",
    network=EncoderConfig(
        out_channels=10, model_channels=32, channel_mult=(1, 2, 2, 4), num_res_blocks=2, num_head_channels=32,
        resblock_updown=True, pool="attention", **papers,
    ),
    objective=objectives.NoisyCrossEntropy(),
    training=Training(steps=300_000, batch_size=128, lr=3e-4, weight_decay=0.05, precision="fp32"),
)  # fmt: skip

clean, growing = objectives.CleanCrossEntropy(), NoiseRadius(gpu_vanilla.make_schedule(), clean=0.5, noisy=2.0)
robust = {at: objectives.RobustCrossEntropy(PGD(L2(at), steps=7)) for at in (0.5, 1.0, 2.0, growing)}  # by its radius
# The other classifiers are a vanilla one with another objective.
classifiers = [
    replace(first, name=f"cifar10/{name}", about=about, objective=objective)
    for first, name, objective, about in (
        (vanilla, "clean", clean, "The vanilla one's recipe on images without noise: it has never seen xt."),
        (vanilla, "robust", robust[0.5], "The vanilla one's recipe under PGD-7 within the paper's radius."),
        (vanilla, "robust_1", robust[1.0], "Robust within a radius of 1, twice the paper's."),
        (gpu_vanilla, "gpu_clean", clean, "A classifier of the GPU's set that never saw noise."),
        (gpu_vanilla, "gpu_robust", robust[0.5], "The robust classifier of the GPU's set, within the paper's radius."),
        (gpu_vanilla, "gpu_robust_1", robust[1.0], "Robust within twice the paper's radius; of the GPU's set."),
        (gpu_vanilla, "gpu_robust_2", robust[2.0], "Robust within four times the paper's radius; of the GPU's set."),
        (gpu_vanilla, "gpu_robust_growing", robust[growing], "Robust within a radius that grows with the noise."),
        (paper_vanilla, "paper_robust", robust[0.5], "The paper's robust classifier: 2.07 M parameters, PGD-7."),
    )
]
denoisers = [ddpm, early, gpu_ddpm, gpu_conditional, gpu_early, paper_ddpm]
others = [judge, gpu_judge, vanilla, gpu_vanilla, paper_vanilla]
recipes = {recipe.name: recipe for recipe in (*denoisers, *others, *classifiers)}
