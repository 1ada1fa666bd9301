"""The store: computed once, found again, checked, whole or not at all, and never asked for more than it may do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rgd import checkpoints
from rgd.attacks import L2, PGD
from rgd.errors import CheckpointError, IdentityError
from rgd.lab.store import Kept, Store, Unknown, sealed


def counting(values: Any = None, **tensors: torch.Tensor) -> tuple[list[int], Any]:
    calls: list[int] = []

    def compute() -> Kept:
        calls.append(1)
        return Kept(values, tensors)

    return calls, compute


def test_what_is_there_is_not_computed_again_by_another_store_of_the_same_folder(tmp_path: Path) -> None:
    calls, compute = counting({"a": 1.5, "b": None}, x=torch.arange(3.0))
    parts = {"attack": PGD(L2(0.5)), "seed": 3}
    for _ in range(2):
        found = Store(tmp_path).once(compute, "rows", **parts)
        assert found.values == {"a": 1.5, "b": None}
        assert torch.equal(found.tensors["x"], torch.arange(3.0))
        assert {"date", "commit", "device"} <= set(found.origin)
    Store(tmp_path).once(compute, "rows", attack=PGD(L2(1.0)), seed=3)
    Store(tmp_path).once(compute, "others", **parts)
    assert len(calls) == 3
    about = checkpoints.read_metadata(tmp_path / f"{Store(tmp_path).name('rows', **parts)}.safetensors")
    assert about["of"]["map"][0] == ["attack", {"is": "rgd:PGD", "threat": {"is": "rgd:L2", "radius": 0.5}, "steps": 7,
                                               "step": None, "random_start": False, "early_stop": True}]  # fmt: skip


def test_a_store_that_may_not_compute_says_what_is_missing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    calls, compute = counting(1)
    wanted = [("rows", {"seed": seed}) for seed in range(3)]
    store.once(compute, "rows", seed=1)
    assert store.missing(wanted) == [wanted[0], wanted[2]]
    with store.as_it_is():
        assert store.once(compute, "rows", seed=1).values == 1
        with pytest.raises(Unknown):
            store.once(compute, "rows", seed=0)
    store.once(compute, "rows", seed=0)
    assert len(calls) == 2


def test_what_cannot_tell_what_it_is_is_refused_before_it_is_computed(tmp_path: Path) -> None:
    calls, compute = counting(1)
    with pytest.raises(IdentityError, match="closure"):
        Store(tmp_path).once(compute, "rows", attack=PGD(L2(lambda t: tmp_path)))  # type: ignore[arg-type, return-value]
    assert calls == []


def test_a_damaged_entry_is_an_error_and_not_an_answer(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(Kept(1, {"x": torch.zeros(100)}), "rows", seed=1)
    path = tmp_path / f"{store.name('rows', seed=1)}.safetensors"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match="damaged"):
        store.get("rows", seed=1)


def test_a_computation_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fails() -> Kept:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path).once(fails, "rows", seed=1)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_cells_of_a_file_of_results_are_taken_over_with_where_they_came_from(tmp_path: Path) -> None:
    store = Store(tmp_path / "here")
    cell = store.once(lambda: Kept({"fd": 2.5}), "scores", seed=1).cell(name="a", scale=2.0)
    results = sealed(json.loads(json.dumps({"rows": [{"deep": [cell]}], "plan": {"kept": 1}})))
    elsewhere = Store(tmp_path / "elsewhere")
    elsewhere.absorb(results, {"date": "2026-01-01", "commit": "c"})
    calls, compute = counting(1)
    found = elsewhere.once(compute, "scores", seed=1)
    assert (found.cell(name="b", scale=2.0), calls) == ({**cell, "name": "b"}, [])
    assert elsewhere.used == [{"date": "2026-01-01", "commit": "c"}]


def test_a_cell_that_was_changed_by_hand_is_not_believed(tmp_path: Path) -> None:
    cell = Store(tmp_path / "here").once(lambda: Kept({"fd": {"value": 2.5, "n": 3}}), "scores", seed=1).cell()
    elsewhere = Store(tmp_path / "elsewhere")
    changed = sealed({"rows": [cell]})
    changed["rows"][0]["fd"]["value"] = 1.5
    with pytest.raises(CheckpointError, match="changed by hand"):
        elsewhere.absorb(changed, {})
    elsewhere.absorb({"rows": [cell]}, {})  # without a seal it says nothing, and is computed again
    assert not elsewhere.has("scores", seed=1)
