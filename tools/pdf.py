"""The book as one PDF, for paper: `python -m tools.pdf` (or `make pdf`) writes build/the-gradient-decides.pdf.

Sphinx makes one page of the whole book and Chromium prints it, so that formulas, figures and boxes are those of the
site. Paper needs what a screen does not: a title, contents and an index with page numbers, solutions that are open, and
an animation's frames side by side. Page numbers are known only once it is printed, so it is printed until they no
longer change.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from playwright.sync_api import Browser, sync_playwright
from pypdf import PdfReader, PdfWriter
from pypdf.generic import DictionaryObject, NameObject, TextStringObject

ROOT = Path(__file__).resolve().parent.parent
FOOTER = '<div style="width: 100%; font-size: 9px; text-align: center"><span class="pageNumber"></span></div>'

# Makes a book of the page. `book` holds title, author, origin, parts (caption and chapters) and the index' terms.
PREPARE = """
book => {
  const article = document.querySelector("article.bd-article");
  const make = (tag, textContent, className = "") =>
    Object.assign(document.createElement(tag), {textContent, className});
  document.querySelectorAll(".headerlink, .toggle-button, .toggle-details__summary").forEach(e => e.remove());
  document.querySelectorAll(".toggle, .toggle-hidden").forEach(e => e.classList.remove("toggle-hidden"));

  // A picture that moves becomes three that do not.
  for (const player of document.querySelectorAll(".rgd-player")) {
    const range = player.querySelector("input"), strip = make("div", "", "rgd-strip");
    for (const share of [0, 0.5, 1]) {
      range.value = Math.round(share * range.max); range.oninput();
      const frame = strip.appendChild(document.createElement("figure"));
      frame.append(player.querySelector("img").cloneNode(), make("figcaption", player.querySelector("output").value));
    }
    player.replaceWith(strip);
  }

  // The root page is for screens. Chapters are sections of it: lift them to its level, and give every heading a name of
  // its own.
  for (const own of [...article.querySelector("section").children]) if (!own.matches(".toctree-wrapper")) own.remove();
  document.getElementById("document-genindex").nextElementSibling.remove();
  const contents = make("nav", "", "printed-contents"), index = {};
  contents.append(make("h1", "Contents"));
  let headings = 0;
  const entry = (heading, cls) => {
    const line = make("p", "", cls), link = make("a", heading.textContent);
    line.append(link, make("a", "", "page"));
    for (const one of line.children) one.href = "#" + heading.id;
    contents.append(line);
  };
  const name = heading => { heading.id = "heading-" + headings++; return heading; };
  for (const part of book.parts) {
    contents.append(make("p", part.caption, "part"));
    for (const page of part.chapters) {
      const start = document.getElementById("document-" + page);
      if (start === null) throw new Error("no " + page + " in the book");
      const chapter = start.nextElementSibling;
      for (const old of chapter.querySelectorAll("h2, h3, h4, h5")) {
        const heading = make("h" + (+old.tagName[1] - 1), "");
        heading.append(...old.childNodes); old.replaceWith(heading); name(heading);
        if (heading.tagName === "H1") entry(heading, "chapter");
        else if (heading.tagName === "H2" && page.startsWith("notebooks/")) entry(heading, "section");
        for (const term of (book.index[page] || {})[heading.textContent] || []) (index[term] ||= []).push(heading.id);
      }
    }
  }
  for (const term of document.querySelectorAll("dl.glossary dt")) (index[term.textContent.trim()] ||= []).push(term.id);

  const pages = make("section", "", "printed-index");
  pages.append(make("h1", "Index"));
  name(pages.firstChild); entry(pages.firstChild, "chapter");
  const list = pages.appendChild(make("div", ""));
  for (const term of Object.keys(index).sort((a, b) => a.localeCompare(b))) {
    const line = list.appendChild(make("p", term.replace("; ", ", ")));
    for (const id of index[term]) { const link = line.appendChild(make("a", "", "page")); link.href = "#" + id; }
  }
  article.append(pages);

  const front = make("header", "", "printed-title");
  front.append(make("h1", book.title), make("p", book.subtitle), make("p", book.author), make("p", book.origin));
  article.prepend(front, contents);
  document.querySelector("#jb-print-docs-body").remove();
  document.body.replaceChildren(document.querySelector(".bd-main"));
  document.body.classList.add("printed");
}
"""
# Fills in the numbers. An index tells a page once, however many places on it there are.
NUMBER = """
pages => {
  for (const link of document.querySelectorAll("a.page")) {
    link.textContent = pages[link.getAttribute("href").slice(1)] || "000";
    const same = [...link.parentNode.querySelectorAll("a.page")].find(one => one.textContent === link.textContent);
    link.hidden = same !== link;
  }
}
"""


def single_page(out: Path) -> Path:
    """The whole book as one page of HTML, beside the pictures and scripts that it asks for."""
    subprocess.run(
        [Path(sys.executable).with_name("jupyter-book"), "build", ".", "--builder", "singlehtml",
         "-n", "--path-output", out],
        cwd=ROOT, check=True,
    )  # fmt: skip
    site = out / "_build" / "singlehtml"
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    whole = site / "whole.html"  # Sphinx writes it into the root page's folder, with addresses from the top one
    shutil.copy(site / f"{contents['root']}.html", whole)
    return whole


def description() -> dict[str, Any]:
    """What the title page, the contents and the index say."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    told = subprocess.run(
        ["git", "log", "-1", "--format=%cs, commit %h"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    return {
        "title": config["title"],
        "subtitle": "Robust classifier guidance for diffusion models",
        "author": config["author"],
        "origin": f"Printed from {config['repository']['url']} as of {told}",
        "parts": [
            {"caption": part["caption"], "chapters": [p["file"] for p in part["chapters"] if p["file"] != "genindex"]}
            for part in contents["parts"]
        ],
        "index": yaml.safe_load((ROOT / "book" / "index.yml").read_text()),
    }


def numbers(pdf: Path) -> dict[str, int]:
    """The page that each place which is linked to stands on, counted from 1."""
    reader = PdfReader(pdf)
    places = reader.named_destinations.items()
    return {name.removeprefix("/"): reader.get_destination_page_number(place) + 1 for name, place in places}


def mend_outline(pdf: Path) -> None:
    """Chromium writes each part of a heading that begins a page, its number and its words, into the outline twice."""
    writer = PdfWriter(clone_from=pdf)
    waiting: list[DictionaryObject] = [writer.get_outline_root()]
    while waiting:
        item = waiting.pop()
        waiting += [item[key].get_object() for key in ("/First", "/Next") if key in item]
        if twice := re.fullmatch(r"((?:\d+\. )?)\1(.+)\2", item.get("/Title", "")):
            item[NameObject("/Title")] = TextStringObject(twice[1] + twice[2])
    writer.add_metadata({"/Title": description()["title"], "/Author": description()["author"]})
    writer.write(pdf)


def write(whole: Path, pdf: Path, chromium: Browser) -> None:
    """Print a single page, with page numbers.

    Raises:
        RuntimeError: if the numbers change however often it is printed.
    """

    def print_with(told: dict[str, int]) -> dict[str, int]:
        """Print with these numbers, and return those that would have been right."""
        page = chromium.new_page(color_scheme="light")  # a page that was printed before breaks elsewhere
        page.set_default_timeout(300_000)  # a page of some thousand formulas, and machines differ
        page.goto(whole.as_uri())
        page.evaluate("() => window.MathJax?.startup?.promise")
        page.evaluate(PREPARE, description())
        page.evaluate(NUMBER, told)
        page.evaluate("() => Promise.all([...document.images].map(image => image.decode()))")
        page.pdf(
            path=pdf, format="A4", print_background=True, outline=True, tagged=True, display_header_footer=True,
            header_template="<span></span>", footer_template=FOOTER,
            margin={"top": "20mm", "bottom": "20mm", "left": "22mm", "right": "22mm"},
        )  # fmt: skip
        page.close()
        return numbers(pdf)

    told: dict[str, int] = {}
    for _ in range(4):
        told, before = print_with(told), told
        if told == before:
            break
    else:
        raise RuntimeError(f"{pdf} still breaks its pages elsewhere after the fourth printing")
    mend_outline(pdf)


@contextmanager
def started() -> Iterator[Browser]:
    """Chromium, until it is no longer needed.

    Raises:
        SystemExit: where there is none.
    """
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise SystemExit("this is drawn by Chromium, which is not here: apt-get install chromium")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])


def main() -> None:
    """Make the PDF."""
    pdf = ROOT / "build" / "the-gradient-decides.pdf"
    whole = single_page(ROOT / "build" / "pdf")
    with started() as chromium:
        write(whole, pdf, chromium)
    print(f"{pdf.relative_to(ROOT)}: {pdf.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
