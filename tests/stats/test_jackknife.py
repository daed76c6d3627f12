"""Jackknife of a mean is the textbook standard error."""

import numpy as np
import pytest

from cxrkeras.stats import jackknife_stderr, t_interval


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=17)
    left_out = (values.sum() - values) / 16
    assert jackknife_stderr(left_out) == pytest.approx(values.std(ddof=1) / np.sqrt(17), rel=1e-12)


def test_undefined_standard_errors():
    assert np.isnan(jackknife_stderr(np.array([0.1, 0.2])))
    assert np.isnan(jackknife_stderr(np.array([0.1, 0.2, np.nan])))


def test_the_interval_uses_student_t_and_is_clipped():
    low, high = t_interval(0.5, 0.1, 10)
    assert (low, high) == (pytest.approx(0.5 - 0.2262157, abs=1e-6), pytest.approx(0.5 + 0.2262157, abs=1e-6))
    assert t_interval(0.95, 0.1, 10, bounds=(0, 1))[1] == 1.0
    assert all(np.isnan(t_interval(0.5, np.nan, 10)))
    assert all(np.isnan(t_interval(0.5, 0.1, 1)))
