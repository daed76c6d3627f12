"""Every layout and alias to one table, and every way a layout can be wrong to one clear line."""

import pandas as pd
import pytest

from cxrkeras.data.manifest import manifest_from_frame, read_manifest
from cxrkeras.errors import DataError

TWO = ["A/a1.png", "B/b1.png"]


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("train", "val", "test"), ("train", "val", "test")),
        (("Training", "VALID", "Testing"), ("train", "val", "test")),
        (("TRAIN", "validation"), ("train", "val")),
    ],
)
def test_split_folders_in_every_spelling(write_films, folders, splits):
    root = write_films(
        *[f"{folder}/{label}/x{i}{folder}{label}.png" for folder in folders for label in "BA" for i in (1, 2)]
    )
    manifest = read_manifest(root)
    assert manifest.classes == ("A", "B")
    assert manifest.root == root
    assert list(manifest.frame.columns) == ["path", "label", "split"]
    assert manifest.frame["path"].is_monotonic_increasing
    of_folder = dict(zip(folders, splits, strict=True))
    for path, label, split in manifest.frame.itertuples(index=False):
        assert (label, split) == (path.split("/")[1], of_folder[path.split("/")[0]])
    assert len(manifest) == 4 * len(folders)
    assert manifest.file(0) == root / manifest.frame["path"][0]
    assert all(file.is_file() for file in manifest.files())


def test_class_folders_have_no_split_and_no_patient(write_films):
    manifest = read_manifest(write_films("B/x/deep.PNG", "A/a.jpeg", "A/.hidden.png", "__MACOSX/A/a.png"))
    assert manifest.frame.to_dict("list") == {"path": ["A/a.jpeg", "B/x/deep.PNG"], "label": ["A", "B"]}
    assert manifest.notices == ()


def test_folders_beside_splits_are_reported(write_films):
    manifest = read_manifest(write_films(*[f"train/{film}" for film in TWO], "extra/A/a.png"))
    assert len(manifest) == 2
    assert manifest.notices == ("Folders beside the splits are not read: extra.",)


def test_kermany_names_give_patients_and_unnamed_films_their_own(write_films):
    manifest = read_manifest(
        write_films("NORMAL/IM-0115-0001.png", "PNEUMONIA/person7_virus_1.png", "PNEUMONIA/other.png")
    )
    assert dict(zip(manifest.frame["path"], manifest.frame["patient"], strict=True)) == {
        "NORMAL/IM-0115-0001.png": "N1_0115",
        "PNEUMONIA/person7_virus_1.png": "P0007",
        "PNEUMONIA/other.png": "PNEUMONIA/other.png",
    }
    assert "Patients are taken from Kermany file names" in manifest.notices[0]
    assert manifest.notices[1] == "1 of 3 films have no patient; each counts as its own."


@pytest.mark.parametrize("label", ["label", "class", "Class"])
@pytest.mark.parametrize("patient", ["patient", "patient_id", "patient_group", "Patient ID"])
@pytest.mark.parametrize("path", ["path", "image", "image_index", "Image Index"])
def test_column_aliases(write_films, write_table, path, label, patient):
    write_films("images/x1.png", "images/x2.png")
    file = write_table(
        {
            path: ["images/x2.png", "images/x1.png"],
            label: ["NA", "B"],
            patient: ["007", "61"],
            "age": [3, 40],
            "split": ["Test", "training"],
        }
    )
    manifest = read_manifest(file)
    frame = manifest.frame
    assert frame["path"].tolist() == ["images/x1.png", "images/x2.png"]
    assert frame["label"].tolist() == ["B", "NA"]
    assert frame["patient"].tolist() == ["61", "007"]
    assert frame["split"].tolist() == ["train", "test"]
    assert frame["age"].tolist() == [40, 3]
    assert list(frame.columns[:4]) == ["path", "label", "patient", "split"]
    assert manifest.source == str(file)


@pytest.mark.parametrize("name", ["manifest.csv", "metadata.csv"])
def test_a_folder_with_a_table_is_read_from_it(write_films, write_table, name):
    root = write_films("train/A/a.png", "train/B/b.png", "train/B/unlisted.png")
    write_table({"path": ["train/A/a.png", "train/B/b.png"], "label": ["x", "y"]}, name)
    assert read_manifest(root).frame.to_dict("list") == {
        "path": ["train/A/a.png", "train/B/b.png"],
        "label": ["x", "y"],
    }
    assert read_manifest(root).frame.equals(read_manifest(root / name).frame)


def test_images_are_matched_by_stem_where_they_do_not_exist_as_written(write_films, write_table):
    write_films("deep/00000061_012.jpg", "deep/00000061_013.jpg", "x.1.png")
    file = write_table({"image_index": ["00000061_012.png", "00000061_013", "x.1.png"], "label": ["A", "B", "B"]})
    assert read_manifest(file).frame["path"].tolist() == ["deep/00000061_012.jpg", "deep/00000061_013.jpg", "x.1.png"]


def test_an_image_name_that_fits_two_files_is_refused(write_films, write_table):
    write_films("a/x.jpg", "b/x.jpg", "b/y.png")
    file = write_table({"image": ["x.png", "y.png"], "label": ["A", "B"]})
    with pytest.raises(DataError, match=r"image 'x\.png' of .* fits 2 files"):
        read_manifest(file)
    exact = write_table({"image": ["x.png", "y.png"], "label": ["A", "B"]}, "b/manifest.csv")
    write_films("b/c/x.png")
    assert read_manifest(exact).frame["path"].tolist() == ["c/x.png", "y.png"]


def test_a_path_is_never_replaced_by_a_film_of_the_same_name(write_films, write_table):
    write_films("test/x.png", "y.png")
    file = write_table({"path": ["train/x.png", "y.png"], "label": ["A", "B"]})
    with pytest.raises(DataError, match=r"1 of 2 films listed in .* do not exist: 'train/x\.png'"):
        read_manifest(file)


def test_films_outside_the_tables_folder_get_a_common_root(write_films, write_table):
    root = write_films("films/a/x.png", "films/b/y.png")
    file = write_table({"path": ["../films/a/x.png", str(root / "films/b/y.png")], "label": ["A", "B"]}, "tables/t.csv")
    manifest = read_manifest(file)
    assert manifest.root == root / "films"
    assert manifest.frame["path"].tolist() == ["a/x.png", "b/y.png"]
    assert "ids are relative to" in manifest.notices[0]


def test_named_columns_replace_aliases_and_displaced_ones_are_kept(write_films, write_table):
    write_films(*TWO)
    file = write_table(
        {"path": TWO, "class": ["A", "B"], "label": ["u", "v"], "patient": ["1", "2"], "group": ["g", ""],
         "split": ["train", "train"], "iid": ["test", "val"]}
    )  # fmt: skip
    frame = read_manifest(file, label_column="class", patient_column="group", split_column="iid").frame
    assert frame["label"].tolist() == ["A", "B"]
    assert frame["patient"].tolist() == ["g", "B/b1.png"]
    assert frame["split"].tolist() == ["test", "val"]
    assert frame["original_label"].tolist() == ["u", "v"]
    assert frame["original_split"].tolist() == ["train", "train"]


def test_an_empty_patient_column_is_no_patient_column(write_films, write_table):
    write_films(*TWO)
    assert "patient" not in read_manifest(write_table({"path": TWO, "label": ["A", "B"], "patient": ["", ""]})).frame


def test_a_stored_frame_is_read_again(write_films, write_table, tmp_path):
    write_films(*TWO)
    manifest = read_manifest(
        write_table(
            {"path": TWO, "label": ["A", "B"], "split": ["train", "test"], "patient": ["1", "2"], "view": ["PA", "AP"]}
        )
    )
    file = tmp_path / "elsewhere.csv"
    manifest.frame.assign(sha256=["0", "1"]).to_csv(file, index=False)
    stored = pd.read_csv(file, dtype=str, keep_default_na=False).sample(frac=1, random_state=1)
    again = manifest_from_frame(stored, manifest.root)
    assert again.frame.drop(columns="sha256").equals(manifest.frame)
    assert again.classes == manifest.classes
    assert again.files() == manifest.files()
    with pytest.raises(DataError, match="Missing: label"):
        manifest_from_frame(stored.drop(columns="label"), manifest.root)


def test_a_stored_frame_gains_no_patients_from_names():
    frame = pd.DataFrame({"path": ["person1_virus_1.png", "IM-0001-0001.png"], "label": ["A", "B"]})
    assert "patient" not in manifest_from_frame(frame, "/films").frame


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (
            "label_column",
            "subtyp",
            "no column 'subtyp' .*label.*: path, subtype, grp, fold.*Did you mean 'subtype'.*--label-column",
        ),
        ("patient_column", "gr", "for the patient.*Did you mean 'grp'"),
        ("split_column", "iid_split", "for the split"),
    ],
)
def test_a_named_column_that_is_missing(write_films, write_table, option, value, message):
    write_films(*TWO)
    file = write_table({"path": TWO, "subtype": ["A", "B"], "grp": ["1", "2"], "fold": ["train", "test"]})
    with pytest.raises(DataError, match=message):
        read_manifest(file, **{"label_column": "subtype", option: value})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": TWO, "finding": ["A", "B"]}, "no label column.*columns: path, finding.*--label-column"),
        ({"file": TWO, "label": ["A", "B"]}, "no column that names the films.*image_index"),
        ({"path": TWO, "label": ["A", "A"]}, "one class only, 'A'"),
        ({"path": TWO, "label": ["A", ""]}, r"1 of 2 films .* have no label, first 'B/b1\.png'"),
        ({"path": TWO, "label": ["A", "a"]}, "differ only in case"),
        ({"path": TWO[:1] * 2, "label": ["A", "B"]}, "listed more than once"),
        (
            {"path": TWO, "label": ["A", "B"], "split": ["train", "tests"]},
            "1 films .* unknown split: 'tests'.*Did you mean 'test'",
        ),
        ({"path": TWO, "label": ["A", "B"], "split": ["train", ""]}, "unknown split: ''"),
        ({"path": [], "label": []}, "lists no films"),
        (
            {"path": [*TWO, "q1.png", "q2.png", "q3.png", "q4.png"], "label": list("ABABAB")},
            r"4 of 6 films .* do not exist: 'q1\.png', 'q2\.png', 'q3\.png', 'q4\.png'\.",
        ),
    ],
)
def test_tables_that_cannot_be_used(write_films, write_table, columns, message):
    write_films(*TWO)
    with pytest.raises(DataError, match=message):
        read_manifest(write_table(columns))


@pytest.mark.parametrize(
    ("films", "folders", "message"),
    [
        ((), (), "has no films. Expected train/CLASS"),
        ((), ("A", "B"), "has no films.*found 2 folders"),
        (("A/a.png",), (), "one class only, 'A'"),
        (("A/a.png", "B/b.png"), ("C",), "class folder .*C has no films"),
        (("train/A/a.png", "train/B/b.png"), ("test/A",), "has no films"),
        (("a.png", "b.png"), (), "lie in no class folder"),
        (("A/a.png", "a/b.png"), (), "differ only in case"),
    ],
)
def test_folders_that_cannot_be_used(write_films, tmp_path, films, folders, message):
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(DataError, match=message):
        read_manifest(write_films(*films))


def test_other_files_are_named_where_films_are_missing(tmp_path):
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "a.dcm").touch()
    with pytest.raises(DataError, match=r"files found: 1 \.dcm"):
        read_manifest(tmp_path)


def test_a_missing_folder_suggests_its_neighbour(tmp_path):
    (tmp_path / "chest_xray").mkdir()
    with pytest.raises(DataError, match=r"does not exist.*Did you mean 'chest_xray'"):
        read_manifest(tmp_path / "chest_xry")


def test_columns_need_a_table(write_films):
    with pytest.raises(DataError, match="label_column 'kind' needs a table"):
        read_manifest(write_films(*TWO), label_column="kind")


def test_a_table_that_is_no_table(tmp_path):
    (tmp_path / "manifest.csv").write_bytes(b"\xff\xfe\x00\x01path")
    with pytest.raises(DataError, match=r"manifest\.csv cannot be read"):
        read_manifest(tmp_path)


def test_one_class_is_enough_where_nothing_is_trained(write_films):
    manifest = read_manifest(write_films("A/a.png", "A/b.png"), one_class=True)
    assert manifest.classes == ("A",)
    assert manifest_from_frame(manifest.frame, manifest.root).classes == ("A",)


@pytest.mark.films
def test_kermany_official_iid_and_subtype(real_films):
    root = real_films / "kermany"
    official = read_manifest(root)
    assert official.classes == ("NORMAL", "PNEUMONIA")
    assert official.frame["split"].value_counts().to_dict() == {"train": 600, "test": 200}
    assert official.frame["patient"].nunique() == 800
    iid = read_manifest(root, split_column="iid_split")
    assert iid.frame["split"].value_counts().to_dict() == {"train": 600, "test": 200}
    assert iid.frame["original_split"].equals(official.frame["split"])
    assert not iid.frame["split"].equals(official.frame["split"])
    subtype = read_manifest(root, label_column="subtype")
    assert subtype.classes == ("bacteria", "normal", "virus")
    assert subtype.frame["label"].value_counts().to_dict() == {"normal": 400, "bacteria": 200, "virus": 200}


@pytest.mark.films
def test_nih_has_its_patients(real_films):
    frame = read_manifest(real_films / "nih_cxr14").frame
    assert frame.groupby("split")["patient"].nunique().to_dict() == {"train": 465, "test": 217}
    assert frame.groupby("patient")["split"].nunique().max() == 1
    assert {"age", "sex", "view"} <= set(frame.columns)


@pytest.mark.films
def test_boxes_are_no_manifest(real_films):
    with pytest.raises(DataError, match=r"no label column.*finding"):
        read_manifest(real_films / "nih_boxes" / "boxes.csv")


def test_folders_of_kermany_films_give_three_classes_by_subtype(tmp_path):
    from PIL import Image

    names = {"NORMAL": ["IM-0001-0001", "IM-0002-0001"], "PNEUMONIA": ["person1_virus_1", "person2_bacteria_3"]}
    for folder, films in names.items():
        (tmp_path / folder).mkdir()
        for film in films:
            Image.new("L", (8, 8)).save(tmp_path / folder / f"{film}.jpeg")
    manifest = read_manifest(tmp_path, label_column="subtype")
    assert manifest.classes == ("bacteria", "normal", "virus")
    assert manifest.frame["label"].tolist() == ["normal", "normal", "virus", "bacteria"]
    Image.new("L", (8, 8)).save(tmp_path / "NORMAL" / "film.jpeg")
    with pytest.raises(DataError, match=r"1 film names .* carry no subtype, first 'NORMAL/film.jpeg'"):
        read_manifest(tmp_path, label_column="subtype")
