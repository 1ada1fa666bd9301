"""Tables and numbers for the pages, each made from one file of `results/` by a function of its own.

In a page, `<!-- fill: results/NAME.json VIEW ARGUMENT -->` calls VIEW below with the file's content and, where it takes
one, the argument; see `tools.fill`.
"""

from __future__ import annotations

import inspect
import itertools
import math
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from scipy.stats import sem
from scipy.stats import t as student
from tabulate import DataRow, TableFormat, tabulate

from rgd.attacks import PGD
from rgd.demo.report import estimate_text
from rgd.experiments.cells import best_cells
from rgd.lab import recipe as recipes
from tools.parts import PARTS

ROW = DataRow("|", "|", "|")
MARKDOWN = TableFormat(None, lambda widths, _: "|---" * len(widths) + "|", None, None, ROW, ROW, 1, None)


def _table(headers: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown, its cells as wide as their texts: where one number changes, one line does."""
    return tabulate(rows, headers, MARKDOWN, numalign=None, stralign=None, disable_numparse=True)


def guidance(results: dict[str, Any]) -> str:
    """Each guidance at its best scale, the unguided model, and the held-out images."""
    rows = []
    for name, cell in best_cells(results["sweep"]).items():
        rows.append((name, f"{cell['scale']:g}", cell) if cell["scale"] else ("unguided", "", cell))
    rows.append(("held-out images", "", results["real"]))
    columns = {"accuracy": 2, "fd": 1, "precision": 2, "recall": 2}
    table = [[name, scale, *(estimate_text(cell[m], columns[m]) for m in columns)] for name, scale, cell in rows]
    return _table(["guidance", "scale", "judge accuracy", "FD-judge", "precision", "recall"], table)


def walk(results: dict[str, Any]) -> str:
    """What an independent judge sees after a walk along each gradient."""
    rows = [
        [kind, *(estimate_text(share[who]) for who in ("judge", "itself"))] for kind, share in results["walk"].items()
    ]
    return _table(["gradient", "the judge sees the target class", "the classifier itself does"], rows)


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
    rows = [
        [f"`{name}`", model["kind"], *_size(model["parameters"], model["bytes"]),
         _minutes(model["made"]["hours"]), f"{model['made']['images_seen']:,}"]
        for name, model in results["models"].items()
    ]  # fmt: skip
    return _table(["model", "what", "parameters", "file", "trained for", "images seen"], rows)


def cards(results: dict[str, Any]) -> str:
    """A card for each published model, from its metadata."""
    text = []
    for name, model in results["models"].items():
        made, again = model["made"], f"python -m tools.parts {name}" if name in PARTS else f"rgd train {name}"
        how = made["made_from"].get("recipe", made["made_from"])  # where it stands in older files
        changed = f"{model['changed_by_rounding']:.1e}" if model["changed_by_rounding"] else "none"
        rounded = model["precision"] == "float16"
        text += [
            f"### `{name}`\n",
            f"{PARTS[name].about if name in PARTS else recipes.read(name).about}\n",
            f"- **Made** on {made['date'][:10]} at commit {made['commit']}, seed {made['seed']}, on {made['device']}, "
            f"torch {made['torch']}, in {_minutes(made['hours'])}: {how['training']['steps']:,} steps, "
            f"{made['images_seen']:,} images. `{again}` makes it again.",
            f"- **Data**: {made['data']}, training split, SHA-256 {made['made_from']['data'][:16]}...{_of(model)}",
            f"- **Objective**: `{_written(how['objective'])}`.",
            f"- **File**: {model['bytes'] / 1e6:.2f} MB, {model['parameters']:,} parameters in {model['precision']}"
            + (
                f"; rounding changes {changed} of its answers."
                if rounded
                else f", because float16 would change {changed} of its answers."
            ),
            f"- **Measured** {_quality(model)}.\n",
        ]
    return "\n".join(text)


def _of(model: dict[str, Any]) -> str:
    """Which published models one was made of, if there are any; a table saw nothing else."""
    names = " and ".join(f"`{name}`" for name in model["made"].get("of", ()))
    how = "it knows of them by" if model["kind"] == "table" else "made with"
    return names and f"; {how} {names}{' alone' if model['kind'] == 'table' else ''}."


def _minutes(hours: float) -> str:
    minutes = round(60 * hours)
    return "under a minute" if minutes < 1 else f"{minutes} minute{'s' * (minutes > 1)}"


def _size(parameters: int, bytes: int) -> tuple[str, str]:
    """In millions and MB, or, of what is tiny, exactly and in kB."""
    few, small = parameters < 5000, bytes < 50_000
    return (f"{parameters:,}" if few else f"{parameters / 1e6:.2f} M",
            f"{bytes / 1e3:.0f} kB" if small else f"{bytes / 1e6:.1f} MB")  # fmt: skip


def _written(part: Any) -> str:
    """An identity as the code that makes it: `PGD(threat=L2(radius=0.5), ...)`. Older files have the code itself."""
    if not isinstance(part, dict) or "tensor" in part:
        return "..." if isinstance(part, dict) else str(part)
    fields = ", ".join(f"{name}={_written(value)}" for name, value in part.items() if name != "is")
    return f"{part['is'].split(':')[-1]}({fields})" if "is" in part else f"{{{fields}}}"


def _quality(model: dict[str, Any]) -> str:
    on = f"on {model['test_images']:,} held-out images: "
    if "samples" in model:
        seen = model["samples"]
        found = (
            f"{label} {estimate_text(seen[name], digits)}" for name, label, digits in SEEN_IN_SAMPLES if name in seen
        )
        return f"by what the chapter's judge sees in {seen['fd']['n']} samples: {', '.join(found)}"
    if model["kind"] == "judge":
        return f"{on}accuracy {estimate_text(model['accuracy'], 4)}"
    if model["kind"] == "autoencoder":
        return f"{on}mean squared error of what comes back {model['squared_error']:.4f}"
    if model["kind"] == "denoiser":
        errors = (f"{error:.3f} at t = {t}" for t, error in model["squared_error"].items())
        return f"{on}mean squared error of the noise {', '.join(errors)}"
    clean = (f"{estimate['value']:.3f} at t = {t}" for t, estimate in model["accuracy"].items())
    attacked = (f"{estimate['value']:.3f} at t = {t}" for t, estimate in model["accuracy_attacked"].items())
    return f"{on}accuracy {', '.join(clean)}; on the first 500 under PGD-7 of the paper's radius {', '.join(attacked)}"


SEEN_IN_SAMPLES = (("accuracy", "read as ordered", 3), ("fd", "FD-judge", 1), ("recall", "recall", 2))


def _narrow(estimate: dict[str, Any], digits: int) -> str:
    """An estimate whose interval is as wide to either side, for tables of many columns."""
    return f"{estimate['value']:z.{digits}f} ±{(estimate['high'] - estimate['low']) / 2:.{digits}f}"


def headline(results: dict[str, Any]) -> str:
    """Each guidance at its best scale, on seeds that did not choose it; FID where Inception looked too."""
    columns = {"accuracy": "judge accuracy", "fd": "FD-judge", "sfd": "sFD-judge", "fid": "FID"}
    columns |= {"precision": "precision", "recall": "recall"}
    shown = [name for name in columns if name in results["headline"][0]]
    table, prices = [], results.get("prices", {})
    rates = prices.get("images_per_second", {})
    in_turns = {cell["name"] for cell in results["headline"]} <= rates.keys()
    for cell in results["headline"]:
        cells = [_narrow(cell[name], 1 if name in ("fd", "sfd", "fid") else 3) for name in shown]
        # Of its fastest cell, which the machine's other work has disturbed least.
        sweep = [c for c in results["sweep"] if c["name"] == cell["name"]]
        speed = max(c["images_per_second"] for c in (*sweep, *cell["seeds"]))
        speed = rates[cell["name"]] if in_turns else speed
        scale = f"{cell['scale']:g}" if cell["scale"] else ""
        table.append([cell["name"], scale, *cells, f"{speed:.0f}"])
    left, headers = results.get("left"), ["guidance", "scale", *(columns[name] for name in shown), "images/s"]
    more = [f"Still to be drawn: {'; '.join(left)}."] if left else []
    if in_turns:
        rounds = len(next(iter(prices["rounds"].values())))
        how = f"medians of {rounds} rounds of {prices['images']} images, all ways in turns"
        more.append(f"The column *images/s*: {how} (`python -m benchmarks.prices`). {made(prices)}")
    return "\n\n".join([_table(headers, table), *more])


def differences(results: dict[str, Any]) -> str:
    """Robust minus vanilla, sample by sample."""
    digits = {"fd": 2, "accuracy": 3, "precision": 3, "recall": 3}
    rows = results["differences"]
    table = [[f"{row['a']} minus {row['b']}", *(_narrow(row[name], digits[name]) for name in digits)] for row in rows]
    return _table(["a minus b", "FD-judge", "accuracy", "precision", "recall"], table)


def value(results: dict[str, Any], where: str) -> str:
    """One number: `headline/name=robust/fd:1` is the entry of that name in the list `headline`, to one digit. There may
    be more to know it by: `sweep/name=robust&scale=2.0/fd:1`."""
    path, _, digits = where.partition(":")
    found: Any = results
    for part in path.split("/"):
        if "=" in part:
            wanted = dict(condition.split("=", 1) for condition in part.split("&"))
            found = next(item for item in found if wanted.items() <= {k: str(item[k]) for k in wanted}.items())
        else:
            found = found[int(part) if isinstance(found, list) else part]
    if isinstance(found, dict):
        return estimate_text(found, int(digits or 2))
    return f"{found:,.{int(digits)}f}" if digits else f"{found}"


def made(results: dict[str, Any]) -> str:
    """Where an experiment's numbers come from, in a sentence."""
    origin = results["provenance"]
    runs = [*results.get("before", ()), origin]  # of several runs each did a part
    days, commits = (
        re.sub(r", (?=[^,]*$)", " and ", ", ".join(dict.fromkeys(run[key][:n] for run in runs)))
        for key, n in (("date", 10), ("commit", 12))
    )
    device = re.sub(r"\b1 threads\b", "1 thread", origin["device"])
    if origin.get("processes", 1) > 1:
        device += f" in each of {origin['processes']} processes"
    return f"Made on {days} at commit {commits}, on {device}, torch {origin['torch']}."


def capstone(results: dict[str, Any]) -> str:
    """The reference result of a capstone: each number, with its interval, and where it comes from."""
    table = [[what, estimate_text(estimate, 3)] for what, estimate in results["found"].items()]
    return f"{_table(['what', 'found'], table)}\n\n{made(results)}"


def levels(results: dict[str, Any], name: str) -> str:
    """One measure of a study: a row for each classifier, a column for each noise level."""
    columns = [row["t"] for row in next(iter(results["classifiers"].values()))]
    table = [
        [model.split("/")[1].replace("_", ", "), *(_narrow(row[name], 2) for row in rows)]
        for model, rows in results["classifiers"].items()
        if name in rows[0]
    ]
    return _table(["t", *columns], table)


def matching(results: dict[str, Any], what: str) -> str:
    """One measure of gradients held against the images: `scale`, or `explained_more by mnist/early`.

    Of many levels every other one, or a table is wider than a page.
    """
    name, _, denoiser = what.partition(" by ")
    columns = results["plan"]["levels"]
    shown = range(len(columns)) if len(columns) <= 8 else range(1, len(columns), 2)
    table = []
    for model, found in results["classifiers"].items():
        if name.endswith("_more") and model == results["plan"]["reference"]:
            continue
        by = denoiser or results["plan"]["denoisers"][0]
        texts = [_narrow(found["levels"][k]["by"][by][name], 2) for k in shown]
        table.append([model.split("/")[1].replace("_", ", "), *texts])
    return _table(["t", *(columns[k] for k in shown)], table)


def matched(results: dict[str, Any], what: str) -> str:
    """One number of that table with its interval: `explained_more of mnist/robust at 400`."""
    name, model, level = re.split(" of | at ", what)
    row = results["classifiers"][model]["levels"][results["plan"]["levels"].index(int(level))]
    return estimate_text(row["by"][results["plan"]["denoisers"][0]][name])


def tangents(results: dict[str, Any], what: str) -> str:
    """How much of each gradient lies along the images, `share`; or how much more than the reference's, `more`."""
    table = [
        [model.split("/")[-1].replace("_", ", "), *(_narrow(row[what], 3) for row in found["levels"])]
        for model, found in results["classifiers"].items()
        if what == "share" or model != results["plan"]["reference"]
    ]
    return _table(["t", *results["plan"]["levels"]], table)


def orders(results: dict[str, Any]) -> str:
    """Whether classifiers are ordered alike by that share and by the direction of their gradient, level by level."""
    rows = results["orders"]["levels"]
    return _table(
        ["t", *(row["t"] for row in rows)], [["rank correlation", *(estimate_text(row["agreement"]) for row in rows)]]
    )


def radius_name(radius: float | str) -> str:
    """How pages call a classifier of the truth's worlds; its radius is a share of the way between two classes."""
    if isinstance(radius, str):
        return f"robust, {radius} radius"
    return f"robust, {radius} of the way" if radius else "vanilla"


def over_levels(row: dict[str, Any], name: str) -> float:
    """The mean over noise levels of one measure of one classifier; some are measured once, without levels."""
    found = row[name] if name in row else [level[name] for level in row["levels"]]
    values = [v["value"] if isinstance(v, dict) else v for v in (found if isinstance(found, list) else [found])]
    return statistics.fmean(values)


def interval(values: Sequence[float]) -> dict[str, float]:
    """The mean of a few independent values, and its 95 % interval by Student's t."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return {"value": mean, "low": math.nan, "high": math.nan}
    low, high = (float(end) * sem(values) + mean for end in student.interval(0.95, len(values) - 1))
    return {"value": mean, "low": low, "high": high}


def learned(results: dict[str, Any], world: str, draws: int, radius: float | str) -> list[dict[str, Any]]:
    """The classifiers of the truth's experiment that differ in their seed alone, in its order."""
    rows = [r for r in results["classifiers"] if (r["world"], r["draws"], r["radius"]) == (world, draws, radius)]
    return sorted(rows, key=lambda row: row["seed"])


def _by_seed(results: dict[str, Any], world: str, draws: int, radius: float | str, name: str) -> list[float]:
    factor = 1000 if name == "guided_energy_distance" else 1
    return [factor * over_levels(row, name) for row in learned(results, world, draws, radius)]


def _digits(name: str) -> int:
    return 1 if name == "guided_energy_distance" else 3


TRUTH = {
    "accuracy": "accuracy",
    "cosine_own": "cosine, own class",
    "cosine_other": "cosine, another class",
    "error_other": "relative error, another class",
    "walks_read_by_bayes": "walks that end in the class",
    "guided_energy_distance": "energy distance x 1000",
}


def truth(results: dict[str, Any], world: str) -> str:
    """One world: a row for each size of the training set and radius, averaged over noise levels and seeds."""
    table = []
    for draws in results["plan"]["draws"]:
        for radius in results["plan"]["radii"]:
            means = {name: statistics.fmean(_by_seed(results, world, draws, radius, name)) for name in TRUTH}
            cells = [f"{mean:.{_digits(name)}f}" for name, mean in means.items()]
            table.append([f"{draws:,}", radius_name(radius), *cells])
    return _table(["draws", "classifier", *TRUTH.values()], table)


def truth_differences(results: dict[str, Any], name: str) -> str:
    """Robust minus vanilla in one measure, trained on the same draws: a row for each world and number of draws."""
    radii = [radius for radius in results["plan"]["radii"] if radius != 0]
    table = []
    for world in results["plan"]["worlds"]:
        for draws in results["plan"]["draws"]:
            plain, cells = _by_seed(results, world, draws, 0.0, name), []
            for radius in radii:
                pairs = zip(_by_seed(results, world, draws, radius, name), plain, strict=True)
                found = interval([robust - vanilla for robust, vanilla in pairs])
                one = math.isnan(found["low"])
                number = f"{found['value']:.{_digits(name)}f} (one seed)"
                cells.append(number if one else _narrow(found, _digits(name)))
            table.append([world, f"{draws:,}", *cells])
    return _table(["world", "draws", *radii], table)


def truth_levels(results: dict[str, Any], what: str) -> str:
    """One measure by noise level, `length_own in sphere`: a row for each radius, of the most draws, a mean over seeds.

    The levels from 200 on: below, exact gradients are all but nothing, and lengths relative to them anything.
    """
    name, _, world = what.partition(" in ")
    draws = max(results["plan"]["draws"])
    shown = [k for k, row in enumerate(results["classifiers"][0]["levels"]) if row["t"] >= 200]
    table = []
    for radius in results["plan"]["radii"]:
        rows = learned(results, world, draws, radius)
        cells = [f"{statistics.fmean(over_levels(row['levels'][k], name) for row in rows):.2f}" for k in shown]
        table.append([radius_name(radius), *cells])
    return _table(["t", *(results["classifiers"][0]["levels"][k]["t"] for k in shown)], table)


WAYS = {
    "vanilla": "no attack",
    "free": "free",
    "fgsm": "one step, random start",
    "fgsm_stop": "the same, stopping",
    "pgd3": "PGD-3",
    "robust_1": "PGD-7",
}


def _way(model: str) -> str:
    """How pages call the training of a model of the experiment `study_cheaper`."""
    return WAYS.get(model.split("/")[1], model)


def tempering(results: dict[str, Any], where: str) -> str:
    """Distances to the tempered density, `line at 4`: a row for each way to draw a crowd, a column for each size; on
    the line last those with a learned guide."""
    world, scale = where.split(" at ")
    sizes = results["plan"]["walkers"]
    rows: dict[str, list[str]] = {}
    for cell in results["worlds"]:
        if cell["world"] == world and cell["scale"] == float(scale):
            by = "" if cell["guide"] == "exact" else f", {radius_name(cell['guide'])} guide"
            rows.setdefault(cell["way"] + by, []).append(_narrow(cell["distance"], 3))
    return _table(["drawn", *sizes], [[way, *cells] for way, cells in rows.items()])


def tempering_images(results: dict[str, Any], guide: str) -> str:
    """What a judge sees in images, by way to draw them and scale, for one guide: means over seeds."""
    seeds = [row["ways"] for row in results["images"] if row["guide"] == guide]
    digits = {"fd": 1, "precision": 3, "recall": 3, "accuracy": 3, "certain": 3}
    table = []
    for ways in zip(*seeds, strict=True):
        means = [_narrow(interval([way[name]["value"] for way in ways]), places) for name, places in digits.items()]
        kept = f"{statistics.fmean(way['kept'] for way in ways):.2f}" if "kept" in ways[0] else ""
        table.append([ways[0]["way"], f"{ways[0]['scale']:g}", kept, *means])
    columns = ["FD-judge", "precision", "recall", "accuracy", "certain"]
    return _table(["drawn", "scale", "kept", *columns], table)


def editing(results: dict[str, Any], part: str) -> str:
    """Of each way to edit the distance at one accuracy, `pixels` or `features`: a column for each guide and one for
    none, and that of the last guide minus that of the first."""
    guides, table = results["plan"]["guides"], {}
    for row in results["equal"]:
        cells = table.setdefault(row["way"], {})
        cells[row["guide"]] = _narrow(row[part], 1) if row[part] else "not reached"
        if row["guide"] == guides[-1] and row[f"{part}_more"]:
            cells["more"] = _narrow(row[f"{part}_more"], 1)
    names = [guide.split("/")[1] for guide in guides]
    columns = (*guides, "more", "none")
    rows = [[way, *(cells.get(column, "") for column in columns)] for way, cells in table.items()]
    return _table(["way", *names, f"{names[-1]} minus {names[0]}", "no guide"], rows)


def editing_trips(results: dict[str, Any]) -> str:
    """How far images are from themselves after a round trip: a row for each number of rounds, a column for the steps;
    means over seeds."""
    trips = [trip for row in results["noise"] for trip in row["trips"]]
    steps, rounds = (list(dict.fromkeys(trip[part] for trip in trips)) for part in ("steps", "rounds"))
    found = {key: [t["error"]["value"] for t in trips if (t["rounds"], t["steps"]) == key]
             for key in itertools.product(rounds, steps)}  # fmt: skip
    table = [[n, *(_narrow(interval(found[n, step]), 2) for step in steps)] for n in rounds]
    return _table(["rounds", *(f"{step} steps" for step in steps)], table)


def levers(results: dict[str, Any]) -> str:
    """Ways to draw guided images, each at its scale of least FD-judge: what they cost, and what a judge sees."""
    table = []
    for name, cell in best_cells(results["sweep"]).items():
        cost = f"{1e3 * cell['seconds'] / cell['images']:.1f}"
        scores = [_narrow(cell[metric], places) for metric, places in {"fd": 1, "recall": 3, "accuracy": 3}.items()]
        table.append([name, f"{cell['scale']:g}", cost, *scores])
    return _table(["way", "scale", "ms an image", "FD-judge", "recall", "accuracy"], table)


def turns(results: dict[str, Any]) -> str:
    """Builds that drew in turns, round by round: the median time of an image with the range, the memory, and what a
    judge sees."""
    titles, table = {"old": "ad7a990", "loop": "plain loop"}, []
    for found in results["rounds"]:
        first, last = found["seeds"]
        drawn = [row for row in results["turns"] if first <= row["seed"] <= last]
        for name in dict.fromkeys(row["name"] for row in drawn):
            rows = [row for row in drawn if row["name"] == name]
            times = [1e3 * row["seconds"] / row["images"] for row in rows]
            way, peak = rows[0]["way"], next(row["bytes"] for row in results["memory"] if row["name"] == name)
            time = f"{statistics.median(times):.1f} ({min(times):.1f} to {max(times):.1f})"
            scores = found["scores"].get(name, {})
            seen = [_narrow(scores[m], d) if scores else "" for m, d in {"fd": 1, "recall": 3, "accuracy": 3}.items()]
            sampler = {"ddim": "DDIM", "dpm_solver": "DPM-Solver++"}[way["sampler"]]
            cells = [
                titles.get(name, "this build"),
                f"{sampler}, {way['steps']}",
                f"{rows[0]['scale']:g}",
                f"{first} to {last}",
                time,
            ]
            table.append([*cells, f"{peak / 1e6:.0f}", *seen])
    head = ["build", "steps", "scale", "seeds", "ms an image", "MB at most", "FD-judge", "recall", "accuracy"]
    return _table(head, table)


def adm(results: dict[str, Any]) -> str:
    """What a guided step of ADM-128 takes, by the precision of the weights, and how far it is from float32."""
    table = []
    for row in results["steps"]:
        eps, cosine = (f(d[name] for d in row["drift"]) for f, name in ((max, "eps"), (min, "gradient_cosine")))
        cells = [f"{row['seconds_to_load']:.0f}", f"{row['seconds_a_step']:.1f}", f"{row['peak_bytes'] / 1e9:.1f}"]
        table.append([row["dtype"], *cells, f"{eps:.1e}", f"{cosine:.4f}"])
    return _table(["weights", "s to load", "s a step", "GB at most", "eps off by", "cosine of the gradients"], table)


def bill(results: dict[str, Any]) -> str:
    """What the paper's table takes on each accelerator, by how many there are, and what an hour of one costs."""
    table = []
    for device in results["devices"]:
        price = [f"${device['price']:.2f}", f"${device['dollars']:,.0f}"] if device["price"] else ["", ""]
        spent = [f"{hour:,.3g}" for hour in device["hours"].values()]
        table.append([device["name"], f"{device['peak'] / 1e12:g}", *spent, *price])
    counts = [f"hours on {n}" for n in results["devices"][0]["hours"]]
    sources = dict.fromkeys(device["source"] for device in results["devices"])
    named = {s: ", ".join(d["name"] for d in results["devices"] if d["source"] == s) for s in sources}
    notes = "; ".join(f"{names}, {source}" for source, names in named.items())
    return f"{_table(['device', 'TFLOP/s', *counts, 'an hour of one', 'the table'], table)}\n\nSources: {notes}."


def fuzz(results: dict[str, Any]) -> str:
    """What became of mutated files: how many were read, how many refused, and whether anything else came."""
    table = []
    for name, counts in results["kinds"].items():
        refused = sum(n for outcome, n in counts.items() if outcome not in ("read", "other"))
        table.append([f"`{name}`", *(f"{n:,}" for n in (counts.get("read", 0), refused, counts.get("other", 0)))])
    return _table(["file", "read all the same", "refused by name", "anything else"], table)


def soak(results: dict[str, Any]) -> str:
    """Runs that were killed: how often, how often they came to their end, and what was not the same there."""
    table = []
    for row in results["jobs"]:
        more = row["bytes"]["largest"] / row["bytes"]["undisturbed"]
        cells = [row["job"], f"{row['seconds']:.0f}", row["kills"], row["ends"], len(row["differ"]), f"{more:.2f}"]
        table.append(list(map(str, cells)))
    return _table(["job", "s undisturbed", "kills", "ends", "ends that differ", "disk at most, times"], table)


def machines(results: dict[str, Any]) -> str:
    """How many times as fast two processes are as one, inside and from start to end."""
    table = []
    for kind in ("training", "sampling"):
        times, runs = results[kind]["times as fast"], len(results[kind]["runs"]) // 2
        cells = [
            f"{times[w]['value']:.2f} ({times[w]['low']:.2f} to {times[w]['high']:.2f})" for w in ("work", "whole")
        ]
        table.append([kind, str(runs), *cells])
    return _table(["", "turns", "work, times as fast", "whole, times as fast"], table) + "\n\n" + made(results)


def recompute(results: dict[str, Any]) -> str:
    """A step of robust training as it is, with less kept, and compiled: its seconds, its memory beyond the start."""
    names = {
        "as it is": "ImageNet-128, as it is",
        "recompute": "ImageNet-128, `recompute`",
        "small": "MNIST, as it is",
        "small, compiled": "MNIST, compiled",
    }
    table = [
        [names[row["way"]], row["batch"], f"{row['seconds_first_step']:.1f}", f"{row['seconds_a_step']:.2f}",
         f"{(row['bytes_at_most'] - row['bytes_before']) / 1e9:.2f}"]
        for row in results["ways"]
    ]  # fmt: skip
    headers = ["classifier", "batch", "first step, s", "a later step, s", "memory beyond the start, GB"]
    return _table(headers, table) + "\n\n" + made(results)


def scoring(results: dict[str, Any]) -> str:
    """What scoring took and takes, metric by metric, and how far apart the numbers are, as a share of them."""
    shown = [row for row in results["table"] if row["old"] > 0.01]
    shown.append({"metric": "all", **results["total"], "apart": max(row["apart"] for row in shown)})
    table = [[row["metric"], f"{row['old']:.2f}", f"{row['new']:.2f}", f"{row['apart']:.0e}"] for row in shown]
    return _table(["metric", "ad7a990, s", "now, s", "numbers apart"], table)


def cheaper(results: dict[str, Any]) -> str:
    """What training costs, and what it withstands at noise level zero and one hundred."""
    table = []
    for model, rows in results["classifiers"].items():
        made = results["made"][model]
        cells = [
            estimate_text(row[name], 3)
            for row in rows
            if row["t"] in (0, 100)
            for name in ("accuracy", "accuracy_attacked")
        ]
        units, minutes = _units(model), made["hours"] * 60
        table.append([_way(model), units, f"{minutes:.0f}", *cells])
    accuracies = ["accuracy at t = 0", "attacked", "at t = 100", "attacked"]
    return _table(["trained with", "units a step", "minutes", *accuracies], table)


def _units(model: str) -> int:
    """The cost of a training step in forward passes, without what early stopping saves; a backward pass is two."""
    attack = getattr(recipes.read(model).objective, "attack", None)
    return 3 + 2 * attack.steps if isinstance(attack, PGD) else 3


def cheaper_short(results: dict[str, Any]) -> str:
    """What training costs, and its accuracy under attack by noise level."""
    shown = (0, 100, 200, 300)
    table = []
    for model, rows in results["classifiers"].items():
        cells = [estimate_text(row["accuracy_attacked"]) for row in rows if row["t"] in shown]
        table.append([_way(model), _units(model), *cells])
    return _table(["trained with", "units a step", *(f"t = {t}" for t in shown)], table)


FUNCTIONS: tuple[Callable[..., str], ...] = (
    guidance,
    walk,
    origin,
    models,
    cards,
    headline,
    differences,
    value,
    made,
    capstone,
    levels,
    matching,
    matched,
    tangents,
    orders,
    truth,
    truth_differences,
    truth_levels,
    tempering,
    tempering_images,
    editing,
    editing_trips,
    adm,
    bill,
    fuzz,
    soak,
    machines,
    recompute,
    levers,
    turns,
    scoring,
    cheaper,
    cheaper_short,
)
VIEWS = {function.__name__: function for function in FUNCTIONS}
TAKES_ARGUMENT = {name for name, view in VIEWS.items() if len(inspect.signature(view).parameters) > 1}
