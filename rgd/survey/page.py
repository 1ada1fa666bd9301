"""A survey as one page that asks nobody for anything, and as a widget in a live notebook: the same ES module."""

from __future__ import annotations

import base64
import html
import io
import json
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

from PIL import Image
from torch import Tensor

from rgd.book import live
from rgd.survey.design import Drawn

_PAGE = Path(__file__).with_name("page.html")


def packed(drawn: Drawn) -> dict[str, Any]:
    """What a browser is given: pictures, questions, and for each pair the group in which sides are balanced; but not
    who made what."""
    key, groups = drawn.key, dict[tuple[int, int], int]()
    pairs = [
        {"label": _article(key.classes[pair.label]), "group": groups.setdefault((pair.first, pair.second), len(groups)),
         "images": [_png(image) for image in images]}
        for pair, images in zip(key.pairs, drawn.images)
    ]  # fmt: skip
    asked = key.survey
    told = {"title": asked.title, "question": asked.question, "consent": asked.consent, "address": asked.address}
    return {"digest": key.digest, **told, "pairs": pairs}


def page(drawn: Drawn) -> str:
    """The survey as HTML, whole: it works offline, as a file or on any server. At the end its raters are given a file
    of answers, or the answers are posted to the survey's address."""
    asked = drawn.key.survey
    connect = html.escape("{0.scheme}://{0.netloc}".format(urlsplit(asked.address))) if asked.address else "'none'"
    data = json.dumps(packed(drawn)).replace("<", "\\u003c")
    parts = {"title": html.escape(asked.title), "connect": connect, "packed": data}
    return Template(_PAGE.read_text()).substitute(parts, script=live.script("survey"))


def widget(drawn: Drawn) -> Any:
    """The survey in a live notebook. When all is answered, `widget.answers` is the text that a page gives as a file.

    Raises:
        ImportError: without anywidget.
    """
    return live.live("survey", survey=packed(drawn), answers=None)


def _article(name: str) -> str:
    return f"{'an' if name[0].lower() in 'aeiou8' else 'a'} {name}"


def _png(image: Tensor) -> str:
    """An image (C, H, W) of one channel or three as the address of a picture."""
    file, pixels = io.BytesIO(), image.permute(1, 2, 0).numpy()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
