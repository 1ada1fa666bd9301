"""The ordinary time-dependent classifier of the GPU's set."""

from rgd.lab.recipe import Recipe
from rgd.networks import EncoderConfig
from rgd.objectives import NoisyCrossEntropy
from rgd.training import Training

recipe = Recipe(
    name="cifar10/gpu_vanilla",
    data="cifar10",
    network=EncoderConfig(
        image_size=32,
        in_channels=3,
        out_channels=10,
        model_channels=32,
        channel_mult=(1, 2, 2, 2),
        num_res_blocks=1,
        attention_resolutions=(4,),
        num_head_channels=32,
        use_scale_shift_norm=True,
        pool="attention",
    ),
    objective=NoisyCrossEntropy(),
    training=Training(steps=4000, batch_size=256, lr=1e-3, warmup=100, flip=True, shift=2),
)
