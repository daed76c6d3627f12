"""The letter R of a marker on a film, as pixels: no font of the system's, so that it is the same everywhere."""

from __future__ import annotations

import numpy as np

_ROWS = ("11110", "10001", "10001", "11110", "10100", "10010", "10001")
GLYPH_HEIGHT, GLYPH_WIDTH = len(_ROWS), len(_ROWS[0])


def glyph(step: int) -> np.ndarray:
    """The letter with `step` pixels a cell (nearest neighbour), bool ``[7 step, 5 step]``; 18 step² of them are set."""
    cells = np.array([[cell == "1" for cell in row] for row in _ROWS])
    return np.kron(cells, np.ones((step, step), bool))
