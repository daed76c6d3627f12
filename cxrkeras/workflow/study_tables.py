"""The tables of a study: its runs side by side, from what is stored in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from cxrkeras.drift.reversal import COLUMNS as REVERSALS
from cxrkeras.errors import CxrKerasError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.run import Run
from cxrkeras.study import Member, Outcome, Study, StudyConfig
from cxrkeras.study.directory import members
from cxrkeras.tables import read_csv
from cxrkeras.workflow.analyse import read_analysis
from cxrkeras.workflow.drift import study_drift
from cxrkeras.workflow.drift_tables import SUMMARY, stored_drift
from cxrkeras.workflow.study_config import drift_epochs, methods_for
from cxrkeras.workflow.study_later import reported_epoch

HEADLINE = [
    "backbone", "seed", "method", "checkpoint", "recommendation", "auc", "auc_low", "auc_high", "macro", "macro_stderr",
    "min_excess", "min_coverage", "native_grid", "n_films", "randomisation", "status", "reason",
]  # fmt: skip
FINDINGS = [
    "backbone", "seed", "kind", "run", "method", "class", "checkpoint", "outcome", "sentence", "evidence",
]  # fmt: skip
CELLS = ["run", "work", "split", "epoch", "method", "state", "seconds", "error"]
PER_CLASS = ("score", "excess", "coverage")


def store_tables(study: Study, config: StudyConfig, reporter: Reporter = SILENT) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write `headline`, `findings`, `drift` and `reversals`, and return the first two."""
    runs = [(member, Run(study.run_path(member.name))) for member in members(config)]
    runs = [(member, run) for member, run in runs if (run.path / "run.json").is_file()]
    headline = headline_table(config, runs)
    findings = findings_table(config, runs)
    study.write_table("headline", headline)
    study.write_table("findings", findings)
    if config.study.drift.enabled:
        study.write_table("drift", drift_table(config, runs))
        study.write_table("reversals", _reversals(config, [run for _, run in runs], reporter))
    return headline, findings


def headline_table(config: StudyConfig, runs: Sequence[tuple[Member, Run]]) -> pd.DataFrame:
    """A row a run and method at the checkpoint it is reported at, with the numbers of every class.

    Args:
        config: the study's resolved configuration.
        runs: the runs that exist.

    Returns:
        `HEADLINE`, then `score_`, `excess_` and `coverage_` of every class. `recommendation` is `recommended`, or
        `none` where the row stands at the best AUC instead.
    """
    rows = []
    for member, run in runs:
        analysis = read_analysis(run, config.study.split)
        if analysis is None:
            continue
        for method in methods_for(config, member.label):
            chosen = analysis.recommendation[analysis.recommendation["method"] == method]
            if chosen.empty:
                continue
            epoch, recommended = reported_epoch(analysis.recommendation, analysis.auc, method)
            rows.append(
                {
                    "backbone": member.label,
                    "seed": member.seed,
                    "method": method,
                    "checkpoint": epoch,
                    "recommendation": "recommended" if recommended else "none",
                    "reason": chosen["reason"].iloc[0],
                    **_auc_of(analysis.auc, epoch),
                    **_scores_of(analysis.scores, epoch, config.study.split, method),
                    "randomisation": _verdict(run, epoch, config.study.split, method),
                }
            )
    frame = pd.DataFrame(rows)
    more = [name for name in frame.columns if name not in HEADLINE]
    return frame.reindex(columns=[*HEADLINE, *more])


def _auc_of(auc: pd.DataFrame, epoch: int) -> dict[str, float]:
    row = auc[auc["epoch"] == epoch].iloc[0]
    return {"auc": float(row["auc"]), "auc_low": float(row["ci_low"]), "auc_high": float(row["ci_high"])}


def _scores_of(scores: pd.DataFrame, epoch: int, split: str, method: str) -> dict[str, Any]:
    here = scores[(scores["epoch"] == epoch) & (scores["split"] == split) & (scores["method"] == method)]
    classes = here[here["level"] == "class"].set_index("class")
    macro = here[(here["level"] == "global") & (here["class"] == "macro")].iloc[0]
    found = {
        "macro": float(macro["score"]),
        "macro_stderr": float(macro["stderr"]),
        "status": macro["status"],
        "min_excess": float(classes["excess"].min(skipna=False)),
        "min_coverage": float(classes["coverage"].min(skipna=False)),
        "native_grid": macro["native_grid"],
        "n_films": int(str(macro["films"]).partition("-")[0]),
    }
    return found | {f"{what}_{name}": float(row[what]) for what in PER_CLASS for name, row in classes.iterrows()}


def _verdict(run: Run, epoch: int, split: str, method: str) -> str:
    """What the whole cascade of randomised layers did to the maps; `not checked` where nobody looked."""
    file = run.validity_path(epoch, split, "randomisation")
    if not file.exists():
        return "not checked"
    table = read_csv(file, text=("method", "stage", "verdict"))
    rows = table[table["method"] == method]
    return str(rows["verdict"].iloc[-1]) if len(rows) else "not checked"


def findings_table(config: StudyConfig, runs: Sequence[tuple[Member, Run]]) -> pd.DataFrame:
    """Every finding of every run, with its backbone and seed."""
    frames = []
    for member, run in runs:
        analysis = read_analysis(run, config.study.split)
        if analysis is not None and len(analysis.findings):
            frames.append(analysis.findings.assign(backbone=member.label, seed=member.seed))
    return pd.concat(frames, ignore_index=True)[FINDINGS] if frames else pd.DataFrame(columns=FINDINGS)


def drift_table(config: StudyConfig, runs: Sequence[tuple[Member, Run]]) -> pd.DataFrame:
    """The drift summaries of every run; `backbone` is the label the study gives it."""
    wanted, frames = config.study.drift, []
    for member, run in runs:
        start, end = drift_epochs(config, member)
        if run.drift_path(start, end, config.study.split, SUMMARY).exists():
            frame = stored_drift([run], SUMMARY, config.study.split, start, end)
            frame = frame[frame["method"].isin(wanted.methods)]
            frames.append(frame.assign(backbone=member.label, from_epoch=start, to_epoch=end))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["backbone", "seed", "method"])


def _reversals(config: StudyConfig, runs: list[Run], reporter: Reporter) -> pd.DataFrame:
    wanted = config.study.drift
    try:
        return study_drift(runs, config.study.split, wanted.from_epoch, wanted.to_epoch, reporter=reporter)
    except CxrKerasError as error:
        reporter.notice(f"no drift reversals: {error}")
        return pd.DataFrame(columns=REVERSALS)


def cell_table(study: Study, outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """A row a piece of work; `seconds` is what it took when it was done, in whatever session that was."""
    rows = []
    for outcome in outcomes:
        cell = outcome.cell
        seconds = outcome.seconds if outcome.fresh else study.record(cell).get("seconds", float("nan"))
        rows.append(
            {
                "run": cell.run,
                "work": cell.work,
                "split": cell.split,
                "epoch": cell.epoch,
                "method": cell.method,
                "state": outcome.state,
                "seconds": round(seconds, 3),
                "error": outcome.error,
            }
        )
    return pd.DataFrame(rows, columns=CELLS).astype({"epoch": "Int64"})
