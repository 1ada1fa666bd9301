"""Chapter 17: steering exactly."""

from __future__ import annotations

import torch
from torch import Tensor

from rgd.course.task import Answer, Task, close, exercise

DOUBLE = torch.float64


@exercise("steer-effective", points=2, minutes=10)
def steer_effective(task: Task, effective: Answer) -> None:
    """Equal weights count in full, one weight alone counts once, and a constant changes nothing."""

    def ask(log_w: Tensor) -> None:
        w = log_w.softmax(dim=1)
        mistakes = {
            "That is the sum of the squares. The effective number is one over it.": w.square().sum(1),
            "Each island by itself: its weights sum to one over its own walkers.":
                (1 / log_w.flatten().softmax(0).reshape(log_w.shape).square().sum(1)),
            "That is a share of the walkers, not their number.": 1 / w.square().sum(1) / log_w.shape[1],
            "That is the exponential of the entropy, another number of the kind.":
                torch.special.entr(w).sum(1).exp(),
            "That is the effective number in all of the islands together.":
                (1 / log_w.flatten().softmax(0).square().sum()).expand(len(log_w)),
        }  # fmt: skip
        close(effective(log_w), 1 / w.square().sum(1), 1e-6, mistakes)

    N, K = task.integer(2, 5), task.integer(5, 12)
    log_w = task.normal(N, K, dtype=DOUBLE)
    with task.check("some islands", "Normalise the weights of each island; then one over the sum of their squares."):
        ask(log_w)
    with task.check("very small weights", "Their exponentials are zero: take the greatest logarithm out first."):
        ask(3 * log_w - 4900)
    with task.check("walkers without weight", "A logarithm of minus infinity is a weight of zero, and counts nothing."):
        nobody = log_w.clone()
        nobody[:, task.integer(0, K)] = -torch.inf
        ask(nobody)


@exercise("steer-worth", points=3, minutes=20)
def steer_worth(task: Task, worth: Answer) -> None:
    """The ratio of two Gaussians, and of two potentials, each at its own scale."""

    def ask(*shape: int, same_scale: bool = False) -> None:
        B, sigma = shape[0], task.uniform(0.3, 0.8)
        plain, went = task.normal(*shape, dtype=DOUBLE), task.normal(*shape, dtype=DOUBLE)
        arrived = went + sigma * task.normal(*shape, dtype=DOUBLE)
        before, after = -task.normal(B, dtype=DOUBLE).abs(), -task.normal(B, dtype=DOUBLE).abs()
        s = task.uniform(1, 2)
        s_next = s if same_scale else s + task.uniform(0.5, 2)

        def log_density(mean: Tensor, width: float = 1.0) -> Tensor:
            return -(arrived - mean).square().flatten(1).sum(1) / (2 * sigma**2) * width

        steps, gained = log_density(plain) - log_density(went), s_next * after - s * before
        right = steps + gained
        mistakes = {
            "The density of the plain step stands above, that of the guided one below.": -steps + gained,
            "What the class gains is missing.": steps,
            "How much more likely the plain step is than the guided one is missing.": gained,
            "The potentials are the wrong way round: the later one stands above.": steps - gained,
            "Each potential has the scale of its own level.": steps + s * (after - before),
            "Both potentials have the later scale here.": steps + s_next * (after - before),
            "The exponent of a Gaussian is divided by twice the variance.": 2 * steps + gained,
            "sigma is a standard deviation: the exponent is divided by its square.": steps * sigma + gained,
            "Sum over the pixels of an image: their densities multiply.": steps / plain[0].numel() + gained,
            "That is the worth itself. Return its logarithm.": right.exp(),
            "One worth for each image, not one for all.": right.sum().expand(B),
        }
        close(worth(arrived, went, plain, sigma, before, after, s, s_next), right, 1e-6, mistakes)

    with task.check("images", "The logarithm of a product is a sum: of two densities' difference and two potentials'."):
        ask(4, 1, 3, 3)
    with task.check("images with colours", "Whatever the shape of an image, all of it belongs to one density."):
        ask(3, 3, 2, 4)
    with task.check("one scale for both levels", "Nothing changes in the formula where the scale does not."):
        ask(5, 1, 1, 2, same_scale=True)


@exercise("steer-keep", points=3, minutes=15)
def steer_keep(task: Task, keep: Answer) -> None:
    """A sample of p(x | y) is kept with probability p(y | x)^(s - 1)."""

    def ask(s: float, n: int = 400) -> None:
        p = torch.rand(n, generator=task.random, dtype=DOUBLE).clamp(0.02, 0.98)
        u = torch.rand(n, generator=task.random, dtype=DOUBLE)
        log_p = p.log()
        mistakes = {
            "One factor of p(y | x) is in the samples already.": u < p**s,
            "That is what is thrown away.": u >= p ** (s - 1),
            "log_p is a logarithm, and u is to be compared with a probability.": u < (s - 1) * log_p,
            "The most probable are kept for sure here, and others never. Which are kept is to be left to u.":
                p**(s - 1) > 0.5,
            "More could be kept than by dividing by their number.": u < p ** (s - 1) / n,
            "The rule has to serve every set of samples, not only this one: nothing is divided by the greatest.":
                u < (p / p.max()) ** (s - 1),
            "Raise p(y | x) to the power, rather than multiplying by it.": u < (s - 1) * p,
        }  # fmt: skip
        close(keep(log_p, u, s), u < p ** (s - 1), 0.5, mistakes)

    with task.check("some scales", "The samples have one factor. How many are missing?"):
        ask(task.uniform(2, 4))
        ask(task.uniform(1.2, 1.6))
    with task.check("a large scale", "At large scales few are kept, and the rule is the same."):
        ask(task.uniform(8, 12))
    with task.check("scale 1", "At scale 1 the samples are right as they are."):
        ask(1.0)
