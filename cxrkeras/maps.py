"""Heat maps as data: the container and the operations every metric shares.

NumPy only; below every metric and every engine. A map is **raw** (not normalised) and at its **native** grid;
normalising and resizing happen when a map is rendered or scored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cxrkeras.errors import ScoreInputError, did_you_mean

CONSTANT = 1e-6
_ROWS = ("values", "images", "targets", "status", "probabilities")
_TEXTS = ("layer", "method", "classes", "parameters")
_EXTRA = "extras."


@dataclass(frozen=True)
class Maps:
    """Heat maps of one method for a set of films.

    Attributes:
        values: raw maps at the native grid, float32 ``[n, h, w]``.
        images: film ids, one per map (the manifest's ``path``).
        targets: class index explained by each map, int ``[n]``.
        layer: name of the tapped layer (comma list for multi-scale).
        method: method name as in the registry.
        classes: class names; ``targets`` index into them.
        status: per map ``ok`` or the reason it needs care (``degenerate``, ``ambiguous_sign``, ``uninformative``, …).
        probabilities: the model's probabilities for each film, float32 ``[n, n_classes]``.
        parameters: everything that changes the maps, plain JSON values.
        extras: further arrays with one row per map (for example ScoreCAM's channels used).
    """

    values: np.ndarray
    images: np.ndarray
    targets: np.ndarray
    layer: str
    method: str
    classes: tuple[str, ...]
    status: np.ndarray
    probabilities: np.ndarray
    parameters: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def grid(self) -> tuple[int, int]:
        """Native grid ``(h, w)``."""
        return int(self.values.shape[1]), int(self.values.shape[2])

    def subset(self, selection: Sequence[int] | Sequence[str] | np.ndarray) -> Maps:
        """Return the selected maps, in the order asked for.

        Args:
            selection: row numbers, a bool mask ``[n]``, or film ids (every map of a film is taken).

        Raises:
            ScoreInputError: a row or film id is not among the maps.
        """
        rows = self._rows(np.atleast_1d(np.asarray(selection)))
        return replace(
            self,
            **{name: np.asarray(getattr(self, name))[rows] for name in _ROWS},
            extras={name: np.asarray(array)[rows] for name, array in self.extras.items()},
        )

    def _rows(self, selection: np.ndarray) -> np.ndarray:
        if selection.dtype.kind in "iu" or not selection.size:
            rows = selection.astype(np.intp)
            if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
                raise ScoreInputError(
                    f"row numbers must lie in 0..{len(self) - 1}. Received {rows.min()}..{rows.max()}. "
                    "Select from this set of maps, or pass film ids."
                )
            return rows
        if selection.dtype.kind == "b":
            if selection.shape != (len(self),):
                raise ScoreInputError(
                    f"a mask needs one value per map: expected {len(self)}, received {selection.size}."
                )
            return np.flatnonzero(selection)
        where: dict[str, list[int]] = {}
        for row, image in enumerate(self.images):
            where.setdefault(str(image), []).append(row)
        missing = [str(image) for image in selection if str(image) not in where]
        if missing:
            raise ScoreInputError(
                f"{len(missing)} of {selection.size} film ids have no map, first '{missing[0]}'. "
                f"Expected ids among the {len(where)} mapped films.{did_you_mean(missing[0], where)}"
            )
        return np.array([row for image in selection for row in where[str(image)]], dtype=np.intp)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the maps as named arrays that ``np.savez`` stores without pickle; inverse of `from_arrays`."""
        arrays = {name: _plain(name, getattr(self, name)) for name in _ROWS}
        arrays |= {name: np.array(json.dumps(getattr(self, name))) for name in _TEXTS}
        return arrays | {_EXTRA + name: _plain(name, array) for name, array in self.extras.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Maps:
        """Rebuild maps from the arrays of `to_arrays` (a dict or an open ``.npz``).

        Raises:
            ScoreInputError: an array is missing, or the arrays do not have one row per map.
        """
        missing = [name for name in _ROWS + _TEXTS if name not in arrays]
        if missing:
            raise ScoreInputError(
                f"a map file needs the arrays {', '.join(_ROWS + _TEXTS)}. Missing: {', '.join(missing)}. "
                "Write it with Maps.to_arrays."
            )
        rows = {name: np.asarray(arrays[name]) for name in _ROWS}
        extras = {name.removeprefix(_EXTRA): np.asarray(arrays[name]) for name in arrays if name.startswith(_EXTRA)}
        lengths = {name: array.shape[0] if array.ndim else 0 for name, array in (rows | extras).items()}
        if rows["values"].ndim != 3 or len(set(lengths.values())) > 1:
            raise ScoreInputError(
                f"a map file needs values [n, h, w] and one row per map in every array. "
                f"Received values {rows['values'].shape} and rows {lengths}."
            )
        texts = {name: json.loads(str(np.asarray(arrays[name])[()])) for name in _TEXTS}
        return cls(**rows, **(texts | {"classes": tuple(texts["classes"])}), extras=extras)


def concatenate(parts: Sequence[Maps]) -> Maps:
    """Join maps of one method that were made in parts.

    Args:
        parts: at least one; method, layer, parameters, classes, native grid and extras must be equal.

    Raises:
        ScoreInputError: nothing to join, or the parts were not made the same way.
    """
    if not parts:
        raise ScoreInputError("no maps to join. Expected at least one Maps, received an empty list.")
    first = parts[0]
    for name in ("method", "layer", "parameters", "classes", "grid"):
        for part in parts[1:]:
            if getattr(part, name) != getattr(first, name):
                raise ScoreInputError(
                    f"maps made in different ways cannot be joined: {name} differs. "
                    f"Expected {getattr(first, name)!r}, received {getattr(part, name)!r}."
                )
    for part in parts[1:]:
        if part.extras.keys() != first.extras.keys():
            raise ScoreInputError(
                f"maps with different extras cannot be joined. "
                f"Expected {sorted(first.extras)}, received {sorted(part.extras)}."
            )
    return replace(
        first,
        **{name: np.concatenate([np.asarray(getattr(part, name)) for part in parts]) for name in _ROWS},
        extras={name: np.concatenate([np.asarray(part.extras[name]) for part in parts]) for name in first.extras},
    )


def degenerate(values: np.ndarray) -> np.ndarray:
    """Return which maps carry no contrast: non-finite, or max − min ≤ 1e-6 · max|M|.

    Args:
        values: maps ``[n, h, w]``; test them at the native grid, before resizing.

    Returns:
        bool ``[n]``.
    """
    return _flat(*_extremes(values))


def min_max(values: np.ndarray) -> np.ndarray:
    """Scale each map to [0, 1]; a degenerate map becomes all zeros.

    Args:
        values: maps ``[n, h, w]``.

    Returns:
        float32 ``[n, h, w]``; the peak of every other map is exactly 1.
    """
    values = np.asarray(values)
    low, high = _extremes(values)
    flat = _flat(low, high)
    low, span = np.where(flat, 0, low), np.where(flat, 1, high) - np.where(flat, 0, low)
    single = values.dtype == np.float32 and span.max(initial=0) < np.finfo(np.float32).max
    scaled = values.astype(np.float32 if single else np.float64)
    scaled[flat] = 0
    scaled -= low[:, None, None].astype(scaled.dtype)
    scaled /= span[:, None, None].astype(scaled.dtype)
    return scaled.astype(np.float32, copy=False)


def resize(
    values: np.ndarray, grid: int | tuple[int, int], region: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """Resize maps bilinearly with half-pixel centres and no antialiasing, as ``tf.image.resize`` does.

    Args:
        values: maps ``[n, h, w]``.
        grid: side length, or ``(H, W)``, in cells.
        region: the part of each map that the new grid covers, ``(top, left, bottom, right)`` as fractions of the map's
            height and width from its upper left corner; None is all of it. Cells just outside still take part in the
            interpolation, so this equals resizing the whole map and then cropping.

    Returns:
        float32 ``[n, H, W]``. A non-finite cell spreads over its row and column.

    Raises:
        ScoreInputError: a region without area, or one that leaves the map.
    """
    height, width = (grid, grid) if isinstance(grid, int | np.integer) else grid
    top, left, bottom, right = region or (0.0, 0.0, 1.0, 1.0)
    if not (0 <= top < bottom <= 1 and 0 <= left < right <= 1):
        raise ScoreInputError(
            f"a region of a map is (top, left, bottom, right) with 0 <= top < bottom <= 1 and 0 <= left < right <= 1. "
            f"Received {region}. Give fractions of the map's height and width, or None for all of it."
        )
    values = np.asarray(values, dtype=np.float32)
    count, h, w = values.shape
    with np.errstate(invalid="ignore"):
        widened = values.reshape(count * h, w) @ _interpolation(w, width, left, right).T
        return _interpolation(h, height, top, bottom) @ widened.reshape(count, h, width)


def concentration(values: np.ndarray) -> np.ndarray:
    """Return how far each map is from uniform: 1 − H(M/ΣM)/log(n cells) of the ReLU map.

    Args:
        values: maps ``[n, h, w]``.

    Returns:
        float64 ``[n]``: 0 for a uniform map, 1 for one hot cell, NaN for a zero or non-finite map.
    """
    count, h, w = np.shape(values)
    cells = np.asarray(values, dtype=np.float64).reshape(count, h * w)
    positive = np.maximum(cells, 0)
    finite = np.isfinite(cells).all(axis=1)
    peak = np.where(finite, positive.max(axis=1, initial=0), 0)
    defined = peak > 0
    share = positive[defined] / peak[defined, None]
    share /= share.sum(axis=1, keepdims=True)
    entropy = -np.sum(share * np.log(share, out=np.zeros_like(share), where=share > 0), axis=1)
    result = np.full(len(positive), np.nan)
    if positive.shape[1] > 1:
        result[defined] = np.clip(1 - entropy / np.log(positive.shape[1]), 0, 1)
    return result


def pearson(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson correlation of each row, float64 ``[n]``; NaN where a row is constant.

    Args:
        first, second: ``[n, cells]``.
    """
    a, b = (np.asarray(x, np.float64) - np.mean(x, axis=1, keepdims=True, dtype=np.float64) for x in (first, second))
    norm = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    together = (a * b).sum(axis=1)
    return np.clip(np.divide(together, norm, out=np.full(len(a), np.nan), where=norm > 0), -1, 1)


def strongest_cells(cells: np.ndarray, k: int) -> np.ndarray:
    """Membership of each cell in the k strongest of its map, float64 ``[n, cells]``, each row summing to k.

    Cells tied at the boundary share the places that are left, which is their expected membership if ties were broken
    at random: the order of the cells in memory decides nothing.

    Args:
        cells: ``[n, cells]``, finite.
        k: places, 1 to the number of cells.
    """
    cells = np.asarray(cells)
    boundary = -np.partition(-cells, k - 1, axis=1)[:, k - 1 : k]
    above, tied = cells > boundary, cells == boundary
    left = k - above.sum(axis=1, keepdims=True)
    return above + tied * (left / tied.sum(axis=1, keepdims=True))


def soft_overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union Σ min / Σ max of two sets of memberships, float64 ``[n]``.

    Args:
        first, second: memberships ``[n, cells]`` in 0 to 1, no row all zero.
    """
    return np.minimum(first, second).sum(axis=1) / np.maximum(first, second).sum(axis=1)


def _extremes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = np.asarray(values)
    with np.errstate(invalid="ignore"):
        return values.min(axis=(1, 2)).astype(np.float64), values.max(axis=(1, 2)).astype(np.float64)


def _flat(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    finite = np.isfinite(low) & np.isfinite(high)
    low, high = np.where(finite, low, 0), np.where(finite, high, 0)
    return ~finite | (high - low <= CONSTANT * np.maximum(np.abs(low), np.abs(high)))


def _interpolation(size: int, new_size: int, start: float = 0.0, end: float = 1.0) -> np.ndarray:
    """Return the bilinear half-pixel matrix ``[new_size, size]`` of the part from `start` to `end` (fractions).

    Edge cells are repeated outwards.
    """
    position = (np.arange(new_size) + 0.5) * size * (end - start) / new_size + start * size - 0.5
    below = np.floor(position).astype(int)
    fraction = position - below
    matrix = np.zeros((new_size, size))
    rows = np.arange(new_size)
    np.add.at(matrix, (rows, np.clip(below, 0, size - 1)), 1 - fraction)
    np.add.at(matrix, (rows, np.clip(below + 1, 0, size - 1)), fraction)
    return matrix.astype(np.float32)


def _plain(name: str, array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind not in "OTS":
        return array
    if not all(isinstance(value, str) for value in array.ravel()):
        raise ScoreInputError(
            f"array '{name}' cannot be stored: expected numbers or text, received dtype {array.dtype}. "
            "Give it one plain array with a row per map."
        )
    return np.array(array.tolist(), dtype=str).reshape(array.shape)
