"""LogME and H-score: independent implementations, closed forms, invariances, bounds and the null."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf
from sklearn.cross_decomposition import CCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import BayesianRidge

from cxrkeras.errors import ScoreInputError
from cxrkeras.sources import distinct_features, h_score, logme, patient_groups, regularised_h_score
from cxrkeras.sources.h_score import ledoit_wolf_shrinkage
from cxrkeras.stats import jackknife_stderr


def problem(n: int, d: int, k: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, d)) + 0.3
    labels = (2 * features[:, :k] + rng.normal(size=(n, k))).argmax(1)
    return features, labels


@pytest.mark.parametrize(("n", "d", "k"), [(80, 10, 2), (150, 30, 3), (60, 25, 4)])
def test_logme_is_the_evidence_of_bayesian_ridge(n, d, k):
    features, labels = problem(n, d, k)
    flat = {"fit_intercept": False, "alpha_1": 0, "alpha_2": 0, "lambda_1": 0, "lambda_2": 0}
    evidence = [
        BayesianRidge(compute_score=True, tol=1e-14, max_iter=5000, **flat)
        .fit(features, (labels == c).astype(float))
        .scores_[-1]
        for c in range(k)
    ]
    found = logme(features, labels)
    assert found.status == "ok"
    assert found.value == pytest.approx(np.mean(evidence) / n, abs=1e-12)


def test_logme_of_more_features_than_films_is_the_best_normal_density():
    features, labels = problem(40, 100, seed=2)
    y = (labels == 1).astype(float)
    ratios = np.exp(np.linspace(-6, 10, 161))

    def density(beta: float, ratio: float, target: np.ndarray) -> float:
        covariance = np.eye(40) / beta + features @ features.T / (ratio * beta)
        return multivariate_normal(np.zeros(40), covariance).logpdf(target)

    def best(target: np.ndarray) -> float:
        # the best β of a ratio is n over the misfit
        misfits = [target @ np.linalg.solve(np.eye(40) + features @ features.T / r, target) for r in ratios]
        return max(density(40 / misfit, r, target) for r, misfit in zip(ratios, misfits, strict=True))

    grid = (best(y) + best(1 - y)) / 80
    found = logme(features, labels).value
    assert grid <= found + 1e-12
    assert found == pytest.approx(grid, abs=1e-4)


def test_logme_without_a_maximum_has_a_status():
    features, labels = problem(50, 5)
    spanning = np.column_stack([features, labels == 0, labels == 1])
    found = logme(spanning, labels)
    assert (found.status, np.isnan(found.value)) == ("unbounded", True)
    assert logme(features, np.zeros(50, int)).status == "class_absent"


def test_jackknife_errors_are_those_of_the_scores_without_each_group():
    for n, d in ((60, 20), (50, 90)):
        features, labels = problem(n, d, seed=3)
        groups = patient_groups(np.arange(n) // 2, n)
        rest = [(np.delete(features, rows, 0), np.delete(labels, rows)) for rows in groups]
        expected = jackknife_stderr(np.array([logme(*one).value for one in rest]))
        assert logme(features, labels, groups).stderr == pytest.approx(expected, rel=1e-6)
        expected = jackknife_stderr(np.array([regularised_h_score(*one).value for one in rest]))
        assert regularised_h_score(features, labels, groups).stderr == pytest.approx(expected, rel=1e-12)


def test_groups_are_whole_patients_of_even_numbers():
    patients = np.arange(100) // 2
    groups = patient_groups(patients, 100)
    assert [len(rows) for rows in groups] == [6] * 10 + [4] * 10
    assert sorted(np.concatenate(groups)) == list(range(100))
    assert all(set(patients[rows]).isdisjoint(np.delete(patients, rows)) for rows in groups)
    assert len(patient_groups(np.arange(10) // 2, 10)) == 5


def test_an_error_without_a_class_in_a_group_is_undefined():
    features, labels = problem(40, 5, seed=4)
    groups = [np.flatnonzero(labels == 1), *np.array_split(np.flatnonzero(labels == 0), 4)]
    assert np.isnan(logme(features, labels, groups).stderr)
    assert np.isnan(regularised_h_score(features, labels, groups).stderr)


@pytest.mark.parametrize(
    ("features", "labels", "expected"),
    [([[0], [1], [1], [2]], [0, 0, 1, 1], 0.5), ([[0], [0], [1], [1]], [0, 0, 1, 1], 1.0)],
)
def test_h_scores_by_hand(features, labels, expected):
    assert h_score(features, labels).value == pytest.approx(expected, abs=1e-12)


def test_h_score_is_canonical_correlation_discriminant_and_trace():
    features, labels = problem(120, 8, 3)
    found = h_score(features, labels).value
    one_hot = np.eye(3)[labels][:, :2]
    x, y = CCA(n_components=2, scale=False, max_iter=5000, tol=1e-14).fit_transform(features, one_hot)
    assert found == pytest.approx(sum(np.corrcoef(x[:, i], y[:, i])[0, 1] ** 2 for i in range(2)), abs=1e-8)
    centred = features - features.mean(0)
    means = np.array([centred[labels == c].mean(0) for c in range(3)])[labels]
    total, between = centred.T @ centred, means.T @ means
    assert found == pytest.approx(np.trace(np.linalg.pinv(total) @ between), abs=1e-10)
    ratio = np.linalg.eigvals(np.linalg.solve(total - between, between)).real
    assert found == pytest.approx(np.sum(ratio / (1 + ratio)), abs=1e-10)
    lda = LinearDiscriminantAnalysis(solver="eigen").fit(features, labels)
    share = np.sort(ratio)[::-1][:2] / ratio.sum()
    np.testing.assert_allclose(lda.explained_variance_ratio_, share, atol=1e-8)


def test_the_plain_h_score_is_refused_where_it_says_nothing():
    rng = np.random.default_rng(0)
    found = h_score(rng.normal(size=(20, 20)), rng.integers(3, size=20))
    assert (found.status, np.isnan(found.value)) == ("too_few_films", True)


@pytest.mark.parametrize(("n", "d"), [(100, 12), (30, 80)])
def test_the_regularised_h_score_shrinks_as_scikit_learn_does(n, d):
    features, labels = problem(n, d, 3, seed=6)
    centred = features - features.mean(0)
    model = LedoitWolf().fit(features)
    for products in (centred @ centred.T, centred.T @ centred):
        assert ledoit_wolf_shrinkage(centred, products) == pytest.approx(model.shrinkage_, rel=1e-10)
    means = np.array([centred[labels == c].mean(0) for c in range(3)])[labels]
    expected = (1 - model.shrinkage_) * np.trace(np.linalg.solve(model.covariance_, means.T @ means / n))
    assert regularised_h_score(features, labels).value == pytest.approx(expected, rel=1e-9)


def test_the_regularised_h_score_of_three_normal_classes():
    rng = np.random.default_rng(0)
    labels = np.arange(6000) % 3
    features = rng.normal(size=(6000, 3)) + 1.5 * np.eye(3)[labels]
    assert regularised_h_score(features, labels).value == pytest.approx(6 / 7, abs=0.03)


@settings(max_examples=25, deadline=None)
@given(st.integers(8, 40), st.integers(1, 60), st.integers(2, 4), st.integers(0, 10**6))
def test_h_scores_lie_between_0_and_the_classes_less_one(n, d, k, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % k
    features = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-3, 4) + rng.normal() * labels[:, None]
    assert -1e-9 <= regularised_h_score(features, labels).value <= k - 1 + 1e-9
    if n > d + k:
        assert -1e-9 <= h_score(features, labels).value <= k - 1 + 1e-9


@pytest.mark.parametrize("d", [10, 90])
def test_rotation_and_order_change_nothing(d):
    features, labels = problem(50, d, seed=7)
    turned = features @ np.linalg.qr(np.random.default_rng(1).normal(size=(d, d)))[0]
    order = np.random.default_rng(2).permutation(50)
    for score in (logme, regularised_h_score, *([h_score] if d < 50 else [])):
        value = score(features, labels).value
        assert score(turned, labels).value == pytest.approx(value, rel=1e-9)
        assert score(features[order], labels[order]).value == pytest.approx(value, rel=1e-9)


def test_true_labels_have_more_evidence_than_every_permutation():
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2
    features = rng.normal(size=(80, 120)) + labels[:, None]
    found = logme(features, labels).value
    assert found > max(logme(features, rng.permutation(labels)).value for _ in range(20))


def test_repeated_films_and_constant_features_are_left_out_and_counted():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 3))
    table = np.column_stack([values, np.full(6, 4.0)])[[5, 0, 1, 0, 2, 5, 3, 4]]
    found = distinct_features(table)
    assert (found.n_duplicates, found.n_constant) == (2, 1)
    assert found.rows.tolist() == [0, 1, 2, 4, 6, 7]
    np.testing.assert_array_equal(found.values, values[[5, 0, 1, 2, 3, 4]])
    with pytest.raises(ScoreInputError, match="some not finite"):
        distinct_features([[1.0, np.inf]])


def test_features_that_do_not_vary_have_no_score():
    for features in (np.zeros((8, 3)), np.zeros((8, 0))):
        for score in (logme, regularised_h_score):
            assert score(features, np.arange(8) % 2).status == "constant_features"


def test_scores_need_one_label_per_film():
    for score in (logme, h_score, regularised_h_score):
        with pytest.raises(ScoreInputError, match="one label per film"):
            score(np.ones((3, 2)), [0, 1])
