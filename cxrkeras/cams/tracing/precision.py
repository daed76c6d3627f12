"""Run a model's convolutional part in bfloat16 while a graph is traced, leaving the model as it is.

Keras layers read the dtype they compute in from one property; inside the block it answers `bfloat16` for layers that
are given a grid. Knows no method.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from cxrkeras.cams.tracing.interception import Proceed, intercepted_calls
from cxrkeras.cams.tracing.preprocessing import PREPROCESSING

MODEL, BFLOAT16 = "model", "bfloat16"
# a mean over the cells loses bits that its input still has, and films have more than bfloat16 can hold
_KEPT = (
    *PREPROCESSING,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.Flatten,
    keras.Model,
)


@contextmanager
def bfloat16_grids() -> Iterator[None]:
    """Layers called by this thread inside the block compute in bfloat16 if their input is ``[n, h, w, C]``.

    Preprocessing, global pooling and whatever follows it keep their own dtype; so do layers that never cast.
    """
    owner, lowered = threading.get_ident(), []
    own = keras.layers.Layer.compute_dtype

    def around(layer: keras.layers.Layer, proceed: Proceed, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not _on_a_grid(layer, args, kwargs):
            return proceed()
        lowered.append(layer)
        try:
            return proceed()
        finally:
            lowered.pop()

    def compute_dtype(layer: keras.layers.Layer) -> str:
        if threading.get_ident() == owner and any(layer is other for other in lowered):
            return BFLOAT16
        return own.fget(layer)

    with intercepted_calls(around):
        keras.layers.Layer.compute_dtype = property(compute_dtype, doc=own.__doc__)
        try:
            yield
        finally:
            keras.layers.Layer.compute_dtype = own


def _on_a_grid(layer: keras.layers.Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if isinstance(layer, _KEPT) or not layer.autocast or layer.compute_dtype not in ("float32", "float16"):
        return False
    tensors = [x for x in tf.nest.flatten((args, kwargs)) if isinstance(x, tf.Tensor) and x.dtype.is_floating]
    return bool(tensors) and all(x.shape.rank == 4 for x in tensors)
