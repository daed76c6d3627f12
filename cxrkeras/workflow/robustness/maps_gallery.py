"""Test films without and with the artefact on one page, with maps of the arm that never saw it and of one that did.

Puts pictures together; explains and measures nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cxrkeras.data.filmset import FilmSet
from cxrkeras.maps import degenerate
from cxrkeras.render.gallery import MOST, GalleryCell, GalleryRow, save_gallery
from cxrkeras.render.overlay import probability_text
from cxrkeras.robustness.answers import TestFilms
from cxrkeras.store import atomic_path
from cxrkeras.workflow.robustness.maps import ArmMaps
from cxrkeras.workflow.robustness.maps_region import artefact_regions

NOTE = (
    "Under a map, p: probability of the positive class; mass: share of the map on the artefact's place (outlined). "
    "Above it, the share of positive training films that carried the artefact."
)


def save_shortcut_gallery(
    target: Path,
    versions: FilmSet,
    films: TestFilms,
    confounder: Any,
    arms: Mapping[float, ArmMaps],
    *,
    title: str = "",
) -> None:
    """Write the example films of some arms, each without and with the artefact, as the model gets them.

    Args:
        target: the PNG.
        versions: 2n test films, the second half with the artefact.
        films: the n test films.
        confounder: a planted one.
        arms: the maps of arms of one source and seed by p; of several, those of the smallest and the largest are
            shown, and of the methods as many as the page holds.
        title: headline.
    """
    n, shown = len(films.images), [arms[p] for p in dict.fromkeys((min(arms), max(arms)))]
    examples = shown[0].examples
    methods = list(shown[0].heats)[: MOST // len(shown)]
    regions = artefact_regions(versions.take(examples), confounder)
    rows = []
    for place, row in enumerate(examples):
        side = "positive" if films.positive[row] else "negative"
        outline = None if regions is None else regions.masks[regions.places[place]]
        for version, words in enumerate(("as it is", f"with {confounder.name}")):
            film = versions.store.get(versions.indices[[row + n * version]])[0]
            cells = {
                f"{method}\ntrained at share {arm.p:g}": _cell(arm, method, version, place, films.images[row])
                for method in methods
                for arm in shown
            }
            rows.append(GalleryRow(film, Path(str(films.images[row])).name, outline, cells, (side, words)))
    columns = list(dict.fromkeys(name for row in rows for name in row.cells))
    with atomic_path(target) as partial:
        save_gallery(partial, rows, columns, title=title, note=NOTE, outlined="artefact")


def _cell(arm: ArmMaps, method: str, version: int, place: int, image: str) -> GalleryCell:
    heat = arm.heats[method][version, place]
    lines = [probability_text(float(arm.probabilities[version, place]))]
    own = arm.films[(arm.films["method"] == method) & (arm.films["image"] == image)]
    if len(own):
        mass = float(own["mass" if version else "mass_before"].iloc[0])
        lines.append(f"mass {'–' if np.isnan(mass) else f'{mass:.3f}'}")
    return GalleryCell(heat, tuple(lines), "degenerate" if degenerate(heat[None])[0] else "ok")
