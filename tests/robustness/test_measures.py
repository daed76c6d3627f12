"""Results, predictions, threshold, reliance and comparison of arms whose answers are known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, ndtr, ndtri

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.robustness import (
    COMPARISON_COLUMNS,
    PREDICTION_COLUMNS,
    RELIANCE_COLUMNS,
    RESULT_COLUMNS,
    ArmAnswers,
    TestFilms,
    comparison_table,
    planted_split,
    predictions_table,
    reliance_table,
    results_table,
    sampled_split,
    youden_threshold,
)
from cxrkeras.stats import bootstrapped_mean, expected_calibration_error, holm, patient_bootstrap

NAN = float("nan")
FEW = {"n_resamples": 40, "seed": 4}


def arm(untouched, touched=None, *, p=0.5, seed=0, source="random", mode="probe", threshold=0.5, confounder="tag"):
    touched = None if touched is None else np.asarray(touched, float)
    untouched = np.asarray(untouched, float)
    place = ("environment", "external")
    return ArmAnswers(source, "compact", mode, seed, seed, confounder, *place, p, threshold, untouched, touched)


def counted_auc(positive, scores):
    """Pairs won by the positive film, a tie counts one half."""
    ours, theirs = scores[positive][:, None], scores[~positive]
    return np.mean((ours > theirs) + 0.5 * (ours == theirs))


def some_films(n=60, seed=0, has=None):
    rng = np.random.default_rng(seed)
    return TestFilms([f"f{i}" for i in range(n)], np.arange(n) % 5 < 2, rng.integers(n // 2, size=n), has)


def row_of(table: pd.DataFrame, **where) -> pd.Series:
    for name, value in where.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_every_split_is_all_films_with_other_carriers():
    films, rng = some_films(), np.random.default_rng(1)
    untouched, touched = rng.normal(size=(2, 60))
    table = results_table([arm(untouched, touched, p=0.5, seed=3)], films, **FEW)
    assert list(table.columns) == list(RESULT_COLUMNS)
    assert list(table["split"]) == ["iid", "reversed", "aligned", "clean", "neutral"]
    for row in table.itertuples():
        carries = planted_split(row.split, films.positive, 0.5, 3)
        logits = np.where(carries, touched, untouched)
        assert row.auc == pytest.approx(counted_auc(films.positive, logits), abs=1e-12)
        assert (row.n_pos, row.n_neg, row.n_patients, row.status) == (24, 36, len(set(films.patients)), "ok")
        called = expit(logits) >= 0.5
        assert row.sensitivity == pytest.approx(np.mean(called[films.positive]))
        assert row.specificity == pytest.approx(np.mean(~called[~films.positive]))
        assert row.ece == pytest.approx(expected_calibration_error(films.positive.astype(int), expit(logits)))
        interval = patient_bootstrap(
            lambda rows, logits=logits: counted_auc(films.positive[rows], logits[rows]), films.patients, **FEW
        )
        assert (row.ci_lo, row.ci_hi) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_a_score_that_adds_the_artefact_has_its_closed_form():
    """Normals 1 apart, artefact worth 2, p = .5: clean .760250, reversed .239750, iid .871651."""
    d, w, p, n = 1.0, 2.0, 0.5, 600
    at = ndtri((np.arange(n) + 0.5) / n)
    untouched = np.concatenate([at + d, at])
    films = TestFilms(range(2 * n), np.arange(2 * n) < n, range(2 * n))
    clean, reverse = ndtr(d / np.sqrt(2)), ndtr((d - w) / np.sqrt(2))
    iid = p * ndtr((d + w) / np.sqrt(2)) + (1 - p) * clean
    assert (clean, reverse, iid) == pytest.approx((0.760250, 0.239750, 0.871651), abs=5e-7)
    arms = [arm(untouched, untouched + w, p=p, seed=seed) for seed in range(16)]
    aucs = results_table(arms, films, n_resamples=2).groupby("split")["auc"].agg(["mean", "std"])
    # normals at their quantiles have the population's AUC but for their 1/n steps
    assert aucs.loc["clean", "mean"] == pytest.approx(clean, abs=5e-4)
    assert aucs.loc["reversed", "mean"] == pytest.approx(reverse, abs=5e-4)
    assert aucs.loc["aligned", "mean"] == pytest.approx(ndtr((d + w) / np.sqrt(2)), abs=5e-4)
    assert aucs.loc["clean", "std"] == aucs.loc["reversed", "std"] == 0
    # who carries it is drawn
    assert aucs.loc["iid", "mean"] == pytest.approx(iid, abs=4 * aucs.loc["iid", "std"] / np.sqrt(len(arms)) + 5e-4)
    assert 0 < aucs.loc["iid", "std"] < 0.01


def test_aucs_that_binned_ones_get_wrong():
    films = TestFilms("abcd", np.array([False, False, True, True]), "abcd")
    found = np.log(np.array([0.6, 0.7, 0.8, 0.9])) - np.log1p(-np.array([0.6, 0.7, 0.8, 0.9]))
    table = results_table([arm(found, found), arm(np.zeros(4), np.zeros(4), source="constant")], films)
    assert (table["auc"][table["source"] == "random"] == 1.0).all()
    assert (table["auc"][table["source"] == "constant"] == 0.5).all()
    assert set(table["status"]) == {"too_few_patients"}
    assert table["ci_lo"].isna().all()
    # Keras's flattened AUC of a constant is .6265 at 52 against 31 films
    films = TestFilms(range(83), np.arange(83) >= 52, range(83))
    row = row_of(results_table([arm(np.full(83, 0.7), np.full(83, 0.7))], films, **FEW), split="clean")
    assert (row["auc"], row["ci_lo"], row["ci_hi"]) == (0.5, 0.5, 0.5)


def test_a_sampled_confounder_chooses_films():
    rng = np.random.default_rng(2)
    films = some_films(120, has=rng.random(120) < 0.4)
    logits = rng.normal(size=120) + films.positive
    arms = [arm(logits, p=p, seed=7, confounder="column:sex=F") for p in (0.0, 1.0)]
    table = results_table(arms, films, **FEW)
    assert list(table["split"]) == ["iid", "reversed", "aligned", "neutral"] * 2
    for row in table.itertuples():
        rows = sampled_split(row.split, films.positive, films.has, row.p, 7, films.patients)
        assert row.auc == pytest.approx(counted_auc(films.positive[rows], logits[rows]), abs=1e-12)
        assert (row.n_pos, row.n_neg) == (films.positive[rows].sum(), (~films.positive[rows]).sum())
        assert row.n_patients == len(set(films.patients[rows]))
        called = expit(logits[rows]) >= 0.5
        assert row.sensitivity == pytest.approx(called[films.positive[rows]].mean())
        assert row.ci_lo < row.auc < row.ci_hi
    predictions = predictions_table(arms[:1], films)
    assert list(predictions["artefact"]) == list(films.has.astype(int))
    assert len(predictions) == 120


def test_undefined_results_are_nan_and_say_why():
    n = 20
    one_class = TestFilms(range(n), np.ones(n, bool), range(n))
    row = row_of(results_table([arm(np.zeros(n), np.ones(n))], one_class), split="clean")
    assert (row["status"], row["n_pos"], row["n_neg"], row["sensitivity"]) == ("class_absent", n, 0, 1.0)
    assert row[["auc", "ci_lo", "ci_hi", "specificity"]].isna().all()
    films = TestFilms(range(n), np.arange(n) < 8, range(n))
    diverged = arm(np.full(n, np.nan), np.zeros(n))
    table = results_table([diverged, arm(np.arange(n), np.arange(n), source="fine", threshold=NAN)], films)
    lost = row_of(table, source="random", split="clean")
    assert lost["status"] == "not_finite"
    assert lost[["auc", "ci_lo", "ci_hi", "sensitivity", "specificity", "ece"]].isna().all()
    kept = row_of(table, source="fine", split="clean")
    assert (kept["status"], kept["auc"]) == ("ok", 0.0)
    assert kept[["sensitivity", "specificity"]].isna().all()
    assert reliance_table([diverged, replace(diverged, p=0.0)], films)["status"].tolist() == ["not_finite"] * 2
    assert results_table([], films).empty


def test_a_trained_model_has_no_share_of_its_own():
    films, rng = some_films(), np.random.default_rng(3)
    untouched = rng.normal(size=60)
    trained = replace(arm(untouched, untouched + 1, p=NAN, mode="trained"), seed=-1, fold=-1)
    table = results_table([trained], films, **FEW)
    assert list(table["split"]) == ["reversed", "aligned", "clean", "neutral"]
    assert table["p"].isna().all()
    row = reliance_table([trained], films, **FEW).iloc[0]
    assert (row["status"], row["n_seeds"]) == ("no_unconfounded_arm", 1)
    assert np.isnan(row["reliance"])
    assert (row["delta_logit"], row["delta_logit_lo"]) == (pytest.approx(1), pytest.approx(1))
    rival = comparison_table([trained, replace(trained, source="other", untouched=untouched**3)], films, **FEW)
    assert list(rival["split"]) == ["reversed", "clean"]
    assert rival["p_holm"].tolist() == rival["p_bootstrap"].tolist()


def test_predictions_hold_both_versions_of_every_film():
    films = TestFilms(["a", "b"], np.array([True, False]), ["p", "q"])
    table = predictions_table([arm([0.0, 1.0], [2.0, 3.0]), arm([4.0, 5.0], [6.0, 7.0], seed=1)], films)
    assert list(table.columns) == list(PREDICTION_COLUMNS)
    assert table["logit"].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert table["artefact"].tolist() == [0, 0, 1, 1] * 2
    assert table["seed"].tolist() == [0] * 4 + [1] * 4
    assert table["image"].tolist() == ["a", "b"] * 4
    assert table["patient"].tolist() == ["p", "q"] * 4
    assert table["positive"].tolist() == [1, 0] * 4
    np.testing.assert_allclose(table["probability"], 1 / (1 + np.exp(-table["logit"])))
    assert list(predictions_table([], films).columns) == list(PREDICTION_COLUMNS)


@pytest.mark.parametrize(
    ("positive", "probabilities", "threshold"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.4, 0.9], 0.3),
        ([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.9], 0.65),  # as good as .15, but nearer to one half
        ([0, 1], [0.5, 0.5], 0.25),  # all or none: equally far, the smaller
        ([1, 0], [0.2, 0.4], 0.7),  # worse than guessing: none (.7) is nearer to one half than all (.1)
        ([0, 1], [0.0, 1.0], 0.5),
        ([1, 1], [0.2, 0.3], NAN),
        ([], [], NAN),
    ],
)
def test_the_threshold_of_the_largest_youden_index(positive, probabilities, threshold):
    assert youden_threshold(positive, probabilities) == pytest.approx(threshold, nan_ok=True)


def test_neighbouring_probabilities_are_still_parted():
    above = np.nextafter(0.3, 1)
    assert 0.3 < youden_threshold([False, True], [0.3, above]) <= above
    with pytest.raises(ScoreInputError, match="0 to 1"):
        youden_threshold([False, True], [0.3, 1.3])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=25))
def test_no_threshold_does_better(films):
    truth, values = np.array([t for t, _ in films]), np.array([v for _, v in films]) / 20
    if truth.all() or not truth.any():
        return

    def youden(threshold):
        called = values >= threshold
        return called[truth].mean() - called[~truth].mean()

    best = youden(youden_threshold(truth, values))
    assert best == pytest.approx(max(youden(t) for t in np.linspace(0, 1.05, 127)), abs=1e-12)


def test_reliance_is_the_paired_loss_beyond_damage_with_seeds_averaged():
    films, rng = some_films(), np.random.default_rng(5)
    base = rng.normal(size=(2, 60)) + films.positive
    hurt = rng.normal(size=(2, 60))
    arms = [arm(base[s], base[s] + hurt[s], p=0.0, seed=s) for s in (0, 1)]
    arms += [arm(base[s] + 0.1 * hurt[1 - s], base[s] + hurt[s] + 2, p=1.0, seed=s) for s in (0, 1)]
    table = reliance_table(arms, films, **FEW)
    assert list(table.columns) == list(RELIANCE_COLUMNS)

    def gap(own, rows):
        truth = films.positive[rows]
        swapped = np.where(~truth, own.touched[rows], own.untouched[rows])
        return counted_auc(truth, own.untouched[rows]) - counted_auc(truth, swapped)

    def damage(rows):
        return np.mean([gap(own, rows) for own in arms[:2]])

    expected = patient_bootstrap(
        lambda rows: np.mean([gap(own, rows) for own in arms[2:]]) - damage(rows), films.patients, **FEW
    )
    row = row_of(table, p=1.0)
    assert (row["status"], row["n_seeds"]) == ("ok", 2)
    assert row["reliance"] == pytest.approx(expected.estimate, abs=1e-12)
    assert (row["ci_lo"], row["ci_hi"]) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert row["damage"] == pytest.approx(damage(np.arange(60)), abs=1e-12)
    moved = bootstrapped_mean(np.mean([own.touched - own.untouched for own in arms[2:]], axis=0), films.patients, **FEW)
    assert row[["delta_logit", "delta_logit_lo", "delta_logit_hi"]].tolist() == pytest.approx(
        [moved.estimate, moved.low, moved.high]
    )
    zero = row_of(table, p=0.0)
    assert (zero["status"], zero["reliance"], zero["ci_lo"], zero["ci_hi"]) == ("baseline", 0, 0, 0)
    assert zero["damage"] == row["damage"]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_a_model_that_ignores_the_artefact_leans_on_nothing(seed):
    films, rng = some_films(40, seed), np.random.default_rng(seed)
    arms = [arm(logits, logits, p=p) for p, logits in zip((0.0, 0.5, 1.0), rng.normal(size=(3, 40)), strict=True)]
    table = reliance_table(arms, films, **FEW)
    assert (table[["reliance", "ci_lo", "ci_hi", "damage", "delta_logit", "delta_logit_hi"]] == 0).all(axis=None)


def test_a_model_that_sees_only_the_artefact_loses_all_it_had():
    films = some_films()
    blind = arm(np.zeros(60), np.zeros(60), p=0.0)
    table = reliance_table([blind, arm(films.positive * 1.0, films.positive + 5.0, p=1.0)], films, **FEW)
    row = row_of(table, p=1.0)
    assert row[["reliance", "ci_lo", "ci_hi", "damage", "delta_logit"]].tolist() == [1, 1, 1, 0, 5]


def test_reliance_without_what_it_needs():
    films, logits = some_films(), np.random.default_rng(6).normal(size=60)
    alone = reliance_table([arm(logits, logits + 1, p=0.5)], films, **FEW).iloc[0]
    assert alone["status"] == "no_unconfounded_arm"
    assert np.isnan(alone["reliance"])
    assert alone["delta_logit"] == pytest.approx(1)
    arms = [arm(logits, logits + 1, p=0.5, seed=s) for s in (0, 1)]
    one_seed = reliance_table([*arms, arm(logits, logits, p=0.0, seed=1)], films, **FEW)
    assert one_seed["n_seeds"].tolist() == [1, 1]
    other_seed = reliance_table([arms[0], arm(logits, logits, p=0.0, seed=1)], films, **FEW)
    assert other_seed["status"].tolist() == ["no_unconfounded_arm", "baseline"]
    assert other_seed["n_seeds"].tolist() == [0, 1]
    few = TestFilms(range(8), np.arange(8) < 4, range(8))
    two = [arm(np.arange(8.0), np.arange(8.0), p=p) for p in (0.0, 1.0)]
    assert reliance_table(two, few)["status"].tolist() == ["too_few_patients"] * 2
    assert reliance_table([], films).empty


def test_reliance_on_a_sampled_confounder_subtracts_nothing():
    rng = np.random.default_rng(7)
    films = some_films(160, has=rng.random(160) < 0.5)
    logits = films.positive + 2.0 * films.has + rng.normal(size=160)
    arms = [arm(logits, p=p, confounder="column:sex=F") for p in (0.0, 0.5)]
    table, results = reliance_table(arms, films, **FEW), results_table(arms, films, **FEW)
    assert table["status"].tolist() == ["ok", "ok"]
    for p in (0.0, 0.5):
        row = row_of(table, p=p)
        neutral, reverse = (row_of(results, p=p, split=split)["auc"] for split in ("neutral", "reversed"))
        assert row["reliance"] == pytest.approx(neutral - reverse, abs=1e-12)
        assert 0 < row["ci_lo"] < row["reliance"] < row["ci_hi"]
    assert table[["damage", "delta_logit", "delta_logit_lo"]].isna().all(axis=None)


def test_two_sources_are_compared_pair_by_pair():
    films, rng = some_films(), np.random.default_rng(8)
    ps = (0.0, 0.5, 1.0)
    arms = [
        arm(logits + skill * films.positive, logits + skill * films.positive + p, p=p, seed=seed, source=source)
        for source, skill in (("weak", 0.2), ("strong", 1.0))
        for p in ps
        for seed, logits in enumerate(rng.normal(size=(5, 60)))
    ]
    table = comparison_table(arms, films, **FEW)
    assert list(table.columns) == list(COMPARISON_COLUMNS)
    assert len(table) == 9
    assert set(table["status"]) == {"too_few_seeds_to_be_significant"}
    assert set(table["p_attainable"]) == {0.0625}
    row = row_of(table, p=0.5, split="clean")
    weak, strong = ([a for a in arms if a.source == s and a.p == 0.5] for s in ("weak", "strong"))
    drawn = []

    def difference(rows):
        means = [np.mean([counted_auc(films.positive[rows], a.untouched[rows]) for a in own]) for own in (weak, strong)]
        drawn.append(means[0] - means[1])
        return drawn[-1]

    expected = patient_bootstrap(difference, films.patients, **FEW)
    assert (row["first"], row["second"], row["n_seeds"]) == ("weak", "strong", 5)
    assert row["difference"] == pytest.approx(expected.estimate, abs=1e-12)
    assert (row["ci_lo"], row["ci_hi"]) == (pytest.approx(expected.low), pytest.approx(expected.high))
    resampled = np.array(drawn[1:])
    assert row["p_bootstrap"] == min(1, 2 * (1 + min((resampled <= 0).sum(), (resampled >= 0).sum())) / 41)
    for split in ("iid", "reversed", "clean"):
        own = table[table["split"] == split].set_index("p")
        assert np.isnan(own.loc[0.0, "p_holm"])
        np.testing.assert_allclose(own.loc[[0.5, 1.0], "p_holm"], holm(own.loc[[0.5, 1.0], "p_bootstrap"]))
    mirrored = row_of(comparison_table(arms[::-1], films, **FEW), p=0.5, split="clean")
    assert (mirrored["first"], mirrored["difference"]) == ("strong", pytest.approx(-row["difference"]))
    assert mirrored["p_sign_flip"] == row["p_sign_flip"]


def test_only_what_can_be_paired_is_compared():
    films, rng = some_films(), np.random.default_rng(9)
    eight = [
        arm(x + lift * films.positive, x, p=0.0, seed=s, source=source)
        for source, lift in (("a", 3.0), ("b", 0.0))
        for s, x in enumerate(rng.normal(size=(8, 60)))
    ]
    table = comparison_table(eight, films, **FEW)
    assert set(table["status"]) == {"ok"}
    assert set(table["p_attainable"]) == {0.0078125}
    clean = row_of(table, split="clean")
    assert clean["p_sign_flip"] == 0.0078125
    assert clean["p_bootstrap"] == pytest.approx(2 / 41)
    assert table["p_holm"].isna().all()
    # another mode has no rival; another source of another seed shares none
    other = [replace(eight[0], mode="finetune", source="c"), replace(eight[0], source="d", seed=9)]
    wider = comparison_table([*eight, *other], films, **FEW)
    assert "c" not in {*wider["first"], *wider["second"]}
    apart = wider[wider["second"] == "d"]
    assert set(apart["status"]) == {"no_common_seed"}
    assert apart["difference"].isna().all()
    named = comparison_table([*eight, *other], films, first="b", **FEW)
    assert set(zip(named["first"], named["second"], strict=True)) == {("b", "a"), ("b", "d")}
    backbones = comparison_table([eight[0], replace(eight[0], arch="ResNet50V2")], films, **FEW)
    assert set(backbones["first"]) == {"a (compact)"}
    assert (backbones["difference"] == 0).all()
    assert (backbones["p_bootstrap"] == 1).all()
    assert comparison_table(eight[:8], films, **FEW).empty
    with pytest.raises(UsageError, match="unknown source 'e'"):
        comparison_table(eight, films, first="e")


def test_what_does_not_fit_is_refused():
    films = some_films(20)
    fine = arm(np.zeros(20), np.zeros(20))
    sampled = arm(np.zeros(20), confounder="column:sex=F")
    for wrong, message in (
        ([replace(fine, untouched=np.zeros(19))], r"Expected \(20,\), received \(19,\)"),
        ([fine, fine], "twice at p=0.5, seed 0"),
        ([sampled], "TestFilms.has"),
    ):
        for table in (results_table, predictions_table, reliance_table, comparison_table):
            with pytest.raises(ScoreInputError, match=message):
                table(wrong, films)
    both = [sampled, replace(sampled, confounder="column:age=70")]
    with pytest.raises(ScoreInputError, match="one sampled confounder at a time"):
        results_table(both, replace(films, has=np.arange(20) % 2 == 0))
    with pytest.raises(ScoreInputError, match="Expected 20, received 2"):
        results_table([fine], replace(films, patients=["a", "b"]))
