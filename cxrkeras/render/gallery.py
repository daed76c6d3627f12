"""A page of films beside one another's maps: rows are films, columns models or methods, numbers under every cell.

Arrays and words in, PNG out. Knows no run, no model and no metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure

from cxrkeras.errors import UsageError
from cxrkeras.render import overlay, style
from cxrkeras.render.outline import LEGEND, outline_legend

MOST = 12
MARGIN, GAP, LINE = 0.25, 0.1, 0.145
SCALE = ("Each map is scaled to its own minimum and maximum (0–1):", "colours compare places, not strengths.")


@dataclass(frozen=True)
class GalleryCell:
    """One map of a gallery.

    Attributes:
        heat: raw map ``[h, w]`` that covers the whole film; None where there is none, and the status says why.
        lines: what stands under it, top down.
        status: the map's status; anything but ``ok`` is printed on the cell.
    """

    heat: np.ndarray | None
    lines: tuple[str, ...]
    status: str = "ok"


@dataclass(frozen=True)
class GalleryRow:
    """One film of a gallery.

    Attributes:
        film: grey film ``[H, W]``, 0..255.
        name: the film's name.
        outline: what is outlined, such as an expert's mask of the whole film, bool ``[Ho, Wo]`` at its own size; None
            where there is nothing.
        cells: its maps by column.
        caption: what stands under the film, top down, such as the class that is explained.
    """

    film: np.ndarray
    name: str
    outline: np.ndarray | None = None
    cells: Mapping[str, GalleryCell] = field(default_factory=dict)
    caption: tuple[str, ...] = ()


def save_gallery(
    target: style.Target,
    rows: Sequence[GalleryRow],
    columns: Sequence[str],
    *,
    title: str = "",
    watermark: str = "",
    note: str = "",
    outlined: str = LEGEND,
) -> None:
    """Write films under one another, each with its maps beside it in one colour scale.

    Args:
        target: path or binary file that receives the PNG.
        rows: 1 to 12 films; sizes may differ.
        columns: 1 to 12 names of columns, one or two lines each, in the order shown; a row without a cell for one says
            `not computed`.
        title: headline.
        watermark: a warning across the whole page.
        note: what the numbers under the cells are, at the foot.
        outlined: what the outlines are, one word.

    Raises:
        UsageError: no film or column, or more than a page holds.
        FilmError: a film is not a finite ``[H, W]`` array.
        ScoreInputError: a map is not ``[h, w]``, or a mask not ``[Ho, Wo]``.
    """
    check_page(len(rows), len(columns))
    across = len(columns) + 1
    side = float(np.clip((10.0 - 2 * MARGIN - 0.65) / across - GAP, 1.5, 2.3))
    width = max(2 * MARGIN + 0.65 + across * (side + GAP) - GAP, 5.4)
    height = float(np.clip(side * np.median([row.film.shape[0] / row.film.shape[1] for row in rows]), 1.0, 1.4 * side))
    texts = [0.16 + LINE * _most_lines(row) for row in rows]
    foot = [*SCALE, *([note] if note else [])]
    head = 0.5 if title else 0.2
    names = 0.07 + LINE * max(1 + name.count("\n") for name in columns)
    with style.drawing():
        fig = style.new_figure(width, head + names + len(rows) * height + sum(texts) + 0.17 + LINE * len(foot))
        if title:
            style.label(fig, MARGIN, 0.15, title, width - 2 * MARGIN, fontsize=style.TITLE_SIZE, weight="bold")
        _column_names(fig, head, side, columns)
        tops = head + names + np.cumsum([0.0, *(height + text for text in texts[:-1])])
        for row, top in zip(rows, tops, strict=True):
            _row(fig, float(top), side, height, row, columns)
        overlay.colour_bar(fig, MARGIN + across * (side + GAP), head + names, 0.11, min(height, 2.0))
        _foot(fig, outlined if any(row.outline is not None for row in rows) else "", foot)
        style.watermark(fig, watermark)
        style.write_png(fig, target)


def _column_names(fig: Figure, top: float, side: float, columns: Sequence[str]) -> None:
    for place, name in enumerate(["film", *columns]):
        middle = MARGIN + place * (side + GAP) + side / 2
        for line, words in enumerate(name.split("\n")):
            style.label(
                fig, middle, top + line * LINE, words, side, ha="center", fontsize=style.SMALL_SIZE,
                weight="bold" if place and not line else "normal",
            )  # fmt: skip


def _row(fig: Figure, top: float, side: float, height: float, row: GalleryRow, columns: Sequence[str]) -> None:
    overlay.show_picture(fig, (MARGIN, top, side, height), row.film, None, outline=row.outline)
    _lines(fig, MARGIN, top + height, side, (row.name, *row.caption), first="bold")
    for place, column in enumerate(columns, start=1):
        left = MARGIN + place * (side + GAP)
        cell = row.cells.get(column)
        if cell is None:
            style.label(
                fig, left + side / 2, top + height / 2, "not computed", side, ha="center", va="center",
                fontsize=style.SMALL_SIZE, color=style.QUIET,
            )  # fmt: skip
            continue
        overlay.show_picture(fig, (left, top, side, height), row.film, cell.heat, cell.status, row.outline)
        _lines(fig, left, top + height, side, cell.lines)


def _lines(fig: Figure, left: float, top: float, side: float, lines: Sequence[str], first: str = "normal") -> None:
    for place, words in enumerate(lines):
        weight = "normal" if place else first
        style.label(fig, left, top + 0.05 + place * LINE, words, side, fontsize=style.SMALL_SIZE, weight=weight)


def _foot(fig: Figure, outlined: str, lines: Sequence[str]) -> None:
    width, height = fig.get_size_inches()
    top, room = height - 0.1 - LINE * len(lines), width - 2 * MARGIN
    legend = outline_legend(fig, width - MARGIN, top, outlined) + 0.15 if outlined else 0.0
    for place, words in enumerate(lines):
        style.label(
            fig, MARGIN, top + place * LINE, words, room if place else room - legend, fontsize=style.SMALL_SIZE,
            color=style.QUIET,
        )  # fmt: skip


def _most_lines(row: GalleryRow) -> int:
    return max(1 + len(row.caption), *(len(cell.lines) for cell in row.cells.values()), 1)


def check_page(rows: int, columns: int) -> None:
    """Make sure that a page holds so many films and columns, before their maps are made.

    Raises:
        UsageError: none, or more than 12.
    """
    for count, what, step in (
        (rows, "films", "Name fewer films, or lower --limit."),
        (columns, "columns", "Name fewer runs or methods."),
    ):
        if not 1 <= count <= MOST:
            raise UsageError(f"a gallery holds 1 to {MOST} {what}. Received {count}. {step}")
