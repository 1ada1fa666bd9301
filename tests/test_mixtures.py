"""The oracle itself, against autograd, quadrature, PyTorch's own distributions, and its own samples."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from rgd import schedule
from rgd.guidance import grad_log_prob
from rgd.mixtures import Mixture, mixture

Q = schedule.linear()
T = torch.tensor([0, 1, 30, 300, 700, 999])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def covariances(K: int, D: int, seed: int = 0) -> Tensor:
    factor = normal(K, D, D, seed=seed)
    return factor @ factor.mT / D + 0.1 * torch.eye(D, dtype=torch.float64)


LABELS = torch.tensor([2, 0, 1, 0, 2])
WEIGHTS = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.5], dtype=torch.float64)
PRIOR = torch.stack([WEIGHTS[y == LABELS].sum() for y in range(3)]) / WEIGHTS.sum()


def five(form: str, shape: tuple[int, ...] = (3,)) -> Mixture:
    """Five components of three classes, two of which have two components."""
    D = int(torch.tensor(shape).prod())
    covariance = {
        "one": 0.3,
        "each": torch.linspace(0.1, 0.9, 5, dtype=torch.float64),
        "axes": normal(5, D, seed=1).exp() / 3,
        "full": covariances(5, D),
    }[form]
    return mixture(1.5 * normal(5, *shape, seed=2), covariance, Q, LABELS, WEIGHTS)


def matrices(mix: Mixture) -> Tensor:
    """The covariance of each component, (K, D, D), from its eigenvalues and axes."""
    if mix.axes is None:
        return torch.diag_embed(mix.variances)
    return mix.axes @ torch.diag_embed(mix.variances) @ mix.axes.mT


def independent(mix: Mixture, t: int, y: int | None = None) -> MixtureSameFamily:
    """p_t, or p_t(.|y), as PyTorch's own mixture distribution."""
    k = torch.arange(len(mix.labels)) if y is None else (mix.labels == y).nonzero()[:, 0]
    signal, D = mix.schedule.alpha_bar[t], mix.variances.shape[1]
    means = signal.sqrt() * mix.means[k].flatten(1)
    covariance = signal * matrices(mix)[k] + (1 - signal) * torch.eye(D, dtype=torch.float64)
    return MixtureSameFamily(Categorical(logits=mix.log_weights[k]), MultivariateNormal(means, covariance))


FORMS = ["one", "each", "axes", "full"]


@pytest.mark.parametrize("shape", [(3,), (1, 2, 2)])
@pytest.mark.parametrize("form", FORMS)
def test_density_and_class_posterior_are_those_of_torch_distributions(form: str, shape: tuple[int, ...]) -> None:
    mix, xt = five(form, shape), 2 * normal(6, *shape, seed=3)
    marginal, logits = mix.log_prob(xt, T), mix.logits(xt, T)
    for i, t in enumerate(T.tolist()):
        row = xt[i].flatten()
        torch.testing.assert_close(marginal[i], independent(mix, t).log_prob(row), rtol=1e-10, atol=1e-10)
        for y in range(3):
            given_y = independent(mix, t, y).log_prob(row)
            conditional = mix.log_prob(xt[i : i + 1], T[i : i + 1], torch.tensor([y]))[0]
            torch.testing.assert_close(conditional, given_y, rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(logits[i, y], given_y + PRIOR[y].log(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(logits.logsumexp(1), marginal, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(3,), (1, 2, 2)])
@pytest.mark.parametrize("form", FORMS)
def test_scores_and_gradients_are_those_of_autograd(form: str, shape: tuple[int, ...]) -> None:
    mix, y = five(form, shape), torch.tensor([0, 1, 2, 0, 1, 2])
    xt = (2 * normal(6, *shape, seed=4)).requires_grad_()

    def gradient(value: Tensor) -> Tensor:
        return torch.autograd.grad(value.sum(), xt, retain_graph=True)[0]

    exact = {"rtol": 1e-8, "atol": 1e-8}
    torch.testing.assert_close(mix.score(xt, T), gradient(mix.log_prob(xt, T)), **exact)
    torch.testing.assert_close(mix.score(xt, T, y), gradient(mix.log_prob(xt, T, y)), **exact)
    log_posterior = mix.logits(xt, T).log_softmax(dim=1).gather(1, y[:, None])
    torch.testing.assert_close(mix.grad_log_prob(xt, T, y), gradient(log_posterior), **exact)
    torch.testing.assert_close(mix.classifier.grad_log_prob(xt, T, y), gradient(log_posterior), **exact)
    assert torch.equal(mix.classifier(xt, T), mix.logits(xt, T))
    assert mix.score(xt, T).shape == xt.shape


def test_a_gradient_needs_a_class_to_point_to() -> None:
    mix = mixture(torch.zeros(2, 3), 1.0, Q)
    with pytest.raises(ValueError, match="give labels y"):
        grad_log_prob(mix.classifier)(torch.zeros(2, 3), torch.tensor([1, 2]), None)  # type: ignore[arg-type]


def test_all_forms_of_a_covariance_agree() -> None:
    means, xt = normal(5, 3, seed=2), normal(6, 3, seed=5)
    eye = torch.eye(3, dtype=torch.float64)
    scalar: list[Any] = [0.4, torch.full((5,), 0.4), torch.full((5, 3), 0.4), (0.4 * eye).expand(5, 3, 3)]
    axes = normal(5, 3, seed=6).exp()
    for same in (scalar, [axes, torch.diag_embed(axes)]):
        mixes = [mixture(means, covariance, Q, LABELS, WEIGHTS) for covariance in same]
        for other in mixes[1:]:
            torch.testing.assert_close(other.logits(xt, T), mixes[0].logits(xt, T), rtol=1e-6, atol=1e-6)
            torch.testing.assert_close(other.score(xt, T), mixes[0].score(xt, T), rtol=1e-6, atol=1e-6)


@given(
    means=st.lists(st.floats(-3, 3), min_size=1, max_size=4),
    variance=st.floats(0.01, 2),
    t=st.sampled_from(T.tolist()),
    classes=st.integers(1, 4),
)
def test_densities_integrate_to_one(means: list[float], variance: float, t: int, classes: int) -> None:
    """By the trapezoidal rule, which for such smooth functions is exact to many digits."""
    labels = torch.arange(len(means)) % classes
    weights = torch.arange(1.0, len(means) + 1)
    mix = mixture(torch.tensor(means, dtype=torch.float64)[:, None], variance, Q, labels, weights)
    x = torch.linspace(-20, 20, 4001, dtype=torch.float64)[:, None]
    times = torch.full((len(x),), t)
    assert abs(float(torch.trapezoid(mix.log_prob(x, times).exp(), x[:, 0])) - 1) < 1e-6
    for y in range(mix.num_classes):
        density = mix.log_prob(x, times, torch.full((len(x),), y)).exp()
        assert abs(float(torch.trapezoid(density, x[:, 0])) - 1) < 1e-6


@pytest.mark.parametrize("y", [None, 0, 1])
def test_as_a_denoiser_it_gives_the_expected_image_and_noise(y: int | None) -> None:
    """E[x0 | xt] by quadrature over x0, with q(xt | x0) as the only thing known of t."""
    mix = mixture(torch.tensor([[-1.0], [0.5], [1.2]], dtype=torch.float64), 0.05, Q, torch.tensor([0, 1, 0]))
    x0 = torch.linspace(-4, 4, 8001, dtype=torch.float64)
    clean = independent_density(mix, x0, y)
    for t in (100, 300, 700):
        xt = torch.tensor([[-1.5], [0.1], [2.0]], dtype=torch.float64)
        times, labels = torch.full((3,), t), None if y is None else torch.full((3,), y)
        noise = (xt - Q.signal[t] * x0) / Q.sigma[t]
        joint = clean * (-0.5 * noise**2).exp()
        expected = torch.trapezoid(joint * x0, x0) / torch.trapezoid(joint, x0)
        prediction = mix(xt, times, labels)
        assert float(prediction.fraction) == 1  # the variance is beta
        torch.testing.assert_close(prediction.x0[:, 0], expected, rtol=1e-7, atol=1e-7)
        torch.testing.assert_close(Q.q_sample(prediction.x0, times, prediction.eps), xt, rtol=1e-10, atol=1e-10)


def independent_density(mix: Mixture, x0: Tensor, y: int | None) -> Tensor:
    """p(x0), or p(x0 | y), up to a factor, for one dimension and equal weights."""
    kept = [k for k in range(len(mix.means)) if y is None or mix.labels[k] == y]
    variance = float(mix.variances[0, 0])
    return torch.stack([(-0.5 * (x0 - mix.means[k]) ** 2 / variance).exp() for k in kept]).sum(0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("y", [None, 0, 2])
def test_samples_have_the_moments_they_should(form: str, y: int | None) -> None:
    """Mean and covariance of n samples; each of the 12 numbers may be off by 5 of its standard errors, as happens to
    one good sampler in 100,000."""
    mix, n = five(form), 50_000
    labels = None if y is None else torch.full((n,), y)
    x0, drawn = mix.sample(n, torch.Generator().manual_seed(7), labels)
    k = torch.arange(5) if y is None else (y == LABELS).nonzero()[:, 0]
    weights = WEIGHTS[k] / WEIGHTS[k].sum()
    mean = (weights[:, None] * mix.means[k]).sum(0)
    offset = mix.means[k] - mean
    covariance = (weights[:, None, None] * (matrices(mix)[k] + offset[:, :, None] * offset[:, None])).sum(0)
    assert within_errors(x0, mean)
    products = (x0 - mean)[:, :, None] * (x0 - mean)[:, None]
    assert within_errors(products.flatten(1), covariance.flatten())
    if y is None:
        assert within_errors((drawn[:, None] == torch.arange(3)).double(), PRIOR)
    else:
        assert (drawn == y).all()


def within_errors(values: Tensor, expected: Tensor) -> bool:
    error = values.std(dim=0) / len(values) ** 0.5
    return bool(((values.mean(0) - expected).abs() < 5 * error).all())


def test_samples_bear_the_labels_they_are_asked_for_and_lie_where_those_say() -> None:
    means = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    mix = mixture(means, 0.01, Q, labels=torch.tensor([0, 1, 0, 2]))
    y = torch.arange(300) % 3
    x0, drawn = mix.sample(300, torch.Generator().manual_seed(0), y)
    assert torch.equal(drawn, y)
    nearest = torch.cdist(x0, means).argmin(dim=1)
    assert torch.equal(mix.labels[nearest], y)
    assert set(nearest.tolist()) == {0, 1, 2, 3}
    again, _ = mix.sample(300, torch.Generator().manual_seed(0), y)
    assert torch.equal(again, x0)


def test_samples_have_the_shape_of_the_means() -> None:
    mix = five("full", (1, 2, 2))
    x0, y = mix.sample(4, torch.Generator().manual_seed(0))
    assert x0.shape == (4, 1, 2, 2)
    assert y.shape == (4,)
    assert mix.num_classes == 3


@pytest.mark.parametrize("form", FORMS)
def test_single_precision_is_close_to_double(form: str) -> None:
    mix, xt, y = five(form), normal(6, 3, seed=8), torch.tensor([0, 1, 2, 0, 1, 2])
    for name in ("log_prob", "score", "grad_log_prob"):
        single, double = getattr(mix, name)(xt.float(), T, y), getattr(mix, name)(xt, T, y)
        assert single.dtype == torch.float32
        assert (single - double).abs().max() < 1e-4 * double.abs().max()


def test_far_away_everything_is_still_finite() -> None:
    mix, xt, y = five("full"), 1e4 * normal(6, 3, seed=9), torch.tensor([0, 1, 2, 0, 1, 2])
    for value in (mix.log_prob(xt, T), mix.score(xt, T, y), mix.logits(xt, T), mix.grad_log_prob(xt, T, y)):
        assert value.isfinite().all()


@pytest.mark.parametrize(
    ("means", "options", "words"),
    [
        (torch.zeros(3, 2), {"covariances": torch.ones(3, 4)}, "covariances of shape"),
        (torch.zeros(3, 2), {"covariances": torch.ones(2)}, "covariances of shape"),
        (torch.zeros(3, 2), {"covariances": 0.0}, "positive definite"),
        (torch.zeros(3, 2), {"covariances": -1.0}, "positive definite"),
        (torch.zeros(2, 2), {"covariances": torch.tensor([[1.0, 2.0], [2.0, 1.0]]).expand(2, 2, 2)}, "definite"),
        (torch.zeros(3, 2), {"labels": torch.tensor([0, 1])}, "3 labels"),
        (torch.zeros(3, 2), {"labels": torch.tensor([0, 2, 2])}, "without gaps"),
        (torch.zeros(3, 2), {"labels": torch.tensor([1, 2, 3])}, "without gaps"),
        (torch.zeros(3, 2), {"labels": torch.tensor([-1, 0, 1])}, "without gaps"),
        (torch.zeros(3, 2), {"weights": torch.ones(2)}, "3 weights"),
        (torch.zeros(3, 2), {"weights": torch.tensor([1.0, 0.0, 1.0])}, "weights must be positive"),
        (torch.zeros(3, 2), {"weights": torch.tensor([1.0, float("nan"), 1.0])}, "weights must be positive"),
    ],
)
def test_mixtures_that_cannot_be(means: Tensor, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        mixture(means, schedule=Q, **{"covariances": 1.0, **options})


@pytest.mark.parametrize("z", [1.0, 40.0, 300.0])
def test_the_gradient_keeps_its_digits_where_the_class_is_certain(z: float) -> None:
    """Of two equal round Gaussians p(other | x) is a logistic function: 1 - p(y | x) loses it from z = 37 on."""
    process = schedule.linear(10)
    t, variance = torch.tensor([0]), 0.5
    signal, sigma = process.signal[0], process.sigma[0]
    spread = signal**2 * variance + sigma**2
    means = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    x = torch.tensor([[z * float(spread / (2 * signal)), 0.7]], dtype=torch.float64)  # where the log odds are z
    found = mixture(means, variance, process).grad_log_prob(x, t, torch.tensor([0]))
    expected = math.exp(-z) / (1 + math.exp(-z)) * 2 * float(signal / spread)
    assert float(found[0, 0]) == pytest.approx(expected, rel=1e-9)
    assert found[0, 1] == 0
    lone = mixture(means[:1], variance, process)
    assert lone.grad_log_prob(x, t, torch.tensor([0])).eq(0).all()
