"""Where masks are applied and what they leave behind: closed forms, every kind of model, the model left as it was."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cxrkeras.cams import Explainer
from cxrkeras.cams.scorecam.masked import MaskedForward, unit_masks
from cxrkeras.cams.tracing.preprocessing import leading_preprocessing
from cxrkeras.cams.tracing.probe import traced
from cxrkeras.errors import LayerError, MethodError

SCALE, OFFSET = 1 / 127.5, -1.0


def scorecam(model, films, targets, **options):
    return Explainer(model, "scorecam", batch_size=len(films), **options).explain(films, targets)["scorecam"]


@pytest.mark.parametrize("kind", ["nested", "subclassed"])
def test_masking_behind_an_affine_preprocessing_is_masking_around_its_zero(models, films, targets, kind):
    """(x s + o) ⊙ H = (x ⊙ H + v (1 − H)) s + o with v = −o/s."""
    behind = scorecam(models[kind], films, targets, mask_space="preprocessed")
    around = scorecam(models[kind], films, targets, mask_value=-OFFSET / SCALE)
    plain = scorecam(models[kind], films, targets)
    largest = around.values.max()
    np.testing.assert_allclose(behind.values, around.values, atol=2e-5 * largest)
    assert np.abs(behind.values - plain.values).max() > 0.01 * largest
    assert [r.parameters["mask_space"] for r in (behind, around, plain)] == ["preprocessed", "input", "input"]
    assert [r.parameters["mask_value"] for r in (behind, around, plain)] == [0, 127.5, 0]


def test_a_value_behind_the_preprocessing_is_in_its_units(flat, films, targets):
    """Hidden pixels at −1 behind x/127.5 − 1 are hidden pixels at 0 in the film."""
    behind = scorecam(flat, films, targets, mask_space="preprocessed", mask_value=-1.0)
    plain = scorecam(flat, films, targets)
    np.testing.assert_allclose(behind.values, plain.values, atol=2e-5 * plain.values.max())


def test_softmax_weighting_subtracts_the_answer_to_the_film_that_is_hidden_everywhere():
    """A dead channel gets no forward, but its share of the softmax: exp(0), the gain of a film of nothing but v."""
    kernel, bias = np.array([0, 0.01, 0.02], np.float32), np.array([0, 0.5, -1], np.float32)
    inputs = keras.Input((8, 8, 1))
    conv = keras.layers.Conv2D(3, 1, name="conv")
    dense = keras.layers.Dense(2, activation="softmax", use_bias=False)
    model = keras.Model(inputs, dense(keras.layers.GlobalAveragePooling2D()(conv(inputs))))
    conv.set_weights([kernel.reshape(1, 1, 1, 3), bias])
    dense.set_weights([np.array([[0, 0], [1, -1], [-2, 0.5]])])
    image = np.random.default_rng(0).uniform(0, 200, (1, 8, 8, 1)).astype(np.float32)
    features = image[0].astype(np.float64) * kernel + bias

    def answer(film):
        return float(model(film[None].astype(np.float32))[0, 1])

    hidden, gains = np.full((8, 8, 1), 40.0), [0.0]
    for k in (1, 2):
        mask = (features[..., k, None] - features[..., k].min()) / np.ptp(features[..., k])
        gains.append(answer(image[0] * mask + 40.0 * (1 - mask)) - answer(hidden))
    expected = features @ (np.exp(gains) / np.exp(gains).sum())
    result = scorecam(model, image, [1], weighting="softmax", mask_value=40.0, rectify=tf.identity)
    assert result.extras["n_live"].tolist() == [2]
    np.testing.assert_allclose(result.values[0], expected, rtol=1e-4, atol=1e-5)


def test_a_chain_of_preprocessing_layers_is_followed_to_its_end(films):
    normal = keras.layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 4.0, 9.0], name="normal")
    unit = keras.layers.Rescaling(1 / 255, name="unit")
    later = keras.layers.Rescaling(2.0, name="later")
    inputs = keras.Input((32, 32, 3))
    conv = keras.layers.Conv2D(4, 3, strides=4, activation="relu", name="conv")
    pooled = keras.layers.GlobalAveragePooling2D()(later(conv(normal(unit(inputs)))))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(pooled))
    found = []

    def graph(x):
        trace = traced(model, x)
        found.extend(call.name for call in leading_preprocessing(trace, trace.films))

    tf.function(graph, autograph=False).get_concrete_function(tf.TensorSpec((1, 32, 32, 3), tf.float32))
    assert found == ["unit", "normal"]
    targets = [0] * len(films)
    behind = scorecam(model, films, targets, mask_space="preprocessed").values
    named = scorecam(model, films, targets, mask_space="preprocessed", mask_layer="normal").values
    np.testing.assert_array_equal(behind, named)
    # the zero of unit alone is black
    first = scorecam(model, films, targets, mask_space="preprocessed", mask_layer="unit").values
    np.testing.assert_allclose(first, scorecam(model, films, targets).values, atol=2e-5 * first.max())
    assert np.abs(first - behind).max() > 1e-3 * first.max()


def test_a_layer_of_any_size_can_be_masked(flat, films, targets):
    """Masks are made at the size of what they hide; at the tapped layer's own input that is 8 by 8."""
    result = scorecam(flat, films, targets, mask_space="preprocessed", mask_layer="pool_middle")
    top, scores = flat.get_layer("top"), flat.get_layer("scores")
    held = films[:1]
    for layer in flat.layers[1 : flat.layers.index(flat.get_layer("pool_middle")) + 1]:
        held = layer(held)
    features = np.asarray(top(held), np.float64)[0]
    expected = 0
    for k in range(features.shape[-1]):
        if features[..., k].any():
            mask = unit_masks(tf.constant(features[None, ..., k, None], tf.float32), (8, 8))
            answer = scores(tf.reduce_mean(top(held * mask), (1, 2)))
            expected = expected + float(answer[0, targets[0]]) * features[..., k]
    np.testing.assert_allclose(result.values[0], np.maximum(expected, 0), atol=1e-5 * np.max(expected))


def test_only_inputs_with_a_grid_are_masked():
    seen = {}

    def answer(inputs):
        seen["inputs"] = inputs
        return tf.concat([tf.reduce_mean(inputs[0], (1, 2)), inputs[1]], -1)

    forward = MaskedForward(answer, 3)
    films = tf.ones((2, 4, 4, 1))
    ages = tf.constant([[10.0], [20.0]])
    masks = tf.constant(np.array([[0, 1], [0, 1]], np.float32).reshape(1, 1, 2, 2).repeat(2, 0))
    result = forward.outputs((films, ages), masks, np.array([[1, 0], [0, 0]]))
    np.testing.assert_allclose(result, [[0.5, 20], [0.5, 10]])


def test_masks_run_from_0_to_1_and_a_constant_channel_hides_everything():
    channels = np.random.default_rng(0).normal(size=(3, 4, 4, 1)).astype(np.float32)
    channels[1] = 7.3
    masks = unit_masks(tf.constant(channels), (9, 9)).numpy()
    assert masks.shape == (3, 9, 9, 1)
    np.testing.assert_allclose(masks[[0, 2]].min((1, 2, 3)), 0)
    np.testing.assert_allclose(masks[[0, 2]].max((1, 2, 3)), 1)
    assert (masks[1] == 0).all()


def test_the_model_and_keras_are_left_as_they_were(flat, films, targets):
    call, compute = keras.layers.Layer.__call__, keras.layers.Layer.compute_dtype
    before = flat.predict(films, verbose=0)
    with pytest.raises(MethodError):
        scorecam(flat, films, targets, mask_space="preprocessed", mask_layer="pool_middle", mask_value=np.inf)
    scorecam(flat, films, targets, mask_space="preprocessed", precision="bfloat16")
    assert keras.layers.Layer.__call__ is call
    assert keras.layers.Layer.compute_dtype is compute
    np.testing.assert_array_equal(flat.predict(films, verbose=0), before)


def without_preprocessing():
    inputs = keras.Input((8, 8, 1))
    conv = keras.layers.Conv2D(3, 3, activation="relu", name="first")(inputs)
    dense = keras.layers.Dense(2, activation="softmax")
    return keras.Model(inputs, dense(keras.layers.GlobalAveragePooling2D()(conv)), name="plain")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mask_space": "preprocessed"}, MethodError, "plain begins with first.*mask_layer"),
        ({"mask_space": "preprocessed", "mask_layer": "frist"}, LayerError, "Did you mean 'first'"),
        ({"mask_space": "preproccessed"}, MethodError, "Did you mean 'preprocessed'"),
        ({"mask_layer": "first"}, MethodError, "needs mask_space='preprocessed'"),
        ({"mask_value": "black"}, MethodError, "received 'black'"),
        ({"mask_value": float("nan")}, MethodError, "received nan"),
        ({"precision": "bfloat"}, MethodError, "Did you mean 'bfloat16'"),
    ],
)
def test_masks_that_cannot_be_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        Explainer(without_preprocessing(), "scorecam", **options).prepare((8, 8, 1))
