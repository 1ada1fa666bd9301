"""rgd: robust classifier guidance for diffusion models.

The gradient decides: a denoiser is steered by grad_xt log p(y | xt, t), and what that gradient is worth depends on how
the classifier was trained. This folder is the core, in the order in which data flows through it:

`schedule`, `randomness`, `data`, `layers`, `networks`, `denoiser`, `attacks`, `guidance`, `samplers`; `mixtures` is its
oracle, `identity` its names, `processes` its hands. It knows nothing of what stands on it: `rgd.training` (objectives,
the loop, files of models), `rgd.methods` (newer than the paper), `rgd.adapters` (models of others), `rgd.measure`
(scores, with intervals), `rgd.lab` (recipes, published models, and a store that cannot return the wrong result),
`rgd.editing` (of real images), `rgd.experiments` (the questions that the book asks), `rgd.neighbours` and `rgd.faster`
(other works), `rgd.demo`, `rgd.book` (what chapters need), `rgd.survey` (asking people), `rgd.course`, `rgd.cli`. All
but training are loaded when first asked for: `import rgd` costs little more than `import torch`.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rgd import data, errors, schedule
from rgd.attacks import L2, PGD, Linf, NoiseRadius, fgsm, pgd
from rgd.denoiser import Denoiser, NetworkDenoiser, Prediction
from rgd.guidance import autoguidance, classifier_free, grad_log_prob, grad_log_prob_of_x0, guide, unconditional
from rgd.mixtures import Mixture, mixture
from rgd.networks import EncoderConfig, EncoderUNet, UNet, UNetConfig, build
from rgd.randomness import NoiseStream, generator, noise
from rgd.samplers import ddim, ddpm, dpm_solver, heun, sample
from rgd.schedule import Schedule
from rgd.training import Training, TrainStep, checkpoints, fit, objectives

DISTRIBUTION = "robust-guidance"  # the name to pip; `rgd` is another project there
try:
    __version__ = version(DISTRIBUTION)
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

# Public name -> where it lives, "module" or "module:name".
_LAZY = {"gradients": "rgd.measure.gradients", "metrics": "rgd.measure", "plots": "rgd.book.plots"}
_LAZY |= {n: f"rgd.experiments.{n}" for n in ("comparison", "matching", "study", "truth")}
_LAZY |= {"experiments": "rgd.experiments", "demo": "rgd.demo", "report": "rgd.demo.report"}
_LAZY |= {"Judge": "rgd.lab.judge:Judge", "JudgeConfig": "rgd.lab.judge:JudgeConfig", "zoo": "rgd.lab.registry"}
_METHODS = {"gradients": "cap grad_log_prob_at_x0 smooth", "contrast": "cfg_plus_plus perturbed projected"}
_METHODS |= {"scales": "entropy_scaled feedback grad_log_ratio seldom", "draws": "gibbs grad_by_draws"}
_METHODS |= {"steering": "Annealed Steered accepted steer", "free": "recurrent training_free"}
_LAZY |= {n: f"rgd.methods.{module}:{n}" for module, names in _METHODS.items() for n in names.split()}
_LAZY |= {n: f"rgd.editing.inversion:{n}" for n in ("friendly", "invert", "until")} | {"editing": "rgd.editing"}
_ADAPTERS = "adm CleanClassifier Latents Sees from_diffusers from_edm from_timm from_torchvision from_vae load_from"
_LAZY |= {n: f"rgd.adapters:{n}" for n in _ADAPTERS.split()}
_LAZY |= {"Profile": "rgd.book.profile:Profile", "profile": "rgd.book.profile:profile"}
_LAZY |= {"widgets": "rgd.book.widgets", "recipes": "rgd.recipes", "course": "rgd.course", "survey": "rgd.survey"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'rgd' has no attribute {name!r}")
    module, _, attribute = _LAZY[name].partition(":")
    found = import_module(module)
    return globals().setdefault(name, getattr(found, attribute) if attribute else found)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


__all__ = ["EncoderConfig", "EncoderUNet", "Judge", "JudgeConfig", "UNet", "UNetConfig", "build", "checkpoints", "zoo"]
__all__ += ["Denoiser", "Mixture", "NetworkDenoiser", "Prediction", "Schedule", "mixture", "schedule"]
__all__ += ["NoiseStream", "data", "generator", "noise"]
__all__ += ["L2", "PGD", "Linf", "NoiseRadius", "TrainStep", "Training", "fgsm", "fit", "objectives", "pgd"]
__all__ += ["autoguidance", "cap", "classifier_free", "guide", "smooth", "unconditional"]
__all__ += ["Annealed", "Steered", "cfg_plus_plus", "perturbed", "projected", "recurrent", "steer", "training_free"]
__all__ += ["entropy_scaled", "feedback", "gibbs", "grad_by_draws", "grad_log_ratio", "seldom"]
__all__ += ["grad_log_prob", "grad_log_prob_at_x0", "grad_log_prob_of_x0", "gradients"]
__all__ += ["CleanClassifier", "Latents", "Sees", "adm", "from_diffusers", "from_edm", "from_timm", "from_torchvision"]
__all__ += ["from_vae", "load_from"]
__all__ += ["ddim", "ddpm", "dpm_solver", "friendly", "heun", "invert", "sample", "until"]
__all__ += ["Profile", "errors", "metrics", "profile", "widgets"]
