"""Attacks: against the closed-form worst case of a linear model, and the promises of the threat models.

Every attack runs twice: as on the CPU, where what has stopped is left out of the batch, and as on a GPU, where it is
masked.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rgd import attacks, schedule

THREATS = {"l2": attacks.L2, "linf": attacks.Linf}
NORMS = {
    "l2": lambda u: u.flatten(1).norm(dim=1),
    "linf": lambda u: u.flatten(1).abs().amax(dim=1),
}
DUALS = {"l2": NORMS["l2"], "linf": lambda u: u.flatten(1).abs().sum(dim=1)}
norms = pytest.mark.parametrize("norm", ["l2", "linf"])


def masked_attacks() -> ModuleType:
    """`rgd.attacks` as it runs on a GPU: the same source, with its one question about the device answered by no."""
    source, question = Path(attacks.__file__).read_text(encoding="utf-8"), 'xt.device.type == "cpu"'
    assert source.count(question) == 1
    module = ModuleType("masked_attacks")
    sys.modules[module.__name__] = module  # where dataclasses look
    exec(compile(source.replace(question, "False"), attacks.__file__, "exec"), module.__dict__)
    return module


MASKED = masked_attacks()


@pytest.fixture(params=["compact", "masked"])
def pgd(request: pytest.FixtureRequest) -> Any:
    """The class `PGD`, on either path."""
    return attacks.PGD if request.param == "compact" else MASKED.PGD


@dataclass
class Linear:
    """Binary: logits -s / 2 and s / 2, where s = w . x + b, which is the margin."""

    w: Tensor
    b: float = 0.0
    calls: int = 0

    def __call__(self, xt: Tensor, t: Tensor) -> Tensor:
        self.calls += 1
        score = (xt * self.w).flatten(1).sum(1) + self.b
        return torch.stack([-score / 2, score / 2], dim=1)

    def margin(self, xt: Tensor, y: Tensor) -> Tensor:
        return (2 * y - 1) * self(xt, y).diff(dim=1)[:, 0]


def linear_problem(
    seed: int = 0, images: int = 24, margin: float | None = None
) -> tuple[Linear, Tensor, Tensor, Tensor]:
    """A linear model and images of which it gets about half right, or all, each by `margin`."""
    random = torch.Generator().manual_seed(seed)
    model = Linear(torch.randn(1, 2, 4, 3, generator=random, dtype=torch.float64), 0.1)
    xt = 2 * torch.randn(images, 2, 4, 3, generator=random, dtype=torch.float64)
    y = torch.randint(2, (images,), generator=random)
    if margin is not None:
        excess = (model.margin(xt, y) - margin) * (2 * y - 1) / model.w.square().sum()
        xt = xt - excess.reshape(-1, 1, 1, 1) * model.w
    model.calls = 0
    return model, xt, torch.randint(1000, (images,), generator=random), y


class Network(nn.Module):
    """A small network that looks at both its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels, self.time, self.head = nn.Linear(64, 32), nn.Linear(1, 32), nn.Linear(32, 3)

    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        return self.head(torch.tanh(self.pixels(xt.flatten(1)) + self.time(t[:, None].to(xt) / 1000)))


def network_problem(seed: int = 0, images: int = 32) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A network in float64, and images of which it gets two thirds right."""
    random = torch.Generator().manual_seed(seed)
    network = Network().double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=random))
    xt = torch.randn(images, 1, 8, 8, generator=random, dtype=torch.float64)
    t = torch.randint(1000, (images,), generator=random)
    with torch.no_grad():
        y = network(xt, t).argmax(1)
    y[::3] = (y[::3] + 1) % 3
    return network, xt, t, y


def moved(attacked: Tensor, xt: Tensor) -> Tensor:
    return (attacked != xt).flatten(1).any(1)


# Threat models ------------------------------------------------------------------------------------------------------

tensors = st.builds(
    lambda seed, exponent, shape: torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 10.0**exponent,
    st.integers(0, 2**31),
    st.integers(-3, 3),
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)),
)


@norms
@given(u=tensors, seed=st.integers(0, 1000))
def test_projection_is_the_nearest_point_of_the_ball(norm: str, u: Tensor, seed: int) -> None:
    threat = THREATS[norm](1.0)
    projected = threat.project(u)
    assert (NORMS[norm](projected) <= 1 + 1e-6).all()
    torch.testing.assert_close(threat.project(projected), projected, rtol=1e-6, atol=0)
    inside = NORMS[norm](u) <= 1
    assert torch.equal(projected[inside], u[inside])
    other = threat.random(tuple(u.shape), torch.Generator().manual_seed(seed))
    assert (NORMS["l2"](u - projected) <= NORMS["l2"](u - other) * (1 + 1e-5)).all()


@norms
@given(g=tensors, exponent=st.integers(-33, 12))
def test_direction_is_the_unit_step_of_steepest_ascent(norm: str, g: Tensor, exponent: int) -> None:
    """Hoelder's inequality holds with equality; also for the tiny gradients of a confident classifier."""
    g = g * 10.0**exponent
    direction = THREATS[norm](1.0).direction(g)
    assert (NORMS[norm](direction) <= 1 + 1e-5).all()
    gain = (direction.double() * g.double()).flatten(1).sum(1)
    torch.testing.assert_close(gain, DUALS[norm](g.double()), rtol=1e-5, atol=1e-42)


@norms
def test_direction_of_a_zero_gradient_is_zero(norm: str) -> None:
    g = torch.zeros(3, 1, 2, 2)
    assert torch.equal(THREATS[norm](1.0).direction(g), g)


@norms
def test_random_points_are_uniform_in_the_ball(norm: str) -> None:
    n = 20_000
    u = THREATS[norm](1.0).random((n, 1, 1, 3), torch.Generator().manual_seed(0))
    length = NORMS[norm](u)
    assert length.max() <= 1 + 1e-6
    for rho in (0.3, 0.6, 0.9):  # the share of the volume within rho is rho^3 in either norm
        share = (length < rho).float().mean()
        assert abs(share - rho**3) < 5 * math.sqrt(rho**3 * (1 - rho**3) / n)
    assert (u > 0).flatten(1).float().mean(0).sub(0.5).abs().max() < 5 * 0.5 / math.sqrt(n)


@norms
@pytest.mark.parametrize("radius", [-0.1, -1, math.nan, math.inf, -math.inf])
def test_bad_radius_is_an_error(norm: str, radius: float) -> None:
    with pytest.raises(ValueError, match=f"radius.*{radius}"):
        THREATS[norm](radius)


def test_bad_steps_are_errors() -> None:
    threat = attacks.L2(0.5)
    with pytest.raises(ValueError, match="steps, not -1"):
        attacks.PGD(threat, steps=-1)
    for step in (0.0, -0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"not {step}"):
            attacks.PGD(threat, step=step)


def test_random_start_needs_a_generator_and_steps(pgd: Any) -> None:
    model, xt, t, y = linear_problem()
    with pytest.raises(ValueError, match="generator"):
        pgd(attacks.L2(0.5), random_start=True)(model, xt, t, y)
    with pytest.raises(ValueError, match="steps"):
        pgd(attacks.L2(0.5), steps=0, random_start=True)(model, xt, t, y, torch.Generator())
    assert torch.equal(pgd(attacks.L2(0.5), steps=0)(model, xt, t, y), xt)


# The attack against closed forms ------------------------------------------------------------------------------------


def worst(norm: str, w: Tensor) -> Tensor:
    """The unit perturbation that lowers w . x most."""
    return -w / w.norm() if norm == "l2" else -w.sign()


@norms
@pytest.mark.parametrize("random_start", [False, True])
def test_reaches_the_worst_case_of_a_linear_model(pgd: Any, norm: str, random_start: bool) -> None:
    model, xt, t, y = linear_problem()
    attack = pgd(THREATS[norm](0.7), steps=40, step=0.3, random_start=random_start, early_stop=False)
    attacked = attack(model, xt, t, y, torch.Generator().manual_seed(1))
    sign = (2 * y - 1).reshape(-1, 1, 1, 1)
    lowest = model.margin(xt, y) - 0.7 * DUALS[norm](model.w)
    torch.testing.assert_close(model.margin(attacked, y), lowest, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(attacked - xt, 0.7 * sign * worst(norm, model.w), rtol=0, atol=1e-4)


@norms
def test_early_stop_takes_no_step_more_than_it_needs(pgd: Any, norm: str) -> None:
    """Each step lowers the margin by the same amount, so the number of steps is known beforehand."""
    model, xt, t, y = linear_problem()
    radius, step = (2.5 if norm == "l2" else 0.5), 0.2
    before = model.margin(xt, y)
    gain = radius * step * DUALS[norm](model.w)
    needed = torch.where(before > 0, (before / gain).ceil(), 0).clamp(max=1 / step)
    attacked = pgd(THREATS[norm](radius), steps=30, step=step)(model, xt, t, y)
    torch.testing.assert_close(model.margin(attacked, y), before - needed * gain, rtol=1e-9, atol=1e-9)
    assert (needed == 0).any()
    assert ((needed > 0) & (needed < 5)).any()
    assert (needed == 5).any()


def test_default_step_is_the_papers(pgd: Any) -> None:
    model, xt, t, y = linear_problem(margin=100.0)
    first = next(pgd(attacks.L2(0.5), steps=7).iterate(model, xt, t, y))
    torch.testing.assert_close(NORMS["l2"](first.xt - xt), torch.full((24,), 0.5 * 2.5 / 7).double())


@norms
@pytest.mark.parametrize("random_start", [False, True])
def test_what_is_misclassified_never_moves(pgd: Any, norm: str, random_start: bool) -> None:
    network, xt, t, y = network_problem()
    attack = pgd(THREATS[norm](0.6), steps=6, random_start=random_start)
    with torch.no_grad():
        wrong = network(xt, t).argmax(1) != y
    before, stopped = xt, wrong
    for state in attack.iterate(network, xt, t, y, torch.Generator().manual_seed(0)):
        assert not moved(state.xt, xt)[wrong].any()
        assert not moved(state.xt, before)[stopped].any()
        assert not state.active[stopped].any()
        before = state.xt
        with torch.no_grad():
            stopped = stopped | (network(state.xt, t).argmax(1) != y)
    assert wrong.any()
    assert (stopped & ~wrong).any(), "the attack fooled no image, so that this shows nothing"
    assert moved(before, xt)[~wrong].any()
    assert torch.equal(attack(network, xt, t, y, torch.Generator().manual_seed(0)), before)


def test_what_was_misclassified_once_is_left_for_good(pgd: Any) -> None:
    """Also by a classifier that thinks better of it, as one with dropout does."""
    model, xt, t, y = linear_problem(margin=1.0)
    doubted = torch.arange(len(xt)) % 2 == 0
    calls = [0]

    def fickle(xt: Tensor, t: Tensor) -> Tensor:
        calls[0] += 1
        logits = model(xt, t)
        return torch.where(doubted[:, None], -logits, logits) if calls[0] == 1 else logits

    attacked = pgd(attacks.L2(0.01), steps=3)(fickle, xt, t, y)
    assert torch.equal(moved(attacked, xt), ~doubted)


@norms
@pytest.mark.parametrize("early_stop", [False, True])
@pytest.mark.parametrize("random_start", [False, True])
def test_stays_inside_the_radius(pgd: Any, norm: str, early_stop: bool, random_start: bool) -> None:
    network, xt, t, y = network_problem()

    def growing(t: Tensor) -> Tensor:
        return 0.05 + t / 500

    for radius, limit in ((0.4, torch.full((32,), 0.4)), (growing, growing(t))):
        attack = pgd(THREATS[norm](radius), steps=5, step=0.7, random_start=random_start, early_stop=early_stop)
        for state in attack.iterate(network, xt, t, y, torch.Generator().manual_seed(0)):
            assert (NORMS[norm](state.xt - xt) <= limit * (1 + 1e-6)).all()
        if not early_stop:  # 0.7 + 0.7 > 1: at the boundary of each image's own ball, wherever it began
            torch.testing.assert_close(NORMS[norm](state.xt - xt), limit.double(), rtol=0.2, atol=0)


def test_radii_on_other_schedules_are_others() -> None:
    radius = attacks.NoiseRadius(schedule.linear(), 0.5, 2.0)
    assert radius == attacks.NoiseRadius(schedule.linear(), 0.5, 2.0)
    assert radius != attacks.NoiseRadius(schedule.cosine(), 0.5, 2.0)
    assert repr(radius) != repr(attacks.NoiseRadius(schedule.cosine(), 0.5, 2.0))


@given(g=tensors, exponent=st.integers(-36, 36))
def test_lengths_and_units_are_those_of_double_precision(g: Tensor, exponent: int) -> None:
    """Also where the squares of single precision are 0 or infinite."""
    g = g.clone()
    g[0] = 0
    scaled = (g / g.abs().max().clamp_min(1e-30)) * 10.0**exponent
    exact = scaled.double().flatten(1)
    torch.testing.assert_close(attacks.lengths(scaled).double(), exact.norm(dim=1), rtol=1e-5, atol=1e-42)
    expected = (exact / exact.norm(dim=1, keepdim=True).clamp_min(1e-300)).reshape(g.shape)
    torch.testing.assert_close(attacks.unit(scaled).double(), expected, rtol=1e-4, atol=1e-6)
    projected = attacks.L2(1.0).project(scaled)
    torch.testing.assert_close(
        attacks.lengths(projected).double(), exact.norm(dim=1).clamp(max=1), rtol=1e-4, atol=1e-42
    )


def test_an_attack_on_a_sure_classifier_leaves_along_its_own_class_too() -> None:
    """Of three classes with an axis each: p(y) rounds to 1, and yet the logit of y must fall as fast as it can."""

    def sure(xt: Tensor, t: Tensor) -> Tensor:
        return torch.tensor([20.0, 0.0, 0.0]) + xt

    t = torch.tensor([0])
    attacked = attacks.PGD(attacks.L2(1.0), steps=1, step=1.0)(sure, torch.zeros(1, 3), t, t)
    expected = torch.tensor([[-1.0, 0.5, 0.5]]) / 1.5**0.5
    torch.testing.assert_close(attacked, expected)


def test_radius_of_t_is_per_image(pgd: Any) -> None:
    model, xt, t, y = linear_problem()
    attacked = pgd(attacks.L2(lambda t: t / 100), steps=3, early_stop=False)(model, xt, t, y)
    torch.testing.assert_close(NORMS["l2"](attacked - xt), t / 100, check_dtype=False)


@norms
@pytest.mark.parametrize("random_start", [False, True])
def test_radius_zero_leaves_xt_as_it_is(pgd: Any, norm: str, random_start: bool) -> None:
    network, xt, t, y = network_problem()
    attack = pgd(THREATS[norm](0.0), steps=3, random_start=random_start, early_stop=False)
    assert torch.equal(attack(network, xt, t, y, torch.Generator().manual_seed(0)), xt)


def test_nothing_is_cut_to_the_pixel_range(pgd: Any) -> None:
    model, xt, t, y = linear_problem()
    model, xt = Linear(model.w / 20), 10 * xt
    assert (xt.abs() > 1).float().mean() > 0.9
    attacked = pgd(attacks.Linf(0.25), steps=5, early_stop=False)(model, xt, t, y)
    torch.testing.assert_close((attacked - xt).abs(), torch.full_like(xt, 0.25))


@norms
def test_fgsm_is_one_step_of_the_full_radius(norm: str) -> None:
    network, xt, t, y = network_problem()
    threat = THREATS[norm](0.3)
    attacked = attacks.fgsm(network, xt, t, y, threat)
    assert torch.equal(attacked, attacks.pgd(network, xt, t, y, threat, steps=1, step=1.0, early_stop=False))
    leaf = xt.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(network(leaf, t), y, reduction="sum"), leaf)
    unit = gradient.sign() if norm == "linf" else gradient / NORMS["l2"](gradient).reshape(-1, 1, 1, 1)
    torch.testing.assert_close(attacked, xt + 0.3 * unit)


def test_fgsm_from_a_random_start() -> None:
    """Wong et al.: uniform in the cube, a step of 1.25 radii, back into the cube."""
    model, xt, t, y = linear_problem()
    attacked = attacks.fgsm(model, xt, t, y, attacks.Linf(0.3), torch.Generator().manual_seed(4))
    start = 0.3 * attacks.Linf(0.3).random(tuple(xt.shape), torch.Generator().manual_seed(4))
    ascent = (1 - 2 * y).reshape(-1, 1, 1, 1) * model.w.sign()
    torch.testing.assert_close(attacked, xt + (start + 0.375 * ascent).clamp(-0.3, 0.3))


def test_pgd_as_a_call_starts_at_random_if_given_a_generator() -> None:
    network, xt, t, y = network_problem()
    threat = attacks.L2(0.3)
    plain = attacks.pgd(network, xt, t, y, threat, steps=3)
    assert torch.equal(plain, attacks.PGD(threat, steps=3)(network, xt, t, y))
    started = attacks.pgd(network, xt, t, y, threat, steps=3, generator=torch.Generator().manual_seed(0))
    attack = attacks.PGD(threat, steps=3, random_start=True)
    assert torch.equal(started, attack(network, xt, t, y, torch.Generator().manual_seed(0)))
    assert not torch.equal(started, plain)


# Cost, and what an attack leaves alone ------------------------------------------------------------------------------


@norms
@pytest.mark.parametrize("early_stop", [False, True])
@pytest.mark.parametrize("random_start", [False, True])
def test_compact_and_masked_paths_agree(norm: str, early_stop: bool, random_start: bool) -> None:
    network, xt, t, y = network_problem(seed=1)
    results = []
    for module in (attacks, MASKED):
        attack = module.PGD(THREATS[norm](0.5), steps=5, random_start=random_start, early_stop=early_stop)
        steps = list(attack.iterate(network, xt, t, y, torch.Generator().manual_seed(2)))
        results.append((steps[-1].xt, [step.active for step in steps]))
    (compact, compact_active), (masked, masked_active) = results
    torch.testing.assert_close(compact, masked, rtol=0, atol=1e-9)
    assert moved(compact, xt).any()
    for here, there in zip(compact_active, masked_active):
        assert torch.equal(here, there)
    for late in masked_active[len(compact_active) :]:  # a GPU is not asked whether anything still moves
        assert not late.any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@norms
@pytest.mark.parametrize("random_start", [False, True])
def test_gpu_agrees_with_the_cpu(norm: str, random_start: bool) -> None:
    network, xt, t, y = network_problem(seed=1)
    attack = attacks.PGD(THREATS[norm](0.5), steps=5, random_start=random_start)
    here = attack(network, xt, t, y, torch.Generator().manual_seed(2))
    there = attack(network.cuda(), xt.cuda(), t.cuda(), y.cuda(), torch.Generator().manual_seed(2))
    torch.testing.assert_close(there.cpu(), here, rtol=0, atol=1e-6)


def test_early_stop_ends_the_loop_when_none_moves() -> None:
    model, xt, t, y = linear_problem(margin=-1.0)  # all wrong
    attacked = attacks.PGD(attacks.L2(0.5), steps=50)(model, xt, t, y)
    assert model.calls == 1
    assert torch.equal(attacked, xt)
    model, xt, t, y = linear_problem(margin=1.0)  # all right, and wrong after two steps of 0.6
    radius = 1.2 / float(model.w.norm())
    attacks.PGD(attacks.L2(radius), steps=50, step=0.5)(model, xt, t, y)
    assert model.calls == 3
    model, xt, t, y = linear_problem(margin=1.0)
    attacks.PGD(attacks.L2(radius), steps=6, step=0.5, early_stop=False)(model, xt, t, y)
    assert model.calls == 6


def test_what_has_stopped_costs_nothing_on_the_cpu() -> None:
    model, xt, t, y = linear_problem()
    sizes: list[int] = []

    def classifier(xt: Tensor, t: Tensor) -> Tensor:
        sizes.append(len(xt))
        return model(xt, t)

    right = int((model.margin(xt, y) > 0).sum())
    attacks.PGD(attacks.L2(0.5), steps=4)(classifier, xt, t, y)
    assert sizes[:2] == [len(xt), right]
    assert sizes == sorted(sizes, reverse=True)


def test_a_masked_attack_never_asks_what_is_left() -> None:
    """The price of not waiting for the GPU: K passes, whatever happens."""
    model, xt, t, y = linear_problem(margin=-1.0)
    attacked = MASKED.PGD(attacks.L2(0.5), steps=4)(model, xt, t, y)
    assert model.calls == 4
    assert torch.equal(attacked, xt)


@norms
def test_parameters_and_global_randomness_are_left_alone(pgd: Any, norm: str) -> None:
    network, xt, t, y = network_problem()
    parameters = list(network.parameters())
    for parameter in parameters[::2]:
        parameter.requires_grad_(False)
    parameters[1].grad = torch.ones_like(parameters[1])
    before = [p.detach().clone() for p in parameters]
    state = torch.get_rng_state()
    attack = pgd(THREATS[norm](0.5), steps=2, random_start=True)
    attacked = attack(network, xt.clone().requires_grad_(), t, y, torch.Generator().manual_seed(0))
    assert not attacked.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    for i, (parameter, value) in enumerate(zip(parameters, before)):
        assert torch.equal(parameter, value)
        assert parameter.requires_grad == bool(i % 2)
        assert parameter.grad is None if i != 1 else torch.equal(parameter.grad, torch.ones_like(parameter))


def test_works_inside_no_grad(pgd: Any) -> None:
    network, xt, t, y = network_problem()
    outside = pgd(attacks.L2(0.5), steps=3)(network, xt, t, y)
    with torch.no_grad():
        inside = pgd(attacks.L2(0.5), steps=3)(network, xt, t, y)
    assert torch.equal(inside, outside)
    assert moved(inside, xt).any()


def test_a_very_confident_classifier_is_attacked_in_steps_of_the_right_length() -> None:
    """With a margin of 60 nats the gradient is about 1e-26, and its square is zero in float32."""
    model, xt, t, y = linear_problem(margin=60.0)
    model, xt = Linear(model.w.float(), model.b), xt.float()
    first = next(attacks.PGD(attacks.L2(0.5), steps=5, step=0.1).iterate(model, xt, t, y))
    torch.testing.assert_close(NORMS["l2"](first.xt - xt), torch.full((24,), 0.05), rtol=1e-3, atol=0)


# Threat models of one's own -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patch(attacks.L2):
    """An L2 ball in some of the pixels."""

    pixels: Tensor | None = None

    def direction(self, gradient: Tensor) -> Tensor:
        return super().direction(gradient * self.pixels)


@dataclass(frozen=True)
class L1:
    """The steepest step puts everything on one pixel."""

    radius: float | Callable[[Tensor], Tensor]

    def direction(self, gradient: Tensor) -> Tensor:
        g = gradient.flatten(1)
        steepest = g.abs().argmax(1, keepdim=True)
        return torch.zeros_like(g).scatter(1, steepest, g.gather(1, steepest).sign()).reshape(gradient.shape)

    def project(self, u: Tensor) -> Tensor:
        return u / DUALS["linf"](u).clamp_min(1).reshape(-1, 1, 1, 1)

    def random(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.zeros(shape)


def test_a_threat_model_of_a_few_lines(pgd: Any) -> None:
    model, xt, t, y = linear_problem()
    pixels = torch.zeros(1, 1, 4, 3)
    pixels[..., :2, :] = 1
    attacked = pgd(Patch(0.5, pixels=pixels), steps=5, early_stop=False)(model, xt, t, y)
    torch.testing.assert_close(model.margin(attacked, y), model.margin(xt, y) - 0.5 * (model.w * pixels).norm())
    assert torch.equal(attacked[..., 2:, :], xt[..., 2:, :])

    attacked = pgd(L1(0.5), steps=5, early_stop=False)(model, xt, t, y)
    torch.testing.assert_close(model.margin(attacked, y), model.margin(xt, y) - 0.5 * model.w.abs().max())
    assert ((attacked != xt).flatten(1).sum(1) == 1).all()


def test_defaults_are_the_papers_attack() -> None:
    threat = attacks.L2(0.5)
    paper = attacks.PGD(threat, steps=7, step=None, random_start=False, early_stop=True)
    assert attacks.PGD(threat) == paper
    network, xt, t, y = network_problem()
    assert torch.equal(attacks.pgd(network, xt, t, y, threat), paper(network, xt, t, y))


def test_a_confident_classifier_in_half_precision_is_attacked() -> None:
    """The gradient of its logits is 1.5e-8, and float16 has nothing below 6e-8."""
    model, xt, t, y = linear_problem(margin=18.0)
    model, xt = Linear(model.w.half(), model.b), xt.float()
    attack = attacks.PGD(attacks.L2(0.5), steps=5, step=0.2)
    first = next(attack.iterate(lambda x, t: model(x.half(), t), xt, t, y))
    torch.testing.assert_close(NORMS["l2"](first.xt - xt), torch.full((24,), 0.1), rtol=1e-2, atol=0)
