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
from cxrkeras.workflow.drift.drift import study_drift
from cxrkeras.workflow.drift.tables import SUMMARY, stored_drift
from cxrkeras.workflow.localize.pictures import NOT_TRAINED
from cxrkeras.workflow.study.config import drift_epochs, methods_for
from cxrkeras.workflow.study.fractions import FRACTION_TABLE, SEED_TABLE, fraction_table, seed_table
from cxrkeras.workflow.study.later import reported_epoch

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
    """Write `headline`, `findings`, `drift`, `reversals` and of crossed runs `fractions`; return the first two."""
    wanted = [(member, Run(study.run_path(member.name))) for member in members(config)]
    runs = [(member, run) for member, run in wanted if (run.path / "run.json").is_file()]
    headline = headline_table(config, runs)
    findings = findings_table(config, runs)
    study.write_table("headline", headline)
    study.write_table("findings", findings)
    if config.study.drift.enabled:
        study.write_table("drift", drift_table(config, runs))
        study.write_table("reversals", _reversals(config, runs, reporter))
    if config.study.axes:
        seeds = seed_table(config, wanted)
        study.write_table(SEED_TABLE, seeds)
        study.write_table(FRACTION_TABLE, fraction_table(seeds))
    return headline, findings


def headline_table(config: StudyConfig, runs: Sequence[tuple[Member, Run]]) -> pd.DataFrame:
    """A row a run and method at the checkpoint it is reported at, with the numbers of every class.

    Args:
        config: the study's resolved configuration.
        runs: the runs that exist.

    Returns:
        `HEADLINE`, after the backbone what else the study crosses (`source`, `recipe`, `fraction`), then `score_`,
        `excess_` and `coverage_` of every class. `recommendation` is `recommended`, or `none` where the row stands at
        the best AUC instead; `watermark` is there where a run's head was never trained.
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
                    **_crossed(config, member),
                    "seed": member.seed,
                    "method": method,
                    "checkpoint": epoch,
                    "recommendation": "recommended" if recommended else "none",
                    "reason": chosen["reason"].iloc[0],
                    **_auc_of(analysis.auc, epoch),
                    **_scores_of(analysis.scores, epoch, config.study.split, method),
                    "randomisation": _verdict(run, epoch, config.study.split, method),
                    **({} if run.head_trained else {"watermark": NOT_TRAINED}),
                }
            )
    frame = pd.DataFrame(rows)
    head = _with_crossed(config, HEADLINE)
    more = [name for name in frame.columns if name not in head]
    return frame.reindex(columns=[*head, *more]).fillna({"watermark": ""})


def _crossed(config: StudyConfig, member: Member) -> dict[str, Any]:
    """What tells a run from the others of its backbone and seed, as far as the study asks for it."""
    return {name: getattr(member, name) for name in config.study.axes}


def _with_crossed(config: StudyConfig, columns: Sequence[str]) -> list[str]:
    return [columns[0], *config.study.axes, *columns[1:]]


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
            who = {"backbone": member.label, "seed": member.seed, **_crossed(config, member)}
            frames.append(analysis.findings.assign(**who))
    columns = _with_crossed(config, FINDINGS)
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def drift_table(config: StudyConfig, runs: Sequence[tuple[Member, Run]]) -> pd.DataFrame:
    """The drift summaries of every run; `backbone` is the label the study gives it."""
    wanted, frames = config.study.drift, []
    for member, run in runs:
        start, end = drift_epochs(config, member)
        if run.drift_path(start, end, config.study.split, SUMMARY).exists():
            frame = stored_drift([run], SUMMARY, config.study.split, start, end)
            frame = frame[frame["method"].isin(wanted.methods)]
            who = {"backbone": member.label, **_crossed(config, member)}
            frames.append(frame.assign(**who, from_epoch=start, to_epoch=end))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["backbone", "seed", "method"])


def _reversals(config: StudyConfig, runs: Sequence[tuple[Member, Run]], reporter: Reporter) -> pd.DataFrame:
    """Reversals among runs that differ in backbone and seed only: those of one source, recipe and fraction."""
    wanted, frames = config.study.drift, []
    alike: dict[tuple[Any, ...], list[Run]] = {}
    for member, run in runs:
        alike.setdefault(tuple(_crossed(config, member).values()), []).append(run)
    for values, own in alike.items():
        try:
            found = study_drift(own, config.study.split, wanted.from_epoch, wanted.to_epoch, reporter=reporter)
        except CxrKerasError as error:
            reporter.notice(f"no drift reversals: {error}")
            continue
        frames.append(found.assign(**dict(zip(config.study.axes, values, strict=True))))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[*REVERSALS, *config.study.axes])


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
