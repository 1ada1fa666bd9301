"""Folders of class folders as data sets: which images are for testing, and what becomes of their pixels.

A folder holds `train/cat/1.png` and `test/cat/2.png`, or `cat/1.png`. Hidden files, those that systems leave behind, a
folder such as `val` beside train and test, and files beside class folders are not read.

Without split folders, about 15 % of each class are set aside: the images whose bytes have a low SHA-256, and in any
case the lowest. So an image's side does not depend on names, and copies in a class share it. Whatever is added or
renamed, no training image of a class becomes a test image; if its only test image is taken away, another one does. A
class of which nothing is left to train on (one image, copies, 2 % of all pairs) is refused.

Pixels are read as the file's header declares them, never by what they happen to be. Those without a declared black and
white (signed, of 32 bits, floating-point) are refused. Of several frames, the first is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pooch
import torch
from PIL import Image, ImageMode, ImageOps

from rgd.data import Dataset, _permutation, same_classes
from rgd.errors import DataError

SPLITS = ("train", "test")
JUNK = ("__macosx", "thumbs.db", "desktop.ini", "@eadir")  # what systems leave in folders, beside hidden files
TEST_SHARE = 0.15
Tree = dict[str, list[Path]]  # class name -> image files, both sorted by name


def load(folder: Path, split: str, size: int | None) -> Dataset:
    """One split of a folder of class folders, in a fixed order that mixes the classes, which are sorted by name.

    The images of both splits come to one mode (grey if all are declared grey, else RGB) and one square `size` (default:
    the smallest side found, down to a multiple of 8, from 8 to 64), cropped at the centre and resized with
    antialiasing; what is transparent becomes white. Raises FileNotFoundError for a missing folder, DataError for
    class folders and images that cannot be used.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: give the path of a folder of class folders")
    trees = _trees(folder)
    if split not in trees:
        remedy = f"add or rename one, or move the class folders up one level to have {TEST_SHARE:.0%} set aside"
        raise FileNotFoundError(f"{folder} has a folder {next(iter(trees))} but no folder {split}: {remedy}")
    # Mode and size come from both splits, so that train and test always match.
    headers = [_header(path) for tree in trees.values() for paths in tree.values() for path in paths]
    mode = "L" if all(grey for grey, _ in headers) else "RGB"
    side = size or min(max(min(shorter for _, shorter in headers) // 8 * 8, 8), 64)
    images = np.stack([_pixels(path, mode, side) for paths in trees[split].values() for path in paths])
    labels = torch.tensor([k for k, paths in enumerate(trees[split].values()) for _ in paths])
    order = _permutation(len(labels), 0, len(trees[split]))  # so that the first n images are of all classes
    pixels = torch.from_numpy(images).movedim(-1, 1)[order].contiguous()
    return Dataset(pixels, labels[order], tuple(trees[split]), folder.name, str(folder))


def visible(folder: Path) -> list[Path]:
    """What is in a folder, but for hidden files and those that systems leave behind, by name."""
    found = (path for path in folder.iterdir() if path.name[0] != "." and path.name.lower() not in JUNK)
    return sorted(found, key=lambda path: path.name)


def _trees(folder: Path) -> dict[str, Tree]:
    """The class folders of each split: of the folders train and test, in whatever case, or else set aside."""
    parts = [path for path in visible(folder) if path.is_dir() and path.name.lower() in SPLITS]
    if not parts:
        return _set_aside(folder, class_folders(folder))
    if len(parts) > len({path.name.lower() for path in parts}):
        raise DataError(f"{folder} has {', '.join(path.name for path in parts)}: keep one folder for each split")
    trees = {path.name.lower(): class_folders(path) for path in parts}
    if len(trees) == 2:
        same_classes(tuple(trees["train"]), tuple(trees["test"]), f"train in {folder}", "test")
    return trees


def class_folders(folder: Path) -> Tree:
    """The files of each class folder. DataError where there are not two at least, or other things lie there."""
    tree = {child.name: visible(child) for child in visible(folder) if child.is_dir()}
    if not tree:
        what = "images lie directly in" if visible(folder) else "no images are in"
        remedy = f"put each into a folder named after its class, as in {folder / 'cat' / '1.png'}"
        raise DataError(f"{what} {folder}: {remedy} (folders named train and test are taken for the splits)")
    for name, paths in tree.items():
        if not paths:
            raise DataError(f"the class folder {folder / name} is empty: put images into it or remove it")
        if inner := next((path.name for path in paths if path.is_dir()), None):
            remedy = "move it away, or, if it is a class, give the path of the folder that holds the class folders"
            raise DataError(f"the class folder {folder / name} holds a folder, {inner}, where images belong: {remedy}")
    if len(tree) == 1:
        raise DataError(f"{folder} has only one class folder, {next(iter(tree))}: at least two are needed")
    return tree


def _set_aside(folder: Path, tree: Tree) -> dict[str, Tree]:
    trees: dict[str, Tree] = {"train": {}, "test": {}}
    for name, paths in tree.items():
        lots = {}
        for path in paths:
            with _usable(path):
                lots[path] = int(pooch.file_hash(path), 16) / 2**256
        # A new image can only lower this limit, or leave it where it is.
        limit = max(TEST_SHARE, min(lots.values()))
        trees["train"][name] = [path for path in paths if lots[path] > limit]
        trees["test"][name] = [path for path in paths if lots[path] <= limit]
        if not trees["train"][name]:
            what = f"{folder / name} has no image to train on: all it holds ({len(paths)}) is set aside for testing"
            raise DataError(f"{what}, by a hash of the bytes. Add others, or make train and test folders")
    return trees


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # each of Pillow's decoders fails in its own way on a damaged file
        raise DataError(f"cannot use {path} as an image ({error}): replace or remove it") from error


def _header(path: Path) -> tuple[bool, int]:
    """Whether an image is declared grey, and its shorter side in pixels; nothing is decoded."""
    with _usable(path), Image.open(path) as image:
        tags, mode = getattr(image, "tag_v2", {}), image.mode  # tags of a TIFF: 258 bits, 262 is 1 if 0 is black
        raw = image.tile[0][3] if image.tile else mode
        sixteen = image.format in ("PNG", "PPM") or (tags.get(258), tags.get(262)) == ((16,), 1)
        unsigned = set(tags.get(339, (1,))) == {1}
        if not unsigned or mode == "F" or (mode[0] == "I" and not sixteen):
            what = f"a {image.format} of mode {mode} does not say what is black and what is white here"
            raise DataError(f"{what}; save it with 8 bits, or as a PNG with 16")
        if image.format == "PNG" and mode != "P" and "transparency" in image.info and raw != mode:
            raise DataError("its transparent colour is not one of 8 bits; save it with an alpha channel")
        return ImageMode.getmode(mode).basemode == "L" or raw == "LA;16B", min(image.size)


def _pixels(path: Path, mode: str, side: int) -> np.ndarray:
    """One image, whose header was read, as uint8 (side, side, C)."""
    with _usable(path), Image.open(path) as opened:
        image = ImageOps.fit(opaque(opened).convert(mode), (side, side), Image.Resampling.LANCZOS)
        return np.asarray(image).reshape(side, side, -1)


def opaque(opened: Image.Image) -> Image.Image:
    """An image the right way up, with 8 bits a channel, and white where it was transparent."""
    image = ImageOps.exif_transpose(opened)
    if image.mode[0] == "I":  # Pillow's own way from 16 bits to 8 varies with its version, and may clip
        image = Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    if image.mode == "La":  # the colours are multiplied by the alpha
        image = image.convert("LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image
