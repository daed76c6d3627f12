"""What maps score that know nothing of the film: no place, the middle, or where other patients have the finding.

Arrays in, numbers and maps out; knows no model (maps of a randomised network come from the caller).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from scipy import ndimage

from cxrkeras.errors import ScoreInputError
from cxrkeras.localization.metrics import EMPTY_TRUTH, FILM_KEYS, FULL_TRUTH, NAN, OK
from cxrkeras.stats import patient_codes

AREA, CENTRE, MEAN_MASK, RANDOM_WEIGHTS = "area", "centre", "mean_mask", "random_weights"
AGAINST = (AREA, CENTRE, MEAN_MASK, RANDOM_WEIGHTS)
COMMON_SIDE = 128


def area_chance(truth: np.ndarray, tolerance: float = 0.0) -> dict[str, float | str]:
    """Return what a map that knows nothing of the film is expected to score.

    Args:
        truth: expert mask ``[H, W]``, bool.
        tolerance: as in `film_localization`.

    Returns:
        The keys of `film_localization`. A peak anywhere hits with the share of pixels within `tolerance` of the truth;
        `iou` and `peak_iou` are those of a mask of the whole picture, |G| / |picture|, as are mass, rank and average
        precision; the AUROC is one half. NaN with status ``empty_truth`` where nothing is marked.

    Example:
        >>> truth = np.zeros((8, 8), bool)
        >>> truth[2:6, 2:6] = True
        >>> area_chance(truth)["hit"]
        0.25
    """
    truth = np.asarray(truth, bool)
    area = float(truth.mean())
    row: dict[str, float | str] = dict.fromkeys(FILM_KEYS, NAN) | {"area_gt": area, "status": EMPTY_TRUTH}
    if not area:
        return row
    near = area
    if tolerance > 0:
        near = float((ndimage.distance_transform_edt(~truth) <= tolerance).mean())
    row |= dict.fromkeys(("iou", "mass", "rank", "peak_iou", "pixel_ap"), area)
    row |= {"hit": near, "pixel_auroc": NAN if area == 1 else 0.5, "area_pred": 1.0}
    return row | {"status": FULL_TRUTH if area == 1 else OK}


def centre_gaussian(shape: tuple[int, int]) -> np.ndarray:
    """Return a Gaussian in the middle of the picture with a standard deviation of a quarter of each side.

    Args:
        shape: `(H, W)` in pixels.

    Returns:
        float32 ``[H, W]``.
    """
    down, across = (np.exp(-8 * ((np.arange(side) + 0.5) / side - 0.5) ** 2) for side in shape)
    return np.outer(down, across).astype(np.float32)


def mean_mask_maps(truths: Sequence[np.ndarray], patients: Sequence[Hashable]) -> list[np.ndarray | None]:
    """Return, for each film, the mean expert mask of the films of all other patients, as a map to be scored.

    Masks are brought to one grid of at most 128 × 128 by averaging areas; `film_localization` brings the map back to
    the size of the film. It covers the film whatever the model's input does: score it without a region.

    Args:
        truths: expert masks of one finding ``[n][H, W]``, sizes may differ.
        patients: a patient per mask ``[n]``.

    Returns:
        A float32 map per film; None with one patient, who has no others.

    Raises:
        ScoreInputError: not one patient per mask, or a patient who is missing.
    """
    codes = patient_codes(patients, len(truths))
    if not len(truths):
        return []
    if any(np.ndim(truth) != 2 for truth in truths):
        raise ScoreInputError("a mean mask needs masks [H, W], one per film. Received another shape.")
    grid = tuple(min(COMMON_SIDE, *(np.shape(truth)[axis] for truth in truths)) for axis in (0, 1))
    count = codes.max() + 1
    sums, films = np.zeros((count, *grid), np.float32), np.bincount(codes)
    for code, truth in zip(codes, truths, strict=True):
        sums[code] += _averaged(truth, grid)
    if count == 1:
        return [None] * len(truths)
    every = sums.sum(axis=0, dtype=np.float64)
    means = [np.float32((every - own) / (len(truths) - n)) for own, n in zip(sums, films, strict=True)]
    return [means[code] for code in codes]


def _averaged(mask: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """The share of each cell of a grid that the mask covers, ``[h, w]``."""
    down, across = (_cover(size, cells) for size, cells in zip(np.shape(mask), grid, strict=True))
    return down @ np.asarray(mask, np.float64) @ across.T


def _cover(size: int, cells: int) -> np.ndarray:
    """How much of each cell each pixel of a side fills, ``[cells, size]``, rows summing to 1."""
    edges = np.arange(cells + 1) * size / cells
    pixels = np.arange(size)
    filled = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(filled, 0) * cells / size
