"""The paper's table: what it costs, and that it is the same however often it is stopped and by whom it is made."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import linalg

import rgd
from rgd import cli
from rgd.adapters import adm
from rgd.data import Dataset
from rgd.errors import CheckpointError, DataError, RgdError
from rgd.experiments import run
from rgd.lab import datasets, eyes
from rgd.lab.judge import JudgeConfig
from rgd.measure import Features, estimate
from rgd.scale import cost, small
from rgd.scale.paper import ENCODER, PUBLISHED, UNET, File, Paper, Row, labels, markdown
from rgd.scale.work import Work, with_moments
from rgd.training.checkpoints import Model

# ------------------------------------------------------------------------------------------------------------- cost


def test_operations_are_those_that_others_have_counted() -> None:
    """Peebles & Xie (2023, table 4) give ADM at 256 pixels 1120 Gflops, a multiplication and addition being one."""
    assert round(cost.flops(adm.CONFIGS["256x256_diffusion"]) / 2e9, -1) == 1120  # type: ignore[arg-type]


def test_a_classifier_is_counted_forward_and_back() -> None:
    """By hand: without attention, in convolutions and matrices alone. The way back to the input costs as much again."""
    config = rgd.EncoderConfig(
        image_size=8, in_channels=3, out_channels=5, model_channels=32, num_res_blocks=1, channel_mult=(1,),
        attention_resolutions=(),
    )  # fmt: skip
    network, convolutions = rgd.build(config).eval(), 0

    def count(module: torch.nn.Conv2d, _: Any, output: torch.Tensor) -> None:
        nonlocal convolutions
        convolutions += 2 * 2 * output.numel() * module.weight[0].numel()

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    network(torch.zeros(1, 3, 8, 8), torch.zeros(1, dtype=torch.long))
    assert convolutions <= cost.flops(config) <= 1.3 * convolutions  # and attention in the middle, and the embedding


def test_hours_are_operations_over_what_is_had() -> None:
    mine = cost.Accelerator("mine", 1e12, 2.0, "here")
    found = cost.cost(UNET, ENCODER, {"a": False, "b": True}, 10, 5, accelerators=[mine], utilisation=0.5, gpus=(1, 4))
    assert found["rows"]["a"] == 50 * found["flops_denoiser"]
    assert found["rows"]["b"] - found["rows"]["a"] == 50 * found["flops_classifier"]
    (device,) = found["devices"]
    assert math.isclose(device["hours"]["1"], found["flops"] / 0.5e12 / 3600)
    assert math.isclose(device["hours"]["4"] * 4, device["hours"]["1"])
    assert math.isclose(device["dollars"], 2 * device["hours"]["1"])
    assert "4 x" in cost.said(found)


def test_every_assumption_names_its_source() -> None:
    assert all(len(device.source) > 20 for device in cost.ACCELERATORS)


# ---------------------------------------------------------------------------------------------------------- scoring


def test_a_label_depends_on_its_number_alone() -> None:
    whole = labels(3, 0, 400, 7)
    assert torch.equal(torch.cat([labels(3, 0, 150, 7), labels(3, 150, 250, 7)]), whole)
    assert not torch.equal(labels(4, 0, 400, 7), whole)
    assert (torch.bincount(whole, minlength=7) - 400 / 7).abs().max() < 5 * math.sqrt(400 / 7)


def test_a_distance_to_moments_is_scipys() -> None:
    random, D = torch.Generator().manual_seed(0), 6
    x = torch.randn(50, D, generator=random, dtype=torch.float64)
    root = torch.randn(D, D, generator=random, dtype=torch.float64)
    mean, covariance = torch.randn(D, generator=random, dtype=torch.float64), root @ root.T
    seen = Features(x, x[:, :2], "eye", (3, 4, 4), spatial=x)
    cloud = with_moments(mean, covariance, seen)
    assert torch.allclose(cloud.features.mean(0), mean)
    assert torch.allclose(cloud.features.T.cov(), covariance)
    own = x.T.cov()
    shared = np.trace(linalg.sqrtm((own @ covariance).numpy()).real)
    wanted = float((x.mean(0) - mean).square().sum() + own.trace() + covariance.trace()) - 2 * shared
    for name in ("fd", "sfd"):
        assert math.isclose(estimate(name, seen, cloud, halves=2).value, wanted, rel_tol=1e-6)


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inception with weights of chance."""
    import torch_fidelity

    path = tmp_path_factory.mktemp("inception") / "random.pth"
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(torch, "load", lambda *_, **__: {})
        patch.setattr(torch.nn.Module, "load_state_dict", lambda *_: None)
        network = torch_fidelity.FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path="none")
    torch.save(network.state_dict(), path)
    return path


def test_inception_says_where(inception_file: Path) -> None:
    """The seven channels at their places, row by row, as ADM's evaluator flattens them; layer by layer by hand."""
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x as resize

    plain, spatial = (eyes.load_inception(inception_file, spatial=where) for where in (False, True))
    images = torch.randint(256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    with torch.no_grad():
        features, logits, places = spatial(images)
        assert all(torch.equal(a, b) for a, b in zip(plain(images), (features, logits)))
        h = (resize(images.float(), size=(299, 299), align_corners=False) - 128) / 128
        names = "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 MaxPool_1 Conv2d_3b_1x1 Conv2d_4a_3x3 MaxPool_2 Mixed_5b"
        for name in f"{names} Mixed_5c Mixed_5d Mixed_6a Mixed_6b Mixed_6c".split():
            h = getattr(plain, name)(h)
        h = plain.Mixed_6d.branch1x1(h)
    assert places.shape == (2, 7 * 17 * 17)
    assert torch.allclose(places[1, (3 * 17 + 5) * 7 + 2], h[1, 2, 3, 5])
    assert torch.allclose(places.sum(), h[:, :7].sum(), rtol=1e-4)


# --------------------------------------------------------------------------------------------------- a tiny ImageNet

SHAPE: dict[str, Any] = dict(
    image_size=16, in_channels=3, model_channels=8, num_res_blocks=1, channel_mult=(1, 2), attention_resolutions=(2,),
    num_head_channels=8, use_scale_shift_norm=True, resblock_updown=True,
)  # fmt: skip
TINY_UNET = rgd.UNetConfig(**SHAPE, out_channels=6, num_classes=4)
TINY_ENCODER = rgd.EncoderConfig(**SHAPE, out_channels=4, pool="attention")


def pictures(n: int = 44) -> Dataset:
    random = torch.Generator().manual_seed(2)
    coarse = torch.randint(256, (n, 3, 4, 4), generator=random, dtype=torch.uint8)
    return Dataset(coarse.repeat_interleave(4, 2).repeat_interleave(4, 3), torch.arange(n) % 4, tuple("abcd"), "coarse")


def put_files(folder: Path) -> None:
    """Networks with random weights in ADM's layout, a reference, and a judge that nobody has trained."""
    for seed, name in enumerate(("denoiser", "vanilla", "robust")):
        network = rgd.build(TINY_UNET if name == "denoiser" else TINY_ENCODER)
        random = rgd.generator(seed)
        values = network.state_dict().items()
        torch.save({k: v + 0.05 * torch.randn(v.shape, generator=random) for k, v in values}, folder / f"{name}.pt")
    np.savez(folder / "reference.npz", arr_0=pictures().images.movedim(1, -1).numpy())
    judge = rgd.build(JudgeConfig(image_size=16, in_channels=3, out_channels=4, width=8, features=8))
    Model(judge.eval(), classes=tuple("abcd")).save(folder / "judge.safetensors")


def plan(folder: Path, **changes: Any) -> Paper:
    file = {path.stem: File.at(path) for path in folder.iterdir() if path.is_file()}
    rows = (Row("unguided"), Row("vanilla", file["vanilla"], 0.5), Row("robust", file["robust"], 1.0))
    settings = {"samples": 50, "steps": 4, "batch_size": 12, "halves": 4, **changes}
    return Paper(file["denoiser"], rows, file["reference"], file["judge"], TINY_UNET, TINY_ENCODER, **settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    put_files(folder := tmp_path_factory.mktemp("files"))
    return folder


def made(folder: Path, out: Path, **changes: Any) -> list[dict[str, Any]]:
    return run(plan(folder, **changes), out / "paper.json", store=out / "store", progress=False)["table"]


@pytest.fixture(scope="module")
def undisturbed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    out = tmp_path_factory.mktemp("undisturbed")
    return out, made(folder, out, npz=True)


def test_the_table_is_whole(undisturbed: tuple[Path, list[dict[str, Any]]]) -> None:
    out, table = undisturbed
    assert [row["name"] for row in table] == ["unguided", "vanilla", "robust"]
    assert len({row["fd"]["value"] for row in table}) == 3
    assert all(row[name]["low"] <= row[name]["value"] <= row[name]["high"] for row in table for name in ("fd", "sfd"))
    results = json.loads((out / "paper.json").read_text())
    assert results["kind"] == "paper"
    assert results["drawn"] == 50
    assert {"commit", "date", "device"} <= results["provenance"].keys()
    assert {len(file["sha256"]) for file in results["files"].values()} == {64}
    assert {"paper.png", "paper-robust.png", "paper-unguided.png"} <= {path.name for path in out.iterdir()}


def test_images_are_those_of_the_sampler(folder: Path, undisturbed: tuple[Path, list[dict[str, Any]]]) -> None:
    """As `rgd.sample` draws them by the same networks from one seed, to rounding; and as ADM's evaluator reads them."""
    denoise, classifier = (
        adm.load(config, folder / f"{name}.pt") for config, name in ((TINY_UNET, "denoiser"), (TINY_ENCODER, "robust"))
    )
    guided = rgd.guide(denoise, rgd.grad_log_prob(classifier), 1.0, form="mean")  # type: ignore[arg-type]
    y = labels(0, 0, 50, 4)
    x = rgd.sample(guided, (50, 3, 16, 16), y, sampler=rgd.ddpm, steps=4, seed=0, progress=False)
    with np.load(undisturbed[0] / "paper-robust.npz") as archive:
        images, asked = archive["arr_0"], archive["arr_1"]
    assert images.shape == (50, 16, 16, 3)
    assert images.dtype == np.uint8
    assert (asked == y.numpy()).all()
    gap = np.abs(images.astype(int) - rgd.metrics.quantise(x).movedim(1, -1).numpy().astype(int))
    assert gap.max() <= 1


def test_a_table_that_is_there_is_not_made_again(
    folder: Path, undisturbed: tuple[Path, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor from the file of results alone."""
    out, table = undisturbed
    monkeypatch.setattr(Work, "images", lambda *_: pytest.fail("something was drawn"))
    monkeypatch.setattr(Work, "look", lambda *_, **__: pytest.fail("something was looked at"))
    assert made(folder, out) == table
    (tmp_path / "paper.json").write_text((out / "paper.json").read_text())
    assert made(folder, tmp_path) == table


def test_a_run_goes_on_where_it_was_stopped(
    folder: Path, undisturbed: tuple[Path, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    images, score = Work.images, Work.score

    def stopped(self: Work, row: Row, first: int, *arguments: Any) -> torch.Tensor:
        if len(drawn) == 7:
            drawn.append("stopped")
            raise KeyboardInterrupt
        drawn.append((row.name, first))
        return images(self, row, first, *arguments)

    def stopped_too(self: Work, row: Row) -> None:
        if row.name == "robust" and "again" not in drawn:
            drawn.append("again")
            raise KeyboardInterrupt
        score(self, row)

    monkeypatch.setattr(Work, "images", stopped)
    monkeypatch.setattr(Work, "score", stopped_too)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            made(folder, tmp_path)
    assert [row["name"] for row in json.loads((tmp_path / "paper.json").read_text())["table"]] == [
        "unguided",
        "vanilla",
    ]
    assert made(folder, tmp_path) == undisturbed[1]
    assert len(drawn) == len(set(drawn)) == 3 * 5 + 2


def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="there is no file"):
        File.at(tmp_path / "none.pt")
    np.savez(tmp_path / "reference.npz", arr_0=np.zeros((9, 8, 8, 3), np.uint8))
    whole = plan(folder)
    wrong = Paper(**{**vars(whole), "reference": File.at(tmp_path / "reference.npz")})
    monkeypatch.setattr(Work, "images", lambda *_: pytest.fail("something was drawn"))
    with pytest.raises(CheckpointError, match="name another --reference"):
        run(wrong, tmp_path / "a.json", store=tmp_path / "store", progress=False)
    with pytest.raises(ValueError, match="no two alike"):
        Paper(**{**vars(whole), "rows": (Row("a"), Row("a"))})
    with pytest.raises(DataError, match="multiple of 8"):
        small.configs(Dataset(torch.zeros(4, 3, 12, 12, dtype=torch.uint8), torch.arange(4) % 2, ("a", "b"), "odd"))


def test_moments_of_the_whole_set_are_used_where_inception_looks(folder: Path) -> None:
    """And the images for precision and recall alone. A stand-in looks at them: what counts is which are used."""
    rows = 8
    features = torch.randn(rows, 2048, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    places = features[:, :2023]
    looked = {"source": "inception 0", "features": features, "logits": features[:, :9], "spatial": places}
    path = folder.parent / f"{folder.name}-moments.npz"
    np.savez(path, arr_0=pictures(rows).images.movedim(1, -1).numpy(), mu=np.ones(2048), sigma=np.eye(2048),
             mu_s=np.zeros(2023), sigma_s=np.eye(2023))  # fmt: skip
    whole = Paper(**{**vars(plan(folder)), "reference": File.at(path)})
    work = Work.__new__(Work)
    work.plan, work.shape = whole, (3, 16, 16)
    work.look = lambda *_, **__: looked  # type: ignore[method-assign]
    found = work.references
    assert torch.allclose(found["fd"].features.mean(0), torch.ones(2048, dtype=torch.float64))
    assert found["sfd"].spatial is not None
    assert found["sfd"].spatial.shape == (2 * 2023, 2023)
    assert torch.equal(found["precision"].features, features)


def test_what_was_published_stands_beneath(undisturbed: tuple[Path, list[dict[str, Any]]]) -> None:
    alone, beside = (markdown(undisturbed[1], published=p) for p in (False, True))
    assert "FD-judge" in alone
    assert len(beside.splitlines()) == len(alone.splitlines()) + len(PUBLISHED)
    assert "unverified" in beside.splitlines()[-1]
    assert "2.85" in beside


# ---------------------------------------------------------------------------------------------------- the command


def called(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["rgd", "paper", *map(str, words)])
    try:
        cli.main()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def test_the_cost_is_told_first_and_nothing_is_done_unasked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    monkeypatch.setattr(adm, "fetch", lambda *_: pytest.fail("something was downloaded"))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    out = tmp_path / "paper.json"
    assert called(monkeypatch, "--cost-only", "--out", out, "--peak", "100", "--price", "2") == 0
    found = json.loads((tmp_path / "paper-cost.json").read_text())
    assert found["rows"].keys() == PUBLISHED.keys()
    assert found["devices"][0]["dollars"] > 100
    assert called(monkeypatch, "--out", out) == 1
    assert "--robust FILE" in capsys.readouterr().err
    assert called(monkeypatch, "--out", out, "--robust", folder / "robust.pt") == 1
    said = capsys.readouterr()
    assert "a step of one image" in said.out
    assert "--yes to pay it" in said.err
    assert called(monkeypatch, "--steps", "0", "--out", out) == 1
    assert "--steps takes numbers from 1" in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_of_ones_own_goes_the_whole_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained, saved as ADM saves, loaded, drawn and scored; again, and nothing is left to do."""
    monkeypatch.setenv("RGD_DATA", str(tmp_path))
    for split in ("train", "test"):
        datasets.save(pictures(), tmp_path / f"coarse-{split}.npz")
    words = ("coarse", "--training", 2, "--samples", 44, "--steps", 2, "--batch-size", 22, "--out", tmp_path / "p.json")
    assert called(monkeypatch, *words) == 0
    first = (tmp_path / "p.json").read_bytes()
    unet, encoder = small.configs(pictures())
    assert adm.audit(unet, torch.load(tmp_path / "p-models" / "denoiser.pt")).fits
    assert adm.audit(encoder, torch.load(tmp_path / "p-models" / "robust.pt")).fits
    assert (tmp_path / "p.md").read_text().count("\n") == 5
    monkeypatch.setattr(Work, "images", lambda *_: pytest.fail("something was drawn"))
    assert called(monkeypatch, *words) == 0
    assert (tmp_path / "p.json").read_bytes() == first


# ------------------------------------------------------------------------------------------------ killed, and together

PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_paper import made
made(Path({folder!r}), Path(sys.argv[1]), samples=84, steps=6)
"""


def start(program: Path, out: Path, count: int = 1) -> subprocess.Popen[bytes]:
    words = [sys.executable, str(program)]
    if count > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        words = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
        words += ["--num_processes", str(count), "--mixed_precision", "no", "--dynamo_backend", "no"]
        words += ["--main_process_ip", "127.0.0.1", "--main_process_port", port, str(program)]
    root = str(Path(__file__).parent.parent)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root, "CUDA_VISIBLE_DEVICES": ""}
    out.mkdir(exist_ok=True)
    with open(out / "said.txt", "ab") as said:
        return subprocess.Popen([*words, str(out)], env=environment, stdout=said, stderr=said, start_new_session=True)


@pytest.fixture(scope="module")
def program(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "make.py"
    path.write_text(PROGRAM.format(tests=str(Path(__file__).parent), folder=str(folder)))
    return path


@pytest.fixture(scope="module")
def in_one_go(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("whole")
    assert start(program, out).wait(250) == 0, (out / "said.txt").read_text()
    return json.loads((out / "paper.json").read_text())["table"]


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to it and to all that it started, which have sessions of their own."""
    psutil = pytest.importorskip("psutil")
    for each in [process, *psutil.Process(process.pid).children(recursive=True)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.check
@pytest.mark.parametrize("count", [1, 2])
def test_killed_at_any_moment_the_table_is_the_same(program: Path, in_one_go: Any, tmp_path: Path, count: int) -> None:
    """To the bit, by one process and by two: a piece is drawn by one of them, as it would be by any."""
    if count > 1:
        pytest.importorskip("accelerate")
    chance, kills, pieces = random.Random(count), 0, 0
    for _ in range(5):
        process, after = start(program, tmp_path, count), chance.uniform(0, 1)
        while process.poll() is None:
            now = len(list((tmp_path / "store" / "drawn").glob("*.safetensors")))
            if now > pieces and kills < 2:
                time.sleep(after)  # somewhere in the next piece
                kill(process)
                kills, pieces = kills + 1, now
                break
            time.sleep(0.02)
        else:
            break
    assert process.returncode == 0, (tmp_path / "said.txt").read_text()
    assert kills >= 1
    assert json.loads((tmp_path / "paper.json").read_text())["table"] == in_one_go


def test_an_unknown_answer_is_no(monkeypatch: pytest.MonkeyPatch) -> None:
    from rgd.scale import commands

    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda _: "")
    with pytest.raises(RgdError, match="nothing was begun"):
        commands._agreed(False)
    commands._agreed(True)
    monkeypatch.setattr("builtins.input", lambda _: "y")
    commands._agreed(False)
