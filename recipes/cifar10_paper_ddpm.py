"""A class-conditional DDPM of CIFAR-10 with a null label, after improved-diffusion's: for a GPU."""

from rgd.lab.recipe import Recipe
from rgd.networks import UNetConfig
from rgd.objectives import Denoising
from rgd.training import Training

recipe = Recipe(
    name="cifar10/paper_ddpm",
    data="cifar10",
    network=UNetConfig(
        image_size=32,
        in_channels=3,
        out_channels=6,
        model_channels=128,
        channel_mult=(1, 2, 2, 2),
        num_res_blocks=3,
        attention_resolutions=(2, 4),
        num_heads=4,
        dropout=0.1,
        use_scale_shift_norm=True,
        num_classes=10,
        null_label=True,
    ),
    objective=Denoising(conditional=True, label_dropout=0.1),
    training=Training(
        steps=200_000, lr=1e-4, weight_decay=0.0, anneal=False, warmup=500, ema=0.9999, clip=1.0, flip=True
    ),
    variance="learned",
)
