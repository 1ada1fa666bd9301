"""Chapter 21: the noise decides."""

from __future__ import annotations

import torch
from torch import Tensor

from rgd.course import worlds
from rgd.course.task import Answer, Task, close, exercise


@exercise("decides-view", points=3, minutes=20)
def decides_view(task: Task, both: Answer) -> None:
    """The gradient of the second view comes back the way the image did not go."""

    def ask(shape: tuple[int, ...], turns: int) -> None:
        world = worlds.world(task, shape=shape)
        x0, y, t, eps = worlds.points(task, world, 5)
        xt, g = world.schedule.q_sample(x0, t, eps), world.grad_log_prob
        seen = (y + 1) % world.num_classes

        def view(x: Tensor) -> Tensor:
            return x.rot90(turns, (-2, -1))

        def undo(x: Tensor) -> Tensor:
            return x.rot90(-turns, (-2, -1))

        up, down = g(xt, t, y), g(view(xt), t, seen)
        mistakes = {
            "The gradient in the view is still as the view shows it: bring it back before you add.": up + down,
            "Back goes by `undo`: to turn once more in the same direction is another image.": up + view(down),
            "The guide of the second view has to see the image as the view shows it.": up + undo(g(xt, t, seen)),
            "Each view has an order of its own.": up + undo(g(view(xt), t, y)),
            "The orders are the wrong way round.": g(xt, t, seen) + undo(g(view(xt), t, y)),
            "That is the second view alone.": undo(down),
            "That is the first view alone.": up,
            "Log-probabilities of two orders add up, and so do their gradients: that is the mean.":
                (up + undo(down)) / 2,
            "The image goes to the view by `view`, and its gradient back by `undo`.": up + view(g(undo(xt), t, seen)),
        }  # fmt: skip
        close(both(g, view, undo)(xt, t, y, seen), up + undo(down), 1e-6, mistakes)

    with task.check("a quarter turn", "How does a pixel of the turned image get back to where it was?"):
        ask((1, 3, 3), 1)
    with task.check("three quarters, in colour", "Nothing changes: `view`, the guide, `undo`."):
        ask((3, 2, 2), 3)


@exercise("decides-chosen", points=2, minutes=10)
def decides_chosen(task: Task, chosen: Answer) -> None:
    """Of the best by score, of a start at random, and of whoever would know the ends."""
    pairs = []
    for N, B in ((task.integer(3, 6), task.integer(30, 50)), (task.integer(7, 10), task.integer(60, 90))):
        hidden = task.normal(N, B)
        pairs.append((hidden + task.normal(N, B), hidden + task.normal(N, B) > 0.8))
    taken = [right.gather(0, scores.argmax(0, keepdim=True))[0].double() for scores, right in pairs]
    rights = [right.double() for _, right in pairs]

    def each(values: list[Tensor]) -> Tensor:
        return torch.stack([value.double().mean() for value in values])

    best, chance, ceiling = each(taken), each(rights), each([right.any(0) for _, right in pairs])
    with task.check("the chosen starts", "For each image one of its N starts, the one with the highest score."):
        mistakes = {
            "That is the start of the lowest score.":
                each([right.gather(0, scores.argmin(0, keepdim=True)) for scores, right in pairs]),
            "Choose for each image among its own starts: N is the first dimension.":
                each([right.gather(1, scores.argmax(1, keepdim=True)) for scores, right in pairs]),
            "One start, the best on average, is not the best for each image.":
                each([right[scores.mean(1).argmax()] for scores, right in pairs]),
            "Those are numbers of images; divide by how many there are.":
                torch.tensor([float(t.sum()) for t in taken]),
        }  # fmt: skip
        close([chosen(*pair)[0] for pair in pairs], best, 1e-6, mistakes)
    with task.check("a start at random", "Whoever chooses blindly gets the average of all starts."):
        mistakes = {
            "That is what those get who know the ends.": ceiling,
            "That is the first start alone; average over all of them, which is steadier.": each([r[0] for r in rights]),
        }
        close([chosen(*pair)[1] for pair in pairs], chance, 1e-6, mistakes)
    with task.check("the ceiling", "No choice helps an image none of whose starts ends right."):
        mistakes = {
            "That would hold if an image's starts had nothing to do with each other; count instead.": torch.stack(
                [1 - (1 - c) ** len(r) for c, r in zip(chance, rights)]
            ),
            "An image is lost only if all of its starts end wrong.": each([right.all(0) for _, right in pairs]),
        }
        close([chosen(*pair)[2] for pair in pairs], ceiling, 1e-6, mistakes)


@exercise("decides-calls", points=3, minutes=15)
def decides_calls(task: Task, calls: Answer) -> None:
    """Up to the first call that finds the guide sure, that call too; all of them if none does."""

    def ask(steps: int, n: int, high: float) -> None:
        p = torch.rand(steps, n, generator=task.random, dtype=torch.float64) * high
        sure = task.uniform(0.6, 0.8)
        under = p < sure
        before = under.double().cumprod(0).sum(0)  # calls that found it open, one after the other
        right = (before + 1).clamp(max=steps)
        mistakes = {
            "Once it has stopped it does not begin again: later doubts are never heard.": (
                under.double().sum(0) + 1
            ).clamp(max=steps),
            "Those are the calls that found the guide in doubt; who stops has asked once more to learn it.": before,
            "There are no more calls than steps.": before + 1,
            "Those are the calls that were saved.": steps - right,
            "That is a share of the steps, not a number of calls.": right / steps,
            "One number for each image.": right.mean().expand(n),
            "An image is done when the guide is sure of it, not when it is in doubt.": (
                (~under).double().cumprod(0).sum(0) + 1
            ).clamp(max=steps),
        }
        close(calls(p, sure), right, 1e-6, mistakes)

    with task.check("certain in the end", "Count until the guide is sure for the first time, and that call too."):
        ask(task.integer(8, 12), 40, 1.0)
    with task.check("some never certain", "Whom the guide is never sure of is asked about at every step."):
        ask(task.integer(4, 6), 40, 0.9)
