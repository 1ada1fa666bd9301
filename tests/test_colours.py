"""One colour for each kind of gradient, and on nothing else; whoever is colour-blind can tell them apart, too."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from nbformat.v4 import new_code_cell, new_notebook, writes

from rgd.book import plots
from rgd.measure import Estimate
from tools import colours, figures

pytest_plugins = ("pytester",)

ROOT = Path(__file__).resolve().parent.parent
RESERVED = ("vanilla", "robust", "oracle", "classifier-free")
# What people without one kind of cone see, in linear RGB (Machado, Oliveira and Fernandes 2009, severity 1).
EYES = {
    "normal": np.eye(3),
    "protan": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "deutan": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "tritan": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def seen(colour: str, eyes: str) -> np.ndarray:
    """CIELAB of a colour; two of them are told apart from a distance of about 2 on."""
    srgb = np.array(to_rgb(colour))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(XYZ @ np.clip(EYES[eyes] @ linear, 0, 1) / (0.9505, 1, 1.089) + 1e-9)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eyes", EYES)
def test_spare_colours_are_far_from_each_other_and_from_those_that_stand_for_a_kind(eyes: str) -> None:
    reserved = [plots.COLOURS[kind] for kind in RESERVED]
    for one, two in [*itertools.combinations(plots.SPARE, 2), *itertools.product(plots.SPARE, reserved)]:
        assert np.linalg.norm(seen(one, eyes) - seen(two, eyes)) > 12, (one, two)


def test_what_has_no_colour_of_its_own_never_has_a_kinds() -> None:
    _, axes = plots.figure()
    lines = [axes[0, 0].plot([0, 1])[0] for _ in range(9)]
    assert {line.get_color() for line in lines} == set(plots.SPARE)
    assert not set(plots.SPARE) & set(plots.COLOURS.values())
    points = [Estimate(0.5, 0.4, 0.6, 9, "")] * 2
    names = ["robust", "seven", "one", "one, its own exam", "robust, radius 2"]
    plots.curves(axes[0, 0], [0, 1], dict.fromkeys(names, points), "t", "")
    drawn = {line.get_label(): line for line in axes[0, 0].lines[9:]}
    assert drawn["robust"].get_color() == drawn["robust, radius 2"].get_color() == plots.COLOURS["robust"]
    assert drawn["one"].get_color() == drawn["one, its own exam"].get_color() != drawn["seven"].get_color()
    assert drawn["one, its own exam"].get_linestyle() == "--"


def test_a_line_that_is_not_robust_must_not_look_it() -> None:
    fig, axes = plots.figure()
    ax, blue = axes[0, 0], plots.COLOURS["robust"]
    ax.plot([0, 1], color=blue, label="robust, radius 2")
    ax.fill_between([0, 1], 0, 1, color=blue, alpha=0.1)
    ax.plot([0, 1], color="black", label="data")
    assert not colours.strangers(fig)
    ax.plot([0, 1], "--", color=blue, label="plain")
    assert colours.strangers(fig) == ["'plain' has the colour of robust"]


def test_unlabelled_points_have_a_kinds_colour_only_where_the_figure_names_it() -> None:
    fig, axes = plots.figure()
    axes[0, 0].scatter([0], [0], color=plots.COLOURS["vanilla"])
    (found,) = colours.strangers(fig)
    assert found.endswith("the colour of vanilla")
    axes[0, 0].set_title("vanilla and others")
    assert not colours.strangers(fig)


@pytest.mark.parametrize("name", figures.FIGURES)
def test_figures_of_the_evidence_keep_the_colours(name: str) -> None:
    files, draw = figures.FIGURES[name]
    fig = draw(*(json.loads((ROOT / "results" / f"{file}.json").read_text()) for file in files.split()))
    FigureCanvasAgg(fig)
    assert not colours.strangers(fig)
    for ax in fig.axes:
        looks = [(line.get_color(), str(line.get_linestyle()), line.get_marker(), line.get_fillstyle())
                 for line in ax.lines if not str(line.get_label()).startswith("_")]  # fmt: skip
        repeated = len(looks) - len(set(looks))
        assert name == "truth_guidance" or not repeated, looks


@pytest.mark.check
def test_a_notebook_whose_figure_breaks_the_rule_fails(pytester: pytest.Pytester) -> None:
    pytester.makeconftest((ROOT / "notebooks" / "conftest.py").read_text().replace(
        "Path(__file__).resolve().parent.parent", repr(str(ROOT))))  # fmt: skip
    for name, label in (("right", "robust"), ("wrong", "plain")):
        source = f"""from rgd import plots
fig, axes = plots.figure()
axes[0, 0].plot([0, 1], color=plots.COLOURS["robust"], label={label!r})
fig"""
        pytester.path.joinpath(f"{name}.ipynb").write_text(writes(new_notebook(cells=[new_code_cell(source)])))
    result = pytester.runpytest_subprocess("--nbval-lax", "--nbval-current-env", "-p", "no:xdist")
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["*wrong.ipynb::colours kept*"])
