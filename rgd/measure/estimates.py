"""A number, and how sure it is: proportions by Wilson's interval, means, and all else by the delete-half jackknife."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import scipy  # its parts are imported when they are first used, which takes a second
import torch
from torch import Tensor

from rgd.randomness import generator

FREE, SHARE = (-math.inf, math.inf), (0.0, 1.0)


@dataclass(frozen=True)
class Estimate:
    """A number from `n` samples, its 95 % interval, and how it was made, with any warning, in `method`."""

    value: float
    low: float
    high: float
    n: int
    method: str

    def __str__(self) -> str:
        """`0.934 [0.921, 0.945]`: as many digits as the interval's width has use for."""
        width = self.high - self.low
        places = max(0, 1 - math.floor(math.log10(width))) if width > 0 else 3
        return f"{self.value:.{places}f} [{self.low:.{places}f}, {self.high:.{places}f}]"

    def to_json(self) -> dict[str, float | int | str]:
        """The fields as plain values, ready for `json.dump`."""
        return asdict(self)


def proportion(successes: int, n: int) -> Estimate:
    """`successes` out of `n` with Wilson's interval; ValueError unless 0 <= successes <= n and n > 0."""
    if not (n > 0 and 0 <= successes <= n):
        raise ValueError(f"{successes} of {n} is no proportion: need n > 0 and 0 <= successes <= n")
    interval = scipy.stats.binomtest(int(successes), int(n)).proportion_ci(0.95, method="wilson")
    return Estimate(successes / n, float(interval.low), float(interval.high), int(n), "Wilson")


def share(right: Tensor) -> Estimate:
    """The share of True in a mask of any shape: a `proportion`."""
    return proportion(int(right.sum()), right.numel())


def mean(values: Tensor) -> Estimate:
    """The mean of independent values (N,) with Student's interval. Values that are not numbers (the cosine of a
    gradient of zero) do not count; ValueError where fewer than two are left."""
    values = values.detach().flatten().cpu().double()
    counted = values[values.isfinite()]
    if len(counted) < 2:
        raise ValueError(f"of {len(values)} values {len(counted)} are numbers: a mean needs at least 2")
    n, value, error = len(counted), float(counted.mean()), float(counted.std()) / math.sqrt(len(counted))
    low, high = (value + error * float(end) for end in scipy.stats.t.interval(0.95, n - 1))  # its scale may not be 0
    return Estimate(value, low, high, n, "mean, Student's t")


def calibration_error(logits: Tensor, y: Tensor, bins: int = 15, *, halves: int = 30) -> Estimate:
    """The expected calibration error (Guo et al., arXiv:1706.04599) of logits (N, K) for labels (N,): how far
    confidence and accuracy lie apart, averaged over bins of equal width in confidence, weighted by what is in them.
    Biased up, by about the square root of bins / N: a perfectly calibrated classifier does not reach zero."""
    check_labels(y, len(logits), logits.shape[1])
    confidence, verdict = logits.detach().cpu().double().softmax(dim=1).max(dim=1)
    gap = confidence - (verdict == y.cpu()).double()
    bin_of = (confidence * bins).long().clamp_max(bins - 1)

    def error(index: Tensor) -> float:
        sums = torch.zeros(bins, dtype=torch.float64).index_add(0, bin_of[index], gap[index])
        return float(sums.abs().sum()) / len(index)

    return jackknife(error, len(gap), halves=halves, bounds=SHARE)


def jackknife(
    statistic: Callable[[Tensor], float], n: int, *, halves: int = 30, seed: int = 0, bounds: tuple[float, float] = FREE
) -> Estimate:
    """`statistic(index)`, a number from the samples with these indices, over all n, and its interval.

    The delete-d jackknife (Shao and Wu 1989) with d = n/2: the standard deviation over random halves *is* the standard
    error, and the interval is value +- 1.96 of it, clipped to `bounds`. A half holds no sample twice, so
    nearest-neighbour radii stay honest, which under the bootstrap they do not. Bias, which for some statistics grows as
    n shrinks, is not in the interval: only the spread is used. 30 `halves` give the error to 13 %.
    """
    return jackknife_at_once(lambda chosen: [statistic(i) for i in chosen], n, halves, seed, bounds)


def jackknife_at_once(
    statistics: Callable[[Sequence[Tensor]], Sequence[float]], n: int, halves: int, seed: int,
    bounds: tuple[float, float],
) -> Estimate:  # fmt: skip
    """`jackknife` of what is computed for all halves together: (indices, the first of them all n) -> a number each."""
    if n < 2 or halves < 2:
        raise ValueError(f"{halves} halves of {n} samples have no spread: give at least 2 of each")
    draw = generator(seed, "halves")
    chosen = [torch.randperm(n, generator=draw)[: n // 2] for _ in range(halves)]
    value, *values = statistics([torch.arange(n), *chosen])
    error = math.sqrt((n // 2) / (n - n // 2)) * float(torch.tensor(values, dtype=torch.float64).std())
    value, low, high = (min(max(value + k * error, bounds[0]), bounds[1]) for k in (0, -1.96, 1.96))
    note = "" if error > 0 else ", which all agree: the interval says nothing"
    return Estimate(value, low, high, n, f"delete-half jackknife, {halves} halves{note}")


def check_labels(labels: Tensor, n: int, classes: int) -> None:
    """ValueError unless there is a label for each of n images, of one of so many classes."""
    if labels.shape != (n,):
        raise ValueError(f"labels are {tuple(labels.shape)}: need one for each of {n} images")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels run from {int(labels.min())} to {int(labels.max())}: need 0..{classes - 1}")
