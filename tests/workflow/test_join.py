"""Two hospitals as one manifest: prefixed patients, kept splits, the same classes, repeats named; read everywhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrkeras.data.manifest import read_manifest
from cxrkeras.errors import DataError, RunError, UsageError
from cxrkeras.events import Reporter
from cxrkeras.settings import DataSettings
from cxrkeras.workflow.dataset import configured_manifest
from cxrkeras.workflow.join import join_sets
from cxrkeras.workflow.selection import select


class Notices(Reporter):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def notice(self, text: str) -> None:
        self.texts.append(text)


def write_set(folder: Path, seed: int, labels: list[str], **columns) -> Path:
    """Films of random pixels with a manifest; two films a patient."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    names = [f"{i:02d}.png" for i in range(len(labels))]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / name)
    own = {"path": names, "label": labels, "patient": [f"p{i // 2}" for i in range(len(labels))], **columns}
    pd.DataFrame(own).to_csv(folder / "manifest.csv", index=False)
    return folder


@pytest.fixture
def sets(tmp_path):
    """Two hospitals of eight films; the second has other words for its classes, no `dose`, and a film of the first."""
    split = ["train"] * 4 + ["test"] * 4
    first = write_set(tmp_path / "films/a", 1, ["ill", "well"] * 4, split=split, sex=list("MF") * 4, dose=[1] * 8)
    second = write_set(tmp_path / "films/b", 2, ["P", "N"] * 4, split=split, sex=list("FM") * 4)
    shutil.copy(first / "02.png", second / "07.png")
    return [("A", first), ("B", second)]


RENAMED = [("P", "ill"), ("N", "well")]


def test_patients_are_prefixed_classes_renamed_and_every_film_says_whose_it_is(sets, tmp_path):
    told = Notices()
    joined = join_sets(sets, tmp_path / "out" / "two.csv", map_class=RENAMED, reporter=told)
    manifest = read_manifest(joined.file)
    frame = manifest.frame
    assert list(frame) == ["path", "label", "patient", "split", "hospital", "sex"]
    assert manifest.classes == ("ill", "well")
    assert manifest.root == tmp_path / "films"
    assert frame["path"].tolist() == [f"{name}/{i:02d}.png" for name in "ab" for i in range(8)]
    assert frame["hospital"].tolist() == ["A"] * 8 + ["B"] * 8
    assert frame["patient"].tolist() == [f"{name}:p{i // 2}" for name in "AB" for i in range(8)]
    assert frame["label"].tolist() == ["ill", "well"] * 8
    assert frame["sex"].tolist() == list("MFMFMFMFFMFMFMFM")
    assert frame["split"].tolist() == (["train"] * 4 + ["test"] * 4) * 2
    assert joined.counts.to_dict("list") == {
        "set": ["A"] * 4 + ["B"] * 4,
        "class": ["ill", "ill", "well", "well"] * 2,
        "split": ["test", "train"] * 4,
        "films": [2] * 8,
        "patients": [2] * 8,
    }
    assert joined.duplicates["set"].tolist() == ["A", "B"]
    assert [Path(path).name for path in joined.duplicates["path"]] == ["02.png", "07.png"]
    assert joined.duplicates["sha256"].nunique() == 1
    assert any(text.startswith("1 films are in more than one set") for text in told.texts)
    assert "Columns that not every set has are left out: dose." in told.texts


def test_the_same_sets_may_be_joined_again_and_others_never_overwrite_them(sets, tmp_path):
    file = tmp_path / "two.csv"
    join_sets(sets, file, map_class=RENAMED)
    before = file.read_bytes()
    join_sets(sets, file, map_class=RENAMED)
    assert file.read_bytes() == before
    with pytest.raises(RunError, match=r"two\.csv exists with other films"):
        join_sets(sets, file, map_class=RENAMED, column="site")
    assert file.read_bytes() == before


def test_splits_stay_only_where_every_set_has_them(sets, tmp_path):
    file = sets[1][1] / "manifest.csv"
    table = pd.read_csv(file)
    told = Notices()
    table.assign(split=["train"] * 3 + ["val"] + ["test"] * 4).to_csv(file, index=False)
    joined = join_sets(sets, tmp_path / "val.csv", map_class=RENAMED, reporter=told)
    assert read_manifest(joined.file).frame["split"].tolist() == (["train"] * 4 + ["test"] * 4) * 2
    assert any("val films count as train" in text for text in told.texts)
    table.drop(columns="split").to_csv(file, index=False)
    joined = join_sets(sets, tmp_path / "none.csv", map_class=RENAMED, reporter=told)
    assert "split" not in read_manifest(joined.file).frame
    assert any("The splits are left out" in text and "A: test, train; B: none" in text for text in told.texts)


def test_a_set_without_patients_keeps_each_film_its_own(sets, tmp_path):
    file = sets[1][1] / "manifest.csv"
    pd.read_csv(file).drop(columns="patient").to_csv(file, index=False)
    joined = join_sets(sets, tmp_path / "two.csv", map_class=RENAMED)
    frame = read_manifest(joined.file).frame
    assert frame["patient"].tolist() == [f"A:p{i // 2}" for i in range(8)] + [f"b/{i:02d}.png" for i in range(8)]
    assert joined.counts["patients"].isna().tolist() == [False] * 4 + [True] * 4


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, DataError, r"same classes.*A: ill, well; B: N, P.*--map-class"),
        ({"map_class": [("Q", "ill")]}, UsageError, r"unknown class of the sets 'Q'"),
        ({"map_class": RENAMED, "column": "sex"}, DataError, r"column 'sex' cannot name the set"),
        ({"map_class": RENAMED, "column": "split"}, DataError, r"column 'split' cannot name the set"),
        ({"map_class": RENAMED, "positive": "ill"}, UsageError, r"none of the sets is a table of findings"),
    ],
)
def test_what_cannot_be_joined(sets, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        join_sets(sets, tmp_path / "two.csv", **options)
    assert not (tmp_path / "two.csv").exists()


@pytest.mark.parametrize("names", [("A", "A"), ("A",), ("A", "b/c")])
def test_two_sets_or_more_need_different_plain_names(sets, tmp_path, names):
    with pytest.raises(UsageError, match="two sets or more of different names"):
        join_sets([(name, sets[0][1]) for name in names], tmp_path / "two.csv")


@pytest.fixture
def nih(phantom_folder, tmp_path):
    """The phantom films as NIH lists them: lobar films have a pneumonia, some of them an edema too."""
    films = pd.read_csv(phantom_folder / "manifest.csv")
    stems = films["path"].map(lambda path: Path(path).stem)
    lobar = films["label"].eq("lobar")
    labels = lobar.map({True: "Pneumonia", False: "No Finding"}).mask(lobar & (films.index % 2 == 0), "Edema|Pneumonia")
    named = {"Image Index": stems + ".png", "Finding Labels": labels, "Patient ID": films["patient"].str[1:]}
    shutil.copytree(phantom_folder, tmp_path / "nih", ignore=shutil.ignore_patterns("manifest.csv", "masks*"))
    pd.DataFrame({**named, "Patient Age": "050Y"}).to_csv(tmp_path / "nih" / "Data_Entry_2017.csv", index=False)
    return tmp_path / "nih"


def test_a_finding_of_one_set_meets_the_classes_of_another(nih, phantom_folder, tmp_path):
    joined = join_sets(
        [("phantom", phantom_folder), ("nih", nih)],
        tmp_path / "two.csv",
        positive="Pneumonia",
        map_class=[("Pneumonia", "lobar"), ("no Pneumonia", "normal")],
    )
    settings = DataSettings(path=str(joined.file))
    frame = configured_manifest(settings).frame
    truth = pd.read_csv(phantom_folder / "manifest.csv")["label"].value_counts()
    for name in ("phantom", "nih"):
        assert frame[frame["hospital"] == name]["label"].value_counts().to_dict() == truth.to_dict()
    assert set(frame["split"]) == {"train", "val", "test"}
    # every film is in both sets
    assert len(joined.duplicates) == len(frame)


def test_settings_and_outside_films_take_one_finding(nih, opened):
    settings = DataSettings(path=str(nih), positive="Pneumonia", negative="No Finding")
    assert configured_manifest(settings).classes == ("No Finding", "Pneumonia")
    ours = [("Pneumonia", "lobar"), ("No Finding", "normal")]
    selection = select(opened, data=nih, positive="Pneumonia", negative="No Finding", map_class=ours)
    pd.testing.assert_series_equal(
        selection.frame["label"].eq("lobar"), selection.frame["finding_labels"].str.contains("Pneumonia"),
        check_names=False,
    )  # fmt: skip
    assert len(selection) == 80
    with pytest.raises(DataError, match="--positive NAME"):
        select(opened, data=nih)
    # a run that was trained on one finding reads such a table as its own was read
    opened.config = opened.config.model_copy(update={"data": settings})
    again = select(opened, data=nih, map_class=ours)
    assert again.frame["label"].tolist() == selection.frame["label"].tolist()
    with pytest.raises(UsageError, match="--positive and --map-class describe --data"):
        select(opened, positive="Pneumonia")


@pytest.mark.films
def test_real_hospitals_join(real_films, tmp_path):
    told = Notices()
    both = [("kermany", real_films / "kermany"), ("nih", real_films / "nih_cxr14")]
    joined = join_sets(both, tmp_path / "two.csv", map_class=[("NO_FINDING", "NORMAL")], reporter=told)
    frame = read_manifest(joined.file).frame
    assert frame.groupby(["hospital", "label"]).size().to_dict() == {
        ("kermany", "NORMAL"): 400,
        ("kermany", "PNEUMONIA"): 400,
        ("nih", "NORMAL"): 499,
        ("nih", "PNEUMONIA"): 500,
    }
    assert frame.groupby("hospital")["patient"].nunique().to_dict() == {"kermany": 800, "nih": 682}
    assert frame.groupby("patient")["split"].nunique().max() == 1
    assert joined.duplicates.empty
    assert not any("more than one set" in text for text in told.texts)
