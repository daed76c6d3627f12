"""Splits: whole patients, every class everywhere, the user's test untouched, the same films for any row order."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrkeras.data.manifest import Manifest, manifest_from_frame, read_manifest
from cxrkeras.data.splits import limit_films, prepare_splits
from cxrkeras.errors import DataError, UsageError


def manifest(rows, columns=("path", "label", "patient", "split")):
    return manifest_from_frame(pd.DataFrame(rows, columns=list(columns)), "/films")


def films(n, label, split=None, *, per_patient=1, prefix=""):
    """Rows `path, label, patient, split` of `n` films."""
    return [
        (f"{prefix}{split}{label}{i:03d}.png", label, f"{prefix}{split}{label}{i // per_patient}", split)
        for i in range(n)
    ]


def unsplit(n=60, labels="AB", per_patient=2):
    rows = [row[:3] for label in labels for row in films(n, label, per_patient=per_patient)]
    return manifest(rows, ("path", "label", "patient"))


def paths(prepared, split):
    return set(prepared.frame["path"][prepared.frame["split"].eq(split)])


def test_without_splits_both_are_carved():
    prepared = prepare_splits(unsplit(100))
    counts = prepared.frame.groupby(["split", "label"]).size()
    assert counts["test"].tolist() == [20, 20]
    assert counts["val"].tolist() == [8, 8]
    assert counts["train"].tolist() == [72, 72]
    assert any("Carved test" in notice for notice in prepared.notices)
    assert any("Carved val" in notice for notice in prepared.notices)


@settings(max_examples=25, deadline=None)
@given(
    patients=st.lists(st.tuples(st.integers(1, 4), st.sampled_from("ABC")), min_size=30, max_size=80),
    mixed=st.integers(0, 5),
    seed=st.integers(0, 1000),
)
def test_no_patient_is_in_two_splits_and_no_class_is_missing(patients, mixed, seed):
    sized = [*patients, *[(1, label) for label in "ABC" for _ in range(8)]]
    rows = [
        (f"f{number:03d}_{film}.png", "ABC"[film % 3] if number < mixed else label, f"p{number}")
        for number, (count, label) in enumerate(sized)
        for film in range(count)
    ]
    source = manifest(rows, ("path", "label", "patient"))
    prepared = prepare_splits(source, seed=seed)
    frame = prepared.frame
    assert frame.groupby("patient")["split"].nunique().max() == 1
    assert (frame.groupby("split")["label"].nunique() == 3).all()
    assert set(frame["split"]) == {"train", "val", "test"}
    assert set(frame["path"]) == {row[0] for row in rows}
    shuffled = source.frame.sample(frac=1, random_state=seed)
    again = prepare_splits(Manifest(shuffled, Path("/films"), source.classes, (), "shuffled"), seed=seed)
    assert again.frame.equals(frame)


def test_another_seed_carves_other_patients():
    first, second = (prepare_splits(unsplit(), seed=seed) for seed in (0, 1))
    assert paths(first, "test") != paths(second, "test")
    assert paths(first, "test") == paths(prepare_splits(unsplit(), seed=0), "test")


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.15, 0.25, 0.3])
def test_fractions_are_met(fraction):
    rows = [row for label in "AB" for row in films(200, label, "train") + films(20, label, "test")]
    prepared = prepare_splits(manifest(rows), validation_fraction=fraction)
    assert abs(len(paths(prepared, "val")) / 400 - fraction) <= 0.01


def test_the_given_test_split_is_untouched():
    rows = [row for label in "AB" for row in films(40, label, "train", per_patient=4) + films(7, label, "test")]
    prepared = prepare_splits(manifest(rows))
    assert paths(prepared, "test") == {row[0] for row in rows if row[3] == "test"}
    assert len(paths(prepared, "val")) == 8


@pytest.mark.parametrize(
    ("val", "reason"),
    [
        (films(8, "A", "val") + films(8, "B", "val"), "(16 films) has fewer than 20 films"),
        (films(30, "A", "val"), "(30 films) has no film of B"),
    ],
)
def test_an_unusable_validation_split_is_merged_into_train(val, reason):
    rows = [row for label in "AB" for row in films(50, label, "train") + films(10, label, "test")] + val
    prepared = prepare_splits(manifest(rows))
    assert any(reason in notice and "merged into train" in notice for notice in prepared.notices)
    assert len(paths(prepared, "train")) + len(paths(prepared, "val")) == 100 + len(val)
    assert (prepared.frame.groupby("split")["label"].nunique() == 2).all()


def test_a_usable_validation_split_stays():
    rows = [
        row
        for label in "AB"
        for split, n in (("train", 50), ("val", 10), ("test", 10))
        for row in films(n, label, split)
    ]
    source = manifest(rows)
    prepared = prepare_splits(source)
    assert prepared.frame.equals(source.frame)
    assert prepared.notices == ()


def test_only_test_is_carved_where_validation_is_given():
    rows = [row for label in "AB" for split, n in (("train", 50), ("val", 10)) for row in films(n, label, split)]
    prepared = prepare_splits(manifest(rows), test_fraction=0.2)
    assert paths(prepared, "val") == {row[0] for row in rows if row[3] == "val"}
    assert len(paths(prepared, "test")) == 20


def leaky():
    rows = [row for label in "AB" for row in films(40, label, "train") + films(10, label, "test")]
    return [*rows, ("leak_train.png", "A", "leak", "train"), ("leak_test.png", "A", "leak", "test")]


def test_a_patient_in_train_and_test_is_an_error_until_dropped():
    with pytest.raises(DataError, match=r"1 patients \(2 films\) .*train and test.*: leak\. .*--drop-shared"):
        prepare_splits(manifest(leaky()))
    prepared = prepare_splits(manifest(leaky()), drop_shared=True)
    assert "leak_train.png" not in set(prepared.frame["path"])
    assert "leak_test.png" in paths(prepared, "test")
    assert len(prepared) == 101
    assert any("1 from train" in notice for notice in prepared.notices)


def kermany(*extra):
    rows = [(f"IM-{i:04d}-0001.png", "NORMAL", f"N1_{i:04d}", "train" if i < 60 else "test") for i in range(80)]
    rows += [
        (f"person{i}_bacteria_{i}.png", "PNEUMONIA", f"P{i:04d}", "train" if i < 60 else "test") for i in range(80)
    ]
    return [*rows, *extra]


def test_a_kermany_number_across_types_is_a_notice():
    virus = ("person70_virus_1.png", "PNEUMONIA", "P0070", "train")
    prepared = prepare_splits(manifest(kermany(virus)))
    assert any("1 patients" in notice and "may be two children" in notice for notice in prepared.notices)
    assert "person70_virus_1.png" in paths(prepared, "train") | paths(prepared, "val")
    dropped = prepare_splits(manifest(kermany(virus)), drop_shared=True)
    assert "person70_virus_1.png" not in set(dropped.frame["path"])
    with pytest.raises(DataError, match="P0070"):
        prepare_splits(manifest(kermany(("person70_bacteria_1.png", "PNEUMONIA", "P0070", "train"))))


def test_without_patients_each_film_is_its_own():
    rows = [row[:2] for label in "AB" for row in films(50, label)]
    prepared = prepare_splits(manifest(rows, ("path", "label")))
    assert "patient" not in prepared.frame
    assert len(paths(prepared, "test")) == 20
    assert any("each film taken as its own patient" in notice for notice in prepared.notices)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [r for label in "AB" for r in films(30, label, "train")] + films(5, "A", "test"),
            "split test has no film of B",
        ),
        ([r for label in "AB" for r in films(30, label, "test")], "no training films"),
        (
            films(30, "A", "train")
            + films(30, "B", "train", per_patient=30)
            + films(5, "A", "test")
            + films(5, "B", "test"),
            "class 'B' has films of one patient only",
        ),
        (films(30, "A", "train") + films(5, "A", "test") + films(5, "B", "test"), "split train has no film of B"),
    ],
)
def test_a_class_that_would_miss_a_split_is_an_error(rows, message):
    with pytest.raises(DataError, match=message):
        prepare_splits(manifest(rows))


def test_classes_that_share_all_their_patients_may_still_be_split():
    rows = [(f"{label}{i}.png", label, f"p{i}") for i in range(20) for label in "AB"]
    frame = prepare_splits(manifest(rows, ("path", "label", "patient"))).frame
    assert frame.groupby("patient")["split"].nunique().max() == 1
    assert frame["split"].value_counts()["test"] == 8


@pytest.mark.parametrize("options", [{"validation_fraction": 0}, {"test_fraction": 0.5}])
def test_fractions_have_a_range(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        prepare_splits(unsplit(), **options)


def test_limits_are_nested_and_hold_per_class_and_split():
    prepared = prepare_splits(unsplit(100))
    five, ten = (limit_films(prepared, n, seed=3) for n in (5, 10))
    assert set(five.frame["path"]) < set(ten.frame["path"])
    assert (five.frame.groupby(["split", "label"]).size() == 5).all()
    assert ten.frame.groupby(["split", "label"]).size().to_dict()[("val", "A")] == 8
    assert five.frame["path"].is_monotonic_increasing
    assert five.frame.index.tolist() == list(range(30))
    assert set(limit_films(prepared, 5, seed=4).frame["path"]) != set(five.frame["path"])
    assert five.notices[-1] == "Limited to 5 films per class and split: 30 of 200 films."
    with pytest.raises(UsageError, match="received 0"):
        limit_films(prepared, 0)


def test_limits_work_without_splits_and_for_any_row_order():
    source = unsplit(30)
    shuffled = Manifest(source.frame.sample(frac=1, random_state=0), source.root, source.classes, (), "shuffled")
    chosen = limit_films(source, 4, seed=1).frame
    assert chosen["label"].value_counts().to_dict() == {"A": 4, "B": 4}
    assert set(limit_films(shuffled, 4, seed=1).frame["path"]) == set(chosen["path"])


@pytest.mark.films
@pytest.mark.parametrize("options", [{}, {"split_column": "iid_split"}, {"label_column": "subtype"}])
def test_kermany_is_carved_stratified(real_films, options):
    source = read_manifest(real_films / "kermany", **options)
    prepared = prepare_splits(source)
    assert paths(prepared, "test") == set(source.frame["path"][source.frame["split"].eq("test")])
    counts = prepared.frame.groupby(["split", "label"]).size()
    np.testing.assert_array_equal(counts["val"], counts["train"] // 9)
    assert counts["val"].sum() == 60


@pytest.mark.films
def test_nih_patients_stay_together(real_films):
    frame = prepare_splits(read_manifest(real_films / "nih_cxr14")).frame
    assert frame.groupby("patient")["split"].nunique().max() == 1
    val = frame[frame["split"].eq("val")]["label"].value_counts()
    assert abs(val["NO_FINDING"] - 35) <= 2
    assert abs(val["PNEUMONIA"] - 27) <= 2
