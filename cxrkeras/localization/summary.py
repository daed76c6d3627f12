"""Means of scored films by finding and method, with intervals, beside chance and human readers.

Tables in, tables out; knows no map and no mask. Which films are scored (slice) is the caller's choice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.localization.chance import AREA
from cxrkeras.localization.metrics import DEGENERATE, FILM_METRICS, NAN
from cxrkeras.localization.rows import FINDING, GROUP, PATIENT, Resampling, checked, counted
from cxrkeras.stats import resampled_means
from cxrkeras.stats.bootstrap import FEWEST_PATIENTS

SUMMARY_COLUMNS = (
    *GROUP, "metric", "mean", "ci_low", "ci_high", "n", "n_patients", "n_nan", "n_degenerate",
    "mean_zero", "ci_low_zero", "ci_high_zero", "chance", "human",
    "percent_decrease", "percent_decrease_low", "percent_decrease_high", "bootstrap", "status",
)  # fmt: skip


def summary_table(
    films: pd.DataFrame,
    *,
    bootstrap: str = PATIENT,
    n_resamples: int = 1000,
    seed: int = 0,
    chance_films: pd.DataFrame | None = None,
    human: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the mean of each metric over the films of each finding, class, annotator and method.

    Args:
        films: a row per film: `image`, `patient`, `finding`, `class`, `annotator`, `method`, the `FILM_METRICS`,
            `area_gt` and `status`.
        bootstrap: `patient` or `image` (parity with CheXlocalize), see `Resampling`.
        n_resamples, seed: of the bootstrap.
        chance_films: the films' chance rows; those `against` area give `chance`. Without them it is the mean area of
            the truth, one half for the AUROC, which is exact for a hit without tolerance.
        human: a row per film and finding with the human readers' value of some metrics: `image`, `finding`, `iou`, …

    Returns:
        `SUMMARY_COLUMNS`, a row per group and metric. `mean`: over the `n` films with a value, `ci_*` its interval;
        `n_nan` films without a value, of which `n_degenerate` maps without contrast; `*_zero` the same with 0 for
        these, so that a method gains nothing by drawing nothing. `percent_decrease`: 100·(human − mean)/human on the
        films that have both, its interval from resamples that draw both together. `status`: ``ok``,
        ``too_few_patients`` (below 10, no interval), ``one_film``, ``undefined`` (no film has a value).

    Raises:
        ScoreInputError: a column is missing, or a film stands twice in a group.
        UsageError: an unknown bootstrap.
    """
    checked(films, ["image", "patient", *GROUP, *FILM_METRICS, "area_gt", "status"], ["image", *GROUP])
    resampling = Resampling(bootstrap, n_resamples, seed)
    films = _with_chance(films, chance_films)
    if human is not None:
        checked(human, ["image", "finding"], ["image", "finding"])
    rows = []
    for key, own in films.groupby(GROUP, sort=False, dropna=False):
        beside = None if human is None else own[["image", "finding"]].merge(human, "left", on=["image", "finding"])
        for metric in FILM_METRICS:
            read = None if beside is None or metric not in beside else beside[metric].to_numpy(np.float64)
            row = dict(zip(GROUP, key, strict=True)) | {"metric": metric}
            rows.append(row | _means(own, metric, resampling) | _decrease(own, metric, read, resampling))
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))


def _with_chance(films: pd.DataFrame, chance_films: pd.DataFrame | None) -> pd.DataFrame:
    """The films with a column `chance_<metric>` each."""
    names = {metric: f"chance_{metric}" for metric in FILM_METRICS}
    if chance_films is None:
        area = {name: films["area_gt"].where(films["area_gt"] > 0) for name in names.values()}
        return films.assign(**area | {names["pixel_auroc"]: 0.5})
    checked(chance_films, ["image", *FINDING, "against", *FILM_METRICS])
    rows = chance_films[chance_films["against"] == AREA]
    rows = checked(rows, [], ["image", *FINDING])[["image", *FINDING, *FILM_METRICS]]
    return films.merge(rows.rename(columns=names), "left", on=["image", *FINDING])


def _means(own: pd.DataFrame, metric: str, resampling: Resampling) -> dict[str, Any]:
    values, patients = own[metric].to_numpy(np.float64), own["patient"].to_numpy()
    known = ~np.isnan(values)
    mean, zero = resampling.mean(values, patients), resampling.mean(counted(own, metric), patients)
    chance = own.loc[known, f"chance_{metric}"]
    return {
        "mean": mean.estimate,
        "ci_low": mean.low,
        "ci_high": mean.high,
        "n": int(known.sum()),
        "n_patients": mean.n_patients,
        "n_nan": int((~known).sum()),
        "n_degenerate": int((own["status"] == DEGENERATE).sum()),
        "mean_zero": zero.estimate,
        "ci_low_zero": zero.low,
        "ci_high_zero": zero.high,
        "chance": float(chance.mean()) if len(chance) else NAN,
        "bootstrap": resampling.bootstrap,
        "status": mean.status,
    }


def _decrease(own: pd.DataFrame, metric: str, human: np.ndarray | None, resampling: Resampling) -> dict[str, float]:
    """How far the method stays below human readers, in percent of them, on the films that both scored."""
    empty = dict.fromkeys(("human", "percent_decrease", "percent_decrease_low", "percent_decrease_high"), NAN)
    if human is None:
        return empty
    both = np.column_stack([human, own[metric].to_numpy(np.float64)])
    paired = ~np.isnan(both).any(axis=1)
    both, patients = both[paired], own["patient"].to_numpy()[paired]
    if not len(both):
        return empty
    read, seen = both.mean(axis=0)
    found = empty | {"human": float(read)}
    if read == 0:
        return found
    found |= {"percent_decrease": float(100 * (read - seen) / read)}
    if len(both) < 2 or (resampling.bootstrap == PATIENT and len(set(patients)) < FEWEST_PATIENTS):
        return found
    draws = resampled_means(both, resampling.units(patients), resampling.n_resamples, resampling.seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = resampling.limits(100 * (draws[:, 0] - draws[:, 1]) / draws[:, 0])
    return found | {"percent_decrease_low": low, "percent_decrease_high": high}
