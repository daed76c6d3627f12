"""Label fractions: how many patients, of which class, nested, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrkeras.data.fractions import class_counts, label_fraction, patient_order
from cxrkeras.data.manifest import Manifest, read_manifest
from cxrkeras.data.splits import prepare_splits
from cxrkeras.errors import DataError, FilmError, RunError, UsageError
from cxrkeras.events import Reporter
from cxrkeras.workflow.dataset import configured_manifest, hashed_frame
from cxrkeras.workflow.fractions import fraction_settings, write_fractions


class Told(Reporter):
    def __init__(self):
        self.texts = []

    def notice(self, text):
        self.texts.append(text)


def manifest_of(counts, *, films=1, val=10, test=10, patients=True):
    """Patients per class in train, `films` each, with `val` and `test` single films per class."""
    rows = []
    for label, n in counts.items():
        for split, number in (("train", n), ("val", val), ("test", test)):
            for i in range(number):
                for film in range(films if split == "train" else 1):
                    patient = f"{label}{split}{i:04d}"
                    rows.append((f"{patient}_{film}.png", label, patient, split))
    frame = pd.DataFrame(rows, columns=["path", "label", "patient", "split"]).sort_values("path", ignore_index=True)
    frame = frame if patients else frame.drop(columns="patient")
    return Manifest(frame, None, tuple(sorted(counts)), (), "made up")


def train_of(manifest):
    return manifest.frame[manifest.frame["split"] == "train"]


def largest_remainder(sizes, number):
    """Hamilton's counts, by a sort of the remainders; ties to the smaller class."""
    quotas = [number * n / sum(sizes) for n in sizes]
    counts = [math.floor(quota) for quota in quotas]
    by_remainder = sorted(range(len(sizes)), key=lambda i: (counts[i] - quotas[i], sizes[i]))
    for i in by_remainder[: number - sum(counts)]:
        counts[i] += 1
    return counts


def test_a_tenth_of_a_thousand_patients_is_a_hundred_and_all_their_films():
    whole = manifest_of({"A": 620, "B": 300, "C": 80}, films=3)
    tenth = label_fraction(whole, 0.1, 0)
    drawn = train_of(tenth)
    assert drawn["patient"].nunique() == 100
    assert drawn.groupby("label")["patient"].nunique().to_dict() == {"A": 62, "B": 30, "C": 8}
    assert (drawn.groupby("patient").size() == 3).all()
    for split in ("val", "test"):
        pd.testing.assert_frame_equal(
            tenth.frame[tenth.frame["split"] == split][["path", "label"]].reset_index(drop=True),
            whole.frame[whole.frame["split"] == split][["path", "label"]].reset_index(drop=True),
        )
    assert set(tenth.frame["label_fraction"]) == {0.1}
    assert set(tenth.frame["fraction_seed"]) == {0}
    assert any("100 of 1000 patients, 300 of 3000 films" in notice for notice in tenth.notices)


@pytest.mark.parametrize("seed", [0, 7])
def test_one_percent_lies_in_ten_and_ten_in_all(seed):
    whole = manifest_of({"A": 500, "B": 300, "C": 200}, films=2)
    paths = [set(train_of(label_fraction(whole, fraction, seed))["path"]) for fraction in (0.01, 0.1, 1.0)]
    assert paths[0] < paths[1] < paths[2] == set(train_of(whole)["path"])
    assert [len(drawn) for drawn in paths] == [20, 200, 2000]
    other = set(train_of(label_fraction(whole, 0.1, seed + 1))["path"])
    assert len(other) == 200
    assert len(other & paths[1]) < 100, "another seed draws other patients"


@given(
    st.lists(st.integers(1, 60), min_size=2, max_size=5),
    st.integers(0, 3),
)
@settings(max_examples=25, deadline=None)
def test_every_number_of_patients_is_stratified(sizes, seed):
    names = [f"c{i}" for i in range(len(sizes))]
    films = pd.DataFrame([(f"{c}-{i}", c) for c, n in zip(names, sizes, strict=True) for i in range(n)])
    films.columns = ["path", "label"]
    order = patient_order(films, names, seed)
    assert sorted(order) == sorted(films["path"])
    drawn = np.zeros(len(sizes), int)
    for number, patient in enumerate(order, start=1):
        drawn[names.index(patient.partition("-")[0])] += 1
        over = drawn - number * np.array(sizes) / sum(sizes)
        assert over.max() < 1
        # the harmonic bound of always serving the class that is furthest behind
        assert over.min() > -sum(1 / k for k in range(2, len(sizes) + 1)) - 1e-9
        if len(sizes) == 2:
            assert drawn.tolist() == largest_remainder(sizes, number)


def test_no_patient_is_taken_back_where_largest_remainder_would():
    # Alabama: from 10 to 11 patients, Hamilton's counts of the third class fall from 2 to 1
    sizes = [6, 6, 2]
    assert (largest_remainder(sizes, 10), largest_remainder(sizes, 11)) == ([4, 4, 2], [5, 5, 1])
    names = ["A", "B", "C"]
    films = pd.DataFrame([(f"{c}-{i}", c) for c, n in zip(names, sizes, strict=True) for i in range(n)])
    films.columns = ["path", "label"]
    order = patient_order(films, names, 0)
    counted = [[sum(p[0] == c for p in order[:n]) for c in names] for n in range(1, 15)]
    assert sorted(counted[9]) == [2, 4, 4]
    assert counted[10][2] == 2
    assert counted[13] == sizes


def test_a_draw_knows_neither_the_order_of_rows_nor_the_other_classes_names():
    whole = manifest_of({"A": 40, "B": 60})
    shuffled = whole.with_frame(whole.frame.sample(frac=1, random_state=1))
    assert set(train_of(label_fraction(whole, 0.2, 3))["path"]) == set(
        train_of(label_fraction(shuffled, 0.2, 3))["path"]
    )


def test_a_patient_of_two_classes_is_whole_and_stands_for_the_rarer_one():
    rows = [(f"a{i}.png", "A", f"a{i}", "train") for i in range(90)]
    rows += [(f"b{i}{k}.png", k, f"b{i}", "train") for i in range(10) for k in "AB"]
    rows += [(f"{s}{k}.png", k, f"{s}{k}", s) for s in ("val", "test") for k in "AB"]
    frame = pd.DataFrame(rows, columns=["path", "label", "patient", "split"])
    whole = Manifest(frame, None, ("A", "B"), (), "made up")
    tenth = label_fraction(whole, 0.1, 0)
    drawn = train_of(tenth)
    # ten patients: one of the ten with a B, and both its films
    assert drawn["patient"].nunique() == 10
    assert drawn["patient"].str[0].value_counts().to_dict() == {"a": 9, "b": 2}
    assert drawn["label"].value_counts().to_dict() == {"A": 10, "B": 1}
    assert (tenth.frame.groupby("patient")["split"].nunique() == 1).all()
    assert class_counts(drawn, whole.classes).to_numpy().tolist() == [["A", 11, 10, 10, 10], ["B", 11, 10, 1, 1]]


def test_findings_joined_in_a_label_are_stratified_by_the_rarest():
    labels = ["none"] * 60 + ["Edema"] * 30 + ["Edema|Effusion"] * 10
    rows = [(f"{i}.png", label, f"p{i}", "train") for i, label in enumerate(labels)]
    rows += [(f"{s}.png", "Edema|Effusion", s, s) for s in ("val", "test")]
    frame = pd.DataFrame(rows, columns=["path", "label", "patient", "split"])
    whole = Manifest(frame, None, ("Edema", "Effusion"), (), "made up")
    drawn = train_of(label_fraction(whole, 0.2, 0))
    assert drawn["label"].value_counts().to_dict() == {"none": 12, "Edema": 6, "Edema|Effusion": 2}
    assert class_counts(drawn, whole.classes)["positives"].tolist() == [8, 2]
    with pytest.raises(DataError, match=r"has no film of Effusion.*smallest fraction that has it is"):
        label_fraction(whole, 0.02, 0)


def test_a_class_without_a_film_is_named_with_the_fraction_that_has_one():
    whole = manifest_of({"A": 150, "B": 48, "C": 2})
    with pytest.raises(DataError, match=r"label fraction 0\.1 of train is 20 of 200 patients .*no film of C") as error:
        label_fraction(whole, 0.1, 0)
    smallest = float(str(error.value).rsplit(" ", 1)[1].rstrip("."))
    drawn = train_of(label_fraction(whole, smallest, 0))
    assert drawn["label"].value_counts()["C"] == 1
    one_less = (drawn["patient"].nunique() - 1) / 200
    with pytest.raises(DataError, match="no film of C"):
        label_fraction(whole, one_less, 0)
    with pytest.raises(DataError, match=r"of A, B, C"):
        label_fraction(whole, 0.001, 0)
    with pytest.raises(DataError, match=r"fraction 0\.05 of val .*no film of C"):
        label_fraction(manifest_of({"A": 100, "B": 100, "C": 100}), 0.05, 0, scale_val=True)


def test_validation_leaks_labels_unless_it_shrinks_too():
    whole = manifest_of({"A": 500, "B": 500}, val=100)
    leaky = label_fraction(whole, 0.01, 0)
    assert leaky.frame["split"].value_counts().to_dict() == {"val": 200, "test": 20, "train": 10}
    assert any("Validation stays whole: its 200 labels, beside 10 of training" in text for text in leaky.notices)
    fair = label_fraction(whole, 0.1, 0, scale_val=True)
    assert fair.frame["split"].value_counts().to_dict() == {"train": 100, "val": 20, "test": 20}
    assert not any("Validation" in text for text in fair.notices)
    few = label_fraction(whole, 0.01, 0, scale_val=True)
    assert few.frame["split"].value_counts()["val"] == 2
    assert any("Validation has 2 films only" in text for text in few.notices)
    val = [set(drawn.frame.query("split == 'val'")["path"]) for drawn in (few, fair)]
    assert val[0] < val[1]


def test_films_without_patients_count_as_their_own():
    drawn = label_fraction(manifest_of({"A": 30, "B": 70}, patients=False), 0.1, 0)
    assert train_of(drawn)["label"].value_counts().to_dict() == {"B": 7, "A": 3}
    assert any("10 of 100 films, each taken as its own patient" in text for text in drawn.notices)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5, float("nan")])
def test_shares_are_shares(fraction):
    with pytest.raises(UsageError, match="more than 0 and at most 1"):
        label_fraction(manifest_of({"A": 3, "B": 3}), fraction)


def test_a_fraction_of_a_fraction_is_refused_and_splits_are_needed():
    whole = manifest_of({"A": 50, "B": 50})
    half = label_fraction(whole, 0.5, 0)
    with pytest.raises(DataError, match="a label fraction already"):
        label_fraction(half, 0.5, 0)
    assert len(train_of(label_fraction(label_fraction(whole, 1.0, 0), 0.5, 0))) == 50
    with pytest.raises(DataError, match="no splits"):
        label_fraction(whole.with_frame(whole.frame.drop(columns="split")), 0.5)


@pytest.fixture
def films_of(phantom_folder):
    return fraction_settings(None, phantom_folder, {"scale_val": True})


def test_written_fractions_are_read_as_they_were_drawn(films_of, phantom_folder, tmp_path):
    made = write_fractions(films_of, [0.8, 1, 0.5], 2, tmp_path / "a")
    again = write_fractions(films_of, [0.5, 0.8, 1], 2, tmp_path / "b")
    files = sorted(file.name for file in (tmp_path / "a").iterdir())
    drawn = [f"fraction-{fraction}-seed{seed}.csv" for fraction in (0.5, 0.8, 1) for seed in (0, 1)]
    assert files == [*drawn, "fractions.csv"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    pd.testing.assert_frame_equal(made.table, again.table)
    pd.testing.assert_frame_equal(made.table, pd.read_csv(tmp_path / "a" / "fractions.csv"))
    for name, rows in made.table.groupby("file"):
        written = pd.read_csv(tmp_path / "a" / name)
        read = prepare_splits(read_manifest(tmp_path / "a" / name)).frame
        # fewer than 20 validation films, which a user's own split would lose
        assert 0 < (read["split"] == "val").sum() < 20
        assert read["split"].value_counts().to_dict() == written["split"].value_counts().to_dict()
        assert set(read["patient"]) == set(written["patient"])
        assert "films_root" not in read
        assert read["path"].tolist() == [Path(path).relative_to(phantom_folder).as_posix() for path in written["path"]]
        train = read[read["split"] == "train"]
        assert set(rows["films"]) == {len(train)}
        assert set(rows["patients"]) == {train["patient"].nunique()}
        assert rows.set_index("class")["positives"].to_dict() == train["label"].value_counts().to_dict()
        assert (read.groupby("patient")["split"].nunique() == 1).all()
    paths = {name: set(pd.read_csv(tmp_path / "a" / name)["path"]) for name in files[:-1]}
    assert paths["fraction-0.5-seed1.csv"] < paths["fraction-0.8-seed1.csv"] < paths["fraction-1-seed1.csv"]


def test_a_configuration_draws_in_place_what_its_file_holds(films_of, tmp_path):
    write_fractions(films_of, [0.5], 2, tmp_path)
    in_place = configured_manifest(films_of.model_copy(update={"fraction": 0.5, "fraction_seed": 1}))
    by_file = configured_manifest(fraction_settings(None, tmp_path / "fraction-0.5-seed1.csv", {}))
    columns = ["path", "label", "patient", "split", "label_fraction", "fraction_seed"]
    pd.testing.assert_frame_equal(in_place.frame[columns], by_file.frame[columns])
    assert in_place.root == by_file.root
    assert "label_fraction" not in configured_manifest(films_of).frame


def test_nothing_is_written_where_one_fraction_cannot_be_drawn_or_would_be_overwritten(films_of, tmp_path):
    with pytest.raises(DataError, match="no film of"):
        write_fractions(films_of, [0.001, 1], 1, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    for fractions, seeds in (([], 1), ([0.5, 0.5], 1), ([1], 0)):
        with pytest.raises(UsageError, match="expected different fractions"):
            write_fractions(films_of, fractions, seeds, tmp_path / "a")
    write_fractions(films_of, [0.5], 1, tmp_path / "a")
    whole = films_of.model_copy(update={"scale_val": False})
    with pytest.raises(RunError, match="exists with other films"):
        write_fractions(whole, [0.5], 1, tmp_path / "a")


def test_every_missing_film_is_named(write_films, write_table):
    names = [f"{label}{i}.png" for label in "AB" for i in range(30)]
    write_films(*names[:25])
    with pytest.raises(DataError, match="35 of 60 films") as error:
        read_manifest(write_table({"path": names, "label": [name[0] for name in names]}))
    assert all(f"'{name}'" in str(error.value) for name in names[25:])
    assert not any(f"'{name}'" in str(error.value) for name in names[:25])


def test_films_that_went_away_are_all_named(write_films):
    root = write_films("a.png", "c.png")
    frame = pd.DataFrame({"path": ["a.png", "b.png", "c.png", "d.png"]})
    with pytest.raises(FilmError, match=r"2 films cannot be read: .*b\.png \(No such file.*d\.png \(No such file"):
        hashed_frame(frame, root)
    assert hashed_frame(frame.iloc[[0, 2]], root)["sha256"].str.len().tolist() == [64, 64]


def test_findings_are_written_as_they_were_found(write_films, write_table, tmp_path):
    names = [f"p{i:02d}.png" for i in range(60)]
    write_films(*names)
    truth = {"Edema": [float(i % 2) for i in range(60)], "Effusion": [[1, -1, 0, None][i % 4] for i in range(60)]}
    table = write_table({"path": names, "patient": names, **truth})
    policy = {"findings": ("Effusion", "Edema"), "uncertain": "ones"}
    settings, told = fraction_settings(None, table, policy), Told()
    made = write_fractions(settings, [0.5], 1, tmp_path / "made", reporter=told)
    words = 'with --findings "Effusion,Edema" --uncertain ones:'
    assert any(words in text for text in told.texts), "the counts hold under the same policy only"
    assert made.table["class"].tolist() == ["Effusion", "Edema"]
    file = tmp_path / "made" / "fraction-0.5-seed0.csv"
    whole, read = (pd.read_csv(source).set_index("path") for source in (table, file))
    assert "label" not in read
    for path, row in read.iterrows():
        found = whole.loc[Path(path).name, list(truth)]
        np.testing.assert_array_equal(row[list(truth)].astype(float), found.astype(float))
    with pytest.raises(DataError, match="lists several findings a film, so it says no class"):
        read_manifest(file)
    drawn = configured_manifest(fraction_settings(None, file, policy))
    train = drawn.frame[drawn.frame["split"] == "train"]
    assert made.table["films"].tolist() == [len(train)] * 2
    assert made.table["positives"].tolist() == [(train[f"truth_{name}"] == 1).sum() for name in ("Effusion", "Edema")]
