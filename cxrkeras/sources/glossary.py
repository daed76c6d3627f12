"""The words that practitioners use for sources, each with the one quantity that is computed for it here."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd


class Term(NamedTuple):
    """A word, what it means, and what is computed for it."""

    term: str
    definition: str
    computed_as: str


GLOSSARY = (
    Term(
        "visual similarity",
        "likeness of low-level image statistics; needs no label and no network",
        "visual_distance: Wasserstein distance of the mean grey histograms over 255, with the difference of spectrum "
        "slopes; needs --source-images",
    ),
    Term(
        "embedding similarity",
        "likeness of films in a fixed, named extractor",
        "kid: unbiased MMD² with kernel (x·y/D + 1)³ over 100 subsets of min(1000, N//2) films, mean and sd; may be "
        "negative; needs --source-images and --extractor",
    ),
    Term(
        "semantic similarity",
        "agreement of what is said about two data sets",
        "semantic_similarity: mean Jaccard index of modality, anatomy, view and label set over the fields known in "
        "both cards",
    ),
    Term(
        "transferability score",
        "a function of source network, target films and target labels",
        "logme: mean over classes of the log evidence per film of a Bayesian linear model; h_score: (1 − a)·tr(cov_a⁻¹ "
        "cov(E[F|y])) with Ledoit–Wolf shrinkage a, 0 to classes − 1",
    ),
    Term(
        "expected performance",
        "how well the frozen features already tell the classes apart",
        "probe_auc: exact AUC of out-of-fold scores of a patient-grouped 5-fold logistic probe",
    ),
    Term(
        "transfer gain",
        "what the source gives over no source, measured",
        "fine-tuned AUC minus the AUC of the same network fine-tuned from random weights; needs --truth",
    ),
    Term(
        "redundancy",
        "two sources that arrange the films alike",
        "cka: linear CKA of two candidates' features of the same films, debiased below 10 films a feature",
    ),
    Term(
        "prior order",
        "what the field assumes before measuring",
        "prior: ImageNet, then RadImageNet, then other, then random; the baseline of every score",
    ),
    Term(
        "regret",
        "what it costs to follow a score",
        "highest fine-tuned AUC minus that of the score's pick; the mean over picks that tie; needs --truth",
    ),
    Term(
        "leakage",
        "weights that were trained on the target films",
        "saw_target: yes for one common file hash or a common data set in the card, no, or unknown; yes is not ranked",
    ),
)

# Scores that practitioners may look for, and why they are not computed.
NOT_COMPUTED = (
    Term("NCE, LEEP", "scores from a source's own classes", "not computed: only imagenet keeps a head"),
    Term("NLEEP", "LEEP on a Gaussian mixture", "not computed: depends on the seed, slow"),
    Term("FID", "Fréchet distance of features", "not computed: biased for fewer films than features; kid is not"),
    Term("GBC", "overlap of class Gaussians", "not computed: its 64 components need more films than small sets have"),
    Term(
        "TransRate, SFDA, PARC, NCTI, PACTran, ETran, OTDD",
        "further transferability scores",
        "not computed: no advantage shown on medical targets",
    ),
)  # fmt: skip


def glossary_table() -> pd.DataFrame:
    """Return `term`, `definition`, `computed_as`: what is computed, then what is not and why."""
    return pd.DataFrame([*GLOSSARY, *NOT_COMPUTED], columns=list(Term._fields))
