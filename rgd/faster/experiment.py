"""Fewer steps, fewer bits: what seven works save of the price of a sample, and what they lose.

Every number is a mean over seeds with Student's interval: where something is trained, it is trained for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from rgd.faster import published, trained
from rgd.faster.work import Row, Work
from rgd.lab.bench import Bench
from rgd.lab.seeds import across, tables

DEMONSTRATIONS: dict[str, Callable[[Work, int], Iterator[Row]]] = {
    f.__name__: f
    for f in (
        trained.exact_step, published.bits, published.bits_of_a_guide, published.reused, published.changes,
        trained.progressive, trained.flows, trained.trilemma, trained.distilled, published.spaces,
    )
}  # fmt: skip


@dataclass(frozen=True)
class FewerSteps:
    """What to train, and how many images to draw.

    Attributes:
        data, judge, denoiser, conditional: the images, and models by name; the last one knows classes and a null label.
        guides: classifiers by name that have seen noise.
        images: of each way and seed, by the published models.
        steps: of DDIM for them.
        digits: of each way and seed, by networks of scikit-learn's digits.
        training: steps of a denoiser of those; the others take a share of that.
        latents: images that an autoencoder and a denoiser of its latents see.
        draws: in the mixture.
        reference: training images for the distance.
        seeds: of everything.
    """

    data: str = "mnist"
    judge: str = "mnist/judge"
    denoiser: str = "mnist/ddpm"
    conditional: str = "mnist/conditional"
    guides: tuple[str, ...] = ("mnist/vanilla", "mnist/robust")
    images: int = 200
    steps: int = 25
    digits: int = 500
    training: int = 1500
    latents: int = 10_000
    draws: int = 4000
    reference: int = 5000
    seeds: tuple[int, ...] = (0, 1, 2)

    def models(self) -> tuple[str, ...]:
        """The names of the models that it needs."""
        return tuple(sorted({self.judge, self.denoiser, self.conditional, *self.guides}))

    def small(self) -> FewerSteps:
        """The same in minutes."""
        few = replace(self, images=20, steps=4, digits=40, training=10, latents=200, draws=200)
        return replace(few, reference=500, seeds=self.seeds[:2])

    def run(self, bench: Bench) -> Iterator[dict[str, Any]]:
        """What is known by now, demonstration by demonstration: rows of ways, each the mean over the seeds."""
        work = Work(self, bench)
        about = {"data": self.data, "data_digest": work.images.digest}
        for found in tables(self, bench, work, DEMONSTRATIONS, "fewer steps", across, [work.images, work.digits]):
            yield {**about, **found}
