"""Score maps that any framework made; needs no run and no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.consistency import c_score
from cxrkeras.errors import DataError, ScoreInputError
from cxrkeras.maps import Maps
from cxrkeras.store import NPZ_ERRORS, read_npz
from cxrkeras.tables import PROBABILITY, read_csv
from cxrkeras.workflow.score.table import every_status, long_table


def score_files(maps_file: str, predictions: str, settings: dict[str, Any]) -> pd.DataFrame:
    """Score maps that any framework made.

    Args:
        maps_file: `.npz` with `maps` (or `values`) ``[n, h, w]``, or an `.npy` of them; one map per table row, in
            order. `images` in it, where present, is matched with the table's `image` column instead.
        predictions: CSV with `label`, one probability column per class (`probability_<class>` or the class's name),
            and, where known, `patient` and `image`.
        settings: keywords of `c_score`; None values take its defaults.

    Raises:
        DataError: a file cannot be read.
        ScoreInputError: maps and table do not fit together.
    """
    maps = _read_maps(Path(maps_file))
    if not Path(predictions).is_file():
        raise DataError(f"predictions {predictions} do not exist. Expected a CSV with label and probability columns.")
    table = read_csv(Path(predictions), text=("label", "image", "patient"))
    if "label" not in table:
        raise ScoreInputError(f"{predictions} has no column 'label'. Received: {', '.join(table.columns)}.")
    if maps.images is not None and "image" in table:
        table = _rows_of(table, maps.images, predictions)
    classes, columns = _probability_columns(table, predictions)
    result = c_score(
        maps.values,
        table["label"].to_numpy(str),
        table[columns].to_numpy(np.float64),
        classes=classes,
        patients=[patient or None for patient in table["patient"]] if "patient" in table else None,
        targets=maps.targets,
        status=maps.status,
        **{name: value for name, value in settings.items() if value is not None},
    )
    return long_table(result)


@dataclass(frozen=True)
class _FileMaps:
    """Maps of a file, and what it says of them: film ids, classes explained, statuses; None where it is silent."""

    values: np.ndarray
    images: np.ndarray | None = None
    targets: np.ndarray | None = None
    status: np.ndarray | None = None


def _read_maps(file: Path) -> _FileMaps:
    if not file.is_file():
        raise DataError(f"maps file {file} does not exist. Expected an .npz or .npy file with maps [n, h, w].")
    try:
        if file.suffix == ".npy":
            return _FileMaps(np.load(file, allow_pickle=False))
        arrays = read_npz(file)
    except NPZ_ERRORS as error:
        raise DataError(f"maps file {file} cannot be read ({error}). Expected .npz or .npy without pickles.") from error
    name = next((key for key in ("maps", "values") if key in arrays), None)
    if name is None:
        raise ScoreInputError(f"{file} holds no array named 'maps' or 'values'. Received: {', '.join(arrays)}.")
    if {"targets", "classes", "status"} <= set(arrays):
        own = Maps.from_arrays(arrays)
        return _FileMaps(own.values, own.images, np.array(own.classes)[own.targets], every_status(own))
    return _FileMaps(arrays[name], arrays.get("images"))


def _rows_of(table: pd.DataFrame, images: np.ndarray, origin: str) -> pd.DataFrame:
    if table["image"].duplicated().any():
        raise ScoreInputError(f"{origin} names an image twice. Expected one row per film.")
    missing = sorted(set(images) - set(table["image"]))
    if missing:
        raise ScoreInputError(f"{len(missing)} maps have no row in {origin}, first '{missing[0]}'.")
    return table.set_index("image").loc[list(images)].reset_index()


def _probability_columns(table: pd.DataFrame, origin: str) -> tuple[list[str], list[str]]:
    prefixed = [column for column in table.columns if column.startswith(PROBABILITY)]
    if prefixed:
        return [column.removeprefix(PROBABILITY) for column in prefixed], prefixed
    known = {"image", "label", "patient", "split", "predicted"}
    named = [c for c in table.columns if c not in known and table[c].dtype.kind == "f"]
    if len(named) < 2 or not set(table["label"]) <= set(named):
        raise ScoreInputError(
            f"{origin} has no probability columns for its labels. Expected probability_<class> for each class; "
            f"received: {', '.join(table.columns)}."
        )
    return named, named
