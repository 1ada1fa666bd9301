"""The paper's classifiers of ImageNet at 128 pixels, on images that the user names: in $RGD_IMAGENET, or by --data
PATH. They are read while they are used; a GPU too small for a batch takes --accumulate 4, or --recompute."""

from dataclasses import replace

from rgd.adapters.adm import CONFIGS
from rgd.attacks import L2, PGD
from rgd.lab.recipe import Recipe
from rgd.training import Training, objectives

vanilla = Recipe(
    name="imagenet128/vanilla",
    about="ADM's time-dependent classifier of ImageNet by the paper's recipe: without the attack, in batches of 256.",
    data="$RGD_IMAGENET", streams=True, crop=0.8, network=CONFIGS["128x128_classifier"],
    objective=objectives.NoisyCrossEntropy(),
    training=Training(steps=300_000, batch_size=256, lr=3e-4, weight_decay=0.05, flip=True, precision="fp32"),
)  # fmt: skip
robust = replace(
    vanilla, name="imagenet128/robust",
    about="The paper's robust classifier of ImageNet: 42.57 M parameters, PGD-7 in steps of a sixth of the radius.",
    objective=objectives.RobustCrossEntropy(PGD(L2(0.5), steps=7, step=1 / 6)),
    training=replace(vanilla.training, batch_size=128),
)  # fmt: skip
recipes = {recipe.name: recipe for recipe in (vanilla, robust)}
