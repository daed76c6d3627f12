"""ScoreCAM's forwards in bfloat16: what computes in it, how far the maps move, and that nothing is changed for good."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from cxrkeras.cams import Explainer
from cxrkeras.cams.tracing.precision import bfloat16_grids

# measured: 0.029 of the maximum, on a head whose kernel has a deviation of 8 and so magnifies every rounding
DEVIATION = 0.04


def dtypes_inside(model, films):
    found = {}

    def graph(x):
        wrapped = keras.layers.Layer.__call__

        def noting(layer, *args, **kwargs):
            result = wrapped(layer, *args, **kwargs)
            found[layer.name] = tf.nest.flatten(result)[0].dtype.name
            return result

        keras.layers.Layer.__call__ = noting
        try:
            with bfloat16_grids():
                return model(x, training=False)
        finally:
            keras.layers.Layer.__call__ = wrapped

    tf.function(graph, autograph=False).get_concrete_function(tf.TensorSpec(films.shape, tf.float32))
    return found


@pytest.mark.parametrize("kind", ["flat", "nested", "sequential", "subclassed"])
def test_grids_compute_in_bfloat16_and_preprocessing_pooling_and_head_do_not(models, films, kind):
    found = dtypes_inside(models[kind], films)
    for name in ("fine", "pool_fine", "middle", "norm", "pool_middle", "top"):
        assert found[name] == "bfloat16", name
    for name in ("preprocessing", "pooling", "scores"):
        assert found[name] == "float32", name


@pytest.mark.parametrize("kind", ["flat", "nested", "sequential", "subclassed"])
def test_maps_move_by_no_more_than_stated(models, films, targets, kind):
    own, low = (
        Explainer(models[kind], "scorecam", batch_size=5, precision=precision).explain(films, targets)["scorecam"]
        for precision in ("model", "bfloat16")
    )
    largest = own.values.max((1, 2), keepdims=True)
    moved = np.abs(low.values - own.values) / largest
    # it is not the same computation, and it is close
    assert 0 < moved.max() <= DEVIATION
    np.testing.assert_array_equal(low.extras["n_live"], own.extras["n_live"])
    assert (own.parameters["precision"], low.parameters["precision"]) == ("model", "bfloat16")


def test_nothing_changes_unless_asked_and_nothing_stays(flat, films, targets):
    policies = [layer.dtype_policy.name for layer in flat.layers]
    weights, outputs = flat.get_weights(), flat.predict(films, verbose=0)
    first = Explainer(flat, "scorecam", batch_size=5).explain(films, targets)["scorecam"]
    Explainer(flat, "scorecam", batch_size=5, precision="bfloat16").explain(films, targets)
    again = Explainer(flat, "scorecam", batch_size=5).explain(films, targets)["scorecam"]
    np.testing.assert_array_equal(first.values, again.values)
    assert [layer.dtype_policy.name for layer in flat.layers] == policies
    assert {layer.compute_dtype for layer in flat.layers} == {"float32"}
    assert all((a == b).all() for a, b in zip(weights, flat.get_weights(), strict=True))
    np.testing.assert_array_equal(flat.predict(films, verbose=0), outputs)


def test_other_threads_see_the_model_as_it_is(flat):
    layer, seen = flat.get_layer("top"), []
    grid = tf.zeros((1, 8, 8, 8))
    # the lock is the patching thread's; a model running elsewhere meanwhile must not notice
    running, looked = threading.Event(), threading.Event()

    def elsewhere():
        running.wait(5)
        seen.append(layer(grid).dtype.name)
        looked.set()

    other = threading.Thread(target=elsewhere)
    other.start()
    with bfloat16_grids():
        here = layer(grid).dtype.name
        running.set()
        assert looked.wait(5)
    other.join()
    assert (here, seen) == ("bfloat16", ["float32"])


def test_a_mixed_model_keeps_what_it_has(films, targets):
    keras.utils.set_random_seed(2)
    policy = keras.dtype_policies.DTypePolicy("mixed_bfloat16")
    inputs = keras.Input((32, 32, 3))
    conv = keras.layers.Conv2D(6, 3, strides=4, activation="relu", dtype=policy)
    values = conv(keras.layers.Rescaling(1 / 255, dtype="float32")(inputs))
    values = keras.layers.GlobalAveragePooling2D(dtype="float32")(values)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax", dtype="float32")(values))
    own, low = (
        Explainer(model, "scorecam", batch_size=5, precision=precision).explain(films, targets)["scorecam"]
        for precision in ("model", "bfloat16")
    )
    np.testing.assert_array_equal(own.values, low.values)
