"""Live widgets: one ES module each, in rgd/book/js, which the book's pages and live notebooks show alike."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

MODULES = Path(__file__).parent / "js"
_IMPORT = re.compile(r'^import (\{[^}]*\}|\* as \w+) from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (default |(?:async )?function\*? (\w+)|(?:const|class) (\w+))", re.MULTILINE)

_IN_NOTEBOOK = """
export default {{
  render(host) {{
    const [r, g, b] = getComputedStyle(document.body).color.match(/[\\d.]+/g).map(Number);
    host.el.dataset.theme = r + g + b > 3 * 128 ? "dark" : "light";
    return rgdLive.{name}.default.render(host);
  }},
}};
"""


def names() -> list[str]:
    """The widgets that there are: the modules with a default export. The others are imported by them."""
    return sorted(path.stem for path in MODULES.glob("*.js") if "\nexport default " in path.read_text())


def script(name: str) -> str:
    """A widget's module as statements that make it `rgdLive.NAME`, an object of what it exports, after all it imports.

    So it runs where there are no modules: in a page that was opened as a file, and in a notebook, whose widgets are one
    file. Modules may write `import { a, b as c } from "./x.js";` or `import * as x from "./x.js";`, and `export` before
    a function, a class, a const or a default.

    Raises:
        ValueError: if there is no such widget, or for any other import or export.
    """
    if name not in names():
        raise ValueError(f"there is no live widget {name!r}; there are {', '.join(names())}")
    return "\n".join(_alone(module) for module in _in_order(name))


def _in_order(name: str) -> list[str]:
    """A module after all that it needs, each once."""
    imports = _IMPORT.findall((MODULES / f"{name}.js").read_text())
    needed = [before for _, other in imports for before in _in_order(other)]
    return list(dict.fromkeys([*needed, name]))


def _alone(name: str) -> str:
    def take(found: re.Match[str]) -> str:
        wanted, other = found.groups()
        wanted = wanted.removeprefix("* as ").replace(" as ", ": ")
        return f"const {wanted} = rgdLive.{other};"

    source = (MODULES / f"{name}.js").read_text()
    exported = [function or other for _, function, other in _EXPORT.findall(source)]
    body = _EXPORT.sub(lambda found: found[1].replace("default ", "whole = "), _IMPORT.sub(take, source))
    if unread := re.search(r"^(import|export)\b.*", body, re.MULTILINE):
        raise ValueError(f"{name}.js: this import or export is none that `rgd.book.live.script` reads: {unread[0]}")
    things = ", ".join(["default: whole", *filter(None, exported)])
    return f"rgdLive.{name} ??= (() => {{\nlet whole;\n{body}\nreturn {{ {things} }};\n}})();\n"


def module(name: str) -> str:
    """A widget as the ES module that a live notebook loads.

    A page says by `data-theme` at its root whether it is dark. Every kind of notebook has another way, and in all of
    them the text is light: its place is given the same mark.

    Raises:
        ValueError: as `script` does.
    """
    return f"const rgdLive = {{}};\n{script(name)}{_IN_NOTEBOOK.format(name=name)}"


def live(name: str, **state: Any) -> Any:
    """The live widget `name` of the book's pages, in a live notebook. Its state is what the page's block sets.

    What is given as `state` stays in step with the browser: `widget.t` is where the reader left the slider of t.
    `guide`, `explore` and `blind` run models, whose files must be somewhere: `files` is that folder's address, of the
    published site (`.../_static/live/`), or "/files/live/" in JupyterLab after `python -m tools.live --folder live`.

    Raises:
        ImportError: without anywidget.
        ValueError: if there is no such widget.
    """
    source = module(name)
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise ImportError("a live widget needs anywidget: pip install anywidget") from error
    traits = {key: traitlets.Any(value).tag(sync=True) for key, value in state.items()}
    return type("Live", (anywidget.AnyWidget,), {"_esm": source, **traits})()
