"""A DDPM of CIFAR-10 for two CPU cores, on 16x16 patches of four pixels. It is class-conditional with a null label, so
that without a label it is the unconditional model, and one training serves both."""

from rgd.lab.recipe import Recipe
from rgd.networks import UNetConfig
from rgd.objectives import Denoising
from rgd.training import Training

recipe = Recipe(
    name="cifar10/ddpm",
    data="cifar10",
    network=UNetConfig(
        image_size=32,
        in_channels=3,
        out_channels=3,
        model_channels=48,
        channel_mult=(1, 2, 2),
        num_res_blocks=1,
        attention_resolutions=(2,),
        num_head_channels=48,
        use_scale_shift_norm=True,
        patch=2,
        num_classes=10,
        null_label=True,
    ),
    objective=Denoising(conditional=True, label_dropout=0.2),
    training=Training(
        steps=6000, lr=1e-3, weight_decay=0.0, warmup=100, ema=0.999, clip=1.0, flip=True, save_every=200
    ),
)
