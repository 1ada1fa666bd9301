"""Chapter 4: when classifiers lie."""

from __future__ import annotations

import torch

from rgd.course import worlds
from rgd.course.task import Answer, Task, close, exercise, must, ratios
from rgd.guidance import grad_log_prob


@exercise("lie-ripple", points=2, minutes=10)
def lie_ripple(task: Task, slope_of_ripple: Answer, speed_needed: Answer) -> None:
    """The gradient of a sin(omega u x) is a omega u cos(omega u x)."""
    with task.check("slope of a ripple", "Differentiate, and average the square of what you get over many points."):
        given = [(task.uniform(0.001, 0.1), task.uniform(50, 500)) for _ in range(3)]
        largest = "That is the largest length that the gradient has; asked for is its root mean square."
        root = "The mean of a squared cosine is one half; its root is still to be taken."
        value = "That is the root mean square of the values; asked for is that of the gradient."
        mistakes = {largest: 2**0.5, root: 2**-0.5, value: [1 / omega for _, omega in given]}
        ratios(slope_of_ripple, given, [a * omega / 2**0.5 for a, omega in given], mistakes)
    with task.check("speed that is needed", "Set the first answer equal to ten times g, and solve for omega."):
        given = [(task.uniform(0.0005, 0.01), task.uniform(0.5, 4)) for _ in range(3)]
        ten = "That makes the gradient of the ripple as large as g. It is to be ten times as large."
        mean = "A ripple of that speed has a gradient whose largest length is right; take its root mean square."
        ratios(speed_needed, given, [10 * g * 2**0.5 / a for a, g in given], {ten: 0.1, mean: 2**-0.5})


@exercise("lie-square", points=2, minutes=15)
def lie_square(task: Task, cosines: Answer) -> None:
    """In many dimensions independent directions are nearly orthogonal."""
    radii = [task.uniform(0.2, 0.9), task.uniform(1.1, 4.0)]
    with task.check(
        "an estimate and the truth", "How long is g + e, if they are orthogonal? What is its product with g?"
    ):
        line = "Orthogonal lengths add by their squares."
        long = "That is one over the squared length of g + e; the cosine has the length itself."
        mistakes = {line: [1 / (1 + r) for r in radii], long: [1 / (1 + r**2) for r in radii]}
        close([cosines(r)[0] for r in radii], [(1 + r**2) ** -0.5 for r in radii], 0.01, mistakes)
    with task.check("two estimates", "Their product is about that of g with itself; divide it by both lengths."):
        same = "That is the cosine to the truth. Two estimates are each as far from it, in directions of their own."
        none = "Their errors are orthogonal, but they have g in common."
        mistakes = {same: [(1 + r**2) ** -0.5 for r in radii], none: [0, 0]}
        close([cosines(r)[1] for r in radii], [1 / (1 + r**2) for r in radii], 0.01, mistakes)


@exercise("lie-dlsm", points=4, minutes=25)
def lie_dlsm(task: Task, slope_loss: Answer) -> None:
    """Denoising likelihood score matching, Chao et al. 2022."""
    world = worlds.world(task)
    network, schedule = worlds.classifier(task, 2, 3), world.schedule
    x0, y, t, eps = worlds.points(task, world, 40)

    def parts(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        xt = schedule.q_sample(x0, t, eps)
        return schedule.at("sigma", t, xt), grad_log_prob(network)(xt, t, y), world(xt, t).eps - eps

    with task.check("the loss at one level", "The loss is the mean square of what stands in the text."):
        level = t[:1].expand(len(t))
        given = slope_loss(network, world, schedule, x0, y, level, eps)
        sigma, slope, wanted = parts(level)
        mistakes = {
            "Is the sign right? The gradient should be near the difference, not near its opposite.": (
                sigma * slope + wanted
            ),
            "The gradient is multiplied by the standard deviation of the noise.": slope - wanted,
            "The gradient is multiplied by sigma, the root of 1 - alpha_bar, not by its square.": sigma**2 * slope
            - wanted,
        }
        said = {hint: apart.square().mean() for hint, apart in mistakes.items()}
        total, rows = "Average over examples and entries; that is the sum.", "Average over the entries too."
        right = (sigma * slope - wanted).square()
        close(given, right.mean(), 1e-4, {**said, total: right.sum(), rows: right.sum() / len(right)})
    with task.check("each example at its own level", "Every example has its own t, and its own sigma."):
        given = slope_loss(network, world, schedule, x0, y, t, eps)
        sigma, slope, wanted = parts(t)
        close(given, (sigma * slope - wanted).square().mean(), 1e-4)
    with task.check("a gradient reaches the weights", "The slope must itself be differentiable: create_graph=True."):
        given = slope_loss(network, world, schedule, x0, y, t, eps)
        must(isinstance(given, torch.Tensor) and given.requires_grad)
        found = torch.autograd.grad(given, list(network.parameters()), allow_unused=True, retain_graph=True)
        xt = schedule.q_sample(x0, t, eps).requires_grad_()
        log_prob = network(xt, t).log_softmax(1).gather(1, y[:, None]).sum()
        slope = torch.autograd.grad(log_prob, xt, create_graph=True)[0]
        loss = (schedule.at("sigma", t, xt) * slope - (world(xt.detach(), t).eps - eps)).square().mean()
        for mine, one in zip(found, torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)):
            must((mine is None) == (one is None))
            if one is not None:
                close(mine, one, 1e-3)
    with task.check("it is least for the truth", "For the exact classifier no other gradient should do better."):
        exact = slope_loss(world.classifier, world, schedule, x0, y, t, eps)
        sigma, _, wanted = parts(t)
        xt = schedule.q_sample(x0, t, eps)
        close(exact, (sigma * world.grad_log_prob(xt, t, y) - wanted).square().mean(), 1e-3)
