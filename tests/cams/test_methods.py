"""The pure functions against NumPy, on features and gradients that no pooling head would give."""

import numpy as np
import pytest
import tensorflow as tf

from cxrkeras.cams import methods
from cxrkeras.errors import MethodError

RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def features():
    return RNG.normal(size=(3, 4, 5, 7)).astype(np.float32)


@pytest.fixture(scope="module")
def gradients():
    return RNG.normal(size=(3, 4, 5, 7)).astype(np.float32)


def test_gradcam_averages_gradients_over_space(features, gradients):
    values, extras = methods.gradcam(tf.constant(features), tf.constant(gradients))
    expected = np.maximum((features * gradients.mean((1, 2), keepdims=True)).sum(-1), 0)
    np.testing.assert_allclose(values, expected, atol=1e-6)
    assert extras == {}


@pytest.mark.parametrize("normalize", [None, "positive"])
def test_gradcam_plus_plus_follows_its_definition(features, gradients, normalize):
    values, _ = methods.gradcam_plus_plus(tf.constant(features), tf.constant(gradients), normalize_alphas=normalize)
    weights = np.zeros((3, 7))
    for n, k in np.ndindex(3, 7):
        mass = np.maximum(features[n, :, :, k], 0).sum()
        alphas = {(i, j): 1 / (2 + g * mass) for i, j in np.ndindex(4, 5) if (g := float(gradients[n, i, j, k])) > 0}
        total = sum(alphas.values()) if normalize else 1
        weights[n, k] = sum(a / total * gradients[n, i, j, k] for (i, j), a in alphas.items())
    expected = np.maximum(np.einsum("nhwk,nk->nhw", features, weights), 0)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)


def test_gradcam_plus_plus_stays_finite_at_huge_gradients(features, gradients):
    values, _ = methods.gradcam_plus_plus(tf.constant(features), tf.constant(gradients * 1e30))
    assert np.isfinite(values).all()


def test_layercam_weights_every_cell(features, gradients):
    values, _ = methods.layercam(tf.constant(features), tf.constant(gradients))
    expected = np.maximum((np.maximum(gradients, 0) * features).sum(-1), 0)
    np.testing.assert_allclose(values, expected, atol=1e-6)


@pytest.mark.parametrize("channels", [3, 40])
def test_eigencam_uses_either_gram_matrix(channels):
    features = RNG.normal(size=(2, 3, 4, channels)).astype(np.float32) + np.arange(12).reshape(1, 3, 4, 1)
    values, extras = methods.eigencam(tf.constant(features, tf.float32))
    for film, actual in zip(features.reshape(2, 12, channels).astype(np.float64), values.numpy(), strict=True):
        centred = film - film.mean(0)
        projection = centred @ np.linalg.svd(centred)[2][0]
        projection *= np.sign(projection @ centred.mean(1))
        np.testing.assert_allclose(actual.ravel(), np.maximum(projection, 0), atol=1e-5 * np.abs(projection).max())
    assert not extras["ambiguous_sign"].numpy().any()


def test_eigencam_flags_a_direction_without_a_sign():
    pattern = np.array([1.0, -1.0, 1.0, -1.0]).reshape(1, 2, 2, 1)
    opposed = np.concatenate([pattern, -pattern], -1).astype(np.float32)
    _, extras = methods.eigencam(tf.constant(opposed))
    assert extras["ambiguous_sign"].numpy().tolist() == [True]


def test_eigencam_flags_two_equal_directions():
    first = np.array([1.0, 1.0, -1.0, -1.0, 0, 0, 0, 0])
    second = np.array([0, 0, 0, 0, 1.0, 1.0, -1.0, -1.0])
    features = np.stack([first, second], -1).reshape(1, 2, 4, 2).astype(np.float32)
    _, extras = methods.eigencam(tf.constant(features))
    assert extras["sigma_ratio"].numpy()[0] == pytest.approx(1)
    assert extras["ambiguous_sign"].numpy().tolist() == [True]


def test_eigencam_of_spatially_constant_features_is_zero_and_of_non_finite_ones_nan():
    features = np.full((2, 3, 3, 4), 0.1, np.float32)
    features[1, 0, 0, 0] = np.inf
    values, _ = methods.eigencam(tf.constant(features))
    assert (values.numpy()[0] == 0).all()
    assert np.isnan(values.numpy()[1]).all()


def test_fused_levels_leave_out_a_degenerate_level():
    ramp = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    flat = np.full((1, 2, 2), 3.0, np.float32)
    values, extras = methods.fused_levels([tf.constant(ramp), tf.constant(flat)])
    np.testing.assert_allclose(values, ramp / 15, atol=1e-6)
    assert extras["levels_used"].numpy().tolist() == [[True, False]]


def test_fused_levels_weigh_or_take_the_maximum():
    ramp = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    levels = [tf.constant(ramp), tf.constant(ramp[:, ::-1].copy())]
    weighted, _ = methods.fused_levels(levels, level_weights=[3, 1])
    np.testing.assert_allclose(weighted, (3 * ramp + ramp[:, ::-1]) / 60, atol=1e-6)
    largest, _ = methods.fused_levels(levels, fusion="max")
    np.testing.assert_allclose(largest, np.maximum(ramp, ramp[:, ::-1]) / 15, atol=1e-6)


def test_fused_levels_scale_after_resizing_so_a_peak_reaches_one():
    peak = np.zeros((1, 3, 3), np.float32)
    peak[0, 1, 1] = 1
    fine = np.zeros((1, 8, 8), np.float32)
    values, _ = methods.fused_levels([tf.constant(fine), tf.constant(peak)])
    assert values.numpy().max() == 1


def test_all_levels_degenerate_give_zeros():
    zeros = tf.zeros((1, 4, 4))
    values, extras = methods.fused_levels([zeros, zeros])
    assert (values.numpy() == 0).all()
    assert not extras["levels_used"].numpy().any()


def test_scaled_maximum_of_an_empty_level_is_the_other_level():
    ramp = np.arange(4, dtype=np.float32).reshape(1, 2, 2)
    values, _ = methods.scaled_maximum([tf.constant(ramp), tf.zeros((1, 2, 2))])
    np.testing.assert_allclose(values, np.tanh(2 * ramp / 3), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: methods.gradcam_plus_plus(
                tf.zeros((1, 1, 1, 1)), tf.zeros((1, 1, 1, 1)), normalize_alphas="positve"
            ),
            "positive",
        ),
        (lambda: methods.fused_levels([tf.zeros((1, 2, 2))], fusion="men"), "Did you mean 'mean'"),
        (lambda: methods.fused_levels([tf.zeros((1, 2, 2))], level_weights=[1, 2]), "expected 1 weights"),
    ],
)
def test_unknown_options_are_named(call, message):
    with pytest.raises(MethodError, match=message):
        call()


def test_levels_are_joined_at_the_finest_grid_in_whatever_order_they_come():
    rng = np.random.default_rng(3)
    fine, coarse = (tf.constant(rng.uniform(size=(2, side, side)), tf.float32) for side in (8, 4))
    first, used = methods.fused_levels([fine, coarse], level_weights=[1, 3])
    second, _ = methods.fused_levels([coarse, fine], level_weights=[3, 1])
    assert first.shape == (2, 8, 8)
    np.testing.assert_allclose(first, second, atol=1e-6)
    assert used["levels_used"].numpy().all()
    with pytest.raises(MethodError, match="level_weights weigh a mean"):
        methods.fused_levels([fine, coarse], fusion="max", level_weights=[1, 3])
