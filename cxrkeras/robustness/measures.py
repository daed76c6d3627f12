"""What every arm scores on every split, beside AUC also what a threshold and a probability are worth, and per film.

AUC alone hides a shift of all answers. Knows no network and no file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit

from cxrkeras.errors import ScoreInputError
from cxrkeras.robustness.answers import ArmAnswers, TestFilms, checked_arms
from cxrkeras.robustness.split_aucs import split_aucs
from cxrkeras.stats import expected_calibration_error

NAN = float("nan")
ARM = ("source", "arch", "mode", "seed", "fold", "confounder")
RESULT_COLUMNS = (
    *ARM, "level", "kind", "p", "split", "n_pos", "n_neg", "auc", "ci_lo", "ci_hi",
    "sensitivity", "specificity", "threshold", "ece", "n_patients", "status",
)  # fmt: skip
PREDICTION_COLUMNS = (*ARM, "p", "image", "patient", "positive", "artefact", "logit", "probability")


def results_table(
    answers: Sequence[ArmAnswers], films: TestFilms, *, n_resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Return what each arm scores on each of its splits.

    Args:
        answers: the arms; at most one sampled confounder, whose values are `films.has`.
        films: the test films.
        n_resamples, seed: of the patient bootstrap.

    Returns:
        `RESULT_COLUMNS`, a row per arm and split: exact AUC (ties one half) with a 95 % patient-bootstrap interval,
        sensitivity and specificity at the arm's `threshold`, expected calibration error of both classes'
        probabilities. `status`: ``ok``; ``too_few_patients`` (below 10: no interval); ``class_absent`` (no positive
        or no negative film: AUC NaN); ``not_finite`` (the arm's answers: everything NaN).

    Raises:
        ScoreInputError: answers that do not fit the films, or an arm that stands twice.
    """
    arms = checked_arms(answers, films)
    aucs = split_aucs(arms, films, [arm.splits for arm in arms], n_resamples, seed)
    rows = []
    for (number, split), column in aucs.columns.items():
        arm, logits = arms[number], aucs.logits[:, column]
        low, high, status = aucs.interval(column)
        row = {name: getattr(arm, name) for name in (*ARM, "level", "kind", "p", "threshold")}
        row |= {"split": split, "auc": aucs.estimates[column], "ci_lo": low, "ci_hi": high, "status": status}
        row |= {"n_patients": aucs.n_patients[column]}
        rows.append(row | _at_threshold(films.positive, logits, arm.threshold))
    return pd.DataFrame(rows, columns=list(RESULT_COLUMNS))


def predictions_table(answers: Sequence[ArmAnswers], films: TestFilms) -> pd.DataFrame:
    """Return every answer of every arm.

    Args:
        answers, films: as in `results_table`.

    Returns:
        `PREDICTION_COLUMNS`, a row per arm and film; with a planted artefact two, without (`artefact` 0) and with it
        (1). Where nothing can be planted, `artefact` says whether the film has the value. `logit`: log-odds of the
        positive class.

    Raises:
        ScoreInputError: as `results_table`.
    """
    arms = checked_arms(answers, films)
    n = len(films.positive)
    # a column per arm would be slow: thousands of rows each, hundreds of arms
    versions = [(arm, carried, logits) for arm in arms for carried, logits in _versions(arm, films)]
    frame = {name: np.repeat(np.array([getattr(a, name) for a, _, _ in versions]), n) for name in (*ARM, "p")}
    frame |= {"image": np.tile(np.asarray(list(films.images), object), len(versions))}
    frame |= {"patient": np.tile(np.asarray(list(films.patients), object), len(versions))}
    frame |= {"positive": np.tile(np.asarray(films.positive, np.int64), len(versions))}
    frame |= {"artefact": _joined([carried for _, carried, _ in versions], np.int64)}
    logits = _joined([logits for _, _, logits in versions], np.float64)
    return pd.DataFrame(frame | {"logit": logits, "probability": expit(logits)}, columns=list(PREDICTION_COLUMNS))


def youden_threshold(positive: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the threshold t (probability ≥ t is positive) with the largest Youden index, on clean validation films.

    Sensitivity + specificity − 1 only changes at the values received, so t lies midway between two neighbouring ones
    (or between the outermost and 0 or 1); of equally good ones the nearest 0.5 counts, then the smaller.

    Args:
        positive: bool ``[n]``.
        probabilities: of the positive class ``[n]``, 0 to 1.

    Returns:
        0 to 1; NaN where a class is absent, since no threshold separates anything then.

    Raises:
        ScoreInputError: shapes that differ, or values that are not probabilities.

    Example:
        >>> youden_threshold([False, False, True, True], [0.1, 0.25, 0.5, 0.9])
        0.375
    """
    truth, values = np.asarray(positive, bool), np.asarray(probabilities, np.float64)
    if truth.ndim != 1 or truth.shape != values.shape or not ((values >= 0) & (values <= 1)).all():
        raise ScoreInputError(
            "a threshold needs one truth value and one probability, 0 to 1, per film. "
            f"Received shapes {truth.shape} and {values.shape}, values {values.ravel()[:5]}."
        )
    if truth.all() or not truth.any():
        return NAN
    edges = np.unique([0.0, *values, 1.0])
    middles = (edges[:-1] + edges[1:]) / 2
    # between two neighbouring floating-point numbers there is no third
    middles = np.where(middles > edges[:-1], middles, edges[1:])
    found, alarms = (
        len(own) - np.searchsorted(np.sort(own), middles, side="left") for own in (values[truth], values[~truth])
    )
    # in whole films, so that equally good thresholds are exactly equal
    index = found * np.count_nonzero(~truth) - alarms * np.count_nonzero(truth)
    best = middles[index == index.max()]
    return float(best[np.argmin(np.abs(best - 0.5))])


def _at_threshold(positive: np.ndarray, logits: np.ndarray, threshold: float) -> dict[str, float]:
    """Films of each class, and what is right of them at the threshold."""
    known = ~np.isnan(logits)
    truth, probabilities = positive[known], expit(logits[known])
    called = probabilities >= threshold
    fixed = np.isfinite(threshold)
    return {
        "n_pos": int(truth.sum()),
        "n_neg": int((~truth).sum()),
        "sensitivity": float(called[truth].mean()) if fixed and truth.any() else NAN,
        "specificity": float((~called[~truth]).mean()) if fixed and not truth.all() else NAN,
        "ece": expected_calibration_error(truth.astype(np.intp), probabilities),
    }


def _versions(arm: ArmAnswers, films: TestFilms) -> list[tuple[np.ndarray, np.ndarray]]:
    """Who carries the artefact, and the answers, of each version of the films."""
    if arm.touched is None:
        return [(films.has, arm.untouched)]
    none = np.zeros(len(films.positive), bool)
    return [(none, arm.untouched), (~none, arm.touched)]


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype)
