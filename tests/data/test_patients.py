"""The grammar of Kermany file names, and patients in two splits."""

import pandas as pd
import pytest

from cxrkeras.data.patients import (
    FilmName,
    film_name,
    patients_from_names,
    same_number_patients,
    shared_patients,
)


@pytest.mark.parametrize(
    ("path", "patient", "kind"),
    [
        ("person7_virus_13.jpeg", "P0007", "virus"),
        ("train/PNEUMONIA/person7_bacteria_25.jpeg", "P0007", "bacteria"),
        ("person1946_bacteria_4875.jpeg", "P1946", "bacteria"),
        ("person1_virus_6 (1).jpeg", "P0001", "virus"),
        ("IM-0115-0001.jpeg", "N1_0115", "normal"),
        ("IM-0115-0001-0002.jpeg", "N1_0115", "normal"),
        ("NORMAL2-IM-1427-0001.jpeg", "N2_1427", "normal"),
        ("NORMAL2-IM-0115-0001-0001.jpeg", "N2_0115", "normal"),
        ("NORMAL-28501-0001.jpeg", "N3_28501", "normal"),
        ("BACTERIA-1008087-0001.jpeg", "P3_1008087", "bacteria"),
        ("VIRUS-1008087-0002.jpeg", "P3_1008087", "virus"),
    ],
)
def test_kermany_names_give_patient_and_kind(path, patient, kind):
    assert film_name(path) == FilmName(patient, kind)


@pytest.mark.parametrize(
    "path",
    [
        "00000061_012.png",
        "Normal-12.png",
        "COVID-1.png",
        "person7.jpeg",
        "person_virus_1.jpeg",
        "IM-1.png",
        "p0001_1.png",
    ],
)
def test_other_names_carry_no_patient(path):
    assert film_name(path) is None
    assert patients_from_names([path]) == [""]


def test_series_one_and_two_are_different_children():
    first, second = patients_from_names(["IM-0115-0001.jpeg", "NORMAL2-IM-0115-0001.jpeg"])
    assert first != second


def films(*rows):
    frame = pd.DataFrame(rows, columns=["path", "split"])
    return frame.assign(patient=patients_from_names(frame["path"]))


def test_a_number_shared_across_types_only_is_told_apart_from_a_leak():
    frame = films(
        ("person1_bacteria_1.png", "train"),
        ("person1_virus_2.png", "test"),
        ("person2_bacteria_3.png", "train"),
        ("person2_bacteria_4.png", "test"),
        ("person3_bacteria_5.png", "train"),
        ("person3_virus_6.png", "train"),
        ("person3_virus_7.png", "test"),
        ("IM-0001-0001.png", "train"),
        ("IM-0001-0002.png", "test"),
        ("person4_virus_8.png", "train"),
        ("person4_virus_9.png", "train"),
    )
    found = {shared.patient: shared for shared in shared_patients(frame)}
    assert {name: shared.number_only for name, shared in found.items()} == {
        "P0001": True,
        "P0002": False,
        "P0003": False,
        "N1_0001": False,
    }
    assert found["P0001"].splits == ("test", "train")
    assert found["P0003"].films == ("person3_bacteria_5.png", "person3_virus_6.png", "person3_virus_7.png")
    assert same_number_patients(frame) == {
        "P0001": ("person1_bacteria_1.png", "person1_virus_2.png"),
        "P0003": ("person3_bacteria_5.png", "person3_virus_6.png", "person3_virus_7.png"),
    }


def test_nothing_is_shared_where_patients_or_splits_are_unknown():
    frame = films(("person1_bacteria_1.png", "train"), ("person1_bacteria_2.png", "test"))
    assert len(shared_patients(frame)) == 1
    assert shared_patients(frame.drop(columns="patient")) == []
    assert shared_patients(frame.drop(columns="split")) == []
    assert same_number_patients(frame.drop(columns="patient")) == {}


@pytest.mark.films
def test_names_give_the_patients_of_the_real_set(real_films):
    table = pd.read_csv(real_films / "kermany" / "manifest.csv", dtype=str)
    assert patients_from_names(table["path"]) == table["patient_group"].tolist()
