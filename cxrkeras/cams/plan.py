"""What is to be computed inside the traced graph, and the symbolic computation itself: score, gradients, maps.

Knows no batch and no array; the engine feeds the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from cxrkeras.cams.layers import Tap, tap
from cxrkeras.cams.probe import SIGMOID, Trace
from cxrkeras.cams.registry import FORWARD, METHODS, MULTISCALE, Method
from cxrkeras.errors import LayerError

ON = ("logit", "probability", "margin")
MULTISCALE_LAYERS = ("stride8", "stride16", "stride32")

Modifier = Callable[[tf.Tensor], tf.Tensor]
ScoreFunction = Callable[[tf.Tensor], Any]


@dataclass(frozen=True)
class Plan:
    """The settings of an `Explainer` that decide what its maps are.

    Attributes:
        methods: registry names.
        options: options of each method, complete.
        layer: role or layer name.
        multiscale: the same for several depths, finest first.
        on: `logit`, `probability` or `margin`.
        seed: of ScoreCAM's draw.
        score: function of the logits in place of a target class.
        gradient_modifier: applied to the gradients before the method.
        rectify: in place of the final ReLU.
    """

    methods: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]]
    layer: str
    multiscale: tuple[str, ...]
    on: str
    seed: int
    score: ScoreFunction | None = None
    gradient_modifier: Modifier | None = None
    rectify: Modifier | None = None

    @property
    def has_forward_method(self) -> bool:
        """Whether ScoreCAM, or another method with its own forwards, is among the methods."""
        return any(METHODS[name].kind == FORWARD for name in self.methods)

    def parameters(self, name: str, layer: str) -> dict[str, Any]:
        """Everything that changes the maps of one method, as plain JSON values."""
        method, options = METHODS[name], self.options[name]
        parameters: dict[str, Any] = {"layer": layer, **options}
        if method.needs_gradient:
            parameters["on"] = self.on
        if method.kind == FORWARD:
            parameters["mask_space"] = "input"
            if options["max_channels"] is not None:
                parameters["seed"] = self.seed
        return {key: list(value) if isinstance(value, tuple) else value for key, value in parameters.items()}

    def taps(self, trace: Trace) -> dict[str, tuple[Tap, ...]]:
        """Find the tensors each method reads.

        Raises:
            LayerError: a layer that the model does not have or that cannot carry a map.
        """
        found: dict[str, Tap] = {}

        def once(wanted: str) -> Tap:
            if wanted not in found:
                found[wanted] = tap(trace, wanted)
            return found[wanted]

        return {name: tuple(once(wanted) for wanted in self._wanted(METHODS[name])) for name in self.methods}

    def _wanted(self, method: Method) -> Sequence[str]:
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
        inside = [METHODS[name] for name in self.methods if METHODS[name].kind != FORWARD]
        return {method.name: self._method_maps(method, taps[method.name], gradients) for method in inside}

    def _method_maps(
        self, method: Method, taps: Sequence[Tap], gradients: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        options, function = self.options[method.name], method.load()
        own = {key: options[key] for key in method.options}
        if self.rectify is not None:
            own["rectify"] = self.rectify
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
        found = tf.gradients(self._explained_sum(trace, targets), [t.tensor for t in needed.values()])
        for wanted, gradient in zip(needed.values(), found, strict=True):
            if gradient is None:
                raise LayerError(
                    f"the class scores of {trace.model} do not depend on layer '{wanted.name}'. "
                    "Expected a layer between the film and the output; name another one."
                )
        modifier = self.gradient_modifier or (lambda gradient: gradient)
        return {name: modifier(tf.cast(gradient, tf.float32)) for name, gradient in zip(needed, found, strict=True)}

    def _explained_sum(self, trace: Trace, targets: tf.Tensor) -> tf.Tensor:
        """Sum over the batch of what is explained; films do not touch each other, so its gradient is per film."""
        if self.score is not None:
            return tf.reduce_sum(per_film(self.score(trace.output if self.on == "probability" else trace.raw_logits)))
        if self.on == "probability":
            return tf.reduce_sum(tf.gather(trace.probabilities, targets, batch_dims=1))
        chosen = tf.gather(trace.logits, targets, batch_dims=1)
        # independent sigmoid units have no competing classes: their logit is their margin
        if self.on == "logit" or trace.head == SIGMOID or trace.raw_logits.shape[-1] == 1:
            return tf.reduce_sum(chosen)
        competing = tf.one_hot(targets, trace.logits.shape[-1], on_value=-np.inf, off_value=0.0)
        return tf.reduce_sum(chosen - tf.reduce_logsumexp(trace.logits + competing, -1))


def per_film(values: Any) -> tf.Tensor:
    """Bring what a score function returned — a tensor, or a list of one per film — to float32 ``[n]``."""
    values = tf.stack([tf.convert_to_tensor(v) for v in values]) if isinstance(values, list | tuple) else values
    values = tf.cast(values, tf.float32)
    return tf.reduce_mean(tf.reshape(values, (values.shape[0], -1)), -1)
