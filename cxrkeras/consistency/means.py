"""Every class's score and baseline as means over pairs: exact where that is affordable, drawn where it is not.

One pass over the pairs serves all thresholds and all γ.
"""

from __future__ import annotations

import numpy as np

from cxrkeras.consistency.emphasis import EmphasisedMaps
from cxrkeras.consistency.gold import GoldList, joined
from cxrkeras.consistency.jackknife import PairMean, exact_mean
from cxrkeras.consistency.options import Options
from cxrkeras.consistency.pairs import PairSums, pair_sums
from cxrkeras.consistency.sampling import sampled_means

Means = list[list[PairMean | None]]
EachGamma = list[PairMean] | list[None]


def class_means(
    maps: EmphasisedMaps, gold: list[GoldList], n_patients: int, n_thresholds: int, options: Options
) -> list[tuple[Means, Means]]:
    """Return the mean within each gold list, and the mean between it and all other gold lists, for each γ of the maps.

    Args:
        maps: emphasised maps; the lists' `films` are their rows.
        gold: one list per class, with T thresholds.
        n_patients: number of patients the lists' patient numbers run over.
        n_thresholds: T.
        options: pair weights, same-patient rule, pair limit, seed; the γ are those of the maps.

    Returns:
        For each γ scores and baselines, each ``[class][threshold]``; None where the gold list has fewer than two
        patients, or where no pair exists.
    """
    work = _Work(maps, gold, n_patients, n_thresholds, options)
    within, between = work.within(), work.between()
    return [(_of_gamma(within, index), _of_gamma(between, index)) for index in range(len(maps.gammas))]


def within_means(
    maps: EmphasisedMaps, gold: list[GoldList], n_patients: int, options: Options
) -> list[PairMean | None]:
    """Return the mean within each gold list at its one threshold, for the first γ of the maps.

    Args:
        maps, gold, n_patients, options: as in `class_means`, with one threshold.
    """
    return [row[0][0] for row in _Work(maps, gold, n_patients, 1, options).within()]


def _of_gamma(means: list[list[EachGamma]], index: int) -> Means:
    return [[each[index] for each in row] for row in means]


class _Work:
    def __init__(
        self, maps: EmphasisedMaps, gold: list[GoldList], n_patients: int, n_thresholds: int, options: Options
    ) -> None:
        self.maps, self.gold, self.options = maps, gold, options
        self.n_patients, self.n_thresholds = n_patients, n_thresholds
        self.limit = 2 * options.max_pairs
        self.rules = {
            "kind": options.pair_weights,
            "drop_same_patient": options.same_patient == "drop",
            "n_patients": n_patients,
        }
        self.sizes = np.array([g.members.sum(axis=0) for g in gold]).reshape(len(gold), n_thresholds)

    def within(self) -> list[list[EachGamma]]:
        affordable = self.sizes * (self.sizes - 1) // 2 <= self.limit
        means = []
        for index, gold in enumerate(self.gold):
            sums = self._sums(gold, None, affordable[index])
            means.append(
                [
                    self._means(sums, t, affordable[index, t], gold, None, (index, 0))
                    if self._patients(gold, t) >= 2
                    else self._nothing
                    for t in range(self.n_thresholds)
                ]
            )
        return means

    def between(self) -> list[list[EachGamma]]:
        others = self.sizes.sum(axis=0) - self.sizes
        affordable = self.sizes * others <= self.limit
        sums = [self._zero() for _ in self.gold]
        for a, left in enumerate(self.gold):
            for b in range(a + 1, len(self.gold)):
                both = self._sums(left, self.gold[b], affordable[a] | affordable[b])
                sums[a], sums[b] = _added(sums[a], both), _added(sums[b], both)
        means = [[self._nothing] * self.n_thresholds for _ in self.gold]
        for t in range(self.n_thresholds):
            filled = np.flatnonzero(self.sizes[:, t])
            for index in filled if len(filled) > 1 else []:
                if len(filled) == 2 and index == filled[1]:
                    # The pairs between two gold lists are the same pairs, drawn or not.
                    means[index][t] = means[filled[0]][t]
                    continue
                rest = joined([self.gold[o] for o in filled if o != index])
                means[index][t] = self._means(
                    sums[index], t, affordable[index, t], self.gold[index], rest, (int(index), 1)
                )
        return means

    @property
    def _nothing(self) -> list[None]:
        return [None] * len(self.maps.gammas)

    def _zero(self) -> list[PairSums]:
        return [PairSums.zero(self.n_patients, self.n_thresholds) for _ in self.maps.gammas]

    def _sums(self, left: GoldList, right: GoldList | None, wanted: np.ndarray) -> list[PairSums]:
        columns = np.flatnonzero(wanted)
        each = self._zero()
        if not columns.size:
            return each
        parts = pair_sums(
            self.maps,
            left.narrowed(columns),
            None if right is None else right.narrowed(columns),
            **self.rules,
        )
        for full, part in zip(each, parts, strict=True):
            full.weighted[columns], full.weights[columns], full.count[columns] = part.weighted, part.weights, part.count
            full.touching_weighted[:, columns] = part.touching_weighted
            full.touching_weights[:, columns] = part.touching_weights
        return each

    def _means(
        self,
        sums: list[PairSums],
        column: int,
        affordable: bool,
        left: GoldList,
        right: GoldList | None,
        stream: tuple[int, int],
    ) -> EachGamma:
        if affordable:
            return [exact_mean(each, column) if each.weights[column] > 0 else None for each in sums]
        left, right = left.at(column), None if right is None else right.at(column)
        if right is not None and self.rules["drop_same_patient"]:
            everyone = np.union1d(left.patients, right.patients)
            if len(everyone) < 2:
                return self._nothing
        return sampled_means(
            self.maps,
            left,
            right,
            **self.rules,
            n_pairs=self.options.max_pairs,
            rng=np.random.default_rng([self.options.seed, *stream]),
        )

    @staticmethod
    def _patients(gold: GoldList, column: int) -> int:
        return len(np.unique(gold.patients[gold.members[:, column]]))


def _added(first: list[PairSums], second: list[PairSums]) -> list[PairSums]:
    return [one + other for one, other in zip(first, second, strict=True)]
