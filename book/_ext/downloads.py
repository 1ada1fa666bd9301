"""A chapter is downloaded without its solutions, or with them by a second button.

With them it is the committed notebook, which the theme's own button offers. Without them it is written beside the page.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

BOUND = re.compile(r"^:::\{solution-(start|end)\}.*?^:::$", re.MULTILINE | re.DOTALL)


def without_solutions(notebook: dict[str, Any]) -> dict[str, Any]:
    """A notebook, as JSON, without what stands between the marks of a solution's start and end, and without the marks.

    A solution may begin and end inside a Markdown cell. A cell of which nothing is left goes; the others stay as they
    are, an exercise's code and outputs too.
    """
    cells, inside = [], False
    for cell in notebook["cells"]:
        parts = BOUND.split("".join(cell["source"])) if cell["cell_type"] == "markdown" else []
        if len(parts) <= 1:  # no solution begins or ends here
            cells += [] if inside else [cell]
            continue
        kept = []
        for k, part in enumerate(parts):
            if k % 2:
                inside = part == "start"
            elif not inside:
                kept.append(part.strip())
        source = "\n\n".join(filter(None, kept))
        cells += [{**cell, "source": source.splitlines(keepends=True)}] if source else []
    return {**notebook, "cells": cells}


def is_notebook(app: Sphinx, page: str) -> bool:
    """Whether a page is a chapter; the index, for one, comes from no file."""
    return page in app.env.found_docs and Path(app.env.doc2path(page)).suffix == ".ipynb"


def add_button(app: Sphinx, page: str, template: str, context: dict[str, Any], document: nodes.document | None) -> None:
    """Before the theme's button for the page's source, one for the chapter without solutions."""
    if is_notebook(app, page):
        (group,) = (button for button in context["header_buttons"] if button["label"] == "download-buttons")
        (whole,) = (button for button in group["buttons"] if button["label"] == "download-source-button")
        whole |= {"text": "Notebook with solutions", "tooltip": "Download the notebook with its solutions"}
        short = {
            "url": f"{page.rpartition('/')[2]}_exercises.ipynb",
            "text": "Notebook",
            "tooltip": "Download the notebook without solutions",
            "label": "download-exercises-button",
        }
        group["buttons"].insert(0, whole | short)


def write_notebooks(app: Sphinx, failure: Exception | None) -> None:
    """Every chapter without its solutions, beside its page."""
    if failure is None and app.builder.name == "html":
        for page in filter(lambda page: is_notebook(app, page), app.env.found_docs):
            notebook = without_solutions(json.loads(Path(app.env.doc2path(page)).read_text()))
            target = Path(app.outdir) / f"{page}_exercises.ipynb"
            target.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("html-page-context", add_button, priority=502)  # after the theme has made its buttons
    app.connect("build-finished", write_notebooks)
    return {"parallel_read_safe": True}
