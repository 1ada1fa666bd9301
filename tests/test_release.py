"""What students get holds nothing of a solution and nothing of the seed; what grades them gives the points."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from rgd.course.release import ReleaseError, private_seed, release, solutions

ROOT = Path(__file__).resolve().parent.parent
CHAPTER = ROOT / "notebooks" / "04_when_classifiers_lie.ipynb"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("course")
    for number in ("04_when_classifiers_lie", "10_robust_training"):
        release(ROOT / "notebooks" / f"{number}.ipynb", folder, ROOT / "book")
    return folder


@pytest.mark.parametrize("name", ["04_when_classifiers_lie", "10_robust_training"])
def test_nothing_of_a_solution_is_given_away(out: Path, name: str) -> None:
    chapter = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    given = (out / "release" / name / f"{name}.ipynb").read_text()
    assert "HIDDEN" not in given
    assert "course.points" not in given
    assert private_seed(out) not in given
    cells = nbformat.read(out / "release" / name / f"{name}.ipynb", as_version=4).cells
    text = "\n".join(cell.source for cell in cells)
    stub = "\n".join(c.source for c in chapter.cells if c.metadata.get("rgd", {}).get("part") != "solution")
    prose = [line for line in solutions(chapter) if len(line.split()) > 5 and line not in stub]
    assert prose
    assert not [line for line in prose if line in text]
    assert ":::" not in text
    assert "{cite" not in text


def test_the_seed_is_made_once_and_is_the_owners(out: Path) -> None:
    assert private_seed(out) == private_seed(out)
    assert (out / "seed").stat().st_mode & 0o077 == 0


def test_the_graded_cell_gives_a_float_whatever_an_answer_did_to_the_checks(out: Path) -> None:
    name = CHAPTER.stem
    cells = nbformat.read(out / "source" / name / f"{name}.ipynb", as_version=4).cells
    (test,) = (c.source for c in cells if c.metadata.get("nbgrader", {}).get("grade_id") == "lie-square-test")
    *lines, last = test.replace("### END HIDDEN TESTS", "").strip().splitlines()
    last, lines = (last, lines) if last.startswith("course") else (lines[-1], lines[:-1])
    from rgd import course

    page = {"course": course, "cosines": lambda r: (0.0, 0.0)}
    spoiled, course.points = course.points, lambda *args, **kwargs: 100.0
    try:
        exec("\n".join(lines), page)
        assert type(got := eval(last, page)) is float
        assert got < 100
        page["cosines"] = lambda r: (1 / (1 + r**2) ** 0.5, 1 / (1 + r**2))
        assert eval(last, page) == course.EXERCISES["lie-square"].points
    finally:
        course.points = spoiled


def test_a_chapter_whose_cells_say_nothing_is_refused(tmp_path: Path) -> None:
    """As a teacher's own chapter may be."""
    notebook = nbformat.read(CHAPTER, as_version=4)
    for cell in notebook.cells:
        cell.metadata.pop("rgd", None)
    nbformat.write(notebook, tmp_path / CHAPTER.name)
    with pytest.raises(ReleaseError, match=f"the cells of {CHAPTER.stem} do not say"):
        release(tmp_path / CHAPTER.name, tmp_path, ROOT / "book")
