"""Holm's correction: published steps, monotone in order, untested stays untested."""

import numpy as np
import pytest

from cxrkeras.errors import ScoreInputError
from cxrkeras.stats import holm

NAN = float("nan")


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.02, NAN, 0.02, 0.9], [0.06, NAN, 0.06, 0.9]),
        ([0.6, 0.5], [1.0, 1.0]),
        ([0.03], [0.03]),
        ([NAN, NAN], [NAN, NAN]),
        ([], []),
    ],
)
def test_known_families(p, adjusted):
    np.testing.assert_allclose(holm(p), adjusted, atol=1e-15)


def test_it_rejects_what_the_step_down_procedure_rejects():
    rng = np.random.default_rng(0)
    for _ in range(200):
        p = rng.beta(0.3, 2, size=rng.integers(1, 12))
        order, rejected = np.argsort(p), np.zeros(len(p), bool)
        for step, index in enumerate(order):
            if p[index] > 0.05 / (len(p) - step):
                break
            rejected[index] = True
        np.testing.assert_array_equal(holm(p) <= 0.05, rejected)


@pytest.mark.parametrize("wrong", [[1.2], [-0.1], [[0.1, 0.2]]])
def test_what_is_no_family_is_refused(wrong):
    with pytest.raises(ScoreInputError, match="between 0 and 1"):
        holm(wrong)
