"""Find in a graph what entered an output's softmax or sigmoid, and see where an output is made of such already.

Knows no model, no layer and no method.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

SOFTMAX, LOG_SOFTMAX, SIGMOID, LINEAR, MIXED = "softmax", "log_softmax", "sigmoid", "linear", "mixed"
_SQUASHING = {"Softmax": SOFTMAX, "LogSoftmax": LOG_SOFTMAX, "Sigmoid": SIGMOID}
_PASSING = {"Identity", "IdentityN", "Cast", "StopGradient", "PreventGradient", "CheckNumerics", "Snapshot"}
_RESHAPING = {"Reshape", "Squeeze", "ExpandDims"}
_SCORING = {"MatMul", "BatchMatMulV2", "Einsum", "Conv2D", "DepthwiseConv2dNative"}
# graphs of their own, which are not looked into
_OPAQUE = {"PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile", "If", "StatelessIf"}


def before_squashing(output: tf.Tensor) -> tuple[tf.Tensor, str]:
    """What entered the softmax or sigmoid that an output ends in, and which of them it was.

    Args:
        output: of a model.

    Returns:
        Logits of the output's shape and `softmax`, `log_softmax` or `sigmoid`; the output itself and `linear` where it
        ends in none. Casts and reshapes behind the squashing are looked through.
    """
    tensor = output
    while tensor.op.type in _PASSING | _RESHAPING and tensor.op.inputs:
        tensor = tensor.op.inputs[tensor.value_index if tensor.op.type == "IdentityN" else 0]
    head = _SQUASHING.get(tensor.op.type)
    # a softmax over other things than the output's units (each cell's classes, laid in a row) has not made its logits
    if head is None or (head != SIGMOID and tensor.shape[-1] != output.shape[-1]):
        return output, LINEAR
    logits = tensor.op.inputs[0]
    return logits if tuple(logits.shape) == tuple(output.shape) else tf.reshape(logits, tf.shape(output)), head


def squashed_inside(output: tf.Tensor, inputs: Sequence[tf.Tensor]) -> tf.Tensor | None:
    """The softmax or sigmoid that an output without one at its end is made of.

    Args:
        output: of a model.
        inputs: of the model.

    Returns:
        The squashed tensor, the last of several; None where anything learned reaches the output without passing one,
        such as a gated score or an activation x · sigmoid(x).
    """
    squashed, waiting, seen = [], [output], {one.name for one in inputs}
    while waiting:
        tensor = waiting.pop()
        kind = tensor.op.type
        if kind in _SQUASHING:
            squashed.append(tensor)
            continue
        if kind in _SCORING | _OPAQUE:
            return None
        for one in tensor.op.inputs:
            if any(one is film for film in inputs):
                return None
            if one.dtype.is_floating and one.name not in seen:
                seen.add(one.name)
                waiting.append(one)
    return squashed[0] if squashed else None
