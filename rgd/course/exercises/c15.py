"""Chapter 15: good, various, and as ordered."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rgd.course.task import Answer, Task, close, exercise

DOUBLE = torch.float64


@exercise("pr-coverage", points=2, minutes=10)
def pr_coverage(task: Task, limit: Answer, needed: Answer) -> None:
    """The chapter's product, of very many images."""
    n = 10**13
    with task.check("the limit", "What does each of the k factors tend to, as n grows?"):
        ks = [1, task.integer(2, 5), task.integer(5, 13)]
        wanted = [1 - math.prod((n - j) / (2 * n - j) for j in range(1, k + 1)) for k in ks]
        mistakes = {
            "That is the share of balls that hold no sample.": [1 - right for right in wanted],
            "The product has k factors, from j = 1 to k.": [2 * right - 1 for right in wanted],
            "The product has k factors, and not one more.": [(1 + right) / 2 for right in wanted],
            "The factors are multiplied, not added.": [1 - k / 2 for k in ks],
        }
        close([limit(k) for k in ks], wanted, 1e-6, mistakes)

    def ask(low: float, high: float) -> None:
        wanted = [task.integer(2, 5), task.integer(5, 13)]
        real = [right - task.uniform(low, high) for right in wanted]  # where a k that is not whole would do
        mistakes = {
            "With that k the limit is below the share, by a little.": [right - 1 for right in wanted],
            "Return a whole number of neighbours.": real,
            "One neighbour fewer is enough.": [right + 1 for right in wanted],
            "Which base has the logarithm? Each neighbour halves what is not covered.":
                [math.ceil(k * math.log(2)) for k in real],
        }  # fmt: skip
        close([needed(1 - 2**-k) for k in real], wanted, 1e-6, mistakes)

    least = "Which is the least k whose limit is not below the share?"
    with task.check("the least k, for a share just above a limit", least):
        ask(0.6, 0.9)
    with task.check("the least k, for a share just below one", least):
        ask(0.1, 0.4)


@exercise("pr-judge", points=2, minutes=10)
def pr_judge(task: Task, true_accuracy: Answer) -> None:
    """What a judge finds, turned round."""

    def ask(*numbers: int) -> None:
        cases, wanted = [], []
        for classes in numbers:
            right, e = task.uniform(0.3, 0.95), task.uniform(0.02, 0.9) * (0.4 if classes == 2 else 0.5)
            cases.append((right * (1 - e) + (1 - right) * e / (classes - 1), e, classes))
            wanted.append(right)
        mistakes = {
            "The judge finds the class in some images that do not show it, too.": [m / (1 - e) for m, e, _ in cases],
            "Of the other classes there is one fewer than of all.":
                [(m - e / K) / (1 - e - e / K) for m, e, K in cases],
            "There are not always ten classes.": [(m - e / 9) / (1 - e - e / 9) for m, e, _ in cases],
            "An image that is misread is taken for the ordered class in some cases only, the others being as likely.":
                [(m - e) / (1 - 2 * e) for m, e, _ in cases],
            "That is what the judge would find if the share m showed it. Turn it round.":
                [m * (1 - e) + (1 - m) * e / (K - 1) for m, e, K in cases],
            "The judge misses a share e of the images that show it; that is not a share e of all.":
                [m + e for m, e, _ in cases],
            "That is what the judge finds, not what is there.": [m for m, _, _ in cases],
        }  # fmt: skip
        close([true_accuracy(*case) for case in cases], wanted, 1e-6, mistakes)

    how = "Write what the judge finds as a function of the true share: two kinds of images add to it. Solve for it."
    with task.check("ten classes", how):
        ask(10, 10)
    with task.check("two classes", f"{how} With two classes every misread image is taken for the other."):
        ask(2, 2)
    with task.check("some other number of classes", how):
        ask(task.integer(3, 9), task.integer(11, 1001))


@exercise("pr-density", points=3, minutes=15)
def pr_density(task: Task, density: Answer) -> None:
    """The balls that each sample lies in, counted one by one."""

    def ask(n: int, m: int, k: int, told: bool, stray: bool = False) -> None:
        samples, centres = 0.6 * task.normal(n, 4, dtype=DOUBLE), task.normal(m, 4, dtype=DOUBLE)
        centres[0] *= 8 if stray else 1
        apart, own = torch.cdist(samples, centres), torch.cdist(centres, centres).sort(dim=1).values
        theirs = torch.cdist(samples, samples).sort(dim=1).values[:, k, None]
        inside = apart <= own[:, k]
        right = inside.double().sum() / (n * k)
        itself = "Each image is its own nearest neighbour, at distance 0, and does not count as one."
        mistakes = {
            itself: (apart <= own[:, k - 1]).double().sum() / (n * k),
            "That ball reaches to one neighbour more than it should.":
                (apart <= own[:, k + 1]).double().sum() / (n * k),
            "Divide by k.": right * k,
            "The radius is of k neighbours, and it is divided by k: the k that is handed over.":
                (apart <= own[:, 3]).double().sum() / (n * 3),
            "The radius is of the k that is handed over; you have divided by it already.":
                (apart <= own[:, 3]).double().sum() / (n * k),
            "You have divided by 3; the k is handed over.": right * k / 3,
            "That is a mean over the balls. Average over the samples.": right * n / m,
            "Divided by the samples and by the balls both. A sample counts its balls.": right / m,
            "That is precision: a sample in many balls counts once.": inside.any(dim=1).double().mean(),
            "A sample in many balls counts once there: divide its number of balls by k.":
                inside.any(dim=1).double().mean() / k,
            "That is coverage: it counts the balls that hold a sample.": inside.any(dim=0).double().mean(),
            "The balls are around the real images, not around the samples.":
                (apart <= theirs).double().sum() / (n * k),
            "It may exceed one: nothing is cut off.": (inside.sum(dim=1) / k).clamp(max=1).double().mean(),
        }  # fmt: skip
        if n == m:
            rows = "PyTorch has compared row i with the radius of centre i: radii belong to the columns."
            mistakes[rows] = (apart <= own[:, k, None]).double().sum() / (n * k)
        close(density(samples, centres, k) if told else density(samples, centres), right, 1e-6, mistakes)

    each = "For each sample: in how many balls of real images does it lie? Divide by k, then average."
    with task.check("three neighbours, where k is not told", each):
        ask(task.integer(30, 50), task.integer(60, 80), 3, told=False)
    with task.check("another k", each):
        ask(task.integer(60, 80), task.integer(30, 50), task.integer(5, 9), told=True)
    with task.check("a stray among as many centres as samples", each):
        ask(50, 50, task.integer(1, 3), told=True, stray=True)


@exercise("pr-copies", points=3, minutes=20)
def pr_copies(task: Task, copies: Answer) -> None:
    """Nearer to an original than two originals are to each other."""

    def ask(shape: tuple[int, ...], originals: int, contrast: float) -> None:
        def aside(lengths: Tensor) -> Tensor:
            """Directions at random, of given lengths."""
            far = task.normal(len(lengths), *shape, dtype=DOUBLE).flatten(1)
            return (far * (lengths / far.norm(dim=1))[:, None]).reshape(-1, *shape)

        real = task.normal(originals, *shape, dtype=DOUBLE)
        real[1] = real[0] + aside(torch.tensor([2.0]))[0]  # nearer to each other than any two others
        # Three exact copies; two of a fourth original that are nearer to each other than any other two samples; more
        # copies; and twelve that are none, of originals whose neighbours are far.
        lengths = [0.0] * 3 + [0.1] * 2 + [task.uniform(0.2, 0.6) for _ in range(7)]
        lengths += [task.uniform(2.3, 3.0) for _ in range(12)]
        four = torch.randperm(originals, generator=task.random)[[0, 1, 2, 3, 3]]
        pick = torch.cat([four, task.integers(0, originals, 7), task.integers(2, originals, 12)])
        order = torch.randperm(24, generator=task.random)
        samples, truth = (real[pick] + aside(torch.tensor(lengths)))[order], order < 12
        apart = torch.cdist(samples.flatten(1), samples.flatten(1)).fill_diagonal_(torch.inf).min()
        nearest = torch.cdist(samples.flatten(1), real.flatten(1)).min(dim=1).values
        mistakes = {
            "That is the other way round: true is for a copy.": ~truth,
            "Only exact copies are found. A copy may be a little noisy.": order < 3,
            "No copy is found. Does an original count as its own neighbour, at distance 0?": torch.zeros(24),
            "Everything is taken for a copy: it is the *smallest* distance between two originals that counts, "
            "in pixels as they are.": torch.ones(24),
            "The threshold is set by distances among the originals, not among the samples.": nearest < 0.9 * apart,
        }
        close(copies(contrast * samples, contrast * real), truth, 1e-6, mistakes)

    how = "A sample is a copy if its nearest original is nearer than any two originals are to each other."
    with task.check("images of one channel", how):
        ask((1, 7, 9), 30, 1.0)
    with task.check("images of three channels, of little contrast", how):
        ask((3, 5, 5), 20, task.uniform(0.01, 0.03))
    with task.check("few originals, of much contrast", f"{how} One image is one point, over all of its pixels."):
        ask((2, 6, 8), 4, task.uniform(20, 60))
