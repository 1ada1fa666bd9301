"""Chapter 0: the idea in fifteen minutes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rgd.course import worlds
from rgd.course.task import Answer, Task, close, exercise
from rgd.guidance import guide, unconditional
from rgd.schedule import Schedule

Walks = tuple[Tensor, Tensor, Tensor]


def _walks(task: Task, n: int, classes: int, read: float) -> Walks:
    """Logits of the classifier and of a stranger who reads the target more often the larger `read` is; the target."""
    target = task.integers(0, classes, n)
    aim = F.one_hot(target, classes)
    itself = task.normal(n, classes) + 1.5 * aim
    itself[0] += 9 * aim[0]  # at least one walk convinces the classifier
    return itself, task.normal(n, classes) + read * aim, target


def _shares(itself: Tensor, stranger: Tensor, target: Tensor) -> dict[str, Tensor]:
    """What is asked for, under no words; and what mistakes give."""
    own, other = itself.argmax(1) == target, stranger.argmax(1) == target
    fooled = (own & ~other).double()
    doubt = 1 - stranger.softmax(1).gather(1, target[:, None])[:, 0]
    return {
        "": fooled[own].mean(),
        "That is a share of all walks; take it among those that convinced the classifier.": fooled.mean(),
        "That is the share that convinced the stranger too.": 1 - fooled[own].mean(),
        "The stranger may also read walks that did not convince the classifier: two shares, each of all walks, do not "
        "say how often the same walk convinced both.": own.double().mean() - other.double().mean(),
        "The two shares are not of the same walks: count walk by walk.": 1 - other.sum() / own.sum(),
        "That is how often the stranger is not convinced; take it among the walks that convinced the classifier.":
            (~other).double().mean(),
        "The classifier's own logits come first, and the stranger's second.": (other & ~own).sum() / other.sum(),
        "Divide by the number of walks that convinced the classifier.": fooled.sum() / (~other).sum(),
        "That is a number of walks; return a share.": fooled.sum(),
        "That is how often the two disagree; what counts here is the target.":
            (itself.argmax(1) != stranger.argmax(1)).double().mean(),
        "That is an average of probabilities; count walks.": doubt[own].mean(),
    }  # fmt: skip


@exercise("idea-dirt", points=2, minutes=10)
def idea_dirt(task: Task, dirt: Answer) -> None:
    """Of the walks that convinced the classifier, the share that did not convince the stranger."""

    def ask(given: list[Walks]) -> None:
        right, *mistakes = zip(*(_shares(*walks).items() for walks in given))
        shares = {several[0][0]: [value for _, value in several] for several in mistakes}
        close([dirt(*walks) for walks in given], [value for _, value in right], 1e-5, shares)

    hint = "Keep the walks that convinced the classifier. In how many of these does the stranger see another class?"
    with task.check("ten classes", hint):
        ask([_walks(task, task.integer(low, low + 30), 10, 1.0) for low in (50, 90)])
    with task.check("fewer classes", "The targets and the number of classes are those that are handed over."):
        ask([_walks(task, task.integer(40, 70), classes, 0.7) for classes in (3, task.integer(4, 8))])
    with task.check("strangers of one mind", "None of the walks convinces the first stranger, and all the second."):
        close([dirt(*_walks(task, 30, 5, read)) for read in (-99.0, 99.0)], [1, 0], 1e-5)


@exercise("idea-picture", points=3, minutes=15)
def idea_picture(task: Task, guided_picture: Answer) -> None:
    """s (1 - alpha_bar) / sqrt(alpha_bar) g, added to the clean image."""

    def ask(schedule: Schedule, x0_hat: Tensor, g: Tensor, s: float, t: Tensor, right: Tensor) -> None:
        signal, sigma = schedule.at("signal", t, g), schedule.at("sigma", t, g)
        push, factor = s * g, sigma.square() / signal
        before, flat = (schedule.alpha_bar[times] for times in (t - 1, t))
        earlier = ((1 - before) / before.sqrt()).reshape(-1, 1, 1, 1)
        mistakes = {
            "That is the picture without guidance.": x0_hat,
            "Guidance takes something from the noise. What does the clean image do, with the same xt?":
                x0_hat - factor * push,
            "Guidance has a root of 1 - alpha_bar, and so has the noise in the formula of xt.":
                x0_hat + sigma / signal * push,
            "The clean image has a factor in the formula of xt, by which you divide in the end.":
                x0_hat + sigma.square() * push,
            "That is the gradient, scaled and added. By what is the noise multiplied, and the clean image?":
                x0_hat + push,
            "That is what guidance adds to the noise; what does it do to the clean image?": x0_hat - sigma * push,
            "The clean image is multiplied by the root of alpha_bar, not by alpha_bar.":
                x0_hat + factor / signal * push,
            "That is by how far the picture moves; return the picture.": factor * push,
            "The scale is `s`, whatever it is.": x0_hat + factor * g,
            "Each image has its own level: that is the first one's.": x0_hat + factor[0] * push,
            "Each image has its own level; that is an average over the batch.": x0_hat + factor.mean() * push,
            "That is one level earlier than t.": x0_hat + earlier * push,
        }  # fmt: skip
        if len(t) == g.shape[-1]:
            along = "PyTorch has laid the levels along the columns: reshape them to (-1, 1, 1, 1)."
            mistakes[along] = x0_hat + (1 - flat) / flat.sqrt() * push
        close(guided_picture(x0_hat, g, s, t, schedule), right, 1e-4, mistakes)

    with task.check("a guided denoiser", "Write xt twice, with each noise and its clean image, and subtract."):
        world = worlds.world(task)
        x0, y, _, eps = worlds.points(task, world, 9)
        schedule, s = world.schedule, task.uniform(1.5, 6)
        t = task.integers(schedule.T // 20, schedule.T * 3 // 4, 9)
        xt = schedule.q_sample(x0, t, eps)
        guided = guide(unconditional(world), world.grad_log_prob, s)(xt, t, y)
        ask(schedule, world(xt, t).x0, world.grad_log_prob(xt, t, y), s, t, guided.x0)
    with task.check("images of three channels", "The level is one number for each image, and so is what g is times."):
        schedule, s = worlds.schedule(task), task.uniform(0.2, 0.8)
        xt, eps, g = (task.normal(4, 3, 2, 4, dtype=torch.float64) for _ in range(3))
        t = task.integers(schedule.T // 20, schedule.T * 3 // 4, 4)
        right = schedule.x0_from_eps(xt, t, eps - s * schedule.at("sigma", t, g) * g)
        ask(schedule, schedule.x0_from_eps(xt, t, eps), g, s, t, right)
