"""Box tables and NIH's list: what is read, in which pixels, and what is refused or counted."""

from __future__ import annotations

import csv
import hashlib
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrkeras.data.annotations import read_annotations
from cxrkeras.data.annotations.regions import Box, Region
from cxrkeras.errors import DataError, UsageError

NIH = """Image Index,Finding Label,Bbox [x,y,w,h],,,
00013118_008.png,Atelectasis,225.0847,547.0192,86.7797,79.1864,,,
00014716_007.png,Atelectasis,686.101694915254,131.543498272083,185.491525423729,313.492112645875,,,
00013118_008.png,Atelectasis,10,20,30,40,,,
00029817_009.png,Infiltrate,221.830508474576,317.053115068627,155.118644067797,216.949152542373,,,
"""
HEAD = "image,finding,x,y,w,h"


@pytest.fixture
def table(tmp_path):
    """Write lines as a CSV file; returns its path."""

    def write(*lines, name="boxes.csv"):
        file = tmp_path / name
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return file

    return write


def test_the_nih_list_is_read_by_position_in_its_1024_pixels(tmp_path):
    file = tmp_path / "BBox_List_2017.csv"
    file.write_bytes(NIH.replace("\n", "\r\n").encode("utf-8-sig"))
    truth = read_annotations(file)
    assert truth.images == ("00013118_008.png", "00014716_007.png", "00029817_009.png")
    assert truth.findings == ("Atelectasis", "Infiltration")
    assert truth.annotators == ("",)
    first = truth.regions[0]
    assert first.shapes == (Box(225.0847, 547.0192, 86.7797, 79.1864), Box(10, 20, 30, 40))
    assert {region.size for region in truth.regions} == {(1024, 1024)}
    # rows 547-626 of columns 225-311, rows 20-59 of columns 10-39
    assert first.mask().sum() == 80 * 87 + 30 * 40
    assert truth.notices == (
        "Finding 'Infiltrate' is read as 'Infiltration'.",
        "The marks are in pixels of pictures of 1024×1024 (3), read from the NIH list, which gives boxes in its "
        "original films.",
    )
    assert truth.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert truth.source == str(file)


def test_a_stated_size_wins_over_nihs_own_and_is_told(table):
    lines = NIH.splitlines()
    truth = read_annotations(table(lines[0], lines[3]), box_size=512)
    assert truth.regions[0].size == (512, 512)
    assert truth.notices[-1].startswith("The marks are in pixels of pictures of 512×512, as stated; the NIH list")
    assert "pictures of 1024×1024 (1)" in truth.notices[-1]


@pytest.mark.parametrize("row", ["00013118_008.png,Atelectasis,225,547,86", "a.png,Mass,1,2,3,4,5,,"])
def test_a_short_or_long_nih_row_is_refused(table, row):
    with pytest.raises(DataError, match=r"line 2 has . values. Expected six"):
        read_annotations(table(NIH.splitlines()[0], row))


def test_the_generic_table_joins_the_boxes_of_a_film_finding_and_annotator(table):
    truth = read_annotations(
        table(
            "Path,extra,Label,annotator,X,y,w,h,image_width,image_height",
            "images/a.png,1,Mass,R1,2,2,4,4,8,10",
            "images/a.png,1,mass,R1,0,0,2,2,8,10",
            "images/a.png,,Mass,R2,1,1,1,1,8,10",
            "images/b.png,,Nodule,R1,1,1,1,1,20,20",
        )
    )
    assert [(r.image, r.finding, r.annotator, r.size) for r in truth.regions] == [
        ("images/a.png", "Mass", "R1", (10, 8)),
        ("images/a.png", "Mass", "R2", (10, 8)),
        ("images/b.png", "Nodule", "R1", (20, 20)),
    ]
    assert [region.mask().sum() for region in truth.regions] == [20, 1, 1]
    assert truth.annotators == ("R1", "R2")
    assert truth.notices[0] == "Finding 'mass' is read as 'Mass'."
    assert "20×20 (1)" in truth.notices[1]
    assert "8×10 (1)" in truth.notices[1]
    assert len(truth.notices) == 2


def test_unstated_size_is_an_error_and_stating_it_helps(table):
    file = table(HEAD, "a.png,Mass,1,2,3,4", "b.png,Mass,1,2,3,4")
    with pytest.raises(DataError, match=r"2 of 2 images, first 'a.png'.*--box-size"):
        read_annotations(file)
    assert read_annotations(file, box_size=(20, 30)).regions[0].mask().shape == (20, 30)


def test_the_size_is_that_of_the_pictures_beside_the_table(table, tmp_path):
    lying = Image.fromarray(np.zeros((6, 9), np.uint8))
    exif = lying.getexif()
    exif[0x0112] = 6
    (tmp_path / "films").mkdir()
    lying.save(tmp_path / "films" / "a.jpg", exif=exif)
    lying.save(tmp_path / "films" / "b.png")
    file = table("path,finding,x,y,w,h", "films/a.jpg,Mass,0,0,6,9", "films/b.png,Mass,0,0,9,6")
    truth = read_annotations(file)
    assert [region.size for region in truth.regions] == [(9, 6), (6, 9)]
    assert all(region.mask().all() for region in truth.regions)
    assert truth.notices[0].endswith("read from the pictures beside the table.")
    stated = read_annotations(file, box_size=18)
    assert {region.size for region in stated.regions} == {(18, 18)}
    assert "as stated; the pictures beside the table say" in stated.notices[0]
    with pytest.raises(DataError, match=r"1 of 3 images, first 'films/c.png'"):
        read_annotations(table("path,finding,x,y,w,h", *file.read_text().split()[1:], "films/c.png,Mass,0,0,1,1"))


def test_a_broken_picture_gives_no_size(table, tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(DataError, match=r"picture .*a.png cannot be read"):
        read_annotations(table(HEAD, "a.png,Mass,0,0,6,9"))


def test_size_columns_cannot_be_overruled(table):
    file = table(HEAD + ",width,height", "a.png,Mass,1,2,3,4,512,512")
    assert read_annotations(file, box_size=512).regions[0].size == (512, 512)
    with pytest.raises(
        DataError, match="--box-size 256×256 contradicts the columns width and height for 1 of 1 images"
    ):
        read_annotations(file, box_size=256)


def test_one_film_has_one_size(table):
    with pytest.raises(DataError, match=r"line 3: 'a.png' has a picture of 9×9 here and of 8×8 elsewhere"):
        read_annotations(table(HEAD + ",width,height", "a.png,Mass,1,2,3,4,8,8", "a.png,Nodule,1,2,3,4,9,9"))


def test_boxes_beyond_their_picture_are_clipped_and_counted(table):
    beyond = ["-2,2,4,2", "2,-2,2,4", "6,2,4,2", "2,6,2,4", "6,6,4,4"]
    rows = [f"{i}.png,Mass,{box}" for i, box in enumerate(beyond)]
    truth = read_annotations(table(HEAD, "whole.png,Mass,0,0,8,8", *rows), box_size=8)
    assert [region.mask().sum() for region in truth.regions] == [64, 4, 4, 4, 4, 4]
    notice = "5 of 6 marks reach beyond their picture and are clipped, first boxes.csv line 3 ('0.png')."
    assert truth.notices[-1] == notice


@pytest.mark.parametrize("box", ["8,0,3,3", "0,300,3,3", "-5,1,5,2"])
def test_a_box_wholly_outside_says_that_the_size_is_wrong(table, box):
    with pytest.raises(DataError, match=r"line 2.*wholly\s+outside its picture of 8×8.*--box-size"):
        read_annotations(table(HEAD, f"a.png,Mass,{box}"), box_size=8)


def test_boxes_without_area_are_skipped_and_counted(table):
    truth = read_annotations(table(HEAD, "a.png,Mass,1,1,0,5", "a.png,Mass,1,1,2,2", "b.png,Mass,1,1,5,0"), box_size=8)
    assert truth.images == ("a.png",)
    assert truth.regions[0].mask().sum() == 4
    assert truth.notices[-1] == "2 of 3 marks have no area and are left out, first boxes.csv line 2 ('a.png')."
    with pytest.raises(DataError, match="none of the 1 marks"):
        read_annotations(table(HEAD, "a.png,Mass,1,1,0,5"), box_size=8)


def test_a_row_without_a_box_says_that_nothing_was_marked(table):
    truth = read_annotations(table(HEAD, "a.png,Mass,,,,", "b.png,Mass,1,1,2,2"), box_size=8)
    assert [region.is_empty for region in truth.regions] == [True, False]
    assert not truth.regions[0].mask().any()
    assert truth.notices[-1] == "1 of 2 regions are empty: those films were read and nothing was marked."


@pytest.mark.parametrize("scale", [1, 0.5])
def test_fractions_beside_the_boxes_must_agree_with_the_size(table, scale):
    file = table(
        HEAD + ",x_frac,y_frac,w_frac,h_frac", f"a.png,Mass,{128 * scale},{64 * scale},200,100,0.25,0.125,0.39,0.195"
    )
    if scale == 1:
        assert read_annotations(file, box_size=512).regions[0].size == (512, 512)
    with pytest.raises(DataError, match=r"line 2.*do not agree in a picture of 1024×1024: .* px is not 0.25 of 1024"):
        read_annotations(file, box_size=1024)


def test_fractions_instead_of_pixels_are_refused(table):
    with pytest.raises(DataError, match=r"all 2 boxes.*in pixels, received fractions"):
        read_annotations(table(HEAD, "a.png,Mass,0.1,0.2,0.3,0.4", "b.png,Mass,0.5,0.5,0.5,0.5"), box_size=512)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["image,x,y,w,h", "a.png,1,2,3,4"], r"no finding \(label\) column. Expected one of: finding, label; received"),
        (["film,finding,x,y,w,h", "a.png,Mass,1,2,3,4"], r"no image column. Expected one of: path, image, image_index"),
        (
            ["image,finding,x,y,width,height", "a.png,Mass,1,2,3,4"],
            r"no column w, h\..*width and height are read as the",
        ),
        ([HEAD, "a.png,Mass,1,2,3"], r"line 2 has 5 cells. Expected 6"),
        ([HEAD, "", "a.png,Mass,1,2,3,4,5"], r"line 3 has 7 cells"),
        ([HEAD, "a.png,Mass,1,two,3,4"], r"line 2: column 'y' holds 'two'. Expected a number"),
        ([HEAD, "a.png,Mass,1,,3,4"], r"column 'y' holds ''"),
        ([HEAD, "a.png,Mass,1,nan,3,4"], r"column 'y' holds 'nan'"),
        ([HEAD, "a.png,Mass,1,2,-3,4"], r"sides -3 and 4"),
        ([HEAD, "a.png,,1,2,3,4"], r"column 'finding' is empty"),
        ([HEAD, ",Mass,1,2,3,4"], r"column 'image' is empty"),
        ([HEAD + ",X", "a.png,Mass,1,2,3,4,5"], r"column 'x' more than once"),
        ([HEAD + ",width,height", "a.png,Mass,1,2,3,4,8.5,8"], r"picture is 8.5 by 8. Expected whole pixels"),
        ([HEAD], r"marks nothing"),
        ([""], r"is empty"),
    ],
)
def test_bad_tables_are_refused_by_name(table, lines, message):
    with pytest.raises(DataError, match=message):
        read_annotations(table(*lines), box_size=None if "width" in lines[0] else 8)


def test_one_finding_can_be_named_for_a_table_without_any(table):
    truth = read_annotations(table("image,x,y,w,h", "a.png,1,2,3,4"), box_size=8, finding="infiltrate")
    assert truth.findings == ("Infiltration",)


def test_one_finding_of_several_can_be_chosen_by_any_of_its_names(table):
    lines = [HEAD, "a.png,Mass,1,2,3,4", "b.png,Infiltrate,0,0,2,2", "a.png,Infiltration,0,0,1,1"]
    truth = read_annotations(table(*lines), box_size=8, finding="INFILTRATE")
    assert [(r.image, r.finding, r.mask().sum()) for r in truth.regions] == [
        ("b.png", "Infiltration", 4),
        ("a.png", "Infiltration", 1),
    ]
    # the same annotations, so that what is stored of the other findings stays theirs
    assert truth.sha256 == read_annotations(table(*lines), box_size=8).sha256
    with pytest.raises(UsageError, match=r"unknown finding of .* 'Mas'\. Expected one of: Infiltrate, .*'Mass'\?"):
        read_annotations(table(*lines), box_size=8, finding="Mas")
    chosen = read_annotations(table(*NIH.splitlines()), finding="atelectasis")
    assert chosen.findings == ("Atelectasis",)


@pytest.mark.parametrize("size", [0, -4, (8,), (8, 0), (8, 8, 8), 2.5])
def test_a_box_size_is_whole_and_positive(table, size):
    with pytest.raises(UsageError, match=f"--box-size.*received {re.escape(str(size))}"):
        read_annotations(table(HEAD, "a.png,Mass,1,2,3,4"), box_size=size)


def test_what_is_not_there_or_no_text_is_refused(tmp_path, table):
    table(HEAD)
    with pytest.raises(DataError, match=r"does not exist.*Did you mean 'boxes.csv'"):
        read_annotations(tmp_path / "boxs.csv")
    (tmp_path / "film.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    with pytest.raises(DataError, match="it is no UTF-8 text"):
        read_annotations(tmp_path / "film.png")


@pytest.mark.films
def test_the_real_boxes_of_77_nih_films(real_films):
    truth = read_annotations(real_films / "nih_boxes" / "boxes.csv")
    assert sum(len(region.shapes) for region in truth.regions) == 123
    assert len(truth.images) == 77
    assert truth.annotators == ("NIH", "RSNA")
    assert truth.findings == ("Cardiomegaly", "Infiltration", "Lung Opacity", "Pneumonia", "Pneumothorax")
    assert {region.size for region in truth.regions} == {(512, 512)}
    assert truth.notices[0] == "Finding 'Infiltrate' is read as 'Infiltration'."
    unions = {image: np.zeros((512, 512), bool) for image in truth.images}
    for region in truth.regions:
        unions[region.image] |= region.mask()
    measured = np.array([unions[image].mean() for image in truth.images])
    # independent: the fractions column by column, no rounding, unions by cutting the film along all box edges
    with open(real_films / "nih_boxes" / "boxes.csv", newline="") as stream:
        boxes = pd.DataFrame(csv.DictReader(stream)).set_index("path").filter(like="_frac").astype(float)
    exact = np.array([exact_union(boxes.loc[[image]].to_numpy()) for image in truth.images])
    assert np.all(measured >= exact - 1e-4)
    assert np.abs(measured - exact).max() < 0.005
    assert np.median(measured) == pytest.approx(0.07806, abs=1e-4)
    assert np.median(exact) == pytest.approx(0.07714, abs=1e-4)
    # the 8.7 % of SOURCE.md: every cell of a 56 x 56 grid that a box touches
    grid = {image: np.zeros((56, 56), bool) for image in truth.images}
    for region in truth.regions:
        coarse = tuple(Box(*np.multiply((box.x, box.y, box.w, box.h), 56 / 512)) for box in region.shapes)
        grid[region.image] |= Region(region.image, region.finding, region.annotator, (56, 56), coarse).mask()
    assert np.median([mask.mean() for mask in grid.values()]) == pytest.approx(0.0874, abs=1e-4)


def exact_union(boxes):
    """Share of the unit square that boxes x, y, w, h cover."""
    left, top, w, h = boxes.T
    xs, ys = (np.unique([a, a + b]) for a, b in ((left, w), (top, h)))
    across = [((x >= left) & (x < left + w)) for x in xs[:-1]]
    down = [((y >= top) & (y < top + h)) for y in ys[:-1]]
    return sum(
        (xs[i + 1] - xs[i]) * (ys[j + 1] - ys[j])
        for i in range(len(across))
        for j in range(len(down))
        if (across[i] & down[j]).any()
    )
