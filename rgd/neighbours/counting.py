"""Make It Count (Binyamin et al. 2025), on canvases of dots: a classifier that counts guides to a number of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from scipy import ndimage
from torch import Tensor

from rgd import measure
from rgd import schedule as schedules
from rgd.attacks import L2, PGD
from rgd.data import Dataset
from rgd.denoiser import NetworkDenoiser
from rgd.guidance import grad_log_prob, guide
from rgd.lab.seeds import Row
from rgd.networks import EncoderConfig, UNetConfig, build
from rgd.randomness import generator, noise
from rgd.samplers import ddim
from rgd.training import Training, fit, objectives

SIDE, MOST = 16, 5  # pixels; dots
SIZES: dict[str, Any] = dict(
    image_size=SIDE, in_channels=1, model_channels=32, channel_mult=(1, 2), num_res_blocks=1, patch=2,
    attention_resolutions=(2,), num_head_channels=32, use_scale_shift_norm=True,
)  # fmt: skip


def canvases(n: int, seed: int) -> Dataset:
    """Black canvases with one to five white dots of 3 x 3 pixels, each in another of nine fields, so that none touch.
    The label is their number, less one; all numbers are equally frequent."""
    random, images = generator(seed, "canvases"), torch.zeros(n, 1, SIDE, SIDE, dtype=torch.uint8)
    labels = torch.arange(n) % MOST
    for image, label in zip(images[:, 0], labels.tolist()):
        for place in torch.randperm(9, generator=random)[: label + 1].tolist():
            down, right = torch.randint(2, (2,), generator=random).tolist()
            top, left = 5 * (place // 3) + down, 5 * (place % 3) + right
            image[top : top + 3, left : left + 3] = 255
    return Dataset(images, labels, tuple(map(str, range(1, MOST + 1))), "canvases")


def counted(images: Tensor) -> Tensor:
    """How many dots there are in images (B, 1, H, W), (B,): connected parts of at least four pixels above 0."""
    numbers = []
    for image in (images[:, 0] > 0).numpy():
        parts, n = ndimage.label(image)
        numbers.append(int((ndimage.sum(image, parts, range(1, n + 1)) >= 4).sum()))
    return torch.tensor(numbers)


def counting(work: Any, seed: int) -> Iterator[Row]:
    """A denoiser of canvases that knows no numbers, guided by counters: how often is it the number that was ordered?"""
    plan, data, schedule = work.plan, canvases(4000, seed), schedules.linear(1000)

    def trained(config: Any, objective: Any, share: float, **more: Any) -> Any:
        how = Training(steps=max(1, round(share * plan.training)), batch_size=64, lr=1e-3, warmup=20, seed=seed, **more)
        *_, last = fit(build(config, seed), objective, data, schedule, how)
        return last.network.eval().requires_grad_(False)

    unet = UNetConfig(out_channels=1, **SIZES)
    network = trained(unet, objectives.Denoising(), 1.2, ema=0.99, clip=1.0, weight_decay=0.0)
    denoise, encoder = NetworkDenoiser(network, schedule), EncoderConfig(out_channels=MOST, pool="attention", **SIZES)
    counters = {
        "vanilla": trained(encoder, objectives.NoisyCrossEntropy(), 0.5),
        "robust": trained(encoder, objectives.RobustCrossEntropy(PGD(L2(0.5), steps=3)), 0.5),
    }
    y, xT = torch.arange(2 * plan.images) % MOST, noise((2 * plan.images, 1, SIDE, SIDE), 7000 + seed)
    *_, plain = ddim(denoise, xT, steps=25)
    found = counted(plain.x)
    yield {"guide": "none", "scale": 0, "right": measure.share(found == y + 1),
           "known": measure.share((found >= 1) & (found <= MOST))}  # fmt: skip
    for name, counter in counters.items():
        for scale in (2, 4, 8, 16):
            *_, step = ddim(guide(denoise, grad_log_prob(counter), scale), xT, y, steps=25)
            found = counted(step.x)
            each = {f"of {k + 1}": measure.share(found[y == k] == k + 1) for k in range(MOST)}
            yield {"guide": name, "scale": scale, "right": measure.share(found == y + 1),
                   "believed": measure.share(counter(step.x, 0 * y).argmax(dim=1) == y), **each}  # fmt: skip
