"""What makes a map beside the film and the checkpoint: target, layers, engine, and the methods' own options.

Everything that changes a map is in `map_parameters`; stored maps are keyed by it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cxrkeras.cams.registry import FORWARD, MAPS_VERSION, METHODS, MULTISCALE, method_options
from cxrkeras.cams.replay import ENGINE as PEER
from cxrkeras.cams.replay import ITS_DEFAULT, peer_layer, peer_methods, peer_parameters
from cxrkeras.data.images import PIXELS_VERSION
from cxrkeras.errors import MethodError, TargetError, unknown
from cxrkeras.models.classifier import Classifier
from cxrkeras.workflow.opened import ExplainerCache, OpenRun
from cxrkeras.workflow.selection import Selection

DEFAULT_LAYER = "head_input"
SAMPLING = ("max_channels", "tolerance")
ENGINES = ("cxrkeras", PEER)


@dataclass(frozen=True)
class MapOptions:
    """How maps are made.

    Attributes:
        target: `label`, `predicted` or a class name.
        layer: layer name or role; a comma list for methods that join layers.
        engine: whose implementation.
        on: what is explained: `logit`, `probability` or `margin`.
        given: options of the methods that were set, by the names of `cams.registry`.
        seed: draws ScoreCAM's sampled channels.
        memory_budget: bytes for ScoreCAM's masked films; does not change a map.
    """

    target: str = "label"
    layer: str = DEFAULT_LAYER
    engine: str = "cxrkeras"
    on: str = "logit"
    given: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    memory_budget: int | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers named, in order."""
        return tuple(word.strip() for word in self.layer.split(",") if word.strip())

    @property
    def sampled(self) -> bool:
        """Whether ScoreCAM may stop before its last live channel."""
        return any(self.given.get(name) is not None for name in SAMPLING)

    @property
    def cap(self) -> str:
        """How ScoreCAM's channels are limited, in words: `exact`, a number, `tolerance 0.1`, or both."""
        if not self.sampled:
            return "exact"
        channels, tolerance = (self.given.get(name) for name in SAMPLING)
        parts = [str(channels)] if channels is not None else []
        return ", ".join([*parts, *([f"tolerance {tolerance}"] if tolerance is not None else [])])


def map_options(
    opened: OpenRun,
    selection: Selection,
    *,
    target: str | None = None,
    **settings: Any,
) -> MapOptions:
    """Options with the target filled in: the label where every film has one, else the predicted class.

    Where a film may have several findings the label stands for each of its positive ones, see `positive_parts`.

    Args:
        opened: the run.
        selection: the films.
        target: `label`, `predicted`, a class name, or None.
        **settings: further fields of `MapOptions`.

    Raises:
        TargetError: no such class, or `label` for films without one.
        MethodError: no such engine, or one that cannot explain this model.
    """
    if settings.get("engine", ENGINES[0]) not in ENGINES:
        raise unknown("engine", settings["engine"], ENGINES, MethodError)
    if settings.get("engine") == PEER and not isinstance(opened.classifier, Classifier):
        raise MethodError(
            f"{PEER} is replayed for the classifiers of a run; received a model of another kind. "
            f"Use --engine {ENGINES[0]}, or call {PEER} itself."
        )
    explained = selection.labelled if selection.films.truth is None else bool((selection.films.truth == 1).any())
    if target is None:
        target = "label" if explained else "predicted"
    if target == "label" and not explained:
        needed = "a label for every film" if selection.films.truth is None else "a film with a positive finding"
        raise TargetError(f"target 'label' needs {needed}. Use --target predicted, or a class name.")
    if target not in ("label", "predicted", *opened.classes):
        raise unknown("target", target, ("label", "predicted", *opened.classes), TargetError)
    return MapOptions(target=target, seed=opened.config.training.seed, **settings)


def positive_parts(opened: OpenRun, selection: Selection, options: MapOptions) -> list[tuple[Selection, MapOptions]]:
    """What to explain for which films: one part, or where a film may have several findings one for each of them.

    Target `label` then means every positive finding of a film: the films that have the finding, explained for it.

    Args:
        opened: the run.
        selection: the films.
        options: how the maps are made.

    Returns:
        Films and options, in the order of the findings; those without a positive film are left out.
    """
    if not opened.several or options.target != "label":
        return [(selection, options)]
    return [
        (selection.take(rows), replace(options, target=name))
        for c, name in enumerate(opened.classes)
        if len(rows := np.flatnonzero(selection.films.truth[:, c] == 1))
    ]


def check_options(methods: Sequence[str], options: MapOptions) -> None:
    """Refuse options that none of the methods takes, and several layers for a method that reads one.

    Raises:
        MethodError: such an option, or such a method.
    """
    if options.engine == PEER:
        _check_peer_options(methods, options)
    for name in options.given:
        takers = [method for method, row in METHODS.items() if name in row.defaults]
        if takers and not set(takers) & set(methods):
            raise MethodError(
                f"option {name} belongs to {', '.join(takers)}, but the methods are {', '.join(methods)}. "
                "Leave it out, or name such a method."
            )
    if options.layer != DEFAULT_LAYER and not any(_reads_a_layer(name, options) for name in methods):
        raise MethodError(
            f"--layer {options.layer} would change nothing: {', '.join(methods)} read other layers. "
            "Leave it out, or give ms-gradcam++ a comma list, finest first."
        )
    if len(options.layers) > 1:
        for name in methods:
            joins = METHODS[name].fuse is not None
            if not joins:
                takers = [method for method, row in METHODS.items() if row.fuse is not None]
                raise MethodError(
                    f"{name} reads one layer; received {len(options.layers)}: {options.layer}. "
                    f"Name one, or use a method that joins layers: {', '.join(takers)}."
                )


def _reads_a_layer(method: str, options: MapOptions) -> bool:
    row = METHODS[method]
    return not row.at_input and (row.kind != MULTISCALE or len(options.layers) > 1)


def _check_peer_options(methods: Sequence[str], options: MapOptions) -> None:
    peer_methods(methods)
    refused = [name for name in options.given if name != "max_channels"]
    refused += [f"on {options.on}"] if options.on != "logit" else []
    refused += [f"layers {options.layer}"] if len(options.layers) > 1 else []
    refused += ["a memory budget"] if options.memory_budget is not None else []
    if refused:
        raise MethodError(
            f"{PEER} is replayed as it is: it takes one layer and, for scorecam, max_channels; "
            f"received {', '.join(refused)}. Leave that out, or use --engine {ENGINES[0]}."
        )


def layers_of(opened: ExplainerCache, method: str, options: MapOptions) -> list[str]:
    """Layers a method reads, roles resolved where the table of backbones knows them."""
    row = opened.classifier.backbone
    if options.engine == PEER:
        wanted = options.layer if options.layer in ITS_DEFAULT else row.layer(options.layer)
        return [peer_layer(opened.classifier.model, wanted).name]
    if METHODS[method].at_input:
        return ["input"]
    if METHODS[method].kind == MULTISCALE and len(options.layers) == 1:
        return list(row.multiscale)
    return [row.layer(name) for name in options.layers]


def map_parameters(opened: OpenRun, epoch: int, method: str, options: MapOptions) -> dict[str, Any]:
    """Everything that changes a map of this method at this checkpoint, as plain JSON values."""
    settings, layers = opened.config.data, layers_of(opened, method, options)
    shared: dict[str, Any] = {
        "engine": options.engine,
        "target": options.target,
        "layers": layers,
        "checkpoint": opened.checkpoint_hash(epoch),
        "versions": [MAPS_VERSION, PIXELS_VERSION],
        "image_size": opened.classifier.image_size,
        "resize": settings.resize,
        "bits": settings.bits,
    }
    # plain JSON, as it comes back from a stored file
    shared = json.loads(json.dumps(shared))
    if options.engine == PEER:
        return shared | peer_parameters(method, layers[0], options.given.get("max_channels"))
    row = METHODS[method]
    given = {name: value for name, value in options.given.items() if name in row.defaults}
    own = {"on": options.on if row.explains_score else None, **method_options([method], given)[method]}
    if row.kind == FORWARD and options.sampled:
        own["seed"] = options.seed
    return shared | json.loads(json.dumps({name: value for name, value in own.items() if value is not None}))
