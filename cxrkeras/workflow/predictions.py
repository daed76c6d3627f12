"""Predictions of one checkpoint for selected films: read where stored, computed where missing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cxrkeras.errors import RunError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.models.inference import forward
from cxrkeras.tables import prediction_table, probability_columns
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.selection import Selection


def ensure_predictions(
    opened: OpenRun, epoch: int, selection: Selection, reporter: Reporter = SILENT, *, store: bool = True
) -> np.ndarray:
    """Probabilities ``[n, n_classes]`` of the selected films at one checkpoint.

    Only whole splits of the run are read from and written to its prediction tables; everything else is computed.
    """
    whole = selection.inside and len(selection) == int((opened.frame["split"] == selection.split).sum())
    if selection.inside:
        stored = opened.run.predictions(epoch, selection.split)
        if stored is not None:
            return _rows(stored, selection, opened.classes)
    opened.load(epoch)
    # from the logits, as training stores them: float32 probabilities near 1 are ties that the logits are not
    logits = forward(opened.classifier.logits, selection.films, opened.config.training.batch_size, reporter, "predict")
    probabilities = opened.classifier.probabilities_of(logits)
    if store and (whole or not selection.inside):
        selection.sink.write_predictions(epoch, selection.split, table_of(selection, probabilities, opened.classes))
    return probabilities


def keep_predictions(opened: OpenRun, epoch: int, selection: Selection, probabilities: np.ndarray) -> None:
    """Store probabilities that came with the maps, unless the run has them: whole splits, and films from outside.

    Films from outside join those that were stored before; a saved model's stand apart by how it reads its films.
    """
    table = table_of(selection, probabilities, opened.classes)
    if selection.inside:
        whole = len(selection) == int((opened.frame["split"] == selection.split).sum())
        if whole and opened.run.predictions(epoch, selection.split) is None:
            selection.sink.write_predictions(epoch, selection.split, table)
        return
    name = selection.split + opened.reading
    stored = selection.sink.predictions(epoch, name)
    if stored is not None and len(stored.columns) == len(table.columns):
        # the columns of a saved model may have been given other class names since
        stored = stored.set_axis(table.columns, axis=1)
        table = pd.concat([stored[~stored["image"].isin(set(table["image"]))], table], ignore_index=True)
    selection.sink.write_predictions(epoch, name, table)


def table_of(selection: Selection, probabilities: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """Predictions in the run's schema; an unknown label or truth is empty."""
    labels = selection.frame["label"] if "label" in selection.frame else [""] * len(selection)
    films = selection.films
    return prediction_table(films.ids, labels, probabilities, classes, selection.patients, films.truth)


def _rows(stored: pd.DataFrame, selection: Selection, classes: tuple[str, ...]) -> np.ndarray:
    by_image = stored.set_index("image")
    missing = [image for image in selection.films.ids if image not in by_image.index]
    if missing:
        raise RunError(
            f"the stored predictions lack {len(missing)} films, first {missing[0]}. "
            "Delete that predictions file; it will be made again."
        )
    return by_image.loc[list(selection.films.ids), probability_columns(classes)].to_numpy(np.float64)
