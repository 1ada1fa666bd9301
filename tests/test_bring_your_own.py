"""The page that tells how to bring one's own: its blocks run as they stand, one after the other. What they would
download is made here, of the same classes, with weights drawn at random."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

PAGE = Path(__file__).resolve().parent.parent / "book" / "bring_your_own.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
LINES = 15  # at most, for the user

diffusers = pytest.importorskip("diffusers")
timm = pytest.importorskip("timm")
pytest.importorskip("datasets")
pytest.importorskip("webdataset")


def pipeline(name: str) -> Any:
    """As google/ddpm-cifar10-32, but narrow."""
    unet = diffusers.UNet2DModel(
        sample_size=32, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, attention_head_dim=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    return diffusers.DDPMPipeline(unet.eval(), diffusers.DDPMScheduler(variance_type="fixed_large"))


def autoencoder(name: str) -> Any:
    """As stabilityai/sd-vae-ft-mse, but narrow."""
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 3, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 3, latent_channels=4, sample_size=32,
    )  # fmt: skip


@pytest.fixture
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a user's things, and no network."""
    draw, create = np.random.default_rng(0), timm.create_model
    for k, name in enumerate(("cat", "dog")):
        for i in range(4):
            (tmp_path / "pictures" / name).mkdir(parents=True, exist_ok=True)
            pixels = draw.integers(0, 256, (40 + i, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{i}.png")
            with tarfile.open(tmp_path / "shard-000.tar", "a") as shard:
                Image.fromarray(pixels).save(buffer := io.BytesIO(), "PNG")
                for kind, content in (("png", buffer.getvalue()), ("cls", str(k).encode())):
                    member = tarfile.TarInfo(f"{name}{i}.{kind}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))
    theirs = __import__("torchvision").models.resnet18(num_classes=10)
    weights = {f"module.model.{name}": value for name, value in theirs.state_dict().items()}
    torch.save({"state_dict": weights | {"module.normalizer.std": torch.ones(3)}}, tmp_path / "robust.pt")
    monkeypatch.setattr(diffusers.DDPMPipeline, "from_pretrained", pipeline)
    monkeypatch.setattr(diffusers.AutoencoderKL, "from_pretrained", autoencoder)
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: create(name))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_elsewhere")
def test_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    known: dict[str, Any] = {}
    for block in BLOCKS:
        assert len(block.splitlines()) <= LINES, block
        exec(compile(block, str(PAGE), "exec"), known)
    assert "not used: ('module.normalizer.std',)" in capsys.readouterr().out
    assert known["images"].shape == (4, 3, 32, 48)
    assert known["left_over"] == ("module.normalizer.std",)
    assert Path("mine.safetensors").exists()
