"""ScoreCAM against a float64 loop, its packing, its channel rule, its statuses and its capped estimate."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cxrkeras.cams import Explainer, explain_all
from cxrkeras.cams.scorecam.sampling import channel_energy, draw_order, sampled_sum
from cxrkeras.errors import MethodError

SIDE, GRID, CHANNELS = 16, 8, 6


@pytest.fixture(scope="module")
def tiny():
    """One strided convolution, pooling and a softmax of two; its weights are plain arrays."""
    rng = np.random.default_rng(4)
    kernel = rng.normal(size=(2, 2, 1, CHANNELS)) / 200
    bias = rng.normal(size=CHANNELS) / 5
    head = rng.normal(size=(CHANNELS, 2)) * 8
    inputs = keras.Input((SIDE, SIDE, 1))
    conv = keras.layers.Conv2D(CHANNELS, 2, strides=2, activation="relu", name="conv")
    dense = keras.layers.Dense(2, activation="softmax", use_bias=False)
    model = keras.Model(inputs, dense(keras.layers.GlobalAveragePooling2D()(conv(inputs))))
    conv.set_weights([kernel, bias])
    dense.set_weights([head])
    return model, tuple(np.asarray(a, np.float32).astype(np.float64) for a in (kernel, bias, head))


@pytest.fixture(scope="module")
def images():
    coarse = np.random.default_rng(6).uniform(0, 255, (4, 4, 4, 1))
    return np.kron(coarse, np.ones((1, 4, 4, 1))).astype(np.float32)


TARGETS = np.array([0, 1, 1, 0])


@pytest.fixture(scope="module")
def exact(tiny, images):
    """Every live channel, all images in one batch."""
    return explain_all(tiny[0], images, TARGETS, methods="scorecam")["scorecam"]


def forward(image, weights):
    """Features [h, w, K] and probabilities [2] of one image, in float64."""
    kernel, bias, head = weights
    blocks = image[..., 0].reshape(GRID, 2, GRID, 2).transpose(0, 2, 1, 3)
    features = np.maximum(np.einsum("hwab,abk->hwk", blocks, kernel[:, :, 0]) + bias, 0)
    scores = np.exp(features.mean((0, 1)) @ head)
    return features, scores / scores.sum()


def upsampled(channel):
    """Bilinear with half-pixel centres, written as its own formula."""
    position = (np.arange(SIDE) + 0.5) * GRID / SIDE - 0.5
    weights = np.maximum(0, 1 - np.abs(np.clip(position, 0, GRID - 1)[:, None] - np.arange(GRID)))
    return weights @ channel @ weights.T


def brute_force(image, target, weights, weighting="probability"):
    image = image.astype(np.float64)
    features, _ = forward(image, weights)
    answers = []
    for k in range(CHANNELS):
        wide = upsampled(features[..., k])
        span = wide.max() - wide.min()
        mask = (wide - wide.min()) / span if span > 0 else np.zeros_like(wide)
        answers.append(forward(image * mask[..., None], weights)[1][target])
    answers = np.array(answers)
    if weighting == "softmax":
        gains = np.exp(answers - forward(image * 0, weights)[1][target])
        answers = gains / gains.sum()
    return np.maximum(features @ answers, 0), answers


@pytest.mark.parametrize("weighting", ["probability", "softmax"])
def test_equals_a_loop_over_channels(tiny, images, weighting):
    model, weights = tiny
    result = explain_all(model, images, TARGETS, methods="scorecam", weighting=weighting)["scorecam"]
    for image, target, actual in zip(images, TARGETS, result.values, strict=True):
        expected, _ = brute_force(image, target, weights, weighting)
        np.testing.assert_allclose(actual, expected, atol=1e-5 * expected.max())


def test_weight_variation_is_the_energy_weighted_deviation_over_the_mean(tiny, images, exact):
    weights, result = tiny[1], exact
    for i, image in enumerate(images):
        features, _ = forward(image.astype(np.float64), weights)
        energy = np.sqrt((features**2).sum((0, 1)))
        answers = brute_force(image, TARGETS[i], weights)[1]
        mean = np.average(answers, weights=energy)
        deviation = np.sqrt(np.average((answers - mean) ** 2, weights=energy))
        assert result.extras["weight_variation"][i] == pytest.approx(deviation / mean, rel=1e-4)
        assert result.extras["n_live"][i] == (energy > 0).sum() == result.extras["channels_used"][i]


@pytest.mark.parametrize(("batch_size", "pack_size"), [(1, 1), (2, 7), (4, 64), (3, 5)])
def test_packs_and_batches_do_not_change_the_maps(tiny, images, exact, batch_size, pack_size):
    model, _ = tiny
    explainer = Explainer(model, "scorecam", batch_size=batch_size, pack_size=pack_size)
    result = explainer.explain(images, TARGETS)["scorecam"]
    np.testing.assert_allclose(result.values, exact.values, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(result.status, exact.status)
    assert explainer.traces == 1
    assert [forward.traces for forward in explainer._masked._forwards.values()] == [1]


def linear_channels(kernel, bias, head):
    """A net whose features are a linear 1×1 convolution of the image, so that channels can be made to order."""
    inputs = keras.Input((8, 8, 1))
    conv = keras.layers.Conv2D(len(bias), 1, name="conv")
    dense = keras.layers.Dense(2, activation="softmax", use_bias=False)
    model = keras.Model(inputs, dense(keras.layers.GlobalAveragePooling2D()(conv(inputs))))
    conv.set_weights([np.reshape(kernel, (1, 1, 1, -1)), np.array(bias)])
    dense.set_weights([np.array(head)])
    return model


def test_negative_and_constant_channels_are_live_and_zero_channels_are_not():
    # channels: dead, negative everywhere, constant, positive
    model = linear_channels([0, -0.01, 0, 0.02], [0, -0.1, 0.3, 0], [[1, 0], [3, 0], [4, 0], [0, 2]])
    image = np.random.default_rng(0).uniform(1, 200, (1, 8, 8, 1)).astype(np.float32)
    asked = []
    explainer = Explainer(model, "scorecam", batch_size=1, pack_size=2, rectify=tf.identity)
    result = explainer.explain(image, [0], progress=lambda done, total: asked.append((done, total)))["scorecam"]
    assert result.extras["n_live"].tolist() == [3]
    assert asked == [(1, 5), (3, 4), (4, 4)]

    features = image[0, ..., 0, None].astype(np.float64) * [0, -0.01, 0, 0.02] + [0, -0.1, 0.3, 0]

    def answer(mask):
        return float(model(image * mask[None, ..., None])[0, 0])

    unit = (image[0, ..., 0] - image.min()) / (image.max() - image.min())
    weights = [answer(1 - unit), answer(np.zeros((8, 8), np.float32)), answer(unit)]
    expected = features[..., [1, 2, 3]] @ weights
    np.testing.assert_allclose(result.values[0], expected, rtol=1e-4, atol=1e-5)


def test_dead_and_non_finite_films_cost_nothing_and_are_degenerate():
    model = linear_channels([0.0, 0.0], [0.0, 0.0], [[1, 0], [0, 1]])
    asked = []
    explained = Explainer(model, "scorecam", batch_size=2).explain(
        np.ones((1, 8, 8, 1)), [0], progress=lambda done, total: asked.append((done, total))
    )
    assert explained["scorecam"].status.tolist() == ["degenerate"]
    assert (explained["scorecam"].values == 0).all()
    assert asked == [(1, 3)]

    broken = linear_channels([np.inf, 1.0], [0.0, 0.0], [[1, 0], [0, 1]])
    result = explain_all(broken, np.ones((1, 8, 8, 1)), [0], methods="scorecam")["scorecam"]
    assert result.status.tolist() == ["degenerate"]
    assert np.isnan(result.values).all()


def test_equal_weights_are_called_uninformative(tiny, images):
    model, (kernel, bias, _) = tiny
    same = keras.models.clone_model(model)
    same.set_weights([kernel, bias, np.zeros((CHANNELS, 2))])
    result = explain_all(same, images, TARGETS, methods="scorecam")["scorecam"]
    assert set(result.status) == {"uninformative"}
    np.testing.assert_allclose(result.extras["weight_variation"], 0, atol=1e-6)


def test_capped_map_is_the_estimate_from_its_draw(tiny, images):
    model, weights = tiny
    ids = ["a", "b", "c", "d"]
    explainer = Explainer(model, "scorecam", max_channels=3, seed=9, rectify=tf.identity)
    result = explainer.explain(images, TARGETS, ids)["scorecam"]
    for i, image in enumerate(images):
        features, answer = forward(image.astype(np.float64), weights)
        energy, answers = channel_energy(features), brute_force(image, TARGETS[i], weights)[1]
        drawn = draw_order(energy, 9, ids[i])[:3]
        expected, half_width = features @ answers, np.zeros((GRID, GRID))
        if (energy > 0).sum() > 3:
            expected, half_width = sampled_sum(features, drawn, answers[drawn], energy, answer[TARGETS[i]])
        np.testing.assert_allclose(result.values[i], expected, atol=1e-4 * np.abs(expected).max())
        np.testing.assert_allclose(result.extras["half_width"][i], half_width, atol=1e-4 * np.abs(expected).max())
    assert (result.extras["channels_used"] == np.minimum(result.extras["n_live"], 3)).all()
    capped = result.extras["n_live"] > 3
    assert capped.any()
    assert set(result.status[capped]) <= {"approximate", "uninformative"}
    assert "approximate" not in result.status[~capped]


def test_capped_maps_are_unbiased_over_seeds(tiny, images):
    _, weights = tiny
    for i, image in enumerate(images[:2]):
        features, answer = forward(image.astype(np.float64), weights)
        energy, answers = channel_energy(features), brute_force(image, TARGETS[i], weights)[1]
        draws = [draw_order(energy, seed, "film")[:3] for seed in range(4000)]
        estimates = np.stack(
            [sampled_sum(features, drawn, answers[drawn], energy, answer[TARGETS[i]])[0] for drawn in draws]
        )
        noise = estimates.std(0, ddof=1) / np.sqrt(len(estimates))
        assert (np.abs(estimates.mean(0) - features @ answers) <= 5 * noise + 1e-9).all()


def test_a_cap_of_all_live_channels_is_exact(tiny, images, exact):
    model, _ = tiny
    capped = explain_all(model, images, TARGETS, methods="scorecam", max_channels=CHANNELS)["scorecam"]
    np.testing.assert_array_equal(capped.values, exact.values)
    assert "approximate" not in capped.status
    assert (capped.extras["half_width"] == 0).all()


def test_the_draw_depends_on_the_film_not_on_its_batch(tiny, images):
    model, _ = tiny
    together = explain_all(model, images, TARGETS, methods="scorecam", max_channels=2)["scorecam"].values
    order = [2, 0, 3, 1]
    shuffled = explain_all(model, images[order], TARGETS[order], methods="scorecam", max_channels=2, batch_size=3)
    np.testing.assert_allclose(shuffled["scorecam"].values, together[order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weighting": "softmx"}, "Did you mean 'softmax'"),
        ({"max_channels": 0}, "received 0"),
        ({"max_channels": 4, "weighting": "softmax"}, "weighting='probability'"),
    ],
)
def test_options_are_checked_before_anything_runs(tiny, options, message):
    with pytest.raises(MethodError, match=message):
        Explainer(tiny[0], "scorecam", **options)


def test_films_are_yielded_one_by_one_as_they_finish(tiny, images):
    model, _ = tiny
    done = []
    explainer = Explainer(model, "gradcam,scorecam", batch_size=4, pack_size=CHANNELS)
    stream = explainer.explain_batches([(images, TARGETS)], n_films=4, progress=lambda d, t: done.append(d))
    first = next(stream)
    assert len(first) == 1
    assert list(first.results) == ["gradcam", "scorecam"]
    assert done[-1] < 4 + 2 * CHANNELS
    assert len(list(stream)) == 3
