"""Make It Count (Binyamin et al. 2025), on canvases of dots: a classifier that counts guides to a number of them.

How many dots a canvas has under noise is known exactly, and so is the denoiser: what goes wrong is the guide's fault.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from rgd.attacks import L2, PGD, Classifier
from rgd.data import Dataset
from rgd.denoiser import Prediction
from rgd.guidance import grad_log_prob, guide, unconditional
from rgd.lab.seeds import Row
from rgd.networks import EncoderConfig, build
from rgd.randomness import generator, noise
from rgd.schedule import Schedule, linear
from rgd.training import Training, fit, objectives

PLACES = torch.tensor([0, 1, 5, 6, 10, 11])  # where a dot can begin, in pixels


def canvases(n: int, seed: int) -> Dataset:
    """Black canvases of 16 x 16 pixels with one to five white dots of 3 x 3, each in another of nine fields, so that
    none touch. The label is their number, less one; all numbers are equally frequent."""
    random, images = generator(seed, "canvases"), torch.zeros(n, 1, 16, 16, dtype=torch.uint8)
    labels = torch.arange(n) % 5
    for image, label in zip(images[:, 0], labels.tolist()):
        for field in torch.randperm(9, generator=random)[: label + 1].tolist():
            down, right = torch.randint(2, (2,), generator=random).tolist()
            top, left = PLACES[2 * (field // 3) + down], PLACES[2 * (field % 3) + right]
            image[top : top + 3, left : left + 3] = 255
    return Dataset(images, labels, ("1", "2", "3", "4", "5"), "canvases")


def counted(images: Tensor) -> Tensor:
    """How many dots there are in images (B, 1, H, W), (B,): connected parts of at least four pixels above 0."""
    numbers = []
    for image in (images[:, 0] > 0).numpy():
        parts, n = ndimage.label(image)
        numbers.append(int((ndimage.sum(image, parts, range(1, n + 1)) >= 4).sum()))
    return torch.tensor(numbers)


def log_counts(schedule: Schedule, xt: Tensor, t: Tensor) -> Tensor:
    """log p(xt | number) for one to five dots (B, 5), less that of a black canvas."""
    signal, sigma = (schedule.at(name, t, xt) for name in ("signal", "sigma"))
    lit = 9 * F.avg_pool2d(xt * 2 * signal / sigma**2, 3, stride=1)[:, 0]
    lit = lit[:, PLACES][:, :, PLACES].unflatten(2, (3, 2)).unflatten(1, (3, 2))
    fields = lit.logsumexp(dim=(2, 4)).flatten(1) - math.log(4)
    sums = [fields.new_zeros(len(xt))]  # e_0, e_1, ... of the fields so far
    for field in fields.unbind(1):
        more = [torch.logaddexp(a, b + field) for a, b in zip(sums[1:], sums)]
        sums = [sums[0], *more, sums[-1] + field][:6]
    choices = [math.log(math.comb(9, k)) for k in range(1, 6)]
    return torch.stack(sums[1:], dim=1) - fields.new_tensor(choices)


@dataclass(frozen=True, eq=False)
class Dots:
    """The canvases under noise, exactly: a denoiser, and in `logits` a classifier."""

    schedule: Schedule

    def logits(self, xt: Tensor, t: Tensor) -> Tensor:
        """See `log_counts`."""
        return log_counts(self.schedule, xt, t)

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        """As a denoiser, of all numbers or of y + 1 dots: Tweedie's formula."""
        with torch.enable_grad():
            x = xt.detach().requires_grad_()
            log_p = self.logits(x, t)
            log_p = log_p.logsumexp(dim=1) if y is None else log_p.gather(1, y[:, None])
            (score,) = torch.autograd.grad(log_p.sum(), x)
        signal, sigma = (self.schedule.at(name, t, xt) for name in ("signal", "sigma"))
        x0 = sigma**2 / signal * score - 1
        eps = self.schedule.eps_from_x0(xt, t, x0)
        return Prediction(x0, eps, xt.new_ones(()))


COUNTER = EncoderConfig(
    image_size=16, in_channels=1, out_channels=5, model_channels=32, channel_mult=(1, 2), num_res_blocks=1, patch=2,
    attention_resolutions=(2,), num_head_channels=32, use_scale_shift_norm=True, pool="attention",
)  # fmt: skip
OBJECTIVES = {
    "vanilla": objectives.NoisyCrossEntropy(),
    "robust": objectives.RobustCrossEntropy(PGD(L2(1.0), steps=3)),  # a dot is six away from none
}


def counter(objective: Any, steps: int, seed: int, data: Dataset, schedule: Schedule) -> Classifier:
    """A classifier that learns to count in so many steps."""
    training = Training(steps=steps, batch_size=64, lr=1e-3, warmup=20, seed=seed)
    *_, last = fit(build(COUNTER, seed), objective, data, schedule, training)
    return last.network.eval().requires_grad_(False)


def counting(work: Any, seed: int) -> Iterator[Row]:
    """The exact denoiser, guided by the exact counter and by trained ones: how often is it the number ordered?"""
    exact, n = Dots(linear(1000)), 4 * work.plan.images
    y, xT = torch.arange(n) % 5, noise((n, 1, 16, 16), 7000 + seed)

    def row(name: str, scale: float, classifier: Classifier) -> Row:
        images = work.draw(guide(unconditional(exact), grad_log_prob(classifier), scale), xT, y)
        right = (counted(images) == y + 1).double()
        with torch.no_grad():
            believed = (classifier(images, 0 * y).argmax(dim=1) == y).double()
        each = {f"right_{k + 1}": float(right[y == k].mean()) for k in range(5)}
        return {"guide": name, "scale": scale, "right": float(right.mean()), "believed": float(believed.mean()), **each}

    yield row("none", 0, exact.logits)
    yield row("exact", 1, exact.logits)
    learned = {
        name: counter(objective, work.plan.training, seed, canvases(4000, seed), exact.schedule)
        for name, objective in OBJECTIVES.items()
    }
    for scale in (1, 2, 4, 8, 16):
        vanilla, robust = (row(name, scale, learned[name]) for name in ("vanilla", "robust"))
        yield vanilla
        yield robust | {"right_more": robust["right"] - vanilla["right"]}
