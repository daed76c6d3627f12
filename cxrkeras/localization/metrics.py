"""One map against one expert mask: overlap, hit, mass and rank, at the size of the mask.

Arrays in, numbers out; knows no finding, patient, class or file. The map is enlarged to the mask, never the mask made
smaller.
"""

from __future__ import annotations

import math

import numpy as np

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.localization.thresholds import OTSU, Threshold, component_at, parse_threshold, thresholded
from cxrkeras.maps import degenerate, min_max, resize, strongest_cells

FILM_METRICS = ("iou", "hit", "mass", "rank", "peak_iou", "pixel_ap", "pixel_auroc")
FILM_KEYS = (*FILM_METRICS, "area_gt", "area_pred", "threshold", "status")
OK, DEGENERATE = "ok", "degenerate"
EMPTY_TRUTH, FULL_TRUTH = "empty_truth", "full_truth"
EMPTY_MASK, BELOW_CUTOFF, BOTH_EMPTY = "empty_mask", "below_cutoff", "both_empty"
NAN = float("nan")

Region = tuple[float, float, float, float]


def film_localization(
    heat: np.ndarray,
    truth: np.ndarray,
    *,
    threshold: Threshold | str = OTSU,
    tolerance: float = 0.0,
    region: Region | None = None,
    probability: float | None = None,
    cutoff: float | None = None,
) -> dict[str, float | str]:
    """Score one map against one expert mask.

    The map is enlarged bilinearly (half-pixel centres) to the size of the mask and scaled to 0..1; adding a constant
    to it or multiplying it by a positive one changes nothing.

    Args:
        heat: raw map ``[h, w]`` of any grid.
        truth: expert mask ``[H, W]``, bool, at the annotation's own size.
        threshold: how the map becomes a mask P, see `Threshold`; or its name.
        tolerance: how far the peak may lie from the truth and still hit, pixels of the truth.
        region: the part of the map that the mask covers, ``(top, left, bottom, right)`` in 0..1; None: all of it.
        probability: the model's probability of the finding, for `cutoff`.
        cutoff: below this probability P is empty. Given, the film may be a negative one: P without a truth is then
            an IoU of 0 (the slice `full`); without it, a film without a truth has no score (the slice `tp`).

    Returns:
        `FILM_KEYS`. `iou` |P∩G|/|P∪G|; `hit` 1 where the strongest pixel (the first of ties in the raster) is in G;
        `mass` share of Σm inside G; `rank` share of the |G| strongest pixels inside G, ties by expectation;
        `peak_iou` IoU of the part of P that holds the strongest pixel (0 where P leaves it out); `pixel_ap`,
        `pixel_auroc` over pixels, no threshold. `area_gt`, `area_pred` shares of the picture, `threshold` the level of
        the scaled map. `status`: ``ok``; ``degenerate`` (map without contrast: all NaN); ``empty_truth``,
        ``full_truth`` (no pixel outside: no AUROC), ``empty_mask`` (IoU 0), ``below_cutoff``, ``both_empty``.

    Raises:
        ScoreInputError: not one map and one mask with pixels.
        UsageError: a negative tolerance, or a cut-off without a probability.

    Example:
        >>> heat = np.arange(16.0).reshape(4, 4)
        >>> truth = np.zeros((4, 4), bool)
        >>> truth[2:, 2:] = True
        >>> found = film_localization(heat, truth)
        >>> round(found["mass"], 4), found["rank"], found["hit"]
        (0.4167, 0.5, 1.0)
    """
    heat, truth = _checked(heat, truth, tolerance)
    if cutoff is not None and (probability is None or not np.isfinite(probability)):
        raise UsageError(f"cut-off {cutoff} needs the probability of the finding. Received {probability}.")
    rule = parse_threshold(threshold) if isinstance(threshold, str) else threshold
    row: dict[str, float | str] = dict.fromkeys(FILM_KEYS, NAN) | {"area_gt": float(truth.mean()), "status": OK}
    if not truth.any() and cutoff is None:
        return row | {"status": EMPTY_TRUTH}
    scaled = scaled_map(heat, truth.shape, region)
    if scaled is None:
        return row | {"status": DEGENERATE if truth.any() else EMPTY_TRUTH}
    mask, level = thresholded(scaled, rule)
    below = cutoff is not None and probability < cutoff
    if below:
        mask = np.zeros_like(mask)
    row |= {"iou": mask_iou(mask, truth), "area_pred": float(mask.mean()), "threshold": level}
    if not truth.any():
        return row | {"status": EMPTY_TRUTH if mask.any() else BOTH_EMPTY}
    peak = peak_pixel(scaled)
    average_precision, auroc = pixel_ranking(scaled, truth)
    row |= {
        "hit": float(within(truth, peak, tolerance)),
        "mass": mass_share(scaled, truth),
        "rank": rank_share(scaled, truth),
        "peak_iou": mask_iou(component_at(mask, peak), truth),
        "pixel_ap": average_precision,
        "pixel_auroc": auroc,
    }
    if not mask.any():
        return row | {"status": BELOW_CUTOFF if below else EMPTY_MASK}
    return row | {"status": FULL_TRUTH if truth.all() else OK}


def scaled_map(heat: np.ndarray, shape: tuple[int, int], region: Region | None = None) -> np.ndarray | None:
    """A raw map at another size, scaled to 0..1, float32 ``[H, W]``; None where it has no contrast.

    Args:
        heat: raw map ``[h, w]``.
        shape: `(H, W)` in pixels.
        region: as in `film_localization`.
    """
    # unit span first, so that maps of any magnitude survive single precision; without contrast it is all zero
    enlarged = resize(min_max(np.asarray(heat)[None]), shape, region)
    return None if degenerate(enlarged)[0] else min_max(enlarged)[0]


def mask_iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks; NaN if both are empty."""
    union = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / union) if union else NAN


def peak_pixel(values: np.ndarray) -> tuple[int, int]:
    """Row and column of the strongest pixel, the first of ties in the raster."""
    row, column = np.unravel_index(values.argmax(), values.shape)
    return int(row), int(column)


def within(truth: np.ndarray, place: tuple[int, int], tolerance: float = 0.0) -> bool:
    """Whether a pixel of the truth lies within a Euclidean distance, in pixels, of a place."""
    reach = math.floor(tolerance)
    top, left = (max(0, at - reach) for at in place)
    rows, columns = np.nonzero(truth[top : place[0] + reach + 1, left : place[1] + reach + 1])
    distance = (rows + top - place[0]) ** 2 + (columns + left - place[1]) ** 2
    return bool((distance <= tolerance**2).any())


def mass_share(scaled: np.ndarray, truth: np.ndarray) -> float:
    """Share of the map's sum that lies in the truth.

    Args:
        scaled: map ``[H, W]``, 0 or above, not all zero.
        truth: bool ``[H, W]``.
    """
    return float(scaled[truth].sum(dtype=np.float64) / scaled.sum(dtype=np.float64))


def rank_share(scaled: np.ndarray, truth: np.ndarray) -> float:
    """Share of the |truth| strongest pixels that lie in the truth, ties by expectation.

    Args:
        scaled: map ``[H, W]``.
        truth: bool ``[H, W]``, not empty.
    """
    size = int(np.count_nonzero(truth))
    return float(strongest_cells(scaled.reshape(1, -1), size)[0, truth.ravel()].sum() / size)


def pixel_ranking(scaled: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Average precision and AUROC of the pixels as scores of the truth, exact with ties.

    Counted at the distinct values inside the truth, as recall changes nowhere else: one sort without an order.

    Args:
        scaled: map ``[H, W]``.
        truth: bool ``[H, W]``, not empty.

    Returns:
        Average precision Σ (R_k − R_{k−1})·P_k, and the AUROC with ties one half (NaN without a pixel outside).
    """
    inside, every = scaled[truth], np.sort(scaled, axis=None)
    values, times = np.unique(inside, return_counts=True)
    first, last = np.searchsorted(every, values, "left"), np.searchsorted(every, values, "right")
    found = np.cumsum(times[::-1])[::-1]
    average_precision = float(np.sum(times * found / (every.size - first)) / inside.size)
    outside = every.size - inside.size
    if not outside:
        return average_precision, NAN
    weaker = first - (inside.size - found)
    tied = last - first - times
    return average_precision, float(np.sum(times * (weaker + tied / 2)) / (inside.size * outside))


def _checked(heat: np.ndarray, truth: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    heat, truth = np.asarray(heat), np.asarray(truth)
    if heat.ndim != 2 or truth.ndim != 2 or not heat.size or not truth.size:
        raise ScoreInputError(
            f"a film is scored with one map [h, w] and one mask [H, W]. Received {heat.shape} and {truth.shape}."
        )
    if truth.dtype != bool:
        raise ScoreInputError(
            f"the expert mask must be bool, True inside. Received {truth.dtype}. Use for example mask > 0."
        )
    if not tolerance >= 0:
        raise UsageError(f"the tolerance is a distance in pixels, 0 or more. Received {tolerance}.")
    return heat, truth
