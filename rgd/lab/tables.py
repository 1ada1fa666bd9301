"""What makes each published model and experiment, by name: the tables of the folder recipes/.

Each file of the folder defines `recipes` or `experiments`, from names to them. A file of one's own defines such a table
too, or a single `recipe` or `experiment`.
"""

from __future__ import annotations

import difflib
import re
import runpy
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from rgd.errors import RgdError

INSIDE = Path(__file__).with_name("recipes")  # in a wheel; in a clone the folder lies beside the package
FOLDER = INSIDE if INSIDE.is_dir() else Path(__file__).resolve().parents[2] / "recipes"
One = Literal["recipe", "experiment"]
T = TypeVar("T")


@cache
def table(one: One) -> Mapping[str, Any]:
    """Every recipe or experiment of the project, by its name."""
    defined = [runpy.run_path(str(file)).get(f"{one}s", {}) for file in sorted(FOLDER.glob("*.py"))]
    return {name: found for part in defined for name, found in part.items()}


def look_up(what: Path | str, one: One, kind: type[T] | tuple[type[T], ...]) -> T:
    """One of the project by its name, or one of your own: "mine.py", or "mine.py:NAME" of the table in it.

    A file is run: read it first if it is not yours.

    Raises:
        RgdError: if there is no such name or file, or nothing of that kind in it.
    """
    match = re.fullmatch(r"(.*\.py)(?::(.+))?", str(what))
    file, name = match.groups() if match else (None, str(what))
    if file and not Path(file).is_file():
        raise RgdError(f"there is no {one} file {file}{instead(table(one), Path(file).stem)}")
    defined = runpy.run_path(file) if file else {f"{one}s": table(one)}
    known = defined.get(f"{one}s")
    known = known if isinstance(known, Mapping) else {}  # a file of yours may have imported a module of that name
    found = known.get(name) if name else defined.get(one)
    if isinstance(found, kind):
        return found
    kinds = " or ".join(f"{k.__name__}(...)" for k in (kind if isinstance(kind, tuple) else (kind,)))
    if name is None:
        hint = f"; name one of its table, such as {file}:{next(iter(known))}" if known else ""
        raise RgdError(f"{file} does not define `{one} = {kinds}`{hint}")
    if found is None:
        place = f" in {file}" if file else " (your own is named by its file, such as mine.py)"
        raise RgdError(f"there is no {one} {name}{place}{instead(known, name)}")
    raise RgdError(f"{what} is {found!r}, where {kinds} is needed")


def instead(known: Iterable[str], wanted: str = "") -> str:
    """What is nearest to what was wanted, also to an older form of it, mnist_robust; else all that there is."""
    forms = {name.replace("/", "_"): name for name in known}
    close = difflib.get_close_matches(wanted.replace("/", "_"), forms, n=1)
    if close:
        return f"; did you mean {forms[close[0]]}?"
    return f"; there are {', '.join(forms.values())}" if forms else ""
