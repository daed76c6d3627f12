"""Directories of results over several weight sources: taken up with the same settings, refused with others."""

from __future__ import annotations

import pandas as pd
import pytest

from cxrkeras.errors import RunError
from cxrkeras.study import Results


def test_the_same_settings_take_a_directory_up_and_others_are_refused(tmp_path):
    made = Results.create("robustness", tmp_path / "r", {"data": "films", "size": 64})
    made.write_table("results", pd.DataFrame({"source": ["random"], "p": [0.5]}))
    again = Results.create("robustness", tmp_path / "r", {"data": "films", "size": 64})
    assert again.table("results", ("source",)).to_dict("list") == {"source": ["random"], "p": [0.5]}
    assert again.table("other") is None
    with pytest.raises(RunError, match="size stored 64, received 96"):
        Results.create("robustness", tmp_path / "r", {"data": "films", "size": 96})
    opened = Results.open(tmp_path / "r")
    assert opened.kind == "robustness"
    assert opened.settings == {"data": "films", "size": 64}


def test_settings_of_a_command_that_measured_nothing_bind_nobody(tmp_path):
    Results.create("robustness", tmp_path / "r", {"size": 64}).update_info(sources={"random": 64})
    again = Results.create("robustness", tmp_path / "r", {"size": 96})
    assert (again.settings, again.info) == ({"size": 96}, {})
    run = again.run_path("random-p0-seed0")
    run.mkdir(parents=True)
    with pytest.raises(RunError, match="size stored 96, received 64"):
        Results.create("robustness", tmp_path / "r", {"size": 64})


def test_facts_are_merged(tmp_path):
    made = Results.create("sources", tmp_path / "s", {})
    made.update_info(seconds=1.5)
    made.update_info(films=3)
    assert Results.open(tmp_path / "s").info == {"seconds": 1.5, "films": 3}


def test_foreign_directories_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds no results of `cxrkeras sources` \(but notes.txt\)"):
        Results.create("sources", tmp_path, {})
    with pytest.raises(RunError, match=r"neither robustness.yaml nor sources.yaml"):
        Results.open(tmp_path / "nothing")
