"""The C-Score over its two constants: the confidence threshold τ and the emphasis exponent γ.

Each pair of maps is visited once for all of them. Arrays in, tables out; knows no model, run or file.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike

from cxrkeras.consistency.films import aligned_films
from cxrkeras.consistency.options import Options
from cxrkeras.consistency.score import score_tables
from cxrkeras.errors import UsageError
from cxrkeras.maps import Maps

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


def sweep(
    maps: Maps | ArrayLike,
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    gammas: Sequence[float] = (2.0,),
    classes: Sequence[Hashable] | None = None,
    patients: Iterable[Hashable] | None = None,
    targets: ArrayLike | None = None,
    status: ArrayLike | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Return the C-Score at several confidence thresholds and emphasis exponents, from one pass over the pairs.

    Args:
        maps, labels, probabilities, classes, patients, targets, status: as in `c_score`.
        thresholds: the values of τ.
        gammas: the values of γ.
        options: further keywords of `c_score`, such as ``pair_weights``.

    Returns:
        A row per γ, threshold and class: ``threshold``, ``gamma``, then the columns of `ConsistencyScore.per_class`.

    Raises:
        ScoreInputError: inputs that do not fit together.
        UsageError: an option out of range, or nothing to sweep.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> table = sweep(rng.random((8, 7, 7)), [0] * 8, [0.2] * 8, thresholds=[0.5, 0.7], gammas=[1, 2])
        >>> table.loc[table["class"] == 0, ["threshold", "gamma", "n_gold"]].to_numpy().tolist()
        [[0.5, 1.0, 8.0], [0.7, 1.0, 8.0], [0.5, 2.0, 8.0], [0.7, 2.0, 8.0]]
    """
    for what, values in (("thresholds", thresholds), ("gammas", gammas)):
        if not len(values):
            raise UsageError(f"no {what} to sweep. Expected at least one number, received none.")
    checked = [Options(threshold=tau, gamma=gamma, **options) for gamma in gammas for tau in thresholds]
    decision = checked[0].decision
    films = aligned_films(maps, labels, probabilities, classes, patients, targets, status, decision)
    tables = []
    for gamma, of_gamma in zip(gammas, score_tables(films, thresholds, gammas, checked[0]), strict=True):
        for tau, (table, *_) in zip(thresholds, of_gamma, strict=True):
            table.insert(0, "threshold", float(tau))
            table.insert(1, "gamma", float(gamma))
            tables.append(table)
    return pd.concat(tables, ignore_index=True)
