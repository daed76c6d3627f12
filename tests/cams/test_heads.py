"""Logits and probabilities behind every kind of head, and what can be explained of them."""

import keras
import numpy as np
import pytest
from tf_keras_vis.gradcam import Gradcam
from tf_keras_vis.utils.scores import CategoricalScore

from cxrkeras.cams import GradCAM, explain_all
from cxrkeras.errors import HiddenLogitsError, LayerError, TargetError


def maps(model, films, targets, **settings):
    return explain_all(model, films, targets, methods="gradcam", **settings)["gradcam"].values


def output_of(model, films):
    """What the model answers, float32."""
    return model.predict_on_batch(films)


@pytest.fixture(scope="module")
def linear_maps(with_head, films, targets):
    """Grad-CAM of a head without an activation."""
    return maps(with_head(3, None), films, targets)


def test_a_sigmoid_unit_has_two_classes(with_head, films, features):
    model = with_head(1, "sigmoid", spread=4.0)
    answers = output_of(model, films)[:, 0]
    both = [explain_all(model, films, np.full(5, c), methods="gradcam,scorecam") for c in (0, 1)]
    np.testing.assert_allclose(both[0].probabilities, np.stack([1 - answers, answers], 1), atol=1e-6)
    np.testing.assert_allclose(both[0].logits[:, 1], np.log(answers / (1 - answers)), atol=1e-3)
    np.testing.assert_array_equal(both[0].logits[:, 0], -both[0].logits[:, 1])
    kernel = np.asarray(model.get_layer("scores").get_weights()[0], np.float64)[:, 0]
    total = features @ kernel / 64
    np.testing.assert_allclose(both[1]["gradcam"].values, np.maximum(total, 0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(both[0]["gradcam"].values, np.maximum(-total, 0), rtol=1e-4, atol=1e-6)
    # w_k = 1 − s and s: the two maps add up to the plain channel sum
    sums = both[0]["scorecam"].values + both[1]["scorecam"].values
    np.testing.assert_allclose(sums, features.sum(-1), rtol=1e-4)


@pytest.mark.parametrize(("activation", "expected"), [("sigmoid", "own"), ("linear", "softmax"), (None, "softmax")])
def test_several_units_keep_their_own_probabilities(with_head, linear_maps, films, targets, activation, expected):
    model = with_head(3, activation)
    explained = explain_all(model, films, targets, methods="gradcam")
    output = output_of(model, films).astype(np.float64)
    if expected == "own":
        np.testing.assert_allclose(explained.probabilities, output, atol=1e-6)
        # sigmoids do not compete, so a margin is a logit
        np.testing.assert_allclose(maps(model, films, targets, on="margin"), linear_maps, rtol=1e-5, atol=1e-7)
    else:
        np.testing.assert_allclose(explained.logits, output, atol=1e-5)
        shifted = np.exp(output - output.max(1, keepdims=True))
        np.testing.assert_allclose(explained.probabilities, shifted / shifted.sum(1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(explained["gradcam"].values, linear_maps, rtol=1e-5, atol=1e-7)


def test_a_softmax_layer_behind_linear_logits_is_bypassed(with_head, films, targets):
    linear = with_head(3, None, spread=4.0)
    layers = (keras.layers.Softmax(), keras.layers.Activation("softmax"), keras.layers.Softmax(dtype="mixed_bfloat16"))
    expected = maps(linear, films, targets)
    for layer in layers:
        model = keras.Model(linear.inputs, layer(linear.output))
        np.testing.assert_allclose(maps(model, films, targets), expected, rtol=1e-5, atol=1e-6)


def test_log_probabilities_are_exponentiated(with_head, films, targets):
    linear = with_head(3, None, spread=4.0)
    model = keras.Model(linear.inputs, keras.layers.Activation("log_softmax")(linear.output))
    explained = explain_all(model, films, targets, methods="gradcam,scorecam")
    np.testing.assert_allclose(explained.probabilities, np.exp(output_of(model, films)), atol=1e-6)
    expected = explain_all(linear, films, targets, methods="gradcam,scorecam")
    for method in ("gradcam", "scorecam"):
        np.testing.assert_allclose(explained[method].values, expected[method].values, rtol=1e-4, atol=1e-5)


# the margin tells a softmax from sigmoids
MARGINS = {"methods": "gradcam,scorecam", "on": "margin", "batch_size": 5}


@pytest.fixture(scope="module", params=["softmax", "sigmoid"])
def squashed(request, with_head, films, targets):
    """A model that ends in a squashing, and its explanation."""
    model = with_head(3, request.param, spread=4.0)
    return model, explain_all(model, films, targets, **MARGINS)


@pytest.mark.parametrize(
    "reshaped",
    [
        lambda row: keras.layers.Reshape((3,))(row),
        lambda row: keras.ops.squeeze(keras.layers.Reshape((1, 3))(row), 1),
        lambda row: keras.ops.squeeze(keras.ops.expand_dims(row, -1), -1),
        lambda row: keras.layers.Flatten()(keras.layers.Activation("linear", dtype="float64")(row)),
    ],
)
def test_reshapes_behind_the_squashing_are_looked_through(squashed, films, targets, reshaped):
    plain, expected = squashed
    explained = explain_all(keras.Model(plain.inputs, reshaped(plain.output)), films, targets, **MARGINS)
    np.testing.assert_allclose(explained.logits, expected.logits, rtol=1e-6)
    np.testing.assert_allclose(explained.probabilities, expected.probabilities, rtol=1e-6)
    for method in ("gradcam", "scorecam"):
        np.testing.assert_allclose(explained[method].values, expected[method].values, rtol=1e-5, atol=1e-7)


def test_logits_of_another_shape_than_the_output_are_reshaped_with_it(with_head, films, targets):
    linear = with_head(3, None, spread=4.0)
    squashed = keras.layers.Softmax()(keras.layers.Reshape((1, 1, 3))(linear.output))
    model = keras.Model(linear.inputs, keras.layers.Flatten()(squashed))
    explained = explain_all(model, films, targets, methods="gradcam")
    np.testing.assert_allclose(explained.logits, output_of(linear, films), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(explained["gradcam"].values, maps(linear, films, targets), rtol=1e-5, atol=1e-7)


@pytest.fixture(scope="module")
def ensemble(with_head):
    """An average of a softmax and a sharper one, and its two parts."""
    linear = with_head(3, None, spread=2.0)
    sharper = keras.layers.Rescaling(3.0)(linear.output)
    parts = [keras.layers.Softmax(name=name)(z) for name, z in (("mild", linear.output), ("sharp", sharper))]
    averaged = keras.Model(linear.inputs, keras.layers.Average()(parts), name="ensemble")
    return averaged, [keras.Model(linear.inputs, part) for part in parts]


def test_an_average_of_softmaxes_is_not_squashed_again_and_has_no_logits(ensemble, films, targets):
    model, _ = ensemble
    explained = explain_all(model, films, targets, methods="eigencam,scorecam")
    np.testing.assert_allclose(explained.probabilities, output_of(model, films), atol=1e-6)
    assert explained.logits.shape == (5, 3)
    assert np.isnan(explained.logits).all()
    assert (explained["eigencam"].status == "ok").all()


def test_the_probability_of_an_average_is_the_average_of_the_probabilities(ensemble, films, targets):
    """Without the ReLU that ends them, Grad-CAM and ScoreCAM are linear in what is explained."""
    model, parts = ensemble
    settings = {"methods": "gradcam,scorecam", "on": "probability", "rectify": lambda x: x}
    averaged = explain_all(model, films, targets, **settings)
    alone = [explain_all(part, films, targets, **settings) for part in parts]
    for method in ("gradcam", "scorecam"):
        expected = sum(one[method].values for one in alone) / 2
        np.testing.assert_allclose(averaged[method].values, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())
    assert averaged["gradcam"].parameters["on"] == "probability"


@pytest.mark.parametrize("on", ["logit", "margin"])
@pytest.mark.parametrize("method", ["gradcam", "saliency", "ig"])
def test_probabilities_are_not_taken_for_logits(ensemble, films, targets, method, on):
    message = r"ensemble is made of probabilities: '(mild|sharp)' squashes inside.*--on probability.*score function"
    with pytest.raises(HiddenLogitsError, match=message):
        explain_all(ensemble[0], films, targets, methods=method, on=on)


def test_a_score_function_of_an_average_gets_its_probabilities(ensemble, films):
    model, second = ensemble[0], np.ones(5, int)
    scored = explain_all(model, films, methods="gradcam", score=lambda p: p[:, 1])["gradcam"].values
    named = explain_all(model, films, second, methods="gradcam", on="probability")["gradcam"].values
    np.testing.assert_allclose(scored, named, rtol=1e-5, atol=1e-8)


def test_drop_in_classes_explain_the_probability_of_an_average(ensemble, films):
    """As tf-keras-vis does, which differentiates what the model puts out."""
    raw = {"expand_cam": False, "normalize_cam": False}
    engine = GradCAM(ensemble[0])
    heat = engine(CategoricalScore(1), films, **raw)
    expected = maps(ensemble[0], films, np.ones(5, int), on="probability")
    np.testing.assert_allclose(heat, expected, rtol=1e-5, atol=1e-8)
    np.testing.assert_array_equal(engine(CategoricalScore(1), films, **raw), heat)
    copy = keras.models.clone_model(ensemble[0])
    copy.set_weights(ensemble[0].get_weights())
    peer = Gradcam(copy)(CategoricalScore(1), films, penultimate_layer="top", **raw)
    np.testing.assert_allclose(heat, peer, rtol=1e-4, atol=1e-5 * np.abs(peer).max())


def test_concatenated_sigmoid_units_keep_their_probabilities(with_head, trunk, films, targets):
    whole = with_head(3, "sigmoid", spread=4.0)
    kernel, bias = whole.get_layer("scores").get_weights()
    features = keras.layers.GlobalAveragePooling2D()(trunk[-1].output)
    units = [keras.layers.Dense(1, activation="sigmoid") for _ in range(3)]
    model = keras.Model(trunk[0].input, keras.layers.Concatenate()([unit(features) for unit in units]))
    for i, unit in enumerate(units):
        unit.set_weights([kernel[:, i : i + 1], bias[i : i + 1]])
    explained, expected = (
        explain_all(one, films, targets, methods="gradcam,scorecam", on="probability") for one in (model, whole)
    )
    np.testing.assert_allclose(explained.probabilities, expected.probabilities, atol=1e-6)
    for method in ("gradcam", "scorecam"):
        np.testing.assert_allclose(explained[method].values, expected[method].values, rtol=1e-4, atol=1e-6)


def test_an_average_of_single_sigmoid_units_is_a_probability(with_head, films):
    unit = with_head(1, "sigmoid", spread=4.0)
    model = keras.Model(unit.inputs, keras.layers.Average()([unit.output, 1.0 * unit.output]))
    explained = explain_all(model, films, np.ones(5, int), methods="gradcam", on="probability")
    expected = explain_all(unit, films, np.ones(5, int), methods="gradcam", on="probability")
    np.testing.assert_allclose(explained.probabilities, expected.probabilities, atol=1e-6)
    np.testing.assert_allclose(explained["gradcam"].values, expected["gradcam"].values, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("activation", ["silu", "gelu", "softplus", "tanh"])
def test_other_activations_of_the_scores_are_scores(with_head, films, targets, activation):
    """x · sigmoid(x) has a sigmoid inside and is no probability."""
    model = with_head(3, activation)
    explained = explain_all(model, films, targets, methods="gradcam")
    np.testing.assert_allclose(explained.logits, output_of(model, films), rtol=1e-5, atol=1e-6)


def test_softmaxes_under_a_learned_head_are_features(with_head, films, targets):
    inner = with_head(3, "softmax")
    model = keras.Model(inner.inputs, keras.layers.Dense(2)(keras.layers.Concatenate()([inner.output, inner.output])))
    explained = explain_all(model, films, targets % 2, methods="gradcam")
    np.testing.assert_allclose(explained.logits, output_of(model, films), rtol=1e-5, atol=1e-6)


def test_a_saturated_softmax_still_has_a_map(with_head, films, targets):
    model = with_head(3, "softmax", spread=500.0)
    explained = explain_all(model, films, targets, methods="gradcam,gradcam++,layercam")
    assert explained.probabilities.max() == 1
    assert set(explained["gradcam++"].status) == {"ok"}
    assert np.isfinite(explained["gradcam++"].values).all()


def test_gradient_on_probability_is_the_chain_rule(with_head, films):
    model = with_head(2, "softmax", spread=0.5)
    explained = explain_all(model, films, np.ones(5, int), methods="gradcam", on="probability")
    margin = maps(model, films, np.ones(5, int), on="margin")
    slope = explained.probabilities.prod(1)[:, None, None]
    np.testing.assert_allclose(explained["gradcam"].values, slope * margin, rtol=1e-4, atol=1e-7)


def test_margin_does_not_see_a_common_shift_and_logit_does(with_head, films, targets):
    model = with_head(3, "softmax")
    kernel, bias = model.get_layer("scores").get_weights()
    shifted = with_head(3, "softmax")
    shifted.get_layer("scores").set_weights([kernel + 0.5, bias])
    np.testing.assert_allclose(
        maps(model, films, targets, on="margin"), maps(shifted, films, targets, on="margin"), rtol=1e-3, atol=1e-5
    )
    assert np.abs(maps(model, films, targets) - maps(shifted, films, targets)).max() > 1e-3


def test_margin_of_two_classes_is_the_difference_of_logits(with_head, films, features):
    model = with_head(2, "softmax")
    kernel = np.asarray(model.get_layer("scores").get_weights()[0], np.float64)
    expected = np.maximum(features @ (kernel[:, 1] - kernel[:, 0]), 0) / 64
    np.testing.assert_allclose(maps(model, films, np.ones(5, int), on="margin"), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([0, 1], "expected 5 targets, one per image; received 2"),
        ([0, 1, 2, 3, 0], r"Expected 0 to 2, one of 3 classes \(a, b, c\); received \[3\]"),
        ([0, 1, -1, 0, 0], "class indices from 0"),
        ([0.5, 1, 1, 0, 0], "class indices from 0"),
        (np.zeros((5, 1), int), "one per image; received an array of shape"),
    ],
)
def test_targets_are_checked(flat, films, targets, message):
    with pytest.raises(TargetError, match=message):
        explain_all(flat, films, targets, methods="gradcam", classes=("a", "b", "c"))


def test_several_outputs_are_refused(flat, films):
    twice = keras.Model(flat.inputs, [flat.output, flat.output])
    with pytest.raises(TargetError, match="has 2 outputs"):
        explain_all(twice, films, methods="gradcam")
    spatial = keras.Model(flat.inputs, flat.get_layer("top").output)
    with pytest.raises(TargetError, match=r"received \(5, 8, 8, 10\)"):
        explain_all(spatial, films, methods="gradcam")


def test_a_layer_the_scores_do_not_use_is_an_error(flat, films, targets):
    class Aside(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner, self.aside = flat, keras.layers.Conv2D(2, 3, name="aside")

        def call(self, inputs):
            self.aside(inputs)
            return self.inner(inputs)

    model = Aside()
    model(films)
    with pytest.raises(LayerError, match="do not depend on layer 'aside'"):
        explain_all(model, films, targets, methods="gradcam", layer="aside")
