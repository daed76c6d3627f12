"""Standard errors and intervals: equal to recomputation, and as wide as they claim."""

import numpy as np
import pytest

from cxrkeras.consistency import c_score


def jackknife(values):
    count = len(values)
    return np.sqrt((count - 1) / count * np.sum((np.array(values) - np.mean(values)) ** 2))


@pytest.mark.parametrize("same_patient", ["drop", "keep"])
@pytest.mark.parametrize("pair_weights", ["product", "min"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_jackknife_equals_leaving_each_patient_out(films, naive_scores, same_patient, pair_weights, n_classes):
    f = films(n=36, n_classes=n_classes, n_patients=12)
    options = {"pair_weights": pair_weights, "same_patient": same_patient, "grid": "native"}
    table = c_score(f.maps, f.labels, f.probabilities, patients=f.patients, **options).per_class
    gold = (f.probabilities.argmax(axis=1) == f.labels) & (f.probabilities.max(axis=1) >= 0.7)
    without = {}
    for patient in np.unique(f.patients[gold]):
        rest = f.patients != patient
        without[patient] = naive_scores(
            f.maps[rest], f.labels[rest], f.probabilities[rest], f.patients[rest], **options
        )
    for c in range(n_classes):
        own = np.unique(f.patients[gold & (f.labels == c)])
        assert table["stderr"][c] == pytest.approx(jackknife([without[p][c][0] for p in own]), abs=1e-6)
        excess = [score - baseline for score, baseline in (without[p][c] for p in without)]
        assert table["excess_stderr"][c] == pytest.approx(jackknife(excess), abs=1e-6)


def blobs(rng, n_patients, n_films, offset=0.0):
    """Maps whose place belongs to the patient, with a smaller shift for each film."""
    place = np.repeat(rng.normal(offset, 1.2, size=(n_patients, 2)), n_films, axis=0)
    place = place + rng.normal(0, 0.4, place.shape) + 3.5
    cells = np.arange(8)
    return np.exp(-((cells[:, None] - place[:, 0, None, None]) ** 2 + (cells[None] - place[:, 1, None, None]) ** 2) / 3)


def two_classes(rng, n_patients, n_films):
    maps = np.concatenate([blobs(rng, n_patients, n_films), blobs(rng, n_patients, n_films, offset=1.0)])
    labels = np.repeat([0, 1], n_patients * n_films)
    confidence = rng.uniform(0.7, 1.0, len(labels))
    return maps, labels, np.where(labels == 1, confidence, 1 - confidence)


@pytest.fixture(scope="module")
def truth():
    maps, labels, probabilities = two_classes(np.random.default_rng(10_000), 1000, 1)
    return c_score(maps, labels, probabilities, grid="native").per_class.iloc[0]


@pytest.mark.parametrize("max_pairs", [2_000_000, 300])
def test_intervals_cover_the_truth_as_often_as_they_claim(truth, max_pairs):
    hits, excess_hits, errors, seeds = 0, 0, [], 200
    for seed in range(seeds):
        maps, labels, probabilities = two_classes(np.random.default_rng(seed), 20, 3)
        row = c_score(
            maps,
            labels,
            probabilities,
            patients=np.repeat(np.arange(40), 3),
            grid="native",
            max_pairs=max_pairs,
            seed=seed,
        ).per_class.iloc[0]
        assert ("sampled" in row["flags"]) == (max_pairs == 300)
        hits += row["ci_low"] <= truth["score"] <= row["ci_high"]
        excess_hits += abs(row["excess"] - truth["excess"]) <= 2.09 * row["excess_stderr"]
        errors.append(row["score"] - truth["score"])
    assert 0.90 <= hits / seeds <= 0.98
    assert 0.90 <= excess_hits / seeds <= 0.99
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(seeds) + 0.002


def test_treating_films_as_patients_would_claim_too_much():
    maps, labels, probabilities = two_classes(np.random.default_rng(1), 20, 3)
    by_patient = c_score(maps, labels, probabilities, patients=np.repeat(np.arange(40), 3)).per_class
    by_film = c_score(maps, labels, probabilities).per_class
    assert (by_film["stderr"] < 0.75 * by_patient["stderr"]).all()


def test_interval_is_clipped_to_what_a_score_can_be():
    maps = np.zeros((3, 4, 4))
    maps[:2, 0, 0] = 1
    maps[2, 3, 3] = 1
    row = c_score(maps, [0, 0, 0], [0.1, 0.1, 0.1]).per_class.iloc[0]
    assert (row["ci_low"], row["ci_high"]) == (0.0, 1.0)
