"""The change of the C-Score between two checkpoints, on the films that are gold at both.

Easy films become gold first, so two scores of one run stand on different films: with identical maps the plain
difference can be a fall from .49 to .20. Here both sides have the same films and the same weights. Arrays in, numbers
out; knows no checkpoint, run or file.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cxrkeras.consistency.emphasis import emphasised_films
from cxrkeras.consistency.films import Films, aligned_films
from cxrkeras.consistency.gold import GoldList, gold_lists, pooled
from cxrkeras.consistency.jackknife import PairMean, mean_over_classes, standard_error
from cxrkeras.consistency.means import within_means
from cxrkeras.consistency.options import Options
from cxrkeras.consistency.result import over_classes
from cxrkeras.consistency.score import FEWEST_CELLS
from cxrkeras.errors import ScoreInputError
from cxrkeras.maps import Maps

NAN = float("nan")


@dataclass(frozen=True)
class Change:
    """How a C-Score changed on a common gold list.

    Attributes:
        score_from, score_to: the score of the common gold list with the earlier and the later maps, 0 to 1.
        change: `score_to` − `score_from`.
        stderr: delete-one-patient jackknife of the change.
        n_films, n_patients: size of the common gold list.
        status: ``ok`` or why a number is NaN: ``empty_gold_list``, ``undefined_gold_list`` (one patient),
            ``too_few_patients`` (no stderr), ``grid_too_coarse``; over classes ``undefined_class``,
            ``classes_skipped``.
    """

    score_from: float
    score_to: float
    change: float
    stderr: float
    n_films: int
    n_patients: int
    status: str


@dataclass(frozen=True)
class Changes:
    """The change of each class and of the mean over classes.

    Attributes:
        classes: class name -> its change.
        macro: the change of the mean over classes, a patient deleted from all of them at once.
    """

    classes: dict[Hashable, Change]
    macro: Change


def consistency_change(
    maps_from: Maps | ArrayLike,
    probabilities_from: ArrayLike,
    maps_to: Maps | ArrayLike,
    probabilities_to: ArrayLike,
    labels: ArrayLike,
    *,
    classes: Sequence[Hashable] | None = None,
    patients: Iterable[Hashable] | None = None,
    status_from: ArrayLike | None = None,
    status_to: ArrayLike | None = None,
    **options: Any,
) -> Changes:
    """Return how consistency changed on the films that are gold with both sets of probabilities.

    A pair weighs the same on both sides: the confidence of a film is the geometric mean √(p·p′) of its two, so maps
    that did not change score no change, whatever the confidence did.

    Args:
        maps_from, maps_to: raw maps ``[n, h, w]`` of the same films in the same order, on one native grid; or `Maps`.
        probabilities_from, probabilities_to: ``[n, C]``, or ``[n]`` for one sigmoid unit.
        labels: true classes ``[n]``.
        classes, patients: as in `c_score`.
        status_from, status_to: status of each map ``[n]``; default: that of `Maps`.
        options: the constants of `c_score` (``threshold``, ``gamma``, ``grid``, …).

    Raises:
        ScoreInputError: inputs that do not fit together, or two native grids.
        UsageError: an option that does not exist or is out of range.

    Example:
        >>> maps = np.random.default_rng(0).random((8, 7, 7))
        >>> before, after = [0.2] * 4 + [0.8] * 4, [0.1] * 4 + [0.9] * 4
        >>> consistency_change(maps, before, maps, after, [0] * 4 + [1] * 4).macro.change
        0.0
    """
    chosen = Options(**options)
    ids = None if patients is None else list(patients)
    sides = [
        aligned_films(maps, labels, probabilities, classes, ids, None, status, chosen.decision)
        for maps, probabilities, status in (
            (maps_from, probabilities_from, status_from),
            (maps_to, probabilities_to, status_to),
        )
    ]
    first, second = sides
    if first.values.shape != second.values.shape:
        raise ScoreInputError(
            f"a change needs the same films on one native grid: expected two arrays of one shape, received "
            f"{first.values.shape} and {second.values.shape}. Compare maps of one method and layer."
        )
    gold = common_gold_lists(first, second, chosen.threshold)
    coarse = min(first.grid) < FEWEST_CELLS
    means = [[None] * len(gold) if coarse else _means(side, gold, chosen) for side in sides]
    found = {
        name: _class_change(before, after, own, coarse)
        for name, before, after, own in zip(first.classes, *means, gold, strict=True)
    }
    return Changes(found, _macro_change(*means, gold, chosen.macro))


def common_gold_lists(first: Films, second: Films, threshold: float) -> list[GoldList]:
    """Return the films that are gold on both sides, one entry per class, with the confidence √(p·p′).

    Args:
        first, second: the same films with two sets of probabilities.
        threshold: smallest confidence τ.
    """
    lists = []
    for one, other in zip(gold_lists(first, [threshold]), gold_lists(second, [threshold]), strict=True):
        rows, *places = np.intersect1d(one.films, other.films, assume_unique=True, return_indices=True)
        confidence = np.sqrt(one.confidence[places[0]] * other.confidence[places[1]])
        lists.append(GoldList(rows, confidence, first.patients[rows], np.ones((len(rows), 1), dtype=bool)))
    return lists


def _means(films: Films, gold: list[GoldList], options: Options) -> list[PairMean | None]:
    """The mean over the pairs of each list; None where it holds fewer than two patients.

    Which pairs are drawn, where they are, does not depend on the maps: both sides draw the same.
    """
    own, lists = pooled(films, gold)
    maps = emphasised_films(own, options.gamma, options.grid_for(films.grid))
    return within_means(maps, lists, int(films.patients.max(initial=-1)) + 1, options)


def _class_change(before: PairMean | None, after: PairMean | None, gold: GoldList, coarse: bool) -> Change:
    patients = np.unique(gold.patients)
    sizes = {"n_films": len(gold), "n_patients": len(patients)}
    if before is None or after is None:
        reason = "undefined_gold_list" if len(gold) else "empty_gold_list"
        return Change(NAN, NAN, NAN, NAN, **sizes, status="grid_too_coarse" if coarse else reason)
    stderr = standard_error(after - before, patients)
    return Change(
        before.value,
        after.value,
        after.value - before.value,
        stderr,
        **sizes,
        status="too_few_patients" if np.isnan(stderr) else "ok",
    )


def _macro_change(
    before: list[PairMean | None], after: list[PairMean | None], gold: list[GoldList], rule: str
) -> Change:
    patients = [np.unique(listed.patients) for listed in gold]
    everyone = np.unique(np.concatenate(patients))
    defined = [c for c in range(len(gold)) if before[c] is not None and after[c] is not None]
    skipped = len(defined) < len(gold)
    if not defined or (skipped and rule == "strict"):
        return Change(NAN, NAN, NAN, NAN, sum(map(len, gold)), len(everyone), "undefined_class")
    stderr, *_ = over_classes(
        [after[c] - before[c] for c in defined], [patients[c] for c in defined], bounds=(-1.0, 1.0)
    )
    start, end = (mean_over_classes([side[c] for c in defined]).value for side in (before, after))
    status = "too_few_patients" if np.isnan(stderr) else "ok"
    return Change(
        start,
        end,
        float(np.mean([after[c].value - before[c].value for c in defined])),
        stderr,
        sum(len(gold[c]) for c in defined),
        len(np.unique(np.concatenate([patients[c] for c in defined]))),
        "classes_skipped" if skipped else status,
    )
