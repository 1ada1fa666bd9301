"""Every notebook is a test of `make check`, which shows too that no figure has a kind's colour on something else."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

ROOT = Path(__file__).resolve().parent.parent
WATCH = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tools import colours; _strangers = colours.watch()"
VERDICT = "assert not _strangers, _strangers"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks cells, and adds one before the first of each notebook and one after its last."""
    notebooks = dict.fromkeys(item.parent for item in items if isinstance(item.parent, IPyNbFile))
    for notebook in notebooks:
        places = [place for place, item in enumerate(items) if item.parent is notebook]
        items.insert(places[-1] + 1, _cell(notebook, "colours kept", len(places), VERDICT))
        items.insert(places[0], _cell(notebook, "colours watched", -1, WATCH))
    for item in items:
        if isinstance(item.parent, IPyNbFile):
            item.add_marker("check")


def _cell(notebook: IPyNbFile, name: str, number: int, source: str) -> IPyNbCell:
    cell = nbformat.v4.new_code_cell(source)
    options = {"check": False, "skip": False}
    return IPyNbCell.from_parent(notebook, name=name, cell_num=number, cell=cell, options=options)
