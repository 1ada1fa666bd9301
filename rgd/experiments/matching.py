"""Whose gradient is nearest to the true one, on real images, where nobody knows the true one?

It can be told all the same (`gradients.match`): on held-out images, whose noise is known, the squared error of a
gradient can be estimated up to a number that is the same for all. So classifiers can be ranked, and the scale read off
that each one's gradient should have. A `Matching` names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rgd import measure
from rgd.data import Dataset
from rgd.errors import DataError
from rgd.guidance import grad_log_prob
from rgd.lab.bench import Bench
from rgd.lab.store import Kept
from rgd.measure import Estimate, gradients
from rgd.processes import processes
from rgd.randomness import noise
from rgd.schedule import Schedule
from rgd.training.checkpoints import Model

Seen = Mapping[str, Tensor]


@dataclass(frozen=True)
class Matching:
    """What to hold against the images, and which.

    Attributes:
        data: the data set; its held-out images are used.
        denoisers: names of unconditional models. One is enough; a second shows how much depends on it.
        classifiers: names of models, see `rgd.lab.registry.find`.
        reference: the one of them with which the others are compared, image by image.
        levels: times t.
        images: how many, the first ones.
    """

    data: str
    denoisers: tuple[str, ...]
    classifiers: tuple[str, ...]
    reference: str
    levels: tuple[int, ...] = (50, 100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 700)
    images: int = 10_000

    def __post_init__(self) -> None:
        if self.reference not in self.classifiers:
            raise ValueError(f"the reference {self.reference} is not among the classifiers {self.classifiers}")

    def models(self) -> tuple[str, ...]:
        """The names of the models that it needs."""
        return tuple(sorted({*self.denoisers, *self.classifiers}))

    def small(self) -> Matching:
        """The same in minutes: fewer levels and images."""
        return replace(self, levels=(200, 400, 600), images=250)

    def run(self, bench: Bench) -> Iterator[dict[str, Any]]:
        """What is known by now, after each classifier."""
        test = bench.images(self.data, "test").take(self.images)
        common = {"denoisers": [(n, bench.key(n)) for n in self.denoisers], "images": test}

        def seen(name: str) -> list[Seen]:
            rows = []
            for level in self.levels:
                compute = partial(measured, self, bench, name, test, level)
                kept = bench.store.once(compute, "matching", classifier=bench.key(name), t=level, **common)
                rows.append(kept.tensors)
            return rows

        def matched(name: str) -> dict[str, Any]:
            def compute() -> Kept:
                ours, theirs = seen(name), seen(self.reference)
                alpha_bar = one_schedule({n: bench.model(n) for n in self.models()}).alpha_bar
                log_snr = [float(torch.logit(alpha_bar[level])) for level in self.levels]
                return Kept(summary(self, ours, theirs, log_snr))

            pair = {"classifier": bench.key(name), "reference": bench.key(self.reference)}
            return bench.store.once(compute, "matched", **pair, **common, levels=self.levels).cell()

        for found in bench.each(self.classifiers, matched, lambda name: (name, self.reference, *self.denoisers)):
            classifiers = {name: found[name] for name in self.classifiers if name in found}
            log_snr = next(iter(classifiers.values()))["log_snr"]
            yield {"data": self.data, "data_digest": test.digest, "log_snr": log_snr, "classifiers": classifiers}


def one_schedule(models: Mapping[str, Model]) -> Schedule:
    """The schedule of models that are compared.

    Raises:
        DataError: if they have not all the same.
    """
    first, *_ = (model.schedule for model in models.values())
    assert first is not None
    for name, model in models.items():
        if model.schedule is None or not torch.equal(model.schedule.alpha_bar, first.alpha_bar):
            raise DataError(f"{name} knows images noised by another schedule than {next(iter(models))}: gradients are "
                            "compared at one noise, and models must not differ in their schedules")  # fmt: skip
    return first


def measured(plan: Matching, bench: Bench, name: str, test: Dataset, level: int) -> Kept:
    """One classifier at one level, image by image: "cross_entropy", "energy", and "inner/NUMBER" by each denoiser."""
    schedule, classifier = one_schedule({n: bench.model(n) for n in plan.models()}), bench.model(name).network
    denoisers = [bench.model(denoiser).use() for denoiser in plan.denoisers]
    data = test.to(processes().device)
    x0, y = data.x0(), data.labels
    t, eps = torch.full_like(y, level), noise(x0.shape, seed=0).to(x0.device)
    xt = schedule.q_sample(x0, t, eps)
    sigma = schedule.at("sigma", t, xt)

    def look(i: Tensor) -> dict[str, Tensor]:
        g = grad_log_prob(classifier)(xt[i], t[i], y[i])
        with torch.no_grad():
            found = {"cross_entropy": F.cross_entropy(classifier(xt[i], t[i]), y[i], reduction="none")}
            for k, denoise in enumerate(denoisers):
                found[f"inner/{k}"], found["energy"] = gradients.match(g, denoise(xt[i], t[i]), eps[i], sigma[i])
        return found

    parts = [look(i) for i in torch.arange(len(y), device=y.device).split(250)]
    return Kept(tensors={part: torch.cat([seen[part] for seen in parts]) for part in parts[0]})


def summary(
    plan: Matching, seen: Sequence[Seen], reference: Sequence[Seen], log_snr: Sequence[float]
) -> dict[str, Any]:  # fmt: skip
    """What the images say of one classifier on average, with intervals.

    Of `levels` a row for each. `explained` is 2 inner - energy: by how much its gradient is nearer to the true one than
    no gradient is, in squared length; `rescaled` the same at the scale that is best, inner^2 / energy; both end in
    `_more` where the reference's is subtracted. For each pair of neighbouring levels, in `between`, `information` is
    twice the rate at which the class is learned as the noise fades, d I(y; xt) / d log snr, from the cross-entropy; by
    the I-MMSE relation (Guo, Shamai and Verdu 2005) that is the energy that a true gradient would have there.
    """
    seen, reference = ([{k: v.double() for k, v in at.items()} for at in rows] for rows in (seen, reference))
    rows, pairs = [], []
    for level, ours, theirs in zip(plan.levels, seen, reference):
        by = {denoiser: _explained(ours, theirs, f"inner/{k}") for k, denoiser in enumerate(plan.denoisers)}
        means = {name: measure.mean(ours[name]) for name in ("cross_entropy", "energy")}
        rows.append({"t": level, **means, "by": by})
    for (low, high), levels, snr in zip(pairwise(seen), pairwise(plan.levels), pairwise(log_snr)):
        learned = 2 * (high["cross_entropy"] - low["cross_entropy"]) / (snr[0] - snr[1])
        energy = measure.mean((low["energy"] + high["energy"]) / 2)
        pairs.append({"between": levels, "information": measure.mean(learned), "energy": energy})
    return {"levels": rows, "between": pairs, "log_snr": log_snr}


def _explained(ours: Seen, theirs: Seen, by: str) -> dict[str, Estimate]:
    (inner, energy), (inner_r, energy_r) = ((seen[by], seen["energy"]) for seen in (ours, theirs))

    def scale(i: Tensor) -> float:
        return float(inner[i].mean() / energy[i].mean())

    def rescaled(i: Tensor) -> float:
        return float(inner[i].mean() ** 2 / energy[i].mean())

    def rescaled_more(i: Tensor) -> float:
        return rescaled(i) - float(inner_r[i].mean() ** 2 / energy_r[i].mean())

    return {
        "inner": measure.mean(inner),
        "explained": measure.mean(2 * inner - energy),
        "explained_more": measure.mean(2 * (inner - inner_r) - (energy - energy_r)),
        "scale": measure.jackknife(scale, len(inner)),
        "rescaled": measure.jackknife(rescaled, len(inner)),
        "rescaled_more": measure.jackknife(rescaled_more, len(inner)),
    }
