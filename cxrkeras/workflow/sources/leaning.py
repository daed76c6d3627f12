"""How far a probe on a candidate's features falls when a planted artefact turns round: the robustness columns.

The films that are tested are held out of the target films, so that the data set's own test films stay untouched.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from cxrkeras.errors import DataError, ScoreInputError
from cxrkeras.events import SILENT, Reporter
from cxrkeras.robustness import parse_confounder, results_table
from cxrkeras.workflow.candidates import OpenCandidate
from cxrkeras.workflow.robustness.data import RobustnessData
from cxrkeras.workflow.robustness.probe import probe_arms
from cxrkeras.workflow.sources.films import TargetFilms

CONFOUNDERS = ("tag", "lowpass")
P, SEED, FOLDS = 0.5, 0, 5
COLUMNS = tuple(f"{name}_reversed_auc" for name in CONFOUNDERS)


def held_out_data(films: TargetFilms) -> RobustnessData:
    """The target films with a fifth of their patients as test films, between their two `sides`.

    Raises:
        DataError: a class has too few patients.
    """
    labels, patients = films.labels, films.patients
    fewest = min(len(set(patients[labels == c])) for c in range(len(films.classes)))
    if fewest < 2 * FOLDS:
        raise DataError(f"a class has {fewest} patients; expected at least {2 * FOLDS} to train, choose and test on.")
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=films.seed)
    _, held = next(splitter.split(labels, labels, patients))
    return RobustnessData(
        frame=films.frame.assign(split=np.where(np.isin(np.arange(len(films)), held), "test", "train")),
        root=films.root,
        classes=films.sides,
        positive_class=films.sides[1],
        settings=films.settings,
    )


def robustness_rows(opened: OpenCandidate, data: RobustnessData, reporter: Reporter = SILENT) -> pd.DataFrame:
    """What probes trained with p = .5 reach in every split, a row a confounder and split as `results_table` has them.

    Args:
        opened: the candidate.
        data: as `held_out_data` gives it.
        reporter: told of progress and of what is undefined.
    """
    found = []
    for name in CONFOUNDERS:
        confounder = parse_confounder(name)
        try:
            arms = probe_arms(opened, data, confounder, [P], [SEED], "iid", reporter)
        except (DataError, ScoreInputError) as error:
            reporter.notice(f"{opened.name}: its AUC under {name} is undefined ({error}).")
            continue
        found.append(results_table(arms, data.test_films(confounder)).rename(columns={"source": "candidate"}))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["candidate", "confounder", "split"])


def reversed_aucs(rows: pd.DataFrame) -> dict[str, float]:
    """AUC where the artefact goes with the other class, by column; NaN where it is undefined."""
    turned = rows[rows["split"] == "reversed"].set_index("confounder")
    return {column: float(turned["auc"].get(name, np.nan)) for column, name in zip(COLUMNS, CONFOUNDERS, strict=True)}
