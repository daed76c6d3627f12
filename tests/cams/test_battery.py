"""One battery for every method and every kind of model; a new method is covered by its registry line."""

import keras
import numpy as np
import pytest

from cxrkeras.cams import METHODS, Explainer, explain_all

LEVELS = ("fine", "middle", "top")
KINDS = ("flat", "nested", "sequential", "subclassed")


def explain(model, films, targets, method, **settings):
    return explain_all(model, films, targets, methods=method, multiscale_layers=LEVELS, **settings)[method]


@pytest.fixture(scope="module")
def reference(flat, films, targets):
    return {method: explain(flat, films, targets, method) for method in METHODS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_every_kind_of_model_gives_the_same_maps(models, films, targets, reference, method, kind):
    result = explain(models[kind], films, targets, method)
    np.testing.assert_allclose(result.values, reference[method].values, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(result.status, reference[method].status)
    assert result.values.dtype == np.float32
    assert result.layer.split("/")[-1].endswith("top")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_its_singles_in_any_order_in_one_trace(models, films, targets, reference, method, kind):
    explainer = Explainer(models[kind], method, multiscale_layers=LEVELS, batch_size=2)
    order = np.array([4, 2, 0, 3, 1])
    batch = explainer.explain(films[order], targets[order])[method]
    np.testing.assert_allclose(batch.values, reference[method].values[order], rtol=1e-5, atol=1e-6)
    single = explainer.explain(films[3:4], targets[3:4])[method]
    np.testing.assert_allclose(single.values[0], reference[method].values[3], rtol=1e-5, atol=1e-6)
    assert explainer.traces == 1


@pytest.mark.parametrize("method", METHODS)
def test_together_equals_alone(flat, films, targets, reference, method):
    together = explain_all(flat, films, targets, methods="all", multiscale_layers=LEVELS)
    np.testing.assert_allclose(together[method].values, reference[method].values, rtol=1e-5, atol=1e-6)
    assert set(together.results) == set(METHODS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_left_as_it_was(models, films, targets, kind):
    model = models[kind]
    call, layers = keras.layers.Layer.__call__, model.layers
    weights = [weight.copy() for weight in model.get_weights()]
    attributes = {layer.name: dict(vars(layer)) for layer in layers}
    before = np.asarray(model(films, training=False))
    explain_all(model, films, targets, multiscale_layers=LEVELS)
    assert keras.layers.Layer.__call__ is call
    assert model.layers == layers
    assert {layer.name: dict(vars(layer)) for layer in layers} == attributes
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(before, np.asarray(model(films, training=False)))


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.class_specific])
def test_class_specific_methods_follow_the_target(flat, films, targets, reference, method):
    other = explain(flat, films, (targets + 1) % 3, method)
    assert np.abs(other.values - reference[method].values).max() > 1e-3


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if not method.class_specific])
def test_other_methods_do_not(flat, films, targets, reference, method):
    np.testing.assert_array_equal(explain(flat, films, (targets + 1) % 3, method).values, reference[method].values)


@pytest.mark.parametrize("method", METHODS)
def test_all_zero_features_are_degenerate_and_finite(models, films, method):
    dead = keras.models.clone_model(models["flat"])
    dead.set_weights([np.zeros_like(weight) for weight in dead.get_weights()])
    result = explain(dead, films, np.zeros(5, int), method)
    assert (result.values == 0).all()
    assert result.status.tolist() == ["degenerate"] * 5


@pytest.mark.parametrize("method", METHODS)
def test_results_carry_what_made_them(reference, method):
    parameters = reference[method].parameters
    assert parameters["layer"] == reference[method].layer
    assert ("on" in parameters) == METHODS[method].needs_gradient
    assert all(len(rows) == 5 for rows in reference[method].extras.values())


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("method", METHODS)
def test_mixed_precision_stays_near_float32(flat, films, targets, reference, method, policy):
    def recast(layer):
        config = layer.get_config()
        config["dtype"] = policy
        return layer.__class__.from_config(config)

    mixed = keras.models.clone_model(flat, clone_function=recast)
    mixed.set_weights(flat.get_weights())
    result = explain(mixed, films, targets, method, batch_size=5)
    assert result.values.dtype == np.float32
    scale = reference[method].values.max((1, 2), keepdims=True)
    assert np.abs((result.values - reference[method].values) / scale).max() < (0.15 if "bfloat" in policy else 0.02)
