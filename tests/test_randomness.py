"""Noise: a function of (seed, index, draw) alone, normal and independent, and no one else's random state."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import rgd
from rgd.randomness import NoiseStream, generator, noise

SHAPE = (1, 2, 3)


@given(
    seed=st.integers(0, 2**63),
    first=st.integers(0, 10**6),
    draw=st.integers(0, 1000),
    sizes=st.lists(st.integers(0, 4), min_size=1, max_size=5),
)
def test_every_split_into_batches_draws_the_same(seed: int, first: int, draw: int, sizes: list[int]) -> None:
    whole = NoiseStream(seed, first)(draw, (sum(sizes), *SHAPE))
    starts = itertools.accumulate([first, *sizes[:-1]])
    parts = [NoiseStream(seed, start)(draw, (size, *SHAPE)) for start, size in zip(starts, sizes, strict=True)]
    assert whole.shape == (sum(sizes), *SHAPE)
    assert torch.equal(torch.cat(parts), whole)


def test_the_seed_the_index_and_the_draw_each_matter() -> None:
    keys = itertools.product([0, 1, 11], [0, 1, 11], [0, 1, 11])
    draws = {tuple(NoiseStream(seed, index)(k, (1, 4)).flatten().tolist()) for seed, index, k in keys}
    assert len(draws) == 27


def test_noise_is_draw_zero() -> None:
    assert torch.equal(noise((3, *SHAPE), seed=5, first=2), NoiseStream(5, 2)(0, (3, *SHAPE)))
    assert torch.equal(rgd.noise((3, *SHAPE)), NoiseStream()(0, (3, *SHAPE)))
    assert noise((3, *SHAPE)).dtype == torch.float32


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Neighbouring seeds, indices and draws, whose noise a poor generator would correlate: (27, 10000)."""
    keys = itertools.product(range(3), range(3), range(3))
    return np.stack([NoiseStream(seed, index)(k, (1, 10_000))[0].numpy() for seed, index, k in keys])


def test_noise_is_standard_normal(rows: np.ndarray) -> None:
    """Kolmogorov and Smirnov's test of 270,000 numbers rejects good noise once in 10,000 times; so does each row's,
    divided by their number."""
    assert stats.kstest(rows.ravel(), "norm").pvalue > 1e-4
    assert min(stats.kstest(row, "norm").pvalue for row in rows) > 1e-4 / len(rows)


def test_noise_is_independent(rows: np.ndarray) -> None:
    """A correlation of n independent numbers is off 0 by 1 / sqrt(n); of 351 pairs, and of 27 rows with themselves
    one later, none is off by five such errors, but for one time in 4,000."""
    n = rows.shape[1]
    correlations = np.corrcoef(rows)[np.triu_indices(len(rows), 1)]
    assert np.abs(correlations).max() < 5 / n**0.5
    assert max(abs(np.corrcoef(row[1:], row[:-1])[0, 1]) for row in rows) < 5 / n**0.5


def test_global_random_state_is_neither_read_nor_written() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = noise((2, *SHAPE), seed=3)
    generator(3, "step", 4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(noise((2, *SHAPE), seed=3), first)


def test_keys_of_other_parts_give_other_streams() -> None:
    keys = [(), (0,), (1,), ("1",), (1, 0), (0, 1), (10,), (1, "step"), ("step", 1), ("step1",), (-1,), (2**64,)]
    draws = [torch.rand(4, generator=generator(*key)).tolist() for key in keys]
    assert len({tuple(draw) for draw in draws}) == len(keys)
    assert draws == [torch.rand(4, generator=generator(*key)).tolist() for key in keys]


def test_an_integer_is_an_integer_whatever_its_type() -> None:
    """Seeds and indices come from numpy and torch too, and numpy 2 writes them differently from numpy 1."""
    expected = torch.rand(4, generator=generator(3, "image", 7))
    for kind in (np.int64, np.uint8, torch.tensor):
        assert torch.equal(torch.rand(4, generator=generator(kind(3), "image", kind(7))), expected)
