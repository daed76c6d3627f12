"""How alike the maps of a gold list are, pair by pair: the distribution whose mean is the C-Score.

A mean of .5 may be pairs that all agree by half, or two camps that agree within and not across. Arrays in, a table
out; knows no model, run or file.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cxrkeras.consistency.emphasis import EmphasisedMaps, emphasised_films
from cxrkeras.consistency.films import aligned_films
from cxrkeras.consistency.gold import GoldList, gold_films, joined
from cxrkeras.consistency.options import Options
from cxrkeras.consistency.pairs import scored_tiles
from cxrkeras.consistency.sampling import drawn_pairs, drawn_scores
from cxrkeras.consistency.score import FEWEST_CELLS
from cxrkeras.errors import UsageError
from cxrkeras.maps import Maps

WITHIN, BETWEEN = "within", "between"
COLUMNS = ("class", "pairs", "low", "high", "share", "n_pairs")


def pair_similarity(
    maps: Maps | ArrayLike,
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    bins: int = 20,
    classes: Sequence[Hashable] | None = None,
    patients: Iterable[Hashable] | None = None,
    targets: ArrayLike | None = None,
    status: ArrayLike | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Return how the soft IoU of pairs is distributed, within each gold list and between it and the others.

    The same pairs and weights as in `c_score`: Σ share·s is the score of the class, or its baseline.

    Args:
        maps, labels, probabilities, classes, patients, targets, status: as in `c_score`.
        bins: bins of equal width between 0 and 1; each holds its lower edge, the last one both.
        options: further keywords of `c_score`, such as ``threshold``.

    Returns:
        A row per class, kind of pairs (``within`` or ``between``) and bin: `low` and `high` edge, the `share` of the
        pair weight in it (they sum to 1; NaN where no pair exists), and its `n_pairs`, drawn ones where there are too
        many to score them all.

    Raises:
        ScoreInputError: inputs that do not fit together.
        UsageError: an option out of range.

    Example:
        >>> import numpy as np
        >>> maps = np.zeros((3, 4, 4))
        >>> maps[:2, 0, 0], maps[2, 3, 3] = 1, 1
        >>> table = pair_similarity(maps, [0] * 3, [0.1] * 3, bins=2, grid="native")
        >>> table.loc[:1, ["low", "high", "share", "n_pairs"]].round(3).to_numpy().tolist()
        [[0.0, 0.5, 0.667, 2.0], [0.5, 1.0, 0.333, 1.0]]
    """
    if not (isinstance(bins, Integral) and bins >= 1):
        raise UsageError(f"bins: expected a whole number >= 1. Received {bins!r}.")
    checked = Options(**options)
    films = aligned_films(maps, labels, probabilities, classes, patients, targets, status, checked.decision)
    pooled, gold = gold_films(films, [checked.threshold])
    emphasised = emphasised_films(pooled, checked.gamma, checked.grid_for(films.grid))
    made = _Histograms(emphasised, gold, checked, int(bins))
    coarse = min(films.grid) < FEWEST_CELLS
    kinds = {WITHIN: made.empty if coarse else made.within(), BETWEEN: made.empty if coarse else made.between()}
    edges = np.linspace(0, 1, bins + 1)
    rows = [
        (name, kind, *row)
        for c, name in enumerate(films.classes)
        for kind, histograms in kinds.items()
        for row in zip(edges[:-1], edges[1:], histograms[c].share, histograms[c].count, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


@dataclass(frozen=True)
class _Histogram:
    weight: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, weight: np.ndarray, bins: int) -> _Histogram:
        place = np.minimum((scores * bins).astype(np.intp), bins - 1)
        return cls(np.bincount(place, weight, bins), np.bincount(place, minlength=bins))

    def __add__(self, other: _Histogram) -> _Histogram:
        return _Histogram(self.weight + other.weight, self.count + other.count)

    @property
    def share(self) -> np.ndarray:
        total = self.weight.sum()
        return self.weight / total if total > 0 else np.full(len(self.weight), np.nan)


class _Histograms:
    def __init__(self, maps: EmphasisedMaps, gold: list[GoldList], options: Options, bins: int) -> None:
        self.maps, self.gold, self.options, self.bins = maps, gold, options, bins
        self.rules = {"kind": options.pair_weights, "drop_same_patient": options.same_patient == "drop"}
        self.empty = [_Histogram(np.zeros(bins), np.zeros(bins, dtype=np.int64)) for _ in gold]

    def within(self) -> list[_Histogram]:
        return [
            self._within(c, gold) if len(np.unique(gold.patients)) > 1 else self.empty[c]
            for c, gold in enumerate(self.gold)
        ]

    def _within(self, index: int, gold: GoldList) -> _Histogram:
        affordable = len(gold) * (len(gold) - 1) // 2 <= 2 * self.options.max_pairs
        return self._exact(gold, None) if affordable else self._drawn(gold, None, (index, 0))

    def between(self) -> list[_Histogram]:
        found = list(self.empty)
        total = sum(len(gold) for gold in self.gold)
        affordable = [len(gold) * (total - len(gold)) <= 2 * self.options.max_pairs for gold in self.gold]
        for a, left in enumerate(self.gold):
            for b in range(a + 1, len(self.gold)):
                if affordable[a] or affordable[b]:
                    both = self._exact(left, self.gold[b])
                    found[a], found[b] = found[a] + both, found[b] + both
        filled = [c for c, gold in enumerate(self.gold) if len(gold)]
        for c in filled if len(filled) > 1 else []:
            if not affordable[c]:
                rest = joined([self.gold[o] for o in filled if o != c])
                # the pairs between two gold lists are the same pairs, drawn or not
                twin = len(filled) == 2 and c == filled[1]
                found[c] = found[filled[0]] if twin else self._drawn(self.gold[c], rest, (c, 1))
        return found

    def _exact(self, left: GoldList, right: GoldList | None) -> _Histogram:
        total = self.empty[0]
        for tile in scored_tiles(self.maps, left, right, **self.rules):
            kept = tile.weight > 0
            total += _Histogram.of(tile.scores[0][kept], tile.weight[kept], self.bins)
        return total

    def _drawn(self, left: GoldList, right: GoldList | None, stream: tuple[int, int]) -> _Histogram:
        other = left if right is None else right
        if self.rules["drop_same_patient"] and len(np.union1d(left.patients, other.patients)) < 2:
            return self.empty[0]
        rng = np.random.default_rng([self.options.seed, *stream])
        i, j = drawn_pairs(left, right, **self.rules, n_pairs=self.options.max_pairs, rng=rng)
        (scores,) = drawn_scores(self.maps, left.films[i], other.films[j])
        return _Histogram.of(scores, np.ones(len(scores)), self.bins)
