"""All the evidence in one command: train what is missing, run every experiment, fill the pages and draw the figures.

`python -m tools.evidence` does everything, in hours; it says how many before it begins, and goes on where it was
stopped, from the results that are there. `--out DIR --runs DIR` does all of it anew, with the published models where
there are some (`rgd train NAME` makes one of those again). `--quick` does a small but
complete version in `build/results`, in minutes: every recipe that the experiments need for a few of its steps,
and every experiment in its small version, with the published models where there are some.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import tyro

from rgd import experiments
from rgd.lab import datasets
from rgd.lab import recipe as recipes
from rgd.lab import registry as zoo
from rgd.networks import build
from rgd.training import fit
from tools import figures, fill
from tools.parts import PARTS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "book").glob("results*.md"))


def forecast(names: list[str], target: Path) -> str:
    """About how long it will take here to train these and to have every experiment in `target`, from a few steps of
    training and from our own runs."""
    lines, total = [], 0.0
    for name in names:
        recipe = recipes.read(name)
        steps = fit(
            build(recipe.network), recipe.objective, datasets.load(recipe.data), recipe.make_schedule(), recipe.training
        )
        next(steps)
        began = time.perf_counter()
        next(steps)
        hours = (time.perf_counter() - began) * recipe.training.steps / 3600
        total += hours
        lines.append(f"  train {name}: about {hours:.1f} hours here")
    for name in experiments.names():
        here, ours = (root / "results" / f"{name}.json" for root in (target, ROOT))
        kept, known = (json.loads(record.read_text()) if record.exists() else {} for record in (here, ours))
        if "seconds" in kept:
            lines.append(f"  {name}: is there, and is checked for what has changed")
        elif kept:
            left = "; ".join(kept.get("left", ())) or "nothing"
            lines.append(f"  {name}: goes on from {here.relative_to(target)}; left: {left}")
        elif "seconds" in known:
            hours = known["seconds"] / 3600
            total += hours
            lines.append(f"  {name}: {hours:.1f} hours on {known['provenance']['device']}")
        else:
            lines.append(f"  {name}: never run before")
    return "\n".join([*lines, f"In all about {total:.1f} hours. Ctrl-C keeps what was done; the same command goes on."])


def main(quick: bool = False, out: Path | None = None, runs: Path = Path("runs")) -> None:
    """Make the evidence.

    Args:
        quick: the small version.
        out: a folder for results, figures and the page; default the repository's own, or build/results if quick.
        runs: where models and finished parts are kept; below `out` if quick.
    """
    plans = {name: experiments.read(name, quick) for name in experiments.names()}
    needed = sorted({name for plan in plans.values() for name in plan.models()} - PARTS.keys())  # those have no recipe
    missing = [name for name in needed if name not in zoo.names()]
    if quick:
        out = ROOT / "build" / "results" if out is None else out
        runs = out / "runs"
        for name in needed:
            recipe = recipes.read(name)
            steps = max(5, recipe.training.steps // 500)
            # The published models are trained too, to show that they can be, but it is they that the experiments use.
            folder = (runs if name in missing else out / "small") / name
            recipes.train(replace(recipe, training=replace(recipe.training, steps=steps)), folder)
    else:
        untrained = [name for name in missing if not (runs / name / "model.safetensors").exists()]
        print(forecast(untrained, ROOT if out is None else out))
        for name in missing:
            recipes.train(recipes.read(name), runs / name)
    target = ROOT if out is None else out
    for name, plan in plans.items():
        print(f"\n{name}")
        experiments.run(plan, target / "results" / f"{name}.json", runs=runs)
    if target == ROOT:
        figures.draw(ROOT / "results", ROOT / "book" / "figures")
        fill.main()
    else:
        figures.draw(target / "results", target / "figures")
        for page in PAGES:
            (target / page.name).write_text(fill.fill(page.read_text(), target, strict=False))
        print(f"\nThe pages are {' and '.join(str(target / page.name) for page in PAGES)}")


if __name__ == "__main__":
    tyro.cli(main)
