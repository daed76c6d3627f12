"""`compare`, and `--engine tf-keras-vis` of `explain` and `score`, from outside."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest

pytestmark = pytest.mark.filterwarnings("ignore:The structure of .inputs. does:UserWarning")


def test_compare_prints_one_table_and_what_changes(cx, run_copy):
    few = ("--run", run_copy.path, "--method", "gradcam,layercam", "--limit", "4", "--threshold", "0.5")
    code, out, _ = cx("compare", *few)
    assert code == 0
    for word in ("correlation", "top_iou", "published", "corrected", "conv8 / stride8_relu", "64×64 / 8×8"):
        assert word in out
    assert "Order of methods by macro C-Score" in out
    assert "Classes whose intervals do not overlap" in out
    code, out, err = cx("compare", *few, "--format", "csv")
    assert code == 0
    table = pd.read_csv(io.StringIO(out))
    assert table["class"].tolist() == ["lobar", "normal", "macro"] * 2
    assert "Order of methods" in err
    stored = pd.read_csv(run_copy.path / "comparison" / "epoch_004.csv")
    assert stored["correlation"].tolist() == pytest.approx(table["correlation"].tolist())
    one = ("--run", run_copy.path, "--method", "gradcam", "--limit", "2", "--threshold", "0.5")
    code, out, _ = cx("compare", *one, "--format", "json", "--epoch", "3", "--out", "elsewhere")
    assert code == 0
    assert json.loads(out)[0]["epoch"] == 3
    assert not (run_copy.path / "comparison" / "epoch_003.csv").exists()


def test_a_method_the_peer_does_not_have_is_usage(cx, run_copy):
    code, out, err = cx("compare", "--run", run_copy.path, "--method", "eigencam")
    assert code == 2
    assert out == ""
    assert "tf-keras-vis has no eigencam; expected gradcam, gradcam++, layercam, scorecam" in err


def test_explain_and_score_replay_the_peer(cx, run_copy):
    peer = ("--run", run_copy.path, "--limit", "1", "--engine", "tf-keras-vis")
    code, out, _ = cx("explain", *peer, "--overlays", "1", "--format", "json")
    assert code == 0
    rows = json.loads(out)
    assert [row["method"] for row in rows] == ["gradcam", "gradcam++", "layercam", "scorecam"]
    assert {row["layer"] for row in rows} == {"conv8"}
    assert {row["grid"] for row in rows} == {"64×64"}
    assert (run_copy.path / "overlays/epoch_004/scorecam--tf-keras-vis/contact_sheet.png").exists()
    code, out, _ = cx("score", *peer, "--method", "scorecam", "--format", "csv")
    assert code == 0
    assert set(pd.read_csv(io.StringIO(out))["engine"]) == {"tf-keras-vis"}
    code, _, err = cx("explain", *peer, "--on", "margin", "--method", "gradcam")
    assert code == 2
    assert "replayed as it is" in err
