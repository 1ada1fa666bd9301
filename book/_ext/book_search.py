"""Search without the set-up cell, which is the same in every notebook, and with prose before code.

The index forgets the cell's words; the search page loads `search.js`, which chooses what is shown of each page.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx


def is_code_cell(node: nodes.Node) -> bool:
    """Of a notebook. The first one sets up, as a test demands."""
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"


def leave_out_set_up(app: Sphinx) -> None:
    """While Sphinx takes a page's words into the index, the set-up cell is empty."""
    if app.builder.name != "html":
        return
    index_page = app.builder.index_page

    def index_rest(page: str, doctree: nodes.document, title: str) -> None:
        cell = next(doctree.findall(is_code_cell), nodes.container())
        kept, cell.children = cell.children, []
        index_page(page, doctree, title)
        cell.children = kept

    app.builder.index_page = index_rest


def add_script(app: Sphinx, page: str, template: str, context: dict[str, object], document: nodes.document) -> None:
    """Only the search page asks for it, after the theme's own."""
    if page == "search":
        app.add_js_file("search.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", leave_out_set_up)
    app.connect("html-page-context", add_script)
    return {"parallel_read_safe": True}
