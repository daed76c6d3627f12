"""What is learned of films with several findings: masked loss, weights per finding, and AUC over what is known."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from cxrkeras.data.filmset import FilmSet
from cxrkeras.errors import DataError
from cxrkeras.models.backbones import backbone
from cxrkeras.models.classifier import build_classifier, sigmoid
from cxrkeras.stats.multilabel import finding_aucs, mean_finding_auc
from cxrkeras.training.objective import (
    MaskedBinaryCrossentropy,
    OneClass,
    SeveralFindings,
    finding_weights,
    masked_cross_entropy,
    objective_of,
)

N = np.nan
LOGITS = np.array([[0.0, 2.0], [1.0, -1.0]], np.float32)
TRUTH = np.array([[1.0, N], [0.0, 1.0]], np.float32)
# −log σ(0), −log(1 − σ(1)) and −log σ(−1)
ENTRIES = np.log(2), np.log1p(np.e), np.log1p(np.e)


def loss_of(truth, logits, weights=None):
    weights = np.ones((2, truth.shape[1])) if weights is None else np.asarray(weights)
    return float(MaskedBinaryCrossentropy(weights)(truth, logits))


def test_masked_cross_entropy_by_hand():
    assert loss_of(TRUTH, LOGITS) == pytest.approx(sum(ENTRIES) / 3, rel=1e-6)
    assert masked_cross_entropy(LOGITS, TRUTH) == pytest.approx(sum(ENTRIES) / 3, rel=1e-9)
    # rows of the weights: negatives, positives; columns: findings
    expected = (5 * ENTRIES[0] + 3 * ENTRIES[1] + 7 * ENTRIES[2]) / 3
    assert loss_of(TRUTH, LOGITS, [[3, 2], [5, 7]]) == pytest.approx(expected, rel=1e-6)
    assert masked_cross_entropy(np.array([[1000.0, -1000.0]]), np.array([[0.0, 0.0]])) == 500.0


def test_an_unknown_entry_gives_exactly_nothing():
    logits = tf.Variable(np.array([[0.3, 50.0], [1.0, -1.0]], np.float32))
    with tf.GradientTape() as tape:
        value = MaskedBinaryCrossentropy(np.ones((2, 2)))(TRUTH, logits)
    gradient = tape.gradient(value, logits).numpy()
    assert gradient[0, 1] == 0
    # (σ − truth) / number of known entries
    np.testing.assert_allclose(gradient[0, 0], (sigmoid(0.3) - 1) / 3, rtol=1e-5)
    assert loss_of(TRUTH, LOGITS) == loss_of(TRUTH, LOGITS + np.array([[0, 9], [0, 0]], np.float32))
    unknown = np.full((2, 2), N, np.float32)
    assert loss_of(unknown, LOGITS) == 0
    assert np.isnan(masked_cross_entropy(LOGITS, unknown))


def test_without_unknown_entries_it_is_keras_own_loss():
    rng = np.random.default_rng(0)
    truth, logits = rng.integers(0, 2, (7, 3)).astype("float32"), rng.normal(size=(7, 3)).astype("float32")
    theirs = keras.losses.BinaryCrossentropy(from_logits=True)(truth, logits)
    assert loss_of(truth, logits) == pytest.approx(float(theirs), rel=1e-5)
    assert masked_cross_entropy(logits, truth) == pytest.approx(float(theirs), rel=1e-5)


def test_weights_survive_a_saved_configuration():
    loss = MaskedBinaryCrossentropy(np.array([[1, 2], [3, 4]]))
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert float(again(TRUTH, LOGITS)) == float(loss(TRUTH, LOGITS))


def test_balanced_weights_give_both_sides_of_each_finding_the_same_total():
    truth = np.array([[1, 0], [0, 0], [0, 1], [0, N], [N, N]])
    weights = finding_weights(truth, ("a", "b"), "balanced")
    # finding a: 4 known, 1 positive; finding b: 3 known, 1 positive
    np.testing.assert_allclose(weights, [[4 / 6, 3 / 4], [4 / 2, 3 / 2]])
    for c in range(2):
        assert weights[0, c] * (truth[:, c] == 0).sum() == pytest.approx(weights[1, c] * (truth[:, c] == 1).sum())
    np.testing.assert_array_equal(finding_weights(truth, ("a", "b"), "none"), np.ones((2, 2)))
    with pytest.raises(DataError, match="finding 'b' has no negative film"):
        finding_weights(np.array([[1, 1], [0, N]]), ("a", "b"), "balanced")


def test_auc_is_that_of_the_known_films():
    rng = np.random.default_rng(4)
    truth = rng.choice([0.0, 1.0, N], (60, 3), p=[0.5, 0.3, 0.2])
    truth[:, 2] = np.where(truth[:, 2] == 1, N, truth[:, 2])
    scores = rng.random((60, 3)).round(1)
    found = finding_aucs(truth, scores)
    expected = []
    for c in range(2):
        known = ~np.isnan(truth[:, c])
        assert not known.all()
        expected.append(roc_auc_score(truth[known, c], scores[known, c]))
        assert found[c].value == pytest.approx(expected[c], abs=1e-12)
    assert found[2].status == "class_absent"
    assert mean_finding_auc(truth, scores) == pytest.approx(np.mean(expected), abs=1e-12)
    assert np.isnan(mean_finding_auc(truth[:, 2:], scores[:, 2:]))


def films(labels, truth=None) -> FilmSet:
    ids = np.arange(len(labels)).astype(str)
    return FilmSet(None, np.arange(len(labels)), np.asarray(labels), ids, ids, truth)


def test_the_activation_of_the_classifier_decides():
    one = build_classifier(backbone("compact"), ("a", "b"), 32, activation="softmax")
    several = build_classifier(backbone("compact"), ("a", "b"), 32, activation="sigmoid")
    truth = np.array([[1, N], [0, 1], [0, 0]])
    chosen = objective_of(one, films([0, 1, 1]), "balanced")
    assert isinstance(chosen, OneClass)
    assert chosen.class_weight == {0: 1.5, 1: 0.75}
    chosen = objective_of(several, films([-1] * 3, truth), "balanced")
    assert isinstance(chosen, SeveralFindings)
    assert chosen.class_weight is None
    np.testing.assert_allclose(chosen.loss.weights, [[0.75, 1], [1.5, 1]])
    assert chosen.targets(films([-1] * 3, truth)) is truth

    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    for classifier in (one, several):
        logits, own = classifier.logits(pixels).numpy(), classifier.model(pixels).numpy()
        np.testing.assert_allclose(classifier.probabilities_of(logits), own, atol=1e-6)
    assert several.model.layers[-1].name == one.model.layers[-1].name == "probabilities"


def test_the_logistic_function_does_not_overflow():
    np.testing.assert_allclose(sigmoid(np.array([-1000.0, 0, np.log(3), 1000])), [0, 0.5, 0.75, 1])
