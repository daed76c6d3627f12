"""The C-Score of one arm by split: whether maps of one class still agree when some films carry the artefact.

Hands maps to `cxrkeras.consistency` and puts its numbers into rows; makes no map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from cxrkeras.consistency import ConsistencyScore, c_score

GOLD = 0.7
NO_FILM = "no_film"
NAN = float("nan")


@dataclass(frozen=True)
class SplitFilms:
    """The films of a split.

    Attributes:
        rows: rows of the explained films, int ``[m]``.
        carries: which of them carry the artefact, bool ``[m]``.
    """

    rows: np.ndarray
    carries: np.ndarray


class ExplainedFilms(Protocol):
    """Maps and answers by version (0 without, 1 with the artefact) and film."""

    labels: np.ndarray
    positive_class: int
    answers: np.ndarray

    def own_class(self, method: str) -> np.ndarray:
        """Maps of each film's own class ``[versions, k, h, w]``."""

    def own_status(self, method: str) -> np.ndarray:
        """Their statuses ``[versions, k]``."""


def consistency_rows(
    explained: ExplainedFilms,
    splits: Mapping[str, SplitFilms],
    patients: np.ndarray,
    methods: Sequence[str],
) -> pd.DataFrame:
    """Return the C-Score and the gold films of each split and method.

    Args:
        explained: the films' maps and probabilities.
        splits: the films of each split.
        patients: patient of each explained film ``[k]``.
        methods: registry names.

    Returns:
        The columns of `MAP_COLUMNS` that do not name the arm. `metric`: `c_score` (mean over classes, undefined where
        one is), `c_score_positive`, `c_score_negative` (the other class, or the mean of the others, without an
        interval then), and `n_gold`, the gold films of all classes. `n`: films of the split; of one class its gold
        films. `status`: ``ok`` or that of the C-Score, such as ``empty_gold_list``.
    """
    rows = []
    for method in methods:
        maps, status = explained.own_class(method), explained.own_status(method)
        # where nobody carries the artefact two splits are the same films
        known: dict[bytes, list[dict[str, Any]]] = {}
        for split, films in splits.items():
            key = films.rows.tobytes() + films.carries.tobytes()
            if key not in known:
                known[key] = _rows(explained, films, patients, maps, status)
            rows += [{"split": split, "method": method, **row} for row in known[key]]
    return pd.DataFrame(rows)


def _rows(
    explained: ExplainedFilms,
    films: SplitFilms,
    patients: np.ndarray,
    maps: np.ndarray,
    status: np.ndarray,
) -> list[dict[str, Any]]:
    if not len(films.rows):
        names = ("c_score", "c_score_positive", "c_score_negative", "n_gold")
        return [_row(name, 0.0 if name == "n_gold" else NAN, n=0, n_patients=0, status=NO_FILM) for name in names]
    at = films.carries.astype(int), films.rows
    result = c_score(
        maps[at],
        explained.labels[films.rows],
        explained.answers[at],
        patients=patients[films.rows],
        threshold=GOLD,
        status=status[at],
    )
    table = result.per_class
    of_class = [_of_class(row) for row in table.to_dict("records")]
    positive = of_class[explained.positive_class]
    others = [row for c, row in enumerate(of_class) if c != explained.positive_class]
    n_gold, n_patients = int(table["n_gold"].sum()), len(np.unique(patients[films.rows]))
    return [
        _overall(result, len(films.rows), n_patients),
        {"metric": "c_score_positive", **positive},
        {"metric": "c_score_negative", **(others[0] if len(others) == 1 else _mean_of(others))},
        _row("n_gold", float(n_gold), n=len(films.rows), n_patients=n_patients),
    ]


def _overall(result: ConsistencyScore, n: int, n_patients: int) -> dict[str, Any]:
    limits = {"ci_lo": result.macro_ci_low, "ci_hi": result.macro_ci_high}
    n_degenerate = int(result.per_class["n_degenerate"].sum())
    return _row(
        "c_score", result.macro, n=n, n_patients=n_patients, n_degenerate=n_degenerate,
        status=result.statuses["macro"], **limits,
    )  # fmt: skip


def _of_class(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "value": row["score"],
        "ci_lo": row["ci_low"],
        "ci_hi": row["ci_high"],
        "chance": NAN,
        "n": int(row["n_gold"]),
        "n_patients": int(row["n_patients"]),
        "n_degenerate": int(row["n_degenerate"]),
        "status": row["status"],
    }


def _mean_of(classes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    totals = {name: sum(row[name] for row in classes) for name in ("n", "n_patients", "n_degenerate")}
    undefined = [row["status"] for row in classes if np.isnan(row["value"])]
    value = float(np.mean([row["value"] for row in classes]))
    return {
        "value": value,
        "ci_lo": NAN,
        "ci_hi": NAN,
        "chance": NAN,
        **totals,
        "status": undefined[0] if undefined else "ok",
    }


def _row(metric: str, value: float, **numbers: Any) -> dict[str, Any]:
    empty = {"ci_lo": NAN, "ci_hi": NAN, "chance": NAN, "n_degenerate": 0, "status": "ok"}
    return {"metric": metric, "value": value, **empty, **numbers}
