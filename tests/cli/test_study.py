"""`cxrkeras study` from outside: what it prints, refuses, plans, and ends with."""

from __future__ import annotations

import io
import json
import shutil

import pandas as pd
import pytest

from cxrkeras.config import dump_yaml
from cxrkeras.workflow.study.config import resolved_members, resolved_study


@pytest.fixture
def study(tiny_run, phantom_folder, tmp_path):
    """A study file whose one run is the session's tiny run, in place under ./artifacts; films are left to --data."""
    config = tiny_run.config.model_dump(mode="json")
    config["data"]["path"] = None
    config["study"] = {
        "backbones": ["compact"],
        "methods": ["eigencam"],
        "recommend_on": "test",
        "drift": False,
        "validity": False,
    }
    file = tmp_path / "tiny.yaml"
    file.write_text(json.dumps(config))
    (member,) = resolved_members(resolved_study(file, phantom_folder))
    shutil.copytree(tiny_run.path, tmp_path / "artifacts" / "tiny" / "runs" / member.name)
    (tmp_path / "artifacts" / "tiny" / "runs" / member.name / "config.yaml").write_text(dump_yaml(member.config))
    return file


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study"], "name a study with --config"),
        (["study", "--config", "kermany"], "has no study section"),
        (["study", "--config", "smoke-stdy"], "Did you mean 'smoke-study'?"),
        (["study", "--config", "kermany-study"], "names no films. Give them with --data"),
        (["study", "--config", "smoke-study", "--jobs", "0"], "--jobs"),
        (["train", "--config", "smoke-study"], "Use `cxrkeras study --config smoke-study`"),
    ],
)
def test_wrong_use_ends_with_two_and_one_line(cx, arguments, message):
    code, out, err = cx(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_studies_are_shown_and_marked(cx):
    code, out, _ = cx("config", "show")
    assert code == 0
    first = out.splitlines()[0]
    assert first.endswith("shipped studies: kermany-cpu-study, kermany-fractions, kermany-study, smoke-study")
    assert "configurations: kermany, phantom;" in first
    code, out, _ = cx("config", "show", "kermany-cpu-study")
    assert code == 0
    assert out.startswith("# a study of several runs: cxrkeras study --config kermany-cpu-study")
    assert "limit: 10" in out


def test_a_study_is_planned_done_and_taken_up_by_its_name(cx, study, phantom_folder, tmp_path):
    command = ("study", "--config", study, "--data", phantom_folder, "--format", "csv")
    code, out, _ = cx(*command, "--dry-run")
    assert code == 0
    plan = pd.read_csv(io.StringIO(out))
    assert plan[["cells", "done"]].to_numpy().tolist() == [[1, 1], [4, 0], [5, 1]]
    assert not (tmp_path / "artifacts" / "tiny" / "study.yaml").exists()

    file = next((tmp_path / "artifacts" / "tiny" / "runs").rglob("epoch_003.weights.h5"))
    good = file.read_bytes()
    file.write_bytes(b"broken")
    code, out, err = cx(*command, "--no-report")
    assert code == 1
    assert "failed: compact-seed0 score test eigencam epoch 3: checkpoint" in err
    assert "Error: 1 of 6 cells failed" in err
    assert pd.read_csv(io.StringIO(out))["method"].tolist() == ["eigencam"]

    file.write_bytes(good)
    code, out, err = cx("study", "--run", "tiny", "--no-report")
    assert code == 0, err
    assert "consistent is not correct" in out
    assert "tables: artifacts/tiny/tables" in out
    assert "report:" not in out
    assert len(pd.read_csv("artifacts/tiny/tables/headline.csv")) == 1
    code, _, err = cx("drift", "--run", "tiny")
    assert code == 1
    assert "tiny is a study. Name one of its runs, e.g. --run artifacts/tiny/runs/compact-seed0." in err
    code, _, err = cx("study", "--run", "tny")
    assert code == 1
    assert "Did you mean 'tiny'?" in err
