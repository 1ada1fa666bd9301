"""Makes pages light: of the theme's icons and of MathJax a page loads what it shows.

The theme brings its icons twice, as a script of 1.5 MB and as fonts with a style sheet. The fonts stay, cut down to the
icons that the site has. MathJax is loaded in parts, without its menu.
"""

from __future__ import annotations

import re
from pathlib import Path

from fontTools import subset
from sphinx.application import Sphinx

MATHJAX = {
    "loader": {"load": ["core", "input/tex", "output/chtml", "a11y/assistive-mml"]},
    "options": {"enableAssistiveMml": True},
}
ICON = re.compile(r'([^{}]*\.fa-[^{}]*::?before)\{content:"\\([0-9a-f]+)"\}')


def icons(html: Path) -> set[int]:
    """The code points of the icons that pages name by a class and style sheets by a character."""
    named = {name for page in html.rglob("*.html") for name in re.findall(r"\bfa-[a-z0-9-]+", page.read_text())}
    sheets = "".join(sheet.read_text() for sheet in (html / "_static").rglob("*.css"))
    codes = {int(code, 16) for rule, code in ICON.findall(sheets) if named & set(re.findall(r"fa-[a-z0-9-]+", rule))}
    others = ICON.sub("", sheets)
    return (
        codes
        | {ord(character) for character in re.findall("[\ue000-\uf8ff]", others)}
        | {int(code, 16) for code in re.findall(r"\\([ef][0-9a-f]{3})\b", others)}
    )


def lighten(app: Sphinx, error: Exception | None) -> None:
    """Once the site is there: the fonts with its icons alone, and nothing of the script."""
    if error is not None or app.builder.format != "html":
        return
    html = Path(app.outdir)
    theme = html / "_static" / "styles" / "pydata-sphinx-theme.css"
    (html / "_static" / "scripts" / "fontawesome.js").write_text("// The style sheet draws the icons.\n")
    wanted = icons(html)
    for whole in (html / "_static" / "vendor" / "fontawesome" / "webfonts").glob("*.ttf"):
        options = subset.Options(flavor="woff", notdef_outline=True)
        font = subset.load_font(whole, options)
        cut = subset.Subsetter(options)
        cut.populate(unicodes=wanted)
        cut.subset(font)
        subset.save_font(font, whole.with_suffix(".woff"), options)
    theme.write_text(re.sub(r'(fa-\w+-\d+)\.woff2\) format\("woff2"\)', r'\1.woff) format("woff")', theme.read_text()))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx, after sphinx-mathjax-offline, whose choice of one file for everything this takes back."""
    app.config.mathjax_path = "mathjax/startup.js"
    app.config.mathjax3_config = MATHJAX
    app.connect("build-finished", lighten)
    return {"parallel_read_safe": True}
