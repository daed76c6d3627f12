"""`cxrkeras fractions` from outside: what it writes, prints and refuses."""

from __future__ import annotations

import io
import subprocess
import sys

import pandas as pd
import pytest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fractions", "0,1"], "'0,1' is no list of shares. Expected each more than 0 and at most 1"),
        (["--fractions", "a"], "'a' is no list of shares"),
        (["--fractions", ".1,.1"], "expected different fractions"),
        (["--seeds", "0"], "--seeds"),
        (["--of", "test"], "--of"),
        (["--config", "kermany"], "names no films. Give them with --data"),
    ],
)
def test_wrong_use_ends_with_two_and_one_line(cx, phantom_folder, arguments, message):
    data = () if "--config" in arguments else ("--data", phantom_folder)
    code, out, err = cx("fractions", *data, "--out", "made", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_a_share_of_nothing_is_no_fraction_to_train_on(cx):
    code, _, err = cx("train", "--fraction", "0")
    assert code == 2
    assert "--fraction" in err


def test_manifests_and_their_table_are_written_and_printed(cx, phantom_folder, tmp_path):
    command = ("fractions", "--data", phantom_folder, "--of", "train", "--fractions", ".5,1", "--seeds", "2")
    code, out, err = cx(*command, "--out", "made", "--format", "csv")
    assert code == 0, err
    stored = pd.read_csv(tmp_path / "made" / "fractions.csv")
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(out)), stored)
    assert stored["fraction"].tolist() == [0.5] * 4 + [1.0] * 4
    assert stored["seed"].tolist() == [0, 0, 1, 1] * 2
    assert "Label fraction 0.5 of train (seed 0)" in err
    assert "more labels are used than the fraction says" in err
    for row in stored.itertuples():
        films = pd.read_csv(tmp_path / "made" / row.file)
        assert (films["split"] == "train").sum() == row.films
        own = films[(films["split"] == "train") & (films["label"] == row._3)]
        assert (len(own), own["patient"].nunique()) == (row.positives, row.positive_patients)
    code, out, _ = cx(*command, "--out", "made")
    assert code == 0
    assert "made/fractions.csv: train, a row a fraction, seed and class" in out
    code, _, err = cx(*command, "--scale-val", "--out", "made")
    assert code == 1
    assert "exists with other films. Choose another --out" in err
    code, _, err = cx("fractions", "--data", phantom_folder, "--fractions", ".001", "--out", "none")
    assert code == 1
    assert "has no film of" in err
    assert not (tmp_path / "none").exists()


def test_the_command_loads_no_tensorflow(phantom_folder, tmp_path):
    script = (
        "import sys\n"
        "from cxrkeras_cli.main import cli\n"
        f"cli(['-q', 'fractions', '--data', {str(phantom_folder)!r}, '--fractions', '1', '--seeds', '1', '--out', "
        f"{str(tmp_path / 'made')!r}], standalone_mode=False)\n"
        "assert not {'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert (tmp_path / "made" / "fraction-1-seed0.csv").exists()
