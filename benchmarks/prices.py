"""How fast each way of a comparison draws, side by side: the column images/s of its table.

Cells of a comparison are drawn on many days, and some while the machine had other work. `python -m benchmarks.prices`
draws a few images in each way at the scale that was chosen for it, all ways in turns and several rounds of them, and
writes `results/prices.json` anew after each comparison; run it on an idle machine. Never a test: it asserts nothing.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import tyro
from tqdm import tqdm

from rgd.experiments import names, read
from rgd.experiments.cells import Work
from rgd.experiments.comparison import Comparison
from rgd.lab.bench import Bench
from rgd.lab.origin import provenance

RESULTS = Path(__file__).resolve().parent.parent / "results"
COMPARISONS = tuple(name for name in names() if isinstance(read(name), Comparison))


def prices(name: str, images: int, rounds: int) -> dict[str, list[float]]:
    """Images a second of each entry that has a headline, round by round; the first, which warms up, is none. What was
    drawn with a model that is gone has no price."""
    plan: Any = read(name)
    work = Work(plan, Bench(plan, RESULTS / "none.json", progress=False))
    results = json.loads((RESULTS / f"{name}.json").read_text())
    ways = {cell["name"]: (work.entries[cell["name"]], cell["scale"]) for cell in results["headline"]}
    ways = {
        n: way for n, way in ways.items() if all(map(work.bench.has, filter(None, (way[0].denoiser, way[0].guide))))
    }
    found: dict[str, list[float]] = {way: [] for way in ways}
    for k, way in tqdm([(k, way) for k in range(rounds + 1) for way in ways], desc=name):
        n = images if k else 10
        began = time.perf_counter()
        work.draw(ways[way], 900 + k, n)
        if k:
            found[way].append(round(n / (time.perf_counter() - began), 2))
    return found


def main(
    only: Annotated[tuple[str, ...], tyro.conf.Positional] = COMPARISONS, images: int = 50, rounds: int = 3
) -> None:
    """Measure them.

    Args:
        only: which comparisons.
        images: in each way and round.
        rounds: how many.
    """
    path = RESULTS / "prices.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    for name in only:
        seen = prices(name, images, rounds)
        middle = {way: statistics.median(rates) for way, rates in seen.items()}
        made = provenance()
        known |= {name: {"images_per_second": middle, "rounds": seen, "images": images, "provenance": made}}
        known["provenance"] = made
        path.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
