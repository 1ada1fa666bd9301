"""Write the tables of the README and the book from `results/`: nobody types a number.

A block between `<!-- fill: results/NAME.json VIEW -->` and `<!-- /fill -->` is replaced by what the function VIEW below
makes of that file. `python -m tools.fill` rewrites; `python -m tools.fill --check` says what is stale, and fails.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rgd.report import best_scales, estimate_text

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(<!-- fill: (\S+) (\w+) -->\n).*?(<!-- /fill -->)", re.DOTALL)


def guidance(results: dict[str, Any]) -> str:
    """Each guidance at its best scale, the unguided model, and the held-out images."""
    best = best_scales(results)
    rows = [("unguided", "", results["guidance"][0])]
    for cell in results["guidance"]:
        if best.get(cell["guidance"]) == cell["scale"]:
            rows.append((cell["guidance"], f"{cell['scale']:g}", cell))
    rows.append(("held-out images", "", results["real"]))
    table = ["| guidance | scale | judge accuracy | FD-judge | precision | recall |", "|---|---|---|---|---|---|"]
    for name, scale, cell in rows:
        shown = [estimate_text(cell["accuracy"]), estimate_text(cell["fd_judge"], 1)]
        shown += [estimate_text(cell[m]) for m in ("precision", "recall")]
        table.append(f"| {name} | {scale} | {' | '.join(shown)} |")
    return "\n".join(table)


def walk(results: dict[str, Any]) -> str:
    """What an independent judge sees after a walk along each gradient."""
    table = ["| gradient | the judge sees the target class | the classifier itself does |", "|---|---|---|"]
    for kind, share in results["walk"].items():
        table.append(f"| {kind} | {estimate_text(share['judge'])} | {estimate_text(share['itself'])} |")
    return "\n".join(table)


def origin(results: dict[str, Any]) -> str:
    """Where the numbers come from, in a sentence."""
    made, seconds = results["provenance"], sum(results["seconds"].values())
    return (
        f"Made on {made['date'][:10]} by `rgd demo --data {results['data']}` at commit {made['commit']}, seed "
        f"{results['plan']['seed']}, on {made['device']}, in {seconds / 60:.1f} minutes; "
        f"{results['plan']['samples']} samples for each row, 95 % intervals in brackets."
    )


VIEWS: dict[str, Callable[[dict[str, Any]], str]] = {f.__name__: f for f in (guidance, walk, origin)}


def fill(text: str, root: Path = ROOT) -> str:
    """The text with every block made anew."""

    def made(match: re.Match[str]) -> str:
        opening, file, view, closing = match.groups()
        return f"{opening}{VIEWS[view](json.loads((root / file).read_text()))}\n{closing}"

    return BLOCK.sub(made, text)


def main() -> int:
    """Fill all pages, or check them."""
    stale = []
    for page in [ROOT / "README.md", *sorted((ROOT / "book").glob("*.md"))]:
        text = page.read_text()
        if fill(text) != text:
            stale.append(page.relative_to(ROOT))
            if "--check" not in sys.argv:
                page.write_text(fill(text))
    print(f"{'stale' if '--check' in sys.argv else 'rewritten'}: {', '.join(map(str, stale)) or 'nothing'}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    raise SystemExit(main())
