"""The memory estimate against graphs whose live tensors can be counted by hand, and the pack that fits a budget."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cxrkeras.cams import Explainer
from cxrkeras.cams.tracing.memory import LARGEST_PACK, WORKSPACE, films_within, live_bytes, masked_film_bytes
from cxrkeras.cams.tracing.probe import traced


def counted(function, shape):
    found = []

    def graph(x):
        found.append(live_bytes([x], [function(x)]))

    tf.function(graph, autograph=False).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    return found[0]


def test_a_chain_holds_what_is_read_and_what_is_written():
    # a -> b: only two tensors of 10 float32 live at a time, however long the chain
    assert counted(lambda x: tf.exp(tf.exp(tf.exp(tf.exp(x)))), (10,)) == 2 * 40


def test_a_skip_connection_is_held_until_it_is_added():
    def skip(x):
        first = tf.exp(x)
        return first + tf.exp(tf.exp(first))

    # first, the last exponential and the sum
    assert counted(skip, (10,)) == 3 * 40


def test_a_reshape_is_no_copy_but_keeps_its_source_alive():
    def reshaped(x):
        view = tf.reshape(tf.exp(x), (5, 2))
        wide = tf.exp(tf.exp(view))
        return wide + view

    assert counted(reshaped, (10,)) == 3 * 40


def test_what_does_not_depend_on_the_input_is_not_counted():
    weights = tf.Variable(tf.ones(1000))
    assert counted(lambda x: tf.reduce_sum(weights * tf.ones(1000)) + tf.exp(x), (10,)) == 2 * 40


def test_a_film_costs_its_masks_and_its_share_of_the_activations():
    films = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(16, 1)(films))
    model = keras.Model(films, keras.layers.Dense(2)(pooled))
    found = []

    def graph(x):
        trace = traced(model, x)
        found.append((live_bytes(trace.inputs, [trace.output]), masked_film_bytes(trace.inputs, [trace.output])))

    tf.function(graph, autograph=False).get_concrete_function(tf.TensorSpec((5, 8, 8, 3), tf.float32))
    live, film = found[0]
    # convolution and its bias: two tensors of 8 × 8 × 16
    assert live == 5 * 2 * 8 * 8 * 16 * 4
    assert film == WORKSPACE * 2 * 8 * 8 * 16 * 4 + (2 * 3 + 3) * 8 * 8 * 4


@pytest.mark.parametrize(
    ("budget", "film", "pack"), [(100, 10, 10), (99, 10, 9), (5, 10, 1), (10**9, 10, LARGEST_PACK), (100, 0, 32)]
)
def test_the_pack_is_what_the_budget_holds(budget, film, pack):
    assert films_within(budget, film) == pack


def test_the_budget_sets_the_pack_size_unless_one_is_given(flat, films, targets):
    explainer = Explainer(flat, "scorecam", batch_size=5, memory_budget=2**17)
    assert explainer.pack_size is None
    tight = explainer.explain(films, targets)["scorecam"]
    assert 1 <= explainer.pack_size < 8
    roomy = Explainer(flat, "scorecam", batch_size=5)
    wide = roomy.explain(films, targets)["scorecam"]
    assert roomy.pack_size == LARGEST_PACK
    np.testing.assert_allclose(tight.values, wide.values, atol=1e-6 * wide.values.max())
    fixed = Explainer(flat, "scorecam", memory_budget=1, pack_size=9)
    fixed.prepare(films.shape[1:])
    assert fixed.pack_size == 9
