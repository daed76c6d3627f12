"""Features made fit for scores that a repeated film would break, and the patient groups their errors come from."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cxrkeras.errors import ScoreInputError
from cxrkeras.stats import patient_codes

GROUPS = 20


@dataclass(frozen=True)
class DistinctFeatures:
    """Features without repeated films and constant columns.

    Attributes:
        values: float64 ``[m, d]``.
        rows: the films kept, int ``[m]``, rising; of equal ones the first.
        n_duplicates: films left out because their features are those of another.
        n_constant: features left out because they are the same for all films.
    """

    values: np.ndarray
    rows: np.ndarray
    n_duplicates: int
    n_constant: int


def distinct_features(features: ArrayLike) -> DistinctFeatures:
    """Return features without repeated rows and constant columns; how many there were is counted.

    Args:
        features: ``[n, d]``.

    Raises:
        ScoreInputError: not a table of finite numbers.
    """
    values = np.asarray(features, np.float64)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ScoreInputError(
            f"features must be finite numbers [n, d]. Received shape {values.shape}"
            f"{', some not finite' if values.size else ''}. Check the weights they were computed with."
        )
    rows = np.sort(np.unique(values, axis=0, return_index=True)[1])
    varying = np.ptp(values, axis=0) > 0
    return DistinctFeatures(values[rows][:, varying], rows, len(values) - len(rows), int(len(varying) - varying.sum()))


def patient_groups(
    patients: Iterable[Hashable] | None, n_films: int, n_groups: int = GROUPS, seed: int = 0
) -> list[np.ndarray]:
    """Return the films of seeded groups of whole patients, of as equal numbers of patients as they go.

    Args:
        patients: id per film ``[n]``; None makes every film its own patient.
        n_films: films.
        n_groups: groups asked for; no more than there are patients.
        seed: of the drawing.
    """
    codes = patient_codes(patients, n_films)
    n_patients = len(np.unique(codes))
    n_groups = min(n_groups, n_patients)
    group = np.random.default_rng(seed).permutation(n_patients) % max(n_groups, 1)
    return [np.flatnonzero(group[codes] == number) for number in range(n_groups)]
