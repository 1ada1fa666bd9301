"""The pictures by which the book is known: digits for the landing page, a cover for those who link to it, an icon.

`python -m tools.cover` draws them, from the published models, as the landing page's live digit does: ten digits from
the same noise, without a guide and guided.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import yaml
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from torch import Tensor

import rgd
from rgd import plots

ROOT = Path(__file__).resolve().parent.parent
FIGURES, STATIC = ROOT / "book" / "figures", ROOT / "book" / "_static"
GROUND, INK, BLUE = "#12181f", "#f4f6f8", plots.COLOURS["robust"]
SIDE, CORNER = 180, 40  # of the icon
NABLA = ((30, 44), (150, 44), (90, 148)), ((62, 64), (118, 64), (90, 113))  # a triangle, and the hole in it


def digits(seed: int = 0, scale: float = 4.0, steps: int = 12) -> dict[str, Tensor]:
    """Ten noise images, what becomes of them without a guide, and what with one that was asked for 0 to 9; each
    (10, 1, 28, 28)."""
    noise, y = rgd.noise((10, 1, 28, 28), seed), torch.arange(10)
    denoise = rgd.zoo.load("mnist/ddpm", "cpu")
    guided = rgd.guide(denoise, rgd.grad_log_prob(rgd.zoo.load("mnist/robust", "cpu")), scale)
    *_, free = rgd.ddim(denoise, noise, steps=steps)
    *_, asked = rgd.ddim(guided, noise, y, steps=steps)
    return {"noise": noise, "free": free.x, "asked": asked.x}


def picture(rows: Mapping[str, Tensor], zoom: int = 4) -> Image.Image:
    """Rows of images one above the other, and between them lines that one sees through."""
    images = torch.cat(list(rows.values())).clamp(-1, 1)
    tiled, lines = plots.tile(images)[0], plots.tile(torch.zeros_like(images))[0]
    grey = torch.stack([(tiled + 1) * 127.5, 255 * (lines == 0)], dim=2).round().to(torch.uint8)
    small = Image.fromarray(grey.numpy(), "LA")
    return small.resize((small.width * zoom, small.height * zoom), Image.Resampling.NEAREST)


def cover(rows: Mapping[str, Tensor]) -> Figure:
    """The picture of 1200 by 630 pixels that is shown beside a link."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    fig = Figure(figsize=(12, 6.3), dpi=100, facecolor=GROUND)
    fig.text(0.06, 0.83, config["title"], color=INK, fontsize=46, fontweight="bold")
    fig.text(0.06, 0.73, "Robust classifier guidance for diffusion models: a book that runs", color=INK, fontsize=22)
    ax = fig.add_axes((0.06, 0.06, 0.88, 0.6))
    ax.imshow(np.asarray(picture(rows).convert("RGBA")), interpolation="nearest")
    ax.set_axis_off()
    return fig


def icon_as_text() -> str:
    """The icon, a gradient's sign, as SVG."""
    path = " ".join("M" + " L".join(f"{x} {y}" for x, y in corners) + " Z" for corners in NABLA)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}">'
        f'<rect width="{SIDE}" height="{SIDE}" rx="{CORNER}" fill="{BLUE}"/>'
        f'<path d="{path}" fill="#fff" fill-rule="evenodd"/></svg>\n'
    )


def icon(finer: int = 4) -> Image.Image:
    """The same as pixels, drawn finer than it is kept, so that its edges are smooth."""
    image = Image.new("RGBA", (SIDE * finer, SIDE * finer))
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle((0, 0, SIDE * finer - 1, SIDE * finer - 1), CORNER * finer, fill=BLUE)
    for corners, colour in zip(NABLA, ("#fff", BLUE)):
        pen.polygon([(x * finer, y * finer) for x, y in corners], fill=colour)
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def main() -> None:
    """Draw all of them."""
    rows = digits()
    picture(rows).save(FIGURES / "digits.png", optimize=True)
    cover(rows).savefig(STATIC / "cover.png", metadata={"Software": None})
    (STATIC / "icon.svg").write_text(icon_as_text())
    icon().save(STATIC / "icon.png", optimize=True)


if __name__ == "__main__":
    main()
