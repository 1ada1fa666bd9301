"""Checkpoints: what is saved comes back, a damaged file is never taken for a good one, and no file runs code."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rgd import checkpoints, schedule
from rgd.denoiser import NetworkDenoiser
from rgd.errors import CheckpointError, SaveError
from rgd.identity import weights_digest
from rgd.lab.judge import JudgeConfig
from rgd.networks import EncoderConfig, UNetConfig, build
from rgd.training.checkpoints import Model

TINY: dict[str, Any] = dict(
    image_size=8, in_channels=1, model_channels=8, num_res_blocks=1, attention_resolutions=(2,), channel_mult=(1, 2)
)
PROVENANCE = {"recipe": "tiny", "seed": 3, "hours": 0.5, "images": [1, 2], "commit": None, "note": "größer"}
T = torch.tensor([0, 7, 19])
X = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def awake(config: Any) -> Any:
    network = build(config, seed=1)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
    return network


def models() -> dict[str, Model]:
    unet = awake(UNetConfig(**TINY, out_channels=2, num_classes=4, null_label=True))
    denoising = {"predicts": "v", "variance": "learned", "clip": False}
    judge = awake(JudgeConfig(image_size=8, in_channels=1, out_channels=4, width=4, features=6))
    judge(X)  # moves its running statistics
    classes = ("cat", "dog", "œuf", "a, b")
    models = {
        "unet": Model(unet, schedule.cosine(20), denoising, classes, PROVENANCE),
        "judge": Model(judge, None, {}, classes, PROVENANCE),
    }
    for pool in ("adaptive", "attention", "spatial", "spatial_v2"):
        classifier = awake(EncoderConfig(**TINY, out_channels=4, pool=pool))
        models[pool] = Model(classifier, schedule.linear(20), {}, classes, PROVENANCE)
    return models


MODELS = models()
kinds = pytest.mark.parametrize("kind", MODELS)


def answer(network: torch.nn.Module) -> Tensor:
    with torch.no_grad():
        if "Judge" in type(network).__name__:
            return network.eval()(X)
        return network.eval()(X, T)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    MODELS["judge"].save(path)
    return path


# Round trips --------------------------------------------------------------------------------------------------------


@kinds
def test_a_model_comes_back_as_it_was(kind: str, tmp_path: Path) -> None:
    model = MODELS[kind]
    model.save(tmp_path / "new" / "folder" / "model.safetensors")
    state = torch.get_rng_state()
    back = checkpoints.load(tmp_path / "new" / "folder" / "model.safetensors")
    assert torch.equal(torch.get_rng_state(), state)
    assert not back.network.training
    assert not any(parameter.requires_grad for parameter in back.network.parameters())
    assert back.network.config == model.network.config
    assert torch.equal(answer(back.network), answer(model.network))
    ours, theirs = model.network.state_dict(), back.network.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert (back.denoising, back.classes, back.provenance) == (model.denoising, model.classes, model.provenance)
    if model.schedule is None:
        assert back.schedule is None
    else:
        assert torch.equal(back.schedule.alpha_bar, model.schedule.alpha_bar)
        assert back.schedule.alpha_bar.dtype == torch.float64


@kinds
def test_half_precision_makes_a_smaller_file(kind: str, tmp_path: Path) -> None:
    model = MODELS[kind]
    model.save(tmp_path / "full.safetensors")
    model.save(tmp_path / "half.safetensors", dtype=torch.float16)
    sizes = [
        sum(t.nbytes for t in checkpoints.read(tmp_path / f"{name}.safetensors")[0].values())
        for name in ("full", "half")
    ]
    assert sizes[1] < 0.6 * sizes[0]
    ours, theirs = model.network.state_dict(), checkpoints.read(tmp_path / "half.safetensors")[0]
    for key, value in ours.items():  # counts stay whole numbers
        assert theirs[key].dtype == (torch.float16 if value.is_floating_point() else value.dtype)
    back = checkpoints.load(tmp_path / "half.safetensors")
    assert {p.dtype for p in back.network.parameters()} == {torch.float32}
    torch.testing.assert_close(answer(back.network), answer(model.network), rtol=0.02, atol=0.02)
    if model.schedule is not None:
        assert torch.equal(back.schedule.alpha_bar, model.schedule.alpha_bar)


def test_a_model_is_used_as_what_it_is(tmp_path: Path) -> None:
    for kind in ("unet", "judge", "attention"):
        MODELS[kind].save(tmp_path / f"{kind}.safetensors")
    denoise = checkpoints.load(tmp_path / "unet.safetensors").use()
    assert isinstance(denoise, NetworkDenoiser)
    expected = NetworkDenoiser(
        MODELS["unet"].network.eval(), schedule.cosine(20), "v", "learned", False, conditional=True
    )
    y = torch.tensor([0, 3, -1])
    with torch.no_grad():
        ours, theirs = denoise(X, T, y), expected(X, T, y)
    assert torch.equal(ours.x0, theirs.x0)
    assert torch.equal(ours.fraction, theirs.fraction)
    for kind in ("judge", "attention"):
        model = checkpoints.load(tmp_path / f"{kind}.safetensors")
        assert model.use() is model.network


DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
tensors = st.dictionaries(
    st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=12).filter(lambda s: s != "__metadata__"),
    st.builds(
        lambda shape, dtype, seed: (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 9).to(dtype).mT,
        st.lists(st.integers(0, 3), min_size=2, max_size=4),
        st.sampled_from(DTYPES),
        st.integers(0, 99),
    ),
    max_size=4,
)


@given(tensors=tensors, metadata=st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.none()), max_size=3))
def test_tensors_and_metadata_come_back(
    tensors: dict[str, Tensor], metadata: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    scalar = {"scalar": torch.tensor(1.5), "shared": X, "the same": X, "a view": X[1:]}
    checkpoints.write(path, tensors | scalar, metadata)
    back, described = checkpoints.read(path)
    assert described == checkpoints.read_metadata(path) == metadata
    assert back.keys() == (tensors | scalar).keys()
    for name, tensor in (tensors | scalar).items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor)


def test_a_respaced_schedule_keeps_its_times(tmp_path: Path) -> None:
    model = MODELS["unet"]
    for name, respaced in (("some", schedule.linear(100).respace(7)), ("all", schedule.linear(7))):
        Model(model.network, respaced, model.denoising).save(tmp_path / f"{name}.safetensors")
        back = checkpoints.load(tmp_path / f"{name}.safetensors").schedule
        assert torch.equal(back.alpha_bar, respaced.alpha_bar)
        assert torch.equal(back.timesteps, respaced.timesteps)
    assert int(schedule.linear(100).respace(7).timesteps[-1]) > 7, "or else this shows nothing"
    # A schedule with all its times is written as it was before there were others.
    assert "schedule.timesteps" not in checkpoints.read(tmp_path / "all.safetensors")[0]


def test_what_cannot_be_built_again_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a Linear could not be built again.*networks\.register"):
        Model(torch.nn.Linear(2, 2)).save(tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


# Bytes --------------------------------------------------------------------------------------------------------------

SAVE = """
import sys, torch
from rgd import checkpoints
tensors = {name: torch.arange(5.0) * i for i, name in enumerate(("b", "a", "größe"))}
for i in range(8):
    checkpoints.write(f"{sys.argv[1]}.{i}.safetensors", tensors, {"classes": ["œuf"], "quote": '"\\\\\\n\\t\x7f'})
"""


def test_equal_content_gives_equal_bytes_in_any_process(tmp_path: Path) -> None:
    for name in ("first", "second"):
        subprocess.run([sys.executable, "-c", SAVE, str(tmp_path / name)], check=True, timeout=120)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    assert len(list(tmp_path.iterdir())) == 16
    tensors, metadata = checkpoints.read(tmp_path / "first.0.safetensors")
    assert metadata == {"classes": ["œuf"], "quote": '"\\\n\t\x7f'}
    assert torch.equal(tensors["größe"], 2 * torch.arange(5.0))


PUBLISHED = sorted((Path(__file__).parent.parent / "weights").rglob("*.safetensors"))


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_published_files_keep_their_bytes_but_for_the_order_of_two_entries(path: Path, tmp_path: Path) -> None:
    """Written when that order was left to chance; either way they are read and verified."""
    again = tmp_path / "again.safetensors"
    checkpoints.write(again, *checkpoints.read(path))
    ours, theirs = again.read_bytes(), path.read_bytes()
    end = 8 + int.from_bytes(theirs[:8], "little")
    headers = [json.loads(content[8:end]) for content in (ours, theirs)]
    assert headers[0] == headers[1]
    assert (ours == theirs) == (list(headers[1]["__metadata__"]) == ["rgd", "sha256"])
    assert ours[end:] == theirs[end:]


# Damage -------------------------------------------------------------------------------------------------------------


def test_a_truncated_file_is_an_error(saved: Path) -> None:
    content = saved.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 4, len(content) - 1):
        saved.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=re.escape(str(saved))):
            checkpoints.load(saved)
        with pytest.raises(CheckpointError, match=re.escape(str(saved))):
            checkpoints.read_state_dict(saved)
    saved.write_bytes(content + b"\0")
    with pytest.raises(CheckpointError, match=re.escape(str(saved))):
        checkpoints.load(saved)


def test_a_flipped_bit_anywhere_is_an_error(saved: Path) -> None:
    """In the weights, in their names, and in what the file says of itself."""
    content = saved.read_bytes()
    tensors, metadata = checkpoints.read(saved)
    header = 8 + int.from_bytes(content[:8], "little")
    positions = [*range(0, header, 3), *range(header, len(content), len(content) // 50), len(content) - 1]
    undetected = []
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        saved.write_bytes(damaged)
        try:
            now, described = checkpoints.read(saved)
        except CheckpointError:
            continue
        same = described == metadata and now.keys() == tensors.keys()
        if not (same and all(torch.equal(now[name], tensors[name]) for name in tensors)):
            undetected.append(content[max(0, position - 20) : position + 20])
    assert not undetected, f"{len(undetected)} of {len(positions)}, such as around {undetected[0]!r}"


def test_a_changed_word_in_the_description_is_an_error(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes().replace(rb"\"seed\": 3", rb"\"seed\": 4"))
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoints.load(saved)


def test_a_good_file_is_not_called_damaged_where_this_machine_fails(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody should delete it."""

    def failing(config: Any) -> None:
        raise RuntimeError("Failed to initialize cpuinfo!")

    monkeypatch.setattr(checkpoints, "build", failing)
    with pytest.raises(CheckpointError, match=r"is whole, but of no use here .*cpuinfo.*on this machine") as error:
        checkpoints.load(saved)
    assert "delete" not in str(error.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "nothing.safetensors"
    for read in (checkpoints.load, checkpoints.read, checkpoints.read_metadata, checkpoints.read_state_dict):
        with pytest.raises(CheckpointError, match=f"no file {re.escape(str(path))}"):
            read(path)
        with pytest.raises(CheckpointError, match=re.escape(str(tmp_path))):
            read(tmp_path)  # a folder


def test_files_of_others_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    for metadata in (None, {"format": "pt"}, {"rgd": "no json"}):
        safetensors.torch.save_file({"w": X}, path, metadata)
        with pytest.raises(CheckpointError, match=re.escape(str(path))):
            checkpoints.load(path)
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(CheckpointError, match=re.escape(str(path))):
        checkpoints.load(path)
    checkpoints.write(path, {"network/w": X}, {"step": 3})  # a training state is no model
    with pytest.raises(CheckpointError, match="network"):
        checkpoints.load(path)


def rewrite(path: Path, change: Any) -> None:
    tensors, metadata = checkpoints.read(path)
    change(tensors, metadata)
    checkpoints.write(path, tensors, metadata)


def test_a_file_of_another_version_is_an_error(saved: Path) -> None:
    rewrite(saved, lambda tensors, metadata: metadata["config"].update(shiny=True))
    with pytest.raises(CheckpointError, match=r"\['shiny'\].*upgrade"):
        checkpoints.load(saved)
    rewrite(saved, lambda tensors, metadata: metadata.update(network="Transformer"))
    with pytest.raises(CheckpointError, match="Transformer"):
        checkpoints.load(saved)


def test_weights_of_another_architecture_are_named(saved: Path) -> None:
    tensors, _ = checkpoints.read(saved)
    wider = build(JudgeConfig(image_size=8, in_channels=1, out_channels=4, width=5, features=6))
    before = {name: value.clone() for name, value in wider.state_dict().items()}
    with pytest.raises(
        CheckpointError, match=r"model.safetensors.*body\.0\.weight: file \(4, 1, 3, 3\), network \(5, 1"
    ):
        checkpoints.load_weights(wider, tensors, saved)
    assert all(torch.equal(before[name], value) for name, value in wider.state_dict().items())
    incomplete = {name: value for name, value in tensors.items() if name != "head.2.bias"}
    with pytest.raises(CheckpointError, match=r"1 entries differ.*head\.2\.bias: file None, network \(4,\)"):
        checkpoints.load_weights(MODELS["judge"].network, incomplete, saved)
    rewrite(saved, lambda tensors, metadata: metadata["config"].update(features=7))
    with pytest.raises(CheckpointError, match="architecture"):
        checkpoints.load(saved)


# PyTorch files ------------------------------------------------------------------------------------------------------


class Malicious:
    """Unpickling it creates a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return open, (str(self.trace), "w")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_never_runs_code(zipped: bool, tmp_path: Path) -> None:
    path, trace = tmp_path / "weights.pt", tmp_path / "trace"
    torch.save({"w": X, "extra": Malicious(trace)}, path, _use_new_zipfile_serialization=zipped)
    for read in (checkpoints.load, checkpoints.read, checkpoints.read_metadata):
        with pytest.raises(CheckpointError, match=re.escape(str(path))):
            read(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists(), "the file was harmless, so that this shows nothing"


# Saving that fails --------------------------------------------------------------------------------------------------


def untouched(saved: Path, content: bytes) -> None:
    assert saved.read_bytes() == content
    assert list(saved.parent.iterdir()) == [saved], "a partial file was left"


def test_a_full_disk_leaves_the_old_file(saved: Path) -> None:
    """Against the operating system itself: no file may grow beyond 20 kB."""
    resource = pytest.importorskip("resource")
    content = saved.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(SaveError, match=rf"{re.escape(str(saved))}.*MB are needed.*make room") as error:
            MODELS["unet"].save(saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.errno == errno.EFBIG
    untouched(saved, content)
    MODELS["unet"].save(saved)
    assert torch.equal(answer(checkpoints.load(saved).network), answer(MODELS["unet"].network))


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failing_disk_leaves_the_old_file(call: str, code: int, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved.read_bytes()

    def fail(*args: Any) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(SaveError, match=re.escape(str(saved))) as error:
            MODELS["unet"].save(saved)
    assert error.value.errno == code
    assert ("MB free" in str(error.value)) == (code == errno.ENOSPC)
    untouched(saved, content)


def test_an_interrupted_save_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved.read_bytes()

    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            MODELS["unet"].save(saved)
    untouched(saved, content)


def test_a_folder_that_cannot_be_is_an_error(saved: Path) -> None:
    path = saved / "inside a file" / "model.safetensors"
    with pytest.raises(SaveError, match=re.escape(str(path))):
        MODELS["judge"].save(path)
    folder = saved.parent / "folder"
    folder.mkdir()
    with pytest.raises(SaveError, match=re.escape(str(folder))):
        MODELS["judge"].save(folder)
    assert set(folder.parent.iterdir()) == {saved, folder}


def test_a_digest_of_weights_is_of_every_tensor() -> None:
    network = awake(JudgeConfig(image_size=8, in_channels=1, out_channels=4, width=4, features=6))
    digests = {weights_digest(network)}
    for tensor in network.state_dict().values():  # running statistics too
        tensor += 1
        digests.add(weights_digest(network))
    assert len(digests) == 1 + len(network.state_dict())


@pytest.mark.parametrize("zipped", [True, False])
def test_a_published_state_dict_needs_no_trust(zipped: bool, tmp_path: Path) -> None:
    ours = MODELS["unet"].network.state_dict()
    torch.save(ours, tmp_path / "published.pt", _use_new_zipfile_serialization=zipped)
    tensors = checkpoints.read_state_dict(tmp_path / "published.pt")
    assert all(torch.equal(ours[name], tensors[name]) for name in ours)
    network = build(MODELS["unet"].network.config)
    checkpoints.load_weights(network, tensors, "published.pt")
    assert torch.equal(answer(network), answer(MODELS["unet"].network))
    safetensors.torch.save_file(ours, tmp_path / "published.safetensors")
    tensors = checkpoints.read_state_dict(tmp_path / "published.safetensors")
    assert all(torch.equal(ours[name], tensors[name]) for name in ours)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_never_runs_code_unless_trusted(zipped: bool, tmp_path: Path) -> None:
    path, trace = tmp_path / "weights.pt", tmp_path / "trace"
    torch.save({"w": X, "extra": Malicious(trace)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="trusted=True"):
        checkpoints.read_state_dict(path)
    for read in (checkpoints.load, checkpoints.read, checkpoints.read_metadata):
        with pytest.raises(CheckpointError):
            read(path)
    assert not trace.exists()
    renamed = path.rename(tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError):
        checkpoints.read_state_dict(renamed, trusted=True)
    assert not trace.exists()
    checkpoints.read_state_dict(renamed.rename(path), trusted=True)
    assert trace.exists(), "the file was harmless, so that this shows nothing"


def test_a_damaged_pytorch_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"w": X}, path)
    content = path.read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        for trusted in (False, True):
            with pytest.raises(CheckpointError, match=re.escape(str(path))):
                checkpoints.read_state_dict(path, trusted)


def test_what_a_killed_process_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    """And nothing that a living one may be writing, or that is something else."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = {f"a.json.{gone.pid}.partial": False, "a.json.1.partial": True, f"b.json.{gone.pid}.partial": True}
    names |= {"a.json.x.partial": True, "a.json.partial": True}
    for name in names:
        (tmp_path / name).write_text("half")
    checkpoints.write_atomic(tmp_path / "a.json", b"whole")
    assert {name: (tmp_path / name).exists() for name in names} == names
    assert (tmp_path / "a.json").read_bytes() == b"whole"
