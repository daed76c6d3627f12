"""Ranking reversals: which of two drifts more depends on where one looks.

Method A drifts less than B in one backbone and more in another, or backbone X less than Y by one method and more by
another. Tables in, table out; knows no map and no run.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from cxrkeras.drift.metrics import METRICS, amount
from cxrkeras.drift.summary import ALL, NO_FILM
from cxrkeras.errors import ScoreInputError
from cxrkeras.stats import Interval, bootstrapped_mean

COLUMNS = [
    "metric", "class", "compared", "first", "second", "within_a", "within_b", "difference_a", "low_a", "high_a",
    "difference_b", "low_b", "high_b", "reversed", "status",
]  # fmt: skip
METHODS, BACKBONES = "methods", "backbones"
_CELL = ["backbone", "method", "seed"]


def reversals(films: pd.DataFrame) -> pd.DataFrame:
    """Compare every two methods within every two backbones, and every two backbones by every two methods.

    A film takes part where it has a value for both methods in both backbones, in every seed of each; a backbone's
    seeds are averaged film by film. So a reversal never comes from different films.

    Args:
        films: rows `image`, `class`, `patient`, `method`, `backbone`, `seed` and columns of `metrics.METRICS`, from
            the runs of one study: the same films in each.

    Returns:
        A row per metric, class (then ``all``) and comparison. `difference_a`: mean of first − second within
        `within_a`, in amounts of drift (`metrics.amount`), with its percentile interval over resampled patients
        (`low_a`, `high_a`; NaN below 10 patients); `…_b` likewise. `reversed`: ``yes`` where both intervals exclude 0
        on opposite sides. `status`: ``ok``, ``too_few_patients`` or ``no_film``, where nothing can be told.

    Raises:
        ScoreInputError: two rows for one film, backbone, method and seed.
    """
    if films.duplicated(["image", *_CELL]).any():
        row = films[films.duplicated(["image", *_CELL])].iloc[0]
        raise ScoreInputError(
            f"reversals need one row per film, backbone, method and seed. Received two of {row['image']} for "
            f"{row['backbone']}, {row['method']}, seed {row['seed']}. Give runs of one backbone different seeds."
        )
    known = films.drop_duplicates("image").set_index("image")
    classes = [*sorted(known["class"].unique()), ALL]
    rows = []
    for metric in (name for name in METRICS if name in films):
        amounts = _amounts(films, metric)
        for compared, first, second, cells in _comparisons(films):
            values = amounts.reindex(columns=pd.MultiIndex.from_tuples(cells[2])).dropna()
            about = known.loc[values.index]
            for name in classes:
                own = np.ones(len(about), bool) if name == ALL else (about["class"] == name).to_numpy()
                told = _told(values.to_numpy()[own], about["patient"].to_numpy()[own])
                rows.append(
                    {"metric": metric, "class": name, "compared": compared, "first": first, "second": second,
                     "within_a": cells[0], "within_b": cells[1], **told}
                )  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def _comparisons(films: pd.DataFrame) -> list[tuple[str, str, str, tuple[str, str, list[tuple[str, str]]]]]:
    """What is compared, first, second, and (within a, within b, the four cells as (backbone, method))."""
    methods, backbones = (list(dict.fromkeys(films[name])) for name in ("method", "backbone"))
    found = []
    for a, b in combinations(methods, 2):
        for x, y in combinations(backbones, 2):
            found.append((METHODS, a, b, (x, y, [(x, a), (x, b), (y, a), (y, b)])))
    for x, y in combinations(backbones, 2):
        for a, b in combinations(methods, 2):
            found.append((BACKBONES, x, y, (a, b, [(x, a), (y, a), (x, b), (y, b)])))
    return found


def _amounts(films: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Drift of each film (rows) by backbone and method (columns), NaN unless every seed of the cell has a value."""
    table = films.assign(amount=amount(metric, films[metric].to_numpy()))
    wide = table.pivot(index="image", columns=_CELL, values="amount")
    return wide.T.groupby(level=["backbone", "method"]).mean(skipna=False).T


def _told(values: np.ndarray, patients: Sequence[object]) -> dict[str, object]:
    a, b = (bootstrapped_mean(values[:, i] - values[:, i + 1], patients) for i in (0, 2))
    return {
        "difference_a": a.estimate, "low_a": a.low, "high_a": a.high,
        "difference_b": b.estimate, "low_b": b.low, "high_b": b.high,
        "reversed": "yes" if _side(a) * _side(b) < 0 else "no",
        "status": a.status if len(values) else NO_FILM,
    }  # fmt: skip


def _side(interval: Interval) -> int:
    """1 above 0, −1 below, 0 where the interval holds 0 or is undefined."""
    return int(interval.low > 0) - int(interval.high < 0)
