"""Closed forms of a pooling and Dense head, where every gradient is known."""

import keras
import numpy as np
import pytest

from cxrkeras.cams import Explainer, explain_all
from cxrkeras.maps import min_max

RELATIVE = 1e-6


def relu(values):
    return np.maximum(values, 0)


def chosen(kernel, targets):
    return kernel.T[targets][:, None, None, :]


@pytest.fixture(scope="module")
def explained(flat, films, targets):
    return explain_all(flat, films, targets, methods="gradcam,gradcam++,layercam,eigencam")


def assert_close(actual, expected, tolerance=RELATIVE):
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()


def test_gradcam_is_the_weighted_features(explained, features, head_weights, targets):
    cells = np.prod(features.shape[1:3])
    assert_close(explained["gradcam"].values, relu((features * chosen(head_weights[0], targets)).sum(-1)) / cells)


def test_layercam_is_the_features_weighted_by_positive_weights(explained, features, head_weights, targets):
    cells = np.prod(features.shape[1:3])
    expected = relu((features * relu(chosen(head_weights[0], targets))).sum(-1)) / cells
    assert_close(explained["layercam"].values, expected)


def test_gradcam_plus_plus_has_its_closed_form(explained, features, head_weights, targets):
    weights = chosen(head_weights[0], targets)
    mean = features.mean((1, 2), keepdims=True)
    factor = relu(weights) / np.where(weights > 0, 2 + weights * mean, 1)
    assert_close(explained["gradcam++"].values, relu((features * factor).sum(-1)))


def test_normalised_alphas_turn_gradcam_plus_plus_into_layercam(flat, films, targets):
    both = explain_all(flat, films, targets, methods="gradcam++,layercam", normalize_alphas="positive")
    assert_close(both["gradcam++"].values, both["layercam"].values)


def pattern_difference(one, other):
    return np.abs(min_max(one) - min_max(other)).max()


def test_small_head_weights_make_gradcam_plus_plus_rank_like_layercam(with_head, films, targets):
    """The two part where W·Ā is no longer small beside 2."""
    differences = []
    for spread in (0.03, 0.3, 3):
        both = explain_all(with_head(3, "softmax", spread), films, targets, methods="gradcam++,layercam")
        differences.append(pattern_difference(both["gradcam++"].values, both["layercam"].values))
    assert differences[0] < 0.015
    assert differences[1] < 0.11
    assert differences[1] > 5 * differences[0]
    assert differences[2] > 0.1


def test_an_epsilon_in_gradcam_plus_plus_would_change_weak_maps(with_head, films, targets, features):
    """With g² of the order of ε = 1e-6, α = g² / (2 g² + g³ ΣA + ε) is ruled by ε; ours is scaled, not changed."""
    spread = 64 * 6e-4
    model = with_head(3, "softmax", spread)
    weights = chosen(np.asarray(model.get_layer("scores").get_weights()[0], np.float64), targets)
    gradients, mass = weights / 64, features.sum((1, 2), keepdims=True)
    assert 1e-7 < np.median(gradients**2) < 1e-6
    maps = {}
    for epsilon in (0.0, 1e-6):
        alphas = gradients**2 / (2 * gradients**2 + gradients**3 * mass + epsilon)
        maps[epsilon] = relu((features * alphas * relu(weights)).sum(-1))
    ours = explain_all(model, films, targets, methods="gradcam++")["gradcam++"].values
    assert pattern_difference(ours, maps[0.0]) < 1e-5
    assert pattern_difference(ours, maps[1e-6]) > 0.05


def test_the_same_probabilities_can_have_other_gradcam_maps_but_one_margin(with_head, films, targets):
    """Softmax logits are defined up to a common shift; it moves z_c and with it Grad-CAM, not the margin."""
    model = with_head(3, "softmax")
    explained = {on: explain_all(model, films, targets, methods="gradcam", on=on) for on in ("logit", "margin")}
    kernel, bias = model.get_layer("scores").get_weights()
    model.get_layer("scores").set_weights([kernel + 0.1, bias])
    shifted = {on: explain_all(model, films, targets, methods="gradcam", on=on) for on in ("logit", "margin")}
    for on in ("logit", "margin"):
        np.testing.assert_allclose(shifted[on].probabilities, explained[on].probabilities, atol=1e-6)
    difference = {
        on: pattern_difference(shifted[on]["gradcam"].values, explained[on]["gradcam"].values) for on in shifted
    }
    assert difference["logit"] > 0.2
    assert difference["margin"] < 1e-4


def test_eigencam_is_the_first_singular_projection(explained, features):
    result = explained["eigencam"]
    for index, film in enumerate(features.reshape(len(features), -1, features.shape[-1])):
        centred = film - film.mean(0)
        _, sigma, right = np.linalg.svd(centred, full_matrices=False)
        projection, reference = centred @ right[0], centred.mean(1)
        correlation = np.corrcoef(projection, reference)[0, 1]
        expected = relu(np.sign(correlation) * projection).reshape(features.shape[1:3])
        assert_close(result.values[index], expected, 1e-5)
        assert result.extras["sigma_ratio"][index] == pytest.approx(sigma[1] / sigma[0], rel=1e-6)
        assert result.extras["correlation"][index] == pytest.approx(abs(correlation), rel=1e-6)


def test_probabilities_and_logits_are_the_models_own(explained, flat, films, features, head_weights):
    logits = features.mean((1, 2)) @ head_weights[0] + head_weights[1]
    np.testing.assert_allclose(explained.logits, logits, atol=1e-4)
    np.testing.assert_allclose(explained.probabilities, flat.predict(films, verbose=0), atol=1e-6)


def test_multiscale_is_the_mean_of_min_maxed_levels(flat, films, targets):
    levels = ("fine", "middle", "top")
    result = explain_all(flat, films, targets, methods="ms-gradcam++", multiscale_layers=levels)["ms-gradcam++"]
    scaled = []
    for level in levels:
        raw = explain_all(flat, films, targets, methods="gradcam++", layer=level)["gradcam++"].values
        wide = np.asarray(keras.ops.image.resize(raw[..., None], (32, 32)))[..., 0]
        low, high = wide.min((1, 2), keepdims=True), wide.max((1, 2), keepdims=True)
        scaled.append((wide - low) / (high - low))
    assert result.values.shape == (5, 32, 32)
    assert result.extras["levels_used"].all()
    np.testing.assert_allclose(result.values, np.mean(scaled, axis=0), atol=1e-5)
    assert result.layer == "fine, middle, top"


def test_layercam_of_several_layers_is_the_scaled_maximum(flat, films, targets):
    fused = explain_all(flat, films, targets, methods="layercam", layercam_layers=("middle", "top"))["layercam"]
    scaled = []
    for level in ("middle", "top"):
        raw = explain_all(flat, films, targets, methods="layercam", layer=level)["layercam"].values
        wide = np.asarray(keras.ops.image.resize(raw[..., None], (16, 16)))[..., 0]
        scaled.append(np.tanh(2 * wide / wide.max((1, 2), keepdims=True)))
    np.testing.assert_allclose(fused.values, np.max(scaled, axis=0), atol=1e-5)


def test_scaling_the_head_leaves_gradcam_and_layercam_unchanged(with_head, films, targets):
    small, large = (
        explain_all(with_head(3, "softmax", spread), films, targets, methods="gradcam,gradcam++,layercam")
        for spread in (0.5, 5.0)
    )
    for method in ("gradcam", "layercam"):
        np.testing.assert_allclose(small[method].values * 10, large[method].values, rtol=1e-4, atol=1e-6)
    ratio = large["gradcam++"].values.max((1, 2)) / small["gradcam++"].values.max((1, 2))
    assert (ratio < 9).all()


def test_predicted_class_is_explained_without_targets(flat, films, explained):
    best = explained.probabilities.argmax(1)
    free = Explainer(flat, "gradcam", batch_size=5).explain(films)
    np.testing.assert_array_equal(free.targets, best)
    np.testing.assert_array_equal(
        free["gradcam"].values, Explainer(flat, "gradcam", batch_size=5).explain(films, best)["gradcam"].values
    )
