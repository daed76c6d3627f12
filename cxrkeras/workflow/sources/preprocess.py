"""What each preprocessing does to the input of a candidate's first BatchNorm, beside the statistics it has stored.

Statistics only: it suggests nothing and applies nothing.
"""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd

from cxrkeras.models.classifier import Classifier
from cxrkeras.models.preprocessing import MODES, preprocessing_layer

CHECKED_FILMS = 64
COLUMNS = [
    "candidate", "mode", "own", "layer", "n_films", "mean_distance", "log_variance_distance", "status",
]  # fmt: skip


def preprocessing_distances(name: str, classifier: Classifier, films: np.ndarray, calibrated: bool) -> pd.DataFrame:
    """How far the input of the first BatchNorm lies from its stored statistics, under every preprocessing.

    With μ, σ², ε of the layer, and mean m and variance v of its input over films and places, channel by channel:
    `mean_distance` is the mean of |m − μ| / √(σ² + ε), and `log_variance_distance` that of
    |ln((v + ε) / (σ² + ε))|. Both are 0 for the films that the statistics come from.

    Args:
        name: the candidate's.
        classifier: with its weights.
        films: grey levels 0..255 ``[n, H, W]`` at its size.
        calibrated: its statistics were set from films of this very set, so that they speak for the mode they were set
            under and for nothing else.

    Returns:
        A row a mode, `COLUMNS`; status ``ok``, ``set_from_these_films``, or ``no_batch_norm`` with NaN.
    """
    norms = classifier.batch_norms
    if not norms:
        row = {"layer": "", "mean_distance": np.nan, "log_variance_distance": np.nan, "status": "no_batch_norm"}
        rows = [row for _ in MODES]
    else:
        status = "set_from_these_films" if calibrated else "ok"
        part = keras.Model(classifier.model.get_layer("preprocessing").output, norms[0].input)
        rows = [{"layer": norms[0].name, **_distances(part, norms[0], mode, films), "status": status} for mode in MODES]
    frame = pd.DataFrame(
        [
            {"candidate": name, "mode": mode, "own": mode == classifier.preprocessing, "n_films": len(films), **row}
            for mode, row in zip(MODES, rows, strict=True)
        ]
    )
    return frame[COLUMNS]


def _distances(part: keras.Model, norm: keras.layers.Layer, mode: str, films: np.ndarray) -> dict[str, float]:
    channels = np.repeat(films[..., None], 3, axis=-1)
    layer = preprocessing_layer(mode)
    total, squares, count = 0.0, 0.0, 0
    for start in range(0, len(channels), 16):
        values = np.asarray(part(layer(channels[start : start + 16])), np.float64)
        flat = values.reshape(-1, values.shape[-1])
        total, squares, count = total + flat.sum(0), squares + (flat**2).sum(0), count + len(flat)
    mean = total / count
    variance = squares / count - mean**2
    centre, spread = (np.asarray(value, np.float64) for value in (norm.moving_mean, norm.moving_variance))
    return {
        "mean_distance": float(np.mean(np.abs(mean - centre) / np.sqrt(spread + norm.epsilon))),
        "log_variance_distance": float(np.mean(np.abs(np.log((variance + norm.epsilon) / (spread + norm.epsilon))))),
    }
