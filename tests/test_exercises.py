"""The self-tests of the book's exercises: what is right passes, and what is only small does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rgd.book.check import check


@pytest.mark.parametrize(
    ("answer", "expected", "tolerance", "right"),
    [
        (2.0, 2.0, 1e-6, True),
        (2, 2.001, 1e-3, True),
        (2.1, 2.0, 1e-3, False),
        (0.0285, 0.0357, 0.02, False),  # relative, or whatever is small enough would be right
        (0.0357, 0.0356, 0.02, True),
        (1e-7, 0.0, 1e-6, True),
        (1e-5, 0.0, 1e-6, False),
        (torch.tensor([1.0, 1e-3]), torch.tensor([1.0, 0.0]), 1e-2, True),  # to the largest of them
        (np.array([1.0, 2.0]), torch.tensor([1.0, 2.0]), 1e-6, True),
        ([1.0, 2.0], torch.tensor([1.0, 2.0]), 1e-6, True),
        (torch.tensor(float("nan")), 1.0, 1e-6, False),
        (torch.ones(2, requires_grad=True), torch.ones(2, dtype=torch.float64), 1e-6, True),
    ],
)
def test_what_is_right(
    answer: Any, expected: Any, tolerance: float, right: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check("Name", answer, expected, tolerance) is right
    assert capsys.readouterr().out.startswith("Name: right" if right else "Name: not yet. The largest difference")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "not answered yet"),
        (torch.ones(3), "The shape is (3,), and should be (2,)"),
        ((torch.ones(3), torch.ones(3, 3)), "should be a number or a tensor, and is a tuple"),
        ("seven", "is a str"),
    ],
)
def test_what_is_no_answer_is_told_from_what_is_wrong(
    answer: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not check("Name", answer, torch.zeros(2))
    assert said in capsys.readouterr().out
