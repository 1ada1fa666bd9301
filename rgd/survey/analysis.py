"""What answers say: shares with intervals, worths, agreement, what raters and classes differ in, and power before.

Answers are not independent: a rater has a taste in all his answers, and a pair is clear or unclear to everybody. What
was sampled is raters and noises, and the honest interval is the one that is clustered by both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import scipy
import torch
from torch import Tensor

from rgd.errors import RgdError
from rgd.lab.checks import need
from rgd.measure.estimates import FREE, SHARE, Estimate, jackknife, proportion
from rgd.randomness import generator
from rgd.survey.answers import Answers
from rgd.survey.design import Key


@dataclass(frozen=True, eq=False)
class Votes:
    """N answers to pairs that are no checks, as int64 (N,): who gave it, from which noise (`start`) and class both
    images came, which methods were compared, whether the first was preferred, and whether it was on the left."""

    rater: Tensor
    start: Tensor
    label: Tensor
    first: Tensor
    second: Tensor
    answer: Tensor
    left: Tensor

    def __len__(self) -> int:
        return len(self.rater)

    def __getitem__(self, mask: Tensor) -> Votes:
        return Votes(*(value[mask] for value in vars(self).values()))

    def between(self, a: int, b: int) -> Votes:
        """The answers that compare two methods, with `a` as the first."""
        mine = self[((self.first == a) & (self.second == b)) | ((self.first == b) & (self.second == a))]
        turned = (mine.first == b).long()
        first, second = torch.full_like(turned, a), torch.full_like(turned, b)
        return Votes(mine.rater, mine.start, mine.label, first, second, mine.answer ^ turned, mine.left ^ turned)


def votes(answers: Answers, key: Key) -> Votes:
    """The answers as numbers; checks of attention have done their work, and are left out."""
    rows = [
        (rater, pair.start, pair.label, pair.first, pair.second, 1 - trial.preferred, 1 - trial.left)
        for rater, one in enumerate(answers.raters)
        for trial in one.trials
        if (pair := key.pairs[trial.pair]).clean is None
    ]
    return Votes(*torch.tensor(rows).T)


def two_way(scores: Tensor, rater: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """The covariance (p, p) of a sum of scores (N, p), clustered by rater and by noise (Cameron, Gelbach and Miller
    2011), and that clustered by rater and noise together: the least there is. RgdError for a single rater or noise."""
    n, p = scores.shape

    def spread(group: Tensor) -> Tensor:
        _, group = group.unique(return_inverse=True, dim=0)
        k = int(group.max()) + 1
        need(k > 1, "one rater, or one noise, has no spread: at least two of each are needed")
        sums = torch.zeros(k, p, dtype=scores.dtype).index_add(0, group, scores)
        return sums.T @ sums * (k / (k - 1) * (n - 1) / (n - p))

    each = spread(torch.stack([rater, start], dim=1))
    return spread(rater) + spread(start) - each, each


def quantile(votes: Votes) -> float:
    """Student's, with as many degrees of freedom as the smaller of raters and noises leaves."""
    return float(scipy.stats.t.ppf(0.975, min(len(votes.rater.unique()), len(votes.start.unique())) - 1))


def clustered(votes: Votes, answer: Tensor) -> Estimate:
    """The share of 1 in answers (N,), with an interval that is honest for other raters and other noises. It is never
    narrower than Wilson's, so that answers which are all alike still leave room."""
    naive, gap = proportion(int(answer.sum()), len(answer)), answer.double() - answer.double().mean()
    total, least = (float(found) for found in two_way(gap[:, None], votes.rater, votes.start))
    half = quantile(votes) * math.sqrt(max(total, least)) / len(answer)
    low, high = max(0.0, min(naive.low, naive.value - half)), min(1.0, max(naive.high, naive.value + half))
    return Estimate(naive.value, low, high, naive.n, "clustered by rater and noise")


def bradley_terry(votes: Votes, methods: int) -> tuple[Tensor, Tensor]:
    """Worths (methods,), the first 0, and their covariance, clustered by rater and noise; a zero row for the first.

    p(i preferred to j) = 1 / (1 + exp(theta_j - theta_i)), by Newton's method (Bradley and Terry 1952).

    Raises:
        RgdError: where some methods never lose to the others, and worths are infinite (Ford 1957).
    """
    X, answer = torch.zeros(len(votes), methods, dtype=torch.float64), votes.answer.double()
    rows = torch.arange(len(votes))
    X[rows, votes.first] += 1
    X[rows, votes.second] -= 1
    beats = torch.eye(methods, dtype=torch.float64)
    winner = torch.where(votes.answer == 1, votes.first, votes.second)
    beats[winner, votes.first + votes.second - winner] = 1
    reached = torch.linalg.matrix_power(beats, methods) > 0
    need(bool(reached.all()), "some methods never lose to the others: no finite worths explain that")
    X, theta = X[:, 1:], torch.zeros(methods - 1, dtype=torch.float64)
    for _ in range(50):
        p = (X @ theta).sigmoid()
        bread = torch.linalg.inv(X.T @ (X * (p * (1 - p))[:, None]))
        theta = theta + bread @ (X.T @ (answer - p))
    total, least = (bread @ meat @ bread for meat in two_way(X * (answer - p)[:, None], votes.rater, votes.start))
    wide = total if bool((total.diag() >= least.diag()).all()) else least
    return torch.nn.functional.pad(theta, (1, 0)), torch.nn.functional.pad(wide, (1, 0, 1, 0))


def table(votes: Votes) -> Tensor:
    """The answers of one comparison as (raters, noises), 1 where the first is preferred: everybody saw every pair."""
    raters, starts = (group.unique(return_inverse=True)[1] for group in (votes.rater, votes.start))
    found = torch.zeros(int(raters.max()) + 1, int(starts.max()) + 1, dtype=torch.float64)
    return found.index_put((raters, starts), votes.answer.double())


def kappa(answers: Tensor) -> float:
    """Fleiss' kappa (1971) of answers (raters, pairs): agreement beyond what the shares alone give. 1 where all are
    alike, and nothing could have been otherwise."""
    n, wins = len(answers), answers.sum(dim=0)
    seen = float(((wins * (wins - 1) + (n - wins) * (n - wins - 1)) / (n * (n - 1))).mean())
    chance = float(answers.mean() ** 2 + (1 - answers.mean()) ** 2)
    return 1.0 if chance == 1 else (seen - chance) / (1 - chance)


def raters_differ(answers: Tensor) -> float:
    """The p-value of Cochran's Q (1950) that all raters have the same share, of answers (raters, pairs)."""
    of_rater, of_pair, k = answers.sum(dim=1), answers.sum(dim=0), len(answers)
    spread = float((of_pair * (k - of_pair)).sum())
    q = 0.0 if spread == 0 else float(k * (k - 1) * (of_rater - of_rater.mean()).square().sum()) / spread
    return float(scipy.stats.chi2.sf(q, k - 1))


def classes_differ(answers: Tensor, labels: Tensor, shuffles: int = 4999, seed: int = 0) -> float:
    """The p-value that all classes have the same share, of answers (raters, pairs) and a label for each pair. Labels
    are shuffled among pairs, whose clarity is what chance is made of here."""
    share, (names, of) = answers.mean(dim=0), labels.unique(return_inverse=True)
    count, random = of.bincount().double(), generator(seed, "classes")

    def between(labels: Tensor) -> float:
        return float((torch.zeros(len(names), dtype=torch.float64).index_add(0, labels, share) ** 2 / count).sum())

    seen = between(of) - 1e-12
    larger = sum(between(of[torch.randperm(len(of), generator=random)]) >= seen for _ in range(shuffles))
    return (1 + larger) / (1 + shuffles)


def compare(votes: Votes, key: Key, a: int, b: int) -> dict[str, Any]:
    """All about two methods, of a method's share against the other's."""
    mine = votes.between(a, b)
    answers, wins = table(mine), int(mine.answer.sum())
    labels = torch.tensor([int(mine.label[mine.start == start][0]) for start in mine.start.unique()])
    raters, pairs = answers.shape
    of_class = {key.classes[label]: answers[:, labels == label] for label in labels.unique().tolist()}
    on_left, on_right = (float(mine.answer[mine.left == side].double().mean()) for side in (1, 0))
    return {
        "a": key.named(a), "b": key.named(b), "raters": raters, "pairs": pairs, "share": clustered(mine, mine.answer),
        "naive": proportion(wins, len(mine)),
        "by_class": {name: proportion(int(one.sum()), one.numel()) for name, one in of_class.items()},
        "by_rater": [proportion(int(one.sum()), pairs) for one in answers],
        "agreement": jackknife(lambda index: kappa(answers[:, index]), pairs, bounds=(FREE[0], SHARE[1])),
        "p_raters_alike": raters_differ(answers), "p_classes_alike": classes_differ(answers, labels),
        "share_on_left": on_left, "share_on_right": on_right,
    }  # fmt: skip


def analyse(answers: Answers, key: Key) -> dict[str, Any]:
    """All results, estimates as `Estimate`: for each two methods, over all methods, of sides and of time.

    Raises:
        RgdError: for fewer than two raters, or two pairs.
    """
    cast, names = votes(answers, key), [method.name for method in key.survey.methods]
    two = [compare(cast, key, b, a) for a, b in combinations(range(len(names)), 2)]
    on_left = (cast.answer == cast.left).long()
    worths: dict[str, Any] = {}
    try:
        theta, covariance = bradley_terry(cast, len(names))
        errors = covariance.diag().sqrt() * quantile(cast)
        for name, worth, error in zip(names, theta.tolist(), errors.tolist()):
            worths[name] = Estimate(worth, worth - error, worth + error, len(cast), "clustered by rater and noise")
        index = {name: k for k, name in enumerate(names)}
        for one in two:
            one["predicted"] = float((theta[index[one["a"]]] - theta[index[one["b"]]]).sigmoid())
    except RgdError as error:
        worths = {"none": str(error)}
    times = torch.tensor([trial.ms for rater in answers.raters for trial in rater.trials]).double()
    return {
        "simulated": answers.simulated, "survey": key.digest, "raters": [rater.code for rater in answers.raters],
        "comparisons": two, "worths": worths, "left": clustered(cast, on_left), "median_ms": float(times.median()),
        "left_out": {"bad": dict(answers.bad), "inattentive": dict(answers.inattentive)},
    }  # fmt: skip


def power(n: Any, share: float, level: float = 0.05) -> Any:
    """The probability that n independent answers reject one half, two-sided, if `share` prefers one side: exact, and
    for an array of n too."""
    low = scipy.stats.binom.ppf(level / 2, n, 0.5) - 1  # rejected: low wins or fewer
    return scipy.stats.binom.cdf(low, n, share) + scipy.stats.binom.sf(n - low - 1, n, share)


def answers_needed(share: float, wanted: float = 0.8) -> int:
    """The least number of independent answers from which on each has the power that is wanted. RgdError beyond a
    million, and for a share of one half."""
    need(0 < share < 1 and 0.05 < wanted < 1, f"share is from 0 to 1, power from 0.05 to 1, not {share} and {wanted}")
    root = scipy.stats.norm.ppf(0.975) / 2 + scipy.stats.norm.ppf(wanted) * math.sqrt(share * (1 - share))
    need(1e3 * abs(share - 0.5) > root, f"to tell {share} from 0.5 takes more than a million answers: plan for another")
    near = (root / (share - 0.5)) ** 2  # by the normal approximation
    n = np.arange(max(2, int(0.5 * near) - 10), int(1.5 * near) + 30)
    return int(n[power(n, share) < wanted].max(initial=n[0] - 1)) + 1
