"""Every class's score and baseline as means over pairs: exact where that is affordable, drawn where it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cxrkeras.consistency.emphasis import EmphasisedMaps
from cxrkeras.consistency.gold import GoldList
from cxrkeras.consistency.jackknife import PairMean, exact_mean
from cxrkeras.consistency.options import Options
from cxrkeras.consistency.pairs import PairSums, pair_sums
from cxrkeras.consistency.sampling import sampled_mean

Means = list[list[PairMean | None]]


def class_means(
    maps: EmphasisedMaps, gold: list[GoldList], n_patients: int, n_thresholds: int, options: Options
) -> tuple[Means, Means]:
    """Return the mean within each gold list, and the mean between it and all other gold lists.

    Args:
        maps: emphasised maps; the lists' `films` are their rows.
        gold: one list per class, with T thresholds.
        n_patients: number of patients the lists' patient numbers run over.
        n_thresholds: T.
        options: pair weights, same-patient rule, pair limit, seed.

    Returns:
        Scores and baselines, each ``[class][threshold]``; None where the gold list has fewer than two patients, or
        where no pair exists.
    """
    work = _Work(maps, gold, n_patients, n_thresholds, options)
    return work.within(), work.between()


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

    def within(self) -> Means:
        affordable = self.sizes * (self.sizes - 1) // 2 <= self.limit
        means: Means = []
        for index, gold in enumerate(self.gold):
            sums = self._sums(gold, None, affordable[index])
            means.append(
                [
                    self._mean(sums, t, affordable[index, t], gold, None, (index, 0))
                    if self._patients(gold, t) >= 2
                    else None
                    for t in range(self.n_thresholds)
                ]
            )
        return means

    def between(self) -> Means:
        others = self.sizes.sum(axis=0) - self.sizes
        affordable = self.sizes * others <= self.limit
        sums = [PairSums.zero(self.n_patients, self.n_thresholds) for _ in self.gold]
        for a, left in enumerate(self.gold):
            for b in range(a + 1, len(self.gold)):
                both = self._sums(left, self.gold[b], affordable[a] | affordable[b])
                sums[a], sums[b] = sums[a] + both, sums[b] + both
        means: Means = [[None] * self.n_thresholds for _ in self.gold]
        for t in range(self.n_thresholds):
            filled = np.flatnonzero(self.sizes[:, t])
            for index in filled if len(filled) > 1 else []:
                if len(filled) == 2 and index == filled[1]:
                    # The pairs between two gold lists are the same pairs, drawn or not.
                    means[index][t] = means[filled[0]][t]
                    continue
                rest = _joined([self.gold[o] for o in filled if o != index])
                means[index][t] = self._mean(
                    sums[index], t, affordable[index, t], self.gold[index], rest, (int(index), 1)
                )
        return means

    def _sums(self, left: GoldList, right: GoldList | None, wanted: np.ndarray) -> PairSums:
        columns = np.flatnonzero(wanted)
        full = PairSums.zero(self.n_patients, self.n_thresholds)
        if not columns.size:
            return full
        part = pair_sums(
            self.maps,
            left.narrowed(columns),
            None if right is None else right.narrowed(columns),
            **self.rules,
        )
        full.weighted[columns], full.weights[columns], full.count[columns] = part.weighted, part.weights, part.count
        full.touching_weighted[:, columns] = part.touching_weighted
        full.touching_weights[:, columns] = part.touching_weights
        return full

    def _mean(
        self,
        sums: PairSums,
        column: int,
        affordable: bool,
        left: GoldList,
        right: GoldList | None,
        stream: tuple[int, int],
    ) -> PairMean | None:
        if affordable:
            return exact_mean(sums, column) if sums.weights[column] > 0 else None
        left, right = left.at(column), None if right is None else right.at(column)
        if right is not None and self.rules["drop_same_patient"]:
            everyone = np.union1d(left.patients, right.patients)
            if len(everyone) < 2:
                return None
        return sampled_mean(
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


def _joined(lists: list[GoldList]) -> GoldList:
    return replace(
        lists[0],
        **{
            name: np.concatenate([getattr(gold, name) for gold in lists])
            for name in ("films", "confidence", "patients", "members")
        },
    )
