"""`robustness` from outside: what it prints and stores, what --dry-run leaves alone, and what it refuses."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest


@pytest.fixture
def small(phantom_folder, tiny_backbone, monkeypatch):
    """Arguments of a measurement that takes a second, drawn nowhere."""
    from cxrkeras.workflow.robustness import robustness as module

    monkeypatch.setattr(module, "save_robustness_figure", lambda *_, **__: None)
    return ("--data", phantom_folder, "--backbone", tiny_backbone, "--image-size", 32, "--sources", "random",
            "--confounders", "tag", "--p", "1", "--seeds", 1, "--positive", "lobar", "--method", "none")  # fmt: skip


def test_dry_run_says_what_it_takes_and_writes_nothing(cx, small):
    code, out, err = cx("robustness", *small, "--p", "0,.5,1", "--seeds", 4, "--dry-run", "--format", "csv")
    assert code == 0
    plan = pd.read_csv(io.StringIO(out))
    assert plan["source"].tolist() == ["random", "all"]
    assert plan["arms"].tolist() == [12, 12]
    assert plan["trainings"].tolist() == [0, 0]
    # 80 films as they are; with the tag the 20 test films and the 30 others that are positive
    assert plan["forwards"].tolist() == [80 + 50, 80 + 50]
    assert not Path("artifacts").exists()
    assert "p = 0 is added" not in err


def test_tables_sentences_and_files(cx, small):
    code, out, err = cx("robustness", *small, "--run", "lean")
    assert code == 0
    for words in ("p = 0 is added", "1 source × 1 confounder × 2 p × 1 seed = 2 arms (mode probe)"):
        assert words in err
    for words in (
        "artifacts/lean: how far each source leans on it",
        "Control: a scorer that sees the artefact alone has the AUC of its closed form in all 10 rows",
        "is not the reliance of a fine-tuned model",
    ):
        assert words in out
    table = out[: out.index("Control:")]
    assert "(tiny, mode probe, seeds: 1)" in " ".join(table.split())
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 120
    code, out, _ = cx("robustness", *small, "--run", "lean", "--format", "json")
    told = json.loads(out)
    assert {len(told[name]) for name in ("results", "control")} == {20, 10}
    assert [row["p"] for row in told["reliance"]] == [0.0, 1.0]
    code, out, _ = cx("robustness", *small, "--run", "lean", "--format", "csv")
    stored = pd.read_csv("artifacts/lean/tables/results.csv")
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(out)), stored)
    code, _, err = cx("robustness", *small, "--run", "lean", "--val", "clean")
    assert code == 1
    assert "val stored 'iid', received 'clean'" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--p", "0,half"), "--p '0,half' is no list of shares"),
        (("--p", "1.5"), "Expected 0 to 1, received 1.5"),
        (("--positive", "lobr"), "positive class 'lobr'. Expected one of: lobar, normal. Did you mean 'lobar'?"),
        (("--confounders", "tagg"), "Did you mean 'tag'"),
        (("--confounders", "column:sx=F"), "Did you mean 'sex'"),
        (("--sources", "imagnet"), "Did you mean 'imagenet'"),
        (("--method", "layercm"), "Did you mean 'layercam'"),
        (("--p", ""), "no share p is given. Expected one or more of 0 to 1"),
        (("--confounders", "tag,column:sex=X"), "no film has sex=X"),
        (("--sources", "imagenet"), "tiny has no ImageNet weights. Expected random, run:NAME or a file"),
        (("--epochs", "1,1"), "--epochs is of trainings: use it with --mode finetune"),
    ],
)
def test_wrong_usage(cx, small, arguments, message):
    code, out, err = cx("robustness", *small, *arguments)
    # what films and weights lack is a failure; what was typed wrong is usage
    assert code == (1 if any(word in message for word in ("'sex'", "sex=X", "ImageNet")) else 2)
    assert not Path("artifacts").exists()
    assert out == ""
    assert message in err
