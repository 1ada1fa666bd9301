"""Chapter 9: adversarial examples, in noise."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rgd.attacks import L2, PGD, Classifier, Threat, lengths, unit
from rgd.course import worlds
from rgd.course.task import Answer, Task, close, exercise, must, number
from rgd.schedule import per_image


@exercise("attacks-linear", points=2, minutes=10)
def attacks_linear(task: Task, worst: Answer) -> None:
    """The dual norm of w, times r."""
    given = [(task.normal(D, dtype=torch.float64), task.uniform(0.1, 2.0)) for D in (task.integer(3, 8), 11)]
    sums = torch.stack([r * w.abs().sum() for w, r in given])
    roots = torch.stack([r * w.square().sum().sqrt() for w, r in given])
    signed = "A change lowers w x by a number that is positive: asked for is by how much."
    both = "That is how far the difference of the two logits falls; asked for is w x alone."
    with task.check("L-infinity", "Every entry of x may move by r, each in the direction that hurts."):
        corner = "That goes along w, to the length of a corner. The signs of w show a corner that is worse."
        mistakes = {
            "That is how far an L2 change goes; L-infinity comes first.": roots,
            "Not only the largest entry of w counts: all entries of x may move at once.":
                [r * w.abs().max() for w, r in given],
            "The change chooses its sign entry by entry, so none is taken away from another.":
                [r * w.sum() for w, r in given],
            corner: [r * len(w) ** 0.5 * w.norm() for w, r in given],
            signed: -sums,
            both: 2 * sums,
        }  # fmt: skip
        close([worst(w, r)[0] for w, r in given], sums, 1e-4, mistakes)
    with task.check("L2", "Which direction of length 1 has the largest product with w?"):
        square = "The change has length r, not the length of r w: divide w by its length first."
        mistakes = {
            square: [r * w.square().sum() for w, r in given],
            "Only one entry of x moves there. A direction along w does better.":
                [r * w.abs().max() for w, r in given],
            "That is the L-infinity ball's.": sums,
            signed: -roots,
            both: 2 * roots,
        }  # fmt: skip
        close([worst(w, r)[1] for w, r in given], roots, 1e-4, mistakes)


def _flipping(task: Task, shape: tuple[int, ...], classes: int) -> Classifier:
    """A classifier that takes an image for its negative at every other t, so that it matters which t it is asked at."""
    network = worlds.classifier(task, shape[0] * shape[1] * shape[2], classes)
    return lambda xt, t: network(per_image(1 - 2 * (t % 2), xt) * xt, t)


def _batch(task: Task, n: int, shape: tuple[int, ...], classes: int) -> tuple[Tensor, Tensor, Tensor]:
    return task.normal(n, *shape, dtype=torch.float64), task.integers(0, 900, n), task.integers(0, classes, n)


def _left(images: Tensor) -> Tensor:
    return images * (torch.arange(images.shape[3]) < images.shape[3] // 2)


class _Left(L2):
    def direction(self, gradient: Tensor) -> Tensor:
        return unit(_left(gradient))


@exercise("attacks-threat", points=3, minutes=20)
def attacks_threat(task: Task, make: Answer) -> None:
    """An L2 ball of the left half's entries."""

    def mine(radius: float) -> tuple[Any, Answer, Answer]:
        made = make(radius)
        return made, Answer(made.direction), Answer(made.project)

    with task.check("direction", "Take the gradient's left half, and give each image's the length 1."):
        for shape in ((3, 1, 2, 40), (5, 2, 6, 4)):
            radius = task.uniform(2, 5)
            g = task.normal(*shape, dtype=torch.float64) * per_image(torch.arange(1, shape[0] + 1), torch.empty(shape))
            half, fourteen = _left(g), g * (torch.arange(shape[3]) < 14)
            top = torch.cat([g[:, :, : shape[2] // 2], 0 * g[:, :, shape[2] // 2 :]], dim=2)
            mistakes = {
                "Each image has a length of its own; that is the length of the whole batch.": half / half.norm(),
                "Cut the right half off first: what is left must have length 1.": _left(unit(g)),
                "That is the left half of the gradient itself; it should have length 1.": half,
                "That is the right half.": unit(g - half),
                "That is the upper half: columns are the last dimension.": unit(top),
                "The left half is half the width of these images, not always 14 columns.": unit(fourteen),
                "That changes both halves.": unit(g),
                "The methods speak of the unit ball: the length is 1, not the radius.": radius * unit(half),
                "Those are signs, the steepest direction in L-infinity.": half.sign(),
            }
            close(mine(radius)[1](g), unit(half), 1e-4, mistakes)
    with task.check("nothing to be gained", "Where the left half of a gradient is zero, so is its direction."):
        g = task.normal(3, 1, 2, 4, dtype=torch.float64)
        g[1, ..., :2] = 0
        close(mine(1.0)[1](g), unit(_left(g)), 1e-4)
    with task.check("project", "Shorten what is longer than 1, image by image, and nothing else."):
        length, radius = torch.tensor([0.3, 0.9, 1.7, 8.0]).double(), task.uniform(2, 5)
        u = unit(_left(task.normal(4, 2, 3, 8, dtype=torch.float64))) * length.reshape(-1, 1, 1, 1)
        mistakes = {
            "That is the sphere. A point inside the ball is its own nearest point.": unit(u),
            "Each image has a length of its own; that is the length of the whole batch.": u / u.norm(),
            "That cuts each entry off at 1, which is the L-infinity ball.": u.clamp(-1, 1),
            "Something longer than 1 is still to be shortened.": u,
            "The methods speak of the unit ball, not of one of the radius.":
                u / per_image((length / radius).clamp_min(1), u),
        }  # fmt: skip
        close(mine(radius)[2](u), u / per_image(length.clamp_min(1), u), 1e-4, mistakes)
    with task.check("what it is given", "Something that was handed to a method was changed in place: work on a copy."):
        g = 3 * task.normal(3, 1, 2, 4, dtype=torch.float64)
        u, kept = _left(g), g.clone()
        made = mine(1.0)[0]
        Answer(made.direction)(g), Answer(made.project)(u)  # a stub is not answered yet
        made.direction(g), made.project(u)
        must(torch.equal(g, kept) and torch.equal(u, _left(kept)))
    with task.check("within PGD", "The object needs the radius that it was made with; the methods speak of radius 1."):
        radius = task.uniform(0.5, 3.0)
        classifier, batch = _flipping(task, (1, 3, 4), 3), _batch(task, 6, (1, 3, 4), 3)
        made, direction, project = mine(radius)
        threat: Any = SimpleNamespace(radius=made.radius, direction=direction, project=project)
        close(_steps(threat, 9, classifier, batch), _steps(_Left(radius), 9, classifier, batch), 1e-3)


def _steps(
    threat: Threat,
    steps: int,
    classifier: Classifier,
    batch: tuple[Tensor, Tensor, Tensor],
    step: float | None = None,
) -> Tensor:
    return PGD(threat, steps, step, early_stop=False)(classifier, *batch)


@dataclass(frozen=True)
class _Towards(L2):
    """PGD with it goes downhill."""

    def direction(self, gradient: Tensor) -> Tensor:
        return -unit(gradient)


@exercise("attacks-targeted", points=4, minutes=25)
def attacks_targeted(task: Task, towards: Answer) -> None:
    """PGD, downhill on the cross-entropy of the wanted class."""

    def ask(n: int, shape: tuple[int, ...], classes: int, steps: int | None) -> None:
        classifier, (xt, t, wanted) = _flipping(task, shape, classes), _batch(task, n, shape, classes)
        r, k = task.uniform(0.5, 2.0), steps or 20
        batch, goal = (xt, t, wanted), _Towards(r)
        given = towards(classifier, *batch, r) if steps is None else towards(classifier, *batch, r, steps)
        right = _steps(goal, k, classifier, batch)
        once = unit(_steps(goal, 1, classifier, batch) - xt)
        mistakes = {
            "That goes away from the wanted class: the cross-entropy should fall.": _steps(L2(r), k, classifier, batch),
            "Ask the classifier at each image's own t; that is t = 0.":
                _steps(goal, k, classifier, (xt, torch.zeros_like(t), wanted)),
            "That is one step of length r: ask for the gradient anew after each of several.": xt + r * once,
            "Return the attacked images, xt and the change.": right - xt,
            "Each step is 2.5 r / steps long; those are r / steps.": _steps(goal, k, classifier, batch, 1 / k),
            "That goes away from what the classifier reads now; it should go to the wanted class.":
                _steps(L2(r), k, classifier, (xt, t, classifier(xt, t).argmax(1))),
            "The number of steps is the argument `steps`.": _steps(goal, 20, classifier, batch),
            "The changes are longer than r: go back to the ball after each step.":
                _steps(_Towards(1e6 * r), k, classifier, batch, 2.5e-6 / k),
        }  # fmt: skip
        close(given, right, 1e-3, mistakes)

    own = "Each image has a gradient and a ball of its own: take lengths image by image."
    with task.check("towards the wanted class", own):
        ask(6, (1, 3, 3), 4, 7)
    with task.check("other images, and the steps not told", own):
        ask(4, (3, 2, 4), 3, None)
    with task.check("images that are read as wanted already", "No image stops early, nor is any left out."):
        classifier, (xt, t, _) = _flipping(task, (1, 2, 5), 3), _batch(task, 5, (1, 2, 5), 3)
        batch, r = (xt, t, classifier(xt, t).argmax(1)), task.uniform(0.5, 2.0)
        close(towards(classifier, *batch, r, 5), _steps(_Towards(r), 5, classifier, batch), 1e-3)
    with task.check("within the ball", "A point inside the ball is its own nearest point: only far ones are moved."):
        place = task.normal(1, 1, 2, 2, dtype=torch.float64)  # where the wanted class is surest
        xt, t, _ = _batch(task, 3, (1, 2, 2), 2)
        xt = place + 0.3 * unit(xt)

        def nearness(x: Tensor, t: Tensor) -> Tensor:
            return F.pad(-(x - place).square().flatten(1).sum(1, keepdim=True), (0, 1))

        given = number(towards(nearness, xt, t, 0 * t, 1.0, 40))
        must(given.shape == xt.shape, f"The shape is {tuple(given.shape)}, and should be {tuple(xt.shape)}.")
        must(lengths(given - place).max() < 0.15)


@exercise("attacks-unmask", points=3, minutes=20)
def attacks_unmask(task: Task, unmasked: Answer) -> None:
    """A loss that a large factor does not silence."""

    def ask(shape: tuple[int, ...], factor: float, silent: str) -> None:
        classifier, (xt, t, _) = _flipping(task, shape, 3), _batch(task, 60, shape, 3)
        best = classifier(xt, t).topk(2, dim=1).values
        sure = (best[:, 0] - best[:, 1]).topk(20).indices
        xt, t = xt[sure], t[sure]
        y, r = classifier(xt, t).argmax(1), 3.0

        def masked(x: Tensor, t: Tensor) -> Tensor:
            return factor * classifier(x, t)

        given = unmasked(masked, xt, t, y, r)
        found = number(given)
        must(found.shape == xt.shape, f"The shape is {tuple(found.shape)}, and should be {tuple(xt.shape)}.")
        moved = lengths(found - xt)
        must(moved.max() < 1.001 * r, "Some change is longer than r in L2.")
        must(moved.max() > 0, f"No image has moved: {silent}")

        def fooled(x: Tensor) -> float:
            return float((classifier(x, t).argmax(1) != y).double().mean())

        # Chance is in what is drawn alone. Over 80 draws the quotient of the shares was 1.00, with a standard deviation
        # of 0.014, for right answers of two kinds, and 0.15 with one of 0.1 for random changes. Three quarters is 18
        # deviations below: a right answer is refused less than once in a million draws.
        must(fooled(found) >= 0.75 * fooled(_steps(L2(r), 20, classifier, (xt, t, y))))

    few = "Too few images are misread. Follow something that no factor silences, uphill, at each image's own t."
    with task.check("a factor of ten thousand", f"{few} Use nothing but calls of `masked`."):
        ask((1, 3, 3), task.uniform(1e4, 3e4), "the loss that you follow has no gradient here.")
    with task.check("a far larger factor", f"{few} No one temperature fits all factors."):
        ask((3, 2, 2), 10 ** task.uniform(9.0, 10.0), "a temperature for one factor does not do for another.")
