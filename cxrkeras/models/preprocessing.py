"""What a weight source expects of its pixels, as built-in Keras layers, so an exported model needs no cxrkeras.

Films are grey repeated to three channels, so the RGB/BGR order of the `caffe` modes only decides which mean a
channel gets. The one home of preprocessing; it is the classifier's first layer.
"""

from __future__ import annotations

import keras

from cxrkeras.errors import WeightsError, unknown

_IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)
_TORCH_MEAN = (0.485, 0.456, 0.406)
_TORCH_STD = (0.229, 0.224, 0.225)

# mode -> (scale, offset) of x*scale + offset on films in 0..255
MODES: dict[str, tuple[float | list[float], float | list[float]]] = {
    "tf": (1 / 127.5, -1.0),
    "torch": (
        [1 / (255 * std) for std in _TORCH_STD],
        [-mean / std for mean, std in zip(_TORCH_MEAN, _TORCH_STD, strict=True)],
    ),
    "caffe": (1.0, [-mean for mean in _IMAGENET_MEAN_BGR]),
    "caffe/255": (1 / 255, [-mean / 255 for mean in _IMAGENET_MEAN_BGR]),
    "unit": (1 / 255, 0.0),
    "none": (1.0, 0.0),
}


def preprocessing_layer(mode: str) -> keras.layers.Layer:
    """The classifier's first layer: films in 0..255 to what the weights were trained on, in float32.

    Args:
        mode: `tf` (−1..1), `torch` (ImageNet mean and deviation), `caffe` (minus the ImageNet mean),
            `caffe/255` (the same over 255, what the RadImageNet Keras scripts do), `unit` (0..1) or `none`.

    Raises:
        WeightsError: no such mode.
    """
    if mode not in MODES:
        raise unknown("preprocessing", mode, MODES, WeightsError)
    scale, offset = MODES[mode]
    return keras.layers.Rescaling(scale, offset, dtype="float32", name="preprocessing")
