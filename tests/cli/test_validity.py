"""`cxrkeras validity` from outside."""

from __future__ import annotations

import io
import json

import pandas as pd


def test_validity_prints_its_tables_and_what_they_do_not_say(cx, run_copy):
    few = ("validity", "--run", run_copy.path, "--films", "4", "--steps", "2", "--draws", "1", "--epoch", "3")
    code, out, err = cx(*few, "--method", "gradcam,eigencam")
    assert code == 0, err
    for word in (
        "redrawing the weights",
        "everything",
        "eigencam",
        "insertion",
        "deletion",
        "undefined",
        "too_few_patients",
    ):
        assert word in out
    assert "eigencam does not read the head" in err
    assert "consistent is not correct; a method that passes is only not refuted." in " ".join(err.split())

    code, out, err = cx(*few, "--checks", "insertion", "--baseline", "zero", "--format", "csv")
    assert code == 0
    assert "stage head" not in err, "nothing was drawn anew"
    table = pd.read_csv(io.StringIO(out))
    assert table["method"].tolist() == ["gradcam", "gradcam++", "layercam", "eigencam", "ms-gradcam++"]
    assert set(table["metric"]) == {"insertion"}
    assert set(table["baseline"]) == {"zero"}
    assert set(table["epoch"]) == {3}
    stored = pd.read_csv(run_copy.validity_path(3, "test", "perturbation"))
    kept = stored[stored["metric"] == "deletion"]
    assert kept["method"].tolist() == ["gradcam", "eigencam"]
    assert set(kept["baseline"]) == {"blur"}


def test_each_method_is_checked_where_it_is_recommended(cx, run_copy):
    folder = run_copy.analysis_path("test", "recommendation")
    folder.parent.mkdir(parents=True)
    folder.write_text("method,checkpoint,status,reason\ngradcam,4,recommended,\neigencam,2,recommended,\n")
    code, out, err = cx(
        "validity", "--run", run_copy.path, "--epoch", "recommended", "--method", "gradcam,eigencam,layercam",
        "--films", "2", "--draws", "1", "--checks", "randomisation", "--format", "json",
    )  # fmt: skip
    assert code == 0, err
    told = json.loads(out)
    assert list(told) == ["randomisation"]
    assert {(row["method"], row["epoch"]) for row in told["randomisation"]} == {("gradcam", 4), ("eigencam", 2)}
    assert "layercam is left out" in err
    code, _, err = cx("validity", "--run", run_copy.path, "--epoch", "recommended", "--split", "val")
    assert code == 1
    assert "no recommendation for split 'val'" in err


def test_a_check_that_does_not_exist_is_usage(cx, run_copy):
    for wrong in ("inserting", ","):
        code, out, err = cx("validity", "--run", run_copy.path, "--checks", wrong)
        assert (code, out) == (2, "")
        assert "is no check. Expected a comma list of randomisation, insertion, deletion" in " ".join(err.split())
