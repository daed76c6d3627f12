"""The classifier: preprocessing, backbone, global average pooling, dropout, logits, probabilities; one flat model.

Flat, so that every backbone layer is reachable by its own name. Knows no data and no training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np

from cxrkeras.models.backbones import Backbone, check_grid
from cxrkeras.models.preprocessing import preprocessing_layer

POOLING, DROPOUT, LOGITS, PROBABILITIES = "head_pooling", "head_dropout", "logits", "probabilities"
Activation = Literal["softmax", "sigmoid"]


@dataclass(frozen=True)
class Classifier:
    """A backbone with a head for `classes`, and the views of it that the package needs.

    Attributes:
        backbone: its row of the table.
        classes: class names, in the order of the outputs.
        model: films ``[n, H, W, 3]`` in 0..255 -> probabilities ``[n, n_classes]``.
        logits: the same films -> logits; shares every weight with `model`, and is what is trained.
        pooled: films -> pooled features ``[n, channels]``.
        head: pooled features -> logits; shares its weights too.
        preprocessing: mode of the first layer.
        activation: `softmax` for one class a film, `sigmoid` for findings that may stand together.
    """

    backbone: Backbone
    classes: tuple[str, ...]
    model: keras.Model
    logits: keras.Model
    pooled: keras.Model
    head: keras.Model
    preprocessing: str
    activation: Activation = "softmax"

    def probabilities_of(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities ``[n, n_classes]`` in float64 of this classifier's logits ``[n, n_classes]``."""
        return softmax(logits) if self.activation == "softmax" else sigmoid(logits)

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""
        return int(self.model.input_shape[1])

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape ``(H, W, channels)`` of a film as the model takes it."""
        return tuple(int(side) for side in self.model.input_shape[1:])

    @property
    def grid(self) -> tuple[int, int]:
        """Grid ``(h, w)`` of the head's input."""
        shape = self.model.get_layer(self.backbone.head_input).output.shape
        return int(shape[1]), int(shape[2])

    @property
    def backbone_layers(self) -> list[keras.layers.Layer]:
        """Layers of the backbone, preprocessing and head left out."""
        own = {"preprocessing", POOLING, DROPOUT, LOGITS, PROBABILITIES}
        return [
            layer
            for layer in self.model.layers
            if layer.name not in own and not isinstance(layer, keras.layers.InputLayer)
        ]

    @property
    def batch_norms(self) -> list[keras.layers.BatchNormalization]:
        """The backbone's BatchNormalization layers in forward order."""
        return [layer for layer in self.backbone_layers if isinstance(layer, keras.layers.BatchNormalization)]

    def with_frozen_statistics(self) -> keras.Model:
        """`logits` with the backbone always in inference mode, whatever mode the model is called in."""
        model = _FrozenStatistics(self.pooled, self.head)
        # Keras decides on loss scaling by the policy of the model that is compiled.
        model.dtype_policy = self.logits.dtype_policy
        return model

    @property
    def dropout(self) -> keras.layers.Dropout:
        """The head's dropout layer."""
        return self.model.get_layer(DROPOUT)


class _FrozenStatistics(keras.Model):
    """A functional model would hand its own `training` down over an explicit False; a subclassed call does not."""

    def __init__(self, pooled: keras.Model, head: keras.Model) -> None:
        super().__init__(name="frozen_statistics")
        self.pooled, self.head = pooled, head

    def call(self, films, training=None):
        return self.head(self.pooled(films, training=False), training=training)


def build_classifier(
    row: Backbone,
    classes: tuple[str, ...] | list[str],
    image_size: int,
    *,
    preprocessing: str | None = None,
    activation: Activation = "softmax",
    dropout: float = 0.3,
    seed: int = 0,
    allow_coarse: bool = False,
) -> Classifier:
    """Build the classifier with random weights drawn from `seed`.

    Args:
        row: backbone, see `backbones.backbone`.
        classes: two or more class names, or one or more findings with `sigmoid`.
        image_size: side of the square input in pixels.
        preprocessing: mode of `models.preprocessing`; None takes the backbone's own.
        activation: `softmax` over the classes, or `sigmoid` for each finding on its own.
        dropout: rate before the logits.
        seed: draws every initial weight.
        allow_coarse: accept a head grid under 3×3.

    Raises:
        BackboneError: the grid at the head would be under 3×3.
    """
    keras.utils.set_random_seed(seed)
    mode = preprocessing or row.preprocessing
    films = keras.Input((image_size, image_size, 3), name="films")
    features = row.build(preprocessing_layer(mode)(films)).output
    check_grid(row, (int(features.shape[1]), int(features.shape[2])), image_size, allow_coarse)
    pooled = keras.layers.GlobalAveragePooling2D(name=POOLING)(features)
    drop = keras.layers.Dropout(dropout, seed=seed, name=DROPOUT)
    dense = keras.layers.Dense(len(classes), dtype="float32", name=LOGITS)
    logits = dense(drop(pooled))
    if activation == "softmax":
        last = keras.layers.Softmax(dtype="float32", name=PROBABILITIES)
    else:
        last = keras.layers.Activation("sigmoid", dtype="float32", name=PROBABILITIES)
    probabilities = last(logits)
    cached = keras.Input((int(features.shape[-1]),), name="pooled_features")
    return Classifier(
        backbone=row,
        classes=tuple(classes),
        model=keras.Model(films, probabilities, name=row.name),
        logits=keras.Model(films, logits, name="classifier_logits"),
        pooled=keras.Model(films, pooled, name="pooled"),
        head=keras.Model(cached, dense(drop(cached)), name="head"),
        preprocessing=mode,
        activation=activation,
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Row-wise softmax in float64 of logits ``[n, n_classes]``, returned as float64."""
    shifted = np.exp(np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Element-wise logistic function in float64, without overflow at large negative logits."""
    shrunk = np.exp(-np.abs(np.asarray(logits, np.float64)))
    return np.where(np.asarray(logits) >= 0, 1 / (1 + shrunk), shrunk / (1 + shrunk))
