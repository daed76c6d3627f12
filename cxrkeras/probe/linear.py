"""A linear probe: L2-penalised logistic regression on centred features of one global scale.

One scale for all features, not one each: a rotation of the features then changes nothing. Knows no fold and no film.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.probe.logistic import optima, spanned
from cxrkeras.probe.threads import one_thread
from cxrkeras.stats import exact_auc

PROBE_CS = (1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True)
class Probe:
    """A fitted probe, on raw features: centring and scale are folded in.

    Attributes:
        weights: ``[d]`` of two classes (towards the positive one), ``[d, k]`` of k > 2.
        bias: a number, or ``[k]``.
        c: the C it was fitted with.
    """

    weights: np.ndarray
    bias: float | np.ndarray
    c: float

    def logits(self, features: ArrayLike) -> np.ndarray:
        """Return ``[n]`` log-odds of the positive class, or ``[n, k]`` logits of a softmax."""
        return np.asarray(features, np.float64) @ self.weights + self.bias


@one_thread
def fit_probe(features: ArrayLike, labels: ArrayLike, c: float, *, balanced: bool = False) -> Probe:
    """Return the probe that minimises ½‖w‖² + c · Σ_i loss_i, as scikit-learn's `LogisticRegression` does.

    The features are centred and divided by the root mean square of all their centred values; the intercept is not
    penalised; the loss is logistic for two classes and softmax cross-entropy for more.

    Args:
        features: ``[n, d]`` raw.
        labels: bool ``[n]`` (positive), or int ``[n]`` in 0..k − 1.
        c: weight of the summed loss, above 0.
        balanced: weigh each film by n / (k · films of its class).

    Raises:
        ScoreInputError: shapes that do not fit, a value that is not finite, or a class without a film.
        UsageError: `c` is not above 0.

    Example:
        >>> probe = fit_probe([[0.0], [1.0], [3.0], [4.0]], [False, False, True, True], 1.0)
        >>> probe.logits([[0.0], [4.0]]).round(3).tolist()
        [-1.262, 1.262]
    """
    rows, codes = checked(features, labels)
    return probe_path(rows, codes, (c,), balanced=balanced)[0]


@one_thread
def chosen_probe(
    features: ArrayLike,
    labels: ArrayLike,
    validation_features: ArrayLike,
    validation_labels: ArrayLike,
    *,
    cs: Sequence[float] = PROBE_CS,
    balanced: bool = False,
) -> Probe:
    """Return the probe whose C has the highest exact AUC on validation films; ties go to the smaller C.

    Args:
        features, labels, balanced: as in `fit_probe`.
        validation_features: ``[m, d]``.
        validation_labels: as `labels`, ``[m]``.
        cs: the C to choose from.

    Raises:
        ScoreInputError: as `fit_probe`; validation films that lack a class.
        UsageError: as `fit_probe`.
    """
    rows, codes = checked(features, labels)
    held, truth = checked(validation_features, validation_labels)
    if held.shape[1] != rows.shape[1] or truth.max() != codes.max():
        raise ScoreInputError(
            f"validation films need the features and classes of the training films. Expected {rows.shape[1]} features "
            f"and {codes.max() + 1} classes; received {held.shape[1]} and {truth.max() + 1}."
        )
    probes = probe_path(rows, codes, cs, balanced=balanced)
    return probes[best_c([exact_auc(truth, class_log_odds(probe.logits(held))).value for probe in probes])]


def best_c(aucs: Sequence[float]) -> int:
    """Return the place of the highest AUC in a row for rising C; of equals the first."""
    # AUCs of the same films differ by a pair or not at all: below that only rounding is left.
    return int(np.argmax(np.round(aucs, 12)))


def class_log_odds(logits: np.ndarray) -> np.ndarray:
    """Return log p_c − log(1 − p_c) of each class ``[n, k]``, k ≥ 2, from a probe's logits ``[n]`` or ``[n, k]``."""
    if logits.ndim == 1:
        return np.stack([-logits, logits], axis=1)
    others = logits[:, None, :].repeat(logits.shape[1], axis=1)
    others[:, np.arange(logits.shape[1]), np.arange(logits.shape[1])] = -np.inf
    return logits - np.logaddexp.reduce(others, axis=2)


def probe_path(
    rows: np.ndarray, codes: np.ndarray, cs: Sequence[float], *, balanced: bool = False, width: int | None = None
) -> list[Probe]:
    """Return a probe per C on checked arrays, each fit starting from the one before.

    Args:
        rows: ``[n, d]`` float64.
        codes: int ``[n]``, every class of 0..k − 1 present.
        cs: each above 0.
        balanced: as in `fit_probe`.
        width: number of features that the mean square is taken over, where the rows were rotated into fewer.

    Raises:
        UsageError: a C that is not above 0.
        ScoreInputError: features that do not vary.
    """
    if not all(c > 0 and np.isfinite(c) for c in cs):
        raise UsageError(f"C must be above 0. Received {', '.join(map(str, cs))}. Use for example 0.01.")
    centre = rows.mean(axis=0)
    centred = rows - centre
    scale = float(np.sqrt(np.sum(centred**2) / (len(rows) * (width or rows.shape[1]))))
    if not scale > np.finfo(np.float64).eps * np.abs(rows).max():
        raise ScoreInputError(
            "the features are the same for all films, so there is nothing to learn. Expected features that vary. "
            "Check the weights and the preprocessing that they were computed with."
        )
    probes = []
    for c, (found, offset) in zip(cs, optima(spanned(centred / scale), codes, cs, balanced=balanced), strict=True):
        weights = found / scale
        bias = offset - centre @ weights
        binary = weights.shape[1] == 1
        probes.append(Probe(weights[:, 0] if binary else weights, float(bias[0]) if binary else bias, float(c)))
    return probes


def checked(features: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return features as float64 ``[n, d]`` and labels as int ``[n]`` with every class of 0..k − 1, k ≥ 2.

    Raises:
        ScoreInputError: they cannot be read so.
    """
    rows, codes = np.asarray(features, np.float64), np.asarray(labels)
    if rows.ndim != 2 or not rows.size or codes.shape != rows.shape[:1]:
        raise ScoreInputError(
            f"a probe needs features [n, d] and one label per film. Received shapes {rows.shape} and {codes.shape}."
        )
    if not np.isfinite(rows).all():
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        raise ScoreInputError(
            f"features must be finite. Received {len(bad)} films with NaN or infinity, first at row {bad[0]}. "
            "Check the weights they were computed with."
        )
    if codes.dtype.kind not in "biu":
        raise ScoreInputError(f"labels must be whole numbers 0..k − 1, or true and false. Received {codes.dtype}.")
    codes = codes.astype(np.intp)
    found = np.unique(codes)
    if codes.min() < 0 or len(found) < 2 or len(found) != codes.max() + 1:
        raise ScoreInputError(
            f"every class from 0 to k − 1 needs a film, and there must be two. Received the classes {found.tolist()}. "
            "Leave the class out, or add films of it."
        )
    return rows, codes
