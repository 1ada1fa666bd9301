"""The teacher's guide and the capstones: minutes counted as they are said to be, and nothing of a chapter left out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rgd.course import EXERCISES
from tools import fill, teaching

ROOT = Path(__file__).resolve().parent.parent
GUIDE, CAPSTONES = ((ROOT / "book" / f"{name}.md").read_text() for name in ("teachers_guide", "capstones"))
CHAPTERS = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
STARTERS = sorted(path for path in (ROOT / "course" / "capstones").glob("*.py") if path.stem != "keep")


def cell(kind: str, source: str, *printed: str) -> dict[str, Any]:
    outputs = [{"output_type": "stream", "text": list(printed)}] if printed else []
    return {"cell_type": kind, "source": source.splitlines(keepends=True), "outputs": outputs}


def notebook(*cells: dict[str, Any], seconds: int = 61) -> dict[str, Any]:
    return {"cells": list(cells), "metadata": {"rgd": {"measured": {"cpu": {"seconds": seconds, "megabytes": 900}}}}}


def chapter(words: int, exercises: str) -> dict[str, Any]:
    return notebook(
        cell("markdown", "(a-label)=\n# " + "word " * words),
        cell("code", 'if "google.colab" in sys.modules: ...'),
        cell("code", "1"),
        cell("code", "2", "robust: share 0.52 [0.47, 0.58], itself 57 % [0.5, 0.6]\n", "vanilla: share 3\n"),
        cell("markdown", f"## Exercises\n\n{exercises}\n" + "more " * 1000),
        cell("code", "3"),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Two words", 2),
        ("The reader's own *well-known* `rgd.fit`.", 6),  # rgd and fit are two
        ("Of $\\alpha_t x$ and $$a = b$$ nothing", 3),
        ("```python\na = b\n```\nafter", 1),
        (":::{admonition} Try it\n:class: tryit\nDo this.\n:::\nThen that.", 4),
        ("| a | b |\n|---|---|\n| c | d |\nend", 1),
        ("{ref}`the last <a-label>` and [here](https://example.org)", 4),
        ("<!-- cost -->\nmeasured\n<!-- /cost -->", 1),
    ],
)
def test_words_are_those_that_a_reader_reads(text: str, words: int) -> None:
    assert teaching.prose(text) == words


def test_minutes_are_those_of_the_parts() -> None:
    own = sum(exercise.minutes for exercise in EXERCISES.values() if exercise.chapter == 4)
    found = teaching.minutes("04_when_classifiers_lie", chapter(301, ":::{exercise-start} Open (research)\n:::\n"))
    assert (found.reading, found.code, found.running) == (3, 2, 2)  # begun minutes; the set-up cell is not counted
    assert found.exercises == own
    assert found.together % 5 == 0
    assert 0 <= found.together - (3 + 2 + 2 + found.exercises) < 5


def test_printed_numbers_are_found_after_a_text() -> None:
    one = chapter(1, "")
    assert teaching.printed(one, "robust: share") == "0.52 (0.47 to 0.58)"
    assert teaching.printed(one, "robust: & itself") == "57% (0.5 to 0.6)"
    assert teaching.printed(one, "vanilla: share") == "3"
    with pytest.raises(ValueError, match="no output has 'clean"):
        teaching.printed(one, "clean: share")


def test_blocks_are_filled_from_a_chapter_and_from_all_of_them(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    for name in ("98_first", "99_second"):
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text(json.dumps(chapter(150, "")))
    page = (
        "<!-- fill: notebooks hours 98 99 -->old<!-- /fill --> "
        "<!-- fill: notebooks/98_first.ipynb printed vanilla: share -->old<!-- /fill -->"
    )
    assert re.findall("-->([^<]*)<!-- /", fill.fill(page, tmp_path)) == ["0.2", "3"]
    with pytest.raises(ValueError, match="no chapter 7"):
        fill.fill("<!-- fill: notebooks hours 98 7 --><!-- /fill -->", tmp_path)


def test_the_twelve_weeks_have_every_chapter_once() -> None:
    weeks = re.findall(r"^\| \d+ \| ([\d, ]+) \|", GUIDE.split("**Four weeks**")[0], re.MULTILINE)
    hours = re.findall(r"hours ([\d ]+) -->", GUIDE.split("**Four weeks**")[0])
    taught = [int(number) for week in weeks for number in week.split(",")]
    assert taught == [int(name[:2]) for name in CHAPTERS]
    assert [week.replace(",", "") for week in weeks] == hours  # the hours of a row are those of its chapters


def test_every_box_that_says_try_it_has_what_should_come_out() -> None:
    boxes = {}
    for name, each in CHAPTERS.items():
        text = "\n".join("".join(c["source"]) for c in each["cells"] if c["cell_type"] == "markdown")
        for box in re.findall(r":class: tryit\n(.*?)\n:::", text, re.DOTALL):
            boxes[int(name[:2])] = boxes.get(int(name[:2]), 0) + max(1, len(re.findall(r"^\d\. ", box, re.MULTILINE)))
    told = re.findall(r"^\*\*Chapter (\d+), ", GUIDE, re.MULTILINE)
    assert {number: told.count(str(number)) for number in boxes} == boxes
    assert len(told) == sum(boxes.values())


def test_every_chapter_has_prerequisites_and_objectives() -> None:
    table = GUIDE.split("(teaching-chapters)=")[1].split("(teaching-plans)=")[0]
    rows = re.findall(r"^\| (\d+) \| (.+) \| (.+) \|$", table, re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == [int(name[:2]) for name in CHAPTERS]
    assert all(2 <= len(objectives.split("; ")) <= 4 for _, _, objectives in rows)


def test_plans_fill_fifty_minutes() -> None:
    plans = GUIDE.split("(teaching-plans)=")[1].split("(teaching-tryit)=")[0].split("### ")[1:]
    assert [plan.split(":")[0] for plan in plans] == [f"Chapter {k}" for k in (2, 9, 10, 12)]
    for plan in plans:
        marks = [(int(a), int(b)) for a, b in re.findall(r"^\| (\d+) to (\d+) \|", plan, re.MULTILINE)]
        ends = [end for _, end in marks]
        assert [start for start, _ in marks] == [0, *ends[:-1]]
        assert ends[-1] == 50


def test_capstones_have_a_starter_each_and_rubrics_that_add_up() -> None:
    parts = re.split(r"^## \d\. ", CAPSTONES, flags=re.MULTILINE)
    assert len(parts) == 6
    points = [sum(map(int, re.findall(r"\| (\d+) \|$", part, re.MULTILINE))) for part in parts]
    assert points == [10] * 6  # what all share, and what is each one's own
    named = [re.search(r"course/capstones/(\w+)\.py", part).group(1) for part in parts[1:]]
    assert sorted(named) == [path.stem for path in STARTERS]
    for part in parts[1:]:
        assert [int(week) for week in re.findall(r"^\| (\d) \|", part, re.MULTILINE)] == [1, 2, 3, 4, 5]
    assert all(len(path.read_text().splitlines()) <= 40 for path in STARTERS)


@pytest.mark.check
@pytest.mark.parametrize("path", STARTERS, ids=lambda path: path.stem)
def test_a_starter_prints_numbers_with_intervals_and_writes_nothing(path: Path) -> None:
    before = set((ROOT / "results").iterdir())
    run = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert all(re.search(r": -?\d\S* \[-?\d\S*, -?\d\S*\]$", line) for line in run.stdout.splitlines())
    assert len(run.stdout.splitlines()) >= 2
    assert set((ROOT / "results").iterdir()) == before
