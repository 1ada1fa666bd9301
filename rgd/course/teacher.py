"""The teacher's edition of a chapter: solutions, what they are worth, common wrong answers; and slides of it."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from nbconvert import SlidesExporter

from rgd.course.plain import reader
from rgd.course.release import START, title
from rgd.course.task import EXERCISES
from rgd.training.checkpoints import write_atomic

WRONG = re.compile(r"^# %% (\S+) \| (.*?) \|.*\n((?:(?!# %%).*\n?)*)", re.MULTILINE)


def rubric(name: str, wrong: str) -> str:
    """What one exercise is graded by: its checks, and what to look out for."""
    exercise = EXERCISES[name]
    checks = exercise.checks
    each = exercise.points / len(checks)
    lines = [f"**Rubric.** {exercise.points} points, about {exercise.minutes} minutes.", ""]
    lines += [f"- {each:.3g} points: {check}" for check in checks]
    bank = [(said, code) for of, said, code in WRONG.findall(wrong) if of == name]
    lines += ["", "**Common wrong answers.**", ""] if bank else []
    lines += [f"- {said}\n\n```python\n{code.strip()}\n```\n" for said, code in bank]
    return "\n".join(lines)


def teach(chapter: Path, out: Path, book: Path) -> Path:
    """Write `teacher/CH/CH.ipynb` and `CH.slides.html`; returns the former.

    Args:
        chapter: its notebook, with its outputs.
        out: the course's folder.
        book: the clone, for references and the bank of wrong answers.
    """
    notebook, name = nbformat.read(chapter, as_version=4), chapter.stem
    plain = reader(chapter.parent, book / "book" / "references.bib")
    bank = book / "course" / "wrong" / f"{name}.py"
    wrong, cells = bank.read_text() if bank.exists() else "", []
    for cell in notebook.cells:
        told, prose = cell.metadata.get("rgd", {}), cell.cell_type == "markdown"
        if prose:
            text = START.sub(title, cell.source)
            text = re.sub(r"(?m)^:::\{solution-start\}.*\n(?::.*\n)*?:::$", "**Solution.**", text)
            cell.source = plain(text)
        shown = prose or told.get("part") == "solution" or bool(cell.outputs)
        kind = "slide" if prose and re.search(r"(?m)^#", cell.source) else "subslide" if shown else "skip"
        cell.metadata = nbformat.from_dict({"slideshow": {"slide_type": kind}})
        cells += [cell] if cell.source else []
        if told.get("part") == "solution" and not prose and told["exercise"] in EXERCISES:
            said = nbformat.v4.new_markdown_cell(rubric(told["exercise"], wrong))
            said.metadata = nbformat.from_dict({"slideshow": {"slide_type": "notes"}})
            cells.append(said)
    notebook.cells = cells
    notebook.metadata.pop("widgets", None)
    path = out / "teacher" / name / f"{name}.ipynb"
    write_atomic(path, (nbformat.writes(notebook) + "\n").encode())
    slides = SlidesExporter(reveal_scroll=True).from_notebook_node(notebook)[0]
    write_atomic(path.with_suffix(".slides.html"), slides.encode())
    return path
