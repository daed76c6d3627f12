"""tf-keras-vis' own maps, replayed, defects included: what a study that used it would have published.

Calls tf-keras-vis 0.8 as its documentation tells its users to, film by film, and changes nothing in what it returns.
Knows no run and none of this package's methods; every way its maps differ from ours is listed in docs/methods.md.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tf_keras_vis.utils import find_layer
from tf_keras_vis.utils.model_modifiers import Conv
from tf_keras_vis.utils.scores import CategoricalScore

from cxrkeras.cams.batches import PREDICTED, FilmBatch, regrouped
from cxrkeras.cams.progress import Progress
from cxrkeras.cams.registry import method_names
from cxrkeras.cams.results import Explanation, MethodResult, method_result
from cxrkeras.errors import LayerError, MethodError, TargetError, did_you_mean

ENGINE = "tf-keras-vis"
SCORECAM = "scorecam"
# roles that mean tf-keras-vis' own search for the last convolution
ITS_DEFAULT = ("head_input", "last_conv")

# loaded when first used: it imports a module that SciPy 2 no longer has
_CLASSES = {
    "gradcam": "tf_keras_vis.gradcam:Gradcam",
    "gradcam++": "tf_keras_vis.gradcam_plus_plus:GradcamPlusPlus",
    "layercam": "tf_keras_vis.layercam:Layercam",
    SCORECAM: "tf_keras_vis.scorecam:Scorecam",
}
PEER_METHODS = tuple(_CLASSES)


def peer_methods(methods: str | Iterable[str]) -> tuple[str, ...]:
    """The registry names, if tf-keras-vis has all of them; `all` stands for those it has.

    Raises:
        MethodError: an unknown method, or one that tf-keras-vis does not have.
    """
    words = [word.strip() for word in (methods.split(",") if isinstance(methods, str) else methods)]
    names = method_names([name for word in words for name in (PEER_METHODS if word.lower() == "all" else (word,))])
    for name in names:
        if name not in PEER_METHODS:
            raise MethodError(
                f"{ENGINE} has no {name}; expected {', '.join(PEER_METHODS)}. Leave --engine out to use this package's."
            )
    return names


def peer_layer(model: keras.Model, layer: str | None = None) -> keras.layers.Layer:
    """The layer whose output tf-keras-vis explains: the last convolution, or the last one at or before a named layer.

    Args:
        model: a flat functional model.
        layer: layer name; None, `head_input` or `last_conv` for its default.

    Raises:
        LayerError: no such layer, or no convolution there.
    """
    offset = model.layers[-1]
    if layer is not None and layer not in ITS_DEFAULT:
        offset = find_layer(model, lambda one: one.name == layer)
        if offset is None:
            raise LayerError(
                f"layer '{layer}' is not in {model.name}. {ENGINE} takes the name of a layer and explains the last "
                f"convolution up to it.{did_you_mean(layer, (one.name for one in model.layers))}"
            )
    found = find_layer(model, lambda one: isinstance(one, Conv), offset=offset)
    if found is None:
        raise LayerError(
            f"{model.name} has no convolution up to layer '{offset.name}', so {ENGINE} has no map there. "
            "Expected a later layer."
        )
    return found


def peer_parameters(method: str, layer: str, max_channels: int | None = None) -> dict[str, Any]:
    """Everything that changes the replayed maps of one method, as plain JSON values.

    Args:
        method: registry name.
        layer: name of the layer it explains.
        max_channels: its `max_N`.
    """
    parameters: dict[str, Any] = {
        "engine": ENGINE,
        "engine_version": metadata.version(ENGINE),
        "layers": [layer],
        "on": "logit",
        "expanded": True,
        "normalized": True,
    }
    if method == SCORECAM:
        parameters |= {"on": "softmax of the probabilities", "mask_space": "input", "max_channels": max_channels}
    return {key: value for key, value in parameters.items() if value is not None}


class PeerExplainer:
    """tf-keras-vis behind the part of `Explainer`'s interface that a workflow uses.

    The gradient methods read a linear output, ScoreCAM the softmax, as its documentation says; maps come at the size
    of the film, min-maxed with its ε of 1e-7. The weights are read at every call.

    Example:
        >>> peer = PeerExplainer(classifier.model, classifier.logits, "gradcam")  # doctest: +SKIP
        >>> next(peer.explain_batches([(films, targets)]))["gradcam"].values.shape  # doctest: +SKIP
        (1, 224, 224)

    Args:
        model: films ``[n, H, W, C]`` -> probabilities of two or more classes; flat and functional.
        logits: the same films -> logits, sharing the layers of `model`.
        methods: a comma list or names, of `PEER_METHODS`.
        layer: layer name; None, `head_input` or `last_conv` for the convolution tf-keras-vis finds by itself.
        max_channels: ScoreCAM channels, its `max_N`; None takes all.
        classes: class names, for messages.

    Attributes:
        methods: registry names.
        layers: method -> layer explained.
        channels: channels of that layer: ScoreCAM's forwards a film where they are not capped.

    Raises:
        MethodError: a method that tf-keras-vis does not have.
        LayerError: no such layer, or no convolution there.
    """

    def __init__(
        self,
        model: keras.Model,
        logits: keras.Model,
        methods: str | Iterable[str],
        *,
        layer: str | None = None,
        max_channels: int | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.methods = peer_methods(methods)
        tapped = peer_layer(model, layer)
        self.layers = dict.fromkeys(self.methods, tapped.name)
        self.channels = int(tapped.output.shape[-1])
        if max_channels is not None and not 1 <= max_channels <= self.channels:
            raise MethodError(
                f"{ENGINE} takes 1 to {self.channels} channels at layer '{tapped.name}'; received {max_channels}."
            )
        self._layer = None if layer in ITS_DEFAULT else layer
        self._max_channels = max_channels
        self._classes = None if classes is None else tuple(classes)
        self._name = model.name
        self._answers = keras.Model(model.inputs, [logits.outputs[0], model.outputs[0]])
        self._engines = {name: _loaded(name)(model if name == SCORECAM else logits) for name in self.methods}

    def prepare(self, image_shape: Sequence[int]) -> None:
        """Nothing to trace: tf-keras-vis runs eagerly."""

    def explain_batches(
        self, batches: Iterable[Any], *, n_films: int | None = None, progress: Progress | None = None
    ) -> Iterator[Explanation]:
        """Explain a stream of `(films, targets)` or `(films, targets, ids)`, one film at a time, in order.

        Args:
            batches: films ``[b, H, W, C]`` of any b, targets int ``[b]`` or None, ids.
            n_films: how many will come, for `progress`.
            progress: called with (forwards done, forwards in all) after each film.

        Yields:
            An explanation a film; maps are float32 ``[1, H, W]``.

        Raises:
            TargetError: a target that the model does not have.
            MethodError: tf-keras-vis fails on this model.
        """
        masks = self._max_channels or self.channels
        forwards = sum(masks if name == SCORECAM else 1 for name in self.methods)
        for done, film in enumerate(regrouped(batches, 1), start=1):
            yield self._explained(film)
            if progress is not None:
                progress(done * forwards, max(done, n_films or 0) * forwards)

    def _explained(self, film: FilmBatch) -> Explanation:
        logits, probabilities = (np.asarray(answer) for answer in self._answers([film.films], training=False))
        target = int(probabilities[0].argmax()) if film.targets[0] == PREDICTED else int(film.targets[0])
        if target >= probabilities.shape[1]:
            names = f" ({', '.join(self._classes)})" if self._classes else ""
            raise TargetError(
                f"target {target} is out of range. Expected 0 to {probabilities.shape[1] - 1}, one of "
                f"{probabilities.shape[1]} classes{names}."
            )
        results = {name: self._result(name, film.films, target) for name in self.methods}
        return Explanation(probabilities, logits, np.array([target]), results)

    def _result(self, name: str, film: np.ndarray, target: int) -> MethodResult:
        capped = name == SCORECAM and self._max_channels is not None
        more = {"max_N": self._max_channels} if capped else {}
        with _quiet():
            try:
                values = self._engines[name](CategoricalScore([target]), film, penultimate_layer=self._layer, **more)
            except (ValueError, TypeError, RuntimeError, tf.errors.OpError) as error:
                reason = " ".join(str(error).split())[:300]
                raise MethodError(
                    f"{ENGINE} fails at {name} of {self._name} ({reason}). Use --engine cxrkeras."
                ) from error
        arrays = {"values": np.asarray(values, np.float32)}
        if capped:
            used, every = np.array([self._max_channels]), np.array([self.channels])
            arrays |= {"channels_used": used, "n_live": every, "approximate": used < every}
        parameters = peer_parameters(name, self.layers[name], self._max_channels)
        return method_result(name, arrays, self.layers[name], parameters)


def _loaded(name: str) -> Any:
    module, attribute = _CLASSES[name].split(":")
    return getattr(importlib.import_module(module), attribute)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep its progress bars off stdout and the warnings about its own calls away from the user."""
    interactive = keras.config.is_interactive_logging_enabled()
    keras.config.disable_interactive_logging()
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.filterwarnings("ignore", "The structure of `inputs` doesn't match", UserWarning)
            yield
    finally:
        if interactive:
            keras.config.enable_interactive_logging()
