"""What is found of tempered densities, in worlds and of images."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from rgd.attacks import log_prob
from rgd.experiments import tempering
from rgd.experiments.tempering import WORLDS, Tempering
from rgd.lab.bench import run
from rgd.lab.judge import JudgeConfig
from rgd.networks import EncoderConfig, UNetConfig, build
from rgd.randomness import generator
from rgd.schedule import linear
from rgd.training.checkpoints import Model

SHAPE: dict[str, Any] = dict(
    image_size=8, in_channels=1, model_channels=8, num_res_blocks=1, attention_resolutions=(), channel_mult=(1,)
)
PLAN = Tempering(
    "digits", "t/judge", "t/ddpm", ("t/a",), scales=(4.0,), walkers=(16, 64), draws=128, steps=25,
    learned=(0.0,), training=3, image_scales=(1.2,), image_walkers=4, image_steps=4, images=20, seeds=(0,),
    reference=100,
)  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    runs = tmp_path_factory.mktemp("runs")
    for name, config, denoising in (
        ("t/ddpm", UNetConfig(**SHAPE, out_channels=1), {"predicts": "eps", "variance": "large"}),
        ("t/a", EncoderConfig(**SHAPE, out_channels=10), {}),
        ("t/judge", JudgeConfig(image_size=8, in_channels=1, out_channels=10, width=8), {}),
    ):
        model = Model(build(config, 1), linear(), denoising, tuple("0123456789"))
        model.save(runs / name / "model.safetensors")
    return run(PLAN, runs / "out.json", store=runs / "store", runs=runs, progress=False)


def distance(found: dict[str, Any], **wanted: Any) -> float:
    (cell,) = [c for c in found["worlds"] if all(c.get(name) == value for name, value in wanted.items())]
    return float(cell["distance"]["value"])


def test_every_cell_is_there(found: dict[str, Any]) -> None:
    assert json.loads(json.dumps(found)) == found
    assert [{k: c[k] for k in c if k not in ("distance", "kept_as", "seal")} for c in found["worlds"]] == PLAN.cells()


def test_steered_walkers_are_nearer_than_guided_ones(found: dict[str, Any]) -> None:
    apart = {way: distance(found, world="line", guide="exact", way=way, walkers=64) for way in
             ("exact", "guided", "twisted, annealed", "feynman-kac, annealed")}  # fmt: skip
    assert apart["exact"] < apart["twisted, annealed"] < 0.25 < apart["guided"]
    assert apart["feynman-kac, annealed"] < 0.25


@pytest.mark.parametrize("world", WORLDS)
def test_draws_from_the_tempered_density_have_no_distance(world: str) -> None:
    mixture = tempering._world(world).mixture
    zero = torch.zeros(40_000, dtype=torch.int64)
    drawn, _ = mixture.sample(len(zero), generator(7), zero)
    kept = drawn[torch.rand(len(drawn), generator=generator(8)).log() < 3 * log_prob(mixture.logits(drawn, zero), zero)]
    assert tempering._distance(tempering._world(world), 4.0, kept) < 0.02
    assert tempering._distance(tempering._world(world), 4.0, mixture.means[:1].expand(100, -1, -1, -1)) > 0.3


def test_images_are_scored(found: dict[str, Any]) -> None:
    (guide,) = found["images"]
    ways = [(row["way"], row["scale"]) for row in guide["ways"]]
    assert ways == [("guided", 1), ("accepted", 1.2), ("guided", 1.2), ("steered", 1), ("steered", 1.2)]
    assert all(row["fd"]["value"] > 0 and 0 <= row["certain"]["value"] <= 1 for row in guide["ways"])
    assert guide["ways"][3]["images"] == 20
    assert 1 <= guide["ways"][3]["ess"] <= 4


def test_what_is_kept_of_real_images(found: dict[str, Any]) -> None:
    kept = {row["scale"]: row["kept"]["value"] for row in found["real"]["scales"]}
    assert set(kept) == {1.2, 4.0}
    assert 0 < kept[4.0] < kept[1.2] < 1


def test_a_plan_in_minutes_is_whole() -> None:
    small = replace(PLAN, scales=(2.0, 4.0)).small()
    assert {(c["way"], c["world"]) for c in small.cells()} == {(c["way"], c["world"]) for c in PLAN.cells()}
