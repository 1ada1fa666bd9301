"""Measures of a gradient, on gradients whose length, direction and spectrum are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from rgd import schedule
from rgd.measure import gradients
from rgd.mixtures import mixture
from rgd.randomness import generator
from rgd.training.objectives import NoisyCrossEntropy

Q = schedule.linear(100)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@dataclass
class Field:
    """A "classifier" with any gradient one likes."""

    gradient: Callable[[Tensor, Tensor, Tensor], Tensor]

    def __call__(self, xt: Tensor, t: Tensor) -> Tensor:
        raise AssertionError("a classifier that knows its gradient is not differentiated")

    def grad_log_prob(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return self.gradient(xt, t, y)


def says(gradient: Tensor) -> Field:
    return Field(lambda xt, t, y: gradient)


XT, T, Y = normal(6, 1, 4, 4), torch.tensor([0, 5, 20, 40, 70, 99]), torch.tensor([0, 1, 2, 0, 1, 2])
MIX = mixture(
    0.3 * torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0)),
    0.3,
    Q,
    labels=torch.tensor([0, 1, 2, 0, 1]),
)


# --- length and direction ----------------------------------------------------------------------------------------


def test_cosine_with_itself_and_with_its_opposite() -> None:
    truth, opposite = MIX.classifier, Field(lambda *where: -3 * MIX.grad_log_prob(*where))
    one = torch.ones(6, dtype=torch.float64)
    torch.testing.assert_close(gradients.cosine(truth, truth, XT, T, Y), one)
    torch.testing.assert_close(gradients.cosine(truth, MIX.logits, XT, T, Y), one)  # through autograd
    torch.testing.assert_close(gradients.cosine(truth, opposite, XT, T, Y), -one)


def test_cosine_with_a_classifier_that_confuses_two_classes() -> None:
    two = mixture(normal(2, 1, 4, 4, seed=3), 0.5, Q)

    def confused(xt: Tensor, t: Tensor) -> Tensor:
        return two.logits(xt, t).flip(1)

    cosine = gradients.cosine(two.classifier, confused, XT, T, Y % 2)
    torch.testing.assert_close(cosine, -torch.ones(6, dtype=torch.float64))


@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3))
def test_measures_are_what_their_formulas_say(seed: int, scale: float) -> None:
    a, b = normal(6, 1, 4, 4, seed=seed), normal(6, 1, 4, 4, seed=seed + 1)
    x, y = a.numpy().reshape(6, -1), b.numpy().reshape(6, -1)
    expected = [float(np.dot(u, v) / math.sqrt(np.dot(u, u) * np.dot(v, v))) for u, v in zip(x, y, strict=True)]
    assert gradients.cosine(says(a), says(scale * b), XT, T, Y).tolist() == pytest.approx(expected, abs=1e-12)
    assert gradients.norm(says(scale * a), XT, T, Y).numpy() == pytest.approx(scale * np.linalg.norm(x, axis=1))
    error = np.linalg.norm(x - y, axis=1) / np.linalg.norm(y, axis=1)
    assert gradients.relative_error(says(a), says(b), XT, T, Y).numpy() == pytest.approx(error)


def test_relative_error_of_the_truth_of_nothing_and_of_twice_the_truth() -> None:
    truth = MIX.classifier
    assert (gradients.relative_error(truth, truth, XT, T, Y) == 0).all()
    assert (gradients.relative_error(MIX.logits, truth, XT, T, Y) < 1e-9).all()
    one = torch.ones(6, dtype=torch.float64)
    torch.testing.assert_close(gradients.relative_error(says(0 * XT), truth, XT, T, Y), one)
    twice = Field(lambda *where: 2 * MIX.grad_log_prob(*where))
    torch.testing.assert_close(gradients.relative_error(twice, truth, XT, T, Y), one)


def test_no_direction_has_no_cosine() -> None:
    gradient = normal(6, 1, 4, 4, seed=1)
    gradient[2] = 0
    cosine = gradients.cosine(says(gradient), MIX.classifier, XT, T, Y)
    assert cosine.isnan().nonzero()[:, 0].tolist() == [2]


@pytest.mark.parametrize("size", [1e-30, 1e-22, 1.0, 1e25])
def test_a_gradient_of_any_length_is_measured(size: float) -> None:
    """A sure classifier's is so short that float32 takes the squares of its components for nothing."""
    a, b, x = normal(6, 1, 4, 4, seed=1), normal(6, 1, 4, 4, seed=2), XT.float()
    short, other = says(size * a.float()), says((size * b).float())
    single, double = {"rtol": 1e-4, "atol": 1e-6}, (says(a), says(b), XT, T, Y)

    def same(found: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(found.double(), expected, **single)

    same(gradients.norm(short, x, T, Y) / size, gradients.norm(says(a), XT, T, Y))
    same(gradients.cosine(short, other, x, T, Y), gradients.cosine(*double))
    same(gradients.relative_error(short, other, x, T, Y), gradients.relative_error(*double))
    same(gradients.steadiness(short, x, T, Y, 1.0, generator(0)), torch.ones(6, dtype=torch.float64))
    same(gradients.spectrum(short.grad_log_prob(x, T, Y)), gradients.spectrum(a))
    walked = gradients.ascend(short, x, T, Y, length=0.7, steps=5) - x
    same(walked.flatten(1).norm(dim=1), torch.full((6,), 0.7, dtype=torch.float64))


def test_a_spectrum_in_double_precision_underflows_nowhere() -> None:
    gradient = normal(2, 1, 6, 6)
    torch.testing.assert_close(gradients.spectrum(1e-250 * gradient), gradients.spectrum(gradient))


def test_random_directions_are_nearly_orthogonal() -> None:
    """Their cosine has variance 1 / D, and its mean square over n pairs is off by sqrt(2 / n) of that: five such errors
    are allowed."""
    n, D = 2000, 400
    a, b = says(normal(n, D, seed=1)), says(normal(n, D, seed=2))
    cosine = gradients.cosine(a, b, torch.zeros(n, D), torch.zeros(n), torch.zeros(n))
    assert abs(float(cosine.square().mean()) * D - 1) < 5 * (2 / n) ** 0.5


# --- a trained classifier ----------------------------------------------------------------------------------------


class MLP(nn.Module):
    """A small time-dependent classifier."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        widths = [(18, 128), (128, 128), (128, 3)]
        layers = [nn.Linear(*width) for width in widths]
        self.layers = nn.Sequential(layers[0], nn.SiLU(), layers[1], nn.SiLU(), layers[2])
        random = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in layers:
                layer.weight.normal_(std=layer.in_features**-0.5, generator=random)
                layer.bias.zero_()

    def forward(self, xt: Tensor, t: Tensor) -> Tensor:
        time = t[:, None] / 100
        return self.layers(torch.cat([xt.flatten(1), time, 1 - time], dim=1))


@pytest.fixture(scope="module")
def trained() -> MLP:
    network, steps = MLP(0), 800
    optimizer = torch.optim.Adam(network.parameters())
    for step in range(steps):
        random = generator(0, step)
        x0, y = MIX.sample(256, random)
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / steps)
        optimizer.zero_grad()
        NoisyCrossEntropy()(network, Q, x0, y, random).value.backward()
        optimizer.step()
    return network


def noised(t: int, n: int = 500) -> tuple[Tensor, Tensor, Tensor]:
    random = generator("test", t)
    x0, y = MIX.sample(n, random)
    times = torch.full((n,), t)
    return Q.q_sample(x0, times, torch.randn(x0.shape, generator=random)), times, y


@pytest.mark.parametrize("t", [0, 10, 20, 30])
def test_a_trained_classifier_has_nearly_the_true_gradient(t: int, trained: MLP) -> None:
    """About 0.95 in each case when this was written; an untrained one guesses."""
    where = noised(t)
    assert gradients.cosine(trained, MIX.classifier, *where).mean() > 0.85
    assert gradients.relative_error(trained, MIX.classifier, *where).median() < 0.8


def test_an_untrained_classifier_has_not() -> None:
    """The mean cosine of ten random networks with the truth is 0, give or take 1 / sqrt(10 D), which is 0.08."""
    where = noised(20)
    untrained = [MLP(seed) for seed in range(10)]
    cosines = torch.stack([gradients.cosine(network, MIX.classifier, *where) for network in untrained])
    assert abs(float(cosines.mean())) < 0.25
    errors = torch.stack([gradients.relative_error(network, MIX.classifier, *where) for network in untrained])
    assert (errors.median(dim=1).values > 0.95).all()


# --- spectrum ----------------------------------------------------------------------------------------------------


def rings(side: int) -> list[list[int]]:
    """The ring of each two-dimensional frequency, by the definition."""
    frequency = [k if k <= (side - 1) // 2 else k - side for k in range(side)]
    return [[min(round(math.hypot(a, b)), side // 2) for b in frequency] for a in frequency]


@pytest.mark.parametrize(
    ("side", "across", "down"), [(16, 3, 0), (16, 0, 5), (16, 3, 4), (16, -2, 1), (16, 7, 7), (16, 8, 0), (15, 7, 0)]
)
def test_a_sinusoid_has_one_frequency(side: int, across: int, down: int) -> None:
    pixel = torch.arange(side, dtype=torch.float64) * 2 * math.pi / side
    wave = (across * pixel + down * pixel[:, None] + 0.3).cos()
    spectrum = gradients.spectrum(wave.expand(2, 3, side, side))
    expected = torch.zeros(side // 2 + 1, dtype=torch.float64)
    expected[min(round(math.hypot(across, down)), side // 2)] = 1
    torch.testing.assert_close(spectrum, expected, rtol=0, atol=1e-12)


def test_a_constant_has_frequency_zero() -> None:
    assert gradients.spectrum(torch.full((1, 3, 8, 8), 0.1))[0] == pytest.approx(1)


@pytest.mark.parametrize("side", [9, 16])
def test_white_noise_fills_each_ring_by_its_size(side: int) -> None:
    """A frequency's energy is as uncertain as it is large, and half of the frequencies repeat the others: five standard
    errors of each ring's share are allowed."""
    n = 400
    size = torch.bincount(torch.tensor(rings(side)).flatten()).double()
    spectrum = gradients.spectrum(normal(n, 1, side, side))
    share = size / side**2
    assert ((spectrum - share).abs() < 5 * share * (2 / (n * size)).sqrt()).all()


def test_gradients_of_zero_have_no_spectrum() -> None:
    alone, beside = normal(1, 2, 6, 6), torch.zeros(3, 2, 6, 6, dtype=torch.float64)
    assert torch.equal(gradients.spectrum(torch.cat([beside, alone])), gradients.spectrum(alone))
    assert gradients.spectrum(beside).isnan().all()


@given(seed=st.integers(0, 10**6), side=st.integers(1, 12), channels=st.integers(1, 3))
def test_a_spectrum_is_a_distribution_in_which_each_image_counts_the_same(seed: int, side: int, channels: int) -> None:
    gradient = normal(3, channels, side, side, seed=seed)
    spectrum = gradients.spectrum(gradient)
    assert spectrum.shape == (side // 2 + 1,)
    assert (spectrum >= 0).all()
    assert float(spectrum.sum()) == pytest.approx(1)
    size = torch.tensor([1e-6, 1.0, 1e6], dtype=torch.float64).reshape(3, 1, 1, 1)
    torch.testing.assert_close(gradients.spectrum(size * gradient), spectrum)
    torch.testing.assert_close(gradients.spectrum(gradient[:, :, :, torch.arange(side) - 1]), spectrum)  # shifted
    alone = torch.stack([gradients.spectrum(gradient[i : i + 1]) for i in range(3)]).mean(0)
    torch.testing.assert_close(alone, spectrum)


# --- where a gradient leads ------------------------------------------------------------------------------------------

TWO = mixture(0.5 * normal(2, 1, 4, 4, seed=4), 0.3, Q)  # one boundary, a plane: the gradient always points across it
LABELS = Y % 2


def test_a_walk_uphill_has_the_length_it_is_given_and_ends_higher() -> None:
    start = XT.clone()
    straight = gradients.ascend(says(normal(6, 1, 4, 4, seed=7)), XT, T, Y, length=0.7, steps=5)
    torch.testing.assert_close((straight - XT).flatten(1).norm(dim=1), torch.full((6,), 0.7, dtype=torch.float64))
    turns = []

    def around(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        turns.append(xt)
        return torch.stack([-xt[:, 1], xt[:, 0]], dim=1)

    end = gradients.ascend(Field(around), normal(3, 2), T[:3], Y[:3], length=1.0, steps=8)
    steps = torch.stack([*turns, end]).diff(dim=0).norm(dim=2)
    torch.testing.assert_close(steps, torch.full((8, 3), 1 / 8, dtype=torch.float64))
    higher = gradients.ascend(TWO.logits, XT, T, LABELS, length=1.0)

    def log_probability(xt: Tensor) -> Tensor:
        return TWO.logits(xt, T).log_softmax(dim=1).gather(1, LABELS[:, None])[:, 0]

    assert (log_probability(higher) > log_probability(XT)).all()
    assert torch.equal(XT, start)
    assert not higher.requires_grad
