"""Chapter 22: fewer steps, fewer bits."""

from __future__ import annotations

import torch
from torch import Tensor

from rgd.course import worlds
from rgd.course.task import Answer, Task, close, exercise


@exercise("fewer-front", points=2, minutes=15)
def fewer_front(task: Task, front: Answer) -> None:
    """Nothing else is at least as good in both and better in one."""

    def beaten(seconds: Tensor, distance: Tensor) -> Tensor:
        no_worse = (seconds[:, None] <= seconds) & (distance[:, None] <= distance)
        return (no_worse & ((seconds[:, None] < seconds) | (distance[:, None] < distance))).any(0)

    def ask(seconds: Tensor, distance: Tensor) -> None:
        right = ~beaten(seconds, distance)
        mistakes = {
            "Those are the ways that are beaten.": ~right,
            "A way is beaten by one that is better in both; also by one that is equal in one and better in the other.":
                ~((seconds[:, None] < seconds) & (distance[:, None] < distance)).any(0),
            "That is the cheapest way alone, and the best.": (seconds == seconds.min()) | (distance == distance.min()),
            "A way does not beat itself, nor its twin.":
                ~((seconds[:, None] <= seconds) & (distance[:, None] <= distance)).fill_diagonal_(False).any(0),
            "Both are prices: less is better.": ~beaten(-seconds, -distance),
            "Both are prices: a smaller distance is better.": ~beaten(seconds, -distance),
        }  # fmt: skip
        close(front(seconds, distance).double(), right.double(), 1e-6, {k: v.double() for k, v in mistakes.items()})

    # About a falling line, so that many are beaten and several are not.
    with task.check("all different", "For each way ask whether any other one beats it."):
        seconds, more = torch.rand(2, 14, generator=task.random, dtype=torch.float64)
        ask(seconds, 1.2 - seconds + 0.5 * more)
    with task.check("equal in one", "At equal seconds the nearer way wins."):
        seconds = torch.arange(24) % 6 + 1.0
        ask(seconds, 8 - seconds + torch.randint(4, (24,), generator=task.random))


@exercise("fewer-velocity", points=3, minutes=20)
def fewer_velocity(task: Task, guided: Answer) -> None:
    """v - scale u / (1 - u) g, with the gradient at the point of the straight path."""
    world = worlds.world(task, shape=(1, 2, 2))
    x0, y, t, eps = worlds.points(task, world, 6)
    u = 0.1 + 0.8 * torch.rand(6, generator=task.random, dtype=x0.dtype).reshape(-1, 1, 1, 1)
    xt, scale = world.schedule.q_sample(x0, t, eps), task.uniform(1.5, 3)
    g, v = world.grad_log_prob(xt, t, y), eps - x0
    right = v - scale * u / (1 - u) * g
    mistakes = {
        "Guidance lowers the noise: mind the sign.": v + scale * u / (1 - u) * g,
        "That moves eps; how much does the velocity move with it, where x itself stays?": v - scale * u * g,
        "That moves x0; the noise moves too, as x stays where it is.": v - scale * u**2 / (1 - u) * g,
        "u is the share of the noise, 1 - u that of the image: they are the wrong way round.":
            v - scale * (1 - u) / u * g,
        "The scale is missing.": v - u / (1 - u) * g,
        "That is the score of the noise, with a root: on the straight path sigma is u.":
            v - scale * u.sqrt() / (1 - u) * g,
    }  # fmt: skip
    with task.check("the guided velocity", "Move eps by -scale u g at the same x: what are x0, and eps - x0, then?"):
        close(guided(v, g, u, scale), right, 1e-6, mistakes)
    with task.check("scale zero", "Without guidance the velocity stays what it was."):
        close(guided(v, g, u, 0.0), v, 1e-6, {})


@exercise("fewer-channels", points=3, minutes=20)
def fewer_channels(task: Task, rounded: Answer) -> None:
    """Each output channel by its own largest weight."""

    def to_grid(weight: Tensor, most: Tensor, bits: int) -> Tensor:
        step = most / (2 ** (bits - 1) - 1)
        return (weight / step).round() * step

    def ask(weight: Tensor, bits: int) -> None:
        shape = [-1, *[1] * (weight.ndim - 1)]
        own = weight.abs().flatten(1).amax(1).reshape(shape)
        second = weight.abs().transpose(0, 1).flatten(1).amax(1).reshape([1, -1, *[1] * (weight.ndim - 2)])
        mistakes = {
            "That is one range for all: a channel of small weights is lost.": to_grid(weight, weight.abs().max(), bits),
            "The output channels are the first dimension, not the second.": to_grid(weight, second, bits),
            "The largest weight by its absolute value: it may be negative.":
                to_grid(weight, weight.flatten(1).amax(1).reshape(shape), bits),
            "Half of the 2^bits whole numbers are negative: the largest is 2^(bits - 1) - 1.":
                to_grid(weight, own, bits + 1),
            "One less than 2^(bits - 1), so that both ends are alike and zero is among the numbers.":
                (weight / (own / 2 ** (bits - 1))).round() * own / 2 ** (bits - 1),
            "Those are the whole numbers; multiply them by the step again.":
                (weight / (own / (2 ** (bits - 1) - 1))).round(),
            "Round to the nearest, not down.":
                (weight / (own / (2 ** (bits - 1) - 1))).floor() * own / (2 ** (bits - 1) - 1),
        }  # fmt: skip
        close(rounded(weight, bits), to_grid(weight, own, bits), 1e-6, mistakes)

    spread = 10 ** torch.linspace(-2, 0, 6, dtype=torch.float64)
    with task.check("a convolution", "A channel's step is its largest weight over the largest whole number."):
        ask(task.normal(6, 4, 3, 3) * spread.reshape(-1, 1, 1, 1), 8)
    with task.check("a linear layer of four bits", "The same for any number of dimensions, and of bits."):
        ask(task.normal(6, 9) * spread.reshape(-1, 1), 4)
