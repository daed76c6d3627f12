"""`cxrkeras sources` as a user types it."""

from __future__ import annotations

import json

import pandas as pd


def test_the_glossary_needs_no_candidate(cx):
    code, out, _ = cx("sources", "--glossary", "--format", "json")
    terms = {row["term"]: row for row in json.loads(out)}
    assert code == 0
    assert {"visual similarity", "semantic similarity", "embedding similarity", "transfer gain"} <= set(terms)
    assert set(terms["transfer gain"]) == {"term", "definition", "computed_as"}
    code, out, _ = cx("sources", "--glossary")
    assert out.count("\n    ") >= len(terms)
    assert max(map(len, out.splitlines())) <= 110


def test_without_a_candidate_it_is_a_usage_error_with_an_example(cx):
    code, out, err = cx("sources")
    assert (code, out) == (2, "")
    assert "expected --candidate" in err
    assert "Example: cxrkeras sources --candidate" in err


def test_wrong_candidates_end_with_2_and_what_was_expected(cx, phantom_folder):
    code, _, err = cx("sources", "--data", phantom_folder, "--candidate", "a=compact:imagnet")
    assert code == 2
    assert "Did you mean 'imagenet'" in err
    code, _, err = cx("sources", "--data", phantom_folder, "--candidate", "a=random")
    assert code == 2
    assert "names no backbone" in err
    code, _, err = cx("sources", "--features", "a=x.npz", "--features", "a=y.npz")
    assert code == 2
    assert "--features names a candidate twice" in err


def test_ties_end_with_0_and_no_winner_is_named(cx, phantom_folder):
    words = ("sources", "--data", phantom_folder, "--backbone", "compact", "--candidate", "one=random", "--candidate",
             "two=random", "--image-size", "64", "--max-images", "40", "--no-robustness", "--run", "both")  # fmt: skip
    code, out, err = cx(*words)
    assert code == 0
    assert "No candidate distinguishable" in out
    assert "confirm by fine-tuning the top 2" in out
    assert "  cxrkeras train --data" in out
    lines = out.splitlines()
    tables = lines[: next(row for row, line in enumerate(lines) if line.startswith("No candidate"))]
    assert max(map(len, tables)) <= 120
    n_test = (pd.read_csv(phantom_folder / "manifest.csv")["split"] == "test").sum()
    assert f"the {n_test} test films are left for the truth" in err
    code, out, _ = cx(*words, "--format", "json")
    found = json.loads(out)
    assert code == 0
    assert set(found) == {"sources", "cka", "cards", "predictions", "similarity"}
    assert [row["tied_with"] for row in found["sources"]] == ["two", "one", ""]
    assert found["sources"][0]["tag_reversed_auc"] is None
    stored = pd.read_csv("artifacts/both/tables/sources.csv")
    assert list(found["sources"][0]) == list(stored)
