"""The prior order, and scores against measured fine-tuning: picks, regret, rank correlation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import weightedtau

from cxrkeras.errors import DataError, ScoreInputError
from cxrkeras.sources import (
    agreement_scores,
    agreement_table,
    measured_aucs,
    parse_candidate,
    prior_family,
    prior_ranks,
    rank_agreement,
)

NAMES = list("abcdef")


def sources(**columns) -> pd.DataFrame:
    return pd.DataFrame({"candidate": NAMES, **columns})


def test_the_prior_order():
    texts = {
        "i=ResNet50:imagenet": "imagenet",
        "x=ResNet50:RadImageNet-ResNet50_notop.h5": "radimagenet",
        "radimagenet=ResNet50:copy.h5:caffe": "radimagenet",
        "imagenet=ResNet50:copy.h5:caffe": "imagenet",
        "c=ResNet50:chexnet.h5:torch": "other",
        "imagenet=run:mine": "other",
        "r=ResNet50:random": "random",
    }
    assert [prior_family(parse_candidate(text)) for text in texts] == list(texts.values())
    assert prior_ranks(list(texts.values())) == [1, 3, 3, 1, 5, 5, 7]


def test_rank_agreement_needs_six_candidates_that_differ():
    x, y = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]), np.array([0.8, 0.9, 0.6, 0.7, 0.4, 0.5])
    found = rank_agreement(x, y)
    assert (found.weighted_tau, found.n, found.status) == (pytest.approx(weightedtau(x, y).statistic), 6, "ok")
    assert rank_agreement(x, x).weighted_tau == pytest.approx(1)
    assert rank_agreement(x, -x).weighted_tau == pytest.approx(-1)
    few = rank_agreement(x, np.where(y == 0.4, np.nan, y))
    assert (few.n, few.status, np.isnan(few.weighted_tau)) == (5, "too_few_candidates", True)
    assert rank_agreement(np.ones(6), y).status == "constant"
    with pytest.raises(ScoreInputError, match="two scores per candidate"):
        rank_agreement(x, y[:3])


def test_picks_regret_and_correlation():
    aucs = [0.90, 0.95, 0.80, 0.70, 0.60, 0.50]
    joined = agreement_scores(
        sources(probe_auc=[0.9, 0.8, 0.7, 0.6, 0.5, 0.4], logme=[np.nan] * 6, prior=[1, 2, 2, 2, 5, 6], kid=range(6)),
        measured_aucs(pd.DataFrame({"candidate": NAMES, "auc": aucs}), pd.Series(NAMES)),
    )
    rows = agreement_table(joined).set_index("score")
    assert rows.index.tolist() == ["probe_auc", "logme", "prior"]
    probe = rows.loc["probe_auc"]
    assert (probe["pick"], probe["best"], probe["status"]) == ("a", "b", "ok")
    assert (probe["pick_auc"], probe["best_auc"], probe["regret"]) == pytest.approx((0.9, 0.95, 0.05))
    assert probe["weighted_tau"] == pytest.approx(weightedtau([6, 5, 4, 3, 2, 1], aucs).statistic)
    assert rows.loc["prior", "pick"] == "a"
    assert rows.loc["prior", "weighted_tau"] == pytest.approx(weightedtau([-1, -2, -2, -2, -5, -6], aucs).statistic)
    assert (rows.loc["logme", "status"], rows.loc["logme", "n_candidates"]) == ("no_score", 0)
    assert np.isnan(rows.loc["logme", "regret"])


def test_tied_picks_share_the_regret_and_few_candidates_have_no_correlation():
    truth = pd.DataFrame({"candidate": ["a", "b", "c"], "auc": [0.6, 0.8, 0.9]})
    joined = agreement_scores(sources(prior=[1, 1, 3, 3, 3, 3]), measured_aucs(truth, pd.Series(NAMES)))
    row = agreement_table(joined).iloc[0]
    assert (row["pick"], row["best"], row["status"], row["n_candidates"]) == ("a, b", "c", "too_few_candidates", 3)
    assert (row["pick_auc"], row["regret"]) == pytest.approx((0.7, 0.2))
    assert np.isnan(row["weighted_tau"])


def test_seeds_are_averaged_and_the_gain_is_over_random_weights_of_the_same_network():
    frame = sources(
        probe_auc=np.linspace(0.9, 0.4, 6), arch=["R", "R", "D", "D", "D", "V"],
        weights=["imagenet", "random", "imagenet", "run:x", "random", "imagenet"],
    )  # fmt: skip
    truth = pd.DataFrame(
        {"candidate": list("abacdef"), "auc": [0.9, 0.7, 0.8, 0.95, 0.6, 0.5, 0.4], "seed": [0, 0, 1, 0, 0, 0, 0]}
    )
    measured = measured_aucs(truth, frame["candidate"])
    assert measured["candidate"].tolist() == NAMES
    assert measured["n_seeds"].tolist() == [2, 1, 1, 1, 1, 1]
    assert measured.loc[0, ["auc", "auc_sd"]].tolist() == pytest.approx([0.85, np.sqrt(0.005)])
    gain = agreement_scores(frame, measured)["transfer_gain"]
    assert gain[:5].tolist() == pytest.approx([0.15, 0, 0.45, 0.1, 0])
    assert np.isnan(gain[5])


@pytest.mark.parametrize(
    ("truth", "says"),
    [
        ({"candidate": ["a"]}, "lacks the column auc"),
        ({"candidate": ["aa"], "auc": [0.5]}, "unknown candidate in the truth 'aa'"),
        ({"candidate": ["a"], "auc": [1.5]}, "from 0 to 1. Received .*1.5.* for a"),
        ({"candidate": ["a"], "auc": ["high"]}, "Received 'high' for a"),
        ({"candidate": ["a", "a"], "auc": [0.5, 0.6]}, "no column seed"),
        ({"candidate": ["a", "a"], "auc": [0.5, 0.6], "seed": [1, 1]}, "with one seed"),
    ],
)
def test_a_truth_that_cannot_be_used_is_refused(truth, says):
    with pytest.raises(DataError, match=says):
        measured_aucs(pd.DataFrame(truth), pd.Series(NAMES))
