"""What counts as a usable table of labels, probabilities and patients."""

import numpy as np
import pytest

from cxrkeras.errors import ScoreInputError
from cxrkeras.stats import class_indices, class_probabilities, patient_codes


def test_one_sigmoid_unit_becomes_two_columns():
    expected = [[0.75, 0.25], [0.1, 0.9]]
    np.testing.assert_allclose(class_probabilities([0.25, 0.9]), expected)
    np.testing.assert_allclose(class_probabilities([[0.25], [0.9]]), expected)


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        ([[0.5, np.nan]], "finite.*1 films.*row 0"),
        ([[0.5, 0.7]], "sum to 1.*sum 1.2"),
        ([[0.5, 0.4]], "sum to 1"),
        ([[3.0, -2.0]], "look like logits"),
        ([1.7], "look like logits"),
        (np.zeros((2, 2, 2)), r"shape \[n, C\]"),
        (["a", "b"], "must be numbers"),
    ],
)
def test_unusable_probabilities(probabilities, message):
    with pytest.raises(ScoreInputError, match=message):
        class_probabilities(probabilities)


def test_half_precision_softmax_is_accepted():
    rng = np.random.default_rng(0)
    values = rng.dirichlet(np.ones(5), size=100).astype(np.float16)
    assert class_probabilities(values).shape == (100, 5)


def test_labels_as_numbers_names_and_booleans():
    assert class_indices([0, 2, 1], 3)[1] == (0, 1, 2)
    indices, names = class_indices(["b", "a", "b"], 2)
    assert (indices.tolist(), names) == ([1, 0, 1], ("a", "b"))
    assert class_indices(["b", "a"], 2, classes=["b", "a"])[0].tolist() == [0, 1]
    assert class_indices([True, False], 2)[0].tolist() == [1, 0]
    assert class_indices(np.array([0.0, 1.0]), 2)[0].tolist() == [0, 1]
    assert class_indices(np.array([0, 1], dtype=object), 2)[0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0, 2], None, r"0\.\.1.*Received 2 at row 1"),
        ([0, -1], None, "Received -1"),
        ([0, 0.5], None, "Received 0.5"),
        ([0, np.nan], None, "Received nan"),
        (["NORMAL", "PNEUMONA"], ["NORMAL", "PNEUMONIA"], "Did you mean 'PNEUMONIA'"),
        (["a", "b", "c"], None, "name 3 classes but probabilities have 2"),
        ([0, 1], ["a"], "Expected 2"),
        ([0, 1], ["a", "a"], "distinct"),
        ([[0, 1]], None, r"shape \[n\]"),
    ],
)
def test_unusable_labels(labels, classes, message):
    with pytest.raises(ScoreInputError, match=message):
        class_indices(labels, 2, classes)


def test_patients_of_any_hashable_kind():
    assert patient_codes(["x", 7, ("a", 1), "x"], 4).tolist() == [0, 1, 2, 0]
    assert patient_codes(None, 3).tolist() == [0, 1, 2]
    assert patient_codes([], 0).tolist() == []
    with pytest.raises(ScoreInputError, match="Expected 3, received 2"):
        patient_codes([1, 2], 3)
    with pytest.raises(ScoreInputError, match="1 films have no patient id, first row 1"):
        patient_codes(["a", None], 2)
    with pytest.raises(ScoreInputError, match="no patient id"):
        patient_codes(np.array([1.0, np.nan]), 2)
