"""The figures of the book's pages, each made from files of `results/`.

`python -m tools.figures` draws those whose files are there and writes them to `book/figures/`. A figure carries the
hash of its files, so that a test can tell a stale one.
"""

from __future__ import annotations

import hashlib
import json
import re
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from rgd.book import plots
from rgd.experiments.cells import best_cells
from rgd.measure import Estimate
from tools.views import learned, over_levels, radius_name

ROOT = Path(__file__).resolve().parent.parent
WIDEST = 9.6  # inches: in a page's column of 740 pixels a text of 9 points is then 9 pixels high
RADII = {"vanilla": plots.COLOURS["vanilla"], "0.05": "#9ecae1", "0.1": "#4292c6", "0.2": "#2171b5", "0.4": "#08306b"}
DASHES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))  # for variants of one kind of guide, in turn


def _kind(name: str) -> str:
    return re.split("[,_]", name)[0]


def _styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The first of a kind has the kind's colour and marker; variants and kinds without have spare ones in turn."""
    found: dict[str, dict[str, Any]] = {}
    spare, seen = cycle(plots.SPARE.items()), Counter[str]()
    for name in names:
        kind = _kind(name)
        known = kind in plots.COLOURS and not seen[kind]
        colour, marker = (plots.COLOURS[kind], plots.MARKERS[kind]) if known else next(spare)
        found[name] = {"color": colour, "linestyle": DASHES[seen[kind] % len(DASHES)], "marker": marker}
        seen[kind] += 1
    return found


def compare(results: dict[str, Any]) -> Figure:
    """Every guidance at every scale, distance against accuracy and precision against recall: a row for each kind with
    variants, over the grey curves of the other such kinds."""
    best = best_cells(results["sweep"])
    entries = [entry["name"] for entry in results["plan"]["entries"] if entry["name"] in best]  # or still to be swept
    kinds = Counter(map(_kind, entries))
    rows = [kind for kind, n in kinds.items() if n > 1] or [""]
    fig, axes = plots.figure(len(rows), 2, WIDEST, 3.9 * len(rows) + 0.5)
    for kind, line in zip(rows, axes):
        shown = _styles([name for name in entries if kinds[_kind(name)] == 1 or _kind(name) == kind])
        for ax, measures in zip(line, (("accuracy", "fd"), ("recall", "precision"))):
            _curves(ax, results, measures, {name: shown.get(name) for name in entries}, best)
        line[0].set_yscale("log")
        line[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=9)
    return fig


def _curves(ax: Axes, results: dict[str, Any], measures: tuple[str, str], styles: dict[str, Any], best: Any) -> None:
    """One panel of `compare`: each entry by scale, its chosen scale ringed; those without a style in grey behind."""
    x, y = measures
    for name, style in styles.items():
        cells = [cell for cell in results["sweep"] if cell["name"] == name]
        places = [c[x]["value"] for c in cells], [c[y]["value"] for c in cells]
        if style is None:
            ax.plot(*places, color="0.85", linewidth=1, zorder=1)
            continue
        ax.plot(*places, label=plots.plain(name), markersize=4, **style)
        ring = {"markersize": 11, "fillstyle": "none", "color": style["color"]}
        ax.plot(best[name][x]["value"], best[name][y]["value"], "o", **ring)
    real, lowest = results["real"], min(cell[y]["value"] for cell in results["sweep"])
    place = real[x]["value"], max(real[y]["value"], lowest / 2)
    ax.plot(*place, "*", markersize=13, color="black", label="held-out images")
    if place[1] > real[y]["value"]:  # so far below that the curves would lie flat
        note = f"↓ at {real[y]['value']:.1f}"
        ax.annotate(note, place, (-10, -2), textcoords="offset points", ha="right", fontsize=9)
    ax.locator_params(axis="x", nbins=6)
    ax.set_xlabel({"accuracy": "judge accuracy", "recall": "recall"}[x])
    ax.set_ylabel({"fd": "FD-judge", "precision": "precision"}[y])


STUDY = {
    "accuracy": "accuracy",
    "accuracy_attacked": "accuracy under PGD",
    "calibration_error": "calibration error",
    "norm": "length of the gradient",
    "steadiness": "cosine to the gradient nearby",
    "cosine_of_twins": "cosine to the twin's gradient",
    "read_by_judge": "walks that the judge reads",
}


def study(results: dict[str, Any]) -> Figure:
    """Each measure of trained classifiers by noise level, and the spectra of their gradients."""
    fig, axes = plots.figure(4, 2, WIDEST, 13.0)
    named = {model.split("/")[1].replace("_", ", "): rows for model, rows in results["classifiers"].items()}
    styles = _styles(list(named))
    known = [measure for measure in STUDY if any(measure in rows[0] for rows in named.values())]  # twins may be missing
    panels = dict(zip((*known, "spectrum"), axes.flat))
    for measure in known:
        for name, rows in named.items():
            if measure in rows[0]:
                points = [Estimate(**row[measure]) for row in rows]
                _band(panels[measure], [row["t"] for row in rows], points, name, styles[name])
        panels[measure].set_xlabel("t")
        panels[measure].set_title(STUDY[measure], fontsize=11)
    panels["norm"].set_yscale("log")
    for name, rows in named.items():
        level = rows[min(2, len(rows) - 1)]
        panels["spectrum"].plot(level["spectrum"], label=plots.plain(name), markersize=4, **styles[name])
    panels["spectrum"].set_title(f"spectrum of the gradient, t = {level['t']}", fontsize=11)
    panels["spectrum"].set_xlabel("cycles per image")
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=4)
    return fig


def matching(results: dict[str, Any]) -> Figure:
    """What gradients spend against what the class tells, who is nearer to the truth, and the scale each should have."""
    fig, axes = plots.figure(2, 2, WIDEST, 7.6)
    spent, nearer, scale, names = axes.flat
    plan, named = results["plan"], {n.split("/")[1].replace("_", ", "): r for n, r in results["classifiers"].items()}
    reference, styles = plan["reference"].split("/")[1].replace("_", ", "), _styles(list(named))
    middles = [sum(pair["between"]) / 2 for pair in named[reference]["between"]]
    for name, found in named.items():
        by = [level["by"][plan["denoisers"][0]] for level in found["levels"]]
        energies = [Estimate(**pair["energy"]) for pair in found["between"]]
        _band(spent, middles, energies, name, styles[name])
        _band(scale, plan["levels"], [Estimate(**row["scale"]) for row in by], name, styles[name])
        if name not in (reference, "clean"):  # clean is off the scale
            _band(nearer, plan["levels"], [Estimate(**row["explained_more"]) for row in by], name, styles[name])

    def told(k: int) -> Estimate:
        """By whoever knows the class best at both ends: a cross-entropy bounds what is left to know from above."""
        known = {name: found["levels"][k : k + 2] for name, found in named.items()}
        best = min(known, key=lambda name: sum(level["cross_entropy"]["value"] for level in known[name]))
        return Estimate(**named[best]["between"][k]["information"])

    black = {"color": plots.COLOURS["oracle"], "marker": plots.MARKERS["oracle"]}
    _band(spent, middles, [told(k) for k in range(len(middles))], "what the class tells", black)
    spent.set_yscale("log")
    spent.set_title("energy of the gradient", fontsize=11)
    nearer.axhline(0, color=plots.COLOURS[reference], linewidth=1)
    nearer.set_title(f"explains more of the truth than {plots.plain(reference)}", fontsize=11)
    scale.axhline(1, color="black", linewidth=0.8)
    scale.set_ylim(0, 2)
    scale.set_title("best scale", fontsize=11)
    for ax in (spent, nearer, scale):
        ax.set_xlabel("t")
    names.set_axis_off()
    names.legend(*spent.get_legend_handles_labels(), loc="center")
    return fig


def nearer(results: dict[str, Any]) -> Figure:
    """The landing page's first half: how much more of the truth the paper's robust gradient explains than vanilla's."""
    fig, ((ax,),) = plots.figure(1, 1, 3.8, 3.1)
    plan, levels = results["plan"], results["classifiers"]["mnist/robust"]["levels"]
    points = [Estimate(**level["by"][plan["denoisers"][0]]["explained_more"]) for level in levels]
    _band(ax, plan["levels"], points, "robust", _styles(["robust"])["robust"])
    ax.axhline(0, color=plots.COLOURS["vanilla"])
    ax.margins(y=0.12)
    ax.annotate("robust", (plan["levels"][0], max(p.value for p in points)), color=plots.COLOURS["robust"])
    ax.annotate("vanilla", (plan["levels"][0], 0), (0, -12), textcoords="offset points", color=plots.COLOURS["vanilla"])
    ax.set_xlabel("t, the noise level")
    ax.set_title("Nearer to the true gradient", fontsize=11)
    return fig


SETTINGS = {
    "compare_mnist": "MNIST",
    "compare_mnist_conditional": "MNIST, class told",
    "compare_cifar10": "CIFAR-10",
    "compare_cifar10_conditional": "CIFAR-10, class told",
}


def steers(*results: dict[str, Any]) -> Figure:
    """The landing page's second half: robust minus vanilla in FD-judge, in each of the settings."""
    fig, ((ax,),) = plots.figure(1, 1, 3.8, 3.1)
    for place, (name, found) in enumerate(zip(SETTINGS.values(), results, strict=True)):
        (pair,) = (pair for pair in found["differences"] if (pair["a"], pair["b"]) == ("robust", "vanilla"))
        fd = Estimate(**pair["fd"])
        ahead = "robust" if fd.high < 0 else "vanilla" if fd.low > 0 else "none"
        ax.plot([fd.low, fd.high], [place, place], color=plots.COLOURS[ahead], linewidth=2)
        ax.plot(fd.value, place, plots.MARKERS[ahead], color=plots.COLOURS[ahead])
        side, gap = ("left", 8) if fd.value < 0 else ("right", -8)  # opposite the interval
        ax.annotate(name, (0, place), (gap, 0), textcoords="offset points", ha=side, va="center")
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set(yticks=[], ylim=(len(SETTINGS) - 0.6, -0.8))
    limit = 1.1 * max(abs(end) for end in ax.get_xlim())
    ax.set_xlim(-limit, limit)
    ax.set_xlabel("← robust steers better     vanilla →")
    ax.set_title("And as a guide?", fontsize=11)
    return fig


def _band(ax: Axes, x: Sequence[float], points: Sequence[Estimate], label: str, style: dict[str, Any]) -> None:
    ax.plot(x, [p.value for p in points], label=plots.plain(label), markersize=4, **style)
    ax.fill_between(x, [p.low for p in points], [p.high for p in points], color=style["color"], alpha=0.12, linewidth=0)


def _truth_style(radius: float | str) -> dict[str, Any]:
    if isinstance(radius, str):
        colour, marker = list(plots.SPARE.items())[radius == "growing"]
        return {"color": colour, "linestyle": "--", "marker": marker}
    key = "vanilla" if radius == 0 else str(radius)
    return {"color": RADII.get(key, "#4292c6"), "marker": plots.MARKERS["robust" if radius else "vanilla"]}


def paid(results: dict[str, Any]) -> Figure:
    """What each way to draw guided images takes and how near to the data it comes; and, as stars, the builds that took
    turns in the last round, on ten times the images."""
    fig, ((ax, names),) = plots.figure(1, 2, WIDEST, 4.6)
    ways = best_cells(results["sweep"])
    for k, (name, cell) in enumerate(ways.items()):
        cost, fd, shade = 1e3 * cell["seconds"] / cell["images"], Estimate(**cell["fd"]), list(plots.SPARE)[k % 2 * 3]
        ax.plot([cost, cost], [fd.low, fd.high], color=shade, alpha=0.15, linewidth=3)
        ax.plot(cost, fd.value, "o", color=shade, markersize=4)
        side = {"va": "bottom", "xytext": (0, 4)} if k % 2 else {"va": "top", "xytext": (0, -4)}  # neighbours are near
        ax.annotate(str(k + 1), (cost, fd.value), textcoords="offset points", ha="center", color=shade, **side)
        names.text(0, 1 - k / len(ways), f"{k + 1}  {name}", transform=names.transAxes, color=shade, va="top")
    last = results["rounds"][-1]
    for build, scores in last["scores"].items():
        drawn = [row for row in results["turns"] if row["name"] == build and row["seed"] >= last["seeds"][0]]
        cost = 1e3 * statistics.median(row["seconds"] / row["images"] for row in drawn)
        fd, title = Estimate(**scores["fd"]), "ad7a990" if build == "old" else "this build"
        ax.plot([cost, cost], [fd.low, fd.high], color="black")
        ax.plot(cost, fd.value, "*", color="black", markersize=11)
        ax.annotate(title, (cost, fd.low), (0, -4), textcoords="offset points", ha="center", va="top")
    ax.set(xscale="log", xlabel="ms an image", ylabel="FD-judge")
    ticks = [tick for tick in (5, 7, 10, 15, 20, 30, 50, 70, 100) if ax.get_xlim()[0] <= tick <= ax.get_xlim()[1]]
    ax.set_xticks(ticks, list(map(str, ticks)))
    ax.set_xticks([], minor=True)
    names.set_axis_off()
    return fig


def truth_gradients(results: dict[str, Any]) -> Figure:
    """The cosine to the exact gradient by noise level, for each world and number of draws."""
    plan = results["plan"]
    fig, axes = plots.figure(len(plan["worlds"]), len(plan["draws"]), WIDEST, 2.9 * len(plan["worlds"]) + 0.4)
    for row, world in zip(axes, plan["worlds"]):
        for ax, draws in zip(row, plan["draws"]):
            for radius in plan["radii"]:
                found = learned(results, world, draws, radius)
                levels = [level["t"] for level in found[0]["levels"]]
                seeds = [[level["cosine_own"]["value"] for level in r["levels"]] for r in found]
                ax.plot(levels, [statistics.fmean(v) for v in zip(*seeds)], label=radius_name(radius), markersize=4,
                        **_truth_style(radius))  # fmt: skip
            ax.set_title(f"{plots.plain(world)}, {draws:,} draws", fontsize=11)
            ax.set_xlabel("t")
        row[0].set_ylabel("cosine to the exact gradient")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3)
    return fig


def truth_guidance(results: dict[str, Any]) -> Figure:
    """How far guided samples are from exact conditional ones, against the cosine of the gradient that guided them."""
    plan = results["plan"]
    rows = len(plan["worlds"]) // 2 + 1  # and a place for the legend
    fig, axes = plots.figure(rows, 2, WIDEST, 3.8 * rows)
    for ax, world in zip(axes.flat, plan["worlds"]):
        for radius in plan["radii"]:
            for draws, fill in zip(plan["draws"], ("none", "full")):
                found = learned(results, world, draws, radius)
                ax.plot([over_levels(r, "cosine_own") for r in found], [r["guided_energy_distance"] for r in found],
                        **{**_truth_style(radius), "linestyle": "none"}, fillstyle=fill,
                        label=f"{radius_name(radius)}, {draws:,}")  # fmt: skip
        ax.set_title(plots.plain(world), fontsize=11)
        ax.set_xlabel("cosine to the exact gradient")
        ax.set_yscale("symlog", linthresh=1e-3)
    for ax in axes.flat[len(plan["worlds"]) :]:
        ax.set_axis_off()
    axes[0, 0].set_ylabel("energy distance to exact samples")
    axes.flat[-1].legend(*axes[0, 0].get_legend_handles_labels(), loc="center", fontsize=9)
    return fig


AT = {"none": "no choice", "noise": "of $x_T$", "x0": r"of $\hat x_0$"}


def noise(results: dict[str, Any]) -> Figure:
    """What six works make of the starting noise and of a guide: a panel for each, its ways one below the other."""

    def short(name: str) -> str:
        return name.removeprefix(f"{results['data']}/").replace("_", ", ")

    def rows(table: str, name: Callable[[dict[str, Any]], str], number: str = "accuracy") -> dict[str, Estimate]:
        return {name(row): Estimate(**row[number]) for row in results[table] if name(row) and number in row}

    hard = [row for row in results["anagrams"] if row["weights"] == "sum" and row["scale"] == results["plan"]["scale"]]
    exact = {"ddim": "DDIM", "ddpm": "ancestral"}
    panels: dict[str, dict[str, Estimate]] = {
        "anagrams, right in both views": {
            f"{short(row['guide'])}: {row['pair'][0]} over {row['pair'][1]}": Estimate(**row["both"])
            for pair in ("47", "35") for row in hard if row["pair"] == pair
        },
        "best of N, exact, in 64 dimensions": rows("exact_best", lambda r: f"{exact[r['sampler']]}, N = {r['N']}"),
        "best of 8, unguided digits": rows(
            "best", lambda r: "" if r["sampling"] != "unguided" else f"{short(r['by'])}, {AT[r['at']]}"
        ),
        "shifted noise, unguided digits": rows(
            "shifts", lambda r: f"{short(r['by'])}, {'golden' if r['by'] != 'none' else 'as it is'}"
            if not r["length"] else f"{short(r['by'])}, length {r['length']:g}"
        ),
        "calls saved by stopping": rows("stopping", lambda r: f"{short(r['guide'])}, {r['until']}", "saved"),
        "class tokens, by teacher": rows("tokens", lambda r: short(r["by"])),
        "experts, cosine to the exact gradient": {
            f"{name}, t = {row['t']}": Estimate(**row[part])
            for row in results["exact_ranges"] if row["t"] in (150, 450, 750)
            for name, part in (("one network", "one"), ("five experts", "experts"))
        },
        "dots counted, the exact denoiser guided": rows(
            "counting", lambda r: "none" if r["guide"] == "none"
            else f"{r['guide']}, scale {r['scale']}" if r["scale"] in (1, 4, 16) else "", "right"
        ),
    }  # fmt: skip
    fig, axes = plots.figure(4, 2, WIDEST, 12.8)
    for ax, (title, found) in zip(axes.flat, panels.items()):
        for k, (label, number) in enumerate(found.items()):
            kind = re.split("[,:]", label)[0]
            style = {"color": plots.COLOURS.get(kind, "#332288"), "marker": plots.MARKERS.get(kind, ">")}
            off = [[number.value - number.low], [number.high - number.value]]
            ax.errorbar([number.value], [-k], xerr=off, linestyle="none", capsize=3, **style)
        ax.set_yticks([-k for k in range(len(found))], list(found), fontsize=9)
        ax.set_title(title, fontsize=11)
        ax.set_xlim(-0.03, 1.03)
    return fig


def editing(results: dict[str, Any]) -> Figure:
    """Every way to edit at every scale, accuracy against the distance to the original: a panel for each way that is
    guided, over the grey curves of all, and one for those without a guide."""
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in results["means"]:
        rows.setdefault((row["way"], row["guide"].split("/")[-1]), []).append(row)
    alone = [way for way, guide in rows if guide == "none"]
    panels = [*dict.fromkeys(way for way, guide in rows if guide != "none"), "no guide"]
    fig, axes = plots.figure(-(-len(panels) // 3), 3, WIDEST, 2.6 * -(-len(panels) // 3) + 0.4)
    spare = cycle(plots.SPARE.items())
    for ax, panel in zip(axes.flat, panels):
        for cells in rows.values():
            ax.plot(*([c[p]["value"] for c in cells] for p in ("accuracy", "pixels")), color="0.88", zorder=1)
        for (way, guide), cells in rows.items():
            if way == panel or (panel == "no guide" and way in alone):
                colour, marker = next(spare) if way in alone else (plots.COLOURS[guide], plots.MARKERS[guide])
                x, y = ([c[p]["value"] for c in cells] for p in ("accuracy", "pixels"))
                ends = [[[abs(c[p][end] - c[p]["value"]) for c in cells] for end in ("low", "high")]
                        for p in ("pixels", "accuracy")]  # fmt: skip
                ax.errorbar(x, y, *ends, color=colour, marker=marker, markersize=4, elinewidth=0.8,
                            label=way if way in alone else guide)  # fmt: skip
        ax.set_title(panel, fontsize=10)
        ax.legend(fontsize=9, loc="upper left")
        ax.set(xlim=(-0.05, 1.05), ylim=(0, None))
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        ax.set_ylabel("distance to the original")
    for ax in axes[-1]:
        ax.set_xlabel("judge accuracy")
    return fig


def fewer(results: dict[str, Any]) -> Figure:
    """What a hundred samples cost, and what they are worth: trained on digits, guided and distilled, on the published
    models with the encoder's features used again, and what is left of two guides with fewer bits."""
    fig, axes = plots.figure(2, 2, WIDEST, 8.0)

    def priced(ax: Axes, series: dict[str, list[dict[str, Any]]], distance: str = "fd") -> None:
        for style, (name, rows) in zip(cycle([*plots.SPARE.items(), ("0.35", "*")]), series.items()):
            kind = _kind(name)
            colour, marker = (plots.COLOURS[kind], plots.MARKERS[kind]) if kind in plots.COLOURS else style
            x, y = ([row[number]["value"] for row in rows] for number in ("seconds", distance))
            off = [[abs(row[distance][end] - row[distance]["value"]) for row in rows] for end in ("low", "high")]
            ax.errorbar(x, y, off, color=colour, marker=marker, markersize=4, elinewidth=0.8, label=name,
                        linestyle=":" if "teacher" in name else "-")  # fmt: skip
        ax.set_xlabel("seconds for 100 samples")
        ax.legend(fontsize=9)

    trained = [*results["progressive"], *(r for r in results["flows"] if r["way"].startswith("flow"))]
    made = [row | {"way": "made, 4 steps"} for row in results["trilemma"] if row["way"] == "made"]
    rows = [*trained, *made]
    priced(axes[0, 0], {way: [r for r in rows if r["way"] == way] for way in dict.fromkeys(r["way"] for r in rows)})
    guided = [row for row in results["distilled"] if row["by"] == "robust" and row["scale"] == 4]
    ways = dict.fromkeys(row["way"] for row in guided)
    priced(axes[0, 1], {way: [row for row in guided if row["way"] == way] for way in ways})
    most = results["plan"]["steps"]
    reused = [row for row in results["reused"] if row["steps"] == most]
    shorter = [row for row in results["reused"] if row["every"] == 1]
    priced(axes[1, 0], {"encoder asked less often": reused, "fewer steps": shorter}, "fd_more")
    axes[1, 0].axhline(0, color="0.6", linewidth=0.8)
    titles = ["digits, by what was trained", "digits, guided by a robust classifier"]
    titles += ["MNIST, guided by the vanilla classifier", "what few bits leave of a guide"]
    for ax, title in zip(axes.flat, titles):
        ax.set_title(title, fontsize=11)
        ax.set_ylabel("FD-judge")
    for ax, distances in zip(axes[0], ((25, 50, 100, 200, 400, 800), (7, 10, 20, 40, 80))):
        ax.set(xscale="log", yscale="log")
        for axis, ticks in ((ax.xaxis, (0.05, 0.1, 0.2, 0.4, 0.8)), (ax.yaxis, distances)):
            axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.set_ticks([], minor=True)
    axes[1, 0].set_ylabel("FD-judge minus that of all steps")
    for name in results["plan"]["guides"]:
        kind, rows = name.split("/")[-1], [row for row in results["bits_of_a_guide"] if row["guide"] == name]
        for number, line in (("agrees", ":"), ("cosine", "-"), ("rise", "--")):
            values = [row[number]["value"] for row in rows]
            axes[1, 1].plot([str(row["bits"]) for row in rows], values, line, color=plots.COLOURS[kind],
                            marker=plots.MARKERS[kind], markersize=4, label=f"{kind}, {LEFT[number]}")  # fmt: skip
    axes[1, 1].set(xlabel="bits", ylabel="share that is left")
    axes[1, 1].legend(fontsize=9, loc="lower left")
    return fig


LEFT = {"agrees": "its class", "cosine": "the gradient, by its cosine", "rise": "how log p rises along the true one"}


# The files, by a space between them, and what draws them.
FIGURES: dict[str, tuple[str, Callable[..., Figure]]] = {
    "nearer": ("matching_mnist", nearer),
    "steers": (" ".join(SETTINGS), steers),
    "compare_mnist": ("compare_mnist", compare),
    "compare_mnist_conditional": ("compare_mnist_conditional", compare),
    "compare_cheaper": ("compare_cheaper", compare),
    "compare_cifar10": ("compare_cifar10", compare),
    "compare_cifar10_conditional": ("compare_cifar10_conditional", compare),
    "guided_mnist": ("guided-mnist", paid),
    "guided_cifar10": ("guided-cifar10", paid),
    "study_mnist": ("study_mnist", study),
    "study_cifar10": ("study_cifar10", study),
    "matching_mnist": ("matching_mnist", matching),
    "truth_gradients": ("truth", truth_gradients),
    "truth_guidance": ("truth", truth_guidance),
    "noise": ("noise", noise),
    "editing": ("editing", editing),
    "fewer": ("fewer", fewer),
}


def source_of(picture: Path) -> str | None:
    """The hash that a figure carries."""
    with Image.open(picture) as image:
        return image.info.get("results")


def digest_of(*results: Path) -> str:
    """The hash of files of results."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in results)).hexdigest()


def draw(results: Path, target: Path) -> list[Path]:
    """Draw every figure whose files are in the folder `results`; the pictures' paths."""
    plots.use_style()
    target.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, (files, function) in FIGURES.items():
        sources = [results / f"{file}.json" for file in files.split()]
        if all(source.exists() for source in sources):
            drawn.append(target / f"{name}.png")
            function(*(json.loads(source.read_text()) for source in sources)).savefig(
                drawn[-1], dpi=130, metadata={"results": digest_of(*sources), "Software": None}
            )
    return drawn


if __name__ == "__main__":
    for picture in draw(ROOT / "results", ROOT / "book" / "figures"):
        print(picture.relative_to(ROOT))
