"""Masks from maps: Otsu's known answers, contours drawn filled, exact counts."""

import numpy as np
import pytest

from cxrkeras.errors import UsageError
from cxrkeras.localization.metrics import scaled_map
from cxrkeras.localization.thresholds import (
    Threshold,
    component_at,
    grey_levels,
    otsu_level,
    parse_threshold,
    strongest_pixels,
    thresholded,
    without_holes,
    without_single_pixels,
)

SIDE = 224


def shape(text: str) -> np.ndarray:
    return np.array([[mark == "#" for mark in row] for row in text.split()])


def gaussian() -> np.ndarray:
    rows, columns = np.indices((SIDE, SIDE))
    return np.exp(-((rows - 110) ** 2 + (columns - 110) ** 2) / (2 * 28.28**2))


@pytest.mark.parametrize(
    ("counts", "level", "above"),
    [
        ({0: 50, 255: 50}, 0, 50),
        ({10: 70, 200: 30}, 10, 30),
        ({0: 60, 100: 20, 255: 20}, 100, 20),
        ({0: 30, 100: 40, 200: 30}, 0, 70),
        ({7: 9}, 7, 0),
        ({0: 9}, 0, 0),
    ],
)
def test_otsu_known_answers_and_of_ties_the_lowest(counts, level, above):
    levels = np.repeat(np.array(list(counts), np.uint8), list(counts.values()))
    found = otsu_level(np.random.default_rng(0).permutation(levels))
    assert (found, int((levels > found).sum())) == (level, above)


def test_otsu_of_a_gaussian_takes_the_known_level_and_area():
    scaled = scaled_map(gaussian(), (SIDE, SIDE))
    assert otsu_level(grey_levels(scaled)) == 79
    mask, level = thresholded(scaled, Threshold("otsu"))
    assert level == 79 / 255
    assert mask.mean() == pytest.approx(0.116171, abs=1e-6)


def test_otsu_is_the_plain_between_class_formula():
    rng = np.random.default_rng(1)
    for _ in range(20):
        values = rng.choice(rng.integers(0, 256, 6), size=80).astype(np.uint8)
        variances = []
        for level in range(256):
            low, high = values[values <= level], values[values > level]
            both = len(low) and len(high)
            variances.append(len(low) * len(high) * (low.mean() - high.mean()) ** 2 if both else -1.0)
        best = np.flatnonzero(np.isclose(variances, max(variances), rtol=1e-12))[0]
        assert otsu_level(values) == best


@pytest.mark.parametrize("peer", ["skimage", "cv2"])
def test_otsu_and_contours_are_the_peers(peer):
    module = pytest.importorskip("skimage.filters" if peer == "skimage" else "cv2")
    if peer == "skimage":
        assert module.threshold_otsu(gaussian()) * 255 == pytest.approx(80.19, abs=0.01), "not 79: levels, never floats"
    rng = np.random.default_rng(2)
    for number in range(100):
        values = rng.integers(0, 256, size=(rng.integers(2, 15), rng.integers(2, 15))).astype(np.uint8)
        if peer == "skimage":
            assert otsu_level(values) == module.threshold_otsu(values)
            continue
        assert otsu_level(values) == module.threshold(values, 0, 255, module.THRESH_OTSU)[0]
        mask = values < rng.integers(10, 240)
        contours, _ = module.findContours(mask.astype(np.uint8), module.RETR_EXTERNAL, module.CHAIN_APPROX_NONE)
        drawn = np.zeros(mask.shape, np.uint8)
        module.drawContours(drawn, [line for line in contours if len(line) > 1], -1, 1, module.FILLED)
        ours = without_single_pixels(without_holes(mask))
        np.testing.assert_array_equal(ours, drawn > 0, err_msg=str(number))


def test_whole_levels_survive_the_scaling_to_one():
    levels = np.arange(256, dtype=np.float64).reshape(16, 16)
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(grey_levels(scaled_map(levels.astype(dtype), (16, 16))), levels)


@pytest.mark.parametrize(
    ("drawn", "filled"),
    [
        # a hole; closed over corners it is a hole too, as outer contours follow corners
        ("##### #...# #...# #####", "##### ##### ##### #####"),
        (".#. #.# .#.", ".#. ### .#."),
        # a gap at the edge of the picture, or over an edge, is a way out
        ("#.# #.# ###", "#.# #.# ###"),
        ("### #.. ###", "### #.. ###"),
        # an island in the hole is filled over; a single pixel goes, two that touch by a corner stay
        ("##### #...# #.#.# #...# #####", "##### ##### ##### ##### #####"),
        ("#.... ..... ..#.. ...#. .....", "..... ..... ..#.. ...#. ....."),
        ("....# .##.. ..... #....", "..... .##.. ..... ....."),
        ("#", "."),
    ],
)
def test_outer_contours_are_drawn_filled_and_single_points_are_not(drawn, filled):
    np.testing.assert_array_equal(without_single_pixels(without_holes(shape(drawn))), shape(filled))


def test_a_ring_is_filled_to_a_disc():
    rows, columns = np.indices((SIDE, SIDE)) - 112
    distance = np.hypot(rows, columns)
    ring = (distance > 20) & (distance < 40)
    mask, _ = thresholded(ring.astype(np.float32), Threshold("otsu"))
    assert (ring.sum(), mask.sum()) == (3756, 5013)
    for rule in ("fixed:0.4", "top:1"):
        assert thresholded(ring.astype(np.float32), parse_threshold(rule))[0].sum() == 3756


def test_the_strongest_pixels_are_counted_exactly_and_ties_go_by_place():
    hundred = scaled_map(np.random.default_rng(0).permutation(100).reshape(10, 10), (10, 10))
    mask, level = thresholded(hundred, Threshold("top", 0.1))
    assert mask.sum() == 10
    assert level == pytest.approx(90 / 99)
    # a percentile would take none of equal pixels, or all
    assert strongest_pixels(np.ones((10, 10)), 10).sum() == 10
    tied = np.array([[0.5, 1, 0.5], [0, 0.5, 0]])
    assert strongest_pixels(tied, 2).tolist() == [[True, True, False], [False, False, False]]
    assert strongest_pixels(tied, 3).tolist() == [[True, True, True], [False, False, False]]
    assert strongest_pixels(tied, 6).tolist() == (tied > 0).tolist()
    empty, level = thresholded(tied, Threshold("top", 0.01))
    assert not empty.any()
    assert np.isnan(level)


def test_a_fixed_threshold_is_exclusive_on_the_float_map():
    scaled = np.array([[0, 0.3, 0.30001, 1]], np.float32)
    mask, level = thresholded(scaled, Threshold("fixed", 0.3))
    assert (mask.tolist(), level) == ([[False, False, True, True]], 0.3)


def test_a_component_joins_corners_and_is_empty_outside():
    mask = shape("##..# ..#.. ....#")
    assert component_at(mask, (0, 0)).tolist() == shape("##... ..#.. .....").tolist()
    assert component_at(mask, (2, 4)).tolist() == shape("..... ..... ....#").tolist()
    assert not component_at(mask, (2, 0)).any()


@pytest.mark.parametrize("text", ["otsu", "fixed:0.4", "fixed:0", "top:0.1", "top:1", " Top:0.25 "])
def test_a_threshold_is_written_as_it_is_read(text):
    assert str(parse_threshold(text)) == text.strip().lower()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ostu", "Did you mean 'otsu'"),
        ("tuned", "tuned_threshold"),
        ("fixed", "fixed:T with 0 <= T < 1"),
        ("fixed:1", "received 1.0"),
        ("fixed:nan", "received nan"),
        ("top:0", "0 < Q <= 1"),
        ("top:1.5", "0 < Q <= 1"),
        ("otsu:0.3", "otsu without a value"),
        ("fixed:half", "no number"),
    ],
)
def test_what_is_no_threshold_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_threshold(text)
