"""Sampled ScoreCAM on one net whose weights vary: bias, coverage, where it stops, and what it may not depend on."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cxrkeras.cams import Explainer
from cxrkeras.cams.scorecam.sampling import channel_energy, draw_order, next_look, relative_half_width, sampled_sum
from cxrkeras.errors import MethodError
from cxrkeras.maps import min_max

SIDE, GRID, CHANNELS, SEEDS = 12, 6, 256, 2000
TARGETS = np.array([0, 1, 0])
IDS = ["a", "b", "c"]


@pytest.fixture(scope="module")
def wide():
    """A strided convolution of 256 channels, pooling, softmax; its weights w_k lie between .1 and .9."""
    rng = np.random.default_rng(1)
    kernel = rng.normal(size=(2, 2, 1, CHANNELS)) / 200
    bias = rng.normal(size=CHANNELS) / 5
    head = rng.normal(size=(CHANNELS, 2)) / 5
    inputs = keras.Input((SIDE, SIDE, 1))
    conv = keras.layers.Conv2D(CHANNELS, 2, strides=2, activation="relu", name="conv")
    dense = keras.layers.Dense(2, activation="softmax", use_bias=False)
    model = keras.Model(inputs, dense(keras.layers.GlobalAveragePooling2D()(conv(inputs))))
    conv.set_weights([kernel, bias])
    dense.set_weights([head])
    return model, tuple(np.asarray(a, np.float32).astype(np.float64) for a in (kernel, bias, head))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(2).uniform(0, 255, (3, SIDE, SIDE, 1)).astype(np.float32)


def forward(images, weights):
    """Features [n, h, w, K] and probabilities [n, 2], in float64."""
    kernel, bias, head = weights
    blocks = images[..., 0].reshape(-1, GRID, 2, GRID, 2).transpose(0, 1, 3, 2, 4)
    features = np.maximum(np.einsum("nhwab,abk->nhwk", blocks, kernel[:, :, 0]) + bias, 0)
    scores = np.exp(features.mean((1, 2)) @ head)
    return features, scores / scores.sum(-1, keepdims=True)


def brute_force(image, weights):
    """Features, every channel's probabilities [K, 2] and the film's own [2], by one float64 forward a channel."""
    image = image.astype(np.float64)[None]
    (features,), (own,) = forward(image, weights)
    position = (np.arange(SIDE) + 0.5) * GRID / SIDE - 0.5
    rows = np.maximum(0, 1 - np.abs(np.clip(position, 0, GRID - 1)[:, None] - np.arange(GRID)))
    masks = np.einsum("ia,abk,jb->kij", rows, features, rows)
    low, high = masks.min((1, 2), keepdims=True), masks.max((1, 2), keepdims=True)
    masks = np.where(high > low, (masks - low) / np.where(high > low, high - low, 1), 0)
    return features, forward(image * masks[..., None], weights)[1], own


@pytest.fixture(scope="module")
def truth(wide, images):
    """Features, weights w_k, energy, m_0 and the exact sum for the first film and its target."""
    features, answers, own = brute_force(images[0], wide[1])
    weights = answers[:, TARGETS[0]]
    return features, weights, channel_energy(features), own[TARGETS[0]], features @ weights


@pytest.fixture(scope="module")
def draws(truth):
    """Estimates and half-widths of 64 channels over 2,000 seeds."""
    features, weights, energy, baseline, _ = truth
    orders = [draw_order(energy, seed, "film")[:64] for seed in range(SEEDS)]
    found = [sampled_sum(features, drawn, weights[drawn], energy, baseline) for drawn in orders]
    return np.stack([estimate for estimate, _ in found]), np.stack([width for _, width in found])


@pytest.fixture(scope="module")
def exact(wide, images):
    return Explainer(wide[0], "scorecam", batch_size=3).explain(images, TARGETS, IDS)["scorecam"]


def test_the_weights_vary_and_the_exact_map_is_the_loop_over_channels(wide, images, truth, exact):
    assert np.ptp(truth[1][truth[2] > 0]) > 0.2
    for image, target, values in zip(images, TARGETS, exact.values, strict=True):
        features, answers, _ = brute_force(image, wide[1])
        expected = np.maximum(features @ answers[:, target], 0)
        np.testing.assert_allclose(values, expected, atol=1e-5 * expected.max())


def test_the_estimate_is_unbiased_at_64_channels(draws, truth):
    estimates, _ = draws
    noise = estimates.std(0, ddof=1) / np.sqrt(SEEDS)
    assert (np.abs(estimates.mean(0) - truth[-1]) <= 4 * noise).all()
    # a bias of a hundredth of the maximum would be seen
    assert noise.max() < 0.0025 * truth[-1].max()


def test_the_half_width_covers_95_percent_of_the_cells(draws, truth):
    estimates, half_widths = draws
    covered = np.abs(estimates - truth[-1]) <= half_widths
    assert 0.93 <= covered.mean() <= 0.97
    assert covered.mean(0).min() >= 0.88


def test_stopping_at_the_looks_keeps_the_coverage(truth):
    features, weights, energy, baseline, expected = truth
    n_live, covered, used = int((energy > 0).sum()), [], []
    for seed in range(SEEDS):
        order, n = draw_order(energy, seed, "film"), 0
        while True:
            n = next_look(n, n_live, 0.06)
            if n == n_live:
                break
            drawn = order[:n]
            estimate, half_width = sampled_sum(features, drawn, weights[drawn], energy, baseline)
            if relative_half_width(np.maximum(estimate, 0), half_width) <= 0.06:
                covered.append(np.abs(estimate - expected) <= half_width)
                break
        used.append(n)
    # the seeds do stop at several looks, and nearly all before the last channel
    assert len(set(used)) >= 3
    assert len(covered) > 0.9 * SEEDS
    assert np.mean(covered) >= 0.92


@pytest.mark.parametrize("tolerance", [0.3, 0.1, 0.05])
def test_tolerance_gives_the_map_of_as_many_channels_and_keeps_its_word(wide, images, tolerance):
    model, weights = wide
    result = Explainer(model, "scorecam", batch_size=3, tolerance=tolerance, seed=4).explain(images, TARGETS, IDS)
    result = result["scorecam"]
    for i, used in enumerate(result.extras["channels_used"]):
        n_live = result.extras["n_live"][i]
        capped = Explainer(model, "scorecam", batch_size=1, max_channels=int(used), seed=4)
        capped = capped.explain(images[i : i + 1], TARGETS[i : i + 1], IDS[i : i + 1])["scorecam"]
        np.testing.assert_allclose(result.values[i], capped.values[0], rtol=1e-6)
        np.testing.assert_allclose(result.extras["half_width"][i], capped.extras["half_width"][0], rtol=1e-5)
        stated = result.extras["half_width_relative"][i]
        assert stated == pytest.approx(result.extras["half_width"][i].max() / result.values[i].max(), rel=1e-6)
        assert used == n_live or (used % 32 == 0 and used >= 64 and stated <= tolerance)

        features, answers, own = brute_force(images[i], weights)
        w, energy, order = (
            answers[:, TARGETS[i]],
            channel_energy(features),
            draw_order(channel_energy(features), 4, IDS[i]),
        )
        for n in range(64, int(used), 32):
            early, width = sampled_sum(features, order[:n], w[order[:n]], energy, own[TARGETS[i]])
            assert relative_half_width(np.maximum(early, 0), width) > tolerance
    expected = np.where(result.extras["channels_used"] < result.extras["n_live"], "approximate", "ok")
    np.testing.assert_array_equal(result.status, expected)


def test_tolerances_differ_in_the_channels_they_need(wide, images):
    used = [
        Explainer(wide[0], "scorecam", batch_size=3, tolerance=tolerance).explain(images, TARGETS, IDS)["scorecam"]
        for tolerance in (0.3, 0.1, 0.05)
    ]
    loose, middle, tight = (result.extras["channels_used"] for result in used)
    assert (loose == 64).all()
    assert (middle >= loose).all()
    assert (tight >= middle).all()
    assert tight.sum() > middle.sum() > loose.sum()


def test_a_tolerance_out_of_reach_gives_the_exact_map(wide, images, exact):
    result = Explainer(wide[0], "scorecam", batch_size=3, tolerance=1e-4).explain(images, TARGETS, IDS)["scorecam"]
    np.testing.assert_allclose(result.values, exact.values, rtol=1e-6)
    np.testing.assert_array_equal(result.extras["channels_used"], result.extras["n_live"])
    assert set(result.status) == {"ok"}
    assert (result.extras["half_width"] == 0).all()
    assert (result.extras["half_width_relative"] == 0).all()


def test_a_cap_holds_under_a_tolerance_out_of_reach(wide, images):
    explainer = Explainer(wide[0], "scorecam", batch_size=3, tolerance=1e-4, max_channels=100, seed=4)
    result = explainer.explain(images, TARGETS, IDS)["scorecam"]
    capped = Explainer(wide[0], "scorecam", batch_size=3, max_channels=100, seed=4).explain(images, TARGETS, IDS)
    assert set(result.extras["channels_used"]) == {100}
    np.testing.assert_allclose(result.values, capped["scorecam"].values, rtol=1e-6)
    assert result.parameters["seed"] == 4
    assert result.parameters["tolerance"] == 1e-4


@pytest.mark.parametrize("options", [{}, {"max_channels": 70}, {"tolerance": 0.1}], ids=["exact", "capped", "tolerant"])
def test_pack_size_batch_size_and_order_do_not_change_the_maps(wide, images, options):
    model = wide[0]
    reference = Explainer(model, "scorecam", batch_size=3, pack_size=32, **options)
    reference = reference.explain(images, TARGETS, IDS)["scorecam"]
    order = [2, 0, 1]
    for batch_size, pack_size in [(1, 3), (3, 7), (2, 200)]:
        explainer = Explainer(model, "scorecam", batch_size=batch_size, pack_size=pack_size, **options)
        ids = [IDS[i] for i in order]
        result = explainer.explain(images[order], TARGETS[order], ids)["scorecam"]
        expected = reference.values[order]
        np.testing.assert_allclose(result.values, expected, atol=1e-6 * expected.max())
        np.testing.assert_array_equal(result.extras["channels_used"], reference.extras["channels_used"][order])
        np.testing.assert_array_equal(result.status, reference.status[order])


def test_progress_ends_at_the_forwards_that_were_needed_and_packs_are_full(wide, images):
    asked = []
    explainer = Explainer(wide[0], "scorecam", batch_size=3, pack_size=50, tolerance=0.1)
    result = explainer.explain(images, TARGETS, IDS, progress=lambda done, total: asked.append((done, total)))
    used = int(result["scorecam"].extras["channels_used"].sum())
    assert asked[-1] == (3 + used, 3 + used)
    packs = np.diff([done for done, _ in asked])
    # films share packs: only the last ones, when too few channels are waited for, are not full
    assert (packs == 50).sum() >= used // 50 - 2


def test_a_map_without_a_maximum_is_drawn_to_the_end(wide, images):
    """Weights of 0 state no error in parts of the maximum, so no tolerance is reached."""
    explainer = Explainer(wide[0], "scorecam", batch_size=3, tolerance=0.9, rectify=tf.zeros_like)
    result = explainer.explain(images, TARGETS, IDS)["scorecam"]
    np.testing.assert_array_equal(result.extras["channels_used"], result.extras["n_live"])
    assert np.isnan(result.extras["half_width_relative"]).all()
    assert set(result.status) == {"degenerate"}


def test_equal_weights_far_from_the_answer_to_the_film_itself_are_uninformative(wide, images):
    """The control variate starts at p_c(x); its distance to the weights is noise, not evidence."""
    model, seen = wide[0], []
    explainer = Explainer(
        model, "scorecam", batch_size=3, max_channels=64, score=equal_unless_whole(model, images, seen)
    )
    result = explainer.explain(images, TARGETS, IDS)["scorecam"]
    assert 0.3 in seen
    assert 0.9 in seen
    assert set(result.status) == {"uninformative"}
    features = forward(images.astype(np.float64), wide[1])[0]
    plain = features.sum(-1)
    off = np.abs(min_max(result.values) - min_max(plain)).max((1, 2))
    # the estimate itself would not show it
    assert (off > 0.01).all()


def equal_unless_whole(model, images, seen):
    """A score of .9 for the films themselves and .3 for whatever the model answers to a masked one."""
    whole = model.predict(images, verbose=0)

    def score(probabilities):
        answers = np.asarray(probabilities)
        values = [0.9 if np.abs(answer - whole).max(1).min() < 1e-6 else 0.3 for answer in answers]
        seen.extend(values)
        return values

    return score


def test_sampled_maps_of_a_saturated_net_are_uninformative(wide, images):
    model, (kernel, bias, _) = wide
    saturated = keras.models.clone_model(model)
    saturated.set_weights([kernel, bias, np.zeros((CHANNELS, 2))])
    for options in ({"max_channels": 8}, {"tolerance": 0.1}):
        result = Explainer(saturated, "scorecam", batch_size=3, **options).explain(images, TARGETS, IDS)["scorecam"]
        assert set(result.status) == {"uninformative"}
        assert (result.extras["channels_used"] < result.extras["n_live"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": 0}, "received 0"),
        ({"tolerance": 1.0}, "between 0 and 1"),
        ({"tolerance": "0.1"}, "received '0.1'"),
        ({"tolerance": 0.1, "weighting": "softmax"}, "leave tolerance out"),
        ({"max_channels": "8"}, "whole number"),
        ({"memory_budget": 0}, "memory_budget has to be a whole number of 1 or more; received 0"),
        ({"pack_size": 0}, "pack_size"),
    ],
)
def test_options_are_checked_before_anything_runs(wide, options, message):
    with pytest.raises(MethodError, match=message):
        Explainer(wide[0], "scorecam", **options)
