"""`cxrkeras report` from outside; what a report holds is tested where it is made."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from cxrkeras.report.contents import Contents, RunTables
from cxrkeras.report.page import assemble, write_report
from cxrkeras.run import Run
from cxrkeras.study.results import Results


@pytest.fixture
def asked(monkeypatch) -> list[tuple[str, str]]:
    """Runs, splits and names of further results that were reported on, with a page that holds no figure."""
    seen = []

    def report_run(run: Run, split: str, *, beside, reporter) -> object:
        seen.append((run.name, split, *(results.name for results in beside)))
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


def test_results_are_meant_where_their_name_is_most_like_the_one_given(cx, run_copy):
    from cxrkeras.study.results import Results

    Results.create("robustness", "lean-kermany", {})
    code, _, err = cx("report", "--run", "lean-kermny")
    assert code == 1
    assert "Did you mean 'lean-kermany'" in err


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


@pytest.fixture
def weights(tmp_path) -> Results:
    """A directory of `sources` with two candidates, one of which lies in a private place."""
    fixed = {"data": {"path": "/private/films/manifest.csv"}, "seed": 0}
    results = Results.create("sources", tmp_path / "weights", fixed)
    frame = pd.DataFrame(
        {
            "candidate": ["a", "b"], "arch": "compact", "weights": ["random", "run:/private/runs/own@best"],
            "preprocess": "tf", "n_films": 40, "n_patients": 38, "probe_auc": [0.8, 0.7], "ci_lo": [0.7, 0.6],
            "ci_hi": [0.9, 0.8], "rank": [1, 2], "rank_lo": 1, "rank_hi": 2, "tied_with": ["b", "a"], "status": "ok",
        }
    )  # fmt: skip
    results.write_table("sources", frame)
    results.update_info(checkpoint="run:/private/runs/own@best")
    return results


def test_results_of_several_sources_have_a_page_without_tensorflow(cx, weights, monkeypatch):
    monkeypatch.setattr("cxrkeras_cli.report.load_tensorflow", lambda: pytest.fail("TensorFlow is not needed"))
    code, out, err = cx("report", "--run", weights.path, "--format", "json")
    assert (code, err) == (0, "")
    (row,) = json.loads(out)
    assert (row["report"], row["figures"], row["tables"]) == (str(weights.report_path), 2, 2)
    page = weights.report_path.read_text(encoding="utf-8")
    assert "No candidate distinguishable: a has the highest probe AUC (0.800)" in page
    assert "manifest.csv" in page
    assert "run:own@best" in page
    assert "/private" not in page
    # what was measured stays where it was
    assert weights.table("sources")["candidate"].tolist() == ["a", "b"]


def test_results_stand_on_the_page_of_a_run(cx, run_copy, weights, asked):
    code, _, err = cx("report", "--run", run_copy.path, "--with", weights.path)
    assert (code, err) == (0, "")
    assert asked == [("copy", "test", "weights")]
    code, _, err = cx("report", "--run", run_copy.path, "--with", run_copy.path)
    assert code == 1
    assert "no results at" in err
    code, _, err = cx("report", "--run", weights.path, "--split", "val")
    assert code == 2
    assert "leave out --split" in err


def test_results_that_are_empty_say_what_makes_them(cx, tmp_path):
    Results.create("robustness", tmp_path / "bare", {})
    code, _, err = cx("report", "--run", tmp_path / "bare")
    assert code == 1
    assert "holds no result yet" in err
    assert "cxrkeras robustness --run bare" in err
