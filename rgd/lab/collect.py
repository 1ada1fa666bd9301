"""Images of others as data sets: from anything that yields pairs of an image and a label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from rgd.data import Dataset
from rgd.errors import DataError
from rgd.lab.folders import opaque


def collect(
    pairs: Iterable[tuple[Any, Any]], classes: Sequence[str], *, size: tuple[int, int] | None = None,
    name: str = "collected",
) -> Dataset:  # fmt: skip
    """A data set in memory of all `pairs`, once through, in their order; grey only if every image is.

    Such as torchvision's `ImageFolder(path)` with its `.classes`; a webdataset's `.decode("pil").to_tuple("png",
    "cls")`; or `((row["image"], row["label"]) for row in rows)` of Hugging Face's `datasets`, with the names
    `rows.features["label"].names`.

    Args:
        pairs: of an image and the number of its class. Images are Pillow's, of any mode with 8 bits or 16; or bytes,
            uint8, as arrays (H, W) or (H, W, C) or tensors (C, H, W), C 1 or 3. Not floating point, which does not say
            what is black and what is white.
        classes: the names of the labels, in order.
        size: (height, width) to which every image is resized, smoothly and as a whole, without regard to its shape; by
            default they must all have the same.
        name: for display.

    Raises:
        DataError: for an image or a label that cannot be used, with its number; images of several sizes; none at all.
    """
    pictures: list[Image.Image] = []
    labels: list[int] = []
    for image, label in tqdm(pairs, desc=name, unit="image", disable=None):
        picture = opaque(picture_of(image, len(pictures)))
        picture = picture if picture.mode == "L" else picture.convert("L" if picture.mode in "1LA" else "RGB")
        if size is not None:
            picture = picture.resize((size[1], size[0]), Image.Resampling.LANCZOS)
        pictures.append(picture)
        labels.append(_number(label, len(labels), len(classes)))
    if not pictures:
        raise DataError("there are no images: what was given is empty, or was gone through before")
    sizes = Counter(f"{picture.height} x {picture.width}" for picture in pictures)
    if len(sizes) > 1:
        found = ", ".join(f"{n} of {what}" for what, n in sizes.most_common(3))
        raise DataError(f"images have {len(sizes)} sizes ({found}): give one, size=(height, width)")
    mode = "L" if all(picture.mode == "L" for picture in pictures) else "RGB"
    pixels = np.stack([np.asarray(picture.convert(mode)).reshape(*picture.size[::-1], -1) for picture in pictures])
    images = torch.from_numpy(pixels).movedim(-1, 1).contiguous()
    return Dataset(images, torch.tensor(labels), tuple(classes), name)


def picture_of(image: Any, number: int) -> Image.Image:
    """What is given for an image, as Pillow's. DataError, with its number, where black and white are not known."""
    if isinstance(image, Image.Image):
        if image.mode == "F" or (image.mode[0] == "I" and image.mode != "I;16"):
            raise DataError(f"image {number} has mode {image.mode}, which does not say what is black and what is white")
        return image
    pixels = image.movedim(0, -1).cpu().numpy() if isinstance(image, torch.Tensor) and image.ndim == 3 else image
    pixels = np.asarray(pixels)
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or channels not in (1, 3):
        what = f"{pixels.dtype} of shape {tuple(getattr(image, 'shape', pixels.shape))}"
        raise DataError(
            f"image {number} is {what}: give Pillow's images, or bytes, as uint8 arrays (H, W, 1 or 3) or tensors "
            "(1 or 3, H, W); leave a transform to floating point out"
        )
    return Image.fromarray(pixels[..., 0] if channels == 1 and pixels.ndim == 3 else pixels)


def _number(label: Any, number: int, classes: int) -> int:
    try:
        found = int(label)
    except (TypeError, ValueError) as error:
        raise DataError(f"the label of image {number} is {label!r}: give the number of its class") from error
    if not 0 <= found < classes or found != label:
        raise DataError(f"the label of image {number} is {label!r}, and there are {classes} classes, from 0 on")
    return found
