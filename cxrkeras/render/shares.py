"""Curves over the share of films that carry an artefact: means over seeds, and one small axis of them.

Draws on axes it is given. Knows no run, no confounder and no formula of a measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.render import style
from cxrkeras.tables import with_text

CONTROL = "artefact-only"
MOST = len(style.OKABE_ITO)
CHANCE_LINE = {"color": style.QUIET, "linewidth": 0.9, "linestyle": (0, (4, 3))}
_SERIES = ["source", "arch", "mode"]
_COLUMNS = (*_SERIES, "seed", "confounder", "p", "split", "status")
_PLACE = [*_SERIES, "confounder", "p", "split"]
_RATES = ("auc", "sensitivity", "specificity")
# at p = 0 the reliance is 0 by definition
_SOUND = ("ok", "baseline")
_GREY = "#8A8A8A"
_CONTROL_LOOK = {"color": _GREY, "marker": ".", "linewidth": 0.8, "markersize": 3}
_FORM_LOOK = {"color": _GREY, "linewidth": 0.8, "linestyle": (0, (4, 2))}
# inches that the name of a tick needs, and from one line of a legend to the next
_TICK, KEY = 0.24, 0.17

Series = tuple[str, str, str]
Entry = tuple[str, dict[str, object]]


@dataclass(frozen=True)
class Curves:
    """One quantity by share, ready to be drawn.

    Attributes:
        table: ``source, arch, mode, confounder, p, split, value, low, high, n_seeds, status``, a point a row.
        seeds: the same keys with `value` of every seed.
        metric: what it is.
    """

    table: pd.DataFrame
    seeds: pd.DataFrame
    metric: str


def curves_of(results: pd.DataFrame, metric: str) -> Curves:
    """Means over seeds of one quantity.

    Args:
        results: ``source, arch, mode, seed, confounder, p, split, status``, the quantity, and for the AUC
            ``ci_lo, ci_hi``.
        metric: `auc`, `sensitivity`, `specificity` or `ece`.

    Returns:
        Means over the seeds that have a value; `low` and `high` are the means of the seeds' own limits, which is no
        narrower than the interval of the mean. `status` is that of an undefined seed, where there is one.

    Raises:
        ScoreInputError: a column is missing.
    """
    if missing := [name for name in (*_COLUMNS, metric) if name not in results]:
        raise ScoreInputError(
            f"curves over the share of artefacts need the columns {', '.join((*_COLUMNS, metric))}. "
            f"Missing: {', '.join(missing)}. Pass the table `results` of cxrkeras robustness."
        )
    limits = [name if metric == "auc" and name in results else None for name in ("ci_lo", "ci_hi")]
    values = {
        name: results[column].astype(float) if column else np.nan
        for name, column in zip(("value", "low", "high"), (metric, *limits), strict=True)
    }
    seeds = with_text(results, (*_SERIES, "confounder", "split", "status")).assign(**values)
    seeds = seeds[[*_PLACE, "seed", "value", "low", "high", "status"]]
    rows = []
    for key, part in seeds.groupby(_PLACE, sort=False, dropna=False):
        lost = part["value"].isna()
        means = {name: part[name].mean() for name in ("value", "low", "high")}
        status = part["status"][lost if lost.any() else ~lost].iloc[0]
        rows.append(dict(zip(_PLACE, key, strict=True)) | means | {"n_seeds": int((~lost).sum()), "status": status})
    return Curves(pd.DataFrame(rows, columns=[*_PLACE, *values, "n_seeds", "status"]), seeds, metric)


def reliance_curves(reliance: pd.DataFrame) -> Curves:
    """The reliance by share, with its interval: one value over all seeds, so without dots.

    Args:
        reliance: ``source, arch, mode, confounder, p, reliance, ci_lo, ci_hi, status``.
    """
    table = with_text(reliance, (*_SERIES, "confounder", "status")).rename(columns={"ci_lo": "low", "ci_hi": "high"})
    table = table.assign(value=table["reliance"].astype(float), split="", n_seeds=1)
    return Curves(table, table[[*_PLACE, "value"]].iloc[:0], "reliance")


def series_of(results: pd.DataFrame) -> list[Series]:
    """The curves of a table as (source, arch, mode), in the order met; a curve's look is its place here.

    Raises:
        UsageError: more than can be told apart.
    """
    keys = with_text(results, _SERIES)[_SERIES].itertuples(index=False, name=None)
    series = [key for key in dict.fromkeys(keys) if key[0] != CONTROL]
    if len(series) > MOST:
        raise UsageError(f"a figure tells up to {MOST} curves apart. Received {len(series)}. Leave some sources out.")
    return series


def series_names(series: Sequence[Series]) -> list[str]:
    """Names of curves: the source, with the net and the mode where one source has several."""
    names = []
    for source, arch, mode in series:
        own = [one for one in series if one[0] == source]
        several = [len({one[place] for one in own}) > 1 for place in (1, 2)]
        names.append(", ".join([source, *(word for word, told in zip((arch, mode), several, strict=True) if told)]))
    return names


def rows_of(table: pd.DataFrame, key: Series) -> pd.DataFrame:
    """The rows of one curve."""
    return table[(table[_SERIES].astype(str) == list(key)).all(axis=1)]


def draw_shares(
    ax: Axes, curves: Curves, confounder: str, split: str, series: Sequence[Series], form: pd.DataFrame | None = None
) -> None:
    """Draw one confounder on the films of one split: what the artefact alone reaches below, the sources above it.

    Args:
        ax: where to draw.
        curves: see `curves_of`.
        confounder, split: whose rows to draw.
        series: every curve with a look of its own; a run measured as it is, without a share, is a dotted line.
        form: ``p, split, expected`` of the artefact alone.
    """
    own = curves.table[curves.table["confounder"] == confounder]
    here = own[own["split"] == split]
    dots = curves.seeds[(curves.seeds["confounder"] == confounder) & (curves.seeds["split"] == split)]
    if curves.metric == "auc":
        alone = here[here["source"] == CONTROL].sort_values("p")
        ax.plot(alone["p"], alone["value"], zorder=1.5, gid=CONTROL, **_CONTROL_LOOK)
        if form is not None:
            expected = form[form["split"] == split].sort_values("p")
            ax.plot(expected["p"], expected["expected"], zorder=1, gid="closed form", **_FORM_LOOK)
    for place, key in enumerate(series):
        rows = rows_of(here, key).sort_values("p")
        for value in rows[rows["p"].isna()]["value"].dropna():
            ax.axhline(value, zorder=2, **_across(place))
        if (rows["n_seeds"] > 1).any():
            seeds, look = rows_of(dots, key), {"linestyle": "none", "marker": ".", "markersize": 2.5, "alpha": 0.45}
            ax.plot(seeds["p"], seeds["value"], color=style.OKABE_ITO[place], zorder=2, gid="seeds", **look)
        draw_line(ax, rows[rows["p"].notna()], place, " ".join(key))
    if here["value"].isna().all():
        words = "undefined" if len(here) else "not measured"
        ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes, color=style.QUIET)
    dress(ax, own["p"])
    if curves.metric in _RATES:
        ax.set_ylim(-0.04, 1.04)
        ax.yaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
    else:
        ax.set_ylim(*_limits(curves.table[curves.table["source"] != CONTROL]))
        ax.yaxis.set_major_locator(MaxNLocator(nbins=4))


def draw_line(ax: Axes, rows: pd.DataFrame, place: int, name: str) -> None:
    """Draw values over `p` with a band; a point that needs care is hollow, an undefined one a gap."""
    x, y, low, high = (rows[column].to_numpy(float) for column in ("p", "value", "low", "high"))
    line = look(place)
    ax.plot(x, y, gid=name, zorder=3, **line)
    care = np.isfinite(y) & ~rows["status"].isin(_SOUND).to_numpy()
    ax.plot(x[care], y[care], zorder=4, **(line | {"linestyle": "none", "markerfacecolor": "white"}))
    banded = np.isfinite(y) & np.isfinite(low) & np.isfinite(high)
    ax.fill_between(x, low, high, where=banded, color=line["color"], alpha=0.13, linewidth=0)
    alone = banded & ~np.r_[False, banded[:-1]] & ~np.r_[banded[1:], False]
    ax.vlines(x[alone], low[alone], high[alone], color=line["color"], linewidth=1)


def look(place: int) -> dict[str, object]:
    """Colour, marker and line of the curve at a place."""
    place %= MOST
    return {
        "color": style.OKABE_ITO[place], "marker": style.MARKERS[place], "linestyle": style.LINES[place],
        "markersize": 3.8, "linewidth": 1.3,
    }  # fmt: skip


def dress(ax: Axes, shares: pd.Series) -> None:
    """A tick at every share that was measured, a name where there is room for it, and faint lines across."""
    places = sorted(set(shares.dropna().astype(float)))
    width = ax.get_position().width * ax.get_figure().get_figwidth()
    span = (places[-1] - places[0] if len(places) > 1 else 0.0) or 1.0
    names, taken = [], -np.inf
    for place in places:
        # the last names the end of the scale: what would touch it gives way
        last = place == places[-1]
        clear = last or min(place - taken, places[-1] - place) * width / span >= _TICK
        names.append(f"{place:g}" if clear else "")
        taken = place if clear else taken
    ax.set_xticks(places, names)
    if places:
        ax.set_xlim(places[0] - 0.05 * span, places[-1] + 0.05 * span)
    ax.grid(axis="y", color="#E6E6E6", linewidth=0.6)
    ax.set_axisbelow(True)


def keys_of(table: pd.DataFrame, series: Sequence[Series]) -> list[Entry]:
    """Name and look of the curves that a table has.

    Args:
        table: ``source, arch, mode, p``; a curve without any share lies across.
        series: every curve with a look of its own.
    """
    entries = []
    for place, (key, name) in enumerate(zip(series, series_names(series), strict=True)):
        own = rows_of(table, key)
        if len(own):
            entries.append((name, look(place) if own["p"].notna().any() else _across(place)))
    return entries


def _across(place: int) -> dict[str, object]:
    """The line of a run that is measured as it is."""
    return {"color": style.OKABE_ITO[place], "linewidth": 1.1, "linestyle": (0, (1, 2))}


def control_keys(results: pd.DataFrame, form: pd.DataFrame | None) -> list[Entry]:
    """Names and looks of what the artefact alone reaches, where it is drawn."""
    measured = [("the artefact alone", _CONTROL_LOOK)] if (results["source"] == CONTROL).any() else []
    return measured + ([("its closed form", _FORM_LOOK)] if form is not None and len(form) else [])


def draw_keys(fig: Figure, left: float, top: float, room: float, entries: Sequence[Entry]) -> None:
    """Write a legend, one entry under another, in inches from the upper left corner."""
    width, height = fig.get_size_inches()
    ax = style.panel(fig, 0, 0, width, height)
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_axis_off()
    for place, (name, line) in enumerate(entries):
        y = top + place * KEY
        ax.plot([left, left + 0.18, left + 0.36], [y] * 3, markevery=[1], **line)
        style.label(fig, left + 0.44, y, name, room - 0.44, va="center", fontsize=style.SMALL_SIZE)


def _limits(rows: pd.DataFrame) -> tuple[float, float]:
    """From zero, or below it, to the largest value, with some air."""
    values = rows[["value", "low", "high"]].to_numpy(float)
    values = values[np.isfinite(values)]
    low, high = values.min(initial=0.0), values.max(initial=0.1)
    return low - 0.05 * (high - low), high + 0.05 * (high - low)
