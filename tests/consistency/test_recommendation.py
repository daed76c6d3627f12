"""Which checkpoint is recommended: every rule alone, ties, and the reason where none qualifies."""

from __future__ import annotations

import numpy as np
import pytest

from cxrkeras.consistency.dissociation import dissociation
from cxrkeras.consistency.recommendation import recommendations, standing

NAN = float("nan")
STEADY = [0.9] * 4
# what the history is made of -> the checkpoint, and words of the reason
TABLE = {
    "highest excess of the worst class": (
        {"auc": STEADY, "excess": {"a": [0.1, 0.2, 0.3, 0.4], "b": [0.4, 0.35, 0.3, 0.1]}},
        30, "highest lowest-class excess (0.300) of 4"),
    "AUC just within": ({"auc": [0.89, 0.9, 0.9, 0.9], "excess": [0.3, 0.2, 0.2, 0.2]}, 10, "0.300"),
    "AUC just below": ({"auc": [0.889, 0.9, 0.9, 0.9], "excess": [0.3, 0.2, 0.1, 0.1]}, 20, "0.200"),
    "AUC undefined": ({"auc": [NAN, 0.9, 0.9, 0.9], "excess": [0.3, 0.2, 0.1, 0.1]}, 20, "0.200"),
    "coverage just enough": ({"auc": STEADY, "excess": [0.3, 0.2, 0.1, 0.1], "own_coverage": [0.5, 0.9, 0.9, 0.9]},
                             10, "0.300"),
    "coverage just short in one class": (
        {"auc": STEADY, "excess": [0.3, 0.2, 0.1, 0.1], "own_coverage": {"a": 0.9, "b": [0.499, 0.9, 0.9, 0.9]}},
        20, "0.200"),
    "gold-list collapse": (
        {"auc": STEADY, "excess": [0.1, 0.2, 0.3, 0.1], "coverage": {"a": [0.5, 0.5, 0.05, 0.5], "b": 0.8}},
        20, "0.200"),
    "attribution collapse of this method": (
        {"auc": [0.9, 0.91, 0.9, 0.9], "scores": {"cam": [0.6, 0.3, 0.6, 0.6], "y": [0.5] * 4, "z": [0.5] * 4},
         "excess": [0.1, 0.3, 0.2, 0.1]}, 30, "0.200"),
    "an early warning": (
        {"auc": STEADY, "scores": {"cam": [0.6, 0.6, 0.5, 0.6]}, "excess": [0.1, 0.2, 0.3, 0.1]}, 20, "0.200"),
    "every checkpoint of a warning": (
        {"auc": STEADY, "scores": {"cam": [0.6, 0.5, 0.5, 0.6]}, "excess": [0.1, 0.2, 0.3, 0.15]}, 40, "0.150"),
    "masking does not speak against": (
        {"auc": STEADY, "scores": {"cam": {"a": [0.5, 0.5, 0.6, 0.6], "b": [0.6, 0.6, 0.5, 0.5]}},
         "excess": [0.1, 0.2, 0.3, 0.1]}, 30, "0.300"),
    "undefined excess": ({"auc": STEADY, "excess": {"a": [0.1, 0.2, 0.9, 0.1], "b": [0.1, 0.2, NAN, 0.1]}},
                         20, "0.200"),
    "a tie goes to the higher AUC": (
        {"auc": [0.9, 0.905, 0.9, 0.9], "excess": [0.1, 0.28, 0.3, 0.1], "excess_stderr": 0.02},
        20, "ties with epoch 30 (0.300 ± 0.020); higher AUC"),
    "just no tie": (
        {"auc": [0.9, 0.905, 0.9, 0.9], "excess": [0.1, 0.279, 0.3, 0.1], "excess_stderr": 0.02}, 30, "highest"),
    "a tie of equal AUC goes to the earlier": (
        {"auc": STEADY, "excess": [0.1, 0.29, 0.3, 0.1], "excess_stderr": 0.02}, 20, "equal AUC, earlier"),
    "the leader wins its tie": (
        {"auc": [0.9, 0.9, 0.905, 0.9], "excess": [0.1, 0.29, 0.3, 0.1], "excess_stderr": 0.02},
        30, "within one standard error of epoch 20; higher AUC"),
    "without an error only an equal excess ties": (
        {"auc": [0.9, 0.905, 0.9, 0.9], "excess": [0.1, 0.29, 0.3, 0.1], "excess_stderr": NAN}, 30, "highest"),
    "the error is that of the worst class": (
        {"auc": [0.9, 0.905, 0.9, 0.9], "excess": {"a": [0.1, 0.25, 0.3, 0.1], "b": 0.5},
         "excess_stderr": {"a": 0.01, "b": 0.2}}, 30, "highest"),
    "no excess at all": ({"auc": STEADY, "excess": [-0.2, -0.1, -0.3, -0.4]}, 20, "no more alike within the class"),
    "the only one": ({"auc": [0.9, 0.8, 0.8, 0.8], "excess": 0.25}, 10, "the only checkpoint that qualifies"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_what_is_recommended(history, name):
    made, epoch, words = TABLE[name]
    past = history(**made)
    one = {r.method: r for r in recommendations(past, dissociation(past))}["cam"]
    assert (one.checkpoint, one.status) == (epoch, "recommended")
    assert words in one.reason
    assert ("beware" in one.reason) == (one.standing.min_excess <= 0)
    assert one.standing == standing(past.at(epoch), "cam")
    assert one.standing.auc == past.at(epoch).auc


def test_none_says_what_speaks_against_each(history):
    past = history(
        [0.8, 0.9, 0.9, 0.9],
        {"cam": [0.6, 0.6, 0.5, 0.6]},
        own_coverage={"a": [0.9, 0.4, 0.9, 0.9], "b": 0.9},
        excess=[0.1, 0.1, 0.1, NAN],
        coverage={"a": [0.5, 0.05, 0.5, 0.5], "b": 0.9},
    )
    (one,) = recommendations(past, dissociation(past))
    assert (one.checkpoint, one.status) == (None, "none")
    reasons = one.reason.split("; ")
    assert reasons[0] == "epoch 10: AUC 0.800 is more than 0.01 below the best 0.900"
    assert reasons[1] == "epoch 20: coverage below 0.5 (a 0.40), gold list collapse of a"
    assert reasons[2] == "epoch 30: early warning"
    assert reasons[3] == "epoch 40: excess undefined (a: why, b: why)"
    assert np.isnan(one.standing.auc)


def test_too_few_checkpoints_recommend_nothing(history):
    past = history([0.9, 0.9])
    (one,) = recommendations(past, dissociation(past))
    assert (one.checkpoint, one.status) == (None, "none")
    assert one.reason.startswith("too_few_checkpoints: 2 of at least 3")


def test_the_other_methods_collapse_is_not_held_against_this_one(history):
    past = history([0.9, 0.91, 0.9], {"cam": [0.6] * 3, "x": [0.6, 0.3, 0.6], "z": [0.5] * 3}, excess=[0.1, 0.3, 0.2])
    found = {one.method: one.checkpoint for one in recommendations(past, dissociation(past))}
    assert found == {"cam": 20, "x": 30, "z": 20}


def test_standing_is_the_worst_class(history):
    past = history(
        [0.9] * 3, {"cam": {"a": 0.4, "b": 0.6}}, excess={"a": 0.3, "b": 0.1}, excess_stderr={"a": 0.01, "b": 0.04},
        own_coverage={"a": 0.7, "b": 0.8},
    )  # fmt: skip
    here = standing(past.at(20), "cam")
    assert (here.min_excess, here.min_excess_stderr, here.min_coverage) == (0.1, 0.04, 0.7)
    assert here.macro == pytest.approx(0.5)
    absent = standing(past.at(20), "other")
    assert absent.auc == 0.9
    assert np.isnan([absent.min_excess, absent.macro, absent.min_coverage]).all()
