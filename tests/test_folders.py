"""Folders of images: what is for testing, what becomes of the pixels of every kind of file, and what is refused."""

from __future__ import annotations

import hashlib
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rgd.errors import DataError
from rgd.lab import datasets as data
from rgd.lab import folders


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder, so that no test touches the user's own."""
    monkeypatch.setenv("RGD_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


def same(a, b):
    return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and a.classes == b.classes


def write_image(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(path, **options)
    return path


def noise_image(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def photos(tmp_path):
    """Twenty cats and ten dogs of 16 x 16 pixels, every image different, without split folders."""
    for name, n in (("dog", 10), ("cat", 20)):
        for i in range(n):
            write_image(
                tmp_path / "photos" / name / f"{i:02}.png",
                noise_image(16, 16, 3, seed=100 * len(name) + 50 * (n > 10) + i),
            )
    return tmp_path / "photos"


def one_pixel_image(tmp_path, image, *, other=None, **options):
    """What `image` becomes, in a set with one more image that is as big and, unless `other` says so, grey."""
    size = image.size if isinstance(image, Image.Image) else image.shape[1::-1]
    write_image(tmp_path / "set" / "train" / "a" / "1.png", image, **options)
    write_image(tmp_path / "set" / "train" / "b" / "1.png", Image.new("L", size) if other is None else other)
    dataset = data.load(tmp_path / "set", size=min(size))
    return dataset.images[0].permute(1, 2, 0).numpy()


def content(dataset):
    """(pixels, class name) of every image."""
    classes = [dataset.classes[label] for label in dataset.labels]
    return {(image.numpy().tobytes(), name) for image, name in zip(dataset.images, classes)}


def lot(path):
    """Where the SHA-256 of a file's bytes lies between 0 and 1."""
    return int.from_bytes(hashlib.sha256(path.read_bytes()).digest(), "big") / 2**256


def test_about_a_seventh_of_each_class_is_set_aside(photos):
    train, test = data.load(photos), data.load(str(photos), "test")
    assert train.classes == test.classes == ("cat", "dog")
    assert train.name == "photos"
    assert same(train, data.load(photos, "train"))
    assert set(train.labels[:9].tolist()) == {0, 1}  # whoever takes the first n has images of all classes

    def pixels(path):
        return np.asarray(Image.open(path)).transpose(2, 0, 1).tobytes(), path.parent.name

    files = list(photos.glob("*/*.png"))
    low = {path for path in files if lot(path) <= 0.15} | {min(photos.glob(f"{c}/*"), key=lot) for c in train.classes}
    assert content(test) == {pixels(path) for path in low}
    assert content(train) == {pixels(path) for path in files if path not in low}


def test_fifteen_per_cent_of_many_are_set_aside(tmp_path):
    for i in range(1000):
        (tmp_path / str(i)).write_text(str(i))
    trees = folders._set_aside(tmp_path, {"a": sorted(tmp_path.iterdir())})
    assert 120 <= len(trees["test"]["a"]) <= 180  # 15 %, and 2.7 standard deviations of a binomial
    assert len(trees["train"]["a"]) + len(trees["test"]["a"]) == 1000


def test_no_training_image_ever_becomes_a_test_image_as_a_folder_grows(tmp_path):
    """One by one, to classes from two images on, new classes and copies of other names among them."""
    root, trained, sizes = tmp_path / "set", set(), []
    arrays = [noise_image(8, 8, seed=seed) for seed in range(60)]
    for i in (0, 1, 2):
        write_image(root / "dog" / f"{i}.png", arrays[i])
        write_image(root / "cat" / f"{i}.png", arrays[i + 30])
    for i in range(3, 30):
        for _ in range(2):
            train, test = data.load(root), data.load(root, "test")
            assert not trained & content(test)
            assert set(train.classes) == {name for _, name in content(test)} == {name for _, name in content(train)}
            trained |= content(train)
        sizes.append(len(test))
        write_image(root / "dog" / f"{99 - i}.png", arrays[i])
        write_image(root / ("ant" if i > 20 else "cat") / f"{i}.png", arrays[i + 30])
        if i == 20:
            write_image(root / "ant" / "1.png", arrays[5])
            write_image(root / "ant" / "2.png", arrays[6])
            shutil.copy(root / "dog" / "2.png", root / "dog" / "copy.png")
    assert sizes[-1] > sizes[0]


def test_an_image_that_is_renamed_or_copied_stays_on_its_side(photos):
    before = content(data.load(photos)), content(data.load(photos, "test"))
    for i, path in enumerate(sorted(photos.glob("cat/*.png"))):
        shutil.copy(path, path.with_name(f"copy {i}.png"))
        path.rename(path.with_name(f"{(i * 7) % 20} renamed.png"))
    (photos / "cat").rename(photos / "zebra")
    after = [content(data.load(photos, split)) for split in data.SPLITS]
    assert [{(pixels, name.replace("zebra", "cat")) for pixels, name in part} for part in after] == list(before)


def test_a_class_of_which_nothing_is_left_to_train_on_is_refused(tmp_path):
    for name in "ab":
        for i in range(4):
            write_image(tmp_path / "set" / name / f"{i}.png", noise_image(8, 8, seed=i))
    for path in (tmp_path / "set" / "b").glob("[1-3].png"):
        shutil.copy(path.with_name("0.png"), path)
    with pytest.raises(DataError, match=r"set.b has no image to train on: all it holds \(4\).*Add others"):
        data.load(tmp_path / "set")


def test_split_folders_are_taken_as_they_are(tmp_path):
    root = tmp_path / "set"
    for split, n in (("train", 3), ("test", 2)):
        for name in ("b", "a"):
            for i in range(n):
                write_image(root / split / name / f"{i}.png", noise_image(8, 8, seed=i + 10 * n))
    (root / "README.txt").write_text("files beside the class folders are ignored")
    (root / "train" / "labels.csv").write_text("so is this")
    (root / "train" / ".DS_Store").write_bytes(b"hidden")
    (root / "train" / "a" / "._0.png").write_bytes(b"hidden")
    (root / "train" / ".cache").mkdir()
    train, test = data.load(root), data.load(root, "test")
    assert sorted(train.labels.tolist()) == [0, 0, 0, 1, 1, 1]
    assert sorted(test.labels.tolist()) == [0, 0, 1, 1]
    assert train.classes == ("a", "b")
    for label in (0, 1):
        found = [image[0].tolist() for image in train.images[train.labels == label]]
        assert sorted(found) == sorted(noise_image(8, 8, seed=i + 30).tolist() for i in range(3))


def test_mode_and_size_come_from_both_splits(tmp_path):
    root = tmp_path / "set"
    for split in data.SPLITS:
        for name in "ab":
            write_image(root / split / name / "1.png", noise_image(40, 40))
    assert data.load(root).shape == (1, 40, 40)
    write_image(root / "test" / "b" / "2.png", noise_image(30, 50, 3))
    assert data.load(root).shape == data.load(root, "test").shape == (3, 24, 24)


def test_bare_name_of_a_folder(photos, cache, monkeypatch):
    monkeypatch.chdir(photos.parent)
    assert len(data.load("photos")) == 27
    data.save(data.load("digits").take(12), cache / "photos-train.npz")
    assert len(data.load("photos")) == 12
    data.save(data.load("digits").take(12), photos.parent / "photos-train.npz")  # beside the folder, which wins
    assert len(data.load("./photos")) == len(data.load(Path("photos"))) == 27


@pytest.mark.parametrize(
    ("sides", "expected"), [((28, 33), 24), ((5, 90), 8), ((500, 200), 64), ((64, 64), 64), ((63, 90), 56)]
)
def test_default_size(tmp_path, sides, expected):
    for side, name in zip(sides, "ab"):
        write_image(tmp_path / "set" / "train" / name / "1.png", noise_image(side, side + 7))
    dataset = data.load(tmp_path / "set")
    assert dataset.shape == (1, expected, expected)
    assert data.load(tmp_path / "set", size=13).shape == (1, 13, 13)


def test_square_image_of_the_size_asked_for_is_untouched(tmp_path):
    image = noise_image(13, 13, 3)
    assert np.array_equal(one_pixel_image(tmp_path, image), image)


@pytest.mark.parametrize("tall", [False, True])
def test_crop_is_central(tmp_path, tall):
    wide = noise_image(10, 30, 3)
    expected = wide[:, 10:20]
    if tall:
        wide, expected = wide.swapaxes(0, 1), expected.swapaxes(0, 1)
    assert np.array_equal(one_pixel_image(tmp_path, np.ascontiguousarray(wide)), expected)


def test_resizing_is_antialiased(tmp_path):
    fine = np.zeros((64, 64), np.uint8)
    fine[:, ::4] = 255  # one column in four: without antialiasing, all of it or nothing
    for name in "ab":
        write_image(tmp_path / "set" / "train" / name / "1.png", fine)
    pixels = data.load(tmp_path / "set", size=16).images.double()
    assert (pixels[..., 2:-2] - 255 / 4).abs().max() < 6


def test_grey_stays_grey_and_joins_rgb(tmp_path):
    grey = noise_image(8, 8)
    assert np.array_equal(one_pixel_image(tmp_path / "1", grey)[..., 0], grey)
    coloured = one_pixel_image(tmp_path / "2", grey, other=noise_image(8, 8, 3))
    assert np.array_equal(coloured, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_composited_on_white(tmp_path, mode):
    channels = len(mode)
    array = noise_image(8, 8, channels)
    array[:4, :, -1] = 0
    array[4:6, :, -1] = 255
    result = one_pixel_image(tmp_path, Image.fromarray(array)).astype(float)
    alpha = array[..., -1:] / 255
    expected = alpha * array[..., :-1] + (1 - alpha) * 255
    assert result.shape[-1] == channels - 1
    assert np.abs(result - expected).max() <= 1


def test_palette(tmp_path):
    array = noise_image(8, 8, 3)
    palette = Image.fromarray(array).quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    assert np.array_equal(one_pixel_image(tmp_path / "1", palette), expected)
    index = np.asarray(palette)
    expected = np.where((index == 3)[..., None], 255, expected)
    assert (index == 3).any()
    assert np.array_equal(one_pixel_image(tmp_path / "2", palette, transparency=3), expected)


def test_one_bit(tmp_path):
    array = noise_image(8, 8) > 127
    assert np.array_equal(one_pixel_image(tmp_path, Image.fromarray(array))[..., 0], array * 255)


def png(bits, kind, rows, key, width=4):
    """A PNG written by hand, with a transparent colour, for what Pillow reads but does not write."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, len(rows), bits, kind, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = {b"IHDR": header, b"tRNS": key, b"IDAT": pixels, b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*item) for item in chunks.items() if item[1] is not None)


def tiff(array, sample_format=1, black=1, bits=None, order="<"):
    """A plain TIFF written by hand: sample_format 1 is unsigned, 2 signed, 3 floating; black is the tag 262."""
    raw = array.astype(array.dtype.newbyteorder(order)).tobytes()
    height, width = array.shape
    tags = [(256, 3, width), (257, 3, height), (258, 3, bits or 8 * array.dtype.itemsize), (259, 3, 1), (262, 3, black),
            (273, 4, 8), (277, 3, 1), (278, 3, height), (279, 4, len(raw)), (339, 3, sample_format)]  # fmt: skip
    entries = b"".join(
        struct.pack(order + "HHI" + ("HH" if kind == 3 else "I"), tag, kind, 1, value, *[0] * (kind == 3))
        for tag, kind, value in tags
    )
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(raw))
    return start + raw + struct.pack(order + "H", len(tags)) + entries + bytes(4)


def of_bytes(tmp_path, blob, suffix="png", split="train"):
    """What a set becomes whose images are all one file of these bytes: (C, H, W)."""
    for part in data.SPLITS:
        for name in "ab":
            path = tmp_path / "set" / part / name / f"1.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(blob)
    with Image.open(path) as image:
        side = min(image.size)
    return data.load(tmp_path / "set", split, size=side).images[0].numpy()


RAMP = np.linspace(0, 65535, 64).round().astype(np.uint16).reshape(8, 8)


@pytest.mark.parametrize(
    ("blob", "suffix"),
    [
        (png(16, 0, [row.astype(">u2").tobytes() for row in RAMP], None, width=8), "png"),
        (tiff(RAMP), "tif"),
        (tiff(RAMP, order=">"), "tif"),
        (b"P5 8 8 65535\n" + RAMP.astype(">u2").tobytes(), "pgm"),
        (b"P5 8 8 1000\n" + np.rint(RAMP / 65.535).astype(">u2").tobytes(), "pgm"),
        (tiff(np.rint(RAMP / 257).astype(np.uint8)), "tif"),
        (tiff(np.rint(255 - RAMP / 257).astype(np.uint8), black=0), "tif"),
    ],
    ids=["PNG", "TIFF", "big-endian TIFF", "PGM", "PGM to 1000", "8-bit TIFF", "8-bit TIFF with 0 for white"],
)
def test_a_ramp_is_the_same_in_every_format_that_declares_its_black_and_white(tmp_path, blob, suffix):
    for factor in (1, 2):  # and as much of it as there is: the values that occur decide nothing
        part = of_bytes(tmp_path / str(factor), blob, suffix)
        assert part.shape == (1, 8, 8)
        assert np.abs(part[0] - RAMP / 257).max() <= 1


@pytest.mark.parametrize("top", [200, 60_000])
def test_sixteen_bits_do_not_depend_on_what_they_hold(tmp_path, top):
    values = np.linspace(0, top, 64).round().astype(np.uint16).reshape(8, 8)
    assert np.array_equal(of_bytes(tmp_path, tiff(values), "tif")[0], np.rint(values / 257))


@pytest.mark.parametrize("peak", [7, 1000, 100_000])  # whatever the pixels are
@pytest.mark.parametrize("split", data.SPLITS)
@pytest.mark.parametrize(
    "blob",
    [
        lambda peak: tiff(np.full((8, 8), min(peak, 32767), np.int16), sample_format=2),
        lambda peak: tiff(np.full((8, 8), min(peak, 32767), np.int16), sample_format=2, order=">"),
        lambda peak: tiff(np.full((8, 8), peak, np.int32), sample_format=2),
        lambda peak: tiff(np.full((8, 8), peak, np.uint32)),
        lambda peak: tiff(np.full((8, 8), peak, np.float32), sample_format=3),
        lambda peak: tiff(np.full((8, 8), min(peak, 127), np.int8), sample_format=2),
        lambda peak: tiff(np.full((8, 8), min(peak, 65535), np.uint16), black=0),
        lambda peak: tiff(np.full((8, 8), min(peak, 255), np.uint16), bits=12),
        lambda peak: b"Pf 8 8 -1.0\n" + np.full(64, peak, "<f4").tobytes(),
    ],
    ids=["int16", "int16-MM", "int32", "uint32", "float32", "int8", "white-is-0", "12-bit", "PFM"],
)
def test_what_declares_no_black_and_white_is_refused(tmp_path, blob, split, peak):
    blob = blob(peak)
    with pytest.raises(DataError, match=r"1\.tif as an image .*does not say what is black and what is white.*16\)"):
        of_bytes(tmp_path, blob, "tif", split)


def test_lab_is_colour(tmp_path):
    lab = Image.frombytes("LAB", (8, 8), bytes([138, 81, 70]) * 64)  # red: L 54 of 100, a 81, b 70
    with Image.open(write_image(tmp_path / "1.tif", lab)) as image:
        assert image.mode == "LAB"
    result = of_bytes(tmp_path, (tmp_path / "1.tif").read_bytes(), "tif")
    assert result.shape == (3, 8, 8)
    assert np.abs(result[:, 0, 0].astype(int) - [255, 0, 0]).max() <= 8


@pytest.mark.parametrize(("bits", "row"), [(1, b"\x50"), (8, bytes([0, 255, 0, 255]))])
@pytest.mark.parametrize("key", [0, 1])
def test_a_transparent_grey_becomes_white(tmp_path, bits, row, key):
    blob = png(bits, 0, [row] * 4, struct.pack(">H", key * (2**bits - 1)))
    assert of_bytes(tmp_path, blob)[0, 0].tolist() == ([255] * 4 if key == 0 else [0, 255, 0, 255])


def test_a_transparent_colour_becomes_white(tmp_path):
    blob = png(8, 2, [bytes([1, 2, 3, 4, 5, 6] * 2)] * 4, struct.pack(">3H", 4, 5, 6))
    assert of_bytes(tmp_path, blob)[:, 0].T.tolist() == [[1, 2, 3], [255, 255, 255]] * 2


@pytest.mark.parametrize(
    ("bits", "kind", "row", "key"),
    [
        (2, 0, b"\x1b", struct.pack(">H", 2)),
        (4, 0, b"\x05\xaf", struct.pack(">H", 5)),
        (16, 0, struct.pack(">4H", 0, 5, 900, 65535), struct.pack(">H", 900)),
        (16, 2, struct.pack(">12H", *range(0, 6000, 500)), struct.pack(">3H", 0, 500, 1000)),
    ],
    ids=["2 bits", "4 bits", "16 bits", "16 bits of colour"],
)
def test_a_transparent_colour_that_pillow_misses_is_refused(tmp_path, bits, kind, row, key):
    assert of_bytes(tmp_path / "opaque", png(bits, kind, [row] * 4, None)).shape == (1 if kind == 0 else 3, 4, 4)
    with pytest.raises(DataError, match="transparent colour is not one of 8 bits; save it with an alpha channel"):
        of_bytes(tmp_path / "keyed", png(bits, kind, [row] * 4, key))


def test_sixteen_bits_of_grey_with_alpha_are_grey(tmp_path):
    row = np.array([[0, 0], [30_000, 65535], [65535, 65535], [0, 32768]], ">u2").tobytes()
    result = of_bytes(tmp_path, png(16, 4, [row] * 4, None))
    assert result.shape == (1, 4, 4)
    assert np.abs(result[0, 0] - np.array([255, 30_000 / 257, 255, 127.5])).max() <= 1


def test_a_palette_with_alpha_is_composited(tmp_path):
    image = Image.new("P", (2, 2))
    image.putpalette([1, 2, 3, 200, 100, 50])
    image.putpixel((0, 0), 1)
    image = image.convert("PA")
    image.putalpha(Image.fromarray(np.array([[255, 0], [255, 255]], np.uint8)))
    with Image.open(write_image(tmp_path / "1.tif", image)) as again:
        assert again.mode == "PA"
    result = of_bytes(tmp_path, (tmp_path / "1.tif").read_bytes(), "tif")
    assert result.transpose(1, 2, 0).tolist() == [[[200, 100, 50], [255] * 3], [[1, 2, 3], [1, 2, 3]]]


def test_premultiplied_alpha_is_composited(tmp_path):
    image = Image.fromarray(np.array([[[200, 255], [100, 0]]] * 2, np.uint8))
    image.save(tmp_path / "1.tif")
    blob = (tmp_path / "1.tif").read_bytes()
    unassociated, associated = (struct.pack("<HHIHH", 338, 3, 1, kind, 0) for kind in (2, 1))
    assert blob.count(unassociated) == 1
    result = of_bytes(tmp_path, blob.replace(unassociated, associated), "tif")
    assert result.tolist() == [[[200, 255]] * 2]


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_other_colours_are_colours(tmp_path, mode):
    red = Image.new("RGB", (8, 8), "red").convert(mode)
    write_image(tmp_path / "1.tif", red)
    result = of_bytes(tmp_path, (tmp_path / "1.tif").read_bytes(), "tif")
    assert np.abs(result[:, 0, 0].astype(int) - [255, 0, 0]).max() <= 2


def test_exif_orientation(tmp_path):
    array = noise_image(8, 8, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to show
    assert np.array_equal(one_pixel_image(tmp_path, array, exif=exif), np.rot90(array, -1))


@pytest.mark.parametrize("kept", [20, 400])
def test_truncated_image_is_named(photos, kept):
    victim = photos / "cat" / "07.png"
    victim.write_bytes(victim.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"cat.07\.png as an image .*replace or remove it"):
        [data.load(photos, split) for split in data.SPLITS]


def test_what_is_not_an_image_is_named(photos):
    (photos / "cat" / "notes.txt").write_text("a cat")
    with pytest.raises(DataError, match=r"notes\.txt as an image"):
        data.load(photos)


def test_a_folder_in_a_class_folder_is_named(photos):
    write_image(photos / "cat" / "kittens" / "1.png", noise_image(8, 8))
    with pytest.raises(
        DataError, match=r"class folder .*cat holds a folder, kittens, where images belong: move it away"
    ):
        data.load(photos)
    with pytest.raises(
        DataError, match=r"photos holds a folder, cat.*give the path of the folder that holds the class"
    ):
        data.load(photos.parent)


def test_folders_that_cannot_be_used(tmp_path):
    root = tmp_path / "set"
    with pytest.raises(FileNotFoundError, match="set is not a folder"):
        data.load(root)
    root.mkdir()
    with pytest.raises(DataError, match=r"no images are in .*set: put each"):
        data.load(root)
    write_image(root / "1.png", noise_image(8, 8))
    with pytest.raises(DataError, match=r"images lie directly in .*set: put each.*cat.1\.png"):
        data.load(root)
    write_image(root / "cat" / "1.png", noise_image(8, 8))
    with pytest.raises(DataError, match="only one class folder, cat"):
        data.load(root)
    (root / "dog").mkdir()
    with pytest.raises(DataError, match=r"class folder .*dog is empty"):
        data.load(root)
    write_image(root / "dog" / "1.png", noise_image(8, 8))
    with pytest.raises(DataError, match=r"cat has no image to train on: all it holds \(1\)"):
        data.load(root)


def test_splits_that_cannot_be_used(tmp_path):
    root = tmp_path / "set"
    for name in ("cat", "dog"):
        write_image(root / "train" / name / "1.png", noise_image(8, 8))
    with pytest.raises(FileNotFoundError, match="has a folder train but no folder test"):
        data.load(root, "test")
    for name in ("dog", "emu"):  # labels would mean cat, dog in one split and dog, emu in the other
        write_image(root / "test" / name / "1.png", noise_image(8, 8))
    for split in data.SPLITS:
        with pytest.raises(
            DataError, match=r"train in .*set has .*'cat', 'dog'.*label 0 is 'cat' here and 'dog' there"
        ):
            data.load(root, split)


def test_classes_named_like_splits_are_not_guessed_at(tmp_path):
    for name in ("train", "test"):
        write_image(tmp_path / "set" / name / "1.png", noise_image(8, 8))
    with pytest.raises(DataError, match=r"images lie directly in .*train.*taken for the splits"):
        data.load(tmp_path / "set")


def test_splits_in_capitals_and_what_systems_leave_behind(tmp_path):
    root = tmp_path / "set"
    for split in ("Train", "TEST", "val"):
        for k, name in enumerate(("a", "b", "__MACOSX/a", "@eaDir/b")):
            write_image(root / split / name / "1.png", np.full((8, 8), 10 * k + (split == "TEST"), np.uint8))
        for junk in ("Thumbs.db", "desktop.ini", ".DS_Store"):
            (root / split / "a" / junk).write_bytes(b"no image")
    write_image(root / "__MACOSX" / "train" / "._1.png", noise_image(8, 8))
    assert data.load(root).images[:, 0, 0, 0].sort().values.tolist() == [0, 10]
    assert data.load(root, "test").images[:, 0, 0, 0].sort().values.tolist() == [1, 11]
    write_image(root / "train" / "a" / "1.png", noise_image(8, 8))
    if len(list(root.iterdir())) > 4:  # not so where capitals make no difference
        with pytest.raises(DataError, match="has TEST, Train, train: keep one folder for each split"):
            data.load(root)


def test_junk_alone_is_an_empty_folder(tmp_path):
    for name in "ab":
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "Thumbs.db").write_bytes(b"")
    with pytest.raises(DataError, match=r"class folder .*a is empty"):
        data.load(tmp_path / "set")


def test_a_validation_folder_is_not_taken_for_the_test_split(tmp_path):
    root = tmp_path / "set"
    for split in ("train", "validation"):
        for name in "ab":
            write_image(root / split / name / "1.png", noise_image(8, 8))
    assert len(data.load(root)) == 2
    with pytest.raises(FileNotFoundError, match="has a folder train but no folder test: add or rename one"):
        data.load(root, "test")
    (root / "train").rename(root / "training")
    with pytest.raises(DataError, match="training holds a folder, a, where images belong"):
        data.load(root)
