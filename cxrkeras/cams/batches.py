"""Films in whatever form they come, regrouped into batches of one size; streams, never holds a whole split.

NumPy only; knows no model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrkeras.errors import DataError, TargetError

# internal mark for "explain the class the model predicts"
PREDICTED = -1


@dataclass(frozen=True)
class FilmBatch:
    """Films ``[b, H, W, C]`` float32, one target each (int ``[b]``) and their ids, None where they have none."""

    films: np.ndarray
    targets: np.ndarray
    ids: tuple[str, ...] | None

    def __len__(self) -> int:
        return len(self.films)

    def part(self, start: int, stop: int) -> FilmBatch:
        """Films `start` to `stop`."""
        ids = None if self.ids is None else self.ids[start:stop]
        return FilmBatch(self.films[start:stop], self.targets[start:stop], ids)

    def film_ids(self) -> tuple[str, ...]:
        """Their ids; a film without one is named by its pixels, so the name does not depend on its place."""
        if self.ids is not None:
            return self.ids
        return tuple(hashlib.sha256(np.ascontiguousarray(film).tobytes()).hexdigest() for film in self.films)


def film_batch(films: Any, targets: Any = None, ids: Sequence[str] | None = None) -> FilmBatch:
    """Check one batch and give it its types.

    Raises:
        DataError: films that are not ``[n, H, W, C]``, or ids that do not fit them.
        TargetError: not one whole-number target per film.
    """
    films = np.asarray(films, np.float32)
    if films.ndim != 4:
        raise DataError(f"films have the wrong shape. Expected [n, H, W, channels]; received {films.shape}.")
    if ids is not None and len(ids) != len(films):
        raise DataError(f"expected {len(films)} film ids, one per image; received {len(ids)}.")
    return FilmBatch(films, _checked_targets(targets, len(films)), None if ids is None else tuple(map(str, ids)))


def regrouped(batches: Iterable[Any], size: int) -> Iterator[FilmBatch]:
    """Regroup a stream of `(films, targets)` or `(films, targets, ids)` into batches of `size`; the last is smaller."""
    pending: list[FilmBatch] = []
    for batch in batches:
        incoming = batch if isinstance(batch, FilmBatch) else film_batch(*batch)
        pending.append(incoming)
        if sum(map(len, pending)) < size:
            continue
        joined = _joined(pending)
        full = len(joined) - len(joined) % size
        for start in range(0, full, size):
            yield joined.part(start, start + size)
        pending = [joined.part(full, len(joined))] if full < len(joined) else []
    rest = _joined(pending) if pending else None
    if rest is not None and len(rest):
        yield rest


def as_batches(
    images: Any, targets: Any, ids: Sequence[str] | None, size: int
) -> tuple[Iterable[FilmBatch], int | None]:
    """Turn an array, an iterable of film batches or a callable that returns one into a stream with its targets.

    Returns:
        The stream, and the number of films where it is known beforehand.
    """
    if hasattr(images, "shape"):
        batch = film_batch(images, targets, ids)
        return (batch.part(i, i + size) for i in range(0, len(batch), size)), len(batch)
    source: Iterable[Any] = images() if isinstance(images, Callable) else images
    known = None if targets is None else np.asarray(targets)
    return _with_targets(source, known, ids), None if known is None or known.ndim != 1 else len(known)


def _with_targets(source: Iterable[Any], targets: np.ndarray | None, ids: Sequence[str] | None) -> Iterator[FilmBatch]:
    start = 0
    for films in source:
        stop = start + len(films)
        own = None if targets is None else targets[start:stop]
        yield film_batch(films, own, None if ids is None else ids[start:stop])
        start = stop
    if targets is not None and len(targets) > start:
        raise TargetError(f"expected {start} targets, one per image; received {len(targets)}.")


def _checked_targets(targets: Any, count: int) -> np.ndarray:
    if targets is None:
        return np.full(count, PREDICTED, np.int32)
    targets = np.asarray(targets)
    received = len(targets) if targets.ndim == 1 else f"an array of shape {targets.shape}"
    if received != count:
        raise TargetError(
            f"expected {count} targets, one per image; received {received}. Give a class index per film, "
            "or None for the predicted class."
        )
    if targets.dtype.kind not in "iub" or (targets < 0).any():
        raise TargetError(f"targets have to be class indices from 0; received {targets[:8].tolist()}.")
    return targets.astype(np.int32)


def _joined(parts: list[FilmBatch]) -> FilmBatch:
    if len(parts) == 1:
        return parts[0]
    named = all(part.ids is not None for part in parts)
    return FilmBatch(
        np.concatenate([part.films for part in parts]),
        np.concatenate([part.targets for part in parts]),
        tuple(name for part in parts for name in part.ids or ()) if named else None,
    )
