"""The commands `rgd course release` and `rgd course grade`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Union

import tyro

import rgd
from rgd.errors import RgdError
from rgd.lab.checks import numbers

BOOK = Path(rgd.__file__).resolve().parent.parent
Positional = tyro.conf.Positional


def _tools() -> tuple[Any, Any, Any, Any]:
    """What needs the extra `course`, which those who read the book can do without."""
    try:
        from rgd.course import grade, release, sandbox, teacher
    except ImportError as error:
        raise ImportError(f"{error}; courses need `pip install 'robust-guidance[course]'`") from error
    return release, teacher, grade, sandbox


def release(chapters: Annotated[tuple[str, ...], Positional], out: Path = Path("course")) -> None:
    """Make a chapter's notebook for students, the one that grades it, and the teacher's edition with slides.

    Args:
        chapters: their numbers, such as 04, or notebooks.
        out: the folder of the course. Its seed and its folders `source` and `teacher` are for the teacher alone.
    """
    releasing, teacher, _, _ = _tools()
    for name in chapters:
        found = [Path(name)] if name.endswith(".ipynb") else sorted(BOOK.glob(f"notebooks/{name.zfill(2)}_*.ipynb"))
        if len(found) != 1 or not found[0].is_file():
            raise RgdError(f"there is no chapter {name!r} in {BOOK / 'notebooks'}; releases are made in a clone")
        students = releasing.release(found[0].resolve(), out.resolve(), BOOK / "book")
        teachers = teacher.teach(found[0].resolve(), out.resolve(), BOOK)
        print(f"for students  {students}\nfor teachers  {teachers}, with slides beside it")


def grade(
    submissions: Annotated[Path, Positional], course: Path = Path("course"), cell: float = 30.0, again: bool = False,
    trust: bool = False,
) -> None:  # fmt: skip
    """Grade a folder of NAME.ipynb, or of NAME/anything.ipynb. Stop it with Ctrl-C; the same command goes on.

    Args:
        submissions: the folder.
        course: where `rgd course release` put its files; `grades.csv` and `feedback` are written there.
        cell: seconds that one cell may take.
        again: run all again, also what has not changed.
        trust: run students' code even where this machine cannot hold it.
    """
    if not submissions.is_dir():
        raise RgdError(f"{submissions} is no folder: name the one that the submissions are in")
    numbers(1, cell=cell)
    _, _, grading, sandbox = _tools()
    held, limits = sandbox.choose(trust, [course.resolve(), submissions.resolve()]), sandbox.Limits(cell=cell)
    rows = grading.grade(submissions.resolve(), course.resolve(), held, limits, again, print)
    print(
        f"\n{grading.summary(rows)}\n\nThe grades are {course / 'grades.csv'}, the feedback is in {course / 'feedback'}"
    )


_STEPS = [Annotated[Any, tyro.conf.subcommand(name=f.__name__, constructor=f)] for f in (release, grade)]


def course(step: tyro.conf.OmitSubcommandPrefixes[tyro.conf.OmitArgPrefixes[Union[tuple(_STEPS)]]]) -> None:  # type: ignore # noqa: UP007
    """For teachers: make notebooks of a chapter for students, and grade what they hand in."""
