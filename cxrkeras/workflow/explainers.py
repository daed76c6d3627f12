"""Explainers of a run or candidate: compiled once for their methods and options, and fed with films; stores nothing.

Knows no checkpoint: maps are those of the weights that the classifier has when it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from cxrkeras.cams.engine import Explainer
from cxrkeras.cams.registry import METHODS
from cxrkeras.cams.replay import ENGINE as PEER
from cxrkeras.cams.replay import SCORECAM, PeerExplainer
from cxrkeras.cams.results import Explanation, concatenated
from cxrkeras.data.filmset import FilmSet
from cxrkeras.data.pipeline import film_batches
from cxrkeras.store import key8
from cxrkeras.workflow.map_options import MapOptions, layers_of
from cxrkeras.workflow.opened import ExplainerCache

BATCH = 16


def explainer_of(opened: ExplainerCache, methods: tuple[str, ...], options: MapOptions) -> Explainer | PeerExplainer:
    """What makes the maps of these methods; one that was compiled before is used again."""
    if options.engine == PEER:
        return _peer(opened, methods, options)
    given = {key: value for key, value in options.given.items() if any(key in METHODS[m].defaults for m in methods)}
    layers = {name: layers_of(opened, name, options) for name in methods}
    single = {found[0] for found in layers.values() if len(found) == 1 and found[0] != "input"}
    several = {
        METHODS[name].layers_option or "multiscale_layers": found for name, found in layers.items() if len(found) > 1
    }
    settings = {
        "layer": single.pop() if single else "head_input",
        **several,
        "on": options.on,
        "seed": options.seed,
        **({} if options.memory_budget is None else {"memory_budget": options.memory_budget}),
        **given,
    }
    return opened.explainer(
        (methods, key8(settings)),
        lambda: Explainer(opened.classifier.model, methods, batch_size=BATCH, classes=opened.classes, **settings),
    )


def explained_batches(
    films: FilmSet, targets: np.ndarray | None, channels: int
) -> Iterator[tuple[np.ndarray, np.ndarray | None, np.ndarray]]:
    """Films with their targets and ids, batch by batch, as an explainer takes them.

    Args:
        films: the films.
        targets: class per film, int ``[n]``; None for the predicted one.
        channels: of a film as the model takes it.
    """
    done = 0
    for pixels, _, _ in film_batches(films.store, films.indices, films.labels, batch_size=BATCH):
        part = slice(done, done + len(pixels))
        yield pixels.numpy()[..., :channels], None if targets is None else targets[part], films.ids[part]
        done = part.stop


def passing_maps(
    opened: ExplainerCache, films: FilmSet, targets: np.ndarray, methods: Sequence[str], options: MapOptions
) -> dict[str, np.ndarray]:
    """Raw maps ``[n, h, w]`` of every method by the weights that the classifier has now; see `passing_explanation`."""
    found = passing_explanation(opened, films, targets, methods, options)
    return {name: found[name].values for name in methods}


def passing_explanation(
    opened: ExplainerCache, films: FilmSet, targets: np.ndarray, methods: Sequence[str], options: MapOptions
) -> Explanation:
    """What every method explains by the weights that the classifier has now; nothing is read or stored.

    For weights that are no checkpoint. An explainer compiled before is used again.

    Args:
        opened: the run or candidate, with its `classifier` and `classes`.
        films: the films.
        targets: class per film, int ``[n]``.
        methods: registry names, one or more.
        options: how the maps are made; its target is not read.
    """
    alone = [(name,) for name in methods if not METHODS[name].in_the_forward]
    together = tuple(name for name in methods if METHODS[name].in_the_forward)
    found = []
    for names in [together, *alone] if together else alone:
        batches = explained_batches(films, targets, opened.classifier.input_shape[-1])
        found.append(
            concatenated(list(explainer_of(opened, names, options).explain_batches(batches, n_films=len(films))))
        )
    results = {name: one[name] for one in found for name in one.results}
    return replace(found[0], results={name: results[name] for name in methods})


def _peer(opened: ExplainerCache, methods: tuple[str, ...], options: MapOptions) -> PeerExplainer:
    (layer,) = layers_of(opened, methods[0], options)
    channels = options.given.get("max_channels") if SCORECAM in methods else None
    return opened.explainer(
        (PEER, methods, layer, channels),
        lambda: PeerExplainer(
            opened.classifier.model,
            opened.classifier.logits,
            methods,
            layer=layer,
            max_channels=channels,
            classes=opened.classes,
        ),
    )
