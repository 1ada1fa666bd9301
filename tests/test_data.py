from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import pickle
import shutil
import tarfile
import tempfile
import threading
import zipfile
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rgd import checkpoints, cli
from rgd.data import _permutation, batch_indices, same_classes
from rgd.errors import DataError, SaveError
from rgd.lab import datasets as data
from rgd.lab.recipe import Recipe, train
from rgd.networks import EncoderConfig
from rgd.training import Training
from rgd.training.objectives import NoisyCrossEntropy


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder, so that no test touches the user's own."""
    monkeypatch.setenv("RGD_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


def random_dataset(n=12, shape=(3, 4, 4), k=3, name="mine", seed=0):
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.integers(0, 256, (n, *shape), dtype=np.uint8))
    return data.Dataset(images, torch.arange(n) % k, tuple(f"class {i}" for i in range(k)), name)


def write_npz(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def same(a, b):
    return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and a.classes == b.classes


# --- Dataset ---------------------------------------------------------------------------------------------------


def test_x0_maps_bytes_onto_the_unit_ball():
    dataset = data.Dataset(
        torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16), torch.tensor([0]), ("a",), "ramp"
    )
    x0 = dataset.x0()
    assert x0.dtype == torch.float32
    assert x0.min() == -1
    assert x0.max() == 1
    assert torch.equal(((x0 + 1) * 127.5).round().to(torch.uint8), dataset.images)


def test_x0_subset_take_and_to_agree():
    dataset = random_dataset()
    index = torch.tensor([5, 0, 5])
    assert torch.equal(dataset.x0(index), dataset.x0()[index])
    assert torch.equal(dataset.subset(index).images, dataset.images[index])
    assert torch.equal(dataset.subset(index).labels, dataset.labels[index])
    assert len(dataset.take(5)) == 5
    assert same(dataset.take(5), dataset.subset(slice(0, 5)))
    assert same(dataset.take(10**6), dataset)
    assert same(dataset.to("cpu"), dataset)
    assert dataset.shape == (3, 4, 4)


def test_digest_is_of_the_contents():
    dataset = random_dataset()
    strided = data.Dataset(
        dataset.images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2), dataset.labels, dataset.classes, "other"
    )
    assert len(dataset.digest) == 64
    assert strided.digest == dataset.digest
    pixels = dataset.images.clone()
    pixels[0, 0, 0, 0] ^= 1
    labels = (dataset.labels + 1) % 3
    reshaped = dataset.images.reshape(12, 3, 2, 8)
    digests = {
        dataset.digest,
        data.Dataset(pixels, dataset.labels, dataset.classes, "").digest,
        data.Dataset(dataset.images, labels, dataset.classes, "").digest,
        data.Dataset(dataset.images, dataset.labels, ("x", "y", "z"), "").digest,
        data.Dataset(reshaped, dataset.labels, dataset.classes, "").digest,
    }
    assert len(digests) == 5
    before = dataset.digest
    dataset.labels[0] = 1 - dataset.labels[0]
    assert dataset.digest not in digests
    dataset.labels[0] = 1 - dataset.labels[0]
    assert dataset.digest == before


@pytest.mark.parametrize(
    ("images", "labels", "match"),
    [
        (torch.zeros(2, 1, 4, 4).double(), torch.zeros(2, dtype=torch.int64), "uint8"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), "uint8"),
        (torch.zeros(2, 4, 4, 3, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), "1 or 3"),
        (torch.zeros(0, 1, 4, 4, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64), "uint8"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), r"int64 \(2,\)"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2), "int64"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 2]), "from 0 to 2"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([-1, 1]), "from -1 to 1"),
    ],
)
def test_dataset_refuses_what_does_not_fit(images, labels, match):
    with pytest.raises(DataError, match=match):
        data.Dataset(images, labels, ("a", "b"), "bad")


def test_draws_that_are_no_photographs_stay_as_they_are(tmp_path):
    draws = 3 * torch.randn(5, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    dataset = data.Dataset(draws, torch.arange(5), tuple("abcde"), "draws")
    assert torch.equal(dataset.x0(), draws)
    assert torch.equal(dataset.x0(torch.tensor([3, 1])), draws[[3, 1]])
    with pytest.raises(DataError, match="no bytes"):
        data.save(dataset, tmp_path / "draws-train.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("theirs", "match"),
    [
        ("acb", r"'a', 'b', 'c'.*'a', 'c', 'b'.*label 1 is 'b' here and 'c' there"),
        ("ab", r"3 classes.*the judge has 2 classes.*label 2 is 'c' here and None there"),
        ("abcd", "label 3 is None here and 'd' there"),
        ("", "label 0 is 'a' here"),
        ("abC", "label 2 is 'c' here and 'C' there"),
    ],
)
def test_class_names_that_differ_are_named(theirs, match):
    same_classes(tuple("abc"), list("abc"), "the data", "the judge")
    with pytest.raises(DataError, match="the data has.*" + match):
        same_classes(tuple("abc"), tuple(theirs), "the data", "the judge")


def test_many_class_names_are_not_all_printed():
    names = [f"class {k}" for k in range(1000)]
    with pytest.raises(DataError, match="label 999") as error:
        same_classes(names, [*names[:-1], "other"], "a", "b")
    assert len(str(error.value)) < 500


# --- Known sets and the cache ----------------------------------------------------------------------------------


def test_digits_are_scikit_learns_in_a_fixed_stratified_split(cache):
    from sklearn.datasets import load_digits

    train, test = data.load("digits"), data.load("digits", "test")
    assert (len(train), len(test)) == (1497, 300)
    assert train.shape == test.shape == (1, 8, 8)
    assert train.classes == tuple("0123456789")
    assert same(train, data.load("digits", size=8))
    assert not cache.exists()

    pixels, labels = load_digits(return_X_y=True)
    scale = [round(v * 255 / 16) for v in range(17)]
    expected = Counter((*(scale[int(v)] for v in row), int(label)) for row, label in zip(pixels, labels))
    found = Counter(
        (*image.flatten().tolist(), int(label))
        for part in (train, test)
        for image, label in zip(part.images, part.labels)
    )
    assert found == expected
    share = torch.bincount(test.labels) / torch.bincount(torch.cat([train.labels, test.labels]))
    assert share.min() > 0.15
    assert share.max() < 0.18


@given(
    n=st.integers(1, 9),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    classes=st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), min_size=1
    ),
    seed=st.integers(0, 99),
)
def test_saved_is_loaded(n, channels, height, width, classes, seed):
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.integers(0, 256, (n, channels, height, width), dtype=np.uint8))
    dataset = data.Dataset(images, torch.from_numpy(rng.integers(0, len(classes), n)), tuple(classes), "mine")
    with tempfile.TemporaryDirectory() as folder:
        data.save(dataset, Path(folder, "deeper", "mine-test.npz"))
        assert os.listdir(Path(folder, "deeper")) == ["mine-test.npz"]
        loaded = data.load("mine", "test", root=Path(folder, "deeper"))
    assert same(loaded, dataset)
    assert loaded.digest == dataset.digest
    assert loaded.images.is_contiguous()


def test_npz_layout_and_root(cache, tmp_path):
    dataset = random_dataset(k=2)
    data.save(dataset, cache / "mine-train.npz")
    with np.load(cache / "mine-train.npz") as file:
        assert file["images"].shape == (12, 4, 4, 3)
        assert file["images"].dtype == np.uint8
        assert file["labels"].dtype == np.int64
        assert np.array_equal(file["images"][3, 1, 2], dataset.images[3, :, 1, 2])
    data.save(random_dataset(seed=1), tmp_path / "elsewhere" / "mine-train.npz")
    assert same(data.load("mine"), dataset)
    assert not same(data.load("mine", root=tmp_path / "elsewhere"), dataset)


def test_npz_without_classes(cache):
    images = np.zeros((3, 28, 28, 1), np.uint8)
    write_npz(cache / "mine-train.npz", images=images, labels=np.array([0, 2, 0]))
    write_npz(cache / "fashion-mnist-train.npz", images=images, labels=np.array([0, 2, 0]))
    assert data.load("mine").classes == ("0", "1", "2")
    assert data.load("fashion-mnist").classes[:2] == ("T-shirt/top", "Trouser")


def test_class_names_are_torchvisions():
    from torchvision.datasets import MNIST, FashionMNIST

    assert data.KNOWN["fashion-mnist"][1] == tuple(FashionMNIST.classes)
    assert data.KNOWN["mnist"][1] == tuple(name[0] for name in MNIST.classes)


def truncated(path):
    path.write_bytes(path.read_bytes()[:-200])


def flipped(path):
    with zipfile.ZipFile(path) as archive:
        middle = archive.infolist()[0].header_offset + 400
    blob = bytearray(path.read_bytes())
    blob[middle] ^= 1
    path.write_bytes(bytes(blob))


@pytest.mark.parametrize(
    "damage",
    [truncated, flipped, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"<html>not found</html>")],
    ids=["truncated", "bit flipped", "empty", "html"],
)
@pytest.mark.parametrize("name", ["mnist", "mine"])
def test_damaged_npz(cache, name, damage):
    path = cache / f"{name}-train.npz"
    write_npz(path, images=np.zeros((3, 28, 28, 1), np.uint8), labels=np.arange(3))
    data.load(name)
    damage(path)
    with pytest.raises(DataError, match=rf"{name}-train\.npz is not a usable dataset.*delete it"):
        data.load(name)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"images": None}, "images"),
        ({"labels": None}, "labels"),
        ({"images": np.zeros((3, 28, 28, 1), np.float32)}, "uint8"),
        ({"images": np.zeros((3, 28, 28), np.uint8)}, "uint8"),
        ({"images": np.zeros((3, 1, 28, 28), np.uint8)}, "1 or 3"),
        ({"labels": np.arange(3, dtype=np.int32)}, "int64"),
        ({"labels": np.array([0, np.nan, 1])}, "int64|NaN"),
        ({"labels": np.arange(4)}, "int64"),
        ({"labels": np.array([0, -1, 1])}, "from -1 to 1"),
        ({"labels": np.array([0, 2**62, 1])}, "beyond"),
        ({"labels": np.array([0, "one", {}], dtype=object)}, "allow_pickle"),
    ],
)
@pytest.mark.parametrize("name", ["mnist", "mine"])
def test_npz_of_the_wrong_contents(cache, name, change, match):
    arrays = {"images": np.zeros((3, 28, 28, 1), np.uint8), "labels": np.arange(3)} | change
    write_npz(cache / f"{name}-train.npz", **{key: value for key, value in arrays.items() if value is not None})
    with pytest.raises(DataError, match=rf"(?s){name}-train\.npz.*({match}).*delete it"):
        data.load(name)


@pytest.mark.parametrize(
    "change",
    [
        {"images": np.zeros((3, 32, 32, 1), np.uint8)},
        {"labels": np.array([0, 1, 10])},
        {"classes": np.array(list("9876543210"))},
    ],
)
def test_npz_that_is_not_the_set_it_is_named_after(cache, change):
    arrays = {"images": np.zeros((3, 28, 28, 1), np.uint8), "labels": np.arange(3)} | change
    write_npz(cache / "mine-train.npz", **arrays)
    assert len(data.load("mine")) == 3
    write_npz(cache / "mnist-train.npz", **arrays)
    with pytest.raises(DataError, match=r"mnist-train\.npz.*(shape|beyond the 10 classes).*delete it"):
        data.load("mnist")


def test_npz_never_unpickles(cache, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    cache.mkdir()
    (cache / "mine-train.npz").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError):
        data.load("mine")
    write_npz(cache / "mine-train.npz", images=np.array([Trap()]), labels=np.arange(1))
    with pytest.raises(DataError):
        data.load("mine")
    assert not (tmp_path / "sprung").exists()


def test_unknown_names_and_splits(cache):
    with pytest.raises(ValueError, match=r"unknown dataset 'cifar-10', did you mean 'cifar10'\?.*fashion-mnist"):
        data.load("cifar-10")
    with pytest.raises(ValueError, match="did you mean 'mnist'"):
        data.load("MNIST")
    with pytest.raises(ValueError, match=r"unknown dataset 'zebra': Choose one of digits.*zebra-test\.npz"):
        data.load("zebra", "test")
    with pytest.raises(ValueError, match="unknown split 'val': choose one of train, test"):
        data.load("digits", "val")


@pytest.mark.parametrize("size", [float("nan"), 8.0, 0, -8, True, "8"])
def test_size_must_be_a_size(size):
    with pytest.raises(ValueError, match="size must be a positive whole number"):
        data.load("digits", size=size)


def test_size_of_a_set_that_has_one(cache):
    data.save(random_dataset(), cache / "mine-train.npz")
    assert len(data.load("mine", size=4)) == 12
    for name in ("mine", "digits"):
        with pytest.raises(ValueError, match=rf"{name} has images.*not 32"):
            data.load(name, size=32)


def test_save_to_a_full_disk_keeps_what_was_there(tmp_path):
    resource = pytest.importorskip("resource", reason="needs POSIX limits")
    path = tmp_path / "mine-train.npz"
    data.save(random_dataset(), path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(SaveError, match=r"could not save .*mine-train\.npz"):
            data.save(random_dataset(n=2000), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["mine-train.npz"]


# --- The same images again -------------------------------------------------------------------------------------


def write_folder(folder, n=12):
    """Two classes of images of 8 x 8 pixels, without split folders."""
    for k, name in enumerate(("one", "two")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            pixels = np.random.default_rng(100 * k + i).integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


@pytest.mark.parametrize("name", ["digits", "mine", "./here/mine", "photos/digits", "photos/../photos/digits", "few"])
def test_a_data_set_says_where_it_can_be_had_again(name, cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "photos" / "digits")  # which is not `digits`
    for i, folder in enumerate((cache, tmp_path / "here")):
        data.save(random_dataset(seed=i), folder / "mine-train.npz")
    loaded = data.load("mnist", "few") if name == "few" else data.load(name)
    assert loaded.source in data.KNOWN or os.path.isabs(loaded.source)
    assert loaded.subset(slice(2)).to("cpu").source == loaded.source
    monkeypatch.chdir("/")
    assert same(data.load(loaded.source, "few" if name == "few" else "train"), loaded)


def test_a_set_of_another_root_is_found_again(tmp_path):
    data.save(random_dataset(), tmp_path / "elsewhere" / "mine-test.npz")
    loaded = data.load("mine", "test", root=tmp_path / "elsewhere")
    assert loaded.name == "mine"
    assert same(data.load(loaded.source, "test"), loaded)


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A model trained, a little, on a folder that is called as a known set is."""
    monkeypatch.chdir(tmp_path)
    encoder = EncoderConfig(image_size=8, in_channels=1, out_channels=2, model_channels=32, num_res_blocks=1,
                            channel_mult=(1,), attention_resolutions=(), num_head_channels=32)  # fmt: skip
    folder = write_folder(tmp_path / "photos" / "digits")
    recipe = Recipe("t/vanilla", "photos/digits", encoder, NoisyCrossEntropy(), Training(steps=1, batch_size=4))
    return train(recipe, "runs", progress=False), folder


def test_a_model_knows_what_it_was_trained_on(trained, tmp_path, monkeypatch, recwarn):
    model, folder = trained
    monkeypatch.chdir("/")
    again = data.load_again(model.provenance, model.classes, size=8)
    assert same(again, data.load(folder, "test"))
    assert data.load_again(model.provenance, model.classes, "train", size=8).digest == data.load(folder).digest
    assert not recwarn
    assert data.load_again(model.provenance, model.classes, size=16).shape == (1, 16, 16)


def test_a_folder_that_changed_is_not_taken_for_the_same(trained):
    model, folder = trained
    shutil.copy(folder / "one" / "1.png", folder / "one" / "new.png")
    with pytest.warns(UserWarning, match=r"training images of .*digits are not those that the model was trained on"):
        data.load_again(model.provenance, model.classes, size=8)
    shutil.copytree(folder / "one", folder / "another")
    with pytest.raises(DataError, match=r"the model has 2 classes .*label 0 is 'one' here and 'another' there"):
        data.load_again(model.provenance, model.classes, size=8)
    shutil.rmtree(folder)
    with pytest.raises(
        DataError, match=r"photos.digits, which the model was trained on, cannot be had.*is not a folder"
    ):
        data.load_again(model.provenance, model.classes, size=8)


def test_an_older_model_names_its_data_and_is_believed_only_of_its_classes(trained):
    made = {"data": "digits"}
    assert same(data.load_again(made, tuple("0123456789"), size=8), data.load("digits", "test"))
    with pytest.raises(DataError, match="label 0 is 'one' here and '0' there"):
        data.load_again(made, trained[0].classes, size=8)
    for made in ({}, {"data": None}):  # draws from a mixture, say
        with pytest.raises(DataError, match="does not say what images it was trained on: name some"):
            data.load_again(made, trained[0].classes, size=8)


def test_commands_take_what_the_model_was_trained_on(trained, tmp_path, monkeypatch):
    """Not the built-in digits, of whose name the folder is, and not a folder of where one happens to be."""
    _, folder = trained
    model, samples = tmp_path / "runs" / "model.safetensors", tmp_path / "samples.safetensors"
    used = []
    monkeypatch.setattr(data, "load", lambda *a, load=data.load, **k: used.append(load(*a, **k)) or used[-1])
    monkeypatch.chdir(tmp_path / "runs")
    cli.gradients((model,), levels=(0,), n=4, out=tmp_path / "gradients.png")
    assert {images.source for images in used} == {str(folder)}
    made = checkpoints.read_metadata(model)["provenance"]
    origin = {"classes": ["one", "two"], "made": made}
    checkpoints.write(samples, {"images": torch.rand(24, 1, 8, 8), "labels": torch.arange(24) % 2}, origin)
    scored = []
    monkeypatch.setattr(cli.scoring, "evaluate", lambda images, real, **options: scored.append(real) or {})
    monkeypatch.setattr("rgd.lab.eyes.load_inception", torch.nn.Identity)
    cli.evaluate(samples, inception=True, out=tmp_path / "scores.json")
    assert same(scored[0], data.load(folder))
    assert json.loads((tmp_path / "scores.json").read_text())["reference"] == str(folder)
    with pytest.raises(DataError, match="10 classes"):
        cli.evaluate(samples, inception=True, reference="digits")


# --- Downloads, from a server of our own -----------------------------------------------------------------------


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves tmp_path/site; yields (address, folder, list of paths asked for)."""
    site = tmp_path / "site"
    site.mkdir()
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(variable, "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=site)) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/", site, asked
        httpd.shutdown()


def md5(blob):
    return hashlib.md5(blob, usedforsecurity=False).hexdigest()


@pytest.fixture
def tiny_mnist(server, monkeypatch):
    """MNIST's four files with three images a split, on our server."""
    import gzip

    from torchvision.datasets import MNIST

    address, site, _ = server
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 28, 28), dtype=np.uint8)
    labels = np.array([[5, 0, 4], [7, 2, 1]], np.uint8)
    resources = []
    for split, prefix in enumerate(("train", "t10k")):
        for kind, array in (("images-idx3", images[split]), ("labels-idx1", labels[split])):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
            blob = gzip.compress(header + array.tobytes())
            (site / f"{prefix}-{kind}-ubyte.gz").write_bytes(blob)
            resources.append((f"{prefix}-{kind}-ubyte.gz", md5(blob)))
    monkeypatch.setattr(MNIST, "resources", resources)
    monkeypatch.setattr(MNIST, "mirrors", [address + "gone/", address])
    return images, labels


def test_mnist_is_downloaded_once(tiny_mnist, server, cache):
    images, labels = tiny_mnist
    for split, name in enumerate(data.SPLITS):
        loaded = data.load("mnist", name)
        assert np.array_equal(loaded.images[:, 0], images[split])
        assert np.array_equal(loaded.labels, labels[split])
    asked = len(server[2])
    assert sorted(os.listdir(cache)) == ["mnist-test.npz", "mnist-train.npz"]
    assert same(data.load("mnist", "test"), loaded)
    assert len(server[2]) == asked


def test_download_leaves_what_is_cached(tiny_mnist, cache):
    write_npz(cache / "mnist-test.npz", images=np.ones((1, 28, 28, 1), np.uint8), labels=np.array([9]))
    data.load("mnist", "train")
    assert data.load("mnist", "test").labels.tolist() == [9]


def test_cache_that_cannot_be_written(tiny_mnist, cache):
    cache.write_text("a file where the cache folder should be, which stops root as well as anyone")
    with pytest.warns(UserWarning, match="mnist will be downloaded again next time: .*could not save.*set RGD_DATA"):
        loaded = data.load("mnist")
    assert np.array_equal(loaded.images[:, 0], tiny_mnist[0][0])


def test_read_only_cache(tiny_mnist, cache):
    cache.mkdir(mode=0o500)
    if os.access(cache, os.W_OK):
        pytest.skip("this user, root perhaps, may write to a read-only folder")
    with pytest.warns(UserWarning, match="could not save"):
        data.load("mnist")
    assert os.listdir(cache) == []


def test_mnist_from_nowhere(tiny_mnist, server, cache, monkeypatch):
    for file in server[1].iterdir():
        file.write_bytes(b"not what the hash says")
    with pytest.raises(ConnectionError, match=r"cannot download mnist(?s:.*)mnist-train\.npz and mnist-test\.npz into"):
        data.load("mnist")
    assert not cache.exists()


@pytest.fixture
def tiny_cifar10(server, monkeypatch):
    """CIFAR-10's archive with two images a batch, served at good/, and a host and a mirror to choose with."""
    from torchvision.datasets import CIFAR10

    address, site, asked = server
    rng = np.random.default_rng(0)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    batches = {
        name: (rng.integers(0, 256, (2, 3072), dtype=np.uint8), rng.integers(0, 10, 2).tolist()) for name in names
    }
    blobs = {name: pickle.dumps({"data": x, "labels": y}) for name, (x, y) in batches.items()}
    blobs["batches.meta"] = pickle.dumps({"label_names": list(data.KNOWN["cifar10"][1])})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, blob in blobs.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(blob)
            tar.addfile(member, io.BytesIO(blob))
    for folder, content in (
        ("good", buffer.getvalue()),
        ("good/too", buffer.getvalue()),
        ("bad", buffer.getvalue()[:-1] + b"?"),
    ):
        (site / folder).mkdir(parents=True)
        (site / folder / "cifar-10-python.tar.gz").write_bytes(content)
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(buffer.getvalue()))
    monkeypatch.setattr(CIFAR10, "train_list", [[name, md5(blobs[name])] for name in names[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5(blobs["test_batch"])]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5(blobs["batches.meta"])})

    def hosts(*folders):
        urls = [f"{address}{folder}/cifar-10-python.tar.gz" for folder in folders]
        monkeypatch.setattr(data, "CIFAR10_HOSTS", tuple(urls))
        return lambda: [line.split("/")[1] for line in asked]

    return hosts, batches


@pytest.mark.parametrize(
    ("folders", "visited"),
    [
        (("good", "bad"), ["good"]),
        (("bad", "good"), ["bad", "good"]),
        (("gone", "bad", "good"), ["gone", "bad", "good"]),
    ],
)
def test_cifar10_comes_from_the_first_host_with_the_right_hash(tiny_cifar10, cache, folders, visited):
    hosts, batches = tiny_cifar10
    asked = hosts(*folders)
    test = data.load("cifar10", "test")
    train = data.load("cifar10")
    assert list(dict.fromkeys(asked())) == visited
    assert np.array_equal(test.images.reshape(2, 3072), batches["test_batch"][0])
    assert test.labels.tolist() == batches["test_batch"][1]
    assert len(train) == 10
    assert np.array_equal(train.images[2:4].reshape(2, 3072), batches["data_batch_2"][0])
    assert sorted(os.listdir(cache)) == ["cifar10-test.npz", "cifar10-train.npz"]


def test_cifar10_with_a_wrong_hash_everywhere_is_refused(tiny_cifar10, cache):
    hosts, _ = tiny_cifar10
    hosts("bad", "gone", "bad")
    with pytest.raises(ConnectionError, match=r"(?s)cannot download cifar10.*bad/cifar.*hash.*404.*cifar10-train\.npz"):
        data.load("cifar10")
    assert not cache.exists()


def test_cifar10s_own_host_is_asked_last():
    """It serves the right file, at times in an hour."""
    from torchvision.datasets import CIFAR10

    assert data.CIFAR10_HOSTS[-1] == CIFAR10.url
    assert len(set(data.CIFAR10_HOSTS)) == 3


# --- Batches ---------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 40), batch_size=st.integers(1, 100), seed=st.integers(0, 2**63), epochs=st.integers(1, 5))
def test_every_epoch_holds_every_index_once(n, batch_size, seed, epochs):
    steps = -(-n * epochs // batch_size)
    line = torch.cat([batch_indices(n, batch_size, seed, step) for step in range(steps)])
    assert line.dtype == torch.int64
    assert len(line) == steps * batch_size
    for epoch in line[: n * epochs].split(n):
        assert epoch.sort().values.tolist() == list(range(n))


@given(n=st.integers(1, 40), batch_size=st.integers(1, 100), seed=st.integers(0, 9), step=st.integers(0, 10**12))
def test_a_step_depends_on_its_arguments_alone(n, batch_size, seed, step):
    first = batch_indices(n, batch_size, seed, step)
    kept = first.clone()
    first.zero_()  # a caller may do this, and must not hurt the next
    torch.manual_seed(step % 7)
    _permutation.cache_clear()
    assert torch.equal(batch_indices(np.int64(n), batch_size, np.int64(seed), step), kept)
    assert torch.equal(batch_indices(n, batch_size, seed, step), kept)


@given(n=st.integers(1, 40), size=st.integers(1, 50), parts=st.integers(1, 4), step=st.integers(0, 50))
def test_batch_size_only_cuts_the_line(n, size, parts, step):
    pieces = [batch_indices(n, size, 3, step * parts + i) for i in range(parts)]
    assert torch.equal(torch.cat(pieces), batch_indices(n, size * parts, 3, step))


def test_epochs_and_seeds_differ():
    epochs = [tuple(batch_indices(50, 50, seed, step).tolist()) for seed in (0, 1, 2**32, 2**40) for step in range(5)]
    assert len(set(epochs)) == len(epochs)


def test_one_permutation_an_epoch():
    _permutation.cache_clear()
    for step in range(20):
        batch_indices(100, 10, 0, step)
    assert _permutation.cache_info().misses == 2


@pytest.mark.parametrize("arguments", [(0, 1, 0, 0), (1, 0, 0, 0), (1, 1, -1, 0), (1, 1, 0, -1)])
def test_batch_arguments(arguments):
    with pytest.raises(ValueError, match=f"n={arguments[0]} and batch_size={arguments[1]}"):
        batch_indices(*arguments)


# --- Real data, where there is any -----------------------------------------------------------------------------

REAL = Path(os.environ.get("RGD_DATA", "/nowhere"))


def real(name, split):
    file = REAL / f"{name}-{split}.npz"
    if not file.exists():
        pytest.skip(f"RGD_DATA holds no {file.name}")
    return data.load(name, split, root=REAL)


def test_real_mnist():
    train = real("mnist", "train")
    assert train.images.shape == (60_000, 1, 28, 28)
    assert train.labels[:6].tolist() == [5, 0, 4, 1, 9, 2]
    assert len(real("mnist", "test")) == 10_000


def test_real_cifar10():
    test = real("cifar10", "test")
    assert test.images.shape == (10_000, 3, 32, 32)
    assert torch.bincount(test.labels).tolist() == [1000] * 10
    means = test.images.double().mean((0, 2, 3)) / 255
    assert (means - torch.tensor([0.494, 0.485, 0.450])).abs().max() < 0.005


def test_a_few_of_mnists_held_out_images_come_with_the_package(cache):
    few = data.load("mnist", "few")
    assert (len(few), few.shape, few.classes) == (500, (1, 28, 28), tuple("0123456789"))
    assert not list(cache.glob("*")), "nothing is downloaded"
    assert len(few.labels.unique()) == 10
    if (REAL / "mnist-test.npz").exists():
        assert few.digest == data.load("mnist", "test", root=REAL).take(500).digest
    with pytest.raises(ValueError, match="for mnist also few"):
        data.load("digits", "few")


def test_the_digits_are_split_as_ever():
    """Models that are published, or a user's own, have not seen these."""
    assert data.load("digits", "test").digest.startswith("4d542c9d844338e7")
