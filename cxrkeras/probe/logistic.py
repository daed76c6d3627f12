"""The optimum of L2-penalised logistic regression, by Newton's method in the space that the films span.

With more features than films the optimum lies in the span of the films, so that the features are first rotated into
it; the penalty does not notice. Knows arrays only: no features' meaning, no fold, no choice of C.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from cxrkeras.errors import ScoreInputError

TOLERANCE = 1e-10
MOST_STEPS, MOST_TURNS = 100, 400
# Armijo's share of the decrease that a step promises, and the rounding of the objective near the optimum.
SUFFICIENT, ROUNDING = 1e-4, 1e-12


@dataclass(frozen=True)
class Spanned:
    """Centred rows and their coordinates along their principal axes.

    Attributes:
        rows: the centred and scaled features ``[n, d]``.
        coordinates: the same rows along their principal axes, ``[n, r]``, r ≤ min(n, d).
        energy: sum of squares of each coordinate, ``[r]``.
        axes: the principal axes ``[d, r]``; None where there are more features than rows.
    """

    rows: np.ndarray
    coordinates: np.ndarray
    energy: np.ndarray
    axes: np.ndarray | None


def spanned(rows: np.ndarray) -> Spanned:
    """Return rows with their coordinates along the principal axes.

    Args:
        rows: ``[n, d]`` float64, centred.
    """
    wide = rows.shape[1] > rows.shape[0]
    energy, axes = np.linalg.eigh(rows @ rows.T if wide else rows.T @ rows)
    kept = energy > max(energy[-1], 0) * np.finfo(np.float64).eps * len(energy)
    energy, axes = energy[kept], axes[:, kept]
    if wide:
        return Spanned(rows, axes * np.sqrt(energy), energy, None)
    return Spanned(rows, rows @ axes, energy, axes)


@dataclass(frozen=True)
class Optimum:
    """Where the penalised loss is smallest.

    Attributes:
        coordinates: weights along the principal axes and, last, the intercept, ``[r + 1, m]``.
        weights: weights of the scaled features ``[d, m]``.
        bias: ``[m]``; of several columns, which softmax leaves open up to a shift, with mean 0.
    """

    coordinates: np.ndarray
    weights: np.ndarray
    bias: np.ndarray


def optimum(data: Spanned, truth: np.ndarray, c: float, weight: np.ndarray, start: np.ndarray | None = None) -> Optimum:
    """Return the minimum of ½‖w‖² + c · Σ_i weight_i · loss_i; the intercept is not penalised.

    Args:
        data: the films.
        truth: ``[n, 1]`` 0 or 1 (logistic loss), or one-hot ``[n, k]`` (softmax cross-entropy).
        c: weight of the summed loss.
        weight: of each film ``[n]``.
        start: `coordinates` of the optimum of another c, to start from.

    Raises:
        ScoreInputError: no convergence.
    """
    loss = _Loss(truth, weight * c)
    inner = np.column_stack([data.coordinates, np.ones(len(truth))])
    penalty = np.append(np.ones(len(data.energy)), 0.0)[:, None]
    lengths = np.append(data.energy, float(len(truth)))[:, None]
    x = np.zeros((len(penalty), truth.shape[1])) if start is None else start
    scores = inner @ x
    for _ in range(MOST_STEPS):
        likely = loss.probabilities(scores)
        gradient = penalty * x + inner.T @ loss.slope(likely)
        metric = penalty + lengths * loss.curvature(likely)
        size = np.sqrt(np.sum(gradient**2 / metric))
        if size <= TOLERANCE * np.sqrt(1 + np.sum(metric * x**2)):
            # at the optimum w = −Σ slope_i · z_i, which needs no division by small energies
            weights = -data.rows.T @ loss.slope(likely) if data.axes is None else data.axes @ x[:-1]
            return Optimum(x, weights, x[-1] - (x[-1].mean() if truth.shape[1] > 1 else 0))
        step = _newton_step(inner, penalty, metric, gradient, lambda v, p=likely: loss.bend(p, v), min(0.1, size))
        x, scores = _descended(loss, penalty, x, scores, step, inner @ step, float(np.sum(gradient * step)))
    raise ScoreInputError(
        f"the probe did not converge in {MOST_STEPS} Newton steps at C = {c:g}. Expected finite features of ordinary "
        "size. Check them for extreme values, or take a smaller C."
    )


def _newton_step(inner, penalty, metric, gradient, bend, accuracy) -> np.ndarray:
    """Conjugate gradients on the Hessian, preconditioned by its diagonal along the principal axes."""
    step, rest = np.zeros_like(gradient), -gradient
    scaled = rest / metric
    direction, power = scaled, np.sum(rest * scaled)
    goal = accuracy**2 * power
    for _ in range(MOST_TURNS):
        pushed = penalty * direction + inner.T @ bend(inner @ direction)
        along = power / np.sum(direction * pushed)
        step, rest = step + along * direction, rest - along * pushed
        scaled = rest / metric
        before, power = power, np.sum(rest * scaled)
        if power <= goal:
            break
        direction = scaled + power / before * direction
    return step


def _descended(loss, penalty, x, scores, step, reach, slope) -> tuple[np.ndarray, np.ndarray]:
    """The point along the step, halved until the objective falls enough."""
    here = loss.value(scores) + np.sum(penalty * x**2) / 2
    share = 1.0
    while share > ROUNDING:
        there, new = x + share * step, scores + share * reach
        value = loss.value(new) + np.sum(penalty * there**2) / 2
        if value <= here + SUFFICIENT * share * slope + ROUNDING * abs(here):
            break
        share /= 2
    return there, new


@dataclass(frozen=True)
class _Loss:
    """Logistic loss of one column, or softmax cross-entropy of several, weighted by film."""

    truth: np.ndarray
    weight: np.ndarray

    @property
    def _binary(self) -> bool:
        return self.truth.shape[1] == 1

    def value(self, scores: np.ndarray) -> float:
        if self._binary:
            each = np.logaddexp(0, scores) - self.truth * scores
        else:
            each = special.logsumexp(scores, axis=1, keepdims=True) - np.sum(self.truth * scores, 1, keepdims=True)
        return float(self.weight @ each[:, 0])

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        return special.expit(scores) if self._binary else special.softmax(scores, axis=1)

    def slope(self, likely: np.ndarray) -> np.ndarray:
        return self.weight[:, None] * (likely - self.truth)

    def curvature(self, likely: np.ndarray) -> float:
        return float(np.mean(self.weight[:, None] * likely * (1 - likely)))

    def bend(self, likely: np.ndarray, change: np.ndarray) -> np.ndarray:
        if self._binary:
            return self.weight[:, None] * likely * (1 - likely) * change
        moved = likely * change
        return self.weight[:, None] * (moved - likely * moved.sum(axis=1, keepdims=True))
