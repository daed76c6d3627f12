"""Who carries an artefact and which films are chosen: exact counts, nesting, and the designs of the study."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrkeras.errors import DataError, UsageError
from cxrkeras.robustness import SPLITS, assign, assignment_notice, planted_split, sampled_split
from cxrkeras.stats import exact_auc

PS = (0, 0.1, 0.2, 0.5, 0.8, 1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.booleans(), max_size=60),
    st.lists(st.integers(0, 100), min_size=2, max_size=2),
    st.integers(0, 2**32),
)
def test_assignment_is_exact_nested_and_on_positives_only(positive, percents, seed):
    positive = np.array(positive, bool)
    low, high = sorted(percents)
    small, large = (assign(positive, percent / 100, seed) for percent in (low, high))
    # halves upwards, counted in whole numbers
    assert small.sum() == (2 * low * positive.sum() + 100) // 200
    assert large.sum() == (2 * high * positive.sum() + 100) // 200
    assert not (small & ~large).any()
    assert not (large & ~positive).any()
    np.testing.assert_array_equal(assign(positive, low / 100, seed), small)


def test_the_seed_decides_who():
    positive = np.ones(400, bool)
    drawn = [assign(positive, 0.5, seed) for seed in range(3)]
    # two independent halves of 400 agree on 200 ± 10
    assert all(150 < (drawn[a] == drawn[b]).sum() < 250 for a, b in ((0, 1), (0, 2), (1, 2)))
    # every film is drawn about half the time
    counts = sum(assign(positive[:40], 0.5, seed).astype(int) for seed in range(400))
    assert 150 < counts.min() < counts.max() < 250


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_shares_outside_the_whole_are_refused(p):
    positive = np.array([True, False])
    for call in (
        lambda: assign(positive, p, 0),
        lambda: assignment_notice(positive, p),
        lambda: planted_split("clean", positive, p, 0),
        lambda: sampled_split("iid", positive, positive, p, 0, np.array(["a", "b"])),
    ):
        with pytest.raises(UsageError, match="Expected 0 to 1"):
            call()


def test_shares_under_one_film_are_said():
    positive = np.array([True] * 4 + [False])
    assert assign(positive, 0.1, 0).sum() == 0
    assert assignment_notice(positive, 0.1) == "0.1 of 4 positive films is less than half a film: nothing applied."
    assert assign(positive, 0.2, 0).sum() == 1
    assert "one film carries it, a share of 0.25" in assignment_notice(positive, 0.2)
    assert assignment_notice(positive, 0.25) == assignment_notice(positive, 0) == ""
    assert "nothing applied" in assignment_notice(positive[4:], 0.5)


@pytest.mark.parametrize("p", PS)
@pytest.mark.parametrize("order", [1, -1])
def test_a_scorer_that_sees_the_artefact_alone_has_the_closed_form_s_auc(p, order):
    positive = np.repeat([True, False], 100)[::order]
    expected = {"iid": (1 + p) / 2, "reversed": 0, "aligned": 1, "clean": 0.5, "neutral": 0.5}
    assert tuple(expected) == SPLITS
    for split, auc in expected.items():
        carries = planted_split(split, positive, p, seed=4)
        measured = exact_auc(positive, carries.astype(float))
        assert measured.value == pytest.approx(auc, abs=1e-12)


def test_the_designs_are_who_the_study_says():
    positive = np.array([True, False, True, False, False])
    np.testing.assert_array_equal(planted_split("iid", positive, 1, 0), positive)
    np.testing.assert_array_equal(planted_split("iid", positive, 0.5, (7, 1)), assign(positive, 0.5, (7, 1)))
    np.testing.assert_array_equal(planted_split("reversed", positive, 1, 0), ~positive)
    np.testing.assert_array_equal(planted_split("aligned", positive, 0, 0), positive)
    neutral = planted_split("neutral", positive, 1, (7, 1))
    assert (neutral[positive].sum(), neutral[~positive].sum()) == (1, 2)
    with pytest.raises(UsageError, match="Did you mean 'reversed'"):
        planted_split("reverse", positive, 1, 0)


# chosen films


@pytest.fixture(scope="module")
def films():
    """600 films of 220 patients: class by film, value by patient, at different rates."""
    rng = np.random.default_rng(11)
    patients = rng.integers(0, 220, 600)
    positive = rng.random(600) < 0.4
    has = (rng.random(220) < 0.35)[patients]
    return positive, has, np.array([f"p{number:03d}" for number in patients])


@pytest.mark.parametrize("p", PS)
@pytest.mark.parametrize("seed", [0, 1])
def test_chosen_films_have_the_value_as_often_as_asked(films, p, seed):
    positive, has, patients = films
    m = min((positive & has).sum(), (positive & ~has).sum())
    k = min((~positive & has).sum(), (~positive & ~has).sum())
    shares = {"iid": (p, 0), "reversed": (0, 1), "aligned": (1, 0), "neutral": (0.5, 0.5)}
    for split, (of_positive, of_negative) in shares.items():
        rows = sampled_split(split, positive, has, p, seed, patients)
        assert len(set(rows)) == len(rows) == m + k
        assert (np.diff(rows) > 0).all()
        assert positive[rows].sum() == m
        assert (positive & has)[rows].sum() == int(of_positive * m + 0.5 + 1e-9)
        assert (~positive & has)[rows].sum() == int(of_negative * k + 0.5 + 1e-9)


def test_a_larger_share_swaps_films_in_one_direction_only(films):
    positive, has, patients = films
    chosen = [set(sampled_split("iid", positive, has, p, 3, patients).tolist()) for p in PS]
    for small, large in pairwise(chosen):
        came, went = np.array(sorted(large - small), int), np.array(sorted(small - large), int)
        assert len(came) == len(went) > 0
        assert (positive & has)[came].all()
        assert (positive & ~has)[went].all()


def test_patients_are_taken_whole_but_the_last(films):
    positive, has, patients = films
    for p in (0.1, 0.5):
        rows = sampled_split("iid", positive, has, p, 5, patients)
        cell = positive & has
        taken, all_of_them = (dict(zip(*np.unique(patients[r], return_counts=True), strict=True)) for r in (
            rows[cell[rows]], np.flatnonzero(cell)))  # fmt: skip
        assert sum(taken[name] < all_of_them[name] for name in taken) <= 1


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does(films):
    positive, has, patients = films
    # one film a patient, so that a patient's name says which film was taken
    first = np.unique(patients, return_index=True)[1]
    order = np.random.default_rng(0).permutation(first)
    names = [
        {*patients[which][sampled_split("iid", positive[which], has[which], 0.3, seed, patients[which])]}
        for which, seed in ((first, 0), (order, 0), (first, 1))
    ]
    assert names[0] == names[1] != names[2]


def test_a_missing_kind_of_film_is_named_with_all_counts():
    positive = np.array([True, True, False, False, False])
    has = np.array([True, False, False, False, False])
    with pytest.raises(
        DataError, match="1 positive with it, 1 positive without, 0 negative with it, 3 negative without"
    ):
        sampled_split("iid", positive, has, 0.5, 0)
    with pytest.raises(UsageError, match="sampled confounder 'clean'"):
        sampled_split("clean", positive, ~positive, 0.5, 0)
