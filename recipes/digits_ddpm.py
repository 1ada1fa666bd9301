"""An unconditional DDPM of scikit-learn's 8x8 digits."""

from rgd.lab.recipe import Recipe
from rgd.networks import UNetConfig
from rgd.objectives import Denoising
from rgd.training import Training

recipe = Recipe(
    name="digits/ddpm",
    data="digits",
    network=UNetConfig(
        image_size=8,
        in_channels=1,
        out_channels=1,
        model_channels=32,
        channel_mult=(1, 2),
        num_res_blocks=1,
        attention_resolutions=(2,),
        num_head_channels=32,
        use_scale_shift_norm=True,
    ),
    objective=Denoising(),
    training=Training(steps=3000, lr=1e-3, warmup=50, ema=0.995, clip=1.0, save_every=500),
)
