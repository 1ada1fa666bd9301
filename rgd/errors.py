"""The errors of this package: each says what was wrong, with which thing, and what to do about it."""

from __future__ import annotations

from typing import Any, get_args


class RgdError(Exception):
    """Base class: `except rgd.errors.RgdError` catches everything this package raises on purpose."""


class DataError(RgdError, ValueError):
    """Images or labels that cannot be used as they are."""


class CheckpointError(RgdError, ValueError):
    """A weights or training-state file that is missing, damaged, or of another model."""


class MissingModel(CheckpointError):
    """A model of this name is neither published nor made here."""


class SaveError(RgdError, OSError):
    """A file could not be written; what was there before is untouched."""


class TrainingDiverged(RgdError, ArithmeticError):
    """The loss became NaN or infinite."""


class WorkerLost(RgdError, RuntimeError):
    """Another process of this run has died, failed, or ended too early."""


class OutOfMemory(RgdError, RuntimeError):
    """There is no memory even for the smallest piece of the work."""


class IdentityError(RgdError, TypeError):
    """A thing that cannot say what it is, where what is computed from it is to be kept."""


def require(holds: bool, name: str, value: object, allowed: str) -> None:
    """ValueError that names a setting and says what it may be, unless it `holds`."""
    if not holds:
        raise ValueError(f"{name} must be {allowed}, not {value!r}")


def at_least(settings: object, **least: int) -> None:
    """`require` of these attributes that they are whole numbers, none below its least."""
    for name, smallest in least.items():
        value = getattr(settings, name)
        require(isinstance(value, int) and value >= smallest, name, value, f"a whole number, at least {smallest}")


def one_of(name: str, value: object, choices: Any) -> None:
    """`require` of a word that it is among the choices, a collection or a `Literal` type."""
    choices = get_args(choices) or choices
    require(value in choices, name, value, " or ".join(map(repr, choices)))
