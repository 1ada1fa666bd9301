"""Where the images of a stream lie: in class folders, or in tar shards as webdataset writes them."""

from __future__ import annotations

import glob
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rgd.data import Location
from rgd.errors import DataError
from rgd.lab.folders import class_folders, visible

IMAGES = ("jpg", "jpeg", "png", "webp", "bmp", "ppm")
BLOCK = 512  # bytes; of zeros at the end of a tar file


class Sample(NamedTuple):
    """An image of a shard, or, where that is "", of a folder: its name, its bytes from `start` on, and its class."""

    shard: str
    name: str
    start: int
    length: int
    label: int | str


def found(where: Location | Sequence[Location], split: str) -> tuple[Path, list[Path]]:
    """The folder, and the shards if there are any, in the order of their names; for the rest see `stream`."""
    if not isinstance(where, str | os.PathLike):
        shards = sorted(Path(shard).expanduser().absolute() for shard in where)
        return (shards[0].parent if shards else Path()), shards
    text = os.path.expanduser(os.path.expandvars(where))
    if "$" in text:
        raise DataError(f"{text} is not set: let it name a folder or shards, or name them (for a command, --data PATH)")
    root = Path(text).absolute()
    if root.is_dir():
        inside = {path.name.lower(): path for path in visible(root) if path.is_dir()}
        if split not in inside and split != "train":
            raise DataError(f"{root} has no folder {split}")
        root = inside.get(split, root)
        return root, sorted(root.glob("*.tar"))
    shards = sorted(map(Path, glob.glob(str(root))))
    if not shards:
        raise DataError(f"there is no {root}: give a folder of class folders, or tar shards")
    return root.parent, shards


def in_folder(root: Path) -> Iterator[Sample]:
    """Every image of a folder of class folders. DataError for another file among them, and as `class_folders`."""
    for name, paths in class_folders(root).items():
        for path in paths:
            if _key(path.name)[1] not in IMAGES:
                raise DataError(f"{path} is no image by its name ({', '.join(IMAGES)}): move it away")
            yield Sample("", str(path.relative_to(root)), 0, path.stat().st_size, name)


def in_shards(shards: list[Path]) -> Iterator[Sample]:
    """Every image of some shards. DataError for a damaged shard, and an image without a label."""
    numbered = None
    for shard in shards:
        images, numbers = _members(shard)
        numbered = bool(numbers) if numbered is None else numbered
        for name, start, length in images:
            label = numbers.get(_key(name)[0]) if numbered else Path(name).parent.name or None
            if label is None:
                wanted = "a .cls beside it, as others have" if numbered else "a .cls beside it, or a folder around it"
                raise DataError(f"{name} in {shard} has no label: it needs {wanted}")
            yield Sample(str(shard), name, start, length, label)


def _key(name: str) -> tuple[str, str]:
    """What the files of a sample have in common, and its kind: all after the first dot, as webdataset has it."""
    folder, _, file = name.rpartition("/")
    stem, _, kind = file.partition(".")
    return f"{folder}/{stem}", kind.lower()


def _members(shard: Path) -> tuple[list[tuple[str, int, int]], dict[str, int]]:
    """The images of a shard as (name, start, length), and the labels by `_key`."""
    images, numbers = [], {}
    try:
        with open(shard, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                key, kind = _key(member.name)
                if member.isfile() and kind in IMAGES:
                    images.append((member.name, member.offset_data, member.size))
                elif member.isfile() and kind == "cls":
                    file.seek(member.offset_data)
                    numbers[key] = int(file.read(member.size))
            file.seek(tar.offset)
            # tarfile takes a damaged header for the end of the file, and what follows it for nothing.
            if file.read(BLOCK) != bytes(BLOCK):
                raise tarfile.ReadError(f"no header and no end at byte {tar.offset:,}, after {len(images)} images")
    except (OSError, tarfile.TarError, ValueError) as error:
        raise DataError(f"the shard {shard} is damaged or no plain tar file ({error}): replace it") from error
    return images, numbers


def class_names(samples: list[Sample]) -> list[str]:
    """Of the classes, where the user gives none."""
    numbers = [sample.label for sample in samples if isinstance(sample.label, int)]
    if not numbers:
        return sorted({str(sample.label) for sample in samples})
    listed = Path(samples[0].shard).with_name("classes.txt")
    if listed.exists():
        return listed.read_text().splitlines()
    return [str(k) for k in range(min(max(numbers), 99_999) + 1)]  # a damaged label must not ask for 10**18 names
