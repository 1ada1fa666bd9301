"""An unconditional DDPM of MNIST, small enough for two CPU cores: it works on 14x14 patches of four pixels."""

from rgd.lab.recipe import Recipe
from rgd.networks import UNetConfig
from rgd.objectives import Denoising
from rgd.training import Training

recipe = Recipe(
    name="mnist/ddpm",
    data="mnist",
    network=UNetConfig(
        image_size=28,
        in_channels=1,
        out_channels=1,
        model_channels=40,
        channel_mult=(1, 2, 2),
        num_res_blocks=1,
        attention_resolutions=(2,),
        num_head_channels=40,
        use_scale_shift_norm=True,
        patch=2,
    ),
    objective=Denoising(),
    training=Training(steps=6_000, lr=1e-3, weight_decay=0.0, warmup=100, ema=0.999, clip=1.0, save_every=500),
)
