"""The errors of this package: each says what was wrong, with which thing, and what to do about it."""

from __future__ import annotations


class RgdError(Exception):
    """Base class: `except rgd.errors.RgdError` catches everything this package raises on purpose."""


class DataError(RgdError, ValueError):
    """Images or labels that cannot be used as they are."""


class CheckpointError(RgdError, ValueError):
    """A weights or training-state file that is missing, damaged, or of another model."""


class SaveError(RgdError, OSError):
    """A file could not be written; what was there before is untouched."""


class TrainingDiverged(RgdError, ArithmeticError):
    """The loss became NaN or infinite."""


class IdentityError(RgdError, TypeError):
    """A thing that cannot say what it is, where what is computed from it is to be kept."""
