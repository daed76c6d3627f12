"""Inputs that do not fit together are refused with what was expected, received and meant."""

import numpy as np
import pytest

from cxrkeras.consistency import c_score, sweep
from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.maps import Maps


@pytest.fixture
def good():
    labels = np.repeat([0, 1], 4)
    return {
        "maps": np.random.default_rng(0).random((8, 5, 5)),
        "labels": labels,
        "probabilities": np.stack([1 - labels * 0.8 - 0.1, labels * 0.8 + 0.1], axis=1),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0, 1]}, "labels need one row per map. Expected 8, received 2"),
        ({"probabilities": np.eye(2)}, "probabilities need one row per map. Expected 8, received 2"),
        ({"patients": ["a"]}, "patients need one id per film. Expected 8, received 1"),
        ({"status": ["ok"]}, "status needs one text per map. Expected 8, received 1"),
        ({"targets": [0]}, "targets need one class per map. Expected 8, received 1"),
        ({"maps": np.zeros((8, 5))}, r"maps need the shape \[n, h, w\]"),
        ({"maps": np.zeros((8, 5, 5, 1))}, r"Received shape \(8, 5, 5, 1\)"),
        ({"maps": np.full((8, 5, 5), "x")}, "numbers"),
        ({"maps": np.zeros((8, 0, 5))}, r"shape \(8, 0, 5\)"),
        ({"probabilities": np.full((8, 2), np.nan)}, "finite"),
        ({"probabilities": np.full((8, 2), 0.9)}, "must sum to 1"),
        ({"probabilities": np.tile([4.0, -3.0], (8, 1))}, "logits"),
        ({"labels": [0, 1, 2, 0, 1, 0, 1, 0]}, r"whole numbers 0\.\.1.*Received 2 at row 2"),
        ({"labels": ["NORMAL"] * 7 + ["NORMEL"], "classes": ["NORMAL", "COVID"]}, "Did you mean 'NORMAL'"),
        ({"classes": ["only"]}, "one distinct name per probability column"),
        ({"targets": [0, 0, 0, 1, 1, 1, 1, 0]}, "2 of 8 maps do not explain.*map 3 to explain '0', received '1'"),
    ],
)
def test_inputs_that_do_not_fit(good, change, message):
    with pytest.raises(ScoreInputError, match=message):
        c_score(**(good | change))


def test_a_map_container_for_other_targets_is_refused(good):
    maps = Maps(
        good["maps"],
        np.arange(8).astype(str),
        1 - good["labels"],
        "relu",
        "gradcam",
        ("NORMAL", "PNEUMONIA"),
        np.full(8, "ok"),
        good["probabilities"],
    )
    with pytest.raises(ScoreInputError, match=r"8 of 8 maps.*'NORMAL', received 'PNEUMONIA'"):
        c_score(maps, good["labels"], good["probabilities"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"pair_weights": "produkt"}, "unknown pair_weights 'produkt'.*Did you mean 'product'"),
        ({"macro": "strickt"}, "Did you mean 'strict'"),
        ({"same_patient": "dropped"}, "Did you mean 'drop'"),
        ({"grid": "nativ"}, "unknown grid.*Did you mean 'native'"),
        ({"grid": 2}, "at least 3 cells"),
        ({"grid": (7, 7, 3)}, "at least 3 cells"),
        ({"grid": 7.5}, "Received 7.5"),
        ({"threshold": 1.2}, "expected 0 to 1. Received 1.2"),
        ({"threshold": float("nan")}, "expected 0 to 1"),
        ({"gamma": 0}, "above 0"),
        ({"gamma": float("inf")}, "above 0"),
        ({"max_pairs": 1}, "max_pairs"),
        ({"max_pairs": 2.5}, "max_pairs"),
        ({"seed": -1}, "seed"),
    ],
)
def test_options_that_do_not_exist(good, option, message):
    with pytest.raises(UsageError, match=message):
        c_score(**good, **option)


def test_sweeps_check_their_thresholds(good):
    with pytest.raises(UsageError, match="no thresholds"):
        sweep(**good, thresholds=[])
    with pytest.raises(UsageError, match=r"Received 1\.5"):
        sweep(**good, thresholds=[0.5, 1.5])


def test_inputs_are_left_as_they_were(good):
    before = {name: np.array(value) for name, value in good.items()}
    good["maps"][2, 0, 0] = before["maps"][2, 0, 0] = np.nan
    c_score(**good)
    for name, value in before.items():
        np.testing.assert_array_equal(good[name], value)
