"""Is a robust gradient nearer to the truth, or only easier to read? Where the data are a mixture, the truth is known.

A `World` is a labelled mixture and a network for its classifiers. A `Truth` trains classifiers on draws from it,
vanilla and robust within several radii, on few draws and on many, and holds their gradients against the exact one; and
it guides the exact denoiser by each gradient, so that what differs from exact conditional samples is the classifier's
fault alone.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

import torch
from joblib import Parallel, delayed
from torch import Tensor, nn
from tqdm import tqdm

from rgd import measure as metrics
from rgd import schedule as schedules
from rgd.attacks import L2, PGD, NoiseRadius
from rgd.data import Dataset
from rgd.experiments.worlds import MLP, WORLDS, World, digits, plane, sphere
from rgd.guidance import grad_log_prob, guide, unconditional
from rgd.identity import architecture
from rgd.lab.bench import Bench
from rgd.lab.store import Kept
from rgd.measure import gradients
from rgd.mixtures import Mixture
from rgd.processes import best_device
from rgd.randomness import generator, noise
from rgd.samplers import ddim
from rgd.training import Training, fit
from rgd.training.objectives import NoisyCrossEntropy, Objective, RobustCrossEntropy

__all__ = ["MLP", "WORLDS", "Truth", "World", "digits", "energy_distance", "plane", "score", "sphere"]

CELL = ("world", "draws", "seed", "radius")  # what tells one classifier from another


@dataclass(frozen=True)
class Truth:
    """What to train, and where to look.

    Attributes:
        worlds: of `WORLDS`.
        radii: of robust training, L2, as shares of the world's `walk`; 0 is vanilla, and "growing" and "shrinking" are
            a `NoiseRadius` from nothing to the largest, and from the largest to nothing. (The paper's 0.5 is about a
            twenty-fifth of the way to an image of another class on MNIST, and a fortieth on CIFAR-10.)
        draws: sizes of the training set.
        seeds: of training.
        steps: of training.
        levels: times t.
        points: at each level.
        samples: guided by each classifier, at scale 1.
    """

    worlds: tuple[str, ...] = tuple(WORLDS)
    radii: tuple[float | str, ...] = (0.0, 0.05, 0.1, 0.2, 0.4, "growing", "shrinking")
    draws: tuple[int, ...] = (1500, 100_000)
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 1000
    levels: tuple[int, ...] = (0, 25, 50, 100, 200, 300, 400, 600)
    points: int = 1000
    samples: int = 1000

    def models(self) -> tuple[str, ...]:
        """None: it trains its own."""
        return ()

    def cells(self) -> list[dict[str, Any]]:
        """Every classifier: its world, radius, draws and seed."""
        return [dict(zip(CELL, cell)) for cell in product(self.worlds, self.draws, self.seeds, self.radii)]

    def small(self) -> Truth:
        """The same in minutes: vanilla and one radius, few draws, steps and points, one seed."""
        few: dict[str, Any] = {"radii": (0.0, 0.1), "draws": (1500,), "seeds": (0,), "steps": 60}
        return replace(self, **few, levels=(0, 100, 300), points=200, samples=100)

    def parts(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        """All that a classifier's scores depend on."""
        world = _world(cell["world"])
        largest = _largest(self) if isinstance(cell["radius"], str) else None
        return {"cell": cell, "settings": replace(self, worlds=(), radii=(), draws=(), seeds=()), "largest": largest,
                "mixture": law(world.mixture), "walk": world.walk,
                "network": architecture(world.network(cell["seed"]))}  # fmt: skip

    def run(self, bench: Bench) -> Iterator[dict[str, Any]]:
        """What is known by now. On CPUs the cores share the classifiers: networks this small leave them idle."""
        todo = [cell for cell in self.cells() if not bench.store.has("truth", **self.parts(cell))]
        workers = Parallel(-1 if best_device().type == "cpu" else 1, return_as="generator_unordered")
        found = workers(delayed(train_and_score)(cell, self) for cell in todo)
        for scores in tqdm(found, "classifiers", len(todo), unit="classifier", disable=not bench.progress):
            cell = {part: scores.pop(part) for part in CELL}
            bench.store.put(Kept(scores), "truth", **self.parts(cell))
        yield {"classifiers": [bench.store.get("truth", **self.parts(cell)).cell(**cell) for cell in self.cells()]}


def law(world: Mixture) -> list[Any]:
    """What a mixture is on any machine: its log p(xt, y) at a few points, for eigenvectors have signs as it happens."""
    points = (torch.arange(20 * world.means[0].numel()) * 7919 % 1001 / 500 - 1).reshape(20, *world.means.shape[1:])
    return [world.schedule, (1e3 * world.logits(points.to(world.means), torch.full((20,), 100))).round().long()]


@cache
def _world(name: str) -> World:
    return WORLDS[name](schedules.linear(1000))


def _largest(experiment: Truth) -> float:
    return max(radius for radius in experiment.radii if not isinstance(radius, str))


def objective(radius: float | str, schedule: schedules.Schedule, largest: float) -> Objective:
    """Cross-entropy on noised points, attacked within a radius or not, or within one that changes with the noise."""
    if radius == 0:
        return NoisyCrossEntropy()
    ends = {"growing": (0.0, largest), "shrinking": (largest, 0.0)}
    within = NoiseRadius(schedule, *ends[radius]) if isinstance(radius, str) else radius
    return RobustCrossEntropy(PGD(L2(within), steps=7))


def energy_distance(a: Tensor, b: Tensor) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| between samples (N, D) and (M, D): zero only if they come from one law."""
    n, m = len(a), len(b)
    within = torch.cdist(a, a).sum() / (n * (n - 1)) + torch.cdist(b, b).sum() / (m * (m - 1))
    return float(2 * torch.cdist(a, b).mean() - within)


def single_precision(classifier: Any) -> Any:
    """A network as it is used, in float32, several times faster than in float64; any other function as it is."""
    if not isinstance(classifier, nn.Module):
        return classifier
    network = copy.deepcopy(classifier).float()
    return lambda xt, t: network(xt.float(), t)


def score(world: World, classifier: Any, experiment: Truth) -> dict[str, Any]:
    """One classifier against the truth: its gradient by level, in float64, and what it guides."""
    truth, K = world.mixture, world.mixture.num_classes
    x0, y = truth.sample(experiment.points, generator(0, "walks"))
    t, target, used = torch.zeros_like(y), (y + 1) % K, single_precision(classifier)
    walked = gradients.ascend(used, x0, t, target, world.walk)
    wanted = torch.arange(experiment.samples) % K
    guided = guide(unconditional(truth), grad_log_prob(used), 1.0)
    drawn = noise((len(wanted), *truth.means.shape[1:]), seed=0).double()
    for step in ddim(guided, drawn, wanted, steps=50):
        drawn = step.x
    exact, _ = truth.sample(len(wanted), generator(0, "exact"), wanted)
    distances = [energy_distance(drawn[wanted == k].flatten(1), exact[wanted == k].flatten(1)) for k in range(K)]
    return {
        "levels": [_at(level, truth, classifier, experiment.points) for level in experiment.levels],
        "walks_read_by_bayes": metrics.share(truth.logits(walked, t).argmax(1) == target),
        "guided_right": metrics.share(truth.logits(drawn, torch.zeros_like(wanted)).argmax(1) == wanted),
        "guided_energy_distance": sum(distances) / K,
    }


def _at(level: int, truth: Mixture, classifier: Any, points: int) -> dict[str, Any]:
    """How often a classifier is right at a level, and how near its gradient is to the exact one there."""
    random = generator(0, "points", level)
    x0, y = truth.sample(points, random)
    t = torch.full_like(y, level)
    xt = truth.schedule.q_sample(x0, t, torch.randn(x0.shape, generator=random, dtype=x0.dtype))
    other = (y + torch.randint(1, truth.num_classes, y.shape, generator=random)) % truth.num_classes
    with torch.no_grad():
        right = {"accuracy": classifier(xt, t), "bayes_accuracy": truth.logits(xt, t)}
        row: dict[str, Any] = {"t": level, **{n: metrics.share(v.argmax(1) == y) for n, v in right.items()}}
    for name, label in (("own", y), ("other", other)):
        learned, exact = (grad_log_prob(c)(xt, t, label).flatten(1) for c in (classifier, truth.classifier))
        lengths = exact.norm(dim=1)
        error = (learned - exact).norm(dim=1) / lengths
        row[f"cosine_{name}"] = metrics.mean(torch.cosine_similarity(learned, exact, eps=0))
        row[f"error_{name}"] = float(error[error.isfinite()].median())
        row[f"length_{name}"] = float(learned.norm(dim=1).mean() / lengths.mean())
    return row


def train_and_score(cell: Mapping[str, Any], experiment: Truth) -> dict[str, Any]:
    """Train one classifier in a world and hold it against the truth: which one it is, and its scores."""
    name, draws, seed, radius = (cell[part] for part in CELL)
    world = _world(name)
    schedule = world.mixture.schedule
    x0, y = world.mixture.sample(draws, generator(seed, "draws"))
    data = Dataset(x0.float(), y, tuple(map(str, range(world.mixture.num_classes))), f"{name}-{draws}")
    within = radius if isinstance(radius, str) else world.walk * radius
    aim = objective(within, schedule, world.walk * _largest(experiment))
    training = Training(experiment.steps, batch_size=128, lr=2e-3, warmup=20, seed=seed, precision="fp32")
    last = deque(fit(world.network(seed), aim, data, schedule, training), maxlen=1)[0]
    learned = last.network.cpu().double().eval().requires_grad_(False)  # not every GPU has float64
    return {**score(world, learned, experiment), "training_seconds": last.seconds, **cell}
