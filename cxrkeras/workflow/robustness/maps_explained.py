"""Maps of many arms on the same films: what only the head changes is computed from kept feature maps.

Where the backbone stays as it is, the feature maps at the head's input are the same for every arm of a source: they are
computed once, and gradcam, gradcam++, layercam and eigencam are made from them. Knows no measure and stores nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from cxrkeras.cams.engine import Explainer
from cxrkeras.cams.registry import ACTIVATION, GRADIENT, METHODS
from cxrkeras.cams.results import Explanation
from cxrkeras.data.filmset import FilmSet
from cxrkeras.models.classifier import LOGITS, POOLING, PROBABILITIES, Classifier
from cxrkeras.models.inference import forward
from cxrkeras.workflow.explainers import passing_explanation
from cxrkeras.workflow.map_options import MapOptions
from cxrkeras.workflow.opened import ExplainerCache

FEATURE_BYTES = 2 * 1024**3
_FILMS, _FEATURES = 16, 32


class MapMemory:
    """The feature maps of the last films that were asked for, kept while the backbone and the films stay the same.

    Args:
        most: bytes that feature maps may take; more are not kept, and every method explains the films themselves.
    """

    def __init__(self, most: int = FEATURE_BYTES) -> None:
        self._most = most
        self._of: tuple[ExplainerCache, tuple[str, ...]] | None = None
        self._features: np.ndarray | None = None

    def features(self, opened: ExplainerCache, films: FilmSet, frozen: bool) -> np.ndarray | None:
        """Feature maps float32 ``[n, h, w, K]`` at the head's input, or None where they would take too much memory.

        Args:
            opened: the source.
            films: the films.
            frozen: whether the backbone is what it was when it was asked before.
        """
        hashes = tuple(films.hashes)
        if not (frozen and self._of is not None and self._of[0] is opened and self._of[1] == hashes):
            # of a backbone that is about to change nothing may be taken for another's
            self._of, self._features = (opened, hashes) if frozen else None, None
            model = opened.explainer("feature maps", lambda: _feature_model(opened.classifier))
            if len(films) * 4 * int(np.prod(model.output_shape[1:])) <= self._most:
                self._features = forward(model, films, _FILMS)
        return self._features


def made_from_features(method: str) -> bool:
    """Whether a method's maps are made from the feature maps at the head's input and the head alone."""
    return METHODS[method].kind in (GRADIENT, ACTIVATION)


def explained_rows(
    opened: ExplainerCache,
    films: FilmSet,
    rows: np.ndarray,
    targets: np.ndarray,
    methods: Sequence[str],
    *,
    memory: MapMemory,
    frozen: bool,
) -> Explanation:
    """Explain some of the films, each for its own target, by the weights that the classifier has now.

    Args:
        opened: a run or candidate.
        films: the films whose feature maps are kept.
        rows: which of them, int ``[m]``; repeats allowed.
        targets: class of each, int ``[m]``.
        methods: registry names, one or more.
        memory: keeps the feature maps.
        frozen: whether the backbone has the weights it had when `memory` was asked before.
    """
    by_head = tuple(name for name in methods if made_from_features(name))
    features = memory.features(opened, films, frozen) if by_head else None
    found = []
    if features is not None:
        found.append(_head_explainer(opened, by_head).explain(features[rows], targets))
    else:
        by_head = ()
    if others := [name for name in methods if name not in by_head]:
        found.append(passing_explanation(opened, films.take(rows), targets, others, MapOptions()))
    results = {name: one[name] for one in found for name in one.results}
    return replace(found[0], results={name: results[name] for name in methods})


def _head_explainer(opened: ExplainerCache, methods: tuple[str, ...]) -> Explainer:
    def build() -> Explainer:
        return Explainer(_head_model(opened.classifier), methods, batch_size=_FEATURES, classes=opened.classes)

    return opened.explainer(("head", methods), build)


def _feature_model(classifier: Classifier) -> Any:
    """Films -> feature maps at the head's input."""
    return keras.Model(classifier.model.input, classifier.model.get_layer(POOLING).input, name="feature_maps")


def _head_model(classifier: Classifier) -> Any:
    """Feature maps at the head's input -> probabilities; it shares the head's weights."""
    entering = keras.Input(classifier.model.get_layer(POOLING).input.shape[1:], name="feature_maps")
    values = keras.layers.Identity(name="head_input")(entering)
    for name in (POOLING, LOGITS, PROBABILITIES):
        values = classifier.model.get_layer(name)(values)
    return keras.Model(entering, values, name="from_feature_maps")
