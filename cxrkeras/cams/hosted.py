"""A user's own function inside a compiled graph, run eagerly each time the graph runs.

So it may loop over its tensors, use NumPy and be exchanged without a new trace, and what it raises arrives as it was
raised. Knows no model and no method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from cxrkeras.errors import MethodError


class Hosted:
    """A function of tensors that a graph calls back; `error` keeps what it raised, because the graph loses its type."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.error: Exception | None = None

    def called_back(self, *tensors: tf.Tensor) -> Any:
        """Call the function, keep what it raises."""
        try:
            return self._value(*tensors)
        except Exception as error:
            self.error = error
            raise

    def _value(self, *tensors: tf.Tensor) -> Any:
        return self.function(*tensors)


class HostedModifier(Hosted):
    """A modifier of gradients or maps: one tensor in, one of the same shape out."""

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """The modified values, float32; inside a graph a symbolic tensor that calls back."""
        if tf.executing_eagerly():
            return self._value(values)
        changed = tf.py_function(self.called_back, [values], tf.float32)
        changed.set_shape(values.shape)
        return changed

    def _value(self, values: tf.Tensor) -> tf.Tensor:
        changed = tf.convert_to_tensor(self.function(values))
        if changed.shape != values.shape:
            raise MethodError(
                f"a modifier has to keep the shape of what it modifies. Expected {tuple(values.shape)}; "
                f"received {tuple(changed.shape)}."
            )
        return tf.cast(changed, tf.float32)


@contextmanager
def own_errors(hosts: Sequence[Hosted]) -> Iterator[None]:
    """Let what a hosted function raised come out as it was, in place of the graph's error about it."""
    for host in hosts:
        host.error = None
    try:
        yield
    except tf.errors.OpError:
        raised = [host.error for host in hosts if host.error is not None]
        if not raised:
            raise
        raise raised[0] from None
