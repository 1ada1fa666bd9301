"""Whose gradient is nearest to the true one, on real images, where nobody knows the true one?

It can be told all the same (`gradients.match`): on held-out images, whose noise is known, the squared error of a
gradient can be estimated up to a number that is the same for all. So classifiers can be ranked, and the scale read off
that each one's gradient should have. A `Matching` names them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from rgd.measure.gradients import match
from rgd.processes import processes
from rgd.randomness import noise
from rgd.schedule import Schedule


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

    def run(self, bench: Bench) -> Iterator[dict[str, Any]]:
        """What is known by now, after each classifier."""
        test = bench.images(self.data, "test").take(self.images)
        common = {"denoisers": [(n, bench.key(n)) for n in self.denoisers], "images": test, "levels": self.levels}

        def matched(name: str) -> dict[str, Any]:
            def compute() -> Kept:
                ours, theirs = (self.seen(bench, n, test) for n in (name, self.reference))
                alpha_bar = schedule_of(self, bench).alpha_bar
                log_snr = [float(torch.logit(alpha_bar[level])) for level in self.levels]
                return Kept(summary(self, ours, theirs, log_snr))

            pair = {"classifier": bench.key(name), "reference": bench.key(self.reference)}
            return bench.store.once(compute, "matched", **pair, **common).cell()

        for found in bench.each(self.classifiers, matched, lambda name: (name, self.reference, *self.denoisers)):
            classifiers = {name: found[name] for name in self.classifiers if name in found}
            log_snr = next(iter(classifiers.values()))["log_snr"]
            yield {"data": self.data, "data_digest": test.digest, "log_snr": log_snr, "classifiers": classifiers}

    def seen(self, bench: Bench, name: str, test: Dataset) -> list[Mapping[str, Tensor]]:
        """One classifier's values, image by image, at each level."""
        common = {"denoisers": [(n, bench.key(n)) for n in self.denoisers], "images": test}
        rows = []
        for level in self.levels:
            compute = partial(measured, self, bench, name, test, level)
            kept = bench.store.once(compute, "matching", classifier=bench.key(name), t=level, **common)
            rows.append(kept.tensors)
        return rows


def schedule_of(plan: Matching, bench: Bench) -> Schedule:
    """The one schedule of all its models.

    Raises:
        DataError: if they have not all the same.
    """
    schedules = [bench.model(name).schedule for name in plan.models()]
    first = schedules[0]
    assert first is not None
    if any(s is None or not torch.equal(s.alpha_bar, first.alpha_bar) for s in schedules):
        raise DataError(f"gradients are matched at one noise: {', '.join(plan.models())} differ in their schedules")
    return first


def measured(plan: Matching, bench: Bench, name: str, test: Dataset, level: int) -> Kept:
    """One classifier at one level, image by image: "cross_entropy", "energy", and "inner/NUMBER" by each denoiser."""
    device, schedule, classifier = processes().device, schedule_of(plan, bench), bench.model(name).network
    rows: dict[str, list[Tensor]] = {}
    x0, y, eps = test.x0(), test.labels, noise((len(test), *test.shape), seed=0)
    for i in torch.arange(len(y)).split(250):
        label, e = y[i].to(device), eps[i].to(device)
        t = torch.full_like(label, level)
        xt = schedule.q_sample(x0[i].to(device), t, e)
        g = grad_log_prob(classifier)(xt, t, label)
        with torch.no_grad():
            parts = {"cross_entropy": F.cross_entropy(classifier(xt, t), label, reduction="none")}
            for number, denoiser in enumerate(plan.denoisers):
                guess = bench.model(denoiser).use()(xt, t)
                inner, parts["energy"] = match(g, guess, eps=e, sigma=schedule.at("sigma", t, xt))
                parts[f"inner/{number}"] = inner
        for part, value in parts.items():
            rows.setdefault(part, []).append(value)
    return Kept(tensors={part: torch.cat(values).cpu() for part, values in rows.items()})


def _scale(inner: Tensor, energy: Tensor) -> Callable[[Tensor], float]:
    return lambda i: float(inner[i].mean() / energy[i].mean())


def _rescaled(inner: Tensor, energy: Tensor) -> Callable[[Tensor], float]:
    return lambda i: float(inner[i].mean() ** 2 / energy[i].mean())


def _difference(a: Callable[[Tensor], float], b: Callable[[Tensor], float]) -> Callable[[Tensor], float]:
    return lambda i: a(i) - b(i)


def summary(
    plan: Matching,
    seen: Sequence[Mapping[str, Tensor]],
    reference: Sequence[Mapping[str, Tensor]],
    log_snr: Sequence[float],
) -> dict[str, Any]:
    """What the images say of one classifier on average, with intervals, as JSON.

    Of `levels` a row for each. `explained` is 2 inner - energy: by how much its gradient is nearer to the true one than
    no gradient is, in squared length; `rescaled` the same at the scale that is best, inner^2 / energy; both end in
    `_more` where the reference's is subtracted. For each pair of neighbouring levels, in `between`, `information` is
    twice the rate at which the class is learned as the noise fades, d I(y; xt) / d log snr, from the cross-entropy; by
    the I-MMSE relation (Guo, Shamai and Verdu 2005) that is the energy that a true gradient would have there.
    """
    seen, reference = ([{k: v.double() for k, v in at.items()} for at in rows] for rows in (seen, reference))
    rows, pairs = [], []
    for level, ours, theirs in zip(plan.levels, seen, reference):
        by = {
            denoiser: _explained(ours[f"inner/{k}"], ours["energy"], theirs[f"inner/{k}"], theirs["energy"])
            for k, denoiser in enumerate(plan.denoisers)
        }
        means = {name: measure.mean(ours[name]).to_json() for name in ("cross_entropy", "energy")}
        rows.append({"t": level, **means, "by": by})
    for (low, high), levels, snr in zip(pairwise(seen), pairwise(plan.levels), pairwise(log_snr)):
        learned = 2 * (high["cross_entropy"] - low["cross_entropy"]) / (snr[0] - snr[1])
        found = {"information": learned, "energy": (low["energy"] + high["energy"]) / 2}
        pairs.append({"between": levels, **{name: measure.mean(v).to_json() for name, v in found.items()}})
    return {"levels": rows, "between": pairs, "log_snr": log_snr}


def _explained(inner: Tensor, energy: Tensor, inner_r: Tensor, energy_r: Tensor) -> dict[str, Any]:
    here, there = _rescaled(inner, energy), _rescaled(inner_r, energy_r)
    found = {
        "inner": measure.mean(inner),
        "explained": measure.mean(2 * inner - energy),
        "explained_more": measure.mean(2 * (inner - inner_r) - (energy - energy_r)),
        "scale": measure.jackknife(_scale(inner, energy), len(inner)),
        "rescaled": measure.jackknife(here, len(inner)),
        "rescaled_more": measure.jackknife(_difference(here, there), len(inner)),
    }
    return {name: estimate.to_json() for name, estimate in found.items()}
