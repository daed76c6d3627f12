"""`drift` from outside: what it prints and stores, beside a floor and across a study, and what it refuses."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from cxrkeras.study import Study, load_study

pytestmark = pytest.mark.filterwarnings("ignore:The structure of .inputs. does:UserWarning")

STUDY = """
study:
  backbones: [compact, {name: compact, label: other}]
  seeds: [0]
  methods: [layercam, gradcam++]
"""


def test_drift_of_a_run_of_a_study_and_beside_another_seed(cx, run_copy, tmp_path):
    code, out, _ = cx("drift", "--run", run_copy.path, "--limit", 6)
    assert code == 0
    for word in ("copy, epoch 2 to 4, split test", "layercam", "gradcam++", "displacement", "retained", "(chance "):
        assert word in out
    code, out, _ = cx("drift", "--run", run_copy.path, "--limit", 6, "--format", "csv", "--to", "last")
    assert code == 0
    table = pd.read_csv(io.StringIO(out))
    assert table["class"].unique().tolist() == ["lobar", "normal", "all"]
    stored = pd.read_csv(run_copy.path / "drift/epoch_002-epoch_004/test/summary.csv")
    pd.testing.assert_frame_equal(table, stored)

    (tmp_path / "study.yaml").write_text(STUDY)
    study = Study.create(tmp_path / "artifacts" / "pair", load_study(tmp_path / "study.yaml"))
    code, _, err = cx("drift", "--study", "pair")
    assert code == 1
    assert "study pair has no runs yet" in err
    for member in study.members():
        shutil.copytree(run_copy.path, study.run_path(member.name))
    code, out, _ = cx("drift", "--study", "pair")
    assert code == 0
    for word in ("pair, split test", "other", "rankings that reverse: 0 of "):
        assert word in out
    code, out, _ = cx("drift", "--study", study.path, "--from", 2, "--format", "json")
    assert code == 0
    told = json.loads(out)
    assert len(told["summary"]) == 2 * len(table)
    assert {(row["within_a"], row["within_b"]) for row in told["reversals"] if row["compared"] == "methods"} == {
        ("compact", "other")
    }
    # the same run twice: every difference is the same on both sides
    sides = np.array([[row["difference_a"], row["difference_b"]] for row in told["reversals"]], float)
    methods = [row["compared"] == "methods" for row in told["reversals"]]
    np.testing.assert_allclose(sides[methods][:, 0], sides[methods][:, 1])
    code, _, err = cx("drift", "--study", "pair", "--from", 1)
    assert code == 1
    assert "no drift of split 'test' is stored in compact-seed0, other-seed0" in err

    twin = study.run_path("other-seed0")
    text = (twin / "config.yaml").read_text()
    (twin / "config.yaml").write_text(text.replace("  seed: 0\n", "  seed: 1\n"))
    one = ("drift", "--run", run_copy.path, "--limit", 6, "--method", "layercam", "--floor", twin)
    code, out, _ = cx(*one)
    assert code == 0
    assert "amount of drift beside the difference to other-seed0" in out
    code, out, _ = cx(*one, "--format", "csv")
    beside = pd.read_csv(io.StringIO(out))
    assert beside.loc[beside["n_films"] > 0, "floor"].abs().max() == pytest.approx(0, abs=1e-12)
    code, out, _ = cx(*one, "--format", "json")
    assert {name: len(rows) for name, rows in json.loads(out).items()} == {"summary": 18, "floor": 30}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--from", "3", "--to", "3"), "from an earlier checkpoint to a later one. Received from 3 to 3"),
        (("--from", "soon"), "epoch 'soon' is not an epoch"),
        (("--method", "layercm"), "Did you mean 'layercam'"),
        (("--iou-rule", "half"), "half-max"),
        (("--study", "pair", "--limit", "3"), "leave out --limit"),
    ],
)
def test_wrong_usage(cx, run_copy, arguments, message):
    given = () if "--study" in arguments else ("--run", run_copy.path)
    code, out, err = cx("drift", *given, *arguments)
    assert (code, out) == (2, "")
    assert message in err
