"""One battery for every method, every kind of model and every head; a new method is covered by its registry line."""

import json

import keras
import numpy as np
import pytest

from cxrkeras.cams import METHODS, Explainer
from cxrkeras.cams.registry import ACTIVATION, FORWARD, GRADIENT, MULTISCALE
from cxrkeras.maps import degenerate, min_max

LEVELS = ("fine", "middle", "top")
KINDS = (
    "flat",
    "nested",
    "nested_twice",
    "sequential",
    "sequential_nested",
    "subclassed",
    "subclassed_nested",
    "reused",
    "average_pooled",
    "op_mean",
    "squeezed",
)
ORDER = np.array([4, 2, 0, 3, 1])
# what the logit's gradient enters once, so that ten times the head is ten times the map, or which no head enters
FOLLOWS_THE_HEAD = ("gradcam", "layercam", "eigencam", "saliency", "ig")
SATURATES_WITH_THE_HEAD = ("gradcam++", "ms-gradcam++")
HEADS = ("linear", "softmax layer", "activation layer", "log_softmax", "sigmoid", "one sigmoid unit")
# a softmax, sigmoids and one unit are looked for in a subclassed model, too; the other heads end in the same search
SUBCLASSED_HEADS = ("softmax layer", "sigmoid", "one sigmoid unit")
# ig sums what saliency is the largest of, so a head that saliency reads right it reads right
AT_A_HEAD = tuple(method for method in METHODS if method != "ig")
# ig costs a forward and backward a step; what is compared here holds for any number of them
SHORT = {"ig": {"ig_steps": 4}}


def explainer_of(model, batch_size=2, methods=tuple(METHODS)):
    options = {name: value for method in methods for name, value in SHORT.get(method, {}).items()}
    return Explainer(model, methods, multiscale_layers=LEVELS, batch_size=batch_size, **options)


def assert_same(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=2e-6 * np.abs(expected).max())


@pytest.fixture(scope="module")
def reference(flat, films, targets):
    """The flat model, all films in one batch, all methods in one trace."""
    return explainer_of(flat, batch_size=5).explain(films, targets)


def state_of(model):
    """Layers, their connections, configurations and attributes, weights bit by bit, and what `Layer` itself is."""
    layers = list(model._flatten_layers(include_self=False))
    return {
        "layers": [id(layer) for layer in layers],
        "top layers": [layer.name for layer in model.layers],
        "connections": [(len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in layers],
        "activations": [getattr(layer, "activation", None) for layer in layers],
        "configurations": [json.dumps(layer.get_config(), sort_keys=True, default=str) for layer in layers],
        "attributes": {layer.name: dict(vars(layer)) for layer in layers},
        "weights": [(weight.path, weight.numpy().tobytes()) for weight in model.weights],
        "trainable": [weight.path for weight in model.trainable_weights],
        "calls": keras.layers.Layer.__call__,
    }


@pytest.fixture(scope="module")
def untouched(models):
    """Kind -> state before anything is explained."""
    return {kind: state_of(models[kind]) for kind in KINDS}


@pytest.fixture(scope="module")
def explainers(models, untouched):
    """Kind -> its one explainer, which every test of this module uses."""
    return {kind: explainer_of(models[kind]) for kind in KINDS}


@pytest.fixture(scope="module")
def explained(explainers, films, targets):
    """Kind -> maps of the films in their order, in another order, and of the fourth film alone."""
    found = {}

    def explain(kind):
        if kind not in found:
            explain = explainers[kind].explain
            found[kind] = explain(films, targets), explain(films[ORDER], targets[ORDER]), explain(films[3:4], [0])
        return found[kind]

    return explain


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_every_kind_of_model_gives_the_maps_of_the_flat_one(explained, reference, method, kind):
    result, expected = explained(kind)[0][method], reference[method]
    assert_same(result.values, expected.values)
    np.testing.assert_array_equal(result.status, expected.status)
    for name, values in expected.extras.items():
        np.testing.assert_allclose(result.extras[name], values, rtol=1e-3, atol=1e-5)
    assert result.values.dtype == np.float32


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_its_singles_in_any_order(explained, reference, method, kind):
    _, shuffled, single = explained(kind)
    assert_same(shuffled[method].values, reference[method].values[ORDER])
    np.testing.assert_array_equal(shuffled[method].status, reference[method].status[ORDER])
    assert_same(single[method].values[0], reference[method].values[3])


@pytest.mark.parametrize("kind", KINDS)
def test_all_methods_and_any_number_of_batches_share_one_trace(explainers, explained, films, kind):
    explained(kind)
    explainers[kind].explain(films[:3])
    assert explainers[kind].traces == 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_answers_as_it_predicts(explained, models, films, kind):
    np.testing.assert_allclose(explained(kind)[0].probabilities, models[kind](films, training=False), atol=1e-6)


@pytest.mark.parametrize("method", [m for m in METHODS if METHODS[m].kind in (GRADIENT, ACTIVATION, FORWARD)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_default_layer_enters_the_pooling_of_every_kind(explained, method, kind):
    assert explained(kind)[0][method].layer.split("/")[-1] == "top"


@pytest.mark.parametrize("method", METHODS)
def test_together_equals_alone(flat, films, targets, reference, method):
    alone = explainer_of(flat, batch_size=5, methods=(method,)).explain(films, targets)
    assert list(alone.results) == [method]
    assert_same(alone[method].values, reference[method].values)
    assert list(reference.results) == list(METHODS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_left_as_it_was(explained, untouched, models, kind):
    """Everything of the model that can be read, before its first explanation and after its last."""
    explained(kind)
    before, after = untouched[kind], state_of(models[kind])
    assert before.keys() == after.keys()
    for part in before:
        assert after[part] == before[part], part


@pytest.fixture(scope="module")
def other_targets(flat, films, targets):
    return explainer_of(flat, batch_size=5).explain(films, (targets + 1) % 3)


@pytest.mark.parametrize("method", METHODS)
def test_maps_follow_the_target_as_the_registry_declares(other_targets, reference, method):
    difference = np.abs(min_max(other_targets[method].values) - min_max(reference[method].values)).max((1, 2))
    if METHODS[method].class_specific:
        assert difference.max() > 1e-2
    else:
        np.testing.assert_array_equal(other_targets[method].values, reference[method].values)


@pytest.fixture(scope="module")
def head_times_ten(with_head, films, targets):
    """Maps of one model before and after its head is multiplied by ten, from the same trace."""
    model = with_head(3, "softmax", spread=0.5)
    explainer = explainer_of(model, batch_size=5)
    before = explainer.explain(films, targets)
    kernel, bias = model.get_layer("scores").get_weights()
    model.get_layer("scores").set_weights([10 * kernel, 10 * bias])
    after = explainer.explain(films, targets)
    assert explainer.traces == 1
    return before, after


@pytest.mark.parametrize("method", [m for m in METHODS if m in FOLLOWS_THE_HEAD])
def test_a_larger_head_leaves_the_pattern_unchanged(head_times_ten, method):
    before, after = (explanation[method].values for explanation in head_times_ten)
    np.testing.assert_allclose(min_max(before), min_max(after), atol=2e-5)
    assert_same(after, before * (10 if METHODS[method].class_specific else 1))


@pytest.mark.parametrize("method", [m for m in METHODS if m in SATURATES_WITH_THE_HEAD])
def test_a_larger_head_changes_the_pattern_of_gradcam_plus_plus(head_times_ten, method):
    before, after = (min_max(explanation[method].values) for explanation in head_times_ten)
    assert np.abs(before - after).max() > 0.02


@pytest.fixture(scope="module")
def dead(models, films):
    """A model whose weights are all zero, its films explained."""
    model = keras.models.clone_model(models["flat"])
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    return explainer_of(model, batch_size=5).explain(films, np.zeros(5, int))


@pytest.mark.parametrize("method", METHODS)
def test_all_zero_features_are_degenerate_and_finite(dead, method):
    assert (dead[method].values == 0).all()
    assert dead[method].status.tolist() == ["degenerate"] * 5


@pytest.fixture(scope="module", params=[np.nan, np.inf, -np.inf])
def one_broken_film(request, explainers, films, targets):
    """One pixel of the second film is not a number; the max pooling behind it would swallow a NaN."""
    broken = films.copy()
    broken[1, 3, 3, 0] = request.param
    return explainers["flat"].explain(broken, targets)


@pytest.mark.parametrize("method", METHODS)
def test_a_broken_film_leaves_the_others_alone(one_broken_film, reference, method):
    result, others = one_broken_film[method], [0, 2, 3, 4]
    assert_same(result.values[others], reference[method].values[others])
    np.testing.assert_array_equal(result.status[others], reference[method].status[others])


@pytest.mark.parametrize("method", METHODS)
def test_a_film_that_is_not_finite_is_degenerate(one_broken_film, method):
    assert one_broken_film[method].status[1] == "degenerate"


@pytest.fixture(scope="module")
def broken_head(with_head, films):
    """One weight of the head is not a number, as after a training that diverged."""
    model = with_head(3, None)
    kernel, bias = model.get_layer("scores").get_weights()
    kernel[4, 0] = np.nan
    model.get_layer("scores").set_weights([kernel, bias])
    return explainer_of(model, batch_size=5).explain(films, np.zeros(5, int))


@pytest.mark.parametrize("method", [m for m in METHODS if METHODS[m].class_specific])
def test_a_head_that_is_not_finite_gives_no_map_that_looks_like_one(broken_head, method):
    assert broken_head[method].status.tolist() == ["degenerate"] * 5


@pytest.mark.parametrize("method", METHODS)
def test_results_carry_what_made_them(reference, method):
    result = reference[method]
    assert result.parameters["layer"] == result.layer
    expected = {**METHODS[method].defaults, **SHORT.get(method, {}), "layer": result.layer}
    assert result.parameters.items() >= expected.items()
    assert ("on" in result.parameters) == (METHODS[method].class_specific and METHODS[method].kind != FORWARD)
    assert all(len(rows) == 5 for rows in result.extras.values())
    assert json.loads(json.dumps(dict(result.parameters))) == dict(result.parameters)
    np.testing.assert_array_equal(result.status == "degenerate", degenerate(result.values))
    assert (result.status == "ok").any(), "the battery's films have to be explainable"


def head_layers(name, kernel, bias):
    """Layers of a head with given weights; `kernel` is [K, 3]."""

    def dense(activation, columns=slice(None)):
        layer = keras.layers.Dense(kernel[:, columns].shape[1], activation=activation, name="scores")
        layer.build((None, len(kernel)))
        layer.set_weights([kernel[:, columns], bias[columns]])
        return layer

    pooling = keras.layers.GlobalAveragePooling2D(name="pooling")
    return {
        "linear": [pooling, dense(None)],
        "softmax layer": [pooling, dense(None), keras.layers.Softmax()],
        "activation layer": [pooling, dense(None), keras.layers.Activation("softmax")],
        "log_softmax": [pooling, dense("log_softmax")],
        "sigmoid": [pooling, dense("sigmoid")],
        "one sigmoid unit": [pooling, dense("sigmoid", slice(0, 1))],
    }[name]


@pytest.fixture(scope="module")
def weights(flat):
    return flat.get_layer("scores").get_weights()


@pytest.fixture(scope="module")
def one_unit(with_head, weights, films, targets):
    """What independent means say of the sigmoid heads: two logits (−z, z), and a sigmoid unit for each column."""
    kernel, bias = weights
    sides, two = np.array([-1, 1]), with_head(2, None)
    two.get_layer("scores").set_weights([kernel[:, :1] * sides, bias[:1] * sides])
    gradients = explainer_of(two, 5, [m for m in AT_A_HEAD if METHODS[m].kind != FORWARD]).explain(films, targets % 2)
    forwards = [m for m in METHODS if METHODS[m].kind == FORWARD]
    two.get_layer("scores").set_weights([kernel[:, :1] * sides / 2, bias[:1] * sides / 2])
    halves = explainer_of(two, 5, forwards).explain(films, targets % 2)
    unit = with_head(1, "sigmoid")
    explainer, columns = explainer_of(unit, 5, forwards), []
    for column in range(3):
        unit.get_layer("scores").set_weights([kernel[:, column : column + 1], bias[column : column + 1]])
        columns.append(explainer.explain(films, np.ones(5, int)))
    return gradients, halves, columns


@pytest.fixture(scope="module")
def by_head(family, weights, films, targets):
    families, found = {}, {}

    def explain(head, kind):
        if (head, kind) not in found:
            if head not in families:
                families[head] = family(head_layers(head, *weights))
            chosen = targets % 2 if head == "one sigmoid unit" else targets
            found[head, kind] = explainer_of(families[head][kind], 5, AT_A_HEAD).explain(films, chosen)
        return found[head, kind]

    return explain


@pytest.mark.parametrize(
    ("head", "kind"), [*((one, "nested") for one in HEADS), *((one, "subclassed_nested") for one in SUBCLASSED_HEADS)]
)
@pytest.mark.parametrize("method", AT_A_HEAD)
def test_every_head_over_the_same_logits_gives_the_same_maps(by_head, reference, one_unit, targets, method, head, kind):
    gradients, halves, columns = one_unit
    forward = METHODS[method].kind == FORWARD
    expected = reference[method].values
    if head == "one sigmoid unit":
        expected = (halves if forward else gradients)[method].values
    elif head == "sigmoid" and forward:
        expected = np.stack([columns[target][method].values[film] for film, target in enumerate(targets)])
    result = by_head(head, kind)[method]
    np.testing.assert_allclose(result.values, expected, rtol=1e-4, atol=1e-5 * expected.max())


def test_multiscale_levels_are_found_in_every_kind(explained):
    names = [m for m in METHODS if METHODS[m].kind == MULTISCALE]
    for kind in KINDS:
        found = {explained(kind)[0][name].layer.replace(" ", "") for name in names}
        assert {tuple(one.split("/")[-1] for one in layers.split(",")) for layers in found} == {LEVELS}
