"""Out-of-fold answers of a linear probe: every film answered by a probe that saw none of its patient's films.

Knows no network and no film beyond its features, class and patient.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import StratifiedGroupKFold

from cxrkeras.errors import ScoreInputError
from cxrkeras.probe.linear import PROBE_CS, best_c, checked, class_log_odds, probe_path
from cxrkeras.probe.logistic import spanned
from cxrkeras.probe.threads import one_thread
from cxrkeras.stats import exact_auc, patient_codes

INNER_SPLITS = 3
OK, FEWER_SPLITS, C_NOT_CHOSEN = "ok", "fewer_splits", "c_not_chosen"


@dataclass(frozen=True)
class OutOfFold:
    """What the probes of a grouped cross-validation say of the films they did not see.

    Attributes:
        scores: log-odds of each class ``[n, k]``, k ≥ 2, pooled over the folds; `exact_auc` takes them.
        fold: the fold that held each film out, int ``[n]``.
        cs: the C chosen in each fold, ``[n_splits]``.
        n_splits: folds.
        status: ``ok``; ``fewer_splits`` where a class had too few patients for all the folds asked for;
            ``c_not_chosen`` where in a fold too few patients were left to choose C, so that it is the smallest.
    """

    scores: np.ndarray
    fold: np.ndarray
    cs: np.ndarray
    n_splits: int
    status: str


@one_thread
def out_of_fold(
    features: ArrayLike,
    labels: ArrayLike,
    patients: Iterable[Hashable] | None,
    *,
    seed: int = 0,
    n_splits: int = 5,
    cs: Sequence[float] = PROBE_CS,
    balanced: bool = False,
) -> OutOfFold:
    """Return out-of-fold scores of probes whose C is chosen inside each fold, always with whole patients.

    The folds depend on labels, patients and seed only, so several sets of features are answered on the same folds. C
    is the one with the highest mean of exact AUCs over three inner folds; ties go to the smaller.

    Args:
        features: ``[n, d]`` raw.
        labels: bool or int ``[n]``, 0..k − 1.
        patients: id per film ``[n]``; None makes every film its own patient.
        seed: of both splits.
        n_splits: folds asked for, at least 2.
        cs: the C to choose from, rising.
        balanced: as in `fit_probe`.

    Raises:
        ScoreInputError: as `fit_probe`; a class with fewer than two patients.
        UsageError: as `fit_probe`.
    """
    rows, codes = checked(features, labels)
    groups = patient_codes(patients, len(rows))
    width = rows.shape[1]
    if width > len(rows):
        # a rotation: distances between films stay, and with them every probe
        rows = spanned(rows - rows.mean(axis=0)).coordinates
    parts = grouped_folds(codes, groups, n_splits, seed)
    if not parts:
        raise ScoreInputError(
            "the films cannot be split so that every probe learns every class: patients per class "
            f"{_patients_per_class(codes, groups).tolist()}. Expected at least 2 in each. Add films of other patients."
        )
    scores = np.empty((len(rows), codes.max() + 1))
    fold = np.empty(len(rows), np.intp)
    chosen, unchosen = [], False
    for number, (train, held) in enumerate(parts):
        place = _chosen(rows[train], codes[train], groups[train], cs, seed, balanced, width)
        unchosen |= place is None
        c = cs[place or 0]
        probe = probe_path(rows[train], codes[train], (c,), balanced=balanced, width=width)[0]
        scores[held], fold[held] = class_log_odds(probe.logits(rows[held])), number
        chosen.append(c)
    status = C_NOT_CHOSEN if unchosen else OK if len(parts) == n_splits else FEWER_SPLITS
    return OutOfFold(scores, fold, np.array(chosen), len(parts), status)


def grouped_folds(
    codes: np.ndarray, groups: np.ndarray, n_splits: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return `(train, held)` rows of stratified folds of whole patients, every class in every training part.

    Args:
        codes: int ``[n]`` class of each film.
        groups: int ``[n]`` patient of each film.
        n_splits: folds asked for; fewer, down to 2, where a class has not the patients for them.
        seed: of the shuffling.

    Returns:
        The folds; none where even two do not work.
    """
    classes = len(np.unique(codes))
    for splits in range(min(n_splits, int(_patients_per_class(codes, groups).min())), 1, -1):
        splitter = StratifiedGroupKFold(splits, shuffle=True, random_state=seed)
        parts = list(splitter.split(codes, codes, groups))
        if all(len(held) and len(np.unique(codes[train])) == classes for train, held in parts):
            return parts
    return []


def _patients_per_class(codes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return np.array([len(np.unique(groups[codes == c])) for c in np.unique(codes)])


def _chosen(rows, codes, groups, cs, seed, balanced, width) -> int | None:
    """Place of the C with the highest mean AUC over inner folds; None where no inner fold has every class."""
    if len(cs) == 1:
        return 0
    aucs = []
    for train, held in grouped_folds(codes, groups, INNER_SPLITS, seed):
        probes = probe_path(rows[train], codes[train], cs, balanced=balanced, width=width)
        each = [class_log_odds(probe.logits(rows[held])) for probe in probes]
        if len(np.unique(codes[held])) == codes.max() + 1:
            aucs.append([exact_auc(codes[held], scores).value for scores in each])
    return best_c(np.mean(aucs, axis=0)) if aucs else None
