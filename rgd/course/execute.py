"""Run the cells of a notebook that is not trusted: `python -m rgd.course.execute`, meant for a sandbox.

Cells are read from stdin, as JSON; on stdout there is one line of JSON as each begins, and one with what it did as it
ends. Whatever a cell prints is kept up to a length; the rest is thrown away as it comes. There is no kernel and no
socket, and so no port and no second process: IPython runs the cells in this one.
"""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any, TextIO

from IPython.core.displayhook import DisplayHook
from IPython.core.interactiveshell import InteractiveShell

PRINTED = 20_000  # characters of a cell's output that are kept


class Printed(io.StringIO):
    """A stream that keeps the beginning of what is written to it."""

    cut = False

    def write(self, text: str) -> int:
        room = max(PRINTED - self.tell(), 0)
        self.cut |= len(text) > room
        super().write(text[:room])
        return len(text)

    def close(self) -> None:
        """It stays open, whatever a cell does."""

    def __str__(self) -> str:
        return self.getvalue() + (f"\n... cut after {PRINTED:,} characters\n" if self.cut else "")


class Result(DisplayHook):
    """Keeps what a cell's last line is worth, in place of printing it."""

    last: Any = None

    def __call__(self, result: Any = None) -> None:
        if not self.quiet():
            self.last = result


class Shell(InteractiveShell):
    """IPython as a notebook has it, without a history and without a terminal."""

    displayhook_class = Result

    def _showtraceback(self, etype: Any, evalue: Any, stb: list[str]) -> None:
        self.traceback = stb


def run(shell: Any, source: str, graded: bool) -> dict[str, Any]:
    """What a cell printed, and the error that it raised, or else what its last line is worth. A graded cell's error
    goes without the lines around it, which hold the teacher's seed."""
    printed, before = Printed(), (sys.stdout, sys.stderr)
    shell.displayhook.last, shell.traceback = None, []
    sys.stdout = sys.stderr = printed
    try:
        done = shell.run_cell(source, store_history=False)
        last = shell.displayhook.last
        shown = "" if last is None else repr(last)[:PRINTED]
        error = done.error_before_exec or done.error_in_exec
        if isinstance(error, MemoryError):
            raise error  # what holds the memory may be out of reach: the next cell needs a new process
    except MemoryError:
        raise
    except BaseException as raised:  # a __repr__ that raises, or what IPython lets through
        shown, error = "", raised
    finally:
        sys.stdout, sys.stderr = before
    if error is None:
        return {"printed": str(printed), "result": shown}
    name, said = type(error).__name__, str(error)[:PRINTED]
    lines = [f"{name}: {said}"] if graded else [line[:PRINTED] for line in shell.traceback[-10:]]
    return {"printed": str(printed), "error": [name, said, *lines]}


def main() -> None:
    """Run all cells that stand on stdin."""
    cells = json.load(sys.stdin)
    to = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):  # what prints past Python
        os.dup2(nowhere, number)
    me, shell = os.getpid(), Shell.instance(colors="nocolor")
    if shell.history_manager is not None:
        shell.history_manager.enabled = False

    def say(to: TextIO, **what: Any) -> None:
        to.write(json.dumps(what) + "\n")
        to.flush()

    for cell in cells:
        say(to, begins=cell["id"])
        try:
            found = run(shell, cell["source"], cell["graded"])
        except MemoryError:
            say(to, killed="took more memory than there is")
            os._exit(1)
        if os.getpid() != me:  # a cell has forked, and here its child comes along
            os._exit(0)
        say(to, ends=cell["id"], **found)
    say(to, done=True)
    os._exit(0)  # with whatever threads there are


if __name__ == "__main__":
    main()
