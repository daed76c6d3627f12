"""Calibration error, confusion and per-class rates against hand counts."""

import numpy as np
import pytest

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.stats import confusion_matrix, expected_calibration_error, sensitivity_specificity


def test_calibration_error_by_hand():
    probabilities = np.array([0.95, 0.95, 0.95, 0.95, 0.65, 0.65])
    labels = np.array([1, 1, 1, 0, 1, 0])
    expected = 4 / 6 * abs(0.75 - 0.95) + 2 / 6 * abs(0.5 - 0.65)
    assert expected_calibration_error(labels, probabilities, bins=10) == pytest.approx(expected)


def test_calibration_error_equals_a_loop_over_bins():
    rng = np.random.default_rng(2)
    probabilities = rng.dirichlet(np.ones(4), 300)
    labels = rng.integers(0, 4, 300)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(labels, probabilities) == pytest.approx(expected, abs=1e-12)


def test_perfect_and_worst_calibration():
    assert expected_calibration_error([0, 1], np.eye(2)) == 0
    assert expected_calibration_error([1, 0], np.eye(2)) == 1
    assert np.isnan(expected_calibration_error([], np.zeros((0, 2))))
    with pytest.raises(UsageError, match="at least one"):
        expected_calibration_error([0], [0.2], bins=0)


def test_confusion_counts_and_names():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]])
    table = confusion_matrix(["a", "a", "b", "c"], probabilities, classes=["a", "b", "c"])
    assert table.to_numpy().tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert list(table.index) == list(table.columns) == ["a", "b", "c"]
    assert (table.index.name, table.columns.name) == ("label", "predicted")


def test_sensitivity_and_specificity_by_hand():
    table = sensitivity_specificity([0, 0, 0, 1, 1], [0.1, 0.2, 0.9, 0.8, 0.4])
    assert table["sensitivity"].tolist() == [pytest.approx(2 / 3), 0.5]
    assert table["specificity"].tolist() == [0.5, pytest.approx(2 / 3)]
    assert table["status"].tolist() == ["ok", "ok"]


def test_rates_without_films_are_nan_with_the_reason():
    table = sensitivity_specificity([0, 0], [[0.9, 0.1], [0.2, 0.8]])
    assert table["status"].tolist() == ["others_absent", "class_absent"]
    np.testing.assert_array_equal(table["sensitivity"], [0.5, np.nan])
    np.testing.assert_array_equal(table["specificity"], [np.nan, 0.5])
    with pytest.raises(ScoreInputError, match="Expected 2, received 1"):
        sensitivity_specificity([0], [0.1, 0.2])
