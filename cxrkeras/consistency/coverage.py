"""How many films are confident and right: gold lists seen without their maps.

Labels and probabilities in, numbers out; knows no map, run or file.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from cxrkeras.consistency.films import Films, aligned_films
from cxrkeras.consistency.gold import gold_lists
from cxrkeras.consistency.history import FEWEST_IN_A_PAIR, NAN, GoldState


def gold_coverage(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    threshold: float = 0.7,
    classes: Sequence[Hashable] | None = None,
    patients: Iterable[Hashable] | None = None,
) -> tuple[dict[str, GoldState], float]:
    """Return each class's gold list in numbers, and the largest τ at which every class is still defined.

    Args:
        labels, probabilities, classes, patients: as in `c_score`.
        threshold: smallest confidence τ of a gold film.

    Returns:
        Class name -> its state; and the largest τ that leaves two patients in every gold list, NaN where none does.

    Example:
        >>> states, largest = gold_coverage([0, 0, 1, 1], [0.1, 0.4, 0.9, 0.8])
        >>> states["0"].coverage, round(largest, 2)
        (0.5, 0.6)
    """
    films = _films(labels, probabilities, classes, patients)
    n_images = np.bincount(films.labels, minlength=len(films.classes))
    states = {
        str(name): GoldState(len(gold) / n if n else NAN, len(np.unique(gold.patients)))
        for name, n, gold in zip(films.classes, n_images, gold_lists(films, [threshold]), strict=True)
    }
    return states, float(np.min([_last_defined(films, index) for index in range(len(films.classes))]))


def _films(
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[Hashable] | None,
    patients: Iterable[Hashable] | None,
) -> Films:
    # Gold lists do not look at maps; one blank cell a film stands in for them.
    blank = np.zeros((len(np.asarray(labels)), 1, 1))
    return aligned_films(blank, labels, probabilities, classes, patients, None, None)


def _last_defined(films: Films, index: int) -> float:
    """The confidence that just as many patients reach as a pair needs."""
    right = films.correct & (films.labels == index)
    patients, of = np.unique(films.patients[right], return_inverse=True)
    if len(patients) < FEWEST_IN_A_PAIR:
        return NAN
    highest = np.zeros(len(patients))
    np.maximum.at(highest, of, films.confidence[right])
    return float(np.sort(highest)[-FEWEST_IN_A_PAIR])
