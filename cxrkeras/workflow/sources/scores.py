"""The scores of one candidate's features: probe AUC out of fold, LogME, H-score.

Knows no network: features in, numbers out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA

from cxrkeras.errors import UsageError
from cxrkeras.probe import OutOfFold, out_of_fold
from cxrkeras.sources.features import distinct_features, patient_groups
from cxrkeras.sources.h_score import regularised_h_score
from cxrkeras.sources.logme import FeatureScore, logme
from cxrkeras.workflow.sources.features import Features
from cxrkeras.workflow.sources.films import TargetFilms


@dataclass(frozen=True, eq=False)
class Scores:
    """What one candidate's features tell of the classes.

    Attributes:
        probe: out-of-fold answers of the probe.
        logme, h_score: with the jackknife error over groups of patients.
        n_features: features that LogME and H-score were fitted on.
        n_duplicates: films that were left out of LogME and H-score, because another has the same features.
    """

    probe: OutOfFold
    logme: FeatureScore
    h_score: FeatureScore
    n_features: int
    n_duplicates: int

    @property
    def log_odds(self) -> np.ndarray:
        """Out-of-fold log-odds of each class ``[n, k]``."""
        return self.probe.scores


def candidate_scores(features: Features, films: TargetFilms, reduce: int | None = None) -> Scores:
    """Scores of a candidate's features of the target films.

    Args:
        features: ``[n, d]``, a row a film.
        films: the target films.
        reduce: principal components that LogME and H-score are fitted on; None takes all features.

    Raises:
        UsageError: fewer features or films than components.
        ScoreInputError: features that do not vary, or a class with too few patients.
    """
    labels, patients, seed = films.labels, films.patients, films.seed
    probe = out_of_fold(features.values, labels, patients, seed=seed)
    distinct = distinct_features(features.values)
    values = distinct.values if reduce is None else _components(features.name, distinct.values, reduce)
    groups = patient_groups(patients[distinct.rows], len(distinct.rows), seed=seed)
    kept = labels[distinct.rows]
    return Scores(
        probe,
        logme(values, kept, groups),
        regularised_h_score(values, kept, groups),
        values.shape[1],
        distinct.n_duplicates,
    )


def _components(name: str, values: np.ndarray, number: int) -> np.ndarray:
    most = min(values.shape[1], len(values) - 1)
    if number > most:
        raise UsageError(
            f"--reduce pca:{number} cannot be fitted for {name}: it has {values.shape[1]} features of {len(values)} "
            f"films. Expected pca:{most} or less."
        )
    return PCA(number, svd_solver="full").fit_transform(values)
