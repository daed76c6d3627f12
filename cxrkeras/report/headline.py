"""The first things a reader sees: the table of recommended checkpoints, and the findings as sentences.

Reads tables; decides nothing that the analysis has not decided.
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from cxrkeras.report.contents import Cell, Contents, Group, RunTables, Section, Table
from cxrkeras.report.tables import table_of
from cxrkeras.report.words import KINDS, bounds, is_undefined, number, plain_reason

_OUTCOMES = {"hit": "borne out", "pending": "not yet decided", "false_alarm": "not borne out", "miss": "missed"}


def headline_section(contents: Contents) -> Section:
    """Backbone × method at the recommended checkpoint."""
    frame = headline_frame(contents)
    lead = (
        f"Each method at the checkpoint recommended for it, measured on the split “{contents.split}”. "
        "A method without a recommendable checkpoint is listed with the reason."
    )
    missing = "" if len(frame) else contents.runs[0].command("score", "--epoch all")
    tables = (_headline_table(frame, contents),) if len(frame) else ()
    return Section("glance", "At a glance", lead, (Group(lead=_grid_note(frame), tables=tables, missing=missing),))


def headline_frame(contents: Contents) -> pd.DataFrame:
    """A row a run and method: what is recommended, why, and the numbers there; NaN where undefined."""
    return pd.DataFrame([row for run in contents.runs for row in _rows(run)])


def _rows(run: RunTables) -> list[dict[str, Any]]:
    recommended = {row["method"]: row for row in run.recommendation.to_dict("records")}
    rows = []
    for method in run.methods:
        found = recommended.get(method, {})
        epoch = pd.to_numeric(found.get("checkpoint"), errors="coerce")
        named = found.get("status") == "recommended" and not is_undefined(epoch)
        macro = _macro_at(run, method, epoch) if named else {}
        auc = _auc_at(run, epoch) if named else {}
        rows.append(
            {
                "backbone": run.backbone,
                "seed": run.seed,
                "method": method,
                "checkpoint": int(epoch) if named else pd.NA,
                "auc": found.get("auc", float("nan")),
                "auc_low": auc.get("ci_low", float("nan")),
                "auc_high": auc.get("ci_high", float("nan")),
                "macro": found.get("macro", float("nan")),
                "macro_low": macro.get("ci_low", float("nan")),
                "macro_high": macro.get("ci_high", float("nan")),
                "min_excess": found.get("min_excess", float("nan")),
                "min_excess_stderr": found.get("min_excess_stderr", float("nan")),
                "min_coverage": found.get("min_coverage", float("nan")),
                "native_grid": _grid(run, method),
                "randomisation": _verdict(run, method),
                "recommendation": found.get("status", "not analysed"),
                "reason": _reason(found),
            }
        )
    return rows


def _headline_table(frame: pd.DataFrame, contents: Contents) -> Table:
    seeded, several = frame["seed"].nunique() > 1, len(contents.runs) > 1
    columns = [
        *(["backbone"] if several else []), *(["seed"] if seeded else []), "method", "checkpoint", "AUC",
        "macro C-Score", "lowest class excess", "lowest coverage", "grid", "randomisation", "why",
    ]  # fmt: skip
    rows = []
    for row in frame.to_dict("records"):
        values = [
            *([Cell(row["backbone"], "name")] if several else []),
            *([Cell(str(row["seed"]), "number")] if seeded else []),
            Cell(row["method"], "name"),
            *_measured(row),
            Cell(row["native_grid"].replace("x", " × "), "number"),
            Cell(row["randomisation"], {"unchanged": "alert", "changes": "good"}.get(row["randomisation"], "")),
            Cell(row["reason"]),
        ]
        rows.append(tuple(values))
    caption = f"Recommended checkpoints, split “{contents.split}”; 95 % intervals in brackets"
    return Table("headline", caption, tuple(columns), tuple(rows), frame, open=True)


def _measured(row: dict[str, Any]) -> list[Cell]:
    """Checkpoint, AUC, macro C-Score, lowest excess, lowest coverage; where none is recommended they share a cell."""
    if row["recommendation"] != "recommended":
        return [Cell("none", "alert"), Cell("undefined (no checkpoint is recommended)", "undefined", span=4)]
    spread = row["min_excess_stderr"]
    return [
        Cell(f"epoch {row['checkpoint']}", "number"),
        _number(row["auc"], bounds(row["auc_low"], row["auc_high"])),
        _number(row["macro"], bounds(row["macro_low"], row["macro_high"])),
        _number(row["min_excess"], "" if is_undefined(spread) else f"± {number(spread)}"),
        _number(row["min_coverage"], digits=2),
    ]


def _number(value: Any, below: str = "", digits: int = 3) -> Cell:
    return Cell(number(value, digits=digits), "undefined" if is_undefined(value) else "number", below)


def _grid_note(frame: pd.DataFrame) -> str:
    if frame.empty or frame["native_grid"].nunique() < 2:
        return ""
    grids = ", ".join(sorted({grid.replace("x", " × ") for grid in frame["native_grid"]}))
    return f"The native grids differ ({grids}): C-Scores of different grids are not comparable."


def _macro_at(run: RunTables, method: str, epoch: float) -> dict[str, Any]:
    macro = run.macro
    rows = macro[(macro["method"] == method) & (macro["epoch"] == epoch)].to_dict("records")
    return rows[0] if rows else {}


def _auc_at(run: RunTables, epoch: float) -> dict[str, Any]:
    rows = run.auc[run.auc["epoch"] == epoch].to_dict("records") if not run.auc.empty else []
    return rows[0] if rows else {}


def _grid(run: RunTables, method: str) -> str:
    rows = run.scores[run.scores["method"] == method]
    known = rows["native_grid"].dropna() if "native_grid" in rows else pd.Series(dtype=str)
    return str(known.iloc[0]) if len(known) else "unknown"


def _verdict(run: RunTables, method: str) -> str:
    """What the whole cascade says: its last stage redraws every weight."""
    if run.randomisation.empty:
        return "not checked"
    checked = run.checked(run.randomisation)
    rows = checked[checked["method"] == method]
    return str(rows["verdict"].iloc[-1]) if len(rows) else "not checked"


def _reason(found: dict[str, Any]) -> str:
    if not found:
        return "not in the analysis, which needs scores at every checkpoint"
    parts = [str(found.get(name)) for name in ("reason", "note") if not is_undefined(found.get(name))]
    return "; ".join(part for part in parts if part)


def findings_section(contents: Contents) -> Section:
    """What the analysis found, as sentences; findings first, information after."""
    groups = []
    for run in contents.runs:
        title = contents.label(run) if len(contents.runs) > 1 else ""
        if run.scores.empty:
            groups.append(Group(title, missing=run.command("score", "--epoch all")))
            continue
        if run.findings.empty:
            groups.append(Group(title, lead=f"Nothing was found. {_comparisons(run)}".strip()))
            continue
        order = {kind: place for place, kind in enumerate(KINDS)}
        found = run.findings.assign(_order=run.findings["kind"].map(order).fillna(len(order)))
        # a class gap is information and comes last
        found = found.sort_values(["_order", "checkpoint"], kind="stable", key=_information_last)
        sentences = tuple((_kind(row), str(row["sentence"])) for row in found.to_dict("records"))
        table = table_of(f"findings-{run.name}", "Findings with their evidence", _readable(run.findings))
        groups.append(Group(title, _comparisons(run), sentences=sentences, tables=(table,)))
    lead = "Where accuracy and consistency part ways. A difference counts only beyond three standard errors."
    return Section("findings", "Findings", lead, tuple(groups))


def _comparisons(run: RunTables) -> str:
    """How many differences were tested: the more, the likelier one stands out by chance."""
    tested = int(run.changes["stderr"].notna().sum()) if "stderr" in run.changes else 0
    return f"{tested} differences of consistency between checkpoints were tested." if tested else ""


def _information_last(column: pd.Series) -> pd.Series:
    return column.replace(list(KINDS).index("class_gap"), len(KINDS) + 1) if column.name == "_order" else column


def _kind(row: dict[str, Any]) -> str:
    name = KINDS.get(row["kind"], plain_reason(row["kind"]))
    outcome = "" if is_undefined(row.get("outcome")) else str(row["outcome"])
    return f"{name}: {_OUTCOMES.get(outcome, outcome)}" if outcome else name


def _readable(findings: pd.DataFrame) -> pd.DataFrame:
    return findings.assign(evidence=[_evidence(value) for value in findings["evidence"]])


def _evidence(text: Any) -> str:
    try:
        values = json.loads(text)
    except (TypeError, ValueError):
        return "" if is_undefined(text) else str(text)
    if not isinstance(values, dict):
        return str(values)
    return ", ".join(f"{key.replace('_', ' ')} {_short(value)}" for key, value in values.items())


def _short(value: Any) -> str:
    return number(value) if isinstance(value, float) else "undefined" if value is None else str(value)
