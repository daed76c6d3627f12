"""From a heat map to a mask: the rules that say which pixels a map points at.

Works on maps scaled to 0..1 at the size of the truth; knows no truth, film or metric.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cxrkeras.errors import UsageError, unknown

OTSU, FIXED, TOP, TUNED = "otsu", "fixed", "top", "tuned"
RULES = (OTSU, FIXED, TOP)
TOUCHING = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Threshold:
    """A rule that turns a scaled map into a mask.

    Attributes:
        rule: `otsu`: Otsu's threshold of the 256-level map, holes filled, single pixels dropped, as CheXlocalize does;
            `fixed`: pixels above `value`; `top`: the strongest `value` of all pixels, of those above 0.
        value: threshold, or share of the pixels; None for `otsu`.
    """

    rule: str
    value: float | None = None

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise unknown("threshold rule", self.rule, RULES)
        if self.rule == OTSU:
            fits = self.value is None
        elif self.rule == FIXED:
            fits = self.value is not None and 0 <= self.value < 1
        else:
            fits = self.value is not None and 0 < self.value <= 1
        if not fits:
            raise UsageError(
                f"threshold '{self.rule}' received {self.value}. Expected otsu without a value, fixed:T with "
                "0 <= T < 1 of the map scaled to 0..1, or top:Q with 0 < Q <= 1 of the pixels; for example fixed:0.4."
            )

    def __str__(self) -> str:
        return self.rule if self.value is None else f"{self.rule}:{self.value:g}"


def parse_threshold(text: str) -> Threshold:
    """Return the threshold that `otsu`, `fixed:0.4` or `top:0.1` names.

    Raises:
        UsageError: another word, a value missing or out of range, or `tuned`, which has no value before
            `tuned_threshold` found one.

    Example:
        >>> parse_threshold("top:0.1")
        Threshold(rule='top', value=0.1)
    """
    rule, colon, value = str(text).strip().lower().partition(":")
    if rule == TUNED:
        raise UsageError(
            "threshold 'tuned' has no value yet. Expected otsu, fixed:T or top:Q. "
            "Find the value on validation annotations with tuned_threshold, then use fixed:T."
        )
    if rule not in RULES:
        raise unknown("threshold rule", rule, (*RULES, TUNED))
    try:
        return Threshold(rule, float(value) if colon else None)
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"threshold '{text}' has no number after the colon. Expected for example {rule}:0.4."
        ) from error


def thresholded(scaled: np.ndarray, threshold: Threshold) -> tuple[np.ndarray, float]:
    """Return the mask of a map and the level it was cut at.

    Args:
        scaled: map ``[H, W]`` in 0..1 with both ends reached.
        threshold: the rule.

    Returns:
        bool ``[H, W]``, and the level: pixels above it are inside (`otsu`, `fixed`), or the weakest pixel of the
        strongest (`top`; NaN where the share is less than a pixel).
    """
    if threshold.rule == OTSU:
        levels = grey_levels(scaled)
        cut = otsu_level(levels)
        return without_single_pixels(without_holes(levels > cut)), cut / 255
    if threshold.rule == FIXED:
        return scaled > threshold.value, float(threshold.value)
    mask = strongest_pixels(scaled, round(threshold.value * scaled.size))
    return mask, float(scaled[mask].min()) if mask.any() else float("nan")


def grey_levels(scaled: np.ndarray) -> np.ndarray:
    """The map in 256 levels, floor(255·m), uint8 ``[H, W]``."""
    return np.floor(255 * scaled).astype(np.uint8)


def otsu_level(levels: np.ndarray) -> int:
    """Return the level t that parts pixels ≤ t from pixels > t with the largest between-class variance (Otsu 1979).

    Counted in whole numbers, so that equal variances are equal: of ties the lowest level is taken.

    Args:
        levels: uint8, any shape.

    Returns:
        0 to 255; for pixels of one level that level, so that none is above.

    Example:
        >>> otsu_level(np.array([0] * 60 + [100] * 20 + [255] * 20, np.uint8))
        100
    """
    counts = np.bincount(np.ravel(levels), minlength=256)
    below, sums = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    above = below[-1] - below
    parted = (below > 0) & (above > 0)
    if not parted.any():
        return int(np.max(levels, initial=0))
    # n²·w₀·w₁·(μ₀ − μ₁)² = (n·s₀ − n₀·s)² / (n₀·n₁), with s₀ and s whole
    spread = (below[-1] * sums - below * sums[-1]).astype(np.float64) ** 2
    variance = np.divide(spread, below.astype(np.float64) * above, out=np.full(256, -1.0), where=parted)
    return int(variance.argmax())


def without_holes(mask: np.ndarray) -> np.ndarray:
    """The mask with everything inside that has no way out over pixel edges: outer contours, drawn filled."""
    outside, _ = ndimage.label(np.pad(~mask, 1, constant_values=True))
    return outside[1:-1, 1:-1] != outside[0, 0]


def without_single_pixels(mask: np.ndarray) -> np.ndarray:
    """The mask without pixels that no other pixel touches, not even by a corner: contours of one point."""
    padded = np.pad(mask, 1)
    beside = padded[:-2] | padded[2:]
    column = beside | padded[1:-1]
    return mask & (column[:, :-2] | column[:, 2:] | beside[:, 1:-1])


def strongest_pixels(scaled: np.ndarray, count: int) -> np.ndarray:
    """The `count` strongest pixels of those above 0, ties by their place in the raster, bool ``[H, W]``."""
    values = scaled.ravel()
    if count < 1:
        return np.zeros(scaled.shape, bool)
    boundary = np.partition(values, values.size - count)[values.size - count]
    chosen = values > boundary
    tied = np.flatnonzero(values == boundary)
    chosen[tied[: count - np.count_nonzero(chosen)]] = True
    return (chosen & (values > 0)).reshape(scaled.shape)


def component_at(mask: np.ndarray, place: tuple[int, int]) -> np.ndarray:
    """The part of the mask that touches a pixel, by edges and corners, bool ``[H, W]``; empty where it is outside."""
    labels, _ = ndimage.label(mask, structure=TOUCHING)
    return (labels == labels[place]) & mask[place]
