"""The backbones as a table of data: who builds them, at what size, with which preprocessing, and where the maps are.

Layer names are verified facts of Keras Applications; a test builds every row. Knows no weights and no training.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import keras

from cxrkeras.errors import BackboneError, unknown

MIN_GRID = 3


@dataclass(frozen=True)
class Backbone:
    """One row of the table.

    Attributes:
        name: the Keras Applications name, or `compact`.
        builder: dotted path of the function that builds it without its top.
        size: native image side in pixels.
        preprocessing: mode of its ImageNet weights (`torch`, `tf`, `caffe`), see `models.preprocessing`.
        head_input: layer whose output enters the global pooling.
        strides: role -> last activated tensor at that stride, finest first; the multi-scale levels.
        weighted_layers: number of layers with weights; one more in a file means the file has a head.
        imagenet_file: file name Keras expects in its cache, None where no ImageNet weights exist.
    """

    name: str
    builder: str
    size: int
    preprocessing: str
    head_input: str
    strides: dict[str, str]
    weighted_layers: int
    imagenet_file: str | None

    @property
    def multiscale(self) -> tuple[str, ...]:
        """Layer names of the three multi-scale levels, finest first."""
        return tuple(self.strides.values())

    def layer(self, name_or_role: str) -> str:
        """Resolve a role (`head_input`, `stride8`, …) to a layer name; names pass through.

        `last_conv` passes through as well: Keras numbers InceptionV3's convolutions by what the process built
        before, so only the engine, which sees the model, can name it.
        """
        return {"head_input": self.head_input, **self.strides}.get(name_or_role, name_or_role)

    def build(self, input_tensor: keras.KerasTensor) -> keras.Model:
        """Build the network without its top and with fresh random weights on an already preprocessed tensor."""
        module, function = self.builder.rsplit(".", 1)
        builder = getattr(importlib.import_module(module), function)
        return builder(include_top=False, weights=None, input_tensor=input_tensor)


def _strides(*layers: str, first: int = 8) -> dict[str, str]:
    return {f"stride{first * 2**i}": name for i, name in enumerate(layers)}


def _notop(stem: str, infix: str = "_tf_dim_ordering_tf_kernels") -> str:
    return f"{stem}_weights{infix}_notop.h5"


_TABLE = (
    Backbone(
        "DenseNet201", "keras.applications.DenseNet201", 224, "torch", "relu",
        _strides("pool3_relu", "pool4_relu", "relu"), 401, _notop("densenet201"),
    ),
    Backbone(
        "InceptionV3", "keras.applications.InceptionV3", 299, "tf", "mixed10",
        _strides("mixed2", "mixed7", "mixed10"), 188, _notop("inception_v3"),
    ),
    Backbone(
        "ResNet50V2", "keras.applications.ResNet50V2", 224, "tf", "post_relu",
        _strides("conv3_block4_preact_relu", "conv4_block6_preact_relu", "post_relu"), 102, _notop("resnet50v2"),
    ),
    Backbone(
        "ResNet50", "keras.applications.ResNet50", 224, "caffe", "conv5_block3_out",
        _strides("conv3_block4_out", "conv4_block6_out", "conv5_block3_out"), 106, _notop("resnet50"),
    ),
    Backbone(
        "DenseNet121", "keras.applications.DenseNet121", 224, "torch", "relu",
        _strides("pool3_relu", "pool4_relu", "relu"), 241, _notop("densenet121"),
    ),
    Backbone(
        "InceptionResNetV2", "keras.applications.InceptionResNetV2", 299, "tf", "conv_7b_ac",
        _strides("block35_10_ac", "block17_20_ac", "conv_7b_ac"), 448, _notop("inception_resnet_v2"),
    ),
    Backbone(
        "compact", "cxrkeras.models.compact.Compact", 96, "tf", "stride8_relu",
        _strides("stride2_relu", "stride4_relu", "stride8_relu", first=2), 16, None,
    ),
)  # fmt: skip

BACKBONES: dict[str, Backbone] = {row.name: row for row in _TABLE}


def backbone(name: str) -> Backbone:
    """Look a backbone up by name, whatever its capitals.

    Raises:
        BackboneError: no such backbone.
    """
    by_lower = {known.lower(): row for known, row in BACKBONES.items()}
    try:
        return by_lower[str(name).lower()]
    except KeyError:
        raise unknown("backbone", name, BACKBONES, BackboneError) from None


def check_grid(row: Backbone, grid: tuple[int, int], image_size: int, allow_coarse: bool) -> None:
    """Refuse image sizes at which a map would have fewer than 3×3 cells.

    Raises:
        BackboneError: the grid at the head is under 3×3 and `allow_coarse` is false.
    """
    if min(grid) < MIN_GRID and not allow_coarse:
        smallest = 139 if row.name.startswith("Inception") else 96
        raise BackboneError(
            f"{row.name} at {image_size} px has a {grid[0]}×{grid[1]} grid at its head; a map needs at least 3×3. "
            f"Expected --image-size {smallest} or more (native {row.size}); "
            "--allow-coarse trains it all the same, without scores."
        )
