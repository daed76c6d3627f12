"""Names of findings and of films: aliases, spellings, and which film an annotation means."""

from __future__ import annotations

import pytest

from cxrkeras.data.annotations import ALIASES, canonical_finding, matched_films
from cxrkeras.data.annotations.names import canonical_findings
from cxrkeras.errors import DataError


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("Airspace Opacity", "Lung Opacity"),
        ("Lung Opacity", "Lung Opacity"),
        ("airspace_opacity", "Lung Opacity"),
        ("LUNG OPACITY", "Lung Opacity"),
        ("Infiltrate", "Infiltration"),
        ("infiltration", "Infiltration"),
        ("Pleural_Thickening", "Pleural Thickening"),
        ("  enlarged   cardiomediastinum ", "Enlarged Cardiomediastinum"),
        ("PNEUMONIA", "Pneumonia"),
        ("Effusion", "Effusion"),
        ("Pleural Effusion", "Pleural Effusion"),
        ("my_own  Sign", "my own Sign"),
    ],
)
def test_a_finding_has_one_name(written, canonical):
    assert canonical_finding(written) == canonical
    assert canonical_finding(canonical) == canonical


def test_both_names_of_an_alias_meet():
    assert ALIASES == {"Airspace Opacity": "Lung Opacity", "Infiltrate": "Infiltration"}
    assert all(canonical_finding(name) == canonical_finding(to) == to for name, to in ALIASES.items())


def test_every_renaming_is_told_once():
    names, notices = canonical_findings(["Infiltrate", "Mass", "Infiltrate", "Tube", "TUBE", "mass"])
    assert names == {"Infiltrate": "Infiltration", "Mass": "Mass", "Tube": "Tube", "TUBE": "Tube", "mass": "Mass"}
    assert notices == [
        "Finding 'Infiltrate' is read as 'Infiltration'.",
        "Finding 'TUBE' is read as 'Tube'.",
        "Finding 'mass' is read as 'Mass'.",
    ]


CHEXPERT = [f"CheXpert-v1.0-small/valid/patient{p}/study{s}/view1_frontal.jpg" for p, s in ((1, 1), (1, 2), (2, 1))]


@pytest.mark.parametrize(
    ("images", "ids", "expected"),
    [
        (["a/1.png"], ["b/1.png", "a/1.png"], [1]),
        (["1.png"], ["a/1.jpg", "b/1.png"], [1]),
        (["1.jpg", "1", "1.dcm"], ["test/1.png"], [0, 0, 0]),
        (["images/00000061_012.jpg", "00000061_012.png"], ["x/00000061_012.jpg", "x/00000062_012.jpg"], [0, 0]),
        (["./a\\1.png"], ["a/1.png"], [0]),
        (["y/a/1.png", "y/b/1.png"], ["x/a/1.png", "x/b/1.png"], [0, 1]),
        (["1.2.840.113"], ["1.2.840.113.png", "1.2.840.114.png"], [0]),
        (["patient1_study2_view1_frontal", "patient2_study1_view1_frontal"], CHEXPERT, [1, 2]),
        (["root/" + CHEXPERT[2], CHEXPERT[0]], CHEXPERT, [2, 0]),
        (["CheXpert/patient7/study1/a.jpg"], ["patient7_study1_a.png"], [0]),
        (["study2/view1_frontal.png"], CHEXPERT[:2], [1]),
    ],
)
def test_images_find_their_film(images, ids, expected):
    assert matched_films(images, ids) == dict(zip(images, expected, strict=True))


@pytest.mark.parametrize(
    ("images", "ids"),
    [
        (["2.png"], ["1.png"]),
        (["patient1_study1_view1_frontal"], CHEXPERT[2:]),
        # the same file name, but another patient's folder
        ([CHEXPERT[0]], [CHEXPERT[2]]),
        (["p10/p10000032/s50414267/a.jpg"], ["p10/p10000033/s50414267/a.jpg"]),
        (["1.PNG"], ["2.png"]),
    ],
)
def test_strangers_are_absent(images, ids):
    assert matched_films(images, ids) == {}


def test_a_film_of_the_same_name_in_another_folder_is_a_stranger_where_the_right_one_is_there():
    images = ["PNEUMONIA/1.png", "NORMAL/1.png", "1.png"]
    assert matched_films(images, ["test/NORMAL/1.png"]) == {"NORMAL/1.png": 0, "1.png": 0}


@pytest.mark.parametrize(
    ("images", "ids", "message"),
    [
        (["1.png"], ["a/1.png", "b/1.png"], r"image '1\.png'.*fits 2 films, first 'a/1\.png' and 'b/1\.png'"),
        (["1"], ["1.png", "1.jpg"], r"image '1'.*fits 2 films"),
        (["view1_frontal.jpg"], CHEXPERT, r"fits 3 films"),
        (["study1_view1_frontal"], CHEXPERT, r"fits 2 films"),
        (["a/1.png", "b/1.png"], ["c/1.png"], r"film 'c/1\.png' fits the images 'a/1\.png' and 'b/1\.png'"),
    ],
)
def test_ambiguous_names_are_refused(images, ids, message):
    with pytest.raises(DataError, match=message):
        matched_films(images, ids)
