"""What five works make of a guide where the starting noise decides: the core idea of each, as chapter 21 shows it.

All take the calls of the library: a denoiser, a classifier (xt, t) -> logits, or a gradient (xt, t, y) -> g.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from rgd.attacks import Classifier, lengths, log_prob, unit
from rgd.denoiser import Denoiser, NetworkDenoiser, Prediction
from rgd.guidance import Gradient, guide
from rgd.methods.gradients import logits_and_gradient
from rgd.randomness import generator, noise
from rgd.samplers import SampleStep, ddim
from rgd.schedule import per_image


def last(steps: Iterator[SampleStep]) -> Tensor:
    """The images (B, C, H, W) at which a sampler ends, in [-1, 1]."""
    *_, step = steps
    return step.x.clamp(-1, 1)


def turned(x: Tensor) -> Tensor:
    """Images (B, C, H, W) upside down: turned by half a turn."""
    return x.flip(-2, -1)


def flipped(x: Tensor) -> Tensor:
    """Images (B, C, H, W) in a mirror that lies on the ground."""
    return x.flip(-2)


def anagram(gradient: Gradient, view: Callable[[Tensor], Tensor], seen: int, by_norm: bool = False) -> Gradient:
    """Towards y, and towards the class `seen` in the image as `view` shows it (after Xu et al. 2024).

    `view` moves pixels and is its own inverse. With `by_norm` both parts are made equally long, their mean length.
    """

    def both(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        up = gradient(xt, t, y)
        down = view(gradient(view(xt), t, torch.full_like(y, seen)))
        if by_norm:
            length = per_image((lengths(up) + lengths(down)) / 2, xt)
            up, down = length * unit(up), length * unit(down)
        return up + down

    return both


def best_of(scores: Tensor, starts: Tensor) -> Tensor:
    """Of N starts for each image, (N, B, ...), those with the highest of the scores (N, B): (B, ...)."""
    return starts[scores.argmax(dim=0), torch.arange(scores.shape[1])]


@torch.no_grad()
def promise(classifier: Classifier, xT: Tensor, y: Tensor, T: int, denoise: Denoiser | None = None) -> Tensor:
    """log p(y), (B,), as a classifier has it of the noise xT at the time T - 1, or of x0_hat(xT) by a denoiser."""
    t = torch.full_like(y, T - 1)
    if denoise is None:
        return log_prob(classifier(xT, t), y)
    return log_prob(classifier(denoise(xT, t).x0, 0 * t), y)


@torch.no_grad()
def golden(denoise: Denoiser, gradient: Gradient, xT: Tensor, y: Tensor, scale: float, to: int) -> Tensor:
    """Golden noise (Zhou et al. 2024): a guided step of DDIM from xT down to the time `to`, and up again unguided."""
    schedule = denoise.schedule
    T, t = torch.full_like(y, schedule.T - 1), torch.full_like(y, to)
    down = guide(denoise, gradient, scale)(xT, T, y)
    up = denoise(schedule.q_sample(down.x0, t, down.eps), t)
    return schedule.q_sample(up.x0, T, up.eps)


def by_class(values: Tensor, y: Tensor, classes: int) -> Tensor:
    """The mean of values (B, C, H, W) in each class, (classes, C, H, W)."""
    return torch.stack([values[y == k].mean(dim=0) for k in range(classes)])


class Stopping:
    """A classifier's gradient that asks no more about an image once it was `sure`, p(y | xt) >= sure, of it; `asked`
    (B,) is how often it did, in the trajectory that began last."""

    asked: Any

    def __init__(self, classifier: Classifier, sure: float) -> None:
        self.classifier, self.sure = classifier, sure

    def begin(self) -> Stopping:
        """Samplers call it where a trajectory begins."""
        self.asked = None
        return self

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        if self.asked is None:
            self.open, self.asked = torch.ones_like(y).bool(), 0 * y
        g, now = torch.zeros_like(xt), self.open.nonzero()[:, 0]
        if len(now) > 0:
            logits, g[now] = logits_and_gradient(self.classifier, xt[now], t[now], y[now])
            self.open[now] = log_prob(logits, y[now]).exp() < self.sure
            self.asked[now] += 1
        return g


class Aligned:
    """Classifier-free guidance (Castillo et al. 2025) that asks no more without the label once the cosine of the two
    answers, of "eps" or "x0", was above `alike`; `asked` as for `Stopping`."""

    asked: Any

    def __init__(self, denoise: Denoiser, scale: float, alike: float, of: str = "eps") -> None:
        self.denoise, self.scale, self.alike, self.of = denoise, scale, alike, of
        self.schedule = denoise.schedule

    def begin(self) -> Aligned:
        """Samplers call it where a trajectory begins."""
        self.asked = None
        return self

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        assert y is not None
        if self.asked is None:
            self.open, self.asked = torch.ones_like(y).bool(), 0 * y
        now, strong = self.open.nonzero()[:, 0], self.denoise(xt, t, y)
        x0, eps = strong.x0.clone(), strong.eps.clone()
        if len(now) > 0:
            weak = self.denoise(xt[now], t[now])
            x0[now] += (self.scale - 1) * (strong.x0[now] - weak.x0)
            eps[now] += (self.scale - 1) * (strong.eps[now] - weak.eps)
            told, blind = getattr(strong, self.of)[now], getattr(weak, self.of)
            self.open[now] = F.cosine_similarity(told.flatten(1), blind.flatten(1)) < self.alike
            self.asked[now] += 1
        return replace(strong, x0=x0, eps=eps)


def experts(by_level: Sequence[tuple[int, Gradient]]) -> Gradient:
    """The gradient of the expert for the level: of those that begin at or below t, the one that begins last."""

    def gradient(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        *_, chosen = (g for first, g in by_level if first <= int(t[0]))
        return chosen(xt, t, y)

    return gradient


def speaking(denoise: Any, tokens: Tensor) -> NetworkDenoiser:
    """A conditional denoiser with other class tokens (classes, D) in place of its own; its null token stays."""
    null = denoise.network.label_emb.weight[len(tokens) :]
    weights = {"label_emb.weight": torch.cat([tokens, null])}

    def network(*args: Tensor) -> Tensor:
        return functional_call(denoise.network, weights, args)

    return replace(denoise, network=network)


def learn(
    denoise: NetworkDenoiser, classifier: Classifier, tokens: Tensor, shape: Sequence[int], rounds: int, seed: int,
    steps: int = 6, lr: float = 0.05,
) -> Tensor:  # fmt: skip
    """Discriminative class tokens (Schwartz et al. 2023), (classes, D), by a classifier of x0_hat and no image.

    Every round draws images, down to one of DDIM's first steps, where the class is decided; the gradient passes through
    the denoiser at that step alone.
    """
    tokens, random = tokens.detach().clone().requires_grad_(), generator(seed, "tokens")
    optimiser, times = torch.optim.Adam([tokens], lr), denoise.schedule.respace(steps).timesteps.flip(0)
    y = torch.arange(shape[0]) % len(tokens)
    for k in range(rounds):
        x = noise(shape, seed, first=k * shape[0])
        stop = int(torch.randint(steps // 2, (), generator=random))
        now = speaking(denoise, tokens.detach())
        for step in islice(ddim(now, x, y, steps=steps), stop):
            x = step.x
        own = speaking(replace(denoise, clip=False), tokens)
        x0 = own(x, torch.full_like(y, int(times[stop])), y).x0
        loss = F.cross_entropy(classifier(x0, 0 * y), y)
        (tokens.grad,) = torch.autograd.grad(loss, tokens)
        optimiser.step()
    return tokens.detach()
