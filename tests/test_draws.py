"""Guidance by samples, on mixtures: the gradient is exact in the limit, and rounds come nearer to the target."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from test_steering import LINE, distance
from torch import Tensor

import rgd
from rgd.methods.draws import Until

LEVEL, PLAIN = 300, rgd.unconditional(LINE)


def clean(x0: Tensor, t: Tensor) -> Tensor:
    """p(y | x0) of the mixture, as a classifier that has no gradient to give."""
    assert not x0.requires_grad
    assert (t == 0).all()
    return LINE.logits(x0, t)


def test_draws_give_the_gradient_in_the_limit() -> None:
    xt = torch.linspace(-2, 2, 21, dtype=torch.float64)[:, None]
    t, y = torch.full((21,), LEVEL), torch.arange(21) % 2
    exact = LINE.grad_log_prob(xt, t, y)
    errors = []
    for draws, steps in ((20, 4), (100, 20), (1000, 30)):
        found = rgd.grad_by_draws(clean, LINE, draws, steps)(xt, t, y)
        errors.append(float((found - exact).abs().mean() / exact.abs().mean()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.06
    assert errors[0] < 1  # already nearer than no gradient at all


def test_draws_are_decided_by_seed_time_and_signs() -> None:
    xt, t, y = torch.tensor([[0.1], [0.4]]), torch.full((2,), LEVEL), torch.tensor([0, 1])
    ask = rgd.grad_by_draws(clean, LINE, 8)
    assert torch.equal(ask(xt, t, y), ask(xt, t, y))
    assert not torch.allclose(ask(xt, t, y), rgd.grad_by_draws(clean, LINE, 8, seed=1)(xt, t, y))
    for part in (slice(1), slice(1, 2)):
        torch.testing.assert_close(ask(xt[part], t[part], y[part]), ask(xt, t, y)[part])
    with pytest.raises(ValueError, match="one time for the whole batch"):
        ask(xt, torch.tensor([5, 6]), y)
    with pytest.raises(ValueError, match="at least 2"):
        rgd.grad_by_draws(clean, LINE, 1)


def test_draws_guide() -> None:
    """To a class, by a classifier that is never differentiated."""
    guided = rgd.guide(PLAIN, rgd.grad_by_draws(clean, LINE, 32), 1.0)
    y = torch.arange(60) % 2
    x = rgd.sample(guided, (60, 1), y, sampler=rgd.ddim, steps=15, progress=False)
    right = LINE.logits(x.double(), torch.zeros_like(y)).argmax(1) == y
    assert right.double().mean() > 0.85


def test_until_is_the_same_process_from_a_later_start() -> None:
    part = Until(LINE, LEVEL)
    assert part.schedule.T == LEVEL + 1
    xt, t = torch.tensor([[0.3], [-1.0]], dtype=torch.float64), torch.tensor([LEVEL, 5])
    assert torch.equal(part(xt, t).eps, LINE(xt, t).eps)
    respaced = rgd.schedule.linear(1000).respace(11)
    assert Until(rgd.mixture(LINE.means, 0.2, respaced), 500).schedule.timesteps.tolist() == [
        0,
        100,
        200,
        300,
        400,
        500,
    ]


def start(n: int, scale: float = 1.0, steps: int = 60) -> tuple[Tensor, Tensor]:
    y = torch.zeros(n, dtype=torch.int64)
    guided = rgd.guide(PLAIN, LINE.grad_log_prob, scale)
    return rgd.sample(guided, (n, 1), y, steps=steps, progress=False).double(), y


def test_at_scale_one_rounds_change_the_samples_and_not_their_law() -> None:
    x0, y = start(3000)
    guided = rgd.guide(PLAIN, LINE.grad_log_prob, 1.0)
    again = rgd.gibbs(guided, x0, y, level=150, rounds=2, steps=60)
    assert (again - x0).abs().mean() > 0.05
    assert distance(again, 1.0) < 1.63 / 3000**0.5 + 0.01  # 1 %, and what the steps are off


def test_rounds_come_nearer_to_the_tempered_density_than_guidance_does() -> None:
    n, scale = 3000, 4.0
    plainly, y = start(n, scale)
    x0, _ = start(n)
    guided = rgd.guide(PLAIN, LINE.grad_log_prob, scale)
    after = {rounds: rgd.gibbs(guided, x0, y, level=60, rounds=rounds, steps=20) for rounds in (1, 6)}
    assert distance(after[6], scale) < 0.6 * distance(plainly, scale)
    assert distance(after[6], scale) < distance(x0, scale)
    first = {"first": 1000, "level": 60, "rounds": 2, "steps": 5, "sampler": partial(rgd.ddim, eta=1.0)}
    whole = rgd.gibbs(guided, x0[:8], y[:8], **{**first, "first": 0})
    split = [rgd.gibbs(guided, x0[i : i + 4], y[i : i + 4], **{**first, "first": i}) for i in (0, 4)]
    torch.testing.assert_close(whole, torch.cat(split))  # an image's noise is its own
    with pytest.raises(ValueError, match="one of the times"):
        rgd.gibbs(guided, x0, y, level=1000)
    with pytest.raises(ValueError, match="at least 1"):
        rgd.gibbs(guided, x0, y, level=60, rounds=0)
