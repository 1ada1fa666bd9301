"""Chapter 13: a fair comparison."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rgd.course import worlds
from rgd.course.task import Answer, Task, close, exercise, must, number
from rgd.guidance import Gradient, grad_log_prob
from rgd.mixtures import Mixture
from rgd.schedule import per_image


@exercise("fair-scales", points=2, minutes=10)
def fair_scales(task: Task, scale_of_knowing: Answer) -> None:
    """The model that knows the class has the push in it once."""

    def ask(scales: list[float]) -> None:
        given = torch.tensor(scales, dtype=torch.float64)
        mistakes = {
            "That is the scale for a model that does not know the class.": given,
            "The model that knows the class has a push in it already: does it need more of it, or less?": given + 1,
            "Turn it round: at a larger s the push is stronger, too.": 1 - given,
            "Is it a factor by which the two differ? Write them out.": (given - 1) / given,
        }
        close([scale_of_knowing(s) for s in scales], given - 1, 1e-6, mistakes)

    with task.check("beyond the model", "Write classifier-free guidance as the answer with the label, and a rest."):
        ask([task.uniform(1.2, 3), task.uniform(4, 12)])
    with task.check("short of the model", "There less is asked for than the model gives. Which sign is that?"):
        ask([task.uniform(0.1, 0.4), task.uniform(0.5, 0.9)])


@exercise("fair-witness", points=3, minutes=20)
def fair_witness(task: Task, centred: Answer) -> None:
    """The gradient without its mean over the labels; a classifier's own has none."""

    def ask(classes: int, shape: tuple[int, ...], n: int, own: bool = False) -> None:
        classifier = worlds.classifier(task, math.prod(shape), classes)
        xt, t = task.normal(n, *shape, dtype=torch.float64), task.integers(100, 900, n)
        y, turn = task.integers(0, classes, n), task.uniform(0.5, 2)

        def biased(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
            return turn * xt.cos() + per_image((y.double() + 1).sin() + t / 500, xt) * (xt + 0.5)

        gradient: Gradient = grad_log_prob(classifier) if own else biased
        each = torch.stack([gradient(xt, t, torch.full_like(y, k)) for k in range(classes)])
        logits = classifier(xt, t).detach()
        g, p, at_first = gradient(xt, t, y), logits.softmax(1), classifier(xt, t[:1].expand(n)).detach().softmax(1)

        def mean(weights: Tensor) -> Tensor:
            return sum(per_image(weights[:, k], xt) * each[k] for k in range(classes))  # type: ignore[return-value]

        mistakes = {
            "Labels are not equally likely: weigh each by its probability at xt.": g - each.mean(0),
            "Each image has probabilities of its own; those are averages over the batch.":
                g - mean(p.mean(0).expand_as(p)),
            "Logits are no probabilities yet.": g - mean(logits),
            "The mean is over all labels, y and the others.": g - per_image(p.gather(1, y[:, None]), xt) * g,
            "The mean is over all labels, y among them.": g - mean(p.scatter(1, y[:, None], 0)),
            "The mean is to be taken off, not added.": g + mean(p),
            "That is the mean. Take it off the gradient towards y.": mean(p),
            "Each image has its own level: those are the probabilities at that of the first.": g - mean(at_first),
            "That is the gradient towards the likeliest label; asked for is the one towards y.":
                each[p.argmax(1), torch.arange(n)] - mean(p),
            "That is `gradient` as it was.": g,
        }  # fmt: skip
        mistakes = {said: value for said, value in mistakes.items() if not (own and value is g)}
        close(centred(gradient, classifier)(xt, t, y), g - mean(p), 1e-5, mistakes)

    with task.check("four labels", "Ask for the gradient towards each label that the classifier knows, here 0 to 3."):
        ask(4, (1, 1, 2), 7)
    with task.check("images of three channels", "A probability is one number for each image, and scales all of it."):
        ask(3, (3, 2, 2), 5)
    with task.check("a classifier's own gradient", "By its own probabilities its mean is zero, and nothing changes."):
        ask(5, (1, 2, 3), 6, own=True)


@exercise("fair-twice", points=2, minutes=10)
def fair_twice(task: Task, agreement: Answer) -> None:
    """The cosine between eps told the class and eps not told."""

    def ask(shape: tuple[int, ...], n: int) -> None:
        world = worlds.world(task, shape=shape)
        x0, y, t, eps = worlds.points(task, world, n)
        xt = world.schedule.q_sample(x0, t, eps)
        told, untold, level = world(xt, t, y), world(xt, t), t[:1].expand(n)

        def cosine(a: Tensor, b: Tensor) -> Tensor:
            return torch.cosine_similarity(a.flatten(1), b.flatten(1))

        right = cosine(told.eps, untold.eps)
        product = (told.eps * untold.eps).flatten(1).sum(1)
        mistakes = {
            "The answers are about the noise: compare eps, not x0.": cosine(told.x0, untold.x0),
            "Each image has a cosine of its own; that is the mean over the batch.": right.mean().expand(n),
            "Each image has a cosine of its own; that is the batch's, as one vector.":
                (product.sum() / (told.eps.norm() * untold.eps.norm())).expand(n),
            "That is the inner product; divide by both lengths.": product,
            "The lengths are each image's own; those are of the whole batch.":
                product / (told.eps.norm() * untold.eps.norm()),
            "That is by how much they fall short of agreeing.": 1 - right,
            "That is the angle; asked for is its cosine.": right.clamp(-1, 1).acos(),
            "One answer is to know the label, and the other is not.": torch.ones(n),
            "Compare the answers with each other, not with xt.": cosine(told.eps, xt),
            "That is one step earlier: ask at t.": cosine(world(xt, t - 1, y).eps, world(xt, t - 1).eps),
            "Each image has its own level; that is the first one's.":
                cosine(world(xt, level, y).eps, world(xt, level).eps),
        }  # fmt: skip
        close(agreement(world, xt, t, y), right, 1e-5, mistakes)

    with task.check("points in the plane", "Ask twice, with the label and without, and take each image as one vector."):
        ask((1, 1, 2), 8)
    with task.check("images of three channels", "An image is one vector, of all its channels, rows and columns."):
        ask((3, 2, 4), 5)


def _pair(task: Task, shape: tuple[int, ...]) -> tuple[Mixture, Mixture]:
    """A world, and a worse copy of it."""
    world = worlds.world(task, shape=shape)
    means = world.means + 0.5 * task.normal(*world.means.shape, dtype=torch.float64)
    return world, replace(world, means=means, variances=2 * world.variances)


@exercise("fair-both", points=3, minutes=15)
def fair_both(task: Task, both: Answer) -> None:
    """Autoguidance of a guided model stretches the push, too."""

    def ask(shape: tuple[int, ...], n: int, order: str) -> None:
        world, worse = _pair(task, shape)
        x0, y, _, eps = worlds.points(task, world, n)
        schedule, turn = world.schedule, task.uniform(0.5, 2)
        t, s, c = task.integers(1, schedule.T * 3 // 4, n), task.uniform(1.3, 3), task.uniform(3.5, 6)
        xt = schedule.q_sample(x0, t, eps)

        def push(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
            return turn * xt.cos() + y.reshape(-1, 1, 1, 1) / 2

        plain, push_on_eps = world(xt, t, y).eps, schedule.at("sigma", t, xt) * push(xt, t, y)
        away = plain - worse(xt, t, y).eps
        stretched = s if order == "class first" else 1.0  # by autoguidance of what is pushed already

        def value(auto: float, by_class: float, start: Tensor = plain) -> Tensor:
            return start + auto * away - by_class * push_on_eps

        other = {
            "class first": "That is the other order, or the worse one is pushed as well.",
            "auto first": "That is the other order: first autoguidance, and the push on top of it.",
        }
        unknowing = world(xt, t).eps - plain
        mistakes = {
            other[order]: value(s - 1, c * (s + 1 - stretched)),
            "At scale 1 autoguidance is the model itself: nothing is added there.":
                value(s, c * (stretched if stretched == 1 else s + 1)),
            "Guidance moves the noise's prediction against the push.": value(s - 1, -c * stretched),
            "That is autoguidance alone.": value(s - 1, 0),
            "That is the push alone.": value(0, c),
            "That is without either of the guides.": plain,
            "The two scales have changed places.": value(c - 1, s * (stretched if stretched == 1 else c)),
            "Autoguidance leads away from the worse one.": value(1 - s, c * stretched),
            "Hand the label on: this model was kept from it.":
                value(s - 1, c * stretched, plain + s * unknowing),
            "On the noise's prediction the push is multiplied by sigma; `rgd.guide` does it.":
                plain + (s - 1) * away - c * stretched * push(xt, t, y),
        }  # fmt: skip
        made: Any = both(world, worse, push, s, c, order)
        must(callable(made), "Return a denoiser, as `rgd.guide` does.")
        given = made(xt, t, y)
        must(hasattr(given, "eps"), "Return a denoiser: asked (xt, t, y), it gives a prediction with `.eps`.")
        close(number(given.eps), value(s - 1, c * stretched), 1e-5, mistakes)

    with task.check("auto first", "Autoguidance makes a denoiser of two; guide that one by the push."):
        ask((1, 1, 2), 7, "auto first")
    with task.check("class first", "Guide `denoise` by the push; that is the better one, for autoguidance."):
        ask((1, 1, 2), 7, "class first")
    with task.check("images of three channels", "The same of other shapes, at other scales."):
        ask((3, 2, 3), 5, "auto first")
        ask((3, 2, 3), 5, "class first")
