"""What the demonstrations of chapter 22 work on: networks that are trained on the spot, published ones, and scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from rgd import measure
from rgd import schedule as schedules
from rgd.adapters import Latents
from rgd.attacks import L2, PGD
from rgd.data import Dataset
from rgd.denoiser import Denoiser, NetworkDenoiser
from rgd.guidance import Extrapolated, Guided, classifier_free, grad_log_prob, guide, unconditional
from rgd.lab.bench import Bench
from rgd.lab.judge import JudgeConfig
from rgd.measure import Features
from rgd.networks import EncoderConfig, UNetConfig, build
from rgd.randomness import noise
from rgd.samplers import Sampler, ddim
from rgd.training import Training, fit, objectives
from rgd.variants.networks import MadeConfig

Row = dict[str, Any]
SIZES: dict[str, Any] = dict(
    image_size=8, in_channels=1, model_channels=32, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(2,),
    num_head_channels=32, use_scale_shift_norm=True, patch=2,
)  # fmt: skip
UNET = UNetConfig(out_channels=1, **SIZES)
KNOWS = replace(UNET, num_classes=10, null_label=True)
MADE, MAKER = MadeConfig(**vars(UNET)), replace(UNET, in_channels=2)  # of xt and z
CRITIC = EncoderConfig(out_channels=1, pool="attention", **{**SIZES, "in_channels": 2})  # of a step's two ends
GUIDE = EncoderConfig(out_channels=10, pool="attention", **SIZES)
LATENT = replace(KNOWS, image_size=7, in_channels=4, out_channels=4, patch=1)
JUDGE = JudgeConfig(image_size=8, in_channels=1, out_channels=10)


class Work:
    """A plan, a `FewerSteps`, at a bench."""

    schedule = schedules.linear(1000)
    knowing = objectives.Denoising("v", conditional=True, label_dropout=0.2)

    def __init__(self, plan: Any, bench: Bench) -> None:
        self.plan, self.bench, self.known = plan, bench, dict[Hashable, Any]()
        self.digits, self.images = bench.images("digits"), bench.images(plan.data)

    def once(self, what: Hashable, make: Callable[[], Any]) -> Any:
        """What was made is used again."""
        if what not in self.known:
            self.known[what] = make()
        return self.known[what]

    def train(self, network: nn.Module, objective: Any, share: float = 1.0, seed: int = 0, data: Dataset | None = None,
              schedule: schedules.Schedule | None = None, **more: Any) -> Any:  # fmt: skip
        """A network, trained for a share of the plan's steps and frozen; more are settings of `Training`."""
        how: dict[str, Any] = dict(batch_size=64, lr=1e-3, warmup=20, ema=0.99, clip=1.0, weight_decay=0.0) | more
        training = Training(max(1, round(share * self.plan.training)), seed=seed, **how)
        *_, last = fit(network, objective, data or self.digits, schedule or self.schedule, training)
        return last.network.eval().requires_grad_(False)

    # Networks of scikit-learn's digits take a minute. So students are made anew for each seed, and intervals know of
    # that; their judge and their guides are the same for all.
    @cached_property
    def judge(self) -> Any:
        """It sees clean digits, and never guides."""
        objective = objectives.CleanCrossEntropy(takes_time=False)
        return self.train(build(JUDGE, 1), objective, seed=1, ema=None, weight_decay=0.05)

    @cached_property
    def real(self) -> Features:
        """What it sees in the training digits."""
        return measure.extract(self.digits.take(self.plan.reference), self.judge)

    def guide(self, name: str) -> Any:
        """A classifier of noised digits, "vanilla" or "robust"."""
        robust = objectives.RobustCrossEntropy(PGD(L2(0.5), steps=3))
        objective = {"vanilla": objectives.NoisyCrossEntropy(), "robust": robust}[name]
        return self.once(name, lambda: self.train(build(GUIDE, 2), objective, 0.5, ema=None, weight_decay=0.05))

    def denoiser(self, predicts: Any, seed: int) -> NetworkDenoiser:
        """One of digits that knows no classes, and says eps or x0."""
        objective = objectives.Denoising(predicts)
        network = self.once((predicts, seed), lambda: self.train(build(UNET, seed), objective, seed=seed))
        return NetworkDenoiser(network, self.schedule, predicts)

    def conditional(self, seed: int) -> NetworkDenoiser:
        """One that knows classes and says v."""
        network = self.once(("v", seed), lambda: self.train(build(KNOWS, seed), self.knowing, seed=seed))
        return NetworkDenoiser(network, self.schedule, "v", conditional=True)

    def guided(self, name: str, seed: int, scale: float) -> Guided | Extrapolated:
        """It guided without a classifier, "free", or by one and then told no label."""
        denoise = self.conditional(seed)
        if name == "free":
            return classifier_free(denoise, scale)
        return guide(unconditional(denoise), grad_log_prob(self.guide(name)), scale)

    def drawn(self, denoise: Denoiser, seed: int, sampler: Sampler = ddim, **how: Any) -> Row:
        """Scores of samples of digits, from the starts of a seed."""
        images, seconds = timed(denoise, (self.plan.digits, 1, 8, 8), seed, sampler, **how)
        return scores(measure.extract(images, self.judge, labels=labels(images)), self.real) | {"seconds": seconds}

    def model(self, name: str) -> Any:
        """A published network, by its name."""
        return self.bench.model(name).network

    @cached_property
    def published(self) -> NetworkDenoiser:
        """The published denoiser that knows no classes."""
        found: NetworkDenoiser = self.bench.model(self.plan.denoiser).use()
        return found

    @cached_property
    def train_images(self) -> Features:
        """What the published judge sees in training images."""
        return measure.extract(self.images.take(self.plan.reference), self.model(self.plan.judge))

    def seen(self, images: Tensor) -> Features:
        """What it sees in samples."""
        return measure.extract(images, self.model(self.plan.judge), labels=labels(images))

    def sampled(self, denoise: Denoiser, seed: int, sampler: Sampler = ddim, **how: Any) -> tuple[Tensor, float]:
        """Samples of the published size, or of another `shape`, and the seconds that a hundred took."""
        shape = how.pop("shape", self.images.shape)
        return timed(denoise, (self.plan.images, *shape), seed, sampler, **how)


def labels(images: Tensor) -> Tensor:
    """The classes that were ordered: one after the other."""
    return torch.arange(len(images)) % 10


def timed(
    denoise: Denoiser, shape: tuple[int, ...], seed: int, sampler: Sampler, space: Latents | None = None, **how: Any
) -> tuple[Tensor, float]:
    """Samples, in [-1, 1], decoded if they are latents; and the seconds that a hundred of them took."""
    xT = noise(shape, 1000 + seed)
    began = time.perf_counter()
    *_, step = sampler(denoise, xT, labels(xT), **how)
    x = step.x if space is None else space.images(step.x)
    return x.clamp(-1, 1), 100 * (time.perf_counter() - began) / len(xT)


def scores(seen: Features, real: Features) -> Row:
    """Accuracy, distance and recall; what varies is told by the seeds."""
    return {metric: measure.estimate(metric, seen, real, halves=2).value for metric in ("accuracy", "fd", "recall")}


def farther(seen: Features, base: Features, real: Features) -> float:
    """The distance of samples, minus that of others from the same starts."""
    return measure.paired_difference("fd", seen, base, real, halves=2).value
