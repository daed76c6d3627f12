"""Evaluate: how well a checkpoint classifies, with intervals over patients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.errors import DataError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.run import Run
from cxrkeras.stats import (
    Interval,
    confusion_matrix,
    exact_auc,
    expected_calibration_error,
    patient_bootstrap,
    resampled_auc,
    sensitivity_specificity,
)
from cxrkeras.tables import write_csv
from cxrkeras.workflow.evaluate_findings import finding_tables
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.predictions import ensure_predictions, table_of
from cxrkeras.workflow.selection import Selection


@dataclass(frozen=True)
class Evaluation:
    """What one checkpoint does on one set of films.

    Attributes:
        summary: one row: epoch, split, films, patients, auc and accuracy with intervals, calibration error, status.
        per_class: class, n_images, sensitivity and specificity with intervals, status.
        confusion: film counts, a row per true and a column per predicted class.
        predictions: image, label, probability per class.

    Where a film may have several findings the tables are those of `finding_tables`, and `confusion` is empty.
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
        DataError: a film's label is unknown, or nothing is known of any finding.
    """
    if not selection.labelled:
        raise DataError("evaluation needs a label for every film. Give a manifest or class folders with --data.")
    probabilities = ensure_predictions(opened, epoch, selection, reporter, store=selection.inside)
    if opened.several:
        return _findings_evaluation(opened, epoch, selection, probabilities, seed)
    labels, correct = selection.films.labels, probabilities.argmax(axis=1) == selection.films.labels
    patients = selection.patients_or_films

    def interval(statistic: Callable[[np.ndarray], float]) -> Interval:
        return patient_bootstrap(statistic, patients, seed=seed)

    auc = exact_auc(labels, probabilities)
    around_auc = interval(resampled_auc(labels, probabilities))
    around_accuracy = interval(lambda rows: correct[rows].mean())
    row: dict[str, Any] = {
        "run": opened.run.name,
        "epoch": epoch,
        "split": selection.split,
        "n_images": len(labels),
        "n_patients": len(np.unique(patients)),
        "auc": auc.value,
        "auc_ci_low": around_auc.low,
        "auc_ci_high": around_auc.high,
        "accuracy": float(correct.mean()),
        "accuracy_ci_low": around_accuracy.low,
        "accuracy_ci_high": around_accuracy.high,
        "calibration_error": expected_calibration_error(labels, probabilities),
        "status": auc.status if auc.status != "ok" else around_auc.status,
    }
    classes = opened.classes
    return Evaluation(
        summary=pd.DataFrame([row]),
        per_class=_with_intervals(
            sensitivity_specificity(labels, probabilities, classes), labels, probabilities, interval
        ),
        confusion=_named_rows(confusion_matrix(labels, probabilities, classes)),
        predictions=table_of(selection, probabilities, classes),
    )


def _findings_evaluation(
    opened: OpenRun, epoch: int, selection: Selection, probabilities: np.ndarray, seed: int
) -> Evaluation:
    patients = selection.patients_or_films
    rows, mean = finding_tables(selection.films.truth, probabilities, opened.classes, patients, seed)
    told = {"run": opened.run.name, "epoch": epoch, "split": selection.split, "n_images": len(selection)}
    summary = pd.DataFrame([{**told, "n_patients": len(np.unique(patients)), **mean}])
    return Evaluation(summary, rows, pd.DataFrame(), table_of(selection, probabilities, opened.classes))


def _with_intervals(
    rates: pd.DataFrame,
    labels: np.ndarray,
    probabilities: np.ndarray,
    interval: Callable[[Callable[[np.ndarray], float]], Interval],
) -> pd.DataFrame:
    """Sensitivity and specificity, each followed by its interval over patients."""
    predicted = probabilities.argmax(axis=1)
    table = rates[["class", "n_images"]].copy()
    for name, positive in (("sensitivity", True), ("specificity", False)):
        table[name] = rates[name]
        around = [interval(_rate(labels, predicted, c, positive)) for c in range(len(rates))]
        table[f"{name}_ci_low"] = [one.low for one in around]
        table[f"{name}_ci_high"] = [one.high for one in around]
    return table.assign(status=rates["status"])


def _rate(labels: np.ndarray, predicted: np.ndarray, c: int, positive: bool) -> Callable[[np.ndarray], float]:
    """Share of the films of class `c` (or of the others) that are called `c` (or not); NaN without such films."""
    counted = (labels == c) == positive
    right = (predicted == c) == positive

    def rate(rows: np.ndarray) -> float:
        among = counted[rows]
        return float(right[rows][among].mean()) if among.any() else float("nan")

    return rate


def _named_rows(confusion: pd.DataFrame) -> pd.DataFrame:
    """True classes as a column; predicted ones are prefixed, so that no class name can clash with it."""
    table = confusion.add_prefix("predicted_")
    table.insert(0, "class", confusion.index)
    return table.reset_index(drop=True)


def save_evaluation(sink: Run, epoch: int, split: str, result: Evaluation) -> None:
    """Write the tables of an evaluation into a directory laid out like a run."""
    for name in ("summary", "per_class", "confusion"):
        if len(table := getattr(result, name)):
            write_csv(sink.evaluation_path(epoch, split, name), table)
    sink.write_predictions(epoch, split, result.predictions)
