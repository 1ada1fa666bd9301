"""What others show of a page when they link to it: its title, its first words, the book's picture, the book's icon."""

from __future__ import annotations

import re
import textwrap
from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

PICTURE, ICON, LARGE_ICON = "cover.png", "icon.svg", "icon.png"  # tools.cover draws them
WORDS = 200


def address(app: Sphinx) -> None:
    """Where GitHub Pages serves the site of this repository."""
    owner, name = app.config.html_theme_options["repository_url"].split("/")[-2:]
    app.config.html_baseurl = f"https://{owner}.github.io/{name}/"


def first_words(document: nodes.document) -> str:
    """A page's first paragraph outside its boxes, cut where it grows long."""
    paragraphs = (p for p in document.findall(nodes.paragraph) if isinstance(p.parent, nodes.section))
    return textwrap.shorten(next((p.astext() for p in paragraphs), ""), WORDS, placeholder=" …")


def describe(app: Sphinx, page: str, template: str, context: dict[str, Any], document: nodes.document | None) -> None:
    """Adds a page's description and icons to its head."""
    title = re.sub("<[^>]*>", "", context.get("title") or "")  # escaped already
    words = escape(first_words(document)) if document is not None else ""
    told = {"title": title, "type": "article", "site_name": escape(app.config.html_title)}
    told |= {"description": words, "url": f"{app.config.html_baseurl}{page}.html"}
    told |= {"image": f"{app.config.html_baseurl}_static/{PICTURE}", "image:alt": escape(app.config.html_title)}
    lines = [
        f'<meta name="description" content="{words}" />',
        '<meta name="twitter:card" content="summary_large_image" />',
    ]
    lines += [f'<meta property="og:{name}" content="{text}" />' for name, text in told.items() if text]
    small, large = (context["pathto"](f"_static/{icon}", resource=True) for icon in (ICON, LARGE_ICON))
    lines += [
        f'<link rel="icon" type="image/svg+xml" href="{small}" />',
        f'<link rel="icon" type="image/png" sizes="180x180" href="{large}" />',
        f'<link rel="apple-touch-icon" href="{large}" />',
    ]
    context["metatags"] = "\n".join([context.get("metatags", ""), *lines])


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", address)
    app.connect("html-page-context", describe)
    return {"parallel_read_safe": True}
