"""Evidence: the maps a command needs, read where they are stored and computed where they are missing.

The only place that fills gaps. A stored file grows as films are finished; a film's map is used again only if the
film, the checkpoint and everything else that shapes a map are the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cxrkeras.cams.registry import FORWARD, METHODS, method_names, scorecam_forwards
from cxrkeras.cams.replay import ENGINE as PEER
from cxrkeras.cams.replay import peer_methods
from cxrkeras.cams.results import Explanation
from cxrkeras.data.filmset import FilmSet
from cxrkeras.errors import TargetError
from cxrkeras.events import SILENT, Advance, Reporter
from cxrkeras.maps import Maps, concatenate
from cxrkeras.store import one_at_a_time
from cxrkeras.tables import load_maps, save_maps
from cxrkeras.workflow.explainers import explained_batches, explainer_of
from cxrkeras.workflow.map_options import MapOptions, check_options, layers_of, map_parameters, positive_parts
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.selection import Selection

AFFORDABLE_FORWARDS = 20_000
_SAVE_SECONDS = 30.0


@dataclass(frozen=True)
class Evidence:
    """What a method is judged by; methods of one command may have different films.

    Attributes:
        selection: the films.
        options: how the maps are made.
    """

    selection: Selection
    options: MapOptions


def alike(evidence: Mapping[str, Evidence]) -> list[tuple[list[str], Evidence]]:
    """Methods with the same films and options together, so that they share a forward."""
    groups: list[tuple[list[str], Evidence]] = []
    for name, own in evidence.items():
        for names, other in groups:
            if other.selection is own.selection and other.options == own.options:
                names.append(name)
                break
        else:
            groups.append(([name], own))
    return groups


def chosen_methods(
    spec: str | None,
    opened: OpenRun,
    epoch: int,
    selection: Selection,
    options: MapOptions,
    reporter: Reporter = SILENT,
) -> list[str]:
    """The methods to work with: those named, or all that are affordable.

    Without a name every method is taken that costs one forward a film; one that costs a forward a channel only if
    that is at most `AFFORDABLE_FORWARDS`, or its maps are stored already.

    Raises:
        MethodError: an unknown name.
    """
    named = peer_methods if options.engine == PEER else method_names
    if spec is not None:
        return list(named(spec))
    names, joining = [], len(options.layers) > 1
    for name in named("all"):
        if joining and METHODS[name].fuse is None:
            continue
        if METHODS[name].kind == FORWARD:
            forwards = missing_forwards(opened, epoch, selection, options)
            if forwards > AFFORDABLE_FORWARDS:
                reporter.notice(
                    f"{_whose(name, options)} is left out: it needs about {forwards:,} forwards. "
                    "--method all takes it in."
                )
                continue
        names.append(name)
    return names


def _whose(names: str, options: MapOptions) -> str:
    """Methods as told to the user; those of another engine say so."""
    return f"{names} of {PEER}" if options.engine == PEER else names


def missing_forwards(opened: OpenRun, epoch: int, selection: Selection, options: MapOptions) -> int:
    """Forwards that ScoreCAM would still need for these films, dead channels not yet skipped."""
    parts = positive_parts(opened, selection, options)
    missing = sum(len(_missing(opened, epoch, films, "scorecam", own)) for films, own in parts)
    return _forwards(opened, missing, options)


def _forwards(opened: OpenRun, n_films: int, options: MapOptions) -> int:
    model = opened.classifier.model
    (layer,) = layers_of(opened, "scorecam", options)
    if layer in {known.name for known in model.layers}:
        channels = int(model.get_layer(layer).output.shape[-1])
    else:
        explainer = explainer_of(opened, ("scorecam",), options)
        explainer.prepare(opened.classifier.input_shape)
        channels = explainer.channels
    return scorecam_forwards(n_films, channels, options.given.get("max_channels"))


def ensure(
    opened: OpenRun,
    epoch: int,
    selection: Selection,
    methods: Sequence[str],
    options: MapOptions,
    reporter: Reporter = SILENT,
) -> dict[str, Maps]:
    """Maps of every method for the selected films, one row a film in the selection's order.

    What is stored under the same parameters is read; the rest is computed, all methods that need no forward of their
    own in one forward together, and stored. A stopped ScoreCAM keeps the films it finished.

    Args:
        opened: the run.
        epoch: epoch of a stored checkpoint.
        selection: the films.
        methods: registry names.
        options: how the maps are made.
        reporter: told of progress.

    Raises:
        CheckpointError: the checkpoint is broken.
        LayerError: a layer the model does not have.
        MethodError: an option that a method does not take.
        TargetError: target `label` where a film may have several findings.
    """
    methods = list(method_names(methods))
    check_options(methods, options)
    together: dict[tuple[Any, ...], list[str]] = {}
    for name in methods:
        missing = _missing(opened, epoch, selection, name, options)
        if len(missing):
            alone = "" if METHODS[name].in_the_forward else name
            together.setdefault((alone, *missing.tolist()), []).append(name)
    for (_, *rows), names in together.items():
        _compute(opened, epoch, selection, names, np.array(rows), options, reporter)
    return {name: _complete(opened, epoch, selection, name, options) for name in methods}


def _missing(opened: OpenRun, epoch: int, selection: Selection, method: str, options: MapOptions) -> np.ndarray:
    """Positions of the films without a stored map that was made with these parameters."""
    parameters = map_parameters(opened, epoch, method, options)
    maps = selection.sink.find_maps(epoch, selection.split, method, parameters)
    if maps is None:
        return np.arange(len(selection))
    known = set(zip(maps.images.tolist(), maps.extras["sha256"].tolist(), maps.targets.tolist(), strict=True))
    films, targets = selection.films, _fixed_targets(opened, selection, options)
    if targets is None:
        known = {(image, digest) for image, digest, _ in known}
        wanted = list(zip(films.ids.tolist(), films.hashes.tolist(), strict=True))
    else:
        wanted = list(zip(films.ids.tolist(), films.hashes.tolist(), targets.tolist(), strict=True))
    return np.array([row for row, key in enumerate(wanted) if key not in known], int)


def _fixed_targets(opened: OpenRun, selection: Selection, options: MapOptions) -> np.ndarray | None:
    """Target class per film, or None where it is the prediction."""
    if options.target == "predicted":
        return None
    if options.target == "label":
        if opened.several:
            raise TargetError(
                "target 'label' is several findings a film in this run, and a map explains one of them. "
                f"Name a finding: {', '.join(opened.classes)}."
            )
        return selection.films.labels
    return np.full(len(selection), opened.classes.index(options.target))


def _compute(
    opened: OpenRun,
    epoch: int,
    selection: Selection,
    methods: list[str],
    rows: np.ndarray,
    options: MapOptions,
    reporter: Reporter,
) -> None:
    opened.load(epoch)
    explainer = explainer_of(opened, tuple(methods), options)
    films = selection.films.take(rows)
    targets = _fixed_targets(opened, selection, options)
    targets = None if targets is None else targets[rows]
    for name in methods:
        if METHODS[name].kind == FORWARD:
            forwards = _forwards(opened, len(films), options)
            reporter.notice(f"{_whose(name, options)}, epoch {epoch}: {len(films)} films, about {forwards:,} forwards.")
    unsaved: list[Explanation] = []
    first, saved_at = 0, time.monotonic()
    label = f"explain epoch {epoch}: {_whose(', '.join(methods), options)}"
    try:
        with reporter.task(label, len(films)) as advance:
            moved = _moving(advance, len(films))
            batches = explained_batches(films, targets, opened.classifier.input_shape[-1])
            for part in explainer.explain_batches(batches, n_films=len(films), progress=moved):
                unsaved.append(part)
                if time.monotonic() - saved_at > _SAVE_SECONDS:
                    first = _save(opened, epoch, selection, methods, films, first, unsaved, options)
                    unsaved, saved_at = [], time.monotonic()
    finally:
        # also on Ctrl-C: what is finished is kept
        if unsaved:
            _save(opened, epoch, selection, methods, films, first, unsaved, options)


def _moving(advance: Advance, n_films: int) -> Callable[[int, int], None]:
    """Move a bar of films by the forwards done, so that it moves within a film that needs thousands."""
    shown = 0.0

    def moved(done: int, in_all: int) -> None:
        nonlocal shown
        now = n_films * done / max(in_all, 1)
        if now > shown:
            advance(now - shown, detail=f"{done:,} of {in_all:,} forwards")
            shown = now

    return moved


def _save(
    opened: OpenRun,
    epoch: int,
    selection: Selection,
    methods: list[str],
    films: FilmSet,
    first: int,
    parts: list[Explanation],
    options: MapOptions,
) -> int:
    """Add finished films to the stored files; returns the position after the last of them."""
    last = first + sum(map(len, parts))
    for name in methods:
        parameters = map_parameters(opened, epoch, name, options)
        results = [part[name] for part in parts]
        fresh = Maps(
            values=np.concatenate([result.values for result in results]),
            images=films.ids[first:last],
            targets=np.concatenate([part.targets for part in parts]),
            layer=results[0].layer,
            method=name,
            classes=opened.classes,
            status=np.concatenate([result.status for result in results]),
            probabilities=np.concatenate([part.probabilities for part in parts]),
            parameters=parameters,
            extras={
                "sha256": films.hashes[first:last],
                **{key: np.concatenate([r.extras[key] for r in results]) for key in results[0].extras},
            },
        )
        file = selection.sink.maps_path(epoch, selection.split, name, parameters)
        with one_at_a_time(file.parent):
            stored = load_maps(file)
            if stored is not None:
                # a saved model may have been given other class names since
                stored = replace(stored, classes=opened.classes)
                # a film whose file or target changed is replaced, not doubled
                stored = stored.subset(~np.isin(stored.images, fresh.images))
            joined = fresh if stored is None or not len(stored) else concatenate([stored, fresh])
            save_maps(file, joined, half=METHODS[name].at_input)
    return last


def _complete(opened: OpenRun, epoch: int, selection: Selection, method: str, options: MapOptions) -> Maps:
    parameters = map_parameters(opened, epoch, method, options)
    stored = selection.sink.find_maps(epoch, selection.split, method, parameters)
    place = {image: row for row, image in enumerate(stored.images.tolist())}
    rows = np.array([place[image] for image in selection.films.ids.tolist()], int)
    return replace(stored.subset(rows), classes=opened.classes)
