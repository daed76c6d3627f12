"""What a C-Score returns: the table per class, and the numbers over all classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd

from cxrkeras.consistency.jackknife import PairMean, mean_over_classes, standard_error
from cxrkeras.stats import t_interval

FEWEST_PATIENTS = 3
PER_CLASS_COLUMNS = (
    "class",
    "score",
    "stderr",
    "ci_low",
    "ci_high",
    "n_images",
    "n_gold",
    "n_patients",
    "coverage",
    "baseline",
    "excess",
    "excess_stderr",
    "n_degenerate",
    "status",
    "n_uninformative",
    "n_ambiguous",
    "concentration",
    "sampling_stderr",
    "n_pairs",
    "flags",
)


@dataclass(frozen=True)
class ConsistencyScore:
    """The C-Score of one set of maps.

    Attributes:
        per_class: a row per class, columns `PER_CLASS_COLUMNS`. ``status`` is ``ok`` or the first reason why a number
            of the row is NaN or needs care; ``flags`` lists the further ones, separated by commas.
        macro: mean over classes.
        macro_stderr: its delete-one-patient jackknife, the patient taken from all classes at once; NaN when a class
            that counts has fewer than three patients.
        macro_ci_low, macro_ci_high: its 95 % interval, with the degrees of freedom of the smallest gold list.
        micro: mean weighted by each class's sum of pair weights, over defined classes.
        minimum: lowest class score.
        range: highest minus lowest class score.
        statuses: status of each of the four: ``ok``, ``undefined_class`` (NaN), ``classes_skipped`` (some classes are
            undefined and were left out), ``approximate``.
        parameters: the constants used and the native grid.
    """

    per_class: pd.DataFrame
    macro: float
    macro_stderr: float
    macro_ci_low: float
    macro_ci_high: float
    micro: float
    minimum: float
    range: float
    statuses: dict[str, str]
    parameters: dict[str, Any]

    def summary(self) -> pd.DataFrame:
        """Return the numbers over all classes: statistic, value, stderr, ci_low, ci_high (macro only), status."""
        values = {"macro": self.macro, "micro": self.micro, "min": self.minimum, "range": self.range}
        return pd.DataFrame(
            {
                "statistic": list(values),
                "value": list(values.values()),
                "stderr": [self.macro_stderr, np.nan, np.nan, np.nan],
                "ci_low": [self.macro_ci_low, np.nan, np.nan, np.nan],
                "ci_high": [self.macro_ci_high, np.nan, np.nan, np.nan],
                "status": [self.statuses[name] for name in values],
            }
        )


def consistency_score(
    per_class: pd.DataFrame,
    means: Sequence[PairMean | None],
    patients: Sequence[np.ndarray],
    macro: str,
    parameters: dict[str, Any],
) -> ConsistencyScore:
    """Return the result with its numbers over all classes.

    Args:
        per_class: the table per class.
        means: each class's mean over pairs; None where the class is undefined.
        patients: numbers of the patients in each gold list, int ``[G_c]``.
        macro: ``strict`` or ``skip``.
        parameters: stored with the result.
    """
    scores = per_class["score"].to_numpy(dtype=np.float64)
    defined = ~np.isnan(scores)
    approximate = any("approximate" in text for column in ("status", "flags") for text in per_class[column])
    usable = defined.all() or (macro == "skip" and defined.any())
    kept = scores[defined] if usable else np.array([np.nan])
    weights = [mean.weights for mean in means if mean is not None]
    micro = np.average(scores[defined], weights=weights) if defined.any() else np.nan
    counted = [(mean, who) for mean, who in zip(means, patients, strict=True) if mean is not None] if usable else []
    stderr, low, high = over_classes(*zip(*counted, strict=True)) if counted else (np.nan, np.nan, np.nan)
    # the spread over a single class is no spread of 0
    spread = kept.size > 1
    partial = "approximate" if approximate else "ok"
    if not defined.all():
        partial = "classes_skipped"
    over_all = partial if usable else "undefined_class"
    return ConsistencyScore(
        per_class=per_class,
        macro=float(kept.mean()),
        macro_stderr=stderr,
        macro_ci_low=low,
        macro_ci_high=high,
        micro=float(micro),
        minimum=float(kept.min()),
        range=float(kept.max() - kept.min()) if spread else float("nan"),
        statuses={
            "macro": over_all,
            "micro": partial if defined.any() else "undefined_class",
            "min": over_all,
            "range": over_all if spread else "undefined_class",
        },
        parameters=parameters,
    )


def over_classes(
    means: Sequence[PairMean], patients: Sequence[np.ndarray], bounds: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float, float]:
    """Return standard error and 95 % interval of the mean over classes.

    Args:
        means: each class's mean over pairs.
        patients: numbers of the patients in each, int ``[G_c]``.
        bounds: smallest and largest possible value.

    Returns:
        stderr, low, high; NaN when a class has fewer than three patients. The degrees of freedom are those of the
        smallest gold list: a class of few patients widens the interval however many the others have.
    """
    mean = mean_over_classes(means)
    fewest = min(len(who) for who in patients)
    stderr = standard_error(mean, reduce(np.union1d, patients)) if fewest >= FEWEST_PATIENTS else float("nan")
    return stderr, *t_interval(mean.value, stderr, fewest, bounds=bounds)
