"""Percentile intervals with whole patients resampled.

Films of one patient are not independent, so a patient is drawn with all films. Knows no statistic: it is handed one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

import numpy as np

from cxrkeras.errors import UsageError
from cxrkeras.stats.predictions import patient_codes

FEWEST_PATIENTS = 10


@dataclass(frozen=True)
class Interval:
    """A statistic with its bootstrap interval.

    Attributes:
        estimate: the statistic of all films.
        low, high: percentile limits; NaN unless `status` is ``ok``.
        stderr: standard deviation over the resamples.
        n_patients: patients resampled.
        n_resamples: resamples that gave a value.
        n_dropped: resamples whose statistic was NaN.
        status: ``ok``, ``too_few_patients``, or ``undefined`` (the statistic or nearly every resample is NaN).
    """

    estimate: float
    low: float
    high: float
    stderr: float
    n_patients: int
    n_resamples: int
    n_dropped: int
    status: str


def patient_bootstrap(
    statistic: Callable[[np.ndarray], float],
    patients: Iterable[Hashable],
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Return a statistic with its percentile interval over resampled patients.

    Args:
        statistic: takes film rows, int ``[k]`` with repeats, returns one number (NaN when undefined).
        patients: ``[n]`` ids of any hashable kind.
        n_resamples: number of resamples.
        seed: seed of the draws.
        level: coverage of the interval.

    Raises:
        UsageError: `n_resamples` or `level` out of range.
        ScoreInputError: a film without a patient id.
    """
    if n_resamples < 2 or not 0 < level < 1:
        raise UsageError(f"expected n_resamples >= 2 and level in (0, 1). Received {n_resamples} and {level}.")
    listed = list(patients)
    codes = patient_codes(listed, len(listed))
    order = np.argsort(codes, kind="stable")
    films = np.split(order, np.cumsum(np.bincount(codes))[:-1]) if len(codes) else []
    estimate = float(statistic(np.arange(len(codes)))) if len(codes) else float("nan")
    if len(films) < FEWEST_PATIENTS:
        return _undefined(estimate, len(films), 0, "too_few_patients")
    rng = np.random.default_rng(seed)
    draws = (rng.integers(len(films), size=len(films)) for _ in range(n_resamples))
    values = np.array([statistic(np.concatenate([films[p] for p in drawn])) for drawn in draws], dtype=np.float64)
    kept = values[~np.isnan(values)]
    dropped = n_resamples - len(kept)
    if np.isnan(estimate) or len(kept) < 2:
        return _undefined(estimate, len(films), dropped, "undefined")
    low, high = np.quantile(kept, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(estimate, float(low), float(high), float(kept.std(ddof=1)), len(films), len(kept), dropped, "ok")


def _undefined(estimate: float, n_patients: int, dropped: int, status: str) -> Interval:
    nan = float("nan")
    return Interval(estimate, nan, nan, nan, n_patients, 0, dropped, status)
