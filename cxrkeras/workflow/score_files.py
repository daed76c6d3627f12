"""Score maps that any framework made; needs no run and no TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.consistency import c_score
from cxrkeras.errors import DataError, ScoreInputError
from cxrkeras.tables import PROBABILITY, read_csv
from cxrkeras.workflow.score_table import long_table


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
    values, images = _read_maps(Path(maps_file))
    if not Path(predictions).is_file():
        raise DataError(f"predictions {predictions} do not exist. Expected a CSV with label and probability columns.")
    table = read_csv(Path(predictions), text=("label", "image", "patient"))
    if "label" not in table:
        raise ScoreInputError(f"{predictions} has no column 'label'. Received: {', '.join(table.columns)}.")
    if images is not None and "image" in table:
        missing = sorted(set(images) - set(table["image"]))
        if missing:
            raise ScoreInputError(f"{len(missing)} maps have no row in {predictions}, first '{missing[0]}'.")
        table = table.set_index("image").loc[list(images)].reset_index()
    classes, columns = _probability_columns(table, predictions)
    result = c_score(
        values,
        table["label"].to_numpy(str),
        table[columns].to_numpy(np.float64),
        classes=classes,
        patients=table["patient"].to_numpy(str) if "patient" in table else None,
        **{name: value for name, value in settings.items() if value is not None},
    )
    return long_table(result)


def _read_maps(file: Path) -> tuple[np.ndarray, np.ndarray | None]:
    if not file.is_file():
        raise DataError(f"maps file {file} does not exist. Expected an .npz or .npy file with maps [n, h, w].")
    try:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded, None
        with loaded:
            name = next((key for key in ("maps", "values") if key in loaded), None)
            if name is None:
                raise ScoreInputError(
                    f"{file} holds no array named 'maps' or 'values'. Received: {', '.join(loaded.files)}."
                )
            return loaded[name], loaded.get("images")
    except (OSError, ValueError) as error:
        if isinstance(error, ScoreInputError):
            raise
        raise DataError(f"maps file {file} cannot be read ({error}). Expected .npz or .npy without pickles.") from error


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
