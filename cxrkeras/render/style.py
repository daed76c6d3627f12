"""How every picture looks: sizes, colours, text that fits, and PNG out.

The only home of fonts and palettes. Knows nothing of films, maps or tables; never touches pyplot.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import BinaryIO

import matplotlib.style
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

Target = str | os.PathLike[str] | BinaryIO

DPI = 150
FONT = "DejaVu Sans"
INK = "#222222"
QUIET = "#666666"
ALERT = "#B04A00"
TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 11.0, 9.0, 8.0

# Okabe & Ito (2008); yellow last because it is faint on white.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (6, 2, 2, 2)), (0, (1, 2)))

_STYLE = {
    "font.family": [FONT],
    "font.size": TEXT_SIZE,
    "axes.titlesize": TEXT_SIZE,
    "axes.labelsize": TEXT_SIZE,
    "xtick.labelsize": SMALL_SIZE,
    "ytick.labelsize": SMALL_SIZE,
    "text.color": INK,
    "text.parse_math": False,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "savefig.facecolor": "white",
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with the house style whatever the caller's matplotlib settings are, and give those back afterwards."""
    with matplotlib.style.context(_STYLE, after_reset=True):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an Agg figure of ``width × height`` inches that pyplot does not know."""
    fig = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(fig)
    return fig


def panel(fig: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Return axes placed in inches from the figure's upper left corner."""
    total_w, total_h = fig.get_size_inches()
    return fig.add_axes((left / total_w, 1 - (top + height) / total_h, width / total_w, height / total_h))


def label(fig: Figure, left: float, top: float, text: str, width: float, **style: object) -> Text:
    """Write one line in inches from the upper left corner, shortened in the middle to ``width`` inches."""
    total_w, total_h = fig.get_size_inches()
    artist = fig.text(left / total_w, 1 - top / total_h, printable(text), **({"va": "top"} | style))
    return shortened(artist, width)


def shortened(artist: Text, width: float) -> Text:
    """Cut the middle out of a text wider than ``width`` inches; both ends stay, since class names differ at either."""
    full = artist.get_text()
    if width_of(artist) <= width:
        return artist
    low, high = 0, len(full) - 1
    while low < high:
        kept = (low + high + 1) // 2
        artist.set_text(_without_middle(full, kept))
        low, high = (kept, high) if width_of(artist) <= width else (low, kept - 1)
    artist.set_text(_without_middle(full, low))
    return artist


def width_of(artist: Text) -> float:
    """Return the drawn width of a text in inches."""
    fig = artist.get_figure(root=True)
    return artist.get_window_extent(fig.canvas.get_renderer()).width / fig.dpi


def _without_middle(text: str, kept: int) -> str:
    tail = kept // 2
    return text[: kept - tail] + "…" + (text[-tail:] if tail else "")


def watermark(fig: Figure, text: str) -> None:
    """Write a warning across a whole figure, translucent and over everything; an empty text writes nothing."""
    if not text:
        return
    width, height = fig.get_size_inches()
    artist = fig.text(0.5, 0.5, printable(text), ha="center", va="center", weight="bold", color=ALERT, alpha=0.4)
    diagonal = float(np.hypot(width, height))
    artist.set_fontsize(min(140.0, TEXT_SIZE * 0.7 * diagonal / width_of(artist)))
    artist.set(rotation=float(np.degrees(np.arctan2(height, width))), rotation_mode="anchor", zorder=100)


def printable(text: object) -> str:
    """Return one line that the font can draw: white space collapsed, unknown characters as ``�``."""
    line = " ".join(str(text).split())
    return "".join(c if ord(c) in _drawable() else "\N{REPLACEMENT CHARACTER}" for c in line)


@cache
def _drawable() -> frozenset[int]:
    return frozenset(font_manager.get_font(font_manager.findfont(FONT)).get_charmap())


def write_png(fig: Figure, target: Target) -> None:
    """Write the figure as PNG to a path or binary file; the same figure gives the same bytes."""
    fig.savefig(target, format="png", dpi=DPI, metadata={"Software": None})
