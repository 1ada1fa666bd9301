"""Exercises that check themselves: named checks at points drawn from a seed, each with a hint.

An exercise is a function of a `Task` and of the reader's answers. What is expected is computed here, after the answer
and out of sight of the page; answers get copies of what they are handed, so that nothing they change is changed.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgd.randomness import generator

EXERCISES: dict[str, Exercise] = {}
"""By name, in the order of the chapters: what `exercise` has put here."""


class Wrong(Exception):
    """What is said of an answer that fails a check; without words, the check's own hint is."""


class NotAnswered(Exception):
    """A stub returns None."""


@dataclass(frozen=True)
class Exercise:
    """What an exercise is worth, about how long it takes, and what checks it."""

    name: str
    chapter: int
    points: int
    minutes: int
    body: Callable[..., None]

    @property
    def checks(self) -> list[str]:
        """The names of its checks: those that answers fail which have not been written."""
        answers = len(inspect.signature(self.body).parameters) - 1
        return [name for name, _ in self.judge([lambda *_, **__: None] * answers, "public").found]

    def judge(self, answers: Sequence[Any], seed: int | str) -> Verdict:
        """What each check finds at the points that the seed draws. An answer may raise what it likes."""
        task = Task(generator(seed, self.name))
        with torch.random.fork_rng(devices=[]), torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.body(task, *map(Answer, answers))
        return Verdict(tuple(task.found))


@dataclass(frozen=True)
class Verdict:
    """The checks of one exercise, by name: None where the answer is right, else what is to be said."""

    found: tuple[tuple[str, str | None], ...]

    def __bool__(self) -> bool:
        return all(said is None for _, said in self.found)

    @property
    def share(self) -> float:
        """Of the checks that the answer passes."""
        return sum(said is None for _, said in self.found) / len(self.found)

    def __str__(self) -> str:
        return "\n".join(f"{name}: {'right' if said is None else said}" for name, said in self.found)


class Task:
    """What an exercise draws its points from, and writes its checks into."""

    def __init__(self, random: torch.Generator) -> None:
        self.random = random
        self.found: list[tuple[str, str | None]] = []

    @contextlib.contextmanager
    def check(self, name: str, hint: str) -> Iterator[None]:
        """One named check: it holds if nothing is raised inside. `hint` tells those who fail what to think of."""
        said: str | None = None
        try:
            yield
        except NotAnswered:
            said = "not answered yet"
        except Wrong as wrong:
            said = f"not yet. {str(wrong) or hint}"
        except (Exception, SystemExit) as error:
            said = f"not yet. {_raised(error)} {hint}"
        self.found.append((name, said))

    def uniform(self, low: float, high: float) -> float:
        """A number between two."""
        return low + (high - low) * float(torch.rand((), generator=self.random, dtype=torch.float64))

    def integer(self, low: int, high: int) -> int:
        """A whole number, low <= k < high."""
        return int(torch.randint(low, high, (), generator=self.random))

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(shape, generator=self.random, dtype=dtype)

    def integers(self, low: int, high: int, n: int) -> Tensor:
        """Whole numbers, int64 (n,): times or classes."""
        return torch.randint(low, high, (n,), generator=self.random)


class Answer:
    """What a reader wrote, as a check calls it: with copies, and None means that nothing has been written yet."""

    def __init__(self, written: Any) -> None:
        self.written = written

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given = self.written(*_copy(args), **_copy(kwargs))
        if given is None:
            raise NotAnswered
        made = callable(given) and not isinstance(given, torch.nn.Module)  # an objective, say, that a class has made
        return Answer(given) if made else given


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, tuple | list):
        return type(value)(map(_copy, value))
    return {key: _copy(part) for key, part in value.items()} if isinstance(value, dict) else value


def _raised(error: BaseException) -> str:
    """An error in a reader's code, and the line of it where it was raised."""
    cells = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if "ipy" in frame.filename]
    where = f" in line {cells[-1]} of your cell" if cells else ""
    return f"Your code raised {type(error).__name__}{where}: {error}."


def number(given: Any) -> Tensor:
    """An answer as a float64 tensor: tensors, NumPy's, numbers, and lists and tuples of them.

    Raises:
        Wrong: for anything else.
    """
    try:
        if isinstance(given, tuple | list):
            return torch.stack([number(part) for part in given])
        return torch.as_tensor(given if isinstance(given, Tensor) else np.asarray(given)).detach().cpu().double()
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"It should be a number or a tensor, and is a {type(given).__name__}.") from None


def near(found: Tensor, wanted: Tensor, tolerance: float) -> bool:
    """Whether two agree, to a difference relative to the largest that is wanted (absolute if all are 0)."""
    if found.shape != wanted.shape:
        return False
    largest = wanted.abs().max()
    return bool((found - wanted).abs().max() <= tolerance * (largest if largest > 0 else 1))  # NaN compares as false


def close(given: Any, expected: Any, tolerance: float = 1e-6, mistakes: Mapping[str, Any] = {}) -> None:
    """An answer is what is expected.

    Args:
        given: a number, or numbers of any kind.
        tolerance: largest difference, relative to the largest number that is expected.
        mistakes: what to say, and the value by which a mistake is known.

    Raises:
        Wrong: if it is not.
    """
    found, wanted = number(given), number(expected)
    if found.numel() == wanted.numel() == 1:
        found, wanted = found.reshape(()), wanted.reshape(())
    if near(found, wanted, tolerance):
        return
    for said, value in mistakes.items():
        if near(found, number(value).reshape(wanted.shape), tolerance):
            raise Wrong(said)
    if found.shape != wanted.shape:
        raise Wrong(f"The shape is {tuple(found.shape)}, and should be {tuple(wanted.shape)}.")
    raise Wrong


def ratios(
    answer: Answer, given: Sequence[tuple[Any, ...]], wanted: Sequence[float], mistakes: Mapping[str, Any]
) -> None:
    """A function of numbers is right at several points, to a thousandth. A mistake is known by its ratio to what is
    wanted, one for all points or one for each."""
    found = [number(answer(*numbers)) / right for numbers, right in zip(given, wanted)]
    every = {said: number(ratio).expand(len(given)) for said, ratio in mistakes.items()}
    close(found, torch.ones(len(given)), 1e-3, every)


def must(holds: Any, said: str = "") -> None:
    """Raises `Wrong`, with what is to be said, unless something holds."""
    if not holds:
        raise Wrong(said)


def exercise(name: str, points: int, minutes: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes an exercise of a function `(task, *answers)` in the file of its chapter, `cNN.py`."""

    def keep(body: Callable[..., None]) -> Callable[..., None]:
        if name in EXERCISES:
            raise ValueError(f"there are two exercises {name!r}")
        EXERCISES[name] = Exercise(name, int(body.__module__.rpartition(".c")[2]), points, minutes, body)
        return body

    return keep


def find(name: str) -> Exercise:
    """An exercise by its name; ValueError if there is none."""
    if name not in EXERCISES:
        raise ValueError(f"there is no exercise {name!r}; there are {', '.join(EXERCISES)}")
    return EXERCISES[name]


def check(name: str, *answers: Any) -> Verdict:
    """Judge the answers to an exercise, and print a line for each check. The points are the same for everybody.

    Raises:
        ValueError: if there is no such exercise.
    """
    verdict = find(name).judge(answers, "public")
    print(verdict)
    return verdict


def points(name: str, *answers: Any, seed: int | str) -> float:
    """What answers are worth at the points that a teacher's seed draws, a Python float. Prints nothing, whatever the
    answers do: nbgrader takes anything on stderr for a failure.

    Raises:
        ValueError: if there is no such exercise.
    """
    this, nowhere = find(name), io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        return float(this.points * this.judge(answers, seed).share)
