"""TorchXRayVision's tables: a column a pathology, whose blanks are unknown until somebody says otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from cxrkeras.data.findings import FindingPolicy, truth_of
from cxrkeras.data.manifest import holds_findings, read_manifest
from cxrkeras.errors import DataError

N = np.nan
PNEUMONIA = [1.0, 0.0, N, -1.0, 0.0, 1.0]
EDEMA = [0.0, 0.0, 1.0, 0.0, N, 1.0]
PATHS = [f"{i}.png" for i in range(6)]


@pytest.fixture
def table(write_films, write_table):
    """Write a table of six films as the library's data sets hold it; more columns may be given."""

    def write(**more):
        write_films(*PATHS)
        columns = {
            "imgid": PATHS,
            "patientid": ["p1", "p1", "p2", "p3", "p4", "p5"],
            "age_years": [50.0, 51.5, N, 3, 4, 5],
        }
        people = {
            "sex_male": [True, False, True, False, False, False],
            "sex_female": [False, True, False, True, True, False],
        }
        return write_table({**columns, **people, "view": ["PA"] * 6, "Pneumonia": PNEUMONIA, "Edema": EDEMA, **more})

    return write


def labels(table, **policy):
    frame = read_manifest(table, findings=FindingPolicy(**policy)).frame
    return dict(zip(frame["path"].str[0].astype(int), frame["label"], strict=True))


@pytest.mark.parametrize(
    ("policy", "positive", "negative"),
    [
        ({}, [0, 5], [1, 4]),
        ({"blank": "zeros"}, [0, 5], [1, 2, 4]),
        ({"uncertain": "ones"}, [0, 3, 5], [1, 4]),
        ({"uncertain": "zeros", "blank": "zeros"}, [0, 5], [1, 2, 3, 4]),
    ],
)
def test_blanks_and_uncertain_entries_are_unknown_unless_the_policy_says(table, policy, positive, negative):
    found = labels(table(), positive="Pneumonia", **policy)
    assert [i for i, label in found.items() if label == "Pneumonia"] == positive
    assert [i for i, label in found.items() if label == "no Pneumonia"] == negative


def test_what_was_left_out_is_told(table):
    manifest = read_manifest(table(), findings=FindingPolicy(positive="Pneumonia"))
    assert "2 films Pneumonia, 2 no Pneumonia; 2 of 6 films are unknown and left out" in manifest.notices[-1]
    assert "whose blanks are unknown" in manifest.notices[0]


def test_without_a_column_for_it_no_finding_is_every_finding_absent(table):
    found = labels(table(), positive="Pneumonia", negative="No Finding")
    assert found == {0: "Pneumonia", 1: "No Finding", 5: "Pneumonia"}
    # with blanks as zeros film 4 is free of all, and film 2 has an edema
    found = labels(table(), positive="Pneumonia", negative="No Finding", blank="zeros")
    assert found == {0: "Pneumonia", 1: "No Finding", 4: "No Finding", 5: "Pneumonia"}
    # both findings, or neither, is no class
    found = labels(table(), positive="Pneumonia", negative="Edema", blank="zeros")
    assert found == {0: "Pneumonia", 2: "Edema"}


def test_one_finding_does_not_tell_that_a_film_is_free_of_all(write_films, write_table):
    write_films("0.png", "1.png")
    table = write_table({"path": ["0.png", "1.png"], "Mass": [1, 0], "side": ["left", "right"]})
    assert labels(table, positive="Mass") == {0: "Mass", 1: "no Mass"}
    with pytest.raises(DataError, match=r"unknown finding .*'No Finding'"):
        labels(table, positive="Mass", negative="No Finding")


def test_people_are_known_by_plain_names(table):
    frame = read_manifest(table(), findings=FindingPolicy(("Pneumonia", "Edema"))).frame
    assert frame["patient"].tolist() == ["p1", "p1", "p2", "p3", "p4", "p5"]
    np.testing.assert_array_equal(frame["age"], [50, 51.5, N, 3, 4, 5])
    assert frame["sex"].tolist() == ["M", "F", "M", "F", "F", ""]
    np.testing.assert_array_equal(truth_of(frame, ("Pneumonia",))[:, 0], [1, 0, N, N, 0, 1])


def test_all_means_every_pathology_of_the_table(table):
    manifest = read_manifest(table(**{"Lung Opacity": [1, 0] * 3, "score": [7] * 6}), findings=FindingPolicy(("all",)))
    assert manifest.classes == ("Pneumonia", "Edema", "Lung Opacity")


def test_a_choice_is_needed_and_the_error_counts(table):
    file = table()
    assert holds_findings(file)
    with pytest.raises(DataError, match=r"Positive films: Pneumonia 2 \(2 unknown\), Edema 2 \(1 unknown\)"):
        read_manifest(file)
    with pytest.raises(DataError, match=r"unknown finding .*'Hernia'.*Pneumonia, Edema"):
        read_manifest(file, findings=FindingPolicy(positive="Hernia"))


def test_a_table_with_a_class_is_still_read_by_it_and_a_column_nobody_asked_for_may_hold_anything(table):
    file = table(label=list("abcabc"), Mass=["70 kg"] * 6)
    assert not holds_findings(file)
    assert read_manifest(file).classes == ("a", "b", "c")
    manifest = read_manifest(file, findings=FindingPolicy(positive="Edema"))
    assert manifest.frame["label"].tolist() == ["no Edema", "no Edema", "Edema", "no Edema", "Edema"]
    assert manifest.frame["original_label"].tolist() == list("abcac")
