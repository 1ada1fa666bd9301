"""Students' code is held: what it may not do, it cannot. Every trial here is bounded, should the sandbox not hold."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rgd.course.sandbox import Limits, Sandbox, SandboxError, choose

pytestmark = pytest.mark.check


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    try:
        return choose(False, [tmp_path_factory.getbasetemp()])
    except SandboxError as error:
        pytest.skip(str(error))


def run(sandbox: Sandbox, *sources: str, graded: bool = False, **limits: Any) -> Sequence[dict[str, Any]]:
    cells = [{"id": str(k), "source": source, "graded": graded} for k, source in enumerate(sources)]
    return list(sandbox.run(cells, Limits(**limits)))


def printed(said: Sequence[dict[str, Any]]) -> list[str]:
    return [line["printed"] for line in said if line.get("printed")]


def test_what_the_code_can_reach(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "seed"
    secret.write_text("1234")
    said = run(
        sandbox,
        f"import os\nprint(os.path.exists({str(secret)!r}), os.path.exists({str(Path.home() / '.ssh')!r}))",
        "import socket\ntry:\n    socket.create_connection(('192.0.2.1', 80), 2)\nexcept OSError as e: print(e.errno)",
        "import rgd\ntry:\n    open(rgd.__file__, 'a')\nexcept OSError as e:\n    print(e.errno)",
        "import ctypes\nc = ctypes.CDLL(None)\nprint(c.umount2(b'/usr', 2), c.mount(b'x', b'/usr', b'tmpfs', 0, None))",
    )
    assert printed(said) == ["False False\n", "101\n", "30\n", "-1 -1\n"]
    assert said[-1] == {"done": True}


def test_the_kernel_stops_processes_that_breed(sandbox: Sandbox) -> None:
    """400 at most, each of which ends by itself."""
    breed = "import os, time\nfor _ in range(400):\n    if os.fork() == 0:\n        time.sleep(5)\n        os._exit(0)"
    said = run(sandbox, breed, processes=10**6, memory=2**40)  # so that nobody who watches stops it
    assert said[1]["error"][0] == "BlockingIOError"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import os; os._exit(3)", "ended the process"),
        ("import time\nfor _ in range(60): time.sleep(1)", "ran for more than 2 seconds"),
        ("import numpy\nheld = [numpy.empty(2**28, numpy.uint8) for _ in range(40)]", "took more memory than there is"),
        ("import os, time\nfor _ in range(20):\n    if os.fork() == 0: time.sleep(9)\ntime.sleep(9)", "8 processes"),
    ],
)  # fmt: skip
def test_why_it_was_stopped(sandbox: Sandbox, source: str, why: str) -> None:
    assert why in run(sandbox, source, cell=20 if "held" in source else 2, processes=8, memory=4 * 2**30)[-1]["killed"]


def test_of_what_is_printed_the_beginning_is_kept(sandbox: Sandbox) -> None:
    (text,) = printed(run(sandbox, "for _ in range(1000): print('x' * 1000)"))
    assert text.startswith("xxx")
    assert "cut after 20,000" in text
    assert len(text) < 21_000


def test_a_graded_cells_error_does_not_show_its_lines(sandbox: Sandbox) -> None:
    assert "SEED" not in str(run(sandbox, "missing('SEED')", graded=True))


def test_a_child_that_comes_along_says_nothing(sandbox: Sandbox) -> None:
    said = run(sandbox, "import os; os.fork();", "2")
    assert [line.get("ends") for line in said if "ends" in line] == ["0", "1"]


def test_where_nothing_holds_it_trust_must_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxError, match="--trust"):
        choose(False, [])
    trusted = choose(True, [])
    assert trusted.kind == "trusted"
    assert printed(run(trusted, "print(1)")) == ["1\n"]
