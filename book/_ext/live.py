"""The directive `live`: a live widget in a page, with what stands in its place where there is no JavaScript.

```{live} NAME
:t: 100
Words or a picture, for paper, for a notebook in Colab and for a browser without JavaScript.
```

Options are the widget's initial state; their values are JSON, or else text. The widgets' modules are those of
`rgd.book.live`, written into the site as scripts, and `build/live` is copied beside them if it is there.
"""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from rgd.book import live as modules

GENERATED = Path(__file__).parents[2] / "build" / "live"
START = "globalThis.rgdLive ??= {};\n"


class Widget(nodes.General, nodes.Element):
    """A widget's place in a page. Inside it is what is shown without JavaScript."""


class AnyOption(dict[str, Callable[[str], Any]]):
    """The options of a directive that takes any; each is read as JSON if it can be."""

    def __missing__(self, name: str) -> Callable[[str], Any]:
        def read(text: str) -> Any:
            try:
                return json.loads(text)
            except json.JSONDecodeError:
                return text

        return read


class Live(SphinxDirective):
    """See the top of this file."""

    required_arguments = 1
    has_content = True
    option_spec = AnyOption(name=str)  # to a parser, an empty one would mean that there are no options

    def run(self) -> list[nodes.Node]:
        """The widget's place, filled with the block's own text."""
        if self.arguments[0] not in modules.names():
            raise self.error(f"there is no live widget {self.arguments[0]!r}, only {', '.join(modules.names())}")
        self.assert_has_content()
        place = Widget(widget=self.arguments[0], state=dict(self.options))
        self.state.nested_parse(self.content, self.content_offset, place)
        return [place]


def visit(translator: Any, place: Widget) -> None:
    """Opens the place, and in it the part that the loader hides."""
    state, now = html.escape(json.dumps(place["state"])), " data-now" * place.get("now", False)
    translator.body.append(f'<div class="rgd-live" data-widget="{place["widget"]}" data-state="{state}"{now}>\n')
    translator.body.append('<div class="rgd-live-instead">\n')


def depart(translator: Any, place: Widget) -> None:
    """Closes both."""
    translator.body.append("</div>\n</div>\n")


def add_loader(app: Sphinx, page: str, template: str, context: dict[str, Any], document: nodes.document | None) -> None:
    """Only a page with a widget asks for the loader."""
    if document is not None and next(document.findall(Widget), None) is not None:
        app.add_js_file("live.js", loading_method="defer")


def write_scripts(app: Sphinx, failure: Exception | None) -> None:
    """The widgets' scripts, and what was made for them, into the site's own folder."""
    if failure is None and app.builder.format == "html":
        folder = Path(app.outdir) / "_static" / "live"
        folder.mkdir(parents=True, exist_ok=True)
        for name in modules.names():
            (folder / f"{name}.js").write_text(START + modules.script(name))
        for file in GENERATED.glob("*.js"):
            shutil.copy(file, folder)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    # The book's one page too by name: once any extension names a builder, Sphinx looks no further for it.
    app.add_node(Widget, html=(visit, depart), singlehtml=(visit, depart))
    app.add_directive("live", Live)
    app.connect("html-page-context", add_loader)
    app.connect("build-finished", write_scripts)
    return {"parallel_read_safe": True}
