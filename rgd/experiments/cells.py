"""A comparison at work: what is drawn, seen and scored, cell by cell, each kept in the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from rgd import measure, samplers
from rgd.book import plots
from rgd.denoiser import Denoiser
from rgd.errors import CheckpointError, MissingModel
from rgd.identity import weights_digest
from rgd.lab.bench import Bench
from rgd.lab.seeds import combine
from rgd.lab.store import Kept, Unknown
from rgd.measure import Estimate, Features
from rgd.processes import processes
from rgd.samplers import sample
from rgd.training import autocast

if TYPE_CHECKING:
    from rgd.experiments.comparison import Comparison, Entry

SWEEP = ("fd", "sfd", "precision", "recall", "accuracy")
HEADLINE = (*SWEEP, "kid")
INCEPTION = {"fid": "fd", "kid_inception": "kid"}  # in the headline, where Inception looks too


class Work:
    """One comparison, its models and its images. `way` below is an entry at one of its scales."""

    def __init__(self, plan: Comparison, bench: Bench) -> None:
        self.plan, self.bench, self.store = plan, bench, bench.store
        self.data = bench.images(plan.data)
        self.entries = {entry.name: entry for entry in plan.entries}
        self.names = (*HEADLINE, *(INCEPTION if plan.inception else ()))

    @cached_property
    def eyes(self) -> dict[str, nn.Module]:
        """The judge, and Inception if it is asked for."""
        judge = self.bench.model(self.plan.judge).network
        if not hasattr(judge, "features"):
            raise CheckpointError(f"{self.plan.judge} holds a {type(judge).__name__}, where a judge is needed")
        inception = {"inception": measure.load_inception().to(processes().device)} if self.plan.inception else {}
        return {"judge": judge, **inception}

    @cached_property
    def inception(self) -> str | Literal[False]:
        """Which weights Inception has, where it is asked for: $RGD_INCEPTION may name any file."""
        return self.plan.inception and weights_digest(self.eyes["inception"])

    # What a cell depends on: each adds to the one before.

    def drawn(self, way: tuple[Entry, float], seed: int, n: int) -> dict[str, Any]:
        """All that samples depend on; of an entry, everything but how it and its models are called."""
        entry, scale = way
        sampler, steps, _ = entry.sampling(self.plan.steps)
        return {
            "way": replace(entry, name="", denoiser="", guide=None, scales=()), "scale": scale,
            "denoiser": self.bench.key(entry.denoiser), "guide": entry.guide and self.bench.key(entry.guide),
            "sampler": sampler, "steps": steps, "seed": seed, "n": n,
            "shape": self.data.shape, "classes": self.data.classes,
        }  # fmt: skip

    def looked(self) -> dict[str, Any]:
        """Who looks at them."""
        return {"judge": self.bench.key(self.plan.judge), "inception": self.inception}

    def scored(self, names: Sequence[str]) -> dict[str, Any]:
        """What they are compared with, and how."""
        return {**self.looked(), "reference": [self.data, self.plan.reference], "metrics": list(names)}

    # Computing.

    def build(self, way: tuple[Entry, float]) -> Denoiser:
        """The guided denoiser."""
        return way[0].build(lambda name: self.bench.model(name).use(), way[1])

    def draw(self, way: tuple[Entry, float], seed: int, n: int) -> torch.Tensor:
        """Samples, labels in turn."""
        entry, scale = way
        sampler, steps, eta = entry.sampling(self.plan.steps)
        title = f"{entry.name} x{scale:g}, seed {seed}" if self.bench.progress else False
        with autocast(processes().device, network=self.bench.model(entry.denoiser).network):
            return sample(
                self.build(way), (n, *self.data.shape), self.labels(n), steps=steps, seed=seed,
                sampler=partial(getattr(samplers, sampler), eta=eta), batch_size=self.plan.batch_size, progress=title,
            )  # fmt: skip

    def labels(self, n: int) -> torch.Tensor:
        return torch.arange(n) % len(self.data.classes)

    def look(self, images: Any) -> Kept:
        """What judge and Inception see in images, to be kept."""
        kept: dict[str, torch.Tensor] = {}
        sources = {}
        for eye, network in self.eyes.items():
            found = measure.extract(images, network)
            sources[eye] = found.source
            parts = {part: getattr(found, part) for part in ("features", "logits", "spatial")}
            kept |= {f"{eye}/{part}": value.float() for part, value in parts.items() if value is not None}
        return Kept({"source": sources}, kept)

    def features(self, kept: Kept, labels: torch.Tensor | None = None) -> dict[str, Features]:
        """What was kept of looking at images."""
        seen = {}
        for eye, source in kept.values["source"].items():
            parts = {name.split("/")[1]: v.double() for name, v in kept.tensors.items() if name.startswith(f"{eye}/")}
            seen[eye] = Features(source=source, shape=self.data.shape, labels=labels, **parts)
        return seen

    @cached_property
    def references(self) -> dict[str, Features]:
        """What is seen in the training images that samples are compared with."""
        images = self.data.take(self.plan.reference)
        look = partial(alone, partial(self.look, images))
        return self.features(self.store.once(look, "features", images=images, **self.looked()))

    def first(self, way: tuple[Entry, float], seed: int) -> torch.Tensor:
        """The first two images of each class, as uint8; what they are does not depend on how many follow."""
        n = 2 * len(self.data.classes)

        def compute() -> Kept:
            return Kept(tensors={"images": measure.quantise(self.draw(way, seed, n))})

        return self.store.once(compute, "images", **self.drawn(way, seed, n)).tensors["images"]

    def seen(self, way: tuple[Entry, float], seed: int, n: int) -> tuple[dict[str, Features], float]:
        """What is seen in a cell's samples, and how many images a second were drawn."""
        few = 2 * len(self.data.classes)

        def compute() -> Kept | None:
            began = time.perf_counter()
            images = self.draw(way, seed, n)
            speed = n / (time.perf_counter() - began)

            def look() -> Kept:
                if n >= few:
                    first = Kept(tensors={"images": measure.quantise(images[:few])})
                    self.store.put(first, "images", **self.drawn(way, seed, few))
                found = self.look(images)
                return replace(found, values={"images_per_second": speed, **found.values})

            return alone(look)

        kept = self.store.once(compute, "features", **self.drawn(way, seed, n), **self.looked())
        return self.features(kept, self.labels(n)), kept.values["images_per_second"]

    def measured(self, names: Sequence[str], seen: Mapping[str, Features]) -> dict[str, Estimate]:
        """Each metric of what was seen, by the judge's features or by Inception's."""
        eyes = {name: "inception" if name in INCEPTION else "judge" for name in names}
        return {n: measure.estimate(INCEPTION.get(n, n), seen[e], self.references[e]) for n, e in eyes.items()}

    def score(self, way: tuple[Entry, float], seed: int, n: int, names: Sequence[str]) -> dict[str, Any]:
        """A cell of the results. Samples are drawn only if there is no score yet: scores outlive them."""

        def compute() -> Kept | None:
            (seen, speed), _ = self.seen(way, seed, n), self.references  # all processes take part in having both
            return alone(lambda: Kept({"images_per_second": speed, **self.measured(names, seen)}))

        kept = self.store.once(compute, "scores", **self.drawn(way, seed, n), **self.scored(names))
        return kept.cell(name=way[0].name, scale=way[1], seed=seed, samples=n)

    def real(self, names: Sequence[str]) -> dict[str, Any]:
        """The scores of held-out images: as many as the reference has, or, without headlines, as are drawn."""
        n = self.plan.reference if self.plan.headline_seeds else self.plan.samples
        test = self.bench.images(self.plan.data, "test").take(n)

        def compute() -> Kept | None:
            assert self.references
            return alone(lambda: Kept(self.measured(names, self.features(self.look(test), test.labels))))

        return self.store.once(compute, "scores", images=test, **self.scored(names)).cell()

    def difference(self, a: tuple[Entry, float], b: tuple[Entry, float], seed: int, n: int) -> dict[str, Any]:
        """a minus b, sample by sample."""

        def compute() -> Kept | None:
            seen = [self.seen(way, seed, n)[0]["judge"] for way in (a, b)]
            seen.append(self.references["judge"])
            return alone(lambda: Kept({name: measure.paired_difference(name, *seen) for name in SWEEP}))

        parts = {"a": self.drawn(a, seed, n), "b": self.drawn(b, seed, n), **self.scored(SWEEP)}
        return self.store.once(compute, "differences", **parts).cell()

    # Results.

    def sweep(self, name: str) -> list[dict[str, Any]]:
        """An entry at every scale, on the sweep's seed."""
        entry, plan = self.entries[name], self.plan
        return [self.score((entry, scale), plan.seed, plan.samples, SWEEP) for scale in entry.scales]

    def best(self, name: str) -> tuple[Entry, float]:
        """An entry at its best scale."""
        return self.entries[name], best_cells(self.sweep(name))[name]["scale"]

    def headline(self, name: str) -> list[dict[str, Any]]:
        """An entry at its best scale, on the other seeds: one row, or, without any such seeds, none."""
        way = self.best(name)
        cells = [self.score(way, s, self.plan.headline_samples, self.names) for s in self.plan.headline_seeds]
        return [{"name": name, "scale": way[1], **combined(cells, self.names), "seeds": cells}] if cells else []

    def pair(self, a: str, b: str) -> list[dict[str, Any]]:
        """a minus b: each at its best scale on the other seeds; or, without any, scale by scale in the sweep."""
        plan, first, second = self.plan, self.entries[a], self.entries[b]
        if not plan.headline_seeds:
            return [
                {**self.difference((first, s), (second, s), plan.seed, plan.samples), "a": a, "b": b, "scale": s}
                for s in (scale for scale in first.scales if scale in second.scales)
            ]
        ways, parts = (self.best(a), self.best(b)), []
        for seed in plan.headline_seeds:  # scores and differences at once: what a stopped run has done stands
            for way in ways:
                self.score(way, seed, plan.headline_samples, self.names)
            parts.append(self.difference(*ways, seed, plan.headline_samples))
        return [{"a": a, "b": b, **combined(parts, SWEEP), "seeds": parts}]

    def known(self) -> dict[str, Any]:
        """All that the store knows of the results."""
        found: dict[str, list[Any]] = {"sweep": [], "headline": [], "differences": [], "left": []}
        with self.store.as_it_is():
            for name, entry in self.entries.items():
                for scale in entry.scales:  # of a sweep that is not finished, what there is
                    with suppress(Unknown):
                        found["sweep"].append(self.score((entry, scale), self.plan.seed, self.plan.samples, SWEEP))
                try:
                    found["headline"] += self.headline(name)
                except Unknown:
                    found["left"].append(name)
            for pair in self.plan.pairs:
                with suppress(Unknown):
                    found["differences"] += self.pair(*pair)
        return found

    def run(self) -> Iterator[dict[str, Any]]:
        """The results, whenever there is more of them. First what earlier runs have done: no file gets poorer."""
        base = {"data": self.plan.data, "data_digest": self.data.digest, "real": self.real(self.names)}
        tasks: list[Callable[[], Any]] = [partial(self.pair, *pair) for pair in self.plan.pairs]
        tasks += [partial(self.headline, name) for name in self.entries]
        results: dict[str, Any] = {}
        for task in (lambda: None, *tasks):
            task()
            if (more := self.known()) != results:
                results = more
                self.picture(results["headline"])
                yield {**base, **results}

    def picture(self, headline: Sequence[Mapping[str, Any]]) -> None:
        """Samples from the same noise, a row for each way to guide, beside the file of results."""
        rows = {}
        for row in headline:
            entry = self.entries[row["name"]]
            title = f"{entry.name}, {row['scale']:g}" if entry.kind != "none" else entry.name
            with suppress(MissingModel):  # what is gone has left its numbers, and no picture
                images = self.first((entry, row["scale"]), self.plan.headline_seeds[0])
                rows[plots.plain(title)] = images[:10] / 127.5 - 1
        if rows and processes().rank == 0:
            figure = plots.picture_table(rows, [plots.plain(name) for name in self.data.classes[:10]], size=0.6)
            figure.savefig(self.bench.out.with_suffix(".png"), dpi=150)


def alone(compute: Callable[[], Kept]) -> Kept | None:
    """What the first process computes, with all cores; the others wait for it in the store."""
    if processes().rank > 0:
        return None
    with processes().alone():
        return compute()


def combined(cells: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Each metric of cells that differ in their seed alone, as one number."""
    return {name: combine([cell[name] for cell in cells]).to_json() for name in names}


def best_cells(sweep: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """For each entry the cell of least FD-judge."""
    names = dict.fromkeys(cell["name"] for cell in sweep)
    cells = {name: [cell for cell in sweep if cell["name"] == name] for name in names}
    return {name: min(cells[name], key=lambda cell: cell["fd"]["value"]) for name in names}
