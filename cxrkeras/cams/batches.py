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
    """What a model takes, one target per film (int ``[b]``) and the films' ids, None where they have none.

    `inputs` holds one array ``[b, …]`` per model input: the films ``[b, H, W, C]`` float32, and whatever else it takes.
    """

    inputs: tuple[np.ndarray, ...]
    targets: np.ndarray
    ids: tuple[str, ...] | None

    def __len__(self) -> int:
        return len(self.inputs[0])

    @property
    def films(self) -> np.ndarray:
        """The first input with a grid ``[b, H, W, C]``; the first input where none has one."""
        return next((one for one in self.inputs if one.ndim == 4), self.inputs[0])

    def part(self, start: int, stop: int) -> FilmBatch:
        """Films `start` to `stop`."""
        ids = None if self.ids is None else self.ids[start:stop]
        return FilmBatch(tuple(one[start:stop] for one in self.inputs), self.targets[start:stop], ids)

    def film_ids(self) -> tuple[str, ...]:
        """Their ids; a film without one is named by its inputs, so the name does not depend on its place."""
        if self.ids is not None:
            return self.ids
        return tuple(self._named(row) for row in range(len(self)))

    def _named(self, row: int) -> str:
        digest = hashlib.sha256()
        for one in self.inputs:
            digest.update(np.ascontiguousarray(one[row]).tobytes())
        return digest.hexdigest()


def film_batch(films: Any, targets: Any = None, ids: Sequence[str] | None = None) -> FilmBatch:
    """Check one batch and give it its types.

    Args:
        films: ``[n, H, W, C]``, or a tuple of one array ``[n, …]`` per model input.
        targets: class per film, int ``[n]``; None for the predicted class.
        ids: of each film.

    Raises:
        DataError: films that are not ``[n, H, W, C]``, inputs of different length, or ids that do not fit them.
        TargetError: not one whole-number target per film.
    """
    inputs = tuple(map(_typed, films)) if isinstance(films, tuple) else (np.asarray(films, np.float32),)
    if len(inputs) == 1 and inputs[0].ndim != 4:
        raise DataError(f"films have the wrong shape. Expected [n, H, W, channels]; received {inputs[0].shape}.")
    if not inputs or len({len(one) if one.ndim else None for one in inputs}) > 1:
        raise DataError(
            "the model's inputs do not fit together. Expected one row per film in each; "
            f"received shapes {', '.join(str(one.shape) for one in inputs) or 'of none'}."
        )
    count = len(inputs[0])
    if ids is not None and len(ids) != count:
        raise DataError(f"expected {count} film ids, one per image; received {len(ids)}.")
    return FilmBatch(inputs, _checked_targets(targets, count), None if ids is None else tuple(map(str, ids)))


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

    A tuple is one array per model input, for all films; any other iterable is a stream of batches.

    Returns:
        The stream, and the number of films where it is known beforehand.
    """
    if hasattr(images, "shape") or isinstance(images, tuple):
        batch = film_batch(images, targets, ids)
        return (batch.part(i, i + size) for i in range(0, len(batch), size)), len(batch)
    source: Iterable[Any] = images() if isinstance(images, Callable) else images
    known = None if targets is None else np.asarray(targets)
    return _with_targets(source, known, ids), None if known is None or known.ndim != 1 else len(known)


def _with_targets(source: Iterable[Any], targets: np.ndarray | None, ids: Sequence[str] | None) -> Iterator[FilmBatch]:
    if targets is not None and targets.ndim != 1:
        raise TargetError(f"expected one target per image, int [n]; received an array of shape {targets.shape}.")
    start = 0
    for films in source:
        stop = start + len(films[0] if isinstance(films, tuple) else films)
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


def _typed(values: Any) -> np.ndarray:
    """Films and other decimals as float32; whole numbers that are no films (an index, an age) as they are."""
    array = np.asarray(values)
    return array if array.ndim != 4 and array.dtype.kind in "iub" else array.astype(np.float32)


def _joined(parts: list[FilmBatch]) -> FilmBatch:
    if len(parts) == 1:
        return parts[0]
    named = all(part.ids is not None for part in parts)
    return FilmBatch(
        tuple(np.concatenate(same) for same in zip(*(part.inputs for part in parts), strict=True)),
        np.concatenate([part.targets for part in parts]),
        tuple(name for part in parts for name in part.ids or ()) if named else None,
    )
