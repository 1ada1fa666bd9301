"""Guide a digit: what the page computes is what `rgd` computes, and the widget shows it.

Everything runs in Chromium: the modules served, and once more as one script in a page opened from its folder.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rgd
from rgd.lab import registry
from rgd.schedule import linear

pytestmark = [pytest.mark.check, pytest.mark.timeout(600)]
pytest.importorskip("onnxscript", reason="graphs are exported by the extra 'book'")

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("noise", "diffusion", "models", "pictures", "guide")  # each after those that it imports
GUIDES = ("none", "clean", "vanilla", "robust", "robust_2")
HOST = """<!doctype html><html lang="en" SCHEME><head><meta charset="utf-8"><title>A digit</title>
<meta name="viewport" content="width=device-width"><style>body { font: 16px sans-serif; margin: 1rem; max-width: 46rem }
html[data-theme=dark] body { background: #121212; color: #ddd }</style></head><body>
<main><h1>A digit</h1></main><SCRIPT>
  const state = STATE, heard = {};
  const model = { get: (name) => state[name], save_changes() {}, on: (event, f) => (heard[event] ??= []).push(f),
    set(name, value) { state[name] = value; (heard[`change:${name}`] ?? []).forEach((f) => f()); } };
  globalThis.steps = [];
  const el = document.querySelector("main");
  el.addEventListener("rgd-step", ({ detail }) => steps.push(detail));
  widget.render({ model, el });
</script></body></html>"""


def host(widget: str, kind: str, scheme: str = "light", **state: Any) -> str:
    page = HOST.replace("<SCRIPT>", f"<script{kind}>{widget}").replace("SCHEME", f'data-theme="{scheme}"')
    return page.replace("STATE", json.dumps({"static": "./", **state}))


def as_one_script() -> str:
    """The modules without what makes them modules."""
    text = "".join((ROOT / "rgd" / "book" / "js" / f"{name}.js").read_text() for name in MODULES)
    text = re.sub(r"^import .*\n", "", text, flags=re.M).replace("export default", "return")
    return "const widget = (() => {" + text.replace("export ", "") + "})();"


@pytest.fixture(scope="module")
def folder(chromium: Any, live_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules, what `tools.live` makes, and pages."""
    there = tmp_path_factory.mktemp("page")
    shutil.copytree(live_files, there / "live")
    for name in MODULES:
        shutil.copy(ROOT / "rgd" / "book" / "js" / f"{name}.js", there)
    for scheme in ("light", "dark"):
        served = host('import widget from "./guide.js";', ' type="module"', scheme)
        (there / f"{scheme}.html").write_text(served)
    (there / "file.html").write_text(host(as_one_script(), "", steps=2))
    return there


@pytest.fixture(scope="module")
def site(folder: Path, serve: Callable[[Path], str]) -> str:
    return serve(folder)


@pytest.fixture
def page(chromium: Any, site: str) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.complaints = []
    opened.set_default_timeout(120_000)  # on a busy machine
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.on(
        "request", lambda asked: asked.url.startswith((site, "blob:", "file:")) or opened.complaints.append(asked.url)
    )
    opened.goto(f"{site}light.html")
    yield opened
    context.close()
    assert opened.complaints == []


def compute(page: Any, body: str, *given: Any) -> Any:
    """What a function of the modules' names gives."""
    names = "{ linear, respace, ddim, noise, load }"
    imports = "{ ...await import('./diffusion.js'), ...await import('./noise.js'), ...await import('./models.js') }"
    return page.evaluate(f"async (given) => {{ const {names} = {imports}; {body} }}", list(given))


def test_the_schedule_is_rgds(page: Any) -> None:
    for T in (1, 10, 1000):
        assert np.allclose(compute(page, "return [...linear(given[0])]", T), linear(T).alpha_bar, rtol=1e-13)
    schedule = linear(1000)
    for steps in (1, 2, 3, 12, 15, 25, 400, 1000):  # of three, the one in the middle is at 499.5
        assert compute(page, "return respace(1000, given[0])", steps) == schedule.respace(steps).timesteps.tolist()


@pytest.mark.parametrize("seed", [0, 7, 2**31 - 1])
def test_the_noise_is_rgds(page: Any, seed: int) -> None:
    drawn = np.array(compute(page, "return [...noise(10, 784, given[0])]", seed))
    assert np.abs(drawn - rgd.noise((10, 1, 28, 28), seed).numpy().ravel()).max() < 1e-5


@pytest.mark.parametrize("guide", GUIDES)
def test_the_models_and_the_sampler_are_rgds(page: Any, guide: str) -> None:
    y, x = torch.arange(10), rgd.noise((10, 1, 28, 28), 1)
    denoise = registry.load("mnist/ddpm", "cpu")
    scale = 0.25 if guide == "clean" else 4.0
    guided: Any = denoise
    if guide != "none":
        guided = rgd.guide(denoise, rgd.grad_log_prob(registry.load(f"mnist/{guide}", "cpu")), scale)
    *_, exact = rgd.ddim(guided, x, y, steps=15)
    body = """const [x, guide, scale, y] = given;
        const { denoise, gradient } = await load("live/", guide);
        const asked = Float32Array.from(x), first = [await denoise(asked, 500), await gradient?.(asked, 500, y) ?? []];
        let last;
        for await (last of ddim(denoise, asked, { gradient, scale, y, steps: 15 }));
        return [...first, last.x].map((values) => [...values]);"""
    output, gradient, drawn = compute(page, body, x.flatten().tolist(), guide, scale, y.tolist())
    t = torch.full((10,), 500)
    with torch.no_grad():
        expected = denoise.network(x, t).flatten().numpy()
    assert np.abs(np.array(output) - expected).max() < 1e-5 * max(1, np.abs(expected).max())
    if guide != "none":
        expected = rgd.grad_log_prob(registry.load(f"mnist/{guide}", "cpu"))(x, t, y).flatten().numpy()
        assert np.abs(np.array(gradient) - expected).max() < 1e-5 * max(1, np.abs(expected).max())
    print(guide, np.abs(np.array(drawn) - exact.x.flatten().numpy()).max())
    assert np.abs(np.array(drawn) - exact.x.flatten().numpy()).max() < 1e-3


def finish(page: Any) -> str:
    page.get_by_role("button", name="Draw ten digits").click()
    page.wait_for_function("() => /Done|Stopped|not work/.test(document.querySelector('[role=status]').textContent)")
    return page.get_by_role("status").text_content()


def test_nothing_is_loaded_before_the_click_and_each_step_is_shown(page: Any, site: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{site}light.html", wait_until="networkidle")
    assert not [url for url in asked if "/live/" in url]
    page.get_by_label("Seed", exact=True).fill("3")
    page.get_by_label("Digit", exact=True).select_option("each")
    assert finish(page).startswith("Done: 12 steps")
    assert {Path(url).stem for url in asked if "/live/" in url} == {"ort", "glue", "wasm", "mnist-ddpm", "mnist-robust"}
    drawn = page.evaluate("() => [steps.length, [...steps.at(-1).x], [...steps.at(-1).twin.x]]")
    denoise, x = registry.load("mnist/ddpm", "cpu"), rgd.noise((10, 1, 28, 28), 3)
    push = rgd.grad_log_prob(registry.load("mnist/robust", "cpu"))
    *_, guided = rgd.ddim(rgd.guide(denoise, push, 4.0), x, torch.arange(10), steps=12)
    *_, twin = rgd.ddim(denoise, x, steps=12)
    assert drawn[0] == 12
    assert np.abs(np.array(drawn[1]) - guided.x.flatten().numpy()).max() < 1e-3
    assert np.abs(np.array(drawn[2]) - twin.x.flatten().numpy()).max() < 1e-3
    light = "() => document.querySelectorAll('canvas')[0].getContext('2d').getImageData(14, 14, 1, 1).data[0]"
    assert abs(page.evaluate(light) - 127.5 * (float(guided.x[0, 0, 14, 14].clamp(-1, 1)) + 1)) < 1
    page.get_by_label("Step", exact=True).fill("1")
    assert page.get_by_text("Step 1 of 12, t = 999").is_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_run_stops_and_a_guide_can_be_none(page: Any) -> None:
    page.get_by_role("button", name="Draw ten digits").click()
    page.get_by_text("Step 1 of 12").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.wait_for_function("() => /Stopped after/.test(document.querySelector('[role=status]').textContent)")
    assert page.evaluate("() => steps.length") < 12
    page.get_by_label("Guide", exact=True).select_option("none")
    assert finish(page).startswith("Done")
    assert page.get_by_text("from the same noise").is_hidden()


def test_what_went_wrong_is_said_in_words_and_can_be_tried_again(page: Any) -> None:
    page.route("**/mnist-ddpm.js", lambda route: route.abort())
    assert "mnist-ddpm.js could not be loaded" in finish(page)
    page.unroute("**/mnist-ddpm.js")
    assert finish(page).startswith("Done")


def test_it_works_in_a_page_opened_from_its_folder(page: Any, folder: Path) -> None:
    page.goto((folder / "file.html").as_uri())
    assert finish(page).startswith("Done: 2 steps")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_used_by_all(page: Any, site: str, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{site}{scheme}.html")
    page.get_by_label("Digit", exact=True).focus()
    for name in ("Guide", "Scale", "Seed", "Show"):
        page.keyboard.press("Tab")
        assert page.get_by_label(name, exact=True).evaluate("e => e === document.activeElement")
    finish(page)
    assert page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert [fault["id"] for fault in axe.Axe().run(page).response["violations"]] == []
