"""Puts the entries of book/index.yml into the general index, so that notebooks stay free of index directives."""

from __future__ import annotations

from pathlib import Path

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

TERMS = Path(__file__).parent.parent / "index.yml"
logger = logging.getLogger(__name__)


def add_entries(app: Sphinx, document: nodes.document) -> None:
    """An entry leads to the section whose heading it stands under; a heading that is not there is a warning."""
    page = app.env.docname
    wanted = yaml.safe_load(TERMS.read_text()).get(page, {})
    titles = [title for title in document.findall(nodes.title) if isinstance(title.parent, nodes.section)]
    sections = {title.astext(): title.parent for title in titles}
    app.env.note_dependency(str(TERMS))
    for heading, terms in wanted.items():
        if heading not in sections:
            logger.warning("%s names a heading that %s does not have: %s", TERMS.name, page, heading)
            continue
        target = sections[heading]["ids"][0]
        for term in terms:
            app.env.get_domain("index").entries[page].append(("single", term, target, "", None))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("doctree-read", add_entries)
    return {"parallel_read_safe": True}
