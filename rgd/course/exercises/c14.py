"""Chapter 14: how far apart are two sets of images?"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from rgd.course.task import Answer, Task, close, exercise, must, number

DOUBLE = torch.float64


@exercise("fd-round", points=2, minutes=10)
def fd_round(task: Task, round_clouds: Answer) -> None:
    """Every coordinate is moved, and stretched by s."""
    formulas: Mapping[str, Callable[[Tensor, float], Tensor]] = {
        "s is the standard deviation of each coordinate, and s squared its variance: which of them is compared?":
            lambda m, s: m.square().sum() + len(m) * (1 - s**2) ** 2,
        "Every one of the D dimensions has to be stretched.": lambda m, s: m.square().sum() + (1 - s) ** 2,
        "That is the root. The chapter's distance is squared, as is usual.":
            lambda m, s: (m.square().sum() + len(m) * (1 - s) ** 2).sqrt(),
        "The clouds differ in width too.": lambda m, s: m.square().sum(),
        "The clouds are in different places too.": lambda m, s: torch.tensor(len(m) * (1 - s) ** 2),
        "The place counts with its squared length.": lambda m, s: m.norm() + len(m) * (1 - s) ** 2,
        "D is not always 64: it is the length of m.": lambda m, s: m.square().sum() + 64 * (1 - s) ** 2,
        "The trace of each covariance counts once, and that of the root twice.":
            lambda m, s: m.square().sum() + len(m) * (1 + s**2 - s),
        "That is the mean over the dimensions; the distance is their sum.":
            lambda m, s: m.square().mean() + (1 - s) ** 2,
    }  # fmt: skip

    def ask(place: float, *widths: tuple[float, float]) -> None:
        given, wanted = [], []
        mistakes: dict[str, list[Tensor]] = {said: [] for said in formulas}
        for low, high in widths:
            s, m = task.uniform(low, high), place * task.normal(task.integer(3, 12), dtype=DOUBLE)
            given.append(round_clouds(m, s))
            wanted.append(sum((a - b) ** 2 for a, b in zip([*m, *[s] * len(m)], [*0 * m, *[1.0] * len(m)])))
            for said, formula in formulas.items():
                mistakes[said].append(formula(m, s))
        close(given, wanted, 1e-5, mistakes)

    with task.check("two widths", "What are the eigenvalues of the root of the two covariances' product?"):
        ask(0, (0.3, 0.8), (1.3, 2.5))
    with task.check("two places", "If the covariances are equal, only the first term is left."):
        ask(1, (1, 1), (1, 1))
    with task.check("both", "Put both means and both covariances into the chapter's formula."):
        ask(0.5, (0.3, 0.8), (1.3, 2.5))


@exercise("fd-infinity", points=2, minutes=10)
def fd_infinity(task: Task, at_infinity: Answer) -> None:
    """A straight line in 1 / n, at 0."""

    def ask(low: float, high: float, swap: bool) -> None:
        cases, wanted, slopes = [], [], []
        for _ in range(3):
            n, end, slope = task.integer(60, 400), task.uniform(1, 9), task.uniform(200, 2000)
            sizes = n, int(n * task.uniform(low, high)) + 1
            n1, n2 = sizes[::-1] if swap else sizes
            cases.append((end + slope / n1, n1, end + slope / n2, n2))
            wanted.append(end)
            slopes.append(slope)
        mistakes = {
            "That is right where the second size is twice the first, and nowhere else.":
                [2 * d2 - d1 for d1, n1, d2, n2 in cases],
            "That is c, how fast the distance grows. Asked for is where it starts.": slopes,
            "That is a straight line in n. The distance is one in 1 / n.":
                [(n2 * d1 - n1 * d2) / (n2 - n1) for d1, n1, d2, n2 in cases],
            "That lies between the two. Both are too large: what is looked for is below either.":
                [(n1 * d1 + n2 * d2) / (n1 + n2) for d1, n1, d2, n2 in cases],
            "That is their mean. Both are too large: what is looked for is below either.":
                [(d1 + d2) / 2 for d1, n1, d2, n2 in cases],
            "The larger sample's distance is too large as well.": [min(d1, d2) for d1, _, d2, _ in cases],
            "Look at the signs: the equations are subtracted, on both sides.":
                [(n1 * d1 - n2 * d2) / (n1 + n2) for d1, n1, d2, n2 in cases],
        }  # fmt: skip
        close([at_infinity(*case) for case in cases], wanted, 1e-6, mistakes)

    two = "There are two equations, one for each size, and two unknowns. Remove c."
    with task.check("the second is larger", two):
        ask(2.2, 6.0, False)
    with task.check("the first is larger", f"{two} Which of the two is larger does not matter."):
        ask(2.2, 6.0, True)
    with task.check("sizes that are nearly the same", f"{two} It holds for any two sizes."):
        ask(1.1, 1.8, False)


@exercise("fd-fool", points=3, minutes=15)
def fd_fool(task: Task, impostor: Answer) -> None:
    """What has a Gaussian's first two moments, and a hole where it is densest."""

    def ask(D: int, n: int) -> None:
        points = number(impostor(n, D, torch.Generator().manual_seed(task.integer(0, 2**31))))
        must(points.shape == (n, D), f"The shape is {tuple(points.shape)}, and should be {(n, D)}.")
        must(points.isfinite().all(), "Some number is not finite.")
        mean, covariance = points.mean(dim=0), points.T.cov()
        off, apart = float(mean.square().sum()), torch.linalg.eigvalsh(covariance).clamp_min(0).sqrt() - 1
        # Of n times the distance, random corners of a cube have a chi-squared number of D degrees of freedom and half
        # of one of D (D - 1) / 2. At D = 6 and n = 4000 it is above 80 in less than one of 10^10 draws; for points on
        # the axes, whose squares vary more, in less than one of 10^7.
        must(off < 0.02, f"The mean should be 0 in each coordinate; that one is {off**0.5:.2g} away from it.")
        variances = covariance.diag()
        must(
            (variances.sqrt() - 1).square().sum() < 0.02,
            f"The variance of each coordinate should be 1; they are {variances.min():.2g} to {variances.max():.2g}.",
        )
        must(
            off + float(apart.square().sum()) < 0.02, "The coordinates are correlated: each needs a chance of its own."
        )
        near = int((points.norm(dim=1) < 0.75 * D**0.5).sum())
        must(near == 0, f"{near} of {n} points are nearer to the origin than three quarters of the root of D.")

    hint = "What has the mean 0, the variance 1 in each coordinate, no correlation, and keeps away from the origin?"
    with task.check("few dimensions", hint):
        ask(task.integer(2, 4), 2 * task.integer(2000, 3000) + 1)
    with task.check("more dimensions", hint):
        ask(task.integer(4, 7), 2 * task.integer(2000, 3000))


def _inception_score(p: Tensor) -> float:
    """How many classes an image's answer tells apart: the exponential of their mutual information."""
    return float((torch.special.entr(p.mean(dim=0)).sum() - torch.special.entr(p).sum(dim=1).mean()).exp())


@exercise("fd-isc", points=2, minutes=10)
def fd_isc(task: Task, best_and_worst: Answer) -> None:
    """As many as there are classes, and one."""

    def ask(low: int, high: int) -> tuple[list[Tensor], int]:
        classes = task.integer(low, high)
        n = classes * task.integer(3, 9)
        pair = best_and_worst(n, classes)
        must(hasattr(pair, "__len__") and len(pair) == 2, "Return two sets of logits: the largest, and the smallest.")
        for name, logits in zip(("first", "second"), pair):
            shape = tuple(number(logits).shape)
            must(shape == (n, classes), f"The shape of the {name} is {shape}, and should be {(n, classes)}.")
        both = [number(logits).softmax(dim=1) for logits in pair]
        must(all(p.isfinite().all() for p in both), "The softmax of these logits is not a number.")
        return both, classes

    with task.check("the largest score", "Of which class should each image be, how surely, and how often each class?"):
        for some in ((3, 10), (11, 20)):
            (best, worst), classes = ask(*some)
            score = _inception_score(best)
            must(score > 1.01 or _inception_score(worst) < 2, "Those are the wrong way round: the largest comes first.")
            even = best.mean(dim=0)
            must(
                even.max() < 1.05 / classes,
                f"Over all images a class has up to {even.max():.2f} of the probability; all should have as much.",
            )
            must(
                score > 0.99 * classes,
                f"The score is {score:.2f} of {classes}: an image should be surely of its class. Logits are not "
                "probabilities: to be sure of a class they must be far apart.",
            )
    with task.check("the smallest score", "What if the answer tells nothing of the image?"):
        for some in ((3, 10), (11, 20)):
            score = _inception_score(ask(*some)[0][1])
            must(score < 1.01, f"The score is {score:.2f}, since the answers differ from image to image.")
