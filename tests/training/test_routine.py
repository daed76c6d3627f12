"""The two stages: what is frozen, what is counted once, what is drawn from (seed, epoch)."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from cxrkeras.data.films import FilmStore
from cxrkeras.data.filmset import FilmSet
from cxrkeras.models import inference
from cxrkeras.models.backbones import backbone
from cxrkeras.models.classifier import build_classifier, softmax
from cxrkeras.settings import TrainingSettings
from cxrkeras.training.batch_norm import calibrate_batch_norm
from cxrkeras.training.objective import class_weights, cross_entropy
from cxrkeras.training.routine import STAGES, checkpoint_epochs, epoch_order, train_two_stages


class Kept:
    """Events that are only remembered."""

    def __init__(self) -> None:
        self.records, self.checkpoints, self.probabilities = [], [], []

    def epoch(self, record, probabilities):
        self.records.append(record)
        self.probabilities.append(probabilities)

    def checkpoint(self, epoch, optimizer, predict):
        self.checkpoints.append((epoch, optimizer, predict))


@pytest.fixture(scope="module")
def films(phantom_folder):
    import pandas as pd

    frame = pd.read_csv(phantom_folder / "manifest.csv")
    store = FilmStore([phantom_folder / path for path in frame["path"]], (64, 64))
    labels = (frame["label"] == "lobar").to_numpy(int)
    ids = frame["path"].to_numpy(str)
    everything = FilmSet(store, np.arange(len(frame)), labels, ids, ids)
    return {name: everything.take(np.flatnonzero(frame["split"] == name)) for name in ("train", "val", "test")}


def settings(**changes) -> TrainingSettings:
    values = {"epochs": (2, 1), "checkpoint_every": 1, "batch_size": 16, "learning_rate": (1e-2, 1e-3)}
    return TrainingSettings(**{**values, **changes})


def fit(films, batch_norm="inference", name="compact", **changes):
    classifier = build_classifier(backbone(name), ("normal", "lobar"), 64, seed=5)
    kept = Kept()
    before = [layer.get_weights() for layer in classifier.backbone_layers]
    train_two_stages(classifier, films["train"], films["val"], settings(**changes), batch_norm, kept)
    return classifier, kept, before


@pytest.fixture(scope="module")
def trained(films):
    """Classifier, events and first weights of both stages."""
    return fit(films)


@pytest.fixture(scope="module")
def trained_head(films):
    """The same of the first stage alone."""
    return fit(films, epochs=(2, 0))


def changed(layers, before) -> list[str]:
    return [
        layer.name
        for layer, weights in zip(layers, before, strict=True)
        if any(not np.array_equal(a, b) for a, b in zip(layer.get_weights(), weights, strict=True))
    ]


def test_checkpoints_come_every_k_and_at_the_end_of_each_stage():
    assert checkpoint_epochs((15, 15), 5) == [5, 10, 15, 20, 25, 30]
    assert checkpoint_epochs((2, 2), 5) == [2, 4]
    assert checkpoint_epochs((7, 4), 5) == [5, 7, 10, 11]
    assert checkpoint_epochs((0, 3), 2) == [2, 3]


def test_balanced_class_weights_give_each_class_the_same_total():
    labels = np.array([0] * 30 + [1] * 10)
    weights = class_weights(labels, 2, "balanced")
    assert weights == {0: 40 / 60, 1: 2.0}
    assert class_weights(labels, 2, "none") == {0: 1.0, 1: 1.0}


def test_cross_entropy_of_known_logits():
    assert cross_entropy(np.zeros((3, 4)), np.array([0, 1, 3])) == pytest.approx(np.log(4))
    logits = np.array([[1000.0, 0.0], [0.0, 1000.0]])
    assert cross_entropy(logits, np.array([0, 0])) == pytest.approx(500.0)


def test_stage_one_leaves_the_backbone_alone_and_stage_two_trains_it_with_frozen_statistics(trained, trained_head):
    classifier, kept, before = trained_head
    assert changed(classifier.backbone_layers, before) == []
    assert [record.stage for record in kept.records] == [STAGES[0]] * 2
    classifier, kept, before = trained
    moved = changed(classifier.backbone_layers, before)
    assert {layer.name for layer in classifier.backbone_layers if layer.weights} == set(moved)
    for norm in classifier.batch_norms:
        at = classifier.backbone_layers.index(norm)
        np.testing.assert_array_equal(norm.get_weights()[2], before[at][2])
        np.testing.assert_array_equal(norm.get_weights()[3], before[at][3])
        assert np.abs(norm.get_weights()[0] - before[at][0]).max() > 0
    assert [record.epoch for record in kept.records] == [1, 2, 3]
    assert [epoch for epoch, _, _ in kept.checkpoints] == [1, 2, 3]


def test_batch_norm_train_moves_the_statistics(films, tiny_backbone):
    classifier, _, before = fit(films, batch_norm="train", name=tiny_backbone, epochs=(0, 1))
    norm = classifier.batch_norms[0]
    at = classifier.backbone_layers.index(norm)
    assert np.abs(norm.get_weights()[2] - before[at][2]).max() > 0


def test_the_cached_features_train_the_same_head_as_full_forwards(films, trained_head):
    """Stage 1 on cached features equals stage 1 through the frozen network, film by film and step by step."""
    cached, kept_cached, _ = trained_head
    whole, kept_whole, _ = fit(films, epochs=(2, 0), feature_cache=False)
    for a, b in zip(cached.head.get_weights(), whole.head.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    np.testing.assert_allclose(kept_cached.probabilities[-1], kept_whole.probabilities[-1], atol=2e-5)


def test_features_are_computed_once_for_any_number_of_epochs(films, tiny_backbone, monkeypatch):
    counted = []
    forward = inference.forward

    def counting(model, some, *arguments, **options):
        counted.append(len(some))
        return forward(model, some, *arguments, **options)

    monkeypatch.setattr(inference, "forward", counting)
    monkeypatch.setenv("CXRKERAS_CACHE", str(films["train"].store.files[0].parent.parent / "fresh-cache"))
    fit(films, name=tiny_backbone, epochs=(2, 0))
    assert sorted(counted) == sorted([len(films["train"]), len(films["val"])])
    fit(films, name=tiny_backbone, epochs=(2, 0))
    assert len(counted) == 2, "the second training reads the cache"


def test_history_numbers_are_those_of_the_predictions(films, trained):
    from sklearn.metrics import log_loss, roc_auc_score

    classifier, kept, _ = trained
    labels = films["val"].labels
    for record, probabilities in zip(kept.records, kept.probabilities, strict=True):
        assert record.val_auc == pytest.approx(roc_auc_score(labels, probabilities[:, 1]))
        assert record.val_loss == pytest.approx(log_loss(labels, probabilities), abs=1e-6)
    assert [record.learning_rate for record in kept.records] == pytest.approx([1e-2, 1e-2, 1e-3])
    again = softmax(inference.forward(classifier.logits, films["val"], 16))
    np.testing.assert_allclose(again, kept.probabilities[-1], atol=1e-6)


def test_the_order_of_films_depends_on_seed_and_epoch_only():
    assert sorted(epoch_order(9, 1, 3)) == list(range(9))
    np.testing.assert_array_equal(epoch_order(50, 1, 3), epoch_order(50, 1, 3))
    assert (epoch_order(50, 1, 3) != epoch_order(50, 1, 4)).any()
    assert (epoch_order(50, 1, 3) != epoch_order(50, 2, 3)).any()


def test_calibration_sets_the_batch_statistics_and_inference_then_equals_training_mode(films):
    classifier = build_classifier(backbone("compact"), ("a", "b"), 64, seed=6)
    pixels = np.repeat(films["train"].store.get(films["train"].indices[:24])[..., None], 3, axis=3)
    momenta = [norm.momentum for norm in classifier.batch_norms]
    assert calibrate_batch_norm(classifier, pixels) == len(classifier.batch_norms) == 8
    assert [norm.momentum for norm in classifier.batch_norms] == momenta
    first = classifier.batch_norms[0]
    before = keras.Model(classifier.model.input, first.input).predict(pixels, verbose=0).astype(np.float64)
    np.testing.assert_allclose(first.get_weights()[2], before.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(first.get_weights()[3], before.var(axis=(0, 1, 2)), rtol=1e-3, atol=1e-5)
    kept = [norm.get_weights() for norm in classifier.batch_norms]
    inference_mode = keras.ops.convert_to_numpy(classifier.pooled(pixels, training=False))
    training_mode = keras.ops.convert_to_numpy(classifier.pooled(pixels, training=True))
    np.testing.assert_allclose(inference_mode, training_mode, atol=2e-3 * np.abs(training_mode).max())
    assert len(kept) == 8
