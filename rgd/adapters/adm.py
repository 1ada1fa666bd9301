"""The published models of ADM (Dhariwal & Nichol 2021), and classifiers of their shape, such as the paper's robust one.

Their files are PyTorch state dicts with this package's names for every weight, so that what is loaded can be audited
name by name and shape by shape. They are downloaded only when asked for, and read as weights alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch
import requests
import torch
from torch import Tensor
from tqdm import tqdm

from rgd import schedule as schedules
from rgd.denoiser import NetworkDenoiser
from rgd.errors import CheckpointError, one_of
from rgd.networks import EncoderConfig, EncoderUNet, UNetConfig, build
from rgd.training.checkpoints import read_state_dict

ADDRESS = "https://openaipublic.blob.core.windows.net/diffusion/jul-2021/"
CLASSES = 1000
MULTIPLES: dict[int, tuple[float, ...]] = {
    64: (1, 2, 3, 4), 128: (1, 1, 2, 3, 4), 256: (1, 1, 2, 2, 4, 4), 512: (0.5, 1, 1, 2, 2, 4, 4),
}  # fmt: skip


def _config(size: int, **own: Any) -> dict[str, Any]:
    """What all of them have in common: attention at 32, 16 and 8 pixels."""
    common: dict[str, Any] = dict(image_size=size, in_channels=3, channel_mult=MULTIPLES[size])
    common |= dict(attention_resolutions=tuple(size // pixels for pixels in (32, 16, 8)), num_head_channels=64)
    return {**common, "use_scale_shift_norm": True, "resblock_updown": True, **own}


def _denoiser(size: int, **own: Any) -> UNetConfig:
    settings: dict[str, Any] = dict(model_channels=256, out_channels=6, num_res_blocks=2, num_classes=CLASSES)
    return UNetConfig(**_config(size, **settings | own))


def _classifier(size: int, depth: int = 2) -> EncoderConfig:
    settings = dict(model_channels=128, out_channels=CLASSES, num_res_blocks=depth, pool="attention")
    return EncoderConfig(**_config(size, **settings))


Config = UNetConfig | EncoderConfig
CONFIGS: Mapping[str, Config] = {
    "64x64_diffusion": _denoiser(64, model_channels=192, num_res_blocks=3, dropout=0.1, use_new_attention_order=True),
    "128x128_diffusion": _denoiser(128, num_heads=4, num_head_channels=-1),
    "256x256_diffusion": _denoiser(256),
    "256x256_diffusion_uncond": _denoiser(256, num_classes=None),
    "512x512_diffusion": _denoiser(512),
    "64x64_classifier": _classifier(64, depth=4),
    "128x128_classifier": _classifier(128),
    "256x256_classifier": _classifier(256),
    "512x512_classifier": _classifier(512),
}
"""By the names of their files, without ".pt"."""
BEST_SCALES = {"64x64": 1.0, "128x128": 0.5, "256x256": 1.0, "256x256_uncond": 10.0, "512x512": 4.0}
"""With which guidance by their own classifiers was published, 250 steps."""
REFERENCES = {f"{n}x{n}": f"ref_batches/imagenet/{n}/VIRTUAL_imagenet{n}_labeled.npz" for n in (64, 128, 256, 512)}
"""Where the images lie against which ADM is scored: an .npz with 10,000 of them, uint8 (N, H, W, 3), as `arr_0`, and
the moments of what Inception sees in the whole training set, as `mu`, `sigma`, `mu_s` and `sigma_s`."""


@dataclass(frozen=True)
class Audit:
    """A state dict beside what a network expects: names `missing` from it, names it has `besides`, and the `shapes`
    that differ, as (name, the file's, the network's). It `fits` if there are none of them."""

    missing: tuple[str, ...]
    besides: tuple[str, ...]
    shapes: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    @property
    def fits(self) -> bool:
        """Whether nothing differs."""
        return not (self.missing or self.besides or self.shapes)

    def __str__(self) -> str:
        if self.fits:
            return "every name and every shape is as expected"
        parts = [f"{len(names)} {what}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
                 for what, names in (("missing", self.missing), ("besides", self.besides)) if names]  # fmt: skip
        parts += [f"{name} has the shape {theirs}, not {ours}" for name, theirs, ours in self.shapes[:5]]
        return "; ".join(parts)


def _on_meta(name: str | Config) -> Any:
    """The network, nothing of it allocated. ValueError for a name that is none."""
    if isinstance(name, str):
        one_of("a published model", name, CONFIGS)
    with torch.device("meta"):
        return build(CONFIGS[name] if isinstance(name, str) else name)


def expected(name: str | Config) -> dict[str, tuple[int, ...]]:
    """The name and the shape of every weight of a published model; nothing is allocated. ValueError if it is none."""
    return {key: tuple(value.shape) for key, value in _on_meta(name).state_dict().items()}


def audit(name: str | Config, tensors: Mapping[str, Tensor]) -> Audit:
    """How a state dict differs from a published model of that name, or from what a configuration describes."""
    want, have = expected(name), {key: tuple(value.shape) for key, value in tensors.items()}
    other = tuple((key, have[key], want[key]) for key in sorted(want.keys() & have.keys()) if want[key] != have[key])
    return Audit(tuple(sorted(want.keys() - have.keys())), tuple(sorted(have.keys() - want.keys())), other)


def load(
    name: str | Config, path: Path | str | None = None, *, dtype: torch.dtype = torch.float32, device: Any = "cpu"
) -> NetworkDenoiser | EncoderUNet:
    """A published model, ready for use: a denoiser (xt, t, y) -> Prediction, or a classifier (xt, t) -> logits.

    Args:
        name: one of `CONFIGS`; of a file of the paper's own robust classifier, the one it has the shape of; of a file
            of another size in the same layout, its configuration. All but 64x64 have the linear schedule.
        path: the file; default `fetch(name)`.
        dtype: of the weights, torch.bfloat16 or torch.float16 for half the memory.
        device: where it shall lie.

    Raises:
        CheckpointError: for a file that is not there or damaged, or whose weights differ, with the audit.
    """
    tensors = read_state_dict(fetch(str(name)) if path is None else path)
    if not (found := audit(name, tensors)).fits:
        raise CheckpointError(f"{path or name} is not {name}: {found}")
    network = _on_meta(name)
    # The file's own tensors become the weights, one by one, so that memory never holds them twice.
    network.load_state_dict({key: tensors.pop(key).to(device, dtype) for key in tuple(tensors)}, assign=True)
    network.eval().requires_grad_(False)
    if isinstance(network, EncoderUNet):
        return network
    schedule = schedules.cosine() if str(name).startswith("64x64") else schedules.linear()
    conditional = network.config.num_classes is not None
    return NetworkDenoiser(network, schedule, "eps", "learned", conditional=conditional)


def fetch(name: str, folder: Path | str | None = None, sha256: str | None = None) -> Path:
    """The local file of a published model, downloaded if need be (0.2 to 2.2 GB), with a bar; a download that was cut
    off goes on where it stopped.

    Args:
        name: one of `CONFIGS`, or of `REFERENCES`.
        folder: where it is kept; default $RGD_ADM, else torch.hub's folder of checkpoints.
        sha256: its hash, if you know it from a source you trust: OpenAI publishes none. Without one, the file's own is
            noted beside it when it arrives, and holds from then on.

    Raises:
        CheckpointError: where it cannot be had, or has another hash.
    """
    one_of("a published model", name, {**CONFIGS, **REFERENCES})
    place = Path(folder or os.environ.get("RGD_ADM") or Path(torch.hub.get_dir()) / "checkpoints").expanduser()
    address = REFERENCES.get(name, f"{name}.pt")
    file, noted = (place / f"{Path(address).name}{end}" for end in ("", ".sha256"))
    if not file.exists():
        _download(ADDRESS + address, file)
    digest = pooch.file_hash(str(file))
    wanted = sha256 or (noted.read_text().strip() if noted.exists() else digest)
    if digest != wanted:
        raise CheckpointError(f"{file} has the SHA-256 {digest}, not {wanted}: delete it, and it is downloaded anew")
    noted.write_text(digest + "\n")
    return file


def _download(address: str, file: Path) -> None:
    """To a file beside it, which is gone on with where it ends, and becomes `file` when it is whole."""
    partial = file.with_name(f"{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        have = partial.stat().st_size if partial.exists() else 0
        with requests.get(address, headers={"Range": f"bytes={have}-"} if have else {}, stream=True, timeout=60) as got:
            got.raise_for_status()
            have = have if got.status_code == requests.codes.partial_content else 0  # else it comes from the beginning
            whole = have + int(got.headers["Content-Length"])
            options: Any = {"total": whole, "initial": have, "unit": "B", "unit_scale": True, "desc": file.name}
            with open(partial, "ab" if have else "wb") as content, tqdm(**options) as bar:
                for block in got.iter_content(1 << 16):
                    bar.update(content.write(block))
        if partial.stat().st_size != whole:
            raise OSError(f"{partial.stat().st_size:,} of {whole:,} bytes came")
        partial.replace(file)
    except (OSError, KeyError) as error:  # requests' errors are OSErrors
        remedy = f"Call again to go on, or download {address} by hand to {file}"
        raise CheckpointError(f"{file.name} could not be downloaded: {error}. {remedy}") from error
