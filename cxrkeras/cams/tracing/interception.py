"""Step around every layer call while a graph is traced, without changing a layer or a model.

For the length of a `with` block the class-level `Layer.__call__` is wrapped, for the entering thread only. Knows no
method and no model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

Proceed = Callable[[], Any]
Around = Callable[[keras.layers.Layer, Proceed, tuple[Any, ...], dict[str, Any]], Any]

# whoever patches Keras classes holds it: wrappers taken off in another order than they were put on would stay behind
patching = threading.RLock()


@contextmanager
def intercepted_calls(around: Around) -> Iterator[None]:
    """Let `around` stand in for each layer call that this thread makes inside the block.

    Args:
        around: called with (layer, proceed, args, kwargs); `proceed()` makes the call, and what `around` returns takes
            the place of its result.
    """
    owner = threading.get_ident()
    with patching:
        original = keras.layers.Layer.__call__

        def intercepted(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != owner:
                return original(layer, *args, **kwargs)
            return around(layer, lambda: original(layer, *args, **kwargs), args, kwargs)

        keras.layers.Layer.__call__ = intercepted
        try:
            yield
        finally:
            keras.layers.Layer.__call__ = original
