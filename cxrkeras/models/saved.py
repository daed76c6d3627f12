"""A model the user saved, made to take films as this package reads them; never changed, whatever it is.

Knows no method and no file but the model's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from cxrkeras.errors import DataError, TargetError, WeightsError

FILM_RANGE = (0.0, 255.0)
_SUFFIXES = (".keras", ".h5")


@dataclass(frozen=True)
class Roles:
    """What stands in for a row of the table of backbones: roles and names are left to the engine, which sees the model.

    Attributes:
        multiscale: roles of the three multi-scale levels, finest first.
    """

    multiscale: tuple[str, ...] = ("stride8", "stride16", "stride32")

    def layer(self, name_or_role: str) -> str:
        """The name or role itself."""
        return name_or_role


@dataclass(frozen=True)
class SavedModel:
    """A user's model behind the film's pixels.

    Attributes:
        model: films ``[n, H, W, channels]`` in 0..255 -> the user's own output; the user's model itself where it takes
            those.
        image_size: ``(H, W)`` in pixels.
        channels: 1 or 3; films are grey, so 3 hold the same.
        n_classes: number of classes; a single output unit has two.
        pixel_range: what the user's model takes for black and white.
        backbone: roles in place of a row of the table.
    """

    model: keras.Model
    image_size: tuple[int, int]
    channels: int
    n_classes: int
    pixel_range: tuple[float, float]
    backbone: Roles = Roles()

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape ``(H, W, channels)`` of a film as the model takes it."""
        return (*self.image_size, self.channels)


class _FromFilms(keras.Model):
    """Brings films to the range of another model; subclassed, so that the other stays as it is."""

    def __init__(self, model: keras.Model, pixel_range: tuple[float, float]) -> None:
        super().__init__(name=f"{model.name}_from_films")
        low, high = pixel_range
        self.pixel_range = keras.layers.Rescaling((high - low) / FILM_RANGE[1], low, dtype="float32")
        self.inner = model

    def call(self, films, training=None):
        return self.inner(self.pixel_range(films), training=training)


def saved_model(
    file: Path, *, image_size: int | None = None, pixel_range: tuple[float, float] = FILM_RANGE
) -> SavedModel:
    """Load a model the user saved with Keras.

    Args:
        file: `.keras` or `.h5`.
        image_size: side in pixels, for a model that leaves its input's size open.
        pixel_range: what the model takes for black and white: (0, 255), (0, 1), (−1, 1), …

    Raises:
        WeightsError: the file is no model that Keras can load without the user's code.
        DataError: the model does not take one film.
        TargetError: it does not answer with one score per class.
    """
    low, high = pixel_range
    if not low < high:
        raise DataError(f"pixel range {low},{high} is empty. Expected black,white with black < white, e.g. 0,1.")
    model = _loaded(Path(file))
    size, channels = _input(model, image_size)
    outputs = model.outputs
    if len(outputs) != 1 or len(outputs[0].shape) != 2 or outputs[0].shape[-1] is None:
        shapes = ", ".join(str(tuple(output.shape)) for output in outputs)
        raise TargetError(
            f"{file} does not answer with one score per class. Expected one output [n, classes]; received {shapes}. "
            "Save keras.Model(model.inputs, model.outputs[0]), or use cxrkeras.cams with a score function."
        )
    units = int(outputs[0].shape[-1])
    if tuple(pixel_range) != FILM_RANGE:
        model = _FromFilms(model, pixel_range)
        model(np.zeros((1, *size, channels), np.float32), training=False)
    return SavedModel(model, size, channels, max(units, 2), (float(low), float(high)))


def _loaded(file: Path) -> keras.Model:
    if not file.exists():
        raise WeightsError(f"model {file} does not exist. Expected a file saved with model.save('name.keras').")
    if file.suffix not in _SUFFIXES or not file.is_file():
        raise WeightsError(f"model {file} is no {' or '.join(_SUFFIXES)} file. Save it with model.save('name.keras').")
    try:
        model = keras.saving.load_model(file, compile=False)
    except Exception as error:  # Keras raises whatever the file's own classes raise
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(
            f"model {file} cannot be loaded ({reason}). Expected a whole model (not only weights) of built-in layers; "
            "a model with layers of your own goes through cxrkeras.cams in Python."
        ) from error
    if not getattr(model, "inputs", None):
        raise WeightsError(f"model {file} does not say what it takes. Expected a functional or Sequential model.")
    return model


def _input(model: keras.Model, image_size: int | None) -> tuple[tuple[int, int], int]:
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][-1] not in (1, 3):
        raise DataError(
            f"{model.name} does not take one film. Expected one input [n, H, W, 1 or 3]; received "
            f"{', '.join(map(str, shapes))}. A model of several inputs goes through cxrkeras.cams in Python."
        )
    height, width, channels = shapes[0][1:]
    if image_size is None and None in (height, width):
        raise DataError(f"{model.name} leaves its input's size open: {shapes[0]}. Name one with --image-size N.")
    size = (height or image_size, width or image_size)
    if image_size is not None and size != (image_size, image_size):
        raise DataError(
            f"--image-size {image_size} does not fit {model.name}, which takes {size[0]}×{size[1]}. Leave it out."
        )
    return (int(size[0]), int(size[1])), int(channels)
