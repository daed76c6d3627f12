"""Methods that coincide are found, whatever their scale; others are not."""

import numpy as np

from cxrkeras.consistency.coincidence import largest_difference, nearest

RNG = np.random.default_rng(0)
MAPS = RNG.uniform(size=(4, 7, 7)).astype(np.float32)


def test_scale_does_not_part_two_methods():
    found = nearest({"a": MAPS, "b": 3 * MAPS, "c": MAPS[:, ::-1]})
    assert found["a"].method == "b"
    assert found["a"].difference < 1e-6
    assert found["a"].same
    assert not found["c"].same


def test_the_difference_is_that_of_the_worst_cell():
    other = np.zeros((1, 2, 2)), np.array([[[0.0, 1.0], [0.0, 0.0]]])
    one, two = np.array([[[0.0, 2.0], [1.0, 0.0]]]), other[1]
    assert largest_difference(one, two) == 0.5


def test_a_blank_map_differs_from_one_with_contrast():
    blank = np.zeros_like(MAPS)
    assert largest_difference(MAPS, blank) == 1.0


def test_other_grids_and_lone_methods_have_no_neighbour():
    assert nearest({"a": MAPS, "b": MAPS[:, :5, :5]}) == {}
    assert np.isnan(largest_difference(MAPS[:0], MAPS[:0]))


def test_blank_maps_are_no_evidence_at_all():
    blank = np.zeros_like(MAPS)
    found = nearest({"a": blank, "b": np.full_like(MAPS, np.nan), "c": MAPS})
    assert not any(neighbour.same for neighbour in found.values())
    assert np.isnan(largest_difference(blank, np.full_like(MAPS, np.nan)))
