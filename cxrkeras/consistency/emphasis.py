"""Emphasised maps M^γ on the common grid, made in bounded blocks, for one γ or several.

Store small, resize late: what fits is made once and kept, the rest is made again whenever it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrkeras.consistency.films import Films
from cxrkeras.maps import degenerate, min_max, resize

KEPT_BYTES = 512 * 2**20
# Small enough to stay in a processor's cache, which makes the maps three times as fast.
BLOCK_BYTES = 2 * 2**20


class EmphasisedMaps:
    """The emphasised maps of a set of films, by row.

    Args:
        values: raw maps ``[n, h, w]``.
        marked: maps known to be degenerate, bool ``[n]``.
        grid: common grid ``(H, W)``.
        gamma: emphasis exponent, or several of them: then the maps are resized once for all.
        kept_bytes: size up to which all maps are kept in memory.

    Attributes:
        gammas: the exponents.
        cells: H·W.
        degenerate: bool ``[n]``: no contrast at the native grid, or nothing positive left on the common grid.
        sums: Σ M^γ over the cells, float64 ``[Γ, n]``.
        kept: all maps are in memory.
    """

    def __init__(
        self,
        values: np.ndarray,
        marked: np.ndarray,
        grid: tuple[int, int],
        gamma: float | Sequence[float],
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._values = values
        self._grid = grid
        self.gammas = tuple(np.atleast_1d(gamma).astype(float).tolist())
        self.cells = grid[0] * grid[1]
        self.degenerate = np.array(marked, dtype=bool)
        self.sums = np.empty((len(self.gammas), len(values)))
        self._step = max(1, BLOCK_BYTES // (8 * max(self.cells, values.shape[1] * values.shape[2])))
        self.kept = len(values) * self.cells * 4 <= kept_bytes
        self._stored = np.empty((len(values), self.cells), dtype=np.float32) if self.kept else None
        for start in range(0, len(values), self._step):
            rows = np.arange(start, min(start + self._step, len(values)))
            block = self._made(rows)
            self.degenerate[rows] = ~block.any(axis=1)
            for total, emphasised in zip(self.sums, self.each(block), strict=True):
                total[rows] = emphasised.sum(axis=1, dtype=np.float64)
            if self._stored is not None:
                self._stored[rows] = block

    def __len__(self) -> int:
        return len(self._values)

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """Return maps, float32 ``[k, H·W]``, each in [0, 1]; a degenerate map is all zeros. Not to be written to.

        They are M^γ where there is one γ; of several, `each` makes them from M.
        """
        if self._stored is not None:
            # consecutive rows are a view, which costs no memory on the finest grids
            consecutive = len(rows) > 0 and (np.diff(rows) == 1).all()
            return self._stored[rows[0] : rows[-1] + 1] if consecutive else self._stored[rows]
        made = np.empty((len(rows), self.cells), dtype=np.float32)
        for start in range(0, len(rows), self._step):
            made[start : start + self._step] = self._made(rows[start : start + self._step])
        return made

    def each(self, maps: np.ndarray) -> list[np.ndarray]:
        """Return M^γ for every γ from what `rows` returned, or a part of its cells."""
        return [maps] if len(self.gammas) == 1 else [np.power(maps, np.float32(gamma)) for gamma in self.gammas]

    def _made(self, rows: np.ndarray) -> np.ndarray:
        raw = np.asarray(self._values[rows])
        blank = (degenerate(raw) | self.degenerate[rows])[:, None, None]
        raw = np.where(blank, 0, raw).astype(np.float64, copy=False)
        # Unit peak first, so that maps of any magnitude survive single precision.
        peak = np.abs(raw).max(axis=(1, 2), keepdims=True)
        raw = (raw / np.where(peak > 0, peak, 1)).astype(np.float32)
        if raw.shape[1:] != self._grid:
            raw = resize(raw, self._grid)
        scaled = min_max(np.maximum(raw, 0, out=raw)).reshape(len(raw), self.cells)
        return np.power(scaled, np.float32(self.gammas[0]), out=scaled) if len(self.gammas) == 1 else scaled


def emphasised_films(films: Films, gamma: float | Sequence[float], grid: tuple[int, int]) -> EmphasisedMaps:
    """Return the emphasised maps of films; those whose status says so are degenerate."""
    return EmphasisedMaps(films.values, np.char.find(films.status, "degenerate") >= 0, grid, gamma)
