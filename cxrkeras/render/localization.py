"""Where maps lie against expert marks: every method's interval beside what chance would reach.

Tables in, PNG out. Knows no run, no map and no metric's formula.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cxrkeras.errors import ScoreInputError
from cxrkeras.render import style
from cxrkeras.tables import with_text

METRICS = {"iou": "IoU", "hit": "hit rate", "mass": "mass inside"}
AREA = "area"
# name, marker and size of the other chance levels; grey and hollow, so that they stay behind the methods
AGAINST = {
    "centre": ("centre Gaussian", "+", 6.0),
    "mean_mask": ("mean mask of other patients", "x", 5.0),
    "random_weights": ("random weights", "v", 4.5),
}
_SUMMARY = (
    "finding",
    "class",
    "annotator",
    "method",
    "metric",
    "mean",
    "ci_low",
    "ci_high",
    "n",
    "n_patients",
    "status",
)
_CHANCE = ("finding", "class", "annotator", "method", "metric", "against", "chance")
_GROUP = ["finding", "class", "annotator"]
_LEFT, _PANEL, _BETWEEN, _LINE = 1.6, 2.45, 0.25, 0.235


def save_localization_figure(
    target: style.Target, summary: pd.DataFrame, chance: pd.DataFrame, *, title: str = "", watermark: str = ""
) -> None:
    """Write IoU, hit rate and mass of every method with 95 % intervals, a row of panels a finding.

    A marker is hollow where its status is not ok; an undefined value is a word with its reason, never a place on the
    axis. The dashed line is the share of the film that the expert marked: what a map that knows nothing reaches.

    Args:
        target: path or binary file that receives the PNG (9.8 inches wide at 150 dpi).
        summary: ``finding, class, annotator, method, metric, mean, ci_low, ci_high, n, n_patients, status``, and
            where known ``n_nan``, ``n_degenerate`` and ``bootstrap`` (patient or image); metrics other than iou, hit
            and mass are left out.
        chance: ``finding, class, annotator, method, metric, against, chance``; may be empty. A row whose method is
            empty counts for every method.
        title: headline.
        watermark: a warning across the whole figure.

    Raises:
        ScoreInputError: a column is missing, or nothing is to be drawn.
    """
    shown = _checked(summary, _SUMMARY, "summary")
    shown = shown[shown["metric"].isin(METRICS)]
    if shown.empty:
        raise ScoreInputError(
            f"a localization figure needs rows of {', '.join(METRICS)}. Received none. "
            "Pass the summary of a localization."
        )
    chance = _checked(chance, _CHANCE, "chance") if len(chance) else pd.DataFrame(columns=_CHANCE)
    methods = list(dict.fromkeys(shown["method"]))
    groups = list(shown.groupby(_GROUP, sort=False, dropna=False))
    head, block = 0.6 if title else 0.2, 0.5 + _LINE * len(methods) + 0.45
    with style.drawing():
        fig = style.new_figure(_LEFT + 3 * _PANEL + 2 * _BETWEEN + 0.35, head + block * len(groups) + 0.6)
        if title:
            room = fig.get_figwidth() - 0.4
            style.label(fig, 0.2, 0.16, title, room, fontsize=style.TITLE_SIZE, weight="bold")
        limits = {metric: _limit(shown, chance, metric) for metric in METRICS}
        for place, (key, rows) in enumerate(groups):
            levels = chance[(chance[_GROUP] == list(key)).all(axis=1)]
            _finding(fig, head + place * block, key, rows, levels, methods, limits)
        hollow = bool((shown["mean"].notna() & (shown["status"] != "ok")).any())
        redrawn = str(shown["bootstrap"].iloc[0]) if "bootstrap" in shown else "patient"
        _legend(fig, sorted(set(chance["against"])), hollow, f"mean, 95 % interval over {redrawn}s")
        style.watermark(fig, watermark)
        style.write_png(fig, target)


def _finding(
    fig: Figure,
    top: float,
    key: tuple[str, str, str],
    rows: pd.DataFrame,
    levels: pd.DataFrame,
    methods: Sequence[str],
    limits: dict[str, float],
) -> None:
    name, facts = _words(key, rows)
    wide = fig.get_figwidth() - 0.4
    written = style.label(fig, 0.2, top, name, wide / 2, weight="bold")
    taken = style.width_of(written) + 0.12
    style.label(fig, 0.2 + taken, top + 0.01, facts, wide - taken, fontsize=style.SMALL_SIZE, color=style.QUIET)
    height = _LINE * len(methods)
    for column, (metric, words) in enumerate(METRICS.items()):
        ax = style.panel(fig, _LEFT + column * (_PANEL + _BETWEEN), top + 0.4, _PANEL, height)
        ax.set_title(words, loc="left", pad=3, fontsize=style.SMALL_SIZE)
        ax.set_xlim(-0.02 * limits[metric], limits[metric])
        ax.set_ylim(len(methods) - 0.5, -0.5)
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=5))
        ax.grid(axis="x", color="#E6E6E6", linewidth=0.6)
        ax.set_axisbelow(True)
        for line, method in enumerate(methods):
            own = rows[(rows["metric"] == metric) & (rows["method"] == method)]
            beside = levels[(levels["metric"] == metric) & levels["method"].isin(["", method])]
            _chance_of(ax, line, beside if own["mean"].notna().any() else beside[beside["against"] == AREA])
            _value(ax, line, own)
    for line, method in enumerate(methods):
        style.label(
            fig, _LEFT - 0.12, top + 0.4 + (line + 0.5) * _LINE, method, _LEFT - 0.3, ha="right", va="center",
            fontsize=style.SMALL_SIZE,
        )  # fmt: skip


def _value(ax: Axes, line: int, rows: pd.DataFrame) -> None:
    look = {"color": style.OKABE_ITO[0], "zorder": 4}
    row = rows.iloc[0] if len(rows) else None
    if row is None or not np.isfinite(row["mean"]):
        words = ax.text(
            0.99, line, "not measured" if row is None else style.printable(_undefined(row)),
            ha="right", va="center", transform=ax.get_yaxis_transform(), fontsize=style.SMALL_SIZE - 1,
            color=style.ALERT, zorder=6, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
        style.shortened(words, _PANEL - 0.1)
        return
    if np.isfinite(row["ci_low"]) and np.isfinite(row["ci_high"]):
        ax.plot([row["ci_low"], row["ci_high"]], [line, line], linewidth=1.8, solid_capstyle="butt", **look)
    face = look["color"] if row["status"] == "ok" else "white"
    ax.plot([row["mean"]], [line], marker="o", markersize=5.5, markerfacecolor=face, **look)


def _chance_of(ax: Axes, line: int, levels: pd.DataFrame) -> None:
    for against, value in zip(levels["against"], levels["chance"], strict=True):
        if not np.isfinite(value):
            continue
        if against == AREA:
            # a piece a method: they join to one line where the methods share their films
            ax.plot(
                [value, value], [line - 0.5, line + 0.5], color=style.INK, linewidth=1.1, dashes=(2.2, 1.6), zorder=3
            )
        elif against in AGAINST:
            _, marker, size = AGAINST[against]
            ax.plot([value], [line], **_mark(marker, size))


def _mark(marker: str, size: float) -> dict[str, object]:
    return {
        "marker": marker, "markersize": size, "color": "#8A8A8A", "markerfacecolor": "none", "markeredgewidth": 1.1,
        "linestyle": "none", "zorder": 2,
    }  # fmt: skip


def _legend(fig: Figure, against: Sequence[str], hollow: bool, spread: str) -> None:
    width, height = fig.get_size_inches()
    top, left = height - 0.34, 0.2
    ax = style.panel(fig, 0, top - 0.1, width, 0.2)
    ax.set_xlim(0, width)
    ax.set_ylim(-1, 1)
    ax.set_axis_off()
    colour = style.OKABE_ITO[0]
    entries: list[tuple[str, list[tuple[Sequence[float], dict[str, object]]]]] = [
        (spread, [
            ((0, 0.28), {"color": colour, "linewidth": 1.8}),
            ((0.14,), {"color": colour, "marker": "o", "markersize": 5.5}),
        ]),
            ]  # fmt: skip
    if hollow:
        open_circle = {"color": colour, "marker": "o", "markersize": 5.5, "markerfacecolor": "white"}
        entries.append(("needs care", [((0.1,), open_circle)]))
    if AREA in against:
        entries.append(("chance: area", [((0, 0.28), {"color": style.INK, "linewidth": 1.1, "dashes": (2.2, 1.6)})]))
    entries += [(AGAINST[one][0], [((0.1,), _mark(*AGAINST[one][1:]))]) for one in AGAINST if one in against]
    for words, pieces in entries:
        for x, look in pieces:
            ax.plot([left + offset for offset in x], [0] * len(x), **look)
        start = left + max(offset for x, _ in pieces for offset in x) + 0.1
        text = style.label(fig, start, top, words, 2.4, va="center", fontsize=style.SMALL_SIZE)
        left = start + style.width_of(text) + 0.22


def _words(key: tuple[str, str, str], rows: pd.DataFrame) -> tuple[str, str]:
    """The name of a finding, and how many films and patients its numbers stand on."""
    finding, class_name, annotator = map(str, key)
    name = finding if class_name.casefold() == finding.casefold() else f"{finding} as {class_name}"
    facts = [] if annotator in ("", "union", "nan") else [f"marked by {annotator}"]
    facts.append(f"{_span(rows['n'])} films, {_span(rows['n_patients'])} patients")
    if "n_degenerate" in rows:
        blank = rows.groupby("method", sort=False)["n_degenerate"].max()
        blank = blank[blank > 0]
        if len(blank):
            facts.append("degenerate: " + ", ".join(f"{method} {int(count)}" for method, count in blank.items()))
    doubtful = rows[rows["mean"].notna() & (rows["status"] != "ok")]
    for status, part in doubtful.groupby("status", sort=False):
        named = list(dict.fromkeys(part["method"]))
        everywhere = len(named) == rows["method"].nunique()
        facts.append(f"hollow: {_reason(status)}" + ("" if everywhere else f" ({', '.join(named)})"))
    return name, " · ".join(facts)


def _span(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(high) if low == high else f"{low}–{high}"


def _undefined(row: pd.Series) -> str:
    """That a value is undefined, and why: its status, or that every map was without contrast."""
    if row.get("n_degenerate", 0) and row["n_degenerate"] == row.get("n_nan"):
        return "undefined: degenerate"
    return "undefined" if row["status"] == "undefined" else f"undefined: {_reason(row['status'])}"


def _reason(status: object) -> str:
    return str(status).replace("_", " ")


def _limit(summary: pd.DataFrame, chance: pd.DataFrame, metric: str) -> float:
    """The end of a metric's axis, the same for every finding, so that findings can be compared."""
    values = [summary.loc[summary["metric"] == metric, name].to_numpy(float) for name in ("mean", "ci_high")]
    values.append(chance.loc[chance["metric"] == metric, "chance"].to_numpy(float))
    known = np.concatenate(values)
    known = known[np.isfinite(known)]
    return float(min(1.08 * known.max(), 1.03)) if len(known) and known.max() > 0 else 1.0


def _checked(table: pd.DataFrame, columns: Sequence[str], name: str) -> pd.DataFrame:
    missing = [column for column in columns if column not in table]
    if missing:
        raise ScoreInputError(
            f"the {name} of a localization needs the columns {', '.join(columns)}. Missing: {', '.join(missing)}. "
            "Pass the table as it is stored."
        )
    return with_text(table, (*_GROUP, "method", "metric"))
