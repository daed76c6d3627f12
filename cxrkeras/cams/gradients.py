"""Gradients of what is explained, in float32, and inside the range of float16 where a model computes in it.

Knows no method; a layer is a tensor with a name.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from cxrkeras.cams.tracing.layers import Tap
from cxrkeras.cams.tracing.probe import Trace
from cxrkeras.errors import UnconnectedLayerError

# a logit has the scale itself as its gradient, and may be a float16, whose largest power of two is this
LARGEST_EXPONENT = 15
_FLOAT32_BIAS, _FLOAT32_FRACTION = 127, 23


def film_gradients(
    trace: Trace,
    explained: tf.Tensor,
    taps: Sequence[Tap],
    unconnected: tf.UnconnectedGradients = tf.UnconnectedGradients.NONE,
) -> list[tf.Tensor]:
    """Differentiate one value per film, as if no float16 on the way could underflow or overflow.

    Where there is a float16 on the way, each film's value is multiplied by a power of two before and its gradients are
    divided by it after, see `film_scales`. Without one nothing is scaled.

    Args:
        trace: the traced model.
        explained: one value per film, float32 ``[n]``; films do not touch each other.
        taps: what to differentiate by, ``[n, …]`` each.
        unconnected: what a tap means that the values do not depend on: an error, or gradients of 0.

    Returns:
        float32, one per tap, each of its shape.

    Raises:
        UnconnectedLayerError: the values do not depend on a tap.
    """
    wanted = [one.tensor for one in taps]
    scales = film_scales(explained, wanted)
    scaled = explained if scales is None else explained * scales
    found = tf.gradients(tf.reduce_sum(scaled), wanted, unconnected_gradients=unconnected)
    for one, gradient in zip(taps, found, strict=True):
        if gradient is None:
            raise _unconnected(trace, one)
    gradients = [tf.cast(gradient, tf.float32) for gradient in found]
    if scales is None:
        return gradients
    return [gradient / tf.reshape(scales, (-1, *[1] * (gradient.shape.rank - 1))) for gradient in gradients]


def film_scales(explained: tf.Tensor, wanted: Sequence[tf.Tensor]) -> tf.Tensor | None:
    """Powers of two that bring each film's gradient at the top of the net to about 1.

    1 is the middle of what float16 holds in full precision, 2⁻¹⁴ to 2¹⁶, so what a gradient gains or loses further down
    has as much room above as below, however large the head's weights are. A constant would not do: 2¹⁰ overflows from
    weights of 64 on, and a smaller one leaves a weak head without bits. Measured at the first float16 grids on the way
    back, it costs one more backward through the head. A power of two changes no digit, so films that needed no scale
    keep their gradients.

    Args:
        explained: one value per film, float32 ``[n]``.
        wanted: what it will be differentiated by.

    Returns:
        float32 ``[n]``, 2⁻¹⁵ to 2¹⁵; None where no float16 lies on the way.
    """
    way = _way(explained, wanted)
    if not any(tensor.dtype == tf.float16 for tensor in way.values()):
        return None
    tops = _first_float16_grids(explained, way)
    if not tops:
        return tf.ones_like(explained)
    measured = tf.gradients(tf.reduce_sum(explained), tops, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    sizes = [tf.reduce_max(tf.abs(one), tuple(range(1, one.shape.rank))) for one in measured]
    largest = tf.reduce_max(tf.stack([tf.cast(one, tf.float32) for one in sizes]), 0)
    # the exponent as it is stored: a logarithm would round. 0 has the smallest one and inf the largest
    exponent = tf.bitwise.right_shift(tf.bitcast(largest, tf.int32), _FLOAT32_FRACTION) - _FLOAT32_BIAS
    opposite = tf.clip_by_value(-exponent, -LARGEST_EXPONENT, LARGEST_EXPONENT)
    return tf.bitcast(tf.bitwise.left_shift(opposite + _FLOAT32_BIAS, _FLOAT32_FRACTION), tf.float32)


def _way(end: tf.Tensor, starts: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
    """Tensors on the way from any of the starts to the end, both included, by name; weights are not among them."""
    behind, pending = {end.op.name}, [end.op]
    while pending:
        for source in pending.pop().inputs:
            if source.op.name not in behind:
                behind.add(source.op.name)
                pending.append(source.op)
    way = {start.name: start for start in starts if start.op.name in behind}
    for operation in end.graph.get_operations():
        if operation.name in behind and any(source.name in way for source in operation.inputs):
            way |= {output.name: output for output in operation.outputs}
    return way


def _first_float16_grids(end: tf.Tensor, way: dict[str, tf.Tensor]) -> list[tf.Tensor]:
    """The float16 tensors ``[n, …]`` of rank 3 or more that are met first on the way back from the end."""
    found, seen, pending = [], {end.name}, [end]
    while pending:
        tensor = pending.pop()
        if tensor.dtype == tf.float16 and (tensor.shape.rank or 0) > 2 and tensor.shape[0] == end.shape[0]:
            found.append(tensor)
            continue
        for source in tensor.op.inputs:
            if source.name in way and source.name not in seen:
                seen.add(source.name)
                pending.append(source)
    return found


def _unconnected(trace: Trace, wanted: Tap) -> UnconnectedLayerError:
    if any(wanted.tensor is one for one in trace.inputs):
        return UnconnectedLayerError(
            f"the class scores of {trace.model} cannot be differentiated by its films. Expected a model that takes "
            "them as decimals; received one that rounds them or takes whole numbers. Give its Input the dtype "
            "float32, or use a method that reads a layer."
        )
    return UnconnectedLayerError(
        f"the class scores of {trace.model} do not depend on layer '{wanted.name}'. "
        "Expected a layer between the film and the output; name another one."
    )
