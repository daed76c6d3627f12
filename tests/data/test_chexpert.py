"""Tables with several findings a film: CheXpert's and others', the policies for −1 and blanks, splits and checks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cxrkeras.data.check import check_data
from cxrkeras.data.findings import FindingPolicy, rarest_positives, truth_of
from cxrkeras.data.manifest import manifest_from_frame, read_manifest
from cxrkeras.data.splits import limit_films, prepare_splits
from cxrkeras.errors import DataError, UsageError

PAIR = ("Edema", "Cardiomegaly")
# two columns of six films: every pair of what a table may say
EDEMA = [1.0, 0.0, -1.0, None, -1.0, 1.0]
HEART = [0.0, None, 1.0, -1.0, -1.0, 1.0]
COLUMNS = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "Edema", "Cardiomegaly"]
N = np.nan


def table_of_six(prefix: str = "CheXpert-v1.0-small/", part: str = "train") -> pd.DataFrame:
    paths = [f"{prefix}{part}/patient0000{i}/study1/view1_frontal.jpg" for i in range(1, 7)]
    rows = [(path, "Male", 60 + i, "Frontal", "AP") for i, path in enumerate(paths)]
    return pd.DataFrame(
        [(*row, edema, heart) for row, edema, heart in zip(rows, EDEMA, HEART, strict=True)], columns=COLUMNS
    )


@pytest.fixture
def six(tmp_path, write_films):
    """`data/train.csv` of six films below the folder of films; the folder of the paths is not there."""
    frame = table_of_six()
    write_films(*("data/" + path.split("/", 1)[1] for path in frame["Path"]))
    frame.to_csv(tmp_path / "data" / "train.csv", index=False)
    return tmp_path / "data" / "train.csv"


@pytest.mark.parametrize(
    ("uncertain", "blank", "edema", "heart"),
    [
        ("ignore", "zeros", [1, 0, N, 0, N, 1], [0, 0, 1, N, N, 1]),
        ("zeros", "zeros", [1, 0, 0, 0, 0, 1], [0, 0, 1, 0, 0, 1]),
        ("ones", "zeros", [1, 0, 1, 0, 1, 1], [0, 0, 1, 1, 1, 1]),
        ("ignore", "ignore", [1, 0, N, N, N, 1], [0, N, 1, N, N, 1]),
        ("ones", "ignore", [1, 0, 1, N, 1, 1], [0, N, 1, 1, 1, 1]),
    ],
)
def test_the_policies_of_irvin_2019(six, uncertain, blank, edema, heart):
    manifest = read_manifest(six, findings=FindingPolicy(PAIR, uncertain, blank))
    np.testing.assert_array_equal(truth_of(manifest.frame, PAIR), np.transpose([edema, heart]))
    joined = [
        "|".join(n for n, v in zip(PAIR, pair, strict=True) if v == 1) or "none"
        for pair in zip(edema, heart, strict=True)
    ]
    assert manifest.frame["label"].tolist() == joined
    assert manifest.classes == PAIR
    assert manifest.several
    words = {"ignore": "are unknown", "zeros": "count as 0", "ones": "count as 1"}
    told = " ".join(manifest.notices)
    assert f"--uncertain {uncertain}: 4 uncertain (−1) entries (Edema 2, Cardiomegaly 2) {words[uncertain]}." in told
    assert f"--blank {blank}: 2 blank entries (Edema 1, Cardiomegaly 1) {words[blank]}." in told
    # film 5 is −1 twice
    nothing = (
        "1 of 6 films have no known finding" if (uncertain, blank) == ("ignore", "zeros") else "films have no known"
    )
    assert (nothing in told) == (uncertain == "ignore")


def test_a_chexpert_table_keeps_patients_columns_and_what_was_written(six):
    frame = read_manifest(six, findings=FindingPolicy(PAIR)).frame
    assert frame["path"].iloc[0] == "train/patient00001/study1/view1_frontal.jpg"
    assert frame["patient"].tolist() == [f"patient0000{i}" for i in range(1, 7)]
    assert frame["age"].tolist() == [60, 61, 62, 63, 64, 65]
    assert set(frame["view"]) == {"frontal"}
    assert set(frame["projection"]) == {"AP"}
    np.testing.assert_array_equal(frame["Edema"], [1, 0, -1, N, -1, 1])
    assert "split" not in frame


@pytest.mark.parametrize("place", ["beside", "above", "as written"])
def test_the_folder_in_the_paths_may_be_there_or_not(tmp_path, write_films, place):
    frame = table_of_six()
    home = {"beside": "CheXpert-v1.0-small/", "above": "CheXpert-v1.0-small/", "as written": "x/CheXpert-v1.0-small/"}
    write_films(*(home[place] + path.split("/", 1)[1] for path in frame["Path"]))
    at = {"beside": tmp_path, "above": tmp_path / "CheXpert-v1.0-small", "as written": tmp_path / "x"}[place]
    frame.to_csv(at / "train.csv", index=False)
    manifest = read_manifest(at / "train.csv", findings=FindingPolicy(PAIR))
    assert all(file.is_file() for file in manifest.files())


def test_every_missing_film_is_named_and_none_replaced(six):
    for i in (2, 5):
        (six.parent / f"train/patient0000{i}/study1/view1_frontal.jpg").unlink()
    with pytest.raises(DataError, match="2 of 6 films") as error:
        read_manifest(six, findings=FindingPolicy(PAIR))
    for i in (2, 5):
        assert f"'CheXpert-v1.0-small/train/patient0000{i}/study1/view1_frontal.jpg'" in str(error.value)


def test_a_folder_gives_train_and_the_expert_labelled_test(six, write_films):
    valid = table_of_six(part="valid").assign(Path=lambda frame: frame["Path"].str.replace("patient0", "patient6"))
    write_films(*("data/" + path.split("/", 1)[1] for path in valid["Path"]))
    valid.to_csv(six.parent / "valid.csv", index=False)
    manifest = read_manifest(six.parent, findings=FindingPolicy(PAIR, uncertain="ones"))
    assert manifest.frame["split"].value_counts().to_dict() == {"train": 6, "test": 6}
    assert set(manifest.frame["path"].str.split("/").str[0] + manifest.frame["split"]) == {"traintrain", "validtest"}
    assert any("valid.csv is split test" in text for text in manifest.notices)
    assert "split" not in read_manifest(six.parent / "valid.csv", findings=FindingPolicy(PAIR)).frame


def test_lateral_films_are_left_out_before_they_are_looked_for(six):
    frame = table_of_six()
    lateral = frame.iloc[:2].assign(**{"Frontal/Lateral": "Lateral", "AP/PA": None})
    lateral["Path"] = lateral["Path"].str.replace("frontal", "lateral")
    pd.concat([frame, lateral]).to_csv(six, index=False)
    manifest = read_manifest(six, findings=FindingPolicy(PAIR))
    assert len(manifest) == 6
    assert any(text.startswith("2 of 8 films are lateral") for text in manifest.notices)
    with pytest.raises(DataError, match="2 of 8 films listed"):
        read_manifest(six, findings=FindingPolicy(PAIR, views="all"))


def test_without_names_the_five_of_the_competition_are_read_and_all_means_every_one(six):
    from cxrkeras.data.chexpert import COMPETITION, FINDINGS

    assert len(FINDINGS) == 14
    table_of_six().reindex(columns=[*COLUMNS[:5], *FINDINGS]).assign(Edema=EDEMA).to_csv(six, index=False)
    assert read_manifest(six).classes == COMPETITION
    assert read_manifest(six, findings=FindingPolicy(("all",))).classes == FINDINGS
    assert read_manifest(six, findings=FindingPolicy(("edema", "Fracture"))).classes == ("Edema", "Fracture")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"findings": FindingPolicy(("Edma", "Cardiomegaly"))}, "unknown finding.*'Edma'.*Did you mean 'Edema'"),
        ({"findings": FindingPolicy(("Edema",))}, "two or more different columns.*--label-column"),
        ({"findings": FindingPolicy(("Edema", "edema"))}, "two or more different columns"),
        ({"findings": FindingPolicy(PAIR), "label_column": "Sex"}, "one class a film, --findings several"),
        ({"findings": FindingPolicy(PAIR), "patient_column": "Age"}, "--patient-column does not apply to the CheXpert"),
        ({"findings": FindingPolicy(("Edema", "Age"))}, "'Age'.*6 values that are no truth.*first '60'"),
        ({}, "unknown finding.*'Atelectasis'"),
    ],
)
def test_what_cannot_be_read_is_an_error(six, options, named):
    with pytest.raises(DataError, match=named):
        read_manifest(six, **options)


def test_a_policy_that_does_not_exist_or_would_change_nothing_is_refused(write_films):
    with pytest.raises(UsageError, match=r"--uncertain 'one'.*Did you mean 'ones'"):
        FindingPolicy(uncertain="one")
    folder = write_films("A/a.png", "B/b.png")
    with pytest.raises(DataError, match=r"--uncertain.*read by its class folders"):
        read_manifest(folder, findings=FindingPolicy(uncertain="ones"))
    assert read_manifest(folder, findings=FindingPolicy()).classes == ("A", "B")


def generic(write_films, write_table, n: int = 60, **more):
    """A table of our own kind: three films a patient; findings a (1 in 2), b (1 in 3) and c (1 in 10)."""
    paths = [f"f{i:03d}.png" for i in range(n)]
    write_films(*paths)
    at = np.arange(n) // 3
    columns = {"path": paths, "patient": [f"p{i}" for i in at], "label": ["x"] * n}
    return write_table({**columns, "a": at % 2, "b": (at % 3 == 0) * 1, "c": (at % 10 == 0) * 1, **more}, "films.csv")


def test_any_table_with_named_columns_is_read_and_its_label_kept(write_films, write_table):
    manifest = read_manifest(generic(write_films, write_table), findings=FindingPolicy(("b", "a")))
    assert manifest.classes == ("b", "a")
    assert manifest.frame["label"].tolist()[:10] == ["b"] * 3 + ["a"] * 3 + ["none"] * 3 + ["b|a"]
    assert set(manifest.frame["original_label"]) == {"x"}
    with pytest.raises(DataError, match="no CheXpert table"):
        read_manifest(manifest.root / "films.csv", findings=FindingPolicy(("all",)))


@pytest.mark.parametrize(("name", "message"), [("x|y", r"'x\|y' .*joins findings"), ("none", "films without any")])
def test_a_finding_has_no_name_that_labels_write_otherwise(write_films, write_table, name, message):
    table = generic(write_films, write_table, **{name: [0, 1] * 30})
    with pytest.raises(DataError, match=message):
        read_manifest(table, findings=FindingPolicy(("a", name)))


def test_truth_columns_are_read_back_as_they_are(write_films, write_table):
    policy = FindingPolicy(("b", "a"), blank="ignore")
    first = read_manifest(generic(write_films, write_table, b=[1, 0, None] * 20), findings=policy)
    first.frame.to_csv(first.root / "again.csv", index=False)
    again = read_manifest(first.root / "again.csv")
    assert again.several
    assert again.classes == ("b", "a")
    pd.testing.assert_frame_equal(again.frame[first.frame.columns], first.frame, check_dtype=False)


def test_splits_keep_patients_together_and_every_finding_on_both_sides(write_films, write_table):
    names = ("a", "b", "c")
    manifest = read_manifest(generic(write_films, write_table, 120), findings=FindingPolicy(names))
    made = prepare_splits(manifest, seed=1)
    frame = made.frame
    assert frame.groupby("patient")["split"].nunique().max() == 1
    for split in ("train", "val", "test"):
        truth = truth_of(frame[frame["split"] == split], names)
        assert ((truth == 1).any(axis=0) & (truth == 0).any(axis=0)).all(), split
    assert frame["split"].value_counts().to_dict() == {"train": 87, "test": 24, "val": 9}
    again = prepare_splits(
        manifest_from_frame(manifest.frame.sample(frac=1, random_state=0), ".", findings=names), seed=1
    )
    assert again.frame.set_index("path")["split"].equals(frame.set_index("path")["split"])
    few = limit_films(made, 3).frame
    strata = made.strata.to_numpy()[frame["path"].isin(few["path"]).to_numpy()]
    assert few.groupby(["split", strata]).size().max() == 3
    assert set(few["label"]) == set(frame["label"])


def test_a_finding_that_cannot_be_everywhere_is_told_or_refused(write_films, write_table):
    lone = [1] * 3 + [0] * 57
    table = generic(write_films, write_table, lone=lone)
    made = prepare_splits(read_manifest(table, findings=FindingPolicy(("a", "lone"))), seed=0)
    assert made.frame.loc[made.frame["lone"].eq(1), "split"].nunique() == 1
    told = [text for text in made.notices if "no positive film of lone" in text]
    # its one patient is in one split; had it not been train, there would be nothing to learn
    assert [text.split()[1] for text in told] == ["val", "test"]
    never = generic(write_films, write_table, never=[0] * 60)
    with pytest.raises(DataError, match="split train has no positive film of never"):
        prepare_splits(read_manifest(never, findings=FindingPolicy(("a", "never"))), seed=0)


def test_the_stratum_of_a_film_is_its_rarest_positive():
    frame = pd.DataFrame({"truth_a": [1, 1, 1, 0], "truth_b": [1, 0, N, N]})
    assert rarest_positives(frame, ("a", "b")).tolist() == ["b", "a", "a", "none"]


def test_data_check_counts_sides_and_names_a_finding_that_has_one_only(write_films, write_table):
    split = ["train"] * 30 + ["test"] * 30
    table = generic(write_films, write_table, split=split, d=[1, 0, -1] * 10 + [0] * 30)
    report = check_data(table, findings=FindingPolicy(("a", "d")))
    counts = report.counts.set_index(["split", "class"])
    assert counts.loc[("train", "d")].to_dict() == {"n_films": 10, "n_patients": 10, "n_negative": 10, "n_unknown": 10}
    assert counts.loc[("test", "d"), "n_films"] == 0
    errors = [finding for finding in report.findings if finding.level == "error"]
    assert [finding.kind for finding in errors] == ["one-sided-finding"]
    assert "finding 'd' has no positive film in split test" in errors[0].message
    assert not report.ok
    assert check_data(table, findings=FindingPolicy(("a", "b"))).ok
