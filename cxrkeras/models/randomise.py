"""The classifier's weights drawn anew, stage by stage from the head down, and put back afterwards.

Cascading randomisation of Adebayo et al. 2018 ("Sanity Checks for Saliency Maps"). Knows no film and no map.

A weight is drawn from its layer's own initialiser; a BatchNormalization becomes the identity it starts as. Without
biases such a stack of ReLU layers is positively homogeneous, so however far its activations shrink, a map only changes
its scale. Shuffling the trained values keeps each variable's scale but not the network's: statistics no longer fit the
activations. In ResNet50V2, DenseNet201 and InceptionV3 these then grew a hundred- to a thousandfold, and the softmax
answered 1 for every film.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from cxrkeras.errors import BackboneError
from cxrkeras.models.classifier import LOGITS, Classifier

HEAD, EVERYTHING = "head", "everything"
# Neighbouring grids of one resolution differ by unpadded borders (149 and 147), those of two by a factor of two.
_COARSER = 1.5


@dataclass(frozen=True)
class Stage:
    """Layers that are drawn anew together.

    Attributes:
        name: `head`, the grid ``h×w`` of the layers' outputs, or `everything` for the last.
        layers: names of those that have weights, in forward order.
    """

    name: str
    layers: tuple[str, ...]


def cascade(classifier: Classifier) -> tuple[Stage, ...]:
    """Every layer with weights in stages from the head down, one for each resolution of the backbone."""
    groups: list[list[keras.layers.Layer]] = []
    weighted = [layer for layer in classifier.backbone_layers if layer.weights]
    for layer in sorted(weighted, key=_side):
        if not groups or _side(layer) >= _COARSER * _side(groups[-1][0]):
            groups.append([])
        groups[-1].append(layer)
    place = {layer.name: number for number, layer in enumerate(weighted)}
    names = ["{}×{}".format(*group[0].output.shape[1:3]) for group in groups[:-1]]
    stages = [
        Stage(name, tuple(sorted((layer.name for layer in group), key=place.__getitem__)))
        for name, group in zip([*names, EVERYTHING], groups, strict=True)
    ]
    return Stage(HEAD, (LOGITS,)), *stages


@contextmanager
def randomised(classifier: Classifier, seed: int | Sequence[int] = 0) -> Iterator[Iterator[Stage]]:
    """Draw the stages of `cascade` anew one after the other; the weights are as before when the block ends.

    Args:
        classifier: changed in place while the block runs; compiled functions that read its variables stay valid.
        seed: of every draw.

    Yields:
        An iterator: each `next` draws one more stage, the earlier ones keep theirs, and gives that stage.

    Raises:
        BackboneError: a layer whose weights have no initialiser.

    Example:
        >>> with randomised(classifier, seed=0) as stages:                        # doctest: +SKIP
        ...     for stage in stages:
        ...         maps[stage.name] = explain()
    """
    kept = classifier.model.get_weights()
    try:
        yield _redrawn(classifier, np.random.default_rng(seed))
    finally:
        classifier.model.set_weights(kept)


def _redrawn(classifier: Classifier, rng: np.random.Generator) -> Iterator[Stage]:
    for stage in cascade(classifier):
        for name in stage.layers:
            layer = classifier.model.get_layer(name)
            for weight in layer.weights:
                weight.assign(_drawn(layer, weight, int(rng.integers(2**31))))
        yield stage


def _drawn(layer: keras.layers.Layer, weight: Any, seed: int) -> Any:
    initialiser = getattr(layer, f"{weight.name}_initializer", None)
    if initialiser is None:
        raise BackboneError(
            f"weight '{weight.name}' of layer '{layer.name}' ({type(layer).__name__}) cannot be drawn anew: the layer "
            f"has no {weight.name}_initializer. Use a backbone made of convolutions, dense layers and normalisations."
        )
    settings = initialiser.get_config()
    # the layer's own object would repeat the values it drew when the model was built
    again = type(initialiser).from_config({**settings, "seed": seed} if "seed" in settings else settings)
    return again(weight.shape, dtype=weight.dtype)


def _side(layer: keras.layers.Layer) -> int:
    return int(layer.output.shape[1])
