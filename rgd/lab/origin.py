"""Where and when a result was made: every file of ours says so."""

from __future__ import annotations

import datetime
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

import rgd
from rgd.processes import processes


def commit() -> str | None:
    """The commit of the source tree that rgd is imported from, "+" if it was changed since; None outside a clone.

    What is written to `results/` is no such change: a long run writes there more than once.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # fails if the clone around us is somebody else's
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)results")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def device_name(device: torch.device) -> str:
    """In words, e.g. "NVIDIA T4" or "x86_64 CPU, 2 threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {device.type.upper()}, {torch.get_num_threads()} threads"


def provenance() -> dict[str, Any]:
    """Date, commit, versions, device and number of processes."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "rgd": rgd.__version__,
        "torch": torch.__version__,
        "device": device_name(processes().device),
        "processes": processes().count,
    }
