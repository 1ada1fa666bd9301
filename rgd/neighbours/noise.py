"""The noise decides: what six works make of the starting noise and of a guide, and what is left of it here.

Every number is the judge's, over several seeds, whose images start from the same noise for all ways of a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rgd.lab.bench import Bench
from rgd.lab.seeds import across, pooled, tables
from rgd.neighbours.demonstrations import DEMONSTRATIONS
from rgd.neighbours.work import Work


@dataclass(frozen=True)
class NoiseDecides:
    """What to draw, and how many.

    Attributes:
        data, judge, denoiser, conditional: the images, and models by name; the last one knows classes and a null label.
        guides: classifiers by name that have seen noise: the first is what the others are compared with.
        clean: one that has not.
        scale: of guidance by a classifier.
        free: of classifier-free guidance.
        images: of each way and seed.
        few: of each anagram, guide and seed.
        steps: of DPM-Solver++.
        rounds: of learning tokens.
        draws: in the mixture.
        training: steps of a classifier of the mixture, and of a counter.
        reference: training images for the distance.
        seeds: of everything.
    """

    data: str = "mnist"
    judge: str = "mnist/judge"
    denoiser: str = "mnist/ddpm"
    conditional: str = "mnist/conditional"
    guides: tuple[str, ...] = ("mnist/vanilla", "mnist/robust", "mnist/robust_2")
    clean: str = "mnist/clean"
    scale: float = 4.0
    free: float = 3.0
    images: int = 80
    few: int = 20
    steps: int = 15
    rounds: int = 40
    draws: int = 2000
    training: int = 1000
    reference: int = 5000
    seeds: tuple[int, ...] = (0, 1, 2)

    def models(self) -> tuple[str, ...]:
        """The names of the models that it needs."""
        return tuple(sorted({self.judge, self.denoiser, self.conditional, self.clean, *self.guides}))

    def small(self) -> NoiseDecides:
        """The same in minutes."""
        few = replace(self, images=20, few=4, steps=5, rounds=2, draws=100, training=20)
        return replace(few, reference=500, seeds=self.seeds[:2])

    def run(self, bench: Bench) -> Iterator[dict[str, Any]]:
        """What is known by now, demonstration by demonstration: rows of ways, each the mean over the seeds."""
        train = bench.images(self.data)
        about = {"data": self.data, "data_digest": train.digest}
        for found in tables(self, bench, Work(self, bench), DEMONSTRATIONS, "noise decides", gather, train):
            yield {**about, **found}


def gather(name: str, values: Sequence[Any]) -> Any:
    """What the seeds say of a number, as one. Counters are trained anew for each, so that they differ by more than by
    what is drawn."""
    return (across if name.startswith(("right", "believed")) else pooled)(name, values)
