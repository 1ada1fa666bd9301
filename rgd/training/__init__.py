"""Training: any objective in one loop that can be stopped and gone on with, and the files in which models are kept.

It stands on the core, which can be read without it: `objectives`, `state`, `checkpoints`, and `loop`.
"""

from rgd.compute.precision import autocast, fastest
from rgd.training import checkpoints, objectives
from rgd.training.loop import Training, TrainStep, fit

__all__ = ["TrainStep", "Training", "autocast", "checkpoints", "fastest", "fit", "objectives"]
