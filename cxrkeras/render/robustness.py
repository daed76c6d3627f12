"""How AUC, sensitivity, specificity and calibration move with the share of positive films that carry an artefact.

Tables in, PNG or figures out. Knows no run, no confounder and no formula of a measure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cxrkeras.errors import ScoreInputError
from cxrkeras.render import shares, style
from cxrkeras.render.shares import Series
from cxrkeras.tables import with_text

METRICS = {"auc": "AUC", "sensitivity": "sensitivity", "specificity": "specificity", "ece": "calibration error"}
# who carries the artefact, in the order shown
SPLITS = {
    "iid": "as in training (iid)",
    "reversed": "reversed",
    "clean": "clean",
    "neutral": "neutral",
    "aligned": "aligned",
}
_READING = "Lines: means over seeds; dots: seeds; bands: 95 % over patients; across: share p."
_CELL, _HIGH, _LEFT, _ACROSS, _DOWN = 1.5, 0.86, 0.42, 0.42, 0.5


def robustness_panel(
    results: pd.DataFrame,
    confounder: str,
    metric: str,
    title: str,
    *,
    control: pd.DataFrame | None = None,
    series: Sequence[Series] | None = None,
) -> Figure:
    """Return one quantity under one confounder as a panel of a report: a small axis for every split.

    Lines are means over seeds, dots are seeds, bands are 95 % intervals over patients; undefined points are gaps.

    Args:
        results: see `shares.curves_of`; rows whose source is `artefact-only` are drawn in grey.
        confounder: whose rows to draw.
        metric: `auc`, `sensitivity`, `specificity` or `ece`.
        title: headline.
        control: ``p, split, expected`` of the artefact alone, and `confounder` where it holds several.
        series: every curve of the report that has a look of its own; None: those of `results`.

    Raises:
        ScoreInputError: a column is missing, or there is no such confounder.
        UsageError: more curves than can be told apart.
    """
    series = shares.series_of(results) if series is None else series
    rows = results[results["confounder"].astype(str) == confounder]
    if rows.empty:
        known = ", ".join(dict.fromkeys(results["confounder"].astype(str)))
        raise ScoreInputError(f"no row of this confounder. Expected one of: {known}. Received {confounder}.")
    curves = shares.curves_of(rows, metric)
    own = curves.table
    splits = [split for split in SPLITS if split in set(own["split"])]
    form = _of(control, confounder) if metric == "auc" else None
    entries = shares.keys_of(own, series)
    entries += shares.control_keys(own, form) if metric == "auc" else []
    top, step = 0.62, _HIGH + _DOWN
    # the legend takes the first place that is free
    column, row = len(splits) % 2, len(splits) // 2
    keys_top = top + row * step
    bottom = max(top - 0.2 + -(-len(splits) // 2) * step, keys_top + shares.KEY * len(entries))
    with style.drawing():
        fig = style.new_figure(4.0, bottom + 0.34)
        style.label(fig, 0.12, 0.1, title, 3.76, fontsize=style.TEXT_SIZE, weight="bold")
        for place, split in enumerate(splits):
            left = _LEFT + place % 2 * (_CELL + _ACROSS)
            ax = style.panel(fig, left, top + place // 2 * step, _CELL, _HIGH)
            shares.draw_shares(ax, curves, confounder, split, series, form)
            ax.set_title(SPLITS[split], loc="left", fontsize=style.SMALL_SIZE, pad=3)
        left = _LEFT + column * (_CELL + _ACROSS)
        shares.draw_keys(fig, left, keys_top, 3.9 - left, entries)
        words = f"across: share p of the positive films that carry it{_note(own)}"
        style.label(fig, 0.12, bottom + 0.1, words, 3.76, fontsize=style.SMALL_SIZE - 1, color=style.QUIET)
    return fig


def save_robustness_figure(
    target: style.Target,
    results: pd.DataFrame,
    reliance: pd.DataFrame,
    *,
    title: str = "",
    control: pd.DataFrame | None = None,
    metrics: Sequence[str] = tuple(METRICS),
) -> None:
    """Write the reliance, and every quantity on every split, against the share of positive films with an artefact.

    A quantity is a block of a row a split and a column a confounder. Lines are means over seeds, dots are seeds,
    bands are 95 % intervals over patients; undefined points are gaps.

    Args:
        target: path or binary file that receives the PNG (150 dpi).
        results: see `shares.curves_of`; rows whose source is `artefact-only` are drawn in grey.
        reliance: ``source, arch, mode, confounder, p, reliance, ci_lo, ci_hi, status``; may be empty.
        title: headline.
        control: ``p, split, expected`` of the artefact alone, and `confounder` where it holds several.
        metrics: which quantities.

    Raises:
        ScoreInputError: a column is missing, or there is no row.
        UsageError: more curves than can be told apart.
    """
    series = shares.series_of(results)
    names = list(dict.fromkeys(with_text(results, ("confounder",))["confounder"]))
    if not names:
        raise ScoreInputError(
            "a robustness figure needs rows. Received none. Pass the table `results` of a run that is not empty."
        )
    splits = [split for split in SPLITS if split in set(results["split"].astype(str))]
    entries = shares.keys_of(results, series) + shares.control_keys(results, control)
    beside = min(len(metrics), 4 if len(names) == 1 else 2)
    block_wide, step = 0.75 + len(names) * (_CELL + _ACROSS), _HIGH + 0.4
    keys_top = 0.55 if title else 0.25
    first = keys_top + 0.3
    lower = keys_top + max(0.75 + step if len(reliance) else 0.0, shares.KEY * (len(entries) + 1)) + 0.1
    block_high = 0.75 + step * len(splits)
    bands = -(-len(metrics) // beside)
    with style.drawing():
        width = max(beside * block_wide, block_wide + 2.6) + 0.25
        fig = style.new_figure(width, lower + bands * block_high)
        style.label(fig, 0.2, 0.14, title, width - 0.4, fontsize=style.TITLE_SIZE, weight="bold")
        keys_left = 0.2
        if len(reliance):
            block = shares.reliance_curves(reliance)
            _block(fig, 0.2, keys_top - 0.1, "reliance", block, names, {"": ""}, series, None)
            keys_left = block_wide + 0.3
        keys_at, room = (first if len(reliance) else keys_top), width - keys_left - 0.2
        shares.draw_keys(fig, keys_left, keys_at, room, entries)
        under = keys_at + shares.KEY * len(entries) - 0.04
        style.label(fig, keys_left, under, _READING, room, fontsize=style.SMALL_SIZE - 1, color=style.QUIET)
        for place, metric in enumerate(metrics):
            left, top = 0.2 + place % beside * block_wide, lower + place // beside * block_high
            curves, own = shares.curves_of(results, metric), {split: split for split in splits}
            _block(fig, left, top, METRICS[metric], curves, names, own, series, control)
        style.write_png(fig, target)


def reliance_panel(
    reliance: pd.DataFrame, confounder: str, title: str, *, series: Sequence[Series] | None = None
) -> Figure:
    """Return how far each source leans on one confounder against the share of positive films that carried it.

    Args:
        reliance: ``source, arch, mode, confounder, p, reliance, ci_lo, ci_hi, status``.
        confounder: whose rows to draw.
        title: headline.
        series: every curve of the report that has a look of its own; None: those of `reliance`.

    Raises:
        UsageError: more curves than can be told apart.
    """
    series = shares.series_of(reliance) if series is None else series
    own = (reliance["confounder"].astype(str) == confounder) & reliance["p"].notna()
    curves = shares.reliance_curves(reliance[own])
    entries = shares.keys_of(curves.table, series)
    with style.drawing():
        fig, ax = _one_axis(title, len(entries))
        ax.axhline(0, color=style.INK, linewidth=0.7, zorder=1)
        shares.draw_shares(ax, curves, confounder, "", series)
        shares.draw_keys(fig, 0.6, 2.76, 3.3, entries)
    return fig


def _one_axis(title: str, entries: int) -> tuple[Figure, Axes]:
    """A panel of one axis with room for a legend below."""
    fig = style.new_figure(4.0, 2.75 + shares.KEY * entries)
    style.label(fig, 0.12, 0.1, title, 3.76, fontsize=style.TEXT_SIZE, weight="bold")
    ax = style.panel(fig, 0.6, 0.45, 3.2, 1.75)
    ax.set_xlabel("share p of the positive films with it in training")
    return fig, ax


def _block(
    fig: Figure,
    left: float,
    top: float,
    title: str,
    curves: shares.Curves,
    confounders: Sequence[str],
    splits: dict[str, str],
    series: Sequence[Series],
    control: pd.DataFrame | None,
) -> None:
    """One quantity: a row a split and a column a confounder."""
    style.label(fig, left, top, title, 1.4, fontsize=style.TEXT_SIZE, weight="bold")
    for column, name in enumerate(confounders):
        x = left + 0.95 + column * (_CELL + _ACROSS)
        style.label(fig, x, top + 0.2, name, _CELL, fontsize=style.SMALL_SIZE, weight="bold")
        for row, split in enumerate(splits):
            ax = style.panel(fig, x, top + 0.42 + row * (_HIGH + 0.4), _CELL, _HIGH)
            shares.draw_shares(ax, curves, name, split, series, _of(control, name))
    for row, words in enumerate(splits.values()):
        y = top + 0.42 + row * (_HIGH + 0.4)
        style.label(fig, left, y, words, 0.6, fontsize=style.SMALL_SIZE, color=style.QUIET)


def gain_panel(rows: pd.DataFrame, methods: Sequence[str], title: str, *, area: float = float("nan")) -> Figure:
    """Return the mass that the artefact draws to itself against the share of positive films that carried it.

    Args:
        rows: ``method, p, value, ci_lo, ci_hi, status`` of one source, a row a seed; `value` is the share of the map
            on the artefact less the share on the same place without it. Chance is the line at 0.
        methods: every method of the report that has a look of its own; a look is a place in it.
        title: headline.
        area: of the artefact, as a share of the film, drawn as a dashed line; NaN: not known.
    """
    named = rows.rename(columns={"ci_lo": "low", "ci_hi": "high"})
    values = named.astype(dict.fromkeys(("value", "low", "high"), float))
    table = values.groupby(["method", "p"], sort=False, as_index=False).agg(
        value=("value", "mean"), low=("low", "mean"), high=("high", "mean"), status=("status", _worst)
    )
    drawn = [method for method in methods if method in set(table["method"])]
    entries = [(name, shares.look(methods.index(name))) for name in drawn]
    entries += [(f"area of the artefact, {100 * area:.2g} %", shares.CHANCE_LINE)] if np.isfinite(area) else []
    with style.drawing():
        fig, ax = _one_axis(title, len(entries))
        ax.axhline(0, color=style.INK, linewidth=0.7, zorder=1)
        if np.isfinite(area):
            ax.axhline(area, zorder=1, gid="area", **shares.CHANCE_LINE)
        for method in drawn:
            own = table[table["method"] == method].sort_values("p")
            shares.draw_line(ax, own, methods.index(method), method)
        if table["value"].isna().all():
            ax.text(0.5, 0.5, "undefined", ha="center", va="center", transform=ax.transAxes, color=style.QUIET)
        shares.dress(ax, table["p"])
        ax.yaxis.set_major_locator(MaxNLocator(nbins=5))
        shares.draw_keys(fig, 0.6, 2.76, 3.3, entries)
    return fig


def _worst(status: pd.Series) -> str:
    """The first status that is not ok."""
    care = status[status.astype(str) != "ok"]
    return str(care.iloc[0]) if len(care) else "ok"


def _note(own: pd.DataFrame) -> str:
    """How many seeds there are, and why points are missing."""
    rows = own[own["source"] != shares.CONTROL]
    seeds = int(rows["n_seeds"].max()) if len(rows) else 0
    words = f"; dots: {seeds} seeds" if seeds > 1 else "; one seed" if seeds else ""
    lost = sorted({str(status).replace("_", " ") for status in rows[rows["value"].isna()]["status"]})
    return words + (f"; gaps: {', '.join(lost)}" if lost else "")


def _of(control: pd.DataFrame | None, confounder: str) -> pd.DataFrame | None:
    if control is None or control.empty or "confounder" not in control:
        return control
    return control[control["confounder"] == confounder]
