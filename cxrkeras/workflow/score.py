"""Score: the C-Score of checkpoints of a run, or of maps that any framework made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.consistency import ConsistencyScore, c_score
from cxrkeras.errors import DataError, ScoreInputError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.store import check_writable, key8
from cxrkeras.tables import PROBABILITY, read_csv
from cxrkeras.workflow.evidence import MapOptions, chosen_methods, ensure
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.predictions import ensure_predictions
from cxrkeras.workflow.selection import Selection

PRINTED = [
    "method", "class", "score", "ci_low", "ci_high", "baseline", "excess", "excess_stderr", "n_gold", "n_patients",
    "coverage", "n_degenerate", "status", "flags",
]  # fmt: skip


def score_selection(
    opened: OpenRun,
    epochs: Sequence[int],
    selection: Selection,
    methods: str | None,
    options: MapOptions,
    settings: dict[str, Any],
    *,
    reporter: Reporter = SILENT,
) -> pd.DataFrame:
    """Score checkpoints, computing what maps are missing, and store the rows.

    Args:
        opened: the run.
        epochs: epochs of stored checkpoints.
        selection: labelled films.
        methods: comma list, `all`, or None for what is affordable.
        options: how the maps are made; their target is the film's label.
        settings: threshold, gamma, grid, pair_weights, macro, same_patient; None takes the run's configuration.
        reporter: told of progress.

    Returns:
        The long table: a row per epoch, method and class, then the rows over all classes (`level` = `global`).

    Raises:
        DataError: a film's label is unknown.
    """
    if not selection.labelled:
        raise DataError("the C-Score needs a label for every film. Give a manifest or class folders with --data.")
    check_writable(selection.sink.path)
    resolved = {**opened.config.score.model_dump(), **{k: v for k, v in settings.items() if v is not None}}
    tables = []
    for epoch in epochs:
        names = chosen_methods(methods, opened, epoch, selection, options, reporter)
        all_maps = ensure(opened, epoch, selection, names, options, reporter)
        probabilities = ensure_predictions(opened, epoch, selection, reporter)
        frames = []
        for name in names:
            maps = all_maps[name]
            result = c_score(maps, selection.films.labels, probabilities, patients=selection.patients, **resolved)
            frames.append(
                long_table(result).assign(
                    epoch=epoch,
                    split=selection.split,
                    engine=options.engine,
                    method=name,
                    target="label",
                    layer=maps.layer,
                    map_parameters=json.dumps(maps.parameters, sort_keys=True),
                    films=films_key(selection),
                )
            )
        table = _ordered(pd.concat(frames, ignore_index=True))
        selection.sink.write_scores(epoch, table)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def films_key(selection: Selection) -> str:
    """Which films a score stands on: their number and 8 hex of their hashes."""
    return f"{len(selection)}-{key8(sorted(selection.films.hashes.tolist()))}"


def long_table(result: ConsistencyScore) -> pd.DataFrame:
    """Class rows and global rows (`macro`, `micro`, `min`, `range`) of one score, with every parameter a column."""
    classes = result.per_class.assign(level="class")
    summary = result.summary()
    globals_ = pd.DataFrame(
        {"class": summary["statistic"], "score": summary["value"], "status": summary["status"], "level": "global"}
    )
    columns = [*result.per_class.columns, "level"]
    table = pd.DataFrame(
        {
            name: [*classes[name], *(globals_[name] if name in globals_ else _empty(classes[name], len(globals_)))]
            for name in columns
        }
    )
    parameters = dict(result.parameters)
    parameters["macro_rule"] = parameters.pop("macro")
    parameters["pair_seed"] = parameters.pop("seed")
    native = parameters.pop("native_grid")
    parameters["native_grid"] = "x".join(map(str, native)) if isinstance(native, list | tuple) else str(native)
    return table.assign(**{name: _plain(value) for name, value in parameters.items()})


def printed_classes(table: pd.DataFrame, epoch: int) -> pd.DataFrame:
    """The class rows of one epoch, in the columns a reader needs first."""
    return table[(table["epoch"] == epoch) & (table["level"] == "class")][PRINTED]


def printed_globals(table: pd.DataFrame, epoch: int) -> pd.DataFrame:
    """The global rows of one epoch: a row a method, and the grid its maps were made on."""
    rows = table[(table["epoch"] == epoch) & (table["level"] == "global")]
    wide = rows.pivot(index="method", columns="class", values="score").reset_index()
    status = rows[rows["class"] == "macro"].set_index("method")[["native_grid", "status"]]
    wide = wide[["method", "macro", "micro", "min", "range"]].join(status, on="method")
    wide["grids_differ"] = "yes" if wide["native_grid"].nunique() > 1 else ""
    order = {name: i for i, name in enumerate(dict.fromkeys(rows["method"]))}
    return wide.sort_values("method", key=lambda names: names.map(order))


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


def _empty(column: pd.Series, n: int) -> list[Any]:
    if column.dtype.kind in "if":
        return [float("nan")] * n
    return [""] * n


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    first = ["epoch", "split", "engine", "method", "target", "layer", "level", "class"]
    return table[[*first, *(column for column in table.columns if column not in first)]]
