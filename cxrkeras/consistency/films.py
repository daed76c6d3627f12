"""Maps, labels, probabilities and patients brought into line, or refused with the reason."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cxrkeras.errors import ScoreInputError
from cxrkeras.maps import Maps
from cxrkeras.stats import class_indices, class_probabilities, patient_codes
from cxrkeras.stats.predictions import separate_probabilities

HALF = 0.5


@dataclass(frozen=True)
class Films:
    """What a C-Score is computed from, one row a film.

    Attributes:
        values: raw maps ``[n, h, w]``; map i explains ``labels[i]``.
        labels: true class, int ``[n]``.
        confidence: probability of the true class ``[n]``.
        correct: the film is classified correctly, bool ``[n]``; see `Options.decision`.
        patients: patient number, int ``[n]``.
        classes: class names.
        status: status of each map, text ``[n]``.
    """

    values: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray
    patients: np.ndarray
    classes: tuple[Hashable, ...]
    status: np.ndarray

    @property
    def grid(self) -> tuple[int, int]:
        """Native grid ``(h, w)``."""
        return int(self.values.shape[1]), int(self.values.shape[2])


def aligned_films(
    maps: Maps | ArrayLike,
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[Hashable] | None,
    patients: Iterable[Hashable] | None,
    targets: ArrayLike | None,
    status: ArrayLike | None,
    decision: str = "argmax",
) -> Films:
    """Return the checked inputs of a C-Score; arguments as in `c_score`.

    Raises:
        ScoreInputError: lengths, shapes, values or targets that do not fit together.
    """
    if isinstance(maps, Maps):
        classes = maps.classes if classes is None and len(maps.classes) else classes
        targets = maps.targets if targets is None else targets
        status = maps.status if status is None else status
        maps = maps.values
    values = _map_array(maps)
    n_films = len(values)
    joint = decision == "argmax"
    scores = class_probabilities(probabilities) if joint else separate_probabilities(probabilities)
    truth, names = class_indices(labels, scores.shape[1], classes)
    for kind, length in (("labels", len(truth)), ("probabilities", len(scores))):
        if length != n_films:
            raise ScoreInputError(f"{kind} need one row per map. Expected {n_films}, received {length}.")
    if targets is not None:
        _check_targets(targets, truth, names)
    confidence = scores[np.arange(n_films), truth]
    return Films(
        values,
        truth,
        confidence,
        scores.argmax(axis=1) == truth if joint else confidence >= HALF,
        patient_codes(patients, n_films),
        names,
        _status_array(status, n_films),
    )


def _map_array(maps: ArrayLike) -> np.ndarray:
    values = np.asarray(maps)
    if values.ndim != 3 or values.dtype.kind not in "fiub" or not values.shape[1] * values.shape[2]:
        raise ScoreInputError(
            f"maps need the shape [n, h, w] and numbers. Received shape {values.shape}, dtype {values.dtype}. "
            "Pass one 2-D map per film, of equal size."
        )
    return values


def _check_targets(targets: ArrayLike, truth: np.ndarray, names: tuple[Hashable, ...]) -> None:
    explained, _ = class_indices(targets, len(names), names)
    if len(explained) != len(truth):
        raise ScoreInputError(f"targets need one class per map. Expected {len(truth)}, received {len(explained)}.")
    rows = np.flatnonzero(explained != truth)
    if rows.size:
        row = rows[0]
        raise ScoreInputError(
            f"{rows.size} of {len(truth)} maps do not explain the true label of their film. "
            f"Expected map {row} to explain '{names[truth[row]]}', received '{names[explained[row]]}'. "
            "Explain the true labels before scoring."
        )


def _status_array(status: ArrayLike | None, n_films: int) -> np.ndarray:
    if status is None:
        return np.full(n_films, "ok")
    array = np.array([str(value) for value in np.asarray(status).ravel()], dtype=str)
    if len(array) != n_films:
        raise ScoreInputError(f"status needs one text per map. Expected {n_films}, received {len(array)}.")
    return array
