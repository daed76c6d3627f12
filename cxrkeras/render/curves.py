"""Curves over checkpoints: AUC and C-Score, named where they end, their gaps marked.

Draws on axes it is given. Computes no score and knows no film.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator

from cxrkeras.render import style

LABEL_GAP = 0.07

End = tuple[str, float, float, str]


def auc_panel(ax: Axes, history: pd.DataFrame, limits: tuple[float, float]) -> None:
    """Draw validation AUC, and test AUC where the history has it, over the epochs within ``limits``."""
    curves = {"validation": ("val_auc", "o", "-", style.INK), "test": ("test_auc", "s", "--", "#777777")}
    table, ends = history.sort_values("epoch"), []
    for name, (column, marker, line, colour) in curves.items():
        if column not in table or table[column].isna().all():
            continue
        ax.plot(table["epoch"], table[column], color=colour, marker=marker, linestyle=line, gid=name)
        last = table.dropna(subset=[column]).iloc[-1]
        ends.append((name, float(last["epoch"]), float(last[column]), colour))
    _dress(ax, "AUC", limits, history, empty="" if ends else "no AUC yet")
    _direct_labels(ax, ends, 0.8)


def score_panel(
    ax: Axes,
    history: pd.DataFrame,
    macro: pd.DataFrame,
    methods: Sequence[str],
    limits: tuple[float, float],
    *,
    quantity: str = "C-Score (macro)",
) -> None:
    """Draw each method's score with its interval; a method's look is its place in ``methods``."""
    drawn = [m for m in methods if (macro["method"] == m).any()]
    single = macro["epoch"].nunique() == 1
    ends: list[End] = []
    lost: list[End] = []
    for i, method in enumerate(drawn):
        table = macro[macro["method"] == method].sort_values("epoch")
        # Several bars at a single checkpoint would hide one another.
        shift = 0.12 * (i - (len(drawn) - 1) / 2) if single else 0.0
        _score_curve(ax, method, table, methods.index(method), shift)
        for epoch, score in zip(table["epoch"] + shift, table["score"], strict=True):
            (ends if np.isfinite(score) else lost).append(
                (method, float(epoch), float(score), style.OKABE_ITO[methods.index(method)])
            )
    _dress(ax, quantity, limits, history, empty="" if drawn else f"no {quantity} yet")
    last = {end[0]: end for end in _mark_undefined(ax, lost)} | {end[0]: end for end in ends}
    _direct_labels(ax, list(last.values()), 1.05)
    _foot_note(ax, macro)


def _score_curve(ax: Axes, method: str, table: pd.DataFrame, place: int, shift: float) -> None:
    x, score, low, high = (table[c].to_numpy(float) for c in ("epoch", "score", "ci_low", "ci_high"))
    x, colour = x + shift, style.OKABE_ITO[place]
    look = {"color": colour, "linestyle": style.LINES[place], "marker": style.MARKERS[place]}
    ax.plot(x, score, gid=method, zorder=3, **look)
    doubtful = np.isfinite(score) & (table["status"].to_numpy(object) != "ok")
    ax.plot(x[doubtful], score[doubtful], zorder=4, **(look | {"linestyle": "none", "markerfacecolor": "white"}))
    banded = np.isfinite(score) & np.isfinite(low) & np.isfinite(high)
    ax.fill_between(x, low, high, where=banded, color=colour, alpha=0.14, linewidth=0)
    alone = banded & ~np.r_[False, banded[:-1]] & ~np.r_[banded[1:], False]
    ax.vlines(x[alone], low[alone], high[alone], color=colour, linewidth=1)


def _foot_note(ax: Axes, macro: pd.DataFrame) -> None:
    undefined = macro["score"].isna()
    words = ["95 % intervals"] if (macro["ci_low"].notna() & ~undefined).any() else []
    for mark, rows in (("hollow", ~undefined & (macro["status"] != "ok")), ("× undefined", undefined)):
        reasons = sorted({str(s).replace("_", " ") for s in macro.loc[rows, "status"]} - {"ok", "nan", ""})
        if rows.any():
            words.append(f"{mark}: {', '.join(reasons)}" if reasons else mark)
    note = ax.text(
        0, -0.255, style.printable(" · ".join(words)), transform=ax.transAxes, va="top",
        fontsize=style.SMALL_SIZE, color=style.QUIET,
    )  # fmt: skip
    style.shortened(note, _width(ax) + 1.1)


def _mark_undefined(ax: Axes, lost: Sequence[End]) -> list[End]:
    """Put a cross for every undefined score into a strip under the scores; return where the crosses are."""
    if not lost:
        return []
    order = list(dict.fromkeys(name for name, *_ in lost))
    low, high = ax.get_ylim()
    step = 0.06 * (high - low)
    floor = low - step * (len(order) + 0.4)
    ax.yaxis.set_major_locator(
        FixedLocator([t for t in MaxNLocator(nbins=5).tick_values(low, high) if low <= t <= high])
    )
    ax.axhspan(floor, low, color="#F1F1F1", linewidth=0, zorder=0)
    ax.set_ylim(floor, high)
    crosses = [(name, x, floor + step * (order.index(name) + 0.7), colour) for name, x, _, colour in lost]
    for name, x, y, colour in crosses:
        ax.plot([x], [y], marker="x", color=colour, linestyle="none", gid=f"undefined {name}", zorder=3)
    return crosses


def _dress(ax: Axes, quantity: str, limits: tuple[float, float], history: pd.DataFrame, *, empty: str) -> None:
    ax.set_title(f"{quantity} per checkpoint", loc="left", weight="bold", pad=16)
    ax.set_xlabel("epoch")
    ax.set_xlim(*limits)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    ax.yaxis.set_major_locator(MaxNLocator(nbins=5))
    ax.grid(axis="y", color="#E6E6E6", linewidth=0.6)
    ax.set_axisbelow(True)
    if empty:
        ax.text(0.5, 0.5, empty, transform=ax.transAxes, ha="center", va="center", color=style.QUIET)
        ax.set_yticks([])
        return
    low, high = ax.get_ylim()
    pad = max(0.02 - (high - low), 0) / 2
    ax.set_ylim(low - pad, min(high + pad, 1.02))
    _mark_stages(ax, history, limits)


def _mark_stages(ax: Axes, history: pd.DataFrame, limits: tuple[float, float]) -> None:
    table = history.sort_values("epoch")
    stages = table["stage"].astype(str).to_numpy()
    epochs = table["epoch"].to_numpy(float)
    starts = [0, *(i for i in range(1, len(stages)) if stages[i] != stages[i - 1])]
    edges = [limits[0], *((epochs[i - 1] + epochs[i]) / 2 for i in starts[1:]), limits[1]]
    width = _width(ax)
    for place, i in enumerate(starts[: len(stages)]):
        left, right = edges[place], edges[place + 1]
        if place:
            ax.axvline(left, color=style.QUIET, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1, gid="stage boundary")
        room = width * (right - left) / (limits[1] - limits[0]) - 0.08
        words = ax.text(
            (left + right) / 2, 1.02, style.printable(stages[i].replace("_", " ")),
            transform=ax.get_xaxis_transform(), ha="center", va="bottom", fontsize=style.SMALL_SIZE, color=style.QUIET,
        )  # fmt: skip
        # A stump of a name says less than the boundary alone.
        if len(style.shortened(words, room).get_text()) < min(6, len(stages[i])):
            words.remove()


def _direct_labels(ax: Axes, ends: Sequence[End], width: float) -> None:
    """Name each line right of the panel, at the height of its last point, moved apart where names would touch."""
    if not ends:
        return
    fig = ax.get_figure()
    low, high = ax.get_ylim()
    line = 1.35 * style.SMALL_SIZE / 72 / (ax.get_position().height * fig.get_figheight()) * (high - low)
    order = sorted(ends, key=lambda end: end[2])
    heights = _apart([end[2] for end in order], line, high)
    left, right = ax.get_xlim()
    gap = LABEL_GAP * (right - left) / _width(ax)
    for (name, x, y, colour), at in zip(order, heights, strict=True):
        words = ax.text(right + gap, at, style.printable(name), va="center", fontsize=style.SMALL_SIZE)
        style.shortened(words, width)
        ax.plot(
            [x, right, right + 0.7 * gap],
            [y, y, at],
            color=colour,
            linewidth=0.6,
            clip_on=False,
            zorder=2,
            gid="leader",
        )


def _width(ax: Axes) -> float:
    return ax.get_position().width * ax.get_figure().get_figwidth()


def _apart(heights: Sequence[float], line: float, ceiling: float) -> np.ndarray:
    """Return ascending heights at least one line apart, as near to the given ones as pushing up, then down, allows."""
    placed = np.array(heights, float)
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + line)
    limit = ceiling
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - line
    return placed
