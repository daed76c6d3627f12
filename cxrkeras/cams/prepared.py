"""A model compiled for inputs of one shape: the traced forward of every method, and what the trace told of the model.

Knows no film; feeding the graph is the engine's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cxrkeras.cams.batches import PREDICTED
from cxrkeras.cams.inputs import Kind, blanked, not_finite
from cxrkeras.cams.integrated import PathGradients, preprocessed_zero
from cxrkeras.cams.plan import Plan
from cxrkeras.cams.registry import METHODS
from cxrkeras.cams.scorecam.masked_films import MaskedFilms
from cxrkeras.cams.tracing.probe import Answer, Trace, traced


@dataclass(frozen=True)
class Statistics:
    """What a trace took in as constants: the mean and variance of each Normalization layer, which are no variables."""

    taken: tuple[tuple[keras.layers.Normalization, Any, Any], ...]

    @classmethod
    def of(cls, trace: Trace) -> Statistics:
        """Those of every Normalization layer that the model calls."""
        layers = {id(call.layer): call.layer for call in trace.calls}.values()
        found = [layer for layer in layers if isinstance(layer, keras.layers.Normalization)]
        return cls(tuple((layer, layer.mean, layer.variance) for layer in found))

    @property
    def hold(self) -> bool:
        """Whether the layers still have them: `adapt` and `load_weights` replace the tensors, often by equal ones."""
        return all(_equal(layer.mean, mean) and _equal(layer.variance, var) for layer, mean, var in self.taken)


@dataclass(frozen=True)
class Prepared:
    """A compiled model and what is known of it.

    Attributes:
        forward: compiled for one batch: inputs ``[b, …]`` and targets int ``[b]`` -> `probabilities`, `logits`,
            `targets`, `unanswered`, `maps` by method, and ScoreCAM's `features` and `answers`.
        path: the compiled gradients of integrated gradients; their own graph is traced when first used.
        zero: gives the baseline of integrated gradients.
        layers: tapped layer of each method, a comma list where it reads several.
        channels: of the layer that ScoreCAM reads, None without it.
        pack_size: masked films per ScoreCAM forward, None without it.
        units: of the output that targets refer to, 0 where functions score several.
        n_classes: that targets may name: 2 for a single unit.
        statistics: constants that have to hold for all this to be true.
    """

    forward: Callable[..., Any]
    path: PathGradients
    zero: Callable[[], np.ndarray]
    layers: Mapping[str, str]
    channels: int | None
    pack_size: int | None
    units: int
    n_classes: int
    statistics: Statistics


def prepared(
    model: keras.Model, plan: Plan, masked: MaskedFilms | None, wanted: tuple[Kind, ...], batch_size: int
) -> Prepared:
    """Trace and compile a model.

    Args:
        model: any Keras model, built.
        plan: what is to be computed.
        masked: ScoreCAM's masked forwards, to which those of these inputs are added; None without it.
        wanted: shape and dtype of its inputs.
        batch_size: films per forward.

    Raises:
        LayerError: a layer that the model does not have or that cannot carry a map.
        TargetError: a model with several outputs, none of them chosen.
    """
    told: dict[str, Any] = {}

    def symbolic(inputs: tf.Tensor | tuple[tf.Tensor, ...]) -> Trace:
        return traced(model, inputs, output=plan.output, training=plan.training)

    def forward(inputs: tuple[tf.Tensor, ...], targets: tf.Tensor) -> dict[str, Any]:
        trace = symbolic(inputs)
        answer, taps = _class_answer(plan, trace), plan.taps(trace)
        told.update(
            zero=preprocessed_zero(trace),
            layers={name: ", ".join(t.name for t in found) for name, found in taps.items()},
            channels=None if masked is None else int(taps["scorecam"][0].tensor.shape[-1]),
            units=0 if answer is None else int(answer.raw_logits.shape[-1]),
            n_classes=0 if answer is None else int(answer.probabilities.shape[-1]),
            statistics=Statistics.of(trace),
        )
        outputs = _answered(plan, answer, targets)
        # a ReLU or a max pooling may swallow what is not a number, and the map would look like one
        broken = not_finite(inputs)
        # not the logits: an output made of probabilities has none
        unanswered = broken | not_finite([outputs["logits"] if answer is None else answer.raw_logits])
        outputs["maps"] = plan.maps(trace, outputs["targets"], taps)
        for name, tensors in outputs["maps"].items():
            tensors["values"] = blanked(tensors["values"], unanswered if METHODS[name].class_specific else broken)
        outputs["unanswered"] = unanswered
        if masked is not None:
            outputs |= masked.traced(trace, taps["scorecam"][0])
            outputs["features"] = blanked(outputs["features"], unanswered)
        return outputs

    specs = tuple(tf.TensorSpec((batch_size, *shape), dtype) for shape, dtype in wanted)
    targets = tf.TensorSpec((batch_size,), tf.int32)
    compiled = tf.function(forward, autograph=False).get_concrete_function(specs, targets)
    return Prepared(
        forward=compiled,
        path=PathGradients(symbolic, plan.explained, batch_size, plan.unconnected),
        pack_size=None if masked is None else masked.pack_size(wanted),
        **told,
    )


def _class_answer(plan: Plan, trace: Trace) -> Answer | None:
    """The output whose classes are reported; none where functions score several outputs, or one without classes."""
    scored = plan.score is not None and plan.output is None
    if scored and (len(trace.answers) > 1 or not trace.answers[0].scores_classes):
        return None
    return trace.chosen


def _answered(plan: Plan, answer: Answer | None, targets: tf.Tensor) -> dict[str, tf.Tensor]:
    """Probabilities, logits, and the targets with the predicted class where none was given."""
    probabilities = logits = tf.zeros((targets.shape[0], 0))
    if answer is not None:
        probabilities, logits = answer.probabilities, answer.logits
    if plan.score is not None:
        targets = tf.fill(targets.shape, PREDICTED)
    else:
        targets = tf.where(targets == PREDICTED, tf.argmax(probabilities, -1, tf.int32), targets)
    return {"logits": logits, "probabilities": probabilities, "targets": targets}


def _equal(now: Any, then: Any) -> bool:
    # equal ones keep the compiled graph: every load_weights makes new tensors
    return now is then or (now is not None and then is not None and np.array_equal(now, then))
