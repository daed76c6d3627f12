"""Known-answer histories for every finding, and histories that must not fire: each threshold from both sides."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from cxrkeras.consistency.coverage import gold_coverage
from cxrkeras.consistency.dissociation import THRESHOLDS, Thresholds, dissociation
from cxrkeras.consistency.history import GoldState, History

NAN = float("nan")
KINDS = {
    "gold": "gold_list_collapse",
    "attribution": "attribution_collapse",
    "masking": "class_masking",
    "gap": "class_gap",
    "warning": "early_warning",
    "miss": "missed_fall",
}


def three(collapsed, *steady, at=0.6):
    """Scores of one method that changes, and of others that do not."""
    return {"x": collapsed, **{name: [at] * len(collapsed) for name in steady}}


def split(a, b):
    return {"cam": {"a": a, "b": b}}


FALL = [0.60, 0.60, 0.51, 0.51, 0.51, 0.51]
DIP = [0.60, 0.60, 0.51, 0.60, 0.60, 0.60]
STEADY = [0.9] * 6
# kind, what the history is made of, (method, class, checkpoint, outcome) of every finding of the kind
TABLE = {
    "gold list empties": ("gold", {"auc": [0.9, 0.9, 0.9], "coverage": {"a": [0.3, 0.09, 0.3], "b": 0.8}},
                          [("", "a", 20, "")]),
    "gold list at the coverage": ("gold", {"auc": [0.9, 0.9, 0.9], "coverage": {"a": [0.3, 0.10, 0.3], "b": 0.8}}, []),
    "gold list, exactly enough before": ("gold", {"auc": [0.9, 0.9, 0.9], "coverage": {"a": [0.2, 0.05, 0.05], "b": 1}},
                                         [("", "a", 20, ""), ("", "a", 30, "")]),
    "gold list never full": ("gold", {"auc": [0.9, 0.9, 0.9], "coverage": {"a": [0.19, 0.05, 0.05], "b": 1}}, []),
    "gold list empty from the start": ("gold", {"auc": [0.9, 0.9, 0.9], "coverage": {"a": [0.05, 0.3, 0.3], "b": 1}},
                                       []),
    "gold list undefined": ("gold", {"auc": [0.9] * 3, "patients": {"gold": {"a": [5, 1, 5], "b": 9}, "cam": 20}},
                            [("", "a", 20, "")]),
    "gold list of two patients": ("gold", {"auc": [0.9] * 3, "patients": {"gold": {"a": [5, 2, 5], "b": 9}, "cam": 20}},
                                  []),
    "gold list of one patient from the start": (
        "gold", {"auc": [0.9] * 3, "patients": {"gold": {"a": [1, 1, 1], "b": 9}, "cam": 20}}, []),
    "gold list of one patient empties": (
        "gold",
        {"auc": [0.9] * 3, "coverage": {"a": [0.3, 0.3, 0.09], "b": 0.8},
         "patients": {"gold": {"a": [1, 1, 1], "b": 9}, "cam": 20}}, [("", "a", 30, "")]),
    "gold list, AUC within": ("gold", {"auc": [0.9, 0.88, 0.9], "coverage": [0.3, 0.05, 0.3]},
                              [("", "a", 20, ""), ("", "b", 20, "")]),
    "gold list, AUC fell too": ("gold", {"auc": [0.9, 0.879, 0.9], "coverage": [0.3, 0.05, 0.3]}, []),
    "gold list, AUC undefined": ("gold", {"auc": [0.9, NAN, 0.9], "coverage": [0.3, 0.05, 0.3]}, []),
    "gold list, coverage undefined": ("gold", {"auc": [0.9] * 3, "coverage": [NAN, 0.05, 0.3]}, []),

    "attribution falls": ("attribution", {"auc": [0.8, 0.9, 0.8], "scores": three([0.6, 0.45, 0.6], "y", "z")},
                          [("x", "macro", 20, "")]),
    "attribution falls too little": (
        "attribution", {"auc": [0.8, 0.9, 0.8], "scores": three([0.6, 0.451, 0.6], "y", "z")}, []),
    "attribution, its best comes later": (
        "attribution", {"auc": [0.9, 0.8, 0.8], "scores": three([0.45, 0.5, 0.6], "y", "z")}, [("x", "macro", 10, "")]),
    "attribution, tie of AUC goes to the earliest": (
        "attribution", {"auc": [0.8, 0.9, 0.9], "scores": three([0.6, 0.6, 0.3], "y", "z")}, []),
    "attribution, two methods": ("attribution", {"auc": [0.8, 0.9, 0.8], "scores": three([0.6, 0.3, 0.6], "y")}, []),
    "attribution, half of the methods": (
        "attribution",
        {"auc": [0.8, 0.9, 0.8], "scores": {"w": [0.6, 0.3, 0.6], **three([0.6, 0.3, 0.6], "y", "z")}}, []),
    "attribution, two of five": (
        "attribution",
        {"auc": [0.8, 0.9, 0.8], "scores": {"w": [0.6, 0.3, 0.6], **three([0.6, 0.3, 0.6], "y", "z", "v")}},
        [("w", "macro", 20, ""), ("x", "macro", 20, "")]),
    "attribution within its error": (
        "attribution", {"auc": [0.8, 0.9, 0.8], "scores": three([0.6, 0.45, 0.6], "y", "z"), "stderr": 0.051}, []),
    "attribution at three errors": (
        "attribution", {"auc": [0.8, 0.9, 0.8], "scores": three([0.6, 0.45, 0.6], "y", "z"), "stderr": 0.05},
        [("x", "macro", 20, "")]),
    "attribution without an error": (
        "attribution", {"auc": [0.8, 0.9, 0.8], "scores": three([0.6, 0.3, 0.6], "y", "z"), "stderr": NAN}, []),
    "attribution, best of few patients": (
        "attribution",
        {"auc": [0.8, 0.9, 0.8], "scores": three([0.6, 0.45, 0.45], "y", "z"), "patients": {"a": [9, 20, 20], "b": 20}},
        []),
    "attribution, blank maps": (
        "attribution",
        {"auc": [0.8, 0.9, 0.8], "scores": three([0.6] * 3, "y", "z"), "degenerate": {"x": 0.21, "y": 0.2, "z": 0}},
        [("x", "macro", 20, "")]),
    "attribution, everything undefined": (
        "attribution", {"auc": [0.8, 0.9, 0.8], "scores": three([0.6, NAN, 0.6], "y", "z")}, []),

    "masking": ("masking", {"auc": [0.9] * 3, "scores": split([0.5, 0.56, 0.56], [0.6, 0.54, 0.54])},
                [("cam", "a", 20, "")]),
    "masking, class at the limit": (
        "masking", {"auc": [0.9] * 3, "scores": split([0.5, 0.55, 0.55], [0.6, 0.55, 0.55])}, []),
    "masking, mean at the limit": ("masking", {"auc": [0.9] * 3, "scores": split([0.5, 0.6, 0.6], [0.6, 0.54, 0.54])},
                                   []),
    "masking, mean below the limit": (
        "masking", {"auc": [0.9] * 3, "scores": split([0.5, 0.598, 0.598], [0.6, 0.54, 0.54])}, [("cam", "a", 20, "")]),
    "masking, the further class is named": (
        "masking", {"auc": [0.9] * 3, "scores": split([0.5] * 2 + [0.56], [0.6] * 2 + [0.53])}, [("cam", "b", 30, "")]),
    "masking within its error": (
        "masking", {"auc": [0.9] * 3, "scores": split([0.5, 0.56, 0.56], [0.6, 0.54, 0.54]), "stderr": 0.0201}, []),
    "masking, not consecutive": (
        "masking", {"auc": [0.9] * 3, "scores": split([0.5, 0.54, 0.58], [0.6, 0.56, 0.52])}, []),
    "masking, a class undefined": (
        "masking", {"auc": [0.9] * 3, "scores": split([0.5, NAN, 0.58], [0.6, 0.3, 0.52])}, []),

    "gap": ("gap", {"auc": [0.9] * 3, "scores": split([0.5, 0.5, 0.5], [0.66, 0.65, 0.6])}, [("cam", "a", 10, "")]),
    "gap, a class undefined": ("gap", {"auc": [0.9] * 3, "scores": split([NAN] * 3, [0.9] * 3)}, []),

    "warning, false alarm": ("warning", {"auc": STEADY, "scores": {"cam": DIP}}, [("cam", "macro", 30, "false_alarm")]),
    "warning that lasts to the end": ("warning", {"auc": STEADY, "scores": {"cam": FALL}},
                                      [("cam", "macro", 30, "pending")]),
    "warning too small": ("warning", {"auc": STEADY, "scores": {"cam": [0.60, 0.60, 0.511, 0.60, 0.60, 0.60]}}, []),
    "warning, an episode": ("warning", {"auc": [0.9] * 8, "scores": {"cam": [0.6, 0.5, 0.5, 0.6, 0.6, 0.5, 0.6, 0.6]}},
                            [("cam", "macro", 20, "false_alarm"), ("cam", "macro", 60, "pending")]),
    "warning, hit at once": ("warning", {"auc": [0.9, 0.9, 0.9, 0.85, 0.85, 0.85], "scores": {"cam": FALL}},
                             [("cam", "macro", 30, "hit"), ("cam", "macro", 50, "pending")]),
    "warning, hit at the third": (
        "warning", {"auc": [0.9, 0.9, 0.9, 0.88, 0.86, 0.85], "scores": {"cam": DIP}}, [("cam", "macro", 30, "hit")]),
    "warning, fall of AUC too small": (
        "warning", {"auc": [0.9, 0.9, 0.9, 0.88, 0.86, 0.851], "scores": {"cam": DIP}},
        [("cam", "macro", 30, "false_alarm")]),
    "warning, fall of AUC too late": (
        "warning",
        {"auc": [0.9, 0.9, 0.9, 0.89, 0.89, 0.89, 0.8], "scores": {"cam": [0.6, 0.6, 0.51, 0.6, 0.6, 0.6, 0.6]}},
        [("cam", "macro", 30, "false_alarm")]),
    "warning, pending": ("warning", {"auc": [0.9] * 5, "scores": {"cam": [0.6, 0.6, 0.5, 0.6, 0.6]}},
                         [("cam", "macro", 30, "pending")]),
    "warning, AUC held just": ("warning", {"auc": [0.9, 0.89, 0.89], "scores": {"cam": [0.6, 0.5, 0.6]}},
                               [("cam", "macro", 20, "pending")]),
    "warning, AUC falls already": ("warning", {"auc": [0.9, 0.889, 0.889], "scores": {"cam": [0.6, 0.5, 0.6]}}, []),
    "warning, AUC undefined": ("warning", {"auc": [NAN, 0.9, 0.9], "scores": {"cam": [0.6, 0.5, 0.6]}}, []),
    "warning within its error": (
        "warning", {"auc": STEADY, "scores": {"cam": DIP}, "stderr": 0.0301}, []),
    "warning at three errors": (
        "warning", {"auc": STEADY, "scores": {"cam": DIP}, "stderr": 0.03}, [("cam", "macro", 30, "false_alarm")]),
    "warning, nothing eligible before": (
        "warning", {"auc": STEADY, "scores": {"cam": DIP}, "patients": [9, 9, 20, 20, 20, 20]}, []),
    "warning, one class short of patients": (
        "warning", {"auc": STEADY, "scores": {"cam": DIP}, "patients": {"a": 20, "b": [9, 9, 20, 20, 20, 20]}}, []),
    "warning, ten patients are enough": (
        "warning", {"auc": STEADY, "scores": {"cam": DIP}, "patients": [10, 9, 5, 5, 5, 5]},
        [("cam", "macro", 30, "false_alarm")]),
    "warning against the best before": (
        "warning", {"auc": [0.9] * 4, "scores": {"cam": [0.6, 0.52, 0.5, 0.6]}}, [("cam", "macro", 30, "pending")]),
    "warning, undefined then": ("warning", {"auc": [0.9] * 4, "scores": {"cam": [0.6, NAN, 0.6, 0.6]}}, []),
    "warning, nothing to fall from": ("warning", {"auc": STEADY, "scores": {"cam": [0.0] * 6}, "stderr": 0.0}, []),
    "warning, a rise": ("warning", {"auc": [0.9] * 4, "scores": {"cam": [0.4, 0.6, 0.6, 0.6]}}, []),

    "miss": ("miss", {"auc": [0.9, 0.9, 0.85, 0.85]}, [("cam", "", 30, "miss")]),
    "miss, AUC held": ("miss", {"auc": [0.9, 0.9, 0.851, 0.851]}, []),
    "miss over three checkpoints": ("miss", {"auc": [0.9, 0.88, 0.86, 0.84]}, [("cam", "", 40, "miss")]),
    "miss, too slow": ("miss", {"auc": [0.9, 0.89, 0.88, 0.87, 0.85]}, []),
    "miss, each fall once": ("miss", {"auc": [0.9, 0.8, 0.8, 0.8, 0.8, 0.9, 0.8]},
                             [("cam", "", 20, "miss"), ("cam", "", 70, "miss")]),
    "miss, it was foreseen": ("miss", {"auc": [0.9, 0.9, 0.9, 0.85, 0.85, 0.85], "scores": {"cam": FALL}}, []),
    "miss, a warning within a fall comes too late for its beginning": (
        "miss", {"auc": [0.95, 0.88, 0.88, 0.81, 0.81], "scores": {"cam": [0.6, 0.6, 0.5, 0.6, 0.6]}},
        [("cam", "", 20, "miss")]),
    "miss, a fall goes on below the checkpoint that warned": (
        "miss", {"auc": [0.96, 0.95, 0.905, 0.89], "scores": {"cam": [0.6, 0.5, 0.6, 0.6]}}, []),
    "miss, by the method that did not warn": (
        "miss", {"auc": [0.9, 0.9, 0.9, 0.85, 0.85, 0.85], "scores": {"cam": FALL, "other": [0.6] * 6}},
        [("other", "", 40, "miss")]),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_what_a_history_says(history, name):
    kind, made, expected = TABLE[name]
    found = dissociation(history(**made))
    assert found.status == "ok"
    own = [f for f in found.findings if f.kind == KINDS[kind]]
    assert [(f.method, f.class_name, f.checkpoint, f.outcome) for f in own] == expected
    for finding in own:
        assert finding.run == "a run"
        assert finding.information == (kind == "gap")
        assert f"Epoch {finding.checkpoint}" in finding.sentence
        assert "nan" not in finding.sentence.lower().split()


def test_every_threshold_is_the_one_specified():
    assert asdict(THRESHOLDS) == {
        "fewest_checkpoints": 3,
        "fewest_patients": 10,
        "stderrs": 3,
        "collapse_coverage": 0.1,
        "collapse_after": 0.2,
        "collapse_auc": 0.02,
        "attribution_methods": 3,
        "attribution_fall": 0.25,
        "attribution_degenerate": 0.2,
        "attribution_share": 0.5,
        "masking_macro": 0.02,
        "masking_class": 0.05,
        "gap": 0.15,
        "warning_fall": 0.15,
        "warning_auc": 0.01,
        "fall_auc": 0.05,
        "fall_within": 3,
        "recommend_auc": 0.01,
        "recommend_coverage": 0.5,
        "recommend_stderrs": 1,
    }


def test_two_checkpoints_are_too_few(history):
    found = dissociation(history([0.9, 0.5], {"cam": [0.6, 0.1]}))
    assert (found.status, found.findings, found.n_comparisons) == ("too_few_checkpoints", (), 0)


def test_the_looks_are_counted_once_each(history):
    found = dissociation(history([0.9] * 4, {"cam": [0.6, 0.5, 0.5, 0.5], "other": [0.5, 0.6, 0.5, 0.5]}))
    pairs = [(p.method, p.earlier, p.later) for p in found.compared]
    assert len(set(pairs)) == len(pairs)
    consecutive = [(10, 20), (20, 30), (30, 40)]
    # AUC-best is the first checkpoint; `other` is at its best at the second, and only three methods make a collapse
    wanted = {("cam", *p) for p in [*consecutive, (10, 30), (10, 40)]} | {
        ("other", *p) for p in [*consecutive, (20, 40)]
    }
    assert set(pairs) == wanted
    assert found.n_comparisons == 3 * len(wanted), "two classes and their mean"
    untested = dissociation(history([0.9] * 4, {"cam": [0.6, 0.5, 0.5, 0.5]}, stderr=NAN))
    assert len(untested.compared) == 5
    assert untested.n_comparisons == 0


def test_the_numbers_and_the_sentence_agree(history):
    auc = [0.91, 0.91, 0.90, 0.85, 0.85]
    (finding,) = [
        f for f in dissociation(history(auc, {"cam": [0.60, 0.58, 0.45, 0.46, 0.47]})).findings if f.outcome == "hit"
    ]
    assert finding.evidence["epochs"] == [30]
    assert finding.checkpoint == 30
    assert finding.evidence["earlier_epoch"] == 10
    assert finding.evidence["change"] == pytest.approx(-0.15)
    assert (finding.evidence["fall_epoch"], finding.evidence["lead"]) == (40, 1)
    for words in ("Epoch 30, cam: early warning", "25 % lower (0.450 against 0.600)", "same 30 films of 20 patients",
                  "0.900", "to 0.850 (epoch 40), 1 checkpoint later"):  # fmt: skip
        assert words in finding.sentence


def test_a_collapsed_gold_list_says_which_threshold_would_do(history):
    made = {"auc": [0.9] * 3, "coverage": {"a": [0.3, 0.05, 0.3], "b": 0.8}}
    (finding,) = dissociation(history(**made, largest=0.61)).findings
    assert finding.evidence["largest_threshold"] == 0.61
    assert "up to a threshold of 0.61" in finding.sentence
    assert "5 % reach confidence 0.7" in finding.sentence
    (finding,) = dissociation(history(**made, largest=NAN)).findings
    assert "No threshold would keep all classes defined" in finding.sentence


def test_a_collapsed_gold_list_is_told_beside_the_last_full_one(history):
    (finding,) = dissociation(history([0.9] * 3, coverage={"a": [0.5, 0.3, 0.05], "b": 0.8})).findings
    assert (finding.evidence["earlier_epoch"], finding.evidence["earlier_coverage"]) == (20, 0.3)


def test_a_missed_fall_is_told_from_the_highest_auc_shortly_before(history):
    made = history([0.9, 0.9, 0.9, 0.96, 0.94, 0.92, 0.86])
    (finding,) = dissociation(made).findings
    assert (finding.checkpoint, finding.evidence["earlier_epoch"], finding.evidence["earlier_auc"]) == (70, 40, 0.96)
    assert finding.evidence["n_judged"] == 3, "of the three checkpoints before it, not of all"
    assert "(one was possible at 3 checkpoints)" in finding.sentence
    for unjudged in (history([0.9, 0.9, 0.8], patients=5), history([NAN, 0.9, 0.8])):
        (finding,) = dissociation(unjudged).findings
        assert finding.evidence["n_judged"] == 0
        assert "could a warning be judged" in finding.sentence


def test_a_lead_is_counted_from_the_warning_that_came_true(history):
    auc = [0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.8]
    (finding,) = [
        f for f in dissociation(history(auc, {"cam": [0.6, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]})).findings
        if f.kind == "early_warning"
    ]  # fmt: skip
    assert (finding.outcome, finding.checkpoint, finding.evidence["epochs"]) == ("hit", 20, [20, 30, 40, 50, 60])
    assert finding.evidence["lead"] == 3
    assert "(epoch 40) to 0.800 (epoch 70), 3 checkpoints later" in finding.sentence


def test_a_missing_method_is_left_out_not_guessed(history):
    whole = history([0.9] * 4, {"cam": [0.6, 0.6, 0.3, 0.3], "y": [0.5] * 4})
    first = replace(whole.checkpoints[0], methods={"y": whole.checkpoints[0].methods["y"]})
    partial = History("a run", (first, *whole.checkpoints[1:]), whole.changes)
    found = dissociation(partial)
    assert partial.methods == ("y", "cam")
    assert all(pair.earlier > 10 for pair in found.compared if pair.method == "cam")
    assert [f.checkpoint for f in found.findings if f.method == "cam"] == [30]


def test_other_thresholds_can_be_given(history):
    stricter = Thresholds(warning_fall=0.05)
    made = history([0.9] * 4, {"cam": [0.6, 0.56, 0.6, 0.6]})
    assert not dissociation(made).findings
    assert [f.kind for f in dissociation(made, stricter).findings] == ["early_warning"]


def test_evidence_is_plain_data(history):
    for kind, made, _ in TABLE.values():
        for finding in dissociation(history(**made)).findings:
            json.dumps(finding.evidence)
            assert kind


def test_gold_lists_in_numbers():
    labels = [0, 0, 0, 0, 1, 1, 1, 1]
    sure = np.array([0.95, 0.9, 0.8, 0.4, 0.99, 0.75, 0.72, 0.6])
    probabilities = np.where(np.array(labels) == 1, sure, 1 - sure)
    states, largest = gold_coverage(labels, probabilities, classes=["a", "b"])
    assert states == {"a": GoldState(0.75, 3), "b": GoldState(0.75, 3)}
    assert largest == pytest.approx(0.75)
    by_patient, largest = gold_coverage(labels, probabilities, patients=[1, 1, 1, 2, 3, 3, 4, 4], threshold=0.7)
    assert by_patient == {"0": GoldState(0.75, 1), "1": GoldState(0.75, 2)}
    assert np.isnan(largest), "class 0 has one patient that is ever right"
    assert not by_patient["0"].defined
    assert by_patient["1"].defined
    _, largest = gold_coverage(labels, probabilities, patients=[1, 1, 2, 2, 3, 3, 4, 4])
    assert largest == pytest.approx(0.72)
    absent, _ = gold_coverage([0, 0], [0.1, 0.2])
    assert np.isnan(absent["1"].coverage)
    assert absent["1"].n_patients == 0
