"""The sampled sum is unbiased, exactly: the expectation over every ordered draw is enumerated."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from cxrkeras.cams.scorecam.sampling import channel_energy, draw_order, next_look, relative_half_width, sampled_sum

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


def test_the_estimate_equals_plain_loops_over_cells():
    drawn, baseline = [3, 1, 4, 0], 0.25
    share = [float(value / ENERGY.sum()) for value in ENERGY]
    estimate, half_width = sampled_sum(FEATURES, np.array(drawn), WEIGHTS[drawn], ENERGY, baseline)
    for row in range(2):
        for column in range(3):
            cell, terms = FEATURES[row, column], []
            seen_sum, seen_weighted, weight_sum, left = 0.0, 0.0, 0.0, 1.0
            for t, channel in enumerate(drawn):
                mean = weight_sum / t if t else baseline
                term = seen_weighted + mean * (sum(cell) - seen_sum)
                terms.append(term + (WEIGHTS[channel] - mean) * cell[channel] * left / share[channel])
                seen_sum += cell[channel]
                seen_weighted += WEIGHTS[channel] * cell[channel]
                weight_sum += WEIGHTS[channel]
                left -= share[channel]
            mean = sum(terms) / 4
            deviation = (sum((term - mean) ** 2 for term in terms) / 3) ** 0.5
            assert estimate[row, column] == pytest.approx(mean, abs=1e-12)
            # the 97.5 % quantile of Student's t with 3 degrees of freedom, from a printed table
            assert half_width[row, column] == pytest.approx(3.182446 * deviation / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("most", "tolerance", "looks"),
    [
        (2048, None, [2048]),
        (40, 0.1, [40]),
        (64, 0.1, [64]),
        (65, 0.1, [64, 65]),
        (160, 0.1, [64, 96, 128, 160]),
        (150, 0.1, [64, 96, 128, 150]),
        (0, 0.1, [0]),
    ],
)
def test_the_estimate_is_looked_at_after_64_96_128_draws_only(most, tolerance, looks):
    found = [next_look(0, most, tolerance)]
    while found[-1] < most:
        found.append(next_look(found[-1], most, tolerance))
    assert found == looks


def test_the_relative_half_width_is_in_parts_of_the_maximum_and_undefined_without_one():
    half_width = np.array([[0.1, 0.4]])
    assert relative_half_width(np.array([[0.0, 2.0]]), half_width) == pytest.approx(0.2)
    assert relative_half_width(np.array([[0.0, 2.0]]), np.zeros((1, 2))) == 0
    assert np.isnan(relative_half_width(np.zeros((1, 2)), half_width))
    assert np.isnan(relative_half_width(np.full((1, 2), np.nan), half_width))
