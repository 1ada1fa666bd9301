"""The core ideas of chapter 22, against what they must be; and their experiment, whole and small."""

from __future__ import annotations

import json
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.special import ndtr
from scipy.stats import ks_1samp, kstest
from test_neighbours import SHAPE, awake, bare
from torch import nn

import rgd
from rgd.denoiser import Prediction
from rgd.errors import RgdError
from rgd.experiments import read
from rgd.experiments.worlds import sphere
from rgd.faster import cheaper, distil, flow, makers, published
from rgd.faster.experiment import DEMONSTRATIONS, FewerSteps
from rgd.identity import key
from rgd.lab import checks
from rgd.lab.bench import run
from rgd.lab.judge import JudgeConfig
from rgd.lab.seeds import across
from rgd.networks import EncoderConfig, UNetConfig, build
from rgd.schedule import linear
from rgd.training.checkpoints import Model
from rgd.variants.networks import (
    Autoencoder,
    AutoencoderConfig,
    Made,
    MadeConfig,
    Straight,
    StraightConfig,
    Table,
    TableConfig,
    Told,
)
from tools import figures

ROOT = Path(__file__).resolve().parent.parent
CHAPTER = ROOT / "notebooks" / "22_fewer_steps_fewer_bits.ipynb"
PLAN = FewerSteps(
    "mnist-like", "t/judge", "t/ddpm", "t/conditional", ("t/vanilla", "t/robust"), images=20, steps=4, digits=20,
    training=3, latents=40, draws=50, reference=60, seeds=(0, 1),
)  # fmt: skip
LINE = rgd.mixture(torch.tensor([-1.0, 1.0]).double().reshape(2, 1, 1, 1), 0.05, linear(1000))


def images(name: str, split: str = "train") -> Any:
    from rgd.lab import datasets

    if name == "digits":
        return datasets.load(name, split)
    pixels = torch.randint(256, (300, 1, 28, 28), generator=rgd.generator(0), dtype=torch.uint8)
    return rgd.data.Dataset(pixels, torch.arange(300) % 10, tuple("0123456789"), name)


@pytest.mark.check
def test_the_experiment_is_whole_and_goes_on(tmp_path: Path) -> None:
    shape = {**SHAPE, "image_size": 28}
    unet, denoising = UNetConfig(**shape, out_channels=1), {"predicts": "eps", "variance": "large"}
    knows = UNetConfig(**shape, out_channels=1, num_classes=10, null_label=True)
    for name, config, about in (
        ("t/ddpm", unet, denoising),
        ("t/conditional", knows, denoising),
        *((f"t/{k}", EncoderConfig(**shape, out_channels=10), {}) for k in ("vanilla", "robust")),
        ("t/judge", JudgeConfig(image_size=28, in_channels=1, out_channels=10, width=8), {}),
    ):
        model = Model(awake(build(config, len(name))), linear(), about, tuple("0123456789"))
        model.save(tmp_path / name / "model.safetensors")
    how: Any = dict(runs=tmp_path, progress=False, load=images)
    found = run(PLAN, tmp_path / "out.json", store=tmp_path / "store", **how)
    assert json.loads(json.dumps(found)) == found
    assert set(DEMONSTRATIONS) <= set(found)
    assert len(found["cells"]) == 2 * len(DEMONSTRATIONS)
    assert found["distilled"][0]["fd"]["n"] == 2
    assert len(found["changes"]) == PLAN.steps - 1
    assert len(figures.fewer(found).axes) == 4
    again = run(PLAN, tmp_path / "out.json", store=tmp_path / "other", **how)
    assert again == found  # taken over from the file


def test_numbers_of_seeds_stay_within_what_they_can_be() -> None:
    found = across("accuracy", [1.0, 0.9, 1.0])
    assert found["value"] == pytest.approx(2.9 / 3)
    assert found["high"] == 1
    assert 0.7 < found["low"] < 0.9
    assert across("fd", [1.0, 9.0])["low"] == 0
    assert across("fd_more", [-1.0, 9.0])["low"] < 0
    assert across("steps", [16, 16]) == 16


def test_the_project_knows_it() -> None:
    plan = read("fewer")
    assert isinstance(plan, FewerSteps)
    assert plan.small().images < plan.images


@pytest.mark.parametrize("patch", [1, 2])
def test_a_told_network_begins_by_saying_the_same_at_every_scale(patch: int) -> None:
    unet = awake(build(UNetConfig(**SHAPE, out_channels=1, num_classes=10, patch=patch), 1))
    told = Told.of(unet, 2.0)
    xt, t, y = rgd.noise((3, 1, 8, 8), seed=1), torch.tensor([1, 500, 999]), torch.tensor([1, 2, 3])
    for scale in (0.0, 2.0, torch.tensor([0.0, 1.0, 4.0])):
        assert torch.allclose(told.at(scale)(xt, t, y), unet(xt, t, y), atol=1e-5)
    assert torch.allclose(told(xt, t, y), told.at(2.0)(xt, t, y))
    with torch.no_grad():
        told.unet.input_blocks[0][0].weight += 1  # type: ignore[operator, union-attr, index]
    assert not torch.allclose(told.at(0.0)(xt, t, y), told.at(2.0)(xt, t, y))


def test_a_student_is_saved_and_asked_at_other_scales(tmp_path: Path) -> None:
    unet = awake(build(UNetConfig(**SHAPE, out_channels=1, num_classes=10), 1))
    told, times = Told.of(unet, 3.0), linear(1000).respace(4)
    with torch.no_grad():
        told.unet.input_blocks[0][0].weight += 0.1  # type: ignore[operator, union-attr, index]
    denoising = {"predicts": "v", "variance": "large", "clip": False}
    Model(told, times, denoising, tuple("0123456789")).save(tmp_path / "student.safetensors")
    student = rgd.checkpoints.load(tmp_path / "student.safetensors").use()
    xt, t, y = rgd.noise((3, 1, 8, 8), seed=1), times.timesteps[[3, 0, 1]], torch.tensor([1, 2, 3])
    with pytest.raises(ValueError, match="finite"):
        told.at(float("nan"))
    other = Told.of(awake(build(unet.config, 2)), 3.0)
    assert len({key(network) for network in (told, told.at(2.0), told.at(3.0), other.at(3.0))}) == 4
    assert pickle.loads(pickle.dumps(told.at(2.0))).keywords == {"scale": 2.0}
    for scale, denoise in ((3.0, student), (1.0, replace(student, network=student.network.at(1.0)))):
        v = told.at(scale)(xt, t, y)
        x0 = times.at("signal", t, xt) * xt - times.at("sigma", t, xt) * v
        assert torch.allclose(denoise(xt, t, y).x0, x0, atol=1e-5)


def test_a_generator_is_saved_as_a_denoiser_and_draws_its_own_z(tmp_path: Path) -> None:
    times, config = linear(1000).respace(4), MadeConfig(**SHAPE, out_channels=1)
    made = Made(config, awake(build(UNetConfig(**{**SHAPE, "in_channels": 2}, out_channels=1), 1)))
    denoising = {"predicts": "x0", "variance": "small", "clip": False}
    Model(made, times, denoising).save(tmp_path / "made.safetensors")
    model = rgd.checkpoints.load(tmp_path / "made.safetensors")
    assert model.role == "denoiser"
    denoise, shape = model.use(), (6, 1, 8, 8)
    how: dict[str, Any] = dict(sampler=rgd.ddpm, steps=4, progress=False)
    whole = rgd.sample(denoise, shape, **how)
    assert torch.allclose(rgd.sample(denoise, shape, batch_size=2, **how), whole, atol=1e-4), "beside whatever else"
    other = replace(denoise, network=denoise.network.at(5))
    assert not torch.allclose(rgd.sample(other, shape, **how), whole, atol=1e-2)
    assert key(other.network) not in {key(denoise.network), key(denoise.network.at(6))}


def test_the_z_of_a_generator_is_noise() -> None:
    """Its network says z: standard normal in all places, and another for other times, other signs and another seed."""

    class Says(nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return x[:, 1:]

    made, xt = Made(MadeConfig(**SHAPE, out_channels=1), Says()), rgd.noise((400, 1, 8, 8), seed=1)  # type: ignore[arg-type]
    t = torch.full((400,), 100)
    found = {"first": made(xt, t), "time": made(xt, t + 1), "signs": made(-xt, t), "seed": made.at(1)(xt, t)}
    assert torch.equal(made(2 * xt, t), found["first"]), "how large xt is does not matter"
    for z in found.values():
        assert kstest(z.flatten().numpy(), "norm").pvalue > 1e-3
    alike = torch.corrcoef(torch.stack([xt.flatten(), *(z.flatten() for z in found.values())]))
    assert (alike - torch.eye(5)).abs().max() < 5 / (400 * 64) ** 0.5


def test_a_flow_is_saved_with_its_path(tmp_path: Path) -> None:
    unet, config = awake(build(UNetConfig(**SHAPE, out_channels=1), 1)), StraightConfig(**SHAPE, out_channels=1, T=100)
    Model(Straight(config, unet), flow.straight(100), {"predicts": "eps"}).save(tmp_path / "flow.safetensors")
    denoise = rgd.checkpoints.load(tmp_path / "flow.safetensors").use()
    xt, t = rgd.noise((3, 1, 8, 8), seed=1), torch.tensor([0, 50, 99])
    s = (t.float()[:, None, None, None] + 0.5) / 100
    x = xt * ((1 - s) ** 2 + s**2).sqrt()
    assert torch.allclose(replace(denoise, clip=False)(xt, t).x0, x - s * unet(x, t), atol=1e-4)


def test_an_autoencoder_and_a_table_are_models_of_a_role_of_their_own(tmp_path: Path) -> None:
    coder = build(AutoencoderConfig(width=8, scale=3.0), 1)
    values = rgd.noise((10, 2, 3), seed=1)
    table = Table(TableConfig(10, (2, 3)))
    table.load_state_dict({"values": values})
    for name, network in (("autoencoder", coder), ("table", table)):
        Model(network, None, {}, tuple("0123456789")).save(tmp_path / f"{name}.safetensors")
        with pytest.raises(RgdError, match="where a judge is needed"):
            checks.load(tmp_path / f"{name}.safetensors", "judge")
    loaded = {name: rgd.checkpoints.load(tmp_path / f"{name}.safetensors") for name in ("autoencoder", "table")}
    assert {name: model.role for name, model in loaded.items()} == {name: name for name in loaded}
    y = torch.tensor([3, 3, 9])
    assert torch.equal(loaded["table"].use()(y), values[y])
    for wrong in (-1, 10):
        with pytest.raises(ValueError, match="labels must be 0 to 9"):
            loaded["table"].use()(torch.tensor([3, wrong]))
    space = published.of_latents(loaded["autoencoder"].use())
    x0 = rgd.noise((2, 1, 28, 28), seed=2)
    assert space.scale == 3.0
    assert torch.allclose(space.images(3 * coder.encode(x0)), coder.decode(coder.encode(x0)), atol=1e-5)


def test_one_pass_learns_what_the_guided_teacher_says() -> None:
    def teacher(xt: Any, t: Any, y: Any, scale: Any) -> Prediction:
        x0 = torch.zeros_like(xt) + scale[:, None, None, None]
        return Prediction(x0, schedule.eps_from_x0(xt, t, x0), xt.new_ones(()))

    schedule, x0, y = linear(1000), rgd.noise((8, 1, 2, 2), seed=1), torch.arange(8)

    def right(xt: Any, t: Any, y: Any, scale: Any) -> Any:
        said = teacher(xt, t, y, scale)
        return distil.velocity(schedule, t, said.x0, said.eps)

    def wrong(*given: Any) -> Any:
        return right(*given) + 1

    follow: Any = distil.Follow(teacher)
    assert float(follow(right, schedule, x0, y, rgd.generator(0)).value) == 0
    assert float(follow(wrong, schedule, x0, y, rgd.generator(0)).value) == pytest.approx(1)


def test_one_step_of_the_student_ends_where_two_of_the_teacher_do() -> None:
    world = sphere(linear(1000)).mixture
    times = world.schedule.respace(8)
    half = distil.every_second(times)
    assert half.T == 4
    assert half.timesteps[-1] == 999
    rows = torch.tensor([1, 3, 5, 7])
    xt = rgd.noise((4, 1, 1, 64), seed=1).double()
    wanted = distil.shortcut(times, rows, xt, world)
    t = times.timesteps[rows]
    student = distil.down(half, rows // 2, Prediction(wanted, half.eps_from_x0(xt, t, wanted), xt.new_ones(())))
    middle = distil.down(times, rows, world(xt, t))
    end = distil.down(times, rows - 1, world(middle, times.timesteps[rows - 1]))
    assert torch.allclose(student, end, atol=1e-9)
    two = rgd.schedule.Schedule(times.alpha_bar[:2], times.timesteps[:2])  # and those are the sampler's own
    *_, last = rgd.ddim(replace(world, schedule=two), xt[:1], steps=None)
    assert torch.allclose(distil.down(times, rows[:1] - 1, world(distil.down(times, rows[:1], world(xt[:1], t[:1])),
                          times.timesteps[:1])), last.x, atol=1e-9)  # fmt: skip


def test_ddim_on_the_straight_path_is_eulers_method_and_guidance_has_one_form() -> None:
    path = flow.straight()
    world = replace(LINE, schedule=path)

    def exact(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """The exact velocity at a point of the straight path."""
        s = ((t.to(x.dtype) + 0.5) / 1000).view(-1, 1, 1, 1)
        found = world(x / ((1 - s).square() + s.square()).sqrt(), t)
        return found.eps - found.x0

    network: Any = Straight(StraightConfig(**SHAPE, out_channels=1), exact)  # type: ignore[arg-type]
    denoise = rgd.NetworkDenoiser(network, path, clip=False)
    xT, y = rgd.noise((50, 1, 1, 1), seed=3).double(), torch.arange(50) % 2
    g, scale, times = world.grad_log_prob, 2.0, path.respace(10).timesteps.flip(0)
    *_, by_ddim = rgd.ddim(rgd.guide(denoise, g, scale), xT, y, steps=10)
    s = (times.double() + 0.5) / 1000
    x = xT * ((1 - s[0]) ** 2 + s[0] ** 2).sqrt()
    for now, then, t in zip(s, [*s[1:], torch.tensor(0.0)], times, strict=True):
        at = t.expand(50)
        long = ((1 - now) ** 2 + now**2).sqrt()
        v = exact(x, at) - scale * now / (1 - now) * g(x / long, at, y) / long  # guided in the velocity's form
        x = x + (then - now) * v
    assert torch.allclose(x, by_ddim.x, atol=1e-6)


def test_a_flow_learns_the_straight_line() -> None:
    x0, seen = rgd.noise((4000, 1, 1, 1), seed=1), []

    def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append(t)
        return torch.zeros_like(x)

    path = flow.straight()
    for logit_normal in (False, True):
        loss = flow.Flow(logit_normal)(network, path, x0, torch.zeros(4000), rgd.generator(1))  # type: ignore[arg-type]
        assert float(loss.value) == pytest.approx(2, rel=0.1)  # eps - x0, both normal
    inner = [float(((t > 250) & (t < 750)).double().mean()) for t in seen]
    assert inner[0] == pytest.approx(0.5, abs=0.03)
    assert inner[1] == pytest.approx(0.728, abs=0.03)  # P(|normal| < log 3)


def test_an_encoder_is_asked_in_every_second_step() -> None:
    network = awake(build(UNetConfig(**SHAPE, out_channels=1), 2))
    asked = []
    network.middle_block.register_forward_hook(lambda *_: asked.append(1))
    denoise = rgd.NetworkDenoiser(network, linear(1000))
    xT, ends = rgd.noise((2, 1, 8, 8), seed=1), {}
    for every in (1, 2):
        for _ in range(2):
            asked.clear()
            *_, step = rgd.ddim(cheaper.Reused(denoise, every), xT, steps=5)
        ends[every] = step.x
        assert len(asked) == {1: 5, 2: 3}[every]
    *_, plain = rgd.ddim(denoise, xT, steps=5)
    assert torch.equal(ends[1], plain.x)
    assert not torch.equal(ends[2], plain.x)
    assert "encode" not in vars(network)  # what is left out is left out of a copy


def test_rounding_has_as_many_values_as_bits_and_the_slope_of_a_cut() -> None:
    x = torch.linspace(-2, 2, 1001, requires_grad=True)
    low, high = torch.tensor(-1.0), torch.tensor(1.0)
    found = cheaper.rounded(x, low, high, 3)
    assert len(found.detach().unique().numpy().round(6)) <= 9  # eight, to rounding
    assert (found - x.clamp(-1, 1)).abs().max() <= 1 / 7 + 1e-6
    (slope,) = torch.autograd.grad(found.sum(), x)
    assert slope[(x.abs() < 0.99)].eq(1).all()
    assert slope[(x.abs() > 1.01)].eq(0).all()


def test_a_quantised_network_is_the_network_where_bits_are_many() -> None:
    network = awake(build(EncoderConfig(**SHAPE, out_channels=10), 1))
    xt, t = rgd.noise((6, 1, 8, 8), seed=1), torch.arange(0, 900, 150)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    seen = cheaper.ranges(network, [(xt, t)])
    assert set(seen) < {name for name, _ in cheaper.layers(network)}  # attention calls not all of its layers
    errors = [
        float((cheaper.quantised(network, seen, bits)(xt, t) - network(xt, t)).abs().max()) for bits in (16, 8, 4)
    ]
    assert errors[0] < 1e-2 < errors[2]
    assert errors == sorted(errors)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.out[2]._forward_pre_hooks  # its copy has them


def test_draws_from_the_exact_posterior_sample_the_data_in_two_steps() -> None:
    times = LINE.schedule.respace(2)
    perfect = makers.Maker(makers.posterior(LINE, rgd.generator(1)), times, rgd.generator(2))
    *_, step = rgd.ddpm(perfect, rgd.noise((4000, 1, 1, 1), seed=1).double(), steps=None)
    law = ks_1samp(step.x.flatten().numpy(), lambda x: sum(ndtr((x - at) / 0.05**0.5) for at in (-1, 1)) / 2)
    assert law.pvalue > 0.01
    xt, t = torch.full((4000, 1, 1, 1), 0.3).double(), torch.full((4000,), 300)
    x0 = replace(perfect, schedule=LINE.schedule)(xt, t).x0
    assert float(x0.mean()) == pytest.approx(float(LINE(xt[:1], t[:1]).x0), abs=0.05)


def test_a_generator_that_competed_finds_both_clouds() -> None:
    from rgd.experiments.worlds import seeded

    times = LINE.schedule.respace(4)
    maker, critic = (makers.Point(seeded(2, 1, 32)(k)) for k in (0, 1))
    made = makers.compete(maker, critic, times, lambda r: LINE.sample(64, r)[0].float(), 150, 0, 3.0)
    *_, step = rgd.ddpm(makers.Maker(made, times, rgd.generator(1)), rgd.noise((1000, 1, 1, 1), seed=1), steps=None)
    left, right = (float((step.x * side > 0.4).double().mean()) for side in (-1, 1))
    assert min(left, right) > 0.15
    assert step.x.abs().max() < 4


def test_an_autoencoder_pays_for_what_its_latents_know() -> None:
    network, x0 = Autoencoder(AutoencoderConfig(width=8)), rgd.noise((3, 1, 28, 28), seed=1)
    again, kl = network(x0, rgd.noise((3, 4, 7, 7), seed=2))
    assert again.shape == x0.shape
    assert network.encode(x0).shape == (3, 4, 7, 7)
    assert (kl >= 0).all()
    cheap, dear = (
        makers.Autoencoding(beta)(network, linear(), x0, torch.zeros(3), rgd.generator(0)).value for beta in (0, 1)
    )
    assert float(dear - cheap) == pytest.approx(float(kl.mean()), rel=1e-4)


def test_the_chapter_shows_what_the_experiment_runs() -> None:
    cells = json.loads(CHAPTER.read_text())["cells"]
    sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code" and "%pip" not in "".join(c["source"])]
    shown = {name: re.sub(r"\brgd\.", "", text) for source in sources for name, text in bare(source).items()}
    files = ("cheaper", "distil", "flow", "makers")
    known = {k: v for file in files for k, v in bare((ROOT / "rgd" / "faster" / f"{file}.py").read_text()).items()}
    both = set(shown) & set(known)
    assert both >= {"shortcut", "Reused", "rounded", "layers", "ranges", "quantised", "Maker", "posterior", "down"}
    assert {name for name in both if shown[name] != known[name]} == set()
