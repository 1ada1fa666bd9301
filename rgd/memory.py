"""Where memory runs out: the same work in smaller pieces, with the same result, and said."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from rgd.errors import OutOfMemory

T = TypeVar("T")
LACK = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")  # CUDA, MPS; Linux; Windows


def halving(work: Callable[[int], T], size: int, what: str) -> tuple[T, int]:
    """work(size), or, where memory runs out, of half the size, and so on; and the size that there was room for. `what`
    says in a warning what is halved. OutOfMemory where there is no room for one."""
    while True:
        try:
            return work(size), size
        except RuntimeError as error:
            if isinstance(error, OutOfMemory) or not any(text in str(error) for text in LACK):
                raise
            if size == 1:
                raise OutOfMemory(f"{what}: there is no memory even for one image at a time ({error})") from error
        size, before = -(-size // 2), size  # only here: the error holds what had been computed
        warnings.warn(f"{what}: no memory for {before} images at once, so {size}; the result is the same", stacklevel=3)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def in_batches(work: Callable[[int, int], T], over: range, size: int, what: str) -> Iterator[T]:
    """work(start, stop) of one batch after the other, of at most `size`, as `halving`."""
    start = over.start
    while start < over.stop:
        done, size = halving(lambda n: work(start, start + n), min(size, over.stop - start), what)  # noqa: B023
        yield done
        start += size
