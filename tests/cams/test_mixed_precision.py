"""Models that compute in bfloat16 or float16: maps stay near those of float32, by tolerances that are stated here."""

import keras
import numpy as np
import pytest

from cxrkeras.cams import METHODS, Explainer
from cxrkeras.maps import min_max

LEVELS = ("fine", "middle", "top")
KINDS = ("flat", "nested_twice", "subclassed_nested")
# largest difference of a min-maxed map: bfloat16 carries 8 bits, float16 carries 11
TOLERANCE = {"mixed_bfloat16": 0.03, "mixed_float16": 0.006}
# maps of single pixels jump where a pixel's ReLU or maximum falls to the other side, so only the whole is compared
CORRELATION = {"mixed_bfloat16": 0.95, "mixed_float16": 0.99}
POLICIES = tuple(TOLERANCE)


def explain(model, films, targets):
    return Explainer(model, tuple(METHODS), multiscale_layers=LEVELS, batch_size=5).explain(films, targets)


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


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("method", METHODS)
def test_every_kind_of_model_gives_the_same_maps(explained, method, kind, policy):
    result, expected = explained(policy, kind)[method], explained(policy, "flat")[method]
    np.testing.assert_allclose(result.values, expected.values, atol=1e-5 * expected.values.max())
    np.testing.assert_array_equal(result.status, expected.status)


@pytest.mark.parametrize("policy", POLICIES)
def test_probabilities_and_policies_are_the_models_own(explained, families, films, policy):
    explanation, model = explained(policy, "flat"), families[policy]["flat"]
    assert explanation.probabilities.dtype == explanation.logits.dtype == np.float32
    np.testing.assert_allclose(explanation.probabilities, model.predict(films, verbose=0), atol=1e-6)
    names = {layer.name: layer.dtype_policy.name for layer in model.layers[1:]}
    assert names.pop(model.layers[-1].name) == "float32"
    assert set(names.values()) == {policy}


def test_a_batch_is_its_singles_in_bfloat16(families, explained, films, targets):
    expected = explained("mixed_bfloat16", "flat")
    explainer = Explainer(families["mixed_bfloat16"]["flat"], tuple(METHODS), multiscale_layers=LEVELS, batch_size=1)
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
