"""Groups of layers that share a learning rate: by stride or by name, each with its multiplier.

Knows layers and variables, no optimizer, no films and no files.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from cxrkeras.errors import ConfigError, did_you_mean
from cxrkeras.models.classifier import Classifier
from cxrkeras.settings import TrainingSettings

HEAD, REST = "head", "in no group"


@dataclass(frozen=True)
class LayerGroup:
    """Layers that share a learning rate.

    Attributes:
        name: `head`, `stride 32`, …, or the names it was asked for by.
        multiplier: what the base rate is multiplied with; 0 freezes the layers.
        layers: its layers that have trainable weights, in forward order.
        parameters: how many numbers these train.
    """

    name: str
    multiplier: float
    layers: tuple[keras.layers.Layer, ...]
    parameters: int


def layerwise_decay(network: Classifier | keras.Model, decay: float = 0.8) -> tuple[LayerGroup, ...]:
    """Groups by stride whose rate falls from the head downward: 1 for the head, decay^k for the k-th group below it.

    A layer's stride is read from its output's grid against the network's input; grids that a convolution without
    padding left a few pixels short count with the full ones.

    Args:
        network: a functional network of one image, its trainable layers as they are to be trained.
        decay: in (0, 1].

    Returns:
        The head, then the largest stride, down to the first layers.

    Raises:
        ConfigError: a `decay` out of range, or a layer that has no grid of its own on the way down to the head.
    """
    if not 0 < decay <= 1:
        raise ConfigError(f"layer-wise decay is a factor a group. Expected 0 < decay ≤ 1, received {decay:g}.")
    model = network.model if isinstance(network, Classifier) else network
    sides = {name: _side(name, layer) for name, layer in _trained_layers(model)}
    grids = {side for side in sides.values() if side is not None}
    if not grids:
        raise ConfigError(
            f"{model.name} has no layer with a grid, so there is no stride to group by. "
            "Expected an image network; name its layers in layer_groups instead."
        )
    final = _final_side(model)
    strides = strides_of(int(model.input_shape[1]), grids)
    members: dict[int | None, list[keras.layers.Layer]] = {}
    for name, layer in _trained_layers(model):
        side = sides[name]
        if side is not None and side < final:
            raise ConfigError(
                f"layer '{name}' of {model.name} works on {side}×{side}, under the {final}×{final} of the head's "
                "input: a side branch, whose stride says nothing of its depth. Use layer_groups, not layerwise_decay."
            )
        members.setdefault(None if side is None else strides[side], []).append(layer)
    head = members.pop(None, [])
    groups = [_group(HEAD, 1.0, head)] if head else []
    downward = sorted(members, key=lambda stride: -(stride or 0))
    groups += [_group(f"stride {s}", decay**k, members[s]) for k, s in enumerate(downward, start=1)]
    return tuple(groups)


def strides_of(input_side: int, sides: set[int]) -> dict[int, int]:
    """Stride of each grid side: a power of two, counted from the next larger grid so that small grids do not drift."""
    found, stride, largest = {}, 1, input_side
    for side in sorted(sides, reverse=True):
        if halvings := round(math.log2(largest / side)):
            stride, largest = stride * 2**halvings, side
        found[side] = stride
    return found


def named_groups(
    network: Classifier | keras.Model, wanted: Sequence[tuple[Sequence[str], float]]
) -> tuple[LayerGroup, ...]:
    """Groups of layers by name; layers in none keep the base rate and form the last group.

    Args:
        network: a functional network, its trainable layers as they are to be trained.
        wanted: (layer names or globs such as `conv5_*`, multiplier) a group.

    Raises:
        ConfigError: a name that fits no trained layer, a layer in two groups, a multiplier out of range, or a name
            that fits some of the layers Keras numbers by what was built before.
    """
    model = network.model if isinstance(network, Classifier) else network
    layers = dict(_trained_layers(model))
    owner: dict[str, str] = {}
    groups = []
    for patterns, multiplier in wanted:
        check_multiplier(multiplier)
        title = ", ".join(patterns)
        names = [n for n in layers if any(n in _matched(pattern, layers, model.name) for pattern in patterns)]
        for name in names:
            if name in owner:
                raise ConfigError(
                    f"layer '{name}' is in two layer groups: [{owner[name]}] and [{title}]. "
                    "Expected each layer in one at most; narrow one of them."
                )
            owner[name] = title
        groups.append(_group(title, multiplier, [layers[name] for name in names]))
    rest = [layer for name, layer in layers.items() if name not in owner]
    return (*groups, _group(REST, 1.0, rest)) if rest else tuple(groups)


def configured_groups(classifier: Classifier, settings: TrainingSettings) -> tuple[LayerGroup, ...] | None:
    """The groups that a configuration asks for in the second stage; None where every layer has the stage's rate.

    Raises:
        ConfigError: groups that do not fit the network.
    """
    if settings.layerwise_decay is not None:
        return layerwise_decay(classifier, settings.layerwise_decay)
    if settings.layer_groups is not None:
        return named_groups(classifier, [(group.layers, group.multiplier) for group in settings.layer_groups])
    return None


def freeze_unmoved(groups: Sequence[LayerGroup]) -> None:
    """Freeze the layers of multiplier 0, so that their BatchNormalization statistics stand still too.

    Raises:
        ConfigError: nothing is left to train.
    """
    if not any(group.multiplier and group.layers for group in groups):
        raise ConfigError("every layer group has multiplier 0, so nothing would be trained. Expected one above 0.")
    for group in groups:
        if not group.multiplier:
            for layer in group.layers:
                layer.trainable = False


def variable_multipliers(model: keras.Model, groups: Sequence[LayerGroup]) -> tuple[tuple[str, float], ...]:
    """(path, multiplier) of every trainable variable of a model, in its order, by the identity of its layer.

    Raises:
        ConfigError: a variable belongs to no group.
    """
    known = {id(v): group.multiplier for group in groups for layer in group.layers for v in layer.variables}
    if strange := [v.path for v in model.trainable_variables if id(v) not in known]:
        raise ConfigError(
            f"{len(strange)} trained variables belong to no layer group, first '{strange[0]}'. "
            "Expected groups of this very model."
        )
    return tuple((v.path, known[id(v)]) for v in model.trainable_variables)


def layer_rates(groups: Sequence[LayerGroup], rate: float) -> list[dict[str, Any]]:
    """A row a group: `group, multiplier, rate, layers, parameters`."""
    return [
        {
            "group": group.name,
            "multiplier": _decimal(group.multiplier),
            "rate": _decimal(rate * group.multiplier),
            "layers": len(group.layers),
            "parameters": group.parameters,
        }
        for group in groups
    ]


def check_multiplier(multiplier: float) -> None:
    """Refuse what cannot multiply a rate.

    Raises:
        ConfigError: it is negative or not finite.
    """
    if not (math.isfinite(multiplier) and multiplier >= 0):
        raise ConfigError(f"a layer group's multiplier is a number of 0 or more. Received {multiplier}.")


def _group(name: str, multiplier: float, layers: Sequence[keras.layers.Layer]) -> LayerGroup:
    variables = {id(v): v for layer in layers for v in layer.trainable_variables}
    parameters = sum(int(np.prod(v.shape)) for v in variables.values())
    return LayerGroup(name, float(multiplier), tuple(layers), parameters)


def _trained_layers(model: keras.Model, prefix: str = "") -> list[tuple[str, keras.layers.Layer]]:
    """(name, layer) of the layers with trainable weights, nested models opened as `outer/inner`, each layer once."""
    found: dict[int, tuple[str, keras.layers.Layer]] = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            for name, inner in _trained_layers(layer, f"{prefix}{layer.name}/"):
                found.setdefault(id(inner), (name, inner))
        elif layer.trainable_variables:
            found.setdefault(id(layer), (prefix + layer.name, layer))
    return list(found.values())


def _side(name: str, layer: keras.layers.Layer) -> int | None:
    """Side of a layer's output grid; None without one: it belongs to the head."""
    shape = layer.output.shape
    if len(shape) == 2:
        return None
    if len(shape) != 4 or shape[1] is None:
        raise ConfigError(
            f"layer '{name}' gives {tuple(shape)}, which has no grid of known size to read a stride from. "
            "Expected [n, H, W, channels] at a fixed image size; use layer_groups instead of layerwise_decay."
        )
    return int(shape[1])


def _final_side(model: keras.Model) -> int:
    """Side of the last grid of a network, the one that enters its head."""
    grids = [layer.output.shape for layer in model.layers if len(layer.output.shape) == 4]
    return int(grids[-1][1])


def _matched(pattern: str, layers: dict[str, keras.layers.Layer], model: str) -> set[str]:
    matched = {name for name in layers if fnmatch.fnmatchcase(name, pattern)}
    if not matched:
        raise ConfigError(
            f"layer group '{pattern}' fits no trained layer of {model}.{did_you_mean(pattern, layers)} "
            f"Layers with weights: {', '.join(list(layers)[:3])}, …, {', '.join(list(layers)[-3:])}."
        )
    for stem in {stem for name in matched if (stem := _auto_stem(name, layers[name]))}:
        numbered = {name for name, layer in layers.items() if _auto_stem(name, layer) == stem}
        if not numbered <= matched:
            raise ConfigError(
                f"layer group '{pattern}' fits some layers '{stem}_N' of {model}, which Keras numbers by what the "
                f"process built before: in another process these would be other layers. Expected all of them "
                f"('{stem}*'), names of the network's own, or layerwise_decay."
            )
    return matched


def _auto_stem(name: str, layer: keras.layers.Layer) -> str | None:
    """The stem of a name that Keras gave by itself (`conv2d_94` -> `conv2d`), None for a name of the network's own."""
    stem = re.sub(r"_\d+$", "", name.rsplit("/", 1)[-1])
    kind = re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)).lower()
    return stem if stem == kind else None


def _decimal(value: float) -> float:
    """A product of decimal numbers without the digits of their binary form."""
    return float(f"{value:.12g}")
