"""Percentile intervals with whole patients resampled.

Films of one patient are not independent, so a patient is drawn with all films. Knows no statistic: it is handed one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.stats.predictions import patient_codes

FEWEST_PATIENTS = 10
DRAWN_AT_ONCE = 1_000_000


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
    codes, films = _grouped(patients, n_resamples, level)
    estimate = float(statistic(np.arange(len(codes)))) if len(codes) else float("nan")
    if len(films) < FEWEST_PATIENTS:
        return _undefined(estimate, len(films), 0, "too_few_patients")
    rng = np.random.default_rng(seed)
    draws = (rng.integers(len(films), size=len(films)) for _ in range(n_resamples))
    values = np.array([statistic(np.concatenate([films[p] for p in drawn])) for drawn in draws], dtype=np.float64)
    return _percentiles(estimate, values, len(films), level)


def bootstrapped_mean(
    values: np.ndarray,
    patients: Iterable[Hashable],
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Return the mean over films with its percentile interval over resampled patients.

    The same draws as `patient_bootstrap`, from sums per patient instead of films, so that its cost does not grow with
    the films.

    Args:
        values: one number per film ``[n]``.
        patients, n_resamples, seed, level: as in `patient_bootstrap`.

    Raises:
        UsageError, ScoreInputError: as `patient_bootstrap`.
    """
    codes, films = _grouped(patients, n_resamples, level)
    values = np.asarray(values, np.float64)
    estimate = float(values.mean()) if len(codes) else float("nan")
    if len(films) < FEWEST_PATIENTS or np.isnan(estimate):
        status = "too_few_patients" if len(films) < FEWEST_PATIENTS else "undefined"
        return _undefined(estimate, len(films), 0, status)
    return _percentiles(estimate, resampled_means(values, codes, n_resamples, seed), len(films), level)


def resampled_means(
    values: np.ndarray, patients: Iterable[Hashable], n_resamples: int = 1000, seed: int = 0
) -> np.ndarray:
    """Return the mean over films in each resample of patients, the draws of `patient_bootstrap`.

    Columns are resampled together, so that functions of several means keep their pairing.

    Args:
        values: a number per film ``[n]``, or several ``[n, k]``; NaN is left out of the means.
        patients, n_resamples, seed: as in `patient_bootstrap`.

    Returns:
        float64 ``[n_resamples]`` or ``[n_resamples, k]``; NaN where no drawn film has a value.

    Raises:
        UsageError, ScoreInputError: as `patient_bootstrap`.
    """
    values = np.asarray(values, np.float64)
    codes, films = _grouped(patients, n_resamples, 0.5)
    if len(codes) != len(values):
        raise ScoreInputError(f"patients need one id per film. Expected {len(values)}, received {len(codes)}.")
    columns = values[:, None] if values.ndim == 1 else values
    means = np.full((n_resamples, columns.shape[1]), np.nan)
    if not films:
        return means[:, 0] if values.ndim == 1 else means
    known = ~np.isnan(columns)
    order, starts = np.concatenate(films), np.cumsum([0, *map(len, films[:-1])])
    sums = np.add.reduceat(np.where(known, columns, 0)[order], starts, axis=0)
    counts = np.add.reduceat(known[order].astype(np.float64), starts, axis=0)
    for resamples, times in drawn_times(len(films), n_resamples, seed):
        weight = times @ counts
        np.divide(times @ sums, weight, out=means[resamples], where=weight > 0)
    return means[:, 0] if values.ndim == 1 else means


def drawn_times(
    n_patients: int, n_resamples: int, seed: int, at_once: int = DRAWN_AT_ONCE
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield how often each patient is drawn, the draws of `patient_bootstrap`, some resamples at a time.

    Args:
        n_patients: patients to draw from.
        n_resamples, seed: as in `patient_bootstrap`.
        at_once: most numbers drawn at a time; bounds the memory and changes no draw.

    Returns:
        Pairs of the resamples' rows and float64 ``[rows, n_patients]``.
    """
    rng = np.random.default_rng(seed)
    rows = max(1, at_once // n_patients)
    for first in range(0, n_resamples, rows):
        drawn = rng.integers(n_patients, size=(min(rows, n_resamples - first), n_patients))
        cells = (drawn + n_patients * np.arange(len(drawn))[:, None]).ravel()
        times = np.bincount(cells, minlength=drawn.size).reshape(drawn.shape).astype(np.float64)
        yield slice(first, first + len(drawn)), times


def percentile_interval(estimate: float, draws: np.ndarray, n_patients: int, level: float = 0.95) -> Interval:
    """Return the interval of a statistic whose values over the resamples are known.

    Args:
        estimate: the statistic of all films.
        draws: its value in each resample ``[n_resamples]``; NaN where it was undefined.
        n_patients: patients resampled.
        level: coverage of the interval.
    """
    if n_patients < FEWEST_PATIENTS:
        return _undefined(estimate, n_patients, 0, "too_few_patients")
    return _percentiles(estimate, draws, n_patients, level)


def two_sided_p(draws: np.ndarray) -> float:
    """Return the bootstrap p-value of a difference against 0: twice the smaller tail, at least 2/(B + 1).

    Args:
        draws: the difference in each resample ``[B]``; NaN is left out.

    Returns:
        NaN where no resample has a value.
    """
    known = draws[~np.isnan(draws)]
    if not len(known):
        return float("nan")
    tail = 1 + min(np.count_nonzero(known <= 0), np.count_nonzero(known >= 0))
    return min(1.0, 2 * tail / (len(known) + 1))


def _grouped(patients: Iterable[Hashable], n_resamples: int, level: float) -> tuple[np.ndarray, list[np.ndarray]]:
    """A number per film for its patient, and the films of each patient."""
    if n_resamples < 2 or not 0 < level < 1:
        raise UsageError(f"expected n_resamples >= 2 and level in (0, 1). Received {n_resamples} and {level}.")
    listed = list(patients)
    codes = patient_codes(listed, len(listed))
    order = np.argsort(codes, kind="stable")
    return codes, np.split(order, np.cumsum(np.bincount(codes))[:-1]) if len(codes) else []


def _percentiles(estimate: float, values: np.ndarray, n_patients: int, level: float) -> Interval:
    kept = values[~np.isnan(values)]
    dropped = len(values) - len(kept)
    if np.isnan(estimate) or len(kept) < 2:
        return _undefined(estimate, n_patients, dropped, "undefined")
    low, high = np.quantile(kept, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(estimate, float(low), float(high), float(kept.std(ddof=1)), n_patients, len(kept), dropped, "ok")


def _undefined(estimate: float, n_patients: int, dropped: int, status: str) -> Interval:
    nan = float("nan")
    return Interval(estimate, nan, nan, nan, n_patients, 0, dropped, status)
