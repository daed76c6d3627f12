"""Estimate a ScoreCAM sum from some of its channels, without bias and with a stated half-width.

NumPy only; knows no model. Channels are drawn in proportion to their energy and without replacement; the mean weight of
the earlier draws stands in for the channels that were not drawn.
"""

from __future__ import annotations

import hashlib

import numpy as np
from scipy import stats

# the half-width is looked at after 64, 96, 128, … draws only: stopping at any draw lets luck decide and costs coverage
FIRST_LOOK, LOOK_EVERY = 64, 32


def channel_energy(features: np.ndarray) -> np.ndarray:
    """Return ‖A_k‖₂ of each channel, float64 ``[K]``, of features ``[h, w, K]``; 0 only for an all-zero channel."""
    flat = np.asarray(features, np.float64).reshape(-1, features.shape[-1])
    peak = np.abs(flat).max(axis=0)
    scaled = flat / np.where(peak > 0, peak, 1)
    return peak * np.sqrt((scaled**2).sum(axis=0))


def draw_order(energy: np.ndarray, seed: int, film_id: str) -> np.ndarray:
    """Order the live channels as they are drawn: exponential keys e_k / q_k, smallest first.

    Args:
        energy: ``[K]``; channels with energy 0 are dead and never drawn.
        seed: of the whole run.
        film_id: of the film, so that the draw does not depend on the batch it came in.

    Returns:
        Channel indices, int ``[n_live]``.
    """
    digest = hashlib.sha256(f"{seed}\0{film_id}".encode()).digest()
    keys = np.random.default_rng(np.frombuffer(digest, np.uint32)).exponential(size=len(energy))
    live = np.flatnonzero(energy > 0)
    return live[np.argsort(keys[live] / energy[live], kind="stable")]


def sampled_sum(
    features: np.ndarray, drawn: np.ndarray, weights: np.ndarray, energy: np.ndarray, baseline: float
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate Σ_k w_k A_k from the weights of the channels drawn first.

    X_t = Σ_{j<t} w_j A_j + m_{t−1} (T − Σ_{j<t} A_j) + (w_t − m_{t−1}) A_t R_t / q_t, and the estimate is the mean of
    X_1..X_n: unbiased, because m_{t−1} uses only earlier draws.

    Args:
        features: A, ``[h, w, K]``.
        drawn: channels in the order of the draw, int ``[n]``.
        weights: their weights, ``[n]``.
        energy: ``[K]``, proportional to q.
        baseline: m_0, the class probability of the film itself.

    Returns:
        The estimate ``[h, w]`` and its pointwise 95 % half-width ``[h, w]``, float64; the half-width is NaN for a
        single draw. It is Student's: where a few channels have weights far from all others, and few of those are
        drawn, it is too narrow. Measured with 64 draws on small nets: 89 to 95 % of the cells covered where weights are
        spread evenly, 64 to 83 % where they take two or three values, fewer still on a saturated net, where every
        weight is the same and the map `uninformative`.
    """
    features = np.asarray(features, np.float64)
    weights = np.asarray(weights, np.float64)
    share = energy / energy.sum()
    n = len(drawn)
    channels = np.moveaxis(features[..., drawn], -1, 0)
    remaining = 1 - np.concatenate([[0.0], np.cumsum(share[drawn])[:-1]])
    means = np.concatenate([[baseline], np.cumsum(weights)[:-1] / np.arange(1, n)])
    seen_weighted = np.cumsum(weights[:, None, None] * channels, axis=0) - weights[:, None, None] * channels
    seen = np.cumsum(channels, axis=0) - channels
    correction = ((weights - means) * remaining / share[drawn])[:, None, None] * channels
    terms = seen_weighted + means[:, None, None] * (features.sum(axis=-1) - seen) + correction
    estimate = terms.mean(axis=0)
    if n == 1:
        return estimate, np.full_like(estimate, np.nan)
    return estimate, stats.t.ppf(0.975, n - 1) * terms.std(axis=0, ddof=1) / np.sqrt(n)


def next_look(drawn: int, most: int, tolerance: float | None) -> int:
    """How many channels have to be drawn before the estimate is looked at next.

    Args:
        drawn: channels drawn so far.
        most: channels that may be drawn.
        tolerance: None to draw them all without a look.
    """
    if tolerance is None:
        return most
    return min(most, max(FIRST_LOOK, drawn + LOOK_EVERY))


def relative_half_width(values: np.ndarray, half_width: np.ndarray) -> float:
    """The largest half-width of a cell over the maximum of the map.

    Args:
        values: the map as it is given out, rectified, ``[h, w]``.
        half_width: ``[h, w]``; 0 for an exact map.

    Returns:
        NaN for a map without a positive cell: an error cannot be stated in parts of a maximum of 0, so no tolerance is
        ever reached and sampling goes on to the exact map.
    """
    highest = float(np.max(values))
    return float(np.max(half_width)) / highest if highest > 0 else float("nan")
