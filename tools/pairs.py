"""The pairs of chapter 16's blind test: the same noise, guided by two classifiers.

`python -m tools.pairs` draws them with the published models into `results/pairs_mnist.png`: a row for each guide, a
column for each pair. The picture itself says, as text, how it was made. The site is given them by `tools.live`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

import rgd
from rgd.lab import registry
from rgd.lab.origin import provenance
from rgd.measure.features import quantise

PICTURE = Path(__file__).resolve().parent.parent / "results" / "pairs_mnist.png"
DENOISER, GUIDES = "mnist/ddpm", ("mnist/vanilla", "mnist/robust")
# As on the page of the survey that the chapter shows, and with another seed. A rule chooses the pairs: the first two of
# each class.
CLASSES, SCALE, STEPS, SEED = list(range(10)) * 2, 4.0, "quadratic15", 1


def draw(device: str = "cpu") -> Tensor:
    """The images, uint8 (2, N, 28, 28): of each guide, in the order of CLASSES."""
    denoise, y = registry.load(DENOISER, device), torch.tensor(CLASSES)
    drawn = []
    for name in GUIDES:
        steer = rgd.guide(denoise, rgd.grad_log_prob(registry.load(name, device)), SCALE)
        images = rgd.sample(
            steer, (len(y), 1, 28, 28), y, sampler=rgd.dpm_solver, steps=STEPS, seed=SEED, device=device, progress=name
        )
        drawn.append(quantise(images)[:, 0])
    return torch.stack(drawn)


def weights() -> dict[str, str]:
    """SHA-256 of the models' files."""
    return {name: hashlib.sha256(registry.path(name).read_bytes()).hexdigest() for name in (DENOISER, *GUIDES)}


def read(picture: Path = PICTURE) -> tuple[Tensor, dict[str, object]]:
    """The images of a picture that `main` wrote, as `draw` gives them, and how they were made."""
    with Image.open(picture) as image:
        made = json.loads(image.text["made"])
        rows = torch.from_numpy(np.array(image))
    return rows.unflatten(0, (len(made["guides"]), 28)).unflatten(2, (-1, 28)).transpose(1, 2), made


def packed(picture: Path = PICTURE) -> bytes:
    """What the page needs, as JSON: `made`, the pixels in base64, and an `id` that changes with them."""
    images, made = read(picture)
    pixels = images.numpy().tobytes()
    found = {"id": hashlib.sha256(pixels).hexdigest()[:16], "made": made, "images": base64.b64encode(pixels).decode()}
    return json.dumps(found).encode()


def main() -> None:
    """Draw the pairs and write the picture."""
    made = {
        "guides": [name.split("/")[1] for name in GUIDES], "classes": CLASSES, "scale": SCALE, "steps": STEPS,
        "seed": SEED, "weights": weights(), "provenance": provenance(),
    }  # fmt: skip
    about = PngInfo()
    about.add_text("made", json.dumps(made))
    rows = [np.concatenate(list(row), axis=1) for row in draw().numpy()]
    Image.fromarray(np.concatenate(rows)).save(PICTURE, pnginfo=about, optimize=True)
    print(f"{PICTURE.name}: {PICTURE.stat().st_size / 1e3:.1f} kB")


if __name__ == "__main__":
    main()
