"""The distribution of pair similarities: counted by hand, and always the distribution behind the score."""

import itertools

import numpy as np
import pytest

from cxrkeras.consistency import c_score, pair_similarity
from cxrkeras.errors import UsageError


def test_two_camps_are_two_bars():
    maps = np.zeros((5, 4, 4))
    maps[:3, 0, 0], maps[3:, 3, 3] = 1, 1
    confidence = np.array([0.9, 0.9, 0.8, 0.8, 0.8])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    table = pair_similarity(maps, np.zeros(5, int), probabilities, bins=4, grid="native", patients=list("abcde"))
    within = table[(table["class"] == 0) & (table["pairs"] == "within")]
    alike = 0.9 * 0.9 + 2 * 0.9 * 0.8 + 0.8 * 0.8
    apart = 4 * 0.9 * 0.8 + 2 * 0.8 * 0.8
    assert within["n_pairs"].tolist() == [6, 0, 0, 4]
    np.testing.assert_allclose(within["share"], [apart / (alike + apart), 0, 0, alike / (alike + apart)], atol=1e-12)
    assert within[["low", "high"]].to_numpy().tolist() == [[0, 0.25], [0.25, 0.5], [0.5, 0.75], [0.75, 1]]


def test_equals_counting_pairs_one_by_one(films):
    f = films(n=30, n_classes=3)
    table = pair_similarity(
        f.maps, f.labels, f.probabilities, patients=f.patients, bins=10, grid="native", pair_weights="none", gamma=1
    )
    confidence = f.probabilities.max(axis=1)
    gold = np.flatnonzero((f.probabilities.argmax(axis=1) == f.labels) & (confidence >= 0.7))
    low, high = f.maps.min(axis=(1, 2), keepdims=True), f.maps.max(axis=(1, 2), keepdims=True)
    hot = (f.maps - low) / (high - low)
    counts = np.zeros((3, 2, 10), dtype=int)
    for i, j in itertools.combinations(gold, 2):
        if f.patients[i] != f.patients[j]:
            place = int(np.minimum(hot[i], hot[j]).sum() / np.maximum(hot[i], hot[j]).sum() * 10)
            if f.labels[i] == f.labels[j]:
                counts[f.labels[i], 0, place] += 1
            else:
                counts[f.labels[i], 1, place] += 1
                counts[f.labels[j], 1, place] += 1
    assert table["n_pairs"].tolist() == counts.ravel().tolist()
    assert table["pairs"][::10].tolist() == ["within", "between"] * 3


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("options", [{}, {"max_pairs": 20}, {"same_patient": "keep", "pair_weights": "geometric"}])
def test_its_mean_is_the_score_and_the_baseline(films, n_classes, options):
    f = films(n=60, n_classes=n_classes)
    arguments, options = (f.maps, f.labels, f.probabilities), {"patients": f.patients, **options}
    score = c_score(*arguments, **options).per_class.set_index("class")
    bins = 50
    table = pair_similarity(*arguments, bins=bins, **options)
    for (name, kind), part in table.groupby(["class", "pairs"]):
        assert part["share"].sum() == pytest.approx(1, abs=1e-12)
        middle = (part["low"] + part["high"]) / 2
        expected = score.loc[name, "score" if kind == "within" else "baseline"]
        assert (part["share"] * middle).sum() == pytest.approx(expected, abs=0.5 / bins)
        if kind == "within":
            assert part["n_pairs"].sum() == score.loc[name, "n_pairs"]


@pytest.mark.parametrize("same_patient", ["drop", "keep"])
def test_no_pair_has_no_share(films, same_patient):
    f = films(n=45, n_classes=3)
    f.patients[f.labels == 0] = 0
    f.probabilities[f.labels == 1] = [1, 0, 0]
    table = pair_similarity(f.maps, f.labels, f.probabilities, patients=f.patients, same_patient=same_patient, bins=5)
    within = table[table["pairs"] == "within"].groupby("class", sort=False)
    assert within["n_pairs"].sum().iloc[:2].tolist() == [0, 0]
    assert within["share"].apply(lambda share: share.isna().all()).tolist() == [True, True, False]
    assert table.loc[(table["class"] == 1) & (table["pairs"] == "between"), "share"].isna().all()


def test_a_grid_too_coarse_to_score_has_no_similarities():
    table = pair_similarity(np.random.default_rng(0).random((4, 2, 2)), [0] * 4, [0.1] * 4, bins=3)
    assert table["share"].isna().all()
    assert len(table) == 12


@pytest.mark.parametrize("bins", [0, -1, 2.5])
def test_bins_are_counted(films, bins):
    f = films()
    with pytest.raises(UsageError, match="bins"):
        pair_similarity(f.maps, f.labels, f.probabilities, bins=bins)
