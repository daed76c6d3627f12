"""`cxrkeras data` from outside: one finding of a table checked, two sets joined."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image


@pytest.fixture
def table(tmp_path):
    """Twelve films of which every third has a mass, as TorchXRayVision lists them; two films a patient."""
    rng = np.random.default_rng(0)
    names = [f"{i:02d}.png" for i in range(12)]
    (tmp_path / "xrv").mkdir()
    for name in names:
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(tmp_path / "xrv" / name)
    at = np.arange(12)
    columns = {
        "imgid": names,
        "patientid": at // 2,
        "Mass": (at % 3 == 0) * 1.0,
        "Edema": np.where(at < 2, np.nan, at % 2),
    }
    pd.DataFrame(columns).to_csv(tmp_path / "xrv" / "films.csv", index=False)
    return tmp_path / "xrv" / "films.csv"


def test_check_counts_the_two_classes_of_one_finding(cx, table):
    code, out, err = cx("data", "check", table, "--positive", "edema", "--format", "json")
    assert code == 0
    counts = {row["class"]: (row["n_films"], row["n_patients"]) for row in json.loads(out)["counts"]}
    assert counts == {"Edema": (5, 5), "no Edema": (5, 5)}
    assert "2 of 12 films are unknown and left out" in err
    code, out, err = cx("data", "check", table)
    assert (code, out) == (1, "")
    assert "Edema 5 (2 unknown), Mass 4" in err
    code, _, err = cx("data", "check", table, "--negative", "Mass")
    assert code == 2
    assert "Name it with --positive" in err


def test_join_prints_what_it_wrote(cx, table, tmp_path):
    for name, label in (("a", "ill"), ("b", "well")):
        (tmp_path / "own" / label).mkdir(parents=True)
        Image.fromarray(np.full((8, 8), ord(name), np.uint8)).save(tmp_path / "own" / label / f"{name}.png")
    join = ("data", "join", f"x={table}", "own=own", "--positive", "Mass", "--map-class", "Mass=ill")
    code, out, err = cx(*join, "--out", "two.csv", "--format", "csv")
    assert code == 1
    assert "x: ill, no Mass; own: ill, well" in err
    code, out, err = cx(*join, "--map-class", "no Mass=well", "--out", "two.csv", "--format", "csv")
    assert code == 0
    counts = pd.read_csv(io.StringIO(out))
    assert counts["films"].tolist() == [1, 1, 4, 8]
    assert counts["set"].tolist() == ["own", "own", "x", "x"]
    written = pd.read_csv(tmp_path / "two.csv")
    assert written["hospital"].value_counts().to_dict() == {"x": 12, "own": 2}
    code, out, _ = cx("data", "join", "x", "own=own", "--out", "three.csv")
    assert (code, out) == (2, "")
