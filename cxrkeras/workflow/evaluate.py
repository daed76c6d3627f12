"""Evaluate: how well a checkpoint classifies, with intervals over patients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.errors import DataError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.run import Run
from cxrkeras.stats import (
    confusion_matrix,
    exact_auc,
    expected_calibration_error,
    patient_bootstrap,
    sensitivity_specificity,
)
from cxrkeras.tables import write_csv
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.predictions import ensure_predictions, table_of
from cxrkeras.workflow.selection import Selection


@dataclass(frozen=True)
class Evaluation:
    """What one checkpoint does on one set of films.

    Attributes:
        summary: one row: epoch, split, films, patients, auc with its interval, accuracy, calibration error, status.
        per_class: class, n_images, sensitivity, specificity, status.
        confusion: film counts, a row per true and a column per predicted class.
        predictions: image, label, probability per class.
    """

    summary: pd.DataFrame
    per_class: pd.DataFrame
    confusion: pd.DataFrame
    predictions: pd.DataFrame


def evaluate(
    opened: OpenRun, epoch: int, selection: Selection, *, seed: int = 0, reporter: Reporter = SILENT
) -> Evaluation:
    """Measure one checkpoint on labelled films.

    Raises:
        DataError: a film's label is unknown.
    """
    if not selection.labelled:
        raise DataError("evaluation needs a label for every film. Give a manifest or class folders with --data.")
    probabilities = ensure_predictions(opened, epoch, selection, reporter, store=selection.inside)
    labels = selection.films.labels
    patients = selection.patients if selection.patients is not None else selection.films.ids
    auc = exact_auc(labels, probabilities)
    interval = patient_bootstrap(lambda rows: exact_auc(labels[rows], probabilities[rows]).value, patients, seed=seed)
    row: dict[str, Any] = {
        "run": opened.run.name,
        "epoch": epoch,
        "split": selection.split,
        "n_images": len(labels),
        "n_patients": len(np.unique(patients)),
        "auc": auc.value,
        "auc_ci_low": interval.low,
        "auc_ci_high": interval.high,
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "calibration_error": expected_calibration_error(labels, probabilities),
        "status": auc.status if auc.status != "ok" else interval.status,
    }
    classes = opened.classes
    return Evaluation(
        summary=pd.DataFrame([row]),
        per_class=sensitivity_specificity(labels, probabilities, classes),
        confusion=confusion_matrix(labels, probabilities, classes).reset_index(),
        predictions=table_of(selection, probabilities, classes),
    )


def save_evaluation(sink: Run, epoch: int, split: str, result: Evaluation) -> None:
    """Write the tables of an evaluation into a directory laid out like a run."""
    folder = sink.path / "evaluation"
    for name in ("summary", "per_class", "confusion"):
        write_csv(folder / f"epoch_{epoch:03d}--{split}--{name}.csv", getattr(result, name))
    sink.write_predictions(epoch, split, result.predictions)
