"""How long it takes to score images, beside an older build, and whether the numbers are the same.

`python -m benchmarks.scoring OLD` needs a checkout of the build to compare with (`git worktree add OLD ad7a990`). Both
see the same features, the judge's of training and of held-out digits, in turns and each in a process of its own.
Written to `results/scoring.json`. Never a test: it asserts nothing.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import tyro

ROOT = Path(__file__).resolve().parent.parent
METRICS = ("fd", "sfd", "kid", "precision", "recall", "accuracy")


def work(file: str) -> None:
    """The worker: seconds and values of every metric, with whichever build is on the path."""
    from rgd import metrics

    samples, reference = (metrics.Features(**kept) for kept in torch.load(file))
    for name in METRICS:
        began = time.perf_counter()
        found = metrics.estimate(name, samples, reference)
        print(json.dumps({"metric": name, "seconds": time.perf_counter() - began, **found.to_json()}), flush=True)


def main(
    old: tyro.conf.Positional[Path], n: int = 10_000, repetitions: int = 3, out: Path = Path("results/scoring.json")
) -> None:
    """Measure, print and write.

    Args:
        old: a checkout of the older build.
        n: images, and as many of the reference.
        repetitions: in turns; medians are told.
        out: the file of results.
    """
    import rgd
    from rgd.lab import datasets
    from rgd.lab.origin import provenance
    from rgd.measure import extract

    judge, rows = rgd.zoo.load("mnist/judge", "cpu"), []
    sets = [datasets.load("mnist", split).take(n) for split in ("test", "train")]
    seen = [vars(extract(images, judge, labels=images.labels)) for images in sets]
    with tempfile.TemporaryDirectory() as folder:
        torch.save(seen, f"{folder}/features.pt")
        for turn in range(repetitions):
            for build, tree in (("old", old), ("new", ROOT)):
                command = [sys.executable, str(Path(__file__).resolve()), "--worker", f"{folder}/features.pt"]
                env = {**os.environ, "PYTHONPATH": str(tree)}
                said = subprocess.run(command, cwd=tree, env=env, text=True, stdout=subprocess.PIPE, check=True).stdout
                rows += [{"build": build, "turn": turn, **json.loads(line)} for line in said.splitlines()]

    def of(build: str, name: str) -> list[dict[str, Any]]:
        return [row for row in rows if (row["build"], row["metric"]) == (build, name)]

    table: list[dict[str, Any]] = []
    for name in METRICS:
        took = {build: statistics.median(row["seconds"] for row in of(build, name)) for build in ("old", "new")}
        a, b = of("old", name)[0], of("new", name)[0]
        apart = max(abs(a[end] - b[end]) / max(abs(a[end]), 1e-12) for end in ("value", "low", "high"))
        table.append({"metric": name, **took, "apart": apart})
        print(f"{name:10} {took['old']:8.2f} s, now {took['new']:6.2f} s; {apart:.1e} of the value apart")
    total = {build: sum(row[build] for row in table) for build in ("old", "new")}
    print(
        f"all        {total['old']:8.2f} s, now {total['new']:6.2f} s: {total['old'] / total['new']:.1f} times as fast"
    )
    out.write_text(json.dumps({"n": n, "table": table, "total": total, "provenance": provenance()}, indent=1))


if __name__ == "__main__" and sys.argv[1:2] == ["--worker"]:
    work(sys.argv[2])
elif __name__ == "__main__":
    tyro.cli(main)
