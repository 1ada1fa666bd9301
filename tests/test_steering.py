"""Walkers with weights, against densities known by quadrature."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from torch import Tensor

import rgd
from rgd.attacks import log_prob
from rgd.methods.steering import Annealed, Steered, accepted, effective, steer, systematic
from rgd.samplers import ancestral, ddpm, implicit, sample

SCHEDULE = rgd.schedule.linear(1000)
MEANS = torch.tensor([[-1.5], [0.5], [1.6]], dtype=torch.float64)
LINE = rgd.mixture(
    MEANS, torch.tensor([0.2, 0.1, 0.3]), SCHEDULE, torch.tensor([0, 0, 1]), torch.tensor([0.3, 0.3, 0.4])
)
GRID = torch.linspace(-6, 6, 20001, dtype=torch.float64)[:, None]
QUIET = {"progress": False}
SMALL = {"image_size": 8, "in_channels": 1, "model_channels": 32, "num_res_blocks": 1, "attention_resolutions": ()}


def of(classifier, scale: float) -> tuple[Tensor, float]:
    """log of the density on `GRID` that p(x) p(0 | x)^s has, and E[p(0 | x)^s]."""
    zero = torch.zeros(len(GRID), dtype=torch.int64)
    joint = LINE.log_prob(GRID, zero) + scale * log_prob(classifier(GRID, zero), zero)
    step = float(GRID[1] - GRID[0])
    mass = float(joint.exp().sum() * step)
    return joint.exp() / mass * step, mass


def distance(x: Tensor, scale: float, classifier=LINE.classifier) -> float:
    """Kolmogorov and Smirnov's."""
    below = of(classifier, scale)[0].cumsum(0).numpy()
    return float(kstest(x.flatten().double().numpy(), lambda at: np.interp(at, GRID[:, 0].numpy(), below)).statistic)


def on_the_line(islands: int = 2, walkers: int = 500, steps: int = 40, **options) -> Steered:
    y = torch.zeros(islands, dtype=torch.int64)
    options = {"batch_size": islands * walkers, "scale": Annealed(4.0)} | options
    guide = options.pop("guide", LINE.classifier)
    return steer(LINE, guide, y, (1,), walkers=walkers, steps=steps, **options, **QUIET)


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=40), st.floats(0, 1, exclude_max=True))
def test_systematic_resampling_copies_each_as_often_as_it_weighs(logs: list[float], u: float) -> None:
    log_weights = torch.tensor([logs], dtype=torch.float64)
    copies = systematic(log_weights, torch.tensor([u])).flatten().bincount(minlength=len(logs))
    assert (copies - len(logs) * log_weights.softmax(1)[0]).abs().max() < 1 + 1e-6


def test_equal_weights_are_left_as_they_are() -> None:
    assert systematic(torch.zeros(2, 50), torch.tensor([0.001, 0.999])).tolist() == [list(range(50))] * 2


def test_effective_sample_size() -> None:
    logs = torch.tensor([[3.0, 3, 3, 3], [0, -math.inf, -math.inf, -math.inf], [0, 0, -math.inf, -math.inf]])
    assert torch.allclose(effective(logs), torch.tensor([4.0, 1, 2]))


@pytest.mark.parametrize("weights", ["twisted", "feynman-kac"])
def test_walkers_sample_the_tempered_density(weights: str) -> None:
    steered = on_the_line(weights=weights)
    guided = rgd.guide(LINE, rgd.grad_log_prob(LINE.classifier), 4.0)
    y = torch.zeros(1000, dtype=torch.int64)
    plain = sample(guided, (1000, 1), y, sampler=ddpm, steps=40, batch_size=1000, **QUIET)
    assert distance(steered.x, 4) < 0.07 < 0.2 < distance(plain, 4)


def test_more_walkers_are_nearer() -> None:
    few, many = (on_the_line(1000 // K, K, scale=4.0) for K in (8, 500))
    assert distance(many.x, 4) < 0.6 * distance(few.x, 4)


def test_the_annealed_scale_needs_fewer_walkers() -> None:
    constant, annealed = (on_the_line(10, 100, scale=scale) for scale in (8.0, Annealed(8.0)))
    assert distance(annealed.x, 8) < 0.08 < 0.16 < distance(constant.x, 8)


@pytest.mark.parametrize("weights", ["twisted", "feynman-kac"])
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_evidence_is_the_mean_of_the_tempered_posterior(weights: str, scale: float) -> None:
    steered = on_the_line(weights=weights, scale=scale)
    assert float(steered.log_evidence.exp().mean()) == pytest.approx(of(LINE.classifier, scale)[1], rel=0.07)


def wrong(xt: Tensor, t: Tensor) -> Tensor:
    """With a prejudice for the right, and another that comes with the noise."""
    bias = torch.stack([2.5 * xt[:, 0], 2 * (t / 1000.0).to(xt)], dim=1)
    return LINE.logits(xt, t) + bias


def test_a_wrong_guide_is_made_good_by_the_target() -> None:
    right, alone = on_the_line(guide=wrong, target=LINE.classifier), on_the_line(guide=wrong)
    assert distance(right.x, 4) < 0.1 < 0.13 < distance(alone.x, 4)
    assert distance(alone.x, 4, wrong) < 0.1  # taken at its word
    assert distance(on_the_line(guide=wrong, weights="feynman-kac").x, 4, wrong) > 0.3  # whose gradient is no score's


def test_a_gradient_by_autograd_steers_as_the_closed_form_does() -> None:
    alike = on_the_line(1, 50, guide=lambda xt, t: LINE.logits(xt, t)).x
    assert torch.allclose(alike, on_the_line(1, 50).x, atol=1e-4)


def test_at_scale_0_it_is_ancestral_sampling() -> None:
    steered = on_the_line(3, 20, scale=0.0)
    plain = sample(LINE, (60, 1), sampler=ddpm, steps=40, **QUIET)
    assert torch.equal(steered.x.reshape(60, 1), plain)
    assert steered.log_evidence.tolist() == pytest.approx([0, 0, 0], abs=1e-9)


def test_at_scale_1_nearly_all_weigh_the_same() -> None:
    assert on_the_line(2, 200, steps=250, scale=1.0).ess.min() > 190


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_other_noise(eta: float) -> None:
    assert distance(on_the_line(kernel=partial(implicit, eta=eta)).x, 4) < 0.09


def test_islands_do_not_know_of_each_other() -> None:
    together, apart = on_the_line(3, 40), on_the_line(3, 40, batch_size=1)
    assert torch.allclose(together.x, apart.x, atol=1e-6)
    assert torch.equal(together.ancestors, apart.ancestors)
    assert together.ess.shape == (41, 3)
    assert together.x.shape == (3, 40, 1)


def test_images_and_a_network() -> None:
    network = rgd.build(rgd.EncoderConfig(out_channels=3, **SMALL))
    denoise = rgd.NetworkDenoiser(rgd.build(rgd.UNetConfig(out_channels=1, **SMALL)), SCHEDULE)
    network.eval().requires_grad_(False)
    steered = steer(denoise, network, torch.tensor([2, 0]), (1, 8, 8), walkers=3, steps=4, **QUIET)
    assert steered.x.shape == (2, 3, 1, 8, 8)
    assert steered.x.isfinite().all()
    assert 1 <= steered.ess.min() <= steered.ess.max() <= 3 + 1e-9


def test_rejection_after_bayes_rule() -> None:
    y = torch.zeros(4000, dtype=torch.int64)
    x0 = LINE.sample(4000, rgd.generator(0), y)[0]
    kept = accepted(LINE.classifier, x0, y, 4.0)
    assert distance(x0[kept], 4) < 0.03 < distance(x0, 4)
    share = of(LINE.classifier, 4)[1] / of(LINE.classifier, 1)[1]
    assert float(kept.double().mean()) == pytest.approx(share, abs=0.03)
    assert torch.equal(kept[100:200], accepted(LINE.classifier, x0[100:200], y[100:200], 4.0, first=100))
    assert accepted(LINE.classifier, x0, y, 1.0).all()


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel with noise"):
        on_the_line(1, 4, kernel=partial(implicit, eta=0))
    with pytest.raises(ValueError, match="weights"):
        on_the_line(1, 4, weights="feynman")
    with pytest.raises(ValueError, match="walkers"):
        on_the_line(1, 0)
    with pytest.raises(ValueError, match="the scale"):
        on_the_line(1, 4, scale=-1.0)
    with pytest.raises(ValueError, match="the scale"):
        accepted(LINE.classifier, torch.zeros(1, 1), torch.tensor([0]), 0.5)
    with pytest.raises(ValueError, match="the guide's"):
        on_the_line(1, 4, weights="feynman-kac", target=wrong)


def test_kernels_are_those_of_the_samplers() -> None:
    x, z = torch.randn(5, 1, generator=rgd.generator(1)), torch.randn(5, 1, generator=rgd.generator(2))
    schedule, at = SCHEDULE.respace(10), torch.full((5,), 999)
    for kernel, sampler in ((ancestral, ddpm), (implicit, partial(rgd.ddim, eta=1.0))):
        mean, std = kernel(schedule, 9, x, LINE(x, at))
        assert torch.equal(mean + std * z, next(sampler(LINE, x, steps=10, noise=lambda k, shape: z)).x)
