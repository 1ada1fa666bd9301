"""What the live widget `predict` must be told by the page: which output its reader predicts, and what stands in it.

:::{live} predict
:name: gap

*Predict first:* the question.
:::

The block belongs to the next cell with an output. Without more it asks for a curve, drawn on the first axes of that
cell's figure, or on those with the number `axes`; `tools.axes` has kept in the output where they lie. With `low` and
`high` it asks for a number between them; the output's own is the first after the text `answer`. With a list it asks for
one of its items.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from live import Widget
from sphinx.application import Sphinx
from sphinx.util import logging

NUMBER = r"\D*?(-?\d+(?:\.\d+)?)"
SCALES = {"linear", "log"}  # those that the widget knows
logger = logging.getLogger(__name__)


def told(state: dict[str, Any], is_choice: bool, outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """What the widget needs beside the block's own options: the kind, and what it compares with.

    Args:
        state: the block's options.
        is_choice: whether it has a list.
        outputs: of the cell that answers, as a notebook keeps them.

    Raises:
        ValueError: if the outputs hold no such number, or no such axes.
    """
    if is_choice:
        return {"kind": "choice"}
    if "low" in state:
        printed = "".join("".join(output.get("text", "")) for output in outputs)
        found = re.search(re.escape(state["answer"]) + NUMBER, printed)
        if found is None:
            raise ValueError(f"the cell's output has no number after {state['answer']!r}")
        return {"kind": "number", "truth": found[1]}
    drawn = [text for output in outputs for text in output["metadata"].get("image/png", {}).get("axes", [])]
    number = state.get("axes", 0)
    if number >= len(drawn):
        raise ValueError(f"the cell's output tells of no axes {number}: run the chapter by `python -m tools.notebooks`")
    axes = json.loads(drawn[number])
    if not {axes["x"]["scale"], axes["y"]["scale"]} <= SCALES:
        raise ValueError(f"a curve is drawn on axes that are {' or '.join(sorted(SCALES))}")
    return {"kind": "curve", "axes": axes}


def complete(app: Sphinx, document: nodes.document) -> None:
    """Each block's state, and the mark by which the widget finds the output."""
    block = None
    for node in document.findall(nodes.Element):
        if isinstance(node, Widget) and node["widget"] == "predict":
            block = node
        elif block is not None and node.get("nb_element") == "cell_code_output":
            cells = json.loads(Path(app.env.doc2path(app.env.docname)).read_text())["cells"]
            outputs = cells[node.parent["cell_index"]]["outputs"]
            is_choice = next(block.findall(nodes.bullet_list), None) is not None
            try:
                block["state"] |= told(block["state"], is_choice, outputs)
            except ValueError as error:
                logger.warning("predict: %s", error, location=block)
            block["now"] = True  # or a reader sees the answer before the block
            node["ids"].append(f"answer-{block['state']['name']}")
            block = None


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("doctree-read", complete)
    return {"parallel_read_safe": True}
