"""Mass on the artefact as a table, and what AUC hides: closed forms, pairing and statuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cxrkeras.errors import ScoreInputError
from cxrkeras.robustness.answers import ArmAnswers, TestFilms
from cxrkeras.robustness.hidden import HIDDEN_COLUMNS, hidden_table, hidden_words
from cxrkeras.robustness.map_measures import MAP_COLUMNS, MAP_FILM_COLUMNS, mass_gain, mass_table, without_region
from cxrkeras.robustness.summaries import reliance_table
from cxrkeras.stats import bootstrapped_mean

N = 40
AREA = 0.02
FILMS = TestFilms(
    images=[f"{i}.png" for i in range(N)],
    positive=np.arange(N) < N // 2,
    patients=[f"p{i // 2}" for i in range(N)],
)


def map_films(mass, mass_before=0.1, *, p=1.0, seed=0, method="gradcam", **more):
    about = {"source": "random", "arch": "compact", "mode": "probe", "seed": seed, "confounder": "tag", "p": p}
    frame = pd.DataFrame({"image": FILMS.images, "patient": FILMS.patients, "positive": FILMS.positive.astype(int)})
    frame = frame.assign(
        method=method, mass=mass, mass_before=mass_before, hit=1.0, area=AREA, hit_area=2 * AREA, ceiling=0.7
    )
    frame = frame.assign(status=np.where(np.isnan(frame["mass"] + frame["mass_before"]), "degenerate", "ok"))
    return frame.assign(**about | more)[list(MAP_FILM_COLUMNS)]


def arm(p, seed=0, weight=None):
    """Answers that lean on the artefact the more the larger p is."""
    rng = np.random.default_rng(5)
    untouched = np.where(FILMS.positive, 0.8, -0.8) + rng.normal(size=N)
    leaning = 4 * p if weight is None else weight
    return ArmAnswers(
        "random", "compact", "probe", seed, 0, "tag", "environment", "external", p, 0.5, untouched, untouched + leaning
    )


def value_of(table, **where):
    rows = table
    for name, value in where.items():
        rows = rows[rows[name] == value]
    (row,) = rows.to_dict("records")
    return row


def test_means_are_those_of_the_films_that_carry_it_and_intervals_those_of_patients():
    mass = np.random.default_rng(0).random(N)
    table = mass_table(map_films(mass, 0.25))
    assert list(table.columns) == list(MAP_COLUMNS)
    assert len(table) == 8
    for split, rows in (("aligned", FILMS.positive), ("reversed", ~FILMS.positive)):
        expected = bootstrapped_mean(mass[rows] - 0.25, np.array(FILMS.patients)[rows])
        found = value_of(table, split=split, metric="mass_gain")
        assert found["value"] == pytest.approx(mass[rows].mean() - 0.25)
        assert (found["ci_lo"], found["ci_hi"]) == (expected.low, expected.high)
        assert (found["n"], found["n_patients"], found["status"], found["chance"]) == (20, 10, "ok", 0)
    assert value_of(table, split="aligned", metric="mass")["chance"] == pytest.approx(AREA)
    assert value_of(table, split="aligned", metric="hit")["chance"] == pytest.approx(2 * AREA)


def test_equal_versions_gain_nothing():
    mass = np.random.default_rng(1).random(N)
    gains = mass_table(map_films(mass, mass))
    gains = gains[gains["metric"] == "mass_gain"]
    assert (gains[["value", "ci_lo", "ci_hi"]] == 0).all(axis=None)


def test_maps_without_contrast_are_left_out_and_counted():
    mass = np.full(N, 0.3)
    mass[[0, 3]] = np.nan
    table = mass_table(map_films(mass, 0.1))
    found = value_of(table, split="aligned", metric="mass_gain")
    assert found["value"] == pytest.approx(0.2)
    assert (found["n"], found["n_degenerate"], found["status"]) == (18, 2, "some_degenerate")
    # the film without it has a map, so what it had before is known
    assert value_of(table, split="aligned", metric="mass_before")["n_degenerate"] == 0
    nothing = mass_table(map_films(np.full(N, np.nan), np.nan))
    nothing = nothing[nothing["metric"] != "hit"]
    assert nothing["value"].isna().all()
    assert set(nothing["status"]) == {"degenerate"}


def test_few_patients_have_no_interval_and_an_absent_class_no_film():
    few = map_films(0.3)[:6]
    table = mass_table(few)
    assert value_of(table, split="aligned", metric="mass")["status"] == "too_few_patients"
    assert value_of(table, split="reversed", metric="mass")["status"] == "no_film"
    with pytest.raises(ScoreInputError, match="mass_before"):
        mass_table(few.drop(columns="mass_before"))


def test_an_artefact_without_a_place_has_no_mass():
    rows = without_region(["gradcam", "eigencam"])
    assert len(rows) == 16
    assert rows["value"].isna().all()
    assert set(rows["status"]) == {"no_region"}


def measured(gains, *, seeds=(0,), methods=("gradcam",), weights=(None, None), mass0=0.1):
    """The hidden table of arms at p = 0 and 1 whose maps gain `gains` at p = 1 and nothing at p = 0."""
    answers = [arm(p, seed, weight) for seed in seeds for p, weight in zip((0.0, 1.0), weights, strict=True)]
    parts = [
        map_films(mass0 + (p == 1) * gain, 0.1, p=p, seed=seed, method=method)
        for method, gain in zip(methods, gains, strict=True)
        for seed in seeds
        for p in (0.0, 1.0)
    ]
    films = pd.concat(parts, ignore_index=True)
    return hidden_table(answers, FILMS, mass_table(films), films, reliance_table(answers, FILMS))


def test_a_shortcut_that_auc_hides_is_told_for_the_methods_that_show_it():
    table = measured((0.2, AREA / 2, 0.0), methods=("gradcam", "layercam", "eigencam"))
    assert list(table.columns) == list(HIDDEN_COLUMNS)
    assert table["p"].tolist() == [1.0] * 3
    assert table["visible"].tolist() == ["yes", "no", "no"]
    assert set(table["hidden_from_auc"]) == {"yes"}
    assert (table["auc_iid_change"] > 0).all()
    assert table["mass_gain"].to_numpy() == pytest.approx([0.2, AREA / 2, 0])
    assert table["chance"].to_numpy() == pytest.approx([AREA] * 3)
    assert table["ceiling"].to_numpy() == pytest.approx([0.7] * 3)
    assert set(table["n"]) == {N}
    # every positive film is far below the negative ones that carry it
    assert table["auc_reversed_change"].iloc[0] < -0.5
    (words,) = hidden_words(table)
    assert "shown by the maps of gradcam (+0.200" in words
    assert "not shown by the maps of layercam" in words
    assert "hides a reliance" in words


def test_a_gain_is_beyond_that_at_p_zero_film_by_film():
    # the map finds the artefact before any arm has learnt it
    rng = np.random.default_rng(2)
    before = rng.random(N)
    films = pd.concat([map_films(before, 0.1, p=0.0), map_films(before + 0.05, 0.1, p=1.0)[::-1]])
    answers = [arm(0.0), arm(1.0)]
    table = hidden_table(answers, FILMS, mass_table(films), films, reliance_table(answers, FILMS))
    found = table[["mass_gain", "ci_lo", "ci_hi"]].to_numpy()
    assert found == pytest.approx(np.full((1, 3), 0.05))
    assert mass_gain(films[:N]) == pytest.approx(before - 0.1)


def test_seeds_are_averaged_film_by_film():
    films = [map_films(0.1, p=0.0, seed=seed) for seed in (0, 1)]
    films += [map_films(0.2, p=1.0, seed=0), map_films(0.5, p=1.0, seed=1), map_films(0.9, p=1.0, seed=2)]
    films = pd.concat(films)
    # seed 2 has no arm at p = 0
    answers = [arm(p, seed) for seed in (0, 1) for p in (0.0, 1.0)] + [arm(1.0, 2)]
    table = hidden_table(answers, FILMS, mass_table(films), films, reliance_table(answers, FILMS))
    (row,) = table.to_dict("records")
    assert row["mass_gain"] == pytest.approx((0.1 + 0.4) / 2)
    assert row["n_seeds"] == row["n_map_seeds"] == 2


def test_auc_that_falls_or_an_arm_that_leans_on_nothing_hides_nothing():
    still = measured((0.2,), weights=(0.0, 0.0))
    assert still["hidden_from_auc"].tolist() == ["no"]
    assert still["auc_iid_change"].tolist() == [0]
    assert "cannot be told from 0" in hidden_words(still)[0]
    # the arm at p = 1 calls films with the artefact negative: its own i.i.d. AUC falls
    falls = measured((0.2,), weights=(0.0, -6.0))
    assert falls["hidden_from_auc"].tolist() == ["no"]
    assert falls["auc_iid_change_hi"].iloc[0] < 0


def test_what_is_undefined_says_why():
    alone = map_films(0.3)
    answers = [arm(1.0)]
    table = hidden_table(answers, FILMS, mass_table(alone), alone, reliance_table(answers, FILMS))
    assert table[["visible", "hidden_from_auc", "status"]].values.tolist() == [
        ["undefined", "undefined", "no_unconfounded_arm"]
    ]
    nowhere = without_region(["gradcam"]).assign(
        source="random", arch="compact", mode="probe", seed=0, confounder="tag", p=1.0
    )
    answers = [arm(0.0), arm(1.0)]
    table = hidden_table(answers, FILMS, nowhere, alone[:0], reliance_table(answers, FILMS))
    assert table[["visible", "hidden_from_auc", "status"]].values.tolist() == [["undefined", "yes", "no_region"]]
    assert "no place of its own" in hidden_words(table)[0]
    blank = measured((np.nan,))
    assert blank[["visible", "hidden_from_auc", "status"]].values.tolist() == [["undefined", "yes", "undefined"]]
