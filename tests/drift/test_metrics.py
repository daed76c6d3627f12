"""Drift of single films: known answers, invariances, and an independent implementation cell by cell."""

from __future__ import annotations

import importlib.util
import itertools
import math
import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from cxrkeras.drift.metrics import METRICS, DriftOptions, amount, chance_overlap, film_drift, strongest_count
from cxrkeras.errors import ScoreInputError, UsageError

HALF = DriftOptions(iou_rule="half-max")


def delta(row: int, column: int, grid: tuple[int, int] = (7, 7)) -> np.ndarray:
    one = np.zeros((1, *grid))
    one[0, row, column] = 1
    return one


def drift(first, second, options=None):
    return film_drift(first, second, options).iloc[0]


@pytest.mark.parametrize("options", [None, HALF, DriftOptions(correlation="spearman")])
def test_identical_maps_do_not_drift(options):
    maps = np.random.default_rng(0).normal(size=(5, 7, 7))
    found = film_drift(maps, maps, options)
    for name, expected in (
        ("displacement", 0), ("peak_displacement", 0), ("iou", 1), ("correlation", 1), ("concentration_change", 0)
    ):  # fmt: skip
        np.testing.assert_allclose(found[name], expected, atol=1e-12)
    assert found["status"].tolist() == ["ok"] * 5


def test_a_delta_that_moves_three_cells():
    found = drift(delta(0, 0), delta(0, 3))
    assert found["displacement"] == pytest.approx(3 / math.sqrt(72))
    assert found["peak_displacement"] == pytest.approx(3 / math.sqrt(72))
    assert found["iou"] == 0
    assert found["concentration_change"] == 0
    assert found["correlation"] == pytest.approx(-1 / 48)
    assert drift(delta(0, 0, (4, 9)), delta(3, 8, (4, 9)))["displacement"] == pytest.approx(1)


@pytest.mark.parametrize("options", [None, HALF])
def test_two_different_deltas_overlap_nowhere(options):
    for a, b in itertools.combinations([(0, 0), (0, 1), (3, 3), (6, 6)], 2):
        assert drift(delta(*a), delta(*b), options)["iou"] == 0


def test_concentration_goes_from_0_for_a_uniform_map_to_1_for_a_delta():
    found = drift(np.ones((1, 7, 7)), delta(2, 5))
    assert found["concentration_change"] == pytest.approx(1)
    assert found["status"] == "constant_first"
    assert np.isnan(found["correlation"])
    assert found["displacement"] == pytest.approx(math.hypot(1, 2) / math.sqrt(72))
    assert drift(delta(2, 5), np.ones((1, 7, 7)))["concentration_change"] == pytest.approx(-1)


def test_zero_and_non_finite_maps_are_undefined_by_name():
    zero, broken = np.full((1, 7, 7), -1.0), np.full((1, 7, 7), np.nan)
    vanished = drift(delta(1, 1), zero)
    assert vanished["status"] == "zero_second"
    assert vanished["iou"] == 0
    for name in ("displacement", "peak_displacement", "correlation", "concentration_change"):
        assert np.isnan(vanished[name])
    empty = drift(zero, zero)
    assert empty["status"] == "zero_first,zero_second"
    assert np.isnan([empty[name] for name in ("displacement", "iou", "iou_chance", "correlation")]).all()
    lost = drift(broken, delta(1, 1))
    assert lost["status"] == "nonfinite_first"
    assert np.isnan(
        lost[["displacement", "iou", "iou_chance", "correlation", "concentration_change"]].astype(float)
    ).all()
    assert drift(np.ones((1, 1, 1)), np.ones((1, 1, 1)))["status"] == "one_cell,constant_first,constant_second"


def test_only_cells_above_0_enter_the_overlap():
    first, second = np.full((1, 7, 7), -5.0), np.full((1, 7, 7), -5.0)
    first[0, 0, :3] = [1, 2, 3]
    second[0, 0, 1:5] = 1
    found = drift(first, second)
    assert found["iou"] == pytest.approx(2 / 5)
    assert found["iou_chance"] == pytest.approx(chance_overlap(49, 3, 4))


def test_half_maximum_takes_the_cells_of_at_least_half_the_peak():
    first, second = delta(0, 0) * 4, delta(0, 0) * 4
    first[0, 0, 1:4] = [2, 1.99, 3]
    second[0, 0, 1:4] = [1, 2, 0]
    assert drift(first, second, HALF)["iou"] == pytest.approx(1 / 4)
    assert drift(first, second, HALF)["iou_chance"] == pytest.approx(chance_overlap(49, 3, 2))


def test_tied_cells_share_the_last_places_whatever_their_order():
    first = np.zeros((1, 5, 5))
    first[0, 0] = [3, 2, 2, 2, 2]
    first[0, 1, :3] = 2
    second = first[:, :, ::-1]
    share = 4 / 7  # of the five places one is taken by the cell of 3, and seven cells share the other four
    member_a = np.where(first == 3, 1, np.where(first == 2, share, 0))
    member_b = member_a[:, :, ::-1]
    expected = np.minimum(member_a, member_b).sum() / np.maximum(member_a, member_b).sum()
    assert drift(first, second)["iou"] == pytest.approx(expected)
    order = np.random.default_rng(0).permutation(25)
    shuffled = [maps.reshape(1, 25)[:, order].reshape(1, 5, 5) for maps in (first, second)]
    assert drift(*shuffled)["iou"] == pytest.approx(expected)


@pytest.mark.parametrize(("cells", "k"), [(49, 10), (64, 13), (25, 5), (100, 20), (1, 1), (15, 3), (16, 4)])
def test_a_fifth_of_the_cells_is_rounded_up(cells, k):
    assert strongest_count(cells) == k


def test_chance_is_the_exact_mean_over_all_pairs_of_sets():
    assert chance_overlap(49, 10, 10) == pytest.approx(0.118, abs=5e-4)
    sets = list(itertools.combinations(range(6), 2))
    others = list(itertools.combinations(range(6), 3))
    every = [len({*a} & {*b}) / len({*a} | {*b}) for a in sets for b in others]
    assert chance_overlap(6, 2, 3) == pytest.approx(np.mean(every))
    assert chance_overlap(6, 0, 3) == 0
    assert chance_overlap(6, 6, 6) == 1
    assert np.isnan(chance_overlap(6, 0, 0))
    noise = np.random.default_rng(1).uniform(0.1, 1, size=(2, 4000, 7, 7))
    found = film_drift(*noise)
    assert found["iou"].mean() == pytest.approx(chance_overlap(49, 10, 10), abs=0.005)
    np.testing.assert_allclose(found["iou_chance"], chance_overlap(49, 10, 10))


def plainly(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """The metrics of one film, cell by cell, for maps without ties."""
    found = {}
    centres, tops, entropies = [], [], []
    for grid in (np.maximum(a, 0), np.maximum(b, 0)):
        total = grid.sum()
        cells = [(i, j) for i in range(grid.shape[0]) for j in range(grid.shape[1])]
        centres.append([sum(grid[c] * c[axis] for c in cells) / total for axis in (0, 1)])
        ranked = sorted((c for c in cells if grid[c] > 0), key=lambda c: -grid[c])
        tops.append(ranked[: math.ceil(len(cells) / 5)])
        shares = [grid[c] / total for c in cells if grid[c] > 0]
        entropies.append(-sum(p * math.log(p) for p in shares) / math.log(len(cells)))
    diagonal = math.hypot(a.shape[0] - 1, a.shape[1] - 1)
    found["displacement"] = math.dist(*centres) / diagonal
    found["peak_displacement"] = math.dist(tops[0][0], tops[1][0]) / diagonal
    found["iou"] = len({*tops[0]} & {*tops[1]}) / len({*tops[0]} | {*tops[1]})
    found["correlation"] = np.corrcoef(np.maximum(a, 0).ravel(), np.maximum(b, 0).ravel())[0, 1]
    found["concentration_change"] = entropies[0] - entropies[1]
    return found


def test_every_metric_equals_the_plain_computation():
    first, second = np.random.default_rng(2).normal(size=(2, 12, 5, 8))
    found = film_drift(first, second)
    ranked = film_drift(first, second, DriftOptions(correlation="spearman"))
    for row in range(12):
        for name, expected in plainly(first[row], second[row]).items():
            assert found.loc[row, name] == pytest.approx(expected, abs=1e-10), name
        rho = spearmanr(np.maximum(first[row], 0).ravel(), np.maximum(second[row], 0).ravel()).statistic
        assert ranked.loc[row, "correlation"] == pytest.approx(rho, abs=1e-10)


MAPS = arrays(np.float64, (2, 1, 4, 5), elements=st.integers(-3, 6).map(float))


@settings(max_examples=60, deadline=None)
@given(MAPS, st.sampled_from([1e-30, 0.37, 1e25]), st.sampled_from([None, HALF]))
def test_scale_and_order_change_nothing_but_the_sign_of_concentration(pair, scale, options):
    first, second = pair
    found, scaled = drift(first, second, options), drift(first, scale * second, options)
    swapped = drift(second, first, options)
    for name in ("displacement", "peak_displacement", "iou", "iou_chance", "correlation"):
        np.testing.assert_allclose(scaled[name], found[name], atol=1e-9)
        np.testing.assert_allclose(swapped[name], found[name], atol=1e-12)
    np.testing.assert_allclose(scaled["concentration_change"], found["concentration_change"], atol=1e-9)
    np.testing.assert_allclose(swapped["concentration_change"], -found["concentration_change"], atol=1e-12)
    np.testing.assert_allclose(
        drift(first[..., ::-1], second[..., ::-1], options)["displacement"], found["displacement"], atol=1e-12
    )
    if not np.isnan(found["iou"]):
        assert 0 <= found["iou"] <= 1


def test_the_peak_of_a_plateau_is_its_centre():
    plateau = np.zeros((1, 7, 7))
    plateau[0, 2:5, 2:5] = 1
    assert drift(plateau, delta(3, 3))["peak_displacement"] == 0


def test_an_amount_is_0_for_an_unchanged_map_and_grows_with_the_change():
    unchanged = {
        "displacement": 0,
        "peak_displacement": 0,
        "iou": 1,
        "correlation": 1,
        "concentration_change": 0,
        "ssim": 1,
    }
    assert set(unchanged) == set(METRICS)
    for metric, value in unchanged.items():
        assert amount(metric, np.array([value])) == 0
    assert amount("iou", np.array([0.25])) == 0.75
    assert amount("correlation", np.array([-1.0])) == 2
    np.testing.assert_array_equal(amount("concentration_change", np.array([-0.2, 0.2])), [0.2, 0.2])
    assert np.isnan(amount("iou", np.array([np.nan]))).all()


def test_the_structural_similarity_compares_enlarged_maps_in_0_to_1(monkeypatch):
    seen = []

    def structural_similarity(one, other, data_range):
        seen.append((one, other, data_range))
        return 0.25

    if importlib.util.find_spec("skimage") is None:
        with pytest.raises(UsageError, match="pip install 'scikit-image"):
            DriftOptions(ssim=True)
    module = types.ModuleType("skimage.metrics")
    module.structural_similarity = structural_similarity
    monkeypatch.setitem(sys.modules, "skimage", types.ModuleType("skimage"))
    monkeypatch.setitem(sys.modules, "skimage.metrics", module)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    options = DriftOptions(ssim=True)
    assert options.metrics[-1] == "ssim"
    assert "ssim" not in DriftOptions().metrics
    rng = np.random.default_rng(0)
    first = np.concatenate([rng.normal(size=(1, 7, 7)) * 50, np.ones((1, 7, 7))])
    found = film_drift(first, rng.normal(size=(2, 7, 7)), options)
    assert found["ssim"].iloc[0] == 0.25
    assert np.isnan(found["ssim"].iloc[1])
    ((one, other, span),) = seen
    assert span == 1.0
    for enlarged in (one, other):
        assert enlarged.shape == (56, 56)
        assert (enlarged.min(), enlarged.max()) == (0, 1)


def test_maps_that_cannot_be_compared_and_unknown_options_are_refused():
    with pytest.raises(ScoreInputError, match=r"received \(1, 7, 7\) and \(1, 8, 8\)"):
        film_drift(np.ones((1, 7, 7)), np.ones((1, 8, 8)))
    with pytest.raises(UsageError, match=r"IoU rule 'tops'.*Did you mean 'top'"):
        DriftOptions(iou_rule="tops")
    with pytest.raises(UsageError, match="Did you mean 'spearman'"):
        DriftOptions(correlation="spearmann")
    assert len(film_drift(np.empty((0, 7, 7)), np.empty((0, 7, 7)))) == 0
