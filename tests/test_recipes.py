"""Recipes: every file makes a network, and the paper's have the paper's sizes."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import rgd
from rgd import checkpoints
from rgd.errors import RgdError
from rgd.lab import origin
from rgd.lab import recipe as recipes
from rgd.networks import UNetConfig
from rgd.objectives import Denoising
from rgd.training import Training

FOLDER = Path(__file__).parent.parent / "recipes"
FILES = sorted(
    path for path in FOLDER.glob("*.py") if not path.stem.startswith(("compare", "matching", "study", "truth"))
)


def millions(network: torch.nn.Module) -> float:
    return sum(p.numel() for p in network.parameters()) / 1e6


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recipe_makes_a_network_that_runs_on_its_images(path: Path) -> None:
    recipe = recipes.read(path)
    assert recipe.name == path.stem.replace("_", "/", 1)
    network, config = rgd.build(recipe.network).eval(), recipe.network
    x = torch.zeros(2, config.in_channels, config.image_size, config.image_size)
    assert rgd.lab.datasets.KNOWN[recipe.data][0] == x.shape[1:]
    t, y = torch.tensor([0, recipe.T - 1]), torch.tensor([0, 1])
    with torch.no_grad():
        output = network(x) if isinstance(network, rgd.Judge) else (
            network(x, t, y) if getattr(config, "num_classes", None) else network(x, t)
        )  # fmt: skip
    assert output.shape[1] == config.out_channels


def test_the_papers_networks_have_the_papers_sizes() -> None:
    assert round(millions(rgd.build(recipes.read(FOLDER / "cifar10_paper_robust.py").network)), 2) == 2.07
    # 52.5 M in the paper (truncated), without the null label, which its network has not.
    ddpm = replace(recipes.read(FOLDER / "cifar10_paper_ddpm.py").network, null_label=False)
    assert round(millions(rgd.build(ddpm)), 2) == 52.55
    imagenet = rgd.EncoderConfig(
        image_size=128, in_channels=3, out_channels=1000, model_channels=128, channel_mult=(1, 1, 2, 3, 4),
        num_res_blocks=2, attention_resolutions=(4, 8, 16), num_head_channels=64, use_scale_shift_norm=True,
        resblock_updown=True, pool="attention",
    )  # fmt: skip
    with torch.device("meta"):
        assert round(millions(rgd.EncoderUNet(imagenet)), 2) == 42.57


@pytest.fixture
def tiny() -> recipes.Recipe:
    recipe = recipes.read(FOLDER / "digits_vanilla.py")
    return replace(recipe, training=replace(recipe.training, steps=6, batch_size=16, save_every=2))


def test_train_writes_a_model_that_knows_its_origin(tiny: recipes.Recipe, tmp_path: Path) -> None:
    made = recipes.train(tiny, tmp_path / "model", progress=False)
    loaded = checkpoints.load(tmp_path / "model" / "model.safetensors")
    for name, tensor in made.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name].cpu(), tensor.cpu())
    assert loaded.provenance["images_seen"] == 6 * 16
    assert loaded.provenance["recipe"] == "digits/vanilla"
    assert {"date", "commit", "device", "seed", "hours", "torch"} <= set(loaded.provenance)
    assert loaded.classes == tuple("0123456789")
    log = [json.loads(line) for line in (tmp_path / "model" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == [1, 2, 3, 4, 5, 6]
    assert all({"loss", "accuracy"} <= set(row) for row in log)


def test_a_finished_model_is_not_made_again(tiny: recipes.Recipe, tmp_path: Path) -> None:
    recipes.train(tiny, tmp_path, progress=False)
    before = (tmp_path / "model.safetensors").stat().st_mtime_ns
    recipes.train(tiny, tmp_path, progress=False)
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before


def test_a_log_line_cut_short_is_forgotten(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.5}\n{"step": 3, "lo')
    recipes._forget_after(log, 3)
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [1, 2]


def test_another_variance_needs_no_training(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"image_size": 8, "in_channels": 1, "out_channels": 1, "model_channels": 8}
    network = UNetConfig(**sizes, num_res_blocks=1, channel_mult=(1,), attention_resolutions=())
    first = recipes.Recipe("digits/ddpm", "digits", network, Denoising(), Training(2, 8))
    made = recipes.train(first, tmp_path, progress=False)
    again = recipes.train(replace(first, variance="small"), tmp_path, progress=False)
    assert (made.denoising["variance"], again.denoising["variance"]) == ("large", "small")
    for name, tensor in made.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor)


def test_another_recipe_does_not_overwrite_a_model(tiny: recipes.Recipe, tmp_path: Path) -> None:
    recipes.train(tiny, tmp_path, progress=False)
    before = (tmp_path / "model.safetensors").read_bytes()
    other = replace(tiny, training=replace(tiny.training, lr=1e-2))
    with pytest.raises(RgdError, match=r"training\.lr was 0\.001, is now 0\.01"):
        recipes.train(other, tmp_path, progress=False)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_unusable_recipes_are_named(tmp_path: Path) -> None:
    with pytest.raises(RgdError, match=r"no recipe .*nowhere\.py"):
        recipes.read(tmp_path / "nowhere.py")
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(RgdError, match=r"empty\.py does not define"):
        recipes.read(tmp_path / "empty.py")


def test_a_commit_is_marked_where_the_source_was_changed_but_not_where_results_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin, "__file__", str(tmp_path / "rgd" / "origin.py"))
    for folder in ("rgd", "results"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "origin.py").write_text("before")
    assert origin.commit() is None

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init")
    assert origin.commit() is None  # there is none yet
    (tmp_path / "theirs").write_text("a project with rgd installed inside it")
    git("add", "theirs")
    git("commit", "-m", "theirs")
    assert origin.commit() is None  # their commit is not ours
    git("add", ".")
    git("commit", "-m", "all")
    head = git("rev-parse", "HEAD")[:12]
    assert origin.commit() == head
    (tmp_path / "results" / "origin.py").write_text("after")
    assert origin.commit() == head
    (tmp_path / "rgd" / "origin.py").write_text("after")
    assert origin.commit() == head + "+"
