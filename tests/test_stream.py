"""Data larger than memory: every image once an epoch, on any number of processes, also after a kill; ADM's squares;
and whatever is damaged is named."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import textwrap
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_machines import launch, machines
from torch import Tensor, nn

import rgd
from rgd.data import Dataset
from rgd.errors import CheckpointError, DataError
from rgd.identity import key
from rgd.scale.stream import Stream, random_square, square
from rgd.training.objectives import Loss

N, SIZE = 24, 8
NAMES = ("cat", "dog", "emu")


def picture(number: int, side: tuple[int, int] = (20, 24)) -> Image.Image:
    """One colour, which says which image it is, whatever is cut or resized."""
    return Image.new("RGB", side, (10 * number, 255 - 10 * number, 7))


def numbers(x0: Tensor) -> list[int]:
    """Which images these are."""
    return ((x0[:, 0, 0, 0] + 1) * 127.5 / 10).round().int().tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("images") / "train"
    for i in range(N):
        (place / NAMES[i % 3]).mkdir(parents=True, exist_ok=True)
        picture(i).save(place / NAMES[i % 3] / f"n{i:02}.PNG")
    return place.parent


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By webdataset itself, of five images and fewer, most with names too long for the oldest kind of tar."""
    webdataset = pytest.importorskip("webdataset")
    place = tmp_path_factory.mktemp("shards")
    for k, first in enumerate(range(0, N, 5)):
        with webdataset.TarWriter(str(place / f"train-{k:03}.tar")) as shard:
            for i in range(first, min(first + 5, N)):
                sample = {
                    "__key__": f"{'long/' * 30 * (k > 0)}n{i:02}",
                    "png": picture(i),
                    "cls": i % 3,
                    "json": {"seen": 1},
                }
                shard.write(sample)
    (place / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return place


@pytest.fixture(params=["folder", "shards"])
def place(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def opened(place: Path, **how: Any) -> Stream:
    return rgd.data.stream(place, **{"size": SIZE, "workers": 0, **how})  # type: ignore[return-value]


def test_a_stream_is_a_data_set_read_late(place: Path) -> None:
    data = opened(place)
    assert (len(data), data.shape, data.classes) == (N, (3, SIZE, SIZE), NAMES)
    found, index = numbers(data.x0()), torch.tensor([3, 0, 23])
    assert sorted(found) == list(range(N))
    assert data.labels.tolist() == [i % 3 for i in found]
    assert numbers(data.x0(index)) == [found[3], found[0], found[23]]
    part = data.subset(index)
    assert (numbers(part.x0()), part.labels.tolist()) == (numbers(data.x0(index)), data.labels[index].tolist())
    read = data.take(4).read()
    assert type(read) is Dataset
    assert torch.equal(read.x0(), data.x0(slice(4)))


def test_webdataset_reads_the_same_from_its_shards(shards: Path) -> None:
    import webdataset

    files = sorted(map(str, shards.glob("*.tar")))
    pairs = webdataset.WebDataset(files, shardshuffle=False).decode("pil").to_tuple("png", "cls")
    theirs = [(int(np.asarray(image)[0, 0, 0]) // 10, label) for image, label in pairs]
    data = opened(shards)
    assert list(zip(numbers(data.x0()), data.labels.tolist())) == theirs
    assert opened(shards / "train-*.tar").digest == opened(files).digest == data.digest


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_asked_for_in_order(place: Path, workers: int) -> None:
    data, before = opened(place, workers=workers), torch.random.get_rng_state()
    indices = [torch.randint(N, (5,), generator=rgd.generator(i)) for i in range(12)]
    found = list(data.batches(indices))
    assert torch.equal(torch.random.get_rng_state(), before), "the global random state is nobody's"
    for index, (x0, y) in zip(indices, found, strict=True):
        assert torch.equal(x0, data.x0(index))
        assert torch.equal(y, data.labels[index])


# --- training ----------------------------------------------------------------------------------------------------

CONFIG = rgd.EncoderConfig(
    image_size=SIZE, in_channels=3, out_channels=3, model_channels=8, num_res_blocks=1, channel_mult=(1,),
    attention_resolutions=(),
)  # fmt: skip


class Watched:
    """An objective that writes down which images it is shown."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def identity(self) -> str:
        return "watched"

    def __call__(self, network: nn.Module, schedule: Any, x0: Tensor, y: Tensor, generator: torch.Generator) -> Loss:
        self.seen.append(numbers(x0))
        assert y.tolist() == [number % 3 for number in self.seen[-1]]
        return Loss(nn.functional.cross_entropy(network(x0, torch.zeros_like(y)), y))


def train(data: Dataset, steps: int = 9, stop: int | None = None, run: Path | None = None) -> Iterator[list[int]]:
    training = rgd.Training(steps=steps, batch_size=8, accumulate=2, flip=True, save_every=2)
    network, watched = rgd.build(CONFIG), Watched()
    for step in rgd.fit(network, watched, data, rgd.schedule.linear(10), training, run):
        if not step.repeated:
            yield [*itertools.chain(*watched.seen[-2:])]
        if step.step == stop:
            return
    yield [int(v) for v in step.network.state_dict()["out.0.weight"].numpy().tobytes()]  # and last the bits


@pytest.mark.parametrize("workers", [0, 2])
def test_training_sees_every_image_once_an_epoch_in_another_order_and_ends_as_from_memory(
    place: Path, workers: int
) -> None:
    data = opened(place, workers=workers)
    *shown, bits = train(data)
    epochs = [[*itertools.chain(*shown[k : k + 3])] for k in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(N)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert [*shown, bits] == list(train(data.read()))


def test_a_run_that_is_resumed_sees_what_an_undisturbed_one_would_have(place: Path, tmp_path: Path) -> None:
    data = opened(place, workers=2)
    undisturbed = list(train(data))
    first = list(train(data, stop=5, run=tmp_path / "run"))
    rest = list(train(opened(place, workers=1), run=tmp_path / "run"))
    assert first + rest == undisturbed
    with pytest.raises(CheckpointError, match=r"data"):
        list(train(data.subset(slice(20)), run=tmp_path / "run"))


SCRIPT = """
import json, os, signal, sys

sys.path.insert(0, {tests!r})
import torch
import rgd
from rgd.processes import processes
from test_stream import CONFIG, Watched

data = rgd.data.stream(sys.argv[1], size=8, workers=1)
watched, training = Watched(), rgd.Training(steps=6, batch_size=8, save_every=2)
for step in rgd.fit(rgd.build(CONFIG), watched, data, rgd.schedule.linear(10), training, "run"):
    with open(f"seen-{processes().rank}.jsonl", "a") as file:
        file.write(json.dumps(watched.seen[-1]) + "\\n")
    if step.step == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
assert processes().count == 2 or len(sys.argv) > 3
""".replace("{tests!r}", repr(str(Path(__file__).parent)))


def told(folder: Path, rank: int) -> list[list[int]]:
    return [json.loads(line) for line in (folder / f"seen-{rank}.jsonl").read_text().splitlines()]


@pytest.mark.check
def test_two_processes_see_every_image_exactly_once_an_epoch(shards: Path, tmp_path: Path) -> None:
    """Two machines, two epochs of three steps; what each process saw is counted."""
    folders = machines(tmp_path)
    for each in folders:
        (each / "watch.py").write_text(SCRIPT)
    launch(folders, "watch.py", str(shards), "0")
    seen = [told(each, rank) for rank, each in enumerate(folders)]
    assert [len(batch) for part in seen for batch in part] == [4] * 12
    epochs = [[i for part in seen for batch in part[k : k + 3] for i in batch] for k in (0, 3)]
    assert [Counter(epoch) for epoch in epochs] == [Counter(range(N))] * 2
    assert epochs[0] != epochs[1]
    alone = list(train_alone(shards, tmp_path / "alone"))
    assert [sorted(a + b) for a, b in zip(*seen)] == [sorted(batch) for batch in alone], "and the same as one does"


def train_alone(shards: Path, folder: Path, stop: int = 0) -> list[list[int]]:
    folder.mkdir(exist_ok=True)
    (folder / "watch.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "watch.py", str(shards), str(stop), "alone"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == (-signal.SIGKILL if stop else 0), done.stderr
    return told(folder, 0)


@pytest.mark.check
def test_a_run_that_is_killed_goes_on_with_the_images_that_were_next(shards: Path, tmp_path: Path) -> None:
    undisturbed = train_alone(shards, tmp_path / "undisturbed")
    killed = train_alone(shards, tmp_path / "killed", stop=3)  # the last state is of step 2
    whole = train_alone(shards, tmp_path / "killed")
    assert killed == undisturbed[:3]
    assert whole == undisturbed[:3] + undisturbed[2:]


# --- pixels ------------------------------------------------------------------------------------------------------


def test_squares_are_halved_by_averages_as_long_as_they_are_twice_too_large() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    averages = pixels.astype(float)
    for _ in range(2):
        averages = np.rint(averages.reshape(len(averages) // 2, 2, -1, 2, 3).mean((1, 3)) + 1e-9)
    assert np.abs(np.asarray(square(Image.fromarray(pixels), 8)).astype(float) - averages).max() <= 2


@pytest.mark.parametrize("shape", [(40, 33), (33, 47), (20, 90), (9, 8), (5, 7)])
def test_squares_are_those_of_torchvisions_bicubic_at_the_centre(shape: tuple[int, int]) -> None:
    from torchvision.transforms.v2 import functional as tv

    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found, image = np.asarray(square(Image.fromarray(pixels), 8)), Image.fromarray(pixels)
    while min(image.size) >= 16:
        image = image.reduce(2) if not (image.width % 2 or image.height % 2) else image.resize(
            (image.width // 2, image.height // 2), Image.Resampling.BOX)  # fmt: skip
    factor = 8 / min(image.size)
    sides = [round(image.height * factor), round(image.width * factor)]
    whole = tv.resize(tv.pil_to_tensor(image).float(), sides, tv.InterpolationMode.BICUBIC, antialias=True)
    top, left = ((side - 8) // 2 for side in sides)
    wanted = whole[:, top : top + 8, left : left + 8].movedim(0, -1).clamp(0, 255)
    assert found.shape == (8, 8, 3)
    assert np.abs(found - wanted.numpy()).max() <= 3, "but for the rounding between two passes"


def test_a_square_at_random_is_any_part_of_the_image_at_any_size_that_is_allowed() -> None:
    pixels = np.zeros((8, 20, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = 10 * np.arange(20), 10 * np.arange(8)[:, None]
    image, seen = Image.fromarray(pixels), set()
    for share in np.linspace(0, 0.999, 40):
        found = np.asarray(random_square(image, 8, 1.0, (share, share, share)))
        left = int(found[0, 0, 0]) // 10
        assert np.array_equal(found, pixels[:, left : left + 8])
        seen.add(left)
    assert seen == set(range(13))
    for share, side in ((0.0, 8), (0.34, 9), (0.999, 10)):  # of a shorter side of 8 / 0.8 at most
        larger = image.resize((round(20 * side / 8), side), Image.Resampling.BICUBIC)
        last = np.asarray(larger)[side - 8 :, larger.width - 8 :]
        assert np.array_equal(np.asarray(random_square(image, 8, 0.8, (share, 0.999, 0.999))), last)


@pytest.mark.parametrize("workers", [0, 2])
def test_training_sees_squares_at_random_and_the_same_ones_again(tmp_path: Path, workers: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 12, 16, 3), dtype=np.uint8)
    for k, pixels in enumerate(noise):
        (tmp_path / f"class {k % 2}").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"class {k % 2}" / f"{k}.png")
    data, whole = opened(tmp_path, crop=0.8, workers=workers), opened(tmp_path)
    one, other = torch.arange(6), torch.tensor([1, 0, 2, 3, 4, 5])
    (a, _), (b, _), (again, y) = data.batches([one, other, one])
    assert torch.equal(a, again)
    assert torch.equal(y, whole.labels)
    assert not torch.equal(a[2:], b[2:]), "in another batch an image is cut elsewhere"
    assert not torch.equal(a, whole.x0(one))
    assert torch.equal(data.x0(one), whole.x0(one)), "what is measured is the centre"
    assert key(data) != key(whole)
    with pytest.raises(ValueError, match="crop"):
        opened(tmp_path, crop=0.0)


def test_grey_and_transparent_images_are_rgb(tmp_path: Path) -> None:
    for name, image in (("a", Image.new("L", (9, 9), 80)), ("b", Image.new("LA", (9, 9), (80, 0)))):
        (tmp_path / name).mkdir()
        image.save(tmp_path / name / "1.png")
    assert [x0.unique().tolist() for x0 in opened(tmp_path).images[:]] == [[80], [255]]


# --- what cannot be ----------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / "train" / "cat" / "n03.PNG"
    path.write_bytes(path.read_bytes()[:60])
    return tmp_path / "copy"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_stops_training_and_is_named(damaged: Path, workers: int) -> None:
    with pytest.raises(DataError, match=r"cannot read the image .*n03\.PNG \(") as caught:
        list(train(opened(damaged, workers=workers)))
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_skipped_only_when_asked_and_counted(damaged: Path, workers: int) -> None:
    data = opened(damaged, workers=workers, skip_damaged=True)
    with pytest.warns(UserWarning, match=r"n03\.PNG.*1 of 24 images skipped"):
        *shown, _ = train(data, steps=3)
    assert len(data.damaged) == 1
    missed = Counter(itertools.chain(*shown))
    assert missed.pop(6) == 2, "the next of its class stands in for it"
    assert sorted([*missed, 3, 6]) == list(range(N))
    with pytest.raises(DataError, match="n03"):
        data.x0()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in damaged.rglob("*.PNG"):
            path.write_bytes(b"")
        with pytest.raises(DataError, match="100 images in a row"):
            list(train(opened(damaged, skip_damaged=True)))


def test_a_file_that_was_cut_since_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    data = opened(tmp_path / "copy")
    path = tmp_path / "copy" / "train" / "dog" / "n01.PNG"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"n01\.PNG.*of \d+ bytes"):
        data.x0()
    path.unlink()
    with pytest.raises(DataError, match=r"n01\.PNG"):
        data.x0()


def broken(shards: Path, place: Path, how: str) -> Path:
    shard = Path(shutil.copy(shards / "train-000.tar", place / "one.tar"))
    content = bytearray(shard.read_bytes())
    with tarfile.open(shard) as tar:
        third = [member for member in tar if member.name.endswith(".png")][2]
    if how == "header":
        content[third.offset + 100] ^= 0xFF  # of what tarfile reads no further, and says nothing
    elif how == "cut in an image":
        del content[third.offset_data + 20 :]
    elif how == "cut at a header":
        del content[third.offset :]
    elif how == "compressed":
        import gzip

        content = bytearray(gzip.compress(bytes(content)))
    shard.write_bytes(content)
    return shard


@pytest.mark.parametrize("how", ["header", "cut in an image", "cut at a header", "compressed"])
def test_a_damaged_shard_is_named_before_training(shards: Path, tmp_path: Path, how: str) -> None:
    with pytest.raises(DataError, match=r"the shard .*one\.tar is damaged"):
        opened(broken(shards, tmp_path, how))


def test_tarfile_alone_would_lose_the_rest_of_such_a_shard(shards: Path, tmp_path: Path) -> None:
    for how in ("header", "cut at a header"):
        with tarfile.open(broken(shards, tmp_path, how)) as tar:
            assert sum(member.name.endswith(".png") for member in tar) == 2


def tar_of(place: Path, *names: str, cls: str | None = None) -> Path:
    picture(1).save(place / "1.png")
    (place / "1.cls").write_text(cls or "")
    with tarfile.open(place / "a.tar", "w") as tar:
        for name in names:
            tar.add(place / "1.png", name + ".png")
            if cls is not None and name != names[-1]:
                tar.add(place / "1.cls", name + ".cls")
    return place / "a.tar"


def test_shards_without_numbers_name_their_classes_by_folders(tmp_path: Path) -> None:
    data = opened(tar_of(tmp_path, "dog/1", "cat/2", "./dog/3"))
    assert (data.classes, data.labels.tolist()) == (("cat", "dog"), [1, 0, 1])
    assert opened(tmp_path / "a.tar", classes=("dog", "emu", "cat")).labels.tolist() == [0, 2, 0]


REFUSED: dict[str, tuple[Any, str]] = {
    "no label": (lambda place: opened(tar_of(place, "1", "2", cls="1")), r"2\.png in .*a\.tar has no label"),
    "no folder": (lambda place: opened(tar_of(place, "1")), "no label"),
    "a label too many": (lambda p: opened(tar_of(p, "1", "2", cls="3"), classes=NAMES), "label"),
    "a word for a number": (lambda place: opened(tar_of(place, "1", "2", cls="cat")), "a.tar is damaged"),
    "nothing": (lambda place: opened(tar_of(place)), "no images"),
    "no such place": (lambda place: opened(place / "nowhere"), "there is no .*nowhere"),
    "no variable": (lambda place: opened("$RGD_NOWHERE"), "RGD_NOWHERE is not set.*--data"),
    "no split": (lambda place: opened(place, split="test"), "no folder test"),
    "no size": (lambda place: opened(place, size=0), "size"),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_stream_is_refused(make: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        make(tmp_path)


def test_other_files_in_a_class_folder_are_found_before_training(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "train" / "cat" / "notes.txt").write_text("of cats")
    with pytest.raises(DataError, match=r"notes\.txt is no image"):
        opened(tmp_path / "copy")


def test_the_identity_is_of_names_lengths_labels_size_and_classes(folder: Path, tmp_path: Path) -> None:
    data = opened(folder)
    shutil.copytree(folder, tmp_path / "copy")
    assert key(opened(tmp_path / "copy")) == key(data)
    keys = {key(data), key(opened(folder, size=16)), key(data.subset(slice(9))), key(data.subset(slice(1, 10)))}
    path = tmp_path / "copy" / "train" / "cat" / "n03.PNG"
    path.rename(path.with_name("n99.PNG"))
    keys.add(key(opened(tmp_path / "copy")))
    assert len(keys) == 5


def test_a_machine_with_other_files_is_found_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr("rgd.scale.stream.processes", lambda: SimpleNamespace(first=lambda find: "another"))
    with pytest.raises(DataError, match="other files here"):
        next(opened(folder).batches([torch.tensor([0])]))


def test_only_the_whole_is_read_by_a_script_without_a_guard(folder: Path) -> None:
    """Workers are forked where they can be: nothing of the user's runs twice."""
    script = f"""
        import rgd, torch
        data = rgd.data.stream({str(folder)!r}, size=8, workers=2)
        print(sum(len(x0) for x0, y in data.batches([torch.arange(5)] * 3)))
    """
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env={**os.environ, "PYTHONPATH": root}, text=True,
        capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == "15\n", done.stderr
