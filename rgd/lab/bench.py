"""What every experiment works on: models by name, images, one store, and one file of results.

A plan, such as a `Comparison`, says what is wanted; its `run(bench)` yields what is known by now, and `run` writes it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from tqdm import tqdm

from rgd.data import Dataset, same_classes
from rgd.errors import CheckpointError, MissingModel
from rgd.identity import identity, key, weights_digest
from rgd.lab import datasets, registry
from rgd.lab.checks import need
from rgd.lab.origin import provenance
from rgd.lab.store import Store, Unknown, sealed
from rgd.layers import image_shape
from rgd.measure import Estimate
from rgd.processes import processes
from rgd.training.checkpoints import Model, understood, write_atomic

Load = Callable[[str, str], Dataset]
T = TypeVar("T")


@runtime_checkable
class Plan(Protocol):
    """An experiment: a frozen dataclass that knows what it needs and how to find out."""

    def models(self) -> tuple[str, ...]:
        """The names of the models that it needs."""

    def small(self) -> Plan:
        """The same in minutes: small, but complete."""

    def run(self, bench: Bench) -> Iterator[dict[str, Any]]:
        """What is known by now, again and again; at the end all of it."""


class Bench:
    """One experiment at work.

    Args:
        plan: what is wanted.
        out: the file of results. What it says already is taken over where it depends on the same things.
        runs: where `rgd train` put models that are not published; the store is in it too.
        progress: whether to show progress bars.
        load: (name, split) -> a data set.
        store: the folder of what was done; default `runs/store`.
    """

    def __init__(
        self, plan: Plan, out: Path | str, *, runs: Path | str = "runs", progress: bool = True,
        load: Load = datasets.load, store: Path | str | None = None,
    ) -> None:  # fmt: skip
        self.load = load
        self.plan, self.out, self.runs, self.progress = plan, Path(out), Path(runs), progress
        self.earlier: dict[str, Any] = processes().first(self._earlier)
        self.store = Store(self.runs / "store" if store is None else Path(store))
        self.began = time.perf_counter()
        self.model, self.key = cache(self._model), cache(self._key)
        if processes().rank == 0 and self.earlier:
            try:
                with understood(self.out):
                    self.store.absorb(self.earlier, self.earlier["provenance"])
            except CheckpointError as error:
                raise CheckpointError(f"{self.out}: {error}") from error
        processes().wait()

    def _earlier(self) -> dict[str, Any]:
        """What the file of results says, if there is one; CheckpointError if it is none."""
        if not self.out.exists():
            return {}
        with understood(self.out):
            found = json.loads(self.out.read_text())
            kinds = {"provenance": dict, "keys": dict, "made": dict, "weights": dict, "before": list}
            wrong = [name for name, kind in kinds.items() if not isinstance(found.get(name, kind()), kind)]
            if wrong or "provenance" not in found or not isinstance(found.get("seconds", 0), int | float):
                raise ValueError(f"{', '.join(wrong) or 'its origin'} is not what it is in a file of results")
            return found

    def _model(self, name: str) -> Model:
        model = processes().first(lambda: registry.find(name, self.runs))
        model.network.to(processes().device)
        return model

    def has(self, name: str) -> bool:
        """Whether there is such a model; one that cannot be read is an error, and not gone."""
        try:
            self.model(name)
        except MissingModel:
            return False
        return True

    def _key(self, name: str) -> str:
        """The key of a model; of one that is gone, what the file of results says that it was.

        Raises:
            CheckpointError: if it is gone and was never measured.
        """
        known = self.earlier.get("keys", {})
        return known[name] if name in known and not self.has(name) else key(self.model(name))

    def images(self, name: str, split: str = "train") -> Dataset:
        """A data set. DataError if its classes are others than a model's of the plan, or in another order; RgdError if
        the images of the plan's own are of another size than a model's."""
        data = self.load(name, split)
        for model in filter(self.has, self.plan.models()):
            if self.model(model).classes:
                same_classes(self.model(model).classes, data.classes, model, data.name)
            config = getattr(self.model(model).network, "config", None)
            if name == getattr(self.plan, "data", None) and hasattr(config, "image_size"):
                fits = image_shape(config) == data.shape
                need(fits, f"{model} sees images of {image_shape(config)}, and those of {name} are of {data.shape}")
        return data

    def each(
        self, things: Sequence[T], find: Callable[[T], Any], needs: Callable[[T], Iterable[str]]
    ) -> Iterator[dict[T, Any]]:
        """What is found of each thing, whenever there is more; first all that is known, so that no file gets poorer.

        `needs` are the names of the models that finding takes.

        Raises:
            CheckpointError: before anything is computed, if a model that is needed cannot be had.
        """
        found: dict[T, Any] = {}
        with self.store.as_it_is():
            for thing in things:
                with suppress(Unknown):
                    found[thing] = find(thing)
        if found:
            yield found
        left = [thing for thing in things if thing not in found]
        for name in (name for thing in left for name in needs(thing)):
            self.model(name)
        for thing in tqdm(left, "measuring", disable=not self.progress or processes().rank > 0):
            found[thing] = find(thing)
            yield found

    def write(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Write what a plan found, and where it comes from; the same on every process."""
        names = self.plan.models()
        had = [name for name in names if self.has(name)]
        was = {name: self.earlier.get(name, {}) for name in ("made", "weights")}
        made = {n: self.model(n).provenance if n in had else was["made"].get(n) for n in names}
        weights = {n: weights_digest(self.model(n).network) if n in had else was["weights"].get(n) for n in names}
        now = provenance()
        before: list[dict[str, Any]] = []
        for origin in [*self.earlier.get("before", ()), *self.store.used]:
            if not any(same_day(origin, other) for other in (*before, now)):
                before.append(dict(origin))
        spent = self.earlier.get("seconds", 0) if before else 0
        results = {
            "kind": type(self.plan).__name__.lower(),
            "plan": identity(self.plan),
            "keys": {name: self.key(name) for name in names},
            "weights": weights,
            "made": made,
            **body,
            "provenance": now,
            "before": before,
            "seconds": round(spent + time.perf_counter() - self.began),
        }
        results = sealed(json.loads(json.dumps(results, default=Estimate.to_json)))
        if same_findings(results, self.earlier):
            return self.earlier  # nothing is new: the file says when it was found
        if processes().rank == 0:
            write_atomic(self.out, json.dumps(results, indent=1).encode())
        return results


WHERE_AND_WHEN = ("provenance", "before", "seconds", "migrated", "seal")


def same_findings(a: Any, b: Any) -> bool:
    """Whether two results say the same, to rounding, apart from where and when they were found."""
    if isinstance(a, dict) and isinstance(b, dict):
        names = (a.keys() | b.keys()).difference(WHERE_AND_WHEN)
        return all(name in a and name in b and same_findings(a[name], b[name]) for name in names)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_findings, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    return bool(a == b)


def same_day(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two runs were made on one day by the same commit."""
    return (a["date"][:10], a["commit"]) == (b["date"][:10], b["commit"])


def run(plan: Plan, out: Path | str, **options: Any) -> dict[str, Any]:
    """Run an experiment, or what is left of it, and write its results.

    Args:
        out: the JSON file of the results; what it has already is not done again: name another file, and another
            `store`, to have all of it anew.
        options: `runs`, `progress`, `load`, `store`, as `Bench` takes them.

    Raises:
        CheckpointError: if a model cannot be had of which something is not yet known.
        DataError: if class names do not agree.
    """
    bench, results, body = Bench(plan, out, **options), {}, None
    try:
        for body in plan.run(bench):
            results = bench.write(body)
    except BaseException:
        if body is not None:  # a run that is stopped took time too
            bench.write(body)
        raise
    return results
