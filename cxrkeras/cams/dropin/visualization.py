"""The engine behind tf-keras-vis' call interface, so that its users change one import.

Takes its `Score` objects, layers and call arguments; what is computed is ours, see `methods` and `scorecam`. Any Keras
model works (nested, Sequential, subclassed) and is never cloned or changed for a softmax: the logits are found in
the graph. docs/tf-keras-vis.md says what differs.
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

from cxrkeras.cams.batches import film_batch
from cxrkeras.cams.dropin.arguments import class_targets, model_inputs, names_class, on_probabilities, score_functions
from cxrkeras.cams.dropin.kept import KeptExplainers
from cxrkeras.cams.dropin.seeking import PeerLayer
from cxrkeras.cams.engine import Explainer
from cxrkeras.cams.inputs import Kind, kinds
from cxrkeras.errors import DataError, HiddenLogitsError, LayerError, MethodError
from cxrkeras.maps import degenerate, min_max, resize

BATCH_SIZE = 16

Modifier = Callable[[tf.Tensor], tf.Tensor]
Maps = np.ndarray | list[np.ndarray | None]

# output activations whose logits are found in the graph
_FOUND = (
    keras.activations.linear,
    keras.activations.softmax,
    keras.activations.sigmoid,
    keras.activations.log_softmax,
)


class _Visualization(ModelVisualization):
    """What all engines share; `method` is the registry name.

    Args:
        model: any Keras model.
        model_modifier: as in tf-keras-vis. `ReplaceToLinear` is left out where the output is a softmax, a sigmoid or
            linear already: the logits are used anyway.
        clone: whether other modifiers work on a clone.
    """

    method: ClassVar[str]
    # the modifiers that the method's definition has anyway
    by_definition: ClassVar[dict[str, Modifier | None]] = {"gradient_modifier": None, "rectify": tf.nn.relu}

    def __init__(self, model: keras.Model, model_modifier: Any = None, clone: bool = True) -> None:
        modifiers = listify(model_modifier)
        super().__init__(model, [m for m in modifiers if not isinstance(m, ReplaceToLinear)], clone)
        if clone and any(isinstance(m, ReplaceToLinear) for m in modifiers) and _hides_its_logits(self.model):
            super().__init__(self.model, ReplaceToLinear(), clone)
        self._kept = KeptExplainers(self.model, self.method)
        self._on = "logit"

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
    ) -> Maps:
        """Explain images.

        Args:
            score: a Score object or a function of the logits, for all images at once; a list of one per model output.
            seed_input: images ``[n, H, W, C]``, one image ``[H, W, C]``, or a list of one array per model input.
            penultimate_layer: index, name or layer, as in tf-keras-vis; also a role, see `layers`. None for the tensor
                that enters the last global pooling. MSGradCAMPlusPlus takes a sequence of them, finest first.
            seek_penultimate_conv_layer: whether to go back from a given layer to the last convolution.
            gradient_modifier: applied to the gradients.
            activation_modifier: what ends the method; None for nothing.
            training: run the model in training mode; its weights and statistics stay as they are.
            expand_cam: resize the maps to the images, bilinearly with half-pixel centres.
            normalize_cam: scale each map to 0..1.
            unconnected_gradients: `ZERO` for zero maps at a layer that the scores do not depend on; else an error.

        Returns:
            float32 ``[n, H, W]``; for several inputs, or if `seed_input` was a list, a list of one per input, None for
            an input without a grid. Without `expand_cam` always one array ``[n, h, w]``.

        Raises:
            TargetError: the scores do not fit the images or the model.
            DataError: the inputs do not fit the model.
            LayerError: a layer that cannot carry a map, or that the scores do not depend on.
        """
        return self._maps(
            score,
            seed_input,
            self._layers(penultimate_layer, seek_penultimate_conv_layer),
            {"gradient_modifier": gradient_modifier, "rectify": activation_modifier},
            expand_cam,
            normalize_cam,
            training=bool(training),
            unconnected_gradients=unconnected_gradients,
        )

    def _maps(
        self,
        score: Any,
        seed_input: Any,
        layers: dict[str, Any],
        modifiers: dict[str, Modifier | None],
        expand_cam: bool,
        normalize_cam: bool,
        **settings: Any,
    ) -> Maps:
        scores = score_functions(self.model, score)
        inputs = film_batch(model_inputs(self.model, seed_input)).inputs
        count, named = len(inputs[0]), names_class(self.model, scores)
        settings.update(layers, batch_size=min(count, BATCH_SIZE) if named else count)
        given = {name: one for name, one in modifiers.items() if one is not self.by_definition[name]}
        if count == 0:
            raise DataError("there are no films to explain. Expected one or more; received an empty seed_input.")
        with self._kept.in_use:
            functions = () if named else [self._scored(one) for one in scores]
            explainer = self._prepared({**settings, "on": self._on}, functions, given, kinds(inputs))
            self._check_channels(settings, explainer.channels)
            targets = class_targets(scores[0], count, explainer.units) if named else None
            maps = explainer.explain(inputs, targets)[self.method].values
        blank = int(degenerate(maps).sum())
        if blank:
            warnings.warn(f"{blank} of {len(maps)} {self.method} maps are constant or not finite.", stacklevel=3)
        finished = min_max if normalize_cam else np.asarray
        if not expand_cam:
            return finished(maps)
        expanded = [finished(resize(maps, one.shape[1:3])) if one.ndim == 4 else None for one in inputs]
        return expanded if len(inputs) > 1 or isinstance(seed_input, list) else expanded[0]

    def _prepared(
        self,
        settings: dict[str, Any],
        functions: Sequence[Callable[[tf.Tensor], Any]],
        modifiers: dict[str, Modifier | None],
        wanted: tuple[Kind, ...],
    ) -> Explainer:
        explainer = self._kept.explainer(settings, functions, modifiers)
        try:
            explainer.prepare(*zip(*wanted, strict=True))
        except HiddenLogitsError:
            # tf-keras-vis differentiates the output, and an output made of probabilities has nothing else
            self._on = "probability"
            return self._prepared({**settings, "on": self._on}, functions, modifiers, wanted)
        return explainer

    def _scored(self, score: Callable[[tf.Tensor], Any]) -> Callable[[tf.Tensor], Any]:
        """The score as this method evaluates it."""
        return score

    def _check_channels(self, settings: dict[str, Any], channels: int | None) -> None:
        most = settings.get("max_channels")
        if most is not None and channels is not None and most > channels:
            raise MethodError(f"max_N has to be 1 to {channels}, the channels of the layer; received {most}.")

    def _layers(self, layer: Any, seek: bool) -> dict[str, Any]:
        return {"layer": "head_input" if layer is None else PeerLayer(self.model, layer, bool(seek))}


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
    """LayerCAM (Jiang et al. 2021); its gradients pass a ReLU, which `gradient_modifier` replaces.

    Example:
        >>> heat = LayerCAM(model)(CategoricalScore([0, 1]), images, penultimate_layer="relu")  # doctest: +SKIP
    """

    method = "layercam"
    by_definition = {**_Visualization.by_definition, "gradient_modifier": tf.nn.relu}  # noqa: RUF012

    def __call__(
        self,
        score: Any,
        seed_input: Any,
        penultimate_layer: Any = None,
        seek_penultimate_conv_layer: bool = True,
        gradient_modifier: Modifier | None = tf.nn.relu,
        activation_modifier: Modifier | None = tf.nn.relu,
        training: bool = False,
        expand_cam: bool = True,
        normalize_cam: bool = True,
        unconnected_gradients: tf.UnconnectedGradients = tf.UnconnectedGradients.NONE,
    ) -> Maps:
        """Explain images; arguments as for the other engines, and a `gradient_modifier` of None for no ReLU."""
        return super().__call__(
            score,
            seed_input,
            penultimate_layer,
            seek_penultimate_conv_layer,
            gradient_modifier,
            activation_modifier,
            training,
            expand_cam,
            normalize_cam,
            unconnected_gradients,
        )


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
                f"{type(self).__name__} reads several layers. Expected a sequence of them, finest first, or None; "
                f"received {layer!r}."
            )
        return {"multiscale_layers": tuple(PeerLayer(self.model, one, seek=False) for one in layer)}


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
    ) -> Maps:
        """Explain images; arguments as for the other engines, and:

        Args:
            score: evaluated on probabilities.
            seed_input: images ``[n, H, W, C]``, one image ``[H, W, C]``, or a list of one array per model input. Every
                input with a grid is masked, the others are passed on as they are.
            penultimate_layer: index, name or layer; None for the tensor that enters the last global pooling.
            seek_penultimate_conv_layer: whether to go back from a given layer to the last convolution.
            activation_modifier: what ends the method; None for nothing.
            batch_size: masked images per forward; it does not change the maps.
            max_N: draw this many channels and estimate the rest without bias; None or 0 for the exact map.
            training: read the features in training mode; masked images are always seen in inference mode.
            expand_cam: resize the maps to the images.
            normalize_cam: scale each map to 0..1.

        Raises:
            TargetError, DataError, LayerError: as the other engines.
            MethodError: `max_N` is more than the layer's channels.
        """
        return self._maps(
            score,
            seed_input,
            self._layers(penultimate_layer, seek_penultimate_conv_layer),
            {"rectify": activation_modifier},
            expand_cam,
            normalize_cam,
            training=bool(training),
            pack_size=batch_size,
            max_channels=max_N if max_N is not None and max_N > 0 else None,
        )

    def _scored(self, score: Callable[[tf.Tensor], Any]) -> Callable[[tf.Tensor], Any]:
        return on_probabilities(score)


# the spellings of tf-keras-vis
Gradcam, GradcamPlusPlus, Layercam, Scorecam = GradCAM, GradCAMPlusPlus, LayerCAM, ScoreCAM


def _hides_its_logits(model: keras.Model) -> bool:
    """Whether an output layer ends in an activation whose input is not found in the graph."""
    ends = getattr(model, "output_names", None) or []
    activations = [getattr(layer, "activation", None) for layer in model.layers if layer.name in ends]
    return any(activation not in (None, *_FOUND) for activation in activations)
