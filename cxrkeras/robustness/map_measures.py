"""How much of a heat map lies on a planted artefact: from the numbers of single films to a table with intervals.

Tables in, tables out; knows no map, model or file. Maps are measured by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.errors import ScoreInputError
from cxrkeras.stats import bootstrapped_mean

ARM = ("source", "arch", "mode", "seed", "confounder", "p")
MAP_COLUMNS = (
    *ARM, "split", "method", "metric", "value", "ci_lo", "ci_hi", "chance", "n", "n_patients", "n_degenerate", "status",
)  # fmt: skip
MAP_FILM_COLUMNS = (
    *ARM, "method", "image", "patient", "positive", "mass_before", "mass", "hit", "area", "hit_area", "ceiling",
    "status",
)  # fmt: skip
MASS_METRICS = ("mass", "mass_before", "mass_gain", "hit")
MASS_SPLITS = {"aligned": 1, "reversed": 0}
OK, DEGENERATE, NO_REGION = "ok", "degenerate", "no_region"
SOME_DEGENERATE, NO_FILM = "some_degenerate", "no_film"
NAN = float("nan")


def mass_table(films: pd.DataFrame, *, n_resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Return the mean share of map mass on the artefact over the films that carry it, by arm, method and split.

    Args:
        films: `MAP_FILM_COLUMNS`, a row per arm, method and film: `mass` and `hit` of the map of the film with the
            artefact, `mass_before` the mass of the same region in the map of the film without it, all for the positive
            class; NaN where a map has no contrast. `area`, `hit_area`: share of the picture that is the region, and
            that counts as a hit. `ceiling`: the largest share of its mass that a map of the grid can have there.
        n_resamples, seed: of the patient bootstrap.

    Returns:
        `MAP_COLUMNS`. `split`: ``aligned``, the positive films, and ``reversed``, the negative ones; all of them carry
        the artefact. `metric`: `mass`, `mass_before`, `mass_gain` = mass − mass_before film by film, `hit` the share
        of peaks on the region. `chance`: of a map that knows nothing; 0 for the gain. `n`: films with a value.
        `status`: ``ok``; ``some_degenerate`` (means over the other films); ``too_few_patients`` (below 10: no
        interval); ``degenerate`` (no map has contrast); ``no_film``.

    Raises:
        ScoreInputError: a column is missing.
    """
    if missing := [name for name in MAP_FILM_COLUMNS if name not in films]:
        raise ScoreInputError(f"the films' numbers need the columns {', '.join(missing)}. Take those of `arm_maps`.")
    rows = []
    for key, own in films.groupby([*ARM, "method"], sort=False, dropna=False):
        about = dict(zip([*ARM, "method"], key, strict=True))
        for split, positive in MASS_SPLITS.items():
            part = own[own["positive"] == positive]
            rows += [
                about | {"split": split, "metric": metric} | _mean(part, metric, n_resamples, seed)
                for metric in MASS_METRICS
            ]
    return pd.DataFrame(rows, columns=list(MAP_COLUMNS))


def without_region(methods: Sequence[str]) -> pd.DataFrame:
    """Return the rows of `mass_table` for an artefact without a place of its own: NaN, status ``no_region``.

    Args:
        methods: registry names.

    Returns:
        The columns of `MAP_COLUMNS` that do not name the arm.
    """
    nothing = {**dict.fromkeys(("value", "ci_lo", "ci_hi", "chance"), NAN), "n": 0, "n_patients": 0, "n_degenerate": 0}
    return pd.DataFrame(
        {"split": split, "method": method, "metric": metric, **nothing, "status": NO_REGION}
        for method in methods
        for split in MASS_SPLITS
        for metric in MASS_METRICS
    )


def mass_gain(films: pd.DataFrame) -> np.ndarray:
    """How much more of its map's mass each film has on the artefact's region once it carries it, float64 ``[n]``."""
    return films["mass"].to_numpy(np.float64) - films["mass_before"].to_numpy(np.float64)


def _mean(films: pd.DataFrame, metric: str, n_resamples: int, seed: int) -> dict[str, Any]:
    values = mass_gain(films) if metric == "mass_gain" else films[metric].to_numpy(np.float64)
    known = ~np.isnan(values)
    mean = bootstrapped_mean(values[known], films["patient"].to_numpy()[known], n_resamples, seed)
    marks = films["status"].to_numpy(str)
    n_degenerate = int(((marks == DEGENERATE) & ~known).sum())
    return {
        "value": mean.estimate,
        "ci_lo": mean.low,
        "ci_hi": mean.high,
        "chance": _chance(films[known], metric),
        "n": int(known.sum()),
        "n_patients": mean.n_patients,
        "n_degenerate": n_degenerate,
        "status": _status(marks, int(known.sum()), n_degenerate, mean.status),
    }


def _chance(films: pd.DataFrame, metric: str) -> float:
    if not len(films):
        return NAN
    if metric == "mass_gain":
        return 0.0
    return float(films["hit_area" if metric == "hit" else "area"].mean())


def _status(marks: np.ndarray, n_known: int, n_degenerate: int, found: str) -> str:
    if not len(marks):
        return NO_FILM
    if not n_known:
        return DEGENERATE
    return SOME_DEGENERATE if found == OK and n_degenerate else found
