"""Rank-exact AUC.

Keras' own AUC bins the scores and can be far off (0.500 where the exact value is 0.875). Knows no run and no film.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.stats.bootstrap import drawn_times
from cxrkeras.stats.predictions import class_indices, class_scores, patient_codes

# films × resamples held at a time: small enough to stay in the processor's cache
WEIGHED_AT_ONCE = 65_536


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
    once = np.ones((len(truth), 1))
    return Auc(float(np.mean([_Ranked.of(truth == c, scores[:, c]).aucs(once)[0] for c in columns])), "ok")


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
    ranked = [_Ranked.of(truth == c, scores[:, c]) for c in columns]

    def auc(rows: np.ndarray) -> float:
        times = np.bincount(rows, minlength=len(truth)).astype(np.float64)[:, None]
        if len(np.unique(truth[rows])) < scores.shape[1]:
            return float("nan")
        return float(np.mean([films.aucs(times)[0] for films in ranked]))

    return auc


def resampled_aucs(
    positive: ArrayLike, scores: ArrayLike, patients: Iterable[Hashable], n_resamples: int = 1000, seed: int = 0
) -> np.ndarray:
    """Return the exact AUC of several scores in each resample of patients, the draws of `patient_bootstrap`.

    Columns are resampled together, so that differences between them keep their pairing; ties count one half.

    Args:
        positive: bool ``[n]``, the films that should score higher.
        scores: ``[n, k]``, any numbers that rank; NaN leaves a film out of its column.
        patients: ``[n]`` ids.
        n_resamples, seed: as in `patient_bootstrap`.

    Returns:
        float64 ``[n_resamples, k]``; NaN where a resample lacks positive or negative films.

    Raises:
        UsageError: fewer than two resamples.
        ScoreInputError: shapes that do not fit together, or a film without a patient id.
    """
    truth, columns = np.asarray(positive, bool), np.asarray(scores, np.float64)
    if truth.ndim != 1 or columns.ndim != 2 or len(truth) != len(columns):
        raise ScoreInputError(
            f"expected one truth value per film, [n], and scores [n, k]. Received {truth.shape} and {columns.shape}."
        )
    if n_resamples < 2:
        raise UsageError(f"expected n_resamples >= 2. Received {n_resamples}.")
    codes = patient_codes(patients, len(truth))
    aucs = np.full((n_resamples, columns.shape[1]), np.nan)
    ranked = [_Ranked.of(truth, column) for column in columns.T]
    n_patients = len(np.unique(codes))
    if not n_patients:
        return aucs
    for resamples, times in drawn_times(n_patients, n_resamples, seed, WEIGHED_AT_ONCE):
        weights = np.ascontiguousarray(times[:, codes].T)
        for column, films in enumerate(ranked):
            aucs[resamples, column] = films.aucs(weights)
    return aucs


class _Ranked(NamedTuple):
    """Rows of the positive and of the rising negative films, and between which negatives each positive lies."""

    ours: np.ndarray
    theirs: np.ndarray
    below: np.ndarray
    not_above: np.ndarray

    @classmethod
    def of(cls, positive: np.ndarray, scores: np.ndarray) -> _Ranked:
        known = ~np.isnan(scores)
        ours, theirs = np.flatnonzero(positive & known), np.flatnonzero(~positive & known)
        theirs = theirs[np.argsort(scores[theirs], kind="stable")]
        sides = (np.searchsorted(scores[theirs], scores[ours], side) for side in ("left", "right"))
        return cls(ours, theirs, *sides)

    def aucs(self, weights: np.ndarray) -> np.ndarray:
        """AUC of films that count `weights` ``[n, resamples]`` times, for each resample."""
        ours = weights[self.ours]
        passed = np.zeros((len(self.theirs) + 1, weights.shape[1]))
        np.cumsum(weights[self.theirs], axis=0, out=passed[1:])
        tied = self.below != self.not_above
        won = passed[self.not_above]
        won[tied] = (won[tied] + passed[self.below[tied]]) / 2
        pairs = ours.sum(axis=0) * passed[-1]
        return np.divide((ours * won).sum(axis=0), pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
