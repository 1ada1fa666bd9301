"""Does guidance at a scale s sample p(x) p(y | x)^s, and what would that look like?

In worlds that density is known, so that guidance and walkers with weights (`rgd.steer`) can be held against it. On
images only p(y | x) is, by a judge: it says how little the density differs from p(x | y), and what of guidance's effect
is left for the steered walkers, and for samples at scale 1 of which some were rejected.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from typing import Any, get_args

import numpy as np
import scipy
import torch
from torch import Tensor

from rgd import measure
from rgd import schedule as schedules
from rgd.attacks import Classifier, log_prob
from rgd.data import Dataset
from rgd.experiments.truth import objective
from rgd.experiments.worlds import MLP, World, seeded, sphere
from rgd.guidance import grad_log_prob, guide, unconditional
from rgd.lab.bench import Bench
from rgd.lab.store import Kept
from rgd.measure import Features
from rgd.methods.steering import Annealed, Scale, Weights, accepted, steer
from rgd.mixtures import mixture
from rgd.randomness import generator
from rgd.samplers import ddim, ddpm, implicit, sample
from rgd.schedule import Schedule
from rgd.training import Training, fit


def line(schedule: Schedule) -> World:
    """Two classes on a line; one has two Gaussians, of which only the second is near the other class."""
    means = torch.tensor([-1.5, 0.5, 1.6]).reshape(3, 1, 1, 1).double()
    weights, labels = torch.tensor([0.3, 0.3, 0.4]), torch.tensor([0, 0, 1])
    return World(mixture(means, torch.tensor([0.2, 0.1, 0.3]), schedule, labels, weights), seeded(1, 2), 1.0)


WORLDS: dict[str, Callable[[Schedule], World]] = {
    "line": line,
    "sphere, 8": partial(sphere, dim=8),
    "sphere, 64": partial(sphere, dim=64),
}
FEWEST = 10  # images that are scored
METRICS = ("fd", "precision", "recall", "accuracy")


@dataclass(frozen=True)
class Tempering:
    """What to sample, in worlds and of images.

    Attributes:
        data, judge, denoiser: the images, and models by name.
        guides: classifiers by name; the target is what each of them says of clean images.
        scales: s, in the worlds.
        walkers: in a crowd, in the worlds; a cell's number is the mean over its crowds.
        draws: of a cell, in all crowds together.
        steps: ancestral, in the worlds.
        learned: radii of L2 attacks, as shares of the line's `walk`, with which guides are trained on it; 0 is vanilla.
        training: steps of those.
        image_scales, image_walkers, image_steps: the same for images, by `ddim` with eta = 1.
        images: of each cell.
        seeds: of the images' cells.
        reference: training images that they are compared with.
    """

    data: str
    judge: str
    denoiser: str
    guides: tuple[str, ...]
    scales: tuple[float, ...] = (2.0, 4.0, 8.0)
    walkers: tuple[int, ...] = (16, 64, 256, 1024)
    draws: int = 4096
    steps: int = 60
    learned: tuple[float, ...] = (0.0, 0.4)
    training: int = 1000
    image_scales: tuple[float, ...] = (2.0, 4.0)
    image_walkers: int = 10
    image_steps: int = 25
    images: int = 300
    seeds: tuple[int, ...] = (0, 1, 2)
    reference: int = 10_000

    def models(self) -> tuple[str, ...]:
        """The names of the models that it needs."""
        return tuple(sorted({self.judge, self.denoiser, *self.guides}))

    def small(self) -> Tempering:
        """The same in minutes."""
        few = replace(self, scales=(4.0,), walkers=(16, 64), draws=256, steps=30, training=100)
        return replace(few, image_scales=(4.0,), image_steps=8, images=40, seeds=(0, 1), reference=500)

    def cells(self) -> list[dict[str, Any]]:
        """Every way to draw a crowd in a world: "exact", by rejection; "guided"; and by weights of a kind."""
        ways = ("exact", "guided", *(f"{way}, {how}" for way in get_args(Weights) for how in ("constant", "annealed")))
        cells: list[tuple[Any, ...]] = list(product(WORLDS, ("exact",), ways, self.scales, self.walkers))
        cells += product(("line",), self.learned, ("guided", "twisted, annealed"), self.scales, self.walkers)
        return [dict(zip(("world", "guide", "way", "scale", "walkers"), cell)) for cell in cells]

    def run(self, bench: Bench) -> Iterator[dict[str, Any]]:
        """What is known by now: of the worlds, of real images, and of sampled ones."""
        known: dict[str, Any] = {"data": self.data, "worlds": [], "real": real(self, bench), "images": []}
        cells = [_key(cell) for cell in self.cells()]
        for found in bench.each(cells, partial(in_a_world, self, bench), lambda _: ()):
            known["worlds"] = [{**dict(cell), **found[cell]} for cell in cells if cell in found]
            yield known
        ways = list(product(self.guides, self.seeds))
        for seen in bench.each(ways, partial(of_images, self, bench), lambda way: self.models()):
            known["images"] = [{"guide": way[0], "seed": way[1], **seen[way]} for way in ways if way in seen]
            yield known


def _key(cell: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(cell.items())


@cache
def _world(name: str) -> World:
    return WORLDS[name](schedules.linear(1000))


@cache
def _learned(radius: float, steps: int) -> Classifier:
    """A classifier of the line, trained on draws from it, with attacks within that share of its `walk`."""
    world = _world("line")
    x0, y = world.mixture.sample(20_000, generator(0, "draws"))
    data = Dataset(x0.float(), y, ("0", "1"), "line")
    training = Training(steps, batch_size=128, lr=2e-3, warmup=20, seed=0, precision="fp32")
    aim = objective(radius * world.walk, world.mixture.schedule, 0.0)
    network = deque(fit(world.network(0), aim, data, world.mixture.schedule, training), maxlen=1)[0].network
    assert isinstance(network, MLP)
    frozen = network.cpu().eval().requires_grad_(False)
    return lambda xt, t: frozen(xt.float(), t)


def in_a_world(plan: Tempering, bench: Bench, of: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """How far a cell's crowds are from the tempered density of class 0, on average."""
    cell = dict(of)
    world = _world(cell["world"])

    def compute() -> Kept:
        apart = [_distance(world, cell["scale"], crowd) for crowd in _crowds(plan, world, cell)]
        return Kept({"distance": measure.mean(torch.tensor(apart))})

    settings = {"draws": plan.draws, "steps": plan.steps, "training": plan.training}
    kept = bench.store.once(compute, "tempered", cell=cell, mixture=world.mixture, walk=world.walk, **settings)
    return kept.cell()


def _crowds(plan: Tempering, world: World, cell: Mapping[str, Any]) -> Tensor:
    """A cell's samples in crowds, (draws / walkers, walkers, ...)."""
    mixture, shape, scale, K = world.mixture, world.mixture.means.shape[1:], cell["scale"], cell["walkers"]
    quiet: dict[str, Any] = {"batch_size": plan.draws, "device": "cpu", "progress": False}
    zero = torch.zeros(plan.draws, dtype=torch.int64)
    if cell["way"] == "exact":
        drawn, _ = mixture.sample(8 * plan.draws, generator(0, "exact"), zero.repeat(8))
        kept = accepted(mixture.classifier, drawn, zero.repeat(8), scale)
        return drawn[kept][: plan.draws].reshape(-1, K, *shape)
    truth = mixture.classifier
    by = truth if cell["guide"] == "exact" else _learned(cell["guide"], plan.training)
    if cell["way"] == "guided":
        guided = guide(unconditional(mixture), grad_log_prob(by), scale)
        x = sample(guided, (plan.draws, *shape), zero, sampler=ddpm, steps=plan.steps, **quiet)
        return x.reshape(-1, K, *shape)
    way, annealed = cell["way"].split(", ")
    target = None if by is truth else truth
    s: Scale = Annealed(scale) if annealed == "annealed" else scale
    return steer(mixture, by, zero[: plan.draws // K], shape, scale=s, walkers=K, target=target, weights=way,
                 steps=plan.steps, **quiet).x  # fmt: skip


def _distance(world: World, scale: float, x: Tensor) -> float:
    """On a line Kolmogorov and Smirnov's distance; else how far the share of class 0's first cloud is off."""
    mixture = world.mixture
    if mixture.variances.shape[1] == 1:
        at, below = _below(world, scale)
        return float(scipy.stats.kstest(x.flatten().numpy(), lambda x: np.interp(x, at, below)).statistic)
    first, second = mixture.means[mixture.labels == 0].flatten(1)
    return abs(float(_nearer(x, first, second).mean()) - _share(world, scale))


@cache
def _below(world: World, scale: float) -> tuple[Any, Any]:
    """The distribution function of the tempered density, on a line, at the points of a grid."""
    grid = torch.linspace(-8, 8, 20_001, dtype=torch.float64).reshape(-1, *world.mixture.means.shape[1:])
    zero = torch.zeros(len(grid), dtype=torch.int64)
    joint = world.mixture.log_prob(grid, zero) + scale * log_prob(world.mixture.logits(grid, zero), zero)
    return grid.flatten().numpy(), joint.softmax(0).cumsum(0).numpy()


def _nearer(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    x = x.double().flatten(1)
    return ((x - first).norm(dim=1) < (x - second).norm(dim=1)).double()


@cache
def _share(world: World, scale: float) -> float:
    """The share of class 0's first cloud in the tempered density, by draws from the class with the weights
    p(y | x)^(s - 1); to about 0.002."""
    zero = torch.zeros(50_000, dtype=torch.int64)
    drawn, _ = world.mixture.sample(len(zero), generator(0, "tempered"), zero)
    weights = ((scale - 1) * log_prob(world.mixture.logits(drawn, zero), zero)).exp()
    first, second = world.mixture.means[world.mixture.labels == 0].flatten(1)
    return float((weights * _nearer(drawn, first, second)).sum() / weights.sum())


def real(plan: Tempering, bench: Bench) -> dict[str, Any]:
    """By scale, the mean of judge(x)_y^(s - 1) over held-out images: the share of them that would be kept."""
    test = bench.images(plan.data, "test")
    scales = sorted({*plan.scales, *plan.image_scales})

    def compute() -> Kept:
        log_p = log_prob(measure.extract(test, bench.model(plan.judge).network).logits, test.labels)
        return Kept({"scales": [{"scale": s, "kept": measure.mean(((s - 1) * log_p).exp())} for s in scales]})

    parts = {"judge": bench.key(plan.judge), "images": test, "scales": scales}
    return bench.store.once(compute, "tempered real", **parts).cell()


def of_images(plan: Tempering, bench: Bench, way: tuple[str, int]) -> dict[str, Any]:
    """One guide's images from one seed: guided, steered, and accepted of those at scale 1."""
    name, seed = way
    reference = bench.images(plan.data).take(plan.reference)
    settings = {"images": plan.images, "walkers": plan.image_walkers, "steps": plan.image_steps, "seed": seed}
    keys = {part: bench.key(model) for part, model in
            (("judge", plan.judge), ("denoiser", plan.denoiser), ("guide", name))}  # fmt: skip

    def compute() -> Kept:
        rows = []
        seen = measure.extract(reference, bench.model(plan.judge).network)
        for row, images, y in _images(plan, bench, name, seed, reference):
            scores = _scores(plan, bench, images, y, seen) if len(y) >= FEWEST else {}
            rows.append({**row, "images": len(y), **scores})
        return Kept({"ways": rows})

    parts = {**settings, **keys, "scales": plan.image_scales, "reference": reference, "metrics": METRICS}
    return bench.store.once(compute, "tempered images", **parts).cell()


def _images(
    plan: Tempering, bench: Bench, name: str, seed: int, data: Dataset
) -> Iterator[tuple[dict[str, Any], Tensor, Tensor]]:
    """What a way is, its images and the labels that were asked for."""
    n, K, classes = plan.images, plan.image_walkers, len(data.classes)
    plain, classifier = unconditional(bench.model(plan.denoiser).use()), bench.model(name).network
    quiet: dict[str, Any] = {"steps": plan.image_steps, "seed": seed, "progress": bench.progress}

    def guided(scale: float, n: int) -> tuple[Tensor, Tensor]:
        y = torch.arange(n) % classes
        denoise = guide(plain, grad_log_prob(classifier), scale)
        return sample(denoise, (n, *data.shape), y, sampler=partial(ddim, eta=1.0), **quiet), y

    pool, asked = guided(1.0, 2 * n)
    yield {"way": "guided", "scale": 1.0}, pool[:n], asked[:n]
    for scale in plan.image_scales:
        keep = accepted(classifier, pool, asked, scale, seed)
        row = {"way": "accepted", "scale": scale, "kept": float(keep.double().mean())}
        yield row, pool[keep][:n], asked[keep][:n]
        yield {"way": "guided", "scale": scale}, *guided(scale, n)
    for scale in (1.0, *plan.image_scales):
        y = torch.arange(n // K) % classes
        walked = steer(plain, classifier, y, data.shape, scale=Annealed(scale), walkers=K,
                       kernel=partial(implicit, eta=1.0), **quiet)  # fmt: skip
        row = {"way": "steered", "scale": scale, "ess": float(walked.ess.min(0).values.mean()),
               "ancestors": sum(len(a.unique()) for a in walked.ancestors) / len(y),
               "log_evidence": float(walked.log_evidence.mean())}  # fmt: skip
        yield row, walked.x.flatten(0, 1), y.repeat_interleave(K)


def _scores(plan: Tempering, bench: Bench, images: Tensor, y: Tensor, reference: Features) -> dict[str, Any]:
    """What the judge sees in them; `certain` is the mean of judge(x)_y^3, what scale 4 would keep."""
    seen = measure.extract(images, bench.model(plan.judge).network, labels=y)
    found: dict[str, Any] = {metric: measure.estimate(metric, seen, reference) for metric in METRICS}
    return {**found, "certain": measure.mean((3 * log_prob(seen.logits, y)).exp())}
