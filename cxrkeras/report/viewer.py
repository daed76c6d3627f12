"""The viewer's data as JSON: films as JPEG, maps as bytes at their native grid, probabilities and gold lists.

Knows no run directory; what has no map is said to have none.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrkeras.maps import degenerate, min_max
from cxrkeras.render.overlay import ALPHA, caption
from cxrkeras.render.pictures import colour_table, film_jpeg, overlay_jpeg
from cxrkeras.report.contents import Viewer, ViewerMaps, ViewerRun

# a map as large as the film would outweigh everything else; it is averaged down to at most this many cells a side
LARGEST_GRID = 32
STILL_FILMS = 4


@dataclass(frozen=True)
class Still:
    """An overlay that is seen without scripts: the picture as a data URI, the method, and the map's status."""

    uri: str
    method: str
    status: str


# a film, its class with the probability, and an overlay a method
StillFilm = tuple[str, str, list[Still]]


def viewer_payload(viewer: Viewer, focus: Sequence[int | None]) -> dict[str, Any]:
    """Everything the viewer needs, as plain JSON values.

    Args:
        viewer: films and what the runs say about them.
        focus: checkpoint to begin at of every run of the viewer; None or one it lacks: its last.

    Returns:
        `films` (picture, id, label), `runs` (checkpoints and the place of the one to begin at, probabilities, gold
        lists, maps by method and class), the colour table and the strength of the overlay.
    """
    return {
        "classes": list(viewer.classes),
        "methods": list(viewer.methods),
        "colours": _text(colour_table()),
        "alpha": ALPHA,
        "films": [
            {
                "id": film.image,
                "label": viewer.classes.index(film.label),
                "picture": _uri(film_jpeg(film.picture)),
                "size": [film.picture.shape[1], film.picture.shape[0]],
            }
            for film in viewer.films
        ],
        "runs": [_run_payload(viewer, run, wanted) for run, wanted in zip(viewer.runs, focus, strict=True)],
    }


def _run_payload(viewer: Viewer, run: ViewerRun, focus: int | None) -> dict[str, Any]:
    labels = np.array([viewer.classes.index(film.label) for film in viewer.films])
    maps: dict[str, dict[str, Any]] = {}
    for part in run.maps:
        key = f"{viewer.methods.index(part.method)}|{viewer.classes.index(part.target)}"
        epoch = run.epochs.index(part.epoch)
        maps.setdefault(key, {})[str(epoch)] = _maps_payload(part, len(viewer.films))
    return {
        "name": run.name,
        "backbone": run.backbone,
        "seed": run.seed,
        "epochs": list(run.epochs),
        "start": run.epochs.index(_shown_epoch(run, focus)),
        "stages": [stage.replace("_", " ") for stage in run.stages],
        "probabilities": [
            [[None if not np.isfinite(p) else round(float(p), 4) for p in film] for film in epoch]
            for epoch in run.probabilities
        ],
        "gold": [
            [bool(p.argmax() == y and p[y] >= run.threshold) for p, y in zip(epoch, labels, strict=True)]
            for epoch in run.probabilities
        ],
        "threshold": run.threshold,
        "maps": maps,
    }


def _maps_payload(part: ViewerMaps, n_films: int) -> dict[str, Any]:
    """Maps min-maxed to 0..255 one after another, and for every film its place among them and its status."""
    values, native = _small(part.values), part.values.shape[1:]
    flat = degenerate(part.values)
    cells = np.rint(255 * min_max(values)).astype(np.uint8)
    places: list[int | None] = [None] * n_films
    status: list[str] = [""] * n_films
    for row, film in enumerate(part.films.tolist()):
        status[film] = "degenerate" if flat[row] else str(part.status[row])
        places[film] = None if flat[row] else row
    return {
        "native": list(native),
        "grid": list(values.shape[1:]),
        "cells": _text(cells.tobytes()),
        "places": places,
        "status": status,
    }


def _small(values: np.ndarray) -> np.ndarray:
    """Maps averaged over blocks of cells down to `LARGEST_GRID`; those that are small already, as they are."""
    height, width = values.shape[1:]
    if max(height, width) <= LARGEST_GRID:
        return values
    rows = np.linspace(0, height, LARGEST_GRID + 1).astype(int)[:-1]
    columns = np.linspace(0, width, LARGEST_GRID + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(values.astype(np.float64), rows, axis=1), columns, axis=2)
    sizes = np.diff(np.r_[rows, height])[:, None] * np.diff(np.r_[columns, width])[None]
    return (sums / sizes).astype(np.float32)


def stills(viewer: Viewer, focus: Sequence[int | None]) -> list[tuple[str, int, list[StillFilm]]]:
    """Overlays of a few films for their own class: run, checkpoint, and for each film a picture a method.

    Args:
        viewer: films and maps.
        focus: checkpoint to show of every run of the viewer; None or one without maps: its last.
    """
    chosen = _spread(viewer)
    pages = []
    for run, wanted in zip(viewer.runs, focus, strict=True):
        epoch = _shown_epoch(run, wanted)
        found = {(m.method, m.target): m for m in run.maps if m.epoch == epoch}
        shown = []
        for film in chosen:
            label = viewer.films[film].label
            probability = float(run.probabilities[run.epochs.index(epoch), film, viewer.classes.index(label)])
            pictures = []
            for method in viewer.methods:
                part = found.get((method, label))
                if part is None or film not in part.films:
                    continue
                row = int(np.flatnonzero(part.films == film)[0])
                blank = bool(degenerate(part.values[row : row + 1])[0])
                status = "degenerate" if blank else str(part.status[row])
                picture = overlay_jpeg(viewer.films[film].picture, np.nan_to_num(part.values[row]))
                pictures.append(Still(_uri(picture), method, status))
            if pictures:
                shown.append((viewer.films[film].image, caption(label, probability).replace("\n", ", "), pictures))
        pages.append((run.backbone, epoch, shown))
    return pages


def _shown_epoch(run: ViewerRun, wanted: int | None) -> int:
    return wanted if wanted in run.epochs else run.epochs[-1]


def _spread(viewer: Viewer) -> list[int]:
    """A few films that take the classes in turn."""
    by_class = [[i for i, film in enumerate(viewer.films) if film.label == name] for name in viewer.classes]
    turns = [films[turn] for turn in range(len(viewer.films)) for films in by_class if turn < len(films)]
    return turns[:STILL_FILMS]


def _uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + _text(jpeg)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
