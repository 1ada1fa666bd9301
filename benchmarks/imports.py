"""What do `import rgd` and the start of a command cost beside `import torch`?

`python -m benchmarks.imports` starts whole processes by turns, so that whatever else the machine does falls on all
alike, and prints the median times and their ratios; of `import rgd` at most 1.15 is the aim. Never a test: it asserts
nothing.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import tyro

STATEMENTS = ("import torch", "import rgd", "import rgd.cli")


def seconds(statement: str) -> float:
    """The time of one process that does nothing else."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - began


def main(repetitions: int = 15) -> None:
    """Measure.

    Args:
        repetitions: processes of each kind, after one that warms the disk's cache up.
    """
    for statement in STATEMENTS:
        seconds(statement)
    turns = [[seconds(statement) for statement in STATEMENTS] for _ in range(repetitions)]
    torch, *ours = (statistics.median(column) for column in zip(*turns))
    print(f"{STATEMENTS[0]}: {torch:.2f} s")
    for statement, took in zip(STATEMENTS[1:], ours):
        print(f"{statement}: {took:.2f} s, {took / torch:.3f} times")


if __name__ == "__main__":
    tyro.cli(main)
