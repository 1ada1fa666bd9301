"""Comparisons: what is computed once is kept, what changes is computed anew, no scale is chosen on what is told."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch_fidelity

import rgd
from rgd import checkpoints, cli, guidance, identity
from rgd import measure as metrics
from rgd.book import plots
from rgd.data import load
from rgd.denoiser import begin
from rgd.errors import CheckpointError, DataError, RgdError
from rgd.experiments import cells
from rgd.experiments.cells import Work, best_cells
from rgd.experiments.comparison import Comparison, Drawn, Entry
from rgd.experiments.forecast import forecast
from rgd.lab import eyes
from rgd.lab import registry as zoo
from rgd.lab.bench import Bench, run
from rgd.lab.judge import JudgeConfig
from rgd.lab.registry import find
from rgd.lab.seeds import combine
from rgd.lab.store import Unknown
from rgd.measure import Features
from rgd.mixtures import mixture
from rgd.networks import EncoderConfig, UNetConfig, build
from rgd.randomness import noise
from rgd.samplers import ddim, dpm_solver, sample
from rgd.schedule import cosine, linear
from rgd.training.checkpoints import Model

SHAPE: dict[str, Any] = dict(
    image_size=8, in_channels=1, model_channels=8, num_res_blocks=1, attention_resolutions=(), channel_mult=(1,)
)
PLAN = Comparison(
    data="digits",
    judge="t/judge",
    entries=(
        Entry("plain", "t/ddpm"),
        Entry("a", "t/ddpm", "classifier", "t/a", (1.0, 50.0)),
        Entry("b", "t/ddpm", "classifier", "t/b", (1.0, 50.0), (100, 600)),
        Entry("free", "t/conditional", "classifier-free", None, (2.0,)),
    ),
    pairs=(("a", "b"), ("a", "a")),
    samples=25,
    headline_samples=30,
    headline_seeds=(4, 7),
    steps=3,
    reference=100,
    batch_size=16,
)


def awake(config: Any, seed: int) -> Any:
    """A network whose last layers are not zero, so that it says something."""
    network = build(config, seed).eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=random))
    return network


def put(runs: Path, name: str, config: Any, seed: int) -> None:
    denoising = {"predicts": "eps", "variance": "large"} if isinstance(config, UNetConfig) else {}
    schedule = None if isinstance(config, JudgeConfig) else linear()
    Model(awake(config, seed), schedule, denoising, tuple("0123456789")).save(runs / name / "model.safetensors")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    put(folder, "t/ddpm", UNetConfig(**SHAPE, out_channels=1), 1)
    put(folder, "t/conditional", UNetConfig(**SHAPE, out_channels=1, num_classes=10, null_label=True), 2)
    put(folder, "t/a", EncoderConfig(**SHAPE, out_channels=10), 3)
    put(folder, "t/b", EncoderConfig(**SHAPE, out_channels=10), 4)
    put(folder, "t/judge", JudgeConfig(image_size=8, in_channels=1, out_channels=10, width=4, features=6), 5)
    return folder


@pytest.fixture(scope="module")
def done(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("cells")
    results = run(PLAN, folder / "out.json", store=folder, runs=runs, progress=False)
    return folder, results


def test_every_cell_is_there_and_the_file_says_the_same(done: tuple[Path, dict[str, Any]]) -> None:
    folder, results = done
    cells = [(cell["name"], cell["scale"]) for cell in results["sweep"]]
    assert cells == [("plain", 0.0), ("a", 1.0), ("a", 50.0), ("b", 1.0), ("b", 50.0), ("free", 2.0)]
    assert {(cell["seed"], cell["samples"]) for cell in results["sweep"]} == {(0, 25)}
    assert [cell["name"] for cell in results["headline"]] == ["plain", "a", "b", "free"]
    assert [(c["seed"], c["samples"]) for c in results["headline"][1]["seeds"]] == [(4, 30), (7, 30)]

    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    written = json.loads((folder / "out.json").read_text(), parse_constant=no_constant)
    assert written == json.loads(json.dumps(results))
    assert {"date", "commit", "device"} <= set(written["provenance"])


def test_what_is_done_is_not_forecast(done: tuple[Path, dict[str, Any]], runs: Path) -> None:
    folder, _ = done

    def said(plan: Comparison) -> str:
        return forecast(Work(plan, Bench(plan, folder / "out.json", store=folder, runs=runs, progress=False)))

    assert "0 cells of the sweep and 0 of 30 samples: about 0.0 hours" in said(PLAN)
    new = replace(PLAN.entries[1], name="new", scales=(1.5, 2.5))
    more = replace(PLAN, entries=(*PLAN.entries, new), pairs=(*PLAN.pairs, ("plain", "new")))
    assert "2 cells of the sweep and 4 of 30 samples" in said(more), "those of the new pair"


def test_a_cell_is_what_sampling_and_scoring_by_hand_give(done: tuple[Path, dict[str, Any]], runs: Path) -> None:
    _, results = done
    models = {name: checkpoints.load(runs / name / "model.safetensors").use() for name in ("t/ddpm", "t/a", "t/judge")}
    guided = guidance.guide(models["t/ddpm"], guidance.grad_log_prob(models["t/a"]), 50.0)  # type: ignore[arg-type]
    labels = torch.arange(25) % 10
    images = sample(guided, (25, 1, 8, 8), labels, sampler=dpm_solver, steps=3, seed=0, batch_size=16, progress=False)
    seen = metrics.extract(images, models["t/judge"], labels=labels)  # type: ignore[arg-type]
    reference = metrics.extract(load("digits").take(100), models["t/judge"])  # type: ignore[arg-type]
    for name in cells.SWEEP:
        expected = metrics.estimate(name, seen, reference).value
        assert results["sweep"][2][name]["value"] == pytest.approx(expected, rel=1e-5), name


def test_the_reported_scale_is_the_best_of_the_sweep_and_its_seeds_are_others(
    done: tuple[Path, dict[str, Any]],
) -> None:
    _, results = done
    distances = {cell["scale"]: cell["fd"]["value"] for cell in results["sweep"] if cell["name"] == "a"}
    assert results["headline"][1]["scale"] == min(distances, key=distances.__getitem__)
    assert all(cell["seed"] != PLAN.seed for entry in results["headline"] for cell in entry["seeds"])
    with pytest.raises(ValueError, match="seed"):
        replace(PLAN, seed=4)


def test_differences_are_paired(done: tuple[Path, dict[str, Any]]) -> None:
    _, results = done
    a, b = (next(h for h in results["headline"] if h["name"] == name) for name in "ab")
    other, itself = results["differences"]
    for name in cells.SWEEP:
        assert itself[name]["value"] == itself[name]["high"] == 0
        assert other[name]["value"] == pytest.approx(a[name]["value"] - b[name]["value"], abs=1e-6)


def test_a_finished_run_draws_nothing_again(
    done: tuple[Path, dict[str, Any]], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, results = done

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("sampled again")

    looked_at: list[int] = []
    extract = metrics.extract

    def look(images: Any, *rest: Any, **more: Any) -> Features:
        looked_at.append(len(images))
        return extract(images, *rest, **more)

    monkeypatch.setattr("rgd.experiments.cells.sample", forbidden)
    monkeypatch.setattr(metrics, "extract", look)
    again = run(PLAN, folder / "again.json", store=folder, runs=runs, progress=False)
    assert looked_at == []
    assert [again[key] for key in ("sweep", "headline", "differences", "real")] == [
        results[key] for key in ("sweep", "headline", "differences", "real")
    ]


def test_a_run_that_was_stopped_goes_on_and_ends_the_same(
    done: tuple[Path, dict[str, Any]], runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def interrupted(*args: Any, **options: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return sample(*args, **options)

    monkeypatch.setattr("rgd.experiments.cells.sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(PLAN, tmp_path / "out.json", store=tmp_path, runs=runs, progress=False)
    assert len(list((tmp_path / "scores").iterdir())) == 1 + 3  # of held-out images, and of the cells that were done
    found = run(PLAN, tmp_path / "out.json", store=tmp_path, runs=runs, progress=False)
    cells = 6 + 4 * 2
    assert calls == cells + 1  # each once, and the interrupted one twice
    for mine, theirs in zip(found["sweep"], done[1]["sweep"]):
        assert {**mine, "images_per_second": 0, "seal": ""} == {**theirs, "images_per_second": 0, "seal": ""}


def test_scores_outlive_their_samples(
    done: tuple[Path, dict[str, Any]], runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, results = done
    for kind in ("scores", "differences", "images"):
        shutil.copytree(folder / kind, tmp_path / kind)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("sampled again")

    monkeypatch.setattr("rgd.experiments.cells.sample", forbidden)
    again = run(PLAN, tmp_path / "out.json", store=tmp_path, runs=runs, progress=False)
    assert [again[key] for key in ("sweep", "headline", "differences")] == [
        results[key] for key in ("sweep", "headline", "differences")
    ]
    assert (tmp_path / "out.png").exists()


def test_a_run_goes_on_from_its_results_alone(
    done: tuple[Path, dict[str, Any]], runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, results = done
    then = {**results["provenance"], "commit": "another"}
    (tmp_path / "out.json").write_text(json.dumps({**results, "provenance": then}))
    drawn = []

    def counted(denoise: Any, shape: Any, *args: Any, **options: Any) -> torch.Tensor:
        drawn.append(shape[0])
        return sample(denoise, shape, *args, **options)

    monkeypatch.setattr("rgd.experiments.cells.sample", counted)
    again = run(PLAN, tmp_path / "out.json", store=tmp_path, runs=runs, progress=False)
    assert drawn == [20] * 4  # for the picture alone
    for key in ("sweep", "headline", "differences", "real", "left"):
        assert again[key] == results[key], key
    assert again["provenance"] == then, "nothing was computed"
    assert {file.name for file in (tmp_path / "images").iterdir()} <= {
        file.name for file in (folder / "images").iterdir()
    }
    for file in (tmp_path / "images").iterdir():
        mine, whole = (checkpoints.read(path)[0]["images"].int() for path in (file, folder / "images" / file.name))
        assert (mine - whole).abs().max() <= 1  # the first images are the same, however many were drawn


def test_a_run_goes_on_where_a_guide_is_gone(
    done: tuple[Path, dict[str, Any]], runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has left its numbers, and no picture; of others, what is new is computed."""
    folder, results = done
    shutil.copytree(runs / "t", tmp_path / "runs" / "t")
    shutil.rmtree(tmp_path / "runs" / "t" / "b")
    shutil.copy(folder / "out.json", tmp_path / "out.json")
    plan = replace(PLAN, entries=(*PLAN.entries, replace(PLAN.entries[1], name="new", scales=(1.5,))))
    options: Any = {"store": tmp_path, "runs": tmp_path / "runs", "progress": False}
    assert "1 cells of the sweep" in forecast(Work(plan, Bench(plan, tmp_path / "out.json", **options)))
    pictured: list[str] = []

    def pictures(rows: dict[str, Any], *args: Any, **more: Any) -> Any:
        pictured[:] = rows
        return plots.picture_table(rows, *args, **more)

    monkeypatch.setattr("rgd.experiments.cells.plots", SimpleNamespace(picture_table=pictures, plain=plots.plain))
    again = run(plan, tmp_path / "out.json", **options)
    for rows in ("sweep", "headline", "differences"):
        assert [cell for cell in again[rows] if cell.get("name") != "new"] == results[rows]
    assert again["headline"][-1]["name"] == "new"
    assert [title.split(",")[0] for title in pictured] == ["plain", "a", "free", "new"]


def only_pictures(denoise: Any, shape: Any, *args: Any, **options: Any) -> torch.Tensor:
    """Sampling that is stopped where it would draw more than the twenty images of a picture."""
    if shape[0] > 20:
        raise KeyboardInterrupt
    return sample(denoise, shape, *args, **options)


def test_a_run_that_goes_on_and_is_stopped_at_once_loses_nothing(
    done: tuple[Path, dict[str, Any]], runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, results = done
    without_b = {
        **results,
        "sweep": [cell for cell in results["sweep"] if cell["name"] != "b"],
        "headline": [row for row in results["headline"] if row["name"] != "b"],
        "differences": [row for row in results["differences"] if "b" not in (row["a"], row["b"])],
    }
    (tmp_path / "out.json").write_text(json.dumps(without_b))

    monkeypatch.setattr("rgd.experiments.cells.sample", only_pictures)
    with pytest.raises(KeyboardInterrupt):  # at the first pair, which needs b
        run(PLAN, tmp_path / "out.json", store=tmp_path, runs=runs, progress=False)
    found = json.loads((tmp_path / "out.json").read_text())
    for key in ("sweep", "headline", "differences"):
        assert found[key] == json.loads(json.dumps(without_b[key])), key
    assert found["left"] == ["b"]


def test_a_scale_that_is_added_takes_nothing_away(
    done: tuple[Path, dict[str, Any]], runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, results = done
    (tmp_path / "out.json").write_text(json.dumps(results))

    monkeypatch.setattr("rgd.experiments.cells.sample", only_pictures)
    wider = replace(PLAN.entries[2], scales=(1.0, 2.0, 50.0))
    with pytest.raises(KeyboardInterrupt):
        run(replace(PLAN, entries=(*PLAN.entries[:2], wider, PLAN.entries[3])), tmp_path / "out.json",
            store=tmp_path, runs=runs, progress=False)  # fmt: skip
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["sweep"] == json.loads(json.dumps(results["sweep"]))
    assert found["left"] == ["b"]


@pytest.mark.parametrize(
    ("change", "cells"),
    [  # the fourth draws its partner of a pair again too, to subtract sample by sample
        ({"steps": 4}, 6 + 8),
        ({"reference": 90}, 6 + 8),
        ({"headline_samples": 40}, 8),
        ({"entries": (*PLAN.entries[:2], replace(PLAN.entries[2], interval=(0, 600)), PLAN.entries[3])}, 2 + 2 + 2),
        ({"entries": (*PLAN.entries[:2], replace(PLAN.entries[2], most=0.5), PLAN.entries[3])}, 2 + 2 + 2),
        ({"entries": (*PLAN.entries[:2], replace(PLAN.entries[2], scales=(1.0, 2.0, 50.0)), PLAN.entries[3])}, 1),
    ],
)
def test_results_of_something_else_are_not_taken_over(
    change: dict[str, Any], cells: int, done: tuple[Path, dict[str, Any]], runs: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shutil.copy(done[0] / "out.json", tmp_path / "out.json")
    drawn = []

    def counted(denoise: Any, shape: Any, *args: Any, **options: Any) -> torch.Tensor:
        drawn.append(shape[0])
        return sample(denoise, shape, *args, **options)

    monkeypatch.setattr("rgd.experiments.cells.sample", counted)
    found = run(replace(PLAN, **change), tmp_path / "out.json", store=tmp_path, runs=runs, progress=False)
    before = {row["name"]: row["scale"] for row in done[1]["headline"]}
    moved = sum(2 for row in found["headline"] if row["scale"] != before[row["name"]])
    assert cells <= sum(n != 20 for n in drawn) <= cells + moved


def test_results_of_other_weights_are_not_taken_over(
    done: tuple[Path, dict[str, Any]], runs: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "runs"
    shutil.copytree(runs, mine)
    put(mine, "t/a", EncoderConfig(**SHAPE, out_channels=10), 9)
    shutil.copy(done[0] / "out.json", tmp_path / "out.json")
    found = run(PLAN, tmp_path / "out.json", store=tmp_path, runs=mine, progress=False)
    assert [a == b for a, b in zip(found["sweep"], done[1]["sweep"])] == [True, False, False, True, True, True]


@pytest.mark.parametrize(
    ("change", "drawn"),
    [
        ({"steps": 4}, 6 + 8),
        ({"headline_seeds": (4, 8)}, 4),
        ({"entries": (*PLAN.entries, Entry("c", "t/ddpm", "classifier", "t/b", (1.0,)))}, 1 + 2),
        ({"entries": (*PLAN.entries[:2], replace(PLAN.entries[2], interval=(0, 600)), PLAN.entries[3])}, 2 + 2),
        ({"entries": (*PLAN.entries[:2], replace(PLAN.entries[2], most=0.5), PLAN.entries[3])}, 2 + 2),
        ({"batch_size": 5}, 0),
        ({"reference": 90}, 0),
    ],
)
def test_what_changes_is_drawn_anew(
    change: dict[str, Any], drawn: int, done: tuple[Path, dict[str, Any]], runs: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder, results = done
    calls = 0

    def counted(*args: Any, **options: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return sample(*args, **options)

    monkeypatch.setattr("rgd.experiments.cells.sample", counted)
    found = run(replace(PLAN, **change), tmp_path / "out.json", store=folder, runs=runs, progress=False)
    # A scale may win that did not win before, and then has headline numbers of its own.
    moved = sum(
        len(replace(PLAN, **change).headline_seeds)
        for before, after in zip(results["headline"], found["headline"])
        if before["scale"] != after["scale"]
    )
    assert drawn <= calls <= drawn + moved


def test_what_a_stopped_run_has_found_can_be_read(
    done: tuple[Path, dict[str, Any]], runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, whole = done
    score = cells.Work.score

    def stop(work: Any, way: Any, seed: int, *rest: Any) -> Any:
        if way[0].name == "free" and seed in PLAN.headline_seeds:
            raise KeyboardInterrupt if work.store.computes else Unknown
        return score(work, way, seed, *rest)

    monkeypatch.setattr(cells.Work, "score", stop)
    shutil.copytree(folder, tmp_path / "cells")
    with pytest.raises(KeyboardInterrupt):
        run(PLAN, tmp_path / "out.json", store=tmp_path / "cells", runs=runs, progress=False)
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["left"] == ["free"]
    assert whole["left"] == []
    assert found["headline"] == json.loads(json.dumps(whole["headline"]))[:3]
    assert found["differences"] == json.loads(json.dumps(whole["differences"]))
    assert (tmp_path / "out.png").exists()


def test_a_retrained_model_is_not_taken_for_the_old_one(runs: Path, tmp_path: Path) -> None:
    mine = tmp_path / "runs"
    for name in ("t/ddpm", "t/a", "t/judge"):
        (mine / name).mkdir(parents=True)
        (mine / name / "model.safetensors").write_bytes((runs / name / "model.safetensors").read_bytes())
    plan = replace(PLAN, entries=PLAN.entries[:2], pairs=(), headline_seeds=(1,))
    before = run(plan, tmp_path / "out.json", store=tmp_path / "cells", runs=mine, progress=False)
    put(mine, "t/a", EncoderConfig(**SHAPE, out_channels=10), 9)
    after = run(plan, tmp_path / "out.json", store=tmp_path / "cells", runs=mine, progress=False)
    assert before["sweep"][0] == after["sweep"][0]
    assert before["sweep"][2]["fd"] != after["sweep"][2]["fd"]
    assert before["weights"]["t/a"] != after["weights"]["t/a"]


def test_every_kind_is_the_guidance_of_its_name() -> None:
    means = torch.tensor([[[[1.0, 0.0]]], [[[-1.0, 0.5]]]])
    strong, weak = mixture(means, 0.3, linear()), mixture(means, 0.9, linear())
    xt, t, y = noise((4, 1, 1, 2)), torch.tensor([5, 100, 300, 500]), torch.tensor([0, 1, 0, 1])

    def model(name: str) -> Any:
        return {"strong": strong, "weak": weak, "classifier": strong.logits}[name]

    expected = {
        "none": strong,
        "classifier": guidance.guide(strong, guidance.grad_log_prob(strong.logits), 3.0),
        "through x0": guidance.guide(strong, guidance.grad_log_prob_of_x0(strong.logits, strong), 3.0),
        "at x0": guidance.guide(strong, rgd.grad_log_prob_at_x0(strong.logits, strong), 3.0),
        "classifier-free": guidance.classifier_free(strong, 3.0),
        "autoguidance": guidance.autoguidance(strong, weak, 3.0),
    }
    answers = []
    for kind, denoise in expected.items():
        other = {"autoguidance": "weak", "none": None, "classifier-free": None}.get(kind, "classifier")
        entry = Entry(kind, "strong", kind, other)  # type: ignore[arg-type]
        torch.testing.assert_close(entry.build(model, 3.0)(xt, t, y).eps, denoise(xt, t, y).eps)
        answers.append(denoise(xt, t, y).eps)
        if kind != "none":
            outside = replace(entry, interval=(600, math.inf)).build(model, 3.0)(xt, t, y)
            torch.testing.assert_close(outside.eps, strong(xt, t, y).eps)
    for kind, gradient in (("at x0", rgd.grad_log_prob_at_x0), ("through x0", guidance.grad_log_prob_of_x0)):
        capped = guidance.guide(strong, rgd.cap(gradient(strong.logits, strong), strong.schedule, 0.1), 3.0)
        found = Entry(kind, "strong", kind, "classifier", most=0.1).build(model, 3.0)(xt, t, y)  # type: ignore[arg-type]
        torch.testing.assert_close(found.eps, capped(xt, t, y).eps)
        assert not torch.allclose(found.eps, expected[kind](xt, t, y).eps, atol=0.05)
    distances = torch.cdist(torch.stack(answers).flatten(1), torch.stack(answers).flatten(1))
    assert (distances + 9 * torch.eye(6)).min() > 0.05  # or some of the six would be no test
    with pytest.raises(ValueError, match="needs a model"):
        Entry("x", "strong", "classifier").build(model, 1.0)


def test_an_entry_may_have_a_sampler_of_its_own(runs: Path, tmp_path: Path) -> None:
    own = Drawn("own", "t/ddpm", "classifier", "t/a", (2.0,), steps=4, eta=0.7)
    other = Drawn("other", "t/ddpm", "classifier", "t/a", (2.0,), sampler="dpm_solver", steps=4)
    entries = (Entry("a", "t/ddpm", "classifier", "t/a", (2.0,)), own, replace(own, name="still", eta=0.0), other)
    plan = replace(PLAN, entries=entries, pairs=(), steps=4)
    work = Work(plan, Bench(plan, tmp_path / "out.json", store=tmp_path, runs=runs, progress=False))
    images = {entry.name: work.draw((entry, 2.0), 5, 12) for entry in entries}
    guided, y = work.build((own, 2.0)), torch.arange(12) % 10
    expected = {"own": partial(ddim, eta=0.7), "still": ddim, "other": dpm_solver, "a": dpm_solver}
    for name, sampler in expected.items():
        drawn = sample(guided, (12, 1, 8, 8), y, sampler=sampler, steps=4, seed=5, progress=False)
        torch.testing.assert_close(images[name], drawn)
    assert (images["own"] - images["still"]).abs().max() > 0.05
    keys = [identity.key(work.drawn((entry, 2.0), 5, 12)) for entry in entries]
    assert len(set(keys)) == 4
    assert work.drawn((entries[0], 2.0), 5, 12)["sampler"] == "dpm_solver"  # as published results have it
    assert "4 ways to guide; 4 cells" in forecast(work)
    with pytest.raises(ValueError, match="the sampler must be 'ddim' or 'dpm_solver', not 'ddmi'"):
        replace(own, sampler="ddmi")  # type: ignore[arg-type]


def test_a_blind_denoiser_is_not_told_the_class(runs: Path) -> None:
    conditional: Any = find("t/conditional", runs).use()
    with torch.no_grad():
        conditional.network.label_emb.weight.mul_(100)  # so that the label matters, on any machine
    entry = Entry("blind", "c", "classifier", "a", (2.0,), blind=True)
    models = {"c": conditional, "a": find("t/a", runs).network}
    xt, t, y = noise((4, 1, 8, 8)), torch.tensor([5, 100, 300, 500]), torch.tensor([0, 1, 2, 3])
    with torch.no_grad():
        found = entry.build(models.__getitem__, 2.0)(xt, t, y)
        gradient = guidance.grad_log_prob(models["a"])  # type: ignore[arg-type]
        expected = guidance.guide(guidance.unconditional(conditional), gradient, 2.0)
        told = replace(entry, blind=False).build(models.__getitem__, 2.0)(xt, t, y)
    torch.testing.assert_close(found.eps, expected(xt, t, y).eps)
    assert not torch.allclose(found.eps, told.eps)


class StandIn(torch_fidelity.FeatureExtractorBase):
    """In Inception's place: three channels of bytes in, a few features and logits out."""

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return "2048", "logits_unbiased"

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        flat = images[:, 0].flatten(1).float() / 255
        return flat[:, 20:28], flat[:, :10]


def test_inception_looks_too_where_it_is_asked(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inception = StandIn("stand-in", ["2048", "logits_unbiased"])
    monkeypatch.setattr(eyes, "load_inception", lambda: inception)
    plan = replace(PLAN, entries=PLAN.entries[:1], pairs=(), headline_seeds=(1,), inception=True)
    found = run(plan, tmp_path / "out.json", store=tmp_path, runs=runs, progress=False)
    (cell,) = found["headline"][0]["seeds"]
    denoise = find("t/ddpm", runs).use()
    labels = torch.arange(30) % 10
    images = sample(denoise, (30, 1, 8, 8), labels, sampler=dpm_solver, steps=3, seed=1, batch_size=16, progress=False)  # type: ignore[arg-type]
    expected = metrics.evaluate(images, load("digits").take(100), inception=inception, metrics=["fd"])
    assert cell["fid"]["value"] == pytest.approx(expected["fid"].value, rel=1e-5)
    assert "inception" in cell["kid_inception"]["method"]
    assert "judge" in cell["fd"]["method"]
    assert "fid" in found["real"]
    assert "fid" not in found["sweep"][0]
    inception.register_buffer("other", torch.ones(1))  # other weights in its place are another eye
    again = run(plan, tmp_path / "out.json", store=tmp_path, runs=runs, progress=False)
    assert again["headline"][0]["seeds"][0]["kept_as"] != cell["kept_as"]


def test_combined_seeds_are_as_sure_as_independent_means() -> None:
    parts = [{"value": v, "low": v - e, "high": v + e, "n": 50, "method": "m"} for v, e in ((1.0, 0.3), (2.0, 0.4))]
    found = combine(parts)
    assert (found.value, found.n) == (1.5, 100)
    assert found.high - found.value == pytest.approx(0.25)
    assert found.value - found.low == pytest.approx(0.25)


def test_the_best_scale_is_the_nearest() -> None:
    cells = [{"name": n, "scale": s, "fd": {"value": v}} for n, s, v in
             (("a", 1.0, 3.0), ("a", 2.0, 1.0), ("b", 1.0, 0.5), ("a", 4.0, 2.0))]  # fmt: skip
    assert {name: cell["scale"] for name, cell in best_cells(cells).items()} == {"a": 2.0, "b": 1.0}


def test_plans_that_contradict_themselves() -> None:
    with pytest.raises(ValueError, match="names of their own"):
        replace(PLAN, entries=(*PLAN.entries, PLAN.entries[0]))
    with pytest.raises(ValueError, match="nobody"):
        replace(PLAN, pairs=(("a", "nobody"),))


def test_models_that_cannot_be_had(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"rgd train t/none"):
        find("t/none", runs)
    with pytest.raises(CheckpointError, match="a judge is needed"):
        run(replace(PLAN, judge="t/a"), tmp_path / "out.json", store=tmp_path, runs=runs, progress=False)


def test_published_models_are_found(monkeypatch: pytest.MonkeyPatch, runs: Path, tmp_path: Path) -> None:
    """Also where they were made, whose weights are not rounded; but not in place of another training's."""
    ours, made = find("t/a", runs), tmp_path / "t" / "a" / "model.safetensors"
    published = replace(ours, provenance={"seed": 1})
    monkeypatch.setattr(zoo, "names", lambda: ("t/a",))
    monkeypatch.setattr(zoo, "model", lambda name, device=None: published)
    assert find("t/a", tmp_path) is published
    published.save(made)
    assert find("t/a", tmp_path) is published
    published.save(made, torch.float16)
    assert find("t/a", tmp_path) is published
    changed = find("t/a", runs)
    next(changed.network.parameters())[0] += 0.01
    replace(published, network=changed.network).save(made)
    assert find("t/a", tmp_path) is not published
    replace(ours, provenance={"seed": 2}).save(made)
    assert find("t/a", tmp_path).provenance == {"seed": 2}


def test_the_command_runs_a_file(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").symlink_to(runs, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "compare_t.py").write_text(
        "from rgd.experiments.comparison import Comparison, Entry\n"
        "experiment = Comparison('digits', 't/judge', (Entry('plain', 't/ddpm'),), samples=20, headline_samples=20,\n"
        "                        headline_seeds=(1,), steps=2, reference=50)\n"
    )
    cli.evaluate("compare_t.py", out=Path("found.json"))
    assert json.loads(Path("found.json").read_text())["headline"][0]["name"] == "plain"
    said = capsys.readouterr().out
    assert "plain" in said
    assert "hours of sampling" in said


def test_only_what_goes_through_x0_is_smoothed_and_only_after_it_is_capped() -> None:
    """Seen from the second step of a trajectory on."""
    strong = mixture(torch.tensor([[[[1.0, 0.0]]], [[[-1.0, 0.5]]]]), 0.3, linear())
    xt, y = noise((4, 1, 1, 2)), torch.tensor([0, 1, 0, 1])
    for kind, gradient in {
        "classifier": guidance.grad_log_prob(strong.logits),
        "at x0": rgd.grad_log_prob_at_x0(strong.logits, strong),
        "through x0": guidance.grad_log_prob_of_x0(strong.logits, strong),
    }.items():
        gradient = rgd.cap(gradient, strong.schedule, 0.1)
        gradient = rgd.smooth(gradient) if kind == "through x0" else gradient
        entry = Entry(kind, "strong", kind, "classifier", most=0.1)  # type: ignore[arg-type]
        found = begin(entry.build(lambda name: strong if name == "strong" else strong.logits, 3.0))
        expected = begin(guidance.guide(strong, gradient, 3.0))
        for k, level in enumerate((500, 300, 100)):
            where = (xt + k * xt.flip(-1), torch.full((4,), level), y)
            torch.testing.assert_close(found(*where).eps, expected(*where).eps)


def test_a_cell_is_known_by_all_that_it_depends_on(runs: Path, tmp_path: Path) -> None:
    bench = Bench(PLAN, tmp_path / "out.json", runs=runs, store=tmp_path, progress=False)
    work, a, b = cells.Work(PLAN, bench), PLAN.entries[1], PLAN.entries[0]

    def keys(entry: Entry = a) -> tuple[str, ...]:
        drawn, scored = work.drawn((entry, 1.0), 0, 20), work.scored(cells.SWEEP)
        pair = {"a": work.drawn((entry, 1.0), 4, 30), "b": work.drawn((b, 0.0), 4, 30)}
        return tuple(bench.store.name("x", **parts, **scored) for parts in (drawn, pair, {"images": 1}))

    seen = [keys()]
    for change in ({"kind": "at x0"}, {"blind": True}, {"denoiser": "t/conditional"}, {"guide": "t/b"},
                   {"interval": (0, 600)}, {"most": 1.0}):  # fmt: skip
        seen.append((*keys(replace(a, **change))[:2], str(change)))
    another = {"key": lambda name: identity.key([name, "another"] if name == "t/judge" else bench.model(name))}
    for thing, name, other in ((work, "plan", replace(PLAN, reference=90)), (work, "data", load("digits", "test")),
                               (bench, "key", another["key"])):  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(thing, name, other)
            seen.append(keys())
    for column in zip(*seen):
        assert len(set(column)) == len(seen)
    assert keys(replace(a, name="another", scales=(7.0,))) == seen[0]  # what it is called makes no difference


@pytest.mark.parametrize("change", ["schedule", "predicts", "variance"])
def test_a_denoiser_of_the_same_weights_that_means_something_else_is_another(
    change: str, runs: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "runs"
    shutil.copytree(runs, mine)
    plan = replace(PLAN, entries=PLAN.entries[:1], pairs=(), headline_seeds=(1,))
    before = run(plan, tmp_path / "out.json", runs=mine, progress=False)
    model = find("t/ddpm", mine)
    others: dict[str, Model] = {
        "schedule": replace(model, schedule=cosine()),
        "predicts": replace(model, denoising={**model.denoising, "predicts": "x0"}),
        "variance": replace(model, denoising={**model.denoising, "variance": "small"}),
    }
    others[change].save(mine / "t" / "ddpm" / "model.safetensors")
    after = run(plan, tmp_path / "out.json", runs=mine, progress=False)
    assert before["weights"] == after["weights"]
    assert before["sweep"][0]["kept_as"] != after["sweep"][0]["kept_as"]
    if change != "variance":  # which the sampler, being deterministic, does not ask for
        assert before["sweep"][0]["fd"] != after["sweep"][0]["fd"]


def test_class_names_must_agree(runs: Path, tmp_path: Path) -> None:
    mine = tmp_path / "runs"
    shutil.copytree(runs, mine)
    for name in ("t/judge", "t/a", "t/ddpm"):
        model = find(name, runs)
        replace(model, classes=tuple("1023456789")).save(mine / name / "model.safetensors")
        with pytest.raises(DataError, match=f"{name}.*label 0 is '1' here and '0' there"):
            run(PLAN, tmp_path / "out.json", runs=mine, progress=False)
        model.save(mine / name / "model.safetensors")


def test_what_the_file_of_results_does_not_say_is_computed(
    done: tuple[Path, dict[str, Any]], runs: Path, tmp_path: Path
) -> None:
    older = json.loads(json.dumps(done[1]))
    for row in (older["real"], *(part for pair in older["differences"] for part in pair["seeds"])):
        del row["kept_as"]
    (tmp_path / "out.json").write_text(json.dumps(older))
    found = run(PLAN, tmp_path / "out.json", store=tmp_path, runs=runs, progress=False)
    assert found["real"] == done[1]["real"]
    assert found["differences"] == done[1]["differences"]


def test_without_seeds_for_headlines_the_sweep_is_all_and_pairs_go_scale_by_scale(runs: Path, tmp_path: Path) -> None:
    plan = replace(PLAN, entries=PLAN.entries[:3], pairs=(("a", "b"),), headline_seeds=())
    found = run(plan, tmp_path / "out.json", store=tmp_path, runs=runs, progress=False)
    assert (len(found["sweep"]), found["headline"], found["left"]) == (5, [], [])
    assert [row["scale"] for row in found["differences"]] == [1.0, 50.0]
    cells_of = {(cell["name"], cell["scale"]): cell for cell in found["sweep"]}
    for row in found["differences"]:
        a, b = (cells_of[name, row["scale"]]["accuracy"]["value"] for name in "ab")
        assert row["accuracy"]["value"] == pytest.approx(a - b)


def test_the_row_of_real_images_is_of_held_out_ones(done: tuple[Path, dict[str, Any]], runs: Path) -> None:
    judge, test = find("t/judge", runs).network, load("digits", "test").take(100)
    seen, reference = metrics.extract(test, judge, labels=test.labels), metrics.extract(load("digits").take(100), judge)
    for name in cells.HEADLINE:
        expected = metrics.estimate(name, seen, reference).value
        assert done[1]["real"][name]["value"] == pytest.approx(expected, rel=1e-5), name


def test_differences_have_the_names_of_today(runs: Path, tmp_path: Path) -> None:
    """Also where they are taken back from a file of other names."""
    plan = replace(PLAN, entries=PLAN.entries[1:3], pairs=(("a", "b"),), headline_seeds=())
    first = run(plan, tmp_path / "out.json", store=tmp_path / "1", runs=runs, progress=False)
    exchanged = tuple(replace(entry, name="ba"["ab".index(entry.name)]) for entry in plan.entries)
    plan = replace(plan, entries=exchanged, pairs=(("b", "a"),))
    found = run(plan, tmp_path / "out.json", store=tmp_path / "2", runs=runs, progress=False)
    assert [(row["a"], row["b"]) for row in found["differences"]] == [("b", "a")] * 2
    assert [row["fd"] for row in found["differences"]] == [row["fd"] for row in first["differences"]]


def test_images_of_another_size_are_refused_before_any_are_drawn(runs: Path, tmp_path: Path) -> None:
    def larger(name: str, split: str = "train") -> Any:
        small = load(name, split)
        return replace(small, images=small.images.repeat_interleave(2, dim=-1))

    bench = Bench(PLAN, tmp_path / "out.json", runs=runs, store=tmp_path, progress=False, load=larger)
    with pytest.raises(RgdError, match=r"sees images of \(1, 8, 8\), and those of digits are of \(1, 8, 16\)"):
        bench.images("digits")
