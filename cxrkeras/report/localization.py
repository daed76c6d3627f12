"""Where the maps lie against expert marks: intervals beside chance, and the tables they come from.

Tables in, a section out. Knows no run directory and no map.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from cxrkeras.render.panels import interval_panel
from cxrkeras.report.contents import Contents, Group, Localized, Panel, RunTables, Section, Table
from cxrkeras.report.panels import interval_sentence, panel_of
from cxrkeras.report.tables import table_of
from cxrkeras.report.words import number

METRICS = {"iou": "IoU", "hit": "Hit rate", "mass": "Mass inside"}
_ABOUT = ["finding", "class", "annotator"]
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
        "the mark. The dashed line is chance by area: what a map that knows nothing of the film reaches."
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
        _panel(name, rows, key, metric, order)
        for key, rows in summary.groupby(_ABOUT, sort=False, dropna=False)
        for metric in METRICS
        if (rows["metric"] == metric).any()
    ]
    said = tuple((about, told) for about, _, told in (sentence.partition(": ") for sentence in part.sentences))
    return Group(contents.heading(run), " ".join(words), tuple(panels), _tables(name, part), said)


def _panel(name: str, rows: pd.DataFrame, key: Sequence[str], metric: str, order: Sequence[str]) -> Panel:
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
    figure = interval_panel(frame, title, across=count, reference=reference, reference_name="chance by area")
    sentence = interval_sentence(f"{title} ({count})", frame)
    if reference is not None:
        sentence += f" Chance by area {number(reference)}."
    return panel_of(f"localization-{name}-{metric}-{finding}-{class_name}-{annotator}", title, figure, sentence)


def _tables(name: str, part: Localized) -> tuple[Table, ...]:
    return tuple(
        table_of(f"localization-{kind}-{name}", _TITLES[kind], table, columns)
        for kind, columns in _SHOWN.items()
        if len(table := getattr(part, kind))
    )
