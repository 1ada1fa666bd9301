"""Chapter 16: asking people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rgd.course.task import Answer, Task, close, exercise, must, number, ratios

DOUBLE = torch.float64


def _tail(n: int, wins: int) -> float:
    """How often n fair coins show heads `wins` times or more: counted, in whole numbers."""
    return sum(math.comb(n, k) for k in range(wins, n + 1)) / 2**n


@exercise("ask-eight", points=2, minutes=10)
def ask_eight(task: Task, probability: Answer) -> None:
    """Both tails of a fair coin, each with the result itself."""

    def ask(given: list[tuple[int, int]]) -> None:
        wanted = [2 * _tail(*one) for one in given]
        more = [2 * _tail(n, wins + 1) for n, wins in given]
        normal = [math.erfc((2 * wins - n) / math.sqrt(2 * n)) for n, wins in given]
        mistakes = {
            "That is one side alone: a result as one-sided for the other guide counts too.": 0.5,
            "At least as one-sided: the result itself belongs to it.": [m / p for m, p in zip(more, wanted)],
            "On one of the two sides the result that is just as one-sided is left out.":
                [(p + m) / (2 * p) for m, p in zip(more, wanted)],
            "That is the probability of this result alone: what is more one-sided counts too.":
                [(p - m) / (2 * p) for m, p in zip(more, wanted)],
            "That is this result, for either guide: what is more one-sided counts too.":
                [(p - m) / p for m, p in zip(more, wanted)],
            "That is the probability of anything less one-sided.": [(1 - p) / p for p in wanted],
            "That is the normal approximation. Count the results themselves.":
                [q / p for q, p in zip(normal, wanted)],
        }  # fmt: skip
        ratios(probability, given, wanted, mistakes)

    with task.check("a few raters", "Add up the probabilities of all numbers of wins that are as one-sided, or more."):
        some = [task.integer(*within) for within in ((7, 12), (12, 16), (16, 21))]
        ask([(n, task.integer(n // 2 + 2, n)) for n in some])
    with task.check("hundreds of raters", "The sum is the same, and longer: let scipy add it up."):
        some = [task.integer(low, low + 100) for low in (100, 200, 300)]
        ask([(n, n // 2 + int(task.uniform(0.5, 1.5) * n**0.5)) for n in some])
    with task.check("all of one mind, or nearly even", "Try three raters: there are eight results. Count on paper."):
        ask([(n, n) for n in (task.integer(3, 6), task.integer(6, 12))] + [(n, n // 2 + 1) for n in (5, 11)])


@exercise("ask-left", points=3, minutes=15)
def ask_left(task: Task, share_for_a: Answer, recovered: Answer) -> None:
    """A gets q + (1 - q) p of the answers on the left, (1 - q) p on the right, and of all of them the mean."""
    within = ((0.1, 0.4), (0.6, 0.75), (0.75, 0.95))
    p, q = torch.tensor([[task.uniform(*some), task.uniform(0.05, 0.45)] for some in within], dtype=DOUBLE).T
    left, right = q + (1 - q) * p, (1 - q) * p

    def found(which: int) -> list[Tensor]:
        pairs = [number(recovered(*sides)) for sides in zip(left.tolist(), right.tolist())]
        must(all(pair.shape == (2,) for pair in pairs), "Return two numbers, p and q.")
        return [pair[which] for pair in pairs]

    with task.check("the share for A", "What share does A get where it is on the left, and what where on the right?"):
        mistakes = {
            "Those who always say left say A whenever it is on the left.": right,
            "That is the share if A is always on the left; a coin decides.": left,
            "That is the share among those who look.": p,
            "q is the share of those who do not look.": (1 - q) / 2 + q * p,
            "Those who look give only 1 - q of the answers.": q / 2 + p,
        }
        close([share_for_a(*pair) for pair in zip(p.tolist(), q.tolist())], (left + right) / 2, 1e-4, mistakes)
    with task.check("how many always say left", "They alone answer differently when the sides are changed."):
        mistakes = {
            "p comes first, and q second.": p,
            "Changing the sides moves all of those answers, not half of them.": (left - right) / 2,
            "A share is positive: A gets more answers on the left.": right - left,
            "That is by how much A is preferred on the whole.": left + right - 1,
            "That is a share of A's answers on the left; asked for is one of all answers.": (left - right) / left,
        }
        close(found(1), q, 1e-4, mistakes)
    with task.check("what the others prefer", "On the right nobody says A but those who look. How many look?"):
        mistakes = {
            "p comes first, and q second.": q,
            "That is the share of all answers: those who always say left pull it towards one half.": (left + right) / 2,
            "That is a share of all answers; p is one of those who look.": right,
            "On the left those who always say left say A too: take them out before you divide.": left / (1 - q),
        }
        close(found(0), p, 1e-4, mistakes)


def _effect(R: int, m: int, rho: float) -> float:
    """The variance of a mean over that of independent answers, from the covariance of all with all."""
    rater = torch.arange(R).repeat_interleave(m)
    covariance = (rater[:, None] == rater).to(DOUBLE) * rho
    return float(covariance.fill_diagonal_(1).sum()) / (R * m)


@exercise("ask-worth", points=3, minutes=15)
def ask_worth(task: Task, design_effect: Answer, independent_answers: Answer) -> None:
    """The sum of a covariance matrix in blocks."""
    within = ((2, 6), (6, 20), (20, 40))
    points = [(task.integer(3, 9), task.integer(*some), task.uniform(0.03, 0.4)) for some in within]
    effects = [_effect(*point) for point in points]
    with task.check("the design effect", "The variance of a sum is the sum of all covariances. How many are not zero?"):
        mistakes: dict[str, Any] = {
            "With how many others does each answer share its rater? Not with itself.":
                [(1 + m * rho) / e for (_, m, rho), e in zip(points, effects)],
            "Each answer has its own variance too.": [(e - 1) / e for e in effects],
            "That is by how much the standard error grows; asked for is the variance.": [e**-0.5 for e in effects],
            "That is how much smaller the variance of independent answers is: turn it over.":
                [e**-2 for e in effects],
            "The correlation is to be taken as it is, not squared.":
                [(1 + (m - 1) * rho**2) / e for (_, m, rho), e in zip(points, effects)],
        }  # fmt: skip
        ratios(design_effect, [point[1:] for point in points], effects, mistakes)
    with task.check(
        "no correlation, a full one, or one answer", "What is a second answer worth if it is always the first?"
    ):
        ends = [(4, 9, 0.0), (3, 7, 1.0), (task.integer(2, 9), 1, task.uniform(0.1, 0.6))]
        ratios(design_effect, [point[1:] for point in ends], [_effect(*point) for point in ends], {})
    with task.check("what a survey is worth", "How many independent answers have a mean of the same variance?"):
        mistakes = {
            "That is how many answers there are.": effects,
            "That is more than there are answers: divide.": [e**2 for e in effects],
            "That is what one rater is worth; asked for is the survey.": [1 / R for R, _, _ in points],
            "That is how many raters there are. Each is worth more than one answer.":
                [e / m for (_, m, _), e in zip(points, effects)],
            "It is the variance that falls as one over the number of answers, not its root.":
                [e**0.5 for e in effects],
            "That is a survey of a thousand answers. Take R and m as handed over.":
                [1000 / (R * m) for R, m, _ in points],
        }  # fmt: skip
        ratios(independent_answers, points, [R * m / e for (R, m, _), e in zip(points, effects)], mistakes)


def _fit(first: Any, second: Any, answer: Any, guides: int) -> tuple[Tensor, Tensor]:
    """Worths by Newton's method, and their covariance, as in the chapter; of the wins, counted."""
    i, j, answer = torch.as_tensor(first), torch.as_tensor(second), torch.as_tensor(answer).to(DOUBLE)
    wins = torch.zeros(guides, guides, dtype=DOUBLE).index_put((i, j), answer, accumulate=True)
    wins = wins.index_put((j, i), 1 - answer, accumulate=True)
    theta, asked = torch.zeros(guides, dtype=DOUBLE), wins + wins.T
    for _ in range(12):
        p = (theta[:, None] - theta).sigmoid()
        between = asked * p * (1 - p)
        information = (between.sum(1).diag() - between)[1:, 1:]
        theta[1:] += torch.linalg.solve(information, (wins - asked * p).sum(1)[1:])
    return theta, torch.linalg.inv(information)


def _circle(wins: Sequence[int], n: int, turned: bool = False) -> Tensor:
    """The worths from counts; `turned`: with C's wins of A taken for A's of C."""
    a, b, c = wins
    first, second = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([1, 1, 2, 2, 0, 0])
    shares = torch.tensor([a, n - a, b, n - b, *((n - c, c) if turned else (c, n - c))])
    votes = torch.tensor([1, 0, 1, 0, 1, 0]).repeat_interleave(shares)
    return _fit(first.repeat_interleave(shares), second.repeat_interleave(shares), votes, 3)[0]


@exercise("ask-circle", points=4, minutes=20)
def ask_circle(task: Task, circle: Answer, predicted: Answer) -> None:
    """Greatest likelihood expects of each guide as many wins as were counted."""

    def worths(wins: Sequence[int], n: int) -> Tensor:
        given = circle(_fit, tuple(wins), n)
        shape = number(given[0]).shape if isinstance(given, tuple) and len(given) == 2 else ()
        must(shape != (3,), "Of what `fit` returns the worths come first; return them alone.")
        return number(given)

    turned = "C against A: C is the first of the two, and A the second."
    with task.check("a circle", "Turn the circle on by one, and it is the same circle. What follows for the worths?"):
        n = task.integer(40, 130)
        for each in (task.integer(n // 2 + 5, n - 5), task.integer(5, n // 2 - 5)):
            close(worths((each,) * 3, n), torch.zeros(3), 1e-4, {turned: _circle((each,) * 3, n, True)})
    with task.check("other counts", "One row for each answer: 1 where the first of the two was preferred, else 0."):
        n = task.integer(105, 150)
        wins = (task.integer(20, 35), task.integer(45, 60), task.integer(70, 95))
        right = _circle(wins, n)
        rest = [n - one for one in wins]
        mistakes = {
            turned: _circle(wins, n, True),
            "The answers are turned round: 1 means that the first of the two was preferred.": _circle(rest, n),
            "The text has 100 answers for each pair; the test has others. Use n.": _circle(wins, 100),
            "A's worth is fixed at zero, not the mean of the three.": right - right.mean(),
            "Return the worths, not their exponentials.": right.exp(),
            "The wins are those of A over B, of B over C, and of C over A, in this order.":
                _circle(wins[::-1], n),
            "That is right for the circle of the text, where all counts are alike.": torch.zeros(3),
        }  # fmt: skip
        close(worths(wins, n), right, 1e-4, mistakes)
        close(worths(rest, n), -right, 1e-4)
    with task.check(
        "what the model predicts", "The model's formula is in the text above: put in two worths at a time."
    ):
        theta = torch.cat([torch.zeros(1, dtype=DOUBLE), task.normal(2, dtype=DOUBLE)])
        apart = theta - theta.roll(-1)
        mistakes = {
            "That is how often the second of the two is preferred.": (-apart).sigmoid(),
            "C against A: the last share is C's.": torch.cat([apart[:2], -apart[2:]]).sigmoid(),
            "Those are odds; return shares.": apart.exp(),
            "That is the difference of the worths; return shares.": apart,
            "That is right for the circle of the text alone.": torch.full((3,), 0.5),
        }
        close(predicted(theta), apart.sigmoid(), 1e-4, mistakes)
