"""Figures: one style, and one colour for each kind of gradient in the whole book (Okabe and Ito's, safe for the
colour-blind), which nothing else has. Every function returns a matplotlib Figure and shows nothing.

Names and titles may hold maths, as in "$x_t$". What a user has named, a class or a file, goes through `plain`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from rgd.measure import Estimate

COLOURS = {
    "none": "#7f7f7f", "clean": "#cc79a7", "vanilla": "#d55e00", "robust": "#0072b2", "oracle": "#000000",
    "classifier-free": "#009e73", "autoguidance": "#e69f00",
}  # fmt: skip
MARKERS = dict(zip(COLOURS, "Dxso^vP", strict=True))
SPARE = {"#882255": "X", "#999933": "p", "#56b4e9": "<", "#332288": ">", "#4d4d00": "h"}  # in turn, for all else
STYLE: Any = {
    "figure.dpi": 110, "figure.constrained_layout.use": True, "font.size": 10, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "axes.axisbelow": True, "legend.frameon": False,
    "image.interpolation": "nearest", "axes.prop_cycle": f"cycler('color', {list(SPARE)})",
}  # fmt: skip


class ShownFigure(Figure):
    """A figure that a notebook shows by itself, with no window and no global state behind it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def plain(text: str) -> str:
    """Text that a figure shows letter by letter, dollar signs too, which else begin and end maths."""
    return text.replace("$", r"\$")


def _kind(name: str) -> str:
    """The first word, which decides the colour."""
    return name.replace(",", " ").strip().partition(" ")[0]


def use_style() -> None:
    """Make the book's style the default of this session."""
    mpl.rcParams.update(STYLE)


def figure(rows: int = 1, columns: int = 1, width: float = 7.0, height: float = 3.0) -> tuple[Figure, np.ndarray]:
    """A figure in the book's style that belongs to no window, with its axes in an array (rows, columns)."""
    with mpl.rc_context(STYLE):
        fig = ShownFigure(figsize=(width, height), layout="constrained")
        return fig, fig.subplots(rows, columns, squeeze=False)


def show_image(ax: Axes, image: Tensor, signed: bool = False) -> None:
    """One image (C, H, W) in [-1, 1], in grey by its first channel unless there are three; `signed` shows their mean,
    scaled to the largest magnitude: blue below zero, red above."""
    ax.set_axis_off()
    pixels = image.detach().float().cpu()
    if signed:
        pixels = pixels.mean(0)
        limit = float(pixels.abs().max()) or 1.0
        ax.imshow(pixels.numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit)
    elif len(pixels) != 3:
        ax.imshow(pixels[0].clamp(-1, 1).numpy(), cmap="gray", vmin=-1, vmax=1)
    else:
        ax.imshow(((pixels + 1) / 2).clamp(0, 1).permute(1, 2, 0).numpy())


def image_grid(images: Tensor, columns: int = 10, size: float = 0.6) -> Figure:
    """Images (N, C, H, W) in [-1, 1] as one picture, row by row, a hair apart."""
    fig, axes = figure(1, 1, columns * size, -(-len(images) // columns) * size)
    show_image(axes[0, 0], tile(images, columns))
    return fig


def tile(images: Tensor, columns: int = 10) -> Tensor:
    """Images (N, C, H, W) as one image (C, rows (H + 1) + 1, columns (W + 1) + 1), white lines between."""
    framed = F.pad(images, (1, 0, 1, 0, 0, 0, 0, -len(images) % columns), value=1.0).unflatten(0, (-1, columns))
    return F.pad(framed.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2), (0, 1, 0, 1), value=1.0)


def picture_table(
    rows: Mapping[str, Tensor], columns: Sequence[str], signed: Sequence[str] = (), size: float = 0.85
) -> Figure:
    """A table of pictures: each row (N, C, H, W) with its name, each column with its own; rows in `signed` are
    gradients, each picture scaled to its own largest value."""
    fig, axes = figure(len(rows), len(columns), size * len(columns) + 1.2, size * len(rows) + 0.35)
    for line, (name, images) in zip(axes, rows.items()):
        for ax, image in zip(line, images):
            show_image(ax, image, signed=name in signed)
        line[0].text(-0.15, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=9,
                     color=COLOURS.get(_kind(name), "black"))  # fmt: skip
    longest = max(1, *(len(line) for name in columns for line in name.split("\n")))
    for ax, name in zip(axes[0], columns):
        ax.set_title(name, fontsize=min(9, 120 * size / longest))  # so that neighbours do not touch
    return fig


def curves(ax: Axes, x: Sequence[float], series: Mapping[str, Sequence[Estimate]], xlabel: str, ylabel: str) -> None:
    """Lines with bands: `series` gives for each name an estimate at each x, whose interval is the band. The name's
    first word is the kind that decides the colour; a second series of the same kind is dashed."""
    colours: dict[str, Any] = {}
    for name, points in series.items():
        kind = _kind(name)
        values, low, high = np.array([(point.value, point.low, point.high) for point in points]).T
        (line,) = ax.plot(x, values, "--" if kind in colours else "-", color=colours.get(kind, COLOURS.get(kind)))
        colour = colours.setdefault(kind, line.get_color())
        line.set(label=name, markersize=4, marker=MARKERS.get(kind) or SPARE.get(colour, "."))
        ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
