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


def models(results: dict[str, Any]) -> str:
    """All published models in a table."""
    table = ["| model | what | parameters | file | trained for | images seen |", "|---|---|---|---|---|---|"]
    for name, model in results["models"].items():
        made = model["made"]
        table.append(
            f"| `{name}` | {model['kind']} | {model['parameters'] / 1e6:.2f} M | {model['bytes'] / 1e6:.1f} MB | "
            f"{made['hours'] * 60:.0f} minutes | {made['images_seen']:,} |"
        )
    return "\n".join(table)


def cards(results: dict[str, Any]) -> str:
    """A card for each published model, from its metadata."""
    text = []
    for name, model in results["models"].items():
        made, recipe = model["made"], model["made"]["made_from"]["recipe"]
        about = (ROOT / "recipes" / f"{name.replace('/', '_')}.py").read_text().split('"""')[1].strip()
        rounded = model["precision"] == "float16"
        text += [
            f"### `{name}`\n",
            f"{about}\n",
            f"- **Made** on {made['date'][:10]} by `rgd train recipes/{name.replace('/', '_')}.py` at commit "
            f"{made['commit']}, seed {made['seed']}, on {made['device']}, torch {made['torch']}, in "
            f"{made['hours'] * 60:.0f} minutes: {recipe['training']['steps']:,} steps, {made['images_seen']:,} images.",
            f"- **Data**: {made['data']}, training split, SHA-256 {made['made_from']['data'][:16]}...",
            f"- **Objective**: `{recipe['objective']}`.",
            f"- **File**: {model['bytes'] / 1e6:.2f} MB, {model['parameters']:,} parameters in {model['precision']}"
            + (
                f"; rounding changes {model['changed_by_rounding']:.1e} of its answers."
                if rounded
                else f", because float16 would change {model['changed_by_rounding']:.1e} of its answers."
            ),
            f"- **Measured** on {model['test_images']:,} held-out images: {_quality(model)}.\n",
        ]
    return "\n".join(text)


def _quality(model: dict[str, Any]) -> str:
    if model["kind"] == "judge":
        return f"accuracy {estimate_text(model['accuracy'], 4)}"
    if model["kind"] == "denoiser":
        errors = (f"{error:.3f} at t = {t}" for t, error in model["squared_error"].items())
        return f"mean squared error of the noise {', '.join(errors)}"
    clean = (f"{estimate['value']:.3f} at t = {t}" for t, estimate in model["accuracy"].items())
    attacked = (f"{estimate['value']:.3f} at t = {t}" for t, estimate in model["accuracy_attacked"].items())
    return f"accuracy {', '.join(clean)}; on the first 500 under PGD-7 of the paper's radius {', '.join(attacked)}"


def headline(results: dict[str, Any]) -> str:
    """Each guidance at its best scale, on seeds that did not choose it."""
    table = [
        "| guidance | scale | judge accuracy | FD-judge | sFD-judge | precision | recall | images/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for cell in results["headline"]:
        shown = [estimate_text(cell["accuracy"], 3), estimate_text(cell["fd"], 1), estimate_text(cell["sfd"], 1)]
        shown += [estimate_text(cell[name], 3) for name in ("precision", "recall")]
        speed = sum(seed["images_per_second"] for seed in cell["seeds"]) / len(cell["seeds"])
        scale = f"{cell['scale']:g}" if cell["scale"] else ""
        table.append(f"| {cell['name']} | {scale} | {' | '.join(shown)} | {speed:.0f} |")
    return "\n".join(table)


def differences(results: dict[str, Any]) -> str:
    """Robust minus vanilla, sample by sample."""
    table = ["| a minus b | FD-judge | accuracy | precision | recall |", "|---|---|---|---|---|"]
    for row in results["differences"]:
        shown = [estimate_text(row["fd"], 2)] + [estimate_text(row[n], 3) for n in ("accuracy", "precision", "recall")]
        table.append(f"| {row['a']} minus {row['b']} | {' | '.join(shown)} |")
    return "\n".join(table)


VIEWS: dict[str, Callable[[dict[str, Any]], str]] = {
    f.__name__: f for f in (guidance, walk, origin, models, cards, headline, differences)
}


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
