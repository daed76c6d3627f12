"""The sweep over τ and γ: the same numbers as one score at a time, from one visit to each pair."""

import numpy as np
import pytest

from cxrkeras.consistency import c_score, pairs, sweep
from cxrkeras.consistency.emphasis import EmphasisedMaps
from cxrkeras.errors import UsageError

THRESHOLDS, GAMMAS = [0.9, 0.6], [1.0, 2.0, 3.5]


@pytest.mark.parametrize(
    "options",
    [{}, {"same_patient": "keep", "pair_weights": "min"}, {"max_pairs": 15, "seed": 4}, {"grid": "native"}],
    ids=["default", "keep", "sampled", "native"],
)
def test_a_sweep_equals_scoring_each_gamma_and_threshold(films, options):
    f = films(n=40, n_classes=3)
    arguments = (f.maps, f.labels, f.probabilities)
    table = sweep(*arguments, thresholds=THRESHOLDS, gammas=GAMMAS, patients=f.patients, **options)
    assert table.columns.tolist()[:3] == ["threshold", "gamma", "class"]
    assert list(zip(table["gamma"][::3], table["threshold"][::3], strict=True)) == [
        (gamma, tau) for gamma in GAMMAS for tau in THRESHOLDS
    ]
    for (tau, gamma), part in table.groupby(["threshold", "gamma"]):
        single = c_score(*arguments, threshold=tau, gamma=gamma, patients=f.patients, **options).per_class
        for name in single.columns:
            if single[name].dtype.kind == "f":
                np.testing.assert_allclose(part[name], single[name], atol=1e-9, err_msg=name)
            else:
                assert part[name].tolist() == single[name].tolist()


def test_more_gammas_visit_no_more_pairs_and_resize_no_more_maps(films, monkeypatch):
    f = films(n=60, n_classes=2)
    monkeypatch.setattr(pairs, "TILE_ROWS", 8)
    counts = {"visited": 0, "made": 0}

    def counted(name, method):
        def call(self, rows):
            counts[name] += len(rows)
            return method(self, rows)

        return call

    monkeypatch.setattr(EmphasisedMaps, "rows", counted("visited", EmphasisedMaps.rows))
    monkeypatch.setattr(EmphasisedMaps, "_made", counted("made", EmphasisedMaps._made))
    seen = []
    for gammas in ([2.0], GAMMAS):
        counts.update(visited=0, made=0)
        sweep(f.maps, f.labels, f.probabilities, gammas=gammas)
        seen.append(dict(counts))
    assert seen[0] == seen[1]
    assert seen[0]["made"] <= 60 < seen[0]["visited"]


@pytest.mark.parametrize("bad", [{"gammas": []}, {"gammas": [2.0, 0.0]}, {"gammas": [float("inf")]}])
def test_sweeps_check_their_gammas(films, bad):
    f = films()
    with pytest.raises(UsageError, match="gamma"):
        sweep(f.maps, f.labels, f.probabilities, **bad)
