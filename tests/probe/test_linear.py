"""The probe is scikit-learn's logistic regression on centred features of one scale, whatever the shape."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.probe import PROBE_CS, chosen_probe, class_log_odds, fit_probe
from cxrkeras.stats import exact_auc

SHAPES = [(60, 200, 2), (200, 30, 2), (40, 40, 2), (60, 90, 3), (200, 15, 4)]


def problem(n: int, d: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of unequal spread off the origin, and noisy classes."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(n, d))
    labels = (signal[:, :k] + rng.normal(size=(n, k))).argmax(1)
    return signal * rng.gamma(1, 1, size=d) + 5 * rng.normal(size=d), labels


def scaled(features: np.ndarray) -> np.ndarray:
    centred = features - features.mean(axis=0)
    return centred / np.sqrt(np.mean(centred**2))


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
@pytest.mark.parametrize("balanced", [False, True])
def test_it_is_scikit_learns_optimum(n, d, k, balanced):
    features, labels = problem(n, d, k)
    for c in PROBE_CS:
        weight = "balanced" if balanced else None
        theirs = LogisticRegression(C=c, tol=1e-13, max_iter=1000, solver="newton-cholesky", class_weight=weight)
        z = scaled(features)
        expected = theirs.fit(z, labels).decision_function(z)
        found = fit_probe(features, labels, c, balanced=balanced)
        logits = found.logits(features)
        if k == 2:
            assert found.weights.shape == (d,)
            np.testing.assert_allclose(logits, expected, atol=2e-5)
        else:
            # softmax leaves a common shift open; ours has none
            assert found.weights.shape == (d, k)
            np.testing.assert_allclose(logits, expected - expected.mean(axis=1, keepdims=True), atol=2e-5)
            np.testing.assert_allclose(found.bias + features.mean(0) @ found.weights, theirs_bias(theirs), atol=2e-5)


def awkward() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(6)
    plain, labels = problem(80, 30, 2, seed=6)
    apart = 30.0 * (2 * labels - 1)
    return {
        "scales from 1e-3 to 1e3": (plain * np.logspace(-3, 3, 30), labels),
        "far from the origin": (plain + 1e5, labels),
        "every column three times": (np.hstack([plain] * 3), labels),
        "constant columns": (np.column_stack([plain, np.full((80, 9), 7.3)]), labels),
        "separable": (np.column_stack([plain, apart]), labels),
        "one column": (plain[:, :1], labels),
        "six films": (rng.normal(size=(6, 50)), np.arange(6) % 2),
        "two positive films": (plain, (np.arange(80) < 2).astype(int)),
        "every film twice": (np.vstack([plain, plain]), np.tile(labels, 2)),
    }


@pytest.mark.parametrize("name", list(awkward()))
def test_awkward_features_have_scikit_learns_optimum_too(name):
    features, labels = awkward()[name]
    z = scaled(features)
    for c in PROBE_CS:
        theirs = LogisticRegression(C=c, tol=1e-13, max_iter=1000, solver="newton-cholesky").fit(z, labels)
        np.testing.assert_allclose(
            fit_probe(features, labels, c).logits(features), theirs.decision_function(z), atol=2e-5
        )


def theirs_bias(model: LogisticRegression) -> np.ndarray:
    return model.intercept_ - model.intercept_.mean()


@pytest.mark.parametrize(("n", "d", "k"), [(50, 80, 2), (80, 20, 3)])
def test_rotation_shift_and_scale_of_the_features_change_nothing(n, d, k):
    features, labels = problem(n, d, k, seed=1)
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(d, d)))[0]
    plain = fit_probe(features, labels, 0.1).logits(features)
    turned = 7 * features @ rotation + 3
    np.testing.assert_allclose(fit_probe(turned, labels, 0.1).logits(turned), plain, atol=1e-8)
    order = np.random.default_rng(3).permutation(n)
    moved = fit_probe(features[order], labels[order], 0.1)
    np.testing.assert_allclose(moved.logits(features), plain, atol=1e-8)


def test_two_features_by_hand():
    """Two films at ±1 (after centring and scaling): w solves w = 2 C σ(−w)."""
    probe = fit_probe([[2.0], [6.0]], [False, True], 1.0)
    w = probe.logits([[6.0]])[0]
    assert w == pytest.approx(2 / (1 + np.exp(w)), abs=1e-9)
    assert probe.weights[0] == pytest.approx(w / 2, abs=1e-9)
    assert probe.bias == pytest.approx(-2 * w, abs=1e-9)


def test_c_is_chosen_by_validation_auc_and_ties_go_to_the_smaller():
    features, labels = problem(80, 100, 2, seed=4)
    held, truth = problem(60, 100, 2, seed=5)
    aucs = [exact_auc(truth, fit_probe(features, labels, c).logits(held)).value for c in PROBE_CS]
    found = chosen_probe(features, labels, held, truth)
    assert found.c == PROBE_CS[int(np.argmax(aucs))]
    assert len(set(aucs)) > 1
    np.testing.assert_allclose(found.logits(held), fit_probe(features, labels, found.c).logits(held), atol=2e-5)
    apart = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    assert chosen_probe(apart, [0, 0, 1, 1], apart, [0, 0, 1, 1]).c == PROBE_CS[0]


def test_log_odds_of_classes():
    logits = np.random.default_rng(0).normal(size=(7, 3)) * 4
    p = softmax(logits, axis=1)
    np.testing.assert_allclose(class_log_odds(logits), np.log(p) - np.log1p(-p), atol=1e-12)
    np.testing.assert_array_equal(class_log_odds(np.array([1.5, -2.0])), [[-1.5, 1.5], [2.0, -2.0]])


@pytest.mark.parametrize(
    ("features", "labels", "error", "says"),
    [
        ([[1.0], [2.0]], [0, 0], ScoreInputError, "classes"),
        ([[1.0], [2.0], [3.0]], [0, 2, 2], ScoreInputError, r"\[0, 2\]"),
        ([[1.0], [2.0]], [0, 1, 1], ScoreInputError, "one label per film"),
        ([[1.0], [np.nan]], [0, 1], ScoreInputError, "row 1"),
        ([[3.0, 1.0], [3.0, 1.0]], [0, 1], ScoreInputError, "same for all films"),
        ([[1.0], [2.0]], [0.5, 1.0], ScoreInputError, "whole numbers"),
        ([[1.0], [2.0]], ["a", "b"], ScoreInputError, "whole numbers"),
    ],
)
def test_what_no_probe_can_be_fitted_to_is_refused(features, labels, error, says):
    with pytest.raises(error, match=says):
        fit_probe(features, labels, 1.0)


def test_c_must_be_positive_and_validation_must_have_every_class():
    with pytest.raises(UsageError, match="above 0"):
        fit_probe([[1.0], [2.0]], [0, 1], 0.0)
    features, labels = problem(30, 4, 3)
    with pytest.raises(ScoreInputError, match="validation"):
        chosen_probe(features, labels, features[labels < 2], labels[labels < 2])
