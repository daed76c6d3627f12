"""Which weights to start from: scores of frozen features, their uncertainty, similarity, cards and agreement.

Arrays in, tables out; knows no network, no film and no run.
"""

from cxrkeras.sources.agreement import agreement_scores, agreement_table, measured_aucs
from cxrkeras.sources.candidates import Candidate, checked_candidates, parse_candidate
from cxrkeras.sources.cards import SourceCard, built_in_card, cards_table, read_cards
from cxrkeras.sources.cka import cka_table, linear_cka
from cxrkeras.sources.features import distinct_features, patient_groups
from cxrkeras.sources.glossary import glossary_table
from cxrkeras.sources.h_score import h_score, regularised_h_score
from cxrkeras.sources.kid import kid, squared_mmd
from cxrkeras.sources.leakage import saw_target
from cxrkeras.sources.logme import FeatureScore, logme
from cxrkeras.sources.prior import prior_family, prior_ranks, rank_agreement
from cxrkeras.sources.ranking import ranking_table
from cxrkeras.sources.similarity import film_statistics, semantic_similarity, visual_distance

__all__ = [
    "Candidate",
    "FeatureScore",
    "SourceCard",
    "agreement_scores",
    "agreement_table",
    "built_in_card",
    "cards_table",
    "checked_candidates",
    "cka_table",
    "distinct_features",
    "film_statistics",
    "glossary_table",
    "h_score",
    "kid",
    "linear_cka",
    "logme",
    "measured_aucs",
    "parse_candidate",
    "patient_groups",
    "prior_family",
    "prior_ranks",
    "rank_agreement",
    "ranking_table",
    "read_cards",
    "regularised_h_score",
    "saw_target",
    "semantic_similarity",
    "squared_mmd",
    "visual_distance",
]
