"""Write the book's drawings into the notebooks that show them, as pixels: JupyterLab and Colab show no other file.

`python -m tools.drawings` draws every book/figures/*.svg in Chromium. In a notebook a drawing stands in a block
`:::{figure-md} drawn-NAME`, as a picture whose words are the drawing's own description. It carries the hash of what it
was drawn from, so that a test can tell a stale one.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "book" / "figures"
STYLE = ROOT / "book" / "_static" / "drawn.css"
BLOCK = re.compile(r"(:::\{figure-md\} drawn-(\w+)\n)!\[([^\]]*)\]\((?:data:image/png;base64,)?([^)]*)\)")


def words(drawing: Path) -> str:
    """What a drawing shows, in words."""
    found = re.search(r"<desc[^>]*>(.*?)</desc>", drawing.read_text(), re.DOTALL)
    if found is None:
        raise ValueError(f"{drawing.name} has no <desc> to say what it shows")
    return found[1]


def digest(drawing: Path) -> str:
    """The hash of a drawing and its style."""
    return hashlib.sha256(drawing.read_bytes() + STYLE.read_bytes()).hexdigest()


def source_of(picture: str) -> str | None:
    """The hash that a picture, in base64, carries."""
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        return image.info.get("drawing")


def pixels(page: Any, drawing: Path) -> str:
    """A drawing as a PNG in base64, drawn by a page of Chromium."""
    page.set_content(f"<style>body {{ margin: 0 }} {STYLE.read_text()}</style>{drawing.read_text()}")
    few = Image.open(io.BytesIO(page.locator("svg").screenshot())).convert("RGB").quantize(32, dither=Image.Dither.NONE)
    mark, written = PngInfo(), io.BytesIO()
    mark.add_text("drawing", digest(drawing))
    few.save(written, "png", optimize=True, pnginfo=mark)
    return base64.b64encode(written.getvalue()).decode()


def main() -> None:
    """Draw all anew, into every notebook that shows one."""
    from tools import pdf

    with pdf.started() as chromium:
        page = chromium.new_page(viewport={"width": 360, "height": 100}, device_scale_factor=2)
        pictures = {drawing.stem: pixels(page, drawing) for drawing in sorted(FIGURES.glob("*.svg"))}

    def made(match: re.Match[str]) -> str:
        return f"{match[1]}![{words(FIGURES / f'{match[2]}.svg')}](data:image/png;base64,{pictures[match[2]]})"

    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        content = json.loads(notebook.read_text())
        for cell in content["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = BLOCK.sub(made, "".join(cell["source"])).splitlines(keepends=True)
        notebook.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
