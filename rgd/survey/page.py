"""A survey as one page that asks nobody for anything, and as a widget in a live notebook: the same ES module."""

from __future__ import annotations

import base64
import html
import io
import json
from typing import Any
from urllib.parse import urlsplit

from PIL import Image
from torch import Tensor

from rgd.book import live
from rgd.survey.design import Drawn

# The policy holds the page to its word: nothing is loaded from anywhere, and answers go to the one address, if any.
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
script-src 'unsafe-inline'; connect-src {connect}; base-uri 'none'; form-action 'none'">
<title>{title}</title>
<style>
:root {{ background: #fff; color: #1f2328; font: 1rem/1.45 system-ui, sans-serif; }}
:root[data-theme="dark"] {{ background: #14181e; color: #e6e9ec; }}
body {{ margin: 0 auto; padding: .8rem; max-width: 41rem; }}
h1 {{ font-size: 1.15rem; margin: 0 0 .8rem; }}
</style>
<main><h1>{title}</h1><div id="survey"></div><noscript>This survey needs JavaScript.</noscript></main>
<script type="application/json" id="packed">{packed}</script>
<script>
const dark = matchMedia("(prefers-color-scheme: dark)"), rgdLive = {{}};
const paint = () => {{ document.documentElement.dataset.theme = dark.matches ? "dark" : "light"; }};
dark.addEventListener("change", paint);
paint();
{script}
const state = {{ survey: JSON.parse(document.getElementById("packed").textContent), whole: true }};
const model = {{ get: (name) => state[name], set() {{}}, save_changes() {{}} }};
rgdLive.survey.default.render({{ model, el: document.getElementById("survey") }});
</script>
</html>
"""


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
    return _PAGE.format(script=live.script("survey"), **parts)


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
