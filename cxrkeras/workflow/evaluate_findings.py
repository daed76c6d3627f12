"""How well findings that may stand together are told, each over the films where it is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.stats import Interval, exact_auc, expected_calibration_error, patient_bootstrap, resampled_auc

# a finding is called where its probability reaches one half
DECISION = 0.5
MACRO = "macro"


def finding_tables(
    truth: np.ndarray, probabilities: np.ndarray, findings: Sequence[str], patients: np.ndarray, seed: int = 0
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Figures of every finding and of their mean, with intervals over patients.

    Args:
        truth: 1, 0 or NaN (unknown), ``[n, n_findings]``.
        probabilities: of each finding on its own, ``[n, n_findings]``.
        findings: their names.
        patients: patient ids ``[n]``.
        seed: seed of the bootstrap.

    Returns:
        A row per finding and the row `macro` (mean over the findings that are defined): class, n_images (known),
        n_positive, n_negative, n_ignored, auc, sensitivity and specificity at a probability of one half, each with its
        interval, calibration_error, status; and the summary's figures: auc with its interval, n_findings that are
        defined of how many, calibration_error, status.
    """
    each = [_Finding(truth[:, c], probabilities[:, c]) for c in range(len(findings))]

    def interval(statistic: Callable[[np.ndarray], float]) -> Interval:
        return patient_bootstrap(statistic, patients, seed=seed)

    rows = [one.row(name, interval) for name, one in zip(findings, each, strict=True)]
    defined = [one for one in each if one.status == "ok"]
    around = interval(lambda rows: _mean([one.auc_of(rows) for one in defined]))
    table = pd.DataFrame(rows)
    whole = "ok" if len(defined) == len(each) else ("findings_skipped" if defined else "undefined")
    status = whole if whole != "ok" else around.status
    macro = {
        "class": MACRO,
        **{name: int(table[name].sum()) for name in ("n_images", "n_positive", "n_negative", "n_ignored")},
        "auc": around.estimate,
        "auc_ci_low": around.low,
        "auc_ci_high": around.high,
        **{name: float(table[name].mean()) for name in ("sensitivity", "specificity", "calibration_error")},
        "status": status,
    }
    summary = {name: macro[name] for name in ("auc", "auc_ci_low", "auc_ci_high", "calibration_error", "status")}
    counts = {"n_findings": len(each), "n_defined": len(defined)}
    return pd.concat([table, pd.DataFrame([macro])], ignore_index=True), {**counts, **summary}


class _Finding:
    """One finding over the films where it is known."""

    def __init__(self, truth: np.ndarray, probability: np.ndarray) -> None:
        self.known = np.isfinite(truth)
        self.positive, self.probability = truth == 1, np.asarray(probability, np.float64)
        self.place = np.cumsum(self.known) - 1
        labels = truth[self.known].astype(int)
        sides = {name for value, name in ((1, "no_positive"), (0, "no_negative")) if not (labels == value).any()}
        self.status = ",".join(sorted(sides)) or "ok"
        self.labels, self.scores = labels, self.probability[self.known]
        self._resampled = resampled_auc(labels, self.scores) if self.status == "ok" else None

    def auc_of(self, rows: np.ndarray) -> float:
        """AUC of films ``[k]`` with repeats; NaN without positives or negatives among them."""
        return self._resampled(self.place[rows[self.known[rows]]]) if self._resampled else float("nan")

    def rate(self, positive: bool) -> Callable[[np.ndarray], float]:
        """Share of the positives that are called, or of the negatives that are not."""
        counted = self.known & (self.positive == positive)
        right = (self.probability >= DECISION) == positive

        def share(rows: np.ndarray) -> float:
            among = counted[rows]
            return float(right[rows][among].mean()) if among.any() else float("nan")

        return share

    def row(self, name: str, interval: Callable[[Callable[[np.ndarray], float]], Interval]) -> dict[str, Any]:
        """Its row of the table."""
        around = interval(self.auc_of)
        row = {
            "class": name,
            "n_images": int(self.known.sum()),
            "n_positive": int(self.labels.sum()),
            "n_negative": int((1 - self.labels).sum()),
            "n_ignored": int((~self.known).sum()),
            "auc": exact_auc(self.labels, self.scores).value if self._resampled else float("nan"),
            "auc_ci_low": around.low,
            "auc_ci_high": around.high,
        }
        for kind, positive in (("sensitivity", True), ("specificity", False)):
            one = interval(self.rate(positive))
            row |= {kind: one.estimate, f"{kind}_ci_low": one.low, f"{kind}_ci_high": one.high}
        row["calibration_error"] = expected_calibration_error(self.labels, self.scores) if len(self.labels) else np.nan
        return row | {"status": self.status if self.status != "ok" else around.status}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
