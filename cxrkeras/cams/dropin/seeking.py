"""The layer that tf-keras-vis would read, by its rules: an index, a name or a layer, and from there to a convolution.

Works on models that tf-keras-vis cannot run, too. Knows no method and no score.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from tf_keras_vis.utils import find_layer
from tf_keras_vis.utils.model_modifiers import Conv

from cxrkeras.cams.tracing.layers import Tap, tap
from cxrkeras.cams.tracing.probe import Trace
from cxrkeras.errors import LayerError, LayerIndexError


@dataclass(frozen=True)
class PeerLayer:
    """Finds in a traced model the layer that tf-keras-vis would read.

    Attributes:
        model: the model.
        wanted: index into `model.layers`, a name (also of a nested layer) or a layer; a string that names no layer is
            one of our roles or paths.
        seek: whether to go back from there to the last convolution, the layer itself included.
    """

    model: keras.Model
    wanted: int | str | keras.layers.Layer
    seek: bool

    def __post_init__(self) -> None:
        if not isinstance(self.wanted, int | str | keras.layers.Layer):
            raise LayerError(f"a layer is an index, a name or a layer of the model; received {self.wanted!r}.")

    def __call__(self, trace: Trace) -> Tap:
        """Find the tensor.

        Raises:
            LayerError: no such layer, no convolution before it, or no grid.
        """
        layer = self._offset()
        if isinstance(layer, str) or not self.seek:
            return tap(trace, layer)
        found = find_layer(self.model, _convolves, offset=layer) if self._is_symbolic else self._called(trace, layer)
        if found is None and not any(call.layer is layer for call in trace.calls):
            raise LayerError(
                f"layer '{layer.name}' is not a layer of {trace.model}. Expected one of its own; the layer of another "
                "model, or of this one before it was cloned, is found by its name."
            )
        if found is None:
            raise LayerError(
                f"{trace.model} has no convolution at or before layer '{layer.name}'. Expected one to seek; name a "
                "layer and say seek_penultimate_conv_layer=False."
            )
        return tap(trace, found)

    @property
    def _is_symbolic(self) -> bool:
        """Whether the model's layers stand in the order in which they are called; a subclassed model's need not."""
        return bool(getattr(self.model, "inputs", None))

    def _offset(self) -> keras.layers.Layer | str:
        layers, wanted = self.model.layers, self.wanted
        if isinstance(wanted, str):
            return find_layer(self.model, lambda layer: layer.name == wanted) or wanted
        if isinstance(wanted, keras.layers.Layer):
            return wanted
        if not -len(layers) <= wanted < len(layers):
            raise LayerIndexError(
                f"layer {wanted} is not in {self.model.name}. Expected an index under {len(layers)}, a name or a layer."
            )
        return layers[wanted]

    def _called(self, trace: Trace, offset: keras.layers.Layer) -> keras.layers.Layer | None:
        places = [i for i, call in enumerate(trace.calls) if call.layer is offset]
        before = trace.calls[: places[-1] + 1] if places else ()
        return next((call.layer for call in reversed(before) if _convolves(call.layer)), None)


def _convolves(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, Conv)
