"""The survey in a real browser, at two sizes: clicked through by mouse, finger and keyboard, without a network; what it
hands over is read and analysed. The page is opened as a file."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from test_survey import drawn

from rgd.book import live
from rgd.survey import analyse, answers
from rgd.survey import page as whole_page
from rgd.survey.page import packed

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
OURS = {"classes": (3, 8), "each": 2, "checks": 2, "missed": 2}
MADE = drawn(**OURS, consent="We are a lab.\nWrite to lab@example.org.")
N = len(MADE.key.pairs)
pytestmark = pytest.mark.check


def opened(chromium: Any, size: str, path: Path, **options: Any) -> tuple[Any, list[str]]:
    """A window on a page, and a list in which its complaints and its requests gather."""
    width, height = SIZES[size]
    phone = {"has_touch": True, "is_mobile": True} if size == "phone" else {}
    context = chromium.new_context(
        viewport={"width": width, "height": height}, reduced_motion="reduce", **phone, **options
    )
    page, complaints = context.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
    page.on("request", lambda asked: complaints.append(asked.url) if asked.url.startswith("http") else None)
    page.goto(path.as_uri())
    page.get_by_role("heading", name="Before you begin").wait_for()
    return page, complaints


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("survey") / "survey.html"
    path.write_text(whole_page(MADE))
    return path


@pytest.fixture(params=SIZES)
def page(request: pytest.FixtureRequest, chromium: Any, file: Path) -> Iterator[Any]:
    window, complaints = opened(chromium, request.param, file, offline=True)
    yield window
    window.context.close()
    assert complaints == []


def is_asked(page: Any, k: int) -> None:
    """Waits for pair k, from 1, and until somebody can have looked at it."""
    page.get_by_text(f"{k} of {N}", exact=True).wait_for()
    page.wait_for_timeout(300)


def begin(page: Any, what: str = "I agree: begin", k: int = 1) -> None:
    page.get_by_role("button", name=what).click()
    is_asked(page, k)


def press(page: Any, side: str) -> None:
    """By finger where there are fingers, else by mouse."""
    button = page.get_by_role("button", name=side)
    button.tap() if page.evaluate("() => 'ontouchstart' in window") else button.click()


def finish(page: Any, first: int = 1) -> None:
    for k in range(first, N + 1):
        is_asked(page, k)
        press(page, "Left" if k % 2 else "Right")
    page.get_by_role("heading", name="Thank you").wait_for()


def handed_over(page: Any) -> str:
    with page.expect_download() as coming:
        page.get_by_role("link", name="Save the file").click()
    text = Path(coming.value.path()).read_text()
    code = json.loads(text)["answers"]["rater"]
    assert coming.value.suggested_filename == f"survey-{MADE.key.digest[:8]}-{code}.json"
    assert page.get_by_label("Your answers", exact=True).input_value() == text
    return text


def kept(page: Any) -> Any:
    return page.evaluate("() => JSON.parse(localStorage.getItem(Object.keys(localStorage)[0] ?? '') ?? 'null')")


def test_two_raters_answer_without_a_network_and_are_analysed(chromium: Any, file: Path) -> None:
    files = {}
    for size in SIZES:
        window, complaints = opened(chromium, size, file, offline=True)
        assert "We are a lab.\nWrite to lab@example.org." in window.inner_text("main")
        begin(window)
        finish(window)
        files[size] = handed_over(window)
        window.context.close()
        assert complaints == [], "nothing was asked of any server"
    found = answers.read(files, MADE.key)
    assert (len(found.raters), dict(found.bad), found.simulated) == (2, {}, False)
    for rater in found.raters:
        assert [trial.choice for trial in rater.trials] == ["left", "right"] * (N // 2)
        assert all(trial.ms % 100 == 0 and 300 <= trial.ms < 60_000 for trial in rater.trials)
    results = analyse(found, MADE.key)
    assert results["comparisons"][0]["share"].n == 2 * (N - 2)
    assert results["left"].n == 2 * (N - 2)


def test_nothing_but_the_answers_is_stored(page: Any) -> None:
    begin(page)
    finish(page)
    told = json.loads(handed_over(page))
    assert told.keys() == {"answers", "checksum"}
    assert told["answers"].keys() == {"survey", "simulated", "rater", "trials"}
    assert {frozenset(trial) for trial in told["answers"]["trials"]} == {frozenset(("pair", "left", "choice", "ms"))}
    assert re.fullmatch("[a-z2-9]{10}", told["answers"]["rater"])
    assert page.evaluate("() => document.cookie") == ""


def test_keys_answer_as_fingers_do(page: Any) -> None:
    page.get_by_role("button", name="I agree").press("Enter")
    for k, (key, side) in enumerate([("ArrowLeft", 0), ("ArrowRight", 1), ("1", 0), ("2", 1)], start=1):
        is_asked(page, k)
        page.keyboard.press("x")
        page.keyboard.press("Control+1")
        page.keyboard.press(key)
        is_asked(page, k + 1)
        assert kept(page)["trials"][-1]["choice"] == ("left", "right")[side]
    page.locator("main h1").click()  # wherever the focus is
    page.keyboard.press("1")
    is_asked(page, 6)


def test_what_is_shown_is_what_is_written_down(page: Any) -> None:
    begin(page)
    told = packed(MADE)["pairs"]
    for k in range(1, 4):
        is_asked(page, k)
        test = kept(page)
        number = test["order"][k - 1]
        left, right = (page.get_by_alt_text(f"on the {side}").get_attribute("src") for side in ("left", "right"))
        assert (left, right) == tuple(
            told[number]["images"][i] for i in (test["left"][number], 1 - test["left"][number])
        )
        assert told[number]["label"] in page.inner_text(".asked")
        press(page, "Right")
        is_asked(page, k + 1)
        assert {"pair": number, "left": test["left"][number], "choice": "right"}.items() <= kept(page)["trials"][
            -1
        ].items()


def test_a_second_tap_is_none(page: Any) -> None:
    """The first one answers; the second comes as soon as the next pair is there."""
    begin(page)
    page.evaluate(
        """() => {
            const left = document.querySelector(".two button"), count = document.querySelector(".way span");
            new MutationObserver(() => left.click()).observe(count, {childList: true});
            left.click();
        }"""
    )
    is_asked(page, 2)
    assert len(kept(page)["trials"]) == 1


def test_one_slip_can_be_mended(page: Any) -> None:
    begin(page)
    back = page.get_by_role("button", name="Back")
    assert back.is_disabled()
    for k in (1, 2):
        press(page, "Left")
        is_asked(page, k + 1)
    back.click()
    is_asked(page, 2)
    assert back.is_disabled(), "the last answer, and not those before it"
    press(page, "Right")
    is_asked(page, 3)
    assert [trial["choice"] for trial in kept(page)["trials"]] == ["left", "right"]


def test_a_closed_page_goes_on_where_it_was(page: Any, file: Path) -> None:
    begin(page)
    for k in (1, 2):
        press(page, "Left")
        is_asked(page, k + 1)
    before, context = kept(page), page.context
    page.close()
    again = context.new_page()
    again.goto(file.as_uri())
    again.get_by_text(f"You have answered 2 of {N}.").wait_for()
    begin(again, "I agree: go on", 3)
    finish(again, 3)
    rater = answers.parse(handed_over(again), MADE.key)
    assert rater.code == before["rater"]
    assert [vars(trial) for trial in rater.trials[:2]] == before["trials"]
    again.reload()
    again.get_by_role("heading", name="Thank you").wait_for()
    assert answers.parse(handed_over(again), MADE.key) == rater


def test_who_stops_leaves_nothing(page: Any) -> None:
    begin(page)
    press(page, "Left")
    is_asked(page, 2)
    page.once("dialog", lambda asks: asks.dismiss())
    page.get_by_role("button", name="Stop").click()
    is_asked(page, 2)
    page.once("dialog", lambda asks: asks.accept())
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("heading", name="You stopped").wait_for()
    assert page.evaluate("() => localStorage.length") == 0


def test_sides_and_order_are_drawn_by_lot(page: Any) -> None:
    """Of each group every image is on the left equally often. Over 2000 raters each pair is first, and each image on
    the left, as often as the others, to five standard errors."""
    lots = page.evaluate(
        """(pairs) => Array.from({length: 2000}, () => rgdLive.survey.lot(pairs))""", packed(MADE)["pairs"]
    )
    groups = [pair["group"] for pair in packed(MADE)["pairs"]]
    for group in {*groups}:
        members = [k for k, other in enumerate(groups) if other == group]
        assert all(abs(2 * sum(one["left"][k] for k in members) - len(members)) <= len(members) % 2 for one in lots)
    for k in range(N):
        assert abs(sum(one["left"][k] for one in lots) - 1000) < 5 * (2000 / 4) ** 0.5
        assert abs(sum(one["order"][0] == k for one in lots) - 2000 / N) < 5 * (2000 / N) ** 0.5
    assert len({one["rater"] for one in lots}) == 2000


def test_the_checksum_is_pythons(page: Any) -> None:
    for text in ("", "123456789", "{}"):
        assert page.evaluate("(text) => rgdLive.survey.crc32(text)", text) == answers.crc32(text)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_has_no_fault_of_accessibility(page: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page.emulate_media(color_scheme=scheme)

    def look() -> None:
        page.wait_for_function("(scheme) => document.documentElement.dataset.theme === scheme", arg=scheme)
        assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
        found = axe.Axe().run(page).response["violations"]
        assert [(v["id"], v["help"], v["nodes"][0]["html"][:200]) for v in found] == []

    look()
    begin(page)
    look()
    for name in ("Left", "Right", "Back", "Stop"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box["y"] + box["height"] <= page.viewport_size["height"], f"{name} is seen without scrolling"
        assert min(box["width"], box["height"]) >= 44, "large enough for a thumb"
    finish(page)
    assert page.evaluate("() => document.activeElement.textContent") == "Thank you"
    look()


class Desk(BaseHTTPRequestHandler):
    """A server that takes answers, with a status that the test sets."""

    status, got = 200, list[str]()

    def do_POST(self) -> None:
        Desk.got.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(Desk.status)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def desk() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Desk)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Desk.status, Desk.got = 200, []
    yield f"http://127.0.0.1:{server.server_port}/answers"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("size", SIZES)
def test_answers_are_posted_and_nothing_is_lost_where_they_are_not(
    chromium: Any, size: str, desk: str, tmp_path: Path
) -> None:
    made = drawn(**OURS, address=desk)
    path = tmp_path / "survey.html"
    path.write_text(whole_page(made))
    page, complaints = opened(chromium, size, path)
    assert f"they are sent to {desk}" in page.inner_text("main")
    begin(page)
    Desk.status = 500
    finish(page)
    page.get_by_text("could not be sent (the server said 500)").wait_for()
    page.context.set_offline(True)
    page.get_by_role("button", name="Try again").click()
    page.get_by_text(re.compile(r"could not be sent \((?!the server)")).wait_for()
    with page.expect_download() as coming:
        page.get_by_role("link", name="Save the file").click()
    saved = Path(coming.value.path()).read_text()
    page.context.set_offline(False)
    Desk.status = 200
    page.get_by_role("button", name="Try again").click()
    page.get_by_text("Your answers were sent.").wait_for()
    assert not page.get_by_role("button", name="Try again").is_visible()
    assert Desk.got == [saved] * 2
    assert len(answers.parse(saved, made.key).trials) == N
    page.reload()
    page.get_by_text("Your answers were sent.").wait_for()
    page.wait_for_timeout(300)
    assert len(Desk.got) == 2, "once is enough"
    assert {url for url in complaints if url.startswith("http")} == {desk}
    page.context.close()


@pytest.mark.parametrize("ink", ["rgb(230, 230, 230)", "rgb(33, 33, 33)"])
def test_a_notebook_asks_the_same_and_is_told(chromium: Any, tmp_path: Path, ink: str) -> None:
    (tmp_path / "notebook.html").write_text(f'<!doctype html><body style="color: {ink}"><main></main>')
    page = chromium.new_page()
    page.goto((tmp_path / "notebook.html").as_uri())
    page.evaluate(
        """async ([source, survey]) => {
            const module = await import(URL.createObjectURL(new Blob([source], {type: "text/javascript"})));
            window.told = {};
            module.default.render({el: document.querySelector("main"), model: {
                get: name => name === "survey" ? survey : null,
                set(name, value) { told[name] = value; }, save_changes() { told.saved = true; }}});
        }""",
        [live.module("survey"), packed(MADE)],
    )
    assert "they go to the notebook" in page.inner_text("main")
    assert page.evaluate("() => document.querySelector('main').dataset.theme") == ("dark" if "230" in ink else "light")
    begin(page)
    finish(page)
    told = page.evaluate("() => told")
    assert told["saved"] is True
    assert len(answers.parse(told["answers"], MADE.key).trials) == N
    page.close()
