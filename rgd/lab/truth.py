"""Is a robust gradient nearer to the truth, or only easier to read? Where the data are a mixture, the truth is known.

A `World` is a labelled mixture and a network for its classifiers. A `Truth` trains classifiers on draws from it,
vanilla and robust within several radii, on few draws and on many, and holds their gradients against the exact one; and
it guides the exact denoiser by each gradient, so that what differs from exact conditional samples is the classifier's
fault alone.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from rgd import measure as metrics
from rgd import schedule as schedules
from rgd.attacks import L2, PGD, NoiseRadius
from rgd.data import Dataset
from rgd.guidance import grad_log_prob, guide, unconditional
from rgd.identity import architecture
from rgd.lab.bench import Bench
from rgd.lab.store import Kept
from rgd.lab.worlds import MLP, WORLDS, World, digits, plane, sphere
from rgd.measure import Estimate, gradients
from rgd.objectives import NoisyCrossEntropy, Objective, RobustCrossEntropy
from rgd.processes import best_device
from rgd.randomness import generator, noise
from rgd.samplers import ddim
from rgd.schedule import Schedule
from rgd.training import Training, fit

__all__ = ["MLP", "WORLDS", "Truth", "World", "digits", "energy_distance", "plane", "score", "sphere"]


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
        names = ("world", "draws", "seed", "radius")
        return [dict(zip(names, cell)) for cell in product(self.worlds, self.draws, self.seeds, self.radii)]

    def parts(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        """All that a classifier's scores depend on."""
        world = _world(cell["world"])
        settings = replace(self, worlds=(), radii=(), draws=(), seeds=())
        largest = _largest(self) if isinstance(cell["radius"], str) else None
        return {"cell": cell, "settings": settings, "largest": largest, "mixture": world.mixture, "walk": world.walk,
                "network": architecture(world.network(cell["seed"]))}  # fmt: skip

    def run(self, bench: Bench) -> Iterator[dict[str, Any]]:
        """What is known by now. On CPUs the cores share the classifiers, one thread each: networks this small leave
        them idle."""
        workers = (os.cpu_count() or 1) if best_device().type == "cpu" else 1
        todo = [cell for cell in self.cells() if not bench.store.has("truth", **self.parts(cell))]
        with tqdm(total=len(todo), desc="classifiers", unit="classifier", disable=not bench.progress) as bar:
            for cell, found in _together(self, todo, workers):
                bench.store.put(Kept(found), "truth", **self.parts(cell))
                bar.update()
        kept = [(cell, bench.store.get("truth", **self.parts(cell))) for cell in self.cells()]
        yield {"classifiers": [entry.cell(**cell) for cell, entry in kept]}


@cache
def _world(name: str) -> World:
    return WORLDS[name](schedules.linear(1000))


def _largest(experiment: Truth) -> float:
    return max(radius for radius in experiment.radii if not isinstance(radius, str))


def _together(
    experiment: Truth, todo: list[dict[str, Any]], workers: int
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each cell with its scores, as they come."""
    if workers == 1 or len(todo) < 2:
        yield from ((cell, train_and_score(cell, experiment)) for cell in todo)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        tasks = {pool.submit(train_and_score, cell, experiment): cell for cell in todo}
        try:
            yield from ((tasks[done], done.result()) for done in as_completed(tasks))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def objective(radius: float | str, schedule: Schedule, largest: float) -> Objective:
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
    truth, rows = world.mixture, []
    K = truth.num_classes
    for level in experiment.levels:
        random = generator(0, "points", level)
        x0, y = truth.sample(experiment.points, random)
        t = torch.full_like(y, level)
        xt = truth.schedule.q_sample(x0, t, torch.randn(x0.shape, generator=random, dtype=x0.dtype))
        other = (y + torch.randint(1, K, y.shape, generator=random)) % K
        with torch.no_grad():
            verdict, bayes = classifier(xt, t).argmax(1), truth.logits(xt, t).argmax(1)
        row: dict[str, Any] = {
            "t": level,
            "accuracy": metrics.proportion(int((verdict == y).sum()), len(y)),
            "bayes_accuracy": metrics.proportion(int((bayes == y).sum()), len(y)),
        }
        for name, label in (("own", y), ("other", other)):
            learned, exact = (grad_log_prob(c)(xt, t, label).flatten(1) for c in (classifier, truth.classifier))
            lengths = exact.norm(dim=1)
            error = (learned - exact).norm(dim=1) / lengths
            row[f"cosine_{name}"] = metrics.mean(torch.cosine_similarity(learned, exact, eps=0))
            row[f"error_{name}"] = float(error[error.isfinite()].median())
            row[f"length_{name}"] = float(learned.norm(dim=1).mean() / lengths.mean())
        rows.append(row)
    x0, y = truth.sample(experiment.points, generator(0, "walks"))
    target, used = (y + 1) % K, single_precision(classifier)
    walked = gradients.ascend(used, x0, torch.zeros_like(y), target, world.walk)
    convinced = truth.logits(walked, torch.zeros_like(y)).argmax(1) == target
    wanted = torch.arange(experiment.samples) % K
    guided = guide(unconditional(truth), grad_log_prob(used), 1.0)
    start = noise((len(wanted), *truth.means.shape[1:]), seed=0).double()
    drawn = start
    for step in ddim(guided, start, wanted, steps=50):
        drawn = step.x
    exact, _ = truth.sample(len(wanted), generator(0, "exact"), wanted)
    right = truth.logits(drawn, torch.zeros_like(wanted)).argmax(1) == wanted
    distances = [energy_distance(drawn[wanted == k].flatten(1), exact[wanted == k].flatten(1)) for k in range(K)]
    return {
        "levels": rows,
        "walks_read_by_bayes": metrics.proportion(int(convinced.sum()), len(y)),
        "guided_right": metrics.proportion(int(right.sum()), len(wanted)),
        "guided_energy_distance": sum(distances) / K,
    }


def train_and_score(cell: Mapping[str, Any], experiment: Truth) -> dict[str, Any]:
    """Train one classifier in a world and hold it against the truth; the scores as JSON."""
    name, radius, draws, seed = (cell[part] for part in ("world", "radius", "draws", "seed"))
    schedule = schedules.linear(1000)
    world = WORLDS[name](schedule)
    x0, y = world.mixture.sample(draws, generator(seed, "draws"))
    data = Dataset(x0.float(), y, tuple(map(str, range(world.mixture.num_classes))), f"{name}-{draws}")
    network = world.network(seed)
    largest = world.walk * _largest(experiment)
    within = radius if isinstance(radius, str) else world.walk * radius
    training = Training(experiment.steps, batch_size=128, lr=2e-3, warmup=20, seed=seed, precision="fp32")
    seconds = 0.0
    for step in fit(network, objective(within, schedule, largest), data, schedule, training):
        seconds = step.seconds
    learned = network.cpu().double().eval().requires_grad_(False)  # not every GPU has float64
    found = {**score(world, learned, experiment), "training_seconds": seconds}
    return json.loads(json.dumps(found, default=Estimate.to_json))
