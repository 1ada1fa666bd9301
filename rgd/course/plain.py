"""MyST as plain Markdown: what Colab and JupyterLab show as it is meant, with links and directives as their words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import nbformat

BLOCK = re.compile(r"^:::\{([\w-]+)\}[ \t]*(.*)\n((?::[\w-]+:.*\n)*)((?:(?!:::).*\n)*?):::[ \t]*$", re.MULTILINE)
COMMENT = re.compile(r"<!-- cost -->.*?<!-- /cost -->|<!--.*?-->", re.DOTALL)
TARGET = re.compile(r"^\(([\w-]+)\)=\n(?:#+ (.*))?", re.MULTILINE)
ROLE = re.compile(r"\{([\w:]+)\}`([^`]*)`")
ENTRY = re.compile(r"^@\w+\{(\w+),(.*?)^\}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^\s*(\w+) = \{(.*)\},?$", re.MULTILINE)


def _bibliography(path: Path) -> dict[str, tuple[str, str, str]]:
    """(authors, year, address) of each entry of a BibTeX file of ours; nothing if it is not there."""
    found = {}
    for key, body in ENTRY.findall(path.read_text()) if path.exists() else ():
        fields = dict(FIELD.findall(body))
        names = [name.split(",")[0].strip("{} ") for name in fields.get("author", key).split(" and ")]
        who = names[0] if len(names) == 1 else " and ".join(names) if len(names) == 2 else f"{names[0]} et al."
        link = f"https://doi.org/{fields['doi']}" if "doi" in fields else fields.get("url", "")
        link = f"https://arxiv.org/abs/{fields['eprint']}" if "eprint" in fields else link
        found[key] = who, fields.get("year", ""), link
    return found


def _cite(kind: str, keys: str, known: Mapping[str, tuple[str, str, str]]) -> str:
    parts = []
    for key in map(str.strip, keys.split(",")):
        who, year, link = known.get(key, (key, "", ""))
        said = {"cite:t": f"{who} ({year})", "cite:yearpar": year}.get(kind, f"{who}, {year}")
        parts.append(f"[{said}]({link})" if link else said)
    return "; ".join(parts) if kind == "cite:t" else f"({'; '.join(parts)})"


def plain(text: str, known: Mapping[str, tuple[str, str, str]], called: Mapping[str, str]) -> str:
    """A Markdown cell's text without anything that MyST alone understands.

    Args:
        known: (authors, year, address) by the key of a citation.
        called: what a reference without words is called, by its label.
    """

    def role(match: re.Match[str]) -> str:
        kind, said = match.groups()
        if kind.startswith("cite"):
            return _cite(kind, said, known)
        words, _, label = said.partition(" <")
        return words if label else called.get(said, said.rpartition("/")[2].replace("-", " ").replace("_", " "))

    def block(match: re.Match[str]) -> str:
        kind, title, _, body = match.groups()
        if kind == "admonition":
            lines = f"**{title}.**\n\n{body.strip()}".splitlines()
            return "\n".join(f"> {line}".rstrip() for line in lines)
        ends = kind in ("exercise-start", "exercise-end", "solution-start", "solution-end")
        return "" if ends else body.strip()  # of a live widget or a figure, its words

    steps: tuple[Callable[[str], str], ...] = (
        lambda text: COMMENT.sub("", text),
        lambda text: TARGET.sub(lambda m: m[0].partition("\n")[2], text),
        lambda text: BLOCK.sub(block, text),
        lambda text: ROLE.sub(role, text),
        lambda text: re.sub(r"\n{3,}", "\n\n", text).strip(),
    )
    for step in steps:
        text = step(text)
    return text


def reader(notebooks: Path, bibliography: Path) -> Callable[[str], str]:
    """`plain` with what the book knows: a label is called what the heading after it says."""
    cells = [cell for path in sorted(notebooks.glob("*.ipynb")) for cell in nbformat.read(path, as_version=4).cells]
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    called = {label: title or label for label, title in TARGET.findall(text)}
    return partial(plain, known=_bibliography(bibliography), called=called)
