"""How much of an image does an edit cost? Every way to edit and every guide on one pair of axes.

Held-out images are edited to other classes. A judge, which guides nobody, says how often an edit is taken for its class
and how far it is from the original, in pixels and in its own features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgd import measure
from rgd.denoiser import Denoiser
from rgd.editing import edits
from rgd.editing.inversion import friendly, invert, until
from rgd.guidance import grad_log_prob, unconditional
from rgd.lab.bench import Bench
from rgd.lab.seeds import pooled
from rgd.lab.store import Kept
from rgd.processes import processes
from rgd.randomness import generator
from rgd.samplers import ddim

Cell = tuple[str, str, float, int]
"""(way, guide, scale, seed); without a guide its name is "none"."""
GUIDED: dict[str, Callable[..., Tensor]] = {
    "noised": edits.noised, "inverted": edits.inverted, "edit-friendly": edits.befriended, "MagicMix": edits.mixed,
    "masked": edits.masked, "Guide-and-Rescale": edits.rescaled, "OneActor": edits.in_the_hand_of,
    "from noise": partial(edits.in_the_hand_of, share=0.0), "counterfactual": edits.counterfactual,
}  # fmt: skip
WAYS = (
    ("noised", (1.0, 3.0, 9.0)), ("inverted", (3.0, 5.0, 12.0, 30.0)), ("edit-friendly", (0.5, 1.0, 1.5, 4.0)),
    ("MagicMix", (8.0, 20.0, 50.0)), ("masked", (1.0, 3.0, 9.0)), ("Guide-and-Rescale", (6.0, 15.0, 40.0)),
    ("h-space", (4.0, 10.0, 25.0)), ("slerp", (0.5, 0.7, 0.8)), ("NoiseDiffusion", (0.5, 0.7, 0.8)),
    ("from noise", (0.7, 2.0, 6.0)), ("OneActor", (2.0, 4.0, 8.0)), ("counterfactual", (3.0, 5.0, 12.0, 30.0)),
)  # fmt: skip
PARTS = ("pixels", "features")  # distances to the original


@dataclass(frozen=True)
class Editing:
    """What to edit, how, and who is asked.

    Attributes:
        data, judge, denoiser: the images, and models by name; the denoiser's network is a `UNet`.
        guides: classifiers by name.
        ways: each with its scales, or, between two images, angles of 0 to 1.
        images: of each seed, which has held-out ones of its own.
        others: training images, whose classes have means in h, and amounts of ink.
        accuracy: at which distances are compared.
    """

    data: str
    judge: str
    denoiser: str
    guides: tuple[str, ...]
    ways: tuple[tuple[str, tuple[float, ...]], ...] = WAYS
    images: int = 30
    seeds: tuple[int, ...] = (0, 1, 2)
    others: int = 300
    accuracy: float = 0.8

    def models(self) -> tuple[str, ...]:
        """The names of the models that it needs."""
        return tuple(sorted({self.judge, self.denoiser, *self.guides}))

    def small(self) -> Editing:
        """The same in minutes."""
        return replace(self, ways=tuple((way, scales[-1:]) for way, scales in self.ways), images=4, seeds=(0, 1))

    def run(self, bench: Bench) -> Iterator[dict[str, Any]]:
        """What is known by now: of inversions, and of edits, one by one, over seeds, and at one accuracy."""
        keys = {part: bench.key(name) for part, name in (("judge", self.judge), ("denoiser", self.denoiser))}
        parts = {**keys, "train": bench.images(self.data).take(self.others), "test": bench.images(self.data, "test"),
                 "images": self.images}  # fmt: skip

        def of_noise(seed: int) -> dict[str, Any]:
            kept = bench.store.once(lambda: Work(self, bench, seed).noise(), "inversions", seed=seed, **parts)
            return kept.cell(seed=seed)

        def of_edit(cell: Cell) -> dict[str, Any]:
            way, guide, scale, seed = cell
            named = {"way": way, "scale": scale, "seed": seed}
            compute = partial(edited, self, bench, cell)
            who = guide if guide == "none" else bench.key(guide)
            return bench.store.once(compute, "edits", **named, guide=who, **parts).cell(**named, guide=guide)

        def of(thing: int | Cell) -> dict[str, Any]:
            return of_noise(thing) if isinstance(thing, int) else of_edit(thing)

        everything: list[int | Cell] = [*self.seeds, *self.cells()]
        for found in bench.each(everything, of, lambda _: self.models()):
            noise, edits = (
                [found[thing] for thing in things if thing in found] for things in (self.seeds, self.cells())
            )
            told = {"means": means(edits), "equal": equal(edits, self.accuracy)} if edits else {}
            yield {"data": self.data, "noise": noise, "edits": edits, **told}

    def cells(self) -> list[Cell]:
        """Every way, guide, scale and seed, a seed after the other."""
        return [(way, guide, scale, seed) for seed in self.seeds for way, scales in self.ways for scale in scales
                for guide in (self.guides if way in GUIDED else ("none",))]  # fmt: skip


def edited(plan: Editing, bench: Bench, cell: Cell) -> Kept:
    """One cell of the results."""
    way, guide, scale, seed = cell
    return Work(plan, bench, seed).edited(way, guide, scale)


class Work:
    """The images of one seed, and the classes that they are to become."""

    def __init__(self, plan: Editing, bench: Bench, seed: int) -> None:
        self.plan, self.bench = plan, bench
        train = bench.images(plan.data).take(plan.others).to(processes().device)
        self.train, self.labels, classes = train.x0(), train.labels, len(train.classes)
        chosen = slice(seed * plan.images, (seed + 1) * plan.images)
        test = bench.images(plan.data, "test").subset(chosen).to(processes().device)
        more = torch.randint(1, classes, (len(test),), generator=generator(seed, "targets")).to(test.labels)
        self.x0, self.source, self.y, self.classes = test.x0(), test.labels, (test.labels + more) % classes, classes
        self.denoise: Denoiser = unconditional(bench.model(plan.denoiser).use())
        usual = torch.stack([edits.ink(self.train[self.labels == k]).mean() for k in range(classes)])
        self.wanted = edits.ink(self.x0) - usual[self.source] + usual[self.y]

    def edit(self, way: str, guide: str, scale: float) -> Tensor:
        """The images, edited."""
        network = self.bench.model(self.plan.denoiser).network
        h, near = edits.bottleneck(network), until(self.denoise, edits.START)
        if way == "h-space":
            short = near.schedule.respace(edits.STEPS)
            means = edits.class_means(h, short, self.train, self.labels, self.classes)
            return edits.along_h(self.denoise, network, means, self.x0, self.source, self.y, scale)
        if way not in GUIDED:
            far = until(self.denoise, 700)
            return edits.last(ddim(far, self.between(far, scale, way == "NoiseDiffusion"), steps=edits.STEPS))
        hand = {"h": h, "others": self.train[:20]}
        options: dict[str, dict[str, Any]] = {
            "Guide-and-Rescale": {"features": edits.bottleneck(network, 0.5)}, "OneActor": hand, "from noise": hand,
            "counterfactual": {"wanted": self.wanted},
        }  # fmt: skip
        gradient = grad_log_prob(self.bench.model(guide).network)
        return GUIDED[way](self.denoise, gradient, self.x0, self.y, scale, **options.get(way, {}))

    def between(self, far: Denoiser, angle: float, correct: bool) -> Tensor:
        """Noise between that of each image and of a training image of its target class."""
        other = torch.stack([self.train[self.labels == k][i % 10] for i, k in enumerate(self.y.tolist())])
        return edits.between(far, self.x0, other, angle, correct=correct)

    def edited(self, way: str, guide: str, scale: float) -> Kept:
        """How an edit does: taken for its class; far in pixels, in features, in ink and slant; ink as was wanted."""
        x, judge = self.edit(way, guide, scale).clamp(-1, 1), self.bench.model(self.plan.judge).network
        (seen, was), y = (measure.extract(v, judge) for v in (x, self.x0)), self.y.cpu()
        verdict, off = seen.logits.argmax(dim=1), edits.ink(x) - self.wanted
        values = {
            "accuracy": measure.share(verdict == y),
            "either": measure.share((verdict == y) | (verdict == self.source.cpu())),
            "pixels": measure.mean((x - self.x0).flatten(1).norm(dim=1)),
            "features": measure.mean((seen.features - was.features).norm(dim=1)),
            "likeness": measure.mean(torch.stack([torch.corrcoef(torch.stack(p))[0, 1] for p in
                                                  zip(x.flatten(1), self.x0.flatten(1))])),
            "ink": measure.mean((edits.ink(x) - edits.ink(self.x0)).abs()),
            "slant": measure.mean((slant(x) - slant(self.x0)).abs()),
            "wanted": measure.mean(off.abs()),
        }  # fmt: skip
        if way == "noised":
            gradient, t = grad_log_prob(self.bench.model(guide).network), torch.full_like(self.y, edits.START)
            xt = self.denoise.schedule.q_sample(self.x0, t, edits.noise(self.x0.shape).to(x))
            inside = edits.looked_at(gradient, xt, t, self.y) * (x - self.x0)
            values["inside"] = measure.mean(edits.square(inside) / edits.square(x - self.x0))
        return Kept(values)

    def noise(self) -> Kept:
        """Round trips by steps and rounds; and what noise is found: how wide, how heavy its tails, how correlated."""
        trips = []
        for steps in (10, 20, 40):
            for rounds in (0, 1):
                up = edits.last(invert(self.denoise, self.x0, steps=steps, rounds=rounds))
                off = edits.last(ddim(self.denoise, up, steps=steps)) - self.x0
                trips.append({"steps": steps, "rounds": rounds, "error": measure.mean(off.flatten(1).norm(dim=1))})
        own = friendly(self.denoise, self.x0, steps=edits.STEPS)
        back = edits.last(ddim(self.denoise, own.x, steps=edits.STEPS, eta=1.0, noise=own)) + own.rest
        z, far = own.noises.flatten(2), until(self.denoise, 700)
        between = {name: self.between(far, 0.5, name == "NoiseDiffusion") for name in ("slerp", "NoiseDiffusion")}
        return Kept({
            "trips": trips, "friendly_error": float((back - self.x0).abs().max()),
            "friendly": {"std": measure.mean(z.std(dim=2).mean(dim=0)),
                         "neighbours": measure.mean(torch.cosine_similarity(z[:-1], z[1:], dim=2).mean(dim=0))},
            "inverted": tails(edits.last(invert(self.denoise, self.x0, steps=edits.STEPS))),
            **{name: tails(xt) for name, xt in between.items()},
        })  # fmt: skip


def tails(xt: Tensor) -> dict[str, Any]:
    """How wide each image's noise is, and its kurtosis: 1 and 3 for standard normal noise."""
    v = xt.flatten(1)
    unit = (v - v.mean(dim=1, keepdim=True)) / v.std(dim=1, keepdim=True)
    return {"std": measure.mean(v.std(dim=1)), "kurtosis": measure.mean(unit.pow(4).mean(dim=1))}


def slant(x: Tensor) -> Tensor:
    """By how many columns each image's ink moves per row, (B,): its moment of rows and columns over that of rows."""
    p = ((x + 1) / 2).clamp(0, 1).mean(dim=1)
    p = p / p.sum(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    rows, columns = (torch.arange(n).to(p) for n in p.shape[1:])
    i = rows - (p.sum(dim=2) * rows).sum(dim=1, keepdim=True)
    j = columns - (p.sum(dim=1) * columns).sum(dim=1, keepdim=True)
    return torch.einsum("bij,bi,bj->b", p, i, j) / torch.einsum("bij,bi,bi->b", p, i, i).clamp(min=1e-12)


def means(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each way, guide and scale what all its seeds found together, by a name for pages."""
    rows: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for cell in cells:
        rows.setdefault((cell["way"], cell["guide"], cell["scale"]), []).append(cell)
    parts = [name for name, part in cells[0].items() if isinstance(part, dict)] if cells else []
    return [
        {"name": f"{way}, {short(guide)}, {scale:g}", "way": way, "guide": guide, "scale": scale,
         **{part: pooled(part, [cell[part] for cell in seeds]) for part in parts if part in seeds[0]}}
        for (way, guide, scale), seeds in rows.items()
    ]  # fmt: skip


def equal(cells: list[dict[str, Any]], accuracy: float) -> list[dict[str, Any]]:
    """Of each way and guide the distances at one accuracy, between its scales: means over seeds, None where a seed does
    not reach it; and those minus the first guide's, seed by seed."""
    found: dict[tuple[str, str, str], list[float]] = {}
    ways = list(dict.fromkeys((cell["way"], cell["guide"]) for cell in cells))
    for (way, guide), part, seed in product(ways, PARTS, sorted({cell["seed"] for cell in cells})):
        own = [c for c in cells if (c["way"], c["guide"], c["seed"]) == (way, guide, seed)]
        right, far = (np.array([c[name]["value"] for c in own]) for name in ("accuracy", part))
        order = np.argsort(right, kind="stable")
        between = np.interp(accuracy, right[order], far[order], left=np.nan, right=np.nan) if own else np.nan
        found.setdefault((way, guide, part), []).append(float(between))
    rows = []
    for way, guide in ways:
        first = next(other for other in ways if other[0] == way)
        at, there = ({part: np.array(found[*who, part]) for part in PARTS} for who in ((way, guide), first))
        rows.append({"name": f"{way}, {short(guide)}", "way": way, "guide": guide,
                     **{part: over(at[part]) for part in PARTS},
                     **{f"{part}_more": over(at[part] - there[part]) for part in PARTS}})  # fmt: skip
    return rows


def short(guide: str) -> str:
    """How pages call a model, "mnist/robust": robust."""
    return guide.split("/")[-1]


def over(values: Any) -> dict[str, Any] | None:
    """The mean over seeds, if there are two and each has a number."""
    return measure.mean(torch.from_numpy(values)).to_json() if len(values) > 1 and np.isfinite(values).all() else None
