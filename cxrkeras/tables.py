"""The tables and map files that a run holds, and that also stand alone (`--out`, `--maps`, `--predictions`).

Schemas only: it knows columns and keys, not where a run keeps them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.errors import RunError
from cxrkeras.maps import Maps
from cxrkeras.store import NPZ_ERRORS, atomic_path, key8, one_at_a_time, read_npz

HISTORY_COLUMNS = ["epoch", "stage", "loss", "val_loss", "val_auc", "learning_rate", "seconds"]
PROBABILITY, TRUTH = "probability_", "truth_"
_PEAK = "values_peak"
SCORE_KEY = [
    "epoch", "split", "engine", "method", "target", "layer", "maps_key", "films",
    "threshold", "gamma", "grid", "pair_weights", "macro_rule", "same_patient",
]  # fmt: skip
COMPARISON_KEY = [
    "epoch", "split", "method", "maps_key", "films",
    "threshold", "gamma", "grid", "pair_weights", "macro_rule", "same_patient", "common_grid", "top",
]  # fmt: skip


def maps_file(folder: Path, method: str, parameters: dict[str, Any]) -> Path:
    """`<method>[@<target>]--<key>.npz`; maps for another target than the label name it."""
    target = str(parameters.get("target", "label"))
    suffix = "" if target == "label" else "@" + re.sub(r"[^\w.+-]+", "_", target)
    return folder / f"{method}{suffix}--{key8(parameters)}.npz"


def load_maps(file: Path) -> Maps | None:
    """Maps from a file, or None where it does not exist.

    Raises:
        RunError: the file exists and cannot be read.
    """
    if not file.exists():
        return None
    try:
        arrays = dict(read_npz(file))
        if _PEAK in arrays:
            arrays["values"] = arrays["values"].astype(np.float32) * arrays.pop(_PEAK)[:, None, None]
        return Maps.from_arrays(arrays)
    except NPZ_ERRORS as error:
        raise RunError(f"maps file {file} cannot be read ({error}). Delete it; it will be made again.") from error


def save_maps(file: Path, maps: Maps, *, half: bool = False) -> None:
    """Store maps, atomically.

    Args:
        file: the `.npz`.
        maps: what to store.
        half: keep the values of each map as float16 fractions of its peak; for maps as large as the film.
    """
    arrays = maps.to_arrays()
    if half:
        values = np.asarray(arrays["values"], np.float32)
        peaks = np.abs(values).max(axis=(1, 2), initial=0)
        # a map without a finite peak is all zero or not finite, and stays what it is
        scaled = np.isfinite(peaks) & (peaks > 0)
        arrays[_PEAK] = np.where(scaled, peaks, 1).astype(np.float32)
        arrays["values"] = (values / arrays[_PEAK][:, None, None]).astype(np.float16)
    with atomic_path(file) as partial, open(partial, "wb") as stream:
        np.savez_compressed(stream, **arrays)


def read_scores(file: Path) -> pd.DataFrame:
    """A long table of scores; text columns stay text."""
    text = ("class", "status", "flags", "grid", "target", "layer", "maps_key", "films", "nearest_method")
    frame = read_csv(file, text=text)
    return frame.astype({name: "Int64" for name in frame.columns if is_count(name)})


def is_count(column: str) -> bool:
    """Whether a column counts things; rows over all classes have none, so it is stored as a nullable integer."""
    return column.startswith("n_")


def replace_rows(
    file: Path,
    frame: pd.DataFrame,
    key: Sequence[str] = SCORE_KEY,
    read: Callable[[Path], pd.DataFrame] = read_scores,
) -> None:
    """Write rows into a long table; rows with the same parameters (`key`) are replaced, others kept.

    Args:
        file: the table.
        frame: its new rows.
        key: columns that say which stored rows they replace.
        read: reads the stored table so that its keys come back as they were written.

    Raises:
        RunError: the stored table cannot be read, or lacks a column of the key.
    """
    with one_at_a_time(file.parent):
        if file.exists():
            old = read(file)
            if missing := set(key) - set(old.columns):
                raise RunError(f"table {file} lacks the columns {', '.join(sorted(missing))}. Move the file away.")
            ours = {tuple(map(str, row)) for row in frame[list(key)].itertuples(index=False)}
            keep = [tuple(map(str, row)) not in ours for row in old[list(key)].itertuples(index=False)]
            if any(keep):
                frame = pd.concat([old[keep], frame], ignore_index=True)
        write_csv(file, frame)


def probability_columns(classes: Iterable[str]) -> list[str]:
    """Column names of the probabilities, one per class."""
    return [f"{PROBABILITY}{name}" for name in classes]


def truth_columns(findings: Iterable[str]) -> list[str]:
    """Column names of the truth about findings that may stand together, one per finding."""
    return [f"{TRUTH}{name}" for name in findings]


def prediction_table(
    images: Iterable[str],
    labels: Iterable[str],
    probabilities: np.ndarray,
    classes: Sequence[str],
    patients: np.ndarray | None,
    truth: np.ndarray | None = None,
) -> pd.DataFrame:
    """Predictions `image, label, probability_<class>…` and, where known, `patient`, in the run's schema.

    Where a film may have several findings (`truth` 1, 0 or NaN, ``[n, n_classes]``) also `truth_<finding>…`.
    """
    table = pd.DataFrame({"image": list(images), "label": list(labels)})
    for index, column in enumerate(probability_columns(classes)):
        table[column] = np.asarray(probabilities)[:, index]
    for index, column in enumerate([] if truth is None else truth_columns(classes)):
        table[column] = truth[:, index]
    return table if patients is None else table.assign(patient=patients)


def read_csv(file: Path, text: tuple[str, ...] = ()) -> pd.DataFrame:
    """A table; the columns named in `text` stay text, empty fields included."""
    try:
        # "NA" and "None" are legal class names: only an empty field is missing.
        frame = pd.read_csv(file, dtype=dict.fromkeys(text, "str"), keep_default_na=False, na_values=[""])
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise RunError(f"table {file} cannot be read ({error}). Restore it or make it again.") from error
    for column in set(text) & set(frame.columns):
        frame[column] = frame[column].fillna("")
    return frame


def with_text(frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """The frame with these columns as text, missing values as empty ones; columns it lacks are left out."""
    words = {name: ["" if pd.isna(value) else str(value) for value in frame[name]] for name in columns if name in frame}
    return frame.assign(**words)


def write_csv(file: Path, frame: pd.DataFrame) -> None:
    """Store a table, atomically."""
    with atomic_path(file) as partial:
        frame.to_csv(partial, index=False)
