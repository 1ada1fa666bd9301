"""Ways to edit images x0 until a guide takes them for classes y: of each work its core idea, as chapter 20 shows it.

All return images of the shape of x0 (B, C, H, W). Where nothing else is said they go from x0 up to the time `start`,
and come back by 16 steps of DDIM under guidance by `gradient` towards y (B,) at a `scale`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rgd.denoiser import Denoiser, Prediction, Wrapper
from rgd.editing.inversion import friendly, invert, until
from rgd.guidance import Gradient, guide
from rgd.randomness import noise
from rgd.samplers import SampleStep, ddim, implicit
from rgd.schedule import Schedule, per_image

START, STEPS = 600, 16  # where edits begin, if nothing is said, and their steps
At = Callable[[Tensor, Tensor], Tensor]
"""Of two tensors, images and times t (B,), or t and classes y (B,) -> another: what is seen, or made of them."""


def last(steps: Iterator[SampleStep]) -> Tensor:
    """The images at which a sampler or an inversion ends."""
    *_, step = steps
    return step.x


def descend(denoise: Denoiser, x: Tensor, y: Tensor, change: At) -> Tensor:
    """DDIM, but every x on the way is replaced by `change(x, t)` at the time t that it has come to."""
    short = denoise.schedule.respace(STEPS)
    for i in reversed(range(short.T)):
        t = torch.full_like(y, int(short.timesteps[i]))
        x, _ = implicit(short, i, x, denoise(x, t, y), eta=0.0)
        if i:
            x = change(x, torch.full_like(y, int(short.timesteps[i - 1])))
    return x


def along(xt: Tensor, objective: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient at xt of the sum of what an objective says of each image."""
    with torch.enable_grad():
        x = xt.detach().requires_grad_()
        return torch.autograd.grad(objective(x).sum(), x)[0]


def lengths(v: Tensor) -> Tensor:
    """The L2 length of each image, shaped to multiply it; nowhere zero."""
    return per_image(v.flatten(1).norm(dim=1).clamp(min=1e-12), v)


def square(v: Tensor) -> Tensor:
    """The squared L2 length of each, (B,)."""
    return v.flatten(1).square().sum(dim=1)


@torch.no_grad()
def noised(denoise: Denoiser, gradient: Gradient, x0: Tensor, y: Tensor, scale: float, *, start: int = START) -> Tensor:
    """The naive way (SDEdit, Meng et al. 2022): add noise, and draw from there."""
    near = until(denoise, start)
    xt = near.schedule.q_sample(x0, torch.full_like(y, start), noise(x0.shape).to(x0))
    return last(ddim(guide(near, gradient, scale), xt, y, steps=STEPS))


@torch.no_grad()
def inverted(
    denoise: Denoiser, gradient: Gradient, x0: Tensor, y: Tensor, scale: float, *, start: int = START
) -> Tensor:
    """DDIM inversion: the noise of x0 itself, and back from there."""
    near = until(denoise, start)
    xt = last(invert(near, x0, steps=STEPS))
    return last(ddim(guide(near, gradient, scale), xt, y, steps=STEPS))


@torch.no_grad()
def befriended(
    denoise: Denoiser, gradient: Gradient, x0: Tensor, y: Tensor, scale: float, *, start: int = START
) -> Tensor:
    """Edit-friendly noise (Huberman-Spiegelglas et al., arXiv:2304.06140): that of every step, kept."""
    near = until(denoise, start)
    own = friendly(near, x0, steps=STEPS)
    guided = guide(near, gradient, scale)
    return last(ddim(guided, own.x, y, steps=STEPS, eta=1.0, noise=own)) + own.rest


@torch.no_grad()
def mixed(
    denoise: Denoiser, gradient: Gradient, x0: Tensor, y: Tensor, scale: float, *, start: int = START,
    stop: int = 200, nu: float = 0.7,
) -> Tensor:  # fmt: skip
    """MagicMix (Liew et al., arXiv:2210.16056): down to `stop`, the share 1 - nu of every x is x0, noised to its t."""
    near, eps = until(denoise, start), noise(x0.shape).to(x0)

    def mix(x: Tensor, t: Tensor) -> Tensor:
        layout = near.schedule.q_sample(x0, t, eps)
        return torch.lerp(layout, x, nu) if int(t[0]) >= stop else x

    xt = near.schedule.q_sample(x0, torch.full_like(y, start), eps)
    return descend(guide(near, gradient, scale), xt, y, mix)


def looked_at(gradient: Gradient, xt: Tensor, t: Tensor, y: Tensor, share: float = 0.4) -> Tensor:
    """Where a guide looks, a mask (B, 1, H, W): the share of pixels in whose 5 x 5 neighbourhood g is longest."""
    size = F.avg_pool2d(gradient(xt, t, y).abs().mean(dim=1, keepdim=True), 5, stride=1, padding=2)
    return (size >= per_image(size.flatten(1).quantile(1 - share, dim=1), size)).to(xt)


@torch.no_grad()
def masked(
    denoise: Denoiser, gradient: Gradient, x0: Tensor, y: Tensor, scale: float, *, start: int = START,
    share: float = 0.4,
) -> Tensor:  # fmt: skip
    """An explained mask (after Pathania, arXiv:2408.16232): where the guide does not look, x0 stays, noised to t."""
    near, eps = until(denoise, start), noise(x0.shape).to(x0)
    t = torch.full_like(y, start)
    xt = near.schedule.q_sample(x0, t, eps)
    mask = looked_at(gradient, xt, t, y, share)

    def paste(x: Tensor, t: Tensor) -> Tensor:
        return torch.lerp(near.schedule.q_sample(x0, t, eps), x, mask)

    x = descend(guide(near, gradient, scale), xt, y, paste)
    return torch.lerp(x0, x, mask)


@torch.no_grad()
def rescaled(
    denoise: Denoiser, gradient: Gradient, x0: Tensor, y: Tensor, scale: float, *, features: At, start: int = START,
    share: float = 0.7,
) -> Tensor:  # fmt: skip
    """Guide-and-Rescale (Titov et al., arXiv:2409.01322): also towards the features of the way up, by a step that is
    always the share of the guide's own."""
    near = until(denoise, start)
    way = {step.t: step.x for step in invert(near, x0, steps=STEPS)}

    def both(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        g, wanted = gradient(xt, t, y), features(way[int(t[0])], t)
        back = along(xt, lambda x: -square(features(x, t) - wanted))
        return g + share * lengths(g) / lengths(back) * back

    return last(ddim(guide(near, both, scale), way[start], y, steps=STEPS))


@torch.no_grad()
def between(near: Denoiser, x0: Tensor, other: Tensor, angle: float, *, correct: bool, most: float = 2.0) -> Tensor:
    """Noise between that of x0 and of others, both inverted, at an angle of 0 to 1: spherically, or corrected
    (NoiseDiffusion, Zheng et al., arXiv:2403.08840): cut to [-most, most], and with 1.2 of the images mixed in."""
    a, b = (last(invert(near, image, steps=STEPS)) for image in (x0, other))
    cos, sin = math.cos(angle * math.pi / 2), math.sin(angle * math.pi / 2)
    if not correct:
        return cos * a + sin * b
    mu, nu = (1.2 * part / (cos + sin) for part in (cos, sin))
    images = float(near.schedule.signal[-1]) * ((mu - cos) * x0 + (nu - sin) * other)
    return (cos * a.clamp(-most, most) + sin * b.clamp(-most, most) + images).clamp(-most, most)


def bottleneck(network: Any, depth: float = 1.0) -> At:
    """What a U-Net sees at the bottom, (x, t) -> h (B, C, h, w), or after that share of the way down to it."""

    def seen(x: Tensor, t: Tensor) -> Tensor:
        outputs = list(network.encode(x, network.embed(t)))
        return outputs[int(depth * (len(outputs) - 1))]

    return seen


@torch.no_grad()
def class_means(h: At, schedule: Schedule, x0: Tensor, labels: Tensor, classes: int) -> dict[int, Tensor]:
    """By time, the mean of h in images of each class, noised: (classes, C, h, w)."""
    found = {}
    for t in schedule.timesteps.tolist():
        at = torch.full_like(labels, t)
        seen = h(schedule.q_sample(x0, at, noise(x0.shape, seed=t).to(x0)), at)
        found[t] = torch.stack([seen[labels == k].mean(dim=0) for k in range(classes)])
    return found


@dataclass(frozen=True, eq=False)
class Pushed(Wrapper):
    """A denoiser to the bottleneck of whose `network` a shift, of (t, y), is added."""

    network: Any
    shift: At

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        if y is None:
            raise ValueError("a shift in h points to a class: give labels y, int64 of shape (B,)")
        shift = self.shift(t, y)
        hook = self.network.middle_block.register_forward_hook(lambda *seen: seen[-1] + shift)
        try:
            return self.denoise(xt, t, y)
        finally:
            hook.remove()


@torch.no_grad()
def along_h(
    denoise: Denoiser, network: Any, means: Mapping[int, Tensor], x0: Tensor, source: Tensor, y: Tensor, scale: float,
    *, start: int = START,
) -> Tensor:  # fmt: skip
    """Directions in h-space (Haas et al., arXiv:2303.11073): inverted, and back with `scale` times the way from the
    `source` class's mean to that of y added to h. Nobody guides."""
    near = until(denoise, start)
    pushed = Pushed(near, network, lambda t, y: scale * (means[int(t[0])][y] - means[int(t[0])][source]))
    return last(ddim(pushed, last(invert(near, x0, steps=STEPS)), y, steps=STEPS))


@torch.no_grad()
def in_the_hand_of(
    denoise: Denoiser, gradient: Gradient, x0: Tensor, y: Tensor, scale: float, *, h: At, others: Tensor,
    share: float = 0.05,
) -> Tensor:  # fmt: skip
    """OneActor's guidance (Wang et al., arXiv:2404.10267), its tuning left out: y anew from noise, and by the `share`
    of eps towards the cluster of x0 in h, away from those of `others` (N, C, H, W)."""
    fresh = [noise(v.shape, seed).to(v) for seed, v in enumerate((x0, others), 1)]

    def cluster(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        at = t[:1].expand(len(others))
        own = h(denoise.schedule.q_sample(x0, t, fresh[0]), t).flatten(1)
        rest = h(denoise.schedule.q_sample(others, at, fresh[1]), at).flatten(1)

        def log_p(x: Tensor) -> Tensor:
            seen = h(x, t).flatten(1)
            apart = torch.cat([square(seen - own)[:, None], torch.cdist(seen, rest).square()], dim=1)
            return (-10 * apart / apart.mean(dim=1, keepdim=True).detach()).log_softmax(dim=1)[:, 0]

        up = along(xt, log_p)
        return share * x0[0].numel() ** 0.5 * up / lengths(up)

    guided = guide(guide(denoise, gradient, scale), cluster, 1.0)
    return last(ddim(guided, noise(x0.shape).to(x0), y, steps=STEPS))


def ink(x: Tensor) -> Tensor:
    """The mean of each image's pixels, of 0 to 1, (B,)."""
    return ((x + 1) / 2).flatten(1).mean(dim=1)


@torch.no_grad()
def counterfactual(
    denoise: Denoiser, gradient: Gradient, x0: Tensor, y: Tensor, scale: float, *, wanted: Tensor, start: int = START,
    width: float = 0.01,
) -> Tensor:  # fmt: skip
    """Abduct, act, predict, as causal diffusion auto-encoders do (Komanduri et al., arXiv:2404.17735), with `ink` in
    place of what they train: inverted, and back to y with as much ink (B,) as is `wanted`, to about `width`."""
    near = until(denoise, start)

    def act(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return along(xt, lambda x: -((ink(denoise(x, t).x0) - wanted) / width).square() / 2)

    guided = guide(guide(near, gradient, scale), act, 1.0)
    return last(ddim(guided, last(invert(near, x0, steps=STEPS)), y, steps=STEPS))
