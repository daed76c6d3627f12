"""Compare: the maps of tf-keras-vis (as published) and of this package (as corrected), on the same films.

How alike the maps are, what each C-Score is, and whether a conclusion depends on the engine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.cams.replay import PEER_METHODS, peer_methods
from cxrkeras.consistency.agreement import GRID, TOP, Agreement, agreement
from cxrkeras.errors import DataError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.maps import Maps
from cxrkeras.tables import COMPARISON_KEY, is_count, replace_rows
from cxrkeras.workflow.evidence import chosen_methods, ensure
from cxrkeras.workflow.map_options import ENGINES, MapOptions
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.score.score import score_selection
from cxrkeras.workflow.selection import Selection

PUBLISHED, CORRECTED = "published", "corrected"
MACRO = "macro"
_FROM_SCORE = ("score", "ci_low", "ci_high", "n_gold", "status")
_SETTINGS = ("threshold", "gamma", "grid", "pair_weights", "macro_rule", "same_patient")


@dataclass(frozen=True)
class Comparison:
    """Maps and scores of both engines.

    Attributes:
        table: a row per method and class, then one over all classes (`class` = `macro`). Per film: median and 5 % and
            95 % quantile of `correlation` and `top_iou`. Per engine (`…_published`, `…_corrected`): the C-Score with
            its interval, layer, grid, degenerate maps, status.
        conclusions: sentences: whether the order of the methods changes, and which classes' intervals part.
    """

    table: pd.DataFrame
    conclusions: tuple[str, ...]


def compare_selection(
    opened: OpenRun,
    epoch: int,
    selection: Selection,
    methods: str | None,
    options: MapOptions,
    settings: dict[str, Any],
    *,
    reporter: Reporter = SILENT,
) -> Comparison:
    """Make the maps of both engines where they are missing, score and compare them, and store the rows.

    The scores are stored like those of `score`, each under its engine.

    Args:
        opened: the run.
        epoch: epoch of a stored checkpoint.
        selection: labelled films.
        methods: comma list of methods both engines have, `all`, or None for what is affordable with both.
        options: how the maps are made; a layer that is named goes to both engines.
        settings: as in `score_selection`.
        reporter: told of progress.

    Raises:
        MethodError: a method that tf-keras-vis does not have.
        DataError: a film's label is unknown.
    """
    opened.require_one_class("compare")
    if not selection.labelled:
        raise DataError("the C-Score needs a label for every film. Give a manifest or class folders with --data.")
    both = {CORRECTED: replace(options, engine=ENGINES[0]), PUBLISHED: replace(options, engine=ENGINES[1])}
    names = _methods(methods, opened, epoch, selection, both, reporter)
    scores, maps = {}, {}
    for side, own in both.items():
        scores[side] = score_selection(opened, [epoch], selection, ",".join(names), own, settings, reporter=reporter)
        maps[side] = ensure(opened, epoch, selection, names, own, reporter)
    rows = [
        row
        for name in names
        for row in _method_rows(
            {side: scores[side][scores[side]["method"] == name] for side in both},
            {side: maps[side][name] for side in both},
            selection.films.labels,
        )
    ]
    table = pd.DataFrame(rows)
    table = table.astype({name: "Int64" for name in table.columns if is_count(name)})
    replace_rows(selection.sink.comparison_path(epoch), table, COMPARISON_KEY)
    return Comparison(table, conclusions(table))


def conclusions(table: pd.DataFrame) -> tuple[str, ...]:
    """What depends on the engine, a sentence each.

    Methods whose macro is undefined or from sampled channels take no part in the order. Of two methods that change
    places it is said how far apart they are and whether any class tells them apart: a mean over classes can hide that.
    That intervals part is a description, not a test: both scores stand on the same films.

    Args:
        table: as in `Comparison`.
    """
    macros, classes = table[table["class"] == MACRO], table[table["class"] != MACRO]
    return _order_sentence(macros, classes), _intervals_sentence(classes)


def printed_comparison(table: pd.DataFrame) -> pd.DataFrame:
    """The comparison in the columns a reader needs, each number with its interval."""

    def spread(row: Any, name: str, low: str, high: str) -> str:
        middle = f"{row[name]:.3f}".replace("nan", "NaN")
        return middle if np.isnan(row[low]) else f"{middle} [{row[low]:.3f}, {row[high]:.3f}]"

    rows = []
    for _, row in table.iterrows():
        shown = {"method": row["method"], "class": row["class"], "n_films": row["n_films"]}
        for name in ("correlation", "top_iou"):
            shown[name] = spread(row, name, f"{name}_low", f"{name}_high")
        for side in (PUBLISHED, CORRECTED):
            shown[side] = spread(row, f"score_{side}", f"ci_low_{side}", f"ci_high_{side}")
        for name in ("layer", "grid", "n_degenerate"):
            shown[name] = f"{row[f'{name}_{PUBLISHED}']} / {row[f'{name}_{CORRECTED}']}"
        rows.append(shown)
    return pd.DataFrame(rows)


def _methods(
    spec: str | None,
    opened: OpenRun,
    epoch: int,
    selection: Selection,
    both: dict[str, MapOptions],
    reporter: Reporter,
) -> list[str]:
    if spec is not None:
        return list(peer_methods(spec))
    affordable = [set(chosen_methods(None, opened, epoch, selection, own, reporter)) for own in both.values()]
    return [name for name in PEER_METHODS if all(name in some for some in affordable)]


def _method_rows(scores: dict[str, pd.DataFrame], maps: dict[str, Maps], labels: np.ndarray) -> list[dict[str, Any]]:
    published, corrected = maps[PUBLISHED], maps[CORRECTED]
    alike = agreement(published.values, corrected.values)
    first = scores[CORRECTED].iloc[0]
    shared = {name: first[name] for name in ("epoch", "split", "films", "method")}
    made = {
        "maps_key": "/".join(scores[side]["maps_key"].iloc[0] for side in (PUBLISHED, CORRECTED)),
        "common_grid": GRID,
        "top": TOP,
        **{name: first[name] for name in _SETTINGS},
    }
    rows = []
    for name in [*corrected.classes, MACRO]:
        chosen = slice(None) if name == MACRO else np.flatnonzero(labels == corrected.classes.index(name))
        rows.append({**shared, "class": name, **_alike(alike, chosen), **_scores(scores, maps, name), **made})
    return rows


def _alike(alike: Agreement, rows: np.ndarray | slice) -> dict[str, Any]:
    summary = alike.summary(rows)
    return {
        **summary,
        f"n_degenerate_{PUBLISHED}": summary.pop("n_degenerate_first"),
        f"n_degenerate_{CORRECTED}": summary.pop("n_degenerate_second"),
    }


def _scores(scores: dict[str, pd.DataFrame], maps: dict[str, Maps], name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for side in (PUBLISHED, CORRECTED):
        table = scores[side]
        level = table[table["level"] == ("global" if name == MACRO else "class")]
        row = level[level["class"] == name].iloc[0]
        found |= {f"{column}_{side}": row[column] for column in _FROM_SCORE}
        found |= {f"layer_{side}": maps[side].layer, f"grid_{side}": "×".join(map(str, maps[side].grid))}
    return found


def _order_sentence(macros: pd.DataFrame, classes: pd.DataFrame) -> str:
    usable = np.ones(len(macros), bool)
    for side in (PUBLISHED, CORRECTED):
        usable &= macros[f"score_{side}"].notna().to_numpy()
        usable &= ~macros[f"status_{side}"].isin(["approximate"]).to_numpy()
    left = ", ".join(macros["method"][~usable])
    without = f" Left out, undefined or sampled: {left}." if left else ""
    ranked = macros[usable].set_index("method")
    if len(ranked) < 2:
        return f"Order of methods by macro C-Score: fewer than two methods can be ranked.{without}"
    published, corrected = (ranked[f"score_{side}"] for side in (PUBLISHED, CORRECTED))
    orders = [" > ".join(s.sort_values(ascending=False, kind="stable").index) for s in (published, corrected)]
    swaps = [
        f"{one} and {other} ({abs(published[one] - published[other]):.3f} apart published, "
        f"{abs(corrected[one] - corrected[other]):.3f} corrected; {_told_apart(classes, one, other)})"
        for one, other in combinations(ranked.index, 2)
        if (published[one] - published[other]) * (corrected[one] - corrected[other]) < 0
    ]
    if not swaps:
        return f"Order of methods by macro C-Score: the same with both engines ({orders[0]}).{without}"
    return (
        f"Order of methods by macro C-Score changes: as published {orders[0]}; as corrected {orders[1]}. "
        f"Change places: {', '.join(swaps)}.{without}"
    )


def _told_apart(classes: pd.DataFrame, one: str, other: str) -> str:
    """Whether the intervals of two methods part in some class, with either engine."""
    first, second = (classes[classes["method"] == name].set_index("class") for name in (one, other))
    parted = {
        name
        for side in (PUBLISHED, CORRECTED)
        for name in first.index.intersection(second.index)
        if first.loc[name, f"ci_low_{side}"] > second.loc[name, f"ci_high_{side}"]
        or second.loc[name, f"ci_low_{side}"] > first.loc[name, f"ci_high_{side}"]
    }
    return f"their intervals part in {', '.join(sorted(parted))}" if parted else "within their intervals in every class"


def _intervals_sentence(classes: pd.DataFrame) -> str:
    low, high = (classes[[f"{end}_{side}" for side in (PUBLISHED, CORRECTED)]] for end in ("ci_low", "ci_high"))
    parted = [
        f"{row['method']} {row['class']} ({_interval(row, PUBLISHED)} published, {_interval(row, CORRECTED)} corrected)"
        for _, row in classes[low.max(axis=1, skipna=False) > high.min(axis=1, skipna=False)].iterrows()
    ]
    undefined = int((low.isna().any(axis=1) | high.isna().any(axis=1)).sum())
    without = f" Without an interval: {undefined} of {len(classes)}." if undefined else ""
    return f"Classes whose intervals do not overlap: {'; '.join(parted) or 'none'}.{without}"


def _interval(row: Any, side: str) -> str:
    return f"{row[f'score_{side}']:.3f} [{row[f'ci_low_{side}']:.3f}, {row[f'ci_high_{side}']:.3f}]"
