"""`cxrkeras report` from outside; what a report holds is tested where it is made."""

from __future__ import annotations

import json

import pytest

from cxrkeras.report.contents import Contents, RunTables
from cxrkeras.report.page import assemble, write_report
from cxrkeras.run import Run


@pytest.fixture
def asked(monkeypatch) -> list[tuple[str, str]]:
    """Runs and splits that were reported on, with a page that holds no figure."""
    seen = []

    def report_run(run: Run, split: str, *, reporter) -> object:
        seen.append((run.name, split))
        bare = Contents("t", "run", run.name, split, (RunTables(run.name, "compact", 0, run.classes),))
        return write_report(assemble(bare), run.report_path(split), run.report_folder(split), reporter)

    monkeypatch.setattr("cxrkeras.workflow.report.report.report_run", report_run)
    return seen


def test_report_says_where_it_is_and_how_large(cx, run_copy, asked):
    code, out, err = cx("report", "--run", run_copy.path, "--format", "json")
    assert code == 0
    assert err == ""
    (row,) = json.loads(out)
    size = run_copy.report_path().stat().st_size
    assert row == {
        "report": str(run_copy.report_path()),
        "megabytes": round(size / 1e6, 3),
        "figures": 0,
        "tables": 0,
        "beside": str(run_copy.report_folder()),
    }
    first = run_copy.report_path().read_bytes()
    code, out, _ = cx("report", "--run", run_copy.path, "--split", "val", "--format", "json")
    assert code == 0
    # a report on another split does not take the place of the one on the test films
    assert json.loads(out)[0]["report"] == str(run_copy.path / "report-val.html")
    assert json.loads(out)[0]["beside"] == str(run_copy.path / "report-val")
    assert run_copy.report_path().read_bytes() == first
    assert asked == [("copy", "test"), ("copy", "val")]


def test_what_does_not_exist_or_contradicts_is_refused(cx, run_copy):
    code, _, err = cx("report", "--study", "x", "--run", run_copy.path)
    assert code == 2
    assert "--study names its runs and its split itself" in err
    code, _, err = cx("report", "--study", run_copy.path)
    assert code == 1
    assert "is a run, not a study. Name it with --run." in err
    code, _, err = cx("report", "--study", "x")
    assert code == 1
    assert "no study at" in err
    code, _, err = cx("report", "--run", run_copy.path, "--split", "tset")
    assert code == 1
    assert "no films in split 'tset'" in err
    assert not run_copy.report_path().exists()
