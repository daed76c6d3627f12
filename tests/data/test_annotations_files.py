"""JSON files and mask pictures: every layout, what is refused, what is counted."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from PIL import Image

from cxrkeras.data.annotations import matched_films, read_annotations
from cxrkeras.errors import DataError, UsageError
from cxrkeras.store import sha256_file

ID = "patient64541_study1_view1_frontal"


@pytest.fixture
def write_json(tmp_path):
    """Write values as a JSON file; returns its path."""

    def write(values, name="truth.json"):
        (tmp_path / name).write_text(json.dumps(values), encoding="utf-8")
        return tmp_path / name

    return write


def square(size, rows, columns):
    mask = np.zeros(size, dtype=bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def save(mask, file, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(file, **options)


# 3x4 with rows 1-2 of columns 1-2: down the columns 4 out, 2 in, 1 out, 2 in, 3 out; from the fourth on differences.
SQUARE = {"size": [3, 4], "counts": "42102"}


def test_segmentations_of_chexlocalize(write_json):
    file = write_json(
        {
            ID: {"Airspace Opacity": SQUARE, "Edema": {"size": [3, 4], "counts": "<"}},
            "other": {"Edema": {"size": [2, 2], "counts": [1, 2, 1]}},
        }
    )
    truth = read_annotations(file)
    np.testing.assert_array_equal(truth.regions[0].mask(), square((3, 4), (1, 3), (1, 3)))
    assert truth.regions[2].mask().tolist() == [[False, True], [True, False]]
    assert [(r.image, r.finding, r.size, r.is_empty) for r in truth.regions] == [
        (ID, "Lung Opacity", (3, 4), False),
        (ID, "Edema", (3, 4), True),
        ("other", "Edema", (2, 2), False),
    ]
    assert truth.notices == (
        "Finding 'Airspace Opacity' is read as 'Lung Opacity'.",
        "The marks are in pixels of pictures of 4×3 (1), 2×2 (1), read from the masks themselves.",
        "1 of 3 regions are empty: those films were read and nothing was marked.",
    )
    assert truth.sha256 == sha256_file(file)
    assert matched_films(truth.images, ["root/patient64541/study1/view1_frontal.jpg"]) == {ID: 0}


def test_a_mask_of_another_size_is_refused(write_json):
    with pytest.raises(
        DataError, match=r"'Edema' of 'a': the run lengths fill 12 pixels\. Expected 20 for size \[4, 5\]"
    ):
        read_annotations(write_json({"a": {"Edema": {"size": [4, 5], "counts": "42102"}}}))
    with pytest.raises(DataError, match=r"--box-size 5×5 contradicts the masks themselves"):
        read_annotations(write_json({"a": {"Edema": SQUARE}}), box_size=5)
    with pytest.raises(DataError, match=r"'a' has a picture of 2×6 here and of 4×3 elsewhere"):
        read_annotations(write_json({"a": {"Edema": SQUARE, "Mass": {"size": [6, 2], "counts": [12]}}}))
    assert read_annotations(write_json({"a": {"Edema": SQUARE}}), box_size=(3, 4)).regions[0].size == (3, 4)


def test_outlines_of_chexlocalize(write_json):
    outline = [[2, 3], [6, 3], [6, 8], [2, 8]]
    truth = read_annotations(
        write_json(
            {
                ID: {"img_size": [12, 10], "Support Devices": [outline, [[0, 0], [1, 0], [1, 1], [0, 1]]], "Edema": []},
                "b": {"img_size": [9, 5], "Edema": [[[3.5, -2], [9, -2], [9, 4], [3.5, 4]], [[1, 1], [2, 2], [3, 3]]]},
            }
        )
    )
    first, none, clipped = truth.regions
    expected = square((12, 10), (3, 9), (2, 7)) | square((12, 10), (0, 2), (0, 2))
    np.testing.assert_array_equal(first.mask(), expected)
    assert none.is_empty
    assert clipped.mask().any(axis=1).tolist() == [True] * 5 + [False] * 4
    assert truth.notices[1:] == (
        "1 of 5 marks have no area and are left out, first truth.json, 'Edema' of 'b' ('b').",
        "1 of 5 marks reach beyond their picture and are clipped, first truth.json, 'Edema' of 'b' ('b').",
        "1 of 3 regions are empty: those films were read and nothing was marked.",
    )


def test_points_are_no_outlines(write_json):
    with pytest.raises(DataError, match=r"does not fit its layout.*a > Edema > 0 > 0"):
        read_annotations(write_json({"a": {"img_size": [12, 10], "Edema": [[2, 3], [4, 5]]}}))


COCO = {
    "images": [
        {"id": 7, "file_name": "a.png", "width": 10, "height": 8},
        {"id": 8, "file_name": "b.png", "width": 4, "height": 3},
        {"id": 9, "file_name": "c.png", "width": 4, "height": 3},
    ],
    "categories": [{"id": 1, "name": "Nodule", "supercategory": "x"}, {"id": 2, "name": "infiltrate"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 1, "bbox": [1.5, 2, 3, 2], "area": 6, "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 9, 9], "segmentation": [[6, 5, 8, 5, 8, 7, 6, 7]]},
        {"id": 3, "image_id": 8, "category_id": 2, "bbox": [1, 1, 2, 2], "segmentation": SQUARE, "iscrowd": 1},
    ],
}


def test_coco_instances(write_json):
    truth = read_annotations(write_json(COCO))
    nodule, infiltration = truth.regions
    expected = square((8, 10), (2, 4), (1, 5)) | square((8, 10), (5, 8), (6, 9))
    np.testing.assert_array_equal(nodule.mask(), expected)
    np.testing.assert_array_equal(infiltration.mask(), square((3, 4), (1, 3), (1, 3)))
    assert (infiltration.image, infiltration.finding) == ("b.png", "Infiltration")
    assert truth.notices[0] == "1 of 3 images of truth.json have no annotation."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 70}, r"annotation 0 belongs to image 70, which the file does not list"),
        ({"category_id": 3}, r"annotation 0 belongs to category 3"),
        ({"bbox": None}, r"neither a segmentation nor a bbox"),
        ({"bbox": [0, 0, -1, 2]}, r"annotations > 0 > bbox > 2"),
        ({"bbox": [0, 0, float("nan"), 2]}, r"annotations > 0 > bbox > 2"),
        ({"segmentation": [[1, 2, 3]]}, r"outline of 3 numbers"),
        ({"segmentation": SQUARE}, r"mask of 4×3\. Expected 10×8"),
    ],
)
def test_broken_coco_instances_are_refused_by_place(write_json, change, message):
    first = {key: value for key, value in (COCO["annotations"][0] | change).items() if value is not None}
    with pytest.raises(DataError, match=message):
        read_annotations(write_json(COCO | {"annotations": [first]}))


@pytest.mark.parametrize("values", [[], {}, {"a": 1}, {"a": {"b": 1}}, [{"image_id": 1, "bbox": [1, 2, 3, 4]}]])
def test_json_of_another_layout_is_refused(write_json, values):
    with pytest.raises(DataError, match=r"JSON of an unknown layout\. Expected .*run lengths"):
        read_annotations(write_json(values))


def test_json_needs_to_be_whole_and_names_its_findings(write_json, tmp_path):
    (tmp_path / "half.json").write_text('{"a": {"Edema"')
    with pytest.raises(DataError, match=r"half\.json is not valid JSON"):
        read_annotations(tmp_path / "half.json")
    two = write_json({"a": {"Edema": SQUARE, "Mass": SQUARE}})
    assert read_annotations(two, finding="edema").findings == ("Edema",)
    with pytest.raises(UsageError, match=r"'Nodule'\. Expected one of: Edema, Mass"):
        read_annotations(two, finding="Nodule")


def test_a_folder_of_masks_by_finding(tmp_path):
    save(square((6, 8), (1, 3), (2, 5)), tmp_path / "Airspace_Opacity" / "a.png")
    save(square((6, 8), (0, 6), (0, 8)), tmp_path / "Mass" / "a.tif")
    save(square((4, 4), (0, 0), (0, 0)), tmp_path / "Mass" / "b.png")
    (tmp_path / "Mass" / "readme.txt").write_text("x")
    (tmp_path / "readme.txt").write_text("x")
    truth = read_annotations(tmp_path)
    assert [(r.image, r.finding, r.size) for r in truth.regions] == [
        ("a", "Lung Opacity", (6, 8)),
        ("a", "Mass", (6, 8)),
        ("b", "Mass", (4, 4)),
    ]
    np.testing.assert_array_equal(truth.regions[0].mask(), square((6, 8), (1, 3), (2, 5)))
    assert truth.regions[2].is_empty
    assert truth.notices[0] == f"Files in {tmp_path} that are no masks are not read: 2, first readme.txt."
    assert truth.notices[1].startswith("1 of 3 masks")
    assert "cover more than 90% of their picture" in truth.notices[1]
    before = truth.sha256
    save(square((4, 4), (0, 1), (0, 1)), tmp_path / "Mass" / "b.png")
    assert read_annotations(tmp_path).sha256 != before
    assert [(r.image, r.finding) for r in read_annotations(tmp_path, finding="mass").regions] == [
        ("a", "Mass"),
        ("b", "Mass"),
    ]


def test_a_flat_folder_of_masks_needs_the_finding(tmp_path):
    save(square((4, 4), (0, 1), (0, 1)), tmp_path / "a.png")
    with pytest.raises(DataError, match=r"1 masks .* lie in no finding's folder.*--finding"):
        read_annotations(tmp_path)
    truth = read_annotations(tmp_path, finding="pneumonia")
    assert [(r.image, r.finding, r.mask().sum()) for r in truth.regions] == [("a", "Pneumonia", 1)]


def test_a_folder_without_masks_is_refused(tmp_path):
    save(square((4, 4), (0, 1), (0, 1)), tmp_path / "Mass" / "a.jpg")
    with pytest.raises(DataError, match=r"holds no masks.*lossless files only"):
        read_annotations(tmp_path)


def test_masks_are_turned_upright_and_any_level_counts(tmp_path):
    lying = np.zeros((4, 6), np.uint8)
    lying[0, 5] = 1
    picture = Image.fromarray(lying)
    exif = picture.getexif()
    exif[0x0112] = 6
    (tmp_path / "Mass").mkdir()
    picture.save(tmp_path / "Mass" / "a.png", exif=exif)
    Image.fromarray(lying.astype(np.uint16) * 300).save(tmp_path / "Mass" / "b.png")
    Image.fromarray(lying.astype(bool)).save(tmp_path / "Mass" / "c.png")
    turned, deep, binary = read_annotations(tmp_path).regions
    # orientation 6 is shown turned a quarter clockwise: the upper right corner goes to the lower right
    assert turned.size == (6, 4)
    assert np.argwhere(turned.mask()).tolist() == [[5, 3]]
    assert np.argwhere(deep.mask()).tolist() == np.argwhere(binary.mask()).tolist() == [[0, 5]]


def test_a_broken_mask_is_named(tmp_path):
    (tmp_path / "Mass").mkdir()
    (tmp_path / "Mass" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"mask .*a\.png is not usable"):
        read_annotations(tmp_path)


def test_the_phantoms_own_masks(phantom_folder):
    truth = read_annotations(phantom_folder)
    frame = phantom_boxes(phantom_folder)
    assert truth.images == tuple(frame.index)
    assert truth.findings == ("lobar",)
    for region in truth.regions:
        x, y, w, h = frame.loc[region.image]
        rows, columns = (np.flatnonzero(region.mask().any(axis=axis)) for axis in (1, 0))
        assert (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1) == (x, y, w, h)
    assert truth.notices[0] == f"{80 - len(frame)} of 80 films of manifest.csv have no mask and count as not annotated."
    assert matched_films(truth.images, list(frame.index)) == {image: row for row, image in enumerate(frame.index)}
    same = read_annotations(phantom_folder / "manifest.csv")
    assert (same.regions, same.sha256) == (truth.regions, truth.sha256)
    with pytest.raises(UsageError, match=r"'normal'\. Expected one of: lobar"):
        read_annotations(phantom_folder, finding="normal")


def phantom_boxes(folder):
    """Boxes of the phantom's lesions by film."""
    import pandas as pd

    frame = pd.read_csv(folder / "manifest.csv").dropna(subset="mask").set_index("path")
    return frame[["box_x", "box_y", "box_w", "box_h"]].astype(int)


def test_listed_masks_that_do_not_exist_are_all_named(tmp_path):
    save(square((4, 4), (0, 1), (0, 1)), tmp_path / "m" / "a.png")
    (tmp_path / "manifest.csv").write_text("path,label,mask\na.png,x,m/a.png\nb.png,x,m/b.png\nc.png,x,m/c.png\n")
    with pytest.raises(DataError, match=r"2 of 3 masks .* do not exist: m/b\.png, m/c\.png\."):
        read_annotations(tmp_path)
    (tmp_path / "manifest.csv").write_text("path,label,mask\na.png,x,a.jpg\n")
    save(square((4, 4), (0, 1), (0, 1)), tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg is not lossless"):
        read_annotations(tmp_path)


# Ground truth pixels, Grad-CAM pixels, overlap and IoU of the two public films, by pycocotools and another decoder.
SAMPLE = {
    ("patient64541", "Enlarged Cardiomediastinum"): (962252, 789457, 553834, 0.462347),
    ("patient64541", "Cardiomegaly"): (867107, 741012, 431050, 0.366206),
    ("patient64541", "Lung Opacity"): (163040, 1893873, 0, 0.0),
    ("patient64542", "Support Devices"): (47345, 1196531, 40075, 0.033290),
}


@pytest.mark.films
def test_the_public_sample_of_chexlocalize():
    folder = os.environ.get("CXRKERAS_CHEXLOCALIZE")
    if not folder:
        pytest.skip("set CXRKERAS_CHEXLOCALIZE to the folder `sample` of CheXlocalize")
    truth, outlines, maps = (
        {(r.image.split("_")[0], r.finding): r for r in read_annotations(os.path.join(folder, name)).regions}
        for name in ("gt_segmentations_val.json", "gt_annotations_val.json", "gradcam_segmentations_val_sample.json")
    )
    for key, (inside, marked, both, iou) in SAMPLE.items():
        expert, network = truth[key].mask(), maps[key].mask()
        assert (expert.sum(), network.sum(), (expert & network).sum()) == (inside, marked, both)
        assert (expert & network).sum() / (expert | network).sum() == pytest.approx(iou, abs=1e-6)
        np.testing.assert_array_equal(outlines[key].mask(), expert)
