"""What are the gradients of trained classifiers like, noise level by noise level?

A `Study` names classifiers, and for some of them a twin: the same recipe with another seed. `run` measures on held-out
images how often each is right, clean and attacked, and how well it knows that; how long its gradient is, whether
training again gives the same one, whether it stays the same nearby, what its spectrum is; and whether a judge can read
where it leads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from rgd import checkpoints
from rgd import measure as metrics
from rgd.attacks import PGD
from rgd.checkpoints import Model
from rgd.data import Dataset
from rgd.errors import CheckpointError
from rgd.guidance import grad_log_prob
from rgd.lab import datasets
from rgd.lab.comparison import find
from rgd.lab.recipe import provenance
from rgd.measure import Estimate, gradients
from rgd.objectives import PAPER_ATTACK
from rgd.processes import processes
from rgd.randomness import generator, noise


@dataclass(frozen=True)
class Study:
    """What to measure, and on what.

    Attributes:
        data: the data set; its held-out images are used.
        judge, denoiser: models' names, see `rgd.comparison.find`.
        classifiers: pairs of a name and the name of its twin, or None.
        levels: times t.
        images: how many, the first ones.
        attack: on xt.
        change: L2 distance, in a random direction, at which a gradient is asked again.
        move: L2 length of a walk uphill towards another class.
    """

    data: str
    judge: str
    denoiser: str
    classifiers: tuple[tuple[str, str | None], ...]
    levels: tuple[int, ...] = (0, 25, 50, 100, 200, 300, 400, 600)
    images: int = 1000
    attack: PGD = PAPER_ATTACK
    change: float = 4.0
    move: float = 6.0


def measure(
    study: Study, name: str, twin: str | None, models: Mapping[str, Model], test: Dataset
) -> list[dict[str, Any]]:
    """One classifier, a row for each level; `models` holds those that the study names."""
    device = processes().device
    model = models[name]
    classifier: Any = model.network
    other: Any = None if twin is None else models[twin].network
    judge: Any = models[study.judge].network
    denoise: Any = models[study.denoiser].use()
    assert model.schedule is not None
    x0, y = test.x0().to(device), test.labels.to(device)
    eps = noise(x0.shape, seed=0).to(device)
    K = len(test.classes)
    target = (y + torch.randint(1, K, y.shape, generator=generator(0, "target")).to(device)) % K
    accuracies = metrics.accuracy_by_t(classifier, x0, y, model.schedule, study.levels, attack=study.attack)
    rows = []
    for accuracy in accuracies:
        t = torch.full_like(y, accuracy["t"])
        xt = model.schedule.q_sample(x0, t, eps)
        random = generator(0, "change", accuracy["t"])
        found: dict[str, list[Tensor]] = {}
        for i in torch.arange(len(y), device=device).split(250):
            where = xt[i], t[i], y[i]
            walked = gradients.ascend(classifier, xt[i], t[i], target[i], study.move)
            with torch.no_grad():
                logits = classifier(xt[i], t[i])
                read = judge(denoise(walked, t[i]).x0).argmax(1) == target[i]
                before = judge(denoise(xt[i], t[i]).x0).argmax(1) == target[i]
            parts = {
                "logits": logits,
                "gradient": grad_log_prob(classifier)(*where),
                "steady": gradients.steadiness(classifier, *where, study.change, random),
                "read": read,
                "before": before,
            }
            if other is not None:
                parts["twins"] = gradients.cosine(classifier, other, *where)
            for key, value in parts.items():
                found.setdefault(key, []).append(value)
        whole = {key: torch.cat(values) for key, values in found.items()}
        row: dict[str, Any] = {
            "t": accuracy["t"],
            "accuracy": accuracy["accuracy"],
            "accuracy_attacked": accuracy["accuracy_attacked"],
            "calibration_error": metrics.calibration_error(whole["logits"], y),
            "norm": metrics.mean(whole["gradient"].flatten(1).norm(dim=1)),
            "steadiness": metrics.mean(whole["steady"]),
            "spectrum": gradients.spectrum(whole["gradient"]).tolist(),
            "read_by_judge": metrics.proportion(int(whole["read"].sum()), len(y)),
            "read_without_walk": metrics.proportion(int(whole["before"].sum()), len(y)),
        }
        if other is not None:
            row["cosine_of_twins"] = metrics.mean(whole["twins"])
        rows.append(row)
    return rows


def recall(
    study: Study, earlier: Mapping[str, Any], models: Mapping[str, Model], digest: str
) -> dict[str, list[dict[str, Any]]]:
    """The rows of an earlier file of results that would be the same here, by classifier.

    `models` are those that can be had; one that is not published may be missing and is then taken for what it was.
    `digest` is that of the images; older files do not know theirs.
    """
    made, was = earlier["made"], {**earlier["plan"], "classifiers": None}

    def same(name: str) -> bool:
        return name in made and (name not in models or made[name] == models[name].provenance)

    unchanged = was == json.loads(json.dumps(_settings(study))) and earlier.get("data_digest", digest) == digest
    if not (unchanged and same(study.judge) and same(study.denoiser)):
        return {}
    return {
        name: earlier["classifiers"][name]
        for name, twin in study.classifiers
        if [name, twin] in earlier["plan"]["classifiers"] and same(name) and (twin is None or same(twin))
    }


def _settings(study: Study) -> dict[str, Any]:
    """All of a study but the classifiers, for JSON."""
    return {**asdict(study), "attack": repr(study.attack), "classifiers": None}


def run(
    study: Study, folder: Path | str, out: Path | str, *, runs: Path | str = "runs", progress: bool = True
) -> dict[str, Any]:
    """Run a study, or what is left of it, and write its results.

    Args:
        folder: where each classifier's rows are kept.
        out: the JSON file of the results. If it is there already, what it says of the same models is taken over, and
            where that came from is kept as `before`; name another file to have all measured anew.
        runs: where `rgd train` put models that are not published.

    Raises:
        CheckpointError: if a model cannot be had that there are no rows of.
    """
    out, test = Path(out), datasets.load(study.data, "test").take(study.images)
    models = {name: find(name, runs) for name in (study.judge, study.denoiser)}
    named = {name for pair in study.classifiers for name in pair if name is not None}
    for name in named:  # what there are rows of need not be had
        with suppress(CheckpointError):
            models[name] = find(name, runs)
    earlier = json.loads(out.read_text()) if out.exists() else None
    rows = {} if earlier is None else recall(study, earlier, models, test.digest)
    made = {name: model.provenance for name, model in models.items()}
    before = []
    if earlier is not None and rows:
        made |= {name: earlier["made"][name] for name in named - models.keys() if name in earlier["made"]}
        before = [*earlier.get("before", ()), earlier["provenance"]]
    wanted = {n for pair in study.classifiers if pair[0] not in rows for n in pair if n is not None}
    for missing in wanted - models.keys():
        find(missing, runs)  # raises, before anything is measured
    for name, twin in tqdm(study.classifiers, "classifiers", unit="classifier", disable=not progress):
        if name not in rows:
            used = [name, study.judge, study.denoiser, *([] if twin is None else [twin])]
            digests = [checkpoints.weights_digest(models[n].network) for n in used]
            rows[name] = checkpoints.cached(
                Path(folder), [_settings(study), digests, test.digest],
                partial(measure, study, name, twin, models, test), Estimate.to_json,
            )  # fmt: skip
    results = {
        "data": study.data,
        "data_digest": test.digest,
        "plan": {**_settings(study), "classifiers": study.classifiers},
        "made": dict(sorted(made.items())),
        "classifiers": {name: rows[name] for name, _ in study.classifiers},
        "provenance": provenance(),
        "before": before,
    }
    checkpoints.write_atomic(out, json.dumps(results, indent=1).encode())
    return results
