"""An IPython extension: a figure's output tells where its axes lie in the picture, and what they measure.

`tools.notebooks` loads it into the kernel. A page lets its reader draw on empty axes before the picture is shown, and
then lays the reader's curve over it.
"""

from __future__ import annotations

import json
from typing import Any

from matplotlib.axes import Axes

from rgd.book.plots import ShownFigure


def place(ax: Axes) -> dict[str, Any]:
    """`inside` its spines and the `whole` with its labels: (left, top, right, bottom) as shares of the picture's width
    and height, from its upper left corner; for `x` and `y` the label, the limits at the two ends, and the scale."""
    figure = ax.get_figure()
    assert figure is not None
    boxes = {"inside": ax.get_position(), "whole": ax.get_tightbbox().transformed(figure.transFigure.inverted())}
    shares = {name: [round(v, 5) for v in (box.x0, 1 - box.y1, box.x1, 1 - box.y0)] for name, box in boxes.items()}
    named = {
        name: {"label": axis.get_label_text(), "limits": list(axis.get_view_interval()), "scale": axis.get_scale()}
        for name, axis in (("x", ax.xaxis), ("y", ax.yaxis))
    }
    return {**shares, **named}


def picture(figure: ShownFigure) -> tuple[bytes, dict[str, Any]]:
    """A figure as PNG, and the places of its axes but those of images: each as JSON, so that a notebook has it in one
    line."""
    drawn = figure._repr_png_()  # only now are the axes where they belong
    return drawn, {"axes": [json.dumps(place(ax)) for ax in figure.axes if ax.axison]}


def load_ipython_extension(shell: Any) -> None:
    """Called by IPython."""
    shell.display_formatter.formatters["image/png"].for_type(ShownFigure, picture)
