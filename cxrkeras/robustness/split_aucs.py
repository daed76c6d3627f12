"""AUC of every arm on its splits, with all of them in each resample of the same patients, so that they can be paired.

Knows no table: results, reliance and comparison are made of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxrkeras.robustness.answers import ArmAnswers, TestFilms, split_logits
from cxrkeras.stats import exact_auc, patient_codes, percentile_interval, resampled_aucs

NOT_FINITE = "not_finite"


@dataclass(frozen=True)
class SplitAucs:
    """AUCs, a column per arm and split.

    Attributes:
        columns: the column of each arm's number and split.
        logits: the log-odds that count ``[n, k]``; NaN for films outside the split.
        estimates: AUC of the films ``[k]``; NaN where undefined.
        draws: AUC in each resample of the patients ``[n_resamples, k]``.
        n_patients: patients with a film in the split ``[k]``.
        statuses: ``ok``, ``class_absent`` (no positive or no negative film) or ``not_finite`` (the arm's answers).
    """

    columns: dict[tuple[int, str], int]
    logits: np.ndarray
    estimates: np.ndarray
    draws: np.ndarray
    n_patients: np.ndarray
    statuses: tuple[str, ...]

    def interval(self, column: int) -> tuple[float, float, str]:
        """Percentile limits of one column's AUC and its status, ``too_few_patients`` where that is why they lack."""
        own = percentile_interval(self.estimates[column], self.draws[:, column], int(self.n_patients[column]))
        status = self.statuses[column]
        return own.low, own.high, own.status if status == "ok" else status

    def mean(self, columns: Sequence[int]) -> tuple[float, np.ndarray]:
        """Mean of several columns: of the AUCs, and inside each resample ``[n_resamples]``."""
        return float(self.estimates[list(columns)].mean()), self.draws[:, list(columns)].mean(axis=1)

    def trouble(self, columns: Sequence[int]) -> str:
        """``ok``, or why the first undefined of these columns is."""
        return next((self.statuses[column] for column in columns if self.statuses[column] != "ok"), "ok")


def split_aucs(
    arms: Sequence[ArmAnswers],
    films: TestFilms,
    splits: Sequence[Sequence[str]],
    n_resamples: int = 1000,
    seed: int = 0,
) -> SplitAucs:
    """Return the exact AUC of each arm on the splits asked for; ties count one half.

    Args:
        arms: as `checked_arms` returns them.
        films: the test films.
        splits: for each arm, the names of its splits.
        n_resamples, seed: as in `patient_bootstrap`.
    """
    columns = {pair: column for column, pair in enumerate((a, s) for a, own in enumerate(splits) for s in own)}
    logits = np.full((len(films.positive), len(columns)), np.nan)
    for (number, split), column in columns.items():
        if arms[number].finite:
            logits[:, column] = split_logits(arms[number], films, split)
    measured = [_auc(films.positive, column) for column in logits.T]
    codes = patient_codes(films.patients, len(films.positive))
    return SplitAucs(
        columns,
        logits,
        np.array([value for value, _ in measured], np.float64),
        resampled_aucs(films.positive, logits, films.patients, n_resamples, seed),
        np.array([len(np.unique(codes[~np.isnan(column)])) for column in logits.T], np.intp),
        tuple(
            status if arms[number].finite else NOT_FINITE
            for (number, _), (_, status) in zip(columns, measured, strict=True)
        ),
    )


def _auc(positive: np.ndarray, logits: np.ndarray) -> tuple[float, str]:
    known = ~np.isnan(logits)
    return exact_auc(positive[known].astype(np.intp), logits[known])
