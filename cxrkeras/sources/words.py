"""The sentences that go with a comparison of weight sources. None of them claims to know the winner."""

from __future__ import annotations

import pandas as pd

from cxrkeras.sources.ranking import EXCLUDED

EXPECTATION = (
    "On the public medical benchmark these scores reached a weighted rank correlation of about 0.3-0.4 with fine-tuned "
    "AUC, a fixed prior order reached .45; confirm by fine-tuning the top 2."
)
POOLED = (
    "The probe AUC is the exact AUC (one-vs-rest, mean over classes, for more than two) of out-of-fold scores pooled "
    "over patient-grouped folds; its interval resamples patients and leaves out that probes fitted to other films "
    "would differ."
)
STANDARD_ERRORS = (
    "Errors of LogME and H-score are delete-group jackknife errors over groups of patients; a bootstrap would repeat "
    "films, which makes both meaningless."
)
WIDTH = (
    "The candidates have different numbers of features, and LogME and H-score favour many: compare them within one "
    "architecture, or give all the same number with --reduce pca:256."
)
SIMILARITY = (
    "Similarity, visual, semantic or of embeddings, does not predict performance; it stands in columns of its own and "
    "ranks nothing."
)


def headline(ranking: pd.DataFrame) -> str:
    """Return the sentence on who is ahead and from whom that cannot be told apart.

    Args:
        ranking: as from `ranking_table`, or a table that holds its columns.
    """
    ranked = ranking[ranking["rank"].notna()]
    if ranked.empty:
        return "No candidate could be ranked."
    first = ranked.sort_values("rank", kind="stable").iloc[0]
    ahead = f"{first['candidate']} has the highest probe AUC ({first['probe_auc']:.3f})"
    if len(ranked) == 1:
        return f"{ahead}; there is no other candidate to rank it against."
    tied = first["tied_with"] if isinstance(first["tied_with"], str) else ""
    count = len(tied.split(", ")) if tied else 0
    if count == len(ranked) - 1:
        return f"No candidate distinguishable: {ahead}, and no interval of a paired difference from it excludes 0."
    if tied:
        return f"{ahead} and is not distinguishable from {tied}: the intervals of their paired differences contain 0."
    return f"{ahead}; the interval of its paired difference from each of the others excludes 0."


def exclusion(ranking: pd.DataFrame) -> str:
    """Return the sentence on candidates that saw the target films, empty where there is none."""
    names = ranking.loc[ranking["status"].eq(EXCLUDED), "candidate"].tolist()
    if not names:
        return ""
    verb = "was" if len(names) == 1 else "were"
    return (
        f"{', '.join(names)} {verb} trained on the target films and {'is' if len(names) == 1 else 'are'} not ranked; "
        "--include-seen ranks all the same."
    )
