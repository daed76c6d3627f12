"""The compiled pair kernel: equal to SciPy, traced once per shape, exact where the sums are known."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from cxrkeras.consistency import pairs
from cxrkeras.consistency.emphasis import EmphasisedMaps
from cxrkeras.consistency.gold import GoldList
from cxrkeras.consistency.pairs import pair_sums, scored_tiles
from cxrkeras.kernels.pairs import CALL_CELLS, TILE, MinimumSums, traces


def minimum_sums(left, right):
    kernel = MinimumSums(left.shape[1])
    return sum(kernel(left[:, part], right[:, part]) for part in kernel.parts)


def from_distances(left, right):
    left, right = left.astype(np.float64), right.astype(np.float64)
    return (left.sum(axis=1)[:, None] + right.sum(axis=1) - cdist(left, right, "cityblock")) / 2


@pytest.mark.parametrize("cells", [9, 3136, 2 * CALL_CELLS + 1])
def test_sums_of_minima_are_those_of_scipy(cells):
    rng = np.random.default_rng(cells)
    left, right = (rng.random((n, cells), dtype=np.float32) ** 2 for n in (5, 33))
    np.testing.assert_allclose(minimum_sums(left, right), from_distances(left, right), rtol=3e-7)


def test_small_whole_numbers_are_summed_exactly():
    rng = np.random.default_rng(0)
    left, right = (rng.integers(0, 9, (TILE, 3136)).astype(np.float32) for _ in range(2))
    expected = from_distances(left, right)
    np.testing.assert_array_equal(minimum_sums(left, right), expected)


@pytest.mark.parametrize("level", [0.1, 1 / 3, 0.7, 0.49])
def test_plateaus_of_one_level_do_not_round_away(level):
    maps = np.full((2, 3136), level, dtype=np.float32)
    assert minimum_sums(maps, maps)[0, 1] == pytest.approx(3136 * float(np.float32(level)), rel=5e-7)


@pytest.mark.parametrize("cells", [*range(1, 40), 49, 64, 121, 784, 3136, 50176, 89401])
def test_every_cell_is_in_one_part_and_calls_stay_small(cells):
    kernel = MinimumSums(cells)
    np.testing.assert_array_equal(np.concatenate([np.arange(cells)[part] for part in kernel.parts]), np.arange(cells))
    assert all(part.stop - part.start <= kernel.width <= CALL_CELLS for part in kernel.parts)


def test_one_trace_for_a_grid_whatever_the_number_of_films():
    rng = np.random.default_rng(0)
    kernel = MinimumSums(169)
    kernel(*(rng.random((2, 169), dtype=np.float32) for _ in range(2)))
    before = traces()
    for a, b in ((1, 1), (TILE, 3), (200, TILE), (TILE, TILE)):
        assert kernel(rng.random((a, 169), dtype=np.float32), rng.random((b, 169), dtype=np.float32)).shape == (a, b)
    assert traces() == before
    kernel = MinimumSums(150)
    kernel(*(rng.random((2, 150), dtype=np.float32) for _ in range(2)))
    assert traces() == before + 1


def two_lists(n_left, n_right, seed=0):
    rng = np.random.default_rng(seed)
    n = n_left + n_right
    values = rng.random((n, 5, 5))
    values[3] = 1.0
    values[7] = values[8]
    confidence, patients = rng.uniform(0.5, 1, n), rng.integers(0, 40, n)
    members = np.stack([confidence >= 0.5, confidence >= 0.8], axis=1)
    lists = [
        GoldList(rows, confidence[rows], patients[rows], members[rows])
        for rows in (np.arange(n_left), np.arange(n_left, n))
    ]
    return values, lists


@pytest.fixture
def compiled(monkeypatch):
    """Make the next sums come from the compiled kernel, and count its calls."""
    calls = []

    def switch_on():
        original = MinimumSums.__call__
        monkeypatch.setattr(MinimumSums, "__call__", lambda *a: calls.append(1) or original(*a))
        monkeypatch.setattr(pairs, "COMPILED_FROM", 0)
        return calls

    return switch_on


@pytest.mark.parametrize("gamma", [2.0, (1.0, 2.0, 3.5)])
@pytest.mark.parametrize("between", [False, True])
@pytest.mark.parametrize("drop", [False, True])
def test_compiled_sums_are_those_of_the_oracle(compiled, gamma, between, drop):
    values, (left, right) = two_lists(300, 270)
    right = right if between else None
    maps = EmphasisedMaps(values, np.zeros(len(values), dtype=bool), (13, 13), gamma)
    rules = {"kind": "product", "drop_same_patient": drop, "n_patients": 40}
    exact = pairs.pair_sums(maps, left, right, **rules)
    calls = compiled()
    tiled = pairs.pair_sums(maps, left, right, **rules)
    assert len(calls) == (4 if between else 3) * len(maps.gammas)
    assert len(tiled) == len(maps.gammas)
    for one, other in zip(tiled, exact, strict=True):
        np.testing.assert_allclose(one.weighted / one.weights, other.weighted / other.weights, atol=1e-7)
        np.testing.assert_allclose(one.touching_weighted, other.touching_weighted, rtol=1e-6)
        for name in ("weights", "touching_weights", "count"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_compiled_scores_of_twins_and_blanks_on_a_grid_in_parts(compiled):
    values, (left, _) = two_lists(60, 1)
    maps = EmphasisedMaps(values, np.zeros(61, dtype=bool), (70, 70), (1.0, 2.0))
    rules = {"kind": "none", "drop_same_patient": False}
    (oracle,) = scored_tiles(maps, left, None, **rules)
    calls = compiled()
    (tile,) = scored_tiles(maps, left, None, **rules)
    assert len(calls) == 4
    above = np.triu_indices(60, 1)
    for scores, expected in zip(tile.scores, oracle.scores, strict=True):
        np.testing.assert_allclose(scores[above], expected[above], atol=2e-7)
        assert scores[7, 8] == pytest.approx(1, abs=1e-6)
        assert scores.max() <= 1
        assert (scores[3] == 0).all()


def test_size_alone_decides_which_kernel_scores(compiled, monkeypatch):
    values, (left, _) = two_lists(60, 1)
    maps = EmphasisedMaps(values, np.zeros(61, dtype=bool), (13, 13), 2.0)
    rules = {"kind": "none", "drop_same_patient": False, "n_patients": 40}
    calls = compiled()
    work = 60 * 59 // 2 * 169
    monkeypatch.setattr(pairs, "COMPILED_FROM", work + 1)
    pair_sums(maps, left, None, **rules)
    assert not calls
    monkeypatch.setattr(pairs, "COMPILED_FROM", work)
    pair_sums(maps, left, None, **rules)
    assert len(calls) == 1
