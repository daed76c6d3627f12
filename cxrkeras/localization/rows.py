"""Rows of scored films, and how their means get an interval.

The one place that says which columns group films and what resampling means; knows no map and no mask.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cxrkeras.errors import ScoreInputError, UsageError, unknown
from cxrkeras.localization.metrics import DEGENERATE, NAN
from cxrkeras.stats import Interval, bootstrapped_mean, resampled_means

FINDING = ["finding", "class", "annotator"]
GROUP = [*FINDING, "method"]
PATIENT, IMAGE = "patient", "image"
BOOTSTRAPS = (PATIENT, IMAGE)
LEVEL = 0.95
NO_FILM, UNDEFINED, ONE_FILM, TOO_FEW = "no_film", "undefined", "one_film", "too_few_patients"


@dataclass(frozen=True)
class Resampling:
    """How an interval is made; stored with every result as `bootstrap`.

    Attributes:
        bootstrap: `patient`: whole patients are drawn, percentiles 2.5 and 97.5, nothing below ten patients; `image`:
            rows are drawn, as CheXlocalize does, the 25th and 975th of 1000 sorted means.
        n_resamples: number of resamples.
        seed: of the draws.
    """

    bootstrap: str = PATIENT
    n_resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.bootstrap not in BOOTSTRAPS:
            raise unknown("bootstrap", self.bootstrap, BOOTSTRAPS)
        if self.bootstrap == IMAGE and self.n_resamples < 40:
            raise UsageError(f"bootstrap 'image' needs 40 resamples or more. Received {self.n_resamples}. Use 1000.")

    def mean(self, values: np.ndarray, patients: Sequence[Hashable]) -> Interval:
        """The mean of the films that have a value, with its interval.

        Args:
            values: ``[n]``, NaN without a value.
            patients: a patient per film ``[n]``.
        """
        values, patients = np.asarray(values, np.float64), np.asarray(patients, object)
        known = ~np.isnan(values)
        inside = bootstrapped_mean(values[known], patients[known], self.n_resamples, self.seed)
        if self.bootstrap == IMAGE:
            inside = self._of_images(values, inside)
        if known.any():
            return inside
        return replace(inside, status=UNDEFINED if len(values) else NO_FILM)

    def limits(self, means: np.ndarray) -> tuple[float, float]:
        """The two ends of the interval that resampled values span; NaN where one of them has none."""
        if not np.isfinite(means).all():
            return NAN, NAN
        if self.bootstrap == PATIENT:
            low, high = np.quantile(means, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
            return float(low), float(high)
        return chexlocalize_limits(means)

    def units(self, patients: Sequence[Hashable]) -> Sequence[Hashable]:
        """What is drawn, one per film: its patient, or the film itself."""
        return patients if self.bootstrap == PATIENT else range(len(patients))

    def _of_images(self, values: np.ndarray, by_patient: Interval) -> Interval:
        # rows without a value are drawn too and give none, as there
        if np.count_nonzero(~np.isnan(values)) < 2:
            return replace(by_patient, low=NAN, high=NAN, stderr=NAN, n_resamples=0, status=ONE_FILM)
        means = resampled_means(values, range(len(values)), self.n_resamples, self.seed)
        kept = means[~np.isnan(means)]
        low, high = chexlocalize_limits(kept)
        return replace(
            by_patient,
            low=low,
            high=high,
            stderr=float(kept.std(ddof=1)),
            n_resamples=len(kept),
            n_dropped=len(means) - len(kept),
            status="ok",
        )


def chexlocalize_limits(means: np.ndarray) -> tuple[float, float]:
    """The 25th and 975th of 1000 sorted means, and the same places of any other number.

    Example:
        >>> low, high = chexlocalize_limits(np.arange(1000) / 1000)
        >>> float(low), float(high)
        (0.024, 0.974)
    """
    ordered = np.sort(means)
    low, high = (max(0, round(share * len(ordered)) - 1) for share in (0.5 - LEVEL / 2, 0.5 + LEVEL / 2))
    return float(ordered[low]), float(ordered[high])


def checked(films: pd.DataFrame, columns: Sequence[str], key: Sequence[str] = ()) -> pd.DataFrame:
    """The table, if it has the columns and not two rows of one key.

    Raises:
        ScoreInputError: a column is missing, or a film stands twice.
    """
    missing = [name for name in columns if name not in films]
    if missing:
        raise ScoreInputError(
            f"scored films lack the columns {', '.join(missing)}. Expected {', '.join(columns)}; "
            f"received {', '.join(map(str, films.columns))}."
        )
    if key and (twice := films.duplicated(list(key))).any():
        where = ", ".join(f"{name} {films.loc[twice, name].iloc[0]!r}" for name in key)
        raise ScoreInputError(f"{twice.sum()} rows are there twice, first {where}. Give one row for each.")
    return films


def counted(films: pd.DataFrame, metric: str) -> np.ndarray:
    """A metric of each film, with 0 for a map without contrast: drawing nothing is a failure, not a missing value."""
    values = films[metric].to_numpy(np.float64)
    return np.where((films["status"] == DEGENERATE) & np.isnan(values), 0.0, values)
