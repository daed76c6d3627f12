"""What a reader is shown of a localization: a table a finding with every kind of chance in it, and what they say.

Tables in, shorter tables and sentences out; stores nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from cxrkeras.localization.comparison import SIGNIFICANT
from cxrkeras.workflow.localize.tables import ABOUT, UNION, WAY

SHOWN = {"iou": "IoU", "hit": "hit rate", "mass": "mass"}
MARKS = "▲n: significantly above n kinds of chance; ▼n: below n (two-sided, Holm)."
ABOVE, BELOW, NEITHER, UNTESTED = "above", "below", "not above", "untested against"


def printed_summary(summary: pd.DataFrame, chance: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Finding, annotator and films in words -> a row a method, then human readers and each kind of chance.

    Args:
        summary: as stored.
        chance: as stored; may be empty: then the area alone is known.

    Returns:
        Columns `method`, IoU, hit rate and mass with intervals, `degenerate` where a map was. ``▲n`` says that a value
        lies significantly above n kinds of chance, ``▼n`` below n; a chance that differs by method is a range.
    """
    found = {}
    for key, rows in summary.groupby(ABOUT, sort=False):
        about = dict(zip(ABOUT, key, strict=True))
        own = _of(chance, about)
        lines = [_method_line(own, method, part) for method, part in rows.groupby("method", sort=False)]
        if not rows["n_degenerate"].any():
            lines = [{name: cell for name, cell in line.items() if name != "degenerate"} for line in lines]
        if rows["human"].notna().any():
            lines.append({"method": "human"} | _levels(rows, "human"))
        if own.empty:
            lines.append({"method": "chance: area"} | _levels(rows, "chance"))
        for against in dict.fromkeys(own["against"]) if len(own) else ():
            lines.append({"method": f"chance: {against}"} | _levels(own[own["against"] == against], "chance"))
        films = " of ".join(_counted(rows[column], noun) for column, noun in (("n", "film"), ("n_patients", "patient")))
        found[f"{_name(about)}, {films}"] = pd.DataFrame(lines).fillna("")
    return found


def printed_comparisons(comparisons: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What was compared (`methods`, `runs`) -> the pairs whose IoU, hit rate or mass differ significantly.

    Runs are all shown, for they were asked for.
    """
    shown = comparisons[comparisons["metric"].isin(SHOWN)] if len(comparisons) else comparisons
    columns = ["finding", "annotator", "method", "metric", "first", "second", "difference", "ci_low", "ci_high"]
    columns += ["p_holm", "n", "n_patients", "status"]
    found = {}
    for name, table in shown.groupby("compared", sort=False) if len(shown) else ():
        own = table if name == "runs" else table[table["p_holm"] < SIGNIFICANT].drop(columns="method")
        if set(own["annotator"]) == {UNION}:
            own = own.drop(columns="annotator")
        if len(own):
            found[name] = own[[column for column in columns if column in own]].reset_index(drop=True)
    return found


def printed_readers(readers: pd.DataFrame) -> pd.DataFrame:
    """How far annotators agree, without how the maps were judged."""
    return readers.drop(columns=[*WAY, "bootstrap"], errors="ignore")


def way_words(way: Mapping[str, str]) -> str:
    """How maps were judged against marks, in words.

    Args:
        way: the columns `tables.WAY` of a row, as text.
    """
    words = [f"marks {way['annotations']}", f"threshold {way['rule']}"]
    if float(way["tolerance"]):
        words.append(f"tolerance {float(way['tolerance']):g} px")
    words.append("films with the finding" if way["slice"] == "tp" else "all films that were read")
    if way["cutoff"] not in ("", "nan", "None"):
        words.append(f"blank below p = {way['cutoff']}")
    if way["options"] not in ("", "nan"):
        words.append(f"maps made with {way['options']}")
    return ", ".join(words)


def sentences(summary: pd.DataFrame, chance: pd.DataFrame) -> tuple[str, ...]:
    """What the tables say: for each finding which methods beat every kind of chance and which kinds the others do not.

    The maps without contrast come last.
    """
    told = []
    for key, group in summary.groupby(ABOUT, sort=False):
        about = dict(zip(ABOUT, key, strict=True))
        own = _of(chance, about)
        if len(own):
            told.append(f"{_name(about)}: {_verdict(own, list(dict.fromkeys(group['method'])))}")
    firsts = summary.drop_duplicates([*ABOUT, "method"])
    counts = firsts.groupby("method", sort=False)["n_degenerate"].sum()
    blank = ", ".join(f"{method} {count}" for method, count in counts.items() if count)
    total = int(firsts[["n", "n_nan"]].sum().sum())
    told.append(
        f"Maps without contrast, left out of the means and counted as 0 in mean_zero: {int(counts.sum())} of {total}"
        + (f" ({blank})." if blank else ".")
    )
    return tuple(told)


def _of(chance: pd.DataFrame, about: Mapping[str, str]) -> pd.DataFrame:
    """The chance of one finding and annotator."""
    return chance if chance.empty else chance[(chance[ABOUT] == list(about.values())).all(axis=1)]


def _name(about: Mapping[str, str]) -> str:
    finding, class_name, annotator = (about[name] for name in ABOUT)
    named = finding if finding.casefold() == class_name.casefold() else f"{finding} (class {class_name})"
    return named if annotator in ("", UNION) else f"{named} by {annotator}"


def _method_line(chance: pd.DataFrame, method: str, rows: pd.DataFrame) -> dict[str, str]:
    found, line = rows.set_index("metric"), {"method": method}
    for metric in found.index.intersection(list(SHOWN), sort=False):
        row = found.loc[metric]
        interval = "" if np.isnan(row["ci_low"]) else f" [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
        sides = _sides(chance, method, metric)
        marks = [f"{sign}{len(sides[side])}" for sign, side in (("▲", ABOVE), ("▼", BELOW)) if sides[side]]
        line[metric] = " ".join([f"{_number(row['mean'])}{interval}", *marks])
    return {**line, "degenerate": str(found["n_degenerate"].iloc[0])}


def _sides(chance: pd.DataFrame, method: str, metric: str) -> dict[str, list[str]]:
    """Where a method's metric lies -> the kinds of chance of which that is so."""
    sides: dict[str, list[str]] = {ABOVE: [], BELOW: [], NEITHER: [], UNTESTED: []}
    if chance.empty:
        return sides
    own = chance[(chance["method"] == method) & (chance["metric"] == metric)]
    for against, difference, p in zip(own["against"], own["difference"], own["p_holm"], strict=True):
        if np.isnan(p):
            sides[UNTESTED].append(against)
        elif p >= SIGNIFICANT or difference == 0:
            sides[NEITHER].append(against)
        else:
            sides[ABOVE if difference > 0 else BELOW].append(against)
    return sides


def _verdict(chance: pd.DataFrame, methods: Sequence[str]) -> str:
    best, others = [], []
    for metric, words in SHOWN.items():
        sides = {method: found for method in methods if any((found := _sides(chance, method, metric)).values())}
        if not sides:
            continue
        if not any(found[side] for found in sides.values() for side in (ABOVE, BELOW, NEITHER)):
            best.append(f"{words} cannot be told")
            continue
        alike: dict[str, list[str]] = {}
        for method, found in sides.items():
            lacks = [f"{side} {', '.join(found[side])}" for side in (BELOW, NEITHER, UNTESTED) if found[side]]
            alike.setdefault(", ".join(lacks), []).append(method)
        best.append(f"{words} {', '.join(alike.pop('', [])) or 'none'}")
        if alike:
            told = "; ".join(f"{lacks}: {', '.join(names)}" for lacks, names in alike.items())
            others.append(f" {words[0].upper()}{words[1:]} {told}.")
    kinds = ", ".join(dict.fromkeys(chance["against"]))
    return f"significantly above every kind of chance ({kinds}; Holm): {'; '.join(best)}.{''.join(others)}"


def _levels(rows: pd.DataFrame, column: str) -> dict[str, str]:
    """Metric -> a value that may differ by method."""
    found = {metric: rows.loc[rows["metric"] == metric, column].dropna() for metric in SHOWN}
    return {metric: _span(values, _number) for metric, values in found.items() if len(values)}


def _counted(numbers: pd.Series, noun: str) -> str:
    return f"{_span(numbers, str)} {noun}{'' if numbers.max() == 1 else 's'}"


def _span(values: pd.Series, words: Callable[[float], str]) -> str:
    low, high = words(values.min()), words(values.max())
    return high if low == high else f"{low}–{high}"


def _number(value: float) -> str:
    return "NaN" if pd.isna(value) else f"{value:.3f}"
