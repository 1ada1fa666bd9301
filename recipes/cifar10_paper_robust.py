"""The paper's robust classifier of CIFAR-10: 2.07 M parameters, PGD-7 within an L2 radius of 0.5."""

from rgd.attacks import L2, PGD
from rgd.lab.recipe import Recipe
from rgd.networks import EncoderConfig
from rgd.objectives import RobustCrossEntropy
from rgd.training import Training

recipe = Recipe(
    name="cifar10/paper_robust",
    data="cifar10",
    network=EncoderConfig(
        image_size=32,
        in_channels=3,
        out_channels=10,
        model_channels=32,
        channel_mult=(1, 2, 2, 4),
        num_res_blocks=2,
        attention_resolutions=(2, 4),
        num_head_channels=32,
        use_scale_shift_norm=True,
        resblock_updown=True,
        pool="attention",
    ),
    objective=RobustCrossEntropy(PGD(L2(0.5), steps=7)),
    training=Training(steps=300_000, batch_size=128, lr=3e-4, weight_decay=0.05, precision="fp32"),
)
