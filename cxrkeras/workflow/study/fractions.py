"""Label efficiency: AUC and localization of a study's runs against the share of labels, mean and spread over seeds.

Reads what the runs store. The checkpoint is the one of the best validation AUC: the evaluation split chooses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.data.annotations import canonical_finding
from cxrkeras.errors import CxrKerasError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.render.efficiency import save_efficiency_figure
from cxrkeras.run import Run
from cxrkeras.run_paths import figure_path
from cxrkeras.store import atomic_path
from cxrkeras.study import Member, Study, StudyConfig
from cxrkeras.workflow.localize.films import TP
from cxrkeras.workflow.localize.localize import made_with
from cxrkeras.workflow.localize.tables import FILMS, SUMMARY, read_localization
from cxrkeras.workflow.map_options import MapOptions
from cxrkeras.workflow.runs import stored_auc
from cxrkeras.workflow.study.config import is_untrained
from cxrkeras.workflow.study.localize import best_checkpoint, localize_epoch, localize_methods, localize_split

FRACTION_TABLE, SEED_TABLE = "fractions", "fraction_seeds"
AUC = "auc"
LOCALIZED = ("iou", "hit", "mass")
UNTRAINED = "head_not_trained"
ONE_SEED = "one_seed"
_SERIES = ["backbone", "source", "recipe", "fraction", "method", "metric"]
SEEDS = [
    "backbone", "source", "recipe", "fraction", "seed", "method", "metric", "value", "value_zero", "n_degenerate",
    "epoch", "n_films", "n_patients", "status",
]  # fmt: skip
FRACTIONS = [
    *_SERIES, "mean", "sd", "low", "high", "n_seeds", "n_films", "n_patients", "status", "mean_zero", "n_degenerate",
]  # fmt: skip


def seed_table(config: StudyConfig, wanted: Sequence[tuple[Member, Run]]) -> pd.DataFrame:
    """Every run's AUC on the evaluation split and, where the study localizes, where its maps lie.

    Args:
        config: the study's resolved configuration.
        wanted: all its members with their configurations, and the runs, which need not exist.

    Returns:
        `SEEDS`, a row a run, method and metric. A localization is the plain mean over findings; `value` leaves
        degenerate maps out, `value_zero` counts them as 0. Status: `ok`, `no_run`, `undefined` (no validation AUC, no
        predictions, no defined map) or `head_not_trained`.
    """
    rows = []
    for member, run in wanted:
        stored = member.config
        how = {
            "backbone": member.label,
            "source": member.source or stored.model.weights,
            "recipe": stored.training.recipe,
            "fraction": stored.data.fraction,
            "seed": member.seed,
        }
        there = (run.path / "run.json").is_file() and run.state == "complete"
        for values in _measured(config, member, run) if there else _absent(config, member):
            if there and is_untrained(stored):
                values["status"] = UNTRAINED
            rows.append(how | values)
    return pd.DataFrame(rows, columns=SEEDS).astype(
        dict.fromkeys(("epoch", "n_films", "n_patients", "n_degenerate"), "Int64")
    )


def fraction_table(seeds: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread over seeds.

    Args:
        seeds: as from `seed_table`.

    Returns:
        `FRACTIONS`, a row a backbone, source, recipe, fraction, method and metric: mean, standard deviation (n − 1),
        smallest and largest of the seeds with a value, and how many they are; films and patients are those of a seed.
        Status: `ok`, `one_seed` (no spread), `head_not_trained`, or why no seed has a value.
    """
    rows = [dict(zip(_SERIES, key, strict=True)) | _spread(own) for key, own in seeds.groupby(_SERIES, sort=False)]
    return pd.DataFrame(rows, columns=FRACTIONS).astype(
        dict.fromkeys(("n_seeds", "n_films", "n_patients", "n_degenerate"), "Int64")
    )


def stored_efficiency(study: Study, name: str = FRACTION_TABLE) -> pd.DataFrame | None:
    """A stored table of label efficiency, or None."""
    table = study.table(name)
    if table is None:
        return None
    counts = {column: "Int64" for column in table if column.startswith("n_") or column == "epoch"}
    return table.fillna({"method": ""}).astype(counts)


def draw_efficiency(study: Study, reporter: Reporter = SILENT) -> Path | None:
    """Draw the stored tables in the study's report folder; None where there are none, or no figure holds them."""
    table, seeds = stored_efficiency(study), stored_efficiency(study, SEED_TABLE)
    if table is None or seeds is None:
        return None
    file = figure_path(study.report_folder, "efficiency", "png")
    try:
        with atomic_path(file) as partial:
            save_efficiency_figure(partial, table, title=f"{study.name}: label efficiency", seeds=seeds)
    except CxrKerasError as error:
        reporter.notice(f"no figure of label efficiency: {error}")
        return None
    return file


def _spread(own: pd.DataFrame) -> dict[str, Any]:
    values = own["value"].dropna().to_numpy(float)
    status = ONE_SEED if len(values) == 1 else "ok"
    if not len(values):
        status = "+".join(sorted(set(own["status"])))
    elif (own["status"] == UNTRAINED).any():
        status = UNTRAINED
    found = {
        "mean": values.mean() if len(values) else np.nan,
        "sd": values.std(ddof=1) if len(values) > 1 else np.nan,
        "low": values.min(initial=np.inf) if len(values) else np.nan,
        "high": values.max(initial=-np.inf) if len(values) else np.nan,
        "n_seeds": len(values),
        "status": status,
        "mean_zero": own["value_zero"].mean(),
    }
    counts = {name: own[name].max() for name in ("n_films", "n_patients")}
    return found | counts | {"n_degenerate": own["n_degenerate"].sum(min_count=1)}


def _absent(config: StudyConfig, member: Member) -> Iterator[dict[str, Any]]:
    yield {"method": "", "metric": AUC, "status": "no_run"}
    if config.study.localize.enabled:
        for method in localize_methods(config, member.label):
            for metric in LOCALIZED:
                yield {"method": method, "metric": metric, "status": "no_run"}


def _measured(config: StudyConfig, member: Member, run: Run) -> Iterator[dict[str, Any]]:
    epoch = best_checkpoint(run)
    predictions = None if epoch is None else run.predictions(epoch, config.study.split)
    value = np.nan if predictions is None else stored_auc(run, epoch, config.study.split)
    row = {"method": "", "metric": AUC, "value": value, "epoch": epoch, "status": _status(value)}
    if predictions is not None:
        row |= {"n_films": len(predictions), "n_patients": _patients(predictions)}
    yield row
    if config.study.localize.enabled:
        yield from _localized(config, member, run)


def _localized(config: StudyConfig, member: Member, run: Run) -> Iterator[dict[str, Any]]:
    epoch = localize_epoch(config, run)
    films, summary = (_stored(config, run, epoch, name) for name in (FILMS, SUMMARY))
    for method in localize_methods(config, member.label):
        scored = _of(films, method=method)
        for metric in LOCALIZED:
            rows = _of(summary, method=method, metric=metric, bootstrap="patient")
            value = rows["mean"].mean(skipna=False) if len(rows) else np.nan
            row = {"method": method, "metric": metric, "value": value, "epoch": epoch, "status": _status(value)}
            if len(rows):
                row |= {
                    "value_zero": rows["mean_zero"].mean(skipna=False),
                    "n_degenerate": int(rows["n_degenerate"].sum()),
                    "n_films": scored["image"].nunique(),
                    "n_patients": _patients(scored),
                }
            yield row


def _stored(config: StudyConfig, run: Run, epoch: int | None, table: str) -> pd.DataFrame:
    """A table of a run's localization, made as the study makes it; empty where there is none."""
    wanted = config.study.localize
    file = None if epoch is None else run.localization_path(epoch, localize_split(config), table)
    if file is None or not file.exists():
        return pd.DataFrame()
    rows = read_localization(file)
    rows = rows[(rows["rule"] == wanted.threshold) & (rows["tolerance"] == wanted.tolerance) & (rows["slice"] == TP)]
    rows = rows[rows["options"] == made_with(MapOptions())]
    given = {_folded(finding): _folded(name) for finding, name in wanted.map.items()}
    classes = rows["finding"].map(lambda finding: given.get(_folded(finding), _folded(finding)))
    rows = rows[classes == rows["class"].map(_folded)]
    # the last marks that were read are the study's
    return rows[rows["annotations"] == rows["annotations"].iloc[-1]] if len(rows) else rows


def _folded(name: str) -> str:
    return canonical_finding(name).lower()


def _of(table: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    for name, value in wanted.items():
        table = table[table[name] == value] if len(table) else table
    return table


def _patients(table: pd.DataFrame) -> int:
    return table["patient" if "patient" in table else "image"].nunique()


def _status(value: float) -> str:
    return "ok" if np.isfinite(value) else "undefined"
