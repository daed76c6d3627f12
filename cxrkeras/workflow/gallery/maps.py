"""The maps of a gallery: one a film, model and method, and what is known of each.

Makes maps and scores them; knows no page and chooses no film.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrkeras import maps as map_values
from cxrkeras.events import SILENT, Reporter
from cxrkeras.localization import FILM_METRICS, film_localization, parse_threshold
from cxrkeras.maps import Maps
from cxrkeras.render.gallery import GalleryCell
from cxrkeras.render.overlay import probability_text
from cxrkeras.store import key8
from cxrkeras.workflow.evidence import ensure
from cxrkeras.workflow.localize.models import Model
from cxrkeras.workflow.map_options import map_options
from cxrkeras.workflow.selection import Selection

Region = tuple[float, float, float, float] | None
THRESHOLD = "otsu"
NOT_MARKED = "not_marked"
# a heat map for a panel of two inches needs no more
_FINEST = 448


@dataclass(frozen=True)
class Explained:
    """One film's map by one model and method.

    Attributes:
        heat: raw map ``[h, w]`` of the model's input.
        status: of the map; `degenerate` where it has no contrast.
        probability: the model's probability of the explained class.
        layer: tapped layer.
        key: stands for all that made the map.
    """

    heat: np.ndarray
    status: str
    probability: float
    layer: str
    key: str


def explained_films(
    model: Model,
    films: Selection,
    classes: Sequence[str],
    methods: Sequence[str],
    settings: Mapping[str, Any],
    reporter: Reporter = SILENT,
) -> dict[str, list[Explained]]:
    """Method -> a map per film, each of the film's class; computed where it is missing.

    Args:
        model: the checkpoint.
        films: as its run reads them.
        classes: class that is explained, a film each.
        methods: registry names.
        settings: further fields of `MapOptions`.
        reporter: told of progress.

    Raises:
        CxrKerasError: as `evidence.ensure`.
    """
    opened, found = model.opened, {name: {} for name in methods}
    labels = [opened.classes[label] if label >= 0 else "" for label in films.films.labels]
    # maps of the label are what other commands store, so those are read again
    targets = ["label"] * len(classes) if labels == list(classes) else list(classes)
    for target in dict.fromkeys(targets):
        rows = np.array([row for row, own in enumerate(targets) if own == target], int)
        part = films.take(rows)
        options = map_options(opened, part, target=target, **settings)
        for name, maps in ensure(opened, model.epoch, part, list(methods), options, reporter).items():
            found[name] |= dict(zip(rows.tolist(), _explained(maps), strict=True))
    return {name: [of_films[row] for row in range(len(classes))] for name, of_films in found.items()}


def _explained(maps: Maps) -> Iterator[Explained]:
    key, blank = key8(maps.parameters), map_values.degenerate(maps.values)
    for row, target in enumerate(maps.targets):
        status = "degenerate" if blank[row] else str(maps.status[row])
        yield Explained(maps.values[row], status, float(maps.probabilities[row, target]), maps.layer, key)


def numbers_of(one: Explained, truth: np.ndarray | None, region: Region) -> dict[str, Any]:
    """What is known of one map; the metrics are NaN where nothing was marked, and the status says so."""
    made = {
        "map_status": one.status,
        "grid": "×".join(map(str, one.heat.shape)),
        "layer": one.layer,
        "maps_key": one.key,
    }
    numbers: dict[str, Any] = {"prob": one.probability}
    if truth is None:
        names = (*FILM_METRICS, "area_gt", "area_pred", "threshold")
        return {**numbers, **dict.fromkeys(names, float("nan")), "status": NOT_MARKED, **made}
    scored = film_localization(one.heat, truth, threshold=parse_threshold(THRESHOLD), region=region)
    return {**numbers, **scored, **made}


def cell_of(one: Explained, numbers: Mapping[str, Any], shape: tuple[int, int], region: Region) -> GalleryCell:
    """A map with its numbers under it; of a padded film only the film's part is shown."""
    lines = [probability_text(one.probability)]
    if numbers["status"] != NOT_MARKED:
        hit = "–" if np.isnan(numbers["hit"]) else "yes" if numbers["hit"] else "no"
        lines += [f"IoU {_number(numbers['iou'])} · hit {hit}", f"mass {_number(numbers['mass'])}"]
    heat = one.heat
    if region is not None and one.status != "degenerate":
        scale = min(1.0, _FINEST / max(shape))
        grid = tuple(max(1, round(side * scale)) for side in shape)
        heat = map_values.resize(heat[None], grid, region)[0]
    return GalleryCell(heat, tuple(lines), one.status)


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"
