"""What a C-Score returns: the table per class, and the numbers over all classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

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
        micro: mean weighted by each class's sum of pair weights, over defined classes.
        minimum: lowest class score.
        range: highest minus lowest class score.
        statuses: status of each of the four: ``ok``, ``undefined_class`` (NaN), ``classes_skipped`` (some classes are
            undefined and were left out), ``approximate``.
        parameters: the constants used and the native grid.
    """

    per_class: pd.DataFrame
    macro: float
    micro: float
    minimum: float
    range: float
    statuses: dict[str, str]
    parameters: dict[str, Any]

    def summary(self) -> pd.DataFrame:
        """Return the numbers over all classes: columns statistic, value, status."""
        values = {"macro": self.macro, "micro": self.micro, "min": self.minimum, "range": self.range}
        return pd.DataFrame(
            {"statistic": list(values), "value": list(values.values()), "status": [self.statuses[k] for k in values]}
        )


def consistency_score(
    per_class: pd.DataFrame, weights: np.ndarray, macro: str, parameters: dict[str, Any]
) -> ConsistencyScore:
    """Return the result with its numbers over all classes.

    Args:
        per_class: the table per class.
        weights: Σ w of each class's pairs ``[C]``; NaN where the class is undefined.
        macro: ``strict`` or ``skip``.
        parameters: stored with the result.
    """
    scores = per_class["score"].to_numpy(dtype=np.float64)
    defined = ~np.isnan(scores)
    approximate = any("approximate" in text for column in ("status", "flags") for text in per_class[column])
    usable = defined.all() or (macro == "skip" and defined.any())
    kept = scores[defined] if usable else np.array([np.nan])
    micro = np.average(scores[defined], weights=weights[defined]) if defined.any() else np.nan
    # the spread over a single class is no spread of 0
    spread = kept.size > 1
    partial = "approximate" if approximate else "ok"
    if not defined.all():
        partial = "classes_skipped"
    over_all = partial if usable else "undefined_class"
    return ConsistencyScore(
        per_class=per_class,
        macro=float(kept.mean()),
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
