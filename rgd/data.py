"""Images and labels, and the order in which training sees them. `load` brings them into memory, `stream` does not."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import zip_longest
from typing import Any

import torch

from rgd.errors import DataError
from rgd.randomness import generator

Location = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images held as bytes, with their labels.

    `images` is uint8 (N, C, H, W) with N >= 1 and C 1 or 3, or float32 in units of x0, of any C, for what is no
    photograph (draws from a mixture, latents); `labels` is int64 (N,), indices into `classes`. `name` is for display,
    and `source` is what `load` takes to find them again: a known name, or an absolute path. Raises DataError where they
    do not fit together.
    """

    images: torch.Tensor = field(repr=False)
    labels: torch.Tensor = field(repr=False)
    classes: tuple[str, ...]
    name: str
    source: str | None = None
    _digests: dict[tuple[int, int], str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        x, y, k = self.images, self.labels, len(self.classes)
        known = x.dtype == torch.float32 or (x.dtype == torch.uint8 and x.shape[1:2] in ((1,), (3,)))
        if not known or x.ndim != 4 or x.numel() == 0:
            wanted = "uint8 (N, 1 or 3, H, W), or float32 (N, C, H, W)"
            raise DataError(f"images must be {wanted}, not {x.dtype} {tuple(x.shape)}")
        if y.dtype != torch.int64 or y.shape != x.shape[:1]:
            raise DataError(f"labels must be int64 ({len(x)},), not {y.dtype} {tuple(y.shape)}")
        if y.min() < 0 or y.max() >= k:
            raise DataError(f"labels run from {y.min()} to {y.max()}, beyond the {k} classes")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of the class names, pixels and labels, in their order."""
        version = self.images._version, self.labels._version  # which PyTorch counts: a label may be put right in place
        if version not in self._digests:
            found = hashlib.sha256(repr((self.shape, self.classes)).encode())
            for tensor in (self.images, self.labels):
                found.update(tensor.cpu().contiguous().numpy().data)
            self._digests[version] = found.hexdigest()
        return self._digests[version]

    def identity(self) -> str:
        """Its digest: where it came from, and what it is called, make no difference."""
        return self.digest

    def x0(self, index: torch.Tensor | slice | None = None) -> torch.Tensor:
        """All images, or those at `index`, as float32 (B, C, H, W) in [-1, 1]."""
        return scaled(self.images if index is None else self.images[index])

    def batches(self, indices: Iterable[torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(x0, y) at each of `indices`, one after the other."""
        for index in indices:
            index = index.to(self.labels.device)
            yield self.x0(index), self.labels[index]

    def to(self, device: torch.device | str) -> Dataset:
        """The same dataset on another device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def subset(self, index: torch.Tensor | slice) -> Dataset:
        """The images and labels at `index`, with the same classes."""
        return replace(self, images=self.images[index], labels=self.labels[index])

    def take(self, n: int) -> Dataset:
        """The first n images, or all where there are fewer."""
        return self.subset(slice(n))


def scaled(images: torch.Tensor) -> torch.Tensor:
    """Bytes as float32 in [-1, 1]; what is in units of x0 already, as it is."""
    return images.to(torch.float32) / 127.5 - 1 if images.dtype == torch.uint8 else images


def same_classes(ours: Sequence[str], theirs: Sequence[str], what: str, of: str) -> None:
    """Two things that meet must mean the same by every label: one of the class names `ours`, one of `theirs`.

    `what` and `of` say in words whose names they are. Raises DataError naming both lists and the first difference.
    """
    pairs = enumerate(zip_longest(ours, theirs))
    odd = next((f"label {k} is {mine!r} here and {other!r} there" for k, (mine, other) in pairs if mine != other), None)
    if odd is not None:
        names = f"{what} has {_listed(ours)}, and {of} has {_listed(theirs)}"
        raise DataError(f"{names}: {odd}. Both must have the same, in the same order")


def _listed(classes: Sequence[str]) -> str:
    names = ", ".join(map(repr, classes[:12]))
    return f"{len(classes)} classes ({names}{', ...' if len(classes) > 12 else ''})"


def batch_indices(n: int, batch_size: int, seed: int, step: int) -> torch.Tensor:
    """Which of n images step `step` trains on: int64 (batch_size,), on the CPU.

    Epochs are seeded permutations laid end to end, and batches are cut from that line, so an epoch's end drops nothing.
    Raises ValueError for n or batch_size below 1, seed or step below 0.
    """
    if n < 1 or batch_size < 1 or seed < 0 or step < 0:
        raise ValueError(f"n={n} and batch_size={batch_size} must be >= 1, seed={seed} and step={step} >= 0")
    start, stop = step * batch_size, (step + 1) * batch_size
    epochs = range(start // n, (stop - 1) // n + 1)
    return torch.cat([_permutation(n, seed, e)[max(start - e * n, 0) : stop - e * n] for e in epochs])


@lru_cache(maxsize=4)
def _permutation(n: int, seed: int, epoch: int) -> torch.Tensor:
    # int(): numpy's integers are the same key to the cache, but another one to the generator.
    return torch.randperm(n, generator=generator(int(seed), "epoch", int(epoch)))


def load(name: Location, split: str = "train", *, root: Location | None = None, size: int | None = None) -> Dataset:
    """One split of a known set, of a saved `.npz`, or of a folder of class folders: see `rgd.lab.datasets.load`."""
    from rgd.lab import datasets

    return datasets.load(name, split, root=root, size=size)


def collect(
    pairs: Iterable[tuple[Any, Any]], classes: Sequence[str], *, size: tuple[int, int] | None = None,
    name: str = "collected",
) -> Dataset:  # fmt: skip
    """A data set of whatever yields images and labels: see `rgd.lab.collect.collect`."""
    from rgd.lab import collect

    return collect.collect(pairs, classes, size=size, name=name)


def stream(
    where: Location | Sequence[Location], split: str = "train", *, size: int = 128,
    classes: Sequence[str] | None = None, workers: int | None = None, skip_damaged: bool = False, crop: float = 1.0,
) -> Dataset:  # fmt: skip
    """A data set that is read while it is used, for those larger than memory: see `rgd.scale.stream.stream`."""
    from rgd.scale.stream import stream as opened

    return opened(where, split, size=size, classes=classes, workers=workers, skip_damaged=skip_damaged, crop=crop)
