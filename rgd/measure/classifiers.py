"""How often a time-dependent classifier is right, noise level by noise level, attacked or not."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rgd.attacks import Attack, Classifier
from rgd.compute.room import divided
from rgd.measure.estimates import check_labels, proportion
from rgd.measure.features import device_of
from rgd.memory import halving
from rgd.modes import evaluating
from rgd.randomness import generator, noise
from rgd.schedule import Schedule


def accuracy_by_t(
    classifier: Classifier, dataset_x0: Tensor, y: Tensor, schedule: Schedule, ts: Iterable[int], *,
    attack: Attack | None = None, seed: int = 0, batch_size: int = 256,
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of a noise level `t` and of Estimates `accuracy` and, with an attack on xt, `accuracy_attacked`.

    `dataset_x0` is float (N, C, H, W) in [-1, 1], `y` int64 (N,). An image's eps depends on `seed` and its index alone,
    so that curves are smooth. ValueError for levels outside 0..T-1, no images, NaN, and labels that do not fit.
    """
    n, device = len(dataset_x0), device_of(classifier, dataset_x0)
    if n == 0 or not dataset_x0.isfinite().all():
        raise ValueError("dataset_x0 is empty or holds NaN: give at least one image, all finite")
    if y.shape != (n,):
        raise ValueError(f"labels are {tuple(y.shape)}: need one for each of {n} images")
    attacks: dict[str, Attack] = {"accuracy": lambda classifier, xt, t, y, generator: xt}
    if attack is not None:
        attacks["accuracy_attacked"] = attack
    eps, rows, at_once = noise(dataset_x0.shape, seed), list[dict[str, Any]](), min(batch_size, n)
    for level in map(int, ts):
        if not 0 <= level < schedule.T:
            raise ValueError(f"t = {level} is not a level of this schedule: need 0 <= t < {schedule.T}")
        random, right = generator(seed, "attack", level, device=device), dict.fromkeys(attacks, 0)
        for batch in zip(*(part.split(batch_size) for part in (dataset_x0, eps, y))):
            x0, e, label = (part.to(device) for part in batch)
            t = torch.full(label.shape, level, device=device)
            xt = schedule.q_sample(x0, t, e)
            for kind, attacked in attacks.items():
                work = partial(_right, classifier, attacked, (xt, t, label), random, random.get_state())
                hits, at_once = halving(work, at_once, "accuracy")
                right[kind] += hits
        rows.append({"t": level, **{kind: proportion(count, n) for kind, count in right.items()}})
    return rows


def _right(
    classifier: Classifier, attack: Attack, batch: tuple[Tensor, ...], random: torch.Generator, begun: Tensor, size: int
) -> int:
    """How many of a batch are right, `size` of them at once, under an attack whose randomness begins at a state."""
    xt, t, y = batch
    with evaluating(classifier), divided(classifier, size):
        x = attack(classifier, xt, t, y, random.set_state(begun))
        with torch.no_grad():
            logits = classifier(x, t)
    check_labels(y, len(y), logits.shape[1])
    return int((logits.argmax(dim=1) == y).sum())
