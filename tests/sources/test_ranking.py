"""Ranks, ties and paired differences of candidates, and the words for them."""

from __future__ import annotations

import numpy as np
import pytest

from cxrkeras.errors import ScoreInputError
from cxrkeras.probe import out_of_fold
from cxrkeras.sources import ranking_table
from cxrkeras.sources.words import exclusion, headline
from cxrkeras.stats import patient_bootstrap, resampled_auc


def answers(n: int = 200, k: int = 2, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Scores that follow the class strongly, weakly and not at all; two films a patient."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) // 2 % k
    truth, shared = np.eye(k)[labels], rng.normal(size=(n, k))
    scores = {name: a * truth + shared for name, a in {"strong": 3.0, "weak": 1.0, "none": 0.0}.items()}
    if k == 2:
        scores = {name: np.stack([-array[:, 1] + array[:, 0]] * 2, 1) * [1, -1] for name, array in scores.items()}
    return scores, labels, np.arange(n) // 2


@pytest.mark.parametrize("k", [2, 3])
def test_auc_and_intervals_are_the_patient_bootstraps(k):
    scores, labels, patients = answers(k=k)
    table = ranking_table(scores, labels, patients, n_resamples=200).set_index("candidate")
    functions = {name: resampled_auc(labels, array) for name, array in scores.items()}
    for name in scores:
        slow = patient_bootstrap(functions[name], patients, 200)
        row = table.loc[name]
        assert (row["probe_auc"], row["ci_lo"], row["ci_hi"]) == pytest.approx((slow.estimate, slow.low, slow.high))
        paired = patient_bootstrap(lambda r, f=functions[name]: f(r) - functions["strong"](r), patients, 200)
        found = (row["difference_to_best"], row["difference_lo"], row["difference_hi"])
        assert found == pytest.approx((paired.estimate, paired.low, paired.high))
    assert table["rank"].tolist() == [1, 2, 3]
    assert table["rank_lo"].tolist() == table["rank_hi"].tolist() == [1, 2, 3]
    assert table["tied_with"].tolist() == ["", "", ""]
    assert (table["n_films"].unique(), table["n_patients"].unique()) == ([200], [100])


def test_equal_candidates_share_a_rank_and_are_tied():
    scores, labels, patients = answers()
    table = ranking_table({**scores, "twin": scores["strong"].copy()}, labels, patients, n_resamples=100)
    rows = table.set_index("candidate")
    assert rows.loc[["strong", "twin"], ["rank", "rank_lo", "rank_hi"]].to_numpy().tolist() == [[1, 1, 1], [1, 1, 1]]
    assert rows.loc["weak", "rank"] == 3
    assert (rows.loc["strong", "tied_with"], rows.loc["twin", "tied_with"]) == ("twin", "strong")
    assert rows.loc["twin", ["difference_to_best", "difference_lo", "difference_hi"]].tolist() == [0, 0, 0]
    assert "not distinguishable from twin" in headline(table)


def test_ranks_of_near_equals_have_wide_intervals():
    rng = np.random.default_rng(1)
    scores, labels, patients = answers()
    near = {f"n{i}": scores["weak"] + 0.3 * np.outer(rng.normal(size=200), [-1, 1]) for i in range(3)}
    rows = ranking_table(near, labels, patients, n_resamples=300)
    assert sorted(rows["rank"]) == [1, 2, 3]
    assert (rows["rank_hi"] > rows["rank_lo"]).any()
    assert headline(rows).startswith("No candidate distinguishable")


def test_a_candidate_that_saw_the_target_has_an_auc_and_no_rank():
    scores, labels, patients = answers()
    table = ranking_table(scores, labels, patients, excluded=("strong",), n_resamples=100)
    rows = table.set_index("candidate")
    assert rows.loc["strong", "status"] == "excluded_saw_target"
    assert rows["rank"].isna().tolist() == [True, False, False]
    assert rows.loc["strong", "probe_auc"] > rows.loc["weak", "probe_auc"]
    assert rows.loc["weak", ["rank", "difference_to_best"]].tolist() == [1, 0]
    assert exclusion(table).startswith("strong was trained on the target films and is not ranked")
    assert headline(table).startswith("weak has the highest probe AUC")
    with pytest.raises(ScoreInputError, match="strange"):
        ranking_table(scores, labels, patients, excluded=("strange",))


def test_without_patients_for_intervals_nothing_is_told_apart():
    scores, labels, _ = answers(40)
    rows = ranking_table(scores, labels, np.arange(40) % 8, n_resamples=50).set_index("candidate")
    assert set(rows["status"]) == {"too_few_patients"}
    assert rows["rank"].tolist() == [1, 2, 3]
    assert rows[["rank_lo", "rank_hi", "ci_lo", "difference_lo"]].isna().all().all()
    assert rows.loc["strong", "tied_with"] == "weak, none"


def test_headlines_of_one_and_of_none():
    scores, labels, patients = answers()
    alone = ranking_table({"strong": scores["strong"]}, labels, patients, n_resamples=50)
    assert "no other candidate" in headline(alone)
    assert "excludes 0" in headline(ranking_table(scores, labels, patients, n_resamples=50))
    assert headline(ranking_table(scores, labels, patients, excluded=tuple(scores), n_resamples=50)) == (
        "No candidate could be ranked."
    )


def test_identical_features_end_in_identical_scores_and_a_tie():
    rng = np.random.default_rng(2)
    labels, patients = np.arange(60) % 2, np.arange(60)
    features = rng.normal(size=(60, 80)) + 0.5 * labels[:, None] * (np.arange(80) < 5)
    scores = {name: out_of_fold(features, labels, patients).scores for name in ("one", "two")}
    rows = ranking_table(scores, labels, patients, n_resamples=100)
    assert rows["probe_auc"].nunique() == 1
    assert rows["tied_with"].tolist() == ["two", "one"]
