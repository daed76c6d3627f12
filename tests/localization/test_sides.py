"""Sides and thirds that a report states, against where the map lies."""

import numpy as np
import pandas as pd
import pytest

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.localization import STATEMENT_COLUMNS, statement_shares, statement_table


@pytest.fixture
def heat():
    return np.random.default_rng(0).gamma(1, size=(7, 7))


def test_the_patients_left_is_the_right_half_of_the_film():
    heat = np.zeros((7, 7))
    heat[1, 6] = 1
    for side, zone, share, chance in (
        ("left", "", 1, 1 / 2),
        ("right", "", 0, 1 / 2),
        ("", "upper", 1, 1 / 3),
        ("left", "upper", 1, 1 / 6),
        ("right", "upper", 0, 1 / 6),
        ("left", "lower", 0, 1 / 6),
    ):
        found = statement_shares(heat, side, zone)
        # the cell above the first third reaches a little into the second
        assert found["share"] == pytest.approx(share, abs=0.15 if zone else 1e-6)
        assert (found["chance"], found["status"]) == (pytest.approx(chance), "ok")
    assert statement_shares(heat, "left", "mid")["stated"] == "side+zone"


def test_shares_of_all_sides_and_thirds_sum_to_one_and_mirroring_swaps_the_sides(heat):
    left, right = (statement_shares(heat, side)["share"] for side in ("left", "right"))
    assert left + right == pytest.approx(1)
    assert statement_shares(np.fliplr(heat), "right")["share"] == pytest.approx(left, abs=1e-5)
    zones = [statement_shares(heat, "", zone)["share"] for zone in ("upper", "mid", "lower")]
    assert sum(zones) == pytest.approx(1)
    both = [statement_shares(heat, "left", zone)["share"] for zone in ("upper", "mid", "lower")]
    assert sum(both) == pytest.approx(left)
    symmetric = heat + np.fliplr(heat)
    assert statement_shares(symmetric, "left")["share"] == pytest.approx(0.5, abs=1e-6)
    assert statement_shares(heat * 8 - 3, "left")["share"] == pytest.approx(left, abs=1e-5)


def test_a_film_that_fills_part_of_the_input_has_its_own_midline():
    heat = np.zeros((8, 8))
    heat[:, :2], heat[:, 6:] = 9, 1
    # the film fills the right half of the input, and the left one is not part of it
    assert statement_shares(heat, "left")["share"] < 0.15
    assert statement_shares(heat, "left", region=(0, 0.5, 1, 1))["share"] > 0.85


def test_what_is_not_scored_says_why(heat):
    for found, status in (
        (statement_shares(heat, "bilateral", "upper"), "bilateral"),
        (statement_shares(heat), "nothing_stated"),
        (statement_shares(np.ones((7, 7)), "left"), "degenerate"),
    ):
        assert found["status"] == status
        assert np.isnan(found["share"])
    with pytest.raises(UsageError, match="Did you mean 'left'"):
        statement_shares(heat, "lefft")
    with pytest.raises(UsageError, match="Expected one of: upper, mid, lower"):
        statement_shares(heat, "left", "basal")


def stated(n: int, method: str, shares: np.ndarray, **columns) -> pd.DataFrame:
    table = pd.DataFrame({"image": [f"{i}.png" for i in range(n)], "patient": range(n), "finding": "Mass"})
    table = table.assign(**{"class": "MASS", "method": method, "stated": "side", "share": shares})
    return table.assign(chance=0.5, status="ok").assign(**columns)


def test_shares_are_tested_against_chance():
    rng = np.random.default_rng(1)
    good, poor = stated(30, "gradcam", rng.uniform(0.55, 0.9, 30)), stated(30, "ig", rng.uniform(0.2, 0.8, 30))
    zone = stated(9, "gradcam", rng.random(9), stated="zone", chance=1 / 3)
    good.loc[0, ["share", "status"]] = [np.nan, "degenerate"]
    out = stated(3, "gradcam", np.full(3, np.nan), status="bilateral", image=["x", "y", "z"])
    found = statement_table(pd.concat([good, poor, zone, out]))
    assert tuple(found.columns) == STATEMENT_COLUMNS
    rows = found.set_index(["method", "stated"])
    first = rows.loc[("gradcam", "side")]
    assert first["share"] == pytest.approx(good["share"].mean())
    assert first["ci_low"] < first["share"] < first["ci_high"]
    assert (first["n"], first["n_degenerate"], first["above"], first["status"]) == (29, 1, "yes", "ok")
    assert first["p_holm"] == pytest.approx(2 * first["p"]) == pytest.approx(4 / 1001)
    assert rows.loc[("ig", "side"), "above"] == "no"
    few = rows.loc[("gradcam", "zone")]
    assert (few["status"], few["above"], few["chance"]) == ("too_few_patients", "undefined", 1 / 3)
    assert few["share"] == pytest.approx(zone["share"].mean())
    assert len(statement_table(out)) == 0
    with pytest.raises(ScoreInputError, match="lack the columns stated"):
        statement_table(good.drop(columns="stated"))
