"""Against chance, method against method, run against run: pairs, p-values, correction, and what is not tested."""

import numpy as np
import pandas as pd
import pytest

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.localization import CHANCE_COLUMNS, COMPARISON_COLUMNS, FILM_METRICS, chance_table, comparison_table
from cxrkeras.localization.comparison import paired_tests, resamples_needed
from cxrkeras.stats import holm, patient_bootstrap


def row_of(table: pd.DataFrame, **where: str) -> pd.Series:
    for name, value in where.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_the_paired_test_is_the_plain_patient_bootstrap():
    rng = np.random.default_rng(0)
    differences, patients = rng.normal(0.1, 0.4, size=(50, 4)), rng.integers(25, size=50)
    differences[:, 1] = 0
    differences[:, 2] -= 0.15
    differences[rng.random(50) < 0.2, 3] = np.nan
    found = paired_tests(differences, patients, 500, seed=2)
    for column, row in enumerate(found):
        drawn = []

        def mean(rows, column=column, drawn=drawn):
            drawn.append(np.nanmean(differences[rows, column]))
            return drawn[-1]

        slow = patient_bootstrap(mean, patients, 500, seed=2)
        tail = min(1 + sum(d <= 0 for d in drawn[1:]), 1 + sum(d >= 0 for d in drawn[1:]))
        assert row["difference"] == pytest.approx(slow.estimate)
        assert (row["ci_low"], row["ci_high"]) == (pytest.approx(slow.low), pytest.approx(slow.high))
        assert row["p"] == min(1, 2 * tail / 501)
        assert row["status"] == "ok"
    assert found[1]["p"] == 1
    assert found[3]["n"] == np.isfinite(differences[:, 3]).sum()


def test_a_test_of_no_difference_rejects_as_often_as_it_says():
    rng = np.random.default_rng(4)
    p = [row["p"] for row in paired_tests(rng.normal(size=(60, 400)), range(60), 1000)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(np.array(p) < 0.5) == pytest.approx(0.5, abs=0.08)


def test_chance_is_paired_film_by_film_and_method_by_method(films):
    first, second = films(20), films(20, method="ig", seed=1)
    area = films(20, method="", seed=2).assign(against="area")
    drawn = [table.assign(against="random_weights", iou=table["iou"] - 0.1) for table in (first, second)]
    chance = pd.concat([area.sample(frac=1, random_state=0), *drawn]).drop(columns="area_gt")
    found = chance_table(pd.concat([first, second]), chance)
    assert tuple(found.columns) == CHANCE_COLUMNS
    assert len(found) == 2 * 2 * len(FILM_METRICS)
    row = row_of(found, method="ig", metric="iou", against="random_weights")
    assert (row["difference"], row["chance"]) == (pytest.approx(0.1), pytest.approx(second["iou"].mean() - 0.1))
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(0.1), pytest.approx(0.1))
    assert (row["p"], row["above"], row["n"], row["status"]) == (2 / 1001, "yes", 20, "ok")
    row = row_of(found, method="gradcam", metric="mass", against="area")
    pairs = first["mass"].to_numpy() - area["mass"].to_numpy()
    slow = patient_bootstrap(lambda rows: pairs[rows].mean(), first["patient"])
    assert (row["difference"], row["ci_low"]) == (pytest.approx(pairs.mean()), pytest.approx(slow.low))
    for _, family in found.groupby(["metric", "against"]):
        np.testing.assert_array_equal(family["p_holm"], holm(family["p"].to_numpy()))
    assert (found["above"] == np.where((found["p_holm"] < 0.05) & (found["difference"] > 0), "yes", "no")).all()


def test_significantly_below_chance_is_not_above_it(films):
    table = films(20)
    worse = chance_table(table, table.assign(against="centre", iou=table["iou"] + 0.2))
    row = row_of(worse, metric="iou")
    assert (row["p_holm"], row["difference"], row["above"]) == (2 / 1001, pytest.approx(-0.2), "no")


def test_a_blank_map_counts_as_nothing_and_a_chance_without_a_value_leaves_its_film_out(films):
    table, chance = films(20), films(20, seed=1).assign(against="mean_mask", method="")
    blank = [0, 1, 2]
    table.loc[blank, list(FILM_METRICS)] = np.nan
    table.loc[blank, "status"] = "degenerate"
    chance.loc[[2, 3], list(FILM_METRICS)] = np.nan
    row = row_of(chance_table(table, chance), metric="iou")
    kept = ~np.isin(np.arange(20), [2, 3])
    expected = (table["iou"].fillna(0) - chance["iou"])[kept]
    assert (row["n"], row["difference"]) == (18, pytest.approx(expected.mean()))
    assert row["chance"] == pytest.approx(chance["iou"][kept].mean())
    strange = chance.assign(image=chance["image"] + "x")
    row = row_of(chance_table(table, strange), metric="iou")
    assert (row["n"], row["status"], row["above"]) == (0, "no_film", "undefined")


def test_under_ten_patients_nothing_is_tested_and_the_family_is_smaller(films):
    few = films(30, finding="Nodule", patient=[f"p{i % 9}" for i in range(30)])
    table = pd.concat([films(20), few])
    found = chance_table(table, table.assign(against="area", iou=table["iou"] - 0.1))
    row = row_of(found, finding="Nodule", metric="iou")
    assert (row["status"], row["above"], row["n_patients"]) == ("too_few_patients", "undefined", 9)
    assert row["difference"] == pytest.approx(0.1)
    assert np.isnan(row[["ci_low", "ci_high", "p", "p_holm"]].astype(float)).all()
    tested = row_of(found, finding="Mass", metric="iou")
    assert tested["p_holm"] == tested["p"] == 2 / 1001


def test_large_families_get_the_resamples_that_their_correction_needs(films):
    names = [f"m{i}" for i in range(26)]
    table = pd.concat([films(12, method=name, seed=i) for i, name in enumerate(names)])
    rival = table.assign(against="area", iou=table["iou"] - 0.1)
    # with 1000 resamples no p-value could be below 26 · 2/1001
    assert (chance_table(table, rival, n_resamples=1000).query("metric == 'iou'")["above"] == "no").all()
    assert resamples_needed(26) == 5200
    found = chance_table(table, rival).query("metric == 'iou'")
    assert (found["above"] == "yes").all()
    assert found["p_holm"].max() == pytest.approx(26 * 2 / 5201)


def test_every_two_methods_are_compared_on_the_same_films(films):
    a, b, c = films(24), films(24, method="ig", seed=1), films(24, method="eigencam", seed=2)
    b = b.sample(frac=1, random_state=3).iloc[2:]
    found = comparison_table(pd.concat([a, b, c]))
    assert tuple(found.columns) == COMPARISON_COLUMNS
    iou = found[found["metric"] == "iou"]
    assert list(zip(iou["first"], iou["second"], strict=True)) == [
        ("gradcam", "ig"),
        ("gradcam", "eigencam"),
        ("ig", "eigencam"),
    ]
    row = row_of(iou, first="gradcam", second="ig")
    pairs = a.set_index("image")["iou"].reindex(b["image"]).to_numpy() - b["iou"].to_numpy()
    assert (row["difference"], row["n"]) == (pytest.approx(pairs.mean()), 22)
    assert (row["compared"], row["method"], row["status"]) == ("methods", "", "ok")
    np.testing.assert_array_equal(iou["p_holm"], holm(iou["p"].to_numpy()))
    assert len(comparison_table(a)) == 0


def test_a_run_against_itself_differs_by_nothing_and_runs_are_compared_method_by_method(films):
    own = pd.concat([films(15), films(15, method="ig", seed=1)])
    better = own.assign(iou=own["iou"] + np.where(own["method"] == "ig", 0.05, 0))
    runs = pd.concat([own.assign(run="a@4"), better.assign(run="b@4")])
    found = comparison_table(runs, by="run")
    assert set(found["compared"]) == {"runs"}
    same = found[found["metric"] != "iou"]
    assert (same[["difference", "ci_low", "ci_high"]] == 0).all(axis=None)
    assert (same["p"] == 1).all()
    ig = row_of(found, metric="iou", method="ig")
    assert (ig["first"], ig["second"], ig["difference"]) == ("a@4", "b@4", pytest.approx(-0.05))
    assert ig["p_holm"] == 2 * ig["p"] == 4 / 1001
    assert row_of(found, metric="iou", method="gradcam")["p_holm"] == 1


def test_tables_that_cannot_be_compared_are_refused(films):
    with pytest.raises(UsageError, match="Did you mean 'method'"):
        comparison_table(films(12), by="methods")
    with pytest.raises(ScoreInputError, match="lack the columns run"):
        comparison_table(films(12), by="run")
    with pytest.raises(ScoreInputError, match="twice"):
        comparison_table(pd.concat([films(12), films(12)]))
    with pytest.raises(ScoreInputError, match="lack the columns against"):
        chance_table(films(12), films(12))
    with pytest.raises(UsageError, match="two resamples"):
        paired_tests(np.zeros((12, 1)), range(12), 1)
