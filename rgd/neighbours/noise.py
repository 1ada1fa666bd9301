"""The noise decides: what five works make of the starting noise and of a guide, and what is left of it here.

Every number is the judge's, over several seeds, whose images start from the same noise for all ways of a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from rgd.lab.bench import Bench
from rgd.lab.store import Kept
from rgd.measure.estimates import combine, proportion
from rgd.neighbours.demonstrations import DEMONSTRATIONS
from rgd.neighbours.work import Row, Work


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
        training: steps of a classifier of the mixture.
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
        work, train = Work(self, bench), bench.images(self.data)
        fixed = {"plan": replace(self, seeds=()), "models": [bench.key(name) for name in self.models()], "data": train}

        def find(cell: tuple[str, int]) -> dict[str, Any]:
            name, seed = cell

            def compute() -> Kept:
                return Kept({"rows": list(DEMONSTRATIONS[name](work, seed))})

            return bench.store.once(compute, "noise decides", what=name, seed=seed, **fixed).cell()

        cells = list(product(DEMONSTRATIONS, self.seeds))
        for found in bench.each(cells, find, lambda _: self.models()):
            whole = [name for name in DEMONSTRATIONS if all((name, seed) in found for seed in self.seeds)]
            tables = {name: together([found[name, seed]["rows"] for seed in self.seeds]) for name in whole}
            told = [{"what": cell[0], "seed": cell[1], **found[cell]} for cell in cells if cell in found]
            yield {"data": self.data, "data_digest": train.digest, **tables, "cells": told}


def together(seeds: Sequence[Sequence[Row]]) -> list[Row]:
    """Rows of the same ways from several seeds, as one: shares of all that was drawn, else means; the rest is the same
    in each."""

    def one(values: Sequence[Any]) -> Any:
        if not isinstance(values[0], Mapping):
            return values[0]
        if values[0]["method"].startswith("Wilson"):
            return proportion(sum(round(v["value"] * v["n"]) for v in values), sum(v["n"] for v in values)).to_json()
        return combine(values).to_json()

    return [{name: one([row[name] for row in rows]) for name in rows[0]} for rows in zip(*seeds, strict=True)]
