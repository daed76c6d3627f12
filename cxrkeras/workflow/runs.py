"""Runs as tables, and old checkpoints cleared away."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cxrkeras.errors import CxrKerasError, UsageError
from cxrkeras.run import Run, all_runs
from cxrkeras.stats.auc import exact_auc
from cxrkeras.stats.multilabel import mean_finding_auc
from cxrkeras.store import exclusive
from cxrkeras.tables import probability_columns, truth_columns


def runs_table() -> pd.DataFrame:
    """One row a run under `./artifacts`, newest first."""
    rows = []
    for run in all_runs():
        try:
            rows.append(_run_row(run))
        except CxrKerasError:
            rows.append({"run": run.name, "state": "unreadable", "best_val_auc": float("nan")})
    columns = ["run", "state", "backbone", "weights", "data", "epochs", "checkpoints", "best_val_auc", "created"]
    return pd.DataFrame(rows, columns=columns).fillna(dict.fromkeys(set(columns) - {"best_val_auc"}, ""))


def _run_row(run: Run) -> dict[str, Any]:
    config, history = run.config, run.history()
    return {
        "run": run.name,
        "state": run.state,
        "backbone": config.model.backbone,
        "weights": config.model.weights,
        "data": Path(config.data.path).name,
        "epochs": f"{len(history)}/{sum(config.training.epochs)}",
        "checkpoints": ",".join(map(str, run.epochs())),
        "best_val_auc": float(history["val_auc"].max()) if len(history) else float("nan"),
        "created": run.info.get("created", "")[:16],
    }


def checkpoint_table(run: Run) -> pd.DataFrame:
    """One row a stored checkpoint: stage, losses, validation and test AUC, and which one is `best`."""
    history = run.history().set_index("epoch")
    stored = run.epochs()
    aucs = history.loc[history.index.isin(stored), "val_auc"].dropna()
    best = run.resolve_epoch("best") if len(aucs) else None
    rows = []
    for epoch in stored:
        # epoch 0 of a run without training has no row
        row = history.loc[epoch] if epoch in history.index else {"stage": "untrained"}
        rows.append(
            {
                "epoch": epoch,
                "stage": row["stage"],
                **{name: float(row.get(name, "nan")) for name in ("loss", "val_loss", "val_auc")},
                "test_auc": stored_auc(run, epoch, "test"),
                "best": "best" if epoch == best else "",
            }
        )
    return pd.DataFrame(rows, columns=["epoch", "stage", "loss", "val_loss", "val_auc", "test_auc", "best"])


def stored_auc(run: Run, epoch: int, split: str) -> float:
    """Exact AUC of stored predictions; NaN where there are none or a class is absent.

    Where a film may have several findings: the mean of those whose AUC is defined.
    """
    table = run.predictions(epoch, split)
    if table is None:
        return float("nan")
    if run.several:
        truth = table[truth_columns(run.classes)].to_numpy(float)
        return mean_finding_auc(truth, table[probability_columns(run.classes)].to_numpy())
    labels = table["label"].map({name: i for i, name in enumerate(run.classes)}).to_numpy()
    return exact_auc(labels, table[probability_columns(run.classes)].to_numpy())[0]


def clean(run: Run, keep: Sequence[str], dry_run: bool = False) -> pd.DataFrame:
    """Remove checkpoints that are not among `keep`; scores, maps and predictions stay.

    Args:
        run: a complete run.
        keep: epochs, `best` or `last`.
        dry_run: only say what would go.

    Returns:
        A row a checkpoint: epoch, action, megabytes.

    Raises:
        UsageError: nothing to keep was named, or the run is still being trained.
        CheckpointError: a named epoch does not exist.
    """
    if not keep:
        raise UsageError("nothing to keep was named. Expected --keep best,last or epochs, e.g. --keep 15,best.")
    if run.state != "complete":
        raise UsageError(f"{run.path} is {run.state}; its checkpoints are needed to resume. Finish it first.")
    kept = {run.resolve_epoch(which) for which in keep}
    rows = []
    with contextlib.nullcontext() if dry_run else exclusive(run.path):
        for epoch in run.epochs():
            file = run.checkpoint_path(epoch)
            size = file.stat().st_size / 1e6
            if epoch not in kept and not dry_run:
                file.unlink()
            action = "kept" if epoch in kept else ("would go" if dry_run else "removed")
            rows.append({"epoch": epoch, "action": action, "megabytes": size})
    return pd.DataFrame(rows)
