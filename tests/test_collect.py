"""Images of others in memory: torchvision's folders, Hugging Face's datasets, shards, and what must be refused."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

import rgd
from rgd.data import collect
from rgd.errors import DataError

NAMES = ("cat", "dog")
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 12, 10, 3), dtype=np.uint8)
LABELS = [0, 1, 1, 0, 1, 0]
WANTED = torch.from_numpy(PIXELS).movedim(-1, 1)


def png(pixels: np.ndarray) -> bytes:
    Image.fromarray(pixels).save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def test_an_image_folder(tmp_path: Path) -> None:
    for i, (pixels, label) in enumerate(zip(PIXELS, LABELS)):
        (tmp_path / NAMES[label]).mkdir(exist_ok=True)
        (tmp_path / NAMES[label] / f"{i}.png").write_bytes(png(pixels))
    folder = ImageFolder(str(tmp_path))
    found = collect(folder, folder.classes)
    order = sorted(range(6), key=lambda i: (LABELS[i], i))
    assert found.classes == NAMES
    assert torch.equal(found.images, WANTED[order])
    assert found.labels.tolist() == sorted(LABELS)


def test_rows_of_hugging_face() -> None:
    datasets = pytest.importorskip("datasets")
    kinds = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})
    images = [Image.fromarray(pixels) for pixels in PIXELS]
    rows = datasets.Dataset.from_dict({"image": images, "label": LABELS}, features=kinds)
    found = collect(((row["image"], row["label"]) for row in rows), rows.features["label"].names)
    assert torch.equal(found.images, WANTED)
    assert found.labels.tolist() == LABELS


def test_shards(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    for shard in range(2):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as tar:
            for i in range(3 * shard, 3 * shard + 3):
                for kind, content in (("png", png(PIXELS[i])), ("cls", str(LABELS[i]).encode())):
                    member = tarfile.TarInfo(f"{i:03}.{kind}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    shards = webdataset.WebDataset(sorted(map(str, tmp_path.glob("*.tar"))), shardshuffle=False)
    found = collect(shards.decode("pil").to_tuple("png", "cls"), NAMES)
    assert torch.equal(found.images, WANTED)
    assert found.labels.tolist() == LABELS


@pytest.mark.parametrize(
    "give", [lambda p: p, lambda p: torch.from_numpy(p).movedim(-1, 0), Image.fromarray], ids=["array", "tensor", "PIL"]
)
def test_arrays_tensors_and_pictures_are_the_same_images(give: Any) -> None:
    assert torch.equal(collect(zip(map(give, PIXELS), LABELS), NAMES).images, WANTED)


def test_grey_images_stay_grey_only_among_themselves() -> None:
    grey = PIXELS[..., 0]
    assert torch.equal(collect(zip(grey, LABELS), NAMES).images, torch.from_numpy(grey)[:, None])
    assert torch.equal(collect(zip(grey[..., None], LABELS), NAMES).images, torch.from_numpy(grey)[:, None])
    mixed = collect(zip([*grey[:5], PIXELS[5]], LABELS), NAMES).images
    assert torch.equal(mixed[0], torch.from_numpy(grey[0]).expand(3, -1, -1))
    assert torch.equal(mixed[5], WANTED[5])


def test_what_is_transparent_is_white_and_sixteen_bits_become_eight() -> None:
    clear = Image.fromarray(np.dstack([PIXELS[0], np.zeros((12, 10), np.uint8)]), "RGBA")
    deep = Image.fromarray(np.full((12, 10), 65535, np.uint16))
    assert (collect([(clear, 0), (deep, 1)], NAMES).images == 255).all()


def test_a_size_is_height_and_width_and_no_border_is_cut() -> None:
    halves = np.zeros((40, 20, 3), np.uint8)
    halves[20:] = 255
    found = collect([(halves, 0), (PIXELS[0], 1)], NAMES, size=(8, 6))
    assert found.shape == (3, 8, 6)
    assert found.images[0, 0, [0, -1], 3].tolist() == [0, 255]


REFUSED: dict[str, tuple[Any, str]] = {
    "no images": ([], "gone through before"),
    "two sizes": ([(PIXELS[0], 0), (PIXELS[0, :6], 1)], r"12 x 10.*size=\(height, width\)"),
    "floating point": ([(torch.rand(3, 4, 4), 0)], "image 0 is float32"),
    "floating pixels of Pillow": ([(Image.new("F", (3, 3)), 0)], "mode F"),
    "four channels": ([(np.zeros((4, 4, 4), np.uint8), 0)], "image 0"),
    "a label too many": ([(PIXELS[0], 0), (PIXELS[0], 2)], "image 1 is 2, and there are 2 classes"),
    "a name for a label": ([(PIXELS[0], "cat")], "'cat'"),
    "half a label": ([(PIXELS[0], 0.5)], "0.5"),
}


@pytest.mark.parametrize(("pairs", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_named(pairs: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        collect(pairs, NAMES)


def test_what_was_collected_trains(tmp_path: Path) -> None:
    """Images that are not square, too."""
    data = collect(zip(PIXELS, LABELS), NAMES, size=(12, 8))
    network = rgd.build(rgd.UNetConfig(image_size=(12, 8), in_channels=3, out_channels=3, model_channels=8,
                                       num_res_blocks=1, channel_mult=(1, 2), attention_resolutions=()))  # fmt: skip
    settings = rgd.Training(steps=2, batch_size=4)
    *_, step = rgd.fit(network, rgd.objectives.Denoising(), data, rgd.schedule.linear(), settings)
    denoise = rgd.NetworkDenoiser(step.network, rgd.schedule.linear())
    assert rgd.sample(denoise, (2, *data.shape), steps=2, progress=False).shape == (2, 3, 12, 8)
