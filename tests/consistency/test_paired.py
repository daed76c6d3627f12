"""The change between two checkpoints on the common gold list, and the error of the mean over classes."""

import numpy as np
import pytest

from cxrkeras.consistency import c_score
from cxrkeras.consistency.paired import consistency_change
from cxrkeras.errors import ScoreInputError, UsageError

NATIVE = {"grid": "native"}


def jackknife(values):
    values = np.array(values)
    return np.sqrt((len(values) - 1) / len(values) * np.sum((values - values.mean()) ** 2))


@pytest.fixture
def pair(films):
    """Films at two checkpoints: other maps, other confidences, so that the gold lists overlap in part."""
    before, after = films(n=45, n_patients=15, seed=1), films(n=45, n_patients=15, seed=1)
    after.maps = films(n=45, n_patients=15, seed=2).maps
    after.probabilities = films(n=45, n_patients=15, seed=3).probabilities
    return before, after


def changed(before, after, **options):
    return consistency_change(
        before.maps, before.probabilities, after.maps, after.probabilities, before.labels,
        patients=before.patients, **{**NATIVE, **options},
    )  # fmt: skip


def common(before, after, threshold=0.7):
    """The films gold at both, and their confidence √(p·p′), by plain loops."""
    rows, confidence = [], []
    for i, label in enumerate(before.labels):
        p, q = before.probabilities[i], after.probabilities[i]
        if p.argmax() == label == q.argmax() and min(p[label], q[label]) >= threshold:
            rows.append(i)
            confidence.append((p[label] * q[label]) ** 0.5)
    return np.array(rows), np.array(confidence)


def scores_of(naive_scores, side, rows, confidence, **options):
    probabilities = np.tile(((1 - confidence) / 2)[:, None], 3)
    probabilities[np.arange(len(rows)), side.labels[rows]] = confidence
    found = naive_scores(side.maps[rows], side.labels[rows], probabilities, side.patients[rows], **options)
    return np.array([score for score, _ in found])


@pytest.mark.parametrize(
    "options", [{}, {"pair_weights": "min"}, {"same_patient": "keep"}, {"gamma": 1.0, "pair_weights": "none"}]
)
def test_value_and_error_equal_recomputation_without_each_patient(pair, naive_scores, options):
    before, after = pair
    rows, confidence = common(before, after)
    own, later = (scores_of(naive_scores, side, rows, confidence, **options) for side in pair)
    result = changed(before, after, **options)
    found = list(result.classes.values())
    np.testing.assert_allclose([one.score_from for one in found], own, atol=1e-6)
    np.testing.assert_allclose([one.change for one in found], later - own, atol=1e-6)
    assert result.macro.change == pytest.approx((later - own).mean(), abs=1e-6)
    assert result.macro.score_to == pytest.approx(later.mean(), abs=1e-6)
    patients = before.patients[rows]
    without = {}
    for patient in np.unique(patients):
        rest = patients != patient
        left = [scores_of(naive_scores, side, rows[rest], confidence[rest], **options) for side in pair]
        without[patient] = left[1] - left[0]
    for c, one in enumerate(found):
        mine = np.unique(patients[before.labels[rows] == c])
        assert one.n_patients == len(mine) >= 3
        assert one.n_films == (before.labels[rows] == c).sum()
        assert one.stderr == pytest.approx(jackknife([without[p][c] for p in mine]), abs=1e-6)
        assert one.status == "ok"
    assert result.macro.stderr == pytest.approx(jackknife([change.mean() for change in without.values()]), abs=1e-6)
    assert result.macro.n_patients == len(without)


def test_looking_back_turns_the_sign(pair):
    there, back = changed(*pair), changed(*reversed(pair))
    assert back.macro.change == -there.macro.change != 0
    assert back.macro.stderr == pytest.approx(there.macro.stderr)
    assert back.macro.score_to == there.macro.score_from


def growing_gold_list():
    """Easy films agree and are gold first; hard ones agree with nothing and become gold later. The maps stay."""
    rng = np.random.default_rng(0)
    easy, hard = 10, 20
    ring = np.zeros((7, 7))
    ring[2:5, 2:5] = 1
    maps = np.concatenate(
        [np.clip(ring + rng.uniform(0, 1.2, (easy, 7, 7)), 0, None), rng.random((hard, 7, 7)) ** 3] * 2
    )
    labels = np.repeat([0, 1], easy + hard)
    is_easy = np.tile(np.arange(easy + hard) < easy, 2)
    return maps, labels, is_easy


def probability_of(labels, confidence):
    return np.where(labels == 1, confidence, 1 - confidence)


def test_a_growing_gold_list_cannot_imitate_a_fall():
    maps, labels, is_easy = growing_gold_list()
    early = probability_of(labels, np.where(is_easy, 0.8, 0.6))
    late = probability_of(labels, np.where(is_easy, 0.99, 0.9))
    naive = [c_score(maps, labels, p, **NATIVE).macro for p in (early, late)]
    assert naive == pytest.approx([0.49, 0.20], abs=0.01), "the plain difference is a fall of more than half"
    result = consistency_change(maps, early, maps, late, labels, **NATIVE)
    for one in (*result.classes.values(), result.macro):
        assert one.change == 0
        assert one.stderr == 0
        assert one.status == "ok"
    assert result.macro.n_films == is_easy.sum()
    assert result.macro.score_from == pytest.approx(naive[0], abs=1e-6)


def test_a_true_fall_shows_on_the_common_films():
    maps, labels, is_easy = growing_gold_list()
    early, late = (probability_of(labels, np.where(is_easy, p, 0.6)) for p in (0.8, 0.9))
    spoilt = np.where(is_easy[:, None, None], np.random.default_rng(1).random(maps.shape) ** 6, maps)
    macro = consistency_change(maps, early, spoilt, late, labels, **NATIVE).macro
    assert macro.change == pytest.approx(c_score(spoilt, labels, late, **NATIVE).macro - macro.score_from, abs=1e-6)
    assert macro.change < -3 * macro.stderr < 0


def test_what_cannot_be_measured_is_nan_with_its_reason():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 6)
    good = probability_of(labels, np.full(12, 0.9))
    few = good.copy()
    few[:5] = 0.6
    maps = rng.random((12, 5, 5))
    none = consistency_change(maps, good, maps, np.full(12, 0.9), labels).classes
    assert (none[0].status, none[0].n_films, none[1].status) == ("empty_gold_list", 0, "ok")
    result = consistency_change(maps, good, maps, few, labels)
    assert result.classes[0].status == "undefined_gold_list"
    assert np.isnan([result.classes[0].change, result.classes[0].stderr, result.macro.change]).all()
    assert result.macro.status == "undefined_class"
    skipping = consistency_change(maps, good, maps, few, labels, macro="skip").macro
    assert (skipping.status, skipping.change) == ("classes_skipped", 0)
    pairs = consistency_change(maps, good, maps, good, labels, patients=[0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 5])
    assert (pairs.classes[0].status, pairs.classes[0].change) == ("too_few_patients", 0)
    assert np.isnan([pairs.classes[0].stderr, pairs.macro.stderr]).all()
    assert pairs.macro.status == "too_few_patients"
    coarse = consistency_change(maps[:, :2, :2], good, maps[:, :2, :2], good, labels)
    assert coarse.classes[0].status == "grid_too_coarse"


def test_a_degenerate_map_that_appears_is_a_fall():
    maps = np.tile(np.random.default_rng(0).random((5, 5)), (8, 1, 1))
    labels = np.repeat([0, 1], 4)
    good = probability_of(labels, np.full(8, 0.9))
    spoilt = maps.copy()
    spoilt[0] = 0
    change = consistency_change(maps, good, spoilt, good, labels).classes[0]
    assert (change.score_from, change.score_to) == pytest.approx((1.0, 0.5))
    told = consistency_change(maps, good, maps, good, labels, status_to=["degenerate", *["ok"] * 7]).classes[0]
    assert told.score_to == pytest.approx(0.5)


def test_drawn_pairs_are_the_same_on_both_sides(pair):
    before, after = pair
    assert changed(before, before, max_pairs=4).macro.change == 0
    drawn = [changed(before, after, max_pairs=4, seed=seed).macro.change for seed in range(60)]
    error = np.std(drawn) / np.sqrt(len(drawn))
    assert error > 0
    assert abs(np.mean(drawn) - changed(before, after).macro.change) < 3 * error


def test_maps_of_two_grids_and_unknown_options_are_refused(pair):
    before, after = pair
    with pytest.raises(ScoreInputError, match="one native grid"):
        consistency_change(
            before.maps, before.probabilities, after.maps[:, :4], after.probabilities, before.labels, grid=7
        )
    with pytest.raises(UsageError, match="threshold"):
        changed(before, after, threshold=2)


@pytest.mark.parametrize("rule", ["strict", "skip"])
def test_the_error_of_the_mean_over_classes_deletes_a_patient_from_all_of_them(films, rule):
    f = films(n=48, n_patients=12, seed=4)
    result = c_score(f.maps, f.labels, f.probabilities, patients=f.patients, macro=rule, **NATIVE)
    without = []
    for patient in np.unique(f.patients):
        rest = f.patients != patient
        without.append(
            c_score(f.maps[rest], f.labels[rest], f.probabilities[rest], patients=f.patients[rest], **NATIVE).macro
        )
    assert result.macro_stderr == pytest.approx(jackknife(without), abs=1e-6)
    reach = result.macro - result.macro_ci_low
    assert reach == pytest.approx(result.macro_ci_high - result.macro)
    fewest = result.per_class["n_patients"].min()
    from scipy.stats import t

    assert reach == pytest.approx(t.ppf(0.975, fewest - 1) * result.macro_stderr)
    summary = result.summary().set_index("statistic")
    assert summary.loc["macro", "stderr"] == result.macro_stderr
    assert summary.loc[["micro", "min", "range"], ["stderr", "ci_low", "ci_high"]].isna().all(axis=None)


def two_films_each(patients):
    found, times = np.unique(patients, return_counts=True)
    return found[times >= 2]


def test_the_mean_over_classes_has_no_error_where_a_class_has_two_patients(films):
    f = films(n=90, n_patients=12, seed=4)
    gold = f.probabilities[:, 0] >= 0.7
    kept = (f.labels > 0) | np.isin(f.patients, two_films_each(f.patients[gold & (f.labels == 0)])[:2])
    for rule in ("drop", "keep"):
        result = c_score(
            f.maps[kept], f.labels[kept], f.probabilities[kept], patients=f.patients[kept], same_patient=rule, **NATIVE
        )
        assert result.per_class["n_patients"].min() == 2
        assert result.macro > 0
        assert np.isnan([result.macro_stderr, result.macro_ci_low, result.macro_ci_high]).all()


def blobs(rng, n_patients, n_films):
    """Two classes of maps whose place belongs to the patient, with a smaller shift for each film."""
    place = rng.normal(3.5, 1.2, (2 * n_patients, 2)).repeat(n_films, axis=0)
    place = place + rng.normal(0, 0.4, place.shape)
    cells = np.arange(8)
    maps = np.exp(-((cells[:, None] - place[:, 0, None, None]) ** 2 + (cells - place[:, 1, None, None]) ** 2) / 3)
    labels = np.repeat([0, 1], n_patients * n_films)
    return maps, labels, probability_of(labels, rng.uniform(0.7, 1.0, len(labels)))


def test_the_interval_of_the_mean_over_classes_holds_what_it_claims():
    truth = c_score(*blobs(np.random.default_rng(10_000), 500, 1), **NATIVE).macro
    held, seeds = 0, 120
    for seed in range(seeds):
        films = blobs(np.random.default_rng(seed), 20, 3)
        result = c_score(*films, patients=np.repeat(np.arange(40), 3), **NATIVE)
        held += result.macro_ci_low <= truth <= result.macro_ci_high
    assert 0.90 <= held / seeds <= 0.98
