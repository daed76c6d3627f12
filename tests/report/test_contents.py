"""Which checkpoint is looked at, and which rows of the checks a method is judged by."""

from __future__ import annotations

import pandas as pd
import pytest

from cxrkeras.report.contents import Contents, RunTables
from cxrkeras.report.tables import cell, table_of

AUC = pd.DataFrame({"epoch": [1, 2, 3, 4], "auc": [0.8, 0.9, 0.9, float("nan")]})


def run(**tables) -> RunTables:
    return RunTables("r", "compact", tables.pop("seed", 0), ("a", "b"), **tables)


def chosen(*epochs) -> pd.DataFrame:
    return pd.DataFrame({"method": [f"m{i}" for i in range(len(epochs))], "checkpoint": pd.array(epochs, "Int64")})


@pytest.mark.parametrize(
    ("recommendation", "focus"),
    [
        (chosen(3, 1, 3), 3),  # the most votes
        (chosen(1, 3), 3),  # a tie: the higher AUC
        (chosen(3, 2), 2),  # and of equal AUC the earlier
        (chosen(None, 4), 4),  # a checkpoint without AUC still has its vote
        (chosen(None, None), 2),  # none: the best AUC, the earliest of ties
    ],
)
def test_focus_is_the_checkpoint_recommended_most(recommendation, focus):
    assert run(auc=AUC, recommendation=recommendation).focus == focus


def test_without_analysis_the_focus_is_the_last_scored_checkpoint():
    assert run(scores=pd.DataFrame({"epoch": [2, 6, 4], "method": "m"})).focus == 6
    assert run().focus is None


def test_a_method_is_judged_at_its_recommended_checkpoint_else_at_the_last():
    table = pd.DataFrame({"method": ["m0", "m0", "m1", "m1", "m2"], "epoch": [1, 3, 1, 3, 2], "verdict": list("abcde")})
    kept = run(recommendation=chosen(1, None)).checked(table)
    assert dict(zip(kept["method"], kept["verdict"], strict=True)) == {"m0": "a", "m1": "d", "m2": "e"}
    assert run().checked(pd.DataFrame()).empty


def test_runs_are_told_apart_by_seed_only_where_they_must():
    alone, again = run(), run(seed=1)
    assert Contents("t", "run", "n", "test", (alone,)).label(alone) == "compact"
    assert Contents("t", "study", "n", "test", (alone, again)).label(again) == "compact, seed 1"


def test_a_command_names_its_run():
    assert run().command("drift") == "cxrkeras drift --run r"
    assert run(where="artifacts/my study/runs/r").command("score", "--epoch all") == (
        "cxrkeras score --run 'artifacts/my study/runs/r' --epoch all"
    )


def test_cells_show_numbers_counts_and_reasons():
    frame = pd.DataFrame(
        {
            "epoch": [20, 20],
            "n_pairs": pd.array([12345, None], "Int64"),
            "score": [-0.5, float("nan")],
            "status": ["ok", "no_baseline"],
            "verdict": ["unchanged", None],
        }
    )
    table = table_of("t", "T", frame)
    assert [[field.text for field in row] for row in table.rows] == [
        ["20", "12,345", "−0.500", "ok", "unchanged"],
        ["20", "undefined (no baseline)", "undefined (no baseline)", "no baseline", ""],
    ]
    assert [field.look for field in table.rows[0]] == ["number", "number", "number", "", "alert"]
    assert cell("changes", "verdict", False).look == "good"
