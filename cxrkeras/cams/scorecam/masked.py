"""The model seen through channel masks: masks are made inside the graph, several films share a full batch.

Knows no weighting and no map; what is answered to a masked film is a function that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cxrkeras.cams.tracing.interception import Proceed, intercepted_calls
from cxrkeras.cams.tracing.precision import BFLOAT16, MODEL, bfloat16_grids
from cxrkeras.errors import MethodError

# a channel that varies less than float32 resolves is constant: its mask is 0, not amplified noise
CONSTANT = 1e-6

Answer = Callable[[tuple[tf.Tensor, ...]], tf.Tensor]


@dataclass(frozen=True)
class Masking:
    """Where masks are applied and what they leave behind.

    Attributes:
        value: v, what a hidden pixel becomes: x ⊙ H + v (1 − H).
        layers: layers whose outputs are masked; none to mask the model's inputs.
    """

    value: float = 0.0
    layers: tuple[keras.layers.Layer, ...] = ()


class MaskedForward:
    """A model compiled once for packs of masked films of a fixed size.

    Args:
        answer: model inputs, one tensor each -> what is wanted of them, float32 ``[m, n]``.
        pack_size: masked films per forward.
        masking: where and how masks are applied.
        precision: `model` for the model's own, or `bfloat16` for its layers up to the pooling.
    """

    def __init__(self, answer: Answer, pack_size: int, masking: Masking | None = None, precision: str = MODEL) -> None:
        self._answer, self.pack_size = answer, int(pack_size)
        self._masking, self._precision = masking or Masking(), precision
        self.traces = 0
        self._compiled = tf.function(self._forward, autograph=False)

    def outputs(self, films: Sequence[tf.Tensor], masks: tf.Tensor, pairs: np.ndarray) -> np.ndarray:
        """Run one pack.

        Args:
            films: model inputs, one tensor ``[n, …]`` each; those without a grid are passed on unmasked.
            masks: channel maps ``[n, K, h, w]``.
            pairs: (film, channel) indices, int ``[m, 2]`` with m ≤ pack size.

        Returns:
            The answers ``[m, n]``, float32.

        Raises:
            MethodError: the model cannot compute in the precision asked for, or never calls the layer to be masked.
        """
        padded = np.zeros((self.pack_size, 2), np.int32)
        padded[: len(pairs)] = pairs
        return self._compiled(tuple(films), masks, tf.constant(padded)).numpy()[: len(pairs)]

    def _forward(self, films: tuple[tf.Tensor, ...], masks: tf.Tensor, pairs: tf.Tensor) -> tf.Tensor:
        self.traces += 1
        channels = tf.gather_nd(masks, pairs)[..., None]
        seen = tuple(tf.gather(one, pairs[:, 0]) for one in films)
        with ExitStack() as stack:
            if self._precision == BFLOAT16:
                stack.enter_context(bfloat16_grids())
            if not self._masking.layers:
                return self._answer(tuple(self._masked(x, channels) if x.shape.rank == 4 else x for x in seen))
            reached: list[keras.layers.Layer] = []
            stack.enter_context(intercepted_calls(self._masking_outputs(channels, reached)))
            answers = self._answer(seen)
        if not reached:
            names = ", ".join(layer.name for layer in self._masking.layers)
            raise MethodError(f"layer {names} was not called, so nothing was masked. Name another mask_layer.")
        return answers

    def _masking_outputs(self, channels: tf.Tensor, reached: list[keras.layers.Layer]) -> Callable[..., Any]:
        def around(layer: keras.layers.Layer, proceed: Proceed, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            result = proceed()
            if not any(layer is other for other in self._masking.layers):
                return result
            reached.append(layer)
            return self._masked(result, channels)

        return around

    def _masked(self, films: tf.Tensor, channels: tf.Tensor) -> tf.Tensor:
        masks = tf.cast(unit_masks(channels, films.shape[1:3]), films.dtype)
        hidden = films * masks
        return hidden if self._masking.value == 0 else hidden + tf.cast(self._masking.value, films.dtype) * (1 - masks)


def unit_masks(channels: tf.Tensor, size: Sequence[int]) -> tf.Tensor:
    """Channel maps as masks: H = min-max(upsample(A_k)), half-pixel bilinear; 0 everywhere for a constant channel.

    Args:
        channels: ``[m, h, w, 1]``.
        size: height and width of the masks in pixels.

    Returns:
        0..1, ``[m, H, W, 1]``.
    """
    upsampled = tf.image.resize(channels, size)
    low = tf.reduce_min(upsampled, (1, 2, 3), keepdims=True)
    high = tf.reduce_max(upsampled, (1, 2, 3), keepdims=True)
    varies = high - low > CONSTANT * tf.maximum(tf.abs(low), tf.abs(high))
    span = tf.where(varies, high - low, tf.ones_like(high))
    return tf.where(varies, (upsampled - low) / span, tf.zeros_like(upsampled))
