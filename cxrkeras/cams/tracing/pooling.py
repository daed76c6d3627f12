"""Find the tensor that a model's head pools, by what the operations of its graph do and not by what they are called.

Walks back from the outputs through tensors without a grid; a pooling whose result returns to a grid (squeeze and
excite) lies behind a grid and is never met. Knows no layer, no role and no method.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import tensorflow as tf

_REDUCTIONS = {"Mean", "Max", "Sum"}
_WINDOWS = {"AvgPool", "MaxPool"}
_RESHAPES = {"Reshape", "Squeeze", "Einsum"}
_SAME_VALUES = {"Identity", "IdentityN", "Cast"}
# what mixes channels or neighbours: a tensor on its far side is another tensor, not another form of it
_MIXING = {"Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2", "Einsum"}


@dataclass(frozen=True)
class Pooling:
    """One operation that takes a grid away.

    Attributes:
        operation: the operation.
        entering: what it pools, symbolic ``[n, h, w, K]``.
    """

    operation: tf.Operation
    entering: tf.Tensor


def global_pooling(outputs: Iterable[tf.Tensor]) -> Pooling | None:
    """The last operation on the way to the outputs that leaves no grid, or one of 1×1, of a larger one.

    Args:
        outputs: of a model.

    Returns:
        The pooling; where every grid before the outputs is 1×1 already, the last that leaves none; None where a grid
        never ends.
    """
    found: list[Pooling] = []
    waiting, seen = list(outputs), set()
    while waiting:
        tensor = waiting.pop()
        if tensor.op.name in seen or _cells(tensor) > 1:
            continue
        seen.add(tensor.op.name)
        found += [Pooling(tensor.op, entering) for entering in _pooled(tensor)]
        waiting += _data(tensor.op)
    larger = [pooling for pooling in found if _cells(pooling.entering) > 1]
    return _last(larger or found)


def forms(tensor: tf.Tensor) -> Iterator[tf.Tensor]:
    """The tensor, then those before it that have the same values: identities and casts undone."""
    yield tensor
    while tensor.op.type in _SAME_VALUES:
        tensor = tensor.op.inputs[tensor.value_index if tensor.op.type == "IdentityN" else 0]
        yield tensor


def cell_by_cell(origin: tf.Tensor, tensor: tf.Tensor) -> bool:
    """Whether a tensor is made of another and constants alone, value by value on the same grid."""
    waiting, seen = [tensor], set()
    while waiting:
        one = waiting.pop()
        if one.name in seen:
            continue
        seen.add(one.name)
        if one is origin:
            continue
        if one.op.type in _MIXING or (_cells(one) and tuple(one.shape) != tuple(origin.shape)):
            return False
        waiting += _data(one.op)
    return origin.name in seen


def upstream(tensors: Iterable[tf.Tensor]) -> set[str]:
    """Names of all operations that these tensors are made of."""
    waiting, seen = [tensor.op for tensor in tensors], set()
    while waiting:
        operation = waiting.pop()
        if operation.name not in seen:
            seen.add(operation.name)
            waiting += [one.op for one in _data(operation)]
    return seen


def _cells(tensor: tf.Tensor) -> int:
    """Cells of a tensor's grid, 0 where it has none."""
    if tensor.shape.rank != 4 or None in tuple(tensor.shape[1:]):
        return 0
    return math.prod(tensor.shape[1:3])


def _data(operation: tf.Operation) -> list[tf.Tensor]:
    """Inputs that carry values; shapes, axes and counts are whole numbers."""
    return [one for one in operation.inputs if one.dtype.is_floating]


def _pooled(tensor: tf.Tensor) -> list[tf.Tensor]:
    """What this tensor's operation takes the grid of, where it does."""
    operation = tensor.op
    entering = [one for one in _data(operation) if _cells(one)]
    if not entering:
        return []
    if operation.type in _REDUCTIONS:
        pools = _over_cells(operation)
    elif operation.type in _WINDOWS:
        pools = _window_covers(operation, entering[0])
    else:
        pools = operation.type in _RESHAPES and _hands_on_cells(entering[0], tensor)
    return entering if pools else []


def _over_cells(operation: tf.Operation) -> bool:
    axes = tf.get_static_value(operation.inputs[1])
    return axes is not None and any(axis % 4 in (1, 2) for axis in axes.reshape(-1).tolist())


def _window_covers(operation: tf.Operation, entering: tf.Tensor) -> bool:
    """Whether the window reads most of the grid; one that skips cells only makes a shortcut coarser."""
    window = operation.get_attr("ksize")[1:3]
    sides = entering.shape[1:3]
    return _cells(entering) > 1 and all(2 * w > side for w, side in zip(window, sides, strict=True))


def _hands_on_cells(entering: tf.Tensor, tensor: tf.Tensor) -> bool:
    """Whether a reshape makes one row of a grid, or one row of each cell (tokens); heads of attention are neither."""
    if tensor.shape.rank == 2:
        return True
    return tensor.shape.rank == 3 and tensor.shape[1] == _cells(entering)


def _last(found: Sequence[Pooling]) -> Pooling | None:
    """The one whose input is made of the others' inputs; of those side by side the one that was called last."""
    distinct = {pooling.entering.name: pooling for pooling in found}
    if len(distinct) <= 1:
        return next(iter(distinct.values()), None)
    earlier = set()
    for pooling in distinct.values():
        earlier |= upstream(_data(pooling.entering.op))
    final = [pooling for pooling in distinct.values() if pooling.entering.op.name not in earlier]
    order = {operation.name: i for i, operation in enumerate(final[0].operation.graph.get_operations())}
    return max(final, key=lambda pooling: order[pooling.operation.name])
