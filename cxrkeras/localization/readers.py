"""How far human readers agree on where a finding is: the ceiling that a map can be asked to reach.

Masks in, a table out; knows no map and no method.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from cxrkeras.errors import ScoreInputError
from cxrkeras.localization.metrics import mask_iou
from cxrkeras.localization.rows import PATIENT, Resampling

READER_COLUMNS = ("finding", "first", "second", "iou", "ci_low", "ci_high", "n", "n_patients", "status")


def reader_table(
    marks: Iterable[tuple[str, Hashable, Mapping[str, np.ndarray]]],
    *,
    bootstrap: str = PATIENT,
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the mean IoU of every two annotators on the films that both marked.

    Args:
        marks: finding, patient, and annotator -> mask bool ``[H, W]``, once per film and finding; taken one at a time.
            An annotator without a mask of a film did not necessarily read it, and is not compared on it.
        bootstrap, n_resamples, seed: as in `summary_table`.

    Returns:
        `READER_COLUMNS`, a row per finding and pair that shares a film. `status` as in `summary_table`.

    Raises:
        ScoreInputError: masks of one film that differ in size.
    """
    found: dict[tuple[str, str, str], list[tuple[float, Hashable]]] = {}
    for finding, patient, masks in marks:
        for first, second in combinations(sorted(masks), 2):
            if np.shape(masks[first]) != np.shape(masks[second]):
                raise ScoreInputError(
                    f"masks of one film must have one size. Received {first} {np.shape(masks[first])} and "
                    f"{second} {np.shape(masks[second])} of finding '{finding}', patient {patient}."
                )
            found.setdefault((finding, first, second), []).append((mask_iou(masks[first], masks[second]), patient))
    resampling = Resampling(bootstrap, n_resamples, seed)
    rows = []
    for (finding, first, second), pairs in found.items():
        values = np.array([value for value, _ in pairs])
        mean = resampling.mean(values, [patient for _, patient in pairs])
        rows.append(
            {
                "finding": finding,
                "first": first,
                "second": second,
                "iou": mean.estimate,
                "ci_low": mean.low,
                "ci_high": mean.high,
                "n": int((~np.isnan(values)).sum()),
                "n_patients": mean.n_patients,
                "status": mean.status,
            }
        )
    return pd.DataFrame(rows, columns=list(READER_COLUMNS))
