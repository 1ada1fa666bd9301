"""Write the tables and numbers of the README and the book from `results/`: nobody types a number.

What stands between `<!-- fill: results/NAME.json VIEW ARGUMENT -->` and `<!-- /fill -->`, alone or in the middle of a
sentence, is replaced by what the function VIEW of `tools.views` makes of that file. A VIEW of `tools.teaching` is given
a chapter, or the folder of all of them, in place of a file of results. `python -m tools.fill` rewrites;
`python -m tools.fill --check` says what is stale, and fails.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from tools import teaching, views

VIEWS = views.VIEWS | teaching.VIEWS
TAKES_ARGUMENT = views.TAKES_ARGUMENT | teaching.TAKES_ARGUMENT
ROOT = Path(__file__).resolve().parent.parent
MISSING = "(not measured)"
BLOCK = re.compile(r"(<!-- fill: (\S+) (\w+)(?: ([^>]*?))? -->)(\n?).*?(<!-- /fill -->)", re.DOTALL)


def content(path: Path) -> Any:
    """A file's content, with what `prices.json` beside it has of the same name; of a folder, that of each notebook in
    it, by name."""
    if path.is_dir():
        return {each.stem: json.loads(each.read_text()) for each in sorted(path.glob("*.ipynb"))}
    found, prices = json.loads(path.read_text()), path.parent / "prices.json"
    priced = json.loads(prices.read_text()) if prices.exists() else {}
    return found | {"prices": priced[path.stem]} if path.stem in priced else found


def fill(text: str, root: Path = ROOT, strict: bool = True) -> str:
    """The text with every block made anew. Where there is no such file of results yet, the block says so.

    Raises:
        ValueError: for a block that no view can fill, saying which; without `strict` the block says so too.
    """

    def made(match: re.Match[str]) -> str:
        opening, file, view, argument, newline, closing = match.groups()
        if not (root / file).exists():
            return f"{opening}{newline}{MISSING}{newline}{closing}"
        try:
            if (argument is not None) != (view in TAKES_ARGUMENT):
                raise ValueError(f"{view} takes {'an' if view in TAKES_ARGUMENT else 'no'} argument")
            arguments = () if argument is None else (argument,)
            found = VIEWS[view](content(root / file), *arguments)
        except (LookupError, StopIteration, ValueError) as error:
            if strict:
                raise ValueError(f"cannot fill {opening}: {error!r}") from error
            found = MISSING
        return f"{opening}{newline}{found}{newline}{closing}"

    return BLOCK.sub(made, text)


def pages() -> list[Path]:
    """The pages that may hold blocks."""
    first, book, notebooks = (ROOT / "README.md", ROOT / "index.md"), ROOT / "book", ROOT / "notebooks"
    return [*first, *sorted(book.glob("*.md")), *sorted(notebooks.glob("*.ipynb"))]


def filled(page: Path) -> str:
    """What a page should hold; of a notebook, only the text cells are looked at."""
    text = page.read_text()
    if page.suffix != ".ipynb":
        return fill(text)
    notebook, changed = json.loads(text), False
    for cell in notebook["cells"]:
        before = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and (after := fill(before)) != before:
            cell["source"], changed = after.splitlines(keepends=True), True
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n" if changed else text


def main() -> int:
    """Fill all pages, or check them."""
    stale = []
    for page in pages():
        found = filled(page)
        if found != page.read_text():
            stale.append(page.relative_to(ROOT))
            if "--check" not in sys.argv:
                page.write_text(found)
    print(f"{'stale' if '--check' in sys.argv else 'rewritten'}: {', '.join(map(str, stale)) or 'nothing'}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    raise SystemExit(main())
