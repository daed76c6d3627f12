"""Means over pairs drawn with probability ∝ w, when there are too many pairs to score them all.

The mean score of such pairs is unbiased (uniform pairs would give a ratio, which is not), and its cost does not
grow with n². Which pairs are scored is drawn first; they are then scored block by block, so that maps that do not fit
in memory are made again as rarely as possible.
"""

from __future__ import annotations

import numpy as np

from cxrkeras.consistency.emphasis import EmphasisedMaps
from cxrkeras.consistency.gold import GoldList
from cxrkeras.consistency.jackknife import PairMean
from cxrkeras.consistency.pairs import film_factor, soft_iou

# Two blocks of maps are in memory at a time.
BLOCK_BYTES = 128 * 2**20
# Pairs gathered at a time stay in a processor's cache.
GATHERED_BYTES = 2**19


def sampled_means(
    maps: EmphasisedMaps,
    left: GoldList,
    right: GoldList | None,
    *,
    kind: str,
    drop_same_patient: bool,
    n_patients: int,
    n_pairs: int,
    rng: np.random.Generator,
) -> list[PairMean]:
    """Return the mean score of drawn pairs, its sampling variance and its values without each patient, for each γ.

    Args:
        maps: emphasised maps; the lists' `films` are their rows.
        left, right: gold lists at one threshold; without `right` pairs are drawn within `left`.
        kind: pair weights.
        drop_same_patient: draw no pair of one patient.
        n_patients: number of patients P.
        n_pairs: pairs to draw.
        rng: source of the draws.
    """
    other = left if right is None else right
    weights = total_weight(left, kind, drop_same_patient) if right is None else float("nan")
    i, j = drawn_pairs(left, right, kind, drop_same_patient, n_pairs, rng)
    first, second = left.patients[i], other.patients[j]
    scores = drawn_scores(maps, left.films[i], other.films[j])
    return [_mean_of_drawn(values, weights, first, second, n_patients) for values in scores]


def _mean_of_drawn(
    scores: np.ndarray, weights: float, first: np.ndarray, second: np.ndarray, n_patients: int
) -> PairMean:
    value, n_pairs = scores.mean(), len(scores)
    error = scores - value
    two = first != second

    def by_patient(values: np.ndarray) -> np.ndarray:
        return np.bincount(first, values, n_patients) + np.bincount(second[two], values[two], n_patients)

    remaining = n_pairs - by_patient(np.ones(n_pairs))
    share = np.divide(1.0, remaining, out=np.full(n_patients, np.nan), where=remaining > 0)
    return PairMean(
        value=float(value),
        weights=weights,
        left_out=value - by_patient(error) * share,
        n_pairs=n_pairs,
        sampling_variance=float(scores.var(ddof=1) / n_pairs),
        noise=float(np.nansum(by_patient(error**2) * share**2)),
        sampled=True,
    )


def drawn_pairs(
    left: GoldList,
    right: GoldList | None,
    kind: str,
    drop_same_patient: bool,
    n_pairs: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions (i in `left`, j in `right` or `left`) of pairs drawn with probability ∝ w_ij.

    Film j is drawn ∝ f_j from what is left beside the films that i may not meet: its own patient's, or itself. They
    are neighbours once films are ordered by patient, so nothing has to be rejected but the ``min`` weights' surplus.
    """
    other = left if right is None else right
    order = np.argsort(other.patients, kind="stable")
    edges = np.concatenate([[0.0], np.cumsum(film_factor(other.confidence[order], kind))])
    if drop_same_patient:
        low, high = (np.searchsorted(other.patients[order], left.patients, side) for side in ("left", "right"))
    elif right is None:
        low = np.argsort(order, kind="stable")
        high = low + 1
    else:
        low = high = np.zeros(len(left), dtype=np.intp)
    barred = edges[high] - edges[low]
    available = np.where(high - low < len(other), edges[-1] - barred, 0)
    reach = np.cumsum(film_factor(left.confidence, kind) * available)
    found_i, found_j, missing = [], [], n_pairs
    while missing > 0:
        i = np.searchsorted(reach, rng.random(missing) * reach[-1], side="right").clip(max=len(left) - 1)
        along = rng.random(missing) * available[i]
        along = along + np.where(along >= edges[low[i]], barred[i], 0)
        place = np.searchsorted(edges[1:], along, side="right").clip(max=len(other) - 1)
        j = order[place]
        # Rounding at an edge may reach a barred neighbour.
        kept = (place < low[i]) | (place >= high[i])
        if kind == "min":
            p, q = left.confidence[i], other.confidence[j]
            kept &= rng.random(missing) * np.sqrt(p * q) < np.minimum(p, q)
        found_i.append(i[kept])
        found_j.append(j[kept])
        missing -= int(kept.sum())
    return np.concatenate(found_i), np.concatenate(found_j)


def total_weight(gold: GoldList, kind: str, drop_same_patient: bool) -> float:
    """Return Σ_{i<j} w_ij of a gold list at one threshold in closed form, O(n log n)."""
    everything = _weight_within(gold.confidence, kind)
    if not drop_same_patient:
        return everything
    order = np.argsort(gold.patients, kind="stable")
    first = np.flatnonzero(np.diff(gold.patients[order])) + 1
    return everything - sum(
        _weight_within(part, kind) for part in np.split(gold.confidence[order], first) if len(part) > 1
    )


def _weight_within(confidence: np.ndarray, kind: str) -> float:
    if kind == "min":
        return float(np.sort(confidence) @ np.arange(len(confidence) - 1, -1, -1))
    factor = film_factor(confidence, kind)
    return float((factor.sum() ** 2 - factor @ factor) / 2)


def drawn_scores(maps: EmphasisedMaps, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the soft IoU of pairs of rows for each γ, float64 ``[Γ, m]``.

    Args:
        maps: emphasised maps.
        left, right: rows of the two maps of each pair, int ``[m]``.
    """
    left, right = np.minimum(left, right), np.maximum(left, right)
    size = max(1, BLOCK_BYTES // (4 * maps.cells * len(maps.gammas)))
    order = np.argsort((left // size * (len(maps) // size + 1) + right // size) * len(maps) + left)
    scores = np.empty((len(maps.gammas), len(left)))
    for of_left in _runs(order, left // size):
        rows = np.unique(left[of_left])
        one = maps.each(maps.rows(rows))
        for of_both in _runs(of_left, right // size):
            columns = np.unique(right[of_both])
            two = maps.each(maps.rows(columns))
            places = np.searchsorted(rows, left[of_both]), np.searchsorted(columns, right[of_both])
            for values, a, b, sums in zip(scores, one, two, maps.sums, strict=True):
                both = sums[left[of_both]] + sums[right[of_both]]
                values[of_both] = soft_iou(_minima(a, b, *places), both)
    return scores


def _runs(order: np.ndarray, key: np.ndarray) -> list[np.ndarray]:
    return np.split(order, np.flatnonzero(np.diff(key[order])) + 1)


def _minima(one: np.ndarray, two: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    minima = np.empty(len(left))
    step = max(1, GATHERED_BYTES // (4 * one.shape[1]))
    for start in range(0, len(left), step):
        part = slice(start, start + step)
        a = one[left[part]]
        np.minimum(a, two[right[part]], out=a).sum(axis=1, dtype=np.float64, out=minima[part])
    return minima
