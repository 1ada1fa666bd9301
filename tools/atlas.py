"""The atlas: the page book/atlas.md, and its thumbnails, from the works in book/atlas.yml.

`python -m tools.atlas` writes them, `python -m tools.atlas --check` says whether they are as it would write them. The
head of book/atlas.yml says how a work becomes a demonstrated one. Its numbers stand in the page as blocks of
`tools.fill`, which keeps them as fresh as those of any other page.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tools import fill

ROOT = Path(__file__).resolve().parent.parent
WORKS, PAGE = "book/atlas.yml", "book/atlas.md"
PLACES = {"demonstrated": "Demonstrated", "planned": "Planned", "reading": "For reading"}
ANALOGUE = "{} an analogue, for the work's own field is out of reach here: {}."
GAP = 8  # pixels between the boxes of a thumbnail


@dataclass(frozen=True)
class Number:
    """A number that shows a work's idea. `source` is what `tools.fill` is told: a file, a view, its argument."""

    what: str
    source: str
    unit: str = ""

    @property
    def block(self) -> str:
        return f"<!-- fill: {self.source} --><!-- /fill -->{f' {self.unit}' if self.unit else ''}"


@dataclass(frozen=True)
class Thumbnail:
    """Boxes cut from a picture, a file or `NOTEBOOK FIGURE`, one below the other; all of it where there are none."""

    of: str
    alt: str
    cut: tuple[tuple[int, int, int, int], ...] = ()

    def source(self, root: Path = ROOT) -> bytes:
        """The picture that it is cut from.

        Raises:
            LookupError: for a notebook that has no picture under that name.
        """
        file, _, name = self.of.partition(" ")
        if not name:
            return (root / file).read_bytes()
        for cell in json.loads((root / file).read_text())["cells"]:
            if cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") == name:
                for output in cell["outputs"]:
                    if "image/png" in output.get("data", {}):
                        return base64.b64decode("".join(output["data"]["image/png"]))
        raise LookupError(f"{file} has no figure {name} with a picture: run it, or name another")

    def digest(self, root: Path = ROOT) -> str:
        """The hash of all that the thumbnail is made from, which it carries, so that a stale one can be told."""
        return hashlib.sha256(self.source(root) + repr(self.cut).encode()).hexdigest()

    def write(self, target: Path, root: Path = ROOT) -> None:
        """Cut it, and save it with its digest."""
        whole = Image.open(io.BytesIO(self.source(root))).convert("RGB")
        parts = [whole.crop(box) for box in self.cut or ((0, 0, *whole.size),)]
        height = sum(part.height for part in parts) + GAP * (len(parts) - 1)
        made, top = Image.new("RGB", (max(part.width for part in parts), height), "white"), 0
        for part in parts:
            made.paste(part, (0, top))
            top += part.height + GAP
        about = PngInfo()
        about.add_text("source", self.digest(root))
        target.parent.mkdir(parents=True, exist_ok=True)
        made.save(target, pnginfo=about)


@dataclass(frozen=True)
class Work:
    """A work beside the paper: what it is, and its place in this book. The fields are explained in book/atlas.yml."""

    number: int
    title: str
    name: str
    field: str
    fit: str
    group: str
    idea: str
    place: str
    cite: str = ""
    by: str = ""
    analogue: str = ""
    measured: str = ""
    begun: str = ""
    why: str = ""
    section: str = ""
    heading: str = ""
    shown: str = ""
    missing: str = ""
    numbers: tuple[Number, ...] = ()
    thumbnail: Thumbnail | None = None

    @property
    def picture(self) -> str:
        return f"book/figures/atlas/{self.number}.png"


@dataclass(frozen=True)
class Group:
    """Works that one chapter is meant for. `chapter` is its label once it is there."""

    name: str
    title: str
    about: str
    chapter: str = ""
    set_aside: bool = True

    @property
    def link(self) -> str:
        return f"{{ref}}`{self.title} <{self.chapter}>`" if self.chapter else f"*{self.title}*"


@dataclass(frozen=True)
class Atlas:
    """What the page is made from: its first words, the groups by name, the works."""

    about: tuple[str, ...]
    groups: dict[str, Group]
    works: list[Work]

    @property
    def counts(self) -> dict[str, int]:
        """How many works there are in each place."""
        return {place: sum(each.place == place for each in self.works) for place in PLACES}


def work(entry: dict[str, Any]) -> Work:
    """An entry of the file as a `Work`.

    Raises:
        ValueError: for an entry that lacks a field or has one that is not known, naming it.
    """
    given = dict(entry)
    try:
        given["numbers"] = tuple(Number(n["what"], n["from"], n.get("unit", "")) for n in given.get("numbers", ()))
        if "thumbnail" in given:
            cut = tuple(tuple(box) for box in given["thumbnail"].get("cut", ()))
            given["thumbnail"] = Thumbnail(given["thumbnail"]["of"], given["thumbnail"]["alt"], cut)
        return Work(**given)
    except (TypeError, KeyError) as error:
        raise ValueError(f"work {entry.get('number')} of {WORKS}: {error}") from error


def read(file: Path = ROOT / WORKS) -> Atlas:
    """All that the file holds, the works in its order."""
    content = yaml.safe_load(file.read_text())
    groups = {group["name"]: Group(**group) for group in content["groups"]}
    return Atlas(tuple(content["about"]), groups, [work(entry) for entry in content["works"]])


def sentences(text: str) -> int:
    """How many sentences a text has."""
    return len(re.findall(r"[.!?](?=\s|$)", text.strip()))


def div(name: str, *blocks: str, colons: int = 3) -> str:
    """Markdown in a box of that class."""
    return "\n".join([f"{':' * colons}{{div}} {name}", "\n\n".join(filter(None, blocks)), ":" * colons])


def switches(atlas: Atlas) -> str:
    """Radio buttons by which the style sheet shows the works of one place alone; without it they do nothing."""
    options = [("all", "All", len(atlas.works)), *((place, PLACES[place], n) for place, n in atlas.counts.items())]
    lines = [
        f'<label class="{place}"><input type="radio" name="atlas" autocomplete="off" id="atlas-{place}"'
        f"{' checked' if place == 'all' else ''} /> {title} <b>{n}</b></label>"
        for place, title, n in options
    ]
    return "\n".join(
        ["```{raw} html", '<fieldset class="atlas-show">', "<legend>Show</legend>", *lines, "</fieldset>", "```"]
    )


def card(each: Work) -> str:
    """A work in the overview."""
    link = f"{{ref}}`{each.number}. {each.name} <atlas-{each.number}>`"
    place = PLACES[each.place].lower() + (", as an analogue" if each.analogue and each.place != "reading" else "")
    return f":::{{grid-item}}\n:class: atlas-card {each.place}\n{link}\n\n{place}\n:::"


def overview(group: Group, works: Sequence[Work]) -> str:
    """A group with a card for each of its works."""
    grid = "\n".join(["::::{grid} 2 2 3 3", ":gutter: 2", "", "\n\n".join(map(card, works)), "::::"])
    title = f":::{{rubric}} {group.link if group.chapter else group.title}\n:::"
    return div("atlas-group", title, group.about, grid, colons=5)


def planned(each: Work, group: Group) -> list[str]:
    """What is to be done, and for which chapter."""
    where = f", for the chapter {group.link}" if group.set_aside else "; no chapter is set aside for it yet"
    analogue = f" {ANALOGUE.format('It would be', each.analogue)}" if each.analogue else ""
    begun = f"**Begun**. {each.begun}" if each.begun else ""
    return [f"**Planned**{where}.{analogue}", f"**To be measured**. {each.measured}", begun]


def demonstrated(each: Work) -> list[str]:
    """What is done and where, a picture of it, and the numbers that show it."""
    assert each.thumbnail is not None, f"work {each.number}: a demonstrated work has a thumbnail"
    file, alt = each.picture.removeprefix("book/"), each.thumbnail.alt
    picture = f"```{{image}} {file}\n:alt: {alt}\n:class: wordless\n```"
    where = f"**Demonstrated** in {{ref}}`{each.heading} <{each.section}>`. {each.shown}"
    analogue = ANALOGUE.format("It is", each.analogue) if each.analogue else ""
    numbers = "\n".join(f"- {number.what}: **{number.block}**" for number in each.numbers)
    missing = f"**Not shown**. {each.missing}" if each.missing else ""
    files = dict.fromkeys(f"`{number.source.split()[0]}`" for number in each.numbers)
    words = [f"{where} {analogue}".strip(), numbers, missing, div("small", f"From {' and '.join(files)}.")]
    return [picture, div("atlas-words", *words, colons=4)]


def entry(each: Work, group: Group) -> str:
    """All about one work."""
    source = f"{{cite:t}}`{each.cite}`" if each.cite else each.by
    if each.place == "planned":
        blocks = planned(each, group)
    elif each.place == "demonstrated":
        blocks = demonstrated(each)
    else:
        blocks = [f"**For reading**, and not to be run. {each.why}"]
    head = [
        f"(atlas-{each.number})=",
        f"### {each.number}. {each.title}",
        "",
        f"{source} · {each.field}",
        "",
        each.idea,
        "",
    ]
    return "\n".join([*head, div(f"atlas-place {each.place}", *blocks, colons=5)])


def page(atlas: Atlas, root: Path = ROOT) -> str:
    """The whole page, its numbers filled in."""
    told = {"works": len(atlas.works), **atlas.counts}
    text = [
        "(atlas)=\n# An atlas of neighbours",
        f"<!-- Made by `python -m tools.atlas` from {WORKS}, which is where to edit. -->",
        *(words.format(**told) for words in atlas.about),
        switches(atlas),
        "(atlas-overview)=\n## By the question that they belong to",
        *(overview(g, [each for each in atlas.works if each.group == g.name]) for g in atlas.groups.values()),
        "(atlas-works)=\n## One by one",
        *(entry(each, atlas.groups[each.group]) for each in atlas.works),
    ]
    return fill.fill("\n\n".join(text) + "\n", root)


def stale(root: Path = ROOT) -> list[str]:
    """The files that `main` would change."""
    atlas, found = read(root / WORKS), []
    if not (root / PAGE).exists() or (root / PAGE).read_text() != page(atlas, root):
        found.append(PAGE)
    for each in atlas.works:
        if each.thumbnail is not None:
            picture = root / each.picture
            digest = Image.open(picture).info.get("source") if picture.exists() else None
            found += [] if digest == each.thumbnail.digest(root) else [each.picture]
    return found


def main() -> int:
    """Write the page and its thumbnails, or check them."""
    files, check = stale(), "--check" in sys.argv
    if not check:
        atlas = read()
        for each in atlas.works:
            if each.thumbnail is not None and each.picture in files:
                each.thumbnail.write(ROOT / each.picture)
        (ROOT / PAGE).write_text(page(atlas))
    print(f"{'stale' if check else 'rewritten'}: {', '.join(files) or 'nothing'}")
    return 1 if files and check else 0


if __name__ == "__main__":
    raise SystemExit(main())
