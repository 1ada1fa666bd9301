"""Data sets larger than memory: images read from a folder of class folders, or from tar shards, while they are used.

A shard is a plain tar file as webdataset writes it: `000017.jpg` beside `000017.cls`, the number of its class; or, in
none of the shards a `.cls`, images in folders named after their classes. When a stream is opened the headers are read
(a minute for ImageNet), and from then on each image is known by its shard and its place there. So one image is as near
as another, the order is that of any data set, a function of seed, epoch and index alone (`rgd.data.batch_indices`), it
is divided among processes in one place (`rgd.fit`), and a run that is resumed goes on with the images that an
undisturbed one would have seen.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from rgd.data import Dataset, Location, scaled
from rgd.errors import DataError, require
from rgd.lab.collect import picture_of
from rgd.lab.folders import opaque
from rgd.processes import processes
from rgd.randomness import generator
from rgd.scale.shards import IMAGES, class_names, found, in_folder, in_shards

STAND_INS = 100  # damaged images in a row that may be skipped


@dataclass(frozen=True, eq=False)
class Files:
    """Where images lie, (N, 3, size, size) bytes in all; `files[index]` reads those at an index, on a `device`.

    Names, places and lengths are arrays, not lists: of a list, each process that reads would come to have a copy.
    """

    root: Path
    shards: tuple[str, ...]
    shard: np.ndarray
    names: np.ndarray
    start: np.ndarray
    length: np.ndarray
    size: int
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.uint8

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> torch.Size:
        """Of the tensor that it stands for."""
        return torch.Size((len(self), 3, self.size, self.size))

    @property
    def ndim(self) -> int:
        """Four."""
        return len(self.shape)

    def numel(self) -> int:
        """Bytes in all."""
        return self.shape.numel()

    def to(self, device: torch.device | str) -> Files:
        """The same, read onto another device."""
        return replace(self, device=device)

    def rows(self, index: torch.Tensor | slice) -> Files:
        """Those at an index, unread."""
        chosen = index if isinstance(index, slice) else index.cpu().numpy()
        parts = {name: getattr(self, name)[chosen] for name in ("shard", "names", "start", "length")}
        return replace(self, **parts)

    def __getitem__(self, index: torch.Tensor | slice) -> torch.Tensor:
        """uint8 (B, 3, size, size), read now, one after the other."""
        rows = range(len(self))[index] if isinstance(index, slice) else index.tolist()
        return torch.stack([self.pixels(row) for row in rows]).to(self.device)

    def split(self, size: int) -> Iterator[torch.Tensor]:
        """All of them, read `size` at a time."""
        return (self[slice(i, i + size)] for i in range(0, len(self), size))

    def pixels(self, row: int, crop: Callable[[Image.Image, int], Image.Image] | None = None) -> torch.Tensor:
        """One image, uint8 (3, size, size): `square`, or as `crop` cuts it. DataError, naming it, if unreadable."""
        name = os.fsdecode(self.names[row])
        place = self.root / (self.shards[self.shard[row]] if self.shards else name)
        try:
            with open(place, "rb") as file:
                file.seek(self.start[row])
                content = file.read(self.length[row])
            if len(content) != self.length[row]:
                raise EOFError(f"{len(content)} of {self.length[row]} bytes are there")
            with Image.open(io.BytesIO(content)) as opened:
                image = (crop or square)(opaque(picture_of(opened, row)).convert("RGB"), self.size)
        except Exception as error:  # each of Pillow's decoders fails in its own way on a damaged image
            where = f"{name} in {place}" if self.shards else place
            remedy = "replace it, or say skip_damaged=True"
            raise DataError(f"cannot read the image {where} ({type(error).__name__}: {error}): {remedy}") from error
        return torch.from_numpy(np.array(image)).movedim(-1, 0)


def square(image: Image.Image, size: int) -> Image.Image:
    """An image as ADM prepares ImageNet's: `shrunk` to a shorter side of `size`, and cut to a square at the centre."""
    image = shrunk(image, size)
    return cut(image, size, (image.width - size) // 2, (image.height - size) // 2)


def random_square(image: Image.Image, size: int, least: float, chance: Sequence[float]) -> Image.Image:
    """A square of an image as ADM's classifiers see it in training: `shrunk` to a shorter side from `size` to size /
    `least`, and cut anywhere. What is drawn is in `chance`, three numbers from 0 up to 1: side, left, top."""
    image = shrunk(image, size + int(chance[0] * (math.ceil(size / least) - size + 1)))
    return cut(image, size, int(chance[1] * (image.width - size + 1)), int(chance[2] * (image.height - size + 1)))


def shrunk(image: Image.Image, side: int) -> Image.Image:
    """An image halved by averaging while its shorter side is twice `side` or longer, then by bicubic steps to it."""
    while min(image.size) >= 2 * side:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    factor = side / min(image.size)
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


def cut(image: Image.Image, size: int, left: int, top: int) -> Image.Image:
    """The (size, size) pixels of an image from a corner on."""
    return image.crop((left, top, left + size, top + size))


@dataclass(frozen=True, eq=False)
class Stream(Dataset):
    """A `Dataset` whose images are read when they are asked for, and by `fit` some batches ahead.

    `images` are `Files`; `labels`, and what else a `Dataset` has, are in memory. Its identity is made of the names and
    lengths of the files, with size, classes and labels: not of their contents, which take hours to read.

    Attributes:
        workers: processes that read ahead of training; 0 for none.
        skip_damaged: whether, in training, the next image stands in for one that cannot be read.
        damaged: what was skipped so, in this process.
        crop: how little of an image's shorter side training may see; below 1 it sees a square at random, as ADM's
            classifiers do. It is drawn from the numbers of all images of a micro-batch.
    """

    images: Any = field(repr=False)
    workers: int = 0
    skip_damaged: bool = False
    damaged: list[str] = field(default_factory=list, repr=False)
    crop: float = 1.0

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of what is told of it without reading the images."""
        if not self._digests:
            files, labels = self.images, self.labels.cpu().numpy()
            cropped = () if self.crop == 1 else (self.crop,)
            found = hashlib.sha256(repr(("stream", self.shape, self.classes, *cropped)).encode())
            for part in (files.names.tolist(), files.length.tolist(), labels.tolist()):
                found.update(repr(part).encode())
            self._digests[0, 0] = found.hexdigest()
        return self._digests[0, 0]

    def x0(self, index: torch.Tensor | slice | None = None) -> torch.Tensor:
        """Those at `index`, read now, as float32 (B, 3, size, size) in [-1, 1]; without one, all that there are."""
        return super().x0(slice(None) if index is None else index)

    def subset(self, index: torch.Tensor | slice) -> Stream:
        """The images and labels at `index`, with the same classes; nothing is read."""
        return replace(self, images=self.images.rows(index), labels=self.labels[index])

    def read(self) -> Dataset:
        """All of it in memory, for what looks at everything at once; of a large one, `stream.take(n).read()`."""
        return Dataset(self.images[:], self.labels, self.classes, self.name, self.source)

    def batches(self, indices: Iterable[torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(x0, y) at each of `indices`, read ahead by `workers`.

        Raises:
            DataError: naming an image that cannot be read, unless it may be skipped; or where processes, which may be
                on machines with a disk each, see different files.
        """
        if processes().first(lambda: self.digest) != self.digest:
            raise DataError(f"{self.source} holds other files here than on the first machine: copy them anew")
        on_gpu = self.labels.device.type == "cuda"
        ahead: dict[str, Any] = {"prefetch_factor": 4} if self.workers else {}
        if self.workers and sys.platform == "linux":  # so that a script needs no `if __name__ == "__main__"`
            ahead["multiprocessing_context"] = "fork"
        reader: Any = _Reader(self.images.to("cpu"), self.skip_damaged, self.crop)
        loader: Any = DataLoader(
            reader, batch_size=None, sampler=(index.tolist() for index in indices), num_workers=self.workers,
            pin_memory=on_gpu, generator=torch.Generator(), **ahead,
        )  # fmt: skip
        for images, rows, damaged, failure in loader:
            if failure:
                raise DataError(failure)
            for what in damaged:
                self.damaged.append(what)
                told = f"{len(self.damaged)} of {len(self)} images skipped so far in this process"
                warnings.warn(f"{what}. The next one stands in for it; {told}", stacklevel=2)
            device = self.labels.device
            yield scaled(images.to(device, non_blocking=on_gpu)), self.labels[rows.to(device)]


@dataclass(frozen=True, eq=False)
class _Reader:
    """What a worker asks: a list of rows -> images, the rows they are of, what was damaged, and why there are none."""

    files: Files
    skip: bool
    crop: float

    def __getitem__(self, index: list[int]) -> tuple[torch.Tensor, torch.Tensor, list[str], str]:
        images, rows, damaged = [], [], list[str]()
        chances = torch.rand(len(index), 3, generator=generator("crop", *index), dtype=torch.float64).tolist()
        for first, chance in zip(index, chances):
            crop = None if self.crop == 1 else partial(random_square, least=self.crop, chance=chance)
            for row in (k % len(self.files) for k in range(first, first + STAND_INS)):
                try:
                    images.append(self.files.pixels(row, crop))
                    rows.append(row)
                    break
                except DataError as error:
                    if not self.skip:
                        return torch.empty(0), torch.empty(0), [], str(error)
                    damaged.append(str(error))
            else:
                return torch.empty(0), torch.empty(0), [], f"{STAND_INS} images in a row: {damaged[-1]}"
        return torch.stack(images), torch.tensor(rows), damaged, ""


def stream(
    where: Location | Sequence[Location], split: str = "train", *, size: int = 128,
    classes: Sequence[str] | None = None, workers: int | None = None, skip_damaged: bool = False,
    crop: float = 1.0,
) -> Stream:  # fmt: skip
    """A data set that is read while it is used: for `rgd.fit`, wherever a `Dataset` is.

    Images become RGB and squares as ADM's do, see `square`. `Training(flip=True)` mirrors them at random.

    Args:
        where: a folder of class folders, or one with shards, *.tar; a pattern such as "shards/train-*.tar"; shards by
            name. "$NAME" in it is taken from the environment.
        split: if the folder has one of that name within, that is taken; else, for "train", all that there is: nothing
            is set aside for testing, as `rgd.data.load` does.
        size: side of the square images.
        classes: the names of the labels, in order; default the class folders by name, or, of shards with numbers, the
            lines of a file classes.txt beside the first, else the numbers.
        workers: processes that read ahead; default half as many as there are cores for this process, at most 8.
        skip_damaged: in training, let the next image stand in for one that cannot be read, warn and count. By default
            it stops training, and is named.
        crop: how little of an image's shorter side training may see, see `Stream`; ADM's classifiers: 0.8.

    Raises:
        DataError: for a damaged shard, an image without a label, a label that is none of the classes, nothing at all.
    """
    require(type(size) is int and size >= 1, "size", size, "a whole number of pixels, at least 1")
    require(0 < crop <= 1, "crop", crop, "a share above 0 and up to 1")
    root, shards = found(where, split)
    samples = list(in_shards(shards) if shards else in_folder(root))
    if not samples:
        raise DataError(f"there are no images in {root}: neither class folders nor shards of {', '.join(IMAGES)}")
    names = tuple(classes or class_names(samples))
    number: dict[int | str, int] = {name: k for k, name in enumerate(names)} | {k: k for k in range(len(names))}
    odd = next((sample for sample in samples if sample.label not in number), None)
    if odd is not None:
        raise DataError(f"{odd.name} in {odd.shard or root} has the label {odd.label!r}, and the classes are "
                        f"{len(names)} ({', '.join(names[:5])}, ...)")  # fmt: skip
    at = {shard: k for k, shard in enumerate(dict.fromkeys(sample.shard for sample in samples))}
    files = Files(
        root, tuple(at) if shards else (), np.array([at[sample.shard] for sample in samples], np.int32),
        np.array([os.fsencode(sample.name) for sample in samples]), np.array([sample.start for sample in samples]),
        np.array([sample.length for sample in samples]), size,
    )  # fmt: skip
    here = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    workers = max(1, min(8, here // 2)) if workers is None else workers
    labels = torch.tensor([number[sample.label] for sample in samples])
    return Stream(files, labels, names, root.name, str(where) if shards else str(root), workers, skip_damaged, [], crop)
