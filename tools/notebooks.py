"""Run the chapters from a fresh kernel, and write into them their outputs and what they cost.

`python -m tools.notebooks` runs every chapter under the profile `cpu`, whose outputs are the committed ones. Under
`--profile ci` only the cost is kept. Chapters that run to their end are saved at once, so that nothing is lost when a
later one fails.
"""

from __future__ import annotations

import base64
import io
import os
import re
import time
from pathlib import Path
from typing import Annotated, Any

import nbformat
import tyro
from nbclient import NotebookClient
from PIL import Image
from tqdm import tqdm

from rgd.book.profile import Name
from rgd.lab.origin import device_name
from rgd.processes import best_device
from tools.fork import address

ROOT = Path(__file__).resolve().parent.parent
COST = re.compile(r"(<!-- cost -->\n).*?(<!-- /cost -->)", re.DOTALL)
PEAK = """import resource, sys
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024**2 if sys.platform == "darwin" else 1024))"""


def execute(notebook: Any, folder: Path, profile: str) -> dict[str, Any]:
    """Run a notebook in place and return what it took. Stops at the first cell that fails, with its traceback."""
    os.environ["RGD_PROFILE"] = profile
    began = time.perf_counter()
    with tqdm(total=sum(cell.cell_type == "code" for cell in notebook.cells) + 1, unit="cell") as bar:
        client = NotebookClient(
            notebook,
            timeout=3600,
            record_timing=False,
            coalesce_streams=True,
            store_widget_state=False,  # pages do not run widgets, and a live notebook makes its own
            resources={"metadata": {"path": str(folder)}},
            extra_arguments=["--IPKernelApp.extra_extensions=tools.axes"],
            on_cell_complete=lambda cell, cell_index: bar.update(),
        )
        notebook.cells.append(nbformat.v4.new_code_cell(PEAK))  # asks the kernel for the most memory it ever held
        client.execute(env={**os.environ, "PYTHONPATH": str(ROOT)})  # where the kernel finds `tools`
    peak = notebook.cells.pop()
    notebook.metadata["language_info"] = {"name": "python"}
    return {
        "seconds": round(time.perf_counter() - began),
        "megabytes": int(peak.outputs[0].text),
        "device": device_name(best_device()),
    }


def lean(notebook: Any) -> None:
    """Make every picture small without loss: packed well, and without an alpha channel that says nothing."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if png := output.get("data", {}).get("image/png"):
                picture, packed = Image.open(io.BytesIO(base64.b64decode(png))), io.BytesIO()
                opaque = picture.mode == "RGBA" and picture.getchannel("A").getextrema() == (255, 255)
                (picture.convert("RGB") if opaque else picture).save(
                    packed, "png", optimize=True, dpi=picture.info.get("dpi")
                )
                output["data"]["image/png"] = base64.b64encode(packed.getvalue()).decode()


def cost(measured: dict[str, dict[str, Any]]) -> str:
    """What a chapter costs, in a sentence for its first cell."""
    parts, devices = [], set()
    for profile, found in sorted(measured.items()):
        seconds = found["seconds"]
        took = f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds} seconds"
        parts.append(f"{took} and {found['megabytes'] / 1000:.1f} GB under profile `{profile}`")
        devices.add(found["device"])
    return f"*Measured on {', '.join(sorted(devices))}: {', '.join(parts)}.*"


def colab(name: str) -> str:
    """Where Colab opens a chapter from."""
    return f"{address().replace('https://github.com', 'https://colab.research.google.com/github')}/blob/main/{name}"


def write_cost(notebook: Any, name: str) -> None:
    """Put the sentence of `cost`, and a link to Colab, between the marks in the notebook's first cell."""
    first = notebook.cells[0]
    sentence = f"[Run this chapter in Colab]({colab(name)}). {cost(notebook.metadata['rgd']['measured'])}"
    first.source = COST.sub(
        lambda m: f"{m[1]}\n{sentence}\n\n{m[2]}", first.source
    )  # blank lines, or it is no Markdown


def main(
    files: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
    profile: Name = "cpu",
) -> None:
    """Run chapters.

    Args:
        files: notebooks; default all.
        profile: how much they do.
    """
    for path in files or sorted((ROOT / "notebooks").glob("*.ipynb")):
        print(path.name)
        notebook = nbformat.read(path, 4)
        found = execute(notebook, path.parent, profile)
        kept = nbformat.read(path, 4) if profile == "ci" else notebook
        lean(kept)
        kept.metadata.setdefault("rgd", {}).setdefault("measured", {})[profile] = found
        write_cost(kept, f"notebooks/{path.name}")
        nbformat.write(kept, path)
        print(f"{path.name}: {found}")


if __name__ == "__main__":
    tyro.cli(main)
