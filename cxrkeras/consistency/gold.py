"""Gold lists: the correctly classified films of a class whose confidence reaches a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cxrkeras.consistency.films import Films

# A film at exactly τ must not enter or leave by the rounding of single precision or of a stored table.
CONFIDENCE_ROUNDING = 1e-7


@dataclass(frozen=True)
class GoldList:
    """The gold films of one class at several thresholds.

    Attributes:
        films: film rows that are gold at one threshold at least, int ``[k]``.
        confidence: probability of their class ``[k]``.
        patients: patient number, int ``[k]``.
        members: gold at threshold t, bool ``[k, T]``.
    """

    films: np.ndarray
    confidence: np.ndarray
    patients: np.ndarray
    members: np.ndarray

    def __len__(self) -> int:
        return len(self.films)

    def at(self, column: int) -> GoldList:
        """Return the list at one threshold."""
        return self.narrowed(np.array([column]))

    def narrowed(self, columns: np.ndarray) -> GoldList:
        """Return the list at some of the thresholds."""
        members = self.members[:, columns]
        kept = members.any(axis=1)
        return GoldList(self.films[kept], self.confidence[kept], self.patients[kept], members[kept])


def gold_lists(films: Films, thresholds: Sequence[float]) -> list[GoldList]:
    """Return G_c(τ) = {i : y_i = c, argmax p_i = c, p_i[c] ≥ τ}, one entry per class.

    Under the decision ``threshold`` p_i[c] ≥ ½ takes the place of the argmax.

    Args:
        films: the checked inputs.
        thresholds: T confidences, any order.
    """
    reached = films.confidence[:, None] >= np.asarray(thresholds, dtype=np.float64) - CONFIDENCE_ROUNDING
    lists = []
    for index in range(len(films.classes)):
        members = reached & (films.correct & (films.labels == index))[:, None]
        rows = np.flatnonzero(members.any(axis=1))
        lists.append(GoldList(rows, films.confidence[rows], films.patients[rows], members[rows]))
    return lists


def gold_films(films: Films, thresholds: Sequence[float]) -> tuple[Films, list[GoldList]]:
    """Return the films that are gold anywhere, class by class, and the gold lists by their rows.

    Args:
        films, thresholds: as in `gold_lists`.
    """
    return pooled(films, gold_lists(films, thresholds))


def pooled(films: Films, lists: Sequence[GoldList]) -> tuple[Films, list[GoldList]]:
    """Return the films of some gold lists, class by class, and the lists by their rows.

    Args:
        films: the checked inputs.
        lists: gold lists that share no film; their `films` are rows of `films`.
    """
    rows = np.concatenate([gold.films for gold in lists])
    starts = np.cumsum([0] + [len(gold) for gold in lists])
    columns = ("values", "labels", "confidence", "correct", "patients", "status")
    return replace(films, **{name: getattr(films, name)[rows] for name in columns}), [
        replace(gold, films=np.arange(start, start + len(gold))) for gold, start in zip(lists, starts[:-1], strict=True)
    ]


def joined(lists: Sequence[GoldList]) -> GoldList:
    """Return the films of several lists as one."""
    columns = ("films", "confidence", "patients", "members")
    return GoldList(*(np.concatenate([getattr(gold, name) for gold in lists]) for name in columns))
