"""The whole idea on one machine: train, disagree, guide, measure, report.

`run("digits", folder)` trains an unconditional DDPM, an independent judge, and three classifiers of one architecture:
clean (on images as they are), vanilla (on noised ones) and robust (on noised ones under attack). A `Study` looks at
their gradients, a `Comparison` at what they guide, from the same noise, over a few scales; a judge that guided nothing
scores. Out come `results.json` and `report.html`. What was done is kept, so that a run that was stopped goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rgd import measure
from rgd.checkpoints import Model, write_atomic
from rgd.data import Dataset
from rgd.guidance import grad_log_prob
from rgd.lab import bench, datasets, report
from rgd.lab.cells import Work
from rgd.lab.comparison import Comparison
from rgd.lab.demo_plan import CLASSIFIERS, plan
from rgd.lab.origin import provenance
from rgd.lab.recipe import train
from rgd.measure import gradients
from rgd.processes import best_device
from rgd.randomness import generator, noise
from rgd.schedule import Schedule

REFERENCE = 10_000  # training images that samples are compared with, the first ones


def run(
    name: str = "digits",
    folder: Path | str | None = None,
    *,
    effort: float = 1.0,
    seed: int = 0,
    samples: int = 400,
    progress: bool = True,
    size: int | None = None,
) -> Path:
    """Run the demo, or what is left of it, and return the path of its report.

    Args:
        name: what `rgd.data.load` takes: "digits", "mnist", "cifar10", or a folder of class folders.
        folder: where everything is kept; default `runs/demo-NAME`.
        effort: multiplies the training steps.
        seed: of everything.
        samples: images drawn for each guidance and scale.
        progress: whether to show progress bars.
        size: of the images of a folder.

    Raises:
        RgdError, ValueError, FileNotFoundError: with what was wrong and what to do.
    """
    name, load = str(name), cache(partial(datasets.load, size=size))
    training_data, test_data = load(name), load(name, "test")
    todo = plan(training_data, effort, seed, samples, len(test_data))
    folder = Path("runs") / f"demo-{training_data.name}" if folder is None else Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    models = {part: train(recipe, folder / part, training_data, progress) for part, recipe in todo.recipes.items()}
    networks = {kind: models[kind].use().to(best_device()) for kind in CLASSIFIERS}
    judge = models["judge"].use().to(best_device())
    options: dict[str, Any] = {"runs": folder, "progress": progress, "load": load}
    comparison = todo.comparison(name)
    studied = bench.run(todo.study(name), folder / "study.json", **options)
    compared = bench.run(comparison, folder / "comparison.json", **options)
    probes = test_data.take(todo.probes)
    length = todo.walk * distance_to_other_classes(probes, training_data)
    walks, walk_images = walk(networks, judge, probes, length, seed)
    results = {
        **about(training_data, test_data, models, comparison),
        "plan": {"effort": effort, "seed": seed, "samples": todo.samples, "steps": todo.steps, "probes": len(probes),
                 "walk": round(length, 1), "attack": todo.attack_in_words()},
        "judge_accuracy": measure.estimate("accuracy", measure.extract(test_data, judge, labels=test_data.labels)),
        "walk": walks,
        **told(studied, compared),
        "seconds": {**_training_seconds(models), "study": studied["seconds"], "compare": compared["seconds"]},
        "provenance": provenance(),
    }  # fmt: skip
    plain = json.loads(json.dumps(results, default=measure.Estimate.to_json))
    write_atomic(folder / "results.json", json.dumps(plain, indent=1).encode())
    work = Work(comparison, bench.Bench(comparison, folder / "comparison.json", **options))
    pictures = report.Pictures(
        images={(e.name, s): work.first((e, s), seed) / 127.5 - 1 for e in comparison.entries for s in e.scales},
        labels=work.labels(2 * len(training_data.classes)),
        gradients=gradient_pictures(networks, test_data, _schedule(models["vanilla"]), seed),
        walk=walk_images,
        logs={part: _log(folder / part) for part in todo.recipes},
    )
    return report.write(folder, plain, pictures)


def about(data: Dataset, test: Dataset, models: Mapping[str, Model], comparison: Comparison) -> dict[str, Any]:
    """What a demo is of."""
    return {
        "data": data.name,
        "classes": list(data.classes),
        "image_shape": list(data.shape),
        "training_images": len(data),
        "reference_images": min(len(data), comparison.reference),
        "test_images": len(test),
        "models": {
            part: {**model.provenance, "parameters": sum(p.numel() for p in model.network.parameters())}
            for part, model in models.items()
        },
    }


def told(studied: Mapping[str, Any], compared: Mapping[str, Any]) -> dict[str, Any]:
    """What the report tells of a study and a comparison."""

    def scores(cell: Mapping[str, Any]) -> dict[str, Any]:
        return {"fd_judge": cell["fd"], **{name: cell[name] for name in ("precision", "recall", "accuracy")}}

    rows = studied["classifiers"]
    by_level = [
        {"t": level[0]["t"]} | {
            kind: {"norm": row["norm"], "spectrum": row["spectrum"], "cosine": row.get("cosine_of_twins")}
            for kind, row in zip(rows, level)
        }
        for level in zip(*rows.values())
    ]  # fmt: skip
    accuracies = ("t", "accuracy", "accuracy_attacked")
    return {
        "real": scores(compared["real"]),
        "accuracy_by_t": {kind: [{name: row[name] for name in accuracies} for row in rows[kind]] for kind in rows},
        "gradients": by_level,
        "guidance": [{"guidance": c["name"], "scale": c["scale"], **scores(c)} for c in compared["sweep"]],
        "robust_minus": [
            {"minus": row["b"], "scale": row["scale"], "accuracy": row["accuracy"], "fd": row["fd"]}
            for row in compared["differences"]
        ],
    }


def _training_seconds(models: Mapping[str, Model]) -> dict[str, float]:
    return {f"train {part}": model.provenance["hours"] * 3600 for part, model in models.items()}


def _log(folder: Path) -> list[dict[str, float]]:
    path = folder / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _schedule(model: Model) -> Schedule:
    assert model.schedule is not None
    return model.schedule


def distance_to_other_classes(probes: Dataset, data: Dataset) -> float:
    """The median, over the probes, of the L2 distance to the nearest image of another class, in [-1, 1] units."""
    x, y = probes.x0().flatten(1), probes.labels
    nearest = torch.full((len(y),), torch.inf)
    for part in torch.arange(len(data)).split(5000):
        distance = torch.cdist(x, data.x0(part).flatten(1))
        distance[y[:, None] == data.labels[part]] = torch.inf
        nearest = nearest.minimum(distance.min(dim=1).values)
    return float(nearest.median())


def walk(
    networks: dict[str, Any], judge: nn.Module, probes: Dataset, length: float, seed: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Walk from each test image uphill towards another class, and ask the judge what it sees.

    The images are clean, at t = 0, the target a random other class. Returned: for each classifier the share that the
    judge, and the classifier itself, then take for the target; and pictures of the first image of each class.
    """
    device = best_device()
    x0, y = probes.x0().to(device), probes.labels.to(device)
    K = len(probes.classes)
    target = (y + torch.randint(1, K, (len(y),), generator=generator(seed, "target")).to(device)) % K
    t = torch.zeros_like(y)
    shares: dict[str, Any] = {}
    first = torch.stack([(y == k).nonzero()[0, 0] for k in y.unique()[:10]])
    pictures = {"start": x0[first].cpu(), "target": target[first].cpu()}
    for kind in CLASSIFIERS:
        moved = gradients.ascend(networks[kind], x0, t, target, length)
        with torch.no_grad():
            seen = {"judge": judge(moved), "itself": networks[kind](moved, t)}
        shares[kind] = {
            who: measure.proportion(int((logits.argmax(1) == target).sum()), len(y)) for who, logits in seen.items()
        }
        pictures[kind] = moved[first].cpu()
    return shares, pictures


def gradient_pictures(networks: dict[str, Any], data: Dataset, schedule: Schedule, seed: int) -> dict[str, Tensor]:
    """One test image at growing noise, and each classifier's gradient towards class 3 (or the last one)."""
    device = best_device()
    target = min(3, len(data.classes) - 1)
    index = int((data.labels != target).nonzero()[0, 0])
    levels = torch.tensor([0, 50, 100, 200, 300, 400], device=device)
    x0 = data.x0()[index : index + 1].expand(len(levels), -1, -1, -1).to(device)
    eps = noise((1, *data.shape), seed).to(device).expand_as(x0)
    xt = schedule.q_sample(x0, levels, eps)
    y = torch.full_like(levels, target)
    found = {kind: grad_log_prob(networks[kind])(xt, levels, y).cpu() for kind in CLASSIFIERS}
    return {"xt": xt.cpu(), "t": levels.cpu(), "target": torch.tensor(target), **found}
