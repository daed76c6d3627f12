"""Whatever cannot be measured is NaN with its reason; whatever needs care is flagged and counted."""

import numpy as np
import pytest

from cxrkeras.consistency import PER_CLASS_COLUMNS, c_score
from cxrkeras.maps import Maps

LEADING = [
    *("class", "score", "stderr", "ci_low", "ci_high", "n_images", "n_gold", "n_patients", "coverage"),
    *("baseline", "excess", "excess_stderr", "n_degenerate", "status"),
]


@pytest.fixture
def good():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 12)
    return {"maps": rng.random((24, 5, 5)), "labels": labels, "probabilities": np.where(labels == 1, 0.9, 0.1)}


def flags(row):
    return set(filter(None, row["flags"].split(",")))


def test_columns_and_parameters_are_as_promised(good):
    result = c_score(**good)
    assert result.per_class.columns.tolist()[:14] == LEADING
    assert tuple(result.per_class.columns) == PER_CLASS_COLUMNS
    assert result.per_class["status"].tolist() == ["ok", "ok"]
    assert result.per_class["flags"].tolist() == ["", ""]
    assert result.parameters == {
        "threshold": 0.7,
        "gamma": 2.0,
        "grid": [56, 56],
        "pair_weights": "product",
        "macro": "strict",
        "max_pairs": 2_000_000,
        "seed": 0,
        "same_patient": "drop",
        "decision": "argmax",
        "native_grid": [5, 5],
    }
    assert c_score(**good, grid="native").parameters["grid"] == "native"


def test_class_names_and_counts(good):
    good["probabilities"][:3] = 0.6
    table = c_score(**good, classes=["NORMAL", "PNEUMONIA"], patients=np.arange(24) // 2).per_class
    assert table["class"].tolist() == ["NORMAL", "PNEUMONIA"]
    assert table["n_images"].tolist() == [12, 12]
    assert table["n_gold"].tolist() == [9, 12]
    assert table["n_patients"].tolist() == [5, 6]
    assert table["coverage"].tolist() == [0.75, 1.0]
    by_name = c_score(good["maps"], np.array(["a", "b"])[good["labels"]], good["probabilities"]).per_class
    assert by_name["class"].tolist() == ["a", "b"]


def test_confidence_at_the_threshold_counts_in_any_precision(good):
    for dtype in (np.float32, np.float64):
        exactly = np.where(good["labels"] == 1, 0.7, 0.3).astype(dtype)
        assert c_score(good["maps"], good["labels"], exactly).per_class["n_gold"].tolist() == [12, 12]
    below = np.where(good["labels"] == 1, 0.6999, 0.3001)
    assert c_score(good["maps"], good["labels"], below).per_class["n_gold"].tolist() == [0, 0]


def test_the_most_probable_class_must_be_the_true_one():
    probabilities = np.array([[0.4, 0.35, 0.25]] * 4 + [[0.4, 0.45, 0.15]] * 4)
    table = c_score(np.random.default_rng(0).random((8, 4, 4)), [0] * 8, probabilities, threshold=0.3).per_class
    assert table["n_gold"].tolist() == [4, 0, 0]


def test_empty_gold_list_and_no_baseline(good):
    good["probabilities"][good["labels"] == 1] = 0.2
    result = c_score(**good)
    first, second = (row for _, row in result.per_class.iterrows())
    assert first["status"] == "no_baseline"
    assert first["score"] > 0
    assert np.isnan([first["baseline"], first["excess"], first["excess_stderr"]]).all()
    assert second["status"] == "empty_gold_list"
    assert np.isnan([second["score"], second["stderr"], second["ci_low"], second["baseline"], second["excess"]]).all()
    assert (second["n_gold"], second["coverage"], second["n_images"]) == (0, 0.0, 12)
    assert np.isnan([result.macro, result.minimum, result.range]).all()
    assert result.statuses["macro"] == "undefined_class"
    assert result.micro == first["score"]
    assert result.statuses["micro"] == "classes_skipped"


def test_a_class_without_films_has_no_coverage(good):
    rows = good["labels"] == 0
    table = c_score(good["maps"][rows], good["labels"][rows], good["probabilities"][rows]).per_class
    assert np.isnan(table["coverage"][1])
    assert table["n_images"].tolist() == [12, 0]
    assert table["status"][1] == "empty_gold_list"


def test_macro_skip_averages_the_rest_and_says_so(good):
    good["probabilities"][good["labels"] == 1] = 0.2
    result = c_score(**good, macro="skip")
    assert result.macro == result.per_class["score"][0] == result.minimum
    assert np.isnan(result.range)
    assert result.statuses["range"] == "undefined_class"
    assert result.summary().set_index("statistic")["status"].drop("range").unique().tolist() == ["classes_skipped"]


@pytest.mark.parametrize("same_patient", ["drop", "keep"])
def test_one_patient_is_undefined(good, same_patient):
    patients = np.where(good["labels"] == 0, -1, np.arange(24))
    first = c_score(**good, patients=patients, same_patient=same_patient).per_class.iloc[0]
    assert first["status"] == "undefined_gold_list"
    assert np.isnan([first["score"], first["stderr"], first["excess"]]).all()
    assert np.isfinite(first["baseline"])
    assert (first["n_gold"], first["n_patients"], first["n_pairs"]) == (12, 1, 0)


def test_two_patients_have_a_score_without_error(good):
    patients = np.where(good["labels"] == 0, np.arange(24) % 2, np.arange(24))
    first, second = (row for _, row in c_score(**good, patients=patients).per_class.iterrows())
    assert first["status"] == "too_few_patients"
    assert 0 < first["score"] < 1
    assert np.isnan([first["stderr"], first["ci_low"], first["ci_high"], first["excess_stderr"]]).all()
    assert second["status"] == "ok"
    assert flags(second) == {"too_few_other_patients"}
    assert np.isnan(second["excess_stderr"])


def test_fewer_than_ten_patients_are_a_small_sample(good):
    table = c_score(**good, patients=np.arange(24) // 4).per_class
    assert table["status"].tolist() == ["ok", "ok"]
    assert [flags(row) for _, row in table.iterrows()] == [{"small_sample"}] * 2


def test_other_gold_films_of_the_same_patient_only_leave_no_baseline():
    maps = np.random.default_rng(0).random((2, 4, 4))
    table = c_score(maps, [0, 1], [0.1, 0.9], patients=["p", "p"]).per_class
    assert table["status"].tolist() == ["undefined_gold_list"] * 2
    assert [flags(row) for _, row in table.iterrows()] == [{"no_baseline"}] * 2


def test_degenerate_maps_score_zero_and_are_counted():
    maps = np.repeat(np.random.default_rng(0).random((1, 6, 6)), 5, axis=0)
    maps[3], maps[4, 0, 0] = 0.7, np.inf
    row = c_score(maps, [0] * 5, [0.1] * 5).per_class.iloc[0]
    assert row["n_degenerate"] == 2
    assert row["score"] == pytest.approx(3 / 10)
    assert np.isfinite(row["stderr"])


def test_maps_without_anything_positive_are_degenerate():
    maps = np.random.default_rng(0).random((4, 6, 6))
    maps[0] -= 2
    row = c_score(maps, [0] * 4, [0.1] * 4).per_class.iloc[0]
    assert row["n_degenerate"] == 1
    assert np.isfinite(row["score"])
    everything = c_score(-np.abs(maps), [0] * 4, [0.1] * 4).per_class.iloc[0]
    assert (everything["score"], everything["n_degenerate"]) == (0.0, 4)


def test_a_map_marked_degenerate_by_its_engine_is_degenerate(good):
    status = np.full(24, "ok", dtype="<U20")
    status[1] = "degenerate"
    assert c_score(**good, status=status).per_class["n_degenerate"].tolist() == [1, 0]


def test_statuses_of_maps_are_counted(good):
    status = np.full(24, "ok", dtype="<U20")
    status[[0, 1, 12]] = "uninformative"
    status[[2, 13, 14]] = "ambiguous_sign"
    good["probabilities"][[1, 14]] = 0.5
    table = c_score(**good, status=status).per_class
    assert table["n_uninformative"].tolist() == [1, 1]
    assert table["n_ambiguous"].tolist() == [1, 1]


def test_approximate_maps_make_an_approximate_score(good):
    status = np.full(24, "ok", dtype="<U20")
    status[3] = "approximate"
    result = c_score(**good, status=status)
    assert result.per_class["status"].tolist() == ["approximate", "ok"]
    assert result.statuses["macro"] == "approximate"
    few = c_score(**good, status=status, patients=np.arange(24) % 2).per_class.iloc[0]
    assert few["status"] == "too_few_patients"
    assert "approximate" in flags(few)


@pytest.mark.parametrize("shape", [(2, 2), (2, 7), (1, 1)])
def test_a_native_grid_below_three_by_three_has_no_score(good, shape):
    good["maps"] = np.random.default_rng(0).random((24, *shape))
    result = c_score(**good)
    assert result.per_class["status"].tolist() == ["grid_too_coarse"] * 2
    assert result.per_class[["score", "stderr", "baseline", "excess"]].isna().all(axis=None)
    assert np.isnan([result.macro, result.micro]).all()
    assert result.per_class["n_gold"].tolist() == [12, 12]


def test_no_films_at_all():
    result = c_score(np.zeros((0, 7, 7)), [], np.zeros((0, 2)))
    assert result.per_class["status"].tolist() == ["empty_gold_list"] * 2
    assert np.isnan(result.macro)
    assert np.isnan(result.micro)


def test_concentration_is_the_mean_over_gold_maps(good):
    good["maps"][:] = 1 + 1e-3 * good["maps"]
    good["maps"][0] = 0
    good["maps"][0, 2, 2] = 1
    good["maps"][1] = 0
    table = c_score(**good).per_class
    assert table["concentration"][0] == pytest.approx(1 / 11, abs=1e-6)
    assert table["concentration"][1] == pytest.approx(0, abs=1e-6)


def test_a_map_container_brings_targets_status_and_classes(good):
    status = np.array(["uninformative"] + ["ok"] * 23)
    maps = Maps(
        good["maps"].astype(np.float32),
        np.arange(24).astype(str),
        good["labels"],
        "relu",
        "scorecam",
        ("NORMAL", "PNEUMONIA"),
        status,
        np.zeros((24, 2), np.float32),
    )
    table = c_score(maps, good["labels"], good["probabilities"]).per_class
    assert table["class"].tolist() == ["NORMAL", "PNEUMONIA"]
    assert table["n_uninformative"].tolist() == [1, 0]
    plain = c_score(**good).per_class
    np.testing.assert_allclose(table["score"], plain["score"], atol=1e-6)
