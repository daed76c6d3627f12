"""The artefact-only scorer: closed forms, shares of whole films, and that a wrong AUC is caught."""

import numpy as np
import pytest

from cxrkeras.robustness import (
    ARTEFACT_ONLY,
    CONTROL_COLUMNS,
    TestFilms,
    control_answers,
    control_table,
    parse_confounder,
    results_table,
)

PS = (0.0, 0.1, 0.2, 0.5, 0.8, 1.0)


def films_of(n_pos, n_neg, has=None):
    n = n_pos + n_neg
    return TestFilms([f"f{i}" for i in range(n)], np.arange(n) < n_pos, range(n), has)


def results_of(films, confounder, ps=PS, seeds=(0, 1)):
    return results_table(control_answers(films, parse_confounder(confounder), ps, seeds), films, n_resamples=20)


def test_it_reaches_the_closed_form_on_every_split():
    results = results_of(films_of(20, 30), "tag")
    expected = {"reversed": 0.0, "aligned": 1.0, "clean": 0.5, "neutral": 0.5}
    for row in results.itertuples():
        assert row.auc == pytest.approx(expected.get(row.split, (1 + row.p) / 2), abs=1e-12)
        assert (row.source, row.mode, row.level, row.kind) == (ARTEFACT_ONLY, "control", "environment", "external")
    iid = results[(results["split"] == "iid") & (results["seed"] == 0)]
    assert iid["auc"].tolist() == pytest.approx([0.5, 0.55, 0.6, 0.75, 0.9, 1.0])
    # a film with the artefact is called positive, one without is not
    assert iid["sensitivity"].tolist() == pytest.approx(PS)
    assert set(iid["specificity"]) == {1.0}
    table = control_table(results)
    assert list(table.columns) == list(CONTROL_COLUMNS)
    assert len(table) == 6 * 5
    assert set(table["status"]) == {"ok"}
    np.testing.assert_allclose(table["population"], table["expected"], atol=1e-12)
    np.testing.assert_allclose(table["measured"], table["expected"], atol=1e-12)


def test_few_films_carry_whole_shares():
    table = control_table(results_of(films_of(13, 9), "lowpass")).set_index(["p", "split"])
    # .1·13 -> 1, .5·13 -> 7 (half up), .5·9 -> 5
    assert table.loc[(0.1, "iid"), "measured"] == pytest.approx(0.5 + 1 / 26)
    assert table.loc[(0.1, "iid"), "population"] == pytest.approx(0.55)
    assert table.loc[(0.5, "iid"), "measured"] == pytest.approx(0.5 + 7 / 26)
    assert table.loc[(0.5, "neutral"), "measured"] == pytest.approx(0.5 + (7 / 13 - 5 / 9) / 2)
    assert set(table["status"]) == {"ok"}


def test_a_sampled_confounder_has_its_closed_form_too():
    has = np.random.default_rng(0).random(90) < 0.45
    results = results_of(films_of(40, 50, has), "column:sex=F")
    table = control_table(results)
    assert set(table["split"]) == {"iid", "reversed", "aligned", "neutral"}
    assert set(table["status"]) == {"ok"}
    assert set(table["confounder"]) == {"column:sex=F"}
    ends = table.set_index(["p", "split"])["measured"]
    assert (ends[0.0, "iid"], ends[1.0, "iid"], ends[0.5, "reversed"], ends[0.5, "aligned"]) == (0.5, 1.0, 0.0, 1.0)


def test_it_catches_what_is_wrong_and_says_what_is_undefined():
    results = results_of(films_of(20, 30), "tag", ps=(0.5,), seeds=(0, 1))
    at = results.index[(results["split"] == "iid") & (results["seed"] == 1)]
    results.loc[at, "auc"] -= 0.025
    row = control_table(results).set_index("split").loc["iid"]
    assert (row["status"], row["measured"], row["difference"]) == ("off", pytest.approx(0.725), pytest.approx(-0.025))
    others = results.assign(source="imagenet")
    assert control_table(others).empty
    lone = control_table(results_of(films_of(15, 0), "tag", ps=(0.5,)))
    assert set(lone["status"]) == {"class_absent"}
    assert lone[["expected", "measured", "difference"]].isna().all(axis=None)
