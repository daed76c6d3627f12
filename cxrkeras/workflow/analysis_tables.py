"""The tables of an analysis: columns of what is stored, and the shorter ones a reader is shown.

From records of `consistency` to data frames and back to words; computes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.consistency.dissociation import OK, THRESHOLDS, Dissociation, Thresholds
from cxrkeras.consistency.findings import INFORMATION, MACRO, Finding, comparisons_sentence
from cxrkeras.consistency.history import History
from cxrkeras.consistency.recommendation import Recommendation, Standing, standing
from cxrkeras.tables import is_count

CHANGE_COLUMNS = [
    "method", "from_epoch", "to_epoch", "class", "score_from", "score_to", "change", "stderr", "n_films", "n_patients",
    "status",
]  # fmt: skip
FINDING_COLUMNS = ["kind", "run", "method", "class", "checkpoint", "outcome", "sentence", "evidence"]
RECOMMENDATION_COLUMNS = [
    "method", "checkpoint", "status", "reason", "chosen_on", "measured_on", "note", "auc", "min_excess",
    "min_excess_stderr", "min_coverage", "macro", "chosen_auc", "chosen_min_excess",
]  # fmt: skip
SWEEP_COLUMNS = [
    "epoch", "method", "threshold", "gamma", "class", "score", "stderr", "ci_low", "ci_high", "n_gold", "n_patients",
    "coverage", "baseline", "excess", "status",
]  # fmt: skip
SIMILARITY_COLUMNS = ["epoch", "method", "class", "pairs", "low", "high", "share", "n_pairs"]
# Columns that hold words, by table; a class may be called "1" or "NA".
TEXTS = {
    "auc": ("stage", "split", "status"),
    "changes": ("method", "class", "status"),
    "findings": ("kind", "run", "method", "class", "outcome", "sentence", "evidence"),
    "recommendation": ("method", "status", "reason", "chosen_on", "measured_on", "note"),
    "sweep": ("method", "class", "status"),
    "similarity": ("method", "class", "pairs"),
    "agreement": ("first", "second"),
}
SAME_FILMS = "chosen and measured on the same films"


def changes_table(found: Dissociation) -> pd.DataFrame:
    """A row per pair of checkpoints compared and class, the mean over classes as class `macro`."""
    rows = [
        {"method": pair.method, "from_epoch": pair.earlier, "to_epoch": pair.later, "class": str(name)} | asdict(change)
        for pair in found.compared
        for name, change in [*pair.changes.classes.items(), (MACRO, pair.changes.macro)]
    ]
    return pd.DataFrame(rows, columns=CHANGE_COLUMNS)


def findings_table(findings: Iterable[Finding]) -> pd.DataFrame:
    """A row per finding, its numbers as one JSON object."""
    rows = []
    for finding in findings:
        row = asdict(finding)
        rows.append(row | {"class": row["class_name"], "evidence": _json(row["evidence"])})
    return pd.DataFrame(rows, columns=FINDING_COLUMNS)


def recommendation_table(
    chosen: Sequence[tuple[Recommendation, str]], measured: History, measured_on: str
) -> pd.DataFrame:
    """A row per method: the recommended checkpoint, and what was measured there.

    Args:
        chosen: each method's recommendation, and the split it was chosen on.
        measured: the history of the split it is reported on.
        measured_on: that split.
    """
    rows = []
    for one, chosen_on in chosen:
        none = one.checkpoint is None
        there = Standing() if none else standing(measured.at(one.checkpoint), one.method)
        note = SAME_FILMS if chosen_on == measured_on else f"chosen on {chosen_on}, measured on {measured_on}"
        rows.append(
            {
                "method": one.method,
                "checkpoint": one.checkpoint,
                "status": one.status,
                "reason": one.reason,
                "chosen_on": chosen_on,
                "measured_on": measured_on,
                "note": note,
                **asdict(there),
                "chosen_auc": one.standing.auc,
                "chosen_min_excess": one.standing.min_excess,
            }
        )
    return pd.DataFrame(rows, columns=RECOMMENDATION_COLUMNS).astype({"checkpoint": "Int64"})


def printed_checkpoints(scores: pd.DataFrame, auc: pd.DataFrame) -> pd.DataFrame:
    """AUC, then each method's macro score and classes, a column a checkpoint.

    Args:
        scores: the long table of all checkpoints.
        auc: a row per checkpoint, as in `Analysis.auc`.
    """
    half = (auc["ci_high"] - auc["ci_low"]) / 2
    rows = [{"method": "AUC", "class": ""} | dict(zip(auc["epoch"], map(_with_error, auc["auc"], half), strict=True))]
    shown = scores[(scores["level"] == "class") | (scores["class"] == MACRO)]
    for method in dict.fromkeys(shown["method"]):
        own = shown[shown["method"] == method]
        for (level, name), part in sorted(
            own.groupby(["level", "class"], sort=False), key=lambda group: group[0][0] == "class"
        ):
            half = (part["ci_high"] - part["ci_low"]) / 2
            cells = dict(zip(part["epoch"], map(_with_error, part["score"], half), strict=True))
            rows.append({"method": method, "class": MACRO if level == "global" else name} | cells)
    return pd.DataFrame(rows, columns=["method", "class", *auc["epoch"]]).rename(columns=str)


def printed_recommendation(table: pd.DataFrame) -> pd.DataFrame:
    """The recommendation in the columns a reader needs."""
    shown = table[["method", "checkpoint", "auc", "macro", "min_excess", "min_excess_stderr", "min_coverage", "reason"]]
    return shown.assign(checkpoint=[_epoch(value) for value in shown["checkpoint"]])


def spoken(
    findings: pd.DataFrame, n_comparisons: int, status: str = OK, thresholds: Thresholds = THRESHOLDS
) -> list[str]:
    """The findings as sentences: what speaks against something first, then what only informs, then how many looks.

    Args:
        findings: the table of findings.
        n_comparisons: differences that were tested.
        status: `ok`, or `too_few_checkpoints`.
        thresholds: as the findings were made with.
    """
    if status != OK:
        return [f"Fewer than {thresholds.fewest_checkpoints} checkpoints: nothing could be judged ({status})."]
    informs = findings["kind"].isin(INFORMATION)
    lines = findings["sentence"][~informs].tolist() or ["Nothing was found against these checkpoints."]
    gaps = findings[informs]
    for method in dict.fromkeys(gaps["method"]):
        own = gaps[gaps["method"] == method]
        widest = own.loc[own["evidence"].map(lambda text: json.loads(text)["gap"]).idxmax()]
        epochs = ", ".join(map(str, own["checkpoint"]))
        lines.append(
            f"For information: classes differ by more than {thresholds.gap:g} at epoch {epochs}; widest: "
            f"{widest['sentence']}"
        )
    return [*lines, comparisons_sentence(n_comparisons, thresholds.stderrs)]


def with_counts(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its counts as nullable integers."""
    return frame.astype({name: "Int64" for name in frame.columns if is_count(name) or name == "checkpoint"})


def _json(evidence: Mapping[str, Any]) -> str:
    """A JSON object; an undefined number is null."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(name): plain(one) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [plain(one) for one in value]
        if isinstance(value, np.generic):
            value = value.item()
        return None if isinstance(value, float) and not np.isfinite(value) else value

    return json.dumps(plain(evidence), ensure_ascii=False)


def _with_error(value: float, half: float) -> str:
    if np.isnan(value):
        return "NaN"
    return f"{value:.3f}" if np.isnan(half) else f"{value:.3f} ±{half:.3f}"


def _epoch(value: Any) -> str:
    return "none" if pd.isna(value) else str(value)
