"""What fine-tuning really gave: a table of the user's, and the commands that make more of it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from cxrkeras.errors import DataError
from cxrkeras.run import Run
from cxrkeras.tables import read_csv
from cxrkeras.workflow.runs import stored_auc

NETWORK_WORDS = ("arch", "weights", "preprocess", "image_size")
TOP = 2


def read_truth(file: Path) -> pd.DataFrame:
    """Measured AUCs of fine-tuned candidates.

    Args:
        file: CSV with `candidate` and either `auc` or `run`, and where known `seed`. A run's AUC is that of its
            stored test predictions at its best checkpoint by validation AUC.

    Returns:
        A row a training, as `sources.agreement.measured_aucs` takes it.

    Raises:
        DataError: there is no such table, or it lacks a column.
        RunError: a run that does not exist or has no such checkpoint.
    """
    if not file.is_file():
        raise DataError(f"truth {file} does not exist. Expected a CSV with the columns candidate and auc, or run.")
    table = read_csv(file, ("candidate", "run"))
    if "candidate" not in table or not {"auc", "run"} & set(table):
        raise DataError(
            f"truth {file} has the columns {', '.join(table)}. Expected candidate and auc, or candidate and run."
        )
    rows = [_measured(row) for row in table.to_dict("records")]
    return pd.DataFrame(
        rows, columns=["candidate", *(name for name in ("auc", "seed") if any(name in row for row in rows))]
    )


def _measured(row: dict[str, Any]) -> dict[str, Any]:
    if not row.get("run"):
        return row
    run = Run.open(row["run"])
    auc = stored_auc(run, run.resolve_epoch("best"), "test")
    return {"candidate": row["candidate"], "auc": auc, "seed": run.config.training.seed}


def training_command(typed: Mapping[str, Any], facts: Mapping[str, Any], name: str) -> str:
    """The command that fine-tunes a candidate on the same films.

    Args:
        typed: options of the data as they were given, by their Python names.
        facts: the candidate's `arch, weights, preprocess, image_size`.
        name: of the run that it makes.
    """
    words = ["cxrkeras", "train"]
    for option, value in typed.items():
        if value is None or value is False:
            continue
        words.append(f"--{option.replace('_', '-')}")
        if value is not True:
            words.append(",".join(map(str, value)) if isinstance(value, tuple) else str(value))
    given = zip(("--backbone", "--weights", "--preprocessing", "--image-size"), NETWORK_WORDS, strict=True)
    for option, fact in given:
        words += [option, str(facts[fact])]
    return shlex.join([*words, "--run", name])


def training_commands(
    typed: Mapping[str, Any], sources: pd.DataFrame, facts: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """The commands that fine-tune the top candidates by probe AUC; a candidate without a network has none.

    Args:
        typed: as in `training_command`.
        sources: the table of candidates.
        facts: of each candidate, as in `training_command`.
    """
    ranked = sources[sources["rank"].notna() & sources["image_size"].notna()].sort_values("rank", kind="stable")
    return [training_command(typed, facts[name], f"finetune-{name}") for name in ranked["candidate"].head(TOP)]
