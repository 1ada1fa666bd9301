"""The site in a real browser: it is built as a reader's would be, served, and opened in Chromium.

Nothing but the site's own server may be asked for anything, so that it can be read without a network. The tests skip,
and say why, where Jupyter Book, Playwright or Chromium is missing.
"""

from __future__ import annotations

import functools
import gzip
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import nbformat
import pytest
import yaml
from PIL import Image

from rgd import plots, widgets

ROOT = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.check, pytest.mark.timeout(600)]
pytest.importorskip("jupyter_book", reason="the site is built by the extra 'book'")

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


def table_of_contents() -> list[str]:
    """Every page of the book, without its ending."""
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    return [contents["root"], *(page["file"] for part in contents["parts"] for page in part["chapters"])]


PAGES = table_of_contents()


@pytest.fixture(scope="module")
def html(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make book` builds it: any warning is an error, and so is a broken reference."""
    out = tmp_path_factory.mktemp("book")
    subprocess.run([sys.executable, "-m", "tools.live", "--optional"], cwd=ROOT, check=True)
    built = subprocess.run(
        [Path(sys.executable).with_name("jupyter-book"), "build", ".", "-W", "-n", "--path-output", str(out)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    return out / "_build" / "html"


@pytest.fixture(scope="module")
def site(html: Path, serve: Callable[[Path], str]) -> str:
    return serve(html)


class Window:
    """A page in the browser, and all that it complained of."""

    def __init__(self, chromium: Any, site: str, size: str = "desktop") -> None:
        width, height = SIZES[size]
        self.site, self.complaints = site, []
        self.context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme="light")
        self.context.route("**/*", self._only_here)
        self.page = self.context.new_page()
        self.page.on("console", lambda said: said.type == "error" and self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "response", lambda got: got.status >= 400 and self.complaints.append(f"{got.status} for {got.url}")
        )

    def _only_here(self, route: Any) -> None:
        if route.request.url.startswith((self.site, "data:", "blob:")):
            route.continue_()
        else:
            self.complaints.append(f"asks another server: {route.request.url}")
            route.abort()

    def open(self, page: str) -> Any:
        self.page.goto(f"{self.site}{page}.html", wait_until="networkidle")
        self.page.evaluate("() => window.MathJax?.startup?.promise")
        return self.page

    def turn(self, scheme: str) -> None:
        """To the light or the dark."""
        self.page.emulate_media(color_scheme=scheme)
        self.page.wait_for_function("scheme => document.documentElement.dataset.theme === scheme", arg=scheme)

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.fixture
def window(chromium: Any, site: str) -> Iterator[Window]:
    with Window(chromium, site) as opened:
        yield opened


# Every page is opened twice, once as wide as a desktop and once as a phone. What is asked of it there is asked in the
# order of this file, so that what opens drop-downs comes last.
@pytest.fixture(scope="module", params=PAGES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def on_desktop(chromium: Any, site: str, name: str) -> Iterator[Window]:
    with Window(chromium, site, "desktop") as opened:
        opened.open(name)
        yield opened


@pytest.fixture(scope="module")
def on_phone(chromium: Any, site: str, name: str) -> Iterator[Window]:
    with Window(chromium, site, "phone") as opened:
        opened.open(name)
        yield opened


def test_a_page_loads_whole(on_desktop: Window, on_phone: Window) -> None:
    page = on_desktop.page
    assert on_desktop.complaints == on_phone.complaints == []
    broken = page.evaluate("() => [...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.src)")
    assert broken == []
    formulas = page.evaluate(
        """() => [...document.querySelectorAll(".math")].map(
            m => [m.textContent, m.querySelector("mjx-container") !== null, m.querySelector("mjx-merror") !== null])"""
    )
    assert [text for text, rendered, wrong in formulas if wrong or not rendered] == []
    wide = page.evaluate(
        """() => [...document.querySelectorAll("div.math mjx-math")].filter(m => m.getBoundingClientRect().width > 672)
                 .map(m => m.closest(".math").textContent)"""
    )
    assert wide == [], "a formula fits into the column, and on a sheet of paper, where nothing can be scrolled"
    scrolled = page.evaluate(
        """() => [...document.querySelectorAll(".cell_input pre")].filter(e => e.scrollWidth > e.clientWidth + 1)
                 .map(e => e.textContent.slice(0, 200))"""
    )
    assert scrolled == [], "a line of code is read without scrolling"
    said = page.evaluate(
        """() => { const copy = document.querySelector("article").cloneNode(true);
                   copy.querySelectorAll("pre, code").forEach(e => e.remove()); return copy.textContent; }"""
    )
    assert not re.search(r"\$[^$]*\\[a-z]+", said), "no formula is left as it was typed"
    nameless = page.evaluate("() => [...document.images].filter(i => !i.alt.trim()).map(i => i.src.slice(0, 80))")
    assert nameless == [], "every picture is told in words"


@pytest.mark.parametrize("size", SIZES)
def test_a_page_fits_and_has_no_serious_fault_of_accessibility(on_desktop: Window, on_phone: Window, size: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    window = {"desktop": on_desktop, "phone": on_phone}[size]
    window.page.add_style_tag(content="* { transition: none !important }")  # or colours are seen half changed
    for scheme in ("light", "dark"):
        window.turn(scheme)
        wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert window.page.evaluate(wide) <= 0, "no page is wider than its window"
        # The bibliography's list comes from docutils, whose items axe does not take for items of a list. In the dark
        # the page is the same but for its colours.
        options = {"resultTypes": ["violations"], **({"runOnly": ["color-contrast"]} if scheme == "dark" else {})}
        before = list(window.complaints)
        found = Axe().run(
            window.page, context={"include": [["body"]], "exclude": [[".citation-list"]]}, options=options
        )
        window.complaints[:] = before  # axe looks for style sheets where there are none
        faults = [
            (scheme, fault["id"], fault["help"], [node["html"][:200] for node in fault["nodes"]][:3])
            for fault in found.response["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
        assert faults == []


# What scrolls, or is cut, though nothing at its edge says so: of a formula's parts only the whole is asked.
UNMARKED = """() => [...document.querySelectorAll("article.bd-article *")]
    .filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 1 && !e.parentElement.closest("mjx-container"))
    .filter(e => {
        const style = getComputedStyle(e);
        const clear = d => ["SPAN", "CODE", "A"].includes(d.tagName)
            || getComputedStyle(d).backgroundColor === "rgba(0, 0, 0, 0)";
        const shadow = style.overflowX === "auto" && style.backgroundAttachment === "local, local, scroll, scroll"
            && [...e.querySelectorAll("*")].every(clear);
        const fades = style.overflowX === "auto" && style.maskImage.endsWith("rgba(0, 0, 0, 0))");
        return style.overflowX !== "visible" && !shadow && !fades;
    }).map(e => `${e.tagName}: ${(e.closest(".math") ?? e).textContent.slice(0, 200)}`)"""


def test_what_is_wider_than_a_phone_says_so(on_phone: Window) -> None:
    page = on_phone.page
    assert page.evaluate(UNMARKED) == []
    cut = page.evaluate(
        """() => [...document.querySelectorAll("article .math mjx-math")].filter(m => {
                   const box = m.closest("div.math mjx-container") ?? document.querySelector("article");
                   return m.getBoundingClientRect().right > box.getBoundingClientRect().right + 1;
                 }).map(m => m.closest(".math").textContent)"""
    )
    assert cut == [], "a formula is broken where a phone's line ends"


# The dots per inch of a picture are in its file, but for an animation's, which are the default of `widgets.animation`.
# A picture's `width` is that of its content, to the nearest pixel.
PICTURES = """() => [...document.querySelectorAll("article img:not(.wordless)")].map(i => [
    i.closest(".rgd-player") !== null, i.src, (i.width + 0.5) / i.naturalWidth])"""


def test_text_in_figures_can_be_read_on_a_phone(on_phone: Window, html: Path, name: str) -> None:
    notebook = ROOT / f"{name}.ipynb"
    drawn_by = notebook if notebook.exists() else ROOT / "tools" / "figures.py"
    smallest = min(map(int, re.findall(r"fontsize=(\d+)", drawn_by.read_text())), default=9)  # of a picture table
    page = on_phone.page
    page.wait_for_function(
        "() => [...document.querySelectorAll('.rgd-view img')].every(i => i.style.getPropertyValue('--drawn'))"
    )
    for scheme in ("light", "dark"):
        on_phone.turn(scheme)
        for moves, source, share in page.evaluate(PICTURES):
            if moves:
                points, dpi = plots.STYLE["font.size"], inspect.signature(widgets.animation).parameters["dpi"].default
            else:
                points = min(smallest, 9)
                dpi = Image.open(html / unquote(urlsplit(source).path).lstrip("/")).info["dpi"][0]
            assert share * dpi / 72 * points > 8.999, (scheme, source[-40:], share)


def test_a_chapter_is_downloaded_from_its_menu(window: Window) -> None:
    page = window.open("notebooks/01_mixtures_under_noise")
    page.locator(".dropdown-download-buttons > button").press("Enter")
    offered = page.locator(".dropdown-download-buttons li > *")
    assert offered.all_inner_texts() == ["Notebook", "Notebook with solutions", ".pdf"]
    assert offered.first.is_visible()
    with page.expect_download() as download:
        offered.first.click()
    assert download.value.suggested_filename == "01_mixtures_under_noise_exercises.ipynb"


@pytest.mark.parametrize("chapter", [page for page in PAGES if page.startswith("notebooks/")])
def test_a_chapter_is_downloaded_without_solutions_or_with_them(html: Path, chapter: str) -> None:
    page, committed = html / f"{chapter}.html", ROOT / f"{chapter}.ipynb"
    menu = page.read_text().split("dropdown-download-buttons")[1].split("</ul>")[0]
    short, whole = (page.parent / unquote(address) for address in re.findall(r'href="([^"]+)"', menu))
    assert whole.read_bytes() == committed.read_bytes()
    kept = nbformat.read(short, 4)
    nbformat.validate(kept)
    text = "".join(cell.source for cell in kept.cells)
    all_of_it = "".join(cell.source for cell in nbformat.read(committed, 4).cells)
    assert "{solution" not in text
    for mark in ("{exercise-start}", "{exercise-end}", "# your answer"):
        assert text.count(mark) == all_of_it.count(mark)
    ruff = [Path(sys.executable).with_name("ruff"), "check", "--isolated", "--select", "F821", short]
    checked = subprocess.run(ruff, capture_output=True, text=True)
    assert checked.returncode == 0, f"without its solutions it lacks a name:\n{checked.stdout}"


def test_drop_downs_open_and_animations_play(on_desktop: Window, name: str) -> None:
    page, notebook = on_desktop.page, ROOT / f"{name}.ipynb"
    cells = [cell.source for cell in nbformat.read(notebook, 4).cells] if notebook.exists() else []
    solutions = page.query_selector_all("article .admonition.dropdown")
    assert len(solutions) == sum(cell.count(":class: dropdown") for cell in cells)
    for solution in solutions:
        inside = solution.query_selector("p:not(.admonition-title)")
        assert not inside.is_visible(), "a solution waits to be asked for"
        solution.query_selector(".toggle-button").click()
        inside.wait_for_element_state("visible")
    players = page.query_selector_all(".rgd-player")
    assert len(players) == sum(cell.count("widgets.animation(") for cell in cells)
    for player in players:
        first = player.query_selector("img").get_attribute("src")
        player.query_selector("button").click()
        page.wait_for_function("([p, first]) => p.querySelector('img').src !== first", arg=[player, first])
        assert player.query_selector("button").get_attribute("aria-label") == "Pause"
        player.query_selector("input").fill("0")
        assert player.query_selector("img").get_attribute("src") == first
        assert player.query_selector("button").get_attribute("aria-label") == "Play"
    assert on_desktop.complaints == []


def test_drawings_are_part_of_the_page(window: Window) -> None:
    for name, drawing in (("06_the_unet", "unet"), ("10_robust_training", "attack"), ("12_guided_sampling", "guided")):
        page, inks = window.open(f"notebooks/{name}"), []
        for size, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            texts = page.evaluate(
                """name => { const svg = document.querySelector(`#drawn-${name} svg`);
                             const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
                             return [...svg.querySelectorAll("text, tspan")].map(t =>
                                 [t.textContent, parseFloat(getComputedStyle(t).fontSize) * scale]); }""",
                drawing,
            )
            assert [text for text, height in texts if height < 9] == [], size
        for scheme in ("light", "dark"):
            window.turn(scheme)
            inks.append(page.locator(f"#drawn-{drawing} svg").evaluate("svg => getComputedStyle(svg).fill"))
        assert inks == ["rgb(34, 34, 34)", "rgb(230, 230, 230)"], "it follows the page's light and dark"
        page.emulate_media(color_scheme="light")


@pytest.mark.parametrize("size", SIZES)
def test_a_figure_is_enlarged(window: Window, size: str) -> None:
    width, height = SIZES[size]
    window.page.set_viewport_size({"width": width, "height": height})
    page = window.open("notebooks/01_mixtures_under_noise")
    # A widget that comes while a pointer is down would move what is under it.
    for place in page.query_selector_all(".rgd-live"):
        place.scroll_into_view_if_needed()
        page.wait_for_function("place => place.matches('.rgd-live-on')", arg=place)
    pictures = page.query_selector_all("article img")
    buttons = page.query_selector_all("article .rgd-enlarge")
    assert len(buttons) == len(pictures) > 0, "each has its button, an animation too"
    dialog = page.query_selector("dialog.rgd-enlarged")
    focused = "button => document.activeElement === button"
    for picture, button in zip(pictures, buttons, strict=True):
        tap = functools.partial(picture.click, position={"x": 9, "y": 9})
        asked = [tap, functools.partial(button.press, "Enter"), button.click]
        for ask, close in zip(asked, ["Escape", "Escape", "button"], strict=True):
            ask()
            dialog.wait_for_element_state("visible")
            large = dialog.query_selector("img")
            assert large.get_attribute("alt") == picture.get_attribute("alt")
            drawn, shown = large.evaluate("image => image.decode().then(() => [image.naturalWidth, image.width])")
            assert shown >= drawn, "its text is as large as it was drawn"
            page.keyboard.press(close) if close == "Escape" else dialog.query_selector("button").click()
            dialog.wait_for_element_state("hidden")
            assert button.evaluate(focused)
    assert window.complaints == []


def test_a_figure_that_is_enlarged_shows_where_there_is_more(window: Window) -> None:
    window.page.set_viewport_size({"width": 390, "height": 844})
    page = window.open("notebooks/00_the_idea")
    page.query_selector(".rgd-enlarge").press("Enter")
    page.wait_for_selector(".rgd-enlarged .more-right:not(.more-left)")
    page.evaluate("() => document.querySelector('.rgd-enlarged > div').scrollBy(9999, 0)")
    page.wait_for_selector(".rgd-enlarged .more-left:not(.more-right)")


def test_printing_opens_solutions_and_closes_them_again(window: Window, tmp_path: Path) -> None:
    from pypdf import PdfReader

    page = window.open("notebooks/01_mixtures_under_noise")
    solutions = page.query_selector_all("article .admonition.dropdown")
    solutions[0].query_selector(".toggle-button").click()  # what the reader has opened stays open
    opened = "() => [...document.querySelectorAll('.admonition.dropdown')].map(e => !e.matches('.toggle-hidden'))"
    before = page.evaluate(opened)
    page.pdf(path=tmp_path / "chapter.pdf")
    printed = re.sub(r"\s+", "", "".join(sheet.extract_text() for sheet in PdfReader(tmp_path / "chapter.pdf").pages))
    for solution in solutions:
        code = solution.query_selector_all("pre")[-1].text_content()
        assert re.sub(r"\s+", "", code)[-40:] in printed
    assert page.evaluate(opened) == before == [True] + [False] * (len(solutions) - 1)
    page.emulate_media(media="print")
    seen = page.evaluate(
        """() => {
            dispatchEvent(new Event("beforeprint"));
            return [...document.querySelectorAll(".admonition.dropdown > .admonition-title ~ *")]
                .map(e => getComputedStyle(e).opacity);
        }"""
    )
    assert set(seen) == {"1"}, "paper does not wait for what fades in"


def test_a_chapter_is_light(window: Window) -> None:
    answers: list[Any] = []
    window.page.on("response", lambda answer: answers.append(answer))
    window.open("notebooks/01_mixtures_under_noise")
    total = 0
    for answer in answers:
        if answer.url.startswith(window.site) and not answer.headers["content-type"].startswith("image/"):
            body = re.sub(rb"data:image/[^\"]*", b"", answer.body())  # an animation's pictures
            total += min(len(body), len(gzip.compress(body)))
    assert total < 700_000, "bytes of a chapter without its pictures"


def test_the_fonts_have_every_icon(html: Path) -> None:
    from fontTools.ttLib import TTFont

    fonts = [TTFont(file) for file in html.rglob("fa-*.woff")]
    drawn = {code for font in fonts for code in font.getBestCmap()}
    sheet = (html / "_static" / "styles" / "pydata-sphinx-theme.css").read_text()
    named = {name for file in html.rglob("*.html") for name in re.findall(r"\bfa[bs]? fa-([a-z-]+)", file.read_text())}
    codes = {name: re.search(rf'fa-{name}:before[^{{}}]*{{content:"\\(\w+)"', sheet) for name in named}
    missing = [name for name, code in codes.items() if code is not None and int(code[1], 16) not in drawn]
    assert missing == []
    assert {name for name, code in codes.items() if code is not None} >= {"github", "download", "rocket"}


def links(html: Path) -> Iterator[tuple[Path, str]]:
    for file in sorted(html.rglob("*.html")):
        if "_static" not in file.parts:
            for address in re.findall(r'(?:href|src)="([^"]+)"', file.read_text()):
                yield file, address


def test_every_link_within_the_book_leads_somewhere(html: Path) -> None:
    anchors: dict[Path, set[str]] = {}
    broken = []
    for file, address in links(html):
        parts = urlsplit(urljoin(f"/{file.relative_to(html)}", address)) if "://" not in address else None
        if parts is None or parts.scheme:
            continue
        target = html / unquote(parts.path).lstrip("/")
        if not target.exists():
            broken.append((file.name, address))
        elif parts.fragment and target.suffix == ".html":
            if target not in anchors:
                anchors[target] = set(re.findall(r'(?:id|name)="([^"]+)"', target.read_text()))
            if unquote(parts.fragment) not in anchors[target]:
                broken.append((file.name, address))
    assert broken == []


def test_chapters_have_their_number_wherever_they_are_named(html: Path) -> None:
    chapters = [page for page in PAGES if page.startswith("notebooks/")]
    assert [int(re.findall(r"\d+", page)[0]) for page in chapters] == list(range(len(chapters)))
    for number, page in enumerate(chapters):
        text = (html / f"{page}.html").read_text()
        assert re.findall(r'<h\d><span class="section-number">([^<]*)</span>', text) == [f"{number}. "]
        assert f"<title>{number}. " in text
        assert re.search(r'current active"><a class="[^"]*" href="#">' + rf"{number}\. ", text), "in the sidebar"
        for kind in ("Fig.", "Exercise"):
            counted = re.findall(rf'caption-number">{kind} ([\d.]+) ?<', text)
            assert counted == [f"{number}.{i + 1}" for i in range(len(counted))]
            assert counted or (kind, number) == ("Exercise", 0)
        following = re.search(r'class="right-next"\s+href="([^"]*)"', text)
        assert following is not None
        after = PAGES[PAGES.index(page) + 1]
        assert following[1] == os.path.relpath(f"{after}.html", Path(page).parent)
    front = (html / "index.html").read_text()
    for start, entries in re.findall(r'<ol class="arabic simple"(?: start="(\d+)")?>(.*?)</ol>', front, re.DOTALL):
        for number, page in enumerate(re.findall(r'href="(notebooks/[^"#.]*)\.html', entries), int(start or 1)):
            assert page == chapters[number], "the landing page counts as the book does"


def test_the_landing_page_loads_nothing_of_the_digit_before_the_click(window: Window, html: Path) -> None:
    asked: list[str] = []
    window.page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    page = window.open("index")
    go = page.get_by_role("button", name="Draw ten digits")
    go.wait_for()
    files = [Path(path).stem for path in asked if "/_static/live/" in path]
    assert files == ["guide"], "what draws the controls, and no model"
    if not (html / "_static" / "live" / "ort.js").exists():
        pytest.skip("the site was built without npm")
    go.click()
    page.wait_for_function(
        "() => /Done|not work/.test(document.querySelector('.rgd-guide [role=status]').textContent)", timeout=300_000
    )
    assert page.get_by_role("status").text_content().startswith("Done")
    files = sorted(Path(path).stem for path in asked if "/_static/live/" in path)
    assert files == ["glue", "guide", "mnist-ddpm", "mnist-robust", "ort", "wasm"]
    sent = sum(len(gzip.compress((html / "_static" / "live" / f"{file}.js").read_bytes())) for file in files)
    said = re.search(r"about (\d+) MB", (html / "_static" / "live" / "guide.js").read_text())
    assert said is not None
    assert round(sent / 1e6) == int(said[1])
    # The picture above it was drawn with the same settings: black and white where the page's own images are.
    from PIL import Image

    drawn = page.evaluate(
        """() => [...document.querySelectorAll(".rgd-guide .images")[0].querySelectorAll("canvas")].map(
            c => [...c.getContext("2d").getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 0))"""
    )
    picture = Image.open(ROOT / "book" / "figures" / "digits.png").convert("L")
    picture = picture.resize((picture.width // 4, picture.height // 4), Image.Resampling.NEAREST)
    for column, image in enumerate(drawn):
        left, top = 29 * column + 1, 2 * 29 + 1
        shown = list(picture.crop((left, top, left + 28, top + 28)).getdata())
        assert max(abs(a - b) for a, b in zip(image, shown, strict=True)) <= 2
    assert window.complaints == []


def test_a_link_to_a_page_shows_what_it_is(html: Path) -> None:
    from PIL import Image

    for name in ("index", "notebooks/04_when_classifiers_lie"):
        head = (html / f"{name}.html").read_text().split("</head>")[0]
        told = dict(re.findall(r'<meta (?:name|property)="(og:[a-z:]+|description)" content="([^"]+)"', head))
        assert told["og:description"] == told["description"]
        assert 50 < len(told["description"]) <= 200
        assert told["og:url"].endswith(f"/rgd/{name}.html")
        icons = re.findall(r'<link rel="(?:icon|apple-touch-icon)"[^>]* href="([^"]+)"', head)
        assert len(icons) == 3
        for icon in icons:
            assert ((html / name).parent / icon).exists()
    picture = html / "_static" / told["og:image"].rpartition("/")[2]
    assert Image.open(picture).size == (1200, 630), "as large as those who show it want it"
    assert told["og:title"] == "4. When classifiers lie"


def test_the_atlas_shows_the_works_of_one_place(window: Window) -> None:
    page = window.open("book/atlas")
    cards, entries = page.locator(".atlas-card:visible"), page.locator("section:has(> .atlas-place):visible")
    assert (cards.count(), entries.count()) == (59, 59)
    for place in ("Demonstrated", "Planned", "For reading"):
        page.get_by_label(place).check()
        n = int(page.locator("label", has_text=place).locator("b").inner_text())
        assert cards.count() == entries.count() == n
        assert 0 < page.locator(".atlas-group:visible").count() <= n
    page.get_by_label("All").check()
    page.get_by_role("link", name="9. Edit-friendly noise").first.click()
    assert page.url.endswith("#atlas-9")
    assert window.complaints == []


def test_search_finds_a_term(window: Window) -> None:
    page = window.page
    page.goto(f"{window.site}search.html?q=autoguidance", wait_until="networkidle")
    page.wait_for_selector("#search-results ul.search li a")
    found = [link.get_attribute("href") for link in page.query_selector_all("#search-results ul.search li a")]
    assert any("notation" in address for address in found)
    assert window.complaints == []


def search(window: Window, query: str) -> list[tuple[str, str]]:
    """What search finds: the address of each page, and the words that it shows of it."""
    page = window.page
    page.goto(f"{window.site}search.html?q={query}", wait_until="networkidle")
    page.wait_for_function(
        """() => /finished|did not match/.test(document.querySelector(".search-summary").innerText)
            && [...document.querySelectorAll("#search-results ul.search li")].every(e => e.children.length > 1)"""
    )  # to each address the words come later
    return page.eval_on_selector_all(
        "#search-results ul.search li",
        """found => found.map(e => [e.querySelector("a").getAttribute("href"),
            (e.querySelector(".context")?.textContent ?? "").replace(/\\s+/g, " ")])""",
    )


@pytest.mark.parametrize("query", ["guidance", "Colab", "robust", "radius"])
def test_search_shows_prose_where_there_is_some(window: Window, query: str) -> None:
    found = dict(search(window, query))
    chapters = [name for name in PAGES if name.startswith("notebooks/") and f"{name}.html" in found]
    assert len(chapters) > 5
    for name in chapters:
        cells = json.loads((ROOT / f"{name}.ipynb").read_text())["cells"]
        prose, code = (
            "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == kind) for kind in ("markdown", "code")
        )
        excerpt = found[f"{name}.html"]
        assert excerpt, name
        assert not {"Contents", "Repository"} & set(re.findall(r"\w+", excerpt)), "the theme's"
        if query.lower() in prose.lower():
            lines = (" ".join(line.split()) for line in code.splitlines() if len(line.split()) > 1)
            assert [line for line in lines if line in excerpt] == [], name


def test_search_fits_a_phone(window: Window) -> None:
    window.page.set_viewport_size({"width": SIZES["phone"][0], "height": SIZES["phone"][1]})
    assert search(window, "robust"), "with long names among what is found"
    assert window.page.evaluate("() => document.documentElement.scrollWidth") <= SIZES["phone"][0]


def test_search_knows_no_set_up(window: Window) -> None:
    assert search(window, "importlib") == [], "a word of the set-up cell and of nothing else"


def test_every_module_is_in_the_reference(html: Path) -> None:
    pages = "".join(file.read_text() for file in (html / "book" / "api").glob("*.html"))
    files = [file.relative_to(ROOT).with_suffix("") for file in (ROOT / "rgd").rglob("*.py") if file.stem != "__init__"]
    modules = {".".join(file.parts) for file in files} - {"rgd.recipes"}  # a door to rgd.lab.recipe
    modules = {module for module in modules if not module.startswith("rgd.course.exercises.")}  # it has the answers
    assert {module for module in modules if f'id="module-{module}"' not in pages} == set()
    assert "<blockquote" not in pages, "lines set off in a docstring, which run together or past a phone's edge"


def test_the_index_leads_into_every_chapter(html: Path) -> None:
    index = (html / "genindex.html").read_text()
    chapters = [page for page in PAGES if page.startswith("notebooks/")]
    assert [page for page in chapters if f'href="{page}.html#' not in index] == []
    assert re.search(r'href="notebooks/03_what_guidance_samples.html#why-is-it-not-true">tilted density<', index)


def test_notation_and_reference_lead_to_each_other(html: Path) -> None:
    notation = (html / "book" / "notation.html").read_text()
    assert 'href="api/guidance.html#rgd.guidance.guide"' in notation
    assert 'href="../notation.html#notation-guidance"' in (html / "book" / "api" / "guidance.html").read_text()


@pytest.mark.skipif(not os.environ.get("RGD_PDF"), reason="the whole book is printed where RGD_PDF=1: it takes minutes")
def test_the_book_is_printed_with_page_numbers_that_are_right(html: Path, chromium: Any, tmp_path: Path) -> None:
    from pypdf import PdfReader

    from tools import pdf

    pdf.write(pdf.single_page(html.parents[1]), tmp_path / "book.pdf", chromium)  # Sphinx has read every page already
    printed = PdfReader(tmp_path / "book.pdf")
    pages = [page.extract_text() for page in printed.pages]
    assert "The Gradient Decides" in pages[0]
    assert [number for number, text in enumerate(pages, 1) if len(text.split()) < 5] == [], "no page is empty"
    assert not re.search(r"\\\(|\\nabla", "".join(pages[:100])), "no formula is left as it was typed"
    outline = [item.title for item in printed.outline if not isinstance(item, list)]
    assert outline[:5] == [
        "The Gradient Decides",
        "Contents",
        "Preface",
        "0. The idea in fifteen minutes",
        "1. Mixtures under noise",
    ]
    assert not any("Now you." in text for text in pages), "the landing page is for screens"
    contents, index = "\n".join(pages[1:5]), "\n".join(pages[-3:])
    for heading in ("Mixtures under noise", "Why is it not true?", "What makes it a U?", "Errata"):
        told = re.search(re.escape(heading) + r"\s*(\d+)", contents)
        assert told is not None
        assert heading in pages[int(told[1]) - 1]
    told = re.search(r"tilted density, (\d+)", index)
    assert told is not None
    assert "Why is it not true?" in pages[int(told[1]) - 1]
