"""The core ideas of chapter 21, against what they must be; and their experiment, whole and small."""

from __future__ import annotations

import ast
import json
import math
import re
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
import torch

import rgd
from rgd.attacks import unit
from rgd.experiments import read
from rgd.experiments.worlds import sphere
from rgd.lab.bench import run
from rgd.lab.judge import JudgeConfig
from rgd.neighbours import ideas
from rgd.neighbours.counting import Dots, canvases, counted
from rgd.neighbours.demonstrations import DEMONSTRATIONS
from rgd.neighbours.noise import NoiseDecides
from rgd.networks import EncoderConfig, UNetConfig, build
from rgd.schedule import linear
from rgd.training.checkpoints import Model
from tools import figures

SHAPE: dict[str, Any] = dict(
    image_size=8, in_channels=1, model_channels=8, num_res_blocks=1, attention_resolutions=(), channel_mult=(1,)
)
PLAN = NoiseDecides(
    "digits", "t/judge", "t/ddpm", "t/conditional", ("t/a", "t/b", "t/c"), "t/d", images=20, few=2, steps=3, rounds=1,
    draws=60, training=10, reference=100, seeds=(0, 1),
)  # fmt: skip
ROOT = Path(__file__).resolve().parent.parent
CHAPTER = ROOT / "notebooks" / "21_the_noise_decides.ipynb"


def awake(network: Any) -> Any:
    """A fresh network whose zeros are gone, so that it answers to what it is asked."""
    with torch.no_grad():
        for k, weight in enumerate(network.parameters()):
            if weight.dim() > 1 and not weight.any():
                weight.normal_(std=0.5, generator=rgd.generator(k))
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    unet, denoising = UNetConfig(**SHAPE, out_channels=1), {"predicts": "eps", "variance": "large"}
    knows = UNetConfig(**SHAPE, out_channels=1, num_classes=10, null_label=True)
    for name, config, about in (
        ("t/ddpm", unet, denoising),
        ("t/conditional", knows, denoising),
        *((f"t/{k}", EncoderConfig(**SHAPE, out_channels=10), {}) for k in "abcd"),
        ("t/judge", JudgeConfig(image_size=8, in_channels=1, out_channels=10, width=8), {}),
    ):
        model = Model(build(config, len(name)), linear(), about, tuple("0123456789"))
        model.save(runs / name / "model.safetensors")
    return runs


def test_the_experiment_is_whole_and_goes_on(models: Path) -> None:
    found = run(PLAN, models / "out.json", store=models / "store", runs=models, progress=False)
    assert json.loads(json.dumps(found)) == found
    assert set(DEMONSTRATIONS) <= set(found)
    assert len(found["cells"]) == 2 * len(DEMONSTRATIONS)
    assert len(found["anagrams"]) == 4 * 3 * 3
    assert found["stopping"][0]["accuracy"]["n"] == 40
    panels = figures.noise(found).axes
    assert [len(ax.containers) for ax in panels] == [6, 10, 6, 9, 5, 5, 6, 8]
    again = run(PLAN, models / "out.json", store=models / "other", runs=models, progress=False)
    assert again == found  # taken over from the file


def test_the_project_knows_it() -> None:
    plan = read("noise")
    assert isinstance(plan, NoiseDecides)
    assert plan.small().images < plan.images


def test_an_anagram_is_the_gradient_of_both_views() -> None:
    network = awake(build(EncoderConfig(**SHAPE, out_channels=10), 3))
    xt, t = rgd.noise((3, 1, 8, 8), seed=1), torch.tensor([10, 200, 700])
    y, gradient = torch.full((3,), 6), rgd.grad_log_prob(network)
    for view in (ideas.turned, ideas.flipped):
        x = xt.clone().requires_grad_()
        both = network(x, t).log_softmax(1)[:, 6] + network(view(x), t).log_softmax(1)[:, 9]
        (expected,) = torch.autograd.grad(both.sum(), x)
        found = ideas.anagram(gradient, view, 9)(xt, t, y)
        assert torch.allclose(found, expected, atol=1e-6)
        up, down = gradient(xt, t, y), view(gradient(view(xt), t, y + 3))
        even = ideas.anagram(gradient, view, 9, by_norm=True)(xt, t, y)
        a, b = (unit(g) for g in (up, down))
        assert torch.allclose(unit(even), unit(a + b), atol=1e-5)


def test_the_best_start_is_the_best_for_each_image() -> None:
    scores = torch.tensor([[0.0, 5.0, 1.0], [2.0, 4.0, 3.0]])
    starts = torch.arange(6.0).reshape(2, 3, 1, 1, 1)
    assert ideas.best_of(scores, starts).flatten().tolist() == [3.0, 1.0, 5.0]


def test_on_a_line_the_best_of_n_is_exact() -> None:
    """Two equal classes left and right: DDIM keeps the side, so of N starts all are on the wrong one 1 in 2^N times."""
    world = rgd.mixture(torch.tensor([-1.0, 1.0]).double().reshape(2, 1, 1, 1), 0.05, linear(1000))
    n, N = 4000, 3
    starts, y = rgd.noise((N * n, 1, 1, 1), seed=2).double().reshape(N, n, 1, 1, 1), torch.arange(n) % 2
    scores = torch.stack([ideas.promise(world.classifier, x, y, 1000) for x in starts])
    assert scores.exp().sub(0.5).abs().max() < 0.03  # nearly nothing is known, and all is decided
    *_, step = rgd.ddim(rgd.unconditional(world), ideas.best_of(scores, starts), y, steps=50)
    right = (world.logits(step.x, 0 * y).argmax(1) == y).double().mean()
    assert right == pytest.approx(1 - 0.5**N, abs=0.015)


def test_golden_noise_moves_along_the_gradient() -> None:
    world = sphere(linear(1000)).mixture
    xT, y = rgd.noise((20, 1, 1, 64), seed=3).double(), torch.arange(20) % 5
    plain = rgd.unconditional(world)
    assert torch.allclose(ideas.golden(plain, world.grad_log_prob, xT, y, 0.0, 990), xT, atol=1e-2)
    shift = ideas.golden(plain, world.grad_log_prob, xT, y, 4.0, 900) - xT
    g = world.grad_log_prob(xT, 0 * y + 999, y)
    assert torch.nn.functional.cosine_similarity(shift.flatten(1), g.flatten(1)).min() > 0.95


def test_stopping_asks_less_and_changes_nothing_where_it_never_stops() -> None:
    world = sphere(linear(1000)).mixture
    xT, y = rgd.noise((30, 1, 1, 64), seed=4).double(), torch.arange(30) % 5
    plain, drawn, asked = rgd.unconditional(world), {}, {}
    for sure in (2.0, 0.9):
        gradient = ideas.Stopping(world.classifier, sure)
        guided = rgd.guide(plain, gradient, 2.0)
        for _ in range(2):  # the second trajectory remembers nothing of the first
            *_, step = rgd.ddim(guided, xT, y, steps=20)
        drawn[sure], asked[sure] = step.x, gradient.asked
    *_, step = rgd.ddim(rgd.guide(plain, world.grad_log_prob, 2.0), xT, y, steps=20)
    assert torch.allclose(drawn[2.0], step.x)
    assert (asked[2.0] == 20).all()
    assert (asked[0.9] < 20).all()
    assert (drawn[0.9] - step.x).abs().max() > 0


def test_classifier_free_guidance_stops_where_both_say_the_same() -> None:
    world = sphere(linear(1000)).mixture
    xT, y = rgd.noise((30, 1, 1, 64), seed=4).double(), torch.arange(30) % 5
    never, soon = ideas.Aligned(world, 3.0, 2.0), ideas.Aligned(world, 3.0, -2.0)
    ends = {}
    for name, denoise in (("never", never), ("soon", soon), ("full", rgd.classifier_free(world, 3.0))):
        *_, step = rgd.ddim(denoise, xT, y, steps=10)
        ends[name] = step.x
    assert torch.allclose(ends["never"], ends["full"])
    assert never.asked.tolist() == [10] * 30
    assert soon.asked.tolist() == [1] * 30


def test_the_expert_of_a_level_is_asked() -> None:
    of = [(0, lambda xt, t, y: 0 * xt), (300, lambda xt, t, y: 0 * xt + 1)]
    by = ideas.experts(of)
    x = torch.zeros(2, 1, 1, 1)
    assert [float(by(x, torch.full((2,), t), None)[0]) for t in (0, 299, 300, 999)] == [0, 0, 1, 1]  # type: ignore[arg-type]


def test_tokens_are_learned_and_nothing_else_moves() -> None:
    knows = UNetConfig(**SHAPE, out_channels=1, num_classes=10, null_label=True)
    network = awake(build(knows, 1))
    denoise = rgd.NetworkDenoiser(network, linear(1000), conditional=True)
    guide = awake(build(EncoderConfig(**SHAPE, out_channels=10), 2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    own = network.label_emb.weight.detach()[:10]
    found = ideas.learn(denoise, guide, own, (10, 1, 8, 8), 2, 0, steps=3)
    assert found.shape == own.shape
    assert (found - own).abs().max() > 1e-3
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    x, t, y = rgd.noise((4, 1, 8, 8), seed=1), torch.full((4,), 300), torch.arange(4)
    assert torch.equal(ideas.speaking(denoise, own)(x, t, y).x0, denoise(x, t, y).x0)
    assert torch.equal(ideas.speaking(denoise, own)(x, t).x0, denoise(x, t).x0)


def test_a_canvas_has_as_many_dots_as_its_label_says() -> None:
    data = canvases(60, 0)
    assert torch.equal(counted(data.x0()), data.labels + 1)
    assert data.labels.bincount().tolist() == [12] * 5
    specks = data.x0().clone()
    specks[:, :, -1, -1] = 1.0  # one pixel is no dot
    assert torch.equal(counted(specks), data.labels + 1)
    assert not torch.equal(data.images, canvases(60, 1).images)


def every_canvas(number: int) -> torch.Tensor:
    """All canvases of so many dots, (K, 1, 16, 16), as pixels of -1 and 1: fields, and in each of them four places."""
    dots = torch.zeros(9, 4, 16, 16, dtype=torch.float64)
    for field, place in product(range(9), range(4)):
        top, left = 5 * (field // 3) + place // 2, 5 * (field % 3) + place % 2
        dots[field, place, top : top + 3, left : left + 3] = 1
    chosen = product(combinations(range(9), number), product(range(4), repeat=number))
    return torch.stack([sum(dots[f, p] for f, p in zip(*pair)) for pair in chosen])[:, None] * 2 - 1


@pytest.mark.parametrize("t", [80, 350, 900])
def test_dots_are_known_exactly(t: int) -> None:
    exact, images = Dots(linear(1000)), canvases(6, 3).x0().double()
    times = torch.full((6,), t)
    signal, sigma = (exact.schedule.at(name, times, images) for name in ("signal", "sigma"))
    xt = signal * images + sigma * rgd.noise(tuple(images.shape), 4).double()
    log_black = -(xt + signal).square().flatten(1).sum(dim=1) / (2 * sigma[:, 0, 0, 0] ** 2)
    for number in (1, 2, 3):
        every = every_canvas(number)
        square = (xt.flatten(1)[:, None] - signal[:, :, 0, 0, None] * every.flatten(1)).square().sum(dim=2)
        log_each = -square / (2 * sigma[:, 0, 0] ** 2)
        log_prob = log_each.logsumexp(dim=1) - math.log(len(every)) - log_black
        assert torch.allclose(exact.logits(xt, times)[:, number - 1], log_prob, rtol=1e-9, atol=1e-7)
        mean = (log_each.softmax(dim=1) @ every.flatten(1)).reshape(xt.shape)
        assert torch.allclose(exact(xt, times, torch.full_like(times, number - 1)).x0, mean, atol=1e-7)


def test_an_exact_counter_is_obeyed() -> None:
    exact, y = Dots(linear(1000)), torch.arange(20) % 5
    pushed = rgd.guide(rgd.unconditional(exact), rgd.grad_log_prob(exact.logits), 1.0)
    starts = rgd.noise((20, 1, 16, 16), 5)
    assert torch.equal(counted(ideas.last(rgd.ddim(pushed, starts, y, steps=25))), y + 1)
    assert torch.allclose(
        ideas.last(rgd.ddim(pushed, starts, y, steps=25)), ideas.last(rgd.ddim(exact, starts, y, steps=25)), atol=1e-3
    )


class Plain(ast.NodeTransformer):
    """Without the annotations of what is assigned."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        return node if node.value is None else ast.Assign([node.target], node.value, lineno=node.lineno)


def bare(source: str) -> dict[str, str]:
    """The functions and classes of a source, without docstrings and annotations."""
    found = {}
    for top in Plain().visit(ast.parse(source)).body:
        for node in ast.walk(top):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:]
            if isinstance(node, ast.ClassDef):
                node.body = [part for part in node.body if not isinstance(part, ast.AnnAssign)]
            if isinstance(node, ast.FunctionDef):
                node.returns = None
                for argument in (*node.args.args, *node.args.kwonlyargs, *filter(None, [node.args.vararg])):
                    argument.annotation = None
        if isinstance(top, ast.FunctionDef | ast.ClassDef):
            found[top.name] = ast.unparse(top)
    return found


def test_the_chapter_shows_what_the_experiment_runs() -> None:
    cells = json.loads(CHAPTER.read_text())["cells"]
    sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code" and "%pip" not in "".join(c["source"])]
    shown = {name: re.sub(r"\brgd\.", "", text) for source in sources for name, text in bare(source).items()}
    files = ("ideas.py", "counting.py")
    known = {n: text for file in files for n, text in bare((ROOT / "rgd" / "neighbours" / file).read_text()).items()}
    both = set(shown) & set(known)
    assert both > {
        "anagram",
        "promise",
        "best_of",
        "golden",
        "by_class",
        "Stopping",
        "experts",
        "speaking",
        "learn",
        "Dots",
    }
    assert {name for name in both if shown[name] != known[name]} == set()
