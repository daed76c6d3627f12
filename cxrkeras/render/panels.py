"""The small panels of a report: curves, intervals, histograms and a matrix, all of one size.

Tables in, figures out. Knows no run and no page; what a panel shows arrives as columns and words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from cxrkeras.render import curves, style

WIDTH, HEIGHT = 4.0, 2.68
MOST_TICKS = 8
_SHORT_STAGES = {"transfer_learning": "transfer", "fine_tuning": "fine tuning"}
_BOX = (0.52, 0.5, 2.36, 1.6)
_NAMES = 1.9
MAX_SERIES = len(style.OKABE_ITO)


@dataclass(frozen=True)
class Mark:
    """Something found at a checkpoint, ringed on its curve, or on the upper edge where it belongs to no curve."""

    epoch: float
    series: str = ""


def curve_panel(
    table: pd.DataFrame,
    order: Sequence[str],
    title: str,
    *,
    quantity: str,
    history: pd.DataFrame | None = None,
    marks: Sequence[Mark] = (),
    across: str = "epoch",
    ticks: Sequence[tuple[float, str]] | None = None,
) -> Figure:
    """Return curves with intervals, their gaps marked, named where they end.

    Args:
        table: ``epoch, method, score, ci_low, ci_high, status``: place on the x axis, series, value, interval.
        order: every series of the report that has a look of its own, at most eight; a look is a place in it.
        title: headline, cut in the middle where too long.
        quantity: what is drawn, for `no … yet`.
        history: ``epoch, stage`` to mark the stages, or None.
        marks: findings to ring.
        across: what the x axis shows.
        ticks: places and names on the x axis instead of numbers.
    """
    with style.drawing():
        figure = style.new_figure(WIDTH, HEIGHT)
        ax = style.panel(figure, *_BOX)
        stages = pd.DataFrame({"epoch": [], "stage": []}) if history is None else history[["epoch", "stage"]]
        stages = stages.replace({"stage": _SHORT_STAGES})
        curves.score_panel(ax, stages, table, order, _limits(table["epoch"]), quantity=quantity)
        ax.set_title("", loc="left")
        ax.set_xlabel(style.printable(across))
        places = sorted(set(table["epoch"]))
        ax.xaxis.set_major_locator(FixedLocator(places) if len(places) <= MOST_TICKS else MaxNLocator(nbins=6))
        if ticks is not None:
            ax.set_xticks([place for place, _ in ticks], [style.printable(name) for _, name in ticks])
        _ring(ax, table, marks)
        _headline(figure, title)
    return figure


def interval_panel(
    rows: pd.DataFrame,
    title: str,
    *,
    across: str,
    reference: float | None = None,
    reference_name: str = "",
    whole: bool = False,
) -> Figure:
    """Return values with intervals, one a row, under one another.

    Args:
        rows: ``name, value, low, high, place``: place picks colour and marker, one below 0 is drawn in grey, as what
            the others are compared with; NaN values are said to be undefined.
        title: headline.
        across: what the x axis shows.
        reference: a value to compare with, drawn as a dashed line.
        reference_name: what the line is.
        whole: values are whole numbers, such as ranks.
    """
    with style.drawing():
        figure = style.new_figure(WIDTH, max(1.5, 1.15 + 0.24 * len(rows)))
        height = figure.get_figheight() - 1.0
        ax = style.panel(figure, _NAMES, 0.45, WIDTH - _NAMES - 0.15, height)
        if reference is not None and np.isfinite(reference):
            ax.axvline(reference, color=style.QUIET, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
            name = ax.text(
                reference, 1.01, style.printable(reference_name), transform=ax.get_xaxis_transform(), ha="center",
                va="bottom", fontsize=style.SMALL_SIZE, color=style.QUIET,
            )  # fmt: skip
            style.shortened(name, 1.6)
        for line, row in enumerate(rows.itertuples()):
            look = {"color": style.OKABE_ITO[row.place % MAX_SERIES], "marker": style.MARKERS[row.place % MAX_SERIES]}
            if row.place < 0:
                look = {"color": style.QUIET, "marker": "|", "markeredgewidth": 2}
            if not np.isfinite(row.value):
                ax.text(
                    0.5, line, "undefined", transform=ax.get_yaxis_transform(), ha="center", va="center",
                    color=style.QUIET, fontsize=style.SMALL_SIZE,
                )  # fmt: skip
                continue
            if np.isfinite(row.low) and np.isfinite(row.high):
                ax.plot([row.low, row.high], [line, line], color=look["color"], linewidth=1.6, zorder=2)
            ax.plot([row.value], [line], markersize=6, zorder=3, **look)
        ax.set_yticks(range(len(rows)), [""] * len(rows))
        for line, name in enumerate(rows["name"]):
            words = ax.text(
                -0.03, line, style.printable(name), transform=ax.get_yaxis_transform(), ha="right", va="center",
                fontsize=style.SMALL_SIZE,
            )  # fmt: skip
            style.shortened(words, _NAMES - 0.15)
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=whole))
        ax.grid(axis="x", color="#E6E6E6", linewidth=0.6)
        ax.set_axisbelow(True)
        _below(figure, across)
        _headline(figure, title)
    return figure


def histogram_panel(table: pd.DataFrame, title: str, place: int, *, across: str) -> Figure:
    """Return the shares of pairs within a class (filled) and between classes (outline) over bins of similarity.

    Args:
        table: ``pairs`` (within, between), ``low, high`` of the bin, ``share``.
        title: headline.
        place: picks the colour.
        across: what the x axis shows.
    """
    with style.drawing():
        figure = style.new_figure(WIDTH, HEIGHT)
        ax = style.panel(figure, 0.52, 0.5, WIDTH - 0.7, 1.75)
        colour = style.OKABE_ITO[place % MAX_SERIES]
        looks = {
            "within": {"fill": True, "color": colour, "alpha": 0.45, "linewidth": 0},
            "between": {"fill": False, "color": style.INK, "linewidth": 1.4},
        }
        for pairs, look in looks.items():
            part = table[(table["pairs"] == pairs) & table["share"].notna()].sort_values("low")
            if part.empty:
                continue
            edges = np.r_[part["low"].to_numpy(float), part["high"].to_numpy(float)[-1]]
            words = "pairs within a class" if pairs == "within" else "pairs between classes"
            ax.stairs(part["share"].to_numpy(float), edges, label=words, **look)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(frameon=False, fontsize=style.SMALL_SIZE, loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=2)
        ax.set_xlim(0, 1)
        ax.set_ylim(bottom=0)
        ax.set_xlabel(style.printable(across))
        ax.set_ylabel("share of the pair weight")
        ax.yaxis.set_major_locator(MaxNLocator(nbins=5))
        ax.grid(axis="y", color="#E6E6E6", linewidth=0.6)
        ax.set_axisbelow(True)
        _headline(figure, title)
    return figure


def matrix_panel(names: Sequence[str], values: np.ndarray, title: str) -> Figure:
    """Return a symmetric matrix with its numbers in the cells; light is near 1, dark near −1.

    Args:
        names: of rows and columns.
        values: ``[k, k]`` in −1 to 1; NaN cells are left white and say so.
        title: headline.
    """
    count = len(names)
    side = 0.46 * count
    with style.drawing():
        figure = style.new_figure(max(WIDTH, side + 1.6), side + 1.55)
        ax = style.panel(figure, 1.15, 0.45, side, side)
        cells = (np.ma.masked_invalid(values) + 1) / 2
        ax.imshow(cells, cmap="cividis", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        for row, column in np.ndindex(count, count):
            value = values[row, column]
            words = f"{value:.2f}" if np.isfinite(value) else "–"
            ink = _ink_on(colormaps["cividis"]((value + 1) / 2)[:3]) if np.isfinite(value) else style.INK
            ax.text(column, row, words, ha="center", va="center", fontsize=style.SMALL_SIZE, color=ink)
        ax.set_xticks(range(count), [style.printable(name) for name in names], rotation=40, ha="right")
        ax.set_yticks(range(count), [style.printable(name) for name in names])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        _headline(figure, title)
    return figure


def _limits(places: pd.Series) -> tuple[float, float]:
    low, high = (float(places.min()), float(places.max())) if len(places) else (0.0, 1.0)
    pad = 0.05 * (high - low) or 0.5
    return low - pad, high + pad


def _ink_on(ground: tuple[float, float, float]) -> str:
    """White or ink, whichever stands out more; equal contrast lies at a luminance of 0.18."""
    linear = np.where(np.array(ground) <= 0.04, np.array(ground) / 12.92, ((np.array(ground) + 0.055) / 1.055) ** 2.4)
    return "white" if linear @ (0.2126, 0.7152, 0.0722) < 0.18 else style.INK


def _below(figure: Figure, words: str) -> None:
    """What the x axis shows, over the whole width: it may be longer than the axis."""
    width, height = figure.get_size_inches()
    style.label(
        figure, width / 2, height - 0.22, words, width - 0.2, ha="center", fontsize=style.SMALL_SIZE, color=style.INK
    )


def _headline(figure: Figure, title: str) -> None:
    style.label(figure, 0.12, 0.1, title, figure.get_figwidth() - 0.24, fontsize=style.TEXT_SIZE, weight="bold")


def _ring(ax: Axes, table: pd.DataFrame, marks: Sequence[Mark]) -> None:
    look = {"linestyle": "none", "color": style.ALERT, "zorder": 6, "clip_on": False}
    for mark in marks:
        found = table[(table["epoch"] == mark.epoch) & (table["method"] == mark.series)]["score"].dropna()
        if mark.series and len(found):
            ax.plot([mark.epoch], [found.iloc[0]], marker="o", markersize=11, markerfacecolor="none", **look)
        else:
            edge = ax.get_xaxis_transform()
            ax.plot([mark.epoch], [0.985], marker="v", markersize=6, transform=edge, **look)
