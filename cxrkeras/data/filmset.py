"""A set of films as the models see it: which rows of a film store, with which labels.

Knows no model; the pipeline turns it into batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from cxrkeras.data.films import FilmStore


@dataclass(frozen=True)
class FilmSet:
    """Films of one split.

    Attributes:
        store: decodes and keeps the films.
        indices: rows of the store, int ``[n]``.
        labels: class index per film, int ``[n]``; −1 where unknown.
        ids: film ids (the manifest's `path`), ``[n]``.
        hashes: SHA-256 of each file, ``[n]``.
        truth: where a film may have several findings, 1, 0 or NaN (unknown) each, float ``[n, n_classes]``; None where
            a film has one class. `labels` is −1 then.
    """

    store: FilmStore
    indices: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    hashes: np.ndarray
    truth: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, rows: np.ndarray) -> FilmSet:
        """The films at these positions (or of this boolean mask), in that order."""
        truth = None if self.truth is None else self.truth[rows]
        return FilmSet(self.store, self.indices[rows], self.labels[rows], self.ids[rows], self.hashes[rows], truth)
