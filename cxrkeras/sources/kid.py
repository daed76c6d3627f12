"""KID: how far two sets of films lie apart in a fixed, named extractor (Bińkowski et al., ICLR 2018).

A similarity, never a rank. Knows features only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cxrkeras.errors import ScoreInputError

SUBSETS, LARGEST = 100, 1000
# entries of a kernel that is computed once rather than for each subset
KEPT = 25_000_000


@dataclass(frozen=True)
class Kid:
    """A kernel distance over subsets.

    Attributes:
        value: mean over the subsets; of equal distributions 0 on average, so that it may be negative.
        sd: standard deviation over the subsets.
        n_subsets: subsets drawn.
        subset_size: films of each set in a subset.
        status: ``ok`` or ``too_few_films`` (fewer than 4 in one set).
    """

    value: float
    sd: float
    n_subsets: int
    subset_size: int
    status: str


def squared_mmd(first: ArrayLike, second: ArrayLike) -> float:
    """Return the unbiased squared maximum mean discrepancy under the kernel (x·y/d + 1)³.

    Args:
        first: ``[n, d]`` features, n ≥ 2.
        second: ``[m, d]``, m ≥ 2.

    Example:
        >>> squared_mmd([[1, 0], [0, 1]], [[1, 1], [1, 1]])
        2.25
    """
    x, y = _pair(first, second)
    if min(len(x), len(y)) < 2:
        raise ScoreInputError(f"two films or more are needed in each set. Received {len(x)} and {len(y)}.")
    return _mmd(_kernel(x, x), _kernel(y, y), _kernel(x, y))


def kid(first: ArrayLike, second: ArrayLike, *, n_subsets: int = SUBSETS, seed: int = 0) -> Kid:
    """Return the mean squared MMD over random subsets of min(1000, N // 2) films, N the smaller set.

    Args:
        first, second: features ``[n, d]`` and ``[m, d]`` of the same extractor.
        n_subsets: subsets, each drawn without replacement.
        seed: of the drawing.

    Raises:
        ScoreInputError: shapes that do not fit together.
    """
    x, y = _pair(first, second)
    size = min(LARGEST, min(len(x), len(y)) // 2)
    if size < 2:
        return Kid(np.nan, np.nan, 0, size, "too_few_films")
    whole = max(len(x), len(y)) ** 2 <= KEPT
    kernels = (_kernel(x, x), _kernel(y, y), _kernel(x, y)) if whole else None
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(n_subsets):
        i, j = rng.choice(len(x), size, replace=False), rng.choice(len(y), size, replace=False)
        if kernels is None:
            values.append(squared_mmd(x[i], y[j]))
        else:
            xx, yy, xy = kernels
            values.append(_mmd(xx[np.ix_(i, i)], yy[np.ix_(j, j)], xy[np.ix_(i, j)]))
    return Kid(float(np.mean(values)), float(np.std(values, ddof=1)), n_subsets, size, "ok")


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ScoreInputError(
            f"expected features [n, d] and [m, d] of one extractor. Received {x.shape} and {y.shape}."
        )
    return x, y


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _mmd(xx: np.ndarray, yy: np.ndarray, xy: np.ndarray) -> float:
    n, m = xy.shape
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within - 2 * xy.mean())
