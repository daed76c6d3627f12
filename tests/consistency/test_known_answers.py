"""The C-Score where its value is known: closed forms, invariances and a plain double loop."""

import itertools

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from cxrkeras.consistency import c_score, pairs, sweep
from cxrkeras.consistency.pairs import pair_scores


def one_class(maps, confidence=0.9, **options):
    confidence = np.broadcast_to(confidence, len(maps))
    result = c_score(maps, np.zeros(len(maps), int), np.stack([confidence, 1 - confidence], axis=1), **options)
    return result.per_class.iloc[0]


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_identical_maps_score_one(rng):
    row = one_class(np.repeat(rng.random((1, 7, 7)), 5, axis=0))
    assert row["score"] == 1.0
    assert row["stderr"] == 0.0
    assert (row["ci_low"], row["ci_high"]) == (1.0, 1.0)


def test_disjoint_supports_score_zero():
    maps = np.zeros((4, 8, 8))
    for i, (r, c) in enumerate(itertools.product((0, 5), (0, 5))):
        maps[i, r : r + 2, c : c + 2] = [[1, 2], [3, 4]]
    assert one_class(maps, grid="native")["score"] == 0.0


def test_gamma_one_is_a_function_of_sums_and_l1(rng):
    maps = rng.random((2, 6, 6))
    maps[:, 0, 0], maps[:, 0, 1] = 0, 1
    a, b = maps.reshape(2, -1)
    l1 = np.abs(a - b).sum()
    expected = (a.sum() + b.sum() - l1) / (a.sum() + b.sum() + l1)
    assert one_class(maps, gamma=1, grid="native")["score"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 1, 2, 4])
def test_native_uniform_noise_tends_to_one_over_gamma_plus_one(rng, gamma):
    assert one_class(rng.random((30, 80, 80)), gamma=gamma, grid="native")["score"] == pytest.approx(
        1 / (gamma + 1), abs=0.004
    )


@pytest.mark.parametrize(("side", "expected", "tolerance"), [(7, 0.414, 0.012), (28, 0.433, 0.004), (56, 0.333, 0.002)])
def test_noise_depends_on_the_native_grid(rng, side, expected, tolerance):
    assert one_class(rng.random((120, side, side)))["score"] == pytest.approx(expected, abs=tolerance)


def test_the_score_is_not_the_product_form():
    cells = np.arange(56) - 27.5
    wide = np.exp(-(cells[:, None] ** 2 + cells[None] ** 2) / 200)
    assert one_class(np.stack([wide, wide]))["score"] == 1.0


@pytest.mark.parametrize("outlier_score", [0.0, 1 / 3])
def test_nine_confident_maps_and_one_doubtful(outlier_score):
    maps = np.zeros((10, 4, 4))
    maps[:9, 0, :2] = 1
    maps[9] = np.roll(maps[0], 1 if outlier_score else 2, axis=1)
    confidence = np.array([0.99] * 9 + [0.60])
    options = {"threshold": 0.5, "gamma": 1, "grid": "native"}
    weighted = one_class(maps, confidence, **options)["score"]
    assert weighted == pytest.approx((35.2836 + 5.346 * outlier_score) / 40.6296, abs=1e-6)
    unweighted = one_class(maps, confidence, pair_weights="none", **options)["score"]
    assert unweighted == pytest.approx((36 + 9 * outlier_score) / 45, abs=1e-6)


@pytest.mark.parametrize("factor", [1e-300, 1e-12, 1e-3, 50, 1e30, 1e300])
def test_scale_of_the_maps_does_not_matter(films, factor):
    f = films()
    plain = c_score(f.maps, f.labels, f.probabilities, patients=f.patients)
    scaled = c_score(f.maps * factor, f.labels, f.probabilities, patients=f.patients)
    np.testing.assert_allclose(scaled.per_class["score"], plain.per_class["score"], atol=1e-6)


def test_each_map_may_have_its_own_scale(films):
    f = films()
    factors = 10.0 ** np.random.default_rng(0).uniform(-6, 6, len(f.maps))
    plain = c_score(f.maps, f.labels, f.probabilities)
    scaled = c_score(f.maps * factors[:, None, None], f.labels, f.probabilities)
    np.testing.assert_allclose(scaled.per_class["score"], plain.per_class["score"], atol=1e-6)


def test_order_of_films_and_cells_does_not_matter(films, rng):
    f = films()
    plain = c_score(f.maps, f.labels, f.probabilities, patients=f.patients, grid="native").per_class
    order = rng.permutation(len(f.maps))
    shuffled = c_score(
        f.maps[order], f.labels[order], f.probabilities[order], patients=f.patients[order], grid="native"
    )
    cells = f.maps.reshape(len(f.maps), -1)[:, rng.permutation(25)].reshape(f.maps.shape)
    moved = c_score(cells, f.labels, f.probabilities, patients=f.patients, grid="native")
    for name in ("score", "stderr", "baseline", "excess_stderr"):
        np.testing.assert_allclose(shuffled.per_class[name], plain[name], atol=1e-9)
        np.testing.assert_allclose(moved.per_class[name], plain[name], atol=1e-6)


@pytest.mark.parametrize("pair_weights", ["product", "none", "geometric", "min"])
@pytest.mark.parametrize("same_patient", ["drop", "keep"])
@pytest.mark.parametrize(("grid", "gamma"), [("native", 2.0), (9, 1.5)])
def test_equals_a_naive_double_loop(films, naive_scores, pair_weights, same_patient, grid, gamma):
    f = films(n_classes=3)
    f.maps[4], f.maps[5, 1, 1] = 3.0, np.nan
    options = {"gamma": gamma, "grid": grid, "pair_weights": pair_weights, "same_patient": same_patient}
    result = c_score(f.maps, f.labels, f.probabilities, patients=f.patients, threshold=0.7, **options).per_class
    expected = np.array(naive_scores(f.maps, f.labels, f.probabilities, f.patients, **options))
    np.testing.assert_allclose(result[["score", "baseline"]], expected, atol=1e-6)
    np.testing.assert_allclose(result["excess"], expected[:, 0] - expected[:, 1], atol=1e-6)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_tiles_change_nothing(films, monkeypatch, rows):
    f = films()
    whole = c_score(f.maps, f.labels, f.probabilities, patients=f.patients, same_patient="keep").per_class
    monkeypatch.setattr(pairs, "TILE_ROWS", rows)
    tiled = c_score(f.maps, f.labels, f.probabilities, patients=f.patients, same_patient="keep").per_class
    for name in ("score", "stderr", "baseline", "excess", "excess_stderr", "n_pairs"):
        np.testing.assert_allclose(tiled[name], whole[name], atol=1e-12)


def test_maps_made_on_demand_score_the_same(films, monkeypatch):
    f = films()
    kept = c_score(f.maps, f.labels, f.probabilities).per_class
    monkeypatch.setattr("cxrkeras.consistency.emphasis.EmphasisedMaps.__init__.__defaults__", (0,))
    monkeypatch.setattr("cxrkeras.consistency.emphasis.BLOCK_BYTES", 200_000)
    again = c_score(f.maps, f.labels, f.probabilities).per_class
    np.testing.assert_array_equal(again["score"], kept["score"])


def test_two_classes_share_one_baseline(films):
    f = films(n_classes=2)
    baseline = c_score(f.maps, f.labels, f.probabilities, patients=f.patients).per_class["baseline"]
    assert baseline[0] == baseline[1]


def test_pair_scores_agree_with_the_oracle(rng):
    maps = rng.random((12, 40)) ** 2
    sums, distance = maps.sum(axis=1), pdist(maps, "cityblock")
    i, j = np.triu_indices(12, 1)
    expected = (sums[i] + sums[j] - distance) / (sums[i] + sums[j] + distance)
    np.testing.assert_allclose(pair_scores(maps)[i, j], expected, atol=1e-12)
    np.testing.assert_allclose(pair_scores(maps[:5], maps[5:]), pair_scores(maps)[:5, 5:], atol=1e-12)


def test_dropping_pairs_of_one_patient_matters():
    rng = np.random.default_rng(5)
    maps = np.repeat(rng.random((3, 6, 6)), 3, axis=0)
    patients = np.repeat(["a", "b", "c"], 3)
    dropped = one_class(maps, patients=patients, grid="native")
    kept = one_class(maps, patients=patients, grid="native", same_patient="keep")
    alone = one_class(maps[::3], grid="native")
    assert dropped["score"] == pytest.approx(alone["score"], abs=1e-9)
    assert kept["score"] == pytest.approx((27 * alone["score"] + 9) / 36, abs=1e-9)
    assert (dropped["n_pairs"], kept["n_pairs"]) == (27, 36)


def test_micro_and_the_other_globals(films):
    f = films(n_classes=3)
    result = c_score(f.maps, f.labels, f.probabilities, patients=f.patients)
    scores = result.per_class["score"]
    kept = (f.probabilities.argmax(axis=1) == f.labels) & (f.probabilities.max(axis=1) >= 0.7)
    weights = np.zeros(3)
    for i, j in itertools.combinations(np.flatnonzero(kept), 2):
        if f.labels[i] == f.labels[j] and f.patients[i] != f.patients[j]:
            weights[f.labels[i]] += f.probabilities[i].max() * f.probabilities[j].max()
    assert result.micro == pytest.approx((weights * scores).sum() / weights.sum(), abs=1e-12)
    assert result.macro == pytest.approx(scores.mean())
    assert result.minimum == scores.min()
    assert result.range == pytest.approx(scores.max() - scores.min())
    summary = result.summary()
    assert summary["statistic"].tolist() == ["macro", "micro", "min", "range"]
    assert summary["value"].tolist() == [result.macro, result.micro, result.minimum, result.range]
    assert set(summary["status"]) == {"ok"}


@pytest.mark.parametrize("same_patient", ["drop", "keep"])
def test_a_sweep_equals_scoring_every_threshold(films, same_patient):
    f = films(n=40, n_classes=3)
    thresholds = [0.9, 0.5, 0.75, 0.985]
    table = sweep(
        f.maps, f.labels, f.probabilities, thresholds=thresholds, patients=f.patients, same_patient=same_patient
    )
    assert len(table) == 12
    for tau in thresholds:
        part = table[table["threshold"] == tau].drop(columns=["threshold", "gamma"]).reset_index(drop=True)
        single = c_score(
            f.maps, f.labels, f.probabilities, threshold=tau, patients=f.patients, same_patient=same_patient
        ).per_class
        assert part.columns.tolist() == single.columns.tolist()
        for name in single.columns:
            if single[name].dtype.kind == "f":
                np.testing.assert_allclose(part[name], single[name], atol=1e-9, err_msg=name)
            else:
                assert part[name].tolist() == single[name].tolist()
