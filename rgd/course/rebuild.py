"""A submission, put back together: the cells of the release, with the student's answers in them."""

from __future__ import annotations

import copy
import json
import re
import symtable
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

from rgd.errors import RgdError

HIDDEN = re.compile(r"(?ms)^### BEGIN HIDDEN TESTS\n.*?^### END HIDDEN TESTS\n?")
MOST_BYTES = 50 * 2**20
SET_ITEM = re.compile(r"^\s*(\w+)\[[^=\n]*\]\s*=", re.MULTILINE)


class SubmissionError(RgdError, ValueError):
    """What was handed in cannot be graded; it says why."""


@dataclass(frozen=True)
class Rebuilt:
    """The notebook that is graded, the ids of the cells to run in it, and what had to be put back."""

    notebook: Any
    run: list[str]
    remarks: list[str]


def read(path: Path) -> Any:
    """A notebook that somebody else wrote, of any format.

    Raises:
        SubmissionError: if it is none.
    """
    size = path.stat().st_size
    if not size or size > MOST_BYTES:
        raise SubmissionError(f"{path.name} is {'empty' if not size else f'larger than {MOST_BYTES:,} bytes'}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of doubled ids
            notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        sources = [cell.source for cell in notebook.cells if isinstance(cell.metadata, dict)]
        json.dumps(sources).encode()
    except Exception as error:  # whatever its bytes do to the readers
        raise SubmissionError(f"{path.name} is not a notebook ({type(error).__name__})") from error
    if not any(map(str.strip, map(str, sources))):
        raise SubmissionError(f"{path.name} has no cells")
    return notebook


def visible(source: str) -> str:
    """A cell without its hidden tests."""
    return HIDDEN.sub("", source).strip()


@dataclass(frozen=True)
class Names:
    """The names that a cell binds on the page, those of them that need nothing of what stood there (a `def`, a `class`,
    an `import`), and those that it uses of what stood there."""

    bound: frozenset[str] = frozenset()
    defined: frozenset[str] = frozenset()
    used: frozenset[str] = frozenset()


def names(source: str) -> Names:
    """Those of a cell; none if it is not Python."""
    try:
        table = symtable.symtable(TransformerManager().transform_cell(source), "cell", "exec")
    except Exception:  # its error is shown when it runs
        return Names()
    top = table.get_symbols()
    bound = {name.get_name() for name in top if name.is_assigned() or name.is_imported()}
    defined = {name.get_name() for name in top if name.is_namespace() or name.is_imported()}
    used, todo = {name.get_name() for name in top if name.is_referenced()}, table.get_children()
    while todo:
        this = todo.pop()
        todo += this.get_children()
        here = {name.get_name() for name in this.get_symbols() if name.is_referenced() and name.is_global()}
        used |= here - defined  # a function looks its names up when it is called: the cell's own come first
    return Names(frozenset(bound | {*SET_ITEM.findall(source)}), frozenset(defined), frozenset(used))


def needed(cells: Sequence[Any]) -> list[str]:
    """The ids of the cells that answers and tests need, themselves among them, by the names that they use."""
    run, wanted = list[str](), frozenset[str]()
    for cell in reversed([cell for cell in cells if cell.cell_type == "code"]):
        here = names(visible(cell.source))
        if "nbgrader" in cell.metadata or cell.metadata.get("rgd", {}).get("part") == "given" or here.bound & wanted:
            run.append(cell.id)
            wanted = wanted - here.defined | here.used
    return run[::-1]


def _by_key(given: Any, known: dict[str, Any]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What the student has in each of the release's cells, and the student's own code cells by the cell before them."""
    ids = {cell.metadata["nbgrader"]["grade_id"]: key for key, cell in known.items() if "nbgrader" in cell.metadata}
    found, own, last = dict[str, list[str]](), dict[str, list[str]](), ""
    for cell in given.cells:
        told, mark = (cell.metadata.get(name) for name in ("rgd", "nbgrader"))
        keys = [told.get("cell") if isinstance(told, dict) else None, cell.get("id")]
        keys.append(ids.get(str(mark.get("grade_id"))) if isinstance(mark, dict) else None)
        key = next((key for key in keys if isinstance(key, str) and key in known), None)
        if key is not None:
            found.setdefault(key, []).append(str(cell.source))
            last = key
        elif cell.cell_type == "code":
            own.setdefault(last, []).append(str(cell.source))
    return found, own


def _answer(cell: Any, texts: list[str], own: dict[str, list[str]], remarks: list[str]) -> str:
    """The student's answer to one exercise."""
    name, stub = cell.metadata["nbgrader"]["grade_id"], cell.source
    if not texts:
        defined = names(stub).bound
        same = [(place, text) for place, many in own.items() for text in many if defined <= names(text).bound]
        if not same:
            remarks.append(f"the answer cell of {name} is missing: an empty one was put back")
            return stub
        place, text = same[-1]
        own[place].remove(text)
        remarks.append(f"the answer to {name} was found by the names that it defines")
        return text
    if len(texts) > 1:
        remarks.append(f"{name} has {len(texts)} answer cells: the last that is not empty is graded")
    return ([text for text in texts if text.strip() != stub.strip()] or texts)[-1]


def rebuild(given: Any, source: Any) -> Rebuilt:
    """A submission as it is graded. Of the student's there are the answers, and own code cells where they stood; the
    rest is the teacher's, whatever was done to it.

    Args:
        given: of `read`.
        source: the notebook of the release that has the hidden tests.
    """
    known, remarks, cells = {cell.id: cell for cell in source.cells}, list[str](), list[Any]()
    found, own = _by_key(given, known)
    theirs, ours = given.metadata.get("rgd"), source.metadata["rgd"]["release"]
    theirs = theirs.get("release") if isinstance(theirs, dict) else None
    if theirs != ours:
        remarks.append(f"from another release ({str(theirs)[:12]}) than this one ({ours})")
    changed: dict[str, str] = {}
    for cell in copy.deepcopy(source.cells):
        texts = found.get(cell.id, [])
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = _answer(cell, texts, own, remarks)
        elif len(texts) != 1 or visible(texts[0]) != visible(cell.source):
            changed[cell.id] = "missing" if not texts else "doubled" if len(texts) > 1 else "changed"
        cells.append(cell)
    notebook = nbformat.v4.new_notebook(metadata=copy.deepcopy(source.metadata))
    for place, cell in [("", None), *((cell.id, cell) for cell in cells)]:
        notebook.cells += [] if cell is None else [cell]
        notebook.cells += [nbformat.v4.new_code_cell(text) for text in own.get(place, [])]
    run = needed(notebook.cells)
    said = [f"{_called(known[key])} was {how}: put back" for key, how in changed.items() if key in run]
    return Rebuilt(notebook, run, remarks + said[:4] + ([f"and {len(said) - 4} more"] if len(said) > 4 else []))


def _called(cell: Any) -> str:
    mark = cell.metadata.get("nbgrader")
    lines = [line for line in cell.source.splitlines() if line.strip()] or [""]
    return f"the test of {mark['grade_id'].removesuffix('-test')}" if mark else f"the cell `{lines[-1][:40]}`"
