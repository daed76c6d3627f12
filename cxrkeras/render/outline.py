"""The border of an expert's mask over a picture: a thin line of two tones, seen on dark, bright and hot pixels.

A mask in, lines out. Knows no film file, no reader and no finding.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cxrkeras.errors import ScoreInputError
from cxrkeras.render import style

# White on black differs from every grey and every heat colour in lightness, so no eye needs its hue.
CORE, CASING = "#FFFFFF", "#000000"
WIDTHS = ((CASING, 2.1), (CORE, 0.9))
LEGEND = "expert"


def border_segments(mask: np.ndarray) -> np.ndarray:
    """The border of a mask as straight pieces along the edges of its pixels, holes included.

    Args:
        mask: bool ``[H, W]``; pixels outside count as not marked.

    Returns:
        float64 ``[n, 2, 2]``: start and end ``(x, y)`` of each piece as fractions of the picture, from its upper left
        corner. Nothing where nothing is marked.

    Raises:
        ScoreInputError: the mask is not ``[H, W]``.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.size == 0:
        raise ScoreInputError(f"a mask to outline must be [H, W]. Received shape {mask.shape}. Pass one at a time.")
    marked = np.pad(mask.astype(bool), 1)
    across = _runs(marked[1:, 1:-1] != marked[:-1, 1:-1])
    along = _runs((marked[1:-1, 1:] != marked[1:-1, :-1]).T)[:, :, ::-1]
    return np.concatenate([across, along]) / np.array(mask.shape[::-1], float)


def _runs(edges: np.ndarray) -> np.ndarray:
    """Stretches of marked edges of every line ``[lines, n]`` as ``(position, line)`` of both ends."""
    steps = np.diff(np.pad(edges.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    lines, starts = np.nonzero(steps == 1)
    _, ends = np.nonzero(steps == -1)
    return np.stack([np.stack([starts, lines], 1), np.stack([ends, lines], 1)], 1).astype(float)


def draw_outline(ax: Axes, mask: np.ndarray) -> None:
    """Draw the border of a mask over whatever the axes show, whose whole the mask covers.

    Args:
        ax: axes of one picture.
        mask: bool ``[H, W]`` at its own size.
    """
    # fractions run down from the upper left corner, axes run up
    segments = border_segments(mask) * (1, -1) + (0, 1)
    for colour, width in WIDTHS:
        lines = LineCollection(
            segments, colors=colour, linewidths=width, capstyle="projecting", transform=ax.transAxes, gid=LEGEND
        )
        lines.set_clip_on(False)
        ax.add_collection(lines, autolim=False)


def outline_legend(fig: Figure, right: float, top: float, outlined: str = LEGEND) -> float:
    """Write what is outlined behind a piece of the line, ending at `right`; returns the width taken, all in inches."""
    words = style.label(fig, right, top, outlined, 1.0, ha="right", fontsize=style.SMALL_SIZE)
    taken = style.width_of(words)
    width, height = fig.get_size_inches()
    x = np.array([right - taken - 0.3, right - taken - 0.06]) / width
    y = np.full(2, 1 - (top + 0.065) / height)
    for colour, thickness in WIDTHS:
        fig.add_artist(Line2D(x, y, color=colour, linewidth=thickness, solid_capstyle="projecting", snap=False))
    return taken + 0.34
