"""Denoisers of others: diffusers' U-Nets with their schedulers, and networks D(x, sigma) as in EDM."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rgd.denoiser import NetworkDenoiser, Predicts, Variance
from rgd.errors import require
from rgd.networks import register
from rgd.schedule import Schedule, karras

NO_SIGNAL = 2.0**-48
"""The alpha_bar that stands for one of zero: sqrt(alpha_bar) x0 is then 6e-8 of xt, which float32 cannot tell."""


def own_config(model: Any) -> dict[str, Any]:
    """A diffusers model's configuration, without what the library notes about its file."""
    own = {name: value for name, value in dict(model.config).items() if not name.startswith("_")}
    return {"class": type(model).__name__, **own}


@dataclass(frozen=True)
class DiffusersConfig:
    """What a `DiffusersNetwork` is built from: the U-Net's `settings`, as JSON, and the class that stands for none."""

    settings: str
    null_label: int | None = None

    @property
    def _known(self) -> dict[str, Any]:
        return json.loads(self.settings)

    @property
    def in_channels(self) -> int:
        """Of an image."""
        return self._known["in_channels"]

    @property
    def image_size(self) -> int | tuple[int, int]:
        """Of an image: a side, or (height, width)."""
        size = self._known["sample_size"]
        return tuple(size) if isinstance(size, list) else size

    @property
    def num_classes(self) -> int | None:
        """Of its labels, if it takes any; the one that stands for none is among them."""
        return self._known["num_class_embeds"]


@register(DiffusersConfig)
class DiffusersNetwork(nn.Module):
    """A `UNet2DModel` called as networks are here, (xt, t, y) -> output, in its own number format."""

    def __init__(self, config: DiffusersConfig, unet: Any = None) -> None:
        super().__init__()
        self.config = config
        if unet is None:  # to be filled with the weights of a file
            from diffusers import UNet2DModel

            settings = json.loads(config.settings)
            require(settings.pop("class") == "UNet2DModel", "the U-Net's class", config.settings[:60], "UNet2DModel")
            unet = UNet2DModel.from_config(settings)
        self.unet = unet

    def forward(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        labels: dict[str, Tensor] = {}
        if self.unet.config.get("num_class_embeds") is not None:
            y = torch.full_like(t, -1) if y is None else y
            if self.config.null_label is not None:
                y = torch.where(y < 0, self.config.null_label, y)
            elif bool((y < 0).any()):
                raise ValueError("this U-Net wants a class: give labels y, or name its `null_label` if it has one")
            labels = {"class_labels": y}
        parameter = next(self.unet.parameters())
        return self.unet(xt.to(parameter.dtype), t, return_dict=False, **labels)[0]


def from_diffusers(
    model: Any, scheduler: Any = None, *, clip: bool | None = None, null_label: int | None = None
) -> NetworkDenoiser:
    """A diffusers model as a denoiser, for every sampler and every guidance of `rgd`.

    The schedule is the table that the scheduler itself holds, so that no default of ours or theirs comes between; which
    times are visited is for our samplers to say (theirs with "leading" spacing and 25 of 1000 steps is our "ddim25").

    Args:
        model: a pipeline with a `.unet` and a `.scheduler` (DDPMPipeline, DDIMPipeline), or a UNet2DModel.
        scheduler: the one that it was trained with, if that is not the pipeline's: any with `alphas_cumprod`.
        clip: whether x0 is cut to [-1, 1]; default what the scheduler says.
        null_label: the class that stands for no class, for classifier-free guidance.

    Raises:
        ValueError: for what has another meaning than an image's denoiser on a discrete schedule (flow matching, text
            embeddings, dynamic thresholding, an unknown prediction type); a schedule that ends in pure noise (zero
            terminal SNR) cannot be had for a network that predicts eps, which says nothing about x0 there.
    """
    unet, scheduler = getattr(model, "unet", model), scheduler or getattr(model, "scheduler", None)
    name = type(unet).__name__
    if not hasattr(unet, "config") or unet.config.get("cross_attention_dim") is not None:
        raise ValueError(f"{name} is not called as (xt, t, class): wrap it in a module that gives it the rest")
    if not hasattr(scheduler, "alphas_cumprod"):
        raise ValueError(f"{type(scheduler).__name__} has no alphas_cumprod: give the scheduler of a discrete process")
    settings = scheduler.config
    predicts = _named(settings, "prediction_type", {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}, "epsilon")
    if settings.get("thresholding", False):
        raise ValueError("dynamic thresholding is not done here: give a scheduler with thresholding=False")
    clip = bool(settings.get("clip_sample", False)) if clip is None else clip
    reach = settings.get("clip_sample_range", 1.0)
    require(not clip or reach == 1, "clip_sample_range", reach, "1, the pixel range; or say clip=False")
    config = DiffusersConfig(json.dumps(own_config(unet), sort_keys=True, default=list), null_label)
    return NetworkDenoiser(
        DiffusersNetwork(config, unet).eval(), _schedule(scheduler.alphas_cumprod, predicts), predicts,
        _variance(unet, settings), clip, conditional=unet.config.get("num_class_embeds") is not None,
    )  # fmt: skip


def _named(settings: Any, name: str, known: dict[str, Any], default: str) -> Any:
    value = settings.get(name, default)
    require(value in known, f"the scheduler's {name}", value, " or ".join(map(repr, known)))
    return known[value]


def _schedule(alphas_cumprod: Any, predicts: Predicts) -> Schedule:
    alpha_bar = torch.as_tensor(alphas_cumprod).double().cpu().clone()
    if alpha_bar[-1] == 0:
        if predicts == "eps":
            raise ValueError("this schedule ends in pure noise, where a network that predicts eps says nothing of x0")
        alpha_bar[-1] = min(NO_SIGNAL, float(alpha_bar[-2]) / 2)
    return Schedule(alpha_bar)


def _variance(unet: Any, settings: Any) -> Variance:
    """Twice the channels out are a learned variance, whatever the scheduler takes them for."""
    kinds: dict[str, Variance] = {"learned_range": "learned"}
    kinds |= {f"fixed_{size}{log}": size for size in ("small", "large") for log in ("", "_log")}
    found = _named(settings, "variance_type", kinds, "fixed_small")
    return "learned" if unet.config.out_channels == 2 * unet.config.in_channels else found


class EDMNetwork(nn.Module):
    """A network D(x, sigma, labels) -> x0 for x = x0 + sigma n, called at xt = sqrt(alpha_bar) x and the time t.

    Labels are one-hot, (B, label_dim), all zeros for none (y = -1, or y = None), where D has a `label_dim`.
    """

    def __init__(self, D: Any, schedule: Schedule) -> None:
        super().__init__()
        self.D, self.schedule = D, schedule
        self.classes = int(getattr(D, "label_dim", 0) or 0)

    @property
    def config(self) -> Any:
        """D's own, if it has one."""
        own = getattr(self.D, "config", None)
        return own and {"config": own, "schedule": self.schedule}

    def forward(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        signal = self.schedule.at("signal", t, xt)
        sigma = self.schedule.at("sigma", t, xt) / signal
        if not self.classes:
            return self.D(xt / signal, sigma.flatten())
        y = torch.full_like(t, -1) if y is None else y
        return self.D(xt / signal, sigma.flatten(), F.one_hot(y.clamp(min=0), self.classes).to(xt) * (y >= 0)[:, None])


def from_edm(D: Any, schedule: Schedule | None = None, *, clip: bool = False) -> NetworkDenoiser:
    """A network D(x, sigma) that gives the expected x0 of x = x0 + sigma n (Karras et al. 2022), as a denoiser.

    Args:
        D: called as D(x, sigma (B,)), or, where `D.label_dim` is not zero, D(x, sigma, one-hot labels).
        schedule: which sigmas are visited, sigma = sqrt(1 - alpha_bar) / sqrt(alpha_bar); default EDM's thousand
            between D.sigma_min and D.sigma_max, or the 0.002 and 80 that its samplers use where those say nothing.
        clip: whether x0 is cut to [-1, 1].
    """
    if schedule is None:
        low, high = float(getattr(D, "sigma_min", 0)), float(getattr(D, "sigma_max", float("inf")))
        schedule = karras(1000, max(low, 0.002), min(high, 80.0))
    network = EDMNetwork(D, schedule).eval()
    return NetworkDenoiser(network, schedule, "x0", "small", clip, conditional=network.classes > 0)
