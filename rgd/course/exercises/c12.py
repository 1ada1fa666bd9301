"""Chapter 12: guided sampling."""

from __future__ import annotations

import torch
from torch import Tensor

from rgd.attacks import lengths, unit
from rgd.course import worlds
from rgd.course.task import Answer, Task, close, exercise
from rgd.guidance import guide
from rgd.schedule import Schedule, per_image


@exercise("sampling-forms", points=2, minutes=10)
def sampling_forms(task: Task, harder: Answer) -> None:
    """beta / sqrt(alpha), over the posterior variance."""

    def ask(steps: Schedule) -> None:
        now, before = steps.alpha_bar[1:], steps.alpha_bar_prev[1:]
        right = (steps.beta / (1 - steps.beta).sqrt() / steps.posterior_variance)[1:]
        mistakes = {
            "That is the mean form pushing harder than the score form: turn it over.": 1 / right,
            "That is the factor with the upper bound; asked for is the lower one.": (1 - steps.beta[1:]) ** -0.5,
            "The score form's shift has a root of alpha_t below it.": steps.beta[1:] / steps.posterior_variance[1:],
            "The root of alpha_t divides; it is not a factor.": right * (1 - steps.beta[1:]),
            "alpha_t itself was taken; the score form's shift has its root.": right / (1 - steps.beta[1:]).sqrt(),
            "That is the lower bound's share of beta_t, and alpha_t is still to be put in.":
                steps.posterior_variance[1:] / steps.beta[1:],
        }  # fmt: skip
        close(harder(now, before), right, 1e-7, mistakes)

    hint = "Put beta_t = 1 - alpha_t and alpha_t = alpha_bar_t / alpha_bar_{t-1} into both shifts of the mean."
    with task.check("few steps", hint):
        ask(worlds.schedule(task).respace(task.integer(5, 40)))
    with task.check("neighbours among many steps", hint):
        schedule = worlds.schedule(task)
        start = task.integer(100, schedule.T - 100)
        ask(Schedule(schedule.alpha_bar[start : start + 50]))


@exercise("sampling-push", points=4, minutes=25)
def sampling_push(task: Task, normalised: Answer) -> None:
    """sqrt(1 - alpha_bar) g is as long as r eps."""

    def ask(shape: tuple[int, ...], n: int) -> None:
        world = worlds.world(task, shape=shape)
        x0, y, t, eps = worlds.points(task, world, n)
        xt, r = world.schedule.q_sample(x0, t, eps), task.uniform(0.03, 0.6)
        push, said = world.grad_log_prob(xt, t, y), world(xt, t).eps
        sigma, own = world.schedule.at("sigma", t, xt), per_image(lengths(said), xt)
        given = normalised(world, world.grad_log_prob, r)(xt, t, y)
        right = r * own * unit(push)  # by which eps is moved, but for its sign
        mistakes = {
            "Guidance multiplies the gradient by the root of 1 - alpha_bar: its length must make up for that.":
                right * sigma,
            "It is the root of 1 - alpha_bar that guidance multiplies by.": right / sigma,
            "The push is to be lengthened where guidance shortens it, not the other way.": right * sigma**2,
            "The share is of the length of eps.": r * unit(push),
            "Divide `push` by its own length first.": r * own * push,
            "The gradient goes towards the class; guidance turns its sign by itself.": -right,
            "The share is `r`, whatever it is.": own * unit(push),
            "Each image has lengths of its own; those are of the whole batch.":
                r * said.norm() / push.norm() * push,
            "Each image has its own level: that is the noise of the first one.": right * sigma / sigma[0],
            "The share is of the length of eps, not of xt.": r * per_image(lengths(xt), xt) * unit(push),
            "Take the length of what `denoise` says without being told the class.":
                r * per_image(lengths(world(xt, t, y).eps), xt) * unit(push),
            "That is the direction of eps; asked for is the one of `push`.": r * said,
        }  # fmt: skip
        close(sigma * given, right, 1e-3, mistakes)

    with task.check("points in the plane", "By how much is eps moved if the gradient has length 1? And r times what?"):
        ask((1, 1, 2), 7)
    with task.check("images of three channels", "A length is one number for each image, over all of its entries."):
        ask((3, 2, 4), 5)
    with task.check(
        "where `push` is zero", "Where `push` has no direction, the gradient is zero: 0 / 0 is not a number."
    ):
        world = worlds.world(task)
        x0, y, t, eps = worlds.points(task, world, 4)
        t = t // 2 * 2 + torch.tensor([1, 0, 1, 0])
        xt = world.schedule.q_sample(x0, t, eps)

        def silent(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
            return per_image(t % 2, xt) * world.grad_log_prob(xt, t, y)

        right = 0.2 * per_image(lengths(world(xt, t).eps), xt) * unit(silent(xt, t, y))
        close(world.schedule.at("sigma", t, xt) * normalised(world, silent, 0.2)(xt, t, y), right, 1e-3)


@exercise("sampling-schedule", points=2, minutes=15)
def sampling_schedule(task: Task, scheduled: Answer) -> None:
    """Image by image, `push` times scale_of(t)."""

    def ask(shape: tuple[int, ...], n: int) -> None:
        world = worlds.world(task, shape=shape)
        x0, y, t, eps = worlds.points(task, world, n)
        xt, rate = world.schedule.q_sample(x0, t, eps), task.uniform(0.002, 0.01)

        def scale_of(t: Tensor) -> Tensor:
            return 0.5 + (rate * t.double()).sin().square() * 4

        push, scale = world.grad_log_prob(xt, t, y), scale_of(t)
        mistakes = {
            "Each image has a scale of its own; that is the mean over the batch.": scale.mean() * push,
            "Each image has a scale of its own; that is the first one's.": scale[0] * push,
            "That is the scale one step earlier: ask for it at t.": per_image(scale_of(t - 1), xt) * push,
            "The scale multiplies `push` once.": per_image(scale, xt) ** 2 * push,
            "The scale multiplies `push`; it is not added.": per_image(scale, xt) + push,
            "That is `push` itself.": push,
        }
        if n == shape[-1]:
            along = "PyTorch has laid the scales along the columns: reshape them to (-1, 1, 1, 1)."
            mistakes[along] = scale * push
        close(scheduled(world.grad_log_prob, scale_of)(xt, t, y), per_image(scale, xt) * push, 1e-5, mistakes)

    with task.check("each image at its own level", "`scale_of(t)` is one number for each image, and scales all of it."):
        ask((1, 2, 3), 5)
    with task.check("as many images as columns", "Which dimension do the scales belong to? The first, of images."):
        ask((3, 2, 4), 4)
    with task.check("on in a stretch, and off elsewhere", "With a scale of 0 or 1 it should guide as `interval` does."):
        world = worlds.world(task)
        x0, y, t, eps = worlds.points(task, world, 30)
        xt, low = world.schedule.q_sample(x0, t, eps), world.schedule.T // 4
        high = low + task.integer(50, world.schedule.T // 2)
        mine = scheduled(world.grad_log_prob, lambda t: ((t >= low) & (t < high)).float())
        wanted = guide(world, world.grad_log_prob, 3.0, interval=(low, high))(xt, t, y).eps
        close(guide(world, mine, 3.0)(xt, t, y).eps, wanted, 1e-5)


@exercise("sampling-noise", points=3, minutes=15)
def sampling_noise(task: Task, both_fail: Answer) -> None:
    """The mean of the products, and the product of the means."""
    pairs = []
    for n in (task.integer(30, 60), task.integer(70, 120)):
        hard = task.normal(n)  # the noise that both guides share
        pairs.append((hard + task.normal(n) > task.uniform(0.2, 0.5), hard + task.normal(n) > task.uniform(0.6, 1.0)))
    first, second = (torch.stack([fails[k].double().mean() for fails in pairs]) for k in (0, 1))
    joint = torch.stack([(a & b).double().mean() for a, b in pairs])
    alone = first * second
    counts = torch.tensor([float(len(a)) for a, _ in pairs])
    either = first + second - joint
    with task.check("the share in which both fail", "Count the images in which the first fails and the second fails."):
        mistakes = {
            "Those are numbers of images; divide by how many there are.": joint * counts,
            "That is the share in which one or the other fails.": either,
            "That is the share among those in which the first fails; take it among all images.": joint / first,
            "That is the share among those in which one or the other fails; take it among all images.": joint / either,
            "That is the share in which both succeed: true means that a guide fails.": 1 - either,
            "That is what independent failures would give.": alone,
        }
        close([both_fail(*fails)[0] for fails in pairs], joint, 1e-5, mistakes)
    with task.check("the share that is to be expected", "Of independent events the probabilities multiply."):
        mistakes = {
            "That is the share in which both fail: it comes first.": joint,
            "The guides fail with two probabilities, each with its own.": first**2,
            "That is how often the second fails, if it knows nothing of the first; both have to.": second,
            "Those are numbers of images; take shares before you multiply.": alone * counts,
            "Of both, not of one or the other.": first + second - alone,
        }
        close([both_fail(*fails)[1] for fails in pairs], alone, 1e-5, mistakes)
