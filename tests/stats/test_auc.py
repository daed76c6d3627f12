"""Exact AUC against counting pairs by hand."""

import numpy as np
import pytest

from cxrkeras.errors import ScoreInputError
from cxrkeras.stats import exact_auc, resampled_auc


def counted(truth, scores):
    wins = [(p > q) + 0.5 * (p == q) for p in scores[truth] for q in scores[~truth]]
    return np.mean(wins)


def test_the_case_that_binned_auc_gets_wrong():
    labels = [0, 0, 1, 1, 1, 1]
    scores = [0.99991, 0.99995, 0.99992, 0.99996, 0.99997, 0.99998]
    value, status = exact_auc(labels, scores)
    assert (value, status) == (0.875, "ok")


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_equals_counting_with_ties(n_classes):
    rng = np.random.default_rng(n_classes)
    labels = np.arange(60) % n_classes
    probabilities = np.round(rng.dirichlet(np.ones(n_classes), 60), 1)
    columns = [1] if n_classes == 2 else range(n_classes)
    expected = np.mean([counted(labels == c, probabilities[:, c]) for c in columns])
    assert exact_auc(labels, probabilities).value == pytest.approx(expected, abs=1e-12)


def test_an_absent_class_is_named():
    value, status = exact_auc([0, 0], [0.2, 0.3])
    assert np.isnan(value)
    assert status == "class_absent"
    assert exact_auc([0, 1, 1], np.eye(3)).status == "class_absent"
    assert exact_auc([], np.zeros((0, 2))).status == "class_absent"


def test_lengths_and_numbers_must_fit():
    with pytest.raises(ScoreInputError, match="Expected 3, received 2"):
        exact_auc([0, 1], [0.1, 0.2, 0.3])
    with pytest.raises(ScoreInputError, match="finite"):
        exact_auc([0, 1], [0.1, np.nan])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_ranking_once_gives_the_same_auc_of_every_resample(n_classes):
    rng = np.random.default_rng(n_classes)
    labels = np.arange(40) % n_classes
    probabilities = np.round(rng.dirichlet(np.ones(n_classes), 40), 1)
    auc = resampled_auc(labels, probabilities)
    for size in (40, 12, 4, 4, 4):
        rows = rng.integers(40, size=size)
        expected = exact_auc(labels[rows], probabilities[rows])
        assert auc(rows) == pytest.approx(expected.value, abs=1e-12, nan_ok=expected.status == "class_absent")
    assert auc(np.arange(40)) == pytest.approx(exact_auc(labels, probabilities).value, abs=1e-12)
    assert np.isnan(auc(np.flatnonzero(labels == 0)))
