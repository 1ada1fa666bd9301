"""Figures: what a user has named is drawn as it is written, though matplotlib takes dollar signs for maths."""

from __future__ import annotations

import html
import io
import json
import re

import matplotlib as mpl
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from rgd import checkpoints, schedule
from rgd.book import plots
from rgd.data import Dataset
from rgd.demo import report
from rgd.measure import Estimate
from rgd.networks import EncoderConfig, build
from rgd.randomness import noise
from tools import figures

NAMES = ("$", "$$", "$1-$5", "a$_$b", r"back\$lash$", "R&B <3", "50% off", "cat")


def drawn(figure: Figure) -> list[str]:
    """The texts of a figure, as a reader sees them."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg")
    return [html.unescape(text) for text in re.findall(r"<text[^>]*>(.*?)</text>", buffer.getvalue(), re.DOTALL)]


def test_plain_text_is_drawn_letter_by_letter_and_maths_stays_maths() -> None:
    images = torch.zeros(len(NAMES), 1, 2, 2)
    rows = {plots.plain(name): images for name in NAMES}
    assert set(NAMES) <= set(drawn(plots.picture_table(rows, [plots.plain(name) for name in NAMES])))
    fig, axes = plots.figure()
    points = [Estimate(0.5, 0.4, 0.6, 9, "")] * 2
    plots.curves(axes[0, 0], [0, 1], {plots.plain(name): points for name in NAMES}, "t", plots.plain("$a$"))
    assert {*NAMES, "$a$"} <= set(drawn(fig))
    assert drawn(plots.image_grid(images)) == []
    assert "$x_t$" not in drawn(plots.picture_table({"$x_t$": images}, ["", *NAMES[-1]]))


def test_names_decide_colours_by_their_first_word() -> None:
    rows = {name: torch.zeros(1, 1, 2, 2) for name in ("robust, 4", "vanilla gradient", "", "robustness")}
    texts = [ax.texts[0] for ax in plots.picture_table(rows, ["one"]).axes]
    assert [text.get_color() for text in texts] == [plots.COLOURS["robust"], plots.COLOURS["vanilla"], "black", "black"]


@pytest.mark.parametrize("n", [1, 3, 7, 20])
def test_tiles_stand_in_rows_a_white_line_apart(n: int) -> None:
    images = torch.rand(n, 3, 4, 5)
    canvas = plots.tile(images, columns=3)
    assert canvas.shape == (3, -(-n // 3) * 5 + 1, 3 * 6 + 1)
    for i, image in enumerate(images):
        top, left = i // 3 * 5 + 1, i % 3 * 6 + 1
        assert torch.equal(canvas[:, top : top + 4, left : left + 5], image)
        canvas[:, top : top + 4, left : left + 5] = 1
    assert bool((canvas == 1).all())


def test_the_report_names_classes_as_they_are() -> None:
    classes, blank = [name[:7] for name in NAMES], torch.zeros(len(NAMES), 1, 8, 8)
    walk = {"start": blank, "target": torch.arange(len(NAMES)), "robust": blank}
    pictures = report.Pictures({}, walk["target"], Figure(), walk, {})
    figure = report.walk_figure(pictures, classes)
    assert {f"to {name}" for name in classes} <= set(drawn(figure))


def test_classifiers_are_called_as_their_files_are() -> None:
    config = EncoderConfig(image_size=8, in_channels=1, out_channels=2, model_channels=32, num_res_blocks=1,
                           channel_mult=(1,), attention_resolutions=())  # fmt: skip
    model = checkpoints.Model(build(config).eval(), schedule.linear(), {}, ("a", "b"), {})
    test = Dataset(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.arange(4) % 2, ("a", "b"), "test")
    figure = report.compare_gradients(dict.fromkeys(NAMES, model), test, [5], None, seed=0)
    assert {"noised image", "t = 5", *NAMES} <= set(drawn(figure))


def test_the_pages_figures_name_entries_as_they_are() -> None:
    about = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9, "method": ""}
    cells = [
        {"name": name, "scale": scale, **dict.fromkeys(("accuracy", "fd", "precision", "recall"), about)}
        for name in NAMES
        for scale in (1.0, 2.0)
    ]
    plan = {"entries": [{"name": name} for name in NAMES]}
    compared = {"sweep": cells, "plan": plan, "real": {**cells[0]}}
    assert set(NAMES) <= set(drawn(figures.compare(compared)))
    row = {"t": 0, "spectrum": [0.5, 0.5], **dict.fromkeys(figures.STUDY, about)}
    studied = figures.study({"classifiers": {f"x/{name}": [row, row, row] for name in NAMES}})
    assert {name.replace("_", ", ") for name in NAMES} <= set(drawn(studied))


@pytest.mark.parametrize("name", figures.FIGURES)
def test_a_figure_is_no_wider_than_its_text_can_be_read(name: str) -> None:
    files, function = figures.FIGURES[name]
    figure = function(*(json.loads((figures.ROOT / "results" / f"{file}.json").read_text()) for file in files.split()))
    assert figure.get_size_inches()[0] <= figures.WIDEST
    texts = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text()]
    assert min(texts) >= 9


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_an_image_of_other_than_three_channels_is_shown_by_its_first(channels: int) -> None:
    image = noise((channels, 3, 5), seed=1).clamp(-1, 1)
    _, axes = plots.figure(1, 1)
    plots.show_image(axes[0, 0], image)
    shown = axes[0, 0].get_images()[0].get_array()
    wanted = (image.permute(1, 2, 0) + 1) / 2 if channels == 3 else image[0]
    assert torch.allclose(torch.as_tensor(shown), wanted)
