"""Chapter 18: the paper's own scale."""

from __future__ import annotations

import torch
from torch import Tensor

from rgd.course.task import Answer, Task, close, exercise, must

DOUBLE = torch.float64


@exercise("scale-bill", points=2, minutes=10)
def scale_bill(task: Task, bill: Answer) -> None:
    """Operations over what a device reaches; a classifier is paid for only where there is one."""

    def ask(guided: bool, gpus: int) -> None:
        unet, classifier = task.uniform(1e10, 1e12), task.uniform(1e9, 1e11)
        images, steps = task.integer(1000, 60_000), task.integer(25, 500)
        peak, share, price = task.uniform(5e13, 1e15), task.uniform(0.1, 0.6), task.uniform(0.5, 6)
        seconds = images * steps * (unet + guided * classifier) / (peak * share)
        hours, dollars = seconds / 3600 / gpus, seconds / 3600 * price
        other = images * steps * (unet + (not guided) * classifier) / (peak * share) / 3600
        mistakes = {
            "Those are seconds.": (hours * 3600, dollars * 3600),
            "A device reaches only its share of the peak.": (hours * share, dollars * share),
            "The classifier is asked where there is a guide, and there alone.": (other / gpus, other * price),
            "Every image takes all of the steps.": (hours / steps, dollars / steps),
            "The price is for each of the devices: together they cost what one would.": (hours, dollars / gpus),
            "Several devices share the images, and so the hours.": (hours * gpus, dollars),
        }
        close(torch.tensor(bill(unet, classifier, guided, images, steps, peak, share, price, gpus), dtype=DOUBLE)[:1],
              [hours], 1e-6, {said: [wrong[0]] for said, wrong in mistakes.items()})  # fmt: skip
        close(bill(unet, classifier, guided, images, steps, peak, share, price, gpus)[1], dollars, 1e-6,
              {said: wrong[1] for said, wrong in mistakes.items()})  # fmt: skip

    with task.check("without a guide", "Operations of all images and steps, over operations a second."):
        ask(False, 1)
    with task.check("with a guide", "A guided step is one of the U-Net and one of the classifier, forward and back."):
        ask(True, 1)
    with task.check("on many devices", "Twice as many take half as long, each at the same price an hour."):
        ask(True, task.integer(2, 65))


def _bias(values: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """The mean's part, that of the covariance's entries, and what its diagonal adds."""
    pairs = (values[:, None] * values / (values[:, None] + values)).sum()
    return values.sum() / n, pairs / (2 * n), values.sum() / (4 * n)


@exercise("scale-bias", points=3, minutes=20)
def scale_bias(task: Task, bias: Answer) -> None:
    """The distance that n exact draws have from where they come, to first order in 1 / n, for any spectrum."""

    def ask(values: Tensor, n: int) -> None:
        mean, pairs, diagonal = _bias(values, n)
        right, D = mean + pairs + diagonal, len(values)
        mistakes = {
            "That is the mean's part alone. The covariance is estimated too.": mean,
            "The mean is estimated too: it is off by the trace over n.": pairs + diagonal,
            "An entry on the diagonal varies twice as much as one beside it.": mean + pairs,
            "Both of an entry and of its mirror image count: sum over all pairs.": mean + pairs / 2 + diagonal,
            "The square of the change is halved.": mean + 2 * (pairs + diagonal),
            "It falls as 1 / n, and not as its root.": right * n**0.5,
            "That holds if all eigenvalues are 1.": D / n + D * (D + 1) / (4 * n),
            "An entry's variance is the product of both eigenvalues over n.":
                mean + (1 / (values[:, None] + values)).sum() / (2 * n) + (1 / (4 * n * values)).sum(),
        }  # fmt: skip
        close(bias(values, n), right, 1e-6, mistakes)

    with task.check("eigenvalues that fall", "The mean's part and the covariance's part, which is a sum over pairs."):
        ask(torch.rand(task.integer(3, 9), generator=task.random, dtype=DOUBLE) + 0.1, task.integer(200, 5000))
    with task.check("a few large ones", "A pair counts by the product of its eigenvalues over their sum."):
        ask(torch.tensor([task.uniform(5, 9), task.uniform(2, 4), 0.1, 0.01], dtype=DOUBLE), task.integer(50, 500))
    with task.check("one dimension", "Then there is one pair, an eigenvalue with itself."):
        ask(torch.tensor([task.uniform(0.5, 3)], dtype=DOUBLE), task.integer(100, 1000))


@exercise("scale-mine", points=3, minutes=15)
def scale_mine(task: Task, mine: Answer) -> None:
    """What is left is dealt out, so that every process has the same to do, wherever the run was killed."""

    def ask(n: int, size: int, kept: list[int], rank: int, count: int) -> None:
        firsts = list(range(0, n, size))
        left = [first for first in firsts if first not in kept]
        right = left[rank::count]
        wrong = {
            "Those are there already.": firsts[rank::count],
            "That deals all pieces out first: who has drawn more before has nothing to do now.":
                [first for first in firsts[rank::count] if first not in kept],
            "That is a block for each process, whose images would come in no order.":
                left[len(left) * rank // count : len(left) * (rank + 1) // count],
            "That is everything that is left. Other processes would draw it too.": left,
            "Count pieces by their first image, and not one by one.": [first // size for first in right],
            "The last piece is smaller than the others, and belongs to somebody too.":
                [first for first in left if first + size <= n][rank::count],
        }  # fmt: skip
        given = mine(n, size, kept, rank, count)
        for said, guess in wrong.items():
            must(list(given) != guess or guess == right, said)
        must(list(given) == right)

    size, count = task.integer(2, 9), task.integer(2, 5)
    n = size * task.integer(11, 20) + 1
    whole = list(range(0, n, size))
    with task.check("nothing is there", "Every process takes one piece in turn."):
        for rank in range(count):
            ask(n, size, [], rank, count)
    with task.check("some is there", "First leave out what is there; then deal."):
        for rank in range(count):
            ask(n, size, [whole[k] for k in (0, 1, 2, 5, 7)], rank, count)
    with task.check("all but the last", "One piece is left, and the first process has it."):
        ask(n, size, whole[:-1], 0, count)
        ask(n, size, whole[:-1], 1, count)
    with task.check("one process", "It has all that is left."):
        ask(n, size, whole[:3], 0, 1)
