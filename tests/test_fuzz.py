"""Short runs of the fuzzing of files and of the soak, with other numbers than the long ones."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
import torch

from rgd.errors import CheckpointError
from rgd.training import checkpoints
from rgd.training.checkpoints import Model
from tools import fuzz, soak

pytestmark = pytest.mark.check


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", fuzz.KINDS)
def test_a_mutated_file_is_read_or_refused_by_name(name: str, tmp_path: Path) -> None:
    told: list[str] = []
    found = fuzz.run(name, 120, 1_000_000, tmp_path, told.append)
    assert told == []
    assert sum(found.values()) == 120
    assert 120 - found["read"] > 30, "most mutations should be noticed"


def test_another_error_would_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Counter[str]()

    def read(path: Path) -> None:
        calls["read"] += 1
        if calls["read"] > 1:
            raise KeyError("as a raw error of a careless reader")

    monkeypatch.setitem(fuzz.KINDS, "weights.pt", fuzz.Kind(fuzz.make_weights, read))
    told: list[str] = []
    assert fuzz.run("weights.pt", 3, 0, tmp_path, told.append) == {"other": 3}
    assert len(told) == 3
    assert told[0].startswith("weights.pt 0: KeyError")


def test_a_file_that_describes_more_than_it_holds_costs_nothing(tmp_path: Path) -> None:
    fuzz.make_model(path := tmp_path / "model.safetensors")
    tensors, about = checkpoints.read(path)
    for name, value in {"num_res_blocks": 10**9, "model_channels": 10**6, "channel_mult": [1] * 10**5}.items():
        checkpoints.write(path, tensors, {**about, "config": {**about["config"], name: value}})
        with pytest.raises(CheckpointError):
            checkpoints.load(path)


def test_mutations_are_what_their_number_says() -> None:
    content = bytes(range(256)) * 4
    once, again, other = (fuzz.mutated(content, random.Random(n)) for n in (1, 1, 2))
    assert once == again != other
    assert all(fuzz.mutated(content, random.Random(n)) != content for n in range(50))


def test_a_good_file_is_read(tmp_path: Path) -> None:
    fuzz.make_model(path := tmp_path / "model.safetensors")
    model = checkpoints.load(path)
    assert isinstance(model, Model)
    assert torch.equal(model.schedule.alpha_bar, fuzz.SCHEDULE.alpha_bar)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["training", "an experiment"])
def test_a_run_that_is_killed_three_times_ends_as_an_undisturbed_one(name: str, tmp_path: Path) -> None:
    row = soak.soak(name, 3, 1, tmp_path)
    assert row["kills"] == 3
    assert row["ends"] >= 1
    assert row["differ"] == []
    assert row["bytes"]["largest"] < 2 * row["bytes"]["undisturbed"]
