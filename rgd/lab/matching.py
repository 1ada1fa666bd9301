"""Whose gradient is nearest to the true one, on real images, where nobody knows the true one?

It can be told all the same (`gradients.match`): on held-out images, whose noise is known, the squared error of a
gradient can be estimated up to a number that is the same for all. So classifiers can be ranked, and the scale read off
that each one's gradient should have. A `Matching` names them; `run` measures, and writes the results.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from rgd import checkpoints
from rgd import measure as metrics
from rgd.checkpoints import Model
from rgd.data import Dataset
from rgd.denoiser import NetworkDenoiser
from rgd.guidance import grad_log_prob
from rgd.lab import datasets
from rgd.lab.comparison import find
from rgd.lab.recipe import provenance
from rgd.measure import Estimate
from rgd.measure.gradients import match
from rgd.processes import processes
from rgd.randomness import noise


@dataclass(frozen=True)
class Matching:
    """What to hold against the images, and which.

    Attributes:
        data: the data set; its held-out images are used.
        denoisers: names of unconditional models. One is enough; a second shows how much depends on it.
        classifiers: names of models, see `rgd.comparison.find`.
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


def measure(plan: Matching, level: int, models: dict[str, Model], test: Dataset) -> dict[str, Tensor]:
    """Image by image at one level: each classifier's "cross_entropy" and "energy", and "inner" by each denoiser."""
    device, schedule = processes().device, models[plan.denoisers[0]].schedule
    assert schedule is not None
    rows: dict[str, list[Tensor]] = {}
    x0, y, eps = test.x0(), test.labels, noise((len(test), *test.shape), seed=0)
    for i in torch.arange(len(y)).split(250):
        label, e = y[i].to(device), eps[i].to(device)
        t = torch.full_like(label, level)
        xt = schedule.q_sample(x0[i].to(device), t, e)
        with torch.no_grad():
            guesses = {name: cast(NetworkDenoiser, models[name].use())(xt, t) for name in plan.denoisers}
        for name in plan.classifiers:
            classifier: Any = models[name].network
            with torch.no_grad():
                lost = F.cross_entropy(classifier(xt, t), label, reduction="none")
            rows.setdefault(f"{name}/cross_entropy", []).append(lost)
            g = grad_log_prob(classifier)(xt, t, label)
            for denoiser, guess in guesses.items():
                inner, energy = match(g, guess, eps=e, sigma=schedule.at("sigma", t, xt))
                rows.setdefault(f"{name}/inner/{denoiser}", []).append(inner)
            rows.setdefault(f"{name}/energy", []).append(energy)
    return {name: torch.cat(parts).cpu() for name, parts in rows.items()}


def _scale(inner: Tensor, energy: Tensor) -> Callable[[Tensor], float]:
    return lambda i: float(inner[i].mean() / energy[i].mean())


def _rescaled(inner: Tensor, energy: Tensor) -> Callable[[Tensor], float]:
    return lambda i: float(inner[i].mean() ** 2 / energy[i].mean())


def _difference(a: Callable[[Tensor], float], b: Callable[[Tensor], float]) -> Callable[[Tensor], float]:
    return lambda i: a(i) - b(i)


def summary(plan: Matching, seen: list[dict[str, Tensor]], log_snr: list[float]) -> dict[str, Any]:
    """The results: what the images say on average, with intervals.

    For each classifier a row for each level. `explained` is 2 inner - energy: by how much its gradient is nearer to the
    true one than no gradient is, in squared length; `rescaled` the same at the scale that is best, inner^2 / energy;
    both end in `_more` where the reference's is subtracted. For each pair of neighbouring levels `information` is twice
    the rate at which the class is learned as the noise fades, d I(y; xt) / d log snr, from the cross-entropy; by the
    I-MMSE relation (Guo, Shamai and Verdu 2005) that is the energy that a true gradient would have there.
    """

    seen = [{key: tensor.double() for key, tensor in tensors.items()} for tensors in seen]
    found: dict[str, Any] = {}
    for name in plan.classifiers:
        rows, pairs = [], []
        for level, values in zip(plan.levels, seen):
            energy, energy_r = (values[f"{n}/energy"] for n in (name, plan.reference))
            row: dict[str, Any] = {
                "t": level,
                "cross_entropy": metrics.mean(values[f"{name}/cross_entropy"]),
                "energy": metrics.mean(energy),
                "by": {},
            }
            for denoiser in plan.denoisers:
                inner, inner_r = (values[f"{n}/inner/{denoiser}"] for n in (name, plan.reference))
                here, there = _rescaled(inner, energy), _rescaled(inner_r, energy_r)
                row["by"][denoiser] = {
                    "inner": metrics.mean(inner),
                    "explained": metrics.mean(2 * inner - energy),
                    "explained_more": metrics.mean(2 * (inner - inner_r) - (energy - energy_r)),
                    "scale": metrics.jackknife(_scale(inner, energy), len(inner)),
                    "rescaled": metrics.jackknife(here, len(inner)),
                    "rescaled_more": metrics.jackknife(_difference(here, there), len(inner)),
                }
            rows.append(row)
        for (low, high), levels, snr in zip(pairwise(seen), pairwise(plan.levels), pairwise(log_snr)):
            lost = high[f"{name}/cross_entropy"] - low[f"{name}/cross_entropy"]
            energies = low[f"{name}/energy"] + high[f"{name}/energy"]
            pairs.append(
                {
                    "between": levels,
                    "information": metrics.mean(2 * lost / (snr[0] - snr[1])),
                    "energy": metrics.mean(energies / 2),
                }
            )
        found[name] = {"levels": rows, "between": pairs}
    return found


def run(
    plan: Matching, folder: Path | str, out: Path | str, *, runs: Path | str = "runs", progress: bool = True
) -> dict[str, Any]:
    """Measure, or what is left of it, and write the results.

    Args:
        folder: where each level's numbers are kept, image by image.
        out: the JSON file of the results.
        runs: where `rgd train` put models that are not published.

    Raises:
        CheckpointError: if a model cannot be had.
    """
    test = datasets.load(plan.data, "test").take(plan.images)
    models = {name: find(name, runs) for name in (*plan.denoisers, *plan.classifiers)}
    digests = {name: checkpoints.weights_digest(model.network) for name, model in models.items()}
    schedule, seen = models[plan.denoisers[0]].schedule, []
    assert schedule is not None
    for level in tqdm(plan.levels, "levels", unit="level", disable=not progress):
        path = Path(folder) / f"{checkpoints.content_key([level, digests, test.digest])}.safetensors"
        if not path.exists():
            checkpoints.write(path, measure(plan, level, models, test), provenance())
        seen.append(checkpoints.read(path)[0])
    log_snr = [float(torch.logit(schedule.alpha_bar[level])) for level in plan.levels]
    results = {
        "data": plan.data,
        "plan": asdict(plan),
        "made": {name: model.provenance for name, model in models.items()},
        "log_snr": log_snr,
        "classifiers": summary(plan, seen, log_snr),
        "provenance": provenance(),
    }
    written = json.dumps(results, indent=1, default=Estimate.to_json)
    checkpoints.write_atomic(Path(out), written.encode())
    return json.loads(written)
