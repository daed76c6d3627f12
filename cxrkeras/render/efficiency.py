"""How AUC and localization grow with the share of labels trained on, a curve a weight source and recipe.

Tables in, PNG or figures out. Knows no run and no study.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.render import style
from cxrkeras.tables import with_text

METRICS = {"auc": "AUC", "iou": "IoU", "hit": "hit rate", "mass": "mass inside"}
MOST = len(style.OKABE_ITO)
_COLUMNS = ("backbone", "source", "recipe", "fraction", "method", "metric", "mean", "sd", "n_seeds", "status")
_SERIES = ["backbone", "source", "recipe"]
_WIDTH, _HEIGHT = 2.6, 1.85
# one seed has no bar, which the words beside the figure say
_SOUND = ("ok", "one_seed")


def save_efficiency_figure(
    target: style.Target, fractions: pd.DataFrame, *, title: str = "", seeds: pd.DataFrame | None = None
) -> None:
    """Write AUC and, a row a method, where the maps lie, against the share of labels on a logarithmic axis.

    Args:
        target: path or binary file that receives the PNG (9.8 inches wide at 150 dpi).
        fractions: ``backbone, source, recipe, fraction, method, metric, mean, sd, n_seeds, status``; `method` is empty
            for the AUC. Bars are one standard deviation over seeds; a point of one seed has none, and it is said.
        title: headline.
        seeds: the single seeds ``backbone, source, recipe, fraction, method, metric, value``, drawn as small dots.

    Raises:
        ScoreInputError: a column is missing, or nothing is to be drawn.
        UsageError: more curves than can be told apart.
    """
    table = _checked(fractions)
    series = series_of(table)
    methods = [name for name in dict.fromkeys(table["method"]) if name]
    tops = {"": 0.75 if title else 0.35}
    for place, method in enumerate(methods, start=1):
        tops[method] = tops[""] + place * (_HEIGHT + 0.95)
    with style.drawing():
        fig = style.new_figure(9.8, tops[""] + (1 + len(methods)) * (_HEIGHT + 0.95) - 0.15)
        if title:
            style.label(fig, 0.2, 0.16, title, 9.4, fontsize=style.TITLE_SIZE, weight="bold")
        for method, top in tops.items():
            metrics = [metric for metric in METRICS if (metric == "auc") == (not method)]
            for column, metric in enumerate(metrics):
                ax = style.panel(fig, 0.6 + column * (_WIDTH + 0.55), top, _WIDTH, _HEIGHT)
                words = f"{METRICS[metric]}, {method}" if method else METRICS[metric]
                ax.set_title(style.printable(words), loc="left", weight="bold")
                part = table[(table["metric"] == metric) & (table["method"] == method)]
                _panel(ax, part, series, table["fraction"], _of(seeds, metric, method))
        _legend(fig, 0.6 + _WIDTH + 0.35, tops[""], series, table)
        style.write_png(fig, target)


def efficiency_panel(
    fractions: pd.DataFrame, metric: str, method: str, title: str, *, seeds: pd.DataFrame | None = None
) -> Figure:
    """Return one metric against the share of labels as a panel of a report, its curves named below.

    Args:
        fractions: as in `save_efficiency_figure`.
        metric: `auc`, `iou`, `hit` or `mass`.
        method: empty for the AUC.
        title: headline.
        seeds: as in `save_efficiency_figure`.
    """
    table = _checked(fractions)
    series = series_of(table)
    with style.drawing():
        fig = style.new_figure(4.0, 2.9 + 0.17 * len(series))
        style.label(fig, 0.12, 0.1, title, 3.76, fontsize=style.TEXT_SIZE, weight="bold")
        ax = style.panel(fig, 0.55, 0.45, 3.25, 1.7)
        part = table[(table["metric"] == metric) & (table["method"] == method)]
        _panel(ax, part, series, table["fraction"], _of(seeds, metric, method))
        ax.set_ylabel("")
        _keys(fig, 0.55, 2.84, 3.3, series)
    return fig


def series_of(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """The curves of a table as (backbone, source, recipe), in the order met; a curve's look is its place here.

    Raises:
        UsageError: more than can be told apart.
    """
    series = list(dict.fromkeys(table[_SERIES].astype(str).itertuples(index=False, name=None)))
    if len(series) > MOST:
        raise UsageError(f"a figure tells up to {MOST} curves apart. Received {len(series)}. Leave some out.")
    return series


def series_names(series: Sequence[tuple[str, str, str]]) -> list[str]:
    """Names of curves; a backbone or recipe that all of them share is left out."""
    told = [place for place in range(3) if place == 1 or len({one[place] for one in series}) > 1]
    return [", ".join(one[place] for place in told if one[place]) for one in series]


def _panel(
    ax: Axes,
    table: pd.DataFrame,
    series: Sequence[tuple[str, str, str]],
    fractions: pd.Series,
    seeds: pd.DataFrame | None,
) -> None:
    shares = sorted(set(fractions.astype(float)))
    ax.set_xscale("log")
    for place, key in enumerate(series):
        colour = style.OKABE_ITO[place]
        # beside one another, so that no bar hides another
        aside = 1.1 ** (place - (len(series) - 1) / 2)
        if seeds is not None:
            own = seeds[_is(seeds, key)]
            ax.plot(own["fraction"] * aside, own["value"], linestyle="none", marker=".", markersize=3.5, color=colour,
                    alpha=0.55, zorder=2)  # fmt: skip
        rows = table[_is(table, key)].sort_values("fraction")
        x, y, sd = (rows[name].to_numpy(float) for name in ("fraction", "mean", "sd"))
        look = {"color": colour, "marker": style.MARKERS[place], "linestyle": style.LINES[place]}
        ax.plot(x * aside, y, zorder=3, gid=" ".join(key), **look)
        care = np.isfinite(y) & ~rows["status"].isin(_SOUND).to_numpy()
        ax.plot(x[care] * aside, y[care], zorder=4, **(look | {"linestyle": "none", "markerfacecolor": "white"}))
        spread = np.isfinite(y) & np.isfinite(sd) & (rows["n_seeds"].to_numpy(float) > 1)
        ax.vlines(x[spread] * aside, (y - sd)[spread], (y + sd)[spread], color=colour, linewidth=1.3, zorder=3)
    if table["mean"].isna().all():
        ax.text(0.5, 0.5, "not measured", ha="center", transform=ax.transAxes, color=style.QUIET)
        ax.set_yticks([])
    ax.set_xlim(min(shares) / 1.5, max(shares) * 1.5)
    ax.set_xticks(shares, [percent(share) for share in shares])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("labels trained on")
    care = table[table["mean"].notna() & ~table["status"].isin(_SOUND)]
    notes = [
        f"{words}: {', '.join(sorted({str(status).replace('_', ' ') for status in rows['status']}))}"
        for words, rows in (("not drawn", table[table["mean"].isna()]), ("hollow", care))
        if len(rows)
    ]
    note = ax.annotate(
        style.printable(" · ".join(notes)), (0.5, 0), xycoords="axes fraction", xytext=(0, -31),
        textcoords="offset points", ha="center", va="top", fontsize=style.SMALL_SIZE - 1, color=style.ALERT,
    )  # fmt: skip
    style.shortened(note, _WIDTH + 0.45)
    if table["mean"].notna().any():
        ax.yaxis.set_major_locator(MaxNLocator(nbins=5))
    ax.grid(axis="y", color="#E6E6E6", linewidth=0.6)
    ax.set_axisbelow(True)


def percent(share: float) -> str:
    """A share as `1 %`, `0.5 %`."""
    return f"{100 * share:.3g} %"


def _legend(fig: Figure, left: float, top: float, series: Sequence[tuple[str, str, str]], table: pd.DataFrame) -> None:
    _keys(fig, left, top + 0.12, 5.0, series)
    below = top + 0.12 + 0.2 * len(series) + 0.1
    for words in spread_words(table):
        style.label(fig, left, below, words, 5.6, fontsize=style.SMALL_SIZE, color=style.QUIET)
        below += 0.16


def spread_words(table: pd.DataFrame) -> list[str]:
    """What the points and bars are, by how many seeds there are."""
    counts = sorted(set(table["n_seeds"].dropna().astype(int)) - {0})
    if not counts:
        return []
    if counts == [1]:
        return ["One seed a point: no bar, and nothing is known about the spread."]
    several = [count for count in counts if count > 1]
    span = str(several[0]) if len(several) == 1 else f"{several[0]} to {several[-1]}"
    words = [f"Points: means over {span} seeds; bars: one standard deviation."]
    return words + (["Points without a bar: one seed."] if counts[0] == 1 else [])


def _keys(fig: Figure, left: float, top: float, room: float, series: Sequence[tuple[str, str, str]]) -> None:
    width, height = fig.get_size_inches()
    ax = style.panel(fig, 0, 0, width, height)
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_axis_off()
    step = 0.2 if room > 4 else 0.17
    for place, name in enumerate(series_names(series)):
        y = top + place * step
        look = {"color": style.OKABE_ITO[place], "linestyle": style.LINES[place], "marker": style.MARKERS[place]}
        ax.plot([left, left + 0.2, left + 0.4], [y] * 3, markevery=[1], **look)
        style.label(fig, left + 0.5, y, name, room - 0.5, va="center", fontsize=style.SMALL_SIZE)


def _is(table: pd.DataFrame, key: tuple[str, str, str]) -> np.ndarray:
    return (table[_SERIES].astype(str) == list(key)).all(axis=1).to_numpy()


def _of(seeds: pd.DataFrame | None, metric: str, method: str) -> pd.DataFrame | None:
    if seeds is None:
        return None
    seeds = with_text(seeds, (*_SERIES, "method"))
    return seeds[(seeds["metric"] == metric) & (seeds["method"] == method)]


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    missing = [column for column in _COLUMNS if column not in table]
    if missing or table.empty:
        raise ScoreInputError(
            f"a label-efficiency figure needs rows of {', '.join(_COLUMNS)}. "
            + (f"Missing: {', '.join(missing)}." if missing else "Received none.")
            + " Pass the table `fractions` of a study."
        )
    return with_text(table, (*_SERIES, "method"))
