"""Who is in a gold list where findings may stand together."""

from __future__ import annotations

import numpy as np
import pytest

from cxrkeras.consistency import c_score
from cxrkeras.errors import ScoreInputError, UsageError

MAPS = np.random.default_rng(0).random((8, 5, 5))
LABELS = [0, 0, 0, 0, 1, 1, 1, 1]
# rows of findings each for itself; the argmax is the other finding in rows 0, 1 and 4
P = np.array([[0.8, 0.9], [0.75, 0.9], [0.9, 0.1], [0.4, 0.1], [0.95, 0.7], [0.2, 0.8], [0.1, 0.5], [0.3, 0.9]])


def test_a_finding_is_called_at_one_half_whatever_the_others_are():
    result = c_score(MAPS, LABELS, P, decision="threshold", threshold=0.5)
    assert result.per_class["n_gold"].tolist() == [3, 4]
    assert result.parameters["decision"] == "threshold"
    # a lower τ lets nobody in whose finding is not called
    low = c_score(MAPS, LABELS, P, decision="threshold", threshold=0.0)
    assert low.per_class["n_gold"].tolist() == [3, 4]
    assert c_score(MAPS, LABELS, P, decision="threshold").per_class["n_gold"].tolist() == [3, 3]


def test_the_score_is_that_of_the_same_gold_films_under_the_argmax():
    """Two findings that exclude each other are two classes: both decisions then mean the same list."""
    p = np.array([0.8, 0.9, 0.75, 0.6, 0.8, 0.9, 0.7, 0.4])
    joint = np.stack([np.where(np.array(LABELS) == 0, p, 1 - p), np.where(np.array(LABELS) == 1, p, 1 - p)], axis=1)
    one = c_score(MAPS, LABELS, joint, patients=[0, 0, 1, 2, 3, 4, 5, 0])
    other = c_score(MAPS, LABELS, joint, patients=[0, 0, 1, 2, 3, 4, 5, 0], decision="threshold")
    assert one.per_class.equals(other.per_class)
    assert one.per_class["n_gold"].tolist() == [3, 3]
    assert one.macro == other.macro > 0


def test_separate_probabilities_are_refused_under_the_argmax():
    with pytest.raises(ScoreInputError, match="must sum to 1"):
        c_score(MAPS, LABELS, P)
    with pytest.raises(ScoreInputError, match="between 0 and 1"):
        c_score(MAPS, LABELS, P * 3, decision="threshold")
    with pytest.raises(UsageError, match="decision 'sigmoid'"):
        c_score(MAPS, LABELS, P, decision="sigmoid")
