"""A course from its release to its grades: whatever one submission does, all are graded, and what was wrong is said.

Every hostile submission is bounded, should the sandbox not hold: none touches more than 1 GiB or starts more than 400
processes, all of which end by themselves.
"""

from __future__ import annotations

import copy
import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

pytest.importorskip("nbgrader")

from rgd.course import EXERCISES
from rgd.course.commands import release
from rgd.course.grade import grade
from rgd.course.rebuild import Names, names, needed, rebuild
from rgd.course.sandbox import Limits, Sandbox, SandboxError, choose

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = {"04": "04_when_classifiers_lie", "10": "10_robust_training"}
LIE = CHAPTERS["04"]


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("course")
    release(tuple(CHAPTERS), folder)
    return folder


@pytest.fixture(scope="module")
def sandbox(course: Path) -> Sandbox:
    try:
        return choose(False, [course])
    except SandboxError as error:
        pytest.skip(str(error))


def students(course: Path, chapter: str = LIE) -> Any:
    return nbformat.read(course / "release" / chapter / f"{chapter}.ipynb", as_version=4)


def answers(notebook: Any) -> dict[str, Any]:
    """The answer cells by exercise."""
    marked = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    return {cell.metadata.nbgrader.grade_id: cell for cell in marked}


def solved(course: Path, chapter: str = LIE) -> Any:
    """What a student hands in who has everything right: the chapter's own solutions, in the student's notebook."""
    notebook = students(course, chapter)
    for cell in nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4).cells:
        told = cell.metadata.get("rgd", {})
        if cell.cell_type == "code" and told.get("part") == "solution":
            kept = [line for line in cell.source.splitlines() if not line.startswith("assert course.check")]
            answers(notebook)[told["exercise"]].source = "\n".join(kept)
    return notebook


def hand_in(path: Path, notebook: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(notebook if isinstance(notebook, str) else json.dumps(notebook))


def answering(source: str, exercise: str = "lie-square") -> Callable[[Any], Any]:
    def spoil(notebook: Any) -> Any:
        answers(notebook)[exercise].source = source
        return notebook

    return spoil


def without(part: str, exercise: str = "lie-square") -> Callable[[Any], Any]:
    def spoil(notebook: Any) -> Any:
        told = {"exercise": exercise, "part": part}
        notebook.cells = [c for c in notebook.cells if not told.items() <= dict(c.metadata.get("rgd", {})).items()]
        return notebook

    return spoil


def imports_nothing(notebook: Any) -> Any:
    notebook.cells = [cell for cell in notebook.cells if "import torch" not in cell.source]
    return notebook


def doubled(notebook: Any) -> Any:
    """The cell was copied, ids and all, and the copy emptied."""
    twin = copy.deepcopy(answers(notebook)["lie-square"])
    stub = (
        "def cosines(r):",
        '    """(cosine of an estimate to g, cosine between two estimates)."""',
        "    ...  # your answer",
    )
    twin.source = "\n".join(stub)
    notebook.cells.append(twin)
    return notebook


def renamed_ids(notebook: Any) -> Any:
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({"nbgrader": {"grade_id": "mine"}} if "nbgrader" in cell.metadata else {})
    return notebook


def without_marks(notebook: Any) -> Any:
    """As another program may have saved it."""
    for number, cell in enumerate(notebook.cells):
        cell.metadata, cell.id = nbformat.from_dict({}), f"new-{number}"
    notebook.metadata = nbformat.from_dict({})
    return notebook


def changed_test(notebook: Any) -> Any:
    for cell in notebook.cells:
        if cell.metadata.get("rgd", {}).get("part") == "test":
            cell.source = "100.0"
    return notebook


def helped(notebook: Any) -> Any:
    """The answer calls what a cell of the student's own defines."""
    own = nbformat.v4.new_code_cell("def length(r):\n    return (1 + r**2) ** 0.5")
    place = notebook.cells.index(answers(notebook)["lie-square"])
    notebook.cells.insert(place, own)
    return answering("def cosines(r):\n    return 1 / length(r), 1 / length(r) ** 2")(notebook)


def other(key: str, value: str) -> Callable[[Any], Any]:
    def spoil(notebook: Any) -> Any:
        notebook.metadata.rgd[key] = value
        return notebook

    return spoil


SQUARE = "def cosines(r):\n    return 1 / (1 + r**2) ** 0.5, 1 / (1 + r**2)\n"
BREED = "import os, time\nfor _ in range(400):\n    if os.fork() == 0:\n        time.sleep(20)\n        os._exit(0)\n"
ALLOCATE = "import numpy\nheld = [numpy.empty(2**28, numpy.uint8) for _ in range(40)]\n"  # none of it is touched
WRITE = "import os\nfor fd in range(3, 60):\n    try: os.write(fd, b'x')\n    except OSError: pass\n"
# By name: what is done to a right submission, whether lie-square is lost by it, and what is said of it.
HOSTILE: dict[str, tuple[Callable[[Any], Any], bool, str]] = {
    "exits": (answering("import os\nos._exit(0)"), True, "lie-square: Stopped: ended the process"),
    "exits when asked": (answering("def cosines(r):\n    import os\n    os._exit(0)"), True, "ended the process"),
    "raises": (answering("raise RuntimeError('no')"), True, "lie-square: RuntimeError: no"),
    "raises when asked": (answering("def cosines(r):\n    raise KeyboardInterrupt"), True, "lie-square: "),
    "syntax": (answering("def cosines(r:"), True, "lie-square: SyntaxError"),
    "loops": (answering("while True: pass"), True, "lie-square: Stopped: ran for more than 8 seconds"),
    "loops when asked": (answering("def cosines(r):\n    while True: pass"), True, "ran for more than"),
    "prints much": (answering("for _ in range(100_000): print('x' * 1000)\n" + SQUARE), False, ""),
    "breeds": (answering(BREED + SQUARE), True, ""),
    "allocates": (answering(ALLOCATE + SQUARE), True, "lie-square: Stopped: took more memory than there is"),
    "writes past Python": (answering(WRITE + SQUARE), False, ""),
    "imports nothing": (imports_nothing, False, "was missing: put back"),
    "no answer cell": (without("answer"), True, "the answer cell of lie-square is missing"),
    "no test cell": (without("test"), False, "the test of lie-square was missing: put back"),
    "doubled": (doubled, False, "lie-square has 2 answer cells"),
    "renamed ids": (renamed_ids, False, ""),
    "without marks": (without_marks, False, "found by the names that it defines"),
    "changed tests": (changed_test, False, "the test of lie-square was changed: put back"),
    "monkeypatched": (
        answering("def cosines(r):\n    return 0\nimport rgd.course\nrgd.course.points = lambda *a, **k: 3.0\n"
                  "rgd.course.task.points = course.points = rgd.course.points"), True, "",
    ),
    "helped": (helped, False, ""),
    "other release": (other("release", "0123456789ab"), False, "from another release (0123456789ab)"),
}  # fmt: skip
UNREADABLE = {
    "not json": ("{'cells': [", "is not a notebook"),
    "empty": ("", "is empty"),
    "no cells": (json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), "has no cells"),
    "a list": ("[1, 2]", "is not a notebook"),
    "deep": ("[" * 100_000, "is not a notebook"),
}


def hostile(course: Path, folder: Path) -> None:
    """A folder of everything at once."""
    for name, (spoil, _, _) in HOSTILE.items():
        hand_in(folder / f"{name}.ipynb", spoil(solved(course)))
    for name, (text, _) in UNREADABLE.items():
        hand_in(folder / f"{name}.ipynb", text)
    hand_in(folder / "other chapter.ipynb", other("chapter", "07_from_noise_to_images")(solved(course)))
    hand_in(folder / "renamed" / "final FINAL (2).ipynb", solved(course))
    hand_in(folder / "twice.ipynb", students(course))
    hand_in(folder / "twice (1).ipynb", solved(course))
    os.utime(folder / "twice.ipynb", (1e9, 1e9))
    (folder / "nothing").mkdir()
    hand_in(folder / "both chapters" / "a.ipynb", solved(course))
    hand_in(folder / "both chapters" / "b.ipynb", solved(course, CHAPTERS["10"]))


LIMITS = Limits(cell=8, seconds=180)


@pytest.fixture(scope="module")
def graded(course: Path, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Any]:
    folder = tmp_path_factory.mktemp("submissions")
    hostile(course, folder)
    rows = grade(folder, course, sandbox, LIMITS, False, print)
    return {(row["student"], row["chapter"]): row for row in rows}


def most(chapter: str) -> dict[str, float]:
    return {name: float(e.points) for name, e in EXERCISES.items() if e.chapter == int(chapter[:2])}


@pytest.mark.check
@pytest.mark.timeout(1500)
class TestHostile:
    @pytest.mark.parametrize("name", HOSTILE)
    def test_each_is_graded_and_what_was_wrong_is_said(self, graded: dict[tuple[str, str], Any], name: str) -> None:
        _, lost, said = HOSTILE[name]
        row = graded[name, LIE]
        if name != "breeds":  # the sandbox may stop it before it has bred, or after
            assert row["points"] == most(LIE) | ({"lie-square": 0.0} if lost else {}), row["remarks"]
        assert said in "; ".join(row["remarks"])

    @pytest.mark.parametrize("name", UNREADABLE)
    def test_what_cannot_be_read_is_reported(self, graded: dict[tuple[str, str], Any], name: str) -> None:
        assert UNREADABLE[name][1] in "; ".join(graded[name, ""]["remarks"])

    def test_what_a_file_is_called_does_not_matter(self, graded: dict[tuple[str, str], Any]) -> None:
        assert graded["renamed", LIE]["points"] == most(LIE)
        for chapter in CHAPTERS.values():
            assert graded["both chapters", chapter]["points"] == most(chapter)
        assert graded["twice", LIE]["points"] == most(LIE)
        assert "handed in twice" in str(graded["twice", LIE]["remarks"])
        assert "07_from_noise_to_images, which is not released" in str(graded["other chapter", ""]["remarks"])
        assert "no notebook" in str(graded["nothing", ""]["remarks"])

    def test_students_see_neither_the_seed_nor_the_hidden_tests(
        self, graded: dict[tuple[str, str], Any], course: Path
    ) -> None:
        pages = [course / "feedback" / name / ch / f"{ch}.html" for name, ch in graded if ch]
        assert not [page for page in pages if "course.points(" in page.read_text() or "seed=" in page.read_text()]

    def test_all_are_in_the_table(self, graded: dict[tuple[str, str], Any], course: Path) -> None:
        with (course / "grades.csv").open() as file:
            rows = {(row["student"], row["chapter"]): row for row in csv.DictReader(file)}
        assert graded.keys() <= rows.keys()
        assert float(rows["renamed", LIE]["total"]) == sum(most(LIE).values())


@pytest.mark.check
@pytest.mark.timeout(1200)
def test_forty_at_once_and_once_more(
    course: Path, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = answering("def cosines(r):\n    return 1, 1")
    for k in range(40):
        hand_in(tmp_path / f"student {k}.ipynb", "" if k % 4 else wrong(solved(course)))
    rows = grade(tmp_path, course, sandbox, Limits(cell=30), False, print)
    assert len(rows) == 40
    assert [row["student"] for row in rows if row["points"]] == sorted(f"student {k}" for k in range(0, 40, 4))
    # The teacher gives one of them more by hand; then another hands in anew, and that one alone is run.
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        mark = book.find_grade("lie-square-test", LIE, LIE, "student 0")
        mark.manual_score = 1.5
        book.db.commit()
    hand_in(tmp_path / "student 4.ipynb", solved(course))
    said: list[str] = []
    points = {
        row["student"]: row["points"] for row in grade(tmp_path, course, sandbox, Limits(cell=30), False, said.append)
    }
    assert said[0].startswith("1 to grade, 39")
    assert points["student 0"]["lie-square"] == 1.5
    assert points["student 4"] == most(LIE)


def test_of_a_submission_nothing_but_answers_is_taken(course: Path) -> None:
    source = nbformat.read(course / "source" / LIE / f"{LIE}.ipynb", as_version=4)
    given = changed_test(helped(solved(course)))
    given.cells[0].source = "<script>alert(1)</script>"
    rebuilt = rebuild(given, source)
    sources = [cell.source for cell in rebuilt.notebook.cells]
    assert sources.count("def length(r):\n    return (1 + r**2) ** 0.5") == 1
    assert not [text for text in sources if "<script" in text or text == "100.0"]
    assert {cell.source for cell in source.cells if "nbgrader" not in cell.metadata} <= {*sources}
    run = [cell.source for cell in rebuilt.notebook.cells if cell.id in rebuilt.run]
    assert any("def length" in text for text in run)
    assert not [text for text in run if "twins" in text]  # nothing is trained again


def test_names_are_those_of_the_page() -> None:
    here = names(
        "import a.b\nx, y[0] = f(z)\nresults[k] = 1\n%matplotlib inline\n"
        "def g(q):\n    w = h(q) if q else g(1)\n    return w"
    )
    assert {"a", "x", "g", "results"} <= here.bound
    assert here.defined == {"a", "g"}
    assert {"f", "z", "h"} <= here.used
    assert not {"q", "w"} & (here.bound | here.used)
    assert "g" not in here.used, "it is the cell's own"
    assert names("def f(:") == Names()
    cells = [nbformat.v4.new_code_cell(text) for text in ("a = 1", "b = 2", "c = a", "answer = c")]
    cells[-1].metadata["nbgrader"] = nbformat.from_dict({"grade": True})
    assert needed(cells) == [cells[k].id for k in (0, 2, 3)]
    cells[-1].source = "def a():\n    return c"
    cells[1].source = "c = a()"  # of the page; the answer's own function of that name comes later
    cells[2].source = "def c():\n    return 1"
    assert needed(cells) == [cells[k].id for k in (2, 3)], "what is defined anew needs nothing that stood there before"


@pytest.mark.parametrize("name", CHAPTERS.values())
def test_the_rubric_names_every_check_and_the_bank(course: Path, name: str) -> None:
    text = (course / "teacher" / name / f"{name}.ipynb").read_text()
    bank = [line for line in (ROOT / "course/wrong" / f"{name}.py").read_text().splitlines() if line.startswith("# %%")]
    assert bank
    assert not [line for line in bank if json.dumps(line.split(" | ")[1])[1:-1] not in text]
    for exercise in most(name):
        checks = EXERCISES[exercise].checks
        for check in checks:
            assert f"- {EXERCISES[exercise].points / len(checks):.3g} points: {check}" in text
        assert f"{EXERCISES[exercise].minutes} minutes" in text
    slides = (course / "teacher" / name / f"{name}.slides.html").read_text()
    assert slides.count("<section") > 10
