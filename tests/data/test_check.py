"""The check finds every planted fault, tells errors from warnings, and survives films that cannot be read."""

import shutil

import numpy as np
import pytest

from cxrkeras.data.check import check_data, findings_table
from cxrkeras.errors import DataError

SPLITS = ("train", "val", "test")


def sound(n=10):
    """Paths of a sound set, `n` films per split and class, each its own Kermany patient."""
    rows = []
    for place, split in enumerate(SPLITS):
        for i in range(n):
            number = 100 * place + i
            rows += [f"{split}/NORMAL/IM-{number:04d}-0001.png", f"{split}/PNEUMONIA/person{number}_virus_{number}.png"]
    return rows


def kinds(report):
    return [(finding.level, finding.kind) for finding in report.findings]


def only(report, kind):
    (finding,) = [finding for finding in report.findings if finding.kind == kind]
    return finding


def test_a_sound_set_has_no_findings(write_films):
    report = check_data(write_films(*sound()))
    assert report.findings == ()
    assert findings_table(report).empty
    assert report.ok
    assert report.counts.to_dict("list") == {
        "split": [split for split in SPLITS for _ in range(2)],
        "class": ["NORMAL", "PNEUMONIA"] * 3,
        "n_films": [10] * 6,
        "n_patients": [10] * 6,
    }


def test_all_unreadable_films_are_found(write_films):
    root = write_films(*sound(), size=(32, 32))
    cut = root / "train/NORMAL/IM-0003-0001.png"
    cut.write_bytes(cut.read_bytes()[:200])
    (root / "test/PNEUMONIA/person203_virus_203.png").write_text("no film")
    (root / "val/NORMAL/IM-0104-0001.png").write_bytes(b"")
    report = check_data(root)
    assert kinds(report) == [("error", "unreadable")] * 3
    assert [finding.films for finding in report.findings] == [
        ("test/PNEUMONIA/person203_virus_203.png",),
        ("train/NORMAL/IM-0003-0001.png",),
        ("val/NORMAL/IM-0104-0001.png",),
    ]
    assert "truncated" in report.findings[1].message
    assert not report.ok


def test_a_patient_in_two_splits_is_an_error(write_films):
    root = write_films(*sound(), "test/NORMAL/IM-0003-0002.png")
    report = check_data(root)
    assert kinds(report) == [("error", "shared-patient")]
    assert report.findings[0].films == ("test/NORMAL/IM-0003-0002.png", "train/NORMAL/IM-0003-0001.png")
    assert "N1_0003" in report.findings[0].message
    counts = report.counts.set_index(["split", "class"])
    assert counts.loc[("test", "NORMAL"), "n_films"] == 11


def test_a_kermany_number_across_types_is_a_warning(write_films):
    root = write_films(*sound(), "test/PNEUMONIA/person3_bacteria_9.png", "train/PNEUMONIA/person4_bacteria_9.png")
    report = check_data(root)
    assert kinds(report) == [("warning", "same-number")]
    assert report.ok
    assert "2 Kermany numbers" in report.findings[0].message
    assert "1 of them across splits" in report.findings[0].message
    assert report.findings[0].films == (
        "test/PNEUMONIA/person3_bacteria_9.png",
        "train/PNEUMONIA/person3_virus_3.png",
        "train/PNEUMONIA/person4_bacteria_9.png",
        "train/PNEUMONIA/person4_virus_4.png",
    )


def test_identical_bytes_across_splits_are_an_error_and_inside_a_warning(write_films):
    root = write_films(*sound())
    shutil.copy(root / "train/NORMAL/IM-0001-0001.png", root / "test/NORMAL/IM-0999-0001.png")
    shutil.copy(root / "val/NORMAL/IM-0102-0001.png", root / "val/PNEUMONIA/person999_virus_1.png")
    report = check_data(root)
    assert kinds(report) == [("error", "shared-bytes"), ("warning", "duplicate-bytes")]
    assert only(report, "shared-bytes").films == ("test/NORMAL/IM-0999-0001.png", "train/NORMAL/IM-0001-0001.png")
    assert "different labels" not in only(report, "shared-bytes").message
    assert "1 of them under different labels" in only(report, "duplicate-bytes").message
    assert not report.ok


def test_a_one_class_split_is_an_error(write_films):
    root = write_films(*[path for path in sound() if not path.startswith("test/NORMAL")])
    report = check_data(root)
    assert only(report, "one-class-split").level == "error"
    assert len(only(report, "one-class-split").films) == 10
    small = only(report, "small-class")
    assert (small.level, small.films) == ("warning", ())
    assert "'NORMAL' has 0 films in split test" in small.message


def test_nine_films_are_few(write_films):
    root = write_films(*sound())
    (root / "val/NORMAL/IM-0100-0001.png").unlink()
    report = check_data(root)
    assert kinds(report) == [("warning", "small-class")]
    assert len(report.findings[0].films) == 9
    (row,) = findings_table(report).to_dict("records")
    assert (row["level"], row["kind"], row["n_films"]) == ("warning", "small-class", 9)
    assert row["message"] == report.findings[0].message
    assert row["films"] == ", ".join(report.findings[0].films[:5]) + ", …"


def test_missing_patients_and_names_that_clash(write_films, write_table):
    root = write_films(*[f"{label}/{i}.png" for label in "AB" for i in range(10)])
    report = check_data(root)
    assert kinds(report) == [("warning", "no-patient"), ("warning", "name-clash")]
    assert len(only(report, "no-patient").films) == 20
    assert len(only(report, "name-clash").films) == 20
    assert report.counts["split"].tolist() == ["all", "all"]
    assert np.isnan(report.counts["n_patients"]).all()


def test_columns_are_passed_on(write_films, write_table):
    films = [f"{i}.png" for i in range(40)]
    write_films(*films)
    file = write_table(
        {
            "path": films,
            "kind": ["A", "B"] * 20,
            "who": [f"p{i // 2}" for i in range(40)],
            "part": ["train"] * 20 + ["test"] * 20,
        }
    )
    report = check_data(file, label_column="kind", patient_column="who", split_column="part")
    assert report.findings == ()
    assert report.counts["n_patients"].tolist() == [10] * 4
    with pytest.raises(DataError, match="Did you mean 'kind'"):
        check_data(file, label_column="kin")


@pytest.mark.films
@pytest.mark.parametrize("name", ["kermany", "nih_cxr14"])
def test_real_sets_are_sound(real_films, name):
    report = check_data(real_films / name)
    assert report.findings == ()
    expected = {
        "kermany": {"n_films": [300, 300, 100, 100], "n_patients": [300, 300, 100, 100]},
        "nih_cxr14": {"n_films": [350, 272, 149, 228], "n_patients": [233, 243, 99, 128]},
    }
    assert report.counts[["n_films", "n_patients"]].to_dict("list") == expected[name]
