"""Find the layers that a model's films pass before anything is learned: its preprocessing.

Reads a traced model; knows no method.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from cxrkeras.cams.tracing.layers import tap
from cxrkeras.cams.tracing.probe import LayerCall, Trace
from cxrkeras.errors import MethodError

PREPROCESSING = (keras.layers.Rescaling, keras.layers.Normalization)
# operations that hand a film on as it is
_PASSING = {"Identity", "Cast"}


def leading_preprocessing(trace: Trace, films: tf.Tensor) -> tuple[LayerCall, ...]:
    """The longest chain of Rescaling and Normalization layers that the films pass first, in order; may be empty.

    Args:
        trace: a traced model of any kind; the layers may sit in a nested model.
        films: one of its inputs, symbolic ``[n, H, W, C]``.
    """
    chain: list[LayerCall] = []
    tensor = _origin(films)
    following = [c for c in trace.calls if isinstance(c.layer, PREPROCESSING) and len(c.inputs) == len(c.outputs) == 1]
    while True:
        found = next((call for call in following if _origin(call.inputs[0]) is tensor), None)
        if found is None:
            return tuple(chain)
        chain.append(found)
        tensor = _origin(found.outputs[0])


def preprocessing_end(trace: Trace, films: tf.Tensor, named: str | None = None) -> LayerCall:
    """The layer call whose output is the preprocessed film.

    Args:
        trace: a traced model.
        films: one of its inputs, symbolic ``[n, H, W, C]``.
        named: layer name or path to take instead of the last of the leading Rescaling and Normalization layers.

    Raises:
        MethodError: the model does not begin with such a layer.
        LayerError: no layer of that name, or one without a grid.
    """
    if named is not None:
        tensor = tap(trace, named).tensor
        return next(call for call in trace.calls if any(output is tensor for output in call.outputs))
    chain = leading_preprocessing(trace, films)
    if not chain:
        first = ", ".join("/".join(call.path) for call in trace.calls[:3]) or "no layer"
        raise MethodError(
            f"mask_space='preprocessed' needs a preprocessing layer, but {trace.model} begins with {first}. Expected a "
            "Rescaling or Normalization layer first. Name the layer with mask_layer, or keep mask_space='input' and "
            "set mask_value to the value that hidden pixels should have."
        )
    return chain[-1]


def _origin(tensor: tf.Tensor) -> tf.Tensor:
    while tensor.op.type in _PASSING:
        tensor = tensor.op.inputs[0]
    return tensor
