"""The tools that turn results into pages: tables say what the file says, and a stale page or figure is noticed."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pooch
import pytest
import scipy.stats
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from rgd import experiments
from rgd.book import plots
from rgd.errors import CheckpointError
from rgd.experiments.cells import Work
from rgd.experiments.comparison import Comparison
from rgd.identity import weights_digest
from rgd.lab import datasets
from rgd.lab import recipe as recipes
from rgd.lab import registry as zoo
from rgd.lab.bench import Bench, same_findings
from rgd.lab.store import Unknown, sealed
from tools import evidence, figures, fill, fork, notebooks, views

ROOT = Path(__file__).resolve().parent.parent
PROVENANCE = {"date": "2026-01-02T03:04:05+00:00", "commit": "abc", "device": "a CPU", "torch": "2.9"}


def about(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01, "n": 10, "method": "made up"}


def cell(name: str, scale: float, fd: float) -> dict[str, Any]:
    measures = {"fd": about(fd), "sfd": about(2 * fd), "precision": about(0.7), "recall": about(0.6)}
    return {"name": name, "scale": scale, "accuracy": about(0.9), **measures, "images_per_second": 40.0}


COMPARED: dict[str, Any] = {
    "plan": {"entries": [{"name": name, "guide": None} for name in ("none", "vanilla", "robust", "robust, radius 1")]},
    "sweep": [cell("none", 0.0, 90.0)]
    + [cell(n, s, f) for n in ("vanilla", "robust", "robust, radius 1") for s, f in ((1.0, 9.0), (2.0, 3.5))],
    "headline": [
        {**cell(name, 0.0 if name == "none" else 2.0, fd), "seeds": [{"images_per_second": v} for v in (30.0, 50.0)]}
        for name, fd in (("none", 80.0), ("vanilla", 4.0), ("robust", 3.0), ("robust, radius 1", 5.0))
    ],
    "real": {"accuracy": about(0.99), "fd": about(1.0), "precision": about(0.8), "recall": about(0.9)},
    "differences": [
        {"a": "robust", "b": "vanilla", **{n: about(-1.0) for n in ("fd", "accuracy", "precision", "recall")}}
    ],
    "provenance": PROVENANCE,
}  # fmt: skip
STUDIED: dict[str, Any] = {
    "classifiers": {
        f"mnist/{name}": [
            {"t": t, **{m: about(0.5 + t / 1000) for m in figures.STUDY if m != "cosine_of_twins" or name == "robust"},
             "spectrum": [0.5, 0.3, 0.2]}
            for t in (0, 100)
        ]
        for name in ("vanilla", "robust", "robust_1")
    },
    "made": {
        f"mnist/{name}": {"hours": 0.5, "images_seen": 1000}
        for name in ("vanilla", "robust", "robust_1")
    },
    "provenance": PROVENANCE,
}  # fmt: skip


MATCHED: dict[str, Any] = {
    "plan": {"levels": [100, 300], "denoisers": ["m/ddpm", "m/early"], "reference": "m/vanilla"},
    "classifiers": {
        f"m/{name}": {
            "levels": [
                {"t": t, "cross_entropy": about(1 - k), "energy": about(2.0),
                 "by": {d: {m: about(k + t / 100 + (d == "m/early")) for m in ("scale", "explained_more")}
                        for d in ("m/ddpm", "m/early")}}
                for t in (100, 300)
            ],
            "between": [{"between": [100, 300], "information": about(k), "energy": about(2.0)}],
        }
        for k, name in enumerate(("clean", "vanilla", "robust_1"))
    },
    "provenance": PROVENANCE,
}  # fmt: skip


def learned(world: str, draws: int, radius: float | str, seed: int) -> dict[str, Any]:
    cosine = 0.5 + 0.1 * (radius != 0) + 0.01 * seed * (1 + (radius != 0))
    row = {"accuracy": about(0.8), "cosine_own": about(cosine), "cosine_other": about(0.4)}
    row |= {"error_other": 1.5, "length_own": 1 - 0.2 * (radius != 0)}
    return {
        "world": world, "draws": draws, "radius": radius, "seed": seed,
        "levels": [{"t": 0, **row}, {"t": 300, **row, "cosine_own": about(cosine + 0.2)}],
        "walks_read_by_bayes": about(0.25), "guided_right": about(0.75), "guided_energy_distance": 0.125,
    }  # fmt: skip


KNOWN: dict[str, Any] = {
    "plan": {"worlds": ["plane", "sphere"], "draws": [10, 1000], "radii": [0.0, 0.5, "growing"]},
    "classifiers": [
        learned(world, draws, radius, seed)
        for world in ("plane", "sphere")
        for draws in (10, 1000)
        for radius in (0.0, 0.5, "growing")
        for seed in (0, 1, 2)
    ],
    "provenance": PROVENANCE,
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    for name, content in (("compare", COMPARED), ("study", STUDIED), ("truth", KNOWN)):
        (tmp_path / "results" / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def test_a_block_and_a_number_in_a_sentence_are_filled(project: Path) -> None:
    page = (
        "Before <!-- fill: results/compare.json value headline/name=robust, radius 1/fd:1 -->old<!-- /fill --> it.\n\n"
        "<!-- fill: results/compare.json differences -->\nold\n<!-- /fill -->\n"
    )
    once = fill.fill(page, project)
    assert "-->5.0 (5.0 to 5.0)<!-- /fill --> it." in once
    assert "| robust minus vanilla | -1.00 ±0.01 |" in once
    assert "old" not in once
    assert fill.fill(once, project) == once


@pytest.mark.parametrize(
    "block",
    [
        "results/compare.json value headline/name=nobody/fd",
        "results/compare.json value headline/name=robust/nothing",
        "results/compare.json value",
        "results/compare.json differences argument",
        "results/compare.json no_such_view",
    ],
)
def test_a_block_that_cannot_be_filled_is_an_error_that_names_it(block: str, project: Path) -> None:
    page = f"<!-- fill: {block} -->old<!-- /fill -->"
    with pytest.raises(ValueError, match=block.split()[0]):
        fill.fill(page, project)
    assert "(not measured)" in fill.fill(page, project, strict=False)


def test_what_was_not_measured_says_so_and_no_page_of_the_book_does(project: Path) -> None:
    assert fill.MISSING in fill.fill("<!-- fill: results/none.json made -->old<!-- /fill -->", project)
    listed = re.findall(r"(?:root|file): (book/\S+)", (ROOT / "_toc.yml").read_text())
    assert len(listed) > 3
    for page in ["README", *listed]:
        assert fill.MISSING not in (ROOT / f"{page}.md").read_text(), page


def test_numbers_are_found_by_path() -> None:
    assert views.value(COMPARED, "sweep/1/scale") == "1.0"
    assert views.value(COMPARED, "headline/name=vanilla/fd:2") == "4.00 (3.99 to 4.01)"
    two = {"sweep": [{"name": "a, b", "scale": 0.25, "fd": 1.0}, {"name": "a, b", "scale": 0.5, "fd": 2.0}]}
    assert views.value(two, "sweep/name=a, b&scale=0.5/fd:1") == "2.0"
    assert views.value({"a": {"b": 12345.678}}, "a/b:1") == "12,345.7"


def test_a_sentence_says_where_numbers_come_from() -> None:
    origin = {**PROVENANCE, "device": "x86_64 CPU, 1 threads", "processes": 2}
    told = views.made({"provenance": origin})
    assert told.endswith("at commit abc, on x86_64 CPU, 1 thread in each of 2 processes, torch 2.9.")
    assert views.made({"provenance": PROVENANCE}).endswith("on a CPU, torch 2.9.")


def test_a_capstones_numbers_are_told_with_where_they_come_from() -> None:
    found = {"cosine": {"value": 0.5, "low": 0.25, "high": 0.75}}
    *table, _, last = views.capstone({"provenance": PROVENANCE, "found": found}).splitlines()
    assert table[-1] == "| cosine | 0.500 (0.250 to 0.750) |"
    assert last == views.made({"provenance": PROVENANCE})


def test_headline_has_a_row_for_each_guidance() -> None:
    *_, last = views.headline(COMPARED).splitlines()
    assert last.startswith("| robust, radius 1 | 2 | 0.900 ±0.010 | 5.0 ±0.0 | 10.0 ")
    assert last.endswith("| 50 |"), "the speed of the cell that was least disturbed"
    *_, last = views.headline({**COMPARED, "left": ["slow", "slower"]}).splitlines()
    assert last == "Still to be drawn: slow; slower."


def test_images_a_second_are_those_of_turns_where_all_had_them(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    path = tmp_path / "results" / "compare.json"
    path.write_text(json.dumps(COMPARED))
    assert fill.content(path) == COMPARED
    rates = {"none": 81.4, "vanilla": 54.3, "robust": 53.6, "robust, radius 1": 54.0}
    prices = {"images_per_second": rates, "rounds": {"none": [80, 81.4, 82]}, "images": 50, "provenance": PROVENANCE}
    (tmp_path / "results" / "prices.json").write_text(json.dumps({"compare": prices}))
    assert fill.content(tmp_path / "results" / "prices.json") == {"compare": prices}
    _, _, *rows, _, said = views.headline(fill.content(path)).splitlines()
    assert [row.split("|")[-2].strip() for row in rows] == ["81", "54", "54", "54"]
    assert "medians of 3 rounds of 50 images" in said
    assert "2026-01-02" in said
    del rates["robust"]  # measured on another day than what has them: nothing to compare with
    *_, last = views.headline({**COMPARED, "prices": prices}).splitlines()
    assert last.endswith("| 50 |")


def test_levels_has_a_column_for_each_level_and_leaves_out_what_was_not_measured() -> None:
    table = views.levels(STUDIED, "norm").splitlines()
    assert table[0] == "| t | 0 | 100 |"
    assert table[4] == "| robust, 1 | 0.50 ±0.01 | 0.60 ±0.01 |"
    twins = views.levels(STUDIED, "cosine_of_twins").splitlines()
    assert [line.split("|")[1].strip() for line in twins[2:]] == ["robust"]


def test_the_truth_is_averaged_over_levels_and_seeds() -> None:
    table = views.truth(KNOWN, "plane").splitlines()
    assert len(table) == 2 + 2 * 3
    assert table[2] == "| 10 | vanilla | 0.800 | 0.610 | 0.400 | 1.500 | 0.250 | 125.0 |"
    assert table[4].startswith("| 10 | robust, growing radius | 0.800 | 0.720 |")


def test_differences_are_between_classifiers_of_one_seed() -> None:
    row = views.truth_differences(KNOWN, "cosine_own").splitlines()[2]
    differences = [0.1 + 0.01 * seed for seed in range(3)]
    expected = scipy.stats.ttest_1samp(differences, 0).confidence_interval()
    assert row.startswith(f"| plane | 10 | 0.110 ±{(expected.high - expected.low) / 2:.3f} |")
    one = {**KNOWN, "classifiers": [row for row in KNOWN["classifiers"] if row["seed"] == 0]}
    assert "0.100 (one seed)" in views.truth_differences(one, "cosine_own")
    assert "| 0.0 ±0.0 |" in views.truth_differences(KNOWN, "guided_energy_distance")


def test_the_truth_by_level_leaves_out_those_where_the_exact_gradient_is_nothing() -> None:
    table = views.truth_levels(KNOWN, "length_own in sphere").splitlines()
    assert table[0] == "| t | 300 |"
    assert table[2:] == ["| vanilla | 1.00 |", "| robust, 0.5 of the way | 0.80 |", "| robust, growing radius | 0.80 |"]


def tempered(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def test_what_is_told_of_tempering() -> None:
    ways = [("exact", "exact", 0.1), ("exact", "guided", 0.3), (0.0, "guided", 0.4), (0.4, "twisted, annealed", 0.2)]
    cells = [
        {"world": world, "guide": guide, "way": way, "scale": scale, "walkers": K, "distance": tempered(value / K)}
        for world in ("line", "sphere, 8") for scale in (2.0, 4.0) for guide, way, value in ways for K in (1, 2)
    ]  # fmt: skip
    names = ("fd", "precision", "recall", "accuracy", "certain")
    images = [
        {"guide": "m/a", "seed": seed, "ways": [
            {"way": "guided", "scale": 1.0, **{name: tempered(seed + 0.5) for name in names}},
            {"way": "accepted", "scale": 4.0, "kept": 0.7 + 0.1 * seed, **{name: tempered(0.5) for name in names}},
        ]} for seed in (0, 1)
    ]  # fmt: skip
    results = {"plan": {"walkers": [1, 2]}, "worlds": cells, "images": images}
    assert views.tempering(results, "line at 4").splitlines()[2:] == [
        "| exact | 0.100 ±0.010 | 0.050 ±0.010 |",
        "| guided | 0.300 ±0.010 | 0.150 ±0.010 |",
        "| guided, vanilla guide | 0.400 ±0.010 | 0.200 ±0.010 |",
        "| twisted, annealed, robust, 0.4 of the way guide | 0.200 ±0.010 | 0.100 ±0.010 |",
    ]
    *_, first, second = views.tempering_images(results, "m/a").splitlines()
    wide = scipy.stats.ttest_1samp([0.5, 1.5], 0).confidence_interval()
    assert first.startswith(f"| guided | 1 |  | 1.0 ±{(wide.high - wide.low) / 2:.1f} | 1.000 ±")
    assert second == "| accepted | 4 | 0.75 | 0.5 ±0.0 | 0.500 ±0.000 | 0.500 ±0.000 | 0.500 ±0.000 | 0.500 ±0.000 |"


def test_intervals_need_more_than_one_value() -> None:
    assert math.isnan(views.interval([1.0])["low"])
    found = views.interval([1.0, 2.0, 4.0])
    expected = scipy.stats.ttest_1samp([1.0, 2.0, 4.0], 0).confidence_interval()
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))


def test_the_price_of_robustness() -> None:
    *_, row = views.cheaper(STUDIED).splitlines()
    cells = [text.strip() for text in row.strip("|").split("|")]
    assert cells[:3] == ["PGD-7", "17", "30"]
    assert cells[3:] == [*["0.500 (0.490 to 0.510)"] * 2, *["0.600 (0.590 to 0.610)"] * 2]
    *_, short = views.cheaper_short(STUDIED).splitlines()
    assert short.startswith("| PGD-7 | 17 | 0.50 (0.49 to 0.51) |")


@pytest.mark.parametrize(("name", "units"), [("vanilla", 3), ("free", 3), ("fgsm", 5), ("pgd3", 9), ("robust_1", 17)])
def test_a_step_costs_three_units_and_each_of_its_attack_two(name: str, units: int) -> None:
    assert views._units(f"mnist/{name}") == units


def test_a_card_says_what_its_recipe_says_and_how_to_make_the_model_again() -> None:
    card = views.cards(json.loads((ROOT / "results/models.json").read_text())).split("### `mnist/robust_2`\n\n")[1]
    assert card.startswith(recipes.read("mnist/robust_2").about + "\n")
    assert "`rgd train mnist/robust_2` makes it again" in card


def test_a_card_is_written_of_what_training_says_today_as_of_what_it_said() -> None:
    """The files of the published models are older: theirs has the code of the objective, and not what it is."""
    results, name = json.loads((ROOT / "results/models.json").read_text()), "mnist/robust"
    older, model, recipe = views.cards(results), results["models"][name], recipes.read(name)
    model["made"]["made_from"] = recipe.makes(datasets.load("digits"))
    card = views.cards(results).split(f"### `{name}`\n\n")[1]
    assert f"**Objective**: `{recipe.objective}`" in card
    assert f"**Objective**: `{recipe.objective}`" in older
    assert f"{recipe.training.steps:,} steps" in card


def test_matching_by_either_denoiser_leaves_out_who_is_compared_with() -> None:
    assert views.matching(MATCHED, "scale").splitlines()[2:] == [
        "| clean | 1.00 ±0.01 | 3.00 ±0.01 |",
        "| vanilla | 2.00 ±0.01 | 4.00 ±0.01 |",
        "| robust, 1 | 3.00 ±0.01 | 5.00 ±0.01 |",
    ]
    assert views.matching(MATCHED, "explained_more by m/early").splitlines()[2:] == [
        "| clean | 2.00 ±0.01 | 4.00 ±0.01 |",
        "| robust, 1 | 4.00 ±0.01 | 6.00 ±0.01 |",
    ]


def test_a_number_of_the_matching_is_found_by_its_level() -> None:
    assert views.matched(MATCHED, "explained_more of m/robust_1 at 300") == "5.00 (4.99 to 5.01)"
    with pytest.raises(ValueError):
        views.matched(MATCHED, "explained_more of m/robust_1 at 200")


EDITED: dict[str, Any] = {
    "means": [{"way": way, "guide": guide, "accuracy": about(scale / 4), "pixels": about(9 + scale)}
              for way, guide in (("a", "m/vanilla"), ("a", "m/robust"), ("b", "none")) for scale in (1.0, 2.0)]
}  # fmt: skip


@pytest.mark.parametrize(
    ("function", "content", "lines"),
    [
        (figures.compare, COMPARED, 2 * (4 + 4 + 1)),
        (figures.study, STUDIED, 3 * len(figures.STUDY) - 2 + 3),
        (figures.matching, MATCHED, (3 + 1) + (1 + 1) + (3 + 1)),
        (figures.truth_gradients, KNOWN, 2 * 2 * 3),
        (figures.truth_guidance, KNOWN, 2 * 2 * 3),
        (figures.editing, EDITED, 2 * 3 + 3),
    ],
)
def test_figures_draw_every_row(function: Any, content: dict[str, Any], lines: int) -> None:
    plots.use_style()
    assert sum(len(ax.lines) for ax in function(content).axes) == lines


def test_the_landing_pages_figures_say_who_is_ahead() -> None:
    fig = figures.nearer({**MATCHED, "classifiers": {"mnist/robust": MATCHED["classifiers"]["m/robust_1"]}})
    assert [list(line.get_ydata()) for line in fig.axes[0].lines] == [[3.0, 5.0], [0, 0]]
    intervals = [(1.0, 2.0), (-2.0, -1.0), (-1.0, 2.0), (-2.0, 1.0)]
    found = [{"a": "robust", "b": "vanilla", "fd": {**about((low + high) / 2), "low": low, "high": high}}
             for low, high in intervals]  # fmt: skip
    other = {"a": "robust", "b": "none", "fd": about(9.0)}
    lines = figures.steers(*({"differences": [other, pair]} for pair in found)).axes[0].lines[:-1]
    assert [tuple(line.get_xdata()) for line in lines[::2]] == intervals
    ahead = ("vanilla", "robust", "none", "none")
    assert [line.get_color() for line in lines[::2]] == [plots.COLOURS[name] for name in ahead]


def test_kinds_without_a_colour_of_the_book_can_be_told_apart() -> None:
    styles = figures._styles(["vanilla", "free", "fgsm", "pgd3", "robust_1", "robust, radius 2"])
    assert len({style["color"] for style in styles.values()}) == 6, "a variant of robust has not robust's"
    assert len({style["marker"] for style in styles.values()}) == 6
    assert styles["robust_1"]["color"] == plots.COLOURS["robust"]


def test_kinds_with_variants_have_a_row_each_over_the_grey_curves_of_the_others() -> None:
    names = ["none", "vanilla", "robust", "robust, radius 1", "clean", "clean, at x0"]
    sweep = [cell(name, scale, 9.0 / scale) for name in names for scale in (1.0, 2.0)]
    plan = {"entries": [{"name": name, "guide": None} for name in names]}
    axes = figures.compare({**COMPARED, "plan": plan, "sweep": sweep}).axes
    for row, (own, others) in zip((axes[:2], axes[2:]), (("robust", "clean"), ("clean", "robust"))):
        for ax in row:
            named = [line.get_label() for line in ax.lines if not str(line.get_label()).startswith("_")]
            shown = [name for name in names if not name.startswith(others)]
            assert named == [*shown, "held-out images"]
            assert sum(name.startswith(own) for name in shown) == 2
            assert [line.get_color() for line in ax.lines].count("0.85") == 2


def test_held_out_images_far_below_do_not_press_the_curves_flat() -> None:
    lowest = min(cell["fd"]["value"] for cell in COMPARED["sweep"])
    left = figures.compare({**COMPARED, "real": {**COMPARED["real"], "fd": about(lowest / 500)}}).axes[0]
    assert left.get_ylim()[0] > lowest / 4
    assert [text.get_text() for text in left.texts] == [f"↓ at {lowest / 500:.1f}"]


def test_names_of_pictures_fit_their_column_and_wear_their_guides_colour() -> None:
    fig = plots.picture_table({"vanilla, 11": torch.zeros(10, 3, 8, 8)}, ["automobile"] * 10, size=0.6)
    FigureCanvasAgg(fig).draw()  # lays out
    axes = fig.axes
    assert axes[0].texts[0].get_color() == plots.COLOURS["vanilla"]
    places = [ax.title.get_window_extent() for ax in axes]
    assert all(left.x1 < right.x0 for left, right in pairwise(places))


def test_figures_carry_the_hash_of_their_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "FIGURES", {"f": ("truth", figures.truth_guidance), "none": ("none", figures.study)})
    (drawn,) = figures.draw(project / "results", project / "figures")
    assert drawn == project / "figures" / "f.png"
    assert figures.source_of(drawn) == figures.digest_of(project / "results" / "truth.json")


def test_the_books_figures_are_those_of_the_results() -> None:
    for name, (files, _) in figures.FIGURES.items():
        sources = [ROOT / "results" / f"{file}.json" for file in files.split()]
        picture = ROOT / "book" / "figures" / f"{name}.png"
        assert all(source.exists() for source in sources) == picture.exists(), f"run python -m tools.figures: {name}"
        if picture.exists():
            assert figures.source_of(picture) == figures.digest_of(*sources), f"run python -m tools.figures: {name}"


@pytest.mark.parametrize("name", [name for name in experiments.names() if (ROOT / f"results/{name}.json").exists()])
def test_results_are_those_of_the_published_models(name: str) -> None:
    """Nobody could get the others."""
    results = json.loads((ROOT / f"results/{name}.json").read_text())
    cards = json.loads((ROOT / "results/models.json").read_text())["models"]
    made, weights = results.get("made", {}), results.get("weights", {})
    for model in made.keys() & cards.keys():
        assert made[model] == cards[model]["made"], model
    for model in weights.keys() & cards.keys():
        assert weights[model] == weights_digest(zoo.model(model, "cpu").network), model


@pytest.mark.parametrize("name", experiments.names())
def test_published_results_are_known_without_computing(name: str, tmp_path: Path) -> None:
    """All but what was measured of models that are not published, whose weights no file of ours holds."""
    plan: Any = experiments.read(name)
    if getattr(plan, "data", None) and not (data_folder() / f"{plan.data}-test.npz").exists():
        pytest.skip(f"there is no {plan.data} in RGD_DATA or the cache")
    out = tmp_path / f"{name}.json"
    shutil.copy(ROOT / "results" / out.name, out)
    bench = Bench(plan, out, runs=tmp_path, progress=False)
    with bench.store.as_it_is():
        if isinstance(plan, Comparison):
            found = Work(plan, bench).known()
            assert same_findings(found, {part: bench.earlier[part] for part in found})
            return
        try:
            *_, found = plan.run(bench)
        except (Unknown, CheckpointError):
            if name in ("study_mnist", "study_cheaper"):
                return
            raise
    assert {part: sealed(known) for part, known in found.items()} == {part: bench.earlier[part] for part in found}


def data_folder() -> Path:
    return Path(os.environ.get("RGD_DATA") or pooch.os_cache("rgd"))


def test_a_fork_has_its_own_address_in_every_link() -> None:
    old = fork.address()
    slug = old.removeprefix("https://github.com/")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    tracked = listed.stdout.split(b"\0")
    named = 0
    for name in filter(None, tracked):
        path = ROOT / name.decode()
        if path.exists() and path.suffix in (".md", ".toml", ".yml", ".cff", ".ipynb"):
            text = path.read_text()
            there = fork.repoint(text, old, "https://github.com/you/the-book.git")
            assert slug not in there, path
            assert fork.repoint(there, "https://github.com/you/the-book", old) == text
            named += there != text
    assert named > 5
    assert (
        fork.repoint(f"{old}-2 {old}/issues", old, "https://github.com/a/b") == f"{old}-2 https://github.com/a/b/issues"
    )
    assert fork.repoint(f"git clone {old} && cd rgd", old, "https://github.com/a/b") == (
        "git clone https://github.com/a/b && cd b"
    )


@pytest.mark.parametrize("address", ["you/rgd", "https://example.com/you/rgd", "https://github.com/you", ""])
def test_a_fork_lives_where_colab_can_open_it(address: str) -> None:
    with pytest.raises(ValueError, match="looks like"):
        fork.repoint("text", fork.address(), address)


def test_every_chapter_has_a_link_to_colab() -> None:
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        first = json.loads(path.read_text())["cells"][0]["source"]
        assert notebooks.colab(f"notebooks/{path.name}") in "".join(first)


def test_the_forecast_reads_finished_and_stopped_experiments(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done, stopped = {**STUDIED, "seconds": 7200}, {**COMPARED, "left": ["clean", "clean, at x0"]}
    (project / "results" / "study_mnist.json").write_text(json.dumps(done))
    (project / "results" / "compare_mnist.json").write_text(json.dumps(stopped))
    monkeypatch.setattr(evidence, "ROOT", project)
    said = evidence.forecast([], project)
    assert "study_mnist: is there" in said
    assert "compare_mnist: goes on from results/compare_mnist.json; left: clean; clean, at x0" in said
    assert "matching_mnist: never run before" in said
    assert "about 0.0 hours" in said
    anew = evidence.forecast([], project / "again")
    assert "study_mnist: 2.0 hours on a CPU" in anew
    assert "about 2.0 hours" in anew


def test_results_of_several_runs_name_them_all() -> None:
    later = {**PROVENANCE, "date": "2026-01-03T00:00:00+00:00", "commit": "def"}
    assert views.made({"provenance": PROVENANCE}) == "Made on 2026-01-02 at commit abc, on a CPU, torch 2.9."
    assert views.made({"provenance": later, "before": [PROVENANCE, {**PROVENANCE, "commit": "ghi"}]}) == (
        "Made on 2026-01-02 and 2026-01-03 at commit abc, ghi and def, on a CPU, torch 2.9."
    )


def test_what_is_told_of_edits() -> None:
    found, more = ({"value": v, "low": v - 1, "high": v + 1} for v in (9.0, -0.5))
    rows = [
        {"way": "a", "guide": "m/v", "pixels": found, "pixels_more": more},
        {"way": "a", "guide": "m/r", "pixels": found, "pixels_more": more},
        {"way": "b", "guide": "none", "pixels": None, "pixels_more": None},
    ]
    trips = [{"steps": steps, "rounds": 0, "error": {"value": 8.0 / steps}} for steps in (2, 4)]
    results = {"plan": {"guides": ["m/v", "m/r"]}, "equal": rows, "noise": [{"trips": trips}, {"trips": trips}]}
    assert views.editing(results, "pixels").splitlines() == [
        "| way | v | r | r minus v | no guide |",
        "|---|---|---|---|---|",
        "| a | 9.0 ±1.0 | 9.0 ±1.0 | -0.5 ±1.0 |  |",
        "| b |  |  |  | not reached |",
    ]
    assert views.editing_trips(results).splitlines() == [
        "| rounds | 2 steps | 4 steps |",
        "|---|---|---|",
        "| 0 | 4.00 ±0.00 | 2.00 ±0.00 |",
    ]
