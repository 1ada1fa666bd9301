"""rgd: robust classifier guidance for diffusion models.

The gradient decides: a denoiser is steered by grad_xt log p(y | xt, t), and what that gradient is worth depends on how
the classifier was trained. The modules in the order in which data flows through them:

`data`, `schedule`, `networks`, `denoiser`, `objectives`, `training`, `attacks`, `guidance`, `samplers`, `gradients`,
`metrics`, `plots`; beside them `mixture` (the oracle), `checkpoints`, `zoo`,
`recipes`, `exercises`, `widgets`, `demo` and `cli`; and the experiments: `comparison`, `study`, `matching`, `truth`.
"""

from importlib.metadata import PackageNotFoundError, version

from rgd import checkpoints, data, errors, gradients, metrics, objectives, schedule, widgets, zoo
from rgd.attacks import L2, PGD, Linf, NoiseRadius, fgsm, pgd
from rgd.denoiser import Denoiser, NetworkDenoiser, Prediction
from rgd.exercises import check
from rgd.guidance import (
    autoguidance,
    cap,
    classifier_free,
    grad_log_prob,
    grad_log_prob_at_x0,
    grad_log_prob_of_x0,
    guide,
    smooth,
    unconditional,
)
from rgd.mixture import Mixture, mixture
from rgd.networks import EncoderConfig, EncoderUNet, Judge, JudgeConfig, UNet, UNetConfig, build
from rgd.noise import NoiseStream, generator, noise
from rgd.profiles import Profile, profile
from rgd.samplers import ddim, ddpm, dpm_solver, heun, sample
from rgd.schedule import Schedule
from rgd.training import Training, TrainStep, fit

try:
    __version__ = version("rgd")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = [
    "L2",
    "PGD",
    "Denoiser",
    "EncoderConfig",
    "EncoderUNet",
    "Judge",
    "JudgeConfig",
    "Linf",
    "Mixture",
    "NetworkDenoiser",
    "NoiseRadius",
    "NoiseStream",
    "Prediction",
    "Profile",
    "Schedule",
    "TrainStep",
    "Training",
    "UNet",
    "UNetConfig",
    "autoguidance",
    "build",
    "cap",
    "check",
    "checkpoints",
    "classifier_free",
    "data",
    "ddim",
    "ddpm",
    "dpm_solver",
    "errors",
    "fgsm",
    "fit",
    "generator",
    "grad_log_prob",
    "grad_log_prob_at_x0",
    "grad_log_prob_of_x0",
    "gradients",
    "guide",
    "heun",
    "metrics",
    "mixture",
    "noise",
    "objectives",
    "pgd",
    "profile",
    "sample",
    "schedule",
    "smooth",
    "unconditional",
    "widgets",
    "zoo",
]
