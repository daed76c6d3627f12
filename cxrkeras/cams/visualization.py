"""The engine behind tf-keras-vis' call interface, so that its users change one import.

Takes its `Score` objects, layers and call arguments; what is computed is ours, see `methods` and `scorecam`. Any Keras
model works (nested, Sequential, subclassed) and is never cloned or changed for a softmax: the logits are found in
the graph.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from tf_keras_vis import ModelVisualization
from tf_keras_vis.utils import listify
from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
from tf_keras_vis.utils.scores import BinaryScore, CategoricalScore

from cxrkeras.cams.engine import Explainer
from cxrkeras.errors import DataError, LayerError, MethodError, TargetError
from cxrkeras.maps import degenerate, min_max, resize

BATCH_SIZE = 16

Modifier = Callable[[tf.Tensor], tf.Tensor]


class _Visualization(ModelVisualization):
    """What all engines share; `method` is the registry name.

    Args:
        model: any Keras model with one input and one output ``[n, units]``.
        model_modifier: as in tf-keras-vis. `ReplaceToLinear` is left out: the logits are used anyway.
        clone: whether other modifiers work on a clone.
    """

    method: ClassVar[str]

    def __init__(self, model: keras.Model, model_modifier: Any = None, clone: bool = True) -> None:
        modifiers = [m for m in listify(model_modifier) if not isinstance(m, ReplaceToLinear)]
        super().__init__(model, modifiers, clone)
        self._cached: tuple[tuple[Any, ...], Explainer] | None = None

    def __call__(
        self,
        score: Any,
        seed_input: Any,
        penultimate_layer: Any = None,
        seek_penultimate_conv_layer: bool = True,
        gradient_modifier: Modifier | None = None,
        activation_modifier: Modifier | None = tf.nn.relu,
        training: bool = False,
        expand_cam: bool = True,
        normalize_cam: bool = True,
        unconnected_gradients: tf.UnconnectedGradients = tf.UnconnectedGradients.NONE,
    ) -> np.ndarray | list[np.ndarray]:
        """Explain images.

        Args:
            score: `CategoricalScore`, `BinaryScore`, a class index or one per image, or a function of the logits.
            seed_input: images ``[n, H, W, C]``, one image ``[H, W, C]``, or a list of one of them.
            penultimate_layer: layer, name or index; None (or −1) for the tensor that enters the last global pooling.
                For MSGradCAMPlusPlus a sequence of names, finest first.
            seek_penultimate_conv_layer: whether a layer without a grid means the head's input; else an error.
            gradient_modifier: applied to the gradients.
            activation_modifier: what ends the method; None for nothing.
            training: has to be False.
            expand_cam: resize the maps to the images, bilinearly with half-pixel centres.
            normalize_cam: scale each map to 0..1.
            unconnected_gradients: accepted; a layer that the scores do not depend on is always an error.

        Returns:
            float32 ``[n, H, W]``, or ``[n, h, w]`` without `expand_cam`; a list of one if `seed_input` was a list.

        Raises:
            TargetError: the scores do not fit the images or the model.
            LayerError: a layer that cannot carry a map.
            MethodError: `training=True`.
        """
        del unconnected_gradients
        return self._maps(
            score,
            seed_input,
            penultimate_layer,
            seek_penultimate_conv_layer,
            training,
            expand_cam,
            normalize_cam,
            gradient_modifier=gradient_modifier,
            activation_modifier=activation_modifier,
        )

    def _maps(
        self,
        score: Any,
        seed_input: Any,
        layer: Any,
        seek: bool,
        training: bool,
        expand_cam: bool,
        normalize_cam: bool,
        *,
        gradient_modifier: Modifier | None = None,
        activation_modifier: Modifier | None = tf.nn.relu,
        **settings: Any,
    ) -> np.ndarray | list[np.ndarray]:
        if training:
            raise MethodError("maps are made in inference mode. Expected training=False; received training=True.")
        images = _images(seed_input)
        score, function = _score_function(score)
        settings.update(
            self._layers(layer, seek),
            batch_size=len(images) if function else min(len(images), BATCH_SIZE),
            score=function,
            gradient_modifier=gradient_modifier,
            rectify=None if activation_modifier is tf.nn.relu else activation_modifier or tf.identity,
        )
        explainer = self._explainer(settings)
        explainer.prepare(images.shape[1:])
        targets = np.zeros(len(images), int) if function else _targets(score, len(images), explainer.units)
        maps = explainer.explain(images, targets)[self.method].values
        blank = int(degenerate(maps).sum())
        if blank:
            warnings.warn(f"{blank} of {len(maps)} {self.method} maps are constant or not finite.", stacklevel=3)
        maps = resize(maps, images.shape[1:3]) if expand_cam else maps
        maps = min_max(maps) if normalize_cam else maps
        return [maps] if isinstance(seed_input, list) else maps

    def _explainer(self, settings: dict[str, Any]) -> Explainer:
        key = tuple(sorted(settings.items()))
        if self._cached is None or self._cached[0] != key:
            self._cached = key, Explainer(self.model, self.method, **settings)
        return self._cached[1]

    def _layers(self, layer: Any, seek: bool) -> dict[str, Any]:
        if layer is None or (isinstance(layer, int) and layer == -1):
            return {"layer": "head_input"}
        if isinstance(layer, int):
            if not -len(self.model.layers) <= layer < len(self.model.layers):
                raise LayerError(
                    f"layer {layer} is not in {self.model.name}. Expected an index under {len(self.model.layers)}, "
                    "a name or a layer."
                )
            layer = self.model.layers[layer]
        if isinstance(layer, keras.layers.Layer):
            gridless = len(getattr(layer.output, "shape", (0,) * 4)) != 4 if hasattr(layer, "output") else False
            return {"layer": "head_input" if seek and gridless else layer.name}
        return {"layer": str(layer)}


class GradCAM(_Visualization):
    """Grad-CAM (Selvaraju et al. 2017).

    Example:
        >>> heat = GradCAM(model)(CategoricalScore([0, 1]), images)  # doctest: +SKIP
    """

    method = "gradcam"


class GradCAMPlusPlus(_Visualization):
    """Grad-CAM++ (Chattopadhay et al. 2018), finite at any logit.

    Example:
        >>> heat = GradCAMPlusPlus(model)(CategoricalScore([0, 1]), images)  # doctest: +SKIP
    """

    method = "gradcam++"


class LayerCAM(_Visualization):
    """LayerCAM (Jiang et al. 2021).

    Example:
        >>> heat = LayerCAM(model)(CategoricalScore([0, 1]), images, penultimate_layer="relu")  # doctest: +SKIP
    """

    method = "layercam"


class EigenCAM(_Visualization):
    """EigenCAM (Muhammad and Yeasin 2020); the score is accepted and does not change the map.

    Example:
        >>> heat = EigenCAM(model)(CategoricalScore([0, 1]), images)  # doctest: +SKIP
    """

    method = "eigencam"


class MSGradCAMPlusPlus(_Visualization):
    """Multi-scale Grad-CAM++ as defined by this package; `penultimate_layer` takes several names, finest first.

    Example:
        >>> heat = MSGradCAMPlusPlus(model)(CategoricalScore([0, 1]), images)  # doctest: +SKIP
    """

    method = "ms-gradcam++"

    def _layers(self, layer: Any, seek: bool) -> dict[str, Any]:
        if layer is None:
            return {}
        if isinstance(layer, str) or not isinstance(layer, Sequence):
            raise LayerError(
                f"{type(self).__name__} reads several layers. Expected a sequence of names, finest first, or None; "
                f"received {layer!r}."
            )
        return {"multiscale_layers": tuple(str(getattr(one, "name", one)) for one in layer)}


class ScoreCAM(_Visualization):
    """Score-CAM (Wang et al. 2020), exact, with the model's own probabilities.

    Example:
        >>> heat = ScoreCAM(model)(CategoricalScore([0, 1]), images)  # doctest: +SKIP
    """

    method = "scorecam"

    def __call__(
        self,
        score: Any,
        seed_input: Any,
        penultimate_layer: Any = None,
        seek_penultimate_conv_layer: bool = True,
        activation_modifier: Modifier | None = tf.nn.relu,
        batch_size: int = 32,
        max_N: int | None = None,
        training: bool = False,
        expand_cam: bool = True,
        normalize_cam: bool = True,
    ) -> np.ndarray | list[np.ndarray]:
        """Explain images; arguments as for the other engines, and:

        Args:
            score: evaluated on probabilities.
            seed_input: images ``[n, H, W, C]``, one image ``[H, W, C]``, or a list of one of them.
            penultimate_layer: layer, name or index; None for the tensor that enters the last global pooling.
            seek_penultimate_conv_layer: whether a layer without a grid means the head's input; else an error.
            activation_modifier: what ends the method; None for nothing.
            batch_size: masked images per forward; it does not change the maps.
            max_N: draw this many channels and estimate the rest without bias; None or 0 for the exact map.
            training: has to be False.
            expand_cam: resize the maps to the images.
            normalize_cam: scale each map to 0..1.
        """
        return self._maps(
            score,
            seed_input,
            penultimate_layer,
            seek_penultimate_conv_layer,
            training,
            expand_cam,
            normalize_cam,
            activation_modifier=activation_modifier,
            pack_size=batch_size,
            max_channels=max_N if max_N and max_N > 0 else None,
        )


def _images(seed_input: Any) -> np.ndarray:
    images = seed_input
    if isinstance(seed_input, list):
        if len(seed_input) != 1:
            raise DataError(f"expected the images of one model input; received a list of {len(seed_input)}.")
        images = seed_input[0]
    images = np.asarray(images, np.float32)
    return images[None] if images.ndim == 3 else images


def _score_function(score: Any) -> tuple[Any, Callable[[tf.Tensor], Any] | None]:
    """Split scores that name a class from functions that have to be traced."""
    if isinstance(score, list | tuple) and any(callable(one) for one in score):
        if len(score) != 1:
            raise TargetError(f"expected one score for the model's one output; received {len(score)}.")
        score = score[0]
    names_class = type(score) in (CategoricalScore, BinaryScore) or not callable(score)
    return score, None if names_class else score


def _targets(score: Any, count: int, units: int) -> np.ndarray:
    if isinstance(score, BinaryScore):
        if units != 1:
            raise TargetError(f"BinaryScore needs a model with one output unit; received one with {units}.")
        targets = [int(value) for value in score.target_values]
    elif isinstance(score, CategoricalScore):
        # its index counts output units; the one unit of a binary head stands for class 1
        targets = [index + 1 for index in score.indices] if units == 1 else list(score.indices)
    else:
        targets = list(np.atleast_1d(score))
    return np.asarray(targets * count if len(targets) == 1 else targets)
