"""The tables of a localization: stored beside what is there, and in the columns and sentences a reader is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cxrkeras.localization.comparison import SIGNIFICANT
from cxrkeras.run import Run
from cxrkeras.tables import read_csv, replace_rows

FILMS, CHANCE_FILMS, SUMMARY, CHANCE = "films", "chance_films", "summary", "chance"
COMPARISONS, TERCILES, READERS = "comparisons", "terciles", "readers"
STATEMENTS, STATEMENT_FILMS = "statements", "statement_films"
WAY = ("annotations", "rule", "tolerance", "slice", "cutoff")
_ABOUT = ("finding", "class", "annotator")
# whose rows a new row replaces, beside the same way
KEYS: Mapping[str, tuple[str, ...]] = {
    FILMS: (*_ABOUT, "method"),
    CHANCE_FILMS: (*_ABOUT, "method", "against"),
    SUMMARY: (*_ABOUT, "method", "metric", "bootstrap"),
    CHANCE: (*_ABOUT, "method", "metric", "against"),
    COMPARISONS: (*_ABOUT, "method", "metric", "compared", "first", "second"),
    TERCILES: (*_ABOUT, "method", "metric", "tercile", "bootstrap"),
    READERS: ("finding", "first", "second", "bootstrap"),
    STATEMENTS: ("finding", "class", "method", "stated"),
    STATEMENT_FILMS: ("finding", "class", "method"),
}
SHOWN = ("iou", "hit", "mass")

# ids and hashes may look like numbers, and a key must come back as it was written
TEXT = (
    "image", "patient", *_ABOUT, "method", "metric", "against", "compared", "first", "second", "tercile", "bootstrap",
    "annotations", "rule", "slice", "cutoff", "status", "map_status", "grid", "layer", "maps_key", "above", "trained",
    "side", "zone", "stated",
)  # fmt: skip


def read_localization(file: Path) -> pd.DataFrame:
    """A stored table of localization; ids, hashes and words stay text.

    Raises:
        RunError: it cannot be read.
    """
    frame = read_csv(file, text=TEXT)
    return frame.astype({name: "Int64" for name in frame.columns if name == "n" or name.startswith("n_")})


def store_tables(sink: Run, epoch: int, split: str, tables: Mapping[str, pd.DataFrame]) -> None:
    """Store every table that has rows."""
    for name, table in tables.items():
        key = [column for column in (*KEYS[name], *WAY) if column in table]
        if len(table):
            replace_rows(sink.localization_path(epoch, split, name), table, key, read_localization)


def printed_summary(summary: pd.DataFrame, chance: pd.DataFrame) -> pd.DataFrame:
    """A row per finding and method: IoU, hit rate and mass with intervals and chance, and which lie above it.

    Chance is the one of area, marked ``*`` where the value lies significantly above every kind of chance that was
    asked for, and ``?`` where that cannot be told.
    """
    rows = []
    for key, group in summary.groupby([*_ABOUT, "method"], sort=False):
        found = group.set_index("metric")
        row = dict(zip((*_ABOUT, "method"), key, strict=True))
        for metric in SHOWN:
            row[metric] = _value(found.loc[metric]) if metric in found.index else ""
            row[f"chance {metric}"] = _number(found.loc[metric, "chance"]) if metric in found.index else ""
            row[f"above {metric}"] = above_chance(chance, row, metric)
        first = found.iloc[0]
        rows.append({**row, "n": first["n"], "n_patients": first["n_patients"], "n_degenerate": first["n_degenerate"]})
    table = pd.DataFrame(rows)
    if "annotator" in table and set(table["annotator"]) == {"union"}:
        table = table.drop(columns="annotator")
    return table


def printed_comparisons(comparisons: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What was compared (`methods`, `runs`) -> the pairs whose IoU, hit rate or mass differ significantly.

    Runs are all shown, for they were asked for.
    """
    shown = comparisons[comparisons["metric"].isin(SHOWN)] if len(comparisons) else comparisons
    columns = ["finding", "method", "metric", "first", "second", "difference", "ci_low", "ci_high", "p_holm"]
    columns += ["n", "n_patients", "status"]
    found = {}
    for name, table in shown.groupby("compared", sort=False) if len(shown) else ():
        own = table if name == "runs" else table[table["p_holm"] < SIGNIFICANT].drop(columns="method")
        if len(own):
            found[name] = own[[column for column in columns if column in own]].reset_index(drop=True)
    return found


def above_chance(chance: pd.DataFrame, about: Mapping[str, str], metric: str) -> str:
    """`yes` where a method's metric lies significantly above every kind of chance, `no`, `undefined`, or `` unasked.

    Args:
        chance: as stored; may be empty.
        about: finding, class, annotator and method.
        metric: which metric.
    """
    if chance.empty:
        return ""
    chosen = chance["metric"] == metric
    for name in (*_ABOUT, "method"):
        chosen &= chance[name] == about[name]
    words = set(chance.loc[chosen, "above"])
    if not words:
        return ""
    if "no" in words:
        return "no"
    return "undefined" if "undefined" in words else "yes"


def sentences(summary: pd.DataFrame, chance: pd.DataFrame) -> tuple[str, ...]:
    """What the tables say: for each finding the methods above chance, then the maps without contrast."""
    told = []
    for key, group in summary.groupby(list(_ABOUT), sort=False):
        about = dict(zip(_ABOUT, key, strict=True))
        by = "" if about["annotator"] in ("", "union") else f" by {about['annotator']}"
        name = about["finding"] + ("" if about["finding"] == about["class"] else f" (class {about['class']})") + by
        if not chance.empty:
            told.append(_finding_sentence(name, about, list(dict.fromkeys(group["method"])), chance))
    firsts = summary.drop_duplicates([*_ABOUT, "method"])
    counts = firsts.groupby("method", sort=False)["n_degenerate"].sum()
    blank = ", ".join(f"{method} {count}" for method, count in counts.items() if count)
    total = int(firsts[["n", "n_nan"]].sum().sum())
    told.append(
        f"Maps without contrast, left out of the means and counted as 0 in mean_zero: {int(counts.sum())} of {total}"
        + (f" ({blank})." if blank else ".")
    )
    return tuple(told)


def _finding_sentence(name: str, about: Mapping[str, str], methods: Sequence[str], chance: pd.DataFrame) -> str:
    parts = []
    for metric, words in (("iou", "IoU"), ("hit", "hit rate"), ("mass", "mass")):
        found = {method: above_chance(chance, {**about, "method": method}, metric) for method in methods}
        if all(word in ("", "undefined") for word in found.values()):
            parts.append(f"{words} cannot be told")
        else:
            parts.append(f"{words} {', '.join(m for m, word in found.items() if word == 'yes') or 'none'}")
    kinds = ", ".join(dict.fromkeys(chance["against"]))
    return f"{name}: significantly above chance ({kinds}; Holm): {'; '.join(parts)}."


def _value(row: pd.Series) -> str:
    middle = _number(row["mean"])
    return middle if np.isnan(row["ci_low"]) else f"{middle} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"


def _number(value: float) -> str:
    return "NaN" if pd.isna(value) else f"{value:.3f}"
