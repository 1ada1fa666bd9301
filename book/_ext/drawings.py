"""The book's drawings, in its pages: a figure named `drawn-NAME` shows book/figures/NAME.svg as a part of the page.

So it follows the page's light and dark, which a picture in a file of its own does not. What a notebook carries in its
place is the same drawing as pixels, for JupyterLab and Colab (see tools/drawings.py).
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

DRAWINGS = Path(__file__).parent.parent / "figures"


def put_in(app: Sphinx, document: nodes.document) -> None:
    """Every such figure's picture becomes the drawing."""
    for figure in document.findall(nodes.figure):
        for name in figure["ids"]:
            if name.startswith("drawn-"):
                drawing = DRAWINGS / f"{name.removeprefix('drawn-')}.svg"
                app.env.note_dependency(str(drawing))
                svg = drawing.read_text()
                picture = next(figure.findall(nodes.image))
                picture.replace_self(nodes.raw("", svg[svg.index("<svg") :], format="html"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("doctree-read", put_in)
    return {"parallel_read_safe": True}
