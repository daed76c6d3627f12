"""What is to be computed inside the traced graph, and the symbolic computation itself: score, gradients, maps.

Knows no batch and no array; the engine feeds the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from cxrkeras.cams.gradients import film_gradients
from cxrkeras.cams.registry import FORWARD, METHODS, MULTISCALE, Method
from cxrkeras.cams.scores import Scores
from cxrkeras.cams.tracing.layers import Tap, Wanted, tap
from cxrkeras.cams.tracing.probe import Trace
from cxrkeras.cams.tracing.squashing import SIGMOID

ON = ("logit", "probability", "margin")
MULTISCALE_LAYERS = ("stride8", "stride16", "stride32")

Modifier = Callable[[tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Plan:
    """The settings of an `Explainer` that decide what its maps are.

    Attributes:
        methods: registry names.
        options: options of each method, complete.
        layer: role, layer name or layer, see `layers.tap`.
        multiscale: the same for several depths, finest first.
        on: `logit`, `probability` or `margin`.
        seed: of ScoreCAM's draw.
        output: index or name of the output that class targets refer to.
        training: whether the model is run in training mode.
        score: functions of the logits in place of a target class.
        gradient_modifier: applied to the gradients before the method, in place of the ReLU it has for them.
        rectify: in place of the final ReLU.
        unconnected: what a layer means that the scores do not depend on: an error, or gradients of 0.
    """

    methods: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]]
    layer: Wanted
    multiscale: tuple[Wanted, ...]
    on: str
    seed: int
    output: int | str | None = None
    training: bool = False
    score: Scores | None = None
    gradient_modifier: Modifier | None = None
    rectify: Modifier | None = None
    unconnected: tf.UnconnectedGradients = tf.UnconnectedGradients.NONE

    @property
    def has_forward_method(self) -> bool:
        """Whether ScoreCAM, or another method with its own forwards, is among the methods."""
        return any(METHODS[name].kind == FORWARD for name in self.methods)

    @property
    def samples_channels(self) -> bool:
        """Whether ScoreCAM may leave channels out, so that its maps are estimates."""
        options = self.options.get("scorecam", {})
        return any(options.get(name) is not None for name in ("max_channels", "tolerance"))

    def parameters(self, name: str, layer: str) -> dict[str, Any]:
        """Everything that changes the maps of one method, as plain JSON values."""
        method, options = METHODS[name], self.options[name]
        parameters: dict[str, Any] = {"layer": layer, **options}
        if method.explains_score:
            parameters["on"] = self.on
        if method.kind == FORWARD and self.samples_channels:
            parameters["seed"] = self.seed
        if self.output is not None:
            parameters["output"] = self.output
        if self.training:
            parameters["training"] = True
        return {key: list(value) if isinstance(value, tuple) else value for key, value in parameters.items()}

    def taps(self, trace: Trace) -> dict[str, tuple[Tap, ...]]:
        """Find the tensors each method reads.

        Raises:
            LayerError: a layer that the model does not have or that cannot carry a map.
        """
        found: dict[Wanted, Tap] = {}

        def once(wanted: Wanted) -> Tap:
            if wanted not in found:
                found[wanted] = tap(trace, wanted)
            return found[wanted]

        at_input = (Tap("input", trace.films),)
        return {
            name: at_input if METHODS[name].at_input else tuple(once(wanted) for wanted in self._wanted(METHODS[name]))
            for name in self.methods
        }

    def _wanted(self, method: Method) -> Sequence[Wanted]:
        if method.kind == MULTISCALE:
            return self.multiscale
        several = self.options[method.name][method.layers_option] if method.layers_option else None
        return (self.layer,) if several is None else several

    def maps(
        self, trace: Trace, targets: tf.Tensor, taps: Mapping[str, Sequence[Tap]]
    ) -> dict[str, dict[str, tf.Tensor]]:
        """Build the maps of every method that needs no forward of its own.

        Args:
            trace: the traced model.
            targets: class per film, int ``[n]``.
            taps: as `taps` returned.

        Returns:
            For each method `values` ``[n, h, w]`` and its further tensors ``[n, …]``.

        Raises:
            LayerError: the scores do not depend on a tapped layer.
        """
        needed = {t.tensor.name: t for name, ts in taps.items() if METHODS[name].needs_gradient for t in ts}
        gradients = self._gradients(trace, targets, needed) if needed else {}
        inside = [METHODS[name] for name in self.methods if METHODS[name].in_the_forward]
        return {method.name: self._method_maps(method, taps[method.name], gradients) for method in inside}

    def _method_maps(
        self, method: Method, taps: Sequence[Tap], gradients: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        options, function = self.options[method.name], method.load()
        own = {key: options[key] for key in method.options}
        if self.rectify is not None and not method.at_input:
            own["rectify"] = self.rectify
        if self.gradient_modifier is not None and method.rectifies_gradients:
            own["rectify_gradients"] = tf.identity
        levels, extras = [], {}
        for level in taps:
            features = tf.cast(level.tensor, tf.float32)
            inputs = (features, gradients[level.tensor.name]) if method.needs_gradient else (features,)
            values, extras = function(*inputs, **own)
            levels.append(values)
        if method.kind == MULTISCALE or len(levels) > 1:
            values, extras = method.load_fuse()(levels, **{key: options[key] for key in method.fuse_options})
        return {"values": values, **extras}

    def _gradients(self, trace: Trace, targets: tf.Tensor, needed: Mapping[str, Tap]) -> dict[str, tf.Tensor]:
        found = film_gradients(trace, self.explained(trace, targets), tuple(needed.values()), self.unconnected)
        modifier = self.gradient_modifier or (lambda gradient: gradient)
        return {name: modifier(gradient) for name, gradient in zip(needed, found, strict=True)}

    def explained(self, trace: Trace, targets: tf.Tensor) -> tf.Tensor:
        """What is explained, one value per film ``[n]``; films do not touch each other, so neither do its gradients."""
        if self.score is not None:
            probable = self.on == "probability"
            return self.score.explained(
                [tf.cast(a.output, tf.float32) if probable else a.raw_logits for a in trace.answers]
            )
        if self.on == "probability":
            return tf.gather(trace.probabilities, targets, batch_dims=1)
        chosen = tf.gather(trace.logits, targets, batch_dims=1)
        # independent sigmoid units have no competing classes: their logit is their margin
        if self.on == "logit" or trace.head == SIGMOID or trace.raw_logits.shape[-1] == 1:
            return chosen
        competing = tf.one_hot(targets, trace.logits.shape[-1], on_value=-np.inf, off_value=0.0)
        return chosen - tf.reduce_logsumexp(trace.logits + competing, -1)
