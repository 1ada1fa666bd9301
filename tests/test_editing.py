"""Editing: inversion against ODEs whose solution is known, noise that comes back exactly, and every way to edit."""

from __future__ import annotations

import ast
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from torch import Tensor

import rgd
from rgd.denoiser import NetworkDenoiser
from rgd.editing import edits, experiment
from rgd.editing.experiment import GUIDED, WAYS, Editing, equal, means, slant
from rgd.lab.bench import run
from rgd.lab.judge import JudgeConfig
from rgd.networks import EncoderConfig, UNetConfig, build
from rgd.schedule import linear
from rgd.training.checkpoints import Model

ROOT = Path(__file__).resolve().parent.parent
SCHEDULE = linear(1000)
SHAPE: dict[str, Any] = dict(
    image_size=8, in_channels=1, model_channels=8, num_res_blocks=1, attention_resolutions=(), channel_mult=(1, 2)
)
CENTRES = torch.full((2, 1, 8, 8), -0.5, dtype=torch.float64)
CENTRES[0, :, :, :4] = CENTRES[1, :, :, 4:] = 0.5
WORLD = rgd.mixture(CENTRES, 0.02, SCHEDULE)
BLIND = rgd.unconditional(WORLD)


def drawn(n: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Images of the world, their classes, and the other ones."""
    x0, source = WORLD.sample(n, rgd.generator(3))
    return x0, source, 1 - source


def trip(denoise: Any, x0: Tensor, steps: int, rounds: int) -> Tensor:
    """By how much each image is another after a round trip."""
    up = edits.last(rgd.invert(denoise, x0, steps=steps, rounds=rounds))
    return (edits.last(rgd.ddim(denoise, up, steps=steps)) - x0).flatten(1).norm(dim=1)


def test_inversion_follows_the_ode_of_a_gaussian() -> None:
    mean, variance = 0.3, 0.2
    world = rgd.mixture(torch.full((1, 1, 1, 2), mean, dtype=torch.float64), variance, SCHEDULE)
    x0 = torch.tensor([-0.5, 0.1, 0.9, 0.4], dtype=torch.float64).reshape(2, 1, 1, 2)

    def errors(steps: int) -> list[float]:
        found = []
        for step in rgd.invert(world, x0, steps=steps):
            left = float(SCHEDULE.alpha_bar[step.t])
            exact = left**0.5 * mean + (x0 - mean) * ((left * variance + 1 - left) / variance) ** 0.5
            found.append(float((step.x - exact).abs().max()))
        return found

    coarse, fine = errors(100), errors(400)
    assert max(fine) < 0.05
    assert 3 < max(coarse) / max(fine) < 5  # of first order


def test_round_trips_err_less_with_more_steps_and_not_at_all_with_rounds() -> None:
    x0, *_ = drawn()
    few, many = (float(trip(BLIND, x0, steps, 0).mean()) for steps in (50, 200))
    assert many < few / 3
    assert float(trip(BLIND, x0, 200, 30).max()) < 1e-8


def test_round_trips_of_real_digits() -> None:
    x0, denoise = rgd.data.load("mnist", "few").take(4).x0(), rgd.zoo.load("mnist/ddpm", "cpu")
    few, many, again = (float(trip(denoise, x0, *how).mean()) for how in ((10, 0), (40, 0), (40, 1)))
    assert again < many < few / 2


@pytest.mark.parametrize("steps", [1, 2, 25])
def test_friendly_noise_comes_back_exactly(steps: int) -> None:
    x0, _, y = drawn()
    own = rgd.friendly(BLIND, x0, steps=steps)
    back = edits.last(rgd.ddim(BLIND, own.x, steps=steps, eta=1.0, noise=own)) + own.rest
    assert (back - x0).abs().max() < 1e-9
    guided = rgd.guide(BLIND, WORLD.grad_log_prob, 2.0)  # also with a guide, for any denoiser is one
    own = rgd.friendly(guided, x0, y, steps=steps)
    back = edits.last(rgd.ddim(guided, own.x, y, steps=steps, eta=1.0, noise=own)) + own.rest
    assert (back - x0).abs().max() < 1e-9


def test_friendly_noise_of_real_digits() -> None:
    x0, denoise = rgd.data.load("mnist", "few").take(4).x0(), rgd.zoo.load("mnist/ddpm", "cpu")
    own = rgd.friendly(denoise, x0, steps=20)
    back = edits.last(rgd.ddim(denoise, own.x, steps=20, eta=1.0, noise=own)) + own.rest
    assert (back - x0).abs().max() < 1e-5
    other = rgd.friendly(denoise, x0, steps=20, noise=rgd.NoiseStream(7))
    assert (other.noises - own.noises).abs().max() > 0.1
    assert own.noises.std() > 1.2  # wider than what the sampler draws


def test_until_ends_the_process() -> None:
    near = rgd.until(BLIND, 600)
    assert near.schedule.T == 601
    x0, _, y = drawn()
    steps = list(rgd.ddim(rgd.guide(near, WORLD.grad_log_prob, 1.0), x0, y, steps=5))
    assert steps[0].t == 600
    assert rgd.until(near, 300).schedule.T == 301
    xt, t = torch.randn_like(x0), torch.full_like(y, 600)
    assert torch.equal(near(xt, t, y).x0, BLIND(xt, t, y).x0)
    with pytest.raises(ValueError, match="the last time"):
        rgd.until(BLIND, -1)


@pytest.mark.parametrize("find", [rgd.friendly, lambda *given, **how: list(rgd.invert(*given, **how))])
def test_the_mean_form_is_refused(find: Any) -> None:
    x0, _, y = drawn(2)
    with pytest.raises(ValueError, match="mean form"):
        find(rgd.guide(BLIND, WORLD.grad_log_prob, 1.0, form="mean"), x0, y, steps=3)


IN_A_WORLD = {
    "noised": edits.noised, "inverted": edits.inverted, "edit-friendly": edits.befriended, "MagicMix": edits.mixed,
    "masked": edits.masked,
}  # fmt: skip


@pytest.mark.parametrize("way", IN_A_WORLD)
def test_an_edit_reaches_its_class_and_without_a_guide_stays(way: str) -> None:
    x0, source, y = drawn()
    x0, zero = x0.float(), torch.zeros_like(y)
    more = {"nu": 0.95} if way == "MagicMix" else {"share": 1.0} if way == "masked" else {}
    there = IN_A_WORLD[way](BLIND, WORLD.grad_log_prob, x0, y, 40.0, start=900, **more)
    assert (WORLD.logits(there, zero).argmax(1) == y).all()
    stayed = IN_A_WORLD[way](BLIND, WORLD.grad_log_prob, x0, y, 0.0, start=300, **more)
    assert (WORLD.logits(stayed, zero).argmax(1) == source).all()
    apart = (stayed - x0).flatten(1).norm(dim=1)
    assert apart.max() < (there - x0).flatten(1).norm(dim=1).min() / 2
    if way == "edit-friendly":
        assert apart.max() < 1e-4


def test_outside_a_mask_nothing_changes() -> None:
    x0, _, y = drawn()
    t = torch.full_like(y, 600)
    xt = SCHEDULE.q_sample(x0.float(), t, rgd.noise(x0.shape))
    mask = edits.looked_at(WORLD.grad_log_prob, xt, t, y, 0.25)
    assert mask.shape == x0.shape
    assert torch.allclose(mask.flatten(1).mean(1), torch.tensor(0.25), atol=0.02)
    edited = edits.masked(BLIND, WORLD.grad_log_prob, x0.float(), y, 20.0, share=0.25)
    off = (edited - x0).abs() * (1 - mask)
    assert off.max() < 1e-6
    assert ((edited - x0).abs() * mask).max() > 0.1


def test_between_is_what_it_says() -> None:
    x0, *_ = drawn()
    near, other = rgd.until(BLIND, 700), x0.flip(0)
    a, b = (edits.last(rgd.invert(near, x, steps=edits.STEPS)) for x in (x0, other))
    half = edits.between(near, x0, other, 0.5, correct=False)
    assert torch.allclose(half, (a + b) / 2**0.5)
    assert torch.allclose(edits.between(near, x0, other, 0.0, correct=False), a)
    cut = edits.between(near, x0, other, 0.5, correct=True, most=0.5)
    assert cut.abs().max() == 0.5
    left = near.schedule.signal[-1]
    whole = edits.between(near, x0, other, 0.5, correct=True, most=50.0)
    assert torch.allclose(whole - half, left * (0.6 - 0.5**0.5) * (x0 + other))


def tiny() -> tuple[Any, Any]:
    """A U-Net with random weights, also in its last layer, and it as a denoiser."""
    network = build(UNetConfig(**SHAPE, out_channels=1), 1).eval().requires_grad_(False)
    network.out[-1].weight.normal_(generator=rgd.generator(5), std=0.05)
    return network, NetworkDenoiser(network, SCHEDULE)


def test_what_is_pushed_is_the_bottleneck_and_only_within_the_call() -> None:
    network, denoise = tiny()
    x0, source, y = drawn()
    x0, t = x0.float(), torch.full_like(y, 300)
    h = edits.bottleneck(network)
    means_of = edits.class_means(h, SCHEDULE.respace(3), x0, source, 2)
    assert set(means_of) == set(SCHEDULE.respace(3).timesteps.tolist())
    assert means_of[0].shape == (2, *h(x0, t).shape[1:])
    plain, zero = denoise(x0, t).eps, torch.zeros_like(h(x0, t))
    assert torch.equal(edits.Pushed(denoise, network, lambda t, y: zero)(x0, t, y).eps, plain)
    pushed = edits.Pushed(denoise, network, lambda t, y: zero + 1)
    assert not torch.allclose(pushed(x0, t, y).eps, plain)
    assert torch.equal(denoise(x0, t).eps, plain)
    with pytest.raises(ValueError, match="labels"):
        pushed(x0, t)


def test_features_and_a_hand_pull_where_they_should() -> None:
    network, denoise = tiny()
    x0, _, y = drawn()
    x0, h, push = x0.float(), edits.bottleneck(network), WORLD.grad_log_prob
    far = [edits.rescaled(denoise, push, x0, y, 5.0, features=h, share=share) for share in (0.0, 0.9)]
    assert torch.allclose(far[0], edits.inverted(denoise, push, x0, y, 5.0), atol=1e-5)
    assert not torch.allclose(far[0], far[1])
    how = dict(h=h, others=x0[:3])
    alone, pulled = (edits.in_the_hand_of(denoise, push, x0, y, 2.0, **how, share=share) for share in (0.0, 0.2))
    anew = edits.last(rgd.ddim(rgd.guide(denoise, push, 2.0), rgd.noise(x0.shape), y, steps=edits.STEPS))
    assert torch.allclose(alone, anew, atol=1e-5)
    assert not torch.allclose(alone, pulled)


def test_a_counterfactual_has_the_ink_that_was_wanted() -> None:
    x0, _, y = drawn()
    x0 = x0.float()
    wanted = edits.ink(x0) + 0.03
    off = [(edits.ink(edits.counterfactual(BLIND, WORLD.grad_log_prob, x0, y, 5.0, wanted=wanted, width=width))
            - wanted).abs().mean() for width in (1e6, 0.01)]  # fmt: skip
    assert off[1] < off[0] / 2


def test_slant_and_ink_are_measured() -> None:
    image = torch.full((2, 1, 28, 28), -1.0)
    for row in range(4, 24):
        image[0, 0, row, 4 + row // 2] = 1.0  # half a column a row
        image[1, 0, row, 14] = 1.0
    assert torch.allclose(slant(image), torch.tensor([0.5, 0.0]), atol=0.01)
    assert torch.allclose(edits.ink(image), torch.full((2,), 20 / 784))


def cell(way: str, guide: str, scale: float, seed: int, right: float, far: float) -> dict[str, Any]:
    number = rgd.metrics.mean(torch.tensor([far, far])).to_json()
    return {"way": way, "guide": guide, "scale": scale, "seed": seed, "pixels": number, "features": number,
            "accuracy": {**number, "value": right}}  # fmt: skip


def test_distances_at_one_accuracy_are_between_scales() -> None:
    cells = [cell("a", guide, scale, seed, right, far + more)
             for seed in (0, 1) for guide, more in (("m/v", 0.0), ("m/r", 1.0))
             for scale, right, far in ((1.0, 0.5, 2.0), (2.0, 0.9, 6.0 + seed))]  # fmt: skip
    cells += [cell("b", "none", 1.0, seed, 0.7, 1.0) for seed in (0, 1)]
    a, r, b = equal(cells, 0.8)
    assert a["name"] == "a, v"
    assert math.isclose(a["pixels"]["value"], 5 + 0.75 / 2)
    assert math.isclose(r["pixels_more"]["value"], 1.0)
    assert r["pixels_more"]["high"] - r["pixels_more"]["low"] < 1e-9
    assert b["pixels"] is None
    assert [row["name"] for row in means(cells)][:2] == ["a, v, 1", "a, v, 2"]
    assert math.isclose(means(cells)[1]["pixels"]["value"], 6.5)


PLAN = Editing(
    "digits", "t/judge", "t/ddpm", ("t/a", "t/b"), ways=tuple((way, scales[:1]) for way, scales in WAYS), images=2,
    seeds=(0,), others=100,
)  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    runs = tmp_path_factory.mktemp("runs")
    for name, config, denoising in (
        ("t/ddpm", UNetConfig(**SHAPE, out_channels=1), {"predicts": "eps", "variance": "large"}),
        ("t/a", EncoderConfig(**SHAPE, out_channels=10), {}),
        ("t/b", EncoderConfig(**SHAPE, out_channels=10), {}),
        ("t/judge", JudgeConfig(image_size=8, in_channels=1, out_channels=10, width=8), {}),
    ):
        model = Model(build(config, len(name)), linear(), denoising, tuple("0123456789"))
        model.save(runs / name / "model.safetensors")
    return runs, run(PLAN, runs / "out.json", store=runs / "store", runs=runs, progress=False)


def test_every_edit_is_there(found: tuple[Path, dict[str, Any]]) -> None:
    _, results = found
    assert json.loads(json.dumps(results)) == results
    assert [(c["way"], c["guide"], c["scale"], c["seed"]) for c in results["edits"]] == PLAN.cells()
    assert {way for way, _ in WAYS} > set(GUIDED)
    assert all(0 <= c["accuracy"]["value"] <= c["either"]["value"] <= 1 for c in results["edits"])
    assert all(("inside" in c) == (c["way"] == "noised") for c in results["edits"])
    assert len(results["means"]) == len(PLAN.cells())
    assert all(row["friendly_error"] < 1e-5 for row in results["noise"])


def test_a_run_goes_on_from_its_file_alone(found: tuple[Path, dict[str, Any]], monkeypatch: Any) -> None:
    runs, results = found
    monkeypatch.setattr(experiment.Work, "__init__", lambda *_: pytest.fail("nothing is computed again"))
    assert run(PLAN, runs / "out.json", store=runs / "fresh", runs=runs, progress=False) == results


def test_a_plan_in_minutes_is_whole() -> None:
    small = replace(PLAN, images=40).small()
    assert {(c[0], c[1]) for c in small.cells()} == {(c[0], c[1]) for c in PLAN.cells()}


SHOWN = ("last", "noised", "inverted", "befriended", "descend", "mixed", "looked_at", "masked", "along", "rescaled",
         "between", "class_means", "Pushed", "along_h", "in_the_hand_of", "counterfactual")  # fmt: skip


def shown() -> dict[str, Any]:
    """These functions as chapter 20 defines them."""
    cells = nbformat.read(ROOT / "notebooks" / "20_editing_with_a_guide.ipynb", 4).cells
    page: dict[str, Any] = {}
    exec("import math, torch, rgd\nimport torch.nn.functional as F\nfrom rgd.editing.edits import *", page)
    own = {name: page.pop(name, None) for name in SHOWN}
    assert set(own) == set(SHOWN)
    for source in [c.source for c in cells if c.cell_type == "code" and "pip install" not in c.source]:
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in SHOWN:
                exec(compile(ast.Module([node], []), "chapter 20", "exec"), page)
    return page


def test_the_chapter_shows_what_the_experiment_runs() -> None:
    page = shown()
    assert set(SHOWN) <= set(page)
    network, denoise = tiny()
    x0, source, y = drawn()
    x0, h, near = x0.float(), edits.bottleneck(network), rgd.until(denoise, edits.START)
    way, common = edits.STEPS, (denoise, WORLD.grad_log_prob, x0, y, 3.0)
    assert page["STEPS"] == way
    for name in ("noised", "inverted", "befriended", "mixed", "masked"):
        assert torch.allclose(page[name](*common), getattr(edits, name)(*common), atol=1e-5), name
    for name, more in (("rescaled", {"features": h}), ("in_the_hand_of", {"h": h, "others": x0[:3]}),
                       ("counterfactual", {"wanted": edits.ink(x0) + 0.02})):  # fmt: skip
        assert torch.allclose(page[name](*common, **more), getattr(edits, name)(*common, **more), atol=1e-4), name
    for correct in (False, True):
        ours, theirs = (f(near, x0, x0.flip(0), 0.4, correct=correct) for f in (edits.between, page["between"]))
        assert torch.allclose(ours, theirs, atol=1e-5)
    found = page["class_means"](h, near.schedule.respace(way), x0, source, 2)
    for t, mean in edits.class_means(h, near.schedule.respace(way), x0, source, 2).items():
        assert torch.allclose(found[t], mean, atol=1e-6)
    ours, theirs = (f(denoise, network, found, x0, source, y, 3.0) for f in (edits.along_h, page["along_h"]))
    assert torch.allclose(ours, theirs, atol=1e-5)
