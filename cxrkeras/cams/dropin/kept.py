"""Explainers kept from call to call: the functions that a caller hands over are exchanged, not compiled again.

Knows the engine's arguments by name only.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from cxrkeras.cams.engine import Explainer
from cxrkeras.cams.hosted import HostedModifier

# one for each layer, batch size and set of options in use
KEPT = 8

Function = Callable[..., Any]


class _Exchangeable:
    """A function that can be replaced in what was compiled with it."""

    function: Function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


@dataclass(frozen=True)
class _Compiled:
    explainer: Explainer
    scores: tuple[_Exchangeable, ...]
    modifiers: Mapping[str, HostedModifier]


class KeptExplainers:
    """The last explainers of one model and method, the longest unused one forgotten first.

    Args:
        model: any Keras model.
        method: registry name.
    """

    def __init__(self, model: keras.Model, method: str) -> None:
        self._model, self._method = model, method
        self._kept: OrderedDict[Hashable, _Compiled] = OrderedDict()
        # held from the exchange of functions to the last map made with them
        self.in_use = threading.RLock()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def latest(self) -> Explainer:
        """The explainer that was asked for last."""
        return next(reversed(self._kept.values())).explainer

    def explainer(
        self, settings: Mapping[str, Hashable], scores: Sequence[Function], modifiers: Mapping[str, Function | None]
    ) -> Explainer:
        """An explainer with these settings that calls these functions; hold `in_use` while you use it.

        Args:
            settings: other arguments of `Explainer`.
            scores: score functions, none to explain classes.
            modifiers: `gradient_modifier` and `rectify` where they are not the method's own; None for no change.
        """
        hosted = {name: one for name, one in modifiers.items() if one is not None}
        key = (tuple(sorted(settings.items())), len(scores), tuple(modifiers), tuple(hosted))
        if key not in self._kept:
            own = {name: HostedModifier(one) for name, one in hosted.items()}
            more = {name: own.get(name, tf.identity) for name in modifiers}
            exchangeable = tuple(_Exchangeable() for _ in scores)
            explainer = Explainer(self._model, self._method, score=exchangeable or None, **settings, **more)
            self._kept[key] = _Compiled(explainer, exchangeable, own)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        compiled = self._kept[key]
        for place, function in zip(compiled.scores, scores, strict=True):
            place.function = function
        for name, function in hosted.items():
            compiled.modifiers[name].function = function
        return compiled.explainer
