"""Where a planted artefact lies in what the model sees, and how much of each map lies there.

Maps and films in, numbers out; makes no map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxrkeras.data.annotations.geometry import film_region
from cxrkeras.data.filmset import FilmSet
from cxrkeras.data.images import Resize, picture_size
from cxrkeras.localization.chance import area_chance
from cxrkeras.localization.metrics import mass_share, peak_pixel, within
from cxrkeras.maps import degenerate, min_max, resize

# a corner of the box that falls on a border of two pixels may miss it by the rounding of a division
_ROUNDING = 1e-9
_AT_ONCE = 64


@dataclass(frozen=True)
class MapMasses:
    """What maps put on a region.

    Attributes:
        mass: share of each map's mass inside, float64 ``[n]``; NaN for a map without contrast.
        hit: 1 where its peak lies within half a map cell of the region, else 0; NaN likewise.
    """

    mass: np.ndarray
    hit: np.ndarray


@dataclass(frozen=True)
class Regions:
    """Where the artefact lies in each film, as the model sees it.

    Attributes:
        masks: the different regions, bool ``[H, W]`` at the model's input.
        places: which of them is a film's, int ``[n]``.
    """

    masks: tuple[np.ndarray, ...]
    places: np.ndarray

    def areas(self) -> np.ndarray:
        """Share of the picture that is the region, float64 ``[n]``."""
        return np.array([mask.mean() for mask in self.masks])[self.places]

    def hit_areas(self, grid: tuple[int, int]) -> np.ndarray:
        """Share of the picture where a peak of a map of this grid hits, float64 ``[n]``."""
        return np.array([area_chance(mask, half_a_cell(mask.shape, grid))["hit"] for mask in self.masks])[self.places]

    def ceilings(self, grid: tuple[int, int]) -> np.ndarray:
        """The largest share of its mass that a map of this grid can have on the region, float64 ``[n]``.

        A coarse map spreads each cell over its neighbours: even one that names the artefact's cell alone has most of
        its mass beside a small artefact. A share is largest where all mass is in one cell.
        """
        down, across = (
            resize(np.eye(cells, dtype=np.float32)[:, :, None], (side, 1))[:, :, 0].astype(np.float64)
            for side, cells in zip(self.masks[0].shape, grid, strict=True)
        )
        whole = np.outer(down.sum(axis=1), across.sum(axis=1))
        return np.array([(down @ mask @ across.T / whole).max() for mask in self.masks])[self.places]

    def masses(self, maps: np.ndarray) -> MapMasses:
        """Measure one map a film, enlarged to the model's input as `localization` does.

        Args:
            maps: raw maps ``[n, h, w]``.
        """
        shape, tolerance = self.masks[0].shape, half_a_cell(self.masks[0].shape, maps.shape[1:])
        mass, hit = np.full((2, len(maps)), np.nan)
        for start in range(0, len(maps), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            enlarged = resize(min_max(maps[part]), shape)
            scaled, blank = min_max(enlarged), degenerate(enlarged)
            for i in np.flatnonzero(~blank):
                mask = self.masks[self.places[start + i]]
                mass[start + i] = mass_share(scaled[i], mask)
                hit[start + i] = within(mask, peak_pixel(scaled[i]), tolerance)
        return MapMasses(mass, hit)


def half_a_cell(input_size: tuple[int, int], grid: tuple[int, int]) -> float:
    """Half the longer side of a map's cell, in pixels of the model's input."""
    return max(side / cells for side, cells in zip(input_size, grid, strict=True)) / 2


def artefact_regions(films: FilmSet, confounder: Any) -> Regions | None:
    """Where the artefact lies in each film; None where it has no place of its own.

    Args:
        films: the films.
        confounder: a confounder of `cxrkeras.robustness`.

    Raises:
        CxrKerasError: the artefact does not fit into a film.
    """
    if not confounder.planted:
        return None
    sizes = [picture_size(films.store.files[index]) for index in films.indices]
    different: Sequence[tuple[int, int]] = list(dict.fromkeys(sizes))
    found = [input_region(confounder.region(size), films.store.resize, films.store.size) for size in different]
    if not found or found[0] is None:
        return None
    return Regions(tuple(found), np.array([different.index(size) for size in sizes]))


def input_region(region: np.ndarray | None, resized: Resize, input_size: tuple[int, int]) -> np.ndarray | None:
    """The pixels of the model's input that the box around a region of the film touches.

    Args:
        region: bool ``[h, w]`` of the film in its own pixels, or None.
        resized: how the film becomes the input.
        input_size: `(height, width)` of the input in pixels.

    Returns:
        bool ``[height, width]``, or None where there is no region.
    """
    if region is None:
        return None
    top, left, bottom, right = film_region(region.shape, resized, input_size) or (0.0, 0.0, 1.0, 1.0)
    found = np.zeros(input_size, bool)
    rows = _touched(np.flatnonzero(region.any(axis=1)), region.shape[0], top, bottom, input_size[0])
    columns = _touched(np.flatnonzero(region.any(axis=0)), region.shape[1], left, right, input_size[1])
    found[rows, columns] = True
    return found


def _touched(pixels: np.ndarray, side: int, start: float, end: float, input_side: int) -> slice:
    """The input's pixels that the film's pixels from the first to the last reach into, along one side."""
    first, last = ((start + (end - start) * at / side) * input_side for at in (pixels[0], pixels[-1] + 1))
    return slice(math.floor(first + _ROUNDING), math.ceil(last - _ROUNDING))
