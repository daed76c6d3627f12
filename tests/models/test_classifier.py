"""The classifier: one flat model whose views share weights, with preprocessing inside."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from cxrkeras.errors import BackboneError, WeightsError
from cxrkeras.models.backbones import BACKBONES, backbone, check_grid
from cxrkeras.models.classifier import build_classifier, softmax
from cxrkeras.models.preprocessing import MODES, preprocessing_layer


@pytest.fixture(scope="module")
def classifier():
    return build_classifier(backbone("compact"), ("a", "b", "c"), 64, seed=4)


@pytest.fixture(scope="module")
def films():
    return np.random.default_rng(0).uniform(0, 255, (5, 64, 64, 3)).astype("float32")


def test_every_view_gives_the_same_answer(classifier, films):
    probabilities = classifier.model.predict(films, verbose=0)
    logits = classifier.logits.predict(films, verbose=0)
    through_head = classifier.head.predict(classifier.pooled.predict(films, verbose=0), verbose=0)
    np.testing.assert_allclose(softmax(logits), probabilities, atol=1e-6)
    np.testing.assert_allclose(through_head, logits, atol=1e-5)
    np.testing.assert_allclose(classifier.with_frozen_statistics().predict(films, verbose=0), logits, atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert probabilities.shape == (5, 3)


def test_frozen_statistics_stay_when_the_model_is_called_for_training(classifier, films):
    before = [norm.get_weights() for norm in classifier.batch_norms]
    frozen = classifier.with_frozen_statistics()
    outputs = [keras.ops.convert_to_numpy(frozen(films, training=True)) for _ in range(2)]
    for norm, weights in zip(classifier.batch_norms, before, strict=True):
        for now, then in zip(norm.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(now, then)
    assert np.abs(outputs[0] - outputs[1]).max() > 0, "dropout must still be drawn"
    classifier.logits(films, training=True)
    assert np.abs(classifier.batch_norms[0].get_weights()[2] - before[0][2]).max() > 0
    for norm, weights in zip(classifier.batch_norms, before, strict=True):
        norm.set_weights(weights)


@pytest.mark.parametrize(
    ("mode", "reference"),
    [
        ("tf", lambda x: keras.applications.imagenet_utils.preprocess_input(x, mode="tf")),
        ("torch", lambda x: keras.applications.imagenet_utils.preprocess_input(x, mode="torch")),
        ("caffe", lambda x: keras.applications.imagenet_utils.preprocess_input(x, mode="caffe")),
        ("caffe/255", lambda x: keras.applications.imagenet_utils.preprocess_input(x, mode="caffe") / 255),
        ("unit", lambda x: x / 255),
        ("none", lambda x: x),
    ],
)
def test_preprocessing_of_grey_films_equals_keras_own(mode, reference):
    grey = np.random.default_rng(1).uniform(0, 255, (2, 4, 4, 1)).astype("float32")
    film = np.repeat(grey, 3, axis=3)
    ours = np.asarray(preprocessing_layer(mode)(film))
    np.testing.assert_allclose(ours, reference(film.copy()), atol=2e-5)


def test_preprocessing_has_the_published_values():
    """Of the first pixels of RadImageNet's and ImageNet's scripts, channel by channel."""
    greys = np.array([[0.0] * 3, [255] * 3, [255, 128, 0], [0, 128, 255]], "float32")[None]
    caffe, radimagenet, torch, tf = (
        np.asarray(preprocessing_layer(mode)(greys))[0] for mode in ("caffe", "caffe/255", "torch", "tf")
    )
    np.testing.assert_allclose(radimagenet[0], (-0.40760, -0.45796, -0.48502), atol=1e-5)
    np.testing.assert_allclose(radimagenet[1], (0.59240, 0.54204, 0.51498), atol=1e-5)
    np.testing.assert_allclose(caffe[2], (151.061, 11.221, -123.68), atol=1e-4)
    np.testing.assert_allclose(torch[3], (-2.1179, 0.2052, 2.64), atol=1e-4)
    np.testing.assert_allclose(tf[3], (-1, 0.0039, 1), atol=1e-4)


def test_unknown_preprocessing_is_refused():
    assert set(MODES) == {"tf", "torch", "caffe", "caffe/255", "unit", "none"}
    with pytest.raises(WeightsError, match="Did you mean 'torch'"):
        preprocessing_layer("torhc")


def test_coarse_grids_are_refused_with_the_smallest_usable_size():
    row = backbone("InceptionV3")
    with pytest.raises(BackboneError, match=r"2×2 grid.*--image-size 139"):
        check_grid(row, (2, 2), 128, allow_coarse=False)
    check_grid(row, (2, 2), 128, allow_coarse=True)
    check_grid(row, (3, 3), 139, allow_coarse=False)
    with pytest.raises(BackboneError, match="needs at least 3×3"):
        build_classifier(backbone("compact"), ("a", "b"), 16)


@pytest.mark.parametrize("name", [name for name in BACKBONES if name != "compact"])
def test_each_row_of_the_table_is_true_of_keras(name):
    row = backbone(name)
    side = 139 if name.startswith("Inception") else 96
    # what a layer is and where it stands needs none of its weights drawn
    with keras.StatelessScope(initialize_variables=False):
        classifier = build_classifier(row, ("a", "b"), side)
    assert len([layer for layer in classifier.backbone_layers if layer.weights]) == row.weighted_layers
    assert classifier.grid == (3, 3)
    model = classifier.model
    assert model.get_layer(row.head_input).output is model.get_layer("head_pooling").input
    grids = [model.get_layer(layer).output.shape[1] for layer in row.multiscale]
    assert sorted(grids, reverse=True) == grids
    assert len(set(grids)) == 3
    for role, layer in row.strides.items():
        stride = int(role.removeprefix("stride"))
        # Inception's unpadded convolutions lose a border, so its grid is a little under side / stride.
        assert side / stride * 0.5 < model.get_layer(layer).output.shape[1] <= -(-side // stride)
    builder = getattr(keras.applications, name)
    assert builder.__module__.rsplit(".", 1)[-1] in row.builder or row.builder == f"keras.applications.{name}"


def test_float16_is_trained_with_loss_scaling_in_both_stages():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = build_classifier(backbone("compact"), ("a", "b"), 64)
    finally:
        keras.config.set_dtype_policy(before)
    for model in (mixed.head, mixed.logits, mixed.with_frozen_statistics()):
        model.compile(keras.optimizers.Adam(1e-3), loss="mse")
        assert type(model.optimizer).__name__ == "LossScaleOptimizer"
    assert mixed.model.output.dtype == "float32"
