"""Which guidance is best, by how much, and how sure is that?

A `Comparison` names ways to guide and the scales to try. `run` takes one way after the other. First it sweeps: the way
at every scale, on one seed. Then its best scale (least FD-judge) is drawn anew, with more samples and on other seeds,
so that the choice of the scale flatters nobody; these are the headline numbers, and `pairs` are subtracted sample by
sample. Every cell is kept under a hash of all that it depends on: a run that was stopped goes on, and a changed model
is computed anew. Scores do not need the samples they came from, and are in the file of the results: a run goes on
from that file alone, on another machine. Under `accelerate launch` the processes share the sampling.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from rgd import checkpoints
from rgd import measure as metrics
from rgd.checkpoints import Model, content_key, write_atomic
from rgd.data import Dataset
from rgd.denoiser import Denoiser
from rgd.errors import CheckpointError
from rgd.guidance import (
    Gradient,
    autoguidance,
    cap,
    classifier_free,
    grad_log_prob,
    grad_log_prob_at_x0,
    grad_log_prob_of_x0,
    guide,
    smooth,
    unconditional,
)
from rgd.lab import datasets
from rgd.lab import registry as zoo
from rgd.lab.judge import Judge
from rgd.lab.recipe import provenance
from rgd.measure import Estimate, Features, plots
from rgd.processes import processes
from rgd.randomness import noise
from rgd.samplers import dpm_solver, sample
from rgd.training import autocast

Kind = Literal["none", "classifier", "through x0", "at x0", "classifier-free", "autoguidance"]
SWEEP = ("fd", "sfd", "precision", "recall", "accuracy")
HEADLINE = (*SWEEP, "kid")
INCEPTION = {"fid": "fd", "kid_inception": "kid"}  # in the headline, where Inception looks too


@dataclass(frozen=True)
class Entry:
    """One way to guide.

    Attributes:
        name: in tables and figures; no two entries share one.
        denoiser: a model's name, see `find`.
        kind: "classifier" by the gradient of a time-dependent classifier; "through x0" by a classifier of clean
            images, differentiated through the denoiser and smoothed; "at x0" by EluCD's detached gradient;
            "classifier-free"; "autoguidance" away from a worse denoiser; "none".
        guide: the model that guides: a classifier, or the worse denoiser.
        scales: to try.
        interval: of t, where guidance acts.
        blind: whether the denoiser, one with a null label, is not told the class, and the guide alone decides it.
        most: where a classifier's gradient is to be kept from becoming longer, see `cap`; before it is smoothed.
    """

    name: str
    denoiser: str
    kind: Kind = "none"
    guide: str | None = None
    scales: tuple[float, ...] = (0.0,)
    interval: tuple[float, float] = (0, math.inf)
    blind: bool = False
    most: float | None = None

    def build(self, model: Callable[[str], Any], scale: float) -> Denoiser:
        """The guided denoiser; `model` gives what a name stands for."""
        denoise, other = model(self.denoiser), None if self.guide is None else model(self.guide)
        if self.blind:
            denoise = unconditional(denoise)
        if self.kind == "none":
            return denoise
        if self.kind == "classifier-free":
            return classifier_free(denoise, scale, self.interval)
        if other is None:
            raise ValueError(f"{self.name}: guidance of the kind {self.kind!r} needs a model that guides")
        if self.kind == "autoguidance":
            return autoguidance(denoise, other, scale, self.interval)
        gradient: Gradient
        if self.kind == "classifier":
            gradient = grad_log_prob(other)
        elif self.kind == "through x0":
            gradient = grad_log_prob_of_x0(other, denoise)
        else:
            gradient = grad_log_prob_at_x0(other, denoise)
        if self.most is not None:
            gradient = cap(gradient, denoise.schedule, self.most)
        if self.kind == "through x0":
            gradient = smooth(gradient)
        return guide(denoise, gradient, scale, self.interval)


@dataclass(frozen=True)
class Comparison:
    """Ways to guide, and how to compare them.

    Attributes:
        data: the data set whose training images are the reference.
        judge: a model's name; it must not guide.
        entries: the ways.
        pairs: (a, b) by name: a minus b is reported, each at its best scale.
        samples, seed: of the sweep.
        headline_samples, headline_seeds: of the headline numbers; the seeds must not include the sweep's.
        steps: of DPM-Solver++(2M), as `Schedule.respace` takes them.
        reference: how many training images distances are measured to, the first ones.
        batch_size: images at a time.
        inception: whether headline samples are also measured in Inception's features, so that a FID can be told: for a
            GPU, and see `rgd.metrics.load_inception` for the weights.
    """

    data: str
    judge: str
    entries: tuple[Entry, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    samples: int = 2000
    seed: int = 0
    headline_samples: int = 10_000
    headline_seeds: tuple[int, ...] = (1, 2, 3)
    steps: int | str = "quadratic15"
    reference: int = 10_000
    batch_size: int = 250
    inception: bool = False

    def __post_init__(self) -> None:
        names = [entry.name for entry in self.entries]
        unknown = {name for pair in self.pairs for name in pair} - set(names)
        if len(set(names)) < len(names) or unknown:
            raise ValueError(f"entries need names of their own, and pairs must name them; wrong: {unknown or names}")
        if self.seed in self.headline_seeds:
            raise ValueError("the seed that chooses the scale must not be among those that are reported")


def small(comparison: Comparison) -> Comparison:
    """The same in minutes: every way to guide at two of its scales, with few samples, on two seeds."""
    return replace(
        comparison,
        entries=tuple(replace(entry, scales=entry.scales[1:4:2] or entry.scales) for entry in comparison.entries),
        samples=100,
        headline_samples=200,
        headline_seeds=(1, 2),
        steps="quadratic10",
        reference=2000,
    )


def find(name: str, runs: Path | str = "runs") -> Model:
    """A model by name: as made by `rgd train` in `runs/NAME`, else as published.

    One that was made here and then published is taken as published, with its weights rounded: results must not depend
    on who has the unrounded ones.

    Raises:
        CheckpointError: if it is neither.
    """
    made = Path(runs) / name / "model.safetensors"
    model = checkpoints.load(made, processes().device) if made.exists() else None
    if name in zoo.names():
        published = zoo.model(name)
        if model is None or model.provenance == published.provenance:
            return published
    if model is None:
        recipe = f"recipes/{name.replace('/', '_')}.py"
        raise CheckpointError(f"{name} is not published, and there is no {made}: make it with rgd train {recipe}")
    return model


class _Unknown(Exception):
    """A value that no earlier run has kept."""


class _Bench:
    """One comparison at work: its models, its cache, its processes.

    While `known_only` it computes nothing, and raises `_Unknown` for what is not in the cache.
    """

    known_only = False

    def __init__(self, comparison: Comparison, folder: Path, runs: Path | str, progress: bool) -> None:
        self.comparison, self.folder, self.progress = comparison, folder, progress
        names = {comparison.judge}
        for entry in comparison.entries:
            names |= {name for name in (entry.denoiser, entry.guide) if name is not None}
        self.models = {name: find(name, runs) for name in sorted(names)}
        self.digests = {name: checkpoints.weights_digest(model.network) for name, model in self.models.items()}
        self.data = datasets.load(comparison.data)
        judge = self.models[comparison.judge].network
        if not isinstance(judge, Judge):
            raise CheckpointError(f"{comparison.judge} holds a {type(judge).__name__}, where a judge is needed")
        self.eyes: dict[str, nn.Module] = {"judge": judge}
        if comparison.inception:
            self.eyes["inception"] = metrics.load_inception().to(processes().device)
        # All measuring is the first process's work, and the others have no need of a reference.
        self.references = self.look(self.data.take(comparison.reference)) if processes().rank == 0 else {}

    def build(self, entry: Entry, scale: float) -> Denoiser:
        return entry.build(lambda name: self.models[name].use(), scale)

    def look(self, images: torch.Tensor | Dataset, labels: torch.Tensor | None = None) -> dict[str, Features]:
        """What judge and Inception see in images."""
        with processes().alone():
            return {name: metrics.extract(images, eye, labels=labels) for name, eye in self.eyes.items()}

    def autocast(self, entry: Entry) -> AbstractContextManager:
        return autocast(processes().device, network=self.models[entry.denoiser].network)

    def key(self, entry: Entry, scale: float, seed: int, n: int) -> dict[str, Any]:
        """All that the samples of a cell depend on."""
        plan = self.comparison
        return {
            "kind": entry.kind, "scale": scale, "interval": [str(end) for end in entry.interval], "n": n, "seed": seed,
            "blind": entry.blind, "inception": plan.inception,
            "denoiser": self.digests[entry.denoiser], "guide": entry.guide and self.digests[entry.guide],
            "sampler": "dpm_solver", "steps": plan.steps, "judge": self.digests[plan.judge],
            "classes": len(self.data.classes), "shape": self.data.shape,
            **({} if entry.most is None else {"most": entry.most}),  # without it, the key that such cells always had
        }  # fmt: skip

    def file(self, kind: str, entry: Entry, scale: float, seed: int, n: int) -> Path:
        """Where a cell keeps its "samples", that is what the judge saw in them, and the "first" images themselves."""
        return self.folder / kind / f"{content_key(self.key(entry, scale, seed, n))}.safetensors"

    def draw(self, entry: Entry, scale: float, seed: int, n: int) -> torch.Tensor:
        """The samples of a cell, labels in turn."""
        plan = self.comparison
        with self.autocast(entry):
            return sample(
                self.build(entry, scale), (n, *self.data.shape), torch.arange(n) % len(self.data.classes),
                sampler=dpm_solver, steps=plan.steps, seed=seed, batch_size=plan.batch_size,
                progress=f"{entry.name} x{scale:g}, seed {seed}" if self.progress else False,
            )  # fmt: skip

    def first(self, entry: Entry, scale: float, seed: int, n: int) -> torch.Tensor:
        """The first images of a cell, one of each class, as uint8; what they are does not depend on how many follow."""
        path = self.file("first", entry, scale, seed, n)
        processes().wait()
        if not path.exists():
            images = metrics.quantise(self.draw(entry, scale, seed, len(self.data.classes)))
            if processes().rank == 0:
                checkpoints.write(path, {"images": images}, provenance())
            processes().wait()
        return checkpoints.read(path)[0]["images"][: len(self.data.classes)]

    def seen(self, entry: Entry, scale: float, seed: int, n: int) -> tuple[dict[str, Features], float]:
        """What is seen in a cell's samples, in the first process, and how many images a second were drawn."""
        group = processes()
        path = self.file("samples", entry, scale, seed, n)
        labels = torch.arange(n) % len(self.data.classes)
        group.wait()  # until nobody is writing what all are about to look for
        if not path.exists():
            began = time.perf_counter()
            images = self.draw(entry, scale, seed, n)
            speed = n / (time.perf_counter() - began)
            if group.rank == 0:
                kept = {}
                for eye, found in self.look(images, labels).items():
                    for part in ("features", "logits", "spatial"):
                        if getattr(found, part) is not None:
                            kept[f"{eye}/{part}"] = getattr(found, part).float()
                first = {"images": metrics.quantise(images[: len(self.data.classes)])}
                checkpoints.write(self.file("first", entry, scale, seed, n), first, provenance())
                checkpoints.write(path, kept, {"images_per_second": speed, **provenance()})
            group.wait()
        tensors, metadata = checkpoints.read(path)
        seen = {}
        for eye, reference in self.references.items():
            parts = {name.split("/")[1]: v.double() for name, v in tensors.items() if name.startswith(f"{eye}/")}
            seen[eye] = Features(source=reference.source, shape=self.data.shape, labels=labels, **parts)
        return seen, metadata["images_per_second"]

    def measure(self, names: Sequence[str], seen: Mapping[str, Features]) -> dict[str, Estimate]:
        """Each metric of what was seen, by the judge's features or by Inception's."""
        found = {}
        for name in names:
            eye = "inception" if name in INCEPTION else "judge"
            with processes().alone():
                found[name] = metrics.estimate(INCEPTION.get(name, name), seen[eye], self.references[eye])
        return found

    def shared(self, kind: str, key: object, compute: Callable[[], Any]) -> Any:
        """A JSON value computed once, in which all processes take part, kept by the first and read by all."""
        path = self.folder / kind / f"{content_key(key)}.json"
        processes().wait()  # until nobody is writing what all are about to look for
        if not path.exists():
            if self.known_only:
                raise _Unknown(path.name)
            found = compute()
            if processes().rank == 0:
                write_atomic(path, json.dumps(found, default=Estimate.to_json).encode())
            processes().wait()
        return json.loads(path.read_text())

    def score_key(self, entry: Entry, scale: float, seed: int, n: int, names: tuple[str, ...]) -> object:
        return [self.key(entry, scale, seed, n), names, self.data.digest, self.comparison.reference]

    def score(self, entry: Entry, scale: float, seed: int, n: int, names: tuple[str, ...]) -> dict[str, Any]:
        """A cell of the results. Samples are drawn only if there is no score yet: scores outlive them."""

        def compute() -> dict[str, Any]:
            seen, speed = self.seen(entry, scale, seed, n)
            return {"images_per_second": speed, **(self.measure(names, seen) if processes().rank == 0 else {})}

        found = self.shared("scores", self.score_key(entry, scale, seed, n, names), compute)
        return {"name": entry.name, "scale": scale, "seed": seed, "samples": n, **found}

    def difference_key(self, a: tuple[Entry, float], b: tuple[Entry, float], seed: int, n: int) -> object:
        keys = [self.key(entry, scale, seed, n) for entry, scale in (a, b)]
        return [keys, SWEEP, self.data.digest, self.comparison.reference]

    def real_key(self, names: tuple[str, ...]) -> object:
        plan = self.comparison
        return ["real", self.digests[plan.judge], self.data.digest, plan.reference, names]

    def real(self, names: tuple[str, ...]) -> dict[str, Any]:
        """The scores of held-out images, as many as there are in the reference at most."""

        def compute() -> dict[str, Any]:
            if processes().rank > 0:
                return {}
            test = datasets.load(self.comparison.data, "test").take(self.comparison.reference)
            return dict(self.measure(names, self.look(test, test.labels)))

        return dict(self.shared("scores", self.real_key(names), compute))

    def difference(self, a: tuple[Entry, float], b: tuple[Entry, float], seed: int, n: int) -> dict[str, Any]:
        """a minus b, sample by sample."""

        def compute() -> dict[str, Any]:
            seen = [self.seen(entry, scale, seed, n)[0] for entry, scale in (a, b)]
            if processes().rank > 0:
                return {}
            first, second, reference = (part["judge"] for part in (*seen, self.references))
            with processes().alone():
                return {name: metrics.paired_difference(name, first, second, reference) for name in SWEEP}

        return self.shared("differences", self.difference_key(a, b, seed, n), compute)

    def recall(self, results: Mapping[str, Any]) -> bool:
        """Take over the cells of an earlier file of results, where they would be the same here; were there any?"""
        plan, theirs, weights = asdict(self.comparison), results["plan"], results["weights"]
        same = all(plan[name] == theirs[name] for name in ("judge", "reference", "steps", "inception"))
        if not same or results.get("data_digest") != self.data.digest:
            return False

        def unchanged(entry: Entry) -> bool:
            was: dict[str, Any] = next((was for was in theirs["entries"] if was["name"] == entry.name), {})
            was = {"most": None, **was}  # of which older files do not know
            models = [name for name in (self.comparison.judge, entry.denoiser, entry.guide) if name is not None]
            return {**was, "scales": ()} == {**_plain(entry), "scales": ()} and all(
                weights[name] == self.digests[name] for name in models
            )

        known = {entry.name: entry for entry in self.comparison.entries if unchanged(entry)}

        def put(kind: str, key: object, found: dict[str, Any]) -> None:
            path = self.folder / kind / f"{content_key(key)}.json"
            if not path.exists():
                write_atomic(path, json.dumps(found).encode())

        names = headline_names(self.comparison)
        judged_alike = weights[self.comparison.judge] == self.digests[self.comparison.judge]
        if judged_alike and set(names) <= set(results["real"]):
            put("scores", self.real_key(names), results["real"])
        cells: list[tuple[dict[str, Any], tuple[str, ...]]] = [(cell, SWEEP) for cell in results["sweep"]]
        cells += [(cell, names) for row in results["headline"] for cell in row["seeds"]]
        for cell, wanted in cells:
            if cell["name"] in known and set(wanted) <= set(cell):
                key = self.score_key(known[cell["name"]], cell["scale"], cell["seed"], cell["samples"], wanted)
                put("scores", key, {name: cell[name] for name in ("images_per_second", *wanted)})
        headline = {row["name"]: row for row in results["headline"]}
        for row in results["differences"]:
            if row["a"] in known and row["b"] in known and set(SWEEP) <= set(row):
                a, b = ((known[name], headline[name]["scale"]) for name in (row["a"], row["b"]))
                for cell, part in zip(headline[row["a"]]["seeds"], row["seeds"]):
                    put("differences", self.difference_key(a, b, cell["seed"], cell["samples"]), part)
        return bool(known)

    def forecast(self) -> str:
        """What remains to be done, and about how long it will take, from a few timed calls of each way to guide."""
        plan, rows = self.comparison, 64
        missing = seconds = 0.0
        x, y = noise((rows, *self.data.shape)).to(processes().device), torch.arange(rows) % len(self.data.classes)
        for entry in plan.entries:
            cells = [(scale, plan.seed, plan.samples) for scale in entry.scales]
            keys = {cell: content_key(self.score_key(entry, *cell, SWEEP)) for cell in cells}
            left = [cell for cell, key in keys.items() if not (self.folder / "scores" / f"{key}.json").exists()]
            images = sum(n for _, _, n in left) + plan.headline_samples * len(plan.headline_seeds)
            guided = self.build(entry, entry.scales[-1])
            t = torch.full((rows,), guided.schedule.T // 3, device=x.device)  # where guidance usually acts
            took = math.inf
            for _ in range(2):
                began = time.perf_counter()
                with torch.no_grad(), self.autocast(entry):
                    float(guided(x, t, y.to(x.device)).eps.sum())
                took = min(took, time.perf_counter() - began)
            missing += len(left)
            seconds += images / rows * took * guided.schedule.respace(plan.steps).T / processes().count
        return (
            f"{len(plan.entries)} ways to guide; {missing:.0f} cells of the sweep and "
            f"{len(plan.entries) * len(plan.headline_seeds)} of {plan.headline_samples} samples: about "
            f"{seconds / 3600:.1f} hours of sampling at most. What is done is kept: stop with Ctrl-C, and the same "
            "command goes on."
        )


def _same_day(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two runs were made on one day by the same commit."""
    return (a["date"][:10], a["commit"]) == (b["date"][:10], b["commit"])


def _plain(entry: Entry) -> dict[str, Any]:
    """An entry for JSON, which knows no infinity."""
    return asdict(entry) | {"interval": [None if math.isinf(end) else end for end in entry.interval]}


def combine(parts: list[dict[str, Any]]) -> Estimate:
    """The mean of estimates from independent seeds, as JSON, with the interval that their own intervals give it."""
    value = sum(part["value"] for part in parts) / len(parts)
    error = math.sqrt(sum(((part["high"] - part["low"]) / 2) ** 2 for part in parts)) / len(parts)
    n = sum(part["n"] for part in parts)
    return Estimate(value, value - error, value + error, n, f"mean over {len(parts)} seeds; {parts[0]['method']}")


def best_scales(sweep: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """For each entry the scale of least FD-judge."""
    best: dict[str, Mapping[str, Any]] = {}
    for cell in sweep:
        if cell["name"] not in best or cell["fd"]["value"] < best[cell["name"]]["fd"]["value"]:
            best[cell["name"]] = cell
    return {name: cell["scale"] for name, cell in best.items()}


def headline_names(comparison: Comparison) -> tuple[str, ...]:
    """The metrics of the headline numbers."""
    return (*HEADLINE, *(INCEPTION if comparison.inception else ()))


def run(
    comparison: Comparison,
    folder: Path | str,
    out: Path | str,
    *,
    runs: Path | str = "runs",
    progress: bool = True,
) -> dict[str, Any]:
    """Run a comparison, or what is left of it, and write its results.

    Args:
        folder: where cells are kept.
        out: the JSON file of the results, written whenever a way to guide has its headline numbers; `left` in it names
            those that have none yet. If the file is there already, what it says of the same models, data and entries
            is taken over, and where that came from is kept as `before`; name another file to have all drawn anew. A
            picture of samples from the same noise goes beside it.
        runs: where `rgd train` put models that are not published.

    Raises:
        CheckpointError: if a model cannot be had.
    """
    bench = _Bench(comparison, Path(folder), runs, progress)
    before: list[dict[str, Any]] = []
    if Path(out).exists() and processes().rank == 0:
        earlier = json.loads(Path(out).read_text())
        if bench.recall(earlier):
            before = [*earlier.get("before", ()), earlier["provenance"]]
    if progress and processes().rank == 0:
        print(bench.forecast())
    plan, entries = comparison, {entry.name: entry for entry in comparison.entries}
    names = headline_names(plan)
    n, seeds = plan.headline_samples, plan.headline_seeds
    results: dict[str, Any] = {
        "data": plan.data,
        "data_digest": bench.data.digest,
        "plan": {**asdict(plan), "entries": [_plain(entry) for entry in plan.entries]},
        "weights": bench.digests,
        "made": {name: model.provenance for name, model in bench.models.items()},
        "real": bench.real(names),
    }
    sweep: dict[str, list[dict[str, Any]]] = {}
    best: dict[str, float] = {}
    headline: dict[str, dict[str, Any]] = {}
    differences: dict[tuple[str, str], dict[str, Any]] = {}

    def sweep_of(name: str) -> None:
        if name not in sweep:
            scales = entries[name].scales
            sweep[name] = [bench.score(entries[name], scale, plan.seed, plan.samples, SWEEP) for scale in scales]
            best.update(best_scales(sweep[name]))

    def headline_of(name: str) -> None:
        if name not in headline:
            sweep_of(name)
            cells = [bench.score(entries[name], best[name], seed, n, names) for seed in seeds]
            means = {metric: combine([cell[metric] for cell in cells]).to_json() for metric in names}
            headline[name] = {"name": name, "scale": best[name], **means, "seeds": cells}

    def difference_of(a: str, b: str) -> None:
        sweep_of(a)
        sweep_of(b)
        ends, parts = ((entries[a], best[a]), (entries[b], best[b])), []
        for seed in seeds:  # scores and differences at once: what a stopped run has done stands without its samples
            for end in ends:
                bench.score(*end, seed, n, names)
            parts.append(bench.difference(*ends, seed, n))
        means = {name: combine([part[name] for part in parts]).to_json() for name in SWEEP}
        differences[a, b] = {"a": a, "b": b, **means, "seeds": parts}
        headline_of(a)
        headline_of(b)

    def known(name: str) -> list[dict[str, Any]]:
        """Of a sweep that is not finished, because scales were added or it was stopped, what there is."""
        found, before, bench.known_only = [], bench.known_only, True
        for scale in entries[name].scales:
            with suppress(_Unknown):
                found.append(bench.score(entries[name], scale, plan.seed, plan.samples, SWEEP))
        bench.known_only = before
        return found

    def keep() -> None:
        """Write what is known by now: a run of hours can be read from before its end."""
        results["sweep"] = [cell for name in entries for cell in sweep.get(name) or known(name)]
        results["headline"] = [headline[name] for name in entries if name in headline]
        results["differences"] = [differences[pair] for pair in plan.pairs if pair in differences]
        results["left"] = [name for name in entries if name not in headline]
        results["provenance"] = now = provenance()
        results["before"] = [was for was in before if not _same_day(was, now)]
        rows = {}
        for name in (name for name in entries if name in headline):
            images = bench.first(entries[name], best[name], seeds[0], n)
            title = f"{name}, {best[name]:g}" if entries[name].kind != "none" else name
            rows[plots.plain(title)] = images[:10] / 127.5 - 1
        if processes().rank == 0 and rows:
            write_atomic(Path(out), json.dumps(results, indent=1).encode())
            columns = [plots.plain(name) for name in bench.data.classes[:10]]
            plots.picture_table(rows, columns, size=0.6).savefig(Path(out).with_suffix(".png"), dpi=150)

    tasks = [partial(difference_of, a, b) for a, b in plan.pairs] + [partial(headline_of, name) for name in entries]
    left = []
    bench.known_only = True  # first what earlier runs have done: the file is never poorer than it was
    for task in tasks:
        try:
            task()
        except _Unknown:
            left.append(task)
    bench.known_only = False
    keep()
    for task in left:
        task()
        keep()
    return results
