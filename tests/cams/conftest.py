"""Small nets of every kind, built once: the same layers as flat, nested, Sequential and subclassed model."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest

SIDE = 32
CLASSES = 3
LEVELS = ("fine", "middle", "top")


class Subclassed(keras.Model):
    def __init__(self, layers):
        super().__init__(name="subclassed")
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


@pytest.fixture(scope="session")
def models():
    """Kind -> model; all share their layers, so all are the same function."""
    keras.utils.set_random_seed(11)
    trunk, head = _trunk(), _head(CLASSES, "softmax", spread=8.0)
    flat = _flat([*trunk, *head])
    films = keras.Input((SIDE, SIDE, 3))
    base_films = keras.Input((SIDE, SIDE, 3))
    base = keras.Model(base_films, _chain(base_films, trunk), name="base")
    nested = keras.Model(films, _chain(base(films), head), name="nested")
    sequential = keras.Sequential([keras.Input((SIDE, SIDE, 3)), *trunk, *head], name="sequential")
    subclassed = Subclassed([*trunk, *head])
    subclassed(np.zeros((1, SIDE, SIDE, 3), np.float32))
    return {"flat": flat, "nested": nested, "sequential": sequential, "subclassed": subclassed}


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
def with_head(flat):
    """Build the same trunk with another head; the head's weights are drawn from a fixed seed."""

    def build(units, activation, spread=1.0, name="other_head"):
        trunk = [layer for layer in flat.layers[1:] if layer.name not in ("pooling", "scores")]
        return _flat([*trunk, *_head(units, activation, spread)], name)

    return build
