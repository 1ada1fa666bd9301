"""Profiles: how much a notebook does, from what the machine can do. The same cell runs everywhere."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import torch

from rgd.processes import best_device

Name = Literal["ci", "cpu", "gpu", "full"]
T = TypeVar("T")


@dataclass(frozen=True)
class Profile:
    """`ci`: seconds on two cores; `cpu`: minutes on a laptop; `gpu`: real training on a Colab GPU; `full`: what the
    published results were made with."""

    name: Name
    device: torch.device

    def pick(self, *, ci: T, cpu: T | None = None, gpu: T | None = None, full: T | None = None) -> T:
        """The value for this profile; one that is not given is that of the next smaller profile."""
        choice = ci
        for name, value in (("ci", ci), ("cpu", cpu), ("gpu", gpu), ("full", full)):
            choice = choice if value is None else value
            if name == self.name:
                break
        return choice

    def __str__(self) -> str:
        return f"profile {self.name!r} on {self.device.type}"


def profile() -> Profile:
    """The profile that `RGD_PROFILE` names; else "gpu" where there is one, and "cpu" elsewhere.

    Raises:
        ValueError: if RGD_PROFILE names none.
    """
    device = best_device()
    name = os.environ.get("RGD_PROFILE") or ("cpu" if device.type == "cpu" else "gpu")
    if name not in get_args(Name):
        raise ValueError(f"RGD_PROFILE is {name!r}; choose one of {', '.join(get_args(Name))}")
    return Profile(name, device)  # type: ignore[arg-type]
