"""Sliders: the picture follows the slider, and nothing is captured that a browser would have to answer."""

from __future__ import annotations

import io

import ipywidgets
import pytest
from matplotlib.figure import Figure
from PIL import Image

from rgd import plots, widgets


def draw(width: int) -> Figure:
    return plots.figure(1, 1, width, 1)[0]


def test_the_picture_follows_the_slider() -> None:
    box = widgets.slider(draw, "width", [1, 2, 4], start=2)
    chosen, picture = box.children
    assert Image.open(io.BytesIO(picture.value)).size == (220, 110)
    chosen.value = 4
    assert Image.open(io.BytesIO(picture.value)).size == (440, 110)
    assert not [child for child in box.children if isinstance(child, ipywidgets.Output)]
    assert widgets.slider(draw, "width", [1, 2]).children[0].value == 1


def test_a_start_that_is_no_value() -> None:
    with pytest.raises(ValueError, match="one of"):
        widgets.slider(draw, "width", [1, 2], start=3)
