"""What the demonstrations of chapter 21 work on: models, samples from the same noise, and a judge's scores."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rgd import measure
from rgd.denoiser import Denoiser
from rgd.guidance import Gradient, grad_log_prob, guide, unconditional
from rgd.lab.bench import Bench
from rgd.measure import Features
from rgd.neighbours.ideas import last
from rgd.randomness import noise
from rgd.samplers import dpm_solver

Row = dict[str, Any]
METRICS = ("accuracy", "fd")


class Work:
    """A plan, a `NoiseDecides`, at a bench."""

    def __init__(self, plan: Any, bench: Bench) -> None:
        self.plan, self.bench, self.shape = plan, bench, tuple(bench.images(plan.data).shape)
        self.y = torch.arange(plan.images) % 10

    def network(self, name: str) -> Any:
        """A model's network, by its name."""
        return self.bench.model(name).network

    def gradient(self, name: str) -> Gradient:
        """A classifier's gradient, by its name."""
        return grad_log_prob(self.network(name))

    @cached_property
    def plain(self) -> Denoiser:
        """The denoiser that knows no classes."""
        return unconditional(self.bench.model(self.plan.denoiser).use())

    @cached_property
    def conditional(self) -> Any:
        """The one that does, a `NetworkDenoiser`."""
        return self.bench.model(self.plan.conditional).use()

    @cached_property
    def real(self) -> Features:
        """What the judge sees in training images."""
        images = self.bench.images(self.plan.data).take(self.plan.reference)
        return measure.extract(images, self.network(self.plan.judge))

    def noise(self, seed: int, times: int = 1) -> Tensor:
        """The starts of a seed, the same for every way."""
        return noise((times * self.plan.images, *self.shape), 1000 + seed)

    def draw(self, denoise: Denoiser, xT: Tensor, y: Tensor | None = None, more: int = 0) -> Tensor:
        """Samples in as many steps as the plan says, and some more."""
        steps = f"quadratic{self.plan.steps + more}"
        return last(dpm_solver(denoise, xT, self.y if y is None else y, steps=steps))

    def read(self, images: Tensor) -> Tensor:
        """The classes that the judge reads."""
        with torch.no_grad():
            verdict: Tensor = self.network(self.plan.judge)(images).argmax(dim=1)
        return verdict

    def see(self, denoise: Denoiser, xT: Tensor, more: int = 0) -> Features:
        """What the judge sees in samples."""
        return measure.extract(self.draw(denoise, xT, more=more), self.network(self.plan.judge), labels=self.y)

    def guided(self, gradient: Gradient, xT: Tensor) -> Features:
        """The same of samples that are guided at the plan's scale."""
        return self.see(guide(self.plain, gradient, self.plan.scale), xT)

    def scores(self, seen: Features, base: Features | None = None) -> Row:
        """Accuracy and distance, and the same minus another way's, image by image."""
        found: Row = {m: measure.estimate(m, seen, self.real) for m in METRICS}
        if base is not None:
            found |= {f"{m}_more": measure.paired_difference(m, seen, base, self.real) for m in METRICS}
        return found
