"""The truth about gradients: the exact classifier scores perfectly in every world, and a wrong one does not."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from rgd.attacks import L2, NoiseRadius
from rgd.experiments import truth
from rgd.experiments.truth import WORLDS, Truth, energy_distance, objective, score
from rgd.identity import key
from rgd.lab.bench import run
from rgd.measure import gradients
from rgd.randomness import generator
from rgd.schedule import linear
from rgd.training.objectives import NoisyCrossEntropy, RobustCrossEntropy

SMALL = Truth(
    worlds=("plane",), radii=(0.0, 0.5), draws=(300,), seeds=(0,), steps=5, levels=(0, 200), points=60, samples=30
)
SCHEDULE = linear(1000)


@pytest.mark.parametrize("name", WORLDS)
def test_the_exact_classifier_is_beyond_reproach(name: str) -> None:
    world = WORLDS[name](SCHEDULE)
    K = world.mixture.num_classes
    found = score(world, world.mixture.classifier, replace(SMALL, points=200, samples=60 * K))
    for row in found["levels"]:
        assert row["accuracy"] == row["bayes_accuracy"]
        for way in ("own", "other"):
            assert row[f"cosine_{way}"].low > 1 - 1e-4
            assert row[f"error_{way}"] < 1e-4
            assert row[f"length_{way}"] == pytest.approx(1, abs=1e-4)
    assert found["levels"][0]["bayes_accuracy"].value > 0.9
    assert found["guided_right"].value > 0.9
    assert found["walks_read_by_bayes"].value > 0.8
    # Two fresh samples of 60 from one law differ by 0 on average; the classes differ by far more.
    x, y = world.mixture.sample(60 * K, generator(1))
    apart = energy_distance(x[y == 0].flatten(1), x[y == 1].flatten(1))
    assert abs(found["guided_energy_distance"]) < 0.15 * apart


@pytest.mark.parametrize("name", WORLDS)
def test_a_classifier_with_the_classes_exchanged_is_wrong_everywhere(name: str) -> None:
    world = WORLDS[name](SCHEDULE)
    K = world.mixture.num_classes

    def exchanged(xt: Tensor, t: Tensor) -> Tensor:
        return world.mixture.logits(xt, t).roll(1, dims=1)

    found = score(world, exchanged, replace(SMALL, points=200, samples=10 * K))
    assert found["levels"][0]["accuracy"].value < 0.1
    assert found["levels"][0]["cosine_own"].high < 0.7
    assert found["guided_right"].value < 0.2


def test_the_world_of_digits_is_like_the_digits() -> None:
    world = WORLDS["digits"](SCHEDULE)
    x0, y = world.mixture.sample(2000, generator(0))
    from rgd.data import load

    real = load("digits")
    for k in range(10):
        mine, theirs = x0[y == k].flatten(1), real.x0(real.labels == k).flatten(1)
        assert (mine.mean(0) - theirs.mean(0)).abs().max() < 0.25
        assert mine.var(0).sum() == pytest.approx(float(theirs.var(0).sum()), rel=0.15)
    # and its exact classifier reads real held-out digits it never saw
    test = load("digits", "test")
    verdict = world.mixture.logits(test.x0(), torch.zeros_like(test.labels)).argmax(1)
    assert (verdict == test.labels).double().mean() > 0.9


def test_energy_distance_is_scipys_without_its_bias() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=40), random.normal(1.0, 2.0, size=70)
    x, y = (torch.from_numpy(v)[:, None] for v in (a, b))
    squared = scipy.stats.energy_distance(a, b) ** 2
    within = sum(float(torch.cdist(v, v).sum()) * (1 / (n * (n - 1)) - 1 / n**2) for v, n in ((x, 40), (y, 70)))
    assert energy_distance(x, y) == pytest.approx(squared - within)


def test_objectives_are_what_their_radii_say() -> None:
    assert objective(0.0, SCHEDULE, 2.0) == NoisyCrossEntropy()
    fixed = objective(0.25, SCHEDULE, 2.0)
    assert isinstance(fixed, RobustCrossEntropy)
    assert fixed.attack.threat == L2(0.25)  # type: ignore[attr-defined]
    t = torch.tensor([0, 300, 999])
    noise = (1 - SCHEDULE.alpha_bar[t]).sqrt().float()
    for name, expected in (("growing", 2 * noise), ("shrinking", 2 - 2 * noise)):
        radius = objective(name, SCHEDULE, 2.0).attack.threat.radius  # type: ignore[attr-defined]
        assert isinstance(radius, NoiseRadius)
        torch.testing.assert_close(radius(t), expected)


def test_a_run_is_kept_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    results = run(SMALL, tmp_path / "out.json", store=tmp_path, progress=False)
    rows = results["classifiers"]
    assert [(row["world"], row["radius"]) for row in rows] == [("plane", 0.0), ("plane", 0.5)]
    assert rows[0]["levels"][0]["cosine_own"] != rows[1]["levels"][0]["cosine_own"]
    assert json.loads((tmp_path / "out.json").read_text())["classifiers"] == rows
    with monkeypatch.context() as patch:
        patch.setattr("os.cpu_count", lambda: 2)
        shared = run(SMALL, tmp_path / "shared.json", store=tmp_path / "shared", progress=False)["classifiers"]
    for mine, theirs in zip(rows, shared):
        assert mine["levels"][0]["cosine_own"]["value"] == pytest.approx(theirs["levels"][0]["cosine_own"]["value"])
    calls = []
    real = truth.train_and_score

    def counted(*args: Any) -> dict[str, Any]:
        calls.append(args[0])
        return real(*args)

    monkeypatch.setattr(truth, "train_and_score", counted)
    more = replace(SMALL, radii=(0.0, 0.5, "growing"))
    run(more, tmp_path / "out.json", store=tmp_path, progress=False)
    assert calls == [{"world": "plane", "radius": "growing", "draws": 300, "seed": 0}]
    run(replace(more, steps=6), tmp_path / "out.json", store=tmp_path, progress=False)
    assert len(calls) == 4


def test_more_training_comes_nearer_to_the_truth() -> None:
    """In the plane the mean cosine was 0.95 after 400 steps when this was written."""
    cell = {"world": "plane", "radius": 0.0, "draws": 5000, "seed": 0}
    trained = [truth.train_and_score(cell, replace(SMALL, steps=n, points=300)) for n in (1, 400)]
    cosines = [found["levels"][1]["cosine_own"] for found in trained]
    assert cosines[1].value > 0.8
    assert cosines[1].low > cosines[0].high


def test_steadiness_is_one_for_a_linear_classifier_and_falls_for_a_wild_one() -> None:
    w = torch.randn(3, 16, generator=generator(0), dtype=torch.float64)
    xt = torch.randn(50, 1, 4, 4, generator=generator(1), dtype=torch.float64)
    t, y = torch.zeros(50, dtype=torch.int64), torch.zeros(50, dtype=torch.int64)

    def two(x: Tensor, t: Tensor) -> Tensor:  # with two classes the gradient of a linear classifier keeps its direction
        return x.flatten(1) @ w[:2].T

    def wild(x: Tensor, t: Tensor) -> Tensor:
        return torch.stack([(40 * x.flatten(1)).sin().sum(1), torch.zeros(len(x), dtype=x.dtype)], dim=1)

    for classifier, low, high in ((two, 1 - 1e-9, math.inf), (wild, -0.3, 0.3)):
        cosine = gradients.steadiness(classifier, xt, t, y, 0.5, generator(2))
        assert low <= float(cosine.mean()) <= high
    assert gradients.steadiness(wild, xt, t, y, 1e-4, generator(2)).min() > 0.99


def test_a_world_is_known_by_its_law_and_not_by_what_the_machine_made_of_it() -> None:
    """Eigenvectors have any sign, and sums differ in the last bits; what changes the law itself is another world."""
    world = truth.digits(linear(1000)).mixture
    assert world.axes is not None
    same = replace(world, axes=-world.axes), replace(world, means=world.means + 1e-12)
    other = (
        replace(world, means=world.means + 1e-2), replace(world, variances=1.01 * world.variances),
        replace(world, log_weights=world.log_weights.roll(1)), replace(world, labels=world.labels.flip(0)),
        replace(world, schedule=linear(500)),
    )  # fmt: skip
    assert {key(truth.law(mixture)) for mixture in same} == {key(truth.law(world))}
    assert len({key(truth.law(mixture)) for mixture in (world, *other)}) == 1 + len(other)
