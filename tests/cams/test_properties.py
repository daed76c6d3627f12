"""Laws that hold for any shape and any finite values: the pure functions eagerly, the engine on a net of any size."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from cxrkeras.cams import METHODS, Explainer, methods
from cxrkeras.cams.registry import ACTIVATION, FORWARD, GRADIENT
from cxrkeras.cams.results import method_result

quick = settings(deadline=None, derandomize=True, max_examples=25)
FEATURES = ("dense", "sparse", "zero", "constant", "one live channel", "signed", "tiny", "large")
# what a head of weights W over h·w cells hands back, from nearly dead to logits of ±1e4
GRADIENT_SCALES = (1e-6, 1e-2, 1.0, 1e4)
SIGNED = ("gradcam", "ig")
POOLED = [name for name in METHODS if METHODS[name].kind in (GRADIENT, ACTIVATION)]


def values_of(kind, shape, random):
    """Activations ``[n, h, w, K]`` of one kind, float32."""
    values = random.uniform(0.05, 2, shape)
    if kind == "sparse":
        values *= random.uniform(size=shape) < 0.3
    elif kind == "zero":
        values *= 0
    elif kind == "constant":
        values[:] = random.uniform(0.05, 2, (shape[0], 1, 1, shape[-1]))
    elif kind == "one live channel":
        values *= np.arange(shape[-1]) == random.integers(shape[-1])
    elif kind == "signed":
        values -= 1
    elif kind in ("tiny", "large"):
        values *= {"tiny": 1e-6, "large": 1e4}[kind]
    return values.astype(np.float32)


@st.composite
def layers(draw, kinds=FEATURES, least=1):
    """Features and gradients of one layer: 1×1 to 9×7 cells, 1 to 40 channels, 1 to 5 films."""
    shape = (
        draw(st.integers(1, 5)),
        draw(st.integers(least, 9)),
        draw(st.integers(least, 7)),
        draw(st.integers(1, 40)),
    )
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    features = values_of(draw(st.sampled_from(kinds)), shape, random)
    gradients = random.normal(size=shape) * draw(st.sampled_from(GRADIENT_SCALES))
    if draw(st.booleans()):
        gradients[:] = gradients[:, :1, :1]
    return features, gradients.astype(np.float32), random


def maps(name, features, gradients, **options):
    """Maps of one method at a single layer, by its pure function."""
    inputs = (features, gradients) if METHODS[name].needs_gradient else (features,)
    return METHODS[name].load()(*map(tf.constant, inputs), **options)[0].numpy()


def terms(features, gradients):
    """Size of the largest sum of absolute terms behind a map, the unit in which rounding is measured."""
    return np.abs(features * np.abs(gradients).max((1, 2), keepdims=True)).sum(-1).max()


@pytest.mark.parametrize("name", POOLED)
@quick
@given(layers())
def test_finite_features_give_finite_maps_that_are_not_negative(name, layer):
    features, gradients, _ = layer
    result = method_result(name, {"values": maps(name, features, gradients)}, "any", {})
    assert result.values.shape == features.shape[:3]
    assert np.isfinite(result.values).all()
    assert (result.values >= 0).all()
    constant = features.size and (features == features[:, :1, :1]).all()
    if constant and (gradients == gradients[:, :1, :1]).all():
        assert set(result.status) == {"degenerate"}


@pytest.mark.parametrize("name", POOLED)
@quick
@given(layers())
def test_maps_turn_with_the_film_and_ignore_the_order_of_channels(name, layer):
    features, gradients, random = layer
    atol = 1e-5 * max(terms(features, gradients), np.abs(features).sum(-1).max())
    if METHODS[name].kind == ACTIVATION:
        # where the direction is not determined, neither is its turned one
        _, extras = METHODS[name].load()(tf.constant(features))
        assume(not extras["ambiguous_sign"].numpy().any() or not features.any())
    plain = maps(name, features, gradients)
    order = random.permutation(features.shape[-1])
    np.testing.assert_allclose(maps(name, features[..., order], gradients[..., order]), plain, atol=atol)
    for axes in ((1,), (2,), (1, 2)):
        flipped = (np.flip(array, axes).copy() for array in (features, gradients))
        np.testing.assert_allclose(maps(name, *flipped), np.flip(plain, axes), atol=atol)
    transposed = (array.swapaxes(1, 2).copy() for array in (features, gradients))
    np.testing.assert_allclose(maps(name, *transposed), plain.swapaxes(1, 2), atol=atol)


@pytest.mark.parametrize("name", POOLED)
@quick
@given(layers())
def test_films_of_a_batch_do_not_touch_each_other(name, layer):
    features, gradients, _ = layer
    together = maps(name, features, gradients)
    for i in range(len(features)):
        alone = maps(name, features[i : i + 1], gradients[i : i + 1])
        scale = max(terms(features[i : i + 1], gradients[i : i + 1]), np.abs(features[i]).sum(-1).max())
        np.testing.assert_allclose(alone[0], together[i], atol=1e-6 * scale)


@pytest.mark.parametrize("name", POOLED)
@quick
@given(layers(kinds=("dense", "sparse", "signed"), least=3), st.sampled_from((np.nan, np.inf, -np.inf)), st.data())
def test_a_broken_film_is_alone_in_that(name, layer, what, data):
    features, gradients, random = layer
    film = data.draw(st.integers(0, len(features) - 1))
    broken = features.copy()
    broken[film, random.integers(features.shape[1]), random.integers(features.shape[2])] = what
    before, after = maps(name, features, gradients), maps(name, broken, gradients)
    others = np.arange(len(features)) != film
    np.testing.assert_allclose(after[others], before[others], rtol=1e-6, atol=1e-30)
    if np.isnan(what) or METHODS[name].kind == ACTIVATION:
        assert method_result(name, {"values": after}, "any", {}).status[film] == "degenerate"


@quick
@given(layers(), st.integers(-8, 8))
def test_scaling_laws(layer, exponent):
    """Factors are powers of two, so that the laws hold to the last bit."""
    features, gradients, _ = layer
    factor = np.float32(2.0**exponent)
    for name in ("gradcam", "layercam"):
        expected = factor * maps(name, features, gradients)
        np.testing.assert_array_equal(maps(name, factor * features, gradients), expected)
        np.testing.assert_array_equal(maps(name, features, factor * gradients), expected)
    # α depends on g · ΣA alone
    np.testing.assert_array_equal(
        maps("gradcam++", factor * features, gradients / factor), maps("gradcam++", features, gradients)
    )
    scaled = maps("eigencam", factor * features, gradients)
    np.testing.assert_allclose(scaled, factor * maps("eigencam", features, gradients), rtol=1e-6)
    np.testing.assert_array_equal(maps("saliency", features, -factor * gradients), factor * np.abs(gradients).max(-1))


@quick
@given(layers(kinds=("dense", "sparse", "signed")))
def test_eigencam_is_numpys_singular_projection_before_its_relu(layer):
    features, _, random = layer
    values, extras = methods.eigencam(tf.constant(features), tf.identity)
    shift = features + random.integers(-3, 4, features.shape[-1]).astype(np.float32)
    moved = maps("eigencam", shift, None, rectify=tf.identity)
    opposite = maps("eigencam", -features, None, rectify=tf.identity)
    for i, film in enumerate(features.astype(np.float64).reshape(len(features), -1, features.shape[-1])):
        centred = film - film.mean(0)
        _, sigma, right = np.linalg.svd(centred, full_matrices=False)
        if sigma[0] <= 1e-5 * np.linalg.norm(film) or (len(sigma) > 1 and sigma[1] > 0.999 * sigma[0]):
            continue
        expected = (centred @ right[0]).reshape(features.shape[1:3])
        actual, scale = values[i].numpy(), np.abs(expected).max()
        sign = np.sign((actual * expected).sum())
        np.testing.assert_allclose(actual, sign * expected, atol=1e-5 * scale)
        second = sigma[1] / sigma[0] if len(sigma) > 1 else 0
        np.testing.assert_allclose(extras["sigma_ratio"][i], second, atol=1e-6)
        if extras["correlation"][i] > 1e-3:
            assert (actual * (centred.mean(1) - centred.mean()).reshape(actual.shape)).sum() > 0
            np.testing.assert_allclose(opposite[i], -actual, atol=1e-5 * scale)
            np.testing.assert_allclose(moved[i], actual, atol=1e-3 * scale)


def at_pooling(features, random, scale):
    """Weights W of a pooling and Dense head ``[n, 1, 1, K]``, and the gradients W/(hw) it hands back."""
    n, h, w, channels = features.shape
    weights = (random.normal(size=(n, 1, 1, channels)) * scale).astype(np.float32)
    gradients = np.broadcast_to(weights / np.float32(h * w), features.shape)
    return weights.astype(np.float64), np.ascontiguousarray(gradients, np.float32)


@quick
@given(
    layers(kinds=("dense", "sparse", "zero", "constant", "one live channel", "large")), st.sampled_from((0.03, 1, 30))
)
def test_closed_forms_of_a_pooling_head(layer, scale):
    features, _, random = layer
    weights, gradients = at_pooling(features, random, scale)
    wide, cells = features.astype(np.float64), np.prod(features.shape[1:3])
    mean = wide.mean((1, 2), keepdims=True)
    positive = np.maximum(weights, 0)
    forms = {
        "gradcam": wide * weights / cells,
        "layercam": wide * positive / cells,
        "gradcam++": wide * positive / (2 + positive * mean),
    }
    for name, parts in forms.items():
        atol = 1e-6 * np.abs(parts).sum(-1).max()
        np.testing.assert_allclose(maps(name, features, gradients), np.maximum(parts.sum(-1), 0), atol=atol)
    normalised = maps("gradcam++", features, gradients, normalize_alphas="positive")
    layercam = maps("layercam", features, gradients)
    np.testing.assert_allclose(normalised, layercam, rtol=2e-6, atol=1e-6 * layercam.max(initial=0))


@pytest.mark.parametrize("fusion", ["mean", "max"])
@quick
@given(layers(kinds=("dense", "sparse", "zero", "constant", "large")), st.data())
def test_fused_levels_are_unit_maps_that_no_level_outshouts(fusion, layer, data):
    features, _, random = layer
    finest = features[..., 0]
    coarse = [random.uniform(size=(len(finest), *grid)).astype(np.float32) for grid in ((1, 1), (2, 3), (3, 2))]
    levels = [finest, *coarse[: data.draw(st.integers(0, 3))]]
    values, extras = (out for out in methods.fused_levels([tf.constant(level) for level in levels], fusion=fusion))
    assert values.shape[1:] == max((level.shape[1:] for level in levels), key=np.prod)
    assert (values.numpy() >= 0).all()
    assert (values.numpy() <= 1).all()
    used = extras["levels_used"].numpy()
    assert (values.numpy()[~used.any(1)] == 0).all()
    if fusion == "mean" and len(levels) == 1:
        assert (values.numpy().max((1, 2)) == used[:, 0]).all()
    louder = [tf.constant(level * np.float32(2.0 ** (3 * i))) for i, level in enumerate(levels)]
    np.testing.assert_array_equal(methods.fused_levels(louder, fusion=fusion)[0], values)
    joined, _ = methods.scaled_maximum([tf.constant(level) for level in levels])
    assert np.isfinite(joined.numpy()).all()
    assert (joined.numpy() <= np.tanh(2) + 1e-6).all()


def bare_head(h, w, channels, units):
    """A net whose features are the positive part of its film: everything about it can be written down."""
    films = keras.Input((h, w, channels))
    x = films
    for name in ("fine", "middle", "top"):
        x = keras.layers.ReLU(name=name)(x)
    dense = keras.layers.Dense(units, activation="softmax" if units > 1 else "sigmoid", name="scores")
    return keras.Model(films, dense(keras.layers.GlobalAveragePooling2D()(x)))


def answers(pooled, kernel, bias):
    """Probabilities ``[…, classes]`` of a softmax, or of the two sides of one sigmoid unit."""
    logits = pooled @ kernel + bias
    logits = np.concatenate([0 * logits, logits], -1) if logits.shape[-1] == 1 else logits
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def closed_forms(film, target, kernel, bias):
    """Every method's map of one film, in float64."""
    features = np.maximum(film.astype(np.float64), 0)
    cells = features.shape[0] * features.shape[1]
    weights = (np.concatenate([-kernel, kernel], 1) if kernel.shape[1] == 1 else kernel)[:, target]
    positive = np.maximum(weights, 0)
    low, high = features.min((0, 1)), features.max((0, 1))
    masks = (features - low) / np.where(high - low > 1e-6 * high, high - low, np.inf)
    seen = np.maximum(film[..., None] * masks[:, :, None, :], 0).mean((0, 1))
    factors = positive / (2 + positive * features.mean((0, 1)))
    plus = (features * factors).sum(-1)
    # further down, the gradient passes ReLUs, which shut the cells that are 0
    below = (features * factors * (features > 0).mean((0, 1))).sum(-1)
    levels = [(m - m.min()) / np.ptp(m) for m in (below, below, plus) if np.ptp(m) > 1e-6 * m.max()]
    centred = (features - features.mean((0, 1))).reshape(cells, -1)
    projection = centred @ np.linalg.svd(centred)[2][0]
    projection *= np.sign(projection @ centred.mean(1)) * (np.linalg.norm(centred) > 1e-5 * np.linalg.norm(features))
    return {
        "gradcam": np.maximum((features * weights).sum(-1), 0) / cells,
        "gradcam++": plus,
        "layercam": (features * positive).sum(-1) / cells,
        "eigencam": np.maximum(projection.reshape(features.shape[:2]), 0),
        "scorecam": features @ answers(seen.T, kernel, bias)[:, target],
        "ms-gradcam++": np.mean(levels, axis=0) if levels else 0 * plus,
        "saliency": np.abs(weights * (film > 0)).max(-1) / cells,
        "ig": np.abs((features * weights).sum(-1)) / cells,
    }


# each example is a trace, too dear to shrink
@settings(deadline=None, derandomize=True, max_examples=6, phases=[Phase.generate])
@given(
    grid=st.tuples(st.integers(1, 9), st.integers(1, 7)),
    channels=st.integers(1, 40),
    units=st.integers(1, 7),
    batch=st.integers(1, 5),
    scale=st.sampled_from((0.1, 1, 1e4)),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_method_of_the_engine_has_its_closed_form(grid, channels, units, batch, scale, seed):
    """Head sizes, grids, channels, batches, and logits up to ±1e4; films of every kind in one batch."""
    random = np.random.default_rng(seed)
    model = bare_head(*grid, channels, units)
    kernel, bias = (np.float32(random.normal(size=shape) * scale) for shape in ((channels, units), (units,)))
    model.get_layer("scores").set_weights([kernel, bias])
    kinds = ("dense", "sparse", "zero", "constant", "one live channel")
    films = np.concatenate([values_of(kind, (1, *grid, channels), random) for kind in kinds])
    targets = random.integers(0, max(2, units), len(kinds))
    levels = ("fine", "middle", "top")
    # the gradient is the same all along the way, so the sum of ig is exact after any number of steps
    explainer = Explainer(model, tuple(METHODS), multiscale_layers=levels, batch_size=batch, ig_steps=3)
    explained = explainer.explain(films, targets)
    assert explainer.traces == 1
    forms = [closed_forms(f, t, kernel.astype(float), bias.astype(float)) for f, t in zip(films, targets, strict=True)]
    for name in METHODS:
        result = explained[name]
        assert np.isfinite(result.values).all()
        assert (result.values >= 0).all()
        assert result.status[2] == "degenerate"
        if min(grid) < 3:
            assert set(result.status) <= {"degenerate", "grid_too_coarse"}
        for i, form in enumerate(forms):
            if name not in form or "ambiguous_sign" in result.status[i]:
                continue
            # signed sums round in units of their terms; probabilities in units of the largest logit
            rounding = np.abs(films[i]).sum(-1).max() * np.abs(kernel).max() / np.prod(grid) if name in SIGNED else 0
            size = np.abs(form[name]).max() * (max(10, scale) if METHODS[name].kind == FORWARD else 10)
            np.testing.assert_allclose(
                result.values[i], form[name], atol=1e-6 * (rounding + size) + 1e-30, err_msg=name
            )
