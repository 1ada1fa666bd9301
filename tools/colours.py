"""Whether figures keep the book's colours: the colour of a kind of gradient is on nothing that is not called so.

Black and grey are free: axes, data and reference lines wear them too.
"""

from __future__ import annotations

import re
from typing import Any

from matplotlib.artist import Artist
from matplotlib.colors import to_hex, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.text import Text

from rgd.book.plots import COLOURS

KINDS = {colour: kind for kind, colour in COLOURS.items() if kind not in ("none", "oracle")}
LOOKS = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")


def strangers(figure: Figure) -> list[str]:
    """What in a drawn figure has a kind's colour without being that kind.

    What has a name of its own, a label or a text, must begin with the kind; for the rest, some name must hold it.
    """
    artists = figure.findobj()
    names = [_name(artist) for artist in artists]
    found = []
    for artist, name in zip(artists, names):
        for kind in _worn(artist):
            alone = rf"{kind}(?![a-z])"
            if not (re.match(alone, name) if name else any(re.search(rf"\b{alone}", other) for other in names)):
                found.append(f"{name!r} has the colour of {kind}")
    return found


def _name(artist: Artist) -> str:
    """What it says, or its label; matplotlib begins those that it gave itself with an underscore."""
    name = artist.get_text() if isinstance(artist, Text) else str(artist.get_label())
    return "" if name.startswith("_") else name


def _worn(artist: Artist) -> list[str]:
    """The kinds whose colours an artist wears."""
    looks = (getattr(artist, f"get_{look}")() for look in LOOKS if hasattr(artist, f"get_{look}"))
    colours = {to_hex(colour) for look in looks for colour in to_rgba_array(look)}
    return [KINDS[colour] for colour in sorted(colours & KINDS.keys())]


def watch() -> list[str]:
    """A list to which every figure that is saved or shown from now on adds its `strangers`."""
    found: list[str] = []
    save = Figure.savefig

    def savefig(self: Figure, *args: Any, **kwargs: Any) -> None:
        found.extend(strangers(self))
        save(self, *args, **kwargs)

    Figure.savefig = savefig  # type: ignore[method-assign]
    return found
