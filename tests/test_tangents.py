"""The share of a gradient along the images: exact where the tangent space is known, and as an experiment."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import spearmanr
from test_matching import SHAPE, put
from torch import Tensor

from rgd.data import load
from rgd.denoiser import NetworkDenoiser
from rgd.experiments import tangents
from rgd.experiments.tangents import CHANCE, Tangents
from rgd.guidance import grad_log_prob
from rgd.lab.bench import run
from rgd.lab.registry import find
from rgd.measure import gradients
from rgd.mixtures import Mixture, mixture
from rgd.networks import EncoderConfig, UNetConfig
from rgd.randomness import noise
from rgd.schedule import linear

SCHEDULE = linear()


def frames(K: int, D: int, flat: int) -> Tensor:
    """K orthonormal bases of D dimensions, whose first `flat` columns span what is thick."""
    random = torch.Generator().manual_seed(0)
    return torch.linalg.qr(torch.randn(K, D, D, generator=random, dtype=torch.float64))[0]


def thin(K: int = 2, flat: int = 3, D: int = 12, thickness: float = 1e-8) -> tuple[Mixture, Tensor]:
    """Far apart components that are thick along a few directions alone, and the projections onto those, (K, D, D)."""
    axes = frames(K, D, flat)
    variances = torch.full((D,), thickness, dtype=torch.float64)
    variances[:flat] = 1.0
    covariances = torch.einsum("kde,e,kfe->kdf", axes, variances, axes)
    covariances = (covariances + covariances.mT) / 2
    means = 40 * torch.eye(K, D, dtype=torch.float64).reshape(K, 1, 1, D)
    tangent = axes[:, :, :flat]
    return mixture(means, covariances, SCHEDULE), tangent @ tangent.mT


@pytest.mark.parametrize("level", [0, 3])
def test_where_images_are_thin_it_is_the_share_in_their_tangent_space(level: int) -> None:
    world, onto = thin()
    x0, k = world.sample(40, torch.Generator().manual_seed(1))
    t, eps = torch.full((40,), level), torch.randn(x0.shape, dtype=x0.dtype, generator=torch.Generator().manual_seed(2))
    xt = SCHEDULE.q_sample(x0, t, eps)
    g = torch.randn(x0.shape, dtype=x0.dtype, generator=torch.Generator().manual_seed(3))
    flat = g.flatten(1)
    exact = torch.einsum("bd,bde,be->b", flat, onto[k], flat) / flat.square().sum(1)
    found = gradients.tangent_share(world, 1e-20 * g, xt, t)
    torch.testing.assert_close(found, exact, atol=5e-3, rtol=0)
    assert float(exact.min()) < 0.1 < 0.4 < float(exact.max())  # not all alike
    along = torch.einsum("bde,be->bd", onto[k], flat).reshape(g.shape)
    assert gradients.tangent_share(world, along, xt, t).min() > 0.99
    assert gradients.tangent_share(world, g - along, xt, t).abs().max() < 0.02


@pytest.mark.parametrize("level", [10, 400, 990])
def test_in_a_gaussian_each_axis_counts_by_its_signal(level: int) -> None:
    variances = torch.tensor([[4.0, 1.0, 0.1, 1e-3]], dtype=torch.float64)
    world = mixture(torch.zeros(1, 1, 2, 2, dtype=torch.float64), variances, SCHEDULE)
    ab = float(SCHEDULE.alpha_bar[level])
    g = torch.eye(4, dtype=torch.float64).reshape(4, 1, 2, 2)
    xt, t = noise((4, 1, 2, 2)).double(), torch.full((4,), level)
    expected = ab * variances[0] / (ab * variances[0] + 1 - ab)
    torch.testing.assert_close(gradients.tangent_share(world, g, xt, t), expected)


def test_a_gradient_of_zero_has_no_share_and_a_network_s_x0_is_not_cut() -> None:
    class Black(torch.nn.Module):
        """eps such that x0 = 3 xt - 5: beyond the pixel range."""

        def forward(self, xt: Tensor, t: Tensor) -> Tensor:
            return SCHEDULE.eps_from_x0(xt, t, 3 * xt - 5)

    denoise, t = NetworkDenoiser(Black(), SCHEDULE), torch.tensor([5, 200])
    xt, g = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    torch.testing.assert_close(gradients.tangent_share(denoise, g, xt, t), 3 * SCHEDULE.signal[t].float())
    assert gradients.tangent_share(denoise, 0 * g, xt, t).isnan().all()
    assert not gradients.tangent_share(denoise, g, xt, t).requires_grad


PLAN = Tangents("digits", "t/ddpm", ("t/a", "t/b", "t/c"), "t/a", levels=(100, 300), images=60)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    put(folder, "t/ddpm", UNetConfig(**SHAPE, out_channels=1), 1)
    for name, seed in (("t/a", 2), ("t/b", 3), ("t/c", 4)):
        put(folder, name, EncoderConfig(**SHAPE, out_channels=10), seed)
    return folder


def test_results_are_what_the_images_say(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, options = tmp_path / "out.json", {"runs": runs, "progress": False}
    found = run(PLAN, out, store=tmp_path / "here", **options)
    assert json.loads(out.read_text()) == found
    assert list(found["classifiers"]) == [CHANCE, "t/a", "t/b", "t/c"]
    test, denoise = load("digits", "test").take(60), find("t/ddpm", runs).use()
    x0, y, t, eps = test.x0(), test.labels, torch.full((60,), 300), noise((60, 1, 8, 8), 0)
    xt = SCHEDULE.q_sample(x0, t, eps)
    share, aligned = {}, {}
    for name in PLAN.classifiers:
        g = grad_log_prob(find(name, runs).network)(xt, t, y)  # type: ignore[arg-type]
        share[name] = gradients.tangent_share(denoise, g, xt, t)  # type: ignore[arg-type]
        with torch.no_grad():
            guess = denoise(xt, t)  # type: ignore[operator]
        inner, energy = gradients.match(g, guess, eps, SCHEDULE.at("sigma", t, xt))
        aligned[name] = float(inner.mean() / energy.mean().sqrt())
    for name, row in ((name, found["classifiers"][name]["levels"][1]) for name in share):
        assert row["t"] == 300
        assert row["share"]["value"] == pytest.approx(float(share[name].mean()), rel=1e-4)
        assert row["more"]["value"] == pytest.approx(float((share[name] - share["t/a"]).mean()), rel=1e-3, abs=1e-9)
    rank = spearmanr([float(s.mean()) for s in share.values()], list(aligned.values())).statistic
    told = found["orders"]["levels"][1]
    assert (told["t"], told["agreement"]["value"]) == (300, pytest.approx(rank))
    monkeypatch.setattr(tangents, "measured", None)  # a finished one goes on from its file alone
    assert run(PLAN, out, store=tmp_path / "elsewhere", **options) == found


def test_two_orders_agree_or_are_opposite() -> None:
    random, n = torch.Generator().manual_seed(0), 200

    def row(share: float, inner: float) -> dict[str, Any]:
        near = partial(torch.randn, n, generator=random)
        return {"share": share + 0.1 * near(), "inner": inner + 0.1 * near(), "energy": torch.ones(n)}

    same = tangents.agreement([row(k, 2.0 * k) for k in range(5)])
    opposite = tangents.agreement([row(k, -k) for k in range(5)])
    assert (same.value, opposite.value) == pytest.approx((1, -1))
    unsure = tangents.agreement([row(k, 0.0) for k in range(5)])
    assert unsure.high - unsure.low > 0.5


def test_a_reference_is_one_of_the_classifiers() -> None:
    with pytest.raises(ValueError, match="t/d is not among"):
        replace(PLAN, reference="t/d")
    assert set(PLAN.models()) == {"t/ddpm", "t/a", "t/b", "t/c"}
    assert PLAN.small().images == 100
