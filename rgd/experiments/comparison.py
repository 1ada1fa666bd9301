"""Which guidance is best, by how much, and how sure is that?

A `Comparison` names ways to guide and the scales to try. It takes one way after the other. First it sweeps: the way at
every scale, on one seed. Then its best scale (least FD-judge) is drawn anew, with more samples and on other seeds, so
that the choice of the scale flatters nobody; these are the headline numbers, and `pairs` are subtracted sample by
sample. Without headline seeds the sweep is all there is, and pairs are subtracted in it, scale by scale.
Under `accelerate launch` the processes share the sampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from rgd import guidance
from rgd.denoiser import Denoiser
from rgd.errors import one_of
from rgd.experiments.cells import Work
from rgd.experiments.forecast import forecast
from rgd.lab.bench import Bench
from rgd.methods import gradients
from rgd.processes import processes
from rgd.samplers import Steps

Kind = Literal["none", "classifier", "through x0", "at x0", "classifier-free", "autoguidance"]
IN_X0 = {"through x0": guidance.grad_log_prob_of_x0, "at x0": gradients.grad_log_prob_at_x0}


@dataclass(frozen=True)
class Entry:
    """One way to guide.

    Attributes:
        name: in tables and figures; no two entries share one.
        denoiser: a model's name, see `find`.
        kind: "classifier" by the gradient of a time-dependent classifier; "through x0" by a classifier of clean
            images, differentiated through the denoiser and smoothed; "at x0" by EluCD's detached gradient;
            "classifier-free"; "autoguidance" away from a worse denoiser; "none".
        guide: the model that guides: a classifier, or the worse denoiser.
        scales: to try.
        interval: of t, where guidance acts.
        blind: whether the denoiser, one with a null label, is not told the class, and the guide alone decides it.
        most: where a classifier's gradient is to be kept from becoming longer, see `cap`; before it is smoothed.
    """

    name: str
    denoiser: str
    kind: Kind = "none"
    guide: str | None = None
    scales: tuple[float, ...] = (0.0,)
    interval: tuple[float, float] = (0, math.inf)
    blind: bool = False
    most: float | None = None

    def build(self, model: Callable[[str], Any], scale: float) -> Denoiser:
        """The guided denoiser; `model` gives what a name stands for."""
        denoise, other = model(self.denoiser), None if self.guide is None else model(self.guide)
        if self.blind:
            denoise = guidance.unconditional(denoise)
        if self.kind == "none":
            return denoise
        if self.kind == "classifier-free":
            return guidance.classifier_free(denoise, scale, self.interval)
        if other is None:
            raise ValueError(f"{self.name}: guidance of the kind {self.kind!r} needs a model that guides")
        if self.kind == "autoguidance":
            return guidance.autoguidance(denoise, other, scale, self.interval)
        gradient: guidance.Gradient = guidance.grad_log_prob(other)
        if self.kind in IN_X0:
            gradient = IN_X0[self.kind](other, denoise)
        if self.most is not None:
            gradient = gradients.cap(gradient, denoise.schedule, self.most)
        if self.kind == "through x0":
            gradient = gradients.smooth(gradient)
        return guidance.guide(denoise, gradient, scale, self.interval)

    def sampling(self, steps: Steps) -> tuple[str, Steps, float]:
        """The sampler, its steps and its eta: those of the comparison."""
        return "dpm_solver", steps, 0.0


@dataclass(frozen=True)
class Drawn(Entry):
    """A way to guide that has its own `sampler`, `steps` and `eta`, see `rgd.samplers`."""

    sampler: Literal["ddim", "dpm_solver"] = "ddim"
    steps: int | str = 25
    eta: float = 0.0

    def __post_init__(self) -> None:
        one_of("the sampler", self.sampler, ("ddim", "dpm_solver"))

    def sampling(self, steps: Steps) -> tuple[str, Steps, float]:
        """Its own."""
        return self.sampler, self.steps, self.eta


@dataclass(frozen=True)
class Comparison:
    """Ways to guide, and how to compare them.

    Attributes:
        data: the data set whose training images are the reference.
        judge: a model's name; it must not guide.
        entries: the ways.
        pairs: (a, b) by name: a minus b is reported, each at its best scale.
        samples, seed: of the sweep.
        headline_samples, headline_seeds: of the headline numbers; the seeds must not include the sweep's.
        steps: of DPM-Solver++(2M), as `Schedule.respace` takes them; for entries that are not `Drawn`.
        reference: how many training images distances are measured to, the first ones.
        batch_size: images at a time.
        inception: whether headline samples are also measured in Inception's features, so that a FID can be told: for a
            GPU, and see `rgd.metrics.load_inception` for the weights.
    """

    data: str
    judge: str
    entries: tuple[Entry, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    samples: int = 2000
    seed: int = 0
    headline_samples: int = 10_000
    headline_seeds: tuple[int, ...] = (1, 2, 3)
    steps: int | str = "quadratic15"
    reference: int = 10_000
    batch_size: int = 250
    inception: bool = False

    def __post_init__(self) -> None:
        names = [entry.name for entry in self.entries]
        unknown = {name for pair in self.pairs for name in pair} - set(names)
        if len(set(names)) < len(names) or unknown:
            raise ValueError(f"entries need names of their own, and pairs must name them; wrong: {unknown or names}")
        if self.seed in self.headline_seeds:
            raise ValueError("the seed that chooses the scale must not be among those that are reported")

    def models(self) -> tuple[str, ...]:
        """The names of the models that it needs."""
        names = {self.judge, *(name for entry in self.entries for name in (entry.denoiser, entry.guide))}
        return tuple(sorted(filter(None, names)))

    def run(self, bench: Bench) -> Iterator[dict[str, Any]]:
        """What is known by now, whenever there is more of it."""
        work = Work(self, bench)
        if bench.progress:
            said = forecast(work)  # by all, who ask for the models together
            if processes().rank == 0:
                print(said)
        return work.run()

    def small(self) -> Comparison:
        """The same in minutes: every way to guide at two of its scales, with few samples, on two seeds."""
        entries = tuple(replace(entry, scales=entry.scales[1:4:2] or entry.scales) for entry in self.entries)
        shorter = (replace(entry, steps="quadratic4") if isinstance(entry, Drawn) else entry for entry in entries)
        few: dict[str, Any] = {"samples": 40, "headline_samples": 60, "headline_seeds": (1, 2), "reference": 500}
        return replace(self, entries=tuple(shorter), steps="quadratic4", **few)
