"""The compact backbone: eight convolutions, three strides by name, the Keras Applications calling convention."""

from __future__ import annotations

import os
from itertools import pairwise

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrkeras.data.phantom import generate_phantom
from cxrkeras.errors import UsageError, WeightsError
from cxrkeras.models.backbones import backbone
from cxrkeras.models.compact import Compact


@pytest.fixture(scope="module")
def model():
    return Compact(input_shape=(96, 96, 3))


def test_shapes_at_the_three_strides(model):
    shapes = {name: model.get_layer(name).output.shape[1:] for name in ("stride2_relu", "stride4_relu", "stride8_relu")}
    assert shapes == {"stride2_relu": (48, 48, 16), "stride4_relu": (24, 24, 32), "stride8_relu": (12, 12, 128)}
    assert model.output.shape == (None, 12, 12, 128)


def test_named_activations_are_the_last_at_their_stride(model):
    last = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.ReLU):
            last[96 // layer.output.shape[1]] = layer.name
    assert last == {2: "stride2_relu", 4: "stride4_relu", 8: "stride8_relu"}


def test_eight_convolutions_each_with_norm_and_activation(model):
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["InputLayer", *["Conv2D", "BatchNormalization", "ReLU"] * 8]
    names = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert names == [f"conv{i}" for i in range(1, 9)]
    assert model.layers[-1].name == "stride8_relu"


def test_parameter_count_is_that_of_its_channels(model):
    channels = (3, 8, 16, 16, 32, 32, 64, 64, 128)
    expected = sum(9 * a * b + 4 * b for a, b in pairwise(channels))
    assert model.count_params() == expected == 147_960


def test_names_do_not_depend_on_what_was_built_before(model):
    again = Compact(input_shape=(96, 96, 3))
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert [weight.path for weight in again.weights] == [weight.path for weight in model.weights]


def test_backbone_row_agrees(model):
    row = backbone("compact")
    assert row.head_input == "stride8_relu"
    assert row.multiscale == ("stride2_relu", "stride4_relu", "stride8_relu")
    assert row.weighted_layers == sum(bool(layer.weights) for layer in model.layers)


def test_an_input_tensor_is_continued():
    films = keras.Input((64, 80, 3), name="films")
    scaled = keras.layers.Rescaling(1 / 127.5, -1.0, name="preprocessing")(films)
    continued = Compact(include_top=False, weights=None, input_tensor=scaled)
    assert [layer.name for layer in continued.layers[:3]] == ["films", "preprocessing", "conv1"]
    assert continued.output.shape == (None, 8, 10, 128)


def test_seed_decides_the_weights_and_features_are_alive():
    features = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        compact = Compact(input_shape=(32, 32, 3))
        films = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype("float32")
        features.append(np.asarray(compact(films, training=False)))
    assert np.array_equal(*features)
    assert features[0].min() == 0
    assert (features[0].max(axis=(0, 1, 2)) > 0).mean() > 0.9


def test_a_top_or_weights_are_refused():
    with pytest.raises(UsageError, match="include_top=False, received True"):
        Compact(include_top=True)
    with pytest.raises(WeightsError, match="received 'imagenet'"):
        Compact(weights="imagenet")


def film_at(path, side):
    with Image.open(path) as film:
        return np.array(film.convert("F").resize((side, side), Image.Resampling.BILINEAR))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_learns_the_phantom(seed, tmp_path):
    from sklearn.metrics import roc_auc_score

    manifest = generate_phantom(tmp_path / "phantom", seed=seed)
    frame = pd.read_csv(manifest)
    films = np.stack([film_at(manifest.parent / path, 96) for path in frame["path"]])
    films = np.repeat(films[..., None] / 127.5 - 1, 3, axis=-1)
    labels, split = (frame["label"] == "lobar").to_numpy(int), frame["split"].to_numpy()
    keras.utils.set_random_seed(seed)
    compact = Compact(input_shape=(96, 96, 3))
    pooled = keras.layers.Dropout(0.3)(keras.layers.GlobalAveragePooling2D()(compact.output))
    net = keras.Model(compact.input, keras.layers.Dense(2, activation="softmax")(pooled))
    for trainable in (False, True):
        compact.trainable = trainable
        net.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", jit_compile=False)
        net.fit(films[split == "train"], labels[split == "train"], batch_size=32, epochs=15, verbose=0)
    truth, found = labels[split == "test"], net.predict(films[split == "test"], verbose=0)
    gold = [int(((truth == label) & (found[:, label] >= 0.7)).sum()) for label in (0, 1)]
    assert roc_auc_score(truth, found[:, 1]) >= 0.80
    assert min(gold) >= 20
