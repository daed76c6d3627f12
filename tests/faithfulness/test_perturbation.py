"""Insertion and deletion have closed forms for a model that is linear in its pixels, and no order comes from memory."""

from __future__ import annotations

import numpy as np
import pytest

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.faithfulness.against_chance import COLUMNS, PerturbationCheck
from cxrkeras.faithfulness.baselines import baseline_films
from cxrkeras.faithfulness.perturbation import Perturbation, curve_auc, pixel_ranks
from cxrkeras.maps import resize

SIDE, STEPS, N = 8, 16, 12
RNG = np.random.default_rng(5)
WEIGHTS = RNG.normal(size=(SIDE, SIDE)) / SIDE**2
FILMS = RNG.uniform(0.1, 1, (N, SIDE, SIDE, 1)).astype(np.float32)
CONTRIBUTIONS = FILMS[..., 0] * WEIGHTS
ROWS = np.arange(N)
TARGETS = ROWS % 2


class Linear:
    """Class 0 is w·x, class 1 is 1 − w·x; keeps the batches it was given."""

    def __init__(self):
        self.batches = []

    def __call__(self, films):
        self.batches.append(len(films))
        value = (films[..., 0] * WEIGHTS).sum(axis=(1, 2))
        return np.stack([value, 1 - value], axis=1)


def linear(targets=TARGETS, films=FILMS, steps=STEPS, **settings):
    return Perturbation(films, np.zeros_like(films), targets, Linear(), steps=steps, **settings)


def value_of(maps, metric, targets=TARGETS):
    films = linear(targets)
    curves = films.curves(pixel_ranks(maps, (SIDE, SIDE), ROWS), ROWS, [metric])[metric]
    return curves, curve_auc(films.fractions, curves)


def test_curves_of_a_linear_model_are_sums_of_sorted_contributions():
    curves, aucs = value_of(CONTRIBUTIONS, "insertion", np.zeros(N, int))
    sorted_first = -np.sort(-CONTRIBUTIONS.reshape(N, -1), axis=1)
    sums = np.concatenate([np.zeros((N, 1)), np.cumsum(sorted_first, axis=1)], axis=1)[:, :: SIDE**2 // STEPS]
    assert sums.shape == (N, STEPS + 1)
    np.testing.assert_allclose(curves, sums, atol=1e-6)
    np.testing.assert_allclose(aucs, (sums[:, 1:-1].sum(axis=1) + sums[:, [0, -1]].mean(axis=1)) / STEPS, atol=1e-6)
    # the other class is one minus this one
    np.testing.assert_allclose(value_of(CONTRIBUTIONS, "insertion", np.ones(N, int))[1], 1 - aucs, atol=1e-6)


def test_insertion_and_deletion_of_a_linear_model_add_up_to_its_ends():
    """What is inserted first is deleted first: f(in) + f(out) = f(film) + f(baseline) at every step."""
    maps = RNG.random((N, 3, 4))
    inserted, insertion = value_of(maps, "insertion")
    deleted, deletion = value_of(maps, "deletion")
    films = linear()
    np.testing.assert_allclose(
        inserted + deleted, np.tile((films.film + films.baseline)[:, None], STEPS + 1), atol=1e-6
    )
    np.testing.assert_allclose(insertion + deletion, films.film + films.baseline, atol=1e-6)
    np.testing.assert_array_equal(inserted[:, 0], deleted[:, -1])


def test_the_true_contributions_are_the_best_ranking():
    zeros = np.zeros(N, int)
    best, worst = (value_of(maps, "insertion", zeros)[1] for maps in (CONTRIBUTIONS, -CONTRIBUTIONS))
    least = value_of(CONTRIBUTIONS, "deletion", zeros)[1]
    for seed in range(20):
        other = np.random.default_rng(seed).random((N, SIDE, SIDE))
        assert (value_of(other, "insertion", zeros)[1] < best).all()
        assert (value_of(other, "insertion", zeros)[1] > worst).all()
        assert (value_of(other, "deletion", zeros)[1] > least).all()


def test_random_rankings_of_a_linear_model_have_the_mean_of_its_ends():
    drawn = [value_of(np.random.default_rng(seed).random((N, SIDE, SIDE)), "insertion")[1] for seed in range(50)]
    films = linear()
    expected = (films.film + films.baseline) / 2
    stderr = np.std(drawn, axis=0) / np.sqrt(len(drawn))
    assert (np.abs(np.mean(drawn, axis=0) - expected) < 4 * stderr).all()


def test_deleting_by_a_map_is_inserting_by_its_negative():
    """So random maps have one chance for both, whatever the model."""

    def squared(films):
        value = (films[..., 0] * WEIGHTS).sum(axis=(1, 2)) ** 2
        return np.stack([value, 1 - value], axis=1)

    films = Perturbation(FILMS, FILMS / 3, TARGETS, squared, steps=STEPS)
    maps = RNG.random((N, SIDE, SIDE))
    deleted = films.curves(pixel_ranks(maps, (SIDE, SIDE), ROWS), ROWS, ["deletion"])["deletion"]
    inserted = films.curves(pixel_ranks(-maps, (SIDE, SIDE), ROWS), ROWS, ["insertion"])["insertion"]
    np.testing.assert_allclose(deleted, inserted[:, ::-1], atol=1e-7)
    assert np.ptp(deleted, axis=1).min() > 0


def test_fractions_are_those_of_whole_pixels():
    films = linear(steps=5)
    np.testing.assert_allclose(films.fractions, np.array([0, 13, 26, 38, 51, 64]) / 64)
    assert curve_auc(films.fractions, np.ones((1, 6))) == pytest.approx(1)
    assert curve_auc(films.fractions, films.fractions[None]) == pytest.approx(0.5)


def test_ranks_follow_the_enlarged_map():
    maps = RNG.random((3, 3, 5))
    ranks = pixel_ranks(maps * 1e-60, (12, 10), np.arange(3))
    enlarged = resize(maps, (12, 10)).reshape(3, -1)
    for rank, row in zip(ranks.reshape(3, -1), enlarged, strict=True):
        assert sorted(rank) == list(range(120))
        assert (np.diff(row[np.argsort(rank)]) <= 1e-6).all()


def test_ties_are_broken_at_random_alike_for_every_map_of_a_film():
    spot = np.zeros((2, 16, 16))
    spot[:, 0, 0] = 1
    first = pixel_ranks(spot, (16, 16), [0, 1])
    assert (first[:, 0, 0] == 0).all()
    np.testing.assert_array_equal(first[1], pixel_ranks(spot[1:], (16, 16), [1])[0])
    assert (first[0] != first[1]).mean() > 0.9
    # among the 255 tied pixels, the order in memory and the rank are unrelated
    assert abs(np.corrcoef(np.arange(1, 256), first[0].ravel()[1:])[0, 1]) < 0.25
    assert (pixel_ranks(spot, (16, 16), [0, 1], seed=1)[0] != first[0]).mean() > 0.9


def test_a_map_without_contrast_ranks_nothing():
    for blank in (np.zeros((1, 4, 4)), np.full((1, 4, 4), 7.0), np.full((1, 4, 4), np.nan)):
        with pytest.raises(ScoreInputError, match="1 of 1 maps have no contrast"):
            pixel_ranks(blank, (8, 8), [0])


@pytest.mark.parametrize("batch_size", [1, 5, 32])
def test_every_batch_is_full_and_the_ends_are_predicted_once(batch_size):
    films = linear(batch_size=batch_size)
    ranks = pixel_ranks(CONTRIBUTIONS[:5], (SIDE, SIDE), ROWS[:5])
    curves = films.curves(ranks, ROWS[:5])
    reference = linear(batch_size=7).curves(ranks, ROWS[:5])
    for metric in ("insertion", "deletion"):
        np.testing.assert_allclose(curves[metric], reference[metric], atol=1e-7)
    batches = films._predict.batches
    assert set(batches) == {batch_size}
    images = [N, N, 2 * 5 * (STEPS - 1)]
    assert len(batches) == sum(-(-n // batch_size) for n in images)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ScoreInputError, match="11 targets"):
        linear(TARGETS[:11])
    with pytest.raises(UsageError, match="two steps or more"):
        linear(steps=1)


def test_the_table_holds_means_differences_and_the_ends():
    films = linear()
    check = PerturbationCheck(films, ROWS, draws=4, seed=3)
    check.update("true", np.where(TARGETS[:, None, None] == 0, CONTRIBUTIONS, -CONTRIBUTIONS))
    table = check.summary()
    assert tuple(table.columns) == COLUMNS
    assert table["metric"].tolist() == ["insertion", "deletion"]
    insertion, deletion = (row for _, row in table.iterrows())
    assert insertion["difference_low"] > 0 > deletion["difference_high"]
    assert insertion["auc"] + deletion["auc"] == pytest.approx((films.film + films.baseline).mean(), abs=1e-6)
    random = np.random.default_rng((3, SIDE, SIDE))
    drawn = [value_of(random.random((N, SIDE, SIDE)), "insertion")[1].mean() for _ in range(4)]
    for row in (insertion, deletion):
        assert row["chance"] == pytest.approx(np.mean(drawn), abs=1e-6)
        assert row["difference"] == pytest.approx(row["auc"] - row["chance"])
        assert row["ci_low"] < row["auc"] < row["ci_high"]
        assert row["chance_low"] < row["chance"] < row["chance_high"]
        assert (row["n_films"], row["n_patients"], row["steps"], row["status"]) == (N, N, STEPS, "ok")
        assert row["probability_film"] == pytest.approx(films.film.mean())
        assert row["probability_baseline"] == pytest.approx(films.baseline.mean())


def test_random_maps_of_the_same_grid_do_not_differ_from_chance():
    check = PerturbationCheck(linear(), ROWS, metrics=["insertion"], draws=20)
    random = np.random.default_rng(8).random((N, 4, 4))
    check.update("random", random)
    row = check.summary().iloc[0]
    assert row["difference_low"] < 0 < row["difference_high"]
    # chance of a grid is measured once, whatever the methods
    calls = len(check._films._predict.batches)
    check.update("again", random)
    assert len(check._films._predict.batches) - calls == -(-N * (STEPS - 1) // 32)


def test_degenerate_maps_are_left_out_and_counted():
    maps = CONTRIBUTIONS.copy()
    maps[3] = 1.0
    rest = np.delete(ROWS, 3)
    # the last two films are one patient's
    check = PerturbationCheck(linear(), np.minimum(ROWS, N - 2), metrics=["insertion"])
    for name, values in (("some", maps), ("none", np.zeros_like(maps))):
        check.update(name, values)
    some, none = (row for _, row in check.summary().iterrows())
    assert some["auc"] == pytest.approx(value_of(CONTRIBUTIONS, "insertion")[1][rest].mean(), abs=1e-6)
    assert some["chance"] == pytest.approx(check._chance_auc((SIDE, SIDE))[rest].mean(), abs=1e-9)
    assert (some["n_films"], some["n_patients"], some["n_degenerate"], some["status"]) == (11, 10, 1, "ok")
    assert (none["n_films"], none["n_degenerate"], none["status"]) == (0, 12, "degenerate")
    assert none[["auc", "chance", "difference", "probability_film"]].isna().all()


def test_fewer_than_ten_patients_have_no_interval():
    check = PerturbationCheck(linear(), ROWS % 9, metrics=["deletion"])
    check.update("true", CONTRIBUTIONS)
    row = check.summary().iloc[0]
    assert (row["n_films"], row["n_patients"], row["status"]) == (N, 9, "too_few_patients")
    assert row[["ci_low", "ci_high", "difference_low", "difference_high"]].isna().all()
    assert np.isfinite(row["difference"])
    with pytest.raises(ScoreInputError, match="one map per film: expected 12"):
        check.update("short", CONTRIBUTIONS[:4])


def test_baselines_take_away_what_a_film_shows():
    film = np.zeros((1, 64, 64, 2), np.float32)
    film[0, 32, 32] = 4096 * 8.0
    assert (baseline_films(film, "zero") == 0).all()
    means = baseline_films(np.concatenate([film, film + 1]), "mean")
    np.testing.assert_allclose(means, np.broadcast_to([[[[8.0]]], [[[9.0]]]], means.shape))
    # an impulse blurred by a Gaussian of an eighth of the side: its peak is 1/(2πσ²) of the mass
    blurred = baseline_films(film)
    assert blurred.max() == pytest.approx(4096 * 8 / (2 * np.pi * 8**2), rel=2e-3)
    assert blurred.shape == film.shape
    assert blurred.sum() == pytest.approx(film.sum(), rel=1e-2)
    np.testing.assert_allclose(baseline_films(np.full((2, 9, 9), 3.0)), 3.0)
    with pytest.raises(UsageError, match=r"unknown baseline 'blurr'.*Did you mean 'blur'"):
        baseline_films(film, "blurr")
