"""What an explainer keeps between calls: statistics that change under it, and films of several shapes in turn."""

import keras
import numpy as np
import pytest

from cxrkeras.cams import Explainer, explain_all
from cxrkeras.cams.results import concatenated
from cxrkeras.cams.tracing.layers import Tap

METHODS = "gradcam,scorecam,ig"
SHAPES = "all,saliency,ig"
OPTIONS = {"ig_steps": 3, "batch_size": 2, "multiscale_layers": ("fine", "middle", "top")}


def net(first, side=None, units=3):
    films = keras.Input((side, side, 3))
    x = first(films)
    for filters, name in ((4, "fine"), (5, "middle"), (6, "top")):
        x = keras.layers.Conv2D(filters, 3, 2, "same", activation="relu", name=name)(x)
    spread = keras.initializers.RandomNormal(stddev=4, seed=1)
    pooled = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(films, keras.layers.Dense(units, "softmax", kernel_initializer=spread)(pooled))


def drawn(side, seed=0, count=3):
    return np.random.default_rng(seed).uniform(0, 255, (count, side, side, 3)).astype(np.float32)


def adapted(films):
    layer = keras.layers.Normalization()
    layer.adapt(films)
    return layer


def same_maps(explanation, expected):
    np.testing.assert_allclose(explanation.probabilities, expected.probabilities, atol=1e-6)
    assert list(explanation.results) == list(expected.results)
    for name, result in explanation.results.items():
        wanted = expected[name]
        largest = np.nanmax(wanted.values)
        np.testing.assert_allclose(result.values, wanted.values, rtol=1e-4, atol=1e-5 * largest, err_msg=name)
        np.testing.assert_array_equal(result.status, wanted.status)
        assert result.layer == wanted.layer


def adapt(model, films, path):
    model.layers[1].adapt(films)


def load(model, films, path):
    other = net(adapted(films), side=16)
    other.layers[-1].set_weights([2 * weights for weights in model.layers[-1].get_weights()])
    other.save_weights(path)
    model.load_weights(path)


@pytest.mark.parametrize(("change", "nested"), [(adapt, False), (load, True)])
def test_new_statistics_of_a_normalization_are_seen(change, nested, tmp_path):
    keras.utils.set_random_seed(3)
    films, targets = drawn(16), [0, 1, 2]
    inner = model = net(adapted(films), side=16)
    if nested:
        outer = keras.Input((16, 16, 3))
        model = keras.Model(outer, inner(outer))
    explainer = Explainer(model, METHODS, **OPTIONS)
    before = explainer.explain(films, targets)
    change(inner, 3 * films + 50, tmp_path / "new.weights.h5")
    after = explainer.explain(films, targets)
    np.testing.assert_allclose(after.probabilities, model(films, training=False), atol=1e-6)
    same_maps(after, explain_all(model, films, targets, methods=METHODS, **OPTIONS))
    for method in METHODS.split(","):
        difference = np.abs(after[method].values - before[method].values).max()
        assert difference > 0.01 * before[method].values.max(), method
    assert explainer.traces == 2


def test_the_same_statistics_loaded_again_need_no_trace(tmp_path):
    films, targets = drawn(16), [0, 1, 2]
    model = net(adapted(films), side=16)
    explainer = Explainer(model, METHODS, **OPTIONS)
    explainer.explain(films, targets)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel[:, ::-1], bias])
    model.save_weights(tmp_path / "turned.weights.h5")
    model.layers[-1].set_weights([kernel, bias])
    held = model.layers[1].mean
    model.load_weights(tmp_path / "turned.weights.h5")
    assert model.layers[1].mean is not held
    same_maps(explainer.explain(films, targets), explain_all(model, films, targets, methods=METHODS, **OPTIONS))
    assert explainer.traces == 1


@pytest.fixture(scope="module")
def open_net():
    keras.utils.set_random_seed(8)
    return net(keras.layers.Rescaling(1 / 127.5, -1))


@pytest.fixture(scope="module")
def by_shape(open_net):
    """Side -> what an explainer that only ever saw films of this side gives."""
    return {side: explain_all(open_net, drawn(side), [0, 1, 2], methods=SHAPES, **OPTIONS) for side in (24, 40)}


@pytest.fixture(scope="module")
def explainer(open_net):
    """One explainer for films of any shape."""
    return Explainer(open_net, SHAPES, memory_budget=2**19, **OPTIONS)


def test_shapes_may_alternate(explainer, by_shape):
    packs = {}
    for side in (24, 40, 24, 40):
        same_maps(explainer.explain(drawn(side), [0, 1, 2]), by_shape[side])
        packs.setdefault(side, []).append(explainer.pack_size)
    assert explainer.traces == 2
    assert packs[24] == [packs[24][0]] * 2
    assert packs[40] == [packs[40][0]] * 2
    assert packs[24][0] > packs[40][0]


def test_a_stream_that_waits_is_not_disturbed_by_another_shape(explainer, by_shape):
    stream = explainer.explain_batches([(drawn(24), [0, 1, 2])])
    parts = [next(stream)]
    same_maps(explainer.explain(drawn(40), [0, 1, 2]), by_shape[40])
    same_maps(concatenated([*parts, *stream]), by_shape[24])


def test_what_is_known_is_that_of_the_shape_in_use():
    """A layer's role is found by its grid, so another size taps another layer with other channels."""
    keras.utils.set_random_seed(2)
    films = keras.Input((None, None, 3))
    x = films
    for filters, name in ((4, "a"), (5, "b"), (6, "c"), (7, "d")):
        x = keras.layers.Conv2D(filters, 3, 2, "same", activation="relu", name=name)(x)
    model = keras.Model(films, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x)))
    explainer = Explainer(model, "gradcam,scorecam", layer=lambda trace: _finest(trace, 4))
    assert (explainer.layers, explainer.channels, explainer.units) == ({}, None, 0)
    for side, layer, channels in ((64, "d", 7), (32, "c", 6), (64, "d", 7)):
        explainer.prepare((side, side, 3))
        assert explainer.layers == {"gradcam": layer, "scorecam": layer}
        assert (explainer.channels, explainer.units) == (channels, 2)


def _finest(trace, cells):
    """The last layer whose grid has at least so many cells a side."""
    call = [c for c in trace.calls if len(c.outputs) == 1 and c.outputs[0].shape.rank == 4]
    call = [c for c in call if c.outputs[0].shape[1] >= cells][-1]
    return Tap(call.name, call.outputs[0])
