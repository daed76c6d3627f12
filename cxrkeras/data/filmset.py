"""A set of films as the models see it: which rows of a film store, with which labels.

Knows no model; the pipeline turns it into batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxrkeras.data.films import Alteration, FilmStore
from cxrkeras.errors import UsageError

# Follows the id of a film that carries an artefact, where the same film is also there without it.
ALTERED = "#artefact"


@dataclass(frozen=True)
class FilmSet:
    """Films of one split.

    Attributes:
        store: decodes and keeps the films.
        indices: rows of the store, int ``[n]``.
        labels: class index per film, int ``[n]``; −1 where unknown.
        ids: film ids (the manifest's `path`), ``[n]``.
        hashes: SHA-256 of each file, followed by `+` and the key of its alteration where it has one, ``[n]``.
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


def altered_hashes(hashes: Sequence[str] | np.ndarray, alterations: Sequence[Alteration | None]) -> np.ndarray:
    """What stands for films whose pixels were altered: the SHA-256 of the file, `+` and the alteration's key."""
    pairs = zip(hashes, alterations, strict=True)
    return np.array([f"{digest}+{done.key}" if done else str(digest) for digest, done in pairs], dtype=str)


def file_hashes(hashes: Sequence[str] | np.ndarray) -> list[str]:
    """SHA-256 of the files, whatever was done to the films after reading them."""
    return [str(digest).partition("+")[0] for digest in hashes]


def film_versions(films: FilmSet, untouched: Alteration | None, touched: Alteration) -> FilmSet:
    """Every film twice, over one store: row i without the artefact, row n + i with it.

    Both are decoded from the same file in the same way, so that nothing but the artefact tells them apart. A choice of
    who carries it is a choice of rows: ``versions.take(np.where(applied, n + i, i))``.

    Args:
        films: n films.
        untouched: what is done to films without the artefact; None for nothing.
        touched: what is done to films with it.

    Returns:
        2n films; the ids of those with the artefact end in `#artefact`.

    Raises:
        UsageError: films that are altered already.
    """
    store, n = films.store, len(films)
    if store.alterations is not None and any(store.alterations[row] for row in films.indices):
        raise UsageError("these films carry an artefact already. Expected films as their files are.")
    alterations = [untouched] * n + [touched] * n
    names = np.tile(films.hashes, 2)
    return FilmSet(
        store=FilmStore(
            [store.files[row] for row in np.tile(films.indices, 2)],
            store.size,
            resize=store.resize,
            bits=store.bits,
            alterations=alterations,
            names=names.tolist(),
        ),
        indices=np.arange(2 * n),
        labels=np.tile(films.labels, 2),
        ids=np.array([*films.ids.tolist(), *(f"{name}{ALTERED}" for name in films.ids.tolist())], dtype=str),
        hashes=altered_hashes(names, alterations),
        truth=None if films.truth is None else np.tile(films.truth, (2, 1)),
    )
