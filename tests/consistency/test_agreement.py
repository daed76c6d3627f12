"""Agreement of maps: closed forms, an independent implementation, ties, and what is undefined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrkeras.consistency.agreement import agreement, agreement_table, pearson, soft_overlap, top_cells
from cxrkeras.errors import ScoreInputError, UsageError


@pytest.fixture(scope="module")
def maps():
    return np.random.default_rng(4).random((6, 7, 7))


def test_a_map_agrees_with_itself_fully_and_with_its_negative_not_at_all(maps):
    same = agreement(maps, maps)
    np.testing.assert_allclose(same.correlation, 1, atol=1e-12)
    np.testing.assert_allclose(same.top_iou, 1, atol=1e-12)
    negated = agreement(maps, -maps, grid=7)
    np.testing.assert_allclose(negated.correlation, -1, atol=1e-6)
    np.testing.assert_array_equal(negated.top_iou, 0)


def test_scale_and_shift_change_nothing(maps):
    other = np.random.default_rng(5).random((6, 5, 9))
    plain, moved = agreement(maps, other), agreement(maps * 1e-7 + 1e-6, other * 40 - 9)
    np.testing.assert_allclose(moved.correlation, plain.correlation, atol=1e-4)
    huge = agreement(maps * 1e30, other)
    np.testing.assert_allclose(huge.correlation, plain.correlation, atol=1e-5)
    np.testing.assert_allclose(huge.top_iou, plain.top_iou, atol=1e-2)


def test_correlation_is_numpy_s(maps):
    other = np.random.default_rng(6).random((6, 7, 7))
    expected = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(maps, other, strict=True)]
    np.testing.assert_allclose(agreement(maps, other, grid=7).correlation, expected, atol=1e-6)
    np.testing.assert_allclose(pearson(maps.reshape(6, -1), other.reshape(6, -1)), expected, atol=1e-12)


def test_grids_of_different_size_are_compared_on_the_common_one():
    ramp = np.linspace(0, 1, 8)[None, None].repeat(8, axis=1)
    finer = np.kron(ramp, np.ones((1, 4, 4)))
    assert agreement(ramp, finer).correlation[0] > 0.99
    across = agreement(ramp, finer.transpose(0, 2, 1))
    assert across.correlation[0] == pytest.approx(0, abs=1e-6)
    # vertical fifth against horizontal fifth of one square: 0.04 / 0.36
    assert across.top_iou[0] == pytest.approx(1 / 9, abs=0.01)


def test_top_fifth_of_a_grid_of_25_cells_by_hand():
    first = np.zeros((1, 5, 5))
    first[0, 0] = [9, 8, 7, 6, 5]
    second = np.zeros((1, 5, 5))
    second[0, 0, :2] = [9, 8]
    second[0, 1, :3] = [7, 6, 5]
    # 2 of 5 cells in common, 8 in either
    assert agreement(first, second, grid=5).top_iou[0] == pytest.approx(2 / 8)


def test_tied_cells_share_the_places_left():
    # 5 places: one cell stands above, the other 24 share 4
    first = np.zeros((1, 25))
    first[0, 3] = 1
    member = top_cells(first, 0.2)
    assert member[0, 3] == 1
    np.testing.assert_allclose(np.delete(member[0], 3), 4 / 24)
    second = np.zeros((1, 25))
    second[0, 20] = 1
    # both peaks meet 1/6 of the other; the 23 other cells are equal
    expected = (2 / 6 + 23 / 6) / (2 + 23 / 6)
    assert soft_overlap(member, top_cells(second, 0.2))[0] == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=6, max_size=30), st.floats(0.05, 0.95), st.randoms(use_true_random=False))
def test_membership_is_the_mean_over_all_ways_to_break_ties_and_follows_the_cells(values, top, random):
    cells = np.array([values], float)
    member = top_cells(cells, top)
    k = max(1, round(top * cells.size))
    assert member.sum() == pytest.approx(k)
    assert ((member >= 0) & (member <= 1)).all()
    order = list(range(cells.size))
    random.shuffle(order)
    np.testing.assert_allclose(top_cells(cells[:, order], top), member[:, order])
    generator = np.random.default_rng(0)
    mean = np.zeros(cells.size)
    for _ in range(400):
        chosen = np.lexsort((generator.random(cells.size), -cells[0]))[:k]
        mean[chosen] += 1 / 400
    np.testing.assert_allclose(member[0], mean, atol=0.15)


def test_maps_without_contrast_are_counted_and_never_averaged(maps):
    first, second = maps.copy(), np.random.default_rng(7).random((6, 7, 7))
    first[0] = 2.0
    first[1, 3, 3] = np.nan
    second[1] = 0
    second[2, 0, 0] = np.inf
    result = agreement(first, second)
    assert result.status.tolist() == ["degenerate_first", "degenerate_both", "degenerate_second", "ok", "ok", "ok"]
    assert np.isnan(result.correlation[:3]).all()
    assert np.isnan(result.top_iou[:3]).all()
    kept = agreement(first[3:], second[3:])
    summary = result.summary()
    assert summary["correlation"] == pytest.approx(np.median(kept.correlation))
    assert summary["correlation_low"] == pytest.approx(np.quantile(kept.correlation, 0.05))
    assert summary["top_iou_high"] == pytest.approx(np.quantile(kept.top_iou, 0.95))
    counts = {key: value for key, value in summary.items() if key.startswith("n_")}
    assert counts == {"n_films": 6, "n_compared": 3, "n_degenerate_first": 2, "n_degenerate_second": 2}
    nothing = result.summary(slice(0, 3))
    assert nothing["n_compared"] == 0
    assert np.isnan([nothing["correlation"], nothing["top_iou_low"]]).all()


def test_the_table_holds_every_pair(maps):
    table = agreement_table({"a": maps, "b": -maps, "c": maps * 2}, grid=7)
    assert list(zip(table["first"], table["second"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
    np.testing.assert_allclose(table["correlation"], [-1, 1, -1], atol=1e-6)
    np.testing.assert_allclose(table["top_iou"], [0, 1, 0], atol=1e-6)
    alone = agreement_table({"a": maps})
    assert alone.empty
    assert list(alone.columns) == list(table.columns)


def test_maps_of_other_films_and_impossible_shares_are_refused(maps):
    with pytest.raises(ScoreInputError, match=r"\(6, 7, 7\) and \(5, 7, 7\)"):
        agreement(maps, maps[:5])
    with pytest.raises(UsageError, match="between 0 and 1"):
        agreement(maps, maps, top=1.0)
