"""Adversarial attacks on a time-dependent classifier: a small change of xt that the classifier takes for another class.

The threat model is an object (which changes are allowed, and which direction is steepest); the attack is a loop over
it. Both act on xt, after noising, which is unbounded: nothing is cut to the pixel range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from rgd.errors import require
from rgd.modes import evaluating
from rgd.schedule import Schedule, per_image

Classifier = Callable[[Tensor, Tensor], Tensor]
"""(xt (B, C, H, W), t (B,)) -> logits (B, K)."""
Attack = Callable[[Classifier, Tensor, Tensor, Tensor, Generator], Tensor]
"""(classifier, xt, t, y, generator) -> the attacked xt: a `PGD`, or any function of that form."""
Radius = float | Callable[[Tensor], Tensor]
"""In units of pixels in [-1, 1] (half as much in [0, 1]); or a function of t (B,) giving (B,)."""


class Threat(Protocol):
    """A norm ball around xt; the methods speak of the unit ball."""

    @property
    def radius(self) -> Radius:
        """What the unit ball is scaled by."""

    def direction(self, gradient: Tensor) -> Tensor:
        """The unit step of steepest ascent; zero where the gradient is zero."""

    def project(self, u: Tensor) -> Tensor:
        """The nearest point of the unit ball."""

    def random(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """A random point of the unit ball."""


def _leveled(g: Tensor) -> tuple[Tensor, Tensor]:
    """Each image as a row whose largest component is 1, (B, D), and what that was, (B, 1).

    A confident classifier's gradient may be 1e-25 long: float32 takes the squares of its components for 0.
    """
    rows = g.flatten(1)
    largest = rows.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(g.dtype).tiny)
    return rows / largest, largest


def lengths(g: Tensor) -> Tensor:
    """||g||_2 of each image, (B,), however small or large."""
    rows, largest = _leveled(g)
    return largest[:, 0] * rows.norm(dim=1)


def unit(g: Tensor) -> Tensor:
    """g / ||g||_2, image by image, however small or large; zero where g is. Shape of g."""
    rows, _ = _leveled(g)
    return (rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(g.dtype).tiny)).reshape(g.shape)


def log_prob(logits: Tensor, y: Tensor) -> Tensor:
    """log p(y) of logits (B, K), (B,), at least in float32, with a gradient that a sure classifier does not lose.

    log sigmoid(odds of y against all else) has the derivative sigmoid(-odds), where a softmax has 1 - p(y), which
    float32 rounds to 0 from odds of 16 on: y's own part of the gradient would be gone.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    others = logits.scatter(1, y[:, None], -math.inf).logsumexp(dim=1)
    return F.logsigmoid(logits.gather(1, y[:, None])[:, 0] - others)


@dataclass(frozen=True)
class NoiseRadius:
    """A radius that changes with the noise: clean + (noisy - clean) sqrt(1 - alpha_bar_t), in [-1, 1] units.

    The paper's is constant: against the noise large near t = 0 and tiny elsewhere, against the image the reverse.
    """

    schedule: Schedule
    clean: float
    noisy: float

    def __call__(self, t: Tensor) -> Tensor:
        return self.clean + (self.noisy - self.clean) * self.schedule.at("sigma", t, t.float())


@dataclass(frozen=True)
class _Ball:
    radius: Radius

    def __post_init__(self) -> None:
        fits = callable(self.radius) or 0 <= self.radius < math.inf
        require(fits, "radius", self.radius, "finite, zero or more, in units of pixels in [-1, 1]")


@dataclass(frozen=True)
class L2(_Ball):
    """||delta||_2 <= radius. The paper's 0.5 is 0.25 in [0, 1] units. ValueError for a radius that is none."""

    def direction(self, gradient: Tensor) -> Tensor:
        """g / ||g||."""
        return unit(gradient)

    def project(self, u: Tensor) -> Tensor:
        """u / max(1, ||u||)."""
        return u / per_image(lengths(u), u).clamp_min(1)

    def random(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Uniform in the ball: a uniform direction, and a length whose D-th power is uniform."""
        direction = unit(torch.randn(shape, generator=generator, device=generator.device))
        length = torch.rand(shape[0], generator=generator, device=generator.device)
        return direction * per_image(length ** (1 / math.prod(shape[1:])), direction)


@dataclass(frozen=True)
class Linf(_Ball):
    """No entry of delta above the radius: 16/255 here is the usual 8/255 in [0, 1] units. ValueError as for `L2`."""

    def direction(self, gradient: Tensor) -> Tensor:
        """The sign of each component."""
        return gradient.sign()

    def project(self, u: Tensor) -> Tensor:
        """Each component cut to [-1, 1]."""
        return u.clamp(-1, 1)

    def random(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Uniform in the cube."""
        return 2 * torch.rand(shape, generator=generator, device=generator.device) - 1


def radii(threat: Threat, xt: Tensor, t: Tensor) -> Tensor:
    """A threat's radius at each time, in the type of xt and shaped to multiply it."""
    radius = threat.radius
    return per_image(radius(t), xt).to(xt) if callable(radius) else torch.full((), radius).to(xt)


@dataclass(frozen=True)
class AttackStep:
    """The attacked images (B, C, H, W) after a step, and which of them it was allowed to move, bool (B,).

    At the first step, with early stop and without random start, these are the ones classified correctly as they are.
    """

    xt: Tensor
    active: Tensor


@dataclass(frozen=True)
class PGD:
    """Projected gradient ascent on the cross-entropy, within a threat model (Madry et al. 2018).

    Attributes:
        threat: `L2(radius)`, `Linf(radius)`, or your own.
        steps: K. Each costs one forward and one backward pass.
        step: step length as a fraction of the radius; None for 2.5 / K (the paper's for CIFAR-10; it uses 1/6 on
            ImageNet).
        random_start: begin at a random point of the ball; the call then needs a generator, and steps.
        early_stop: a sample stops moving once it is misclassified; one that is wrong from the start never moves.
            This is the paper's choice: without it, what is unrecognisable in the noise would be pushed further.

    Raises ValueError for steps < 0, or a step that is not positive and finite.
    """

    threat: Threat
    steps: int = 7
    step: float | None = None
    random_start: bool = False
    early_stop: bool = True

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"an attack takes zero or more steps, not {self.steps}")
        require(self.step is None or 0 < self.step < math.inf, "step", self.step, "a positive fraction of the radius")

    def iterate(
        self, classifier: Classifier, xt: Tensor, t: Tensor, y: Tensor, generator: Generator | None = None
    ) -> Iterator[AttackStep]:
        """The attack, step by step; on the CPU it ends when no image may move any more.

        There only the images that may still move are computed. A GPU computes them all and masks, because asking how
        many are left would stop it at every step.
        """
        scale = radii(self.threat, xt, t)
        length = 2.5 / max(self.steps, 1) if self.step is None else self.step
        u, moving = torch.zeros_like(xt), torch.ones(len(xt), dtype=torch.bool, device=xt.device)
        if self.random_start:
            if generator is None:
                raise ValueError("an attack with a random start needs a generator")
            if self.early_stop:
                with torch.no_grad(), evaluating(classifier):
                    moving = classifier(xt, t).argmax(1) == y
            u = self.threat.random(tuple(xt.shape), generator).to(xt) * per_image(moving, xt)
        compact = xt.device.type == "cpu"
        for _ in range(self.steps):
            if compact and not moving.any():
                return
            rows = moving.nonzero()[:, 0] if compact else slice(None)
            correct, gradient = _ascent(classifier, (xt + scale * u)[rows], t[rows], y[rows])
            moving = moving.clone()
            if self.early_stop:
                moving[rows] &= correct
            moved = self.threat.project(u[rows] + length * self.threat.direction(gradient))
            u[rows] = torch.where(per_image(moving[rows], moved), moved, u[rows])
            yield AttackStep(xt + scale * u, moving)

    def __call__(
        self, classifier: Classifier, xt: Tensor, t: Tensor, y: Tensor, generator: Generator | None = None
    ) -> Tensor:
        """The attacked xt, detached, of images (B, C, H, W) at times (B,) with true labels (B,).

        A network is asked in evaluation mode, and nothing of it is changed.
        """
        attacked = xt.detach()
        if self.steps == 0 and self.random_start:
            raise ValueError("a random start without steps is no attack: give steps >= 1")
        for state in self.iterate(classifier, attacked, t, y, generator):
            attacked = state.xt
        return attacked


def _ascent(classifier: Classifier, xt: Tensor, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Which samples are classified correctly, and a gradient along which their cross-entropy grows."""
    with torch.enable_grad(), evaluating(classifier):
        xt = xt.detach().requires_grad_()
        logits = classifier(xt, t)
        # Only its direction is used: a power of two keeps small gradients above float16's least number.
        loss = -1024 * log_prob(logits, y).sum()
        (gradient,) = torch.autograd.grad(loss, xt)
    return logits.argmax(1) == y, gradient


def pgd(
    classifier: Classifier, xt: Tensor, t: Tensor, y: Tensor, threat: Threat, steps: int = 7,
    step: float | None = None, generator: Generator | None = None, early_stop: bool = True,
) -> Tensor:  # fmt: skip
    """`PGD` as one call; it starts at random if and only if a generator is given. Returns the attacked xt."""
    attack = PGD(threat, steps, step, random_start=generator is not None, early_stop=early_stop)
    return attack(classifier, xt, t, y, generator)


def fgsm(
    classifier: Classifier, xt: Tensor, t: Tensor, y: Tensor, threat: Threat, generator: Generator | None = None
) -> Tensor:
    """One step (Goodfellow et al. 2015): of the full radius from xt, or of 1.25 radii from a random start
    (Wong et al. 2020) if a generator is given."""
    step = 1.0 if generator is None else 1.25
    return pgd(classifier, xt, t, y, threat, 1, step, generator, early_stop=False)
