"""The drift of one method in one run: means over films with patient-bootstrap intervals, and drift beside its floor.

Tables in, tables out; knows no map and no run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cxrkeras.drift.metrics import amount
from cxrkeras.stats import bootstrapped_mean

ALL = "all"
CHANCE = "iou_chance"
NO_FILM, UNDEFINED = "no_film", "undefined"


def drift_summary(films: pd.DataFrame, totals: Mapping[str, int], metrics: Sequence[str]) -> pd.DataFrame:
    """Mean of each metric over the films of each class, then over all of them.

    Args:
        films: a row per film that is correct at both checkpoints: `class`, `patient` and a column per metric.
        totals: class -> its films N_c, correct or not.
        metrics: the metrics to summarise; `iou_chance` is added.

    Returns:
        A row per class and metric: `class` (then ``all``), `metric`, `estimate`, `ci_low`, `ci_high` (percentile
        interval over resampled patients, B = 1000), `n_films` correct at both checkpoints, `n_patients` of those with
        a value, `retained` = n_films / N_c, `n_undefined` films without a value, `status`: ``ok``, ``no_film``,
        ``undefined`` (no film has a value) or ``too_few_patients`` (below 10: no interval).
    """
    rows = []
    for name in (*totals, ALL):
        own = films if name == ALL else films[films["class"] == name]
        total = sum(totals.values()) if name == ALL else totals[name]
        retained = len(own) / total if total else float("nan")
        rows += [
            {"class": name, "metric": metric, **_mean(own, metric), "retained": retained}
            for metric in (*metrics, CHANCE)
        ]
    columns = ["class", "metric", "estimate", "ci_low", "ci_high", "n_films", "n_patients", "retained", "n_undefined"]
    return pd.DataFrame(rows, columns=[*columns, "status"])


def drift_above_floor(
    films: pd.DataFrame, floor: pd.DataFrame, classes: Sequence[str], metrics: Sequence[str]
) -> pd.DataFrame:
    """Drift beside the difference between two seeds, on the films that have both.

    Args:
        films: as in `drift_summary`, with `image`.
        floor: the same columns, comparing two seeds at one checkpoint; `image` named as in `films`.
        classes: class names.
        metrics: the metrics to compare.

    Returns:
        A row per class (then ``all``) and metric, in amounts of `metrics.amount`, each with a percentile interval:
        `drift`, `floor`, and `difference`, their mean difference film by film. `above` is ``yes`` where the interval
        of the difference lies above 0: then the map moved more than a retraining moves it.
    """
    both = films.merge(floor[["image", *metrics]], on="image", suffixes=("", "_floor"))
    rows = []
    for name in (*classes, ALL):
        own = both if name == ALL else both[both["class"] == name]
        for metric in metrics:
            drift, noise = amount(metric, own[metric]), amount(metric, own[f"{metric}_floor"])
            rows.append({"class": name, "metric": metric, **_beside(drift, noise, own["patient"].to_numpy())})
    return pd.DataFrame(rows)


def _mean(films: pd.DataFrame, metric: str) -> dict[str, object]:
    values = films[metric].to_numpy(np.float64)
    known = ~np.isnan(values)
    mean = bootstrapped_mean(values[known], films["patient"][known])
    return {
        "estimate": mean.estimate,
        "ci_low": mean.low,
        "ci_high": mean.high,
        "n_films": len(values),
        "n_patients": mean.n_patients,
        "n_undefined": int((~known).sum()),
        "status": _status(len(values), int(known.sum()), mean.status),
    }


def _beside(drift: np.ndarray, noise: np.ndarray, patients: np.ndarray) -> dict[str, object]:
    known = ~np.isnan(drift + noise)
    row: dict[str, object] = {"n_films": int(known.sum()), "n_patients": 0}
    for name, values in (("drift", drift), ("floor", noise), ("difference", drift - noise)):
        mean = bootstrapped_mean(values[known], patients[known])
        row |= {name: mean.estimate, f"{name}_low": mean.low, f"{name}_high": mean.high}
    above = "yes" if mean.low > 0 else "no"
    status = _status(len(known), int(known.sum()), mean.status)
    return {**row, "n_patients": mean.n_patients, "above": above, "status": status}


def _status(n_films: int, n_known: int, found: str) -> str:
    if not n_films:
        return NO_FILM
    return found if n_known else UNDEFINED
