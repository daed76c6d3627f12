"""Means over pairs with what they become without each patient, and their standard errors.

The patient is the unit everywhere: films of one patient, and all pairs of one film, move together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxrkeras.consistency.pairs import PairSums
from cxrkeras.stats import jackknife_stderr

# Weights left over by rounding when the last pair is taken away.
NOTHING_LEFT = 1e-9


@dataclass(frozen=True)
class PairMean:
    """A weighted mean of pair scores, exact or from drawn pairs.

    Attributes:
        value: the mean.
        weights: Σ w over all its pairs.
        left_out: the mean without patient P, ``[P]``; NaN where no pair is left.
        n_pairs: pairs scored.
        sampling_variance: variance that comes from drawing pairs; 0 when exact.
        noise: what drawing pairs alone adds to Σ_P (value − left_out)²; a pair touches two patients, so this is
            about twice the sampling variance.
        sampled: the pairs were drawn.
    """

    value: float
    weights: float
    left_out: np.ndarray
    n_pairs: int
    sampling_variance: float = 0.0
    noise: float = 0.0
    sampled: bool = False

    def __sub__(self, other: PairMean) -> PairMean:
        return PairMean(
            self.value - other.value,
            self.weights,
            self.left_out - other.left_out,
            self.n_pairs,
            self.sampling_variance + other.sampling_variance,
            self.noise + other.noise,
            self.sampled or other.sampled,
        )


def exact_mean(sums: PairSums, column: int) -> PairMean:
    """Return Σws/Σw at one threshold, and (N − N_P)/(D − D_P) without each patient."""
    total, weights = sums.weighted[column], sums.weights[column]
    left_weights = weights - sums.touching_weights[:, column]
    left_total = total - sums.touching_weighted[:, column]
    defined = left_weights > NOTHING_LEFT * weights
    left_out = np.divide(left_total, left_weights, out=np.full(len(left_total), np.nan), where=defined)
    value = total / weights if weights > 0 else np.nan
    return PairMean(float(value), float(weights), left_out, int(sums.count[column]))


def mean_over_classes(means: Sequence[PairMean]) -> PairMean:
    """Return the mean of several classes' means, with what it becomes without each patient in all of them at once.

    Args:
        means: one per class, over different pairs, their patients numbered alike; at least one.
    """
    share = 1 / len(means)
    return PairMean(
        value=float(np.mean([mean.value for mean in means])),
        weights=sum(mean.weights for mean in means),
        left_out=np.mean([mean.left_out for mean in means], axis=0),
        n_pairs=sum(mean.n_pairs for mean in means),
        sampling_variance=share**2 * sum(mean.sampling_variance for mean in means),
        noise=share**2 * sum(mean.noise for mean in means),
        sampled=any(mean.sampled for mean in means),
    )


def standard_error(mean: PairMean, patients: np.ndarray) -> float:
    """Return the standard error over the patients that have a film in the mean.

    Args:
        mean: exact: delete-one-patient jackknife. Drawn pairs: the same of the drawn pairs, without the noise that
            drawing adds to it, plus the sampling variance; at least the sampling error. For many patients this is
            (1/m²)·Σ_P(Σ_{pairs touching P}(s − mean))² − sd²/m.
        patients: numbers of those patients, int ``[G]``.

    Returns:
        NaN when G < 3, or when the mean is undefined without one of them.
    """
    left_out = mean.left_out[patients]
    if len(patients) < 3 or np.isnan(left_out).any():
        return float("nan")
    if not mean.sampled:
        return jackknife_stderr(left_out)
    between = np.sum((mean.value - left_out) ** 2) - mean.noise
    return float(np.sqrt(max(between, 0) * (len(patients) - 1) / len(patients) + mean.sampling_variance))
