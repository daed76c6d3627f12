"""LogME: the evidence of a Bayesian linear model of the labels on frozen features (You et al., ICML 2021).

Each class is regressed, one against the rest, without an intercept; the variances of weights and noise are those of
the highest evidence. Knows no film and no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg, optimize

from cxrkeras.errors import ScoreInputError
from cxrkeras.probe.threads import one_thread
from cxrkeras.stats import jackknife_stderr

UNBOUNDED, CLASS_ABSENT, CONSTANT, OK = "unbounded", "class_absent", "constant_features", "ok"
# ratios of noise to weight variance looked at, in units of the largest and smallest energy
REACH, STEPS = 1e8, 120
INSIDE = 1e-12


@dataclass(frozen=True)
class FeatureScore:
    """A score of features against labels.

    Attributes:
        value: NaN unless `status` is ``ok``.
        stderr: delete-group jackknife over groups of patients; NaN without groups, or where a group's absence
            leaves the score undefined.
        status: ``ok`` or why there is no value.
    """

    value: float
    stderr: float
    status: str


@one_thread
def logme(features: ArrayLike, labels: ArrayLike, groups: Sequence[np.ndarray] = ()) -> FeatureScore:
    """Return mean over classes of max_{α, β} log p(y_c | F, α, β) / N, y_c = 1 for films of class c, else 0.

    p is N(0, I/β + F Fᵀ/α). With one decomposition of F Fᵀ the maximum over β is closed form and the one over α/β a
    search on a line, so that the highest of several maxima is found.

    Args:
        features: ``[n, d]``, no row twice (`distinct_features`): repeated rows make the value meaningless.
        labels: int ``[n]``, 0..k − 1.
        groups: rows of each group of patients, for the standard error.

    Returns:
        Status ``unbounded``: the labels are a linear function of fewer features than films, so that the evidence has
        no maximum. ``class_absent``: a class without films. ``constant_features``: nothing but zeros.

    Raises:
        ScoreInputError: shapes that do not fit together.
    """
    values, truth = np.asarray(features, np.float64), np.asarray(labels)
    if values.ndim != 2 or truth.shape != values.shape[:1]:
        raise ScoreInputError(
            f"expected features [n, d] and one label per film. Received {values.shape} and {truth.shape}."
        )
    targets = (truth[:, None] == np.arange(truth.max() + 1)).astype(np.float64)
    if targets.shape[1] < 2 or not targets.any(axis=0).all():
        return FeatureScore(np.nan, np.nan, CLASS_ABSENT)
    if not values.any():
        return FeatureScore(np.nan, np.nan, CONSTANT)
    model = _decomposed(values)
    if any(model.unbounded(y) for y in targets.T):
        return FeatureScore(np.nan, np.nan, UNBOUNDED)
    best = [_highest(lambda x, y=y: model.evidence(x, y), model.search) for y in targets.T]
    left_out = np.array([_without(model, targets, [x for x, _ in best], rows) for rows in groups])
    stderr = jackknife_stderr(left_out) if len(left_out) else np.nan
    return FeatureScore(float(np.mean([value for _, value in best]) / len(values)), stderr, OK)


@dataclass(frozen=True)
class _Decomposed:
    """F Fᵀ = U diag(energy) Uᵀ, and the logarithms of α/β that are searched."""

    basis: np.ndarray
    energy: np.ndarray

    @property
    def whole(self) -> bool:
        return self.basis.shape[0] == self.basis.shape[1]

    @property
    def search(self) -> np.ndarray:
        low, high = self.energy.min() / REACH, self.energy.max() * REACH
        return np.linspace(np.log(low), np.log(high), STEPS)

    def unbounded(self, y: np.ndarray) -> bool:
        outside = y @ y - np.sum((self.basis.T @ y) ** 2)
        return not self.whole and outside <= INSIDE * (y @ y)

    def evidence(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Log evidence at the best β for each log α/β."""
        inside = (self.basis.T @ y) ** 2
        outside = 0.0 if self.whole else max(y @ y - inside.sum(), 0.0)
        t = np.exp(np.atleast_1d(x))[:, None]
        misfit = (inside * (t / (t + self.energy))).sum(axis=1) + outside
        return _log_evidence(len(y), misfit, np.log1p(self.energy / t).sum(axis=1))

    def evidence_without(self, x: float, y: np.ndarray, rows: np.ndarray) -> float:
        """The same of the films that are not in `rows`, by the Schur complement of their block of the inverse."""
        t = np.exp(x)
        kept = y.copy()
        kept[rows] = 0
        shrunk = t / (t + self.energy)
        ours, inside = self.basis[rows], self.basis.T @ kept
        block = (ours * shrunk) @ ours.T
        across = ours @ (shrunk * inside)
        misfit = inside @ (shrunk * inside)
        if not self.whole:
            block += np.eye(len(rows)) - ours @ ours.T
            across -= ours @ inside
            misfit += kept @ kept - inside @ inside
        factor = linalg.cholesky(block, lower=True)
        across = linalg.solve_triangular(factor, across, lower=True)
        spread = np.log1p(self.energy / t).sum() + 2 * np.log(np.diag(factor)).sum()
        return float(_log_evidence(len(y) - len(rows), misfit - across @ across, spread))


def _log_evidence(n: int, misfit: np.ndarray, spread: np.ndarray) -> np.ndarray:
    return -(spread + n * (np.log(misfit / n) + 1 + np.log(2 * np.pi))) / 2


def _decomposed(values: np.ndarray) -> _Decomposed:
    wide = values.shape[1] > values.shape[0]
    energy, axes = np.linalg.eigh(values @ values.T if wide else values.T @ values)
    kept = energy > energy[-1] * max(values.shape) * np.finfo(np.float64).eps
    energy, axes = energy[kept], axes[:, kept]
    return _Decomposed(axes if wide else values @ axes / np.sqrt(energy), energy)


def _highest(evidence, search: np.ndarray) -> tuple[float, float]:
    """Where on the line the evidence is highest, and its value: the best of the steps, refined between neighbours."""
    values = evidence(search)
    place = int(np.argmax(values))
    low, high = search[max(place - 1, 0)], search[min(place + 1, len(search) - 1)]
    found = optimize.minimize_scalar(
        lambda x: -float(evidence(x)[0]), bounds=(low, high), method="bounded", options={"xatol": 1e-10}
    )
    at_step = float(values[place])
    return (float(found.x), float(-found.fun)) if -found.fun > at_step else (float(search[place]), at_step)


def _without(model: _Decomposed, targets: np.ndarray, starts: list[float], rows: np.ndarray) -> float:
    """LogME of the films outside `rows`, searched around the maximum of all films."""
    n = len(targets) - len(rows)
    total = 0.0
    for y, start in zip(targets.T, starts, strict=True):
        if not np.delete(y, rows).any():
            return float("nan")
        try:
            found = _nearby(lambda x, y=y: model.evidence_without(x, y, rows), start)
        except linalg.LinAlgError:
            return float("nan")
        total += found
    return total / targets.shape[1] / n


def _nearby(evidence, start: float) -> float:
    """The highest evidence around a place on the line, further out where it still rises at the end."""
    for reach in (3.0, 12.0, 36.0):
        bounds = (start - reach, start + reach)
        found = optimize.minimize_scalar(
            lambda x: -evidence(x), bounds=bounds, method="bounded", options={"xatol": 1e-5}
        )
        if abs(found.x - start) < 0.99 * reach:
            break
    return -float(found.fun)
