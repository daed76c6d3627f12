"""Σ min of every pair of two groups of maps, compiled: the inner loop of the soft IoU of all pairs.

One XLA program per shape, on a processor or a GPU; groups are padded to one tile size, so a grid is traced once. Loads
TensorFlow, therefore imported only where there is enough to do. Knows no film, weight or score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

# Side of a tile: the sums of a tile stay in a processor's second-level cache while the cells pass by.
TILE = 256
# Cells added up in registers between two visits to those sums, and such visits in single precision. The two together
# bound the rounding: at most 128 numbers are added in single precision, all else is double.
LANES, DEPTH = 16, 8
# Cells per call, so that what is copied for the compiled program stays small however fine the grid.
CALL_CELLS = 4096


@dataclass(frozen=True)
class MinimumSums:
    """Σ_k min(a_k, b_k) of all pairs of rows, part by part of the cells.

    Args:
        cells: cells of a map.

    Example:
        >>> kernel = MinimumSums(3)
        >>> a, b = np.array([[1, 2, 3], [4, 0, 0]], np.float32), np.array([[2, 2, 2]], np.float32)
        >>> sum(kernel(a[:, part], b[:, part]) for part in kernel.parts).tolist()
        [[5.0], [2.0]]
    """

    cells: int

    @property
    def depth(self) -> int:
        """Steps of `LANES` cells that are added up in single precision: as many as leave the fewest cells to pad."""
        return min(range(DEPTH, 0, -1), key=lambda depth: -(-self.cells // (depth * LANES)) * depth)

    @property
    def width(self) -> int:
        """Cells a call works on, those that pad the last part included."""
        block = self.depth * LANES
        blocks = -(-self.cells // block)
        calls = -(-blocks * block // CALL_CELLS)
        return -(-blocks // calls) * block

    @property
    def parts(self) -> list[slice]:
        """The cells in parts of at most `width`."""
        return [slice(start, min(start + self.width, self.cells)) for start in range(0, self.cells, self.width)]

    def __call__(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the sums over one part.

        Args:
            left: ``[a, k]`` float32 ≥ 0, a ≤ `TILE`, k ≤ `width`.
            right: ``[b, k]``, likewise.

        Returns:
            float64 ``[a, b]``.
        """
        sums = _minimum_sums(self._padded(left), self._padded(right), self.depth)
        return sums.numpy()[: len(left), : len(right)]

    def _padded(self, rows: np.ndarray) -> tf.Tensor:
        if rows.shape == (TILE, self.width):
            return tf.convert_to_tensor(rows)
        whole = np.zeros((TILE, self.width), dtype=np.float32)
        whole[: rows.shape[0], : rows.shape[1]] = rows
        return tf.convert_to_tensor(whole)


def traces() -> int:
    """Return how often the program was traced in this process."""
    return _minimum_sums.experimental_get_tracing_count()


@tf.function(jit_compile=True, autograph=False)
def _minimum_sums(left: tf.Tensor, right: tf.Tensor, depth: int) -> tf.Tensor:
    blocks = left.shape[1] // (depth * LANES)
    by_row = tf.reshape(left, (TILE, blocks, depth, LANES))
    # cells lead and maps are neighbours, so that one instruction works on many pairs
    by_cell = tf.reshape(tf.transpose(right), (blocks, depth, LANES, TILE))

    def block_sum(block: tf.Tensor) -> tf.Tensor:
        def step(at: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            a, b = by_row[:, block, at], by_cell[block, at]
            few = tf.minimum(a[:, 0, None], b[0])
            for lane in range(1, LANES):
                few += tf.minimum(a[:, lane, None], b[lane])
            return at + 1, total + few

        start = (tf.constant(0), tf.zeros((TILE, TILE), tf.float32))
        return tf.while_loop(lambda at, _: at < depth, step, start)[1]

    def add(block: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return block + 1, total + tf.cast(block_sum(block), tf.float64)

    start = (tf.constant(0), tf.zeros((TILE, TILE), tf.float64))
    return tf.while_loop(lambda block, _: block < blocks, add, start)[1]
