"""The whole idea on one machine: train, disagree, guide, measure, report.

`run("digits", folder)` trains an unconditional DDPM, an independent judge, and three classifiers of one architecture:
clean (on images as they are), vanilla (on noised ones) and robust (on noised ones under attack). A `Study` looks at
their gradients, a `Comparison` at what they guide, from the same noise, over a few scales; a judge that guided nothing
scores. Out come `results.json`, which says what those two found as they say it, and `report.html`. What was done is
kept, so that a run that was stopped goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rgd import measure
from rgd.data import Dataset
from rgd.demo import report
from rgd.demo.plans import CLASSIFIERS, Plan, plan
from rgd.experiments.cells import Work, best_cells
from rgd.lab import bench, datasets
from rgd.lab.folders import SPLITS
from rgd.lab.origin import provenance
from rgd.lab.recipe import train
from rgd.measure import gradients
from rgd.processes import processes
from rgd.randomness import generator
from rgd.training.checkpoints import Model, write_atomic

LEVELS = (0, 50, 100, 200, 300, 400)  # times t of the picture of gradients


def run(
    name: str = "digits", folder: Path | str | None = None, *, effort: float = 1.0, seed: int = 0, samples: int = 400,
    progress: bool = True, size: int | None = None,
) -> Path:  # fmt: skip
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
    data = {split: datasets.load(name, split, size=size) for split in SPLITS}
    train_data, test = data["train"], data["test"]
    todo = plan(train_data, effort, seed, samples, len(test))
    folder = Path("runs") / f"demo-{train_data.name}" if folder is None else Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    models = {part: train(recipe, folder / part, train_data, progress) for part, recipe in todo.recipes.items()}
    classifiers, judge = {kind: models[kind].network for kind in CLASSIFIERS}, models["judge"].network
    target = min(3, len(test.classes) - 1)
    options: dict[str, Any] = {"runs": folder, "progress": progress, "load": lambda name, split: data[split]}
    studied = bench.run(todo.study, folder / "study.json", **options)
    compared = bench.run(todo.comparison, folder / "comparison.json", **options)
    probes = test.take(todo.study.images)
    length = todo.walk * distance_to_other_classes(probes, train_data)
    walks, walk_images = walk(classifiers, judge, probes, length, seed)
    results = {
        **about(train_data, test, models),
        "plan": {**settings(todo, effort, length, test.classes[target]), "probes": len(probes)},
        "walk": walks,
        "classifiers": studied["classifiers"],
        **{part: compared[part] for part in ("real", "sweep", "differences")},
        "seconds": {**{f"train {part}": model.provenance["hours"] * 3600 for part, model in models.items()},
                    "study": studied["seconds"], "compare": compared["seconds"]},
    }  # fmt: skip
    plain = json.loads(json.dumps(results, default=measure.Estimate.to_json))
    write_atomic(folder / "results.json", json.dumps(plain, indent=1).encode())
    work = Work(todo.comparison, bench.Bench(todo.comparison, folder / "comparison.json", **options))
    unguided, *guided = plain["sweep"]
    shown = [(cell["name"], cell["scale"]) for cell in (unguided, *best_cells(guided).values())]
    drawn = {name: work.first((work.entries[name], scale), seed) / 127.5 - 1 for name, scale in shown}
    other = test.subset(test.labels != target).x0(slice(1)).to(processes().device)
    named = {f"{kind} gradient": classifier for kind, classifier in classifiers.items()}
    table = report.gradients_figure(named, other, models["vanilla"].schedule, LEVELS, target, seed)
    labels, logs = torch.arange(len(test.classes)).repeat(2), {part: _log(folder / part) for part in todo.recipes}
    return report.write(folder, plain, report.Pictures(drawn, labels, table, walk_images, logs))


def settings(todo: Plan, effort: float, length: float, target: str) -> dict[str, Any]:
    """How it was done; `target` is the class that the picture of gradients points to."""
    compared, attack = todo.comparison, todo.study.attack
    return {"effort": effort, "seed": compared.seed, "samples": compared.samples, "steps": compared.steps,
            "walk": round(length, 1), "target": target,
            "attack": f"PGD-{attack.steps} (L2, radius {attack.threat.radius:g})"}  # fmt: skip


def about(data: Dataset, test: Dataset, models: Mapping[str, Model]) -> dict[str, Any]:
    """What a demo is of, and where it ran."""
    judged = measure.extract(test, models["judge"].network, labels=test.labels)
    return {
        "data": data.name,
        "classes": list(data.classes),
        "image_shape": list(data.shape),
        "training_images": len(data),
        "test_images": len(test),
        "models": {
            part: {**model.provenance, "parameters": sum(p.numel() for p in model.network.parameters())}
            for part, model in models.items()
        },
        "judge_accuracy": measure.estimate("accuracy", judged),
        "provenance": provenance(),
    }


def _log(folder: Path) -> list[dict[str, float]]:
    path = folder / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


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
    classifiers: Mapping[str, Any], judge: nn.Module, probes: Dataset, length: float, seed: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Walk from each test image uphill towards another class, and ask the judge what it sees.

    The images are clean, at t = 0, the target a random other class. Returned: for each classifier the share that the
    judge, and the classifier itself, then take for the target; and pictures of the first image of each class.
    """
    data = probes.to(processes().device)
    x0, y, K = data.x0(), data.labels, len(data.classes)
    target = (y + torch.randint(1, K, y.shape, generator=generator(seed, "target")).to(y.device)) % K
    t = torch.zeros_like(y)
    shares: dict[str, Any] = {}
    first = torch.stack([(y == k).nonzero()[0, 0] for k in y.unique()[:10]])
    pictures = {"start": x0[first], "target": target[first]}
    for kind, classifier in classifiers.items():
        moved = gradients.ascend(classifier, x0, t, target, length)
        with torch.no_grad():
            seen = {"judge": judge(moved), "itself": classifier(moved, t)}
        shares[kind] = {who: measure.share(logits.argmax(1) == target) for who, logits in seen.items()}
        pictures[kind] = moved[first]
    return shares, pictures
