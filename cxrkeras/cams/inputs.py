"""What a model is fed: the shapes of its inputs, whether films fit them, and padding to a full batch.

Knows no method and no target class.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from cxrkeras.errors import DataError

Shape = tuple[int, ...]
# one input without the batch: its shape and the name of its dtype
Kind = tuple[Shape, str]


def input_shapes(shape: Sequence[int] | Sequence[Sequence[int]]) -> tuple[Shape, ...]:
    """Shapes of a model's inputs without the batch, from one shape ``(H, W, C)`` or one for each input."""
    several = all(isinstance(one, Sequence | np.ndarray) for one in shape)
    return tuple(tuple(int(side) for side in one) for one in (shape if several else [shape]))


def kinds(inputs: Sequence[np.ndarray]) -> tuple[Kind, ...]:
    """Shape without the batch, and dtype, of each input array ``[n, …]``."""
    return tuple((tuple(one.shape[1:]), one.dtype.name) for one in inputs)


def check_fit(model: keras.Model, shapes: Sequence[Shape]) -> None:
    """Raise a DataError unless inputs of these shapes fit the model; a model that declares none takes any.

    Args:
        model: any Keras model.
        shapes: of its inputs without the batch, in the order of `model.inputs`.
    """
    declared = getattr(model, "inputs", None) or []
    if not declared:
        return
    if len(declared) != len(shapes):
        raise DataError(
            f"{model.name} takes {len(declared)} inputs. Expected a tuple of one array each, for "
            f"{', '.join(_named(one) for one in declared)}; received {len(shapes)}."
        )
    for tensor, shape in zip(declared, shapes, strict=True):
        expected = tuple(tensor.shape[1:])
        if len(expected) == len(shape) and all(e in (None, s) for e, s in zip(expected, shape, strict=True)):
            continue
        what = "the films do" if len(declared) == 1 else f"input '{tensor.name}' does"
        raise DataError(
            f"{what} not fit {model.name}. Expected {_rows(expected)}; received {_rows(shape)}. "
            "Resize them or repeat the channel."
        )


def padded(rows: np.ndarray, size: int) -> np.ndarray:
    """Rows ``[n, …]`` with the last one repeated to `size` rows."""
    return np.pad(rows, [(0, size - len(rows)), *[(0, 0)] * (rows.ndim - 1)], mode="edge")


def not_finite(inputs: Sequence[tf.Tensor]) -> tf.Tensor:
    """Which films have a pixel, or another value, that is not finite; bool ``[n]``, from tensors ``[n, …]``."""
    floating = [one for one in inputs if one.dtype.is_floating]
    found = [tf.reduce_any(~tf.math.is_finite(one), tuple(range(1, one.shape.rank))) for one in floating]
    return tf.reduce_any(tf.stack(found), 0) if found else tf.zeros(inputs[0].shape[:1], tf.bool)


def blanked(values: tf.Tensor, broken: tf.Tensor) -> tf.Tensor:
    """Values ``[n, …]`` with NaN for the broken films."""
    return tf.where(tf.reshape(broken, (-1, *[1] * (values.shape.rank - 1))), tf.cast(np.nan, values.dtype), values)


def _named(tensor: keras.KerasTensor) -> str:
    return f"'{tensor.name}' {_rows(tuple(tensor.shape[1:]))}"


def _rows(shape: Sequence[int | None]) -> str:
    return f"[{', '.join(map(str, ('n', *shape)))}]"
