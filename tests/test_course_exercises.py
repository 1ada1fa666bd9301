"""The exercises of the chapters: every stub fails, every solution passes, every wrong answer is caught with its hint.

Answers are run as a grader would run them, with the set-up cells of their page alone.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import torch

from rgd.course import EXERCISES, points
from rgd.course.task import Task, Wrong, close, find, number
from rgd.randomness import generator

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = {int(path.name[:2]): path for path in (ROOT / "notebooks").glob("*.ipynb")}
SEEDS = ["public", 0, 1]
FILE = "<ipython-input-answer>"


@cache
def cells(chapter: int) -> list[Any]:
    return nbformat.read(CHAPTERS[chapter], 4).cells


def part(name: str, kind: str) -> list[Any]:
    marked = [c for c in cells(find(name).chapter) if c.metadata.get("rgd", {}).get("exercise") == name]
    return [c for c in marked if c.metadata["rgd"]["part"] == kind]


@cache
def imported(chapter: int) -> dict[str, Any]:
    """The names of a page's cell of imports, the first after that of the %pip."""
    _, imports = [c.source for c in cells(chapter) if c.cell_type == "code"][:2]
    page: dict[str, Any] = {}
    exec(compile(imports, FILE, "exec"), page)
    return page


def run(name: str, answer: str) -> list[Any]:
    """What an answer hands to the test of its exercise."""
    handed: list[Any] = []
    page = dict(imported(find(name).chapter))
    exec(compile(answer, FILE, "exec"), page)
    (test,) = part(name, "test")
    page["course"] = type("Course", (), {"check": staticmethod(lambda told, *answers: handed.extend([told, *answers]))})
    exec(test.source, page)
    assert handed[0] == name
    return handed[1:]


def solution(name: str) -> str:
    """A solution's code without its asserts."""
    code = "\n\n".join(c.source for c in part(name, "solution") if c.cell_type == "code")
    return re.split(r"^assert ", code, flags=re.MULTILINE)[0]


def wrong_answers() -> list[tuple[str, str, str, str]]:
    """(exercise, what is wrong, what the hint says, code)."""
    found = []
    for path in sorted((ROOT / "course" / "wrong").glob("*.py")):
        for block in re.split(r"^# %% ", path.read_text(), flags=re.MULTILINE)[1:]:
            head, _, code = block.partition("\n")
            found.append((*head.split(" | "), code))
    return found  # type: ignore[return-value]


WRONG = wrong_answers()


@pytest.mark.parametrize("name", EXERCISES)
def test_a_stub_is_not_answered_yet(name: str) -> None:
    (stub,) = part(name, "answer")
    verdict = find(name).judge(run(name, stub.source), "public")
    assert {said for _, said in verdict.found} == {"not answered yet"}
    assert not verdict
    assert verdict.share == 0


@pytest.mark.parametrize("name", EXERCISES)
def test_a_solution_is_right_wherever_it_is_asked(name: str) -> None:
    answers = run(name, solution(name))
    for seed in SEEDS:
        verdict = find(name).judge(answers, seed)
        assert verdict, str(verdict)
        assert find(name).checks == [check for check, _ in verdict.found]
        assert len({check for check, _ in verdict.found}) == len(verdict.found) >= 2 or len(verdict.found) == 1
    assert points(name, *answers, seed=7) == EXERCISES[name].points


@pytest.mark.parametrize(("name", "what", "hint", "code"), WRONG, ids=[f"{name}: {what}" for name, what, *_ in WRONG])
def test_a_wrong_answer_is_told_what_is_wrong(name: str, what: str, hint: str, code: str) -> None:
    answers = run(name, code)
    for seed in SEEDS:
        verdict = find(name).judge(answers, seed)
        assert not verdict, what
        assert hint in str(verdict), str(verdict)


def test_every_exercise_has_three_wrong_answers_and_no_two_are_told_alike() -> None:
    counted = {name: [hint for other, _, hint, _ in WRONG if other == name] for name in EXERCISES}
    assert {name for name, hints in counted.items() if len(hints) < 3} == set()
    assert {name for name, hints in counted.items() if len(set(hints)) < len(hints)} == set()
    assert {name for name, *_ in WRONG} <= set(EXERCISES)


def test_the_pages_know_their_exercises() -> None:
    for chapter in CHAPTERS:
        marked = [c for c in cells(chapter) if "rgd" in c.metadata]
        told = {c.metadata["rgd"]["exercise"] for c in marked if c.metadata["rgd"]["part"] == "test"}
        assert told == {name for name, one in EXERCISES.items() if one.chapter == chapter}
        labels = {label for c in cells(chapter) for label in re.findall(r":label: ex-(\S+)", c.source)}
        assert labels == {c.metadata["rgd"]["exercise"] for c in marked}
        assert marked == cells(chapter)[len(cells(chapter)) - len(marked) :], "nothing stands between exercises"
    for name in EXERCISES:
        shown = "".join(c.source for kind in ("text", "given", "answer", "test") for c in part(name, kind))
        assert "expected" not in shown
        assert re.fullmatch(rf'course\.check\("{name}"(, \w+)+\);', part(name, "test")[0].source)


def checked(given: Any, expected: Any, **how: Any) -> str:
    task = Task(generator(0))
    with task.check("it", "the hint"):
        close(given, expected, **how)
    return task.found[0][1] or "right"


@pytest.mark.parametrize(
    ("given", "expected", "said"),
    [
        (2.0, 2, "right"),
        (2, torch.tensor(2.0), "right"),
        (True, 1.0, "right"),
        (np.float32(2), 2.0, "right"),
        (np.array([1.0, 2.0]), torch.tensor([1.0, 2.0]), "right"),
        ([1.0, 2.0], torch.tensor([1.0, 2.0]), "right"),
        ((torch.tensor(1.0), 2), [1.0, 2.0], "right"),
        (torch.tensor([[3.0]]), 3.0, "right"),
        (torch.ones(2, requires_grad=True), torch.ones(2, dtype=torch.float64), "right"),
        (2.1, 2.0, "the hint"),
        (float("nan"), 1.0, "the hint"),
        (4.0, 2.0, "twice"),
        (torch.ones(3), torch.ones(2), "The shape is (3,), and should be (2,)."),
        ("seven", 7.0, "is a str"),
        ([torch.ones(2), torch.ones(3)], torch.ones(5), "is a list"),
    ],
)
def test_answers_of_any_kind_are_compared(given: Any, expected: Any, said: str) -> None:
    assert said in checked(given, expected, mistakes={"That is twice as much.": 2 * number(expected)})


@pytest.mark.parametrize(
    ("given", "expected", "tolerance", "right"),
    [
        (2, 2.001, 1e-3, True),
        (0.0285, 0.0357, 0.02, False),  # relative, or whatever is small enough would be right
        (0.0357, 0.0356, 0.02, True),
        (1e-7, 0.0, 1e-6, True),
        (1e-5, 0.0, 1e-6, False),
        ([1.0, 1e-3], [1.0, 0.0], 1e-2, True),  # to the largest of them
    ],
)
def test_a_difference_is_relative_to_the_largest_that_is_expected(
    given: Any, expected: Any, tolerance: float, right: bool
) -> None:
    assert (checked(given, expected, tolerance=tolerance) == "right") is right


def test_an_answer_that_spoils_its_arguments_spoils_nothing() -> None:
    kept = torch.ones(3)

    def spoil(x: torch.Tensor, more: list[torch.Tensor]) -> float:
        x.zero_()
        more[0].zero_()
        return 1.0

    from rgd.course.task import Answer

    assert Answer(spoil)(kept, [kept]) == 1.0
    assert kept.sum() == 3


def test_an_error_in_an_answer_is_one_of_its_checks_and_names_the_line() -> None:
    page: dict[str, Any] = {}
    exec(
        compile(
            "def slope(a, omega):\n    return a + 'x'\n\n\ndef speed(a, g):\n    raise SystemExit(3)", FILE, "exec"
        ),
        page,
    )
    verdict = find("lie-ripple").judge([page["slope"], page["speed"]], "public")
    assert "Your code raised TypeError in line 2 of your cell: unsupported operand" in str(verdict)
    assert "SystemExit in line 6" in str(verdict)
    assert verdict.share == 0


def test_points_are_a_python_float_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    import sys
    import warnings

    def loud(a: float, omega: float) -> float:
        print("so loud")
        warnings.warn("and so worried", stacklevel=1)
        print("and so wrong", file=sys.stderr)
        return a * omega / 2**0.5

    earned = points("lie-ripple", loud, None, seed=1)
    assert type(earned) is float
    assert earned == 1.0
    assert capfd.readouterr() == ("", "")


def test_what_is_asked_is_another_with_another_seed() -> None:
    seen: dict[Any, list[float]] = {}
    for seed in ("public", 1, 2):
        asked = seen.setdefault(seed, [])
        find("lie-square").judge([lambda r, asked=asked: asked.append(r)], seed)
    assert len({tuple(asked) for asked in seen.values()}) == 3


def test_an_exercise_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"no exercise 'lie-riple'; there are .*lie-ripple"):
        points("lie-riple", seed=0)
    with pytest.raises(Wrong):
        close(1.0, 2.0)
