"""The errors of this package: each says what was wrong, with which thing, and what to do about it."""

from __future__ import annotations

from collections.abc import Collection


class RgdError(Exception):
    """Base class: `except rgd.errors.RgdError` catches everything this package raises on purpose."""


def one_of(what: str, value: object, choices: Collection[str]) -> None:
    """Refuse a name that is none of the choices.

    Raises:
        ValueError: naming the thing, the choices and what was given.
    """
    if value not in choices:
        raise ValueError(f"{what} is one of {', '.join(map(repr, choices))}, not {value!r}")


class DataError(RgdError, ValueError):
    """Images or labels that cannot be used as they are."""


class CheckpointError(RgdError, ValueError):
    """A weights or training-state file that is missing, damaged, or of another model."""


class SaveError(RgdError, OSError):
    """A file could not be written; what was there before is untouched."""


class TrainingDiverged(RgdError, ArithmeticError):
    """The loss became NaN or infinite."""
