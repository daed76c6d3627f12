"""Score functions in place of a target class: their values and gradients inside the graph, and over rows of answers.

A score is a function of one output of a model, for all films of the batch at once; with several outputs there is one
for each and their values are added. Knows no layer and no method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from cxrkeras.cams.hosted import Hosted
from cxrkeras.cams.tracing.probe import Trace, class_probabilities, own_probabilities
from cxrkeras.errors import TargetError, UnconnectedLayerError

ScoreFunction = Callable[[tf.Tensor], Any]


class Scores(Hosted):
    """One score function per output of a model.

    Args:
        functions: of an output ``[n, units]`` each, giving one value per film (or further values, averaged per film).
        unconnected: whether scores that cannot be differentiated have the gradient 0; else they are an error.
    """

    def __init__(self, functions: Sequence[ScoreFunction], unconnected: bool = False) -> None:
        super().__init__(self._with_gradients)
        self.functions = tuple(functions)
        self._unconnected = unconnected

    def explained(self, outputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """The summed scores of each film as a symbolic ``[n]`` that can be differentiated.

        Args:
            outputs: of the model, symbolic float32 ``[n, …]``.

        Raises:
            TargetError: not one function per output.
        """
        self.check_count(len(outputs))

        @tf.custom_gradient
        def scored(*tensors: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], list[tf.Tensor]]]:
            values, *slopes = tf.py_function(self.called_back, tensors, [tf.float32] * (1 + len(tensors)))
            values.set_shape(tensors[0].shape[:1])
            for slope, tensor in zip(slopes, tensors, strict=True):
                slope.set_shape(tensor.shape)

            def gradients(upstream: tf.Tensor) -> list[tf.Tensor]:
                return [tf.reshape(upstream, (-1, *[1] * (slope.shape.rank - 1))) * slope for slope in slopes]

            return values, gradients

        return scored(*outputs)

    def values(self, outputs: Sequence[tf.Tensor], *, shared: bool = True) -> tf.Tensor:
        """The summed scores of each film ``[n]``, eagerly.

        Args:
            outputs: of the model, ``[n, …]`` each.
            shared: whether one value for the whole batch is shared out to its films; else it is an error.

        Raises:
            TargetError: not one function per output, or not one value per film.
        """
        self.check_count(len(outputs))
        count = int(outputs[0].shape[0])
        pairs = zip(self.functions, outputs, strict=True)
        return tf.add_n([film_scores(function(output), count, shared) for function, output in pairs])

    def check_count(self, n_outputs: int) -> None:
        """Raise a TargetError unless there is one function per output."""
        if len(self.functions) != n_outputs:
            raise TargetError(
                f"expected one score for each of the model's {n_outputs} outputs; received {len(self.functions)}."
            )

    def _with_gradients(self, *outputs: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            values = self.values(outputs)
        slopes = tape.gradient(values, outputs)
        if all(slope is None for slope in slopes) and not self._unconnected:
            raise UnconnectedLayerError(
                "the scores do not depend on the model's outputs in a way that can be differentiated. "
                "Expected TensorFlow operations on them; a score that goes through NumPy has no gradient."
            )
        return [values, *(tf.zeros_like(o) if s is None else s for o, s in zip(outputs, slopes, strict=True))]


@dataclass(frozen=True)
class Reading:
    """What ScoreCAM reads off a model's outputs, one row per film: probabilities, never squashed twice.

    Attributes:
        heads: head of each output, see `probe.Answer`.
        shapes: shape of each output without the film.
        chosen: the output whose class probabilities are read; None to read all outputs, side by side.
    """

    heads: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    chosen: int | None

    @classmethod
    def of(cls, trace: Trace, scored: bool) -> Reading:
        """How to read the outputs of a traced model: all of them where functions score them, else the chosen one."""
        return cls(
            heads=tuple(answer.head for answer in trace.answers),
            shapes=tuple(tuple(answer.output.shape[1:]) for answer in trace.answers),
            chosen=None if scored else trace.chosen_index,
        )

    def rows(self, outputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """Read the model's outputs, in the order of `model.outputs`: float32 ``[n, columns]``."""
        if self.chosen is not None:
            return class_probabilities(outputs[self.chosen], self.heads[self.chosen])
        own = [own_probabilities(output, head) for output, head in zip(outputs, self.heads, strict=True)]
        return tf.concat([tf.reshape(one, (-1, int(np.prod(one.shape[1:])))) for one in own], -1)

    def outputs(self, rows: np.ndarray) -> list[tf.Tensor]:
        """All outputs ``[n, …]`` from rows ``[n, columns]``; the inverse of `rows` where no output is chosen."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1]
        parts = zip(np.split(rows, ends, axis=1), self.shapes, strict=True)
        return [tf.constant(part.reshape(len(rows), *shape)) for part, shape in parts]


def film_scores(values: Any, count: int, shared: bool = True) -> tf.Tensor:
    """Bring what a score function returned to one value per film, float32 ``[count]``.

    Args:
        values: a tensor or an array ``[count, …]`` (averaged over all but the films), a list of one value per film, or
            one value for the whole batch, which is shared out to its films.
        count: films in the batch.
        shared: whether one value for the whole batch will do.

    Raises:
        TargetError: another number of values.
    """
    if isinstance(values, list | tuple) and len(values):
        values = tf.stack([tf.convert_to_tensor(value) for value in values])
    values = tf.cast(tf.convert_to_tensor(values), tf.float32)
    if values.shape.rank == 0 and (shared or count == 1):
        return tf.fill((count,), values / count)
    if values.shape.rank == 0 or values.shape[0] != count:
        received = 1 if values.shape.rank == 0 else values.shape[0]
        raise TargetError(
            f"expected {count} targets, one per image; received {received} scores. "
            "A score function gives one value per film."
        )
    return tf.reduce_mean(tf.reshape(values, (count, -1)), -1)
