"""The summary of a run on one figure: accuracy, consistency and what the maps look like.

Tables and arrays in, PNG out. Reads no run directory and computes no score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.render import curves, overlay, style

WIDTH = 10.0
MARGIN = 0.25
MAX_METHODS = len(style.OKABE_ITO)
MAX_ROWS = 8

_HISTORY = ("epoch", "stage", "val_auc")
_SCORES = ("epoch", "method", "class", "level", "score", "ci_low", "ci_high", "status")


@dataclass(frozen=True)
class Tile:
    """One overlay of the grid.

    Attributes:
        film: grey film ``[H, W]``, 0..255.
        heat: raw map ``[h, w]`` at its native grid.
        class_name: class the map explains.
        probability: the model's probability of that class.
        method: method name; tiles of one method share a column.
        status: the map's status.
        image: film id; tiles of one film and class share a row.
    """

    film: np.ndarray
    heat: np.ndarray
    class_name: str
    probability: float
    method: str
    status: str = "ok"
    image: str = ""


def summary_figure(
    target: style.Target,
    history: pd.DataFrame,
    scores: pd.DataFrame,
    tiles: Sequence[Tile],
    *,
    title: str = "",
) -> None:
    """Write AUC and C-Score per checkpoint over a grid of overlays, films × methods.

    An undefined score is a gap in its line and a cross in the strip under the scores, never a zero; a score whose
    status is not ok has a hollow marker.

    Args:
        target: path or binary file that receives the PNG (10 inches wide at 150 dpi).
        history: a row an epoch: ``epoch, stage, val_auc``, optionally ``test_auc``.
        scores: long table ``epoch, method, class, level, score, ci_low, ci_high, status``; the rows with class
            ``macro`` and level ``global`` are drawn, one per epoch and method.
        tiles: the overlays, up to 8 films × 8 methods; a missing pair is an empty cell that says so.
        title: headline.

    Raises:
        ScoreInputError: a column is missing, or two macro rows share an epoch and method.
        UsageError: more methods or films than can be told apart.
    """
    macro = _macro_rows(scores)
    _require(history, _HISTORY, "history")
    methods = list(dict.fromkeys([*macro["method"], *(tile.method for tile in tiles)]))
    rows = list(dict.fromkeys((tile.image, tile.class_name) for tile in tiles))
    if len(methods) > MAX_METHODS or len(rows) > MAX_ROWS:
        raise UsageError(
            f"a summary holds up to {MAX_METHODS} methods and {MAX_ROWS} films. "
            f"Received {len(methods)} and {len(rows)}. Leave some out."
        )
    shown = [m for m in methods if any(tile.method == m for tile in tiles)]
    head, above = (0.5 if title else 0.15), 3.45
    side, grid_height = _grid_size(len(shown), len(rows))
    with style.drawing():
        fig = style.new_figure(WIDTH, head + above + grid_height)
        if title:
            style.label(fig, MARGIN, 0.15, title, WIDTH - 2 * MARGIN, fontsize=style.TITLE_SIZE, weight="bold")
        limits = _epoch_limits(history, macro)
        curves.auc_panel(style.panel(fig, 0.75, head + 0.3, 3.1, 2.2), history, limits)
        curves.score_panel(style.panel(fig, 5.2, head + 0.3, 3.5, 2.2), history, macro, methods, limits)
        if tiles:
            _overlay_grid(fig, head + above, side, tiles, shown, rows)
        style.write_png(fig, target)


def _overlay_grid(
    fig: Figure, top: float, side: float, tiles: Sequence[Tile], methods: Sequence[str], rows: Sequence[tuple[str, str]]
) -> None:
    gutter, gap, head = 1.3, 0.08, 0.26
    found = {(tile.image, tile.class_name, tile.method): tile for tile in tiles}
    left = MARGIN + gutter
    for column, name in enumerate(["film", *methods]):
        style.label(
            fig, left + column * (side + gap) + side / 2, top, name, side, ha="center", fontsize=style.SMALL_SIZE,
            weight="bold" if column else "normal",
        )  # fmt: skip
    for row, (image, class_name) in enumerate(rows):
        y = top + head + row * (side + gap)
        first = next(tile for tile in tiles if (tile.image, tile.class_name) == (image, class_name))
        style.label(fig, MARGIN, y + side / 2 - 0.17, class_name, gutter - 0.1, weight="bold")
        style.label(fig, MARGIN, y + side / 2 + 0.03, overlay.probability_text(first.probability), gutter - 0.1)
        overlay.show_picture(fig, (left, y, side, side), first.film, None)
        for column, method in enumerate(methods, start=1):
            box = (left + column * (side + gap), y, side, side)
            tile = found.get((image, class_name, method))
            if tile is None:
                style.label(
                    fig, box[0] + side / 2, y + side / 2, "not computed", side, ha="center", va="center",
                    fontsize=style.SMALL_SIZE, color=style.QUIET,
                )  # fmt: skip
            else:
                overlay.show_picture(fig, box, tile.film, tile.heat, tile.status)
    right = left + (len(methods) + 1) * (side + gap)
    overlay.colour_bar(fig, right + 0.05, top + head, 0.11, min(len(rows) * (side + gap) - gap, 2.2))


def _grid_size(methods: int, rows: int) -> tuple[float, float]:
    if not rows:
        return 0.0, 0.0
    room = WIDTH - 2 * MARGIN - 1.3 - 0.7
    side = min(room / (methods + 1) - 0.08, 1.9)
    return side, 0.26 + rows * (side + 0.08) + 0.12


def _epoch_limits(history: pd.DataFrame, macro: pd.DataFrame) -> tuple[float, float]:
    epochs = np.r_[history["epoch"].to_numpy(float), macro["epoch"].to_numpy(float)]
    if not len(epochs):
        return 0.5, 1.5
    margin = 0.5 + 0.01 * (epochs.max() - epochs.min())
    return float(epochs.min() - margin), float(epochs.max() + margin)


def _macro_rows(scores: pd.DataFrame) -> pd.DataFrame:
    _require(scores, _SCORES, "scores")
    macro = scores[(scores["class"] == "macro") & (scores["level"] == "global")]
    twice = macro[macro.duplicated(["epoch", "method"])]
    if len(twice):
        row = twice.iloc[0]
        raise ScoreInputError(
            "expected one macro row per epoch and method. "
            f"Received several for {row['method']} at epoch {row['epoch']}. "
            "Select one parameter set first."
        )
    return macro.sort_values("epoch", kind="stable")


def _require(table: pd.DataFrame, columns: Sequence[str], name: str) -> None:
    missing = [column for column in columns if column not in table]
    if missing:
        raise ScoreInputError(
            f"the {name} table lacks {', '.join(missing)}. Expected {', '.join(columns)}. "
            f"Received {', '.join(map(str, table.columns))}. Rename or add the columns."
        )
