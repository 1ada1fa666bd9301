"""Self-tests for the book's exercises: does an answer agree with what is expected?"""

from __future__ import annotations

import torch
from torch import Tensor


def check(name: str, answer: Tensor | float | None, expected: Tensor | float, tolerance: float = 1e-6) -> bool:
    """Print, and return, whether an answer is right. None, what an empty function returns, is not answered yet.

    Args:
        name: of the exercise.
        tolerance: largest difference from the expected values, relative to the largest of them (absolute if all are 0).
    """
    if answer is None:
        print(f"{name}: not answered yet")
        return False
    try:
        found, wanted = (torch.as_tensor(v).detach().cpu().double() for v in (answer, expected))
    except (TypeError, ValueError, RuntimeError):
        print(f"{name}: not yet. It should be a number or a tensor, and is a {type(answer).__name__}")
        return False
    if found.shape != wanted.shape:
        print(f"{name}: not yet. The shape is {tuple(found.shape)}, and should be {tuple(wanted.shape)}")
        return False
    difference, largest = (found - wanted).abs().max(), wanted.abs().max()
    right = bool(difference <= tolerance * (largest if largest > 0 else 1))  # NaN compares as false
    print(f"{name}: right" if right else f"{name}: not yet. The largest difference is {difference:.2g}")
    return right
