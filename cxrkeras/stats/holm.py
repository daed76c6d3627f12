"""Holm–Bonferroni: p-values of one family of tests, adjusted so that the chance of any false alarm stays at the level.

Knows neither what was tested nor which tests belong together: the caller hands it one family.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cxrkeras.errors import ScoreInputError


def holm(p_values: ArrayLike) -> np.ndarray:
    """Return the adjusted p-values max_{j ≤ i} min(1, (m − j + 1)·p_(j)), in the order received (Holm 1979).

    Args:
        p_values: one family ``[n]``, 0 to 1; a NaN was not tested, stays NaN and does not count in m.

    Returns:
        float64 ``[n]``.

    Raises:
        ScoreInputError: not one row of numbers between 0 and 1.

    Example:
        >>> holm([0.01, float("nan"), 0.04, 0.03]).round(4).tolist()
        [0.03, nan, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    tested = ~np.isnan(p)
    if p.ndim != 1 or (p[tested] < 0).any() or (p[tested] > 1).any():
        raise ScoreInputError(
            f"p-values need the shape [n] and lie between 0 and 1. Received shape {p.shape}, values {p.ravel()[:5]}. "
            "Pass one family of tests as one row."
        )
    known = p[tested]
    order = np.argsort(known, kind="stable")
    steps = np.minimum(1, known[order] * np.arange(len(known), 0, -1))
    adjusted = np.empty(len(known))
    adjusted[order] = np.maximum.accumulate(steps)
    result = np.full(len(p), np.nan)
    result[tested] = adjusted
    return result
