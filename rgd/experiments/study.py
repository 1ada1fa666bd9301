"""What are the gradients of trained classifiers like, noise level by noise level?

A `Study` names classifiers, and for some of them a twin: the same recipe with another seed. Measured on held-out images
is how often each is right, clean and attacked, and how well it knows that; how long its gradient is, whether training
again gives the same one, whether it stays the same nearby, what its spectrum is; and whether a judge can read where it
leads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rgd import measure
from rgd.attacks import PGD
from rgd.data import Dataset
from rgd.guidance import grad_log_prob
from rgd.lab.bench import Bench
from rgd.lab.store import Kept
from rgd.measure import gradients
from rgd.processes import processes
from rgd.randomness import generator, noise
from rgd.training.objectives import PAPER_ATTACK


@dataclass(frozen=True)
class Study:
    """What to measure, and on what.

    Attributes:
        data: the data set; its held-out images are used.
        judge, denoiser: models' names, see `rgd.lab.registry.find`.
        classifiers: pairs of a name and the name of its twin, or None.
        levels: times t.
        images: how many, the first ones.
        attack: on xt.
        change: L2 distance, in a random direction, at which a gradient is asked again.
        move: L2 length of a walk uphill towards another class; None for no walk.
        seed: of noise, directions and targets.
    """

    data: str
    judge: str
    denoiser: str
    classifiers: tuple[tuple[str, str | None], ...]
    levels: tuple[int, ...] = (0, 25, 50, 100, 200, 300, 400, 600)
    images: int = 1000
    attack: PGD = PAPER_ATTACK
    change: float = 4.0
    move: float | None = 6.0
    seed: int = 0

    def __post_init__(self) -> None:
        names = [name for name, _ in self.classifiers]
        if len(set(names)) < len(names):
            raise ValueError(f"a study tells of each classifier once, and these are named twice: {names}")

    def models(self) -> tuple[str, ...]:
        """The names of the models that it needs."""
        names = {self.judge, self.denoiser, *(name for pair in self.classifiers for name in pair)}
        return tuple(sorted(filter(None, names)))

    def small(self) -> Study:
        """The same in minutes: fewer levels and images, and no twins."""
        alone = tuple((name, None) for name, _ in self.classifiers)
        return replace(self, classifiers=alone, levels=(0, 100, 300), images=50)

    def run(self, bench: Bench) -> Iterator[dict[str, Any]]:
        """What is known by now, after each classifier: for each a row for each level."""
        test = bench.images(self.data, "test").take(self.images)
        settings = replace(self, data="", judge="", denoiser="", classifiers=(), levels=(), images=0)

        def rows(pair: tuple[str, str | None]) -> list[dict[str, Any]]:
            used = zip(("classifier", "twin", "judge", "denoiser"), (*pair, self.judge, self.denoiser))
            parts = {part: name and bench.key(name) for part, name in used}
            found = []
            for level in self.levels:
                compute = partial(measured, self, bench, *pair, test, level)
                kept = bench.store.once(compute, "study", **parts, images=test, settings=settings, t=level)
                found.append(kept.cell())
            return found

        for found in bench.each(self.classifiers, rows, lambda pair: filter(None, (*pair, self.judge, self.denoiser))):
            classifiers = {name: found[name, twin] for name, twin in self.classifiers if (name, twin) in found}
            yield {"data": self.data, "data_digest": test.digest, "classifiers": classifiers}


def measured(study: Study, bench: Bench, name: str, twin: str | None, test: Dataset, level: int) -> Kept:
    """One classifier at one level."""
    classifier, schedule = bench.model(name).network, bench.model(name).schedule
    assert schedule is not None
    other: Any = twin and bench.model(twin).network
    judge, denoise = bench.model(study.judge).network, bench.model(study.denoiser).use()
    data = test.to(processes().device)
    x0, y, K = data.x0(), data.labels, len(data.classes)
    t = torch.full_like(y, level)
    xt = schedule.q_sample(x0, t, noise(x0.shape, study.seed).to(x0.device))
    target = (y + torch.randint(1, K, y.shape, generator=generator(study.seed, "target")).to(y.device)) % K
    random = generator(study.seed, "change", level)

    def look(i: Tensor) -> dict[str, Tensor]:
        where = xt[i], t[i], y[i]
        with torch.no_grad():
            found = {"logits": classifier(xt[i], t[i])}
        found["gradient"] = grad_log_prob(classifier)(*where)
        found["steadiness"] = gradients.steadiness(classifier, *where, study.change, random)
        if other is not None:
            found["cosine_of_twins"] = gradients.cosine(classifier, other, *where)
        if study.move is not None:
            walked = gradients.ascend(classifier, xt[i], t[i], target[i], study.move)
            with torch.no_grad():
                for part, x in (("read_by_judge", walked), ("read_without_walk", xt[i])):
                    found[part] = judge(denoise(x, t[i]).x0).argmax(1) == target[i]
        return found

    parts = [look(i) for i in torch.arange(len(y), device=y.device).split(250)]
    found = {part: torch.cat([seen[part] for seen in parts]) for part in parts[0]}
    logits, gradient = found.pop("logits"), found.pop("gradient")
    (row,) = measure.accuracy_by_t(classifier, x0, y, schedule, [level], attack=study.attack, seed=study.seed)
    row |= {
        "calibration_error": measure.calibration_error(logits, y),
        "norm": measure.mean(gradient.flatten(1).norm(dim=1)),
        "spectrum": gradients.spectrum(gradient).tolist(),
    }
    for part, values in found.items():
        row[part] = measure.share(values) if values.dtype == torch.bool else measure.mean(values)
    return Kept(row)
