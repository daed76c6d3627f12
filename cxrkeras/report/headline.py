"""The first things a reader sees: the table of recommended checkpoints, and the findings as sentences.

Reads tables; decides nothing that the analysis has not decided.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pandas as pd

from cxrkeras.report.contents import Contents, RunTables
from cxrkeras.report.parts import Cell, Group, Section, Table
from cxrkeras.report.tables import table_of
from cxrkeras.report.words import KINDS, bounds, is_undefined, number, plain_reason

NAN = float("nan")
_OUTCOMES = {"hit": "borne out", "pending": "not yet decided", "false_alarm": "not borne out", "miss": "missed"}


def headline_section(contents: Contents) -> Section:
    """Backbone × method at the recommended checkpoint."""
    frame = headline_frame(contents)
    lead = (
        f"Each method at the checkpoint recommended for it, measured on the split “{contents.split}”. "
        "A method without one stands at the run's best AUC, in grey, with the reason."
    )
    missing = "" if len(frame) else contents.runs[0].score_command
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
        epoch = int(epoch) if named else run.best_auc
        macro, auc = _macro_at(run, method, epoch), _auc_at(run, epoch)
        rows.append(
            {
                "backbone": run.backbone,
                "variant": run.variant,
                "seed": run.seed,
                "method": method,
                "checkpoint": pd.NA if epoch is None else epoch,
                "recommendation": found.get("status", "not analysed"),
                "auc": auc.get("auc", NAN),
                "auc_low": auc.get("ci_low", NAN),
                "auc_high": auc.get("ci_high", NAN),
                "macro": macro.get("score", NAN),
                "macro_low": macro.get("ci_low", NAN),
                "macro_high": macro.get("ci_high", NAN),
                "status": macro.get("status", ""),
                **_worst_class(run, method, epoch),
                "native_grid": _grid(run, method),
                "n_films": _films(run, method, epoch),
                "randomisation": _verdict(run, method),
                "reason": _reason(found),
            }
        )
    return rows


def _worst_class(run: RunTables, method: str, epoch: int | None) -> dict[str, float]:
    """Lowest excess and lowest coverage of any class at a checkpoint; NaN where one class has none."""
    classes = run.class_scores
    here = classes[(classes["method"] == method) & (classes["epoch"] == epoch)]
    excess = here["excess"].astype(float)
    worst = None if here.empty or excess.isna().any() else excess.idxmin()
    return {
        "min_excess": NAN if worst is None else float(excess[worst]),
        "min_excess_stderr": NAN if worst is None else float(here.loc[worst, "excess_stderr"]),
        "min_coverage": float(here["coverage"].min(skipna=False)) if len(here) else NAN,
    }


def _films(run: RunTables, method: str, epoch: int | None) -> int:
    """Films a method was scored on at a checkpoint."""
    classes = run.class_scores
    return int(classes[(classes["method"] == method) & (classes["epoch"] == epoch)]["n_images"].sum())


def _headline_table(frame: pd.DataFrame, contents: Contents) -> Table:
    seeded, several = frame["seed"].nunique() > 1, len(contents.runs) > 1
    columns = [
        *(["backbone"] if several else []), *(["seed"] if seeded else []), "method", "checkpoint", "AUC",
        "macro C-Score", "lowest class excess", "lowest coverage", "grid", "randomisation", "why",
    ]  # fmt: skip
    rows, most = [], int(frame["n_films"].max())
    for row in frame.to_dict("records"):
        values = [
            *([Cell(row["backbone"], "name", row["variant"])] if several else []),
            *([Cell(str(row["seed"]), "number")] if seeded else []),
            Cell(row["method"], "name", f"{row['n_films']} of {most} films" if row["n_films"] < most else ""),
            *_measured(row),
            Cell(row["native_grid"].replace("x", " × "), "number"),
            Cell(row["randomisation"], {"unchanged": "alert", "changes": "good"}.get(row["randomisation"], "")),
            _why(row),
        ]
        rows.append(tuple(values))
    caption = f"Every method at its checkpoint, split “{contents.split}”; in brackets 95 % intervals, ± standard error"
    return Table("headline", caption, tuple(columns), tuple(rows), frame, open=True)


def _measured(row: dict[str, Any]) -> list[Cell]:
    """Checkpoint, AUC, macro C-Score, lowest excess, lowest coverage; grey where the checkpoint is not recommended."""
    named, spread = row["recommendation"] == "recommended", row["min_excess_stderr"]
    epoch = "none" if is_undefined(row["checkpoint"]) else f"epoch {row['checkpoint']}"
    cells = [
        _number(row["auc"], bounds(row["auc_low"], row["auc_high"])),
        _number(row["macro"], bounds(row["macro_low"], row["macro_high"]), reason=row["status"]),
        _number(row["min_excess"], "" if is_undefined(spread) else f"± {number(spread)}", reason=row["status"]),
        _number(row["min_coverage"], digits=2),
    ]
    if named:
        return [Cell(epoch, "number"), *cells]
    shown = "" if is_undefined(row["checkpoint"]) else f"shown: {epoch}, the best AUC"
    return [Cell("none", "alert", shown), *(replace(one, look=f"{one.look} quiet") for one in cells)]


def _why(row: dict[str, Any]) -> Cell:
    """The reason; where no checkpoint is recommended, what speaks against the one shown, and the others on demand."""
    parts = [part for part in row["reason"].split("; ") if part]
    if row["recommendation"] == "recommended" or len(parts) < 2:
        return Cell(row["reason"])
    shown = next((part for part in parts if part.startswith(f"epoch {row['checkpoint']}:")), parts[0])
    return Cell(shown, more=tuple(part for part in parts if part != shown))


def _number(value: Any, below: str = "", digits: int = 3, reason: Any = "") -> Cell:
    return Cell(number(value, reason, digits), "undefined" if is_undefined(value) else "number", below)


def _grid_note(frame: pd.DataFrame) -> str:
    if frame.empty or frame["native_grid"].nunique() < 2:
        return ""
    grids = ", ".join(sorted({grid.replace("x", " × ") for grid in frame["native_grid"]}))
    return f"The native grids differ ({grids}): C-Scores of different grids are not comparable."


def _macro_at(run: RunTables, method: str, epoch: int | None) -> dict[str, Any]:
    macro = run.macro
    rows = macro[(macro["method"] == method) & (macro["epoch"] == epoch)].to_dict("records")
    return rows[0] if rows else {}


def _auc_at(run: RunTables, epoch: int | None) -> dict[str, Any]:
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
        title = contents.heading(run)
        if run.scores.empty:
            groups.append(Group(title, missing=run.score_command))
            continue
        if run.findings.empty:
            nothing = "Nothing was found, but no difference between checkpoints could be tested."
            tested = _comparisons(run)
            groups.append(Group(title, lead=f"Nothing was found. {tested}" if tested else nothing))
            continue
        informs = run.findings["kind"] == "class_gap"
        order = {kind: place for place, kind in enumerate(KINDS)}
        found = run.findings[~informs]
        found = found.assign(_order=found["kind"].map(order)).sort_values(["_order", "checkpoint"], kind="stable")
        sentences = [(_kind(row), str(row["sentence"])) for row in found.to_dict("records")]
        sentences += [_widest_gap(run.findings[informs])] if informs.any() else []
        table = table_of(f"findings-{run.name}", "Findings with their evidence", _readable(run.findings))
        groups.append(Group(title, _comparisons(run), sentences=tuple(sentences), tables=(table,)))
    lead = "Where accuracy and consistency part ways. A difference counts only beyond three standard errors."
    return Section("findings", "Findings", lead, tuple(groups))


def _comparisons(run: RunTables) -> str:
    """How many differences were tested: the more, the likelier one stands out by chance."""
    tested = int(run.changes["stderr"].notna().sum()) if "stderr" in run.changes else 0
    return f"Differences of consistency between checkpoints that were tested: {tested}." if tested else ""


def _widest_gap(gaps: pd.DataFrame) -> tuple[str, str]:
    """All differences between classes as one sentence; the table has each."""
    widest = gaps.loc[gaps["evidence"].map(_gap).idxmax()]
    rest = f" The widest of {len(gaps)}; the table has the others." if len(gaps) > 1 else ""
    return KINDS["class_gap"], f"{widest['sentence']}{rest}"


def _gap(evidence: Any) -> float:
    """How far two classes are apart; a row without the number comes last."""
    try:
        return float(json.loads(evidence)["gap"])
    except (TypeError, ValueError, KeyError):
        return -1.0


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
