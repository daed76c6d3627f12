"""Fractions: label fractions as manifests on disk, one a fraction and seed, and a table of what each holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cxrkeras.config import flat_overrides, load_config
from cxrkeras.data.fractions import class_counts, label_fraction
from cxrkeras.data.layouts import FILMS_ROOT
from cxrkeras.data.manifest import Manifest
from cxrkeras.errors import ConfigError, RunError, UsageError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.settings import DataSettings
from cxrkeras.store import check_writable
from cxrkeras.tables import truth_columns, write_csv
from cxrkeras.workflow.dataset import configured_manifest

TABLE = "fractions.csv"
COLUMNS = [
    "fraction", "seed", "class", "films", "patients", "positives", "positive_patients", "val_films", "val_patients",
    "file",
]  # fmt: skip


@dataclass(frozen=True)
class Fractions:
    """Label fractions that were written.

    Attributes:
        table: a row a fraction, seed and class, `COLUMNS`: films and patients of train in all and of the class, and of
            validation in all; `file` is the manifest's name.
        folder: where the manifests and the table are.
    """

    table: pd.DataFrame
    folder: Path


def fraction_settings(config: str | Path | None, data: str | Path | None, settings: dict[str, Any]) -> DataSettings:
    """The films that fractions are drawn of: those that `train` would take with the same words.

    Raises:
        ConfigError: a name, file or value that cannot be used, or no films.
    """
    name = "phantom" if config is None and data is None else config
    found = load_config(name, flat_overrides(data=data, **settings)).data
    if found.path is None:
        raise ConfigError(f"configuration {config} names no films. Give them with --data DIR|CSV.")
    return found


def write_fractions(
    settings: DataSettings,
    fractions: Sequence[float],
    seeds: int,
    out: str | Path,
    *,
    reporter: Reporter = SILENT,
) -> Fractions:
    """Draw every fraction with every seed, and write each as a manifest that `train --data FILE` reads as it is.

    Args:
        settings: the films, how they are split, and with `scale_val` whether validation shrinks too.
        fractions: shares of the training patients.
        seeds: how many draws of each; seeds 0, 1, ….
        out: folder of the manifests and of `fractions.csv`. Film paths in them are absolute.
        reporter: told of progress.

    Raises:
        UsageError: no fraction, one out of range or twice, or no seed.
        DataError: the films cannot be used, or a class has no film in a fraction; nothing was written then.
        RunError: the folder cannot be written, or holds a file of that name with another content.
    """
    if not fractions or len(set(fractions)) < len(fractions) or seeds < 1:
        raise UsageError(
            f"expected different fractions, e.g. .01,.1,1, and one seed or more. Received {len(fractions)} fractions "
            f"({', '.join(f'{value:g}' for value in fractions)}) and {seeds} seeds."
        )
    whole = configured_manifest(settings.model_copy(update={"fraction": 1.0}), reporter)
    for text in whole.notices:
        reporter.notice(text)
    if whole.several:
        names = ",".join(whole.classes)
        blank = f" --blank {settings.blank}" if settings.blank else ""
        reporter.notice(
            f'Train on these manifests with --findings "{names}" --uncertain {settings.uncertain}{blank}: their '
            "columns hold what was found, and fractions.csv counts it so."
        )
    folder = Path(out).expanduser()
    rows, tables = [], {}
    for fraction in sorted(fractions):
        for seed in range(seeds):
            drawn = label_fraction(whole, fraction, seed, scale_val=settings.scale_val)
            name = f"fraction-{fraction:.12g}-seed{seed}.csv"
            tables[name] = with_absolute_paths(drawn)
            rows.append(_counted(drawn).assign(fraction=fraction, seed=seed, file=name))
            # the other seeds' counts are in the table
            for text in drawn.notices[len(whole.notices) :] if seed == 0 else ():
                reporter.notice(text)
    tables[TABLE] = table = pd.concat(rows, ignore_index=True)[COLUMNS]
    check_writable(folder)
    check_same(folder, tables)
    for name, frame in tables.items():
        write_csv(folder / name, frame)
    return Fractions(table, folder)


def with_absolute_paths(drawn: Manifest) -> pd.DataFrame:
    """The table with its films named so that it may lie anywhere, and the folder that keeps their ids what they are.

    Of several findings a film the columns as they were found stay, not the label that joins them: it is no class.
    """
    frame = drawn.frame.assign(**{"path": [str(file) for file in drawn.files()], FILMS_ROOT: str(drawn.root)})
    return frame.drop(columns=["label", *truth_columns(drawn.classes)]) if drawn.several else frame


def _counted(drawn: Manifest) -> pd.DataFrame:
    val = drawn.frame[drawn.frame["split"] == "val"]
    return class_counts(drawn.frame[drawn.frame["split"] == "train"], drawn.classes).assign(
        val_films=len(val), val_patients=(val["patient"] if "patient" in val else val["path"]).nunique()
    )


def check_same(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    """Make sure that nothing with another content is overwritten; the same draw may be repeated."""
    for name, frame in tables.items():
        file = folder / name
        if file.exists() and file.read_bytes() != frame.to_csv(index=False).encode():
            raise RunError(f"{file} exists with other films. Choose another --out, or remove it.")
