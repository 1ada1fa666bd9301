"""Raters of known bias, against which the analysis is checked. Everything that they give says SIMULATED."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
import torch
from torch import Tensor

from rgd.errors import require
from rgd.measure.estimates import proportion
from rgd.randomness import generator
from rgd.survey.analysis import Votes, clustered
from rgd.survey.answers import SIDES, Rater, Trial
from rgd.survey.design import Key


@dataclass(frozen=True)
class People:
    """How simulated raters answer: a coin with the logit of the worths' difference, plus a taste of the rater and a
    clarity of the pair, both normal with these standard deviations. A share `lazy` of the answers says left whatever
    is shown; a share `careless` of the raters tosses a coin for every pair, checks too."""

    taste: float = 0.6
    clarity: float = 0.8
    lazy: float = 0.0
    careless: float = 0.0

    def __post_init__(self) -> None:
        for name, most in {"taste": 100, "clarity": 100, "lazy": 1, "careless": 1}.items():
            require(0 <= getattr(self, name) <= most, name, getattr(self, name), f"from 0 to {most}")

    def share(self, gap: float) -> float:
        """The share that prefers the first of two whose worths differ by `gap`, over all raters and pairs."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(80)
        logits = gap + np.hypot(self.taste, self.clarity) * nodes
        fair = float((weights / (1 + np.exp(-logits))).sum() / weights.sum())
        return self.lazy / 2 + (1 - self.lazy) * ((1 - self.careless) * fair + self.careless / 2)

    def gap(self, share: float) -> float:
        """The difference of worths for which `share` prefers the first. ValueError where no difference does."""
        low, high = self.share(-50), self.share(50)
        require(low < share < high, "share", share, f"from {low:.3g} to {high:.3g}, which these raters can give")
        return float(scipy.optimize.brentq(lambda gap: self.share(gap) - share, -50, 50))


def _draws(seed: int, people: People, raters: int, starts: int, methods: int) -> tuple[torch.Generator, Tensor]:
    """A generator, and what is added to each method's worth, (raters, starts, methods), so that differences of two
    have the standard deviations that `People` names."""
    random = generator(seed, "people")
    taste, clarity = (torch.randn(n, methods, generator=random) for n in (raters, starts))
    return random, (people.taste * taste[:, None] + people.clarity * clarity) / 2**0.5


def raters(key: Key, worths: tuple[float, ...], n: int, people: People, seed: int = 0) -> list[Rater]:
    """Simulated raters who answer a whole survey; `worths` are the methods', in their order."""
    require(len(worths) == len(key.survey.methods), "worths", worths, f"{len(key.survey.methods)}, one a method")
    starts = 1 + max(pair.start for pair in key.pairs)
    random, added = _draws(seed, people, n, starts, len(worths))
    worth = added + torch.tensor(worths)

    def coin(p: float) -> bool:
        return bool(torch.rand((), generator=random) < p)

    def trial(rater: int, number: int, careless: bool) -> Trial:
        pair, left = key.pairs[number], int(coin(0.5))
        clean, logits = pair.clean, worth[rater, pair.start]
        p = float((logits[pair.first] - logits[pair.second]).sigmoid()) if clean is None else 1.0 - clean
        preferred = 1 - int(coin(0.5 if careless else p))
        if clean is None and coin(people.lazy):
            preferred = left
        return Trial(number, left, SIDES[int(preferred != left)], 100 * int(torch.randint(5, 60, (), generator=random)))

    found = []
    for rater in range(n):
        careless, order = coin(people.careless), torch.randperm(len(key.pairs), generator=random).tolist()
        found.append(Rater(f"SIMULATED{rater}", True, tuple(trial(rater, number, careless) for number in order)))
    return found


def comparison(gap: float, raters: int, starts: int, people: People, seed: int) -> Votes:
    """Simulated answers to one comparison, of every rater to every pair. Nobody is lazy or careless."""
    random, added = _draws(seed, people, raters, starts, 2)
    p = (gap + added[..., 0] - added[..., 1]).sigmoid().flatten()
    answer = (torch.rand(len(p), generator=random) < p).long()
    rater, start = torch.arange(raters).repeat_interleave(starts), torch.arange(starts).repeat(raters)
    zero = torch.zeros_like(answer)
    return Votes(rater, start, zero, zero, zero + 1, answer, zero)


def power(
    share: float, raters: int, starts: int, taste: float = 0.6, clarity: float = 0.8, runs: int = 400, seed: int = 0
) -> dict[str, Any]:
    """How often the clustered interval of such a survey leaves out one half (`power`, an Estimate), and by what factor
    the share varies more than that of as many independent answers (`design_effect`)."""
    people = People(taste, clarity)
    gap, shares, out = people.gap(share), [], 0
    for k in range(runs):
        votes = comparison(gap, raters, starts, people, seed + k)
        found = clustered(votes, votes.answer)
        shares.append(found.value)
        out += not found.low <= 0.5 <= found.high
    independent = share * (1 - share) / (raters * starts)
    return {"power": proportion(out, runs), "design_effect": float(np.var(shares, ddof=1)) / independent}
