"""An opened candidate: its weights, its features, its head, and what it refuses."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from cxrkeras.data.manifest import read_manifest
from cxrkeras.errors import BackboneError, CheckpointError, RunError, UsageError, WeightsError
from cxrkeras.models.inference import forward
from cxrkeras.models.weights import weights_hash
from cxrkeras.settings import DataSettings
from cxrkeras.sources.candidates import Candidate
from cxrkeras.store import sha256_file
from cxrkeras.workflow.candidates import candidate_size, open_candidate
from cxrkeras.workflow.dataset import film_set, hashed_frame
from cxrkeras.workflow.opened import OpenRun

CLASSES = ("NORMAL", "PNEUMONIA")


@pytest.fixture(scope="module")
def films(phantom_folder):
    manifest = read_manifest(phantom_folder)
    frame = hashed_frame(manifest.frame, manifest.root)
    return film_set(frame, manifest.root, manifest.classes, 64, DataSettings())


@pytest.fixture(scope="module")
def drawn(films):
    return open_candidate(Candidate("drawn", "compact", "random", None), CLASSES, image_size=64, calibrate_on=films)


@pytest.fixture(scope="module")
def trained(tiny_run):
    return open_candidate(Candidate("ours", None, f"run:{tiny_run.path}@best", None), tiny_run.classes)


def test_a_run_is_opened_with_its_own_network_size_preprocessing_and_checkpoint(trained, tiny_run):
    best = tiny_run.resolve_epoch("best")
    assert (trained.candidate.backbone, trained.image_size, trained.preprocessing) == ("compact", 64, "tf")
    assert trained.sha256 == sha256_file(tiny_run.checkpoint_path(best))
    assert trained.facts["epoch"] == best
    assert trained.calibrated_on == 0
    opened = OpenRun(tiny_run)
    opened.load(best)
    assert weights_hash(trained.classifier) == weights_hash(opened.classifier)


def test_the_trained_head_predicts_what_the_run_stored(trained, tiny_run):
    assert trained.trained_head
    trained.load_trained_head()
    opened = OpenRun(tiny_run)
    rows = opened.split("test")
    stored = tiny_run.predictions(trained.epoch)
    probabilities = forward(trained.classifier.model, opened.films.take(rows), 16)
    np.testing.assert_allclose(probabilities, stored[[f"probability_{c}" for c in tiny_run.classes]], atol=1e-5)


def test_a_head_of_turned_classes_is_turned(trained, tiny_run, films):
    turned = open_candidate(trained.candidate, tiny_run.classes[::-1])
    turned.load_trained_head()
    trained.load_trained_head()
    some = films.take(np.arange(8))
    np.testing.assert_allclose(
        forward(turned.classifier.logits, some, 8), forward(trained.classifier.logits, some, 8)[:, ::-1], atol=1e-5
    )


def test_other_classes_have_no_trained_head(trained, drawn):
    other = open_candidate(trained.candidate, ("COVID", "NORMAL"))
    assert not other.trained_head
    assert not drawn.trained_head
    with pytest.raises(UsageError, match="no trained head for NORMAL, PNEUMONIA"):
        drawn.load_trained_head()


def test_a_probe_written_into_the_head_is_what_the_network_answers(drawn, films):
    features = drawn.features(films).astype(np.float64)
    weights, bias = np.random.default_rng(0).normal(size=features.shape[1]), 0.3
    wanted = features @ weights + bias
    for positive, sign in ((None, 1), ("PNEUMONIA", 1), (0, -1)):
        drawn.set_head(weights, bias, positive)
        logits = forward(drawn.classifier.logits, films, 16).astype(np.float64)
        np.testing.assert_allclose(sign * (logits[:, 1] - logits[:, 0]), wanted, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(logits.sum(1), 0, atol=1e-4)
        probability = forward(drawn.classifier.model, films, 16)[:, 1]
        np.testing.assert_allclose(probability, 1 / (1 + np.exp(-sign * wanted)), atol=1e-4)
    with pytest.raises(UsageError, match=r"does not fit the head of drawn\. Expected"):
        drawn.set_head(weights[:-1], bias)


def test_a_probe_of_several_classes_is_written_as_it_is(films):
    three = open_candidate(Candidate("three", "compact", "random", None), ("a", "b", "c"), image_size=64)
    features = three.features(films)
    rng = np.random.default_rng(1)
    weights, bias = rng.normal(size=(features.shape[1], 3)), rng.normal(size=3)
    three.set_head(weights, bias)
    logits = forward(three.classifier.logits, films, 16)
    np.testing.assert_allclose(logits, features @ weights + bias, rtol=1e-3, atol=1e-4)


def test_features_are_computed_once(drawn, films, monkeypatch):
    first = drawn.features(films)
    again = open_candidate(
        Candidate("other name", "compact", "random", "tf"), CLASSES, image_size=64, calibrate_on=films
    )
    assert again.sha256 == drawn.sha256
    monkeypatch.setattr("cxrkeras.models.inference.forward", lambda *a, **k: pytest.fail("a forward pass"))
    np.testing.assert_array_equal(again.features(films), first)


def test_random_weights_are_calibrated_on_the_films_that_training_would_take(drawn, films):
    kept = open_candidate(Candidate("kept", "compact", "random", None), CLASSES, image_size=64)
    assert (drawn.calibrated_on, kept.calibrated_on) == (len(films), 0)
    assert drawn.facts["batch_norm"] == f"set from {len(films)} films"
    assert all(not norm.moving_mean.numpy().any() for norm in kept.classifier.batch_norms)
    norm = drawn.classifier.batch_norms[0]
    before = keras.Model(drawn.classifier.model.input, norm.input)
    inputs = forward(keras.Model(before.input, keras.ops.mean(before.output, axis=(1, 2))), films, 16)
    np.testing.assert_allclose(norm.moving_mean.numpy(), inputs.mean(0), atol=1e-4)


def test_dead_weights_are_refused(films):
    dead = open_candidate(Candidate("dead", "compact", "random", None), CLASSES, image_size=64)
    last = dead.classifier.batch_norms[-1]
    last.set_weights([np.zeros_like(w) if i < 2 else w for i, w in enumerate(last.get_weights())])
    with pytest.raises(WeightsError, match="dead: the features of all 80 films are the same"):
        dead.features(films)
    last.set_weights([np.full_like(w, np.nan) if i < 2 else w for i, w in enumerate(last.get_weights())])
    with pytest.raises(WeightsError, match="80 of 80 films have features that are not finite"):
        dead.features(films)


def test_sizes_come_from_the_run_or_the_backbone(tiny_run):
    ours = Candidate("ours", None, f"run:{tiny_run.path}", None)
    assert [candidate_size(ours), candidate_size(ours, 96)] == [64, 96]
    assert candidate_size(Candidate("a", "compact", "random", None)) == 96
    assert candidate_size(Candidate("a", "InceptionV3", "random", None)) == 299


def test_what_does_not_exist_is_named(tiny_run, drawn, run_copy, phantom_folder):
    with pytest.raises(RunError, match="no run at artifacts/nowhere"):
        open_candidate(Candidate("a", None, "run:nowhere", None), CLASSES)
    with pytest.raises(WeightsError, match="trained compact, which does not fit ResNet50"):
        open_candidate(Candidate("a", "resnet50", f"run:{tiny_run.path}", None), CLASSES)
    with pytest.raises(CheckpointError, match="no checkpoint for epoch 9"):
        open_candidate(Candidate("a", None, f"run:{tiny_run.path}@9", None), CLASSES)
    with pytest.raises(BackboneError, match="Did you mean 'ResNet50'"):
        open_candidate(Candidate("a", "ResNet5", "random", None), CLASSES)
    with pytest.raises(WeightsError, match="candidate a: compact has no ImageNet weights"):
        open_candidate(Candidate("a", "compact", "imagenet", None), CLASSES, image_size=64)
    file = run_copy.checkpoint_path(run_copy.resolve_epoch("best"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="truncated or changed"):
        open_candidate(Candidate("a", None, f"run:{run_copy.path}", None), CLASSES)
    manifest = read_manifest(phantom_folder)
    small = film_set(hashed_frame(manifest.frame, manifest.root), manifest.root, CLASSES, 48, DataSettings())
    with pytest.raises(UsageError, match=r"drawn takes films of 64×64 px\. Received a set of 48×48"):
        drawn.features(small)
