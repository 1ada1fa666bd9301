"""Objectives: every loss against its formula, written out again from what the network was shown."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from rgd import attacks, objectives, schedule
from rgd.networks import UNet, UNetConfig

SCHEDULE = schedule.linear(100)
KINDS = [objectives.Denoising(), objectives.NoisyCrossEntropy(), objectives.RobustCrossEntropy()]


class Recorder(nn.Module):
    """A network that remembers what it was shown and answers with parameters of its own."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = nn.Parameter(answer)
        self.seen: list[tuple[Tensor, ...]] = []

    def forward(self, *inputs: Tensor) -> Tensor:
        self.seen.append(inputs)
        return self.answer


class LinearClassifier(nn.Module):
    """Two classes; the attack's worst case is known."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(2, 12, generator=torch.Generator().manual_seed(3)))

    def forward(self, xt: Tensor, t: Tensor | None = None) -> Tensor:
        return xt.flatten(1) @ self.w.T


def batch(n: int = 8) -> tuple[Tensor, Tensor, torch.Generator]:
    random = torch.Generator().manual_seed(0)
    x0 = torch.rand(n, 3, 2, 2, generator=random) * 2 - 1
    return x0, torch.randint(2, (n,), generator=random), random


def coefficients(t: Tensor) -> tuple[Tensor, Tensor]:
    alpha_bar = SCHEDULE.alpha_bar[t].reshape(-1, 1, 1, 1)
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


# Noise --------------------------------------------------------------------------------------------------------------


def test_t_is_uniform_and_eps_standard_normal() -> None:
    n, T = 40_000, 20
    few = schedule.linear(T)
    xt, t, eps = objectives.draw_xt(few, torch.zeros(n, 1, 1, 1), torch.Generator().manual_seed(0))
    counts = torch.bincount(t, minlength=T)
    assert len(counts) == T
    assert (counts - n / T).abs().max() < 5 * math.sqrt(n / T)
    assert abs(eps.mean()) < 5 / math.sqrt(n)
    assert abs(eps.square().mean() - 1) < 5 * math.sqrt(2 / n)
    # What is left of an empty image is noise, by its schedule.
    torch.testing.assert_close(xt.flatten(), (1 - few.alpha_bar[t]).sqrt().float() * eps.flatten())


def test_xt_is_the_noised_image() -> None:
    x0, _, random = batch()
    xt, t, eps = objectives.draw_xt(SCHEDULE, x0, random)
    signal, sigma = coefficients(t)
    torch.testing.assert_close(xt, (signal * x0 + sigma * eps).float())


@pytest.mark.parametrize("objective", KINDS, ids=lambda kind: type(kind).__name__)
def test_all_randomness_is_the_generators(objective: Any) -> None:
    x0, y, _ = batch()
    network = nn.Conv2d(3, 3, 1) if isinstance(objective, objectives.Denoising) else None
    state = torch.get_rng_state()

    def loss(seed: int) -> float:
        model = LinearClassifier() if network is None else (lambda xt, t: network(xt))
        return float(objective(model, SCHEDULE, x0, y, torch.Generator().manual_seed(seed)).value.detach())

    assert loss(1) == loss(1)
    assert loss(1) != loss(2)
    assert torch.equal(torch.get_rng_state(), state)


# Denoising ----------------------------------------------------------------------------------------------------------


def target_of(predicts: str, x0: Tensor, xt: Tensor, t: Tensor) -> Tensor:
    signal, sigma = coefficients(t)
    eps = (xt.double() - signal * x0.double()) / sigma
    return {"eps": eps, "x0": x0.double(), "v": signal * eps - sigma * x0.double()}[predicts]


@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_simple_loss_is_the_squared_error_of_its_target(predicts: Any) -> None:
    x0, y, random = batch()
    network = Recorder(torch.randn(x0.shape, generator=random))
    loss = objectives.Denoising(predicts)(network, SCHEDULE, x0, y, random)
    ((xt, t),) = network.seen  # and no label
    expected = (network.answer - target_of(predicts, x0, xt, t)).square().mean()
    torch.testing.assert_close(loss.value, expected, rtol=1e-4, atol=0, check_dtype=False)
    assert loss.statistics.keys() == {"mse"}
    torch.testing.assert_close(loss.statistics["mse"], loss.value.detach())
    assert not loss.statistics["mse"].requires_grad
    # The oracle's answer costs nothing.
    mse, vb = objectives.denoising_terms(
        predicts, target_of(predicts, x0, xt, t), SCHEDULE, x0.double(), xt.double(), t, target_of("eps", x0, xt, t)
    )
    assert vb is None
    assert mse.abs().max() < 1e-20


def hybrid(predicts: Any = "eps", t: int | None = None) -> dict[str, Tensor]:
    x0, _, random = batch()
    x0 = x0.double()
    times = torch.arange(1, 9) * 11 if t is None else torch.full((8,), t)
    eps = torch.randn(x0.shape, generator=random, dtype=torch.float64)
    output = torch.randn(8, 6, 2, 2, generator=random, dtype=torch.float64).requires_grad_()
    xt = SCHEDULE.q_sample(x0, times, eps)
    mse, vb = objectives.denoising_terms(predicts, output, SCHEDULE, x0, xt, times, eps)
    return {"output": output, "mse": mse, "vb": vb, "x0": x0, "xt": xt, "t": times, "eps": eps}


@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
@pytest.mark.parametrize("t", [None, 0])
def test_the_bound_trains_the_variance_and_not_the_mean(predicts: Any, t: int | None) -> None:
    terms = hybrid(predicts, t)
    (gradient,) = torch.autograd.grad(terms["vb"].sum(), terms["output"], retain_graph=True)
    assert torch.equal(gradient[:, :3], torch.zeros_like(gradient[:, :3]))
    assert (gradient[:, 3:] != 0).any() if t == 0 else (gradient[:, 3:] != 0).all()  # at t = 0 it can be cut off
    (gradient,) = torch.autograd.grad(terms["mse"].sum(), terms["output"])
    assert (gradient[:, :3] != 0).all()
    assert torch.equal(gradient[:, 3:], torch.zeros_like(gradient[:, 3:]))


def reverse_step(terms: dict[str, Tensor]) -> Normal:
    """p(x_{t-1} | xt) of an eps-network with learned variance, by Nichol & Dhariwal's equations 9, 12 and 15."""
    alpha_bar, t = SCHEDULE.alpha_bar, terms["t"]
    previous = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar])[t].reshape(-1, 1, 1, 1)
    alpha_bar = alpha_bar[t].reshape(-1, 1, 1, 1)
    beta = 1 - alpha_bar / previous
    tilde = beta * (1 - previous) / (1 - alpha_bar)
    if (t == 0).all():  # where beta_tilde is 0, that of t = 1 stands in
        first, second = SCHEDULE.alpha_bar[:2]
        tilde = torch.full_like(beta, float((1 - second / first) * (1 - first) / (1 - second)))
    eps, raw = terms["output"].chunk(2, dim=1)
    v = (raw + 1) / 2
    mean = (terms["xt"] - beta / (1 - alpha_bar).sqrt() * eps) / (1 - beta).sqrt()
    return Normal(mean, (v * beta.log() + (1 - v) * tilde.log()).exp().sqrt())


def test_the_bound_is_the_kl_divergence_of_gaussians() -> None:
    terms = hybrid()
    alpha_bar = SCHEDULE.alpha_bar
    t = terms["t"]
    ab, previous = alpha_bar[t].reshape(-1, 1, 1, 1), alpha_bar[t - 1].reshape(-1, 1, 1, 1)
    beta = 1 - ab / previous
    mean = previous.sqrt() * beta / (1 - ab) * terms["x0"] + (1 - beta).sqrt() * (1 - previous) / (1 - ab) * terms["xt"]
    posterior = Normal(mean, (beta * (1 - previous) / (1 - ab)).sqrt())
    bits = kl_divergence(posterior, reverse_step(terms)).flatten(1).mean(1) / math.log(2)
    torch.testing.assert_close(terms["vb"], bits * SCHEDULE.T / 1000, rtol=1e-6, atol=0)


def test_at_t_0_the_bound_is_the_discretized_likelihood() -> None:
    """Against the exact distribution function, of which ADM's is an approximation (to 2e-4)."""
    terms = hybrid(t=0)
    p = reverse_step(terms)
    mean, scale = p.mean.detach(), p.stddev.detach()
    x = terms["x0"]
    mass = Normal(mean, scale).cdf(x + 1 / 255) - Normal(mean, scale).cdf(x - 1 / 255)
    got = objectives.discretized_log_likelihood(x, mean, scale.log())
    torch.testing.assert_close(got.exp(), mass, rtol=0, atol=5e-4)
    expected = -got.flatten(1).mean(1) / math.log(2) * SCHEDULE.T / 1000
    torch.testing.assert_close(terms["vb"], expected, rtol=1e-6, atol=0, check_dtype=False)


@pytest.mark.parametrize("mean", [-1.5, -1.0, 0.3, 1.0])
@pytest.mark.parametrize("log_scale", [-6.0, -3.0, 0.0])
def test_the_likelihood_of_the_256_values_sums_to_one(mean: float, log_scale: float) -> None:
    x = (torch.arange(256).double() / 127.5 - 1).float()
    logs = objectives.discretized_log_likelihood(x, torch.tensor(mean), torch.tensor(log_scale))
    assert abs(float(logs.double().exp().sum()) - 1) < 1e-4


def test_hybrid_loss_adds_the_terms() -> None:
    x0, y, random = batch()
    network = Recorder(torch.randn(8, 6, 2, 2, generator=random))
    loss = objectives.Denoising()(network, SCHEDULE, x0, y, random)
    ((xt, t),) = network.seen
    eps = target_of("eps", x0, xt, t).float()
    mse, vb = objectives.denoising_terms("eps", network.answer, SCHEDULE, x0, xt, t, eps)
    torch.testing.assert_close(loss.value, mse.mean() + vb.mean(), rtol=1e-4, atol=0)
    torch.testing.assert_close(loss.statistics["vb"], vb.mean().detach(), rtol=1e-4, atol=0)
    loss.value.backward()
    assert network.answer.grad is not None


def test_an_output_of_wrong_width_is_an_error() -> None:
    x0, y, random = batch()
    with pytest.raises(ValueError, match="4"):
        objectives.Denoising()(Recorder(torch.zeros(8, 4, 2, 2)), SCHEDULE, x0, y, random)


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_label_dropout_replaces_its_share_of_labels(share: float) -> None:
    n = 10_000
    y = torch.arange(n) % 10
    network = Recorder(torch.zeros(n, 1, 1, 1))
    objective = objectives.Denoising(conditional=True, label_dropout=share)
    objective(network, SCHEDULE, torch.zeros(n, 1, 1, 1), y, torch.Generator().manual_seed(0))
    ((_, _, shown),) = network.seen
    dropped = shown == -1
    assert abs(dropped.float().mean() - share) <= 5 * math.sqrt(share * (1 - share) / n)
    assert torch.equal(shown[~dropped], y[~dropped])
    by_class = torch.bincount(y[dropped], minlength=10) / (n / 10)
    assert (by_class - share).abs().max() <= 5 * math.sqrt(share * (1 - share) / (n / 10))


# Classification -----------------------------------------------------------------------------------------------------


def test_noisy_cross_entropy_is_that_of_the_noised_images() -> None:
    x0, y, random = batch()
    network = Recorder(torch.randn(8, 5, generator=random))
    loss = objectives.NoisyCrossEntropy()(network, SCHEDULE, x0, y, torch.Generator().manual_seed(9))
    ((xt, t),) = network.seen
    expected_xt, expected_t, _ = objectives.draw_xt(SCHEDULE, x0, torch.Generator().manual_seed(9))
    assert torch.equal(xt, expected_xt)
    assert torch.equal(t, expected_t)
    nll = -network.answer.log_softmax(1)[torch.arange(8), y]
    torch.testing.assert_close(loss.value, nll.mean())
    torch.testing.assert_close(loss.statistics["accuracy"], (network.answer.argmax(1) == y).float().mean())
    # Half-precision logits are brought to float32 before the exponential.
    network.answer.data = network.answer.data.bfloat16() + 30
    assert objectives.NoisyCrossEntropy()(network, SCHEDULE, x0, y, random).value.dtype == torch.float32


def test_clean_cross_entropy_sees_no_noise() -> None:
    x0, y, random = batch()
    network = Recorder(torch.randn(8, 5, generator=random))
    state = random.get_state()
    loss = objectives.CleanCrossEntropy()(network, SCHEDULE, x0, y, random)
    objectives.CleanCrossEntropy(takes_time=False)(network, SCHEDULE, x0, y, random)
    (first, t), (second,) = network.seen
    assert torch.equal(first, x0)
    assert torch.equal(second, x0)
    assert torch.equal(t, torch.zeros(8, dtype=torch.int64))
    torch.testing.assert_close(loss.value, F.cross_entropy(network.answer, y))
    assert torch.equal(random.get_state(), state)


def test_smoothed_labels_give_a_share_to_every_class() -> None:
    x0, y, random = batch()
    network = Recorder(torch.randn(8, 5, generator=random))
    loss = objectives.CleanCrossEntropy(takes_time=False, label_smoothing=0.3)(network, SCHEDULE, x0, y, random)
    target = 0.7 * F.one_hot(y, 5) + 0.3 / 5
    torch.testing.assert_close(loss.value, -(target * network.answer.log_softmax(1)).sum(1).mean())


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_robust_loss_is_the_worst_case_of_a_linear_model(norm: str) -> None:
    """log(1 + exp(-(margin - radius |w|_dual))), averaged, and never below the plain loss on the same noise."""
    x0, y, _ = batch(64)
    network = LinearClassifier()
    threat = attacks.L2(0.5) if norm == "l2" else attacks.Linf(0.5)
    attack = attacks.PGD(threat, steps=5, early_stop=False)
    loss = objectives.RobustCrossEntropy(attack)(network, SCHEDULE, x0, y, torch.Generator().manual_seed(1))
    plain = objectives.NoisyCrossEntropy()(network, SCHEDULE, x0, y, torch.Generator().manual_seed(1))
    xt, _, _ = objectives.draw_xt(SCHEDULE, x0, torch.Generator().manual_seed(1))
    w = (network.w[1] - network.w[0]).detach()
    margin = (2 * y - 1) * (xt.flatten(1) @ w)
    lowest = margin - 0.5 * (w.norm() if norm == "l2" else w.abs().sum())
    torch.testing.assert_close(loss.value, F.softplus(-lowest).mean(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(loss.statistics["robust_accuracy"], (lowest > 0).float().mean())
    assert loss.value > plain.value
    assert loss.statistics["robust_accuracy"] < plain.statistics["accuracy"]


def test_the_papers_attack_leaves_what_is_wrong_alone() -> None:
    """L2 radius 0.5, seven steps: adversarial examples for what is right, the noised image for what is not."""
    x0, y, _ = batch(64)
    network = LinearClassifier()
    shown: list[Tensor] = []

    class Wrapper(nn.DataParallel):
        """As DistributedDataParallel: its own forward is for the loss, and not for the attack."""

        def __init__(self) -> None:
            super().__init__(network)

        def forward(self, xt: Tensor, t: Tensor) -> Tensor:
            shown.append(xt)
            return self.module(xt, t)

    loss = objectives.RobustCrossEntropy()(Wrapper(), SCHEDULE, x0, y, torch.Generator().manual_seed(1))
    xt, t, _ = objectives.draw_xt(SCHEDULE, x0, torch.Generator().manual_seed(1))
    right = network(xt, t).argmax(1) == y
    (attacked,) = shown
    assert torch.equal(attacked[~right], xt[~right])
    length = (attacked - xt).flatten(1).norm(dim=1)
    assert (length[right] > 0).all()
    assert length.max() <= 0.5 * (1 + 1e-6)
    # The weights learn from the adversarial examples, and from nothing else.
    loss.value.backward()
    (expected,) = torch.autograd.grad(F.cross_entropy(network(attacked, t), y), network.w)
    torch.testing.assert_close(network.w.grad, expected)


def test_any_function_can_be_the_attack() -> None:
    x0, y, random = batch()
    network = Recorder(torch.zeros(8, 2))

    def darken(classifier: Any, xt: Tensor, t: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        assert classifier is network
        assert generator is random
        return xt - 1

    xt, t, _ = objectives.draw_xt(SCHEDULE, x0, torch.Generator().manual_seed(0))
    random.manual_seed(0)
    objectives.RobustCrossEntropy(darken)(network, SCHEDULE, x0, y, random)
    assert torch.equal(network.seen[0][0], xt - 1)
    assert torch.equal(network.seen[0][1], t)


# Free adversarial training ------------------------------------------------------------------------------------------


def replayed(network: nn.Module, objective: objectives.Objective, steps: int) -> list[tuple[Tensor, Tensor, float]]:
    """What the network was shown at each step, each on images of its own, with the batch's labels and the loss."""
    seen: list[tuple[Tensor, Tensor, float]] = []
    hook = network.register_forward_pre_hook(lambda _, inputs: seen.append((inputs[0].detach(), inputs[1], 0.0)))
    for k in range(steps):
        random = torch.Generator().manual_seed(k)
        loss = objective(network, SCHEDULE, torch.rand(8, 3, 2, 2, generator=random), torch.arange(8) % 2, random)
        loss.value.backward()
        seen[-1] = (*seen[-1][:2], float(loss.value.detach()))
    hook.remove()
    return seen


def test_free_training_replays_a_batch_and_takes_one_pass_a_step() -> None:
    seen = replayed(LinearClassifier(), objectives.FreeCrossEntropy(attacks.L2(0.5), replays=3).begin(), 7)
    assert len(seen) == 7
    for first, later in ((0, 1), (0, 2), (3, 4), (3, 5)):
        assert torch.equal(seen[first][1], seen[later][1])
        assert 0 < (seen[later][0] - seen[first][0]).flatten(1).norm(dim=1).max() <= 1.0 + 1e-5
    assert not torch.equal(seen[2][1], seen[3][1])
    assert not torch.equal(seen[5][1], seen[6][1])


@pytest.mark.parametrize("threat", [attacks.L2(0.7), attacks.Linf(0.2)])
def test_free_training_reaches_the_worst_case_of_a_linear_model_at_the_second_replay(threat: Any) -> None:
    network = LinearClassifier()
    (start, _, clean), (attacked, _, worst) = replayed(network, objectives.FreeCrossEntropy(threat).begin(), 2)
    y = torch.arange(8) % 2
    away = (network.w[1 - y] - network.w[y]).detach()
    move = away / away.norm(dim=1, keepdim=True) if isinstance(threat, attacks.L2) else away.sign()
    torch.testing.assert_close(attacked.flatten(1), start.flatten(1) + threat.radius * move)
    logits = network(attacked)
    assert worst == pytest.approx(float(F.cross_entropy(logits, y)), rel=1e-5)
    assert worst > clean


def test_free_training_survives_an_overflow() -> None:
    network, objective = LinearClassifier(), objectives.FreeCrossEntropy(attacks.L2(0.5), replays=4).begin()
    x0, y, random = batch()
    for step in range(4):
        loss = objective(network, SCHEDULE, x0, y, random).value
        assert loss.isfinite(), step
        loss.backward()
        if step == 1:
            objective.u.grad[0, 0] = math.inf  # as where a GradScaler's scale was too large


def test_a_module_that_is_called_module_is_no_wrapper() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module, self.scale = LinearClassifier(), nn.Parameter(torch.ones(()))

    mine = Scaled()
    assert objectives.unwrap(mine) is mine
    assert objectives.unwrap(nn.DataParallel(mine)) is mine


def test_labels_cannot_be_dropped_without_a_null_label() -> None:
    sizes: dict[str, Any] = {"image_size": 2, "in_channels": 3, "out_channels": 3, "model_channels": 8}
    shape: dict[str, Any] = {"num_res_blocks": 1, "channel_mult": (1,), "attention_resolutions": ()}
    config = UNetConfig(**sizes, **shape, num_classes=2)
    with pytest.raises(ValueError, match="null_label=True"):
        objectives.Denoising(conditional=True, label_dropout=0.1)(UNet(config), SCHEDULE, *batch())


def test_free_training_stays_in_its_ball_and_carries_the_perturbation_over() -> None:
    def growing(t: Tensor) -> Tensor:
        return 0.1 + 0.01 * t

    free = objectives.FreeCrossEntropy(attacks.L2(growing), replays=2)
    objective: Any = free.begin()
    network = LinearClassifier()
    replayed(network, objective, 2)
    before = objective.u.detach().clone()
    (shown, t, _), *_ = replayed(network, objective, 1)
    random = torch.Generator().manual_seed(0)
    xt, times, _ = objectives.draw_xt(SCHEDULE, torch.rand(8, 3, 2, 2, generator=random), random)
    assert torch.equal(times, t)
    u = (shown - xt) / growing(t).reshape(-1, 1, 1, 1)
    norms = u.flatten(1).norm(dim=1)
    assert norms.max() <= 1 + 1e-5
    assert norms.min() > 0.9  # it did not start from zero again
    assert (u.flatten(1) * before.flatten(1)).sum(1).min() > 0.5


def test_what_free_training_remembers_belongs_to_one_training() -> None:
    """Its description is a value; a second training begins as the first did, and not with its batch."""
    free = objectives.FreeCrossEntropy(attacks.L2(0.5), replays=3)
    first = replayed(LinearClassifier(), free.begin(), 2)
    again, fresh = (
        replayed(LinearClassifier(), each.begin(), 2) for each in (free, objectives.FreeCrossEntropy(free.threat, 3))
    )
    for ours, theirs in ((first, again), (first, fresh)):
        assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(ours, theirs, strict=True))
    assert free == objectives.FreeCrossEntropy(attacks.L2(0.5), replays=3)
    assert len({free, replace(free)}) == 1


def test_the_default_attack_is_the_papers() -> None:
    paper = attacks.PGD(attacks.L2(0.5), steps=7, step=None, random_start=False, early_stop=True)
    assert objectives.RobustCrossEntropy().attack == paper


def test_free_training_moves_by_its_step() -> None:
    objective = objectives.FreeCrossEntropy(attacks.L2(0.8), step=0.25).begin()
    (start, *_), (moved, *_) = replayed(LinearClassifier(), objective, 2)
    torch.testing.assert_close((moved - start).flatten(1).norm(dim=1), torch.full((8,), 0.2))


# What cannot be -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "options", "words"), [
    ("Denoising", {"predicts": "epsilon"}, "predicts must be 'eps' or 'x0' or 'v', not 'epsilon'"),
    ("Denoising", {"conditional": True, "label_dropout": 1.1}, r"label_dropout must be in \[0, 1\], not 1.1"),
    ("Denoising", {"conditional": True, "label_dropout": -0.1}, "label_dropout"),
    ("Denoising", {"conditional": True, "label_dropout": math.nan}, "label_dropout"),
    ("Denoising", {"label_dropout": 0.1}, "label_dropout must be 0 without conditional=True, not 0.1"),
    ("CleanCrossEntropy", {"label_smoothing": -0.1}, "label_smoothing"),
    ("CleanCrossEntropy", {"label_smoothing": 1.5}, r"label_smoothing must be in \[0, 1\], not 1.5"),
    ("FreeCrossEntropy", {"threat": attacks.L2(1.0), "replays": 0}, "replays must be a whole number, at least 1"),
    ("FreeCrossEntropy", {"threat": attacks.L2(1.0), "replays": 2.5}, "replays"),
    ("FreeCrossEntropy", {"threat": attacks.L2(1.0), "step": 0.0}, "step must be a positive number of radii, not 0.0"),
    ("FreeCrossEntropy", {"threat": attacks.L2(1.0), "step": math.inf}, "step"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused_by_name(kind: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        getattr(objectives, kind)(**options)


def test_an_unknown_target_has_no_terms() -> None:
    x0, _, _ = batch()
    with pytest.raises(ValueError, match=r"predicts must be .*'epsilon'"):
        objectives.denoising_terms("epsilon", x0, SCHEDULE, x0, x0, torch.zeros(8, dtype=torch.int64), x0)  # type: ignore[arg-type]
