"""The tables of drift: stored beside what is there, read across runs, and in the columns a reader is shown."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cxrkeras.drift.summary import CHANCE
from cxrkeras.errors import RunError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.run import Run
from cxrkeras.store import one_at_a_time
from cxrkeras.tables import read_csv, write_csv
from cxrkeras.workflow.drift.films import stage_ends

FILMS, SUMMARY, FLOOR = "films", "summary", "floor"
RULES = ["iou_rule", "correlation_rule"]
_TEXT = (
    "image", "class", "patient", "method", "backbone", "status", "metric", "layer", "grid", "at", "above", "floor_run",
    *RULES,
)  # fmt: skip


def replace_drift_rows(
    file: Path, fresh: pd.DataFrame, methods: Collection[str], way: Mapping[str, str], reporter: Reporter = SILENT
) -> None:
    """Store rows of a table of drift; those of other methods are kept where they were measured in the same way.

    Args:
        file: the table.
        fresh: its new rows; none where no film is correct at both checkpoints.
        methods: whose rows they are.
        way: column -> value, how they were measured.
        reporter: told when rows of other methods go because they were measured in another way.
    """
    with one_at_a_time(file.parent):
        if file.exists():
            old = read_csv(file, text=_TEXT)
            old = old[~old["method"].isin(set(methods))]
            alike = (old[list(way)] == pd.Series(way)).all(axis=1)
            if not alike.all():
                gone = ", ".join(dict.fromkeys(old.loc[~alike, "method"]))
                reporter.notice(f"{file.parent}: the rows of {gone} go, for they were measured in another way.")
            if alike.any():
                fresh = pd.concat([part for part in (old[alike], fresh) if len(part)], ignore_index=True)
        write_csv(file, fresh)


def stored_drift(
    runs: Sequence[Run],
    table: str,
    split: str = "test",
    first: int | None = None,
    last: int | None = None,
    *,
    reporter: Reporter = SILENT,
) -> pd.DataFrame:
    """A stored table, `films` or `summary`, of several runs; two runs of one backbone and seed go by their own names.

    Args:
        runs, split, first, last, reporter: as in `study_drift`.
        table: which.

    Raises:
        RunError: as `study_drift`.
    """
    found, missing = [], []
    for run in runs:
        before, after = stage_ends(run)
        before, after = before if first is None else first, after if last is None else last
        file = None if before is None or after is None else run.drift_path(before, after, split, table)
        if file is None or not file.exists():
            missing.append(run.name)
        else:
            found.append(read_csv(file, text=_TEXT).assign(run=run.name))
    if not found:
        raise RunError(
            f"no drift of split '{split}' is stored in {', '.join(missing) or 'no runs'}. "
            "Measure it first: cxrkeras drift --run PATH, for each run."
        )
    if missing:
        reporter.notice(f"left out, for no drift of split '{split}' is stored: {', '.join(missing)}.")
    joined = pd.concat(found, ignore_index=True)
    ways = joined[RULES].drop_duplicates().to_numpy().tolist()
    if len(ways) > 1:
        raise RunError(
            f"the drift of these runs was measured in different ways: {'; '.join(' and '.join(way) for way in ways)}. "
            "Measure each with the same --iou-rule and --correlation."
        )
    doubled = joined.groupby(["backbone", "seed"])["run"].transform("nunique") > 1
    own = [run.removesuffix(f"-seed{seed}") for run, seed in zip(joined["run"], joined["seed"], strict=True)]
    return joined.assign(backbone=joined["backbone"].where(~doubled, own)).drop(columns="run")


def printed_summary(summary: pd.DataFrame) -> pd.DataFrame:
    """A summary in the columns a reader needs: a row per method and class, each metric with its interval."""
    shown = summary[summary["metric"] != CHANCE]
    by = ["backbone", "seed", "method", "class"]
    chance = summary[summary["metric"] == CHANCE].set_index(by)["estimate"]
    rows = []
    for key, own in shown.groupby(by, sort=False):
        row: dict[str, Any] = dict(zip(by, key, strict=True))
        row |= {"n_films": own["n_films"].iloc[0], "n_patients": own["n_patients"].max()}
        row["retained"] = own["retained"].iloc[0]
        for _, one in own.iterrows():
            row[one["metric"]] = _spread(one["estimate"], one["ci_low"], one["ci_high"])
        row["iou"] += f" (chance {_number(chance[key])})"
        odd = dict.fromkeys(status for status in own["status"] if status != "ok")
        rows.append({**row, "n_undefined": int(own["n_undefined"].max()), "status": ", ".join(odd) or "ok"})
    return pd.DataFrame(rows)


def printed_floor(floor: pd.DataFrame) -> pd.DataFrame:
    """Drift beside its floor, each number with its interval."""
    table = floor[["method", "class", "metric", "at", "epoch", "n_films", "n_patients"]].copy()
    for name in ("drift", "floor", "difference"):
        table[name] = [_spread(*row) for row in floor[[name, f"{name}_low", f"{name}_high"]].to_numpy()]
    return table.assign(above=floor["above"], status=floor["status"])


def printed_reversals(table: pd.DataFrame) -> pd.DataFrame:
    """The reversals that were found, each difference with its interval."""
    found = table[table["reversed"] == "yes"]
    shown = found[["metric", "class", "compared", "first", "second", "within_a"]].copy()
    for side in ("a", "b"):
        columns = [f"difference_{side}", f"low_{side}", f"high_{side}"]
        if side == "b":
            shown["within_b"] = found["within_b"]
        shown[columns[0]] = [_spread(*row) for row in found[columns].to_numpy()]
    return shown


def _spread(estimate: float, low: float, high: float) -> str:
    return _number(estimate) if pd.isna(low) else f"{_number(estimate)} [{_number(low)}, {_number(high)}]"


def _number(value: float) -> str:
    return "NaN" if pd.isna(value) else f"{value:.3f}"
