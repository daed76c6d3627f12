"""A fixed threshold found on films that are not scored.

Arrays in, a number out; that the films share no patient with those scored is the caller's to check.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cxrkeras.errors import ScoreInputError
from cxrkeras.localization.metrics import NAN, Region, mask_iou, scaled_map
from cxrkeras.localization.thresholds import FIXED, Threshold, thresholded

GRID = tuple(round(0.1 * step, 1) for step in range(2, 9))


def tuned_threshold(
    maps: Sequence[np.ndarray], truths: Sequence[np.ndarray], regions: Sequence[Region | None] | None = None
) -> float:
    """Return the threshold of 0.2, 0.3 … 0.8 with the highest mean IoU, ties to the smallest (as CheXlocalize).

    Args:
        maps: raw maps ``[n][h, w]`` of validation films.
        truths: their expert masks ``[n][H, W]``, bool; films without a marked pixel and maps without contrast are
            left out of the mean.
        regions: the part of each map that its mask covers, as in `film_localization`.

    Raises:
        ScoreInputError: maps and masks that do not pair, or no film with a truth and a map with contrast.
    """
    regions = [None] * len(maps) if regions is None else regions
    if not len(maps) == len(truths) == len(regions):
        raise ScoreInputError(
            f"tuning needs a mask and a region for each map. "
            f"Received {len(maps)} maps, {len(truths)} masks and {len(regions)} regions."
        )
    found = np.array([_ious(*film) for film in zip(maps, truths, regions, strict=True)]).reshape(-1, len(GRID))
    found = found[~np.isnan(found).any(axis=1)]
    if not len(found):
        raise ScoreInputError(
            f"no threshold can be tuned: none of {len(maps)} films has both a marked pixel and a map with contrast. "
            "Name validation annotations of this finding, or use --threshold otsu."
        )
    return GRID[int(found.mean(axis=0).argmax())]


def _ious(heat: np.ndarray, truth: np.ndarray, region: Region | None) -> list[float]:
    """IoU at each threshold; NaN where there is nothing to score."""
    truth = np.asarray(truth, bool)
    scaled = scaled_map(heat, truth.shape, region) if truth.any() else None
    if scaled is None:
        return [NAN] * len(GRID)
    return [mask_iou(thresholded(scaled, Threshold(FIXED, value))[0], truth) for value in GRID]
