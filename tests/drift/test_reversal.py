"""Ranking reversals: found where both paired intervals exclude 0 on opposite sides, and only there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cxrkeras.drift.reversal import COLUMNS, reversals
from cxrkeras.errors import ScoreInputError

N = 40
SPREAD = np.random.default_rng(0).uniform(0, 0.3, N)


def cell(backbone: str, method: str, drifted: float, seed: int = 0, n: int = N, noise: float = 0.02) -> pd.DataFrame:
    """Films whose displacement is `drifted` beyond what the film itself brings, and whose IoU falls with it."""
    rng = np.random.default_rng([len(backbone), len(method), seed])
    moved = SPREAD[:n] + drifted + rng.normal(0, noise, n)
    return pd.DataFrame(
        {
            "image": [f"f{i}" for i in range(n)],
            "class": ["a", "b"] * (n // 2) + ["a"] * (n % 2),
            "patient": [f"p{i}" for i in range(n)],
            "method": method, "backbone": backbone, "seed": seed,
            "displacement": moved, "iou": 0.9 - moved,
        }
    )  # fmt: skip


def study(*cells: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(cells, ignore_index=True)


def crossed(**changes) -> pd.DataFrame:
    return study(
        cell("X", "cam", 0.1, **changes), cell("X", "grad", 0.2, **changes),
        cell("YY", "cam", 0.3, **changes), cell("YY", "grad", 0.15, **changes),
    )  # fmt: skip


def test_a_crossing_is_a_reversal_of_methods_and_only_that():
    table = reversals(crossed())
    assert table.columns.tolist() == COLUMNS
    assert len(table) == 2 * 3 * 2
    rows = table[table["class"] == "all"].set_index(["metric", "compared"])
    # overlap falls as displacement grows: both metrics tell the same story in amounts
    for metric in ("displacement", "iou"):
        row = rows.loc[(metric, "methods")]
        assert (row["first"], row["second"], row["within_a"], row["within_b"]) == ("cam", "grad", "X", "YY")
        assert row["difference_a"] == pytest.approx(-0.1, abs=0.02)
        assert row["difference_b"] == pytest.approx(0.15, abs=0.02)
        assert row["high_a"] < 0 < row["low_b"]
        assert (row["reversed"], row["status"]) == ("yes", "ok")
    # X drifts less than YY by cam (−0.2) and more by grad (+0.05)
    row = rows.loc[("displacement", "backbones")]
    assert (row["first"], row["second"], row["within_a"], row["within_b"]) == ("X", "YY", "cam", "grad")
    assert (row["difference_a"], row["difference_b"]) == pytest.approx((-0.2, 0.05), abs=0.02)
    assert row["reversed"] == "yes"


def test_orders_that_agree_or_cannot_be_told_are_no_reversal():
    agreeing = study(cell("X", "cam", 0.1), cell("X", "grad", 0.2), cell("YY", "cam", 0.1), cell("YY", "grad", 0.3))
    assert set(reversals(agreeing)["reversed"]) == {"no"}
    noisy = reversals(crossed(noise=3.0))
    told = noisy[noisy["compared"] == "methods"]
    assert set(told["reversed"]) == {"no"}
    few = reversals(crossed(n=9))
    assert set(few["status"]) == {"too_few_patients"}
    assert set(few["reversed"]) == {"no"}
    assert few["low_a"].isna().all()
    assert few["difference_a"].notna().all()


def test_only_films_that_all_four_cells_have_take_part():
    table = crossed()
    strange = (table["method"] == "grad") & (table["backbone"] == "X") & (table.index % 2 == 0)
    table.loc[strange, "displacement"] = 50.0
    gone = (table["method"] == "cam") & (table["backbone"] == "YY") & (table["image"].isin(table.loc[strange, "image"]))
    row = reversals(table[~gone]).query("metric == 'displacement' and compared == 'methods' and `class` == 'all'")
    assert row["difference_a"].item() == pytest.approx(-0.1, abs=0.02)
    table.loc[gone, "displacement"] = np.nan
    again = reversals(table).query("metric == 'displacement' and compared == 'methods' and `class` == 'all'")
    assert again["difference_a"].item() == row["difference_a"].item()
    table = crossed()
    apart = table.assign(image=table["image"].where(table["backbone"] == "X", "of YY " + table["image"]))
    assert set(reversals(apart)["status"]) == {"no_film"}


def test_seeds_of_a_backbone_are_averaged_film_by_film():
    seeds = study(crossed(), cell("X", "cam", 0.5, seed=1), cell("X", "grad", 0.2, seed=1))
    row = reversals(seeds).query("metric == 'displacement' and compared == 'methods' and `class` == 'all'")
    assert row["difference_a"].item() == pytest.approx((-0.1 + 0.3) / 2, abs=0.02)
    assert row["reversed"].item() == "no"


def test_one_run_or_one_method_has_nothing_to_reverse_and_doubled_runs_are_refused():
    assert reversals(study(cell("X", "cam", 0.1), cell("X", "grad", 0.2))).empty
    assert reversals(study(cell("X", "cam", 0.1), cell("YY", "cam", 0.2))).columns.tolist() == COLUMNS
    with pytest.raises(ScoreInputError, match="two of f0 for X, cam, seed 0"):
        reversals(study(crossed(), cell("X", "cam", 0.1)))
