"""Drawn pairs: the right pairs with the right probability, an unbiased mean, an honest error."""

import itertools

import numpy as np
import pytest

from cxrkeras.consistency import c_score, sampling, sweep
from cxrkeras.consistency.emphasis import EmphasisedMaps
from cxrkeras.consistency.gold import GoldList
from cxrkeras.consistency.pairs import pair_weights
from cxrkeras.consistency.sampling import drawn_pairs, drawn_scores, total_weight


def gold(n, n_patients, seed):
    rng = np.random.default_rng(seed)
    return GoldList(np.arange(n), rng.uniform(0.5, 1, n), rng.integers(0, n_patients, n), np.ones((n, 1), dtype=bool))


@pytest.mark.parametrize("kind", ["product", "none", "geometric", "min"])
@pytest.mark.parametrize("drop", [True, False])
@pytest.mark.parametrize("between", [False, True])
def test_pairs_are_drawn_in_proportion_to_their_weight(kind, drop, between):
    left, right = gold(7, 4, 1), gold(5, 4, 2) if between else None
    other = right or left
    weight = pair_weights(left.confidence, other.confidence, kind)
    if drop:
        weight[left.patients[:, None] == other.patients] = 0
    if not between:
        np.fill_diagonal(weight, 0)
    draws = 200_000
    i, j = drawn_pairs(left, right, kind, drop, draws, np.random.default_rng(0))
    counts = np.zeros(weight.shape)
    np.add.at(counts, (i, j), 1)
    assert len(i) == draws
    assert (counts[weight == 0] == 0).all()
    expected = weight / weight.sum()
    error = np.abs(counts / draws - expected)
    assert (error <= 5 * np.sqrt(expected / draws) + 1e-12).all()


def test_one_patient_with_nearly_all_films_costs_no_extra_draws():
    patients = np.zeros(2000, dtype=int)
    patients[777] = 1
    left = GoldList(np.arange(2000), np.full(2000, 0.9), patients, np.ones((2000, 1), dtype=bool))
    i, j = drawn_pairs(left, None, "product", True, 1000, np.random.default_rng(0))
    assert ((i == 777) ^ (j == 777)).all()


@pytest.mark.parametrize("kind", ["product", "none", "geometric", "min"])
@pytest.mark.parametrize("drop", [True, False])
def test_total_weight_in_closed_form(kind, drop):
    films = gold(15, 5, 3)
    weight = pair_weights(films.confidence, films.confidence, kind)
    expected = sum(
        weight[i, j]
        for i, j in itertools.combinations(range(15), 2)
        if not (drop and films.patients[i] == films.patients[j])
    )
    assert total_weight(films, kind, drop) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("pair_weights", "same_patient"), [("product", "drop"), ("min", "keep")])
def test_the_estimate_is_unbiased_and_knows_its_sampling_error(films, pair_weights, same_patient):
    f = films(n=60, n_classes=2, n_patients=15)
    options = {"patients": f.patients, "grid": "native", "pair_weights": pair_weights, "same_patient": same_patient}
    exact = c_score(f.maps, f.labels, f.probabilities, **options).per_class
    runs = [c_score(f.maps, f.labels, f.probabilities, max_pairs=40, seed=s, **options).per_class for s in range(300)]
    for name in ("score", "baseline", "excess"):
        values = np.array([run[name] for run in runs])
        error = values.std(axis=0) / np.sqrt(len(runs))
        assert (np.abs(values.mean(axis=0) - exact[name]) < 4 * error).all(), name
        if name == "score":
            claimed = np.sqrt(np.mean([run["sampling_stderr"] ** 2 for run in runs], axis=0))
            np.testing.assert_allclose(claimed, values.std(axis=0), rtol=0.15)
    total = np.sqrt(np.mean([run["stderr"] ** 2 for run in runs], axis=0))
    assert (total > exact["stderr"]).all()


def test_the_total_error_is_that_of_patients_and_of_drawing(films):
    f = films(n=400, n_classes=2, n_patients=80)
    options = {"patients": f.patients, "grid": "native"}
    exact = c_score(f.maps, f.labels, f.probabilities, **options).per_class
    runs = [c_score(f.maps, f.labels, f.probabilities, max_pairs=3_000, seed=s, **options).per_class for s in range(40)]
    assert all("sampled" in flags.split(",") for flags in runs[0]["flags"])
    for name, error in (("score", "stderr"), ("excess", "excess_stderr")):
        drawing = np.var([run[name] for run in runs], axis=0)
        claimed = np.mean([run[error] ** 2 for run in runs], axis=0)
        np.testing.assert_allclose(claimed, exact[error] ** 2 + drawing, rtol=0.2)


def test_drawing_starts_above_twice_the_limit_and_is_seeded(films):
    f = films(n=40, n_classes=2, n_patients=40)
    arguments = (f.maps, f.labels, f.probabilities)
    n_gold = c_score(*arguments).per_class["n_gold"]
    pairs = int((n_gold * (n_gold - 1) // 2).max())
    assert "sampled" not in ",".join(c_score(*arguments, max_pairs=200).per_class["flags"])
    drawn = c_score(*arguments, max_pairs=(pairs - 1) // 2)
    assert drawn.per_class["flags"].str.contains("sampled").any()
    assert drawn.per_class.equals(c_score(*arguments, max_pairs=(pairs - 1) // 2).per_class)
    other = c_score(*arguments, max_pairs=(pairs - 1) // 2, seed=1)
    assert not drawn.per_class["score"].equals(other.per_class["score"])
    assert drawn.parameters["seed"] == 0


def test_two_classes_share_one_drawn_baseline(films):
    f = films(n=60, n_classes=2)
    table = c_score(f.maps, f.labels, f.probabilities, max_pairs=50).per_class
    assert table["flags"].str.contains("sampled_baseline").all()
    assert table["baseline"][0] == table["baseline"][1]


def test_a_sweep_draws_where_it_must(films):
    f = films(n=60, n_classes=3, n_patients=60)
    table = sweep(f.maps, f.labels, f.probabilities, thresholds=[0.5, 0.95], max_pairs=20)
    sampled = table["flags"].str.contains("sampled")
    assert sampled[table["threshold"] == 0.5].all()
    single = c_score(f.maps, f.labels, f.probabilities, threshold=0.5, max_pairs=20).per_class
    np.testing.assert_array_equal(table["score"][:3], single["score"])
    exact = table[(table["threshold"] == 0.95) & (table["n_gold"] <= 9)]
    assert len(exact)
    assert (exact["sampling_stderr"].fillna(0) == 0).all()


@pytest.mark.parametrize("kept_bytes", [2**30, 0])
@pytest.mark.parametrize("block_bytes", [1, 7 * 36 * 4, 2**30])
@pytest.mark.parametrize("gammas", [(2.0,), (1.0, 3.0)])
def test_blocks_change_no_drawn_score(monkeypatch, kept_bytes, block_bytes, gammas):
    rng = np.random.default_rng(0)
    values = rng.random((30, 6, 6))
    values[4], values[9] = 0.0, values[8]
    maps = EmphasisedMaps(values, np.zeros(30, dtype=bool), (6, 6), gammas, kept_bytes)
    i, j = rng.integers(0, 30, (2, 200))
    i[0], j[0] = 9, 8
    monkeypatch.setattr(sampling, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(sampling, "GATHERED_BYTES", 5 * 36 * 4)
    low, high = values.min(axis=(1, 2), keepdims=True), values.max(axis=(1, 2), keepdims=True)
    hot = (values - low) / np.where(high > low, high - low, 1)
    for scores, gamma in zip(drawn_scores(maps, i, j), gammas, strict=True):
        a, b = hot[i] ** gamma, hot[j] ** gamma
        most = np.maximum(a, b).sum(axis=(1, 2))
        expected = np.minimum(a, b).sum(axis=(1, 2)) / np.where(most > 0, most, 1)
        np.testing.assert_allclose(scores, expected, atol=1e-6)
        assert scores[0] == 1
        assert (scores[(i == 4) | (j == 4)] == 0).all()


def test_maps_that_are_not_kept_are_made_once_for_each_pair_of_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    maps = EmphasisedMaps(rng.random((400, 5, 5)), np.zeros(400, dtype=bool), (6, 6), 2.0, kept_bytes=0)
    i, j = rng.integers(0, 400, (2, 20_000))
    monkeypatch.setattr(sampling, "BLOCK_BYTES", 100 * 36 * 4)
    made = []
    original = EmphasisedMaps.rows
    monkeypatch.setattr(EmphasisedMaps, "rows", lambda self, rows: made.append(len(rows)) or original(self, rows))
    drawn_scores(maps, i, j)
    # 4 blocks: each once as the left one, and once for each of the 10 pairs of blocks
    assert len(made) == 4 + 10
    assert max(made) <= 100
