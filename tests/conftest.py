"""Settings for all tests: hypothesis draws the same examples every time, on machines however slow; Ctrl-C is heard.
A browser for those who ask for one."""

import functools
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("rgd", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("rgd")

# A shell starts what it runs in the background with SIGINT ignored, and every child inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Chromium, or a skip that says how to have it."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="a browser is driven by the extra 'test'")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Quiet(SimpleHTTPRequestHandler):
    """A file server that keeps no log."""

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of a folder, with a slash at its end."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[[Path], str]]:
    """Serves folders until the module's tests are done."""
    with ExitStack() as servers:
        yield lambda folder: servers.enter_context(served(folder))


@pytest.fixture(scope="session")
def live_files() -> Path:
    """The folder of what `tools.live` makes for the widgets, or a skip that says what it lacks."""
    pytest.importorskip("onnxscript", reason="graphs are exported by the extra 'book'")
    from tools import live

    try:
        live.main()
    except SystemExit as error:
        if (live.ROOT / "build" / live.RUNTIME).exists():
            raise  # it is another than it should be
        pytest.skip(str(error))  # no npm, or no network
    return live.FOLDER
