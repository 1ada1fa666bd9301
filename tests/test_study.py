"""Studies of trained classifiers: every number is that of the function it is named after."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from torch import Tensor

from rgd import checkpoints
from rgd import measure as metrics
from rgd.attacks import L2, PGD
from rgd.data import load
from rgd.errors import CheckpointError
from rgd.experiments import study
from rgd.experiments.study import Study
from rgd.guidance import grad_log_prob
from rgd.lab.bench import Bench, run
from rgd.lab.judge import JudgeConfig
from rgd.lab.registry import find
from rgd.lab.store import Kept
from rgd.measure import gradients
from rgd.networks import EncoderConfig, UNetConfig, build
from rgd.randomness import generator, noise
from rgd.schedule import linear
from rgd.training.checkpoints import Model

SHAPE: dict[str, Any] = dict(
    image_size=8, in_channels=1, model_channels=8, num_res_blocks=1, attention_resolutions=(), channel_mult=(1,)
)
STUDY = Study(
    data="digits",
    judge="t/judge",
    denoiser="t/ddpm",
    classifiers=(("t/a", "t/b"), ("t/b", None), ("t/a2", "t/a")),
    levels=(0, 300),
    images=40,
    attack=PGD(L2(0.5), steps=2),
    move=2.0,
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    encoder = EncoderConfig(**SHAPE, out_channels=10)
    configs: dict[str, tuple[Any, int]] = {
        "t/ddpm": (UNetConfig(**SHAPE, out_channels=1), 1), "t/a": (encoder, 2), "t/a2": (encoder, 2),
        "t/b": (encoder, 3), "t/judge": (JudgeConfig(image_size=8, in_channels=1, out_channels=10, width=4), 4),
    }  # fmt: skip
    for name, (config, seed) in configs.items():
        network = build(config, seed).eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator(seed)))
        schedule = None if isinstance(config, JudgeConfig) else linear()
        denoising = {"predicts": "eps", "variance": "large"} if isinstance(config, UNetConfig) else {}
        Model(network, schedule, denoising, tuple("0123456789")).save(folder / name / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def results(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("study")
    found = run(STUDY, folder / "out.json", store=folder, runs=runs, progress=False)
    assert json.loads((folder / "out.json").read_text()) == json.loads(json.dumps(found))
    return found


def test_rows_are_what_the_functions_say(results: dict[str, Any], runs: Path) -> None:
    a, b = (checkpoints.load(runs / name / "model.safetensors").network for name in ("t/a", "t/b"))
    test = load("digits", "test").take(40)
    x0, y, t = test.x0(), test.labels, torch.full((40,), 300)
    xt = linear().q_sample(x0, t, noise(x0.shape, 0))
    gradient, row = grad_log_prob(a)(xt, t, y), results["classifiers"]["t/a"][1]
    assert row["t"] == 300
    assert row["norm"]["value"] == pytest.approx(float(gradient.flatten(1).norm(dim=1).mean()), rel=1e-5)
    assert row["spectrum"] == pytest.approx(gradients.spectrum(gradient).tolist(), rel=1e-4)
    assert row["cosine_of_twins"]["value"] == pytest.approx(float(gradients.cosine(a, b, xt, t, y).mean()), rel=1e-4)
    with torch.no_grad():
        right = (a(xt, t).argmax(1) == y).double().mean()
    assert row["accuracy"]["value"] == pytest.approx(float(right))
    assert row["accuracy_attacked"]["value"] <= row["accuracy"]["value"]


def test_a_twin_with_the_same_weights_has_the_same_gradient(results: dict[str, Any]) -> None:
    for row in results["classifiers"]["t/a2"]:
        assert row["cosine_of_twins"]["low"] > 1 - 1e-5
    assert "cosine_of_twins" not in results["classifiers"]["t/b"][0]
    assert results["classifiers"]["t/a"][0]["cosine_of_twins"]["high"] < 0.9


def test_only_what_is_new_is_measured(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(STUDY, classifiers=(("t/a", None),), levels=(0,), images=10)
    run(plan, tmp_path / "out.json", store=tmp_path, runs=runs, progress=False)
    measured = []
    monkeypatch.setattr(study, "measured", lambda plan, bench, name, *rest: measured.append(name) or Kept({}))
    run(
        replace(plan, classifiers=(("t/a", None), ("t/b", None))),
        tmp_path / "o",
        store=tmp_path,
        runs=runs,
        progress=False,
    )
    assert measured == ["t/b"]
    run(replace(plan, move=3.0), tmp_path / "out.json", store=tmp_path, runs=runs, progress=False)
    assert measured == ["t/b", "t/a"]


def test_goes_on_from_the_file_of_results_alone(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another machine, where models that are not published are gone, what was measured of them stands."""
    plan = replace(STUDY, classifiers=(("t/a", "t/a2"), ("t/b", None)), levels=(0,), images=10)
    here, out = tmp_path / "runs", tmp_path / "out.json"
    shutil.copytree(runs, here)
    first = run(plan, out, store=tmp_path / "1", runs=here, progress=False)
    then = {**first["provenance"], "commit": "another"}
    out.write_text(json.dumps({**first, "provenance": then}))
    shutil.rmtree(here / "t" / "a2")
    b = checkpoints.load(here / "t" / "b" / "model.safetensors")
    next(b.network.parameters()).add_(0.1)
    replace(b, provenance={"seed": 7}).save(here / "t" / "b" / "model.safetensors")  # trained again
    measured, measure = [], study.measured

    def counted(plan: Study, bench: Bench, name: str, *rest: Any) -> Kept:
        measured.append(name)
        return measure(plan, bench, name, *rest)

    monkeypatch.setattr(study, "measured", counted)
    second = run(plan, out, store=tmp_path / "2", runs=here, progress=False)
    assert measured == ["t/b"]
    assert second["classifiers"]["t/a"] == first["classifiers"]["t/a"]
    assert second["classifiers"]["t/b"] != first["classifiers"]["t/b"]
    assert second["made"] == {**first["made"], "t/b": {"seed": 7}}
    assert second["before"] == [then]
    shutil.rmtree(here / "t" / "a")
    third = run(plan, out, store=tmp_path / "3", runs=here, progress=False)
    assert measured == ["t/b"]
    assert {name: third[name] for name in ("classifiers", "made")} == json.loads(
        json.dumps({name: second[name] for name in ("classifiers", "made")})
    )
    with pytest.raises(CheckpointError, match="t/a"):
        run(replace(plan, classifiers=plan.classifiers[::-1]), tmp_path / "other.json", store=tmp_path / "4", runs=here)
    assert measured == ["t/b"], "nothing is measured before it is known that all can be"


def test_calibration_error_is_that_of_sklearns_bins() -> None:
    """For two classes, and confidence of at least 1/2, sklearn's reliability curve has the same bins."""
    random = np.random.default_rng(0)
    p, y = random.uniform(0.5, 1, 4000), random.uniform(size=4000) < 0.7
    logits = torch.from_numpy(np.stack([np.log1p(-p), np.log(p)], axis=1))
    right, said = calibration_curve(y, p, n_bins=20)
    weights = np.histogram(p, bins=20, range=(0, 1))[0]
    expected = np.sum(weights[weights > 0] / len(p) * np.abs(right - said))
    found = metrics.calibration_error(logits, torch.from_numpy(y).long(), bins=20)
    assert found.value == pytest.approx(expected)
    assert found.low < expected < found.high


def test_a_calibrated_classifier_errs_by_its_bias_alone() -> None:
    p = torch.rand(4000, generator=generator(0)) * 0.5 + 0.5
    y = (torch.rand(4000, generator=generator(1)) < p).long()
    logits = torch.stack([(1 - p).log(), p.log()], dim=1)
    assert metrics.calibration_error(logits, y).value < (15 / 4000) ** 0.5
    with pytest.raises(ValueError, match="labels"):
        metrics.calibration_error(logits, y[:5])


def test_a_mean_has_students_interval_and_leaves_out_what_is_no_number() -> None:
    values = torch.tensor([1.0, 2.0, 4.0, torch.nan, 5.0])
    found = metrics.mean(values)
    error = 3.182446305 * np.std([1, 2, 4, 5], ddof=1) / 2  # of three degrees of freedom, as tables print it
    assert (found.value, found.n) == (3.0, 4)
    assert (found.low, found.high) == pytest.approx((3 - error, 3 + error))
    with pytest.raises(ValueError, match="at least 2"):
        metrics.mean(torch.tensor([1.0, torch.nan]))


def test_a_row_tells_where_the_gradient_leads(runs: Path, tmp_path: Path) -> None:
    attacked: list[int] = []

    def attack(classifier: Any, xt: Tensor, t: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        attacked.append(len(xt))
        return xt

    plan = replace(STUDY, levels=(0,), attack=attack, move=60.0)  # type: ignore[arg-type]
    models = {name: find(name, runs) for name in ("t/a", "t/judge", "t/ddpm")}
    a, judge, denoise = models["t/a"].network, models["t/judge"].network, models["t/ddpm"].use()
    test = load("digits", "test").take(300)
    bench = Bench(STUDY, tmp_path / "out.json", runs=runs, store=tmp_path, progress=False)
    row = study.measured(plan, bench, "t/a", None, test, 0).values
    x0, y = test.x0(), test.labels
    t = torch.zeros_like(y)
    xt = linear().q_sample(x0, t, noise(x0.shape, 0))
    target = (y + torch.randint(1, 10, (300,), generator=generator(0, "target"))) % 10
    with torch.no_grad():
        for name, x in (("read_by_judge", gradients.ascend(a, xt, t, target, 60.0)), ("read_without_walk", xt)):
            right = judge(denoise(x, t).x0).argmax(1) == target
            assert row[name] == metrics.proportion(int(right.sum()), 300), name
    steady, random = [], generator(0, "change", 0)
    for i in torch.arange(300).split(250):
        steady.append(gradients.steadiness(a, xt[i], t[i], y[i], plan.change, random))
    assert row["steadiness"].value == pytest.approx(float(torch.cat(steady).mean()), rel=1e-4)
    assert sum(attacked) == 300
    assert row["read_by_judge"] != row["read_without_walk"], "or the walk led nowhere, and this shows nothing"


@pytest.mark.parametrize("name", ["judge", "ddpm", "a2"])
@pytest.mark.parametrize("out", ["out.json", "another.json"])  # what the file says, and what the folder keeps
def test_what_was_measured_with_another_model_is_measured_again(
    name: str, out: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, here = replace(STUDY, classifiers=(("t/a", "t/a2"),), levels=(0,), images=10), tmp_path / "runs"
    shutil.copytree(runs, here)
    run(plan, tmp_path / "out.json", store=tmp_path, runs=here, progress=False)
    model = checkpoints.load(here / "t" / name / "model.safetensors")
    for parameter in model.network.parameters():
        parameter += 0.1
    replace(model, provenance={"seed": 7}).save(here / "t" / name / "model.safetensors")
    measured: list[str] = []
    monkeypatch.setattr(study, "measured", lambda plan, bench, name, *rest: measured.append(name) or Kept({}))
    run(plan, tmp_path / out, store=tmp_path, runs=here, progress=False)
    assert measured == ["t/a"]


def test_a_model_that_cannot_be_read_is_an_error_and_not_gone(runs: Path, tmp_path: Path) -> None:
    plan, here = replace(STUDY, classifiers=(("t/a", None),), levels=(0,), images=10), tmp_path / "runs"
    shutil.copytree(runs, here)
    run(plan, tmp_path / "out.json", runs=here, progress=False)
    damaged = here / "t" / "a" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match="damaged"):
        run(plan, tmp_path / "out.json", runs=here, progress=False)


def test_a_classifier_is_told_of_once() -> None:
    with pytest.raises(ValueError, match="named twice"):
        replace(STUDY, classifiers=(("t/b", "t/a"), ("t/b", None)))


@pytest.mark.parametrize("out", ["out.json", "another.json"])  # what the file says, and what the folder keeps
def test_what_was_measured_on_other_images_is_measured_again(
    out: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(STUDY, classifiers=(("t/a", None),), levels=(0,), images=10)
    run(plan, tmp_path / "out.json", store=tmp_path, runs=runs, progress=False)
    others = load(plan.data)  # as many as are looked at, and not the same
    measured: list[str] = []
    monkeypatch.setattr(study, "measured", lambda plan, bench, name, *rest: measured.append(name) or Kept({}))
    run(plan, tmp_path / out, store=tmp_path, runs=runs, progress=False, load=lambda name, split: others)
    assert measured == ["t/a"]
