"""Saliency and integrated gradients: against an eager tape, closed forms, and the completeness they promise."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cxrkeras.cams import Explainer, explain_all
from cxrkeras.cams.integrated import completeness_gap, counted_gap
from cxrkeras.errors import MethodError, UnconnectedLayerError


def tape_gradients(logits, films, targets):
    """dz/dx of a model that answers with logits, by an eager tape."""
    points = tf.constant(films)
    with tf.GradientTape() as tape:
        tape.watch(points)
        chosen = tf.gather(logits(points, training=False), targets, batch_dims=1)
    return tape.gradient(chosen, points).numpy().astype(np.float64), chosen.numpy().astype(np.float64)


@pytest.fixture(scope="module")
def linear(flat):
    """A copy of the softmax model with a linear head."""

    def recast(layer):
        config = layer.get_config()
        if config["name"] == "scores":
            config["activation"] = "linear"
        return layer.__class__.from_config(config)

    copy = keras.models.clone_model(flat, clone_function=recast)
    copy.set_weights(flat.get_weights())
    return copy


@pytest.fixture(scope="module")
def explanation(flat, films, targets):
    return explain_all(flat, films, targets, methods="saliency,ig,gradcam", batch_size=2)


def test_saliency_is_the_largest_absolute_gradient_of_the_channels(explanation, linear, films, targets):
    gradients, _ = tape_gradients(linear, films, targets)
    expected = np.abs(gradients).max(-1)
    np.testing.assert_allclose(explanation["saliency"].values, expected, rtol=1e-4, atol=1e-5 * expected.max())
    assert explanation["saliency"].layer == "input"


def test_integrated_gradients_are_those_of_a_plain_loop(explanation, linear, films, targets):
    baseline, steps = 127.5, 50  # the trunk's preprocessing x/127.5 − 1 is 0 there
    total = np.zeros(films.shape)
    for step in range(steps):
        place = (step + 0.5) / steps
        total += tape_gradients(linear, (baseline + place * (films - baseline)).astype(np.float32), targets)[0]
    attributions = ((films - baseline) * total / steps).sum(-1)
    expected = np.abs(attributions)
    np.testing.assert_allclose(explanation["ig"].values, expected, rtol=1e-3, atol=1e-4 * expected.max())
    far, near = films, np.full_like(films, baseline)
    ends = [tape_gradients(linear, points, targets)[1] for points in (far, near)]
    difference = ends[0] - ends[1]
    gap = np.abs(attributions.sum((1, 2)) - difference) / np.abs(difference)
    np.testing.assert_allclose(explanation["ig"].extras["completeness_gap"], gap, atol=2e-4)
    assert (gap < 0.05).all()


def linear_model(scale=1 / 64, offset=-0.5):
    """z = w · preprocessed: integrated gradients are exact there at any number of steps."""
    films = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(scale, offset)(films)
    return keras.Model(films, keras.layers.Dense(2, kernel_initializer="random_normal")(keras.layers.Flatten()(x)))


@pytest.mark.parametrize("steps", [1, 7])
def test_a_linear_model_has_closed_form_attributions_and_no_gap(steps):
    keras.utils.set_random_seed(5)
    model = linear_model()
    films = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype(np.float32)
    targets = np.array([0, 1, 1])
    weights = model.layers[-1].kernel.numpy().reshape(8, 8, 3, 2)
    preprocessed = films / 64 - 0.5
    result = explain_all(model, films, targets, methods="ig,saliency", ig_steps=steps)
    expected = np.abs((preprocessed * np.moveaxis(weights, -1, 0)[targets]).sum(-1))
    np.testing.assert_allclose(result["ig"].values, expected, rtol=1e-4, atol=1e-5)
    assert (result["ig"].extras["completeness_gap"] < 1e-4).all()
    slope = np.abs(np.moveaxis(weights, -1, 0)[targets]).max(-1) / 64
    np.testing.assert_allclose(result["saliency"].values, slope, rtol=1e-5)


def test_a_model_without_preprocessing_starts_from_zero():
    films = keras.Input((4, 4, 1))
    model = keras.Model(films, keras.layers.Dense(2)(keras.layers.Flatten()(films)))
    x = np.random.default_rng(0).uniform(0, 1, (1, 4, 4, 1)).astype(np.float32)
    expected = np.abs(x[0, ..., 0] * model.layers[-1].kernel.numpy()[:, 1].reshape(4, 4))
    result = explain_all(model, x, [1], methods="ig", ig_steps=3)
    np.testing.assert_allclose(result["ig"].values[0], expected, rtol=1e-5)


def test_a_saturated_explanation_has_no_gap_to_state():
    np.testing.assert_array_equal(
        np.isnan(completeness_gap(np.array([0.0, 1.0, 2.0]), np.array([1e-7, 1.0, 0.0]))), [True, False, True]
    )
    assert completeness_gap(np.array([1.5]), np.array([-1.0]))[0] == 2.5
    gaps = counted_gap(np.array([1.5, 0.03, np.inf, 1.0]), np.array([-1.0, 0.01, 1.0, np.inf]))
    np.testing.assert_allclose(gaps, [2.5, 0.2, np.nan, np.nan])


def test_packs_do_not_change_the_maps_and_are_traced_once(flat, films, targets, explanation):
    explainer = Explainer(flat, "ig", batch_size=5)
    result = explainer.explain(films, targets)
    np.testing.assert_allclose(
        result["ig"].values, explanation["ig"].values, rtol=1e-4, atol=1e-5 * explanation["ig"].values.max()
    )
    explainer.explain(films[:3], targets[:3])
    assert explainer.traces == 1
    assert explainer._in_use.path.traces == 1


def test_what_is_explained_can_be_the_probability(explanation, flat, films, targets):
    probable = explain_all(flat, films, targets, methods="ig", on="probability")["ig"]
    assert probable.parameters["on"] == "probability"
    both = np.array([m.values / m.values.max((1, 2), keepdims=True) for m in (explanation["ig"], probable)])
    assert np.abs(both[0] - both[1]).max() > 0.01


def one_channel(function, pixels):
    """A model of a film of a few pixels in a row, answering with `function` of them and with 0."""
    films = keras.Input((1, pixels, 1))
    flat = keras.layers.Flatten()(films)
    answers = keras.layers.Lambda(lambda x: keras.ops.stack([function(x), 0 * x[:, 0]], axis=1), (2,))(flat)
    return keras.Model(films, answers)


@pytest.mark.parametrize("steps", [1, 2, 50])
@pytest.mark.parametrize(
    ("function", "film", "expected"),
    [
        (lambda x: x[:, 0] - 2 * x[:, 1] + 3 * x[:, 2], (2, 1, -1), (2, -2, -3)),
        (lambda x: x[:, 0] ** 2 + x[:, 0] * x[:, 1], (2, 3), (7, 3)),
    ],
)
def test_known_answers_are_exact_at_any_number_of_midpoints(function, film, expected, steps):
    x = np.array(film, np.float32).reshape(1, 1, -1, 1)
    result = explain_all(one_channel(function, len(film)), x, [0], methods="ig", ig_steps=steps)["ig"]
    np.testing.assert_allclose(result.values[0, 0], np.abs(expected), rtol=1e-5)
    # the signed ones add up to f(x) − f(0)
    assert result.extras["completeness_gap"][0] < 1e-5


def test_a_black_baseline_is_black_before_the_preprocessing():
    keras.utils.set_random_seed(5)
    model = linear_model()
    films = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype(np.float32)
    weights = model.layers[-1].kernel.numpy().reshape(8, 8, 3, 2)
    result = explain_all(model, films, [0, 1], methods="ig", ig_steps=3, ig_baseline="black")["ig"]
    expected = np.abs((films / 64 * np.moveaxis(weights, -1, 0)).sum(-1))
    np.testing.assert_allclose(result.values, expected, rtol=1e-4, atol=1e-5)
    assert result.parameters["ig_baseline"] == "black"
    black = explain_all(model, 0 * films, [0, 1], methods="ig", ig_baseline="black")["ig"]
    assert not black.values.any()
    assert black.extras["counted_gap"].tolist() == [0, 0]


def test_little_to_explain_is_not_blown_up_to_a_wide_gap(linear):
    films = np.full((1, *linear.input_shape[1:]), 127.5, np.float32)
    films[0, 4, 4] += 0.05
    gaps = explain_all(linear, films, [0], methods="ig", ig_steps=1)["ig"].extras
    size = np.abs(tape_gradients(linear, films, [0])[1] - tape_gradients(linear, np.full_like(films, 127.5), [0])[1])
    assert size[0] < 0.1
    np.testing.assert_allclose(gaps["counted_gap"], np.nan_to_num(gaps["completeness_gap"]) * size / 0.1, atol=1e-5)


@pytest.mark.parametrize("steps", [0, 2.5, -1])
def test_a_number_of_steps_that_is_none_is_refused(flat, steps):
    with pytest.raises(MethodError, match="ig_steps has to be a whole number"):
        Explainer(flat, "ig", ig_steps=steps)


def test_progress_counts_every_point_and_ends_at_its_total(flat, films, targets):
    seen = []
    Explainer(flat, "gradcam,ig", batch_size=4, ig_steps=6).explain(
        films, targets, progress=lambda *pair: seen.append(pair)
    )
    assert seen[-1] == (5 * (1 + 6 + 2), 5 * (1 + 6 + 2))
    assert all(done <= in_all for done, in_all in seen)


@pytest.fixture(scope="module")
def whole_numbers():
    """A model that takes its films as whole numbers, so that it has no gradient there."""
    films = keras.Input((16, 16, 3), dtype="uint8")
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(keras.layers.Rescaling(1 / 255)(films))
    return keras.Model(films, keras.layers.Dense(2, "softmax")(keras.layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize("method", ["saliency", "ig"])
def test_films_that_cannot_be_differentiated_are_refused_or_give_zero_maps(whole_numbers, method):
    films, targets = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 3)), [0, 1, 1]
    with pytest.raises(UnconnectedLayerError, match=r"cannot be differentiated by its films.*dtype float32"):
        explain_all(whole_numbers, films, targets, methods=method)
    zero = tf.UnconnectedGradients.ZERO
    result = explain_all(whole_numbers, films, targets, methods=f"gradcam,{method}", unconnected_gradients=zero)
    np.testing.assert_array_equal(result[method].values, 0)
    np.testing.assert_array_equal(result[method].status, "degenerate")
    if method == "ig":
        np.testing.assert_array_equal(result["ig"].extras["completeness_gap"], 1)
    alone = explain_all(whole_numbers, films, targets, methods="gradcam")["gradcam"]
    np.testing.assert_array_equal(result["gradcam"].values, alone.values)
