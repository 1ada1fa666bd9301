"""Predict, then see: what the committed chapters ask their readers, and the widget on a page in a real browser.

The page is a small book of its own, built with the book's configuration. Its figure has a red line that is straight on
its logarithmic axes, so that whether the reader's curve lies where it was drawn can be read off the picture's pixels.
"""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rgd.book import plots
from tools import axes as axes_extension

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
BLOCK = re.compile(r"^:::\{live\} predict\n((?::\w+: [^\n]*\n)+)\n(.*?)^:::$", re.MULTILINE | re.DOTALL)
check = pytest.mark.check


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("sphinx", reason="the site is built by the extra 'book'")
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    import predict

    return predict


def blocks() -> Iterator[tuple[str, dict[str, Any], str, list[dict[str, Any]]]]:
    """Of each block in a chapter: the chapter, the options, the words and the outputs of the next cell with any."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        for i, cell in enumerate(cells):
            for options, words in BLOCK.findall("".join(cell["source"]) if cell["cell_type"] == "markdown" else ""):
                state = dict(re.findall(r"^:(\w+): (.*)$", options, re.MULTILINE))
                outputs = next(later["outputs"] for later in cells[i:] if later.get("outputs"))
                yield path.stem, state, words, outputs


def test_chapters_ask_for_predictions(extension: Any) -> None:
    kinds, chapters, names = [], set(), []
    for chapter, state, words, outputs in blocks():
        found = extension.told(state, "\n- " in words, outputs)
        kinds.append(found["kind"])
        chapters.add(chapter)
        names.append((chapter, state["name"]))
        assert words.startswith("*Predict first:* "), "so the block reads well where it is only words"
        if found["kind"] == "number":
            assert float(state["low"]) <= float(found["truth"]) <= float(state["high"]), (chapter, state)
    assert len(set(names)) == len(names) >= 12
    assert len(chapters) >= 8
    assert kinds.count("curve") >= 4


def dark(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("L")) < 100


def test_axes_lie_in_the_pictures_where_the_outputs_say() -> None:
    seen = 0
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        outputs = [output for cell in json.loads(path.read_text())["cells"] for output in cell.get("outputs", [])]
        for output in outputs:
            for text in output["metadata"].get("image/png", {}).get("axes", []) if "metadata" in output else []:
                told, picture = json.loads(text), dark(base64.b64decode(output["data"]["image/png"]))
                height, width = picture.shape
                left, top, right, bottom = np.multiply(told["inside"], [width, height, width, height])
                spine = picture[int(top) + 3 : int(bottom) - 3, round(left) - 1 : round(left) + 1]
                base = picture[round(bottom) - 1 : round(bottom) + 1, int(left) + 3 : int(right) - 3]
                assert spine.any(axis=1).mean() > 0.95, (path.name, told)
                assert base.any(axis=0).mean() > 0.95, (path.name, told)
                seen += 1
    assert seen >= 4


def test_a_figures_output_tells_of_its_axes() -> None:
    from IPython.core.formatters import DisplayFormatter

    shell = SimpleNamespace(display_formatter=DisplayFormatter())
    axes_extension.load_ipython_extension(shell)
    fig, axes = plots.figure(1, 2)
    plots.show_image(axes[0, 0], torch.zeros(1, 2, 2))
    axes[0, 1].set(xlim=(1, 10), xscale="log", ylabel="error")
    data, metadata = shell.display_formatter.format(fig)
    assert data["image/png"] == fig._repr_png_()
    (told,) = map(json.loads, metadata["image/png"]["axes"])
    assert told["x"] == {"label": "", "limits": [1, 10], "scale": "log"}
    assert told["y"] == {"label": "error", "limits": [0, 1], "scale": "linear"}
    left, top, right, bottom = told["inside"]
    assert 0.5 < left < right <= told["whole"][2] <= 1
    assert 0 <= told["whole"][1] <= top < bottom < told["whole"][3] <= 1


def test_what_no_prediction_can_be_made_of(extension: Any) -> None:
    printed = [{"output_type": "stream", "text": ["none: -0.25 of 9\n"], "metadata": {}}]
    assert extension.told({"low": -1, "high": 1, "answer": "none"}, False, printed)["truth"] == "-0.25"
    with pytest.raises(ValueError, match="no number after 'many'"):
        extension.told({"low": 0, "high": 1, "answer": "many"}, False, printed)
    with pytest.raises(ValueError, match="no axes 0: run the chapter"):
        extension.told({}, False, printed)
    fig, (axes,) = plots.figure(1, 1)
    axes[0].set_yscale("symlog")
    drawn = [{"metadata": {"image/png": axes_extension.picture(fig)[1]}}]
    with pytest.raises(ValueError, match="linear or log"):
        extension.told({}, False, drawn)


X, Y = (5.0, 2000.0), (1e-3, 10.0)
ENDS = [(X[0], Y[0] * (Y[1] / Y[0]) ** 0.8), (X[1], Y[0] * (Y[1] / Y[0]) ** 0.3)]
WORDS = """
:::{{live}} predict
:name: {name}
{options}
*Predict first:* {question}
:::
"""


def picture() -> tuple[bytes, dict[str, Any]]:
    """Two axes; on the second a red line from the left spine to the right, straight on logarithmic axes."""
    fig, axes = plots.figure(1, 2, 9, 3.2)
    axes[0, 0].set(xlabel="other", ylabel="thing")
    axes[0, 1].plot(*zip(*ENDS), color=(1, 0, 0), linewidth=1)
    axes[0, 1].set(xscale="log", yscale="log", xlim=X, ylim=Y, xlabel="steps", ylabel="error", title="a title")
    return axes_extension.picture(fig)


def code(number: int, output: dict[str, Any] | None, **metadata: Any) -> dict[str, Any]:
    outputs = [] if output is None else [output]
    return {"cell_type": "code", "id": f"k{number}", "execution_count": number, "metadata": metadata,
            "source": "run()", "outputs": outputs}  # fmt: skip


def words(number: int, text: str, **block: str) -> dict[str, Any]:
    asked = WORDS.format(**{"options": "", **block}) if block else ""
    return {"cell_type": "markdown", "id": f"w{number}", "metadata": {}, "source": text + "\n" + asked}


def notebook() -> dict[str, Any]:
    png, metadata = picture()
    shown = {"output_type": "display_data", "data": {"image/png": base64.b64encode(png).decode()},
             "metadata": {"image/png": metadata}}  # fmt: skip
    figure = {"image": {"alt": "A line that falls."}, "figure": {"caption": "A line.", "name": "fig-line"}}

    def printed(text: str) -> dict[str, Any]:
        return {"output_type": "stream", "name": "stdout", "text": text}

    cells = [
        words(0, "# A page", name="line", options=":axes: 1\n", question="draw the error."),
        code(1, None),
        code(2, shown, mystnb=figure),
        words(1, "The line falls.\n\nThen comes a number.", name="share", question="which share?",
              options=":low: 0\n:high: 1\n:answer: the share\n"),
        code(3, printed("the share: 0.25 [0.2, 0.3]\n")),
        words(2, "A quarter it is.", name="order", question="first comes\n\n- the image $x_0$\n- the other"),
        code(4, printed("the other\n")),
        words(3, "The other comes first."),
    ]  # fmt: skip
    return {"cells": cells, "metadata": {"language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, built with the book's own configuration."""
    pytest.importorskip("jupyter_book", reason="the site is built by the extra 'book'")
    folder = tmp_path_factory.mktemp("book")
    shutil.copy(ROOT / "_config.yml", folder)
    for part in ("_ext", "_static", "references.bib"):
        copy = shutil.copytree if (ROOT / "book" / part).is_dir() else shutil.copy
        (folder / "book").mkdir(exist_ok=True)
        copy(ROOT / "book" / part, folder / "book" / part)
    (folder / "book" / "index.yml").write_text("{}\n")
    (folder / "_toc.yml").write_text("format: jb-book\nroot: page\n")
    (folder / "page.ipynb").write_text(json.dumps(notebook()))
    command = [Path(sys.executable).with_name("jupyter-book"), "build", folder, "-W", "-n"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    return folder / "_build" / "html"


@pytest.fixture(scope="module")
def site(folder: Path, serve: Callable[[Path], str]) -> str:
    """Its address. Opened as a file, a page of a busy Chromium can forget at a reload what it was told to keep."""
    return f"{serve(folder)}page.html"


@pytest.fixture(params=SIZES)
def page(request: pytest.FixtureRequest, chromium: Any, site: str) -> Iterator[Any]:
    width, height = SIZES[request.param]
    context = chromium.new_context(
        viewport={"width": width, "height": height}, has_touch=width < 500, reduced_motion="reduce"
    )
    opened, complaints = context.new_page(), []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda said: said.type == "error" and complaints.append(said.text))
    opened.goto(site)
    ready(opened)
    yield opened
    context.close()
    assert complaints == []


def ready(page: Any) -> None:
    page.wait_for_function("() => document.querySelectorAll('.rgd-live-on').length === 3")


def block(page: Any, name: str) -> Any:
    return page.locator(f"#predict-{name}")


def answer(page: Any, name: str) -> Any:
    return page.locator(f"#answer-{name}")


def kept(page: Any, name: str) -> Any:
    """What the browser keeps of a prediction."""
    found = page.evaluate("name => localStorage.getItem(`rgd-predict ${location.pathname} ${name}`)", name)
    return None if found is None else json.loads(found)["guess"]


def draw(page: Any) -> None:
    """The red line, drawn from end to end on the empty axes: by finger where there is touch, or else by mouse."""
    page.locator(".rgd-board").scroll_into_view_if_needed()
    box = page.locator(".rgd-cover").bounding_box()
    (x0, y0), (x1, y1) = [(box["x"] + a * box["width"], box["y"] + b * box["height"]) for a, b in ((0, 0.2), (1, 0.7))]
    way = [(x0 + k / 9 * (x1 - x0), y0 + k / 9 * (y1 - y0)) for k in range(10)]
    if page.evaluate("() => 'ontouchstart' in window"):
        fingers = page.context.new_cdp_session(page)
        for k, (x, y) in enumerate(way):
            kind = "touchMove" if k else "touchStart"
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    else:
        page.mouse.move(*way[0])
        page.mouse.down()
        for point in way[1:]:
            page.mouse.move(*point)
        page.mouse.up()


@check
def test_a_curve_lies_over_the_figure_where_it_was_drawn(page: Any) -> None:
    assert not answer(page, "line").is_visible()
    assert not page.get_by_text("The line falls.").is_visible(), "the sentence that reads the figure would tell"
    assert page.get_by_text("Then comes a number.").is_visible()
    show = block(page, "line").get_by_role("button", name="Show the result")
    assert show.is_disabled()
    draw(page)
    show.click()
    assert answer(page, "line").is_visible()
    assert page.get_by_text("The line falls.").is_visible()
    drawn = np.log10(kept(page, "line"))
    ends = np.log10(ENDS)
    expected = np.interp(drawn[:, 0], ends[:, 0], ends[:, 1])
    assert len(drawn) > 40
    assert np.abs(drawn[:, 1] - expected).max() < 0.05, "of four decades"
    over_red_pixels(page)


def over_red_pixels(page: Any) -> None:
    """What is drawn lies on the figure to the pixel, and covers its red line to the pixels in which it was drawn: a
    phone shows the figure itself in more."""
    png = np.asarray(Image.open(io.BytesIO(picture()[0])).convert("RGB")).astype(int)
    red = (png[..., 0] > 200) & (png[..., 1] < 120) & (png[..., 2] < 120)
    found = page.evaluate(
        """() => {
            const image = document.querySelector("#answer-line img"), box = image.getBoundingClientRect();
            const { paddingLeft, paddingTop } = getComputedStyle(image);
            const [left, top] = [parseFloat(paddingLeft), parseFloat(paddingTop)]; // and as much on the other sides
            const [width, height] = [box.width - 2 * left, box.height - 2 * top];
            const line = document.querySelector(".rgd-over .rgd-drawn"), matrix = line.getScreenCTM();
            const board = document.querySelector("#predict-line").clientWidth;
            const over = document.querySelector(".rgd-over").getBoundingClientRect();
            const off = [over.x - box.x - left, over.y - box.y - top, over.width - width, over.height - height];
            const drawn = Math.min(width, board) / image.naturalWidth;
            return [Math.max(...off.map(Math.abs)), drawn, [...line.points].map(p => p.matrixTransform(matrix))
                .map(p => [(p.x - box.x - left) / width, (p.y - box.y - top) / height])];
        }"""
    )
    off, scale, points = found
    assert off < 1
    for across, down in points[1:-1]:
        rows = red[:, round(across * png.shape[1])].nonzero()[0]
        assert abs(rows.mean() + 0.5 - down * png.shape[0]) * scale < 2


@check
def test_a_prediction_survives_a_reload_and_is_taken_back(page: Any) -> None:
    draw(page)
    block(page, "line").get_by_role("button", name="Show the result").click()
    before = kept(page, "line")
    page.reload()
    ready(page)
    assert kept(page, "line") == before
    assert answer(page, "line").is_visible()
    over_red_pixels(page)
    assert not answer(page, "share").is_visible(), "each block has its own"
    block(page, "line").get_by_role("button", name="Take it back").click()
    page.reload()
    ready(page)
    assert kept(page, "line") is None
    assert not answer(page, "line").is_visible()
    assert page.locator(".rgd-over").count() == 0


@check
def test_a_curve_is_drawn_by_keyboard(page: Any) -> None:
    first = block(page, "line").get_by_role("slider").first
    assert first.get_attribute("aria-label") == "error at steps 5"
    assert first.get_attribute("aria-valuetext") == "not drawn"
    first.press("PageUp")
    first.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("PageUp")
    assert float(page.evaluate("() => document.activeElement.getAttribute('aria-valuenow')")) == pytest.approx(0.6)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    points = kept(page, "line")
    assert len(points) == 2
    decades = np.log10(Y[1] / Y[0])
    assert np.log10(np.array(points)[:, 1] / Y[0]) / decades == pytest.approx([0.58, 0.6])
    assert points[1][0] == pytest.approx(X[0] * (X[1] / X[0]) ** (1 / 8))
    assert page.evaluate("() => document.activeElement.textContent") == "Take it back"
    said = page.locator(".rgd-over").get_attribute("aria-label")
    assert said.startswith("Your prediction, error by steps: 0.21 at 5")


@check
def test_numbers_and_choices_are_set_beside_the_output(page: Any) -> None:
    assert not answer(page, "share").is_visible()
    note = page.locator(".cell:has(#answer-share) [role=status]")
    assert "waits for your prediction" in note.inner_text()
    field = block(page, "share").get_by_role("spinbutton")
    field.fill("7")
    assert block(page, "share").get_by_role("button", name="Show the result").is_disabled(), "out of range"
    field.fill("0.4")
    field.press("Enter")
    assert answer(page, "share").is_visible()
    assert note.inner_text() == "You predicted 0.4; the cell says 0.25."
    block(page, "order").get_by_role("radio", name="the other").check()
    block(page, "order").get_by_role("button", name="Show the result").click()
    assert page.locator(".cell:has(#answer-order) [role=status]").inner_text() == "You predicted: the other"
    page.reload()
    ready(page)
    assert block(page, "order").get_by_role("radio", name="the other").is_checked()
    assert field.input_value() == "0.4"
    assert block(page, "order").locator("li mjx-container").count() == 1, "its formula is still one"


@check
def test_an_answer_to_an_older_question_is_forgotten(page: Any) -> None:
    keep = "() => localStorage.setItem(`rgd-predict ${location.pathname} order`, '{\"guess\": 7}')"
    page.evaluate(keep)
    page.reload()
    ready(page)
    assert not answer(page, "order").is_visible()
    assert kept(page, "order") is None
    block(page, "order").get_by_role("radio", name="the other").check()
    block(page, "order").get_by_role("button", name="Show the result").click()
    assert answer(page, "order").is_visible()


@check
def test_who_does_not_want_to_predict_need_not(page: Any) -> None:
    block(page, "line").get_by_role("button", name="Show without predicting").click()
    assert answer(page, "line").is_visible()
    assert page.locator(".cell:has(#answer-line) [role=status]").inner_text() == "The result is shown."
    assert page.locator(".rgd-over").count() == 0
    page.reload()
    ready(page)
    assert answer(page, "line").is_visible()
    picture = page.locator("#answer-line img")
    picture.click(position={"x": 9, "y": 9})
    assert page.locator("dialog.rgd-enlarged").is_visible()


@check
def test_paper_shows_all(page: Any) -> None:
    page.emulate_media(media="print")
    for name in ("line", "share", "order"):
        assert answer(page, name).is_visible()
        assert not block(page, name).get_by_role("button").first.is_visible()
    assert page.get_by_text("draw the error.").is_visible()
    assert page.get_by_text("The line falls.").is_visible()


@check
def test_without_scripts_all_is_shown(chromium: Any, folder: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((folder / "page.html").as_uri())
    for name in ("line", "share", "order"):
        assert answer(page, name).is_visible()
    assert page.get_by_text("draw the error.").is_visible()
    context.close()


@check
def test_without_storage_all_works_but_to_be_remembered(chromium: Any, folder: Path) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('refused'); }})")
    page.goto((folder / "page.html").as_uri())
    ready(page)
    draw(page)
    block(page, "line").get_by_role("button", name="Show the result").click()
    assert answer(page, "line").is_visible()
    assert page.evaluate("() => getComputedStyle(document.querySelector('#answer-line img')).animationName") != "none"
    over_red_pixels(page)
    context.close()


@check
def test_it_fits_and_has_no_serious_fault_of_accessibility_open_or_closed(page: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page.add_style_tag(content="* { transition: none !important }")
    for shown in (False, True):
        if shown:
            draw(page)
            block(page, "line").get_by_role("button", name="Show the result").click()
            block(page, "share").get_by_role("button", name="Show without predicting").click()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_function("scheme => document.documentElement.dataset.theme === scheme", arg=scheme)
            wide = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0
            found = axe.Axe().run(page, context={"include": [[".bd-article"]]}, options={"preload": False})
            found = found.response["violations"]
            faults = [(v["id"], v["help"], v["nodes"][0]["html"][:200]) for v in found]
            assert faults == [], json.dumps(faults)
    assert page.evaluate("() => getComputedStyle(document.querySelector('#answer-line img')).animationName") == "none"
    over_red_pixels(page)  # where the dark gives the picture a frame
    ground = page.evaluate("() => getComputedStyle(document.querySelector('.rgd-over')).backgroundColor")
    assert ground == "rgba(0, 0, 0, 0)", "the picture is seen below the line, and has no second frame"
