"""Rank-exact AUC.

Keras' own AUC bins the scores and can be far off (0.500 where the exact value is 0.875). Knows no run and no film.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score

from cxrkeras.errors import ScoreInputError
from cxrkeras.stats.predictions import class_indices, class_scores


class Auc(NamedTuple):
    """An AUC, and `ok` or the reason it is NaN."""

    value: float
    status: str


def exact_auc(labels: ArrayLike, probabilities: ArrayLike) -> Auc:
    """Return the exact area under the ROC curve; ties count one half.

    Args:
        labels: int ``[n]``, column numbers.
        probabilities: ``[n, C]``, or ``[n]`` for one sigmoid unit; any finite scores rank.

    Returns:
        Two classes: the AUC of class 1. More: the mean of the one-vs-rest AUCs. NaN with status ``class_absent``
        when a class has no film.

    Raises:
        ScoreInputError: labels and probabilities that do not fit together.
    """
    scores = class_scores(probabilities)
    truth, _ = class_indices(labels, scores.shape[1])
    if len(truth) != len(scores):
        raise ScoreInputError(f"one label per film is needed. Expected {len(scores)}, received {len(truth)}.")
    n_classes = scores.shape[1]
    if len(np.unique(truth)) < n_classes:
        return Auc(float("nan"), "class_absent")
    columns = [1] if n_classes == 2 else range(n_classes)
    return Auc(float(np.mean([roc_auc_score(truth == c, scores[:, c]) for c in columns])), "ok")


def resampled_auc(labels: ArrayLike, probabilities: ArrayLike) -> Callable[[np.ndarray], float]:
    """Return the function that gives `exact_auc` of film rows with repeats, the films ranked once.

    For the bootstrap: a thousand resamples cost little more than one AUC each way.

    Args:
        labels, probabilities: as in `exact_auc`.

    Returns:
        A function of int ``[k]`` rows; NaN where a class has none of them.

    Raises:
        ScoreInputError: as `exact_auc`.
    """
    exact_auc(labels, probabilities)
    scores = class_scores(probabilities)
    truth, _ = class_indices(labels, scores.shape[1])
    columns = [1] if scores.shape[1] == 2 else range(scores.shape[1])
    ranked = [(truth == c, np.unique(scores[:, c], return_inverse=True)[1]) for c in columns]

    def auc(rows: np.ndarray) -> float:
        times = np.bincount(rows, minlength=len(truth))
        if len(np.unique(truth[rows])) < scores.shape[1]:
            return float("nan")
        return float(np.mean([_weighted_auc(positive, rank, times) for positive, rank in ranked]))

    return auc


def _weighted_auc(positive: np.ndarray, rank: np.ndarray, times: np.ndarray) -> float:
    """AUC of films that count several times: positives above negatives, ties one half."""
    ours = np.bincount(rank, np.where(positive, times, 0))
    theirs = np.bincount(rank, np.where(positive, 0, times))
    below = np.cumsum(theirs) - theirs / 2
    return float(ours @ below / (ours.sum() * theirs.sum()))
