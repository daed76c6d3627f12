"""Exact permutation tests of a few numbers, with the smallest p-value that so few numbers can give.

Knows neither what was measured nor what is permuted: seeds, folds, patients.
"""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cxrkeras.errors import ScoreInputError

SIGNIFICANT = 0.05
MOST_FLIPPED = 40
MOST_SPLITS = 200_000
UNDEFINED, TOO_FEW = "undefined", "too_few_to_be_significant"
# sums of the same numbers in another order differ by rounding only
_ROUNDING = 1e-12


class PermutationTest(NamedTuple):
    """A two-sided exact test.

    Attributes:
        p: the p-value; NaN where `status` is ``undefined``.
        attainable: the smallest p-value that as many numbers can give.
        n: how many numbers were permuted.
        status: ``ok``; ``too_few_to_be_significant`` (`attainable` is above 0.05, the numbers stand); ``undefined``
            (no number, or one that is not finite).
    """

    p: float
    attainable: float
    n: int
    status: str


def sign_flip_test(differences: ArrayLike) -> PermutationTest:
    """Return the exact test that paired differences are as likely to be negative as positive.

    p is the share of all 2ⁿ sign choices whose sum lies at least as far from 0 as the sum received; the smallest
    attainable is 2/2ⁿ, so five differences cannot reach 0.05.

    Args:
        differences: one per pair ``[n]``, at most 40.

    Raises:
        ScoreInputError: not one row of numbers, or too many for an exact test.

    Example:
        >>> sign_flip_test([0.1, 0.2, 0.1, 0.3, 0.2])
        PermutationTest(p=0.0625, attainable=0.0625, n=5, status='too_few_to_be_significant')
    """
    values = _row(differences)
    if len(values) > MOST_FLIPPED:
        raise ScoreInputError(
            f"an exact sign-flip test takes at most {MOST_FLIPPED} differences. Received {len(values)}. "
            "With so many, use an interval."
        )
    attainable = min(1.0, 2.0 / 2 ** len(values))
    if not len(values) or not np.isfinite(values).all():
        return PermutationTest(float("nan"), attainable, len(values), UNDEFINED)
    reach = abs(values.sum()) - _ROUNDING * np.abs(values).sum()
    first, second = (_signed_sums(half) for half in np.array_split(values, 2))
    second.sort()
    # every sum is one of the first half's plus one of the second's, so the tails are counted, not listed
    above = len(second) - np.searchsorted(second, reach - first, side="left")
    below = np.searchsorted(second, -reach - first, side="right")
    extreme = 2 ** len(values) if reach <= 0 else int(above.sum() + below.sum())
    return _tested(extreme / 2 ** len(values), attainable, len(values))


def permutation_test(first: ArrayLike, second: ArrayLike) -> PermutationTest:
    """Return the exact test that two groups of numbers have one distribution, by the difference of their means.

    Every way to split the numbers into groups of these sizes is tried; p is twice the smaller tail, so the smallest
    attainable is 2 over the number of splits: 1/126 for 5 against 5.

    Args:
        first, second: the numbers of each group.

    Raises:
        ScoreInputError: not two rows of numbers, or more than 200,000 splits.

    Example:
        >>> round(permutation_test([5, 6, 7, 8, 9], [0, 1, 2, 3, 4]).p, 7)
        0.0079365
    """
    ours, theirs = _row(first), _row(second)
    n, splits = len(ours) + len(theirs), comb(len(ours) + len(theirs), len(ours))
    if splits > MOST_SPLITS:
        raise ScoreInputError(
            f"an exact permutation test takes at most {MOST_SPLITS:,} splits. Received {len(ours)} and {len(theirs)} "
            f"numbers, {splits:,} splits. With so many, use an interval."
        )
    attainable = min(1.0, 2 / splits)
    if not (len(ours) and len(theirs)) or not np.isfinite([*ours, *theirs]).all():
        return PermutationTest(float("nan"), attainable, n, UNDEFINED)
    pooled = np.concatenate([ours, theirs])
    # for groups of fixed sizes the difference of means rises with the sum of the first
    sums = np.array(list(combinations(pooled, len(ours)))).sum(axis=1)
    rounding = _ROUNDING * np.abs(pooled).sum()
    above, below = np.mean(sums >= ours.sum() - rounding), np.mean(sums <= ours.sum() + rounding)
    return _tested(float(min(1.0, 2 * min(above, below))), attainable, n)


def _signed_sums(values: np.ndarray) -> np.ndarray:
    """The sums of all sign choices ``[2**n]``."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _tested(p: float, attainable: float, n: int) -> PermutationTest:
    return PermutationTest(p, attainable, n, TOO_FEW if attainable > SIGNIFICANT else "ok")


def _row(values: ArrayLike) -> np.ndarray:
    row = np.asarray(values, np.float64)
    if row.ndim != 1:
        raise ScoreInputError(f"expected one row of numbers, [n]. Received the shape {row.shape}.")
    return row
