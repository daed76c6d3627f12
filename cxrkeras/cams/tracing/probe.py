"""Run any Keras model once while a graph is traced, and see every layer call, its logits and its probabilities.

The user's model is never changed, cloned or left with another activation. Knows no method and no target class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cxrkeras.cams.tracing.interception import Proceed, intercepted_calls
from cxrkeras.cams.tracing.squashing import LINEAR, LOG_SOFTMAX, MIXED, before_squashing, squashed_inside
from cxrkeras.errors import HiddenLogitsError, TargetError

DISTRIBUTION_TOLERANCE = 1e-4


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
class Answer:
    """One output of a model.

    Attributes:
        name: of the output.
        output: the model's own output ``[n, units]``; ``[n, …, units]`` where it is only scored by a function.
        raw_logits: what entered its softmax or sigmoid, float32, same shape; the output itself when it has neither.
        head: `softmax`, `log_softmax`, `sigmoid`, `linear`, or `mixed` where it is made of softmaxes or sigmoids (an
            average of them, a concatenation) and so has no logits.
        squashed_by: the layer, or operation, that squashed a `mixed` output; None for other heads.
    """

    name: str
    output: tf.Tensor
    raw_logits: tf.Tensor
    head: str
    squashed_by: str | None = None

    @property
    def logits(self) -> tf.Tensor:
        """Logits ``[n, n_classes]``, NaN of a `mixed` head; one unit z gives the two columns (−z, z)."""
        logits = two_sided(self.raw_logits)
        return tf.fill(tf.shape(logits), np.float32(np.nan)) if self.head == MIXED else logits

    @property
    def probabilities(self) -> tf.Tensor:
        """The model's own probabilities ``[n, n_classes]``, see `class_probabilities`."""
        return class_probabilities(self.output, self.head)

    @property
    def scores_classes(self) -> bool:
        """Whether it is one score per class, ``[n, units]``."""
        return self.output.shape.rank == 2 and self.output.shape[-1] is not None


@dataclass(frozen=True)
class Trace:
    """One symbolic forward.

    Attributes:
        model: name of the model.
        inputs: its inputs, in the order of `model.inputs`.
        calls: every layer call inside it, in the order they returned.
        answers: its outputs, in the order of `model.outputs`.
        wanted: index or name of the output that class targets refer to; None is enough where there is one.
    """

    model: str
    inputs: tuple[tf.Tensor, ...]
    calls: tuple[LayerCall, ...]
    answers: tuple[Answer, ...]
    wanted: int | str | None = None

    @property
    def films(self) -> tf.Tensor:
        """The first input with a grid ``[n, H, W, C]``; the first input where none has one."""
        return self.inputs[first_film([tensor.shape.rank for tensor in self.inputs])]

    @property
    def chosen(self) -> Answer:
        """The output that class targets refer to.

        Raises:
            TargetError: none was named and there are several, the name is unknown, or it is not a score per class.
        """
        return self.answers[self.chosen_index]

    @property
    def chosen_index(self) -> int:
        """Its place among the outputs; raises as `chosen`."""
        index = _place(self)
        if not self.answers[index].scores_classes:
            raise TargetError(
                f"{self.model} does not answer with one score per class. Expected an output of shape [n, classes]; "
                f"received {tuple(self.answers[index].output.shape)}. Give a score function for it."
            )
        return index

    @property
    def output(self) -> tf.Tensor:
        """The chosen output ``[n, units]``."""
        return self.chosen.output

    @property
    def raw_logits(self) -> tf.Tensor:
        """The chosen output's logits as the model makes them ``[n, units]``."""
        return self.chosen.raw_logits

    @property
    def head(self) -> str:
        """The chosen output's head."""
        return self.chosen.head

    @property
    def logits(self) -> tf.Tensor:
        """The chosen output's logits ``[n, n_classes]``.

        Raises:
            HiddenLogitsError: it has none.
        """
        if self.head == MIXED:
            raise HiddenLogitsError(
                f"the output of {self.model} is made of probabilities: '{self.chosen.squashed_by}' squashes inside "
                "the model, so there is no logit per class. Expected a softmax or sigmoid at the very end, or none. "
                "Explain the probability (on='probability', --on probability) or give a score function."
            )
        return self.chosen.logits

    @property
    def probabilities(self) -> tf.Tensor:
        """The chosen output's probabilities ``[n, n_classes]``."""
        return self.chosen.probabilities


def traced(
    model: keras.Model,
    inputs: tf.Tensor | Sequence[tf.Tensor],
    *,
    output: int | str | None = None,
    training: bool = False,
) -> Trace:
    """Call the model inside the graph that is being built.

    Args:
        model: any Keras model.
        inputs: symbolic input ``[n, H, W, C]``, or one per model input in the order of `model.inputs`.
        output: index or name of the output that class targets refer to; None is enough where there is one.
        training: run it in training mode. Drop-outs draw; moving statistics and weights stay as they are.
    """
    inputs = (inputs,) if tf.is_tensor(inputs) else tuple(inputs)
    calls: list[LayerCall] = []
    with _recorded_calls(model, tf.compat.v1.get_default_graph(), calls):
        returned = called(model, inputs, training)
    tensors = keras.tree.flatten(returned)
    names = _output_names(model, returned)
    answers = [_answer(name, tensor, inputs, calls) for name, tensor in zip(names, tensors, strict=True)]
    return Trace(model=model.name, inputs=inputs, calls=tuple(calls), answers=tuple(answers), wanted=output)


def called(model: keras.Model, inputs: Sequence[tf.Tensor], training: bool = False) -> Any:
    """Call the model with its inputs in the structure it expects.

    Args:
        model: any Keras model; in training mode its moving statistics are left alone.
        inputs: one per model input, in the order of `model.inputs`.
        training: run it in training mode.
    """
    arguments = _structured(model, inputs)
    if not training:
        return model(arguments, training=False)
    with keras.StatelessScope() as scope:
        returned = model(arguments, training=True)
    weights = {id(variable) for variable in model.weights}
    for state in (variable for variable in model.variables if id(variable) not in weights):
        advanced = scope.get_current_value(state)
        # without it a drop-out would draw the same noise for every batch
        if advanced is not None:
            state.assign(advanced)
    return returned


def first_film(ranks: Sequence[int | None]) -> int:
    """Place of the first input with a grid, 0 where none has one."""
    return next((i for i, rank in enumerate(ranks) if rank == 4), 0)


def two_sided(raw_logits: tf.Tensor) -> tf.Tensor:
    """Give a single unit its two classes: ``[n, 1]`` z becomes (−z, z); more units pass through."""
    return tf.concat([-raw_logits, raw_logits], -1) if raw_logits.shape[-1] == 1 else raw_logits


def class_probabilities(output: tf.Tensor, head: str) -> tf.Tensor:
    """Turn the model's output into a probability per class, never squashing twice.

    Args:
        output: the model's own output ``[n, units]``.
        head: see `own_probabilities`.

    Returns:
        float32 ``[n, n_classes]``; a single unit s gives the two columns (1 − s, s).
    """
    output = own_probabilities(output, head)
    return tf.concat([1 - output, output], -1) if output.shape[-1] == 1 else output


def own_probabilities(output: tf.Tensor, head: str) -> tf.Tensor:
    """Turn the model's output into probabilities of its own units, never squashing twice.

    Args:
        output: the model's own output ``[n, …, units]``.
        head: `softmax` and `sigmoid` outputs are used as they are, `log_softmax` ones exponentiated. A `linear` output
            gets a softmax, or a sigmoid if it is a single unit; a film whose several outputs are already a
            distribution keeps them. So does one whose `mixed` outputs are all in 0..1; others are as linear.

    Returns:
        float32 ``[n, …, units]``.
    """
    output = tf.cast(output, tf.float32)
    if head == LOG_SOFTMAX:
        return tf.exp(output)
    if head == MIXED:
        within = tf.reduce_all((output >= 0) & (output <= 1 + DISTRIBUTION_TOLERANCE), -1, keepdims=True)
        return tf.where(within, output, own_probabilities(output, LINEAR))
    if head != LINEAR:
        return output
    if output.shape[-1] == 1:
        return tf.nn.sigmoid(output)
    sums_to_one = tf.abs(tf.reduce_sum(output, -1, keepdims=True) - 1) < DISTRIBUTION_TOLERANCE
    is_distribution = sums_to_one & tf.reduce_all(output >= 0, -1, keepdims=True)
    return tf.where(is_distribution, output, tf.nn.softmax(output))


@contextmanager
def _recorded_calls(model: keras.Model, graph: Any, calls: list[LayerCall]) -> Iterator[None]:
    path: list[str] = []

    def recording(layer: keras.layers.Layer, proceed: Proceed, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        path.append(layer.name)
        try:
            result = proceed()
            if layer is not model:
                inputs, outputs = _tensors((args, kwargs), graph), _tensors(result, graph)
                calls.append(LayerCall(layer, tuple(path[1:]), inputs, outputs))
        finally:
            path.pop()
        return result

    with intercepted_calls(recording):
        yield


def _tensors(structure: Any, graph: Any) -> tuple[tf.Tensor, ...]:
    """Tensors of this graph; those of an inner graph (a loop, a nested tf.function) cannot be tapped from here."""
    flat = tf.nest.flatten(structure)
    return tuple(t for t in flat if isinstance(t, tf.Tensor) and getattr(t, "graph", None) is graph)


def _structured(model: keras.Model, inputs: Sequence[tf.Tensor]) -> Any:
    expected = getattr(model, "input", None)
    if expected is not None and len(keras.tree.flatten(expected)) == len(inputs):
        return keras.tree.pack_sequence_as(expected, list(inputs))
    return inputs[0] if len(inputs) == 1 else list(inputs)


def _output_names(model: keras.Model, returned: Any) -> list[str]:
    count = len(keras.tree.flatten(returned))
    names = getattr(model, "output_names", None)
    if names and len(names) == count:
        return [str(name) for name in names]
    if isinstance(returned, dict) and len(returned) == count:
        return sorted(returned)
    return [f"output_{i}" for i in range(count)]


def _place(trace: Trace) -> int:
    names, wanted = [answer.name for answer in trace.answers], trace.wanted
    if wanted is None and len(names) == 1:
        return 0
    if isinstance(wanted, str) and wanted in names:
        return names.index(wanted)
    if isinstance(wanted, int) and 0 <= wanted < len(names):
        return wanted
    listed = ", ".join(f"{i} '{a.name}' {tuple(a.output.shape)}" for i, a in enumerate(trace.answers))
    received = "none was named" if wanted is None else f"received {wanted!r}"
    raise TargetError(
        f"{trace.model} has {len(names)} outputs and {received}. Expected output= with an index or name of: {listed}; "
        "or score= with one function per output."
    )


def _answer(name: str, output: tf.Tensor, inputs: Sequence[tf.Tensor], calls: Sequence[LayerCall]) -> Answer:
    logits, head = before_squashing(output)
    squashed = squashed_inside(output, inputs) if head == LINEAR else None
    logits = tf.cast(logits, tf.float32)
    if squashed is None:
        return Answer(name, output, logits, head)
    made = (call for call in calls if any(one.name == squashed.name for one in call.outputs))
    by = next(("/".join(call.path) for call in made), squashed.op.name)
    return Answer(name, output, logits, MIXED, by)
