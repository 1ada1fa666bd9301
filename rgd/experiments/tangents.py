"""Do gradients that point along the images guide best? How much of each classifier's gradient lies in their tangent
space, level by level, and whether that orders classifiers as nearness to the true gradient does.

Robust classifiers have been held to have gradients that stay among the images (arXiv:2305.19101). A `Tangents` measures
that share by a denoiser's Jacobian (`gradients.tangent_share`) on held-out images, and on the same images, with the
same noise, how much of the true gradient's energy each one explains (`gradients.match`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import scipy
import torch
from torch import Tensor

from rgd import measure
from rgd.data import Dataset
from rgd.experiments.matching import one_schedule
from rgd.guidance import grad_log_prob
from rgd.lab.bench import Bench
from rgd.lab.store import Kept
from rgd.measure import Estimate, gradients
from rgd.processes import processes
from rgd.randomness import noise

CHANCE = "random directions"


@dataclass(frozen=True)
class Tangents:
    """What to measure, and on what.

    Attributes:
        data: the data set; its held-out images are used.
        denoiser: the name of an unconditional model.
        classifiers: names of models, see `rgd.lab.registry.find`.
        reference: the one of them with which the others are compared, image by image.
        levels: times t.
        images: how many, the first ones.
    """

    data: str
    denoiser: str
    classifiers: tuple[str, ...]
    reference: str
    levels: tuple[int, ...] = (50, 100, 200, 300, 400, 500, 600)
    images: int = 2000

    def __post_init__(self) -> None:
        if self.reference not in self.classifiers:
            raise ValueError(f"the reference {self.reference} is not among the classifiers {self.classifiers}")

    def models(self) -> tuple[str, ...]:
        """The names of the models that it needs."""
        return tuple(sorted({self.denoiser, *self.classifiers}))

    def small(self) -> Tangents:
        """The same in minutes: fewer levels and images."""
        return replace(self, levels=(200, 400), images=100)

    def run(self, bench: Bench) -> Iterator[dict[str, Any]]:
        """What is known by now, after each classifier; at the end also whether the two orders are the same."""
        test = bench.images(self.data, "test").take(self.images)
        common = {"denoiser": bench.key(self.denoiser), "images": test}

        def seen(name: str, level: int) -> Mapping[str, Tensor]:
            who = name if name == CHANCE else bench.key(name)
            compute = partial(measured, self, bench, name, test, level)
            return bench.store.once(compute, "tangents", classifier=who, t=level, **common).tensors

        def told(name: str) -> dict[str, Any]:
            def compute() -> Kept:
                rows = [summary(seen(name, level), seen(self.reference, level)) for level in self.levels]
                return Kept({"levels": [{"t": t, **row} for t, row in zip(self.levels, rows)]})

            pair = {part: n if n == CHANCE else bench.key(n) for part, n in (("of", name), ("to", self.reference))}
            return bench.store.once(compute, "tangent shares", **pair, **common, levels=self.levels).cell()

        def orders() -> dict[str, Any]:
            def compute() -> Kept:
                found = {level: [seen(name, level) for name in self.classifiers] for level in self.levels}
                return Kept({"levels": [{"t": level, "agreement": agreement(rows)} for level, rows in found.items()]})

            names = [bench.key(name) for name in self.classifiers]
            return bench.store.once(compute, "tangent orders", of=names, **common, levels=self.levels).cell()

        base = {"data": self.data, "data_digest": test.digest}
        names, found = (CHANCE, *self.classifiers), {}
        for found in bench.each(names, told, lambda name: {self.reference, self.denoiser, name} - {CHANCE}):
            yield {**base, "classifiers": {name: found[name] for name in names if name in found}}
        yield {**base, "classifiers": found, "orders": orders()}


def measured(plan: Tangents, bench: Bench, name: str, test: Dataset, level: int) -> Kept:
    """One classifier at one level, image by image: "share", and "inner" and "energy" of `gradients.match`."""
    denoise, schedule = bench.model(plan.denoiser).use(), one_schedule({n: bench.model(n) for n in plan.models()})
    data = test.to(processes().device)
    x0, y = data.x0(), data.labels
    t, eps = torch.full_like(y, level), noise(x0.shape, seed=0).to(x0.device)
    xt = schedule.q_sample(x0, t, eps)
    sigma, anywhere = schedule.at("sigma", t, xt), noise(x0.shape, seed=1).to(x0.device)
    gradient = None if name == CHANCE else grad_log_prob(bench.model(name).network)

    def look(i: Tensor) -> dict[str, Tensor]:
        g = anywhere[i] if gradient is None else gradient(xt[i], t[i], y[i])
        with torch.no_grad():
            inner, energy = gradients.match(g, denoise(xt[i], t[i]), eps[i], sigma[i])
        return {"share": gradients.tangent_share(denoise, g, xt[i], t[i]), "inner": inner, "energy": energy}

    parts = [look(i) for i in torch.arange(len(y), device=y.device).split(250)]
    return Kept(tensors={part: torch.cat([seen[part] for seen in parts]).cpu() for part in parts[0]})


def summary(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, Estimate]:
    """The mean share, and that minus the reference's, image by image."""
    share = ours["share"].double()
    return {"share": measure.mean(share), "more": measure.mean(share - theirs["share"].double())}


def agreement(rows: Sequence[Mapping[str, Tensor]]) -> Estimate:
    """Spearman's rank correlation, over classifiers, of the mean share and of the energy explained at the best scale,
    which is the gradient's direction alone: 1 if both order them alike."""
    share, inner, energy = (torch.stack([row[part].double() for row in rows]) for part in ("share", "inner", "energy"))

    def ranks(i: Tensor) -> float:
        aligned = inner[:, i].mean(1) / energy[:, i].mean(1).sqrt()
        return float(scipy.stats.spearmanr(share[:, i].nanmean(1), aligned).statistic)

    return measure.jackknife(ranks, share.shape[1], bounds=(-1.0, 1.0))
