"""Explicit randomness: the noise of an image depends on the seed and the image's index alone.

Everything random is a function of integers (a seed, an index, a step), and but for `global_seed`, which gives it back,
PyTorch's global state is left alone: so a run can be split over batches and processes, stopped and resumed.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


def generator(*key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator seeded by a key of integers and words, e.g. `generator(seed, "step", 17)`. Other keys are other
    streams: a hash mixes them, because seeds that differ by one are not independent in every engine."""
    return torch.Generator(device=device).manual_seed(_seed(*key))


def _seed(*key: int | str) -> int:
    plain = tuple(part if isinstance(part, str) else operator.index(part) for part in key)  # numpy's integers too
    digest = hashlib.blake2b(repr(plain).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@dataclass(frozen=True)
class NoiseStream:
    """Standard normal noise for the images `first`, `first + 1`, ... of the run `seed`. `stream(k, shape)` is draw k,
    x_T for k = 0 and else the noise of sampling step k; its row i depends on (seed, first + i, k) alone."""

    seed: int = 0
    first: int = 0

    def __call__(self, k: int, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        rows, draw = torch.empty(*shape), torch.Generator()  # one for all: to make one takes longer than to draw
        for i, row in enumerate(rows, self.first):
            row.normal_(generator=draw.manual_seed(_seed(self.seed, "image", i, k)))
        return rows.to(device)


def noise(shape: Sequence[int], seed: int = 0, first: int = 0, device: torch.device | str = "cpu") -> Tensor:
    """x_T for `shape[0]` images (B, C, H, W), float32: draw 0 of `NoiseStream(seed, first)`."""
    return NoiseStream(seed, first)(0, shape, device)


def noise_at(xt: Tensor, t: Tensor, *key: int | str) -> Tensor:
    """Standard normal noise like xt (B, ...), decided by a key, t (B,) and where xt is positive: of an image that was
    computed, the same in every batch, though its last digits are not. Images of the same signs share it, which in one
    dimension or two many do."""
    known = zip(t.cpu().tolist(), (xt > 0).flatten(1).cpu().tolist(), strict=True)
    seeds, draw = [_seed(*key, now, *signs) for now, signs in known], torch.Generator()
    return torch.stack([torch.randn(xt.shape[1:], generator=draw.manual_seed(seed)) for seed in seeds]).to(xt)


@contextmanager
def global_seed(seed: int, device: torch.device) -> Iterator[None]:
    """The global random state, from which dropout draws, seeded for a while and then given back."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type != "cpu":
            getattr(torch, device.type).manual_seed(seed)
        yield
