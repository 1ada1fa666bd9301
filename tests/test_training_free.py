"""Guidance by classifiers of clean images: TFG's formula, the cases of it, and steps that are taken again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from scipy.stats import ks_1samp
from torch import Tensor

import rgd
from rgd.methods.contrast import cfg_plus_plus
from rgd.methods.free import recurrent, training_free
from rgd.samplers import ddim, sample

Q = rgd.schedule.linear()
MEANS = torch.tensor([[-1.0, 0.3], [0.8, 0.8], [0.2, -1.1]], dtype=torch.float64)
MIX = rgd.mixture(MEANS, 0.2, Q)
PLAIN = rgd.unconditional(MIX)
N = 40
XT, Y = torch.randn(N, 2, generator=rgd.generator(0), dtype=torch.float64), torch.arange(N) % 3
LINE = rgd.mixture(torch.tensor([[-1.0], [1.0]]).double(), torch.tensor(0.3), Q)


def clean(x0: Tensor, t: Tensor) -> Tensor:
    """The exact classifier of clean points, and of nothing else."""
    assert not t.any()
    return MIX.logits(x0, t)


def gradient(x0: Tensor) -> Tensor:
    return MIX.grad_log_prob(x0, torch.zeros(N, dtype=torch.int64), Y)


@pytest.mark.parametrize("level", [0, 300, 999])
def test_a_step_is_theirs(level: int) -> None:
    """Written down from the paper: x' = DDIM(xt, x0_hat) + D_t / sqrt(alpha_t) + sqrt(alpha_bar') D_0."""
    rho, mu, t = 0.05, 0.1, torch.full((N,), level)
    found = training_free(PLAIN, clean, rho, mu, rounds=2)(XT, t, Y)
    xt = XT.clone().requires_grad_()
    plain = PLAIN(xt, t)
    log_p = clean(plain.x0, torch.zeros_like(t)).log_softmax(1).gather(1, Y[:, None]).sum()
    D_t = rho * torch.autograd.grad(log_p, xt)[0]
    x0 = plain.x0.detach()
    once = x0 + mu * gradient(x0)
    D_0 = once + mu * gradient(once) - x0
    for alpha_bar_next in (0.3, 0.999):
        alpha = float(Q.alpha_bar[level]) / alpha_bar_next
        step = alpha_bar_next**0.5 * x0 + (1 - alpha_bar_next) ** 0.5 * plain.eps.detach()
        theirs = step + D_t / alpha**0.5 + alpha_bar_next**0.5 * D_0
        ours = alpha_bar_next**0.5 * found.x0 + (1 - alpha_bar_next) ** 0.5 * found.eps
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    assert D_t.abs().max() > 1e-6 < D_0.abs().max()


def test_dps_is_cfg_plus_plus_with_another_course_of_the_scale() -> None:
    for level in (50, 500):
        t, s = torch.full((N,), level), 1.7
        by_rho = training_free(PLAIN, clean, rho=s * (1 - float(Q.alpha_bar[level])))(XT, t, Y)
        guided = cfg_plus_plus(rgd.guide(PLAIN, rgd.grad_log_prob_of_x0(clean, PLAIN), s))(XT, t, Y)
        torch.testing.assert_close(by_rho.x0, guided.x0, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(by_rho.eps, guided.eps, rtol=1e-9, atol=1e-9)


def test_a_spread_smooths_the_classifier() -> None:
    """Between two clouds p(y | x) is logistic; its mean under noise is an integral over the line."""
    level, mu, spread = 400, 1e-3, 0.8
    t, xt, y = torch.full((5,), level), torch.linspace(-1, 1, 5).double()[:, None], torch.tensor([0, 1, 0, 1, 0])
    plain = rgd.unconditional(LINE)
    how: dict[str, Any] = dict(mu=mu, spread=spread, draws=3000)
    x0 = plain(xt, t).x0
    found = (training_free(plain, LINE.logits, **how)(xt, t, y).x0 - x0) / mu
    width = spread * float(Q.sigma[level])
    e = torch.linspace(-8, 8, 4001).double()
    weights = (-(e**2) / 2).exp() / (-(e**2) / 2).exp().sum()
    at = x0.clone().requires_grad_()
    zeros = torch.zeros(len(e), dtype=torch.int64)
    means = [
        weights @ LINE.logits(one + width * e[:, None], zeros).softmax(1)[:, k] for one, k in zip(at, y, strict=True)
    ]
    (exact,) = torch.autograd.grad(torch.stack(means).log().sum(), at)
    torch.testing.assert_close(found, exact, rtol=0.1, atol=0.05)
    sharp = (training_free(plain, LINE.logits, mu=mu)(xt, t, y).x0 - x0) / mu
    assert (sharp - exact).abs().max() > 0.2, "a spread does something"
    other = training_free(plain, LINE.logits, **how | {"draws": 2, "seed": 1})(xt, t, y).x0
    few = training_free(plain, LINE.logits, **how | {"draws": 2})
    assert not torch.equal(other, few(xt, t, y).x0)
    assert torch.equal(few(xt[2:], t[2:], y[2:]).x0, few(xt, t, y).x0[2:]), "beside whatever else"


def test_steps_taken_once_are_those_of_ddim() -> None:
    guided, y = training_free(PLAIN, clean, 0.02, 0.02), torch.arange(6) % 3
    x = torch.randn(6, 2, generator=rgd.generator(2), dtype=torch.float64)
    for ours, theirs in zip(recurrent(guided, x, y, steps=7, times=1), ddim(guided, x, y, steps=7), strict=True):
        assert (ours.k, ours.t) == (theirs.k, theirs.t)
        torch.testing.assert_close(ours.x, theirs.x)


def test_steps_taken_again_keep_the_law_and_forget_errors() -> None:
    """Every draw of noise is another one, and a start from a wrong law is brought nearer to the right one."""
    asked: list[int] = []

    def noise(k: int, shape: Sequence[int]) -> Tensor:
        asked.append(k)
        return torch.randn(*shape, generator=rgd.generator(3, k), dtype=torch.float64)

    plain = rgd.unconditional(LINE)
    right = torch.distributions.Normal(0.0, 1.0)

    def law(x: Any) -> Any:
        return sum(right.cdf((torch.as_tensor(x) - at) / 0.3**0.5).numpy() for at in (-1, 1)) / 2

    start = 0.3 * torch.randn(4000, 1, generator=rgd.generator(4), dtype=torch.float64)  # far too narrow
    distances = []
    for times in (1, 4):
        *_, step = recurrent(plain, start, steps=100, noise=noise, times=times)
        distances.append(float(ks_1samp(step.x[:, 0].numpy(), law).statistic))
    assert len(asked) == len(set(asked)) == 300
    assert min(asked) == 1
    assert distances[1] < 1.36 / 4000**0.5 * 1.5 < 0.1 < distances[0]


def test_a_guide_is_heard_again() -> None:
    y = torch.zeros(600, dtype=torch.int64)
    obeyed = []
    for times in (1, 3):
        way = partial(recurrent, times=times)
        x = sample(training_free(PLAIN, clean, 0.01), (600, 2), y, sampler=way, steps=25, progress=False)
        obeyed.append(float((MIX.logits(x.double(), y).argmax(1) == y).double().mean()))
    assert 0.6 < obeyed[0] < obeyed[1] - 0.05


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="not both 0"):
        training_free(PLAIN, clean)
    with pytest.raises(ValueError, match="draws"):
        training_free(PLAIN, clean, 1.0, draws=0)
    with pytest.raises(ValueError, match="labels"):
        training_free(PLAIN, clean, 1.0)(XT, torch.zeros(N, dtype=torch.int64))
    with pytest.raises(ValueError, match="times"):
        next(recurrent(PLAIN, XT, Y, times=0))
