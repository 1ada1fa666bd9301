"""Sliders for the book's figures. They need a live notebook; a page has an animation or a strip of pictures instead."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # so that `import rgd` does not wait for matplotlib
    from matplotlib.figure import Figure


def slider(draw: Callable[[Any], Figure], name: str, values: Sequence[Any], start: Any | None = None) -> Any:
    """A slider over `values`, and below it the figure that `draw` makes of the chosen one.

    The picture is a widget of its own and not captured output, so that moving quickly does not flicker, and a notebook
    that is run without a browser does not wait for one. For ipywidgets 7.7 and 8.

    Raises:
        ImportError: without ipywidgets.
        ValueError: if `start` is not among the values.
    """
    try:
        import ipywidgets
    except ImportError as error:
        raise ImportError("a slider needs ipywidgets: pip install ipywidgets") from error
    if start is not None and start not in values:
        raise ValueError(f"the slider starts at one of {list(values)}, not {start}")
    chosen = ipywidgets.SelectionSlider(
        options=list(values), value=values[0] if start is None else start, description=name, continuous_update=True
    )
    picture = ipywidgets.Image(format="png")

    def update(_: object) -> None:
        buffer = io.BytesIO()
        draw(chosen.value).savefig(buffer, format="png", dpi=110)
        picture.value = buffer.getvalue()

    chosen.observe(update, "value")
    update(None)
    return ipywidgets.VBox([chosen, picture])
