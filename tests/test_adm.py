"""ADM's published models: their shapes against those of the reference implementation, and their files."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import rgd
from rgd.adapters import adm
from rgd.errors import CheckpointError

# Of guided-diffusion at 22e0df8, built with the flags of its README: how many weights there are, how many numbers, and
# SHA-256 of json.dumps(sorted((name, list(shape)) of its state dict)).
REFERENCE = {
    "64x64_diffusion": (541, 295904454, "4c7cc457c29f5bfe091b56bd9504a4f2a91d6aee57e16a6f982b17f29ee3edbb"),
    "128x128_diffusion": (493, 421529606, "62f053bc80ca3c4081ab5c1efb10a57d26607f69cf2571836aedb70e373a2203"),
    "256x256_diffusion": (567, 553838086, "6fcf52b21aeb4a353b922ae4ff63fb9ee7391637dbb835844154d5f98e121328"),
    "256x256_diffusion_uncond": (566, 552814086, "85a06372a246b9bf22c61bd49e151f71a9fe839ccd065f8d7bb71be3900183f6"),
    "512x512_diffusion": (645, 558997638, "27d57a5a0945222704a3f409d71af66712e91c42454a0a27f6e7bad740775d26"),
    "64x64_classifier": (307, 65438568, "8a5b3ef9131c87676b212101b1f403af834893f2464e3d2f3e915cf0a475900d"),
    "128x128_classifier": (221, 42568040, "8edc1cef0fb667548786a6a0de73e46c062bb3a3fe1807a7b2af85617d2df542"),
    "256x256_classifier": (249, 54096360, "4a9fd0f6e6e407a197498481d9fcc0f563f7147f947ce1e9e590c4c77def54bc"),
    "512x512_classifier": (281, 54448360, "9fed76084c76e1e0611740ba7a490fcd8572e9bffaeccdfd0271b85ff4b921c8"),
}


@pytest.mark.parametrize("name", adm.CONFIGS)
def test_every_name_and_shape_is_the_reference_implementations(name: str) -> None:
    shapes = sorted((key, list(shape)) for key, shape in adm.expected(name).items())
    numbers = sum(torch.Size(shape).numel() for _, shape in shapes)
    assert (len(shapes), numbers, hashlib.sha256(json.dumps(shapes).encode()).hexdigest()) == REFERENCE[name]


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'128x128_diffusion'"):
        adm.expected("128x128")


# Small ones in their place, so that files are small.
SMALL = dict(image_size=16, in_channels=3, num_res_blocks=1, channel_mult=(0.5, 1), attention_resolutions=(2,),
             num_head_channels=8, use_scale_shift_norm=True, resblock_updown=True)  # fmt: skip


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    unet = rgd.UNetConfig(**SMALL, model_channels=16, out_channels=6, num_classes=5)  # type: ignore[arg-type]
    encoder = rgd.EncoderConfig(**SMALL, model_channels=16, out_channels=5, pool="attention")  # type: ignore[arg-type]
    names = {name: unet if "diffusion" in name else encoder for name in adm.CONFIGS}
    monkeypatch.setattr(adm, "CONFIGS", {**names, "256x256_diffusion_uncond": replace(unet, num_classes=None)})


def weights(name: str) -> dict[str, Tensor]:
    """As they begin, and a little beside: layers that begin as zero would hide others."""
    random, begun = rgd.generator(1), rgd.build(adm.CONFIGS[name]).state_dict()
    return {key: value + 0.05 * torch.randn(value.shape, generator=random) for key, value in begun.items()}


def saved(name: str, folder: Path) -> Path:
    torch.save(weights(name), path := folder / f"{name}.pt")
    return path


@pytest.mark.usefixtures("_small")
def test_a_file_is_loaded_and_guides(tmp_path: Path) -> None:
    denoise = adm.load("128x128_diffusion", saved("128x128_diffusion", tmp_path))
    classifier = adm.load("128x128_classifier", saved("128x128_classifier", tmp_path))
    assert (denoise.predicts, denoise.variance, denoise.conditional) == ("eps", "learned", True)
    assert denoise.schedule == rgd.schedule.linear()
    assert adm.load("64x64_diffusion", saved("64x64_diffusion", tmp_path)).schedule == rgd.schedule.cosine()
    assert not adm.load("256x256_diffusion_uncond", saved("256x256_diffusion_uncond", tmp_path)).conditional
    wanted = weights("128x128_diffusion")
    assert all(torch.equal(value, wanted[key]) for key, value in denoise.network.state_dict().items())
    guided = rgd.guide(denoise, rgd.grad_log_prob(classifier), 0.5, form="mean")
    shape, y = (2, 3, 16, 16), torch.tensor([1, 4])
    plain, steered = (rgd.sample(d, shape, y, sampler=rgd.ddpm, steps=3, progress=False) for d in (denoise, guided))
    assert steered.isfinite().all()
    assert not torch.equal(plain, steered)


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near(tmp_path: Path, dtype: torch.dtype) -> None:
    path = saved("128x128_classifier", tmp_path)
    whole, half = (adm.load("128x128_classifier", path, dtype=d) for d in (torch.float32, dtype))
    x, t, y = rgd.noise((4, 3, 16, 16), seed=2), torch.tensor([0, 10, 300, 900]), torch.tensor([0, 1, 2, 3])
    a, b = (rgd.grad_log_prob(c)(x, t, y) for c in (whole, half))
    assert next(half.parameters()).dtype == dtype
    assert b.dtype == torch.float32
    cosine = torch.nn.functional.cosine_similarity(a.flatten(1), b.flatten(1))
    assert (cosine > 0.99).all(), cosine


@pytest.mark.usefixtures("_small")
def test_another_file_is_refused_with_the_audit(tmp_path: Path) -> None:
    name, path = "128x128_classifier", tmp_path / "a.pt"
    found = weights(name)
    found["ema.step"] = found.pop("out.0.weight")
    found["out.0.bias"] = torch.zeros(3)
    torch.save(found, path)
    with pytest.raises(
        CheckpointError, match=r"1 missing: out\.0\.weight; 1 besides: ema\.step; out\.0\.bias has .*3,"
    ):
        adm.load(name, path)
    assert adm.audit(name, weights(name)).fits
    assert str(adm.audit(name, weights(name))) == "every name and every shape is as expected"
    many = adm.audit(name, {})
    assert len(many.missing) == len(weights(name))
    assert ", ..." in str(many)


class Shelf(http.server.BaseHTTPRequestHandler):
    """Serves `content`; the first answer breaks off in the middle. It notes the ranges that it was asked for."""

    content, ranges, knows_ranges = b"", [], True  # type: ignore[var-annotated]

    def do_GET(self) -> None:
        asked = self.headers.get("Range") if self.knows_ranges else None
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        self.ranges.append(self.headers.get("Range"))
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        stop = len(self.content) // 2 if len(self.ranges) == 1 else None
        self.wfile.write(self.content[start:stop])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Shelf]]:
    Shelf.ranges, Shelf.knows_ranges = [], True
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shelf) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(adm, "ADDRESS", f"http://127.0.0.1:{server.server_port}/")
        yield Shelf
        server.shutdown()


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_download_goes_on_where_it_was_cut_off(tmp_path: Path, shelf: type[Shelf], knows_ranges: bool) -> None:
    name = "128x128_classifier"
    shelf.content, shelf.knows_ranges = saved(name, tmp_path).read_bytes(), knows_ranges
    place = tmp_path / "kept"
    with pytest.raises(CheckpointError, match="Call again to go on"):
        adm.fetch(name, place)
    assert not (place / f"{name}.pt").exists()
    assert adm.fetch(name, place).read_bytes() == shelf.content
    assert shelf.ranges[0] is None
    assert int(shelf.ranges[1].removeprefix("bytes=").removesuffix("-")) > 0
    assert adm.fetch(name, place).exists()
    assert len(shelf.ranges) == 2


@pytest.mark.usefixtures("_small")
def test_a_file_that_changed_since_it_came_is_refused(tmp_path: Path) -> None:
    name = "128x128_classifier"
    file = saved(name, tmp_path)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert adm.fetch(name, tmp_path, sha256=digest) == file
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointError, match="delete it"):
        adm.fetch(name, tmp_path)
    with pytest.raises(CheckpointError, match="not 0000"):
        adm.fetch(name, tmp_path, sha256="0000")
