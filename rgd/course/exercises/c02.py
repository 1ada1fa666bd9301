"""Chapter 2: the exact classifier gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from rgd.attacks import Classifier
from rgd.course import worlds
from rgd.course.task import Answer, Task, close, exercise, must, number
from rgd.mixtures import mixture
from rgd.schedule import Schedule

DOUBLE = torch.float64


def _two(x: Tensor, a: Tensor, m: Tensor, c: Tensor, apart: float = 2.0) -> Tensor:
    """The gradient if the clouds of level `a`, (B, 1), have the variance c, and their means lie `apart` times m from
    each other."""
    slope = apart * a.sqrt() / c
    return torch.sigmoid(-slope * (x @ m)[:, None]) * slope * m


@exercise("exact-two", points=2, minutes=10)
def exact_two(task: Task, gradient_of_two: Answer) -> None:
    """The doubt, times the slope of the log odds."""

    def ask(low: float, high: float, dim: int, levels: int, inside: float | None = None) -> None:
        schedule, v, n = worlds.schedule(task), task.uniform(low, high), 8
        m = task.normal(dim, dtype=DOUBLE)
        m = m * task.uniform(1.1, 1.6) / m.norm()
        t = task.integers(schedule.T // 10, schedule.T // 2, levels).repeat(n // levels)
        a = schedule.alpha_bar[t][:, None]
        noised = a * v + 1 - a
        x = (2 * noised).sqrt() * task.normal(n, dim, dtype=DOUBLE)
        if inside is not None:  # log odds about so large
            x = inside * noised / (2 * a.sqrt() * m.norm()) * m / m.norm() + 0.1 * x
        pair = mixture(torch.stack([m, -m]), v, schedule)
        right = pair.grad_log_prob(x, t, torch.zeros(n, dtype=torch.int64))
        slope = 2 * a.sqrt() / noised * m
        mistakes = {
            "That is the gradient of class 1.": right - slope,
            "That is the gradient of the log odds. Their logistic function is still to be differentiated.": slope,
            "That is long where class 0 is certain. Which of the two probabilities is the doubt?": slope - right,
            "How far apart are the two means?": _two(x, a, m, noised, 1.0),
            "The means shrink by the root of alpha_bar.": _two(x, a**2, m, noised),
            "The noise makes the clouds wider.": _two(x, a, m, torch.full_like(a, v)),
            "The clouds that were there shrink before the noise widens them.": _two(x, a, m, v + 1 - a),
            "Without noise the clouds have the variance v, which is then shrunk and widened.":
                _two(x, a, m, torch.ones_like(a)),
            "v is the variance, not the standard deviation.": _two(x, a, m, a * v**2 + 1 - a),
            "That is the score of class 0. The score of everything is to be taken from it.":
                pair.score(x, t, torch.zeros(n, dtype=torch.int64)),
            "m is a vector of any length, not a unit vector.": right / m.norm(),
        }  # fmt: skip
        close(gradient_of_two(x, a[:, 0], m, v), right, 1e-4, mistakes)

    with task.check("points in the plane", "Write the log odds: what is left of the squares of two distances?"):
        ask(0.1, 0.6, 2, 1)
    with task.check(
        "each point at its own level", "Each of the points, of any dimension, has an alpha_bar of its own."
    ):
        ask(1.5, 4.0, task.integer(3, 6), 8)
    with task.check("deep inside class 0", "The gradient fades with the doubt."):
        ask(0.1, 0.6, 2, 8, inside=task.uniform(5, 9))


def _of_probabilities(classifier: Classifier, xt: Tensor, t: Tensor) -> Tensor:
    """The gradient of each class's probability, (classes, B, *shape): what p grad log p is."""
    xt = xt.clone().requires_grad_()
    p = classifier(xt, t).softmax(1)
    return torch.stack([torch.autograd.grad(one.sum(), xt, retain_graph=True)[0] for one in p.unbind(1)])


@exercise("exact-conserved", points=3, minutes=15)
def exact_conserved(task: Task, terms: Answer) -> None:
    """p grad log p is the gradient of p, and probabilities sum to one."""

    def ask(classifier: Classifier, xt: Tensor, t: Tensor) -> None:
        right, p = _of_probabilities(classifier, xt, t), classifier(xt, t).softmax(1).detach()
        weight = p.T.reshape(p.shape[1], -1, *[1] * (xt.ndim - 1))
        rows = xt.clone().requires_grad_()
        logits = classifier(rows, t)
        raw = torch.stack([torch.autograd.grad(f.sum(), rows, retain_graph=True)[0] for f in logits.unbind(1)])
        mistakes = {
            "Those are the gradients themselves: each is to be weighted by the probability of its class.":
                right / weight,
            "Each image has probabilities of its own; those are the means over the batch.":
                right / weight * weight.mean(1, keepdim=True),
            "Those are gradients of the logits. Asked for are those of log p.": weight * raw,
            "The weight is the probability of the class, not of the others.": right / weight * (1 - weight),
            "The weight is the probability, not its logarithm.": right / weight * weight.log(),
            "Each image has its own level: that is the level of the first.":
                _of_probabilities(classifier, xt, t[:1].expand(len(t))),
            "The classifier is told t.": _of_probabilities(classifier, xt, 0 * t),
        }  # fmt: skip
        close(terms(classifier, xt, t), right, 1e-4, mistakes)

    world = worlds.world(task)
    x0, _, t, eps = worlds.points(task, world, 9)
    t = 1 + t // 2
    classes = task.integer(4, 7)
    network = worlds.classifier(task, 12, classes)
    batch = task.normal(8, 3, 2, 2, dtype=DOUBLE), task.integers(1, 900, 8)
    with task.check("an exact classifier", "The gradient of log p for each class, times p, image by image."):
        ask(world.classifier, world.schedule.q_sample(x0, t, eps), t)
    with task.check("an untrained network", "As many terms as there are classes, for images of any shape."):
        ask(network, *batch)
    with task.check("what is conserved", "Whatever the classifier, the terms cancel, and they are not zero."):
        found = number(terms(network, *batch))
        must(found.shape == (classes, *batch[0].shape))
        must(found.abs().max() > 1e-6)
        must(found.sum(0).abs().max() <= 1e-6 * found.abs().max())


def _weighted(clean: Callable[[Tensor], Tensor], x0: Tensor, schedule: Schedule, xt: Tensor, t: Tensor) -> Tensor:
    """The posterior, if x0 were all the images there are: a mixture of points, each in every class to its share."""
    p = clean(x0)
    N, K = p.shape
    images = mixture(x0.repeat_interleave(K, 0), 1e-20, schedule, torch.arange(K).repeat(N), p.flatten())
    return images.logits(xt, t).softmax(1)


def _mistaken(clean: Callable[[Tensor], Tensor], x0: Tensor, xt: Tensor, a: Tensor) -> dict[str, Tensor]:
    """What is said of an average with other weights, or of another average. `a` is (B, 1)."""
    p = clean(x0)

    def log_weight(signal: Tensor, variance: Tensor) -> Tensor:
        return -(xt[:, None] - signal[:, :, None] * x0).square().sum(2) / (2 * variance)

    right = log_weight(a.sqrt(), 1 - a).softmax(1)
    others = {
        "An image shrinks by the root of alpha_bar.": log_weight(a, 1 - a),
        "An image shrinks before noise is added: how far is the point from what is left of it?":
            log_weight(torch.ones_like(a), 1 - a),
        "The square of the distance is divided by the variance of the noise, not by its root.":
            log_weight(a.sqrt(), (1 - a).sqrt()),
        "A Gaussian's exponent has a half in it.": 2 * log_weight(a.sqrt(), 1 - a),
        "How much noise there is decides how far away an image may be.": log_weight(a.sqrt(), torch.ones_like(a)),
        "Those weights are the same for all images: that is the posterior of a point that nobody has seen.": 0 * right,
        "Each point has its own level: that is the level of the first.": log_weight(a[:1].sqrt(), 1 - a[:1]),
        "Each point has its own level: that is the mean level.":
            log_weight(a.mean(0, keepdim=True).sqrt(), 1 - a.mean(0, keepdim=True)),
    }  # fmt: skip
    found = {said: weight.softmax(1) @ p for said, weight in others.items()}
    return found | {
        "That is the image that explains the point best. The others count too, by their weights.": p[right.argmax(1)],
        "That is the posterior of the average image. Average the posteriors.": clean(right @ x0),
        "Average the probabilities, not their logarithms.": (right @ p.log()).exp(),
        "The average of the logarithms, made to sum to one, is still not that of the probabilities.":
            (right @ p.log()).softmax(1),
        "The weights of a point should sum to one.": log_weight(a.sqrt(), 1 - a).exp() @ p,
    }  # fmt: skip


@exercise("exact-repair", points=3, minutes=20)
def exact_repair(task: Task, posterior: Answer) -> None:
    """An average over clean images, each weighted by how well it explains the point."""

    def ask(dim: int, classes: int, points: int, images: int, far: bool = False) -> None:
        schedule, W = worlds.schedule(task), 2 * task.normal(dim, classes, dtype=DOUBLE)
        x0 = task.normal(images, dim, dtype=DOUBLE)

        def clean(x0: Tensor) -> Tensor:
            return (x0 @ W).softmax(1)

        tenth = schedule.T // 10
        t = task.integers(1, 1 + tenth // 2, points) if far else task.integers(tenth, 5 * tenth, points)
        xt = schedule.q_sample(x0[:points], t, task.normal(points, dim, dtype=DOUBLE))
        xt = 40 * xt if far else xt
        a = schedule.alpha_bar[t]
        mistakes = {} if far else _mistaken(clean, x0, xt, a[:, None])
        close(posterior(clean, xt, a, x0), _weighted(clean, x0, schedule, xt, t), 1e-4, mistakes)

    hint = "How probable is xt, if x0 was the image? That is its weight, but for a factor that is the same for all."
    with task.check("points in the plane", hint):
        ask(2, 3, 4, 30)
    with task.check("points of more dimensions", "Dimensions, classes and numbers of points are as handed over."):
        ask(task.integer(4, 7), task.integer(4, 7), 6, 50)
    far = "Far from every image all weights round to zero, and 0 / 0 is not a number: compare their logarithms."
    with task.check("far from every image", far):
        ask(3, 3, 4, 30, far=True)
    with task.check("draws from a world", "With many draws it is nearly the exact posterior."):
        world = worlds.world(task)
        pure = replace(world, schedule=Schedule(torch.tensor([1 - 1e-12], dtype=DOUBLE)))

        def exactly(x0: Tensor) -> Tensor:
            return pure.logits(x0.reshape(-1, 1, 1, 2), torch.zeros(len(x0), dtype=torch.int64)).softmax(1)

        x0 = world.sample(20_000, task.random)[0]
        t = ((world.schedule.alpha_bar > task.uniform(0.2, 0.6)).sum() - 1).expand(4)
        xt = world.schedule.signal[t].reshape(-1, 1, 1, 1) * x0[:4]
        given = posterior(exactly, xt.flatten(1), world.schedule.alpha_bar[t], x0.flatten(1))
        # The error is 0.008, root mean square, and nearly normal: beyond 0.1 once in far more than a million.
        close(given, world.logits(xt, t).softmax(1), 0.1)
