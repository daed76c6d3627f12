"""Patient bootstrap: whole patients, honest intervals, named failures."""

import numpy as np
import pytest

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.stats import bootstrapped_mean, patient_bootstrap, resampled_means


def test_patients_are_drawn_whole():
    patients = np.repeat(np.arange(12), [1, 2, 3] * 4)
    sizes = np.bincount(patients)

    def statistic(rows):
        counts = np.bincount(patients[rows], minlength=12)
        assert (counts % sizes == 0).all()
        assert len(np.unique(patients[rows])) <= (counts / sizes).sum() == 12
        return float(len(rows))

    result = patient_bootstrap(statistic, patients, n_resamples=50)
    assert result.status == "ok"
    assert (result.estimate, result.n_patients, result.n_resamples) == (24.0, 12, 50)


def test_mean_interval_matches_theory_and_the_seed_repeats():
    values = np.random.default_rng(0).normal(size=400)

    def statistic(rows):
        return values[rows].mean()

    result = patient_bootstrap(statistic, np.arange(400), n_resamples=2000)
    theory = values.std() / 20
    assert result.stderr == pytest.approx(theory, rel=0.06)
    assert result.low == pytest.approx(values.mean() - 1.96 * theory, abs=0.15 * theory)
    assert result.high == pytest.approx(values.mean() + 1.96 * theory, abs=0.15 * theory)
    assert result == patient_bootstrap(statistic, np.arange(400), n_resamples=2000)
    assert result.low != patient_bootstrap(statistic, np.arange(400), n_resamples=2000, seed=1).low


def test_repeated_films_do_not_narrow_the_interval():
    values = np.repeat(np.random.default_rng(1).normal(size=30), 5)
    by_patient = patient_bootstrap(lambda rows: values[rows].mean(), np.repeat(np.arange(30), 5))
    by_film = patient_bootstrap(lambda rows: values[rows].mean(), np.arange(150))
    assert by_patient.stderr == pytest.approx(by_film.stderr * np.sqrt(5), rel=0.1)


def test_undefined_resamples_are_dropped_and_counted():
    result = patient_bootstrap(lambda rows: 1.0 if 0 in rows else np.nan, np.arange(20), n_resamples=500)
    assert result.n_dropped == 500 - result.n_resamples
    assert result.n_dropped / 500 == pytest.approx((19 / 20) ** 20, abs=0.08)
    assert (result.low, result.high, result.status) == (1.0, 1.0, "ok")


def test_failures_have_names():
    few = patient_bootstrap(len, np.arange(9))
    assert (few.status, few.estimate) == ("too_few_patients", 9.0)
    assert np.isnan(few.low)
    assert np.isnan(few.high)
    assert patient_bootstrap(lambda rows: np.nan, np.arange(20)).status == "undefined"
    assert patient_bootstrap(len, []).status == "too_few_patients"
    with pytest.raises(UsageError, match="level in"):
        patient_bootstrap(len, np.arange(20), level=95)


def test_the_mean_from_sums_per_patient_is_the_mean_of_the_films():
    rng = np.random.default_rng(2)
    values, patients = rng.normal(size=90), rng.integers(35, size=90)
    slow = patient_bootstrap(lambda rows: values[rows].mean(), patients, n_resamples=300, seed=4)
    fast = bootstrapped_mean(values, patients, n_resamples=300, seed=4)
    for name in ("estimate", "low", "high", "stderr"):
        assert getattr(fast, name) == pytest.approx(getattr(slow, name), abs=1e-12)
    assert (fast.n_patients, fast.n_resamples, fast.status) == (slow.n_patients, slow.n_resamples, "ok")
    assert bootstrapped_mean(values[:9], range(9)).status == "too_few_patients"
    assert bootstrapped_mean(np.where(values > 2, np.nan, values), patients).status == "undefined"
    assert np.isnan(bootstrapped_mean([], []).estimate)


def test_resampled_means_keep_columns_paired_and_leave_out_missing_values():
    rng = np.random.default_rng(5)
    values, patients = rng.normal(size=(60, 3)), rng.integers(20, size=60)
    values[rng.random((60, 3)) < 0.2] = np.nan
    drawn = []
    patient_bootstrap(lambda rows: drawn.append(np.nanmean(values[rows], axis=0)) or 0.0, patients, 40, seed=6)
    np.testing.assert_allclose(resampled_means(values, patients, 40, seed=6), drawn[1:], atol=1e-12)
    np.testing.assert_allclose(resampled_means(values[:, 1], patients, 40, seed=6), np.array(drawn[1:])[:, 1])
    nothing = resampled_means(np.full((3, 2), np.nan), range(3), 5)
    assert nothing.shape == (5, 2)
    assert np.isnan(nothing).all()
    assert np.isnan(resampled_means([], [], 4)).tolist() == [True] * 4
    with pytest.raises(ScoreInputError, match="Expected 3, received 2"):
        resampled_means([1.0, 2.0, 3.0], [0, 1])
