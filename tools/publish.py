"""Publish trained models: half-precision files in `weights/`, their hashes in `rgd/lab/zoo.json`, and what is known of
them in `results/models.json`, from which the model cards are written.

`python -m tools.publish mnist/judge mnist/robust` takes `runs/NAME/model.safetensors`, which `rgd train` wrote, or
`python -m tools.parts`. Each model is measured on held-out images twice, as trained and as rounded to half precision;
the rounded one is published only if its answers are the same within the tolerance below.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor
from tqdm import tqdm

from rgd import checkpoints
from rgd import measure as metrics
from rgd.data import Dataset
from rgd.lab import datasets
from rgd.lab.judge import Judge
from rgd.lab.origin import provenance
from rgd.processes import best_device
from rgd.randomness import noise
from rgd.training.checkpoints import Model
from rgd.training.objectives import PAPER_ATTACK
from tools.parts import PARTS

ROOT = Path(__file__).resolve().parent.parent
LEVELS = (0, 50, 100, 200, 300, 400, 600, 800)
SAME = 1e-3  # the largest share of changed verdicts, and relative change of a denoiser's error


def levels(model: Model) -> tuple[int, ...]:
    """The times at which a model is asked; one that knows none, once."""
    if model.schedule is None:
        return (0,)
    return LEVELS if model.schedule.T == 1000 else tuple(model.schedule.timesteps.tolist())


def answers(model: Model, test: Dataset) -> Tensor:
    """What must not change when weights are rounded: verdicts (classifiers), or squared errors by level (denoisers), of
    what comes back (autoencoders); or all that there is (tables)."""
    if model.role == "table":
        return model.network.values.flatten().cpu()[None]
    x0, y = test.x0().to(best_device()), test.labels.to(best_device())
    eps = noise(x0.shape, seed=0).to(x0)
    rows = []
    with torch.inference_mode():
        for level in levels(model):
            t = torch.full_like(y, level)
            parts = []
            for i in torch.arange(len(y), device=y.device).split(500):
                if model.role == "autoencoder":
                    again = model.network.decode(model.network.encode(x0[i]))
                    parts.append((again - x0[i]).square().flatten(1).mean(1))
                    continue
                if isinstance(model.network, Judge):
                    parts.append(model.network(x0[i]).argmax(1))
                    continue
                assert model.schedule is not None
                xt = model.schedule.q_sample(x0[i], t[i], eps[i])
                if model.role == "denoiser":
                    labels = y[i] if model.network.config.num_classes else None
                    # Of the network's own answer: cutting x0 to the pixel range would flatter it where noise is strong.
                    eps_hat = replace(model.use(), clip=False)(xt, t[i], labels).eps  # type: ignore[call-arg, type-var]
                    parts.append((eps_hat - eps[i]).square().flatten(1).mean(1))
                else:
                    parts.append(model.network(xt, t[i]).argmax(1))
            rows.append(torch.cat(parts))
    return torch.stack(rows).cpu()


def change(model: Model, before: Tensor, after: Tensor) -> float:
    """The share of verdicts that differ, or the largest relative change of a level's error, or that of a table."""
    if model.role == "table":
        return float((after - before).norm() / before.norm())
    if model.role in ("denoiser", "autoencoder"):
        return float((after.mean(1) / before.mean(1) - 1).abs().max())
    return float((before != after).double().mean())


def measure(model: Model, test: Dataset, found: Tensor) -> dict[str, Any]:
    """What the card says of the model's quality, on held-out images; of a student, what was seen in its samples."""
    if "samples" in model.provenance:
        return {"samples": model.provenance["samples"]}
    if model.role == "autoencoder":
        return {"squared_error": float(found.mean())}
    if model.role == "denoiser":
        return {"squared_error": {level: float(row.mean()) for level, row in zip(LEVELS, found)}}
    right = (found == test.labels).sum(1).tolist()
    if isinstance(model.network, Judge):
        return {"accuracy": metrics.proportion(right[0], len(test)).to_json()}
    assert model.schedule is not None
    few, device = test.take(500), best_device()
    attacked = metrics.accuracy_by_t(
        model.network, few.x0().to(device), few.labels.to(device), model.schedule, LEVELS, attack=PAPER_ATTACK
    )
    return {
        "accuracy": {level: metrics.proportion(n, len(test)).to_json() for level, n in zip(LEVELS, right)},
        "accuracy_attacked": {row["t"]: row["accuracy_attacked"].to_json() for row in attacked},
    }


def publish(name: str, source: Path) -> dict[str, Any]:
    """Write one model's file and return its record."""
    model = checkpoints.load(source, best_device())
    if (model.provenance["commit"] or "+").endswith("+"):
        print(f"{name} was trained from a tree with changes that no commit holds: its card will say so")
    if name in PARTS:
        test = PARTS[name].test()
    else:
        test = datasets.load_again(model.provenance, model.classes, size=model.network.config.image_size)
    if model.role == "denoiser":
        test = test.take(2000)  # enough for a mean over pixels
    exact = answers(model, test)
    target = ROOT / "weights" / f"{name}.safetensors"
    model.save(target, torch.float16)
    changed = change(model, exact, answers(checkpoints.load(target, best_device()), test))
    if changed > SAME:
        model.save(target)
    return {
        "kind": model.role,
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        "bytes": target.stat().st_size,
        "parameters": sum(p.numel() for p in model.network.parameters()),
        "precision": "float32" if changed > SAME else "float16",
        "changed_by_rounding": changed,
        "test_images": len(test),
        **measure(model, test, exact),
        "made": model.provenance,
    }


def main(
    names: Annotated[tuple[str, ...], tyro.conf.Positional],
    runs: Path = Path("runs"),
) -> None:
    """Publish models.

    Args:
        names: such as mnist/robust; the recipe's name.
        runs: where `rgd train` or `tools.parts` put them.
    """
    registry, records = ROOT / "rgd" / "lab" / "zoo.json", ROOT / "results" / "models.json"
    known = json.loads(registry.read_text())
    cards = json.loads(records.read_text())["models"] if records.exists() else {}
    for name in tqdm(names, "publishing", unit="model"):
        cards[name] = publish(name, runs / name / "model.safetensors")
        known[name] = {"sha256": cards[name]["sha256"]}
        registry.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
        record = {"models": dict(sorted(cards.items())), "provenance": provenance()}
        records.write_text(json.dumps(record, indent=1) + "\n")
        print(
            f"{name}: {cards[name]['bytes'] / 1e6:.1f} MB, changed by rounding {cards[name]['changed_by_rounding']:.1e}"
        )


if __name__ == "__main__":
    tyro.cli(main)
