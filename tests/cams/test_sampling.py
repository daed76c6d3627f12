"""The sampled sum is unbiased, exactly: the expectation over every ordered draw is enumerated."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from cxrkeras.cams.sampling import channel_energy, draw_order, sampled_sum

RNG = np.random.default_rng(2)
FEATURES = RNG.normal(size=(2, 3, 5)) * np.array([0.2, 1, 3, 0.5, 2])
WEIGHTS = RNG.uniform(size=5)
ENERGY = channel_energy(FEATURES)


def probability_of_draw(order):
    share, left, probability = ENERGY / ENERGY.sum(), 1.0, 1.0
    for channel in order:
        probability *= share[channel] / left
        left -= share[channel]
    return probability


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("baseline", [0.0, 0.7])
def test_expectation_over_all_draws_is_the_exact_sum(n, baseline):
    expected = FEATURES @ WEIGHTS
    mean = sum(
        probability_of_draw(order) * sampled_sum(FEATURES, np.array(order), WEIGHTS[list(order)], ENERGY, baseline)[0]
        for order in permutations(range(5), n)
    )
    np.testing.assert_allclose(mean, expected, atol=1e-12)


def test_equal_weights_are_estimated_without_error():
    estimate, half_width = sampled_sum(FEATURES, np.array([2, 0, 4]), np.full(3, 0.4), ENERGY, 0.4)
    np.testing.assert_allclose(estimate, 0.4 * FEATURES.sum(-1), atol=1e-12)
    np.testing.assert_allclose(half_width, 0, atol=1e-12)


def test_the_estimate_follows_its_definition_draw_by_draw():
    drawn = np.array([3, 1, 4, 0])
    share, terms = ENERGY / ENERGY.sum(), []
    for t, channel in enumerate(drawn):
        before = drawn[:t]
        mean = WEIGHTS[before].mean() if t else 0.25
        seen = FEATURES[..., before]
        rest = 1 - share[before].sum()
        terms.append(
            seen @ WEIGHTS[before]
            + mean * (FEATURES.sum(-1) - seen.sum(-1))
            + (WEIGHTS[channel] - mean) * FEATURES[..., channel] * rest / share[channel]
        )
    estimate, half_width = sampled_sum(FEATURES, drawn, WEIGHTS[drawn], ENERGY, 0.25)
    np.testing.assert_allclose(estimate, np.mean(terms, axis=0), atol=1e-12)
    expected = stats.t.ppf(0.975, 3) * np.std(terms, axis=0, ddof=1) / 2
    np.testing.assert_allclose(half_width, expected, atol=1e-12)


def test_one_draw_has_no_half_width():
    assert np.isnan(sampled_sum(FEATURES, np.array([1]), WEIGHTS[[1]], ENERGY, 0.5)[1]).all()


def test_draws_favour_energy_and_depend_only_on_seed_and_film():
    first = [draw_order(ENERGY, seed, "a.png")[0] for seed in range(4000)]
    share = np.bincount(first, minlength=5) / 4000
    np.testing.assert_allclose(share, ENERGY / ENERGY.sum(), atol=0.03)
    np.testing.assert_array_equal(draw_order(ENERGY, 3, "a.png"), draw_order(ENERGY, 3, "a.png"))
    orders = {tuple(draw_order(ENERGY, 3, name)) for name in "abcdefgh"}
    assert len(orders) > 1


def test_dead_channels_are_never_drawn_and_tiny_ones_are_live():
    features = np.zeros((2, 2, 3), np.float32)
    features[0, 0, 1], features[1, 1, 2] = 1e-38, -5
    energy = channel_energy(features)
    assert energy[0] == 0
    assert set(draw_order(energy, 0, "x")) == {1, 2}
