"""Scores of candidates against what fine-tuning them really gave: whom each score picks, and what that costs.

Tables in, tables out; trains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cxrkeras.errors import DataError, unknown
from cxrkeras.sources.prior import rank_agreement
from cxrkeras.sources.ranking import SEPARATOR

# score -> 1 where higher is better, −1 where lower is
SCORES: dict[str, int] = {
    "probe_auc": 1,
    "logme": 1,
    "h_score": 1,
    "prior": -1,
    "tag_reversed_auc": 1,
    "lowpass_reversed_auc": 1,
}
COLUMNS = [
    "score", "n_candidates", "pick", "pick_auc", "best", "best_auc", "regret", "weighted_tau", "status",
]  # fmt: skip
NO_SCORE, TIED = "no_score", 1e-12


def measured_aucs(truth: pd.DataFrame, candidates: pd.Series) -> pd.DataFrame:
    """Return the AUC of each fine-tuned candidate, the mean over its seeds.

    Args:
        truth: `candidate`, `auc` and optionally `seed`.
        candidates: the names that there are.

    Returns:
        A row per candidate of `truth`: `candidate`, `auc`, `auc_sd` over seeds (NaN for one), `n_seeds`.

    Raises:
        DataError: a column is missing, a candidate is none of these, an AUC is not in 0..1, or a seed stands twice.
    """
    if missing := {"candidate", "auc"} - set(truth.columns):
        raise DataError(
            f"the truth lacks the column {' and '.join(sorted(missing))}. Expected candidate, auc and optionally seed; "
            f"received {', '.join(map(str, truth.columns))}."
        )
    known = [str(name) for name in candidates]
    names = truth["candidate"].astype(str)
    for name in names:
        if name not in known:
            raise unknown("candidate in the truth", name, known, DataError)
    aucs = pd.to_numeric(truth["auc"], errors="coerce")
    if not aucs.between(0, 1).all():
        row = int(np.flatnonzero(~aucs.between(0, 1))[0])
        raise DataError(f"the truth needs AUCs from 0 to 1. Received {truth['auc'].iloc[row]!r} for {names.iloc[row]}.")
    key = [names, truth["seed"].astype(str)] if "seed" in truth else [names]
    if (twice := pd.concat(key, axis=1).duplicated()).any():
        row = int(np.flatnonzero(twice)[0])
        raise DataError(
            f"the truth has {names.iloc[row]} twice{' with one seed' if 'seed' in truth else ' and no column seed'}. "
            "Expected one AUC per candidate and seed."
        )
    grouped = aucs.groupby(names, sort=False)
    return pd.DataFrame(
        {
            "candidate": list(grouped.groups),
            "auc": grouped.mean().to_numpy(),
            "auc_sd": grouped.std(ddof=1).to_numpy(),
            "n_seeds": grouped.size().to_numpy(),
        }
    )


def agreement_scores(sources: pd.DataFrame, measured: pd.DataFrame, scores: Mapping[str, int] = SCORES) -> pd.DataFrame:
    """Return what each fine-tuned candidate was scored beside what it reached.

    Args:
        sources: `candidate` and the columns of `scores`; with `arch` and `weights` the transfer gain is given too.
        measured: as from `measured_aucs`.
        scores: score -> 1 or −1.

    Returns:
        `candidate`, the scores that there are, `auc`, `auc_sd`, `n_seeds`, and `transfer_gain`: AUC minus that of the
        same network from random weights, NaN where none was fine-tuned.
    """
    present = [name for name in scores if name in sources]
    joined = measured.merge(sources[["candidate", *present]], on="candidate", how="left")
    gain = pd.Series(np.nan, index=joined.index)
    if {"arch", "weights"} <= set(sources.columns):
        facts = measured.merge(sources[["candidate", "arch", "weights"]], on="candidate", how="left")
        random = facts[facts["weights"].eq("random")].groupby("arch")["auc"].mean()
        gain = facts["auc"] - facts["arch"].map(random)
    columns = ["candidate", *present, "auc", "auc_sd", "n_seeds"]
    return joined[columns].assign(transfer_gain=gain.astype(np.float64))


def agreement_table(joined: pd.DataFrame, scores: Mapping[str, int] = SCORES) -> pd.DataFrame:
    """Return whom each score picks, the regret, and its rank correlation with the measured AUC.

    Args:
        joined: as from `agreement_scores`.
        scores: score -> 1 where higher is better, −1 where lower is.

    Returns:
        A row per score: `score`, `n_candidates` that have it, `pick` (all of them where several tie), `pick_auc`
        (mean over the tied picks), `best`, `best_auc` (of all fine-tuned ones), `regret` = best AUC − pick AUC,
        `weighted_tau` (from 6 candidates on), `status`: ``ok``, ``too_few_candidates`` or ``constant`` (no
        correlation; pick and regret stand), ``no_score``.
    """
    aucs = joined["auc"].to_numpy(np.float64)
    best_auc = aucs.max() if len(aucs) else np.nan
    best = SEPARATOR.join(joined["candidate"][aucs >= best_auc - TIED])
    rows = []
    for name, sign in scores.items():
        if name not in joined:
            continue
        values = sign * pd.to_numeric(joined[name]).to_numpy(np.float64, na_value=np.nan)
        known = ~np.isnan(values)
        row = {"score": name, "n_candidates": int(known.sum()), "best": best, "best_auc": best_auc, "pick": ""}
        if not known.any():
            rows.append({**row, "status": NO_SCORE})
            continue
        picked = known & (values >= np.nanmax(values) - TIED)
        found = rank_agreement(values, aucs)
        row |= {"pick": SEPARATOR.join(joined["candidate"][picked]), "pick_auc": float(aucs[picked].mean())}
        row |= {"regret": float(best_auc - aucs[picked].mean()), "weighted_tau": found.weighted_tau}
        rows.append({**row, "status": found.status})
    return pd.DataFrame(rows, columns=COLUMNS)
