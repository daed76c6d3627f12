"""The compact backbone: eight convolutions at stride 8, small enough that the phantom trains in seconds.

Has the calling convention of the Keras Applications builders and no pretrained weights. Knows no data and no head.
"""

from __future__ import annotations

import keras

from cxrkeras.errors import UsageError, WeightsError

# (channels, stride, name of the activation): the last activation at each stride carries the stride's name
_BLOCKS = (
    (8, 2, "relu1"),
    (16, 1, "stride2_relu"),
    (16, 2, "relu3"),
    (32, 1, "stride4_relu"),
    (32, 2, "relu5"),
    (64, 1, "relu6"),
    (64, 1, "relu7"),
    (128, 1, "stride8_relu"),
)

# A phantom run takes about 8 steps an epoch; at Keras' 0.99 the moving statistics would still be
# a third of their initial values after 15 epochs.
_BATCH_NORM_MOMENTUM = 0.9


def Compact(
    include_top: bool = False,
    weights: None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    name: str = "compact",
) -> keras.Model:
    """Build the compact backbone, flat and with random weights.

    Args:
        include_top: only False; the classifier brings the head.
        weights: only None; there are no pretrained weights.
        input_tensor: already preprocessed films ``[n, H, W, channels]`` in −1..1.
        input_shape: ``(H, W, channels)`` when there is no `input_tensor`; default ``(96, 96, 3)``.
        name: name of the model.

    Returns:
        Model with output ``[n, H/8, W/8, 128]`` (rounded up). `stride2_relu`, `stride4_relu` and `stride8_relu`
        are the last activated tensors at their strides, `conv8` is the last convolution.

    Raises:
        UsageError: `include_top` is true.
        WeightsError: `weights` is given.

    Example:
        >>> Compact(input_shape=(96, 96, 3)).output.shape
        (None, 12, 12, 128)
    """
    if include_top:
        raise UsageError("compact has no top. Expected include_top=False, received True; add a head to its output.")
    if weights is not None:
        raise WeightsError(
            f"compact has no pretrained weights. Expected weights=None, received {weights!r}; "
            "load a file into the built model instead."
        )
    if input_tensor is None:
        input_tensor = keras.Input(input_shape or (96, 96, 3), name="films")
    (source,) = keras.utils.get_source_inputs(input_tensor)
    tensor = input_tensor
    for number, (channels, stride, activation) in enumerate(_BLOCKS, start=1):
        convolution = keras.layers.Conv2D(
            channels,
            3,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"conv{number}",
        )
        norm = keras.layers.BatchNormalization(momentum=_BATCH_NORM_MOMENTUM, name=f"bn{number}")
        tensor = keras.layers.ReLU(name=activation)(norm(convolution(tensor)))
    return keras.Model(source, tensor, name=name)
