"""What happened over the checkpoints: AUC and C-Score, class by class, gold lists, and thresholds.

Tables of the analysis in, sections out.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from cxrkeras.render.panels import MAX_SERIES, Mark, curve_panel
from cxrkeras.report.contents import Contents, RunTables
from cxrkeras.report.panels import curve_sentence, panel_of
from cxrkeras.report.parts import Group, Panel, Section
from cxrkeras.report.tables import table_of
from cxrkeras.report.words import listed
from cxrkeras.stats.jackknife import t_interval

_MACRO = ["epoch", "method", "score", "ci_low", "ci_high", "status"]
_CLASS = [
    "epoch", "method", "class", "score", "ci_low", "ci_high", "baseline", "excess", "excess_stderr", "n_gold",
    "n_patients", "coverage", "n_degenerate", "status",
]  # fmt: skip


def trajectory_section(contents: Contents) -> Section:
    """AUC and macro C-Score per checkpoint, findings marked."""
    lead = (
        "Whether the classifier is right (AUC) and whether its explanations agree across patients (C-Score) at every "
        "stored checkpoint. Dashed line: the boundary between the stages. Rings and wedges: findings. Hollow markers "
        "need care; crosses in the grey strip are undefined."
    )
    return Section("checkpoints", "AUC and C-Score", lead, tuple(_trajectory(contents, run) for run in contents.runs))


def _trajectory(contents: Contents, run: RunTables) -> Group:
    title = contents.heading(run)
    if run.scores.empty:
        return Group(title, missing=run.score_command)
    panels, tables = [], []
    if not run.auc.empty:
        auc = run.auc.assign(method=f"AUC, {contents.split}", score=run.auc["auc"])
        marks = [Mark(epoch) for epoch in _checkpoints(run, "gold_list_collapse", "missed_fall")]
        name = f"auc-{run.name}"
        sentence = curve_sentence("AUC", auc, run.focus)
        figure = curve_panel(
            auc, list(auc["method"].unique()), "AUC per checkpoint", quantity="AUC", history=run.history, marks=marks
        )
        panels.append(panel_of(name, "AUC per checkpoint", figure, sentence))
        tables.append(table_of(name, "AUC per checkpoint", run.auc))
    macro = run.macro[_MACRO]
    name = f"macro-{run.name}"
    marks = [
        Mark(row["checkpoint"], str(row["method"]))
        for row in run.findings.to_dict("records")
        if row["kind"] in ("attribution_collapse", "early_warning", "class_masking")
    ]
    sentence = curve_sentence("Macro C-Score", macro, run.focus)
    figure = curve_panel(
        macro, contents.methods, "Macro C-Score per checkpoint", quantity="C-Score", history=run.history, marks=marks
    )
    panels.append(panel_of(name, "Macro C-Score per checkpoint", figure, sentence))
    tables.append(table_of(name, "Macro C-Score per checkpoint", macro))
    if not run.changes.empty:
        tables.append(table_of(f"changes-{run.name}", "Changes on the common gold list", run.changes))
    return Group(title, _films_note(run), panels=tuple(panels), tables=tuple(tables))


def _films_note(run: RunTables) -> str:
    """Which methods were scored on fewer films than others: their scores stand beside each other, but are not equal."""
    counts = (
        run.class_scores.groupby(["method", "epoch"], sort=False)["n_images"].sum().groupby("method", sort=False).max()
    )
    fewer = [f"{method} on {int(n)}" for method, n in counts.items() if n < counts.max()]
    return f"Not all on the same films: {listed(fewer)}, the others on {int(counts.max())}." if fewer else ""


def class_section(contents: Contents) -> Section:
    """C-Score per checkpoint, one panel a class."""
    groups = []
    for run in contents.runs:
        if run.scores.empty:
            groups.append(Group(contents.heading(run), missing=run.score_command))
            continue
        rows, panels = run.class_scores, []
        for place, name in enumerate(_classes(rows)):
            part = rows[rows["class"] == name]
            sentence = curve_sentence(f"C-Score of {name}", part, run.focus)
            figure = curve_panel(part, contents.methods, f"C-Score of {name}", quantity="C-Score", history=run.history)
            panels.append(panel_of(f"class-{run.name}-{place}-{name}", f"C-Score of {name}", figure, sentence))
        excess = [_excess_panel(contents, run, rows)]
        table = table_of(f"classes-{run.name}", "Every class at every checkpoint", rows, _CLASS)
        groups.append(Group(contents.heading(run), panels=tuple(panels + excess), tables=(table,)))
    lead = "The macro score can stand still while classes move apart. Excess is the score above the baseline."
    return Section("classes", "Class by class", lead, tuple(groups))


def _excess_panel(contents: Contents, run: RunTables, rows: pd.DataFrame) -> Panel:
    """The lowest excess of any class per checkpoint; NaN where a class has none."""
    lowest = []
    for (epoch, method), part in rows.groupby(["epoch", "method"], sort=False):
        undefined = part[part["excess"].isna()]
        row = part.loc[part["excess"].idxmin()] if undefined.empty else undefined.iloc[0]
        # patients of the class alone: fewer than the jackknife of the excess has, so never too narrow
        low, high = t_interval(row["excess"], row["excess_stderr"], int(row["n_patients"]))
        lowest.append(
            {
                "epoch": epoch,
                "method": method,
                "score": row["excess"],
                "ci_low": low,
                "ci_high": high,
                "status": row["status"],
            }
        )
    frame = pd.DataFrame(lowest)
    figure = curve_panel(frame, contents.methods, "Lowest excess of any class", quantity="excess", history=run.history)
    sentence = curve_sentence("Lowest excess of any class", frame, run.focus)
    return panel_of(f"excess-{run.name}", "Lowest excess of any class", figure, sentence)


def coverage_section(contents: Contents) -> Section:
    """The share of each class that is gold, per checkpoint; the panels of all runs side by side."""
    panels, tables, groups = [], [], []
    for run in contents.runs:
        if run.scores.empty:
            groups.append(Group(contents.heading(run), missing=run.score_command))
            continue
        rows = run.class_scores
        # the coverage of the method with the most films is the one of the classifier
        widest = rows.groupby("method", sort=False)["n_images"].sum().idxmax()
        part = rows[rows["method"] == widest]
        nowhere = {"ci_low": float("nan"), "ci_high": float("nan"), "status": "ok"}
        frame = part.assign(method=part["class"], score=part["coverage"], **nowhere)[_MACRO]
        names, title = _classes(rows), f"Coverage, {contents.label(run)}"
        for first in range(0, len(names), MAX_SERIES):
            some = names[first : first + MAX_SERIES]
            shown = frame[frame["method"].isin(some)]
            figure = curve_panel(shown, some, title, quantity="coverage", history=run.history)
            panels.append(
                panel_of(f"coverage-{run.name}-{first}", title, figure, curve_sentence(title, shown, run.focus))
            )
        columns = ["epoch", "class", "n_images", "n_gold", "n_patients", "coverage", "status"]
        caption = f"Gold lists of {contents.label(run)} on the films of {widest}"
        tables.append(table_of(f"coverage-{run.name}", caption, part, columns))
    groups.insert(0, Group(panels=tuple(panels), tables=tuple(tables)))
    lead = "The share of each class's films that are classified correctly with enough confidence to be compared."
    return Section("coverage", "Gold-list coverage", lead, tuple(groups))


def sweep_section(contents: Contents) -> Section:
    """The C-Score against the threshold τ and the emphasis γ."""
    groups = []
    for run in contents.runs:
        title = contents.heading(run)
        if run.sweep.empty:
            groups.append(Group(title, missing=run.score_command))
            continue
        epoch, rows = run.at_focus(run.sweep)
        usual = _usual(run, rows)
        panels = []
        for place, name in enumerate(_classes(rows)):
            part = rows[rows["class"] == name]
            for along, other, word in (("threshold", "gamma", "threshold τ"), ("gamma", "threshold", "emphasis γ")):
                line = part[part[other] == usual[other]]
                if line[along].nunique() < 2:
                    continue
                frame = line.assign(epoch=line[along])[_MACRO]
                headline = f"{name}: C-Score by {word}"
                figure = curve_panel(frame, contents.methods, headline, quantity="C-Score", across=word)
                sentence = curve_sentence(f"C-Score of {name}", frame, usual[along], word)
                panels.append(panel_of(f"sweep-{along}-{run.name}-{place}-{name}", headline, figure, sentence))
        table = table_of(f"sweep-{run.name}", "All thresholds and emphases", run.sweep)
        lead = f"Epoch {epoch}."
        groups.append(Group(title, lead, panels=tuple(panels), tables=(table,)))
    lead = "Whether a conclusion hangs on the constants: the confidence a gold film needs (τ), and the emphasis (γ)."
    return Section("sweep", "Other thresholds", lead, tuple(groups))


def _usual(run: RunTables, rows: pd.DataFrame) -> dict[str, float]:
    """The threshold and emphasis that the scores were made with, or the nearest in the sweep."""
    usual = {}
    for name in ("threshold", "gamma"):
        wanted = float(run.scores[name].iloc[0]) if name in run.scores else float(rows[name].median())
        usual[name] = float(rows[name].iloc[(rows[name] - wanted).abs().argmin()])
    return usual


def _checkpoints(run: RunTables, *kinds: str) -> list[float]:
    if run.findings.empty:
        return []
    return sorted(set(run.findings[run.findings["kind"].isin(kinds)]["checkpoint"].dropna().astype(float)))


def _classes(rows: pd.DataFrame) -> Sequence[str]:
    return list(dict.fromkeys(rows[rows["class"] != "macro"]["class"]))
