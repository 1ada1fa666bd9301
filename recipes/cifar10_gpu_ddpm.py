"""An unconditional DDPM of CIFAR-10: with the other recipes of the name cifar10_gpu, for 25 minutes of a large GPU."""

from rgd.lab.recipe import Recipe
from rgd.networks import UNetConfig
from rgd.objectives import Denoising
from rgd.training import Training

recipe = Recipe(
    name="cifar10/gpu_ddpm",
    data="cifar10",
    network=UNetConfig(
        image_size=32,
        in_channels=3,
        out_channels=3,
        model_channels=80,
        channel_mult=(1, 2, 2),
        num_res_blocks=2,
        attention_resolutions=(2,),
        num_head_channels=80,
        dropout=0.1,
        use_scale_shift_norm=True,
    ),
    objective=Denoising(),
    training=Training(
        steps=4000, batch_size=512, lr=1e-3, weight_decay=0.0, warmup=200, ema=0.9995, clip=1.0, flip=True
    ),
)
