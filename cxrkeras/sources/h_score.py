"""The H-score: how much of the features' spread lies between the classes (Bao et al., ICIP 2019; Ibrahim et al. 2021).

Bounded by 0 and the number of classes less one. Knows no film and no network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg

from cxrkeras.errors import ScoreInputError
from cxrkeras.probe.threads import one_thread
from cxrkeras.sources.logme import CLASS_ABSENT, CONSTANT, OK, FeatureScore
from cxrkeras.stats import jackknife_stderr

TOO_FEW_FILMS, SINGULAR = "too_few_films", "singular"


def h_score(features: ArrayLike, labels: ArrayLike) -> FeatureScore:
    """Return tr(cov(F)⁻¹ · cov(E[F | y])), the sum of squared canonical correlations of features and classes.

    Args:
        features: ``[n, d]``.
        labels: int ``[n]``, 0..k − 1.

    Returns:
        0 to k − 1. Status ``too_few_films`` where n ≤ d: the value is then k − 1 whatever the films show.

    Raises:
        ScoreInputError: shapes that do not fit together.
    """
    values, truth = _fitting(features, labels)
    if len(values) <= values.shape[1]:
        return FeatureScore(np.nan, np.nan, TOO_FEW_FILMS)
    return _scored(values, truth, 0.0)


@one_thread
def regularised_h_score(features: ArrayLike, labels: ArrayLike, groups: Sequence[np.ndarray] = ()) -> FeatureScore:
    """Return (1 − a) · tr(cov_a⁻¹ · cov(E[F | y])) with the covariance shrunk by a, after Ledoit and Wolf.

    cov_a = (1 − a) · cov(F) + a · (tr cov(F) / d) · I; all covariances divide by n.

    Args:
        features: ``[n, d]``, no row twice (`distinct_features`).
        labels: int ``[n]``, 0..k − 1.
        groups: rows of each group of patients, for the standard error.

    Returns:
        0 to k − 1.

    Raises:
        ScoreInputError: shapes that do not fit together.
    """
    values, truth = _fitting(features, labels)
    score = _scored(values, truth, None)
    if score.status != OK or not len(groups):
        return score
    left_out = [
        _scored(np.delete(values, rows, axis=0), np.delete(truth, rows), None, truth.max() + 1).value for rows in groups
    ]
    return FeatureScore(score.value, jackknife_stderr(np.array(left_out)), OK)


def ledoit_wolf_shrinkage(centred: np.ndarray, products: np.ndarray) -> float:
    """Return Ledoit and Wolf's shrinkage a from inner products, which is cheap for few films or few features.

    Args:
        centred: features ``[n, d]`` whose columns have mean 0.
        products: X Xᵀ or XᵀX of them.
    """
    n, d = centred.shape
    lengths = np.sum(centred**2, axis=1)
    mean = lengths.sum() / (n * d)
    spread = np.sum(products**2) / n**2
    apart = (spread - d * mean**2) / d
    noise = min((np.sum(lengths**2) / n - spread) / (n * d), apart)
    return float(noise / apart) if apart > 0 else 0.0


def _fitting(features: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    values, truth = np.asarray(features, np.float64), np.asarray(labels)
    if values.ndim != 2 or truth.shape != values.shape[:1]:
        raise ScoreInputError(
            f"expected features [n, d] and one label per film. Received {values.shape} and {truth.shape}."
        )
    return values, truth.astype(np.intp)


def _scored(values: np.ndarray, truth: np.ndarray, shrinkage: float | None, n_classes: int = 0) -> FeatureScore:
    """The score at a shrinkage, or at Ledoit and Wolf's; in the space of films or of features, the smaller."""
    counts = np.bincount(truth, minlength=n_classes)
    if len(counts) < 2 or not counts.all():
        return FeatureScore(np.nan, np.nan, CLASS_ABSENT)
    n, d = values.shape
    centred = values - values.mean(axis=0)
    if not centred.any():
        return FeatureScore(np.nan, np.nan, CONSTANT)
    of_films = d >= n
    products = centred @ centred.T if of_films else centred.T @ centred
    a = ledoit_wolf_shrinkage(centred, products) if shrinkage is None else shrinkage
    share = np.eye(len(counts))[truth] / counts
    system = (1 - a) / n * products
    system[np.diag_indices_from(system)] += a * np.sum(centred**2) / (n * d)
    means = products @ share if of_films else centred.T @ share
    try:
        between = means.T @ linalg.solve(system, share if of_films else means, assume_a="pos")
    except linalg.LinAlgError:
        return FeatureScore(np.nan, np.nan, SINGULAR)
    return FeatureScore(float((1 - a) * np.diag(between) @ counts / n), np.nan, OK)
