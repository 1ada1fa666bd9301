"""`rgd course release`: from a chapter, the notebook that students get, and the one that grades them."""

from __future__ import annotations

import copy
import hashlib
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat

from rgd.course.gradebook import generate
from rgd.course.plain import reader
from rgd.course.rebuild import visible
from rgd.course.task import EXERCISES
from rgd.errors import RgdError
from rgd.training.checkpoints import write_atomic

SOLUTION = re.compile(r"^:::\{solution-start\}.*?^:::\{solution-end\}.*?^:::$", re.MULTILINE | re.DOTALL)
START = re.compile(r"^:::\{exercise-start\} (.*)\n:label: ex-(\S+)\n:::$", re.MULTILINE)
HIDDEN = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"


class ReleaseError(RgdError, ValueError):
    """A chapter that cannot be released as it is."""


def private_seed(course: Path) -> str:
    """The teacher's seed: made once, in the course's folder, for the eyes of its owner."""
    path = course / "seed"
    if not path.exists():
        course.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(16) + "\n")
    return path.read_text().strip()


def graded_test(visible: str, name: str, seed: str) -> str:
    """A test cell that ends in what nbgrader reads: the points, at the seed of this one exercise. It imports the checks
    anew, so that what an answer has done to them is undone; it uses no name that an answer may have taken."""
    own = hashlib.sha256(f"{seed} {name}".encode()).hexdigest()[:16]
    call = visible.rstrip(";").replace("course.check(", "course.points(", 1)
    anew = "import sys\nfor module in [*sys.modules]:\n    if module.startswith('rgd.course'):\n"
    anew += "        del sys.modules[module]\nimport rgd.course\nfrom rgd import course"
    hide = "\n".join((HIDDEN[0], "{}", HIDDEN[1]))
    return "\n".join((hide.format(anew), visible, hide.format(f'{call[:-1]}, seed="{own}")')))


def solutions(notebook: Any) -> list[str]:
    """Every line of a chapter's solutions, code and prose."""
    joined = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = [line for part in SOLUTION.findall(joined) for line in part.splitlines()]
    code = [cell.source for cell in notebook.cells if cell.metadata.get("rgd", {}).get("part") == "solution"]
    return [line.strip() for line in [*found, *"\n".join(code).splitlines()] if line.strip()]


def edition(notebook: Any, chapter: str, seed: str, plain: Callable[[str], str]) -> Any:
    """The notebook that nbgrader starts from: the student's, with the hidden tests.

    Raises:
        ReleaseError: if no cell says which exercise it belongs to, or of an exercise that nothing checks.
    """
    new = copy.deepcopy(notebook)
    cells, inside = [], False
    for cell in new.cells:
        told = cell.metadata.get("rgd", {})
        name, part = told.get("exercise"), told.get("part")
        cell.metadata = nbformat.from_dict({"rgd": {**told, "cell": cell.id}})
        if cell.cell_type == "markdown":
            kept = []
            for piece in re.split(r"(?m)^(:::\{solution-(?:start|end)\}[^\n]*\n(?::[^\n]*\n)*?:::)$", cell.source):
                if piece.startswith(":::{solution-"):
                    inside = piece.startswith(":::{solution-start")
                elif not inside:
                    kept.append(piece)
            cell.source = plain(START.sub(title, "".join(kept)))
            cells += [cell] if cell.source else []
            continue
        if part == "solution":
            continue
        if part in ("given", "answer", "test"):
            cell.outputs, cell.execution_count = [], None
        if part in ("answer", "test"):
            if name not in EXERCISES:
                raise ReleaseError(f"{chapter} has the exercise {name!r}, which rgd.course does not know how to check")
            marks = {"schema_version": 3, "solution": part == "answer", "grade": part == "test", "task": False}
            cell.metadata["nbgrader"] = marks | {"locked": part == "test", "grade_id": name}
            if part == "test":
                cell.metadata["nbgrader"] |= {"grade_id": f"{name}-test", "points": EXERCISES[name].points}
                cell.source = graded_test(cell.source.strip(), name, seed)
        cells.append(cell)
    if not any("nbgrader" in cell.metadata for cell in cells):
        raise ReleaseError(f"the cells of {chapter} do not say which exercise they belong to (metadata `rgd`)")
    new.cells = cells
    identity = hashlib.sha256("\0".join(cell.source for cell in cells).encode()).hexdigest()[:12]
    new.metadata.pop("widgets", None)
    new.metadata["rgd"] = {"release": identity, "chapter": chapter}
    return new


def title(match: re.Match[str]) -> str:
    """What an exercise is headed by, in place of its directive."""
    words, name = match.groups()
    if name not in EXERCISES:
        return f"### Exercise: {words}"
    this = EXERCISES[name]
    return f"### Exercise: {words}\n\n*{this.points} points, about {this.minutes} minutes.*"


def release(chapter: Path, out: Path, book: Path) -> Path:
    """Write `source/CH/CH.ipynb`, with the hidden tests, and from it `release/CH/CH.ipynb`, for students.

    Args:
        chapter: its notebook.
        out: the course's folder; what is in it of other chapters stays.
        book: the folder of the book, where references.bib is.

    Raises:
        ReleaseError: if the chapter cannot be graded, or a line of a solution is left in what students get.
    """
    notebook, name = nbformat.read(chapter, as_version=4), chapter.stem
    graded = edition(notebook, name, private_seed(out), reader(chapter.parent, book / "references.bib"))
    text = "\n".join(visible(cell.source) for cell in graded.cells)
    source = "\n".join(cell.source for cell in notebook.cells if cell.metadata.get("rgd", {}).get("part") != "solution")
    source = SOLUTION.sub("", source)
    left = [line for line in solutions(notebook) if len(line.split()) > 4 and line in text and line not in source]
    if left:
        raise ReleaseError(f"{name}: a line of a solution is left in what students get: {left[0]!r}")
    nbformat.validate(graded)
    write_atomic(out / "source" / name / f"{name}.ipynb", (nbformat.writes(graded) + "\n").encode())
    return generate(out, name)
