"""Small nets of every kind, built once: the same layers as flat, nested, Sequential, subclassed model and more."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest

from cxrkeras.cams import Explainer

SIDE = 32
CLASSES = 3
LEVELS = ("fine", "middle", "top")


class Subclassed(keras.Model):
    def __init__(self, layers, name="subclassed"):
        super().__init__(name=name)
        self.parts = layers

    def call(self, inputs, training=None):
        values = inputs
        for layer in self.parts:
            values = layer(values)
        return values


def _trunk():
    conv = {"padding": "same", "activation": "relu", "bias_initializer": "random_normal"}
    return [
        keras.layers.Rescaling(1 / 127.5, -1, name="preprocessing"),
        keras.layers.Conv2D(6, 3, name=LEVELS[0], **conv),
        keras.layers.MaxPooling2D(name="pool_fine"),
        keras.layers.Conv2D(8, 3, name=LEVELS[1], **conv),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.MaxPooling2D(name="pool_middle"),
        keras.layers.Dropout(0.5, name="drop"),
        keras.layers.Conv2D(10, 3, name=LEVELS[2], **conv),
    ]


def _head(units, activation, spread=1.0):
    initializer = keras.initializers.RandomNormal(stddev=spread, seed=3)
    dense = keras.layers.Dense(units, activation=activation, kernel_initializer=initializer, name="scores")
    return [keras.layers.GlobalAveragePooling2D(name="pooling"), dense]


def _chain(tensor, layers):
    for layer in layers:
        tensor = layer(tensor)
    return tensor


def _flat(layers, name="flat"):
    films = keras.Input((SIDE, SIDE, 3))
    return keras.Model(films, _chain(films, layers), name=name)


@pytest.fixture(scope="session")
def films():
    coarse = np.random.default_rng(1).uniform(0, 255, (5, 8, 8, 3))
    return np.kron(coarse, np.ones((1, 4, 4, 1))).astype(np.float32)


@pytest.fixture(scope="session")
def targets():
    return np.array([0, 1, 2, 0, 1])


def _average_pooling():
    return [keras.layers.AveragePooling2D(SIDE // 4, name="average"), keras.layers.Flatten(name="row")]


def _there_and_back(row):
    return keras.ops.squeeze(keras.ops.expand_dims(row, 1), 1)


def _family(trunk, head):
    """Kind -> model; all are built from the same layers, so all are the same function."""

    def outer(first, layers, name):
        films = keras.Input((SIDE, SIDE, 3))
        return keras.Model(films, _chain(first(films), layers), name=name)

    # first, so that each layer's `output` is the flat model's
    flat = _flat([*trunk, *head])
    base = _flat(trunk, name="base")
    body = outer(base, [], "body")
    preparation = keras.Sequential([keras.Input((SIDE, SIDE, 3)), trunk[0]], name="preparation")

    def prepared_twice(films):
        return keras.layers.Average()([preparation(films), preparation(films)])

    family = {
        "flat": flat,
        "nested": outer(base, head, "nested"),
        "nested_twice": outer(body, head, "nested_twice"),
        "sequential": keras.Sequential([keras.Input((SIDE, SIDE, 3)), *trunk, *head], name="sequential"),
        "sequential_nested": keras.Sequential([keras.Input((SIDE, SIDE, 3)), base, *head], name="sequential_nested"),
        "subclassed": Subclassed([*trunk, *head]),
        "subclassed_nested": Subclassed([base, *head], name="subclassed_nested"),
        "reused": outer(prepared_twice, [*trunk[1:], *head], "reused"),
        "average_pooled": outer(base, [*_average_pooling(), *head[1:]], "average_pooled"),
        "op_mean": outer(base, [lambda features: keras.ops.mean(features, (1, 2)), *head[1:]], "op_mean"),
        "squeezed": outer(base, [*head, _there_and_back], "squeezed"),
    }
    for kind in ("subclassed", "subclassed_nested"):
        family[kind](np.zeros((1, SIDE, SIDE, 3), np.float32))
    return family


def _recast(layers, policy):
    """Copies of layers, with their weights, that compute in another dtype."""
    copies = []
    for layer in layers:
        copy = type(layer).from_config({**layer.get_config(), "dtype": policy})
        copy.build(layer.input.shape)
        copy.set_weights(layer.get_weights())
        copies.append(copy)
    return copies


@pytest.fixture(scope="session")
def models():
    """Kind -> model; all share their layers, so all are the same function."""
    keras.utils.set_random_seed(11)
    return _family(_trunk(), _head(CLASSES, "softmax", spread=8.0))


@pytest.fixture(scope="session")
def trunk(flat):
    """The layers before the pooling."""
    return [layer for layer in flat.layers[1:] if layer.name not in ("pooling", "scores")]


@pytest.fixture(scope="session")
def family(trunk):
    """Every kind of model over the same trunk with the head layers given."""
    return lambda head: _family(trunk, head)


@pytest.fixture(scope="session")
def mixed(trunk, flat):
    """Every kind of model in another dtype policy, with the same weights and a softmax in float32."""

    def build(policy):
        pooling, scores = _recast([flat.get_layer("pooling"), flat.get_layer("scores")], policy)
        scores.activation = keras.activations.linear
        return _family(_recast(trunk, policy), [pooling, scores, keras.layers.Softmax(dtype="float32")])

    return build


@pytest.fixture(scope="session")
def flat(models):
    return models["flat"]


@pytest.fixture(scope="session")
def features(flat, films):
    """What enters the pooling, float64 [n, h, w, K]."""
    return keras.Model(flat.inputs, flat.get_layer(LEVELS[-1]).output).predict(films, verbose=0).astype(np.float64)


@pytest.fixture(scope="session")
def head_weights(flat):
    """Kernel [K, C] and bias [C] of the head, float64."""
    return tuple(np.asarray(array, np.float64) for array in flat.get_layer("scores").get_weights())


@pytest.fixture(scope="session")
def large_net():
    """Keras Applications with a linear head of two classes and random weights, each built and prepared once."""
    built = {}

    def build(name, size):
        if name not in built:
            keras.utils.set_random_seed(4)
            architecture = getattr(keras.applications, name)
            model = architecture(weights=None, input_shape=(size, size, 3), classes=2, classifier_activation=None)
            explainer = Explainer(model, "gradcam,ms-gradcam++", batch_size=1)
            explainer.prepare((size, size, 3))
            built[name] = model, explainer
        return built[name]

    return build


@pytest.fixture(scope="session")
def with_head(trunk):
    """Build the same trunk with another head; the head's weights are drawn from a fixed seed."""

    def build(units, activation, spread=1.0, name="other_head"):
        return _flat([*trunk, *_head(units, activation, spread)], name)

    return build
