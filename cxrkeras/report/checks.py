"""Whether the maps can be trusted beyond agreeing: drift, pair similarities, agreement of methods, validity.

Tables in, sections out.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from cxrkeras.render.panels import curve_panel, histogram_panel, interval_panel, matrix_panel
from cxrkeras.report.contents import Contents, RunTables
from cxrkeras.report.panels import curve_sentence, interval_sentence, panel_of
from cxrkeras.report.parts import Group, Panel, Section
from cxrkeras.report.tables import table_of
from cxrkeras.report.words import listed, number

_METRICS = {
    "displacement": "distance of the centres of mass (share of the diagonal)",
    "peak_displacement": "distance of the peaks (share of the diagonal)",
    "iou": "IoU of the strongest fifth of the cells",
    "correlation": "correlation of the maps",
    "concentration_change": "change of concentration",
    "ssim": "structural similarity",
}


def drift_section(contents: Contents) -> Section:
    """How maps of the same films changed between two checkpoints."""
    groups = []
    drift, floor = _of_all_runs(contents, "drift"), _of_all_runs(contents, "drift_floor")
    for pair in _pairs(drift):
        rows, beside = _between(drift, pair), _between(floor, pair)
        between = f"{pair[0]}-{pair[1]}"
        tables = [table_of(f"drift-{between}", "Drift by method and class", rows)]
        if len(beside):
            tables.append(table_of(f"floor-{between}", "Drift beside the difference between two seeds", beside))
        title = f"From epoch {pair[0]} to epoch {pair[1]}"
        panels = tuple(_drift_panels(contents, rows, pair))
        groups.append(Group(title, _floor_words(beside), panels=panels, tables=tuple(tables)))
    for run in contents.runs:
        if run.drift.empty:
            title = contents.heading(run)
            groups.append(Group(title, missing=run.command("drift")))
    if contents.kind == "study" and not contents.reversals.empty:
        table = table_of("reversals", "Rankings compared between backbones and methods", contents.reversals)
        groups.append(Group("Do rankings reverse?", lead=_reversal_words(contents.reversals), tables=(table,)))
    lead = (
        "Films classified correctly at both checkpoints. Displacement 0 and IoU or correlation 1 mean that nothing "
        "moved. Intervals redraw patients."
    )
    return Section("drift", "Semantic drift", lead, tuple(groups))


def _of_all_runs(contents: Contents, name: str) -> pd.DataFrame:
    parts = [getattr(run, name).assign(run=contents.label(run)) for run in contents.runs if len(getattr(run, name))]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"from": [], "to": []})


def _pairs(table: pd.DataFrame) -> list[tuple[int, int]]:
    return list(dict.fromkeys((int(first), int(last)) for first, last in zip(table["from"], table["to"], strict=True)))


def _between(table: pd.DataFrame, pair: tuple[int, int]) -> pd.DataFrame:
    return table[(table["from"] == pair[0]) & (table["to"] == pair[1])].reset_index(drop=True)


def _floor_words(beside: pd.DataFrame) -> str:
    """How much of the drift is more than training again would do."""
    if beside.empty:
        return ""
    rows = beside[beside["class"] == "all"]
    above = rows[rows["above"] == "yes"]
    when = {"from": "before", "to": "after"}
    names = [f"{row.method} {row.metric.replace('_', ' ')} ({when[row.at]})" for row in above.itertuples()]
    told = f": {listed(names)}" if names else ""
    return f"{len(above)} of {len(rows)} comparisons lie above the difference between two seeds{told}."


def _drift_panels(contents: Contents, rows: pd.DataFrame, pair: tuple[int, int]) -> list[Panel]:
    panels = []
    several = rows["run"].nunique() > 1
    for metric, words in _METRICS.items():
        part = rows[(rows["metric"] == metric) & (rows["class"] == "all")]
        if part.empty:
            continue
        names = part["method"] + (" · " + part["run"] if several else "")
        frame = pd.DataFrame(
            {
                "name": names,
                "value": part["estimate"],
                "low": part["ci_low"],
                "high": part["ci_high"],
                "status": part["status"],
                "place": [contents.place(method) for method in part["method"]],
            }
        )
        chance = rows[(rows["metric"] == "iou_chance") & (rows["class"] == "all")]["estimate"].dropna()
        reference = float(chance.mean()) if metric == "iou" and len(chance) else None
        title = "IoU" if metric == "iou" else metric.replace("_", " ").capitalize()
        figure = interval_panel(frame, title, across=words, reference=reference, reference_name="chance")
        sentence = interval_sentence(f"{title} ({words})", frame)
        if reference is not None:
            sentence += f" Chance {number(reference)}."
        panels.append(panel_of(f"drift-{metric}-{pair[0]}-{pair[1]}", title, figure, sentence))
    return panels


def _reversal_words(table: pd.DataFrame) -> str:
    turned = table[table["reversed"] == "yes"]
    if turned.empty:
        return f"None of the {len(table)} comparisons reverses with both intervals excluding 0."
    words = [
        f"{row.metric.replace('_', ' ')} ({row['class']}): {row.first} against {row.second} in {row.within_a} and "
        f"{row.within_b}"
        for _, row in turned.iterrows()
    ]
    return f"{len(turned)} of {len(table)} comparisons reverse: {listed(words)}."


def similarity_section(contents: Contents) -> Section:
    """How alike pairs of maps are, within a class and between classes."""
    groups = []
    for run in contents.runs:
        title = contents.heading(run)
        if run.similarity.empty:
            groups.append(Group(title, missing=run.score_command))
            continue
        epoch, rows = run.at_focus(run.similarity)
        panels = []
        for method in dict.fromkeys(rows["method"]):
            part = rows[rows["method"] == method]
            shares = part.groupby(["pairs", "low", "high"], as_index=False)["share"].mean()
            title_of = f"{method}: similarity of pairs"
            figure = histogram_panel(shares, title_of, contents.place(method), across="soft IoU of a pair")
            name = f"similarity-{run.name}-{method}"
            panels.append(panel_of(name, title_of, figure, _similarity_words(method, shares)))
        table = table_of(f"similarity-{run.name}", "Shares of the pair weight", run.similarity)
        groups.append(Group(title, f"Epoch {epoch}, mean over the classes.", tuple(panels), (table,)))
    lead = (
        "A class-specific method separates the two: pairs of one class (filled) are more alike than pairs of different "
        "classes (outline). Where they coincide, consistency says nothing about the class."
    )
    return Section("similarity", "Similarity of pairs", lead, tuple(groups))


def _similarity_words(method: str, shares: pd.DataFrame) -> str:
    words = []
    for pairs in ("within", "between"):
        part = shares[(shares["pairs"] == pairs) & shares["share"].notna()]
        if part.empty or not part["share"].sum():
            words.append(f"{pairs} classes undefined (no pairs)")
            continue
        mean = float(np.average((part["low"] + part["high"]) / 2, weights=part["share"]))
        words.append(f"{number(mean, digits=2)} {'within a class' if pairs == 'within' else 'between classes'}")
    return f"{method}: mean similarity by bins {listed(words)}."


def agreement_section(contents: Contents) -> Section:
    """How alike the methods' maps of the same films are."""
    groups = []
    for run in contents.runs:
        title = contents.heading(run)
        if run.agreement.empty:
            groups.append(Group(title, missing=run.score_command))
            continue
        epoch, rows = run.at_focus(run.agreement)
        names = [m for m in contents.methods if m in set(rows["first"]) | set(rows["second"])]
        matrix = np.full((len(names), len(names)), np.nan)
        np.fill_diagonal(matrix, 1.0)
        for row in rows.to_dict("records"):
            if row["first"] in names and row["second"] in names:
                i, j = names.index(row["first"]), names.index(row["second"])
                matrix[i, j] = matrix[j, i] = row["correlation"]
        figure = matrix_panel(names, matrix, "Median correlation of the maps of a film")
        panel = panel_of(
            f"agreement-{run.name}", "Agreement of methods", figure, _agreement_words(rows.dropna(subset="correlation"))
        )
        table = table_of(f"agreement-{run.name}", "Agreement of every two methods", run.agreement)
        groups.append(Group(title, f"Epoch {epoch}.", (panel,), (table,)))
    lead = "Methods that agree may be one piece of evidence counted twice; methods that do not cannot all be right."
    return Section("agreement", "Agreement of methods", lead, tuple(groups))


def _agreement_words(known: pd.DataFrame) -> str:
    if known.empty:
        return "No two methods could be compared."
    low, high = known.loc[known["correlation"].idxmin()], known.loc[known["correlation"].idxmax()]
    return (
        f"Most alike: {high['first']} and {high['second']} ({number(high['correlation'], digits=2)}); "
        f"least: {low['first']} and {low['second']} ({number(low['correlation'], digits=2)})."
    )


def validity_section(contents: Contents) -> Section:
    """Randomisation and insertion/deletion, beside consistency."""
    groups = []
    for run in contents.runs:
        title = contents.heading(run)
        if run.randomisation.empty and run.perturbation.empty:
            groups.append(Group(title, missing=run.command("validity")))
            continue
        panels, tables = [], []
        if not run.randomisation.empty:
            panels.append(_randomisation_panel(contents, run))
            tables.append(table_of(f"randomisation-{run.name}", "Randomisation by stage", run.randomisation))
        if not run.perturbation.empty:
            panels += [_perturbation_panel(contents, run, metric) for metric in ("insertion", "deletion")]
            tables.append(table_of(f"perturbation-{run.name}", "Insertion and deletion", run.perturbation))
        shown = [run.checked(table) for table in (run.randomisation, run.perturbation) if not table.empty]
        epochs = sorted({int(epoch) for table in shown for epoch in table["epoch"]})
        where = listed([str(epoch) for epoch in epochs])
        lead = f"Checked at epoch {where}, each method at its recommended checkpoint where it has one."
        groups.append(Group(title, lead, tuple(p for p in panels if p), tuple(tables)))
    lead = (
        "A method whose maps survive the redrawing of the weights explains the film, not the classifier. Insertion "
        "should lie above chance and deletion below. A method that passes is only not refuted."
    )
    return Section("validity", "Validity beside consistency", lead, tuple(groups))


def _randomisation_panel(contents: Contents, run: RunTables) -> Panel:
    table = run.checked(run.randomisation)
    stages = list(dict.fromkeys(table["stage"]))
    frame = pd.DataFrame(
        {
            "epoch": [stages.index(stage) for stage in table["stage"]],
            "method": table["method"],
            "score": table["correlation"],
            # its limits are quantiles over films, not an interval of the median; the table has them
            "ci_low": float("nan"),
            "ci_high": float("nan"),
            "status": ["degenerate" if np.isnan(value) else "ok" for value in table["correlation"]],
        }
    )
    title = "Median correlation with the trained maps"
    order = contents.methods + [m for m in dict.fromkeys(frame["method"]) if m not in contents.methods]
    ticks = [(place, str(place + 1)) for place in range(len(stages))]
    figure = curve_panel(frame, order, title, quantity="correlation", across="stages redrawn, head first", ticks=ticks)
    shown = frame.assign(epoch=frame["epoch"] + 1)
    sentence = curve_sentence(title, shown, len(stages), "stage")
    verdicts = table.groupby("method", sort=False)["verdict"].last()
    sentence += " Verdict after the last stage: " + listed([f"{m} {v}" for m, v in verdicts.items()]) + "."
    sentence += " Stages: " + listed([f"{place + 1} {stage}" for place, stage in enumerate(stages)]) + "."
    return panel_of(f"randomisation-{run.name}", title, figure, sentence)


def _perturbation_panel(contents: Contents, run: RunTables, metric: str) -> Panel | None:
    part = run.checked(run.perturbation[run.perturbation["metric"] == metric])
    if part.empty:
        return None
    frame = pd.DataFrame(
        {
            "name": part["method"],
            "value": part["difference"],
            "low": part["difference_low"],
            "high": part["difference_high"],
            "status": part["status"],
            "place": [contents.place(method) for method in part["method"]],
        }
    )
    better = "higher is better" if metric == "insertion" else "lower is better"
    title = f"{metric.capitalize()} AUC above chance"
    figure = interval_panel(frame, title, across=f"difference to random maps ({better})", reference=0.0)
    return panel_of(f"{metric}-{run.name}", title, figure, interval_sentence(f"{title} ({better})", frame))
