"""Out-of-fold scores: whole patients, the same folds for all, the scores of a plain cross-validation, a fair null."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from cxrkeras.errors import ScoreInputError
from cxrkeras.probe import PROBE_CS, chosen_probe, out_of_fold
from cxrkeras.probe.folds import grouped_folds
from cxrkeras.stats import exact_auc, patient_bootstrap, resampled_auc


def films(n: int, d: int, k: int = 2, seed: int = 0, signal: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features with the class in their first columns, and two films a patient."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) // 2 % k
    features = rng.normal(size=(n, d))
    features[np.arange(n), labels] += signal
    return features, labels, np.arange(n) // 2


@pytest.mark.parametrize(("n", "d", "k"), [(80, 150, 2), (90, 20, 3)])
def test_every_film_is_answered_by_a_probe_of_other_patients(n, d, k):
    """With one C each fold is scikit-learn's fit to the other folds."""
    features, labels, patients = films(n, d, k)
    found = out_of_fold(features, labels, patients, cs=(0.01,))
    assert (found.n_splits, found.status) == (5, "ok")
    for fold in range(5):
        held = found.fold == fold
        assert not set(patients[held]) & set(patients[~held])
        centre = features[~held].mean(axis=0)
        scale = np.sqrt(np.mean((features[~held] - centre) ** 2))
        model = LogisticRegression(C=0.01, tol=1e-13, max_iter=1000, solver="newton-cholesky")
        p = model.fit((features[~held] - centre) / scale, labels[~held]).predict_proba(
            (features[held] - centre) / scale
        )
        np.testing.assert_allclose(found.scores[held], np.log(p) - np.log1p(-p), atol=1e-6)


def test_c_is_chosen_inside_each_fold():
    features, labels, patients = films(120, 60, signal=0.7, seed=3)
    found = out_of_fold(features, labels, patients)
    for fold, c in enumerate(found.cs):
        train = np.flatnonzero(found.fold != fold)
        inner = grouped_folds(labels[train], patients[train], 3, 0)
        means = []
        for candidate in PROBE_CS:
            each = []
            for learn, held in inner:
                rows, rest = train[learn], train[held]
                probe = chosen_probe(features[rows], labels[rows], features[rest], labels[rest], cs=(candidate,))
                each.append(exact_auc(labels[rest], probe.logits(features[rest])).value)
            means.append(np.mean(each))
        assert c == PROBE_CS[int(np.argmax(np.round(means, 12)))]
    assert len(set(found.cs)) > 1


def test_it_repeats_and_the_folds_do_not_depend_on_the_features():
    features, labels, patients = films(60, 10)
    first, again = (out_of_fold(features, labels, patients, seed=1) for _ in range(2))
    np.testing.assert_array_equal(first.scores, again.scores)
    other = out_of_fold(np.random.default_rng(9).normal(size=(60, 90)), labels, patients, seed=1)
    np.testing.assert_array_equal(first.fold, other.fold)
    assert not np.array_equal(first.fold, out_of_fold(features, labels, patients, seed=2).fold)


def test_separable_films_reach_one_and_shuffled_labels_do_not_leave_the_middle():
    features, labels, patients = films(100, 40, signal=20.0)
    assert exact_auc(labels, out_of_fold(features, labels, patients).scores).value == 1.0
    shuffled = np.random.default_rng(5).permutation(50)[patients] % 2
    null = out_of_fold(features, shuffled, patients)
    interval = patient_bootstrap(resampled_auc(shuffled, null.scores), patients, 300)
    assert interval.low < 0.5 < interval.high


def test_too_few_patients_make_fewer_folds_and_one_is_an_error():
    features, labels, _ = films(40, 5)
    scarce = np.where(labels == 1, np.arange(40) % 3, 100 + np.arange(40))
    found = out_of_fold(features, labels, scarce)
    assert (found.n_splits, found.status) == (3, "fewer_splits")
    two = np.where(labels == 1, np.arange(40) % 2, 100 + np.arange(40))
    found = out_of_fold(features, labels, two)
    assert (found.n_splits, found.status, set(found.cs)) == (2, "c_not_chosen", {PROBE_CS[0]})
    with pytest.raises(ScoreInputError, match=r"\[20, 1\].*at least 2"):
        out_of_fold(features, labels, np.where(labels == 1, -1, np.arange(40)))
