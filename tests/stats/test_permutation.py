"""Exact permutation tests against published p-values, listing every case, and scipy."""

from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from cxrkeras.errors import ScoreInputError
from cxrkeras.stats import permutation_test, sign_flip_test


@pytest.mark.parametrize(
    ("sizes", "p", "status"),
    [
        ((5, 5), 0.0079365, "ok"),
        ((5, 4), 0.015873, "ok"),
        ((3, 3), 0.1, "too_few_to_be_significant"),
        ((1, 1), 1.0, "too_few_to_be_significant"),
    ],
)
def test_fully_separated_groups_reach_the_smallest_p(sizes, p, status):
    result = permutation_test(10 + np.arange(sizes[0]), np.arange(sizes[1]))
    assert result.p == pytest.approx(p, abs=5e-7)
    assert result.p == pytest.approx(result.attainable, abs=1e-15)
    assert (result.n, result.status) == (sum(sizes), status)


def test_groups_against_every_split_listed():
    rng = np.random.default_rng(0)
    for _ in range(5):
        values = np.round(rng.normal(size=8), 1)
        ours, theirs = values[:3], values[3:]
        splits = [np.mean(np.take(values, c)) - np.mean(np.delete(values, c)) for c in combinations(range(8), 3)]
        observed = ours.mean() - theirs.mean()
        tails = np.mean(np.array(splits) >= observed - 1e-12), np.mean(np.array(splits) <= observed + 1e-12)
        p = permutation_test(ours, theirs).p
        assert p == pytest.approx(min(1, 2 * min(tails)), abs=1e-12)
        peer = stats.permutation_test((ours, theirs), lambda a, b: a.mean() - b.mean(), n_resamples=np.inf)
        assert p == pytest.approx(peer.pvalue, abs=1e-12)


@pytest.mark.parametrize(("n", "smallest"), [(1, 1.0), (3, 0.25), (5, 0.0625), (6, 0.03125), (8, 0.0078125)])
def test_signs_that_agree_reach_the_smallest_p(n, smallest):
    result = sign_flip_test(-np.arange(1, n + 1) / 10)
    assert (result.p, result.attainable, result.n) == (smallest, smallest, n)
    assert result.status == ("ok" if smallest <= 0.05 else "too_few_to_be_significant")


@pytest.mark.parametrize("n", [2, 5, 9])
def test_signs_against_every_choice_listed_and_scipy(n):
    differences = np.round(np.random.default_rng(n).normal(0.3, 1, n), 1)
    sums = np.array([np.dot(signs, differences) for signs in product((-1, 1), repeat=n)])
    listed = np.mean(np.abs(sums) >= abs(differences.sum()) - 1e-9)
    assert sign_flip_test(differences).p == pytest.approx(listed, abs=1e-15)
    peer = stats.permutation_test(
        (differences, -differences), lambda a, b: a.mean(), permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_test(differences).p == pytest.approx(peer.pvalue, abs=1e-12)


def test_no_difference_is_no_evidence_and_order_and_side_do_not_matter():
    assert sign_flip_test(np.zeros(9)).p == 1
    assert sign_flip_test([0.3, -0.3, 0.1, -0.1]).p == 1
    differences = np.random.default_rng(1).normal(0.5, 1, 24)
    p = sign_flip_test(differences).p
    assert 0 < p < 1
    assert sign_flip_test(-differences[::-1]).p == p
    assert (
        permutation_test(differences[:5], differences[5:9]).p == permutation_test(differences[5:9], differences[:5]).p
    )


def test_what_cannot_be_tested_has_a_name():
    for result in (sign_flip_test([]), sign_flip_test([0.1, np.nan]), permutation_test([], [1.0])):
        assert np.isnan(result.p)
        assert result.status == "undefined"
    assert sign_flip_test([0.1, np.inf]).attainable == 0.5
    with pytest.raises(ScoreInputError, match="at most 40 differences"):
        sign_flip_test(np.ones(41))
    with pytest.raises(ScoreInputError, match="10 and 20 numbers"):
        permutation_test(np.ones(10), np.ones(20))
    with pytest.raises(ScoreInputError, match="one row"):
        sign_flip_test([[1.0]])
