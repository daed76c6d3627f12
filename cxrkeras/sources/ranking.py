"""Candidates ranked by the AUC of their probes, with what the ranks are worth.

All candidates answer the same films, so that resampled patients give paired differences. Says nothing of fine-tuning.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from cxrkeras.errors import ScoreInputError
from cxrkeras.stats import exact_auc, patient_codes, percentile_interval, resampled_aucs

COLUMNS = [
    "candidate", "probe_auc", "ci_lo", "ci_hi", "rank", "rank_lo", "rank_hi", "tied_with",
    "difference_to_best", "difference_lo", "difference_hi", "n_films", "n_patients", "status",
]  # fmt: skip
EXCLUDED = "excluded_saw_target"
SEPARATOR = ", "


def ranking_table(
    scores: Mapping[str, ArrayLike],
    labels: ArrayLike,
    patients: Iterable[Hashable] | None,
    *,
    excluded: Collection[str] = (),
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return probe AUC, rank and ties of candidates, with intervals over resampled patients.

    The intervals take the out-of-fold scores as given: that probes fitted to other films would differ is not in them.

    Args:
        scores: candidate -> out-of-fold scores ``[n, k]`` of the same films (`OutOfFold.scores`).
        labels: int ``[n]``, 0..k − 1.
        patients: id per film ``[n]``; None makes every film its own patient.
        excluded: candidates that get an AUC and no rank (status ``excluded_saw_target``).
        n_resamples, seed: of the bootstrap.

    Returns:
        A row per candidate, in the order given: `candidate`, `probe_auc` (macro one-vs-rest), `ci_lo`, `ci_hi`,
        `rank` (1 the highest, equal ones share the lower number), `rank_lo`, `rank_hi` (2.5 and 97.5 % of its rank in
        the resamples), `tied_with` (candidates whose paired difference has an interval that contains 0, or none),
        `difference_to_best` with `difference_lo`, `difference_hi` (this AUC minus the highest), `n_films`,
        `n_patients`, `status`: ``ok``, ``excluded_saw_target``, ``too_few_patients`` (below 10: no intervals, nothing
        is told apart), ``class_absent``.

    Raises:
        ScoreInputError: scores that do not fit the labels, or an excluded candidate that is not there.
    """
    truth = np.asarray(labels)
    codes = patient_codes(patients, len(truth))
    if strange := set(excluded) - set(scores):
        raise ScoreInputError(f"excluded candidates are not among the scores: {', '.join(sorted(strange))}.")
    values = {name: np.asarray(array, np.float64) for name, array in scores.items()}
    aucs = {name: exact_auc(truth, array) for name, array in values.items()}
    draws = _resampled(values, truth, codes, n_resamples, seed)
    ranked = [name for name in values if name not in excluded and aucs[name].status == "ok"]
    ranks = _ranks(ranked, aucs, draws)
    best = max(ranked, key=lambda name: aucs[name].value) if ranked else None
    n_patients = len(np.unique(codes))
    rows = []
    for name in values:
        interval = percentile_interval(aucs[name].value, draws[name], n_patients)
        row = {"candidate": name, "probe_auc": aucs[name].value, "ci_lo": interval.low, "ci_hi": interval.high}
        row |= {"tied_with": "", "n_films": len(truth), "n_patients": n_patients}
        row["status"] = aucs[name].status if aucs[name].status != "ok" else interval.status
        if name in excluded:
            row["status"] = EXCLUDED
        if name in ranked:
            tied = [other for other in ranked if other != name and not _apart(aucs, draws, name, other, n_patients)]
            row["rank"], low, high = ranks[name]
            if interval.status == "ok":
                row |= {"rank_lo": low, "rank_hi": high}
            row["tied_with"] = SEPARATOR.join(tied)
            row |= _difference(aucs, draws, name, best, n_patients)
        rows.append(row)
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.astype(dict.fromkeys(("rank", "rank_lo", "rank_hi"), "Int64"))


def _resampled(
    values: Mapping[str, np.ndarray], truth: np.ndarray, codes: np.ndarray, n_resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """Macro AUC of each candidate in each resample; NaN where a class has no film."""
    if not values:
        return {}
    n_classes = next(iter(values.values())).shape[1]
    columns = [1] if n_classes == 2 else range(n_classes)
    per_class = [
        resampled_aucs(
            truth == c, np.column_stack([array[:, c] for array in values.values()]), codes, n_resamples, seed
        )
        for c in columns
    ]
    macro = np.mean(per_class, axis=0)
    return dict(zip(values, macro.T, strict=True))


def _ranks(ranked: list[str], aucs: Mapping, draws: Mapping[str, np.ndarray]) -> dict[str, tuple[int, int, int]]:
    if not ranked:
        return {}
    point = rankdata([-round(aucs[name].value, 12) for name in ranked], method="min")
    table = np.column_stack([draws[name] for name in ranked])
    table = table[~np.isnan(table).any(axis=1)]
    if not len(table):
        return {name: (int(rank), pd.NA, pd.NA) for name, rank in zip(ranked, point, strict=True)}
    each = rankdata(-table.round(12), method="min", axis=1)
    low, high = np.quantile(each, [0.025, 0.975], axis=0, method="inverted_cdf").astype(int)
    return {name: (int(point[i]), int(low[i]), int(high[i])) for i, name in enumerate(ranked)}


def _difference(aucs: Mapping, draws: Mapping[str, np.ndarray], name: str, best: str, n_patients: int) -> dict:
    interval = percentile_interval(aucs[name].value - aucs[best].value, draws[name] - draws[best], n_patients)
    return {"difference_to_best": interval.estimate, "difference_lo": interval.low, "difference_hi": interval.high}


def _apart(aucs: Mapping, draws: Mapping[str, np.ndarray], one: str, other: str, n_patients: int) -> bool:
    """Whether the interval of the paired difference excludes 0; without an interval nothing is told apart."""
    found = percentile_interval(aucs[one].value - aucs[other].value, draws[one] - draws[other], n_patients)
    return found.status == "ok" and not found.low <= 0 <= found.high
