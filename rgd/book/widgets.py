"""Figures that move: `slider` and `controls` in a live notebook, and `animation` on any page, from the same function
that draws. `live` is `rgd.book.live`'s."""

from __future__ import annotations

import base64
import html
import io
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rgd.book.live import live as live

if TYPE_CHECKING:  # so that `import rgd` does not wait for matplotlib
    from matplotlib.figure import Figure


def slider(draw: Callable[[Any], Figure], name: str, values: Sequence[Any], start: Any | None = None) -> Any:
    """A slider over `values`, and below it the figure that `draw` makes of the chosen one: `controls` with one.

    Raises:
        ImportError, ValueError: as `controls` does.
    """
    return controls(lambda **chosen: draw(chosen[name]), {name: values}, {} if start is None else {name: start})


def controls(
    draw: Callable[..., Figure], choices: Mapping[str, Sequence[Any]], start: Mapping[str, Any] | None = None
) -> Any:
    """A slider for each argument of `draw`, and below them the figure that it makes of what is chosen.

    The picture is a widget of its own and not captured output, so that moving quickly does not flicker, and a notebook
    that is run without a browser does not wait for one. For ipywidgets 7.7 and 8.

    Args:
        draw: called with the chosen values by name.
        choices: for each argument the values that it may have.
        start: where sliders begin, if not at their first value.

    Raises:
        ImportError: without ipywidgets.
        ValueError: if a slider would start at what is not among its values.
    """
    try:
        import ipywidgets
    except ImportError as error:
        raise ImportError("a slider needs ipywidgets: pip install ipywidgets") from error
    begin = {name: values[0] for name, values in choices.items()} | dict(start or {})
    for name, value in begin.items():
        if value not in choices.get(name, ()):
            raise ValueError(f"the slider of {name} starts at one of {list(choices.get(name, ()))}, not {value}")
    sliders = {
        name: ipywidgets.SelectionSlider(
            options=list(values), value=begin[name], description=name, continuous_update=True
        )
        for name, values in choices.items()
    }
    picture = ipywidgets.Image(format="png")

    def update(_: object) -> None:
        buffer = io.BytesIO()
        draw(**{name: chosen.value for name, chosen in sliders.items()}).savefig(buffer, format="png", dpi=110)
        picture.value = buffer.getvalue()

    for chosen in sliders.values():
        chosen.observe(update, "value")
    update(None)
    return ipywidgets.VBox([*sliders.values(), picture])


_PLAYER = (Path(__file__).parent / "player.html").read_text()  # with the places that `str.format` fills


class Player:
    """A page's own animation: pictures, a button and a slider that need no other file and no live notebook."""

    def __init__(self, page: str) -> None:
        self.page = page

    def _repr_html_(self) -> str:
        return self.page


def animation(
    draw: Callable[[Any], Figure], name: str, values: Sequence[Any], alt: str, interval: int = 200, dpi: int = 80
) -> Player:
    """The figures that `draw` makes of `values`, one after the other, as HTML that plays wherever HTML is shown.

    Args:
        name: what the values are, beside the slider.
        alt: the pictures in words, for those who cannot see them.
        interval: milliseconds between two pictures.
        dpi: of the pictures, which are WebP.

    Raises:
        ValueError: if there are no values.
    """
    if not values:
        raise ValueError("an animation needs at least one value")
    frames = []
    for value in values:
        buffer = io.BytesIO()
        draw(value).savefig(buffer, format="webp", dpi=dpi, pil_kwargs={"quality": 80})
        frames.append("data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode())
    page = _PLAYER.format(
        # The same pictures have the same name in every run.
        id=f"player-{zlib.crc32(''.join(frames).encode()):08x}", first=frames[0], frames=json.dumps(frames),
        values=json.dumps([str(value) for value in values]).replace("<", "\\u003c"), last=len(frames) - 1,
        start=html.escape(str(values[0])), name=html.escape(name), alt=html.escape(alt), interval=interval,
    )  # fmt: skip
    return Player(page)
