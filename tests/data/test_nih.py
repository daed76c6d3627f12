"""NIH's own table: its findings, ages, split lists and films wherever they lie; and labels joined by `|` anywhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cxrkeras.data.check import check_data
from cxrkeras.data.findings import FindingPolicy, truth_of
from cxrkeras.data.manifest import holds_findings, read_manifest
from cxrkeras.data.nih import age_in_years, joined_marks
from cxrkeras.data.splits import prepare_splits
from cxrkeras.errors import DataError, UsageError

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
# name, findings, patient, age, sex, view; the last film is not there
ROWS = [
    ("00000001_000.png", "Cardiomegaly", 1, "058Y", "M", "PA"),
    ("00000001_001.png", "Cardiomegaly|Emphysema", 1, "058Y", "M", "PA"),
    ("00000002_000.png", "No Finding", 2, "081Y", "F", "AP"),
    ("00000003_000.png", "Pneumonia|Edema", 3, "006M", "F", "AP"),
    ("00000004_000.png", "Pneumonia", 4, "082Y", "F", "PA"),
    ("00000005_000.png", "No Finding", 5, "069Y", "M", "PA"),
    ("00000006_000.png", "Hernia", 6, "070Y", "M", "PA"),
]
HERE = [row[0] for row in ROWS[:-1]]
PNEUMONIA = FindingPolicy(positive="Pneumonia")


def row_text(row: tuple) -> str:
    name, labels, patient, age, sex, view = row
    return f"{name},{labels},0,{patient},{age},{sex},{view},2682,2749,0.143,0.143"


@pytest.fixture
def nih(write_films, tmp_path):
    """The seven films' table in a folder with the archive's own folders, and six of the films."""
    for part, films in (("images_001/images", HERE[:3]), ("images_002/images", HERE[3:])):
        write_films(*[f"{part}/{name}" for name in films])
    (tmp_path / "Data_Entry_2017.csv").write_text("\n".join([HEADER, *map(row_text, ROWS)]) + "\n")
    return tmp_path


def by_film(frame: pd.DataFrame, column: str) -> dict:
    return dict(zip(frame["image_index"], frame[column], strict=True))


@pytest.mark.parametrize("named", ["folder", "table"])
def test_one_finding_makes_two_classes_and_films_lie_where_the_archives_put_them(nih, named):
    manifest = read_manifest(nih if named == "folder" else nih / "Data_Entry_2017.csv", findings=PNEUMONIA)
    assert manifest.classes == ("Pneumonia", "no Pneumonia")
    assert not manifest.several
    has = by_film(manifest.frame, "label")
    assert [name for name, label in has.items() if label == "Pneumonia"] == ["00000003_000.png", "00000004_000.png"]
    assert len(has) == 6
    assert manifest.frame["path"][0] == "images_001/images/00000001_000.png"
    assert all(file.is_file() for file in manifest.files())
    assert any("1 of 7 films listed in" in text and "left out" in text for text in manifest.notices)
    assert any("2 films Pneumonia, 4 no Pneumonia." in text for text in manifest.notices)


def test_what_is_known_of_people_has_plain_names(nih):
    frame = read_manifest(nih, findings=PNEUMONIA).frame
    assert by_film(frame, "patient")["00000001_001.png"] == "1"
    assert by_film(frame, "age") == dict(zip(HERE, [58, 58, 81, 0.5, 82, 69], strict=True))
    assert by_film(frame, "sex") == dict(zip(HERE, "MMFFFM", strict=True))
    assert by_film(frame, "view")["00000002_000.png"] == "AP"
    assert by_film(frame, "finding_labels")["00000003_000.png"] == "Pneumonia|Edema"
    assert set(frame["follow_up"]) == {0}


def test_a_negative_finding_takes_only_clean_films(nih):
    manifest = read_manifest(nih, findings=FindingPolicy(positive="pneumonia", negative="no finding"))
    assert manifest.classes == ("No Finding", "Pneumonia")
    assert by_film(manifest.frame, "label") == {
        "00000002_000.png": "No Finding",
        "00000003_000.png": "Pneumonia",
        "00000004_000.png": "Pneumonia",
        "00000005_000.png": "No Finding",
    }
    assert "2 films Pneumonia, 2 No Finding; 2 of 6 films are unknown, or with neither or both" in manifest.notices[-1]


def test_several_findings_are_read_by_name_and_all_means_every_one_that_occurs(nih):
    manifest = read_manifest(nih, findings=FindingPolicy(("Edema", "Pneumonia")))
    assert manifest.several
    assert manifest.classes == ("Edema", "Pneumonia")
    truth = truth_of(manifest.frame, manifest.classes)
    np.testing.assert_array_equal(truth, [[0, 0], [0, 0], [0, 0], [1, 1], [0, 1], [0, 0]])
    every = read_manifest(nih, findings=FindingPolicy(("all",)))
    assert every.classes == ("Cardiomegaly", "Edema", "Emphysema", "Pneumonia")
    assert every.frame["label"].tolist()[1:4] == ["Cardiomegaly|Emphysema", "none", "Edema|Pneumonia"]


def test_without_a_choice_the_findings_and_their_counts_are_named(nih):
    assert holds_findings(nih)
    with pytest.raises(DataError, match=r"--positive NAME.*--findings NAMES.*No Finding 2, Pneumonia 2.*Edema 1"):
        read_manifest(nih)
    with pytest.raises(DataError, match=r"unknown finding .*'Pnemonia'.*Did you mean 'Pneumonia'"):
        read_manifest(nih, findings=FindingPolicy(positive="Pnemonia"))
    with pytest.raises(DataError, match="are both 'Pneumonia'"):
        read_manifest(nih, findings=FindingPolicy(positive="Pneumonia", negative="pneumonia"))
    with pytest.raises(UsageError, match=r"--positive .* two classes, --findings Edema,Hernia"):
        FindingPolicy(("Edema", "Hernia"), positive="Edema")
    with pytest.raises(UsageError, match=r"--negative No Finding .* Name it with --positive"):
        FindingPolicy(negative="No Finding")


def test_the_official_lists_are_the_split(nih):
    (nih / "train_val_list.txt").write_text("\n".join(HERE[:4]) + "\n")
    alone = read_manifest(nih, findings=PNEUMONIA)
    assert "split" not in alone.frame
    assert any("train_val_list.txt is not read" in text for text in alone.notices)
    (nih / "test_list.txt").write_text("\n".join([*HERE[4:], ROWS[-1][0]]) + "\n")
    frame = read_manifest(nih, findings=PNEUMONIA).frame
    assert by_film(frame, "split") == dict(zip(HERE, ["train"] * 4 + ["test"] * 2, strict=True))
    (nih / "test_list.txt").write_text("\n".join(HERE[5:]) + "\n")
    with pytest.raises(DataError, match=r"1 films .* neither or both of train_val_list\.txt .* '00000004_000\.png'"):
        read_manifest(nih, findings=PNEUMONIA)


def test_the_table_of_2020_is_taken_first_and_its_trailing_comma_is_no_column(nih):
    rows = [row_text(row).replace("058Y", "58") + "," for row in ROWS[:5] if "006M" not in row]
    (nih / "Data_Entry_2017_v2020.csv").write_text("\n".join([HEADER.replace("Gender", "Sex") + ",", *rows]) + "\n")
    frame = read_manifest(nih, findings=PNEUMONIA).frame
    assert len(frame) == 4
    assert by_film(frame, "sex")["00000002_000.png"] == "F"
    assert not [name for name in frame if name.startswith("Unnamed")]
    assert frame["age"].isna().sum() == 0


def test_no_film_at_all_is_an_error_and_a_film_missing_from_another_table_still_is(nih, tmp_path):
    (nih / "empty").mkdir()
    (nih / "Data_Entry_2017.csv").rename(nih / "empty" / "Data_Entry_2017.csv")
    with pytest.raises(DataError, match=r"none of the 7 films listed in .*Data_Entry_2017.csv is below"):
        read_manifest(nih / "empty", findings=PNEUMONIA)
    pd.DataFrame({"path": ["images_001/images/00000001_000.png", "gone.png"], "label": ["A", "B|A"]}).to_csv(
        tmp_path / "own.csv", index=False
    )
    with pytest.raises(DataError, match=r"1 of 2 films listed in .* do not exist: 'gone\.png'"):
        read_manifest(tmp_path / "own.csv", findings=FindingPolicy(positive="B"))


def test_ages_and_joined_labels_in_every_spelling():
    ages = age_in_years(pd.Series(["058Y", "18", 7, "006M", "073D", "1.5", "old", None]))
    np.testing.assert_allclose(ages, [58, 18, 7, 0.5, 73 / 365.25, 1.5, np.nan, np.nan])
    assert age_in_years(pd.Series([58, 60])).dtype == np.int64
    marks = joined_marks(pd.Series(["a | b", "b", " c|a", None]))
    assert list(marks) == ["a", "b", "c"]
    np.testing.assert_array_equal(marks, [[1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 0, 0]])


def test_any_label_column_may_join_findings(write_films, write_table):
    write_films("1.png", "2.png", "3.png", "4.png")
    paths = ["1.png", "2.png", "3.png", "4.png"]
    table = write_table({"path": paths, "class": list("uvuv"), "labels": ["A|B", "B", "C", "none"]})
    two = read_manifest(table, label_column="labels", findings=FindingPolicy(positive="B"))
    assert two.classes == ("B", "no B")
    assert two.frame["label"].tolist() == ["B", "B", "no B", "no B"]
    assert two.frame["labels"].tolist() == ["A|B", "B", "C", "none"]
    several = read_manifest(table, label_column="labels", findings=FindingPolicy(("A", "B")))
    np.testing.assert_array_equal(truth_of(several.frame, ("A", "B")), [[1, 1], [0, 1], [0, 0], [0, 0]])
    assert read_manifest(table).frame["label"].tolist() == list("uvuv")
    assert read_manifest(table, findings=FindingPolicy(positive="u")).classes == ("no u", "u")
    with pytest.raises(DataError, match="--label-column class names one class a film, --findings several"):
        read_manifest(table, label_column="class", findings=FindingPolicy(("u", "v")))


def test_class_folders_have_no_finding_to_choose(write_films):
    folder = write_films("A/a.png", "B/b.png")
    assert not holds_findings(folder)
    with pytest.raises(DataError, match=r"--positive.* read a table of findings, but .* class folders"):
        read_manifest(folder, findings=FindingPolicy(positive="A"))


def test_data_check_reads_it(nih):
    report = check_data(nih, findings=PNEUMONIA)
    assert dict(zip(report.counts["class"], report.counts["n_films"], strict=True)) == {
        "Pneumonia": 2,
        "no Pneumonia": 4,
    }
    assert {finding.kind for finding in report.findings} == {"small-class"}
    assert report.ok


@pytest.mark.films
def test_the_real_labels_give_the_real_classes(real_films):
    folder = real_films / "nih_cxr14"
    own = read_manifest(folder).frame
    policy = FindingPolicy(positive="Pneumonia", negative="No Finding")
    manifest = read_manifest(folder, label_column="nih_labels", findings=policy)
    assert manifest.frame["label"].map({"Pneumonia": "PNEUMONIA", "No Finding": "NO_FINDING"}).equals(own["label"])
    edema = read_manifest(folder, label_column="nih_labels", findings=FindingPolicy(positive="Edema"))
    assert edema.frame["label"].eq("Edema").equals(edema.frame["nih_labels"].str.contains("Edema"))
    split = prepare_splits(edema).frame
    assert split.groupby("patient")["split"].nunique().max() == 1
