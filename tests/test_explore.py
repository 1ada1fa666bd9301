"""The gradient explorer and the blind test in a real browser: what they compute is what `rgd` computes, and the key of
the blind test is nowhere to be seen before its time.

Both are opened as files, from a folder like the site's. The explorer's tests need what the published models are made
into; without npm or ONNX they skip, and say why.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rgd
from rgd import metrics
from rgd.book import live as widgets
from rgd.lab import registry
from tools import live, pairs

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("clean", "vanilla", "robust")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
at_one_width = pytest.mark.parametrize("page", ["desktop"], indirect=True)
HOST = """<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8"><title>A widget</title>
<meta name="viewport" content="width=device-width"><style>body { font: 16px sans-serif; margin: 1rem }
html[data-theme=dark] body { background: #14181e; color: #ddd }</style><main><h1>A widget</h1>
<div class="rgd-live" data-widget="NAME" data-state="{}"><div class="rgd-live-instead"></div></div></main>
<script defer src="live.js"></script></html>"""


def test_the_pairs_are_those_of_the_published_models() -> None:
    images, made = pairs.read()
    assert images.shape == (2, len(pairs.CLASSES), 28, 28)
    assert made["weights"] == pairs.weights()
    assert (made["classes"], made["scale"], made["steps"]) == (pairs.CLASSES, pairs.SCALE, pairs.STEPS)
    assert (images[0].float() - images[1].float()).abs().flatten(1).amax(dim=1).min() > 0, "no pair of equals"


@pytest.mark.check
def test_the_pairs_are_drawn_as_they_say() -> None:
    assert (pairs.draw().int() - pairs.read()[0].int()).abs().max() <= 1, "to rounding"


def test_the_page_is_given_the_first_test_image_of_each_class() -> None:
    few = rgd.data.load("mnist", "few")
    given = np.frombuffer(live.digits(), np.uint8).reshape(10, 28, 28)
    for k, image in enumerate(given):
        assert (image == few.images[few.labels.tolist().index(k), 0].numpy()).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page for each widget, with the loader, scripts as the extension writes them, and all files but the models."""
    out = tmp_path_factory.mktemp("page")
    shutil.copy(ROOT / "book" / "_static" / "live.js", out)
    live.write_data(out / "live")
    for name in ("explore", "blind"):
        (out / "live" / f"{name}.js").write_text("globalThis.rgdLive ??= {};\n" + widgets.script(name))
        (out / f"{name}.html").write_text(HOST.replace("NAME", name))
    return out


@pytest.fixture(scope="module")
def models(chromium: Any, live_files: Path, folder: Path) -> None:
    """The models beside the pages."""
    shutil.copytree(live_files, folder / "live", dirs_exist_ok=True)


@pytest.fixture(params=SIZES)
def page(request: pytest.FixtureRequest, chromium: Any) -> Iterator[Any]:
    width, height = SIZES[request.param]
    context = chromium.new_context(viewport={"width": width, "height": height}, has_touch=width < 500)
    opened, complaints = context.new_page(), []
    opened.set_default_timeout(120_000)  # on a busy machine
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    context.close()
    assert complaints == []


def fits_and_is_for_all(page: Any, widget: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    assert page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    for scheme in ("light", "dark"):
        page.evaluate("(scheme) => { document.documentElement.dataset.theme = scheme }", scheme)
        found = axe.Axe().run(page, context={"include": [[widget]]}).response["violations"]
        faults = [(v["id"], v["help"], v["nodes"][0]["html"][:200]) for v in found]
        assert faults == [], json.dumps(faults)


# ---- The blind test.


def begin(page: Any, folder: Path) -> None:
    page.goto((folder / "blind.html").as_uri())
    page.get_by_role("button", name="Begin", exact=True).click()
    page.locator(".rgd-blind .two").wait_for()


def answer(page: Any, sides: str) -> None:
    for side in sides:
        page.get_by_role("button", name=side, exact=True).click()


@pytest.mark.check
@at_one_width
def test_the_interval_is_rgds(page: Any, folder: Path) -> None:
    begin(page, folder)
    cases = [(k, n) for n in (1, 2, 20, 137) for k in range(n + 1)]
    found = page.evaluate("(cases) => cases.map(([k, n]) => rgdLive.blind.proportion(k, n))", cases)
    for (k, n), got in zip(cases, found):
        truth = metrics.proportion(k, n)
        wanted = {"value": truth.value, "low": truth.low, "high": truth.high}
        assert got == pytest.approx(wanted, abs=1e-12)


@pytest.mark.check
@at_one_width
def test_lots_are_fair_and_not_of_a_seeded_generator(page: Any, folder: Path) -> None:
    begin(page, folder)
    orders = page.evaluate(
        """() => { Math.random = () => { throw new Error("a seeded generator"); };
                   return Array.from({length: 24000}, () => rgdLive.lots.shuffled([0, 1, 2, 3]).join("")); }"""
    )
    counts = np.unique(orders, return_counts=True)[1]
    assert len(counts) == 24
    assert np.abs(counts - 1000).max() < 6 * 31, "each order 1000 times, give or take 31"


KEEP = "() => JSON.parse(localStorage.getItem('rgd-blind'))"
SEEN = """() => [...document.querySelectorAll('.two canvas')].map(canvas =>
    [...canvas.getContext('2d').getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 == 0))"""


@pytest.mark.check
def test_the_blind_test_counts_and_then_reveals(page: Any, folder: Path) -> None:
    begin(page, folder)
    images, n = pairs.read()[0].reshape(2, -1, 784), len(pairs.CLASSES)
    sides, first, order, bare = ("AAB" * n)[:n], [], [], set()
    for k, side in enumerate(sides):
        assert page.get_by_text(f"Pair {k + 1} of {n}").is_visible()
        left, right = (torch.tensor(seen) for seen in page.evaluate(SEEN))
        (pair,) = [i for i in range(n) if {tuple(left.tolist()), tuple(right.tolist())}
                   == {tuple(image.tolist()) for image in images[:, i]}]  # fmt: skip
        order.append(pair)
        first.append(int((images[1, pair] == left).all()))
        html = page.locator(".rgd-blind").evaluate("e => e.outerHTML")
        assert not re.search("vanilla|robust", html)
        bare.add(re.sub(r"Pair \d+ of|like an? \d| disabled=\"\"", "", html))
        answer(page, side)
    assert len(bare) == 1, "one pair's page is as another's but for its number and its class"
    assert sorted(order) == list(range(n))
    assert sum(first) == n / 2, "each guide as often on either side"
    assert order != sorted(order)
    text = page.inner_text(".rgd-blind")
    assert f"A in {sides.count('A')}, B in {sides.count('B')}" in text
    assert not re.search("vanilla|robust", page.locator(".rgd-blind").evaluate("e => e.outerHTML"))
    page.get_by_role("button", name="Reveal the key").click()
    robust = sum((side == "B") != bool(on_left) for side, on_left in zip(sides, first))
    for name, wins in (("vanilla", n - robust), ("robust", robust)):
        found = metrics.proportion(wins, n)
        row = page.get_by_role("row", name=name).inner_text()
        assert f"{wins} of {n}" in row
        assert f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})" in row
    labels = page.locator(".rgd-blind .all span").all_inner_texts()
    assert [label.split(": ")[1].split(",")[0] == "robust" for label in labels[::2]] == [bool(k) for k in first]
    assert sum("yours" in label for label in labels) == n
    fits_and_is_for_all(page, ".rgd-blind")


@pytest.mark.check
def test_answers_stay_in_the_browser_until_one_begins_anew(page: Any, folder: Path) -> None:
    begin(page, folder)
    answer(page, "ABA")
    kept = page.evaluate(KEEP)
    begin(page, folder)
    assert page.get_by_text("Pair 4 of").is_visible()
    page.get_by_role("button", name="Back").press("Enter")
    assert page.get_by_text("Pair 3 of").is_visible()
    assert page.evaluate(KEEP) == {**kept, "answers": [0, 1]}
    fits_and_is_for_all(page, ".rgd-blind")
    page.get_by_role("button", name="Begin anew").click()
    assert page.get_by_text("Pair 1 of").is_visible()
    assert page.evaluate(KEEP)["order"] != kept["order"]


# ---- The explorer.


def load(page: Any, folder: Path) -> None:
    page.goto((folder / "explore.html").as_uri())
    page.evaluate("() => addEventListener('rgd-explored', ({ detail }) => { globalThis.last = detail; }, true)")
    page.get_by_role("button", name="Load the classifiers").click()
    page.wait_for_function("() => globalThis.last")


def explored(page: Any, t: int, seed: int) -> dict[str, Any]:
    """What the page computed, once it has come to rest at a level and a seed."""
    page.get_by_label("noise level").fill(str(t))
    page.get_by_label("seed").fill(str(seed))
    page.get_by_label("seed").press("Tab")
    page.wait_for_function("([t, seed]) => last.t === t && last.seed === seed", arg=[t, seed])
    return page.evaluate(
        """() => { const list = values => [...values], { x0, xt, found } = last;
                   return { x0: list(x0), xt: list(xt), found: Object.fromEntries(Object.entries(found).map(
                       ([name, { gradient, logits }]) => [name, { gradient: list(gradient),
                           p: list(rgdLive.mixture.softmax(logits)) }])) }; }"""
    )


def is_rgds(found: dict[str, Any], t: int, seed: int) -> None:
    """The page's numbers within 1e-5 of rgd's, for each classifier and towards each class."""
    x0 = torch.tensor(found["x0"]).reshape(1, 1, 28, 28)
    level, y = torch.full((10,), t), torch.arange(10)
    xt = rgd.schedule.linear(1000).q_sample(x0, level[:1], rgd.noise((1, 1, 28, 28), seed))
    assert np.abs(np.array(found["xt"]) - xt.flatten().numpy()).max() < 1e-5
    for name in NAMES:
        classifier = registry.load(f"mnist/{name}", "cpu")
        gradient = rgd.grad_log_prob(classifier)(xt.expand(10, -1, -1, -1), level, y).flatten().numpy()
        with torch.no_grad():
            p = classifier(xt, level[:1]).softmax(dim=1)[0].numpy()
        off = np.abs(np.array(found["found"][name]["gradient"]) - gradient).max()
        print(f"{name} at t = {t}: {off:.1e} of {np.abs(gradient).max():.2f}")
        assert off < 1e-5 * max(1, np.abs(gradient).max())
        assert np.abs(np.array(found["found"][name]["p"]) - p).max() < 1e-5


@pytest.mark.check
@pytest.mark.timeout(600)
@at_one_width
def test_the_explorers_gradients_and_probabilities_are_rgds(models: None, page: Any, folder: Path) -> None:
    load(page, folder)
    first_test_image = rgd.data.load("mnist", "few").x0()[0].flatten().numpy()  # a seven
    for t, seed in ((0, 0), (100, 0), (400, 3)):
        found = explored(page, t, seed)
        assert np.abs(found["x0"] - first_test_image).max() < 1e-6
        is_rgds(found, t, seed)


@pytest.mark.check
@pytest.mark.timeout(600)
@at_one_width
def test_nothing_is_loaded_before_the_click(models: None, page: Any, folder: Path) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((folder / "explore.html").as_uri())
    button = page.get_by_role("button", name="Load the classifiers")
    button.wait_for()
    said = page.get_by_role("status").inner_text()
    assert [Path(url).name for url in asked] == ["explore.html", "live.js", "explore.js"]
    button.click()
    page.locator("canvas.pad").wait_for()
    files = [folder / "live" / Path(url).name for url in asked[3:] if not url.startswith("blob:")]
    assert {file.stem for file in files} == {"ort", "glue", "wasm", "digits", *(f"mnist-{name}" for name in NAMES)}
    moved = sum(len(gzip.compress(file.read_bytes())) for file in files)
    assert f"about {moved / 1e6:.0f} MB" in said


@pytest.mark.check
@pytest.mark.timeout(600)
@at_one_width
def test_a_digit_can_be_drawn_by_hand_and_by_keys(models: None, page: Any, folder: Path) -> None:
    load(page, folder)
    page.get_by_role("button", name="Clear").click()
    page.wait_for_function("() => Math.max(...last.x0) === -1")
    board = page.locator("canvas.pad")
    box = board.bounding_box()

    def where(x: float, y: float) -> tuple[float, float]:
        return box["x"] + x / 28 * box["width"], box["y"] + y / 28 * box["height"]

    page.mouse.move(*where(6.5, 5.5))
    page.mouse.down()
    page.mouse.move(*where(20.5, 5.5), steps=3)
    page.mouse.up()
    page.wait_for_function("() => last.x0[5 * 28 + 20] === 1")
    drawn = np.array(page.evaluate("() => [...last.x0]")).reshape(28, 28)
    assert (drawn[5, 6:21] == 1).all(), "where the pen was there is full ink"
    assert (drawn[9:] == -1).all()
    page.get_by_role("button", name="Clear").click()
    board.focus()
    page.keyboard.press("Space")
    for _ in range(4):
        page.keyboard.press("ArrowDown")
    assert "Pen down, column 14, row 18 of 28" in page.inner_text(".hint >> nth=0")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => last.x0[17 * 28 + 14] === 1")
    page.get_by_role("button", name="Centre").click()
    page.wait_for_function("() => last.x0[17 * 28 + 14] < 1")
    rows = (np.array(page.evaluate("() => [...last.x0]")).reshape(28, 28) + 1).sum(axis=1)
    assert abs((rows * (np.arange(28) + 0.5)).sum() / rows.sum() - 14) <= 0.5
    page.get_by_role("button", name="A test image of 3").click()
    page.get_by_label("noise level").fill("0")
    page.wait_for_function("() => last.t === 0")
    page.get_by_text("says 3").first.wait_for()


@pytest.mark.check
@pytest.mark.timeout(600)
def test_one_colour_scale_is_stated_for_all_three(models: None, page: Any, folder: Path) -> None:
    load(page, folder)
    found = explored(page, 300, 0)["found"]
    page.get_by_label("towards class").select_option("3")
    towards = {name: np.array(found[name]["gradient"]).reshape(10, -1)[3] for name in NAMES}
    most = max(np.abs(gradient).max() for gradient in towards.values())
    ends = page.locator(".scale span").all_inner_texts()
    assert [float(end.replace("−", "-")) for end in ends] == pytest.approx([-most, most], rel=0.06)
    pixels = page.evaluate(
        """() => [...document.querySelectorAll(".pictures canvas")].slice(1).map(canvas =>
               [...canvas.getContext("2d").getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 1))"""
    )
    for green, gradient in zip(pixels, towards.values()):  # from white, 255, to red with 24 or blue with 102
        share = gradient / most
        wanted = 255 - np.abs(share) * np.where(share > 0, 231, 153)
        assert np.abs(np.array(green) - wanted).max() <= 1
    said = page.locator(".said")
    page.wait_for_function("() => /t = 300.*3 has/.test(document.querySelector('.said').textContent)")
    for name in NAMES:
        length = np.linalg.norm(towards[name])
        told = re.search(rf"{name} says .*?length (\d+(?:\.\d+)?)", said.text_content())
        assert told is not None
        assert float(told[1]) == pytest.approx(length, rel=0.06)
    page.get_by_label("a colour scale of its own").check()
    assert page.get_by_text("full colour").count() >= 4
    fits_and_is_for_all(page, ".rgd-explore")


@pytest.mark.check
@at_one_width
def test_what_went_wrong_is_said_and_can_be_tried_again(page: Any, folder: Path, tmp_path: Path) -> None:
    bare = tmp_path / "site"
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("pairs.js", "digits.js", "ort.js"))
    for widget, button, missing in (
        ("blind", "Begin", r"pairs\.js could not be loaded"),
        ("explore", "Load the classifiers", r"(ort|mnist-\w+|digits)\.js could not be loaded"),
    ):
        page.goto((bare / f"{widget}.html").as_uri())
        page.get_by_role("button", name=button, exact=True).click()
        page.get_by_text(re.compile(missing)).wait_for()
    shutil.copy(folder / "live" / "pairs.js", bare / "live")
    begin(page, bare)
