"""What a film's pixels are replaced by when they are taken away: the film blurred, its mean grey, or black.

Arrays in, arrays out. A baseline that still shows the finding makes insertion and deletion say little: compare the
probability of the baseline with that of the film.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from cxrkeras.errors import unknown

BLUR, MEAN, ZERO = "blur", "mean", "zero"
BASELINES = (BLUR, MEAN, ZERO)
# An opacity is an eighth of a film or larger, so a smaller blur would leave it visible: RISE's own 5 of 224 pixels
# takes away texture only.
BLUR_SHARE = 1 / 8


def baseline_films(films: np.ndarray, kind: str = BLUR) -> np.ndarray:
    """The films without what they show.

    Args:
        films: ``[n, H, W]`` or ``[n, H, W, C]``, any scale.
        kind: `blur` (Gaussian, standard deviation an eighth of the shorter side, edges repeated), `mean` (of the film)
            or `zero` (black).

    Returns:
        float32, the shape of `films`.

    Raises:
        UsageError: no such baseline.
    """
    if kind not in BASELINES:
        raise unknown("baseline", kind, BASELINES)
    films = np.asarray(films, np.float32)
    if kind == ZERO:
        return np.zeros_like(films)
    if kind == MEAN:
        return np.broadcast_to(films.mean(axis=(1, 2), keepdims=True), films.shape).copy()
    sigma = BLUR_SHARE * min(films.shape[1:3])
    return gaussian_filter(films, (0, sigma, sigma, *[0] * (films.ndim - 3)), mode="nearest")
