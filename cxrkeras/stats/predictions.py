"""Labels, probabilities and patients as checked arrays.

The one place that says what a usable prediction table is. Knows no map and no statistic.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cxrkeras.errors import ScoreInputError, unknown

# Half-precision softmax outputs and tables printed with few digits stay within this.
SUM_TOLERANCE = 1e-2


def class_scores(probabilities: ArrayLike) -> np.ndarray:
    """Return finite scores with a column per class.

    Args:
        probabilities: ``[n, C]``, or ``[n]`` / ``[n, 1]`` for one sigmoid unit (s becomes 1 − s, s).

    Returns:
        float64 ``[n, C]``, C ≥ 2.

    Raises:
        ScoreInputError: wrong shape, or a value that is not a finite number.
    """
    try:
        scores = np.asarray(probabilities, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ScoreInputError(
            f"probabilities must be numbers [n, C] or [n]. Received something else: {error}."
        ) from error
    if scores.ndim == 1 or (scores.ndim == 2 and scores.shape[1] == 1):
        scores = np.stack([1 - scores.ravel(), scores.ravel()], axis=1)
    if scores.ndim != 2:
        raise ScoreInputError(
            f"probabilities need the shape [n, C], or [n] for one sigmoid unit. Received {scores.shape}."
        )
    bad = ~np.isfinite(scores).all(axis=1)
    if bad.any():
        raise ScoreInputError(
            f"probabilities must be finite. Received {bad.sum()} films with NaN or infinity, "
            f"first at row {np.flatnonzero(bad)[0]}. Check the checkpoint that predicted them."
        )
    return scores


def separate_probabilities(probabilities: ArrayLike) -> np.ndarray:
    """Return probabilities with a column per class, each for itself: findings that may stand together.

    Args:
        probabilities: ``[n, C]``, or ``[n]`` / ``[n, 1]`` for one sigmoid unit (p = s or 1 − s).

    Returns:
        float64 ``[n, C]``.

    Raises:
        ScoreInputError: as `class_scores`; values outside 0..1.
    """
    values = class_scores(probabilities)
    if values.size and (values.min() < -SUM_TOLERANCE or values.max() > 1 + SUM_TOLERANCE):
        raise ScoreInputError(
            f"probabilities must lie between 0 and 1. Received {values.min():.4g} to {values.max():.4g}. "
            "These look like logits: apply the model's softmax or sigmoid."
        )
    return values


def class_probabilities(probabilities: ArrayLike) -> np.ndarray:
    """Return probabilities with a column per class; every row sums to 1.

    Args:
        probabilities: ``[n, C]``, or ``[n]`` / ``[n, 1]`` for one sigmoid unit (p = s or 1 − s).

    Returns:
        float64 ``[n, C]``.

    Raises:
        ScoreInputError: as `class_scores`; values outside 0..1; rows that do not sum to 1.
    """
    values = separate_probabilities(probabilities)
    sums = values.sum(axis=1)
    off = np.abs(sums - 1) > SUM_TOLERANCE
    if off.any():
        row = np.flatnonzero(off)[0]
        raise ScoreInputError(
            f"the probabilities of a film must sum to 1. Received {off.sum()} films that do not, first row {row} with "
            f"sum {sums[row]:.4g}. Multi-label outputs have no single predicted class: score one class at a time."
        )
    return values


def class_indices(
    labels: ArrayLike, n_classes: int, classes: Sequence[Hashable] | None = None
) -> tuple[np.ndarray, tuple[Hashable, ...]]:
    """Return labels as column numbers, and the class names.

    Args:
        labels: ``[n]`` column numbers, or class names.
        n_classes: number of probability columns.
        classes: names in column order. Without them names are taken in sorted order, as Keras and scikit-learn
            order their columns, and numbers name themselves.

    Returns:
        int ``[n]`` in 0..n_classes − 1, and the names, one per column.

    Raises:
        ScoreInputError: labels out of range, unknown or unreadable, or a wrong number of names.
    """
    names = _class_names(classes, n_classes)
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ScoreInputError(f"labels need the shape [n], one class per film. Received {labels.shape}.")
    if labels.dtype.kind == "O" and all(isinstance(v, int | float | np.number | np.bool_) for v in labels):
        labels = labels.astype(np.float64)
    if labels.dtype.kind in "biuf":
        return _numbered(labels, n_classes, names)
    texts = [str(label) for label in labels]
    if names is None:
        names = tuple(sorted(set(texts)))
        if len(names) != n_classes:
            raise ScoreInputError(
                f"labels name {len(names)} classes but probabilities have {n_classes} columns. "
                "Pass classes=, the class names in column order."
            )
    column = {str(name): index for index, name in enumerate(names)}
    for text in texts:
        if text not in column:
            raise unknown("label", text, column, ScoreInputError)
    return np.array([column[text] for text in texts], dtype=np.intp), names


def patient_codes(patients: Iterable[Hashable] | None, n_films: int) -> np.ndarray:
    """Return a number per patient; without ids every film is its own patient.

    Args:
        patients: ``[n]`` ids of any hashable kind, or None.
        n_films: expected number of films.

    Returns:
        int ``[n]``, 0..n_patients − 1 in order of appearance.

    Raises:
        ScoreInputError: a wrong number of ids, or a missing id.
    """
    if patients is None:
        return np.arange(n_films)
    listed = list(patients)
    if len(listed) != n_films:
        raise ScoreInputError(f"patients need one id per film. Expected {n_films}, received {len(listed)}.")
    ids = np.empty(n_films, dtype=object)
    ids[:] = listed
    codes = pd.factorize(ids)[0]
    if (codes < 0).any():
        raise ScoreInputError(
            f"{(codes < 0).sum()} films have no patient id, first row {np.flatnonzero(codes < 0)[0]}. "
            "Give every film an id, or pass patients=None to make every film its own patient."
        )
    return codes.astype(np.intp)


def _class_names(classes: Sequence[Hashable] | None, n_classes: int) -> tuple[Hashable, ...] | None:
    if classes is None:
        return None
    names = tuple(classes.tolist() if isinstance(classes, np.ndarray) else classes)
    if len(names) != n_classes or len({str(name) for name in names}) != n_classes:
        raise ScoreInputError(
            f"classes need one distinct name per probability column. Expected {n_classes}, received {list(names)}."
        )
    return names


def _numbered(
    labels: np.ndarray, n_classes: int, names: tuple[Hashable, ...] | None
) -> tuple[np.ndarray, tuple[Hashable, ...]]:
    names = names if names is not None else tuple(range(n_classes))
    values = labels.astype(np.float64)
    bad = ~((values == np.floor(values)) & (values >= 0) & (values < n_classes))
    if bad.any():
        row = np.flatnonzero(bad)[0]
        raise ScoreInputError(
            f"labels must be whole numbers 0..{n_classes - 1} ({', '.join(map(str, names))}), one per probability "
            f"column. Received {labels[row]} at row {row}."
        )
    return values.astype(np.intp), names
