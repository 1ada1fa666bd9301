"""The book's drawings: true to the networks they show, and the same in the notebooks as in the pages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import rgd
from rgd.networks import ResBlock
from tools import drawings

DRAWINGS = sorted(drawings.FIGURES.glob("*.svg"))


def test_the_u_net_has_the_channels_of_the_published_one() -> None:
    network = rgd.zoo.load("mnist/ddpm").network
    down, up = network.skip_channels, [stage[0].out_layers[-1].out_channels for stage in network.output_blocks]
    middle, embedding = network.middle_block[0].out_layers[-1].out_channels, network.config.embedding_channels
    steps = [width for pair in zip(down, reversed(up), strict=True) for width in pair]
    drawing = (drawings.FIGURES / "unet.svg").read_text()
    *drawn, legend = map(int, re.findall(r'class="channels">(\d+)<', drawing))
    assert drawn == [*steps, middle, embedding]
    assert legend in drawn
    stages = [*network.input_blocks, network.middle_block, *network.output_blocks]
    layers = [type(layer).__name__ for stage in stages for layer in stage]
    for sign, kind in (("R", "ResBlock"), ("A", "AttentionBlock")):
        assert drawing.count(f'class="chiptext">{sign}<') == layers.count(kind) + 1, "and once in the legend"
    timed = sum(isinstance(layer, ResBlock) for stage in stages for layer in stage)
    assert drawing.count('class="dot"') == timed + 2, "time reaches every residual block; twice it is explained"


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda path: path.stem)
def test_a_notebook_carries_the_drawing_as_it_is(drawing: Path) -> None:
    cells = [
        "".join(cell["source"])
        for notebook in (drawings.ROOT / "notebooks").glob("*.ipynb")
        for cell in json.loads(notebook.read_text())["cells"]
    ]
    blocks = [block for cell in cells for block in drawings.BLOCK.findall(cell)]
    ((said, picture),) = [(said, picture) for _, name, said, picture in blocks if name == drawing.stem]
    assert drawings.source_of(picture) == drawings.digest(drawing), "run python -m tools.drawings"
    assert said == drawings.words(drawing)
