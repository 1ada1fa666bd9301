"""What the teacher's guide says of the chapters: minutes, cost and printed numbers, from the committed notebooks.

As in `tools.views`, each function fills a block; the chapters of a folder come by the names of their files.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rgd.course import EXERCISES
from tools.views import _table

Notebook = dict[str, Any]
WORDS_A_MINUTE, MINUTES_A_CELL = 150, 1
NO_PROSE = re.compile(
    r"<!--.*?-->|```.*?```|\$\$.*?\$\$|\$[^$]*\$|^[:|][^\n]*|^\([\w-]+\)=|\]\([^)]*\)|<[\w./-]+>(?=`)|\{[\w:]+\}(?=`)",
    re.DOTALL | re.MULTILINE,
)
TITLE = re.compile(r"^\(([\w-]+)\)=\n# (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Minutes:
    """How long a student needs for a chapter: each part in minutes."""

    reading: int
    code: int
    running: int
    exercises: int

    @property
    def together(self) -> int:
        """The sum, rounded up to five minutes."""
        return 5 * math.ceil((self.reading + self.code + self.running + self.exercises) / 5)


def _texts(notebook: Notebook, kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def prose(text: str) -> int:
    """The words of a text, without formulas, code, tables, directives and the targets of links."""
    return len(re.findall(r"[A-Za-z][\w'’-]*", NO_PROSE.sub(" ", text)))


def minutes(name: str, notebook: Notebook) -> Minutes:
    """Reading and code up to the exercises, the measured run under profile `cpu`, and the exercises' own minutes;
    research has none."""
    words = cells = 0
    for cell in notebook["cells"]:
        text, *rest = re.split(r"^## Exercises$", "".join(cell["source"]), maxsplit=1, flags=re.MULTILINE)
        words += prose(text) if cell["cell_type"] == "markdown" else 0
        cells += cell["cell_type"] == "code" and "google.colab" not in text  # the set-up cell is the same everywhere
        if rest:
            break
    exercises = sum(exercise.minutes for exercise in EXERCISES.values() if exercise.chapter == int(name[:2]))
    running = notebook["metadata"]["rgd"]["measured"]["cpu"]["seconds"] / 60
    reading = math.ceil(words / WORDS_A_MINUTE)
    code = MINUTES_A_CELL * cells
    return Minutes(reading, code, math.ceil(running), exercises)


def _chapters(notebooks: dict[str, Notebook]) -> Iterator[tuple[str, str, Notebook]]:
    """(file's name, reference to the chapter by its title, notebook)."""
    for name, notebook in notebooks.items():
        found = TITLE.search(_texts(notebook, "markdown")[0])
        if found is None:
            raise ValueError(f"{name} does not begin with a label and a title")
        yield name, f"{int(name[:2])}. {{ref}}`{found[2]} <{found[1]}>`", notebook


def chapters(notebooks: dict[str, Notebook]) -> str:
    """The minutes of every chapter."""
    rows = []
    for name, title, notebook in _chapters(notebooks):
        m = minutes(name, notebook)
        rows.append([title, m.reading, m.code, m.running, m.exercises, m.together])
    return _table(["chapter", "reading", "code", "running", "exercises", "together"], rows)


def hours(notebooks: dict[str, Notebook], which: str) -> str:
    """The hours of some chapters together, e.g. of `0 2 4`."""
    wanted = {int(number) for number in which.split()}
    found = {int(name[:2]): minutes(name, notebook).together for name, notebook in notebooks.items()}
    if missing := wanted - found.keys():
        raise ValueError(f"there is no chapter {min(missing)}")
    return f"{sum(found[number] for number in wanted) / 60:.1f}"


def cost(notebooks: dict[str, Notebook]) -> str:
    """What running each chapter takes under the profiles that were measured."""
    rows = []
    for _, title, notebook in _chapters(notebooks):
        measured = notebook["metadata"]["rgd"]["measured"]
        seconds = [str(measured[profile]["seconds"]) for profile in ("ci", "cpu")]
        rows.append([title, *seconds, f"{max(m['megabytes'] for m in measured.values()) / 1000:.1f}"])
    return _table(["chapter", "seconds, `ci`", "seconds, `cpu`", "memory, GB"], rows)


def memory(notebooks: dict[str, Notebook]) -> str:
    """The most memory that any chapter held, in GB."""
    held = (m["megabytes"] for n in notebooks.values() for m in n["metadata"]["rgd"]["measured"].values())
    return f"{max(held) / 1000:.1f}"


def printed(notebook: Notebook, after: str) -> str:
    """The first number, with its interval, that a chapter's outputs have after a text; `a & b`: after b, after a."""
    outputs = (output for cell in notebook["cells"] for output in cell.get("outputs", ()))
    rest = "\n".join("".join(output.get("text", ())) for output in outputs)
    for part in after.split(" & "):
        _, part_of_it, rest = rest.partition(part)
        if not part_of_it:
            raise ValueError(f"no output has {part!r}")
    found = re.search(r"(-?\d[\d.]*\d|\d)(\s?%)?(?: \[(\S+), (\S+)\])?", rest)
    if found is None:
        raise ValueError(f"no number is printed after {after!r}")
    interval = f" ({found[3]} to {found[4]})" if found[3] else ""
    return f"{found[1]}{(found[2] or '').strip()}{interval}"


FUNCTIONS: tuple[Callable[..., str], ...] = (chapters, hours, cost, memory, printed)
VIEWS = {function.__name__: function for function in FUNCTIONS}
TAKES_ARGUMENT = {name for name, view in VIEWS.items() if len(inspect.signature(view).parameters) > 1}
