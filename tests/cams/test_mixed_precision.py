"""Models that compute in bfloat16 or float16: maps stay near those of float32, by tolerances that are stated here."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cxrkeras.cams import METHODS, Explainer
from cxrkeras.cams.gradients import film_scales
from cxrkeras.maps import min_max

LEVELS = ("fine", "middle", "top")
KINDS = ("flat", "nested_twice", "subclassed_nested")
# largest difference of a min-maxed map: bfloat16 carries 8 bits, float16 carries 11
TOLERANCE = {"mixed_bfloat16": 0.03, "mixed_float16": 0.006}
# maps of single pixels jump where a pixel's ReLU or maximum falls to the other side, so only the whole is compared
CORRELATION = {"mixed_bfloat16": 0.95, "mixed_float16": 0.99}
POLICIES = tuple(TOLERANCE)
SETTINGS = {"multiscale_layers": LEVELS, "ig_steps": 8}


def explain(model, films, targets):
    return Explainer(model, tuple(METHODS), batch_size=5, **SETTINGS).explain(films, targets)


@pytest.fixture(scope="module")
def reference(flat, films, targets):
    return explain(flat, films, targets)


@pytest.fixture(scope="module")
def families(mixed):
    return {policy: mixed(policy) for policy in POLICIES}


@pytest.fixture(scope="module")
def explained(families, films, targets):
    found = {}

    def maps(policy, kind):
        if (policy, kind) not in found:
            found[policy, kind] = explain(families[policy][kind], films, targets)
        return found[policy, kind]

    return maps


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("method", METHODS)
def test_maps_stay_near_float32(explained, reference, method, policy):
    result, expected = explained(policy, "flat")[method], reference[method]
    assert result.values.dtype == np.float32
    assert np.isfinite(result.values).all()
    np.testing.assert_array_equal(result.status, expected.status)
    actual, wanted = min_max(result.values), min_max(expected.values)
    assert (actual != wanted).any(), "the model did not compute in the lower precision"
    if METHODS[method].at_input:
        pairs = zip(actual.reshape(5, -1), wanted.reshape(5, -1), strict=True)
        assert min(np.corrcoef(one, other)[0, 1] for one, other in pairs) > CORRELATION[policy]
    else:
        assert np.abs(actual - wanted).max() < TOLERANCE[policy]


@pytest.mark.parametrize(("kind", "policy"), list(zip(KINDS[1:], POLICIES, strict=True)))
@pytest.mark.parametrize("method", METHODS)
def test_every_kind_of_model_gives_the_same_maps(explained, method, kind, policy):
    result, expected = explained(policy, kind)[method], explained(policy, "flat")[method]
    np.testing.assert_allclose(result.values, expected.values, atol=1e-5 * expected.values.max())
    np.testing.assert_array_equal(result.status, expected.status)


@pytest.mark.parametrize("policy", POLICIES)
def test_probabilities_and_policies_are_the_models_own(explained, families, films, policy):
    explanation, model = explained(policy, "flat"), families[policy]["flat"]
    assert explanation.probabilities.dtype == explanation.logits.dtype == np.float32
    np.testing.assert_allclose(explanation.probabilities, model(films, training=False), atol=1e-6)
    names = {layer.name: layer.dtype_policy.name for layer in model.layers[1:]}
    assert names.pop(model.layers[-1].name) == "float32"
    assert set(names.values()) == {policy}


def test_a_batch_is_its_singles_in_bfloat16(families, explained, films, targets):
    expected = explained("mixed_bfloat16", "flat")
    explainer = Explainer(families["mixed_bfloat16"]["flat"], tuple(METHODS), batch_size=1, **SETTINGS)
    for i in range(3):
        single = explainer.explain(films[i : i + 1], targets[i : i + 1])
        for method in METHODS:
            wanted = expected[method].values[i]
            np.testing.assert_allclose(single[method].values[0], wanted, atol=0.01 * wanted.max())


@pytest.fixture(scope="module")
def overflowing():
    """Finite films; in the second, one activation is beyond float16, and its channel counts against the class."""
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.Rescaling([300.0, 1.0], dtype="mixed_float16")(inputs)
    for name in LEVELS:
        x = keras.layers.ReLU(name=name, dtype="mixed_float16")(x)
    dense = keras.layers.Dense(2)
    model = keras.Model(inputs, dense(keras.layers.GlobalAveragePooling2D()(x)))
    dense.set_weights([np.array([[-1, 1], [1, 1]]), np.zeros(2)])
    films = np.random.default_rng(0).uniform(0, 1, (3, 8, 8, 2)) * [0.001, 1]
    films[1, 2, 2, 0] = 255
    explained = explain(model, films, np.zeros(3, int))
    assert not np.isfinite(explained.logits[1]).any()
    assert np.isfinite(explained.logits[[0, 2]]).all()
    return explained


@pytest.mark.parametrize("method", METHODS)
def test_a_film_whose_activations_overflow_is_degenerate(overflowing, method):
    assert overflowing[method].status[1] == "degenerate"


FACTORS = (2.0**-7, 2.0**-4, 2.0**8)


def weighed(policy):
    """A net that computes in a policy, and its head, which is in float32."""
    keras.utils.set_random_seed(7)
    inputs = keras.Input((48, 48, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1, dtype=policy)(inputs)
    for filters, strides in ((8, 2), (16, 2), (32, 2), (32, 1)):
        x = keras.layers.Conv2D(filters, 3, strides, "same", use_bias=False, dtype=policy)(x)
        x = keras.layers.BatchNormalization(dtype=policy)(x)
        x = keras.layers.ReLU(dtype=policy)(x)
    head = keras.layers.Dense(3, "softmax", dtype="float32")
    return keras.Model(inputs, head(keras.layers.GlobalAveragePooling2D(dtype=policy)(x))), head


WEIGHED = ("gradcam", "layercam", "saliency", "ig")


@pytest.fixture(scope="module")
def weighed_maps():
    """(policy, factor) -> maps of three films of 48 pixels, the head's weights multiplied by the factor."""
    pixels = np.random.default_rng(5).uniform(0, 255, (3, 48, 48, 3)).astype(np.float32)
    compiled, found = {}, {}

    def maps(policy, factor):
        if policy not in compiled:
            model, head = weighed(policy)
            compiled[policy] = Explainer(model, WEIGHED, batch_size=3, ig_steps=4), head, head.kernel.numpy()
        if (policy, factor) not in found:
            explainer, head, kernel = compiled[policy]
            head.kernel.assign(np.float32(factor) * kernel)
            found[policy, factor] = explainer.explain(pixels, [0, 1, 2])
        return found[policy, factor]

    return maps


@pytest.mark.parametrize("method", WEIGHED)
@pytest.mark.parametrize("factor", FACTORS)
def test_weights_of_any_size_leave_float16_maps_as_they_are(weighed_maps, method, factor):
    """A power of two in the head changes no digit, so it may change none of a map that neither under- nor overflows."""
    result, plain = weighed_maps("mixed_float16", factor)[method], weighed_maps("mixed_float16", 1.0)[method]
    np.testing.assert_array_equal(result.values, np.float32(factor) * plain.values)
    np.testing.assert_array_equal(result.status, "ok")


@pytest.mark.parametrize("method", ["saliency", "ig"])
@pytest.mark.parametrize("factor", [0.01, 1000.0])
def test_a_weak_or_strong_head_gives_the_float16_pixels_of_float32(weighed_maps, method, factor):
    result, expected = (weighed_maps(policy, factor)[method] for policy in ("mixed_float16", "float32"))
    pairs = zip(result.values.reshape(3, -1), expected.values.reshape(3, -1), strict=True)
    assert min(np.corrcoef(one, other)[0, 1] for one, other in pairs) > 0.98
    assert result.values.mean() == pytest.approx(expected.values.mean(), rel=0.02)


def scales_of(weights, dtype, differentiated="features"):
    """Scales of z = Σ_k w_k · mean(A_k), one film for each row of weights, with A in a dtype."""
    weights = np.asarray(weights, np.float32)

    @tf.function(autograph=False)
    def scales():
        features = tf.ones((len(weights), 4, 4, weights.shape[1]))
        pooled = tf.cast(tf.reduce_mean(tf.cast(features, dtype), (1, 2)), tf.float32)
        by = {"features": features, "pooled": pooled}[differentiated]
        found = film_scales(tf.reduce_sum(pooled * weights, -1), [by])
        return () if found is None else found

    return np.array(scales())


def test_scales_are_the_power_of_two_that_brings_the_gradient_near_1():
    weights = [[3.0, -0.1], [0.002, 0.001], [1000.0, 1.0], [0.0, 0.0], [1e-30, 0.0], [1e30, 0.0]]
    scales = scales_of(weights, tf.float16)
    np.testing.assert_array_equal(scales, [2.0**3, 2.0**13, 2.0**-5, 2.0**15, 2.0**15, 2.0**-15])
    largest = np.abs(weights[:3]).max(-1) / 16 * scales[:3]
    assert ((largest >= 1) & (largest < 2)).all()


@pytest.mark.parametrize(("dtype", "by"), [(tf.float32, "features"), (tf.bfloat16, "features"), (tf.float16, "pooled")])
def test_nothing_is_scaled_without_a_float16_on_the_way(dtype, by):
    assert scales_of([[1e-6, 0.0]], dtype, by).size == 0


def test_a_film_keeps_its_scale_beside_one_that_is_no_number():
    assert scales_of([[3.0, 1.0], [np.nan, 1.0], [0.5, 0.0]], tf.float16)[[0, 2]].tolist() == [2.0**3, 2.0**5]
