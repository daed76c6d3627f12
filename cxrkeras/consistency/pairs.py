"""Exact sums over all pairs of films: soft IoU, pair weights, and the part each patient has in them.

Works in square tiles, so no temporary grows with n² or with n·n·cells. Every sum carries a column per threshold:
the pair scores are computed once and shared by all thresholds, and a tile is visited once for all γ. Loads the compiled
kernel only where there is enough to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.distance import cdist, pdist, squareform

from cxrkeras.consistency.emphasis import EmphasisedMaps
from cxrkeras.consistency.gold import GoldList

TILE_ROWS = 256
TILE_BYTES = 16 * 2**20
# Pairs × cells from which the compiled kernel scores them: 1000 maps at 56×56, half a second of SciPy. Loading
# TensorFlow takes seconds, once; whoever has that many pairs has them for several classes, methods and checkpoints. It
# depends on the size alone, so that the same films give the same digits whatever else was loaded.
COMPILED_FROM = 1_500_000_000


@dataclass(frozen=True)
class PairSums:
    """Sums over pairs, a column per threshold.

    Attributes:
        weighted: Σ w·s ``[T]``.
        weights: Σ w ``[T]``.
        touching_weighted: Σ w·s over the pairs that patient P is part of ``[P, T]``.
        touching_weights: Σ w over the same pairs ``[P, T]``.
        count: pairs with w > 0, int ``[T]``.
    """

    weighted: np.ndarray
    weights: np.ndarray
    touching_weighted: np.ndarray
    touching_weights: np.ndarray
    count: np.ndarray

    @classmethod
    def zero(cls, n_patients: int, n_thresholds: int) -> PairSums:
        """Return the sums over no pair."""
        one, two = (n_thresholds,), (n_patients, n_thresholds)
        return cls(np.zeros(one), np.zeros(one), np.zeros(two), np.zeros(two), np.zeros(one, dtype=np.int64))

    def __add__(self, other: PairSums) -> PairSums:
        return PairSums(
            self.weighted + other.weighted,
            self.weights + other.weights,
            self.touching_weighted + other.touching_weighted,
            self.touching_weights + other.touching_weights,
            self.count + other.count,
        )


def pair_scores(left: np.ndarray, right: np.ndarray | None = None) -> np.ndarray:
    """Return Σmin/Σmax (Ruzicka, weighted Jaccard) of every pair, from Σmin = (S_i + S_j − L1)/2.

    Args:
        left: emphasised maps ``[a, cells]``, ≥ 0.
        right: emphasised maps ``[b, cells]``; without them pairs are taken within `left`.

    Returns:
        ``[a, b]`` in [0, 1]; 0 where either map is all zeros.
    """
    left_sums = left.sum(axis=1, dtype=np.float64)
    if right is None:
        distance, right_sums = squareform(pdist(left, "cityblock")), left_sums
    else:
        distance, right_sums = cdist(left, right, "cityblock"), right.sum(axis=1, dtype=np.float64)
    both = left_sums[:, None] + right_sums
    defined = (left_sums > 0)[:, None] & (right_sums > 0)
    scores = np.divide(both - distance, both + distance, out=np.zeros_like(both), where=defined)
    return np.maximum(scores, 0, out=scores)


def film_factor(confidence: np.ndarray, kind: str) -> np.ndarray:
    """Return f with w_ij = f_i·f_j; for ``min`` the geometric factor, which bounds it."""
    if kind == "none":
        return np.ones_like(confidence)
    return confidence if kind == "product" else np.sqrt(confidence)


def pair_weights(left: np.ndarray, right: np.ndarray, kind: str) -> np.ndarray:
    """Return w ``[a, b]`` from the confidences of two groups of films."""
    if kind == "min":
        return np.minimum.outer(left, right)
    return np.multiply.outer(film_factor(left, kind), film_factor(right, kind))


def pair_sums(
    maps: EmphasisedMaps,
    left: GoldList,
    right: GoldList | None,
    *,
    kind: str,
    drop_same_patient: bool,
    n_patients: int,
) -> list[PairSums]:
    """Return the sums over all pairs within one gold list, or between two, for every γ of the maps, from one pass.

    Args:
        maps: emphasised maps; the lists' `films` are their rows.
        left: gold list.
        right: gold list of another class, or None for the pairs i < j within `left`.
        kind: pair weights.
        drop_same_patient: give pairs of one patient the weight 0.
        n_patients: number of patients P that the lists' patient numbers run over.
    """
    common = PairSums.zero(n_patients, left.members.shape[1])
    weighted = np.zeros((len(maps.gammas), *common.weighted.shape))
    touching = np.zeros((len(maps.gammas), *common.touching_weighted.shape))
    other, own = left if right is None else right, not drop_same_patient
    for tile in scored_tiles(maps, left, right, kind=kind, drop_same_patient=drop_same_patient):
        a, b, weight = tile.rows, tile.columns, tile.weight
        shares = _Shares(left.members[a], other.members[b], left.patients[a], other.patients[b], tile.same)
        common.weights[:] += shares.add(weight, common.touching_weights, own=own)
        common.count[:] += np.rint(shares.by_row((weight > 0).astype(np.float64)).sum(axis=0)).astype(np.int64)
        for total, part, scores in zip(weighted, touching, tile.scores, strict=True):
            total += shares.add(weight * scores, part, own=own)
    return [replace(common, weighted=w, touching_weighted=t) for w, t in zip(weighted, touching, strict=True)]


@dataclass(frozen=True)
class ScoredTile:
    """The pairs of some rows and columns.

    Attributes:
        rows: positions in the left gold list.
        columns: positions in the right one, or in the left one for pairs within it.
        scores: soft IoU ``[a, b]`` for each γ.
        weight: pair weights ``[a, b]``; 0 for what is no pair.
        same: both films are of one patient, bool ``[a, b]``.
    """

    rows: slice
    columns: slice
    scores: list[np.ndarray]
    weight: np.ndarray
    same: np.ndarray


def scored_tiles(
    maps: EmphasisedMaps, left: GoldList, right: GoldList | None, *, kind: str, drop_same_patient: bool
) -> Iterator[ScoredTile]:
    """Yield all pairs within one gold list (i < j), or between two, tile by tile; arguments as in `pair_sums`."""
    other = left if right is None else right
    n_pairs = len(left) * (len(left) - 1) // 2 if right is None else len(left) * len(right)
    compiled = n_pairs * maps.cells >= COMPILED_FROM
    for a, b, diagonal in _tiles(len(left), None if right is None else len(right), maps.cells, compiled):
        weight = pair_weights(left.confidence[a], other.confidence[b], kind)
        same = left.patients[a][:, None] == other.patients[b]
        if drop_same_patient:
            weight[same] = 0
        if diagonal:
            weight = np.triu(weight, 1)
        measure = _compiled_scores if compiled else _scipy_scores
        yield ScoredTile(a, b, measure(maps, left.films[a], None if diagonal else other.films[b]), weight, same)


def _scipy_scores(maps: EmphasisedMaps, left: np.ndarray, right: np.ndarray | None) -> list[np.ndarray]:
    one = maps.each(maps.rows(left))
    two = [None] * len(one) if right is None else maps.each(maps.rows(right))
    return [pair_scores(a, b) for a, b in zip(one, two, strict=True)]


def _compiled_scores(maps: EmphasisedMaps, left: np.ndarray, right: np.ndarray | None) -> list[np.ndarray]:
    from cxrkeras.kernels.pairs import MinimumSums

    kernel = MinimumSums(maps.cells)
    right = left if right is None else right
    one = maps.rows(left)
    two = one if right is left else maps.rows(right)
    low = np.zeros((len(maps.gammas), len(left), len(right)))
    for part in kernel.parts:
        for total, a, b in zip(low, maps.each(one[:, part]), maps.each(two[:, part]), strict=True):
            total += kernel(a, b)
    return [soft_iou(total, sums[left][:, None] + sums[right]) for total, sums in zip(low, maps.sums, strict=True)]


def soft_iou(minima: np.ndarray, both: np.ndarray) -> np.ndarray:
    """Return Σmin/Σmax in [0, 1] from Σmin and S_i + S_j of the same shape; 0 where either map is all zeros."""
    maxima = both - minima
    scores = np.divide(minima, maxima, out=np.zeros_like(maxima), where=maxima > 0)
    # the sums are rounded apart, so a map may meet its twin a hair above 1
    return np.minimum(scores, 1, out=scores)


@dataclass(frozen=True)
class _Shares:
    row_members: np.ndarray
    column_members: np.ndarray
    row_patients: np.ndarray
    column_patients: np.ndarray
    same: np.ndarray

    def by_row(self, matrix: np.ndarray) -> np.ndarray:
        return (matrix @ self.column_members) * self.row_members

    def add(self, matrix: np.ndarray, touching: np.ndarray, *, own: bool) -> np.ndarray:
        """Add each patient's pairs to `touching` and return the total per threshold."""
        by_row = self.by_row(matrix)
        np.add.at(touching, self.row_patients, by_row)
        np.add.at(touching, self.column_patients, (matrix.T @ self.row_members) * self.column_members)
        if own:
            # A pair within one patient was met from both ends.
            np.subtract.at(touching, self.row_patients, self.by_row(np.where(self.same, matrix, 0)))
        return by_row.sum(axis=0)


def _tiles(n_left: int, n_right: int | None, cells: int, compiled: bool) -> Iterator[tuple[slice, slice, bool]]:
    # the compiled kernel copies its tiles part by part, SciPy copies whole ones in double precision
    step = TILE_ROWS if compiled else int(np.clip(TILE_BYTES // (8 * cells), 1, TILE_ROWS))
    for start in range(0, n_left, step):
        rows = slice(start, min(start + step, n_left))
        if n_right is None:
            yield rows, rows, True
        first = rows.stop if n_right is None else 0
        end = n_left if n_right is None else n_right
        for begin in range(first, end, step):
            yield rows, slice(begin, min(begin + step, end)), False
