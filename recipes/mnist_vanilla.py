"""The ordinary time-dependent classifier of MNIST: cross-entropy on noised images."""

from rgd.lab.recipe import Recipe
from rgd.networks import EncoderConfig
from rgd.objectives import NoisyCrossEntropy
from rgd.training import Training

recipe = Recipe(
    name="mnist/vanilla",
    data="mnist",
    network=EncoderConfig(
        image_size=28,
        in_channels=1,
        out_channels=10,
        model_channels=32,
        channel_mult=(1, 2, 2),
        num_res_blocks=1,
        attention_resolutions=(2,),
        num_head_channels=32,
        use_scale_shift_norm=True,
        patch=2,
        pool="attention",
    ),
    objective=NoisyCrossEntropy(),
    training=Training(steps=3000, lr=1e-3, warmup=100, save_every=500),
)
