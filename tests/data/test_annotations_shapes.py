"""What boxes, outlines and run lengths cover, by hand, and against COCO's own decoder where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from cxrkeras.data.annotations.regions import Box, Polygon, Region, Runs, runs_of
from cxrkeras.data.annotations.rle import decoded_counts, runs
from cxrkeras.errors import DataError

# A 30x70 mask as pycocotools 2.0 writes it: rows 5-16 of columns 10-29, and pixel (29, 69).
TWO_PARTS = "a9<b00000000000000000000000000000000000000ZU1E"


def drawn(shape, size):
    canvas = np.zeros(size, dtype=bool)
    shape.draw(canvas)
    return canvas


def covered(mask):
    """Rows and columns of a mask that is one filled rectangle: first and last of each."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert mask.sum() == len(rows) * len(columns)
    return rows[0], rows[-1], columns[0], columns[-1]


def test_a_box_covers_every_pixel_that_it_touches():
    # NIH 00013118_008, Atelectasis, scaled from 1024 to 224 px
    scaled = [value * 224 / 1024 for value in (225.0847, 547.0192, 86.7797, 79.1864)]
    assert covered(drawn(Box(*scaled), (224, 224))) == (119, 136, 49, 68)
    assert covered(drawn(Box(2, 3, 4, 5), (20, 10))) == (3, 7, 2, 5)
    assert covered(drawn(Box(2.9, 3.9, 0.2, 0.2), (20, 10))) == (3, 4, 2, 3)


def test_rounding_of_decimals_adds_no_pixel():
    right, left = 0.07 * 100, 0.29 * 100
    assert right > 7
    assert left < 29
    assert covered(drawn(Box(0, left, right, 5), (50, 50))) == (29, 33, 0, 6)


def test_boxes_are_cut_at_the_picture():
    assert covered(drawn(Box(-3, -2, 5, 4), (6, 7))) == (0, 1, 0, 1)
    assert covered(drawn(Box(5, 4, 50, 50), (6, 7))) == (4, 5, 5, 6)
    assert not drawn(Box(-9, 1, 4, 2), (6, 7)).any()


def test_an_outline_covers_its_border_pixels():
    assert covered(drawn(Polygon(((2, 3), (6, 3), (6, 8), (2, 8))), (12, 10))) == (3, 8, 2, 6)
    triangle = drawn(Polygon(((0, 0), (4, 0), (0, 4))), (6, 6))
    np.testing.assert_array_equal(triangle, np.add.outer(np.arange(6), np.arange(6)) <= 4)


@pytest.mark.parametrize(
    ("points", "area"),
    [
        (((1, 1), (5, 1), (3, 4)), True),
        (((1, 1), (5, 5), (3, 3)), False),
        (((1, 1), (5, 1)), False),
        (((2, 2),), False),
        (((3000.5, 2000.25), (3001.5, 2000.25), (3000.5, 2001.25)), True),
    ],
)
def test_an_outline_has_area_unless_its_points_lie_on_a_line(points, area):
    assert Polygon(points).has_area is area


def test_run_lengths_go_down_the_columns():
    mask = drawn(Runs((2, 3), (1, 2, 3)), (2, 3))
    assert mask.tolist() == [[False, True, False], [True, False, False]]
    assert drawn(Runs((2, 2), (0, 4)), (2, 2)).all()
    assert Runs((2, 2), (4,)).is_empty
    assert Runs((2, 2), (4, 0)).is_empty
    assert not Runs((2, 2), (3, 1)).is_empty


@pytest.mark.parametrize("seed", range(4))
def test_run_lengths_of_a_mask_give_the_mask_back(seed):
    mask = np.random.default_rng(seed).random((7, 5)) < 0.5
    lengths = runs_of(mask)
    np.testing.assert_array_equal(drawn(lengths, (7, 5)), mask)
    assert sum(lengths.counts) == 35
    assert min(lengths.counts[1:]) > 0
    assert runs_of(np.zeros((3, 4), bool)).counts == (12,)
    assert runs_of(np.ones((3, 4), bool)).counts == (0, 12)


def test_compressed_run_lengths_by_hand():
    # 100 = 3·32 + 4: 'T' (4 + more), '3'. 50 = 1·32 + 18: 'b', '1'. 3: '3'.
    # The fourth run, 40, is stored as 40 − 50 = −10 = −32 + 22: 'F', whose fifth bit is the sign.
    assert decoded_counts("T3b13F") == [100, 50, 3, 40]
    assert decoded_counts("123") == [1, 2, 3]
    # 16 needs a second group, else its fifth bit would be a sign.
    assert decoded_counts("`0") == [16]
    assert decoded_counts("") == []


def test_a_compressed_mask_of_coco():
    expected = np.zeros((30, 70), bool)
    expected[5:17, 10:30] = True
    expected[29, 69] = True
    np.testing.assert_array_equal(drawn(runs((30, 70), TWO_PARTS, "here"), (30, 70)), expected)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_compressed_masks_are_read_as_pycocotools_reads_them(share):
    coco = pytest.importorskip("pycocotools.mask")
    mask = np.random.default_rng(5).random((211, 97)) < share
    text = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    np.testing.assert_array_equal(drawn(runs((211, 97), text, "here"), (211, 97)), mask)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ("T", r"ends within a number"),
        ("1 2", r"character ' '"),
        ("12ü", r"character 'ü'"),
        ("123", r"fill 6 pixels. Expected 12 for size \[3, 4\]"),
        ([20, -8], r"fill 12 pixels"),
        ([], r"fill 0 pixels"),
    ],
)
def test_broken_run_lengths_are_refused_by_name(counts, message):
    with pytest.raises(DataError, match=f"here.*{message}"):
        runs((3, 4), counts, "here")


def test_a_region_is_the_union_of_its_marks():
    # 8x8 oracle: rows and columns 2-5, and a 2x2 box at the corner or inside the tested square
    square, corner = Box(2, 2, 4, 4), Box(0, 0, 2, 2)
    both = Region("a.png", "Mass", "", (8, 8), (square, corner)).mask()
    assert both.sum() == 20
    assert both[0, 0]
    assert both[5, 5]
    assert not both[0, 5]
    overlapping = Region("a.png", "Mass", "", (8, 8), (square, Box(4, 4, 3, 3), Runs((8, 8), (0, 1, 63)))).mask()
    assert overlapping.sum() == 16 + 9 - 4 + 1


def test_a_region_knows_emptiness_and_needs_a_size():
    assert Region("a", "Mass", "", (4, 4), ()).is_empty
    assert Region("a", "Mass", "", (4, 4), (Runs((4, 4), (16,)),)).is_empty
    assert not Region("a", "Mass", "", (4, 4), (Box(0, 0, 1, 1),)).is_empty
    assert not Region("a", "Mass", "", (4, 4), ()).mask().any()
    with pytest.raises(DataError, match=r"unknown size.*--box-size"):
        Region("a", "Mass", "", None, (Box(0, 0, 1, 1),)).mask()
