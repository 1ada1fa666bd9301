"""The atlas: it has every work, says of each what it is and where its place is, and shows nothing that is not there."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tools import atlas, fill

ROOT = Path(__file__).resolve().parent.parent
ATLAS = atlas.read()
PAGE = (ROOT / atlas.PAGE).read_text()
# Of the exact titles, in their order, a line each.
TITLES = "752cb5faefd2b7ca9e32793fd60e74b923fdfae9e3cbd6f2b12974c85bddc0d8"
INTERVAL = re.compile(r"-->-?[\d.,]+ \(-?[\d.,]+ to -?[\d.,]+\)<!-- /fill -->")
DEMONSTRATED = [each for each in ATLAS.works if each.place == "demonstrated"]


def name(work: atlas.Work) -> str:
    return str(work.number)


def told(work: atlas.Work) -> str:
    """What the page says of a work."""
    return PAGE.split(f"(atlas-{work.number})=\n")[1].split("\n(atlas-")[0]


def sources() -> dict[str, str]:
    """The text of every page and notebook; of a notebook with the names of its figures, as labels."""
    found = {str(page): page.read_text() for page in [ROOT / "index.md", *(ROOT / "book").glob("*.md")]}
    for file in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(file.read_text())["cells"]
        figures = [cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") for cell in cells]
        labels = [f"({label})=" for label in figures if label]
        found[str(file)] = "\n".join(["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"] + labels)
    return found


SOURCES = sources()


def test_all_works_are_there_by_their_exact_titles() -> None:
    assert [each.number for each in ATLAS.works] == list(range(1, 60))
    assert hashlib.sha256("\n".join(each.title for each in ATLAS.works).encode()).hexdigest() == TITLES
    assert len({each.name for each in ATLAS.works}) == 59
    assert {each.group for each in ATLAS.works} == set(ATLAS.groups)


def test_the_page_is_what_the_tool_makes_of_them() -> None:
    assert atlas.stale() == [], "python -m tools.atlas"
    assert fill.MISSING not in PAGE
    shown = re.findall(r"(Demonstrated|Planned|For reading) <b>(\d+)</b>", PAGE)
    assert {title: int(n) for title, n in shown} == {atlas.PLACES[place]: n for place, n in ATLAS.counts.items()}
    assert sum(ATLAS.counts.values()) == 59


@pytest.mark.parametrize("work", ATLAS.works, ids=name)
def test_a_work_is_told_in_two_sentences_and_has_a_place(work: atlas.Work) -> None:
    assert atlas.sentences(work.idea) == 2
    assert work.title in told(work)
    assert work.idea in told(work)
    assert PAGE.count(f"<atlas-{work.number}>`") == 1, "its card leads to it"
    assert bool(work.cite) != bool(work.by)
    assert work.field
    if work.place == "planned":
        assert work.measured
        assert work.measured in told(work)
        assert not any((work.why, work.section, work.numbers, work.thumbnail))
    elif work.place == "reading":
        assert work.why
        assert work.why in told(work)
        assert not any((work.measured, work.section, work.numbers, work.thumbnail))
    else:
        assert work.place == "demonstrated"
        assert not any((work.measured, work.begun, work.why))


@pytest.mark.parametrize("work", ATLAS.works, ids=name)
def test_what_is_out_of_reach_is_not_run_or_called_an_analogue(work: atlas.Work) -> None:
    assert work.fit in "ABCD"
    assert (work.place == "reading") == (work.fit in "CD")
    assert work.analogue or work.fit in "AD"
    if work.analogue and work.place != "reading":
        assert "an analogue" in told(work)
        assert work.analogue in told(work)


@pytest.mark.parametrize("work", DEMONSTRATED, ids=name)
def test_a_demonstrated_work_leads_to_where_it_is_shown_with_a_picture_and_numbers(work: atlas.Work) -> None:
    homes = [text for text in SOURCES.values() if f"({work.section})=" in text]
    assert len(homes) == 1, f"no page has the label {work.section}"
    assert re.search(rf"^#+ {re.escape(work.heading)}$", homes[0], re.MULTILINE), "the heading stands there"
    assert work.shown
    assert work.thumbnail is not None
    assert len(work.thumbnail.alt.split()) >= 5
    assert f"```{{image}} figures/atlas/{work.number}.png\n:alt: {work.thumbnail.alt}\n" in told(work)
    assert max(Image.open(ROOT / work.picture).size) <= 1200
    assert work.numbers
    assert len(INTERVAL.findall(told(work))) == len(work.numbers), "every number has its interval"
    for number in work.numbers:
        assert (ROOT / number.source.split()[0]).is_file()
        assert number.source.startswith("results/")


def test_references_have_the_works_by_the_same_titles() -> None:
    bibliography = (ROOT / "book" / "references.bib").read_text()
    for each in ATLAS.works:
        if each.cite:
            found = re.findall(rf"^@\w+\{{{each.cite},\n  title = \{{(.*)\}},$", bibliography, re.MULTILINE)
            assert len(found) == 1, each.cite
            assert re.sub(r"[{}]", "", found[0]) == each.title
    cited = {each.cite for each in ATLAS.works}
    ours = re.findall(r"^@\w+\{(\w+),\n(?:(?!\n\}).)*keywords = \{neighbours\}", bibliography, re.MULTILINE | re.DOTALL)
    assert len(ours) > 50
    assert set(ours) <= cited


def test_every_other_label_on_the_page_is_somewhere() -> None:
    labels = set(re.findall(r"\{ref\}`[^`<]*<([^>]*)>`", PAGE))
    everything = "\n".join(SOURCES.values())
    assert {label for label in labels if f"({label})=" not in everything} == set()


def shown(**changes: object) -> atlas.Work:
    """Work 9 as it might be once a chapter has it."""
    ninth = replace(ATLAS.works[8], place="demonstrated", measured="", section="sampling", heading="Why not jump?")
    number = atlas.Number("how far", "results/made.json value far:2", "pixels")
    picture = atlas.Thumbnail("results/made.png", "A row of three pictures.", ((0, 0, 4, 3), (2, 1, 5, 4)))
    return replace(ninth, shown="It is done.", numbers=(number,), thumbnail=picture, **changes)


def test_a_work_that_a_chapter_shows_changes_its_entry_alone(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "made.json").write_text('{"far": {"value": 0.5, "low": 0.25, "high": 0.75}}')
    planned = [each for each in ATLAS.works if each.place == "planned"]
    works = [shown(), *planned]
    text = atlas.page(replace(ATLAS, works=works), tmp_path)
    assert f"Demonstrated today: 1; planned: {len(planned)}" in text
    assert "**Demonstrated** in {ref}`Why not jump? <sampling>`. It is done." in text
    assert "-->0.50 (0.25 to 0.75)<!-- /fill --> pixels**" in text
    assert "```{image} figures/atlas/9.png\n:alt: A row of three pictures.\n:class: wordless\n```" in text
    assert "{ref}`9. Edit-friendly noise <atlas-9>`\n\ndemonstrated\n" in text
    assert fill.fill(text, tmp_path) == text


def test_a_group_whose_chapter_is_there_is_linked_to_it() -> None:
    group = replace(ATLAS.groups["labels"], chapter="a-label")
    text = atlas.page(replace(ATLAS, groups=ATLAS.groups | {"labels": group}))
    link = "{ref}`Guides from bad labels <a-label>`"
    planned = sum(work.group == "labels" and work.place == "planned" for work in ATLAS.works)
    assert f":::{{rubric}} {link}\n:::" in text
    assert text.count(f"**Planned**, for the chapter {link}") == planned > 0


def test_a_thumbnail_is_boxes_of_a_picture_and_knows_when_it_is_stale(tmp_path: Path) -> None:
    whole = Image.new("RGB", (6, 5))
    whole.putdata([(x, y, 7) for y in range(5) for x in range(6)])
    (tmp_path / "results").mkdir()
    whole.save(tmp_path / "results" / "made.png")
    thumbnail = shown().thumbnail
    assert thumbnail is not None
    thumbnail.write(tmp_path / "small.png", tmp_path)
    made = Image.open(tmp_path / "small.png")
    assert made.size == (4, 3 + atlas.GAP + 3)
    assert made.getpixel((3, 2)) == (3, 2, 7)
    assert made.getpixel((0, 3 + atlas.GAP)) == (2, 1, 7)
    assert made.getpixel((3, 3 + atlas.GAP)) == made.getpixel((0, 4)) == (255, 255, 255)
    assert made.info["source"] == thumbnail.digest(tmp_path)
    assert replace(thumbnail, cut=()).digest(tmp_path) != made.info["source"]
    whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "results" / "made.png")
    assert thumbnail.digest(tmp_path) != made.info["source"]


def test_a_thumbnail_may_come_from_a_chapter(tmp_path: Path) -> None:
    thumbnail = atlas.Thumbnail("notebooks/13_fair_comparison.ipynb fig-fair-gradients", "Five rows of pictures.")
    thumbnail.write(tmp_path / "small.png")
    assert min(Image.open(tmp_path / "small.png").size) > 100
    with pytest.raises(LookupError, match="fig-nothing"):
        replace(thumbnail, of="notebooks/13_fair_comparison.ipynb fig-nothing").source()


def test_an_entry_that_is_not_one_is_refused_by_number() -> None:
    whole = {"number": 60, "title": "", "name": "", "field": "", "fit": "A", "group": "", "idea": "", "place": ""}
    assert atlas.work(whole).number == 60
    with pytest.raises(ValueError, match=r"work 60 .*colour"):
        atlas.work({**whole, "colour": "blue"})
    with pytest.raises(ValueError, match=r"work 60 .*from"):
        atlas.work({**whole, "numbers": [{"what": "how far"}]})


@pytest.mark.parametrize(
    ("text", "n"), [("One.", 1), ("One at t = 0.5. Two?", 2), ("A, b; c: d! E (f). G.", 3), ("", 0)]
)
def test_sentences_are_counted(text: str, n: int) -> None:
    assert atlas.sentences(text) == n
