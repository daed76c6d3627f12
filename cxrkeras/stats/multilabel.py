"""Statistics of films that may have several findings, each known or not: 1, 0 or NaN.

A finding is measured over the films whose truth about it is known. Knows no run and no film.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cxrkeras.stats.auc import Auc, exact_auc


def finding_aucs(truth: ArrayLike, probabilities: ArrayLike) -> list[Auc]:
    """Exact AUC of every finding over the films where it is known.

    Args:
        truth: 1, 0 or NaN (unknown), float ``[n, n_findings]``.
        probabilities: any finite scores, ``[n, n_findings]``.

    Returns:
        One AUC a finding; NaN with status ``class_absent`` where the known films lack positives or negatives.
    """
    truth, scores = np.asarray(truth, float), np.asarray(probabilities, float)
    return [_known_auc(truth[:, c], scores[:, c]) for c in range(truth.shape[1])]


def mean_finding_auc(truth: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean of the findings' AUCs that are defined; NaN where none is."""
    values = [auc.value for auc in finding_aucs(truth, probabilities) if auc.status == "ok"]
    return float(np.mean(values)) if values else float("nan")


def _known_auc(truth: np.ndarray, scores: np.ndarray) -> Auc:
    known = np.isfinite(truth)
    if len(np.unique(truth[known])) < 2:
        return Auc(float("nan"), "class_absent")
    return exact_auc(truth[known].astype(int), scores[known])
