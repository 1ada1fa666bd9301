"""Sliders: the picture follows the slider, and nothing is captured that a browser would have to answer.

Animations: every picture is in the page, which asks no other server. That they play is tested with the site.
"""

from __future__ import annotations

import base64
import io
import re

import ipywidgets
import pytest
from matplotlib.figure import Figure
from PIL import Image

from rgd.book import plots, widgets


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


def test_several_controls_draw_one_picture() -> None:
    def area(width: int, height: int) -> Figure:
        return plots.figure(1, 1, width, height)[0]

    box = widgets.controls(area, {"width": [1, 2], "height": [1, 3]}, {"height": 3})
    width, height, picture = box.children
    assert (width.description, width.value, height.value) == ("width", 1, 3)
    assert Image.open(io.BytesIO(picture.value)).size == (110, 330)
    width.value = 2
    assert Image.open(io.BytesIO(picture.value)).size == (220, 330)
    with pytest.raises(ValueError, match="slider of depth"):
        widgets.controls(area, {"width": [1]}, {"depth": 1})


def test_a_start_that_is_no_value() -> None:
    with pytest.raises(ValueError, match="one of"):
        widgets.slider(draw, "width", [1, 2], start=3)


def test_an_animation_holds_its_pictures_and_needs_nothing_else() -> None:
    player = widgets.animation(draw, "width <w>", [1, 2, 4], 'A "bar" & more')
    page = player._repr_html_()
    frames = re.findall(r"data:image/webp;base64,([A-Za-z0-9+/=]+)", page)
    sizes = [Image.open(io.BytesIO(base64.b64decode(frame))).size for frame in frames]
    assert sizes == [(80, 80), (80, 80), (160, 80), (320, 80)], "the first is shown before anything plays"
    assert 'alt="A &quot;bar&quot; &amp; more"' in page
    assert 'aria-label="width &lt;w&gt;"' in page
    assert not re.search(r"https?://", page)
    assert page == widgets.animation(draw, "width <w>", [1, 2, 4], 'A "bar" & more')._repr_html_()
    with pytest.raises(ValueError, match="at least one"):
        widgets.animation(draw, "width", [], "nothing")
