"""Live widgets: the scripts that site and notebooks are given, and what they compute in a real browser, against rgd.

The browser's tests skip, and say why, where Playwright or Chromium is missing. They need no site: a page of one widget
is written to a folder and opened as a file, where a browser has neither modules nor fetch.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import rgd
from rgd.book import live

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
SCHEDULE = rgd.schedule.linear(1000)
check = pytest.mark.check


def test_modules_and_their_functions_are_short() -> None:
    for path in live.MODULES.glob("*.js"):
        lines = path.read_text().splitlines()
        assert len(lines) <= 300, path.name
        starts = [i for i, line in enumerate(lines) if re.match(r"(export )?(async )?function", line)]
        ends = [i for i, line in enumerate(lines) if line == "}"]
        assert [lines[i] for i in starts if min(e for e in ends if e > i) - i >= 60] == [], path.name
        assert max(map(len, lines)) <= 120, path.name


def test_a_script_holds_what_it_imports_first_and_once() -> None:
    script = live.script("plane")
    made = re.findall(r"^rgdLive\.(\w+) \?\?=", script, re.MULTILINE)
    assert made == ["mixture", "plane_draw", "plane_hand", "plane_parts", "plane"]
    assert not re.search(r"^(import|export)\b", script, re.MULTILINE)


def test_what_no_script_can_be_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MODULES", tmp_path)
    (tmp_path / "odd.js").write_text('import thing from "elsewhere";\nexport default thing;\n')
    with pytest.raises(ValueError, match=r"odd\.js: this import or export is none.*elsewhere"):
        live.script("odd")
    (tmp_path / "part.js").write_text("export const half = 0.5;\n")
    with pytest.raises(ValueError, match="no live widget 'part'; there are odd"):
        live.script("part")


def test_a_widget_keeps_its_state_in_step() -> None:
    pytest.importorskip("anywidget", reason="live notebooks show widgets by the extra 'live'")
    widget = rgd.widgets.live("plane", t=300, label=None)
    assert {"t": 300, "label": None}.items() <= widget.get_state().items()
    assert widget._esm == live.module("plane")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of one page: the loader, a widget's script as the extension writes it, and the widget's place."""
    out = tmp_path_factory.mktemp("page")
    (out / "live").mkdir()
    shutil.copy(ROOT / "book" / "_static" / "live.js", out)
    for name in live.names():
        (out / "live" / f"{name}.js").write_text("globalThis.rgdLive ??= {};\n" + live.script(name))
    (out / "index.html").write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>A plane</title>'
        '<meta name="viewport" content="width=device-width">'
        '<main><h1>A plane</h1><div class="rgd-live" data-widget="plane" data-state="{&quot;t&quot;: 200}">'
        '<div class="rgd-live-instead">instead</div></div></main><script defer src="live.js"></script>'
    )
    return out


@pytest.fixture(params=SIZES)
def page(request: pytest.FixtureRequest, chromium: Any, folder: Path) -> Iterator[Any]:
    width, height = SIZES[request.param]
    context = chromium.new_context(
        viewport={"width": width, "height": height}, has_touch=width < 500, reduced_motion="reduce"
    )
    opened, complaints = context.new_page(), []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda said: said.type == "error" and complaints.append(said.text))
    opened.goto((folder / "index.html").as_uri())
    opened.wait_for_function("() => document.querySelector('.said')?.textContent")
    yield opened
    context.close()
    assert complaints == []


def random_world(seed: int) -> tuple[list[dict[str, Any]], rgd.Mixture]:
    """Round Gaussians as the page has them, and the same as a mixture in float64."""
    random = rgd.generator(seed, "plane")
    K = 3 + seed
    means = 4 * torch.rand(K, 2, generator=random, dtype=torch.float64) - 2
    sd, weights = (0.1 + 0.4 * torch.rand(K, generator=random, dtype=torch.float64) for _ in range(2))
    labels = torch.arange(K) % 3
    parts = zip(means.tolist(), sd.tolist(), weights.tolist(), labels.tolist())
    gaussians = [{"x": m[0], "y": m[1], "sd": s, "weight": w, "label": c} for m, s, w, c in parts]
    return gaussians, rgd.mixture(means.reshape(K, 1, 1, 2), sd**2, SCHEDULE, labels, weights)


FORMULAS = """([gaussians, points, times, labels, ripple]) => {
    const m = rgdLive.mixture, alphaBar = m.linear();
    return points.map((x, i) => {
        const parts = m.noised(gaussians, alphaBar[times[i]]), y = labels[i];
        return [alphaBar[times[i]], m.logProb(parts, x), m.logProb(parts, x, y), ...m.score(parts, x),
                ...m.score(parts, x, y), ...m.posterior(parts, x), ...m.gradLogProb(parts, x, y),
                ...m.gradLogProb(parts, x, y, ripple)];
    });
}"""


def rippled_gradient(world: rgd.Mixture, xt: Tensor, t: Tensor, y: Tensor, ripple: dict[str, Any]) -> Tensor:
    """Chapter 4's classifier with a ripple, differentiated by autograd."""
    angles = torch.tensor(ripple["angles"], dtype=torch.float64)
    u = ripple["omega"] * torch.stack([angles.cos(), angles.sin()])
    return rgd.grad_log_prob(lambda x, t: world.logits(x, t) + ripple["a"] * (x.flatten(1) @ u).sin())(xt, t, y)


@check
@pytest.mark.parametrize("seed", range(4))
def test_the_closed_forms_are_rgds(page: Any, seed: int) -> None:
    gaussians, world = random_world(seed)
    n, random = 200, rgd.generator(seed, "points")
    xt = 3 * torch.randn(n, 1, 1, 2, generator=random, dtype=torch.float64)  # far out a class is all but certain
    t = (1000 * torch.rand(n, generator=random) ** 3).long()  # half of them below 125
    y = torch.randint(3, (n,), generator=random)
    ripple = page.evaluate("() => rgdLive.plane.RIPPLE")
    given = [gaussians, xt.reshape(n, 2).tolist(), t.tolist(), y.tolist(), ripple]
    found = torch.tensor(page.evaluate(FORMULAS, given), dtype=torch.float64)
    exact, wrong = world.grad_log_prob(xt, t, y), rippled_gradient(world, xt, t, y, ripple)
    truth = [SCHEDULE.alpha_bar[t], world.log_prob(xt, t), world.log_prob(xt, t, y), world.score(xt, t)]
    truth += [world.score(xt, t, y), world.logits(xt, t).softmax(1), exact, wrong]
    wanted = torch.cat([part.reshape(n, -1) for part in truth], dim=1)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    # Where a class is certain its gradient is tiny, and still has its digits: relative to itself.
    length = exact.reshape(n, 2).norm(dim=1)
    error = (found[:, 10:12] - exact.reshape(n, 2)).norm(dim=1)
    assert (length < 1e-12).any()
    assert (error <= 1e-9 * length)[length > 1e-290].all()


@check
def test_particles_run_as_rgds_ddim_does(page: Any) -> None:
    gaussians, world = random_world(3)
    start = rgd.noise((40, 1, 1, 2), seed=0).double()
    run = """([gaussians, start, guide]) => {
        const m = rgdLive.mixture;
        return [...m.ddim(gaussians, m.linear(), Float64Array.from(start), 50, guide)[50]];
    }"""
    for guide in (None, {"label": 1, "scale": 3.0}):
        found = page.evaluate(run, [gaussians, start.flatten().tolist(), guide])
        steer = rgd.guide(rgd.unconditional(world), rgd.grad_log_prob(world.classifier), 3.0) if guide else world
        *_, last = rgd.ddim(steer, start, torch.ones(40).long() if guide else None, steps=50)
        torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), last.x.flatten(), rtol=1e-9, atol=1e-9)


@check
def test_the_ripple_keeps_the_answers_and_loses_the_slope(page: Any) -> None:
    found = page.evaluate(
        """() => { const m = rgdLive.mixture, third = Math.PI / 3;
                   const circle = [0, 1, 2, 3, 4, 5].map(i => ({x: 1.2 * Math.cos(i * third),
                       y: 1.2 * Math.sin(i * third), sd: Math.sqrt(0.08), weight: 1, label: i % 3}));
                   return m.examine(circle, m.linear()[100], rgdLive.plane.RIPPLE, 4000); }"""
    )
    assert abs(found["exact"] - found["rippled"]) < 0.01
    assert 0.8 < found["exact"] < 0.88
    assert found["cosine"] < 0.4


def said(page: Any) -> str:
    """What the widget says when it has come to rest."""
    page.wait_for_timeout(700)
    return page.inner_text(".said")


@check
def test_the_plane_answers_the_hand(page: Any) -> None:
    assert "6 Gaussians: 2 of class 0, 2 of class 1 and 2 of class 2. At t = 200" in said(page)
    assert page.locator(".rgd-live-on").count() == 1, "what stood in its place can go"
    box = page.locator("canvas").bounding_box()
    size = page.evaluate("() => document.querySelector('canvas').clientWidth")

    def where(x: float, y: float) -> tuple[float, float]:
        return box["x"] + (x + 2.6) / 5.2 * size, box["y"] + (2.6 - y) / 5.2 * size

    page.mouse.click(*where(0, 0))
    assert said(page).startswith("7 Gaussians: 3 of class 0")
    assert page.get_by_role("button", name="Gaussian 7").get_attribute("aria-pressed") == "true"
    page.mouse.move(*where(0, 0))
    page.mouse.wheel(0, -400)
    page.mouse.down()
    page.mouse.move(*where(0.5, 0.4), steps=4)
    page.mouse.up()
    said(page)
    for name, value in (("x", 0.5), ("y", 0.4)):
        shown = float(page.get_by_role("slider", name=re.compile(f"^{name}")).input_value())
        assert shown == pytest.approx(value, abs=0.06)
    width = float(page.get_by_role("slider", name=re.compile("^width")).input_value())
    assert width == pytest.approx(0.08**0.5 * 2.718281828**0.5, abs=0.03)
    assert page.locator("canvas").get_attribute("aria-label") == page.inner_text(".said")


@check
def test_the_plane_answers_fingers(page: Any) -> None:
    said(page)
    if not page.evaluate("() => 'ontouchstart' in window"):
        pytest.skip("a window without touch")
    size, box = page.locator("canvas").evaluate("c => c.clientWidth"), page.locator("canvas").bounding_box()
    page.touchscreen.tap(box["x"] + size / 2, box["y"] + size / 2)
    assert said(page).startswith("7 Gaussians")
    width = page.get_by_role("slider", name=re.compile("^width"))
    before, fingers = float(width.input_value()), page.context.new_cdp_session(page)

    def touch(kind: str, apart: float | None) -> None:
        sides = [] if apart is None else [-apart, apart]
        points = [{"x": box["x"] + size / 2 + side, "y": box["y"] + size / 2, "id": i} for i, side in enumerate(sides)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    for kind, apart in (("touchStart", 15), ("touchMove", 20), ("touchMove", 30), ("touchEnd", None)):
        touch(kind, apart)
    assert said(page).startswith("7 Gaussians"), "a pinch places nothing"
    assert float(width.input_value()) == pytest.approx(2 * before, abs=0.03)


@check
def test_the_plane_answers_the_keyboard(page: Any) -> None:
    def arrived(label: int) -> int:
        told = re.search(rf"(\d+) in class {label}", said(page).split("at the end")[1])
        return int(told[1]) if told else 0

    exact = arrived(0)
    page.get_by_role("checkbox", name=re.compile("ripple")).press("Space")
    assert arrived(0) < exact - 10, "a wrong gradient leads elsewhere"
    assert "The mean cosine of its gradient to the exact one is 0." in page.inner_text(".said")
    page.get_by_label("guide to").select_option("class 2")
    assert "guided to class 2" in said(page)
    for _ in range(2):  # both Gaussians of class 2: then there is none to guide to
        page.get_by_role("button", name="of class 2").first.press("Enter")
        page.get_by_role("button", name="Delete").press("Enter")
        page.wait_for_timeout(100)
    assert "4 Gaussians: 2 of class 0 and 2 of class 1" in said(page)
    assert "without a guide" in page.inner_text(".said")
    page.get_by_role("button", name="Run the particles").press("Enter")
    assert "At t = 0," in said(page), "with less motion the end is there at once"
    page.get_by_role("slider", name=re.compile("^noise")).press("ArrowRight")
    assert "At t = 1," in said(page)


@check
def test_the_plane_fits_and_has_no_serious_fault_of_accessibility(page: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    wide = page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    for scheme in ("light", "dark"):
        page.evaluate("scheme => { document.documentElement.dataset.theme = scheme; }", scheme)
        page.add_style_tag(content=f":root {{ background: {'#14181e' if scheme == 'dark' else '#fff'} }}")
        found = axe.Axe().run(page, context={"include": [[".rgd-plane"]]}).response["violations"]
        faults = [(v["id"], v["help"], v["nodes"][0]["html"][:200]) for v in found]
        assert faults == [], json.dumps(faults)


def chapters_world(name: str) -> list[dict[str, Any]]:
    """The Gaussians of the world that a chapter's set-up cell makes, on the plane, whose second axis it may lack."""
    cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())["cells"]
    made: dict[str, Any] = {}
    exec("".join(next(cell["source"] for cell in cells if cell["id"] == "c03")), made)
    world = made["world"]
    means = torch.nn.functional.pad(world.means.flatten(1), (0, 2 - world.means[0].numel())).tolist()
    sd = world.variances[:, 0].sqrt().tolist()
    return [{"x": x, "y": y, "sd": s, "label": c} for (x, y), s, c in zip(means, sd, world.labels.tolist())]


@check
@pytest.mark.parametrize(
    ("start", "chapter"), [("crooked", "02_the_exact_gradient"), ("line", "03_what_guidance_samples")]
)
def test_the_plane_begins_with_a_chapters_world(page: Any, start: str, chapter: str) -> None:
    found, world = page.evaluate("start => rgdLive.plane.STARTS[start].gaussians", start), chapters_world(chapter)
    assert len(found) == len(world)
    for gaussian, wanted in zip(found, world):
        assert gaussian == pytest.approx({**wanted, "weight": 1}, abs=1e-12)


@check
def test_stronger_guidance_leaves_the_near_cloud(page: Any) -> None:
    """Chapter 3, whose plane counts the particles of each cloud of the class."""
    near = []
    for scale in (1, 4, 10):
        run = "scale => rgdLive.plane.run({ ...rgdLive.plane.STARTS.line, scale, ripple: null }).sources"
        near.append(page.evaluate(run, scale).count(1))
    assert near[0] > near[1] + 10
    assert near[1] > near[2] + 10
    told = re.search(r"by their most probable Gaussian: (\d+) of Gaussian 1 and (\d+) of Gaussian 4\.", said(page))
    assert told is not None
    assert int(told[1]) + int(told[2]) > 200


@check
@pytest.mark.parametrize("text", ["rgb(230, 230, 230)", "rgb(33, 33, 33)"])
def test_a_notebooks_module_draws_the_same_widget(page: Any, text: str) -> None:
    """In a notebook's own light or dark, which its text tells, whatever the reader's system asks for."""
    page.add_style_tag(content=f"body {{ color: {text} }}")
    page.emulate_media(color_scheme="light" if text == "rgb(230, 230, 230)" else "dark")
    page.evaluate("() => { delete document.documentElement.dataset.theme; }")
    told, ink = page.evaluate(
        """async (source) => {
            const module = await import(URL.createObjectURL(new Blob([source], {type: "text/javascript"})));
            const el = document.createElement("div"), state = {t: 300};
            document.body.append(el);
            const leave = module.default.render({el, model: {
                get: name => state[name], set() {}, save_changes() {}, on() {}, off() {}}});
            while (!el.querySelector(".said")?.textContent) await new Promise(requestAnimationFrame);
            leave();
            return [el.querySelector(".said").textContent, getComputedStyle(el.querySelector(".rgd-plane")).color];
        }""",
        live.module("plane"),
    )
    assert told.startswith("6 Gaussians")
    assert "At t = 300" in told
    assert ink == {"rgb(230, 230, 230)": "rgb(230, 233, 236)", "rgb(33, 33, 33)": "rgb(31, 35, 40)"}[text]
