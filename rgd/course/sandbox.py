"""Students' code, held: in namespaces of its own (`jail.py`), or, if it is trusted, with a few limits."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rgd
from rgd.errors import RgdError

HERE = Path(__file__).resolve().parent
RUNNER = ["-m", "rgd.course.execute"]
GRACE = 30.0  # seconds more for Python to start, and for a cell of the page, which imports torch


class SandboxError(RgdError, OSError):
    """Students' code cannot be held as was asked for."""


@dataclass(frozen=True)
class Limits:
    """What one submission may take."""

    seconds: float = 240.0
    cell: float = 45.0
    """Seconds of one cell."""
    memory: int = 6 * 2**30
    """Bytes, of all its processes together."""
    output: int = 4 * 2**20
    """Bytes that come back."""
    processes: int = 64


@dataclass(frozen=True)
class Sandbox:
    """How students' code is held: `kind` is "namespaces" or "trusted"."""

    kind: str
    says: str
    hidden: tuple[Path, ...] = ()
    stop: threading.Event = field(default_factory=threading.Event)
    """Once set, nothing runs any more."""

    def command(self, scratch: str, limits: Limits) -> list[str]:
        """What starts the runner."""
        told = {"scratch": scratch, "shown": _shown(), "hidden": [str(path) for path in self.hidden], "megabytes": 256}
        told |= {"memory": limits.memory, "seconds": int(limits.seconds), "processes": limits.processes}
        held = [sys.executable, "-I", str(HERE / "jail.py"), json.dumps(told)]
        return [*(held if self.kind == "namespaces" else []), sys.executable, *RUNNER]

    def run(self, cells: Sequence[dict[str, Any]], limits: Limits) -> Iterator[dict[str, Any]]:
        """What the runner says of the cells, line by line; the last is {"killed": why} if it was stopped."""
        with tempfile.TemporaryDirectory(prefix="rgd-", ignore_cleanup_errors=True) as scratch:
            env = _quiet(scratch if self.kind == "trusted" else "/tmp")
            with tempfile.TemporaryFile() as told:  # a pipe might fill up before anybody reads
                told.write(json.dumps(list(cells)).encode())
                told.seek(0)
                process = subprocess.Popen(
                    self.command(scratch, limits), stdin=told, stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL, env=env, cwd=scratch, start_new_session=True,
                )  # fmt: skip
            try:
                yield from _watch(process, limits, self.stop, {cell["id"] for cell in cells if cell.get("page")})
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                process.stdout.close()  # type: ignore[union-attr]


def _watch(
    process: subprocess.Popen[bytes], limits: Limits, stop: threading.Event, page: set[str]
) -> Iterator[dict[str, Any]]:
    began = heard = time.monotonic()
    patience, read, rest = limits.cell + GRACE, 0, b""
    assert process.stdout is not None
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            many, much = _family(process.pid)
            for over, why in (
                (stop.is_set(), "was interrupted"),
                (now - heard > patience, f"ran for more than {limits.cell:g} seconds"),
                (now - began > limits.seconds, f"the whole took more than {limits.seconds:g} seconds"),
                (read > limits.output, f"sent more than {limits.output:,} bytes"),
                (many > limits.processes, f"started more than {limits.processes} processes"),
                (much > limits.memory, f"took more than {limits.memory / 2**30:.2g} GiB"),
            ):
                if over:
                    yield {"killed": why}
                    return
            if not ready.select(timeout=0.2):
                continue
            got = os.read(process.stdout.fileno(), 2**16)
            if not got:
                yield {"killed": "ended the process"}
                return
            read, heard = read + len(got), now
            *lines, rest = (rest + got).split(b"\n")
            for line in lines:
                with contextlib.suppress(ValueError):
                    said = json.loads(line)
                    patience = limits.cell + (GRACE if said.get("begins") in page else 0)
                    yield said
                    if said.keys() & {"done", "killed"}:
                        return


def _family(pid: int) -> tuple[int, int]:
    """How many processes descend from one, and the bytes of memory that they hold; nothing where there is no /proc.
    It must stay cheap: it runs while they breed."""
    known: dict[int, tuple[int, int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = path.read_text().rpartition(")")[2].split()
            known[int(path.parent.name)] = int(fields[1]), int(fields[21])
    ours, new = set[int](), {pid} & known.keys()
    while new:
        ours |= new
        new = {child for child, (parent, _) in known.items() if parent in ours} - ours
    return len(ours), sum(known[one][1] for one in ours) * os.sysconf("SC_PAGE_SIZE")


def _quiet(scratch: str) -> dict[str, str]:
    """The environment of students' code: silent, of one thread, of profile `ci`, and with nothing of the teacher's."""
    kept = ("PATH", "LANG", "RGD_DATA", "RGD_ZOO", "LD_LIBRARY_PATH")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    env |= {"HOME": scratch, "TMPDIR": scratch, "PYTHONPATH": str(HERE.parents[1]), "MPLCONFIGDIR": scratch}
    env |= {"RGD_PROFILE": "ci", "TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore", "MPLBACKEND": "agg"}
    env |= {"XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))}
    return env | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}


def _shown() -> list[str]:
    """The folders that students' code needs to see: Python's, this package, and the data that the book reads."""
    package = Path(rgd.__file__).resolve().parent
    shown = [Path(sys.base_prefix), Path(sys.prefix), package, package.parent / "weights", package.parent / "recipes"]
    shown += [Path(os.environ[name]) for name in ("RGD_DATA", "RGD_ZOO") if name in os.environ]
    shown += [Path(_quiet("")["XDG_CACHE_HOME"]) / name for name in ("rgd", "torch", "robust-guidance")]
    return sorted(dict.fromkeys(str(path.absolute()) for path in shown if path.is_dir()))


def choose(trust: bool, hidden: Sequence[Path]) -> Sandbox:
    """The best that this machine offers.

    Args:
        trust: whether students' code may run where nothing can hold it.
        hidden: folders that it must not see, even inside of others that it sees.

    Raises:
        SandboxError: if there is nothing to hold it with.
    """
    jailed = Sandbox("namespaces", "in namespaces of their own: no network, no files but rgd's", tuple(hidden))
    why = "there are no namespaces outside Linux"
    if sys.platform == "linux":
        with tempfile.TemporaryDirectory() as scratch:
            tried = [*jailed.command(scratch, Limits())[:4], sys.executable, "-c", f"import {RUNNER[1]}"]
            done = subprocess.run(tried, capture_output=True, text=True, env=_quiet("/tmp"), check=False)
        if done.returncode == 0:
            return jailed
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    if not trust:
        raise SandboxError(
            f"students' code cannot be kept from your files and the network here ({why}). Grade on Linux, or in a "
            "container, or say --trust if you trust this code as you trust your own"
        )
    return Sandbox("trusted", f"with your own rights, trusted ({why})")
