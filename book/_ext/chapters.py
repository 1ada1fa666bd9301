"""Chapters carry the number of their file: the notebook 10_robust_training is chapter 10, whatever stands before it.

Sphinx counts from one, and starts anew in every part of the contents. With a chapter's number in place, it numbers
figures, equations and exercises by it: the third exercise of chapter 10 is 10.3. Other pages have no number.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.environment.collectors.toctree import TocTreeCollector

CHAPTER = re.compile(r"notebooks/(\d+)_")


def number_chapters(collector: TocTreeCollector, env: BuildEnvironment) -> list[str]:
    """In place of Sphinx's own way to number sections; the pages whose number is new."""
    before, env.toc_secnumbers = env.toc_secnumbers, {}
    for page in env.found_docs:
        if named := CHAPTER.match(page):
            entries = list(env.tocs[page].findall(nodes.reference))
            # A section that is not listed would be given its chapter's number.
            numbers = {entry["anchorname"]: None for entry in entries} | {"": (int(named[1]),)}
            env.toc_secnumbers[page] = numbers
            for title in (entries[0], env.titles[page], env.longtitles[page]):
                title["secnumber"] = numbers[""]
    return [page for page, numbers in env.toc_secnumbers.items() if numbers != before.get(page)]


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    TocTreeCollector.assign_section_numbers = number_chapters
    return {"parallel_read_safe": True}
