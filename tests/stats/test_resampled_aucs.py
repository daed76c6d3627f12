"""AUC of many scores in the same resamples: the draws of the patient bootstrap, ties, missing films, p-values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.stats import (
    exact_auc,
    patient_bootstrap,
    percentile_interval,
    resampled_auc,
    resampled_aucs,
    resampled_means,
    two_sided_p,
)


def drawn_one_by_one(positive, scores, patients, n_resamples, seed):
    """AUC of each resample by the plain bootstrap, and its interval."""
    statistic, values = resampled_auc(positive.astype(int), scores), []
    interval = patient_bootstrap(lambda rows: values.append(statistic(rows)) or values[-1], patients, n_resamples, seed)
    return np.array(values[1:]), interval


@pytest.mark.parametrize("at_once", [1, 700, 65_536])
def test_they_are_the_draws_of_the_patient_bootstrap(monkeypatch, at_once):
    monkeypatch.setattr("cxrkeras.stats.auc.WEIGHED_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    positive, patients = rng.random(70) < 0.3, rng.integers(40, size=70)
    scores = np.stack([rng.normal(size=70), np.round(rng.normal(size=70)), np.zeros(70), positive * 1e300], axis=1)
    draws = resampled_aucs(positive, scores, patients, 60, seed=3)
    for column in range(3):
        expected, interval = drawn_one_by_one(positive, scores[:, column], patients, 60, 3)
        np.testing.assert_allclose(draws[:, column], expected, atol=1e-12)
        own = percentile_interval(interval.estimate, draws[:, column], len(np.unique(patients)))
        for name in ("estimate", "low", "high", "stderr"):
            assert getattr(own, name) == pytest.approx(getattr(interval, name), abs=1e-12)
        assert (own.n_patients, own.n_resamples, own.status) == (interval.n_patients, 60, "ok")
    assert (draws[:, 2] == 0.5).all()
    assert (draws[:, 3] == 1).all()


def test_a_missing_score_leaves_the_film_out_of_its_column():
    rng = np.random.default_rng(1)
    positive, patients, scores = rng.random(60) < 0.5, rng.integers(30, size=60), rng.normal(size=60)
    kept = rng.random(60) < 0.7
    draws = resampled_aucs(positive, np.where(kept, scores, np.nan)[:, None], patients, 50, seed=2)[:, 0]

    def statistic(rows):
        rows = rows[kept[rows]]
        expected.append(exact_auc(positive[rows].astype(int), scores[rows]).value)
        return expected[-1]

    expected = []
    patient_bootstrap(statistic, patients, 50, seed=2)
    np.testing.assert_allclose(draws, expected[1:], atol=1e-12)


def test_a_class_that_is_absent_is_nan():
    positive = np.zeros(20, bool)
    positive[0] = True
    draws = resampled_aucs(positive, np.arange(20.0)[:, None], range(20), 400, seed=0)
    assert np.isnan(draws).mean() == pytest.approx((19 / 20) ** 20, abs=0.08)
    assert set(draws[~np.isnan(draws)].ravel()) == {0.0}
    assert np.isnan(resampled_aucs(~positive | positive, np.ones((20, 2)), range(20), 5)).all()
    assert np.isnan(resampled_aucs(positive, np.full((20, 1), np.nan), range(20), 5)).all()
    assert resampled_aucs([], np.zeros((0, 3)), [], 5).shape == (5, 3)
    assert resampled_aucs(positive, np.zeros((20, 0)), range(20), 5).shape == (5, 0)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-40, 40), min_size=12, max_size=30), st.integers(0, 9))
def test_only_the_order_of_scores_counts(scores, seed):
    scores = np.array(scores, float)
    positive = np.arange(len(scores)) % 3 == 0
    columns = np.stack([scores, np.exp(scores / 10), scores**3, -scores], axis=1)
    draws = resampled_aucs(positive, columns, np.arange(len(scores)) // 2, 30, seed)
    np.testing.assert_array_equal(draws[:, 0], draws[:, 1])
    np.testing.assert_array_equal(draws[:, 0], draws[:, 2])
    np.testing.assert_allclose(draws[:, 3], 1 - draws[:, 0], atol=1e-12)


def test_its_spread_is_that_of_hanley_and_mcneil():
    """AUC .85 of 31 positive and 52 negative films: standard error .047 (Hanley & McNeil 1982)."""
    auc, n_pos, n_neg = 0.85, 31, 52
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    published = np.sqrt((auc * (1 - auc) + (n_pos - 1) * (q1 - auc**2) + (n_neg - 1) * (q2 - auc**2)) / n_pos / n_neg)
    assert published == pytest.approx(0.047, abs=5e-4)
    # scores at the quantiles of two normals as far apart as this AUC says
    ours = ndtri((np.arange(n_pos) + 0.5) / n_pos) + np.sqrt(2) * ndtri(auc)
    theirs = ndtri((np.arange(n_neg) + 0.5) / n_neg)
    positive, scores = np.arange(n_pos + n_neg) < n_pos, np.concatenate([ours, theirs])
    assert exact_auc(positive.astype(int), scores).value == pytest.approx(auc, abs=0.01)
    draws = resampled_aucs(positive, scores[:, None], range(n_pos + n_neg), 2000)[:, 0]
    assert draws.std(ddof=1) == pytest.approx(published, rel=0.15)


def test_shapes_must_fit():
    with pytest.raises(ScoreInputError, match=r"Received \(3,\) and \(2, 1\)"):
        resampled_aucs([True, False, True], [[1.0], [2.0]], range(3))
    with pytest.raises(ScoreInputError, match="Expected 2, received 3"):
        resampled_aucs([True, False], [[1.0], [2.0]], range(3))
    with pytest.raises(UsageError, match="n_resamples >= 2"):
        resampled_aucs([True, False], [[1.0], [2.0]], range(2), n_resamples=1)


def test_the_bootstrap_p_is_twice_the_smaller_tail():
    assert two_sided_p(np.arange(1, 1000.0)) == pytest.approx(2 / 1000)
    assert two_sided_p(-np.arange(1, 1000.0)) == pytest.approx(2 / 1000)
    assert two_sided_p(np.array([-1.0, 1, 2, 3, np.nan])) == pytest.approx(2 * 2 / 5)
    assert two_sided_p(np.zeros(50)) == 1
    assert np.isnan(two_sided_p(np.full(3, np.nan)))
    draws = resampled_means(np.random.default_rng(0).normal(0.2, 1, 100), range(100), 999)
    assert two_sided_p(draws) == 2 * (1 + min((draws <= 0).sum(), (draws >= 0).sum())) / 1000
