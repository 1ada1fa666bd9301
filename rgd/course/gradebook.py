"""What nbgrader does here: a release without hidden tests, a gradebook, and feedback as HTML. It runs no cell."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbgrader import preprocessors as steps
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import Autograde, GenerateAssignment, GenerateFeedback
from nbgrader.coursedir import CourseDirectory
from traitlets.log import get_logger

from rgd.errors import RgdError

MAKE = [steps.LockCells, steps.CheckCellMetadata, steps.ComputeChecksums, steps.SaveCells]
MAKE += [steps.ClearHiddenTests, steps.ComputeChecksums, steps.CheckCellMetadata]


class GradebookError(RgdError, RuntimeError):
    """nbgrader refuses; it says why."""


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
    """nbgrader logs why it fails, and raises that it has logged it; here the reason is raised."""
    log: Any = get_logger()
    logged = list[str]()
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: logged.append(record.getMessage().strip())  # type: ignore[method-assign]
    before, log.handlers, above, log.propagate = log.handlers, [handler], log.propagate, False
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{path}"  # it calls `alembic` by this name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its queries
            yield
    except (Exception, SystemExit) as error:
        lines = [said.splitlines()[-1] for said in logged if "Traceback" in said]
        raise GradebookError(f"nbgrader: {lines[0] if lines else error}") from error
    finally:
        os.environ["PATH"] = path
        log.handlers, log.propagate = before, above


def _folder(course: Path, chapter: str, student: str = "*") -> CourseDirectory:
    return CourseDirectory(root=str(course), assignment_id=chapter, student_id=student)


def generate(course: Path, chapter: str) -> Path:
    """Make `release/CH/CH.ipynb` from `source/CH/CH.ipynb`, and tell the gradebook what can be earned.

    Raises:
        GradebookError: if exercises came or went since somebody was graded, for one.
    """
    with _reasons():
        GenerateAssignment(coursedir=_folder(course, chapter), preprocessors=MAKE, force=True).start()
    return course / "release" / chapter / f"{chapter}.ipynb"


def record(course: Path, chapter: str, student: str, executed: Any) -> dict[str, float]:
    """Keep a notebook that has been run, its points, and its feedback; of the teacher's own scores and comments
    nothing is lost. Returns what each exercise is worth then.

    Raises:
        GradebookError: see `generate`.
    """
    path = course / "submitted" / student / chapter / f"{chapter}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(executed, path)
    folder = _folder(course, chapter, student)
    saved: Any = {
        "sanitize_preprocessors": [],
        "autograde_preprocessors": [steps.SaveAutoGrades, steps.ClearHiddenTests],
    }
    with _reasons():
        Autograde(coursedir=folder, force=True, **saved).start()
        GenerateFeedback(coursedir=folder, force=True).start()
    return scores(course, chapter, student)


def scores(course: Path, chapter: str, student: str) -> dict[str, float]:
    """What the gradebook says of one student: points by exercise, the teacher's own where there are such."""
    folder = _folder(course, chapter)
    with Gradebook(folder.db_url) as book, contextlib.suppress(MissingEntry):
        grades = book.find_submission_notebook(chapter, chapter, student).grades
        return {grade.name.removesuffix("-test"): float(grade.score) for grade in grades}
    return {}
