"""The order of sources that the field assumes before anything is measured: ImageNet, RadImageNet, other, random.

On the public medical benchmark this order alone did better than the scores; it is the baseline they have to beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from cxrkeras.errors import ScoreInputError
from cxrkeras.sources.candidates import IMAGENET, RANDOM, Candidate, is_radimagenet

RADIMAGENET, OTHER = "radimagenet", "other"
PRIOR_ORDER = (IMAGENET, RADIMAGENET, OTHER, RANDOM)
FEWEST_CANDIDATES = 6


@dataclass(frozen=True)
class RankAgreement:
    """How well one score orders candidates as another does.

    Attributes:
        weighted_tau: Vigna's weighted Kendall rank correlation, −1 to 1; NaN unless `status` is ``ok``.
        n: candidates with both.
        status: ``ok``, ``too_few_candidates`` (below 6) or ``constant`` (one of the scores does not order them).
    """

    weighted_tau: float
    n: int
    status: str


def prior_family(candidate: Candidate) -> str:
    """Return which of `PRIOR_ORDER` a candidate is; files other than RadImageNet's and runs are ``other``.

    A file is taken for ImageNet or RadImageNet where the candidate is called so.
    """
    if candidate.kind in (IMAGENET, RANDOM):
        return candidate.kind
    if is_radimagenet(candidate):
        return RADIMAGENET
    named = candidate.name.lower()
    return named if candidate.kind == "file" and named in (IMAGENET, RADIMAGENET) else OTHER


def prior_ranks(families: Sequence[str]) -> list[int]:
    """Return the rank of each candidate, 1 the best; those of one family share it.

    Example:
        >>> prior_ranks(["random", "other", "imagenet", "other"])
        [4, 2, 1, 2]
    """
    return stats.rankdata([PRIOR_ORDER.index(family) for family in families], method="min").astype(int).tolist()


def rank_agreement(first: ArrayLike, second: ArrayLike) -> RankAgreement:
    """Return the weighted rank correlation of two scores, both better when higher.

    Args:
        first, second: ``[n]`` scores of the same candidates; those with a NaN are left out.

    Raises:
        ScoreInputError: not the same number of scores.
    """
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ScoreInputError(f"expected two scores per candidate. Received shapes {x.shape} and {y.shape}.")
    known = ~(np.isnan(x) | np.isnan(y))
    x, y = x[known], y[known]
    if len(x) < FEWEST_CANDIDATES:
        return RankAgreement(float("nan"), len(x), "too_few_candidates")
    if not (np.ptp(x) and np.ptp(y)):
        return RankAgreement(float("nan"), len(x), "constant")
    return RankAgreement(float(stats.weightedtau(x, y).statistic), len(x), "ok")
