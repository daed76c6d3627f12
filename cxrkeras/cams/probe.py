"""Run any Keras model once while a graph is traced, and see every layer call, its logits and its probabilities.

The user's model is never changed, cloned or left with another activation: for the length of one call the class-level
`Layer.__call__` is wrapped. Knows no method and no target class.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from cxrkeras.errors import TargetError

SOFTMAX, LOG_SOFTMAX, SIGMOID, LINEAR = "softmax", "log_softmax", "sigmoid", "linear"
_SQUASHING = {"Softmax": SOFTMAX, "LogSoftmax": LOG_SOFTMAX, "Sigmoid": SIGMOID}
_PASSING = {"Identity", "IdentityN", "Cast", "StopGradient", "PreventGradient", "CheckNumerics", "Snapshot"}
DISTRIBUTION_TOLERANCE = 1e-4
_patching = threading.RLock()


@dataclass(frozen=True)
class LayerCall:
    """One call of one layer.

    Attributes:
        layer: the layer object.
        path: names of the enclosing models and the layer, the outermost model left out.
        inputs: tensors it was given.
        outputs: tensors it returned.
    """

    layer: keras.layers.Layer
    path: tuple[str, ...]
    inputs: tuple[tf.Tensor, ...]
    outputs: tuple[tf.Tensor, ...]

    @property
    def name(self) -> str:
        """Name of the layer alone."""
        return self.path[-1]


@dataclass(frozen=True)
class Trace:
    """One symbolic forward.

    Attributes:
        model: name of the model.
        films: its input ``[n, H, W, C]``.
        calls: every layer call inside it, in the order they returned.
        output: the model's own output ``[n, units]``.
        raw_logits: what entered its softmax or sigmoid, float32 ``[n, units]``; the output itself when it has neither.
        head: `softmax`, `log_softmax`, `sigmoid` or `linear`.
    """

    model: str
    films: tf.Tensor
    calls: tuple[LayerCall, ...]
    output: tf.Tensor
    raw_logits: tf.Tensor
    head: str

    @property
    def logits(self) -> tf.Tensor:
        """Logits ``[n, n_classes]``; one unit z gives the two columns (−z, z)."""
        return two_sided(self.raw_logits)

    @property
    def probabilities(self) -> tf.Tensor:
        """The model's own probabilities ``[n, n_classes]``, see `class_probabilities`."""
        return class_probabilities(self.output, self.head)


def traced(model: keras.Model, films: tf.Tensor) -> Trace:
    """Call the model in inference mode inside the graph that is being built.

    Args:
        model: any Keras model with one output ``[n, units]``.
        films: symbolic input ``[n, H, W, C]``.

    Raises:
        TargetError: the model has several outputs, or one that is not a score per class.
    """
    calls: list[LayerCall] = []
    with _recorded_calls(model, tf.compat.v1.get_default_graph(), calls):
        output = model(films, training=False)
    output = _single_output(model, output)
    logits, head = _before_squashing(output)
    return Trace(
        model=model.name,
        films=films,
        calls=tuple(calls),
        output=output,
        raw_logits=tf.cast(logits, tf.float32),
        head=head,
    )


def two_sided(raw_logits: tf.Tensor) -> tf.Tensor:
    """Give a single unit its two classes: ``[n, 1]`` z becomes (−z, z); more units pass through."""
    return tf.concat([-raw_logits, raw_logits], -1) if raw_logits.shape[-1] == 1 else raw_logits


def class_probabilities(output: tf.Tensor, head: str) -> tf.Tensor:
    """Turn the model's output into a probability per class, never squashing twice.

    Args:
        output: the model's own output ``[n, units]``.
        head: `softmax` and `sigmoid` outputs are used as they are, `log_softmax` ones exponentiated. A `linear` output
            gets a softmax, or a sigmoid if it is a single unit; a film whose several outputs are already a
            distribution (an average of softmaxes) keeps them.

    Returns:
        float32 ``[n, n_classes]``.
    """
    output = tf.cast(output, tf.float32)
    if head == LOG_SOFTMAX:
        output = tf.exp(output)
    if head == LINEAR and output.shape[-1] == 1:
        output = tf.nn.sigmoid(output)
    elif head == LINEAR:
        sums_to_one = tf.abs(tf.reduce_sum(output, -1, keepdims=True) - 1) < DISTRIBUTION_TOLERANCE
        is_distribution = sums_to_one & tf.reduce_all(output >= 0, -1, keepdims=True)
        output = tf.where(is_distribution, output, tf.nn.softmax(output))
    return tf.concat([1 - output, output], -1) if output.shape[-1] == 1 else output


@contextmanager
def _recorded_calls(model: keras.Model, graph: Any, calls: list[LayerCall]) -> Iterator[None]:
    owner, path = threading.get_ident(), []
    with _patching:
        original = keras.layers.Layer.__call__

        def recording(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != owner:
                return original(layer, *args, **kwargs)
            path.append(layer.name)
            try:
                result = original(layer, *args, **kwargs)
                if layer is not model:
                    inputs, outputs = _tensors((args, kwargs), graph), _tensors(result, graph)
                    calls.append(LayerCall(layer, tuple(path[1:]), inputs, outputs))
            finally:
                path.pop()
            return result

        keras.layers.Layer.__call__ = recording
        try:
            yield
        finally:
            keras.layers.Layer.__call__ = original


def _tensors(structure: Any, graph: Any) -> tuple[tf.Tensor, ...]:
    """Tensors of this graph; those of an inner graph (a loop, a nested tf.function) cannot be tapped from here."""
    flat = tf.nest.flatten(structure)
    return tuple(t for t in flat if isinstance(t, tf.Tensor) and getattr(t, "graph", None) is graph)


def _single_output(model: keras.Model, output: Any) -> tf.Tensor:
    tensors = tf.nest.flatten(output)
    if len(tensors) != 1:
        raise TargetError(
            f"{model.name} has {len(tensors)} outputs. Expected one output of shape [n, classes]. "
            "Wrap the one to explain: keras.Model(model.inputs, model.outputs[0])."
        )
    if tensors[0].shape.rank != 2 or tensors[0].shape[-1] is None:
        raise TargetError(
            f"{model.name} does not answer with one score per class. Expected an output of shape [n, classes]; "
            f"received {tuple(tensors[0].shape)}."
        )
    return tensors[0]


def _before_squashing(output: tf.Tensor) -> tuple[tf.Tensor, str]:
    tensor = output
    while tensor.op.type in _PASSING and tensor.op.inputs:
        tensor = tensor.op.inputs[tensor.value_index if tensor.op.type == "IdentityN" else 0]
    head = _SQUASHING.get(tensor.op.type)
    if head is None:
        return output, LINEAR
    return tensor.op.inputs[0], head
