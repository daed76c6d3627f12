"""The scale of an image's pixels, whatever type they have, and the way back to it.

Knows no artefact.
"""

from __future__ import annotations

import numpy as np

from cxrkeras.errors import UsageError

Range = tuple[float, float]
# resampling and JPEG may overshoot the range by this share of it
_OVERSHOOT = 0.01


def pixel_range(image: np.ndarray, value_range: Range | None = None) -> Range:
    """Black and white of an image, checked against its pixels.

    Args:
        image: grey ``[h, w]`` or ``[h, w, 1]``, or RGB ``[h, w, 3]``; integers or floats.
        value_range: (black, white); None: the whole range of an integer type, 0..1 for floats.

    Returns:
        (black, white) in the image's own units.

    Raises:
        UsageError: another shape or type, a range without extent, or pixels outside it by more than 1 % of it.
    """
    _check_shape(image)
    integer = np.issubdtype(image.dtype, np.integer)
    if not integer and not np.issubdtype(image.dtype, np.floating):
        raise UsageError(f"an image has integer or float pixels. Received {image.dtype}; convert it, e.g. to uint8.")
    if value_range is None:
        limits = np.iinfo(image.dtype) if integer else None
        value_range = (limits.min, limits.max) if limits else (0, 1)
    low, high = map(float, value_range)
    if not low < high:
        raise UsageError(f"value_range is (black, white), black below white. Received {value_range}.")
    slack = _OVERSHOOT * (high - low)
    least, most = (float(image.min()), float(image.max())) if image.size else (low, high)
    # written so that NaN fails too
    if not (least >= low - slack and most <= high + slack):
        raise UsageError(
            f"image has values {least:g}..{most:g}, outside its range {low:g}..{high:g}. Expected values in the range; "
            "name the true one as value_range=(black, white)."
        )
    return low, high


def as_pixels(values: np.ndarray, image: np.ndarray, limits: Range, *, truncate: bool = False) -> np.ndarray:
    """Values on an image's scale as pixels of its type, clipped to `limits`; integers are rounded or truncated."""
    clipped = np.clip(values, *limits)
    if np.issubdtype(image.dtype, np.integer):
        clipped = np.floor(clipped) if truncate else np.rint(clipped)
    return clipped.astype(image.dtype)


def _check_shape(image: np.ndarray) -> None:
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.ndim not in (2, 3) or channels not in (1, 3):
        raise UsageError(
            "an image is grey, (height, width) or (height, width, 1), or RGB, (height, width, 3). "
            f"Received shape {image.shape}; make an image with transparency grey or RGB first."
        )
