"""Gradients held against the truth without knowing it: on mixtures, where it is known, the answer must be the same."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rgd.data import load
from rgd.errors import CheckpointError, DataError
from rgd.experiments import matching
from rgd.experiments.matching import Matching
from rgd.guidance import grad_log_prob
from rgd.lab.bench import Bench, run
from rgd.lab.registry import find
from rgd.lab.store import Kept
from rgd.measure import gradients, mean
from rgd.mixtures import Mixture, mixture
from rgd.networks import EncoderConfig, UNetConfig, build
from rgd.randomness import generator, noise
from rgd.schedule import cosine, linear
from rgd.training.checkpoints import Model

SCHEDULE = linear()
N = 40_000


@pytest.fixture(scope="module")
def world() -> Mixture:
    angle = torch.arange(6) * torch.pi / 3
    means = 1.2 * torch.stack([angle.cos(), angle.sin()], dim=1).reshape(6, 1, 1, 2).double()
    return mixture(means, 0.08, SCHEDULE, torch.arange(6) % 3)


def noised(world: Mixture, level: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x0, y = world.sample(N, generator(0, "x0"))
    eps = torch.randn(x0.shape, generator=generator(0, "eps"), dtype=x0.dtype)
    t = torch.full((N,), level)
    return SCHEDULE.q_sample(x0, t, eps), t, y, eps


@pytest.mark.parametrize("level", [100, 300])
@pytest.mark.parametrize("wrong", ["exact", "too long", "turned", "of another world"])
def test_it_tells_the_inner_product_with_the_truth(world: Mixture, level: int, wrong: str) -> None:
    xt, t, y, eps = noised(world, level)
    exact = world.grad_log_prob(xt, t, y)
    other = mixture(world.means.flip(-1) * 1.1, 0.2, SCHEDULE, world.labels)
    g = {
        "exact": exact, "too long": 1.7 * exact, "turned": exact.flip(-1) * 0.8,
        "of another world": other.grad_log_prob(xt, t, y),
    }[wrong]  # fmt: skip
    sigma = SCHEDULE.at("sigma", t, xt)
    inner, energy = gradients.match(g, world(xt, t), eps, sigma)
    truth = (sigma**2 * g * exact).flatten(1).sum(1)
    told = mean(inner - truth)
    assert abs(told.value) <= told.high - told.low + 1e-9  # four standard errors
    assert told.high - told.low < 0.1 * float((sigma**2 * g * exact).flatten(1).sum(1).abs().mean()) + 1e-9
    assert torch.allclose(energy, (sigma * g).flatten(1).square().sum(1))
    if wrong == "too long":
        assert inner.mean() / energy.mean() == pytest.approx(1 / 1.7, abs=0.05)


def test_a_calibrated_gradient_does_not_mind_a_poor_denoiser(world: Mixture) -> None:
    """Its mean over the labels that a point may have is zero, and so is what the denoiser's error adds."""
    xt, t, y, eps = noised(world, 200)
    guess = world(xt, t)
    poor = replace(guess, eps=0.5 * guess.eps + 0.3)
    g, sigma = world.grad_log_prob(xt, t, y), SCHEDULE.at("sigma", t, xt)
    (good, _), (bad, _) = (gradients.match(g, answer, eps, sigma) for answer in (guess, poor))
    changed = mean(good - bad)
    assert abs(changed.value) <= changed.high - changed.low  # four standard errors
    assert float((good - bad).abs().mean()) > 20 * (changed.high - changed.low)  # though each image minds


def test_information_is_the_energy_of_the_true_gradient(world: Mixture) -> None:
    """The I-MMSE relation, on which `information` rests: d I(y; xt) / d log snr = sigma^2 E ||g*||^2 / 2."""
    energies, informations, log_snr = [], [], []
    for level in (199, 200, 201):
        xt, t, y, _ = noised(world, level)
        sigma = SCHEDULE.at("sigma", t, xt)
        energies.append((sigma * world.grad_log_prob(xt, t, y)).flatten(1).square().sum(1).mean())
        log_p = world.logits(xt, t).log_softmax(dim=1)
        informations.append(-log_p.gather(1, y[:, None]).mean())
        log_snr.append(torch.logit(SCHEDULE.alpha_bar[level]))
    slope = (informations[2] - informations[0]) / (log_snr[0] - log_snr[2])
    assert 2 * float(slope) == pytest.approx(float(energies[1]), rel=0.03)


SHAPE: dict[str, Any] = dict(
    image_size=8, in_channels=1, model_channels=8, num_res_blocks=1, attention_resolutions=(), channel_mult=(1,)
)
PLAN = Matching("digits", ("t/ddpm",), ("t/a", "t/b"), "t/a", levels=(100, 300), images=60)


def put(runs: Path, name: str, config: Any, seed: int) -> None:
    network = build(config, seed).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator(seed)))
    denoising = {"predicts": "eps", "variance": "large"} if isinstance(config, UNetConfig) else {}
    Model(network, SCHEDULE, denoising, tuple("0123456789")).save(runs / name / "model.safetensors")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name, config, seed in (
        ("t/ddpm", UNetConfig(**SHAPE, out_channels=1), 1),
        ("t/a", EncoderConfig(**SHAPE, out_channels=10), 2),
        ("t/b", EncoderConfig(**SHAPE, out_channels=10), 3),
    ):
        put(folder, name, config, seed)
    return folder


def test_results_are_what_the_images_say(runs: Path, tmp_path: Path) -> None:
    found = run(PLAN, tmp_path / "out.json", store=tmp_path, runs=runs, progress=False)
    assert json.loads((tmp_path / "out.json").read_text()) == found
    test = load("digits", "test").take(60)
    x0, y, t = test.x0(), test.labels, torch.full((60,), 300)
    eps = noise(x0.shape, 0)
    xt, told = SCHEDULE.q_sample(x0, t, eps), {}
    denoise = find("t/ddpm", runs).use()
    with torch.no_grad():
        guess = denoise(xt, t)  # type: ignore[operator]
    for name in ("t/a", "t/b"):
        g = grad_log_prob(find(name, runs).network)(xt, t, y)  # type: ignore[arg-type]
        told[name] = gradients.match(g, guess, eps, SCHEDULE.at("sigma", t, xt))  # type: ignore[arg-type]
    row = found["classifiers"]["t/b"]["levels"][1]
    by = row["by"]["t/ddpm"]
    (inner_a, energy_a), (inner_b, energy_b) = told["t/a"], told["t/b"]
    assert row["energy"]["value"] == pytest.approx(float(energy_b.mean()), rel=1e-5)
    assert by["scale"]["value"] == pytest.approx(float(inner_b.mean() / energy_b.mean()), rel=1e-4)
    explained = (2 * inner_b - energy_b).mean()
    assert by["explained"]["value"] == pytest.approx(float(explained), rel=1e-4)
    assert by["explained_more"]["value"] == pytest.approx(float(explained - (2 * inner_a - energy_a).mean()), rel=1e-4)
    rescaled = [float(i.mean() ** 2 / e.mean()) for i, e in ((inner_a, energy_a), (inner_b, energy_b))]
    assert by["rescaled_more"]["value"] == pytest.approx(rescaled[1] - rescaled[0], rel=1e-3, abs=1e-9)
    assert found["classifiers"]["t/a"]["levels"][0]["by"]["t/ddpm"]["explained_more"]["value"] == 0
    (between,) = found["classifiers"]["t/b"]["between"]
    lost = [level["cross_entropy"]["value"] for level in found["classifiers"]["t/b"]["levels"]]
    slope = 2 * (lost[1] - lost[0]) / (found["log_snr"][0] - found["log_snr"][1])
    assert between["information"]["value"] == pytest.approx(slope, rel=1e-6)


def counting(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Which classifiers are measured from now on, and where."""
    seen, measure = [], matching.measured

    def measured(plan: Matching, bench: Bench, name: str, test: Any, level: int) -> Kept:
        seen.append((name, level))
        return measure(plan, bench, name, test, level)

    monkeypatch.setattr(matching, "measured", measured)
    return seen


def test_only_new_levels_are_measured(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run(PLAN, tmp_path / "out.json", store=tmp_path, runs=runs, progress=False)
    measured = counting(monkeypatch)
    after = run(replace(PLAN, levels=(100, 200, 300)), tmp_path / "out.json", store=tmp_path, runs=runs, progress=False)
    assert measured == [("t/a", 200), ("t/b", 200)]
    assert after["classifiers"]["t/b"]["levels"][2] == before["classifiers"]["t/b"]["levels"][1]


def test_a_reference_is_one_of_the_classifiers() -> None:
    with pytest.raises(ValueError, match="t/c is not among"):
        replace(PLAN, reference="t/c")


def test_what_is_there_already_is_left_alone(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    options: dict[str, Any] = {"runs": runs, "progress": False}
    first = run(PLAN, out, store=tmp_path / "here", **options)
    before = out.read_bytes()
    assert run(PLAN, out, store=tmp_path / "elsewhere", **options) == first
    assert out.read_bytes() == before
    fewer = replace(PLAN, images=50)
    assert run(fewer, out, store=tmp_path / "elsewhere", **options)["plan"]["images"] == 50


def test_a_finished_matching_does_not_need_its_models(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    options: dict[str, Any] = {"runs": tmp_path / "runs", "progress": False}
    first = run(PLAN, tmp_path / "out.json", store=tmp_path / "here", **options)
    shutil.rmtree(tmp_path / "runs" / "t" / "b")
    assert run(PLAN, tmp_path / "out.json", store=tmp_path / "elsewhere", **options) == first
    with pytest.raises(CheckpointError, match="t/b is not published"):
        run(replace(PLAN, images=50), tmp_path / "out.json", store=tmp_path / "elsewhere", **options)


def test_models_of_two_schedules_do_not_match(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    b = find("t/b", runs)
    replace(b, schedule=cosine()).save(tmp_path / "runs" / "t" / "b" / "model.safetensors")
    with pytest.raises(DataError, match="differ in their schedules"):
        run(PLAN, tmp_path / "out.json", runs=tmp_path / "runs", progress=False)


def test_every_number_is_that_of_its_own_classifier_and_denoiser(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs, tmp_path / "runs")
    put(tmp_path / "runs", "t/early", UNetConfig(**SHAPE, out_channels=1), 5)
    plan = replace(PLAN, denoisers=("t/ddpm", "t/early"))
    found = run(plan, tmp_path / "out.json", store=tmp_path, runs=tmp_path / "runs", progress=False)
    models = {n: find(n, tmp_path / "runs") for n in (*plan.denoisers, *plan.classifiers)}
    test, told, b = load("digits", "test").take(60), [], models["t/b"].network
    x0, y, eps = test.x0(), test.labels, noise((60, 1, 8, 8), 0)
    for row, level in zip(found["classifiers"]["t/b"]["levels"], plan.levels):
        t = torch.full((60,), level)
        xt, sigma = SCHEDULE.q_sample(x0, t, eps), SCHEDULE.sigma[level].float()
        with torch.no_grad():
            lost = float(F.cross_entropy(b(xt, t), y))
            guesses = {n: models[n].use()(xt, t) for n in plan.denoisers}  # type: ignore[operator]
        assert row["cross_entropy"]["value"] == pytest.approx(lost, rel=1e-5)
        for name, guess in guesses.items():
            inner, energy = gradients.match(grad_log_prob(b)(xt, t, y), guess, eps, sigma)  # type: ignore[arg-type]
            assert row["by"][name]["inner"]["value"] == pytest.approx(float(inner.mean()), rel=1e-4)
            rescaled = float(inner.mean() ** 2 / energy.mean())
            assert row["by"][name]["rescaled"]["value"] == pytest.approx(rescaled, rel=1e-3)
        told.append(float(energy.mean()))
    assert found["classifiers"]["t/b"]["between"][0]["energy"]["value"] == pytest.approx(sum(told) / 2, rel=1e-5)
    ratio = SCHEDULE.alpha_bar[[100, 300]] / (1 - SCHEDULE.alpha_bar[[100, 300]])
    assert found["log_snr"] == pytest.approx(ratio.log().tolist())


def test_what_was_measured_of_other_weights_or_images_is_measured_again(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = counting(monkeypatch)
    shutil.copytree(runs, tmp_path / "runs")
    for seed in (None, 2, 9):
        if seed is not None:
            put(tmp_path / "runs", "t/b", EncoderConfig(**SHAPE, out_channels=10), seed)
        run(PLAN, tmp_path / "out.json", store=tmp_path, runs=tmp_path / "runs", progress=False)
    run(replace(PLAN, images=50), tmp_path / "out.json", store=tmp_path, runs=tmp_path / "runs", progress=False)
    a, b = ([(name, level) for level in PLAN.levels] for name in ("t/a", "t/b"))
    assert measured == [*a, *b, *b, *a, *b], "with seed 2 it is the same as t/a, of which all is known"
