"""The positive control: a scorer that sees nothing but the artefact, and the AUC it must have in closed form.

If it misses, who carries the artefact or how AUC is counted is wrong, not a network. Knows no network and no file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd
from scipy.special import expit

from cxrkeras.robustness.answers import ALIGNED, CLEAN, IID, NEUTRAL, REVERSED, ArmAnswers, TestFilms

ARTEFACT_ONLY, CONTROL_MODE, NO_ARCH = "artefact-only", "control", "none"
CONTROL_COLUMNS = ("confounder", "p", "split", "expected", "measured", "difference", "population", "status")
OFF, CLASS_ABSENT = "off", "class_absent"
EXACT = 1e-9


class Named(Protocol):
    """What the control needs to know of a confounder."""

    name: str
    level: str
    kind: str
    planted: bool


def control_answers(films: TestFilms, confounder: Named, ps: Sequence[float], seeds: Sequence[int]) -> list[ArmAnswers]:
    """Return the answers of a scorer that sees only the artefact: log-odds 1 with it, 0 without.

    For `results_table`; nothing is trained, so it has no reliance and stands in a mode of its own.

    Args:
        films: the test films; `has` for a sampled confounder.
        confounder: anything with `name`, `level`, `kind`, `planted`.
        ps: shares of positive films that carry the artefact.
        seeds: one arm for each, as the networks have.
    """
    nothing, everything = np.zeros(len(films.positive)), np.ones(len(films.positive))
    untouched = nothing if confounder.planted else np.asarray(films.has, np.float64)
    return [
        ArmAnswers(
            source=ARTEFACT_ONLY,
            arch=NO_ARCH,
            mode=CONTROL_MODE,
            seed=seed,
            fold=-1,
            confounder=confounder.name,
            level=confounder.level,
            kind=confounder.kind,
            p=p,
            # midway between the log-odds of a film without and one with the artefact
            threshold=float(expit(0.5)),
            untouched=untouched,
            touched=everything if confounder.planted else None,
        )
        for p in ps
        for seed in seeds
    ]


def control_table(results: pd.DataFrame) -> pd.DataFrame:
    """Return the AUC of the artefact-only scorer beside the one it must have.

    With share a of the positive and b of the negative films carrying the artefact the AUC is 1/2 + (a − b)/2.

    Args:
        results: as `results_table` returns them; rows of other sources are left out.

    Returns:
        `CONTROL_COLUMNS`, a row per confounder, p and split. `expected`: from the shares really carried,
        round-half-up(p·n)/n; `measured`: the AUC of the seed that lies farthest from it; `population`: what many films
        would give, (1 + p)/2 on `iid`, 0 `reversed`, 1 `aligned`, 1/2 `clean` and `neutral`. `status`: ``ok``; ``off``
        (|difference| above 1e-9: do not trust the other results); ``class_absent`` (no AUC).
    """
    rows = []
    own = results[results["source"] == ARTEFACT_ONLY]
    for (confounder, p, split), seeds in own.groupby(["confounder", "p", "split"], sort=False):
        expected = np.array([_expected(split, p, *films) for films in zip(seeds["n_pos"], seeds["n_neg"], strict=True)])
        differences = seeds["auc"].to_numpy() - expected
        row = {"confounder": confounder, "p": p, "split": split, "population": _auc(*_shares(split, p))}
        if np.isnan(differences).any():
            nan = float("nan")
            rows.append(row | {"expected": nan, "measured": nan, "difference": nan, "status": CLASS_ABSENT})
            continue
        worst = int(np.abs(differences).argmax())
        rows.append(
            row
            | {"expected": expected[worst], "measured": seeds["auc"].iloc[worst], "difference": differences[worst]}
            | {"status": "ok" if abs(differences[worst]) <= EXACT else OFF}
        )
    return pd.DataFrame(rows, columns=list(CONTROL_COLUMNS))


def _expected(split: str, p: float, n_pos: int, n_neg: int) -> float:
    """AUC from the shares that whole films can carry; NaN without films of a class."""
    if not (n_pos and n_neg):
        return float("nan")
    ours, theirs = _shares(split, p)
    return _auc(_whole(ours, n_pos), _whole(theirs, n_neg))


def _shares(split: str, p: float) -> tuple[float, float]:
    """Shares of positive and of negative films that carry the artefact."""
    return {IID: (p, 0.0), REVERSED: (0.0, 1.0), ALIGNED: (1.0, 0.0), CLEAN: (0.0, 0.0), NEUTRAL: (0.5, 0.5)}[split]


def _auc(ours: float, theirs: float) -> float:
    return 0.5 + (ours - theirs) / 2


def _whole(share: float, n_films: int) -> float:
    # counted here once more: a control that asked the assignment it checks could not fail
    return math.floor(share * n_films + 0.5 + 1e-9) / n_films
