"""What makes the models of MNIST, each on two CPU cores: the networks work on 14x14 patches of four pixels."""

from dataclasses import replace
from functools import partial

from rgd.attacks import L2, PGD, NoiseRadius
from rgd.lab.judge import JudgeConfig
from rgd.lab.recipe import Recipe
from rgd.networks import EncoderConfig, UNetConfig
from rgd.training import Training, objectives

mnist = partial(Recipe, data="mnist")
small = dict(image_size=28, in_channels=1, channel_mult=(1, 2, 2), num_res_blocks=1, patch=2,
             attention_resolutions=(2,), use_scale_shift_norm=True)  # fmt: skip

ddpm = mnist(
    name="mnist/ddpm",
    about="An unconditional DDPM, small enough for two CPU cores: it works on 14x14 patches of four pixels.",
    network=UNetConfig(out_channels=1, model_channels=40, num_head_channels=40, **small),
    objective=objectives.Denoising(),
    training=Training(steps=6000, lr=1e-3, weight_decay=0.0, warmup=100, ema=0.999, clip=1.0, save_every=500),
)
conditional = replace(
    ddpm, name="mnist/conditional",
    about="A class-conditional DDPM, with a null label on a tenth of the images for classifier-free guidance.",
    network=replace(ddpm.network, num_classes=10, null_label=True),
    objective=objectives.Denoising(conditional=True, label_dropout=0.1),
    training=replace(ddpm.training, steps=5000),
)  # fmt: skip
early = replace(
    conditional, name="mnist/early",
    about="The class-conditional DDPM after a twentieth of its training: what autoguidance steers away from.",
    training=replace(conditional.training, steps=250, ema=0.99),
)  # fmt: skip
judge = mnist(
    name="mnist/judge",
    about="Clean images, another architecture, another seed: it scores samples and never guides.",
    network=JudgeConfig(image_size=28, in_channels=1, out_channels=10),
    objective=objectives.CleanCrossEntropy(takes_time=False),
    training=Training(steps=6000, lr=2e-3, warmup=100, ema=0.999, seed=1),
)
vanilla = mnist(
    name="mnist/vanilla",
    about="The ordinary time-dependent classifier: cross-entropy on noised images.",
    network=EncoderConfig(out_channels=10, model_channels=32, num_head_channels=32, pool="attention", **small),
    objective=objectives.NoisyCrossEntropy(),
    training=Training(steps=3000, lr=1e-3, warmup=100, save_every=500),
)  # fmt: skip


def robust(radius, steps=7, **how):
    """Cross-entropy under an attack within an L2 radius."""
    return objectives.RobustCrossEntropy(PGD(L2(radius), steps=steps, **how))


growing, shrinking = (NoiseRadius(vanilla.make_schedule(), *ends) for ends in ((0.5, 2.0), (4.0, 0.0)))
clean, free = objectives.CleanCrossEntropy(), objectives.FreeCrossEntropy(L2(1.0), replays=4)
fgsm = partial(robust, 1.0, steps=1, step=1.25, random_start=True)
# The other classifiers are the vanilla one with another objective; the last four, cheaper ways to a radius of 1.
classifiers = [
    replace(vanilla, name=f"mnist/{name}", about=about, objective=objective)
    for name, objective, about in (
        ("clean", clean, "The vanilla one's recipe on images without noise: it has never seen xt."),
        ("robust", robust(0.5), "The vanilla one's recipe under PGD-7 within the paper's radius."),
        ("robust_1", robust(1.0), "Robust within a radius of 1, twice the paper's."),
        ("robust_2", robust(2.0), "Robust within a radius of 2, four times the paper's."),
        ("robust_growing", robust(growing), "Robust within a radius that grows with the noise, from 0.5 to about 2."),
        ("robust_shrinking", robust(shrinking), "Robust within a radius that shrinks with the noise, from 4 at t = 0 "
         "to nothing. Four is a third of the way to an image of another class, about the share that the experiment "
         "`truth` found best on mixtures."),
        ("free", free, "Radius 1, each batch used four times (Shafahi et al. 2019)."),
        ("fgsm", fgsm(early_stop=False), "Radius 1 by one step from a random start (Wong et al. 2020)."),
        ("fgsm_stop", fgsm(early_stop=True), "As fgsm, but an image that is misread already stays where it is."),
        ("pgd3", robust(1.0, steps=3), "Radius 1 by three attack steps in place of seven."),
    )
]  # fmt: skip
again = dict(about="The same with another seed: does training again give the same gradient?")
twins = [
    replace(first, name=f"{first.name}_twin", training=replace(first.training, seed=100), **again)
    for first in (vanilla, classifiers[1])
]

recipes = {recipe.name: recipe for recipe in (ddpm, conditional, early, judge, vanilla, *classifiers, *twins)}
