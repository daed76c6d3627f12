"""Where the maps lie against expert marks: intervals beside chance, and the tables they come from.

Tables in, a section out. Knows no run directory and no map.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from cxrkeras.render.panels import interval_panel
from cxrkeras.report.contents import Contents, Localized, RunTables
from cxrkeras.report.panels import interval_sentence, panel_of
from cxrkeras.report.parts import Group, Panel, Section, Table
from cxrkeras.report.tables import table_of
from cxrkeras.report.words import number

METRICS = {"iou": "IoU", "hit": "Hit rate", "mass": "Mass inside"}
_ABOUT, AREA = ["finding", "class", "annotator"], "area"
_SHOWN = {
    "summary": [
        *_ABOUT, "method", "metric", "mean", "ci_low", "ci_high", "chance", "mean_zero", "human", "percent_decrease",
        "n", "n_patients", "n_nan", "n_degenerate", "status",
    ],
    "chance": [
        *_ABOUT, "method", "metric", "against", "chance", "difference", "ci_low", "ci_high", "p_holm", "above", "n",
        "n_patients", "status",
    ],
    "comparisons": [
        *_ABOUT, "method", "metric", "first", "second", "difference", "ci_low", "ci_high", "p_holm", "n", "n_patients",
        "status",
    ],
    "terciles": [
        *_ABOUT, "method", "metric", "tercile", "area_low", "area_high", "mean", "ci_low", "ci_high", "n", "n_patients",
        "status",
    ],
    "readers": ["finding", "first", "second", "iou", "ci_low", "ci_high", "n", "n_patients", "status"],
}  # fmt: skip
_TITLES = {
    "summary": "Localization by finding, method and metric",
    "chance": "Difference to chance, on the same films",
    "comparisons": "Differences between methods or runs, on the same films",
    "terciles": "IoU by size of the mark",
    "readers": "How far the annotators agree",
}


def localization_section(contents: Contents) -> Section:
    """Where the maps lie against expert marks, a group per run, checkpoint and way of scoring."""
    groups = []
    for run in contents.runs:
        if not run.localized:
            groups.append(Group(contents.heading(run), missing=run.command("localize", "--boxes FILE")))
            continue
        epochs = {part.epoch for part in run.localized}
        epoch = run.focus if run.focus in epochs else max(epochs)
        shown = [part for part in run.localized if part.epoch == epoch]
        others = ", ".join(map(str, sorted(epochs - {epoch})))
        groups += [_group(contents, run, part, place, others) for place, part in enumerate(shown)]
    lead = (
        "IoU is of the thresholded map and the mark, the hit rate is of the map's peak, mass is the map's share inside "
        "the mark. The dashed line is chance by area: what a map that knows nothing of the film reaches. Grey are the "
        "other kinds of chance: a Gaussian in the middle, the mean mask of the other patients, and networks of random "
        "weights, as a range over the methods."
    )
    return Section("localization", "Localization", lead, tuple(groups))


def _group(contents: Contents, run: RunTables, part: Localized, place: int, others: str) -> Group:
    name = f"{run.name}-{part.epoch}" + (f"-{place + 1}" if place else "")
    summary = part.summary
    redrawn = f"redraw {summary['bootstrap'].iloc[0]}s" if "bootstrap" in summary else "redraw patients"
    words = [f"Epoch {part.epoch}, {part.way}. Intervals {redrawn}."]
    if not part.trained:
        words.append("The head of this run was never trained: its maps explain no learned class.")
    if others:
        words.append(f"Also measured at epoch {others}.")
    order = [*contents.methods, *(m for m in dict.fromkeys(summary["method"]) if m not in contents.methods)]
    panels = [
        _panel(name, rows, _levels(part.chance, key, metric), key, metric, order)
        for key, rows in summary.groupby(_ABOUT, sort=False, dropna=False)
        for metric in METRICS
        if (rows["metric"] == metric).any()
    ]
    said = tuple((about, told) for about, _, told in (sentence.partition(": ") for sentence in part.sentences))
    said = tuple((about, told) for about, told in said if not told.startswith("0 of "))
    return Group(contents.heading(run), " ".join(words), tuple(panels), _tables(name, part), said)


def _levels(chance: pd.DataFrame, key: Sequence[str], metric: str) -> pd.DataFrame:
    """Each kind of chance but the area, `name, value, low, high`: its mean and range over the methods."""
    empty = pd.DataFrame(columns=["name", "value", "low", "high"])
    if chance.empty:
        return empty
    own = chance[(chance[_ABOUT] == list(key)).all(axis=1) & (chance["metric"] == metric)]
    own = own[(own["against"] != AREA) & own["chance"].notna()]
    rows = [
        {"name": against, "value": values.mean(), "low": values.min(), "high": values.max()}
        for against, values in own.groupby("against", sort=False)["chance"]
    ]
    return pd.DataFrame(rows) if rows else empty


def _panel(
    name: str, rows: pd.DataFrame, levels: pd.DataFrame, key: Sequence[str], metric: str, order: Sequence[str]
) -> Panel:
    finding, class_name, annotator = map(str, key)
    rows = rows[rows["metric"] == metric]
    frame = pd.DataFrame(
        {
            "name": rows["method"],
            "value": rows["mean"],
            "low": rows["ci_low"],
            "high": rows["ci_high"],
            "status": rows["status"],
            "place": [order.index(method) for method in rows["method"]],
        }
    )
    who = f", {annotator}" if annotator not in ("", "union", "nan") else ""
    as_class = "" if finding.casefold() == class_name.casefold() else f" as {class_name}"
    title = f"{METRICS[metric]}: {finding}{as_class}{who}"
    chance = rows["chance"].dropna()
    reference = float(chance.mean()) if len(chance) else None
    count = f"{int(rows['n'].max())} films, {int(rows['n_patients'].max())} patients"
    drawn = pd.concat([frame, levels.assign(status="ok", place=-1)], ignore_index=True) if len(levels) else frame
    figure = interval_panel(drawn, title, across=count, reference=reference, reference_name="chance by area")
    sentence = interval_sentence(f"{title} ({count})", frame)
    if reference is not None:
        others = [f"{row.name} {_between(row.low, row.high)}" for row in levels.itertuples(index=False)]
        sentence += f" Chance by {', '.join([f'area {number(reference)}', *others])}."
    return panel_of(f"localization-{name}-{metric}-{finding}-{class_name}-{annotator}", title, figure, sentence)


def _between(low: float, high: float) -> str:
    return number(low) if number(low) == number(high) else f"{number(low)} to {number(high)}"


def _tables(name: str, part: Localized) -> tuple[Table, ...]:
    return tuple(
        table_of(f"localization-{kind}-{name}", _TITLES[kind], table, columns)
        for kind, columns in _SHOWN.items()
        if len(table := getattr(part, kind))
    )
