"""How well a classifier classifies, at its own decision: confusion, sensitivity, specificity, calibration.

The predicted class is the most probable one; ties go to the first. Knows no run and no film.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn import metrics

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.stats.predictions import class_indices, class_probabilities


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> float:
    """Return Σ_b n_b/n · |accuracy_b − confidence_b| over equal-width confidence bins (Guo et al. 2017, eq. 3).

    Args:
        labels: ``[n]`` column numbers.
        probabilities: ``[n, C]``, or ``[n]`` for one sigmoid unit.
        bins: number of bins over (0, 1], closed on the right.

    Returns:
        0 (calibrated) to 1; NaN without films.
    """
    if bins < 1:
        raise UsageError(f"expected at least one calibration bin. Received {bins}.")
    truth, values, _ = _aligned(labels, probabilities)
    if not len(truth):
        return float("nan")
    confidence = values.max(axis=1)
    gap = (values.argmax(axis=1) == truth) - confidence
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return float(np.abs(np.bincount(bin_of, weights=gap, minlength=bins)).sum() / len(truth))


def confusion_matrix(
    labels: ArrayLike, probabilities: ArrayLike, classes: Sequence[Hashable] | None = None
) -> pd.DataFrame:
    """Return film counts, a row per true class and a column per predicted class.

    Args:
        labels: ``[n]`` column numbers or class names.
        probabilities: ``[n, C]``, or ``[n]`` for one sigmoid unit.
        classes: class names in column order.
    """
    truth, values, names = _aligned(labels, probabilities, classes)
    counts = (
        metrics.confusion_matrix(truth, values.argmax(axis=1), labels=range(len(names)))
        if len(truth)
        else np.zeros((len(names), len(names)), dtype=int)
    )
    return pd.DataFrame(counts, index=pd.Index(names, name="label"), columns=pd.Index(names, name="predicted"))


def sensitivity_specificity(
    labels: ArrayLike, probabilities: ArrayLike, classes: Sequence[Hashable] | None = None
) -> pd.DataFrame:
    """Return the share of each class that is found, and of the rest that is left alone.

    Args:
        labels: ``[n]`` column numbers or class names.
        probabilities: ``[n, C]``, or ``[n]`` for one sigmoid unit.
        classes: class names in column order.

    Returns:
        Columns class, n_images, sensitivity, specificity, status; a rate without films to count is NaN and the
        status ``class_absent`` (no film of the class) or ``others_absent`` (no film of any other).
    """
    table = confusion_matrix(labels, probabilities, classes)
    counts = table.to_numpy()
    hits, films = np.diag(counts), counts.sum(axis=1)
    others = films.sum() - films
    left_alone = others - (counts.sum(axis=0) - hits)
    return pd.DataFrame(
        {
            "class": table.index.to_numpy(),
            "n_images": films,
            "sensitivity": _share(hits, films),
            "specificity": _share(left_alone, others),
            "status": np.where(films == 0, "class_absent", np.where(others == 0, "others_absent", "ok")),
        }
    )


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _aligned(
    labels: ArrayLike, probabilities: ArrayLike, classes: Sequence[Hashable] | None = None
) -> tuple[np.ndarray, np.ndarray, tuple[Hashable, ...]]:
    values = class_probabilities(probabilities)
    truth, names = class_indices(labels, values.shape[1], classes)
    if len(truth) != len(values):
        raise ScoreInputError(f"one label per film is needed. Expected {len(values)}, received {len(truth)}.")
    return truth, values, names
