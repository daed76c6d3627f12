"""Is a method above chance, and is one method or model better than another, on the same films?

Differences film by film, whole patients resampled, Holm's correction over findings. Tables in, tables out; knows no
map and no mask. A map without contrast counts as 0: it is a failure that was measured.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.errors import UsageError, unknown
from cxrkeras.localization.metrics import FILM_METRICS, NAN
from cxrkeras.localization.rows import FINDING, GROUP, LEVEL, NO_FILM, TOO_FEW, checked, counted
from cxrkeras.stats import holm, patient_codes, resampled_means, two_sided_p
from cxrkeras.stats.bootstrap import FEWEST_PATIENTS

SIGNIFICANT = 0.05
RESAMPLES = 1000
# the smallest p-value is 2/(B + 1), and Holm multiplies it by the rows of its family
RESAMPLES_PER_ROW = 200
METHOD, RUN = "method", "run"
COMPARED = {METHOD: "methods", RUN: "runs"}
YES, NO, UNTESTED = "yes", "no", "undefined"
CHANCE_COLUMNS = (
    *GROUP, "metric", "against", "chance", "difference", "ci_low", "ci_high", "p", "p_holm", "above",
    "n", "n_patients", "status",
)  # fmt: skip
COMPARISON_COLUMNS = (
    *GROUP, "metric", "compared", "first", "second", "difference", "ci_low", "ci_high", "p", "p_holm",
    "n", "n_patients", "status",
)  # fmt: skip


def chance_table(
    films: pd.DataFrame, chance_films: pd.DataFrame, *, n_resamples: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """Return how far each method lies above what maps score that know nothing of the film.

    Args:
        films: as in `summary_table`.
        chance_films: the same metrics of chance: `image`, `finding`, `class`, `annotator`, `method` (empty where it is
            the same for all methods), `against`, the `FILM_METRICS`. A chance without a value leaves its film out.
        n_resamples: resamples of patients; None: 1000, or 200 for each row of the largest family if that is more, so
            that the correction leaves room for a finding.
        seed: of the draws.

    Returns:
        `CHANCE_COLUMNS`, a row per group, metric and chance, on the `n` films that have both. `chance` and
        `difference` (mean above it) with a percentile interval; `p` two-sided, `p_holm` corrected over all rows of one
        metric and one chance; `above` is ``yes`` where `p_holm` < 0.05 and the difference is positive, ``undefined``
        where nothing was tested. `status`: ``ok``, ``too_few_patients`` (below 10), ``no_film``.

    Raises:
        ScoreInputError: a column is missing, or a film stands twice.
    """
    checked(films, ["image", "patient", *GROUP, *FILM_METRICS, "status"], ["image", *GROUP])
    checked(chance_films, ["image", *GROUP, "against", *FILM_METRICS], ["image", *GROUP, "against"])
    kinds = list(dict.fromkeys(chance_films["against"]))
    groups = list(films.groupby(GROUP, sort=False, dropna=False))
    n_resamples = n_resamples or resamples_needed(len(groups))
    by_chance = {key: own.set_index("image") for key, own in chance_films.groupby([*GROUP, "against"], dropna=False)}
    rows = []
    for key, own in groups:
        names, chances, differences = [], [], []
        for against in kinds:
            rival = by_chance.get((*key, against), by_chance.get((*key[:3], "", against)))
            for metric in FILM_METRICS:
                chance = np.full(len(own), NAN) if rival is None else rival[metric].reindex(own["image"]).to_numpy()
                difference = counted(own, metric) - chance
                names.append({"metric": metric, "against": against})
                chances.append(_mean(chance[~np.isnan(difference)]))
                differences.append(difference)
        tested = paired_tests(np.array(differences).T, own["patient"].to_numpy(), n_resamples, seed) if names else []
        group = dict(zip(GROUP, key, strict=True))
        rows += [
            group | name | {"chance": chance} | row for name, chance, row in zip(names, chances, tested, strict=True)
        ]
    table = _corrected(pd.DataFrame(rows, columns=[c for c in CHANCE_COLUMNS if c != "p_holm"]), ["metric", "against"])
    return table.assign(above=above(table["p_holm"], table["difference"]))[list(CHANCE_COLUMNS)]


def comparison_table(
    films: pd.DataFrame, by: str = METHOD, *, n_resamples: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """Return the difference of every two methods, or of every two runs, on the films that both scored.

    Args:
        films: as in `summary_table`; to compare runs also `run`, the name of each row's run and checkpoint.
        by: `method` or `run`; runs are compared method by method.
        n_resamples, seed: as in `chance_table`.

    Returns:
        `COMPARISON_COLUMNS`, a row per finding, class, annotator, metric and pair, in order of appearance; `method` is
        empty where methods are compared. `difference`: mean of first − second over the `n` films, `p_holm` corrected
        over all rows of one metric; otherwise as in `chance_table`.

    Raises:
        ScoreInputError: a column is missing, or a film stands twice.
        UsageError: an unknown `by`.
    """
    if by not in COMPARED:
        raise unknown("comparison", by, COMPARED)
    same = FINDING if by == METHOD else GROUP
    checked(films, ["image", "patient", *GROUP, by, *FILM_METRICS, "status"], ["image", *same, by])
    groups = [(key, own, list(dict.fromkeys(own[by]))) for key, own in films.groupby(same, sort=False, dropna=False)]
    n_rows = sum(len(names) * (len(names) - 1) // 2 for _, _, names in groups)
    n_resamples = n_resamples or resamples_needed(n_rows)
    rows = []
    for key, own, names in groups:
        patients = own.drop_duplicates("image").set_index("image")["patient"]
        values = {name: _by_image(own[own[by] == name], patients.index) for name in names}
        pairs = [(metric, *pair) for metric in FILM_METRICS for pair in combinations(names, 2)]
        if not pairs:
            continue
        differences = [values[first][metric] - values[second][metric] for metric, first, second in pairs]
        tested = paired_tests(np.array(differences).T, patients.to_numpy(), n_resamples, seed)
        group = {"method": ""} | dict(zip(same, key, strict=True)) | {"compared": COMPARED[by]}
        rows += [
            group | {"metric": metric, "first": first, "second": second} | row
            for (metric, first, second), row in zip(pairs, tested, strict=True)
        ]
    table = pd.DataFrame(rows, columns=[c for c in COMPARISON_COLUMNS if c != "p_holm"])
    return _corrected(table, ["metric"])[list(COMPARISON_COLUMNS)]


def paired_tests(
    differences: np.ndarray, patients: Sequence[Hashable], n_resamples: int = RESAMPLES, seed: int = 0
) -> list[dict[str, Any]]:
    """Test mean differences against 0 by resampling whole patients, the same draws for all columns.

    Args:
        differences: film by film ``[n, k]``, NaN where a film has none.
        patients: a patient per film ``[n]``.
        n_resamples, seed: of the bootstrap.

    Returns:
        For each column `difference`, `ci_low`, `ci_high` (percentiles 2.5 and 97.5), `p` = min(1, 2·min(1 + #{d ≤ 0},
        1 + #{d ≥ 0}) / (B + 1)), `n` films, `n_patients`, `status`; below ten patients no interval and no p-value.
    """
    if n_resamples < 2:
        raise UsageError(f"a test needs two resamples or more. Received {n_resamples}. Use 1000.")
    codes = patient_codes(patients, len(differences))
    known = ~np.isnan(differences)
    counts = [len(np.unique(codes[column])) for column in known.T]
    draws = resampled_means(differences, codes, n_resamples, seed)
    rows = []
    for column, n_patients in enumerate(counts):
        own, drawn = differences[known[:, column], column], draws[:, column]
        row = {"difference": _mean(own), "n": len(own), "n_patients": n_patients}
        row |= {"ci_low": NAN, "ci_high": NAN, "p": NAN, "status": TOO_FEW if len(own) else NO_FILM}
        if n_patients >= FEWEST_PATIENTS:
            drawn = drawn[~np.isnan(drawn)]
            low, high = np.quantile(drawn, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
            row |= {"ci_low": float(low), "ci_high": float(high), "p": two_sided_p(drawn), "status": "ok"}
        rows.append(row)
    return rows


def resamples_needed(n_rows: int) -> int:
    """Resamples for a family of tests: with too few, no p-value could stay below 0.05 after Holm's correction."""
    return max(RESAMPLES, RESAMPLES_PER_ROW * n_rows)


def above(p_holm: pd.Series, difference: pd.Series) -> np.ndarray:
    """``yes`` where a difference is positive and significant after correction, ``undefined`` where untested."""
    return np.select([p_holm.isna(), (p_holm < SIGNIFICANT) & (difference > 0)], [UNTESTED, YES], default=NO)


def _corrected(table: pd.DataFrame, family: list[str]) -> pd.DataFrame:
    adjusted = table.groupby(family)["p"].transform(holm) if len(table) else []
    return table.assign(p_holm=np.asarray(adjusted, np.float64))


def _by_image(own: pd.DataFrame, images: pd.Index) -> dict[str, np.ndarray]:
    rows = own.set_index("image")
    values = pd.DataFrame({metric: counted(rows, metric) for metric in FILM_METRICS}, index=rows.index).reindex(images)
    return {metric: values[metric].to_numpy() for metric in FILM_METRICS}


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else NAN
