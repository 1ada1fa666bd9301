"""The demo: whole, on very little training; stopped and resumed; its report; and the command line around it."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rgd import checkpoints, demo
from rgd.lab import datasets


def rgd(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rgd.cli", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo of a few training steps."""
    cwd = tmp_path_factory.mktemp("demo")
    rgd("demo", "--effort", 0.02, "--samples", 20, cwd=cwd)
    return cwd / "runs" / "demo-digits"


@pytest.mark.check
def test_demo_writes_a_report_and_the_numbers_behind_it(folder: Path) -> None:
    results = json.loads((folder / "results.json").read_text())
    assert {cell["name"] for cell in results["sweep"]} == {"none", "clean", "vanilla", "robust"}
    for cell in results["sweep"]:
        for name in ("accuracy", "fd", "precision", "recall"):
            assert cell[name]["low"] <= cell[name]["value"] <= cell[name]["high"]
    assert {"date", "device", "commit"} <= set(results["provenance"])
    page = (folder / "report.html").read_text()
    assert page.count("<img") == page.count('src="data:image/png;base64,') == 6
    assert all(len(alt) > 20 for alt in re.findall(r'alt="([^"]*)"', page))
    # Nothing is fetched: the only address in it is that of the paper, to be followed by hand.
    assert set(re.findall(r'(?:href|src)="(http[^"]+)"', page)) == {"https://arxiv.org/abs/2208.08664"}
    accuracy = results["walk"]["robust"]["judge"]["value"]
    assert f"{accuracy:.2f} (" in page


@pytest.mark.check
def test_the_report_has_no_serious_fault_of_accessibility(folder: Path, chromium: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    faults = []
    for width, scheme in itertools.product((1280, 390), ("light", "dark")):
        page = chromium.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
        page.goto((folder / "report.html").as_uri())
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        faults += [(width, scheme, f["id"], f["help"]) for f in found if f["impact"] in ("serious", "critical")]
    assert faults == []


@pytest.mark.check
def test_demo_run_again_does_nothing_twice(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    results = json.loads((folder / "results.json").read_text())
    rgd("demo", "--effort", 0.02, "--samples", 20, cwd=folder.parent.parent)
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    again = json.loads((folder / "results.json").read_text())
    for key in ("sweep", "walk", "classifiers", "differences", "real"):
        assert again[key] == results[key]


@pytest.mark.check
def test_demo_stopped_by_ctrl_c_goes_on_to_the_same_numbers(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rgd.cli", "demo", "--effort", "0.02", "--samples", "20"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    mine = tmp_path / "runs" / "demo-digits"
    deadline = time.monotonic() + 120
    while not (mine / "denoiser" / "log.jsonl").exists():  # in the midst of training the denoiser
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "goes on from here" in stderr
    rgd("demo", "--effort", 0.02, "--samples", 20, cwd=tmp_path)
    expected = json.loads((folder / "results.json").read_text())
    found = json.loads((mine / "results.json").read_text())
    for cell, other in zip(found["sweep"], expected["sweep"], strict=True):
        assert cell["accuracy"] == other["accuracy"]
        assert cell["fd"]["value"] == pytest.approx(other["fd"]["value"], rel=1e-5)


@pytest.mark.check
def test_demo_of_a_folder_of_images(tmp_path: Path) -> None:
    digits, names = datasets.load("digits"), ("$1-$5", "R&B <3")
    for k, name in enumerate(names):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for i, image in enumerate(digits.images[digits.labels == k][:40]):
            picture = Image.fromarray(image[0].numpy()).resize((16, 16))
            picture.save(tmp_path / "mine" / name / f"{i}.png")
    path = demo.run(tmp_path / "mine", tmp_path / "out", effort=0.004, samples=20, progress=False)
    results = json.loads((path.parent / "results.json").read_text())
    assert results["classes"] == list(names)
    page = path.read_text()
    assert "more like a R&amp;B &lt;3?" in page
    assert "R&B <3" not in page
    assert results["image_shape"] == [1, 16, 16]


@pytest.mark.check
def test_commands_on_the_demos_models(folder: Path, tmp_path: Path) -> None:
    models = {name: folder / name / "model.safetensors" for name in ("denoiser", "vanilla", "robust", "judge")}
    rgd(
        "sample",
        models["denoiser"],
        "--classifier",
        models["robust"],
        "--n",
        43,
        "--steps",
        4,
        "--scale",
        2,
        cwd=tmp_path,
    )
    tensors, origin = checkpoints.read(tmp_path / "samples.safetensors")
    assert tensors["images"].shape == (43, 1, 8, 8)
    assert tensors["labels"].tolist() == [i % 10 for i in range(43)]
    assert origin["scale"] == 2
    assert Image.open(tmp_path / "samples.png").size[0] > 100
    scored = rgd("evaluate", "samples.safetensors", "--judge", models["judge"], "--metrics", "fd", "accuracy",
                 "--out", "scores.json", cwd=tmp_path)  # fmt: skip
    assert "fd_judge" in scored.stdout
    scores = json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert 0 <= scores["accuracy"]["low"] <= scores["accuracy"]["high"] <= 1
    compared = rgd("gradients", models["vanilla"], models["robust"], "--n", 16, cwd=tmp_path)
    assert (
        len(re.findall(r"^t = .* vanilla .* cosine to the first \+1\.000", compared.stdout + compared.stderr, re.M))
        == 5
    )
    assert (tmp_path / "gradients.png").exists()
    beside = [shutil.copy(models[name], tmp_path / f"{name}.safetensors") for name in ("vanilla", "robust")]
    compared = rgd("gradients", *beside, "--n", 16, cwd=tmp_path)
    assert {"vanilla", "robust"} <= set((compared.stdout + compared.stderr).split())
    assert '"recipe": "digits/robust"' in rgd("info", models["robust"], cwd=tmp_path).stdout
    assert "torch" in json.loads(rgd("info", cwd=tmp_path).stdout)


def test_plan_refuses_what_it_cannot_do() -> None:
    digits = datasets.load("digits")
    with pytest.raises(ValueError, match="effort"):
        demo.plan(digits, effort=0)
    with pytest.raises(ValueError, match="take 20 or more"):
        demo.plan(digits, samples=19)
    wide = datasets.Dataset(torch.zeros(4, 1, 8, 12, dtype=torch.uint8), torch.arange(4), tuple("abcd"), "wide")
    with pytest.raises(ValueError, match="8 x 12"):
        demo.plan(wide)


def test_walk_of_length_zero_goes_nowhere_and_of_length_one_goes_one_far() -> None:
    from rgd import mixture, schedule
    from rgd.measure import gradients

    world = mixture(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), 0.1, schedule.linear())
    x, t, y = torch.tensor([[0.3, 0.5]]), torch.tensor([0]), torch.tensor([0])
    assert torch.equal(gradients.ascend(world.classifier, x, t, y, 0.0), x)
    moved = gradients.ascend(world.classifier, x, t, y, 1.0)
    np.testing.assert_allclose(moved - x, [[-1.0, 0.0]], atol=1e-5)  # straight to class 0: means differ along x alone


def test_distance_to_other_classes_is_the_median_of_the_nearest() -> None:
    probes, data = datasets.load("digits", "test").take(7), datasets.load("digits").take(60)
    nearest = [
        min(
            float((a.double() - b.double()).norm())
            for b, other in zip(data.x0(), data.labels.tolist())
            if other != label
        )
        for a, label in zip(probes.x0(), probes.labels.tolist())
    ]
    assert demo.distance_to_other_classes(probes, data) == pytest.approx(sorted(nearest)[3], rel=1e-5)
