"""One store for everything that is computed: trained models, images, what is seen in them, scores, rows of results.

An entry is kept under the key of all that it depends on (`rgd.identity`), in a file that says so in words too, appears
whole or not at all, and is checked when it is read. So a run that was stopped goes on, a question asked twice costs
once, and what depends on something that has changed is computed anew, because its key is another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from rgd.errors import CheckpointError
from rgd.identity import identity, key
from rgd.lab.origin import provenance
from rgd.measure.estimates import Estimate
from rgd.processes import processes
from rgd.training import checkpoints

# By kind, what our own code makes of the parts: 1, to be raised when it changes its meaning, so that what an earlier
# version kept is not taken for what this one would compute.
VERSIONS: dict[str, int] = {}


@dataclass(frozen=True)
class Kept:
    """What is kept: JSON values and estimates, tensors, the name under which a store keeps it, where and when it was
    computed."""

    values: Any = None
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    name: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)

    def cell(self, **also: Any) -> dict[str, Any]:
        """The values as a cell of a file of results, from which `absorb` takes them back."""
        return {**self.values, **also, "kept_as": self.name}


def sealed(results: Any) -> Any:
    """The same results, as JSON, each cell with a digest of what is in it: what `absorb` may believe."""
    if isinstance(results, list):
        return [sealed(part) for part in results]
    if not isinstance(results, dict):
        return results
    found = {name: sealed(part) for name, part in results.items()}
    return {**found, "seal": _seal(found)} if "kept_as" in found else found


def _seal(cell: Mapping[str, Any]) -> str:
    return key({name: part for name, part in cell.items() if name != "seal"})


class Unknown(LookupError):
    """What a store that may not compute does not hold."""


@dataclass
class Store:
    """A folder of entries, `KIND/KEY.safetensors`.

    Attributes:
        folder: where they are.
        computes: whether `once` may compute what is not there; if not, it raises `Unknown`.
        used: the origins of all entries that were read.
    """

    folder: Path
    computes: bool = True
    used: list[Mapping[str, Any]] = field(default_factory=list)

    def name(self, kind: str, **parts: Any) -> str:
        """The name of the entry of a kind that depends on these parts.

        Raises:
            IdentityError: for a part that cannot say what it is.
        """
        return f"{kind}/{key([VERSIONS.get(kind, 1), parts])}"

    def has(self, kind: str, **parts: Any) -> bool:
        """Whether there is such an entry."""
        return self._path(self.name(kind, **parts)).exists()

    def missing(self, wanted: Iterable[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, Mapping[str, Any]]]:
        """Of the entries wanted, as (kind, parts), those that are not there: what a run has still to compute."""
        return [(kind, parts) for kind, parts in wanted if not self.has(kind, **parts)]

    def get(self, kind: str, **parts: Any) -> Kept:
        """An entry that is there.

        Raises:
            CheckpointError: if it is not, or is damaged.
        """
        name = self.name(kind, **parts)
        tensors, about = checkpoints.read(self._path(name))
        self.used.append(about["origin"])
        return Kept(about["values"], tensors, name, about["origin"])

    def put(self, entry: Kept, kind: str, **parts: Any) -> None:
        """Keep an entry; its origin, if it has none, is here and now.

        Raises:
            SaveError: if it cannot be written.
        """
        self._write(self.name(kind, **parts), entry, identity(parts))

    def once(self, compute: Callable[[], Kept | None], kind: str, **parts: Any) -> Kept:
        """The entry, computed if it is not there. All processes take part in computing; the first one's is kept.

        Raises:
            Unknown: if it is not there and the store may not compute.
        """
        group = processes()
        if not group.first(lambda: self.has(kind, **parts)):
            if not self.computes:
                raise Unknown(self.name(kind, **parts))
            found = compute()
            if group.rank == 0:
                assert found is not None
                self.put(found, kind, **parts)
        found = group.first(lambda: self.get(kind, **parts))
        if group.rank > 0:
            self.used.append(found.origin)
        return found

    def absorb(self, results: Any, origin: Mapping[str, Any]) -> None:
        """Take over every sealed cell of a file of results, so that a run goes on from that file alone.

        Raises:
            CheckpointError: for a cell that was changed after it was sealed.
        """
        if isinstance(results, list):
            for part in results:
                self.absorb(part, origin)
        elif isinstance(results, dict):
            name = results.get("kept_as")
            if name is None:
                self.absorb(list(results.values()), origin)
            elif "seal" in results and not self._path(name).exists():
                if results["seal"] != _seal(results):
                    raise CheckpointError(f"the cell {name} was changed by hand: restore it, or take it out")
                values = {k: v for k, v in results.items() if k not in ("kept_as", "seal")}
                self._write(name, Kept(values, origin=origin), "as the file of results says")

    @contextmanager
    def as_it_is(self) -> Iterator[None]:
        """Within it nothing is computed: what is not there raises `Unknown`."""
        before, self.computes = self.computes, False
        try:
            yield
        finally:
            self.computes = before

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def _write(self, name: str, entry: Kept, of: Any) -> None:
        values = json.loads(json.dumps(entry.values, default=Estimate.to_json))
        about = {"of": of, "values": values, "origin": dict(entry.origin) or provenance()}
        checkpoints.write(self._path(name), entry.tensors, about)
