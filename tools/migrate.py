"""Once: give the cells of older results the names under which the store keeps such cells today.

Nothing is computed. A cell gets a name only where all that it depends on is known and the same: its models are the
published ones, by weights and provenance (or, for a model that is not published, its weights' digest is in the file),
its images by digest where the file has one, its plan by every field. The others stay as they are, and are named.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rgd import schedule
from rgd.identity import identity, key, weights_digest
from rgd.lab import experiments, registry
from rgd.lab.bench import Bench
from rgd.lab.cells import SWEEP, Work
from rgd.lab.comparison import Comparison
from rgd.lab.matching import Matching
from rgd.lab.origin import provenance
from rgd.lab.recipe import read
from rgd.lab.study import Study
from rgd.lab.truth import Truth

ROOT = Path(__file__).resolve().parent.parent


def keys(plan: Any, old: Mapping[str, Any]) -> dict[str, str]:
    """The keys of those models of a plan that are provably the ones that the file measured."""
    found = {}
    for name in plan.models():
        if name in registry.names():
            model = registry.model(name, "cpu")
            same = old["made"].get(name) == json.loads(json.dumps(model.provenance))
            weights = old.get("weights", {}).get(name, weights_digest(model.network))
            if same and weights == weights_digest(model.network):
                found[name] = key(model)
        elif name in old.get("weights", {}):
            found[name] = gone(name, old)
    return found


def gone(name: str, old: Mapping[str, Any]) -> str:
    """The key of a classifier that is not published, from its recipe and what the file says of it."""
    recipe, made = read(name), old["made"][name]["made_from"]["recipe"]
    was = json.loads(json.dumps(made["network"]))
    assert was == json.loads(json.dumps(vars(recipe.network))), name
    assert made["schedule"] == "linear 1000", name
    network = {"is": "rgd:EncoderUNet", "config": identity(recipe.network), "weights": old["weights"][name]}
    parts = {"classes": tuple("0123456789"), "schedule": schedule.linear(1000)}
    pairs = [*([part, identity(value)] for part, value in parts.items()), ["use", network]]
    whole = {"is": "rgd:Model", "identity": {"map": pairs}}
    return hashlib.blake2b(json.dumps(whole, sort_keys=True).encode(), digest_size=12).hexdigest()


def named(plan: Any, old: dict[str, Any], out: Path) -> tuple[dict[str, Any], list[str]]:
    """The body of the file with names, and what stays without."""
    bench = Bench(plan, out.with_suffix(".none"), progress=False)
    known = keys(plan, old)
    bench.key = known.__getitem__  # type: ignore[assignment]
    left: list[str] = []
    if isinstance(plan, Comparison):
        return compared(plan, old, bench, known, left), left
    if isinstance(plan, Truth):
        rows = {json.dumps([r["world"], r["draws"], r["seed"], r["radius"]]): r for r in old["classifiers"]}
        cells = []
        for cell in plan.cells():
            row = rows[json.dumps([cell["world"], cell["draws"], cell["seed"], cell["radius"]])]
            cells.append({**row, "kept_as": bench.store.name("truth", **plan.parts(cell))})
        return {"classifiers": cells}, left
    test = bench.images(plan.data, "test").take(plan.images)
    assert old.get("data_digest", test.digest) == test.digest
    body = {"data": plan.data, "data_digest": test.digest}
    if isinstance(plan, Matching):
        assert set(plan.models()) <= set(known)
        common = {"denoisers": [(n, known[n]) for n in plan.denoisers], "images": test, "levels": plan.levels}
        cells = {}
        for name in plan.classifiers:
            pair = {"classifier": known[name], "reference": known[plan.reference]}
            values = {**old["classifiers"][name], "log_snr": old["log_snr"]}
            cells[name] = {**values, "kept_as": bench.store.name("matched", **pair, **common)}
        return {**body, "log_snr": old["log_snr"], "classifiers": cells}, left
    assert isinstance(plan, Study)
    settings = replace(plan, data="", judge="", denoiser="", classifiers=(), levels=(), images=0)
    studied: dict[str, Any] = {}
    for name, twin in plan.classifiers:
        used = {"classifier": name, "twin": twin, "judge": plan.judge, "denoiser": plan.denoiser}
        studied[name] = rows_ = [dict(row) for row in old["classifiers"][name]]
        if all(n is None or n in known for n in used.values()) and [name, twin] in old["plan"]["classifiers"]:
            parts = {part: n and known[n] for part, n in used.items()} | {"images": test, "settings": settings}
            for row in rows_:
                row["kept_as"] = bench.store.name("study", **parts, t=row["t"])
        else:
            left.append(f"{name} (with its twin {twin})" if twin else name)
    return {**body, "classifiers": studied}, left


def compared(
    plan: Comparison, old: dict[str, Any], bench: Bench, known: Mapping[str, str], left: list[str]
) -> dict[str, Any]:
    """The same for a comparison."""
    work = Work(plan, bench)
    assert old["data_digest"] == work.data.digest
    was = {entry["name"]: entry for entry in old["plan"]["entries"]}

    def unchanged(name: str) -> bool:
        entry, then = work.entries[name], {"most": None, **was[name]}
        ends = [None if end in (float("inf"), float("-inf")) else end for end in entry.interval]
        now = {**vars(entry), "interval": ends, "scales": list(entry.scales)}
        return then == json.loads(json.dumps(now)) and all(
            n is None or n in known for n in (entry.denoiser, entry.guide, plan.judge)
        )

    def cell(row: dict[str, Any], names: Any) -> dict[str, Any]:
        if not unchanged(row["name"]) or not set(names) <= set(row):
            left.append(f"{row['name']} x{row['scale']:g}")
            return row
        drawn = work.drawn((work.entries[row["name"]], row["scale"]), row["seed"], row["samples"])
        return {**row, "kept_as": bench.store.name("scores", **drawn, **work.scored(names))}

    test = bench.images(plan.data, "test").take(plan.reference)
    scales = {row["name"]: row["scale"] for row in old["headline"]}

    def pairs() -> Iterator[dict[str, Any]]:
        for row in old["differences"]:
            ways = [(work.entries[name], scales[name]) for name in (row["a"], row["b"])]
            parts = []
            for seed, part in zip(plan.headline_seeds, row["seeds"]):
                a, b = (work.drawn(way, seed, plan.headline_samples) for way in ways)
                name = bench.store.name("differences", a=a, b=b, **work.scored(SWEEP))
                parts.append({**part, "kept_as": name})
            yield {**row, "seeds": parts}

    return {
        "data": plan.data,
        "data_digest": work.data.digest,
        "real": {**old["real"], "kept_as": bench.store.name("scores", images=test, **work.scored(work.names))},
        "sweep": [cell(row, SWEEP) for row in old["sweep"]],
        "headline": [{**row, "seeds": [cell(c, work.names) for c in row["seeds"]]} for row in old["headline"]],
        "differences": list(pairs()),
        "left": old["left"],
    }


def main() -> None:
    """All files of results/ that experiments wrote."""
    for name in experiments.names():
        out = ROOT / "results" / f"{name}.json"
        old, plan = json.loads(out.read_text()), experiments.read(name)
        if "kind" in old:
            continue
        body, left = named(plan, old, out)
        known = keys(plan, old)
        weights = old.get("weights", {})
        results = {
            "kind": type(plan).__name__.lower(),
            "plan": identity(plan),
            "keys": known,
            "weights": {n: weights.get(n) or weights_digest(registry.model(n, "cpu").network) for n in known},
            "made": old.get("made", {}),
            **body,
            **{part: old[part] for part in ("provenance", "before", "seconds") if part in old},
            "migrated": provenance(),
        }
        results = {**results, "before": old.get("before", [])}
        out.write_text(json.dumps(json.loads(json.dumps(results)), indent=1))
        print(f"{name}: {'all named' if not left else 'not named: ' + '; '.join(left)}")


if __name__ == "__main__":
    main()
