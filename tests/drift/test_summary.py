"""Means with intervals over patients, retained shares, and drift told from its floor."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cxrkeras.drift.summary import drift_above_floor, drift_summary
from cxrkeras.stats import patient_bootstrap


def films(n: int, name: str, rng: np.random.Generator, patients: int | None = None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image": [f"{name}{i}" for i in range(n)],
            "class": name,
            "patient": [f"{name}p{i % (patients or n)}" for i in range(n)],
            "iou": rng.uniform(0, 0.5, n),
            "iou_chance": 0.1,
            "concentration_change": rng.normal(0, 0.1, n),
        }
    )


def test_each_class_and_all_of_them_have_a_mean_an_interval_and_a_retained_share():
    rng = np.random.default_rng(0)
    table = pd.concat([films(36, "a", rng, patients=12), films(18, "b", rng, patients=9)], ignore_index=True)
    table.loc[[0, 1, 40], "iou"] = np.nan
    found = drift_summary(table, {"a": 48, "b": 20, "c": 4}, ("iou", "concentration_change"))
    assert found["class"].tolist() == [name for name in ("a", "b", "c", "all") for _ in range(3)]
    assert found["metric"].tolist() == ["iou", "concentration_change", "iou_chance"] * 4
    rows = found.set_index(["class", "metric"])
    own = table[(table["class"] == "a") & table["iou"].notna()]
    values = own["iou"].to_numpy()
    slow = patient_bootstrap(lambda taken: values[taken].mean(), own["patient"])
    a = rows.loc[("a", "iou")]
    assert (a["estimate"], a["ci_low"], a["ci_high"]) == pytest.approx((slow.estimate, slow.low, slow.high))
    assert (a["n_films"], a["n_patients"], a["n_undefined"], a["retained"], a["status"]) == (36, 12, 2, 0.75, "ok")
    b = rows.loc[("b", "iou")]
    assert b["estimate"] == pytest.approx(table.loc[table["class"] == "b", "iou"].mean())
    assert np.isnan([b["ci_low"], b["ci_high"]]).all()
    assert (b["n_patients"], b["retained"], b["n_undefined"], b["status"]) == (9, 0.9, 1, "too_few_patients")
    c = rows.loc[("c", "iou")]
    assert (c["n_films"], c["retained"], c["status"]) == (0, 0, "no_film")
    assert np.isnan(c["estimate"])
    every = rows.loc[("all", "iou")]
    assert every["estimate"] == pytest.approx(table["iou"].mean())
    assert (every["n_films"], every["n_patients"], every["retained"]) == (54, 21, 54 / 72)
    assert rows.loc[("all", "iou_chance"), "estimate"] == pytest.approx(0.1)


def test_a_class_whose_films_have_no_value_is_undefined_and_one_without_films_has_no_share():
    table = films(12, "a", np.random.default_rng(0)).assign(iou=np.nan)
    rows = drift_summary(table, {"a": 12, "b": 0}, ("iou",)).set_index(["class", "metric"])
    assert (rows.loc[("a", "iou"), "status"], rows.loc[("a", "iou"), "n_undefined"]) == ("undefined", 12)
    assert np.isnan(rows.loc[("b", "iou"), "retained"])


def test_drift_is_above_its_floor_only_where_the_paired_interval_is():
    rng = np.random.default_rng(3)
    table = films(40, "a", rng)
    # each film's overlap is 0.04 less than between seeds; that films differ much more than that must not hide it
    floor = table[["image"]].assign(
        iou=table["iou"] + 0.04 + rng.normal(0, 0.01, 40), concentration_change=-table["concentration_change"]
    )
    floor = floor.iloc[5:].sample(frac=1, random_state=0)
    rows = drift_above_floor(table, floor, ["a"], ("iou", "concentration_change")).set_index(["class", "metric"])
    iou, change = rows.loc[("a", "iou")], rows.loc[("all", "concentration_change")]
    assert iou["difference"] == pytest.approx(0.04, abs=0.005)
    assert iou["drift"] == pytest.approx(1 - table["iou"].iloc[5:].mean())
    assert iou["difference"] == pytest.approx(iou["drift"] - iou["floor"])
    assert 0.03 < iou["difference_low"] < iou["difference_high"] < 0.05
    assert iou["drift_low"] < iou["floor_high"]
    assert (iou["above"], iou["n_films"], iou["n_patients"], iou["status"]) == ("yes", 35, 35, "ok")
    assert (change["difference"], change["above"]) == (0, "no")
    few = drift_above_floor(table, floor.iloc[:9], ["a"], ("iou",)).set_index("class").loc["a"]
    assert (few["above"], few["status"]) == ("no", "too_few_patients")
    none = drift_above_floor(table, floor.iloc[:0], ["a"], ("iou",)).set_index("class").loc["a"]
    assert (none["above"], none["status"], none["n_films"]) == ("no", "no_film", 0)
