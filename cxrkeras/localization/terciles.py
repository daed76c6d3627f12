"""Overlap by the size of the lesion: small lesions are where maps fail.

Tables in, tables out; knows no map and no mask.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from cxrkeras.localization.metrics import NAN
from cxrkeras.localization.rows import FINDING, GROUP, PATIENT, Resampling, checked

TERCILES = ("small", "medium", "large")
METRIC = "iou"
TERCILE_COLUMNS = (
    *GROUP, "metric", "tercile", "area_low", "area_high", "mean", "ci_low", "ci_high", "n", "n_patients", "status",
)  # fmt: skip


def tercile_table(
    films: pd.DataFrame, *, bootstrap: str = PATIENT, n_resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Return the mean IoU of each method on the small, medium and large lesions of each finding.

    Args:
        films: as in `summary_table`. Films without a marked pixel have no size and are left out.
        bootstrap, n_resamples, seed: as in `summary_table`.

    Returns:
        `TERCILE_COLUMNS`. The thirds are cut at the 33rd and 67th percentile of the area over the finding's films, the
        same for every method; equal areas share a third, so that one may be empty. `area_low`, `area_high`: smallest
        and largest area in it, shares of the picture. Maps without contrast are left out of `mean`. `status` as in
        `summary_table`, or ``no_film``.

    Raises:
        ScoreInputError: a column is missing, or a film stands twice in a group.
    """
    checked(films, ["image", "patient", *GROUP, METRIC, "area_gt"], ["image", *GROUP])
    resampling = Resampling(bootstrap, n_resamples, seed)
    rows = []
    for _, finding in films[films["area_gt"] > 0].groupby(FINDING, sort=False, dropna=False):
        cuts = np.quantile(finding.drop_duplicates("image")["area_gt"], [1 / 3, 2 / 3])
        third = np.searchsorted(cuts, finding["area_gt"].to_numpy(), side="left")
        for key, own in finding.assign(third=third).groupby(GROUP, sort=False, dropna=False):
            for number, name in enumerate(TERCILES):
                inside = own[own["third"] == number]
                mean = resampling.mean(inside[METRIC].to_numpy(), inside["patient"].to_numpy())
                rows.append(
                    {
                        **dict(zip(GROUP, key, strict=True)),
                        "metric": METRIC,
                        "tercile": name,
                        "area_low": inside["area_gt"].min() if len(inside) else NAN,
                        "area_high": inside["area_gt"].max() if len(inside) else NAN,
                        "mean": mean.estimate,
                        "ci_low": mean.low,
                        "ci_high": mean.high,
                        "n": int(inside[METRIC].notna().sum()),
                        "n_patients": mean.n_patients,
                        "status": mean.status,
                    }
                )
    return pd.DataFrame(rows, columns=list(TERCILE_COLUMNS))
