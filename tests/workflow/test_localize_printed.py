"""What a reader is shown of a localization: a table a finding, chance in it, and sentences that name every kind."""

from __future__ import annotations

import pandas as pd
import pytest

from cxrkeras.workflow.localize.printed import (
    printed_comparisons,
    printed_readers,
    printed_summary,
    sentences,
    way_words,
)

NAN = float("nan")
ABOUT = {"finding": "Lung Opacity", "class": "PNEUMONIA", "annotator": "union"}
WAY = {"annotations": "1a2b3c4d", "rule": "otsu", "tolerance": "0.0", "slice": "tp", "cutoff": "", "options": ""}
# method -> kind of chance -> (chance, difference, p_holm)
BESIDE = {
    "gradcam": {"area": (0.07, 0.2, 0.01), "mean_mask": (0.25, 0.02, 0.4), "random_weights": (0.06, 0.21, 0.01)},
    "saliency": {"area": (0.07, 0.03, 0.02), "mean_mask": (0.25, -0.15, 0.01), "random_weights": (0.09, 0.01, 0.3)},
    "ig": {"area": (0.07, 0.3, 0.01), "mean_mask": (0.25, 0.12, 0.01), "random_weights": (0.08, 0.29, 0.049)},
}


def summary_of(methods=BESIDE, **changes):
    row = {"mean": 0.27, "ci_low": 0.2, "ci_high": 0.3456, "n": 50, "n_patients": 22, "n_nan": 0, "n_degenerate": 0}
    row |= {"chance": 0.07, "human": NAN}
    return pd.DataFrame(
        [ABOUT | {"method": name, "metric": metric} | row | changes for name in methods for metric in ("iou", "rank")]
    )


def chance_of(beside=BESIDE):
    rows = [
        ABOUT | {"method": name, "metric": "iou", "against": against, "chance": chance, "difference": difference}
        | {"p_holm": p}
        for name, kinds in beside.items()
        for against, (chance, difference, p) in kinds.items()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=[*ABOUT, "method", "metric", "against", "chance", "difference", "p_holm"])


def test_a_table_a_finding_with_every_chance_below_the_methods():
    ((title, table),) = printed_summary(summary_of(), chance_of()).items()
    assert title == "Lung Opacity (class PNEUMONIA), 50 films of 22 patients"
    assert table.to_dict("list") == {
        "method": ["gradcam", "saliency", "ig", "chance: area", "chance: mean_mask", "chance: random_weights"],
        "iou": [
            "0.270 [0.200, 0.346] ▲2",
            "0.270 [0.200, 0.346] ▲1 ▼1",
            "0.270 [0.200, 0.346] ▲3",
            "0.070",
            "0.250",
            "0.060–0.090",
        ],
    }


def test_without_chance_the_area_is_left_and_nothing_is_marked():
    few = summary_of(["gradcam"], mean=NAN, ci_low=NAN, ci_high=NAN, n=0, n_patients=0, n_nan=50, n_degenerate=50)
    blank = few.assign(method="ig")
    joined = pd.concat([summary_of(["gradcam"], human=0.6), blank], ignore_index=True)
    ((title, table),) = printed_summary(joined, pd.DataFrame()).items()
    assert title == "Lung Opacity (class PNEUMONIA), 0–50 films of 0–22 patients"
    assert table["iou"].tolist() == ["0.270 [0.200, 0.346]", "NaN", "0.600", "0.070"]
    assert table["method"].tolist() == ["gradcam", "ig", "human", "chance: area"]
    assert table["degenerate"].tolist() == ["0", "50", "", ""]


def test_one_film_is_one_film():
    (title,) = printed_summary(summary_of(n=1, n_patients=1), chance_of())
    assert title.endswith(", 1 film of 1 patient")


def test_annotators_and_findings_have_tables_of_their_own():
    joined = pd.concat([summary_of(["ig"]).assign(annotator=name, finding="PNEUMONIA") for name in ("A", "B")])
    assert list(printed_summary(joined, chance_of({}))) == [
        "PNEUMONIA by A, 50 films of 22 patients",
        "PNEUMONIA by B, 50 films of 22 patients",
    ]


def test_the_sentence_says_which_chance_is_not_beaten_and_which_beats():
    first, last = sentences(summary_of(n_degenerate=1), chance_of())
    assert first == (
        "Lung Opacity (class PNEUMONIA): significantly above every kind of chance (area, mean_mask, random_weights; "
        "Holm): IoU ig. IoU not above mean_mask: gradcam; below mean_mask, not above random_weights: saliency."
    )
    assert last == (
        "Maps without contrast, left out of the means and counted as 0 in mean_zero: 3 of 150 (gradcam 1, saliency 1, "
        "ig 1)."
    )


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        ({"area": (0.07, 0.2, NAN)}, "IoU cannot be told."),
        ({"area": (0.07, 0.2, 0.01), "mean_mask": (NAN, NAN, NAN)}, "IoU none. IoU untested against mean_mask: ig."),
        ({"area": (0.07, -0.2, 0.05)}, "IoU none. IoU not above area: ig."),
        ({"area": (0.07, -0.2, 0.049)}, "IoU none. IoU below area: ig."),
        ({"area": (0.07, 0.2, 0.049)}, "IoU ig."),
    ],
)
def test_what_is_said_at_the_border(kinds, told):
    first, _ = sentences(summary_of(["ig"]), chance_of({"ig": kinds}))
    assert first.endswith(f"; Holm): {told}")


def test_nothing_is_said_of_a_chance_that_was_not_asked_for():
    assert len(sentences(summary_of(), pd.DataFrame())) == 1


def test_methods_that_differ_and_all_runs_are_listed():
    row = {**ABOUT, "method": "", "metric": "iou", "compared": "methods", "first": "ig", "second": "saliency"}
    row |= {
        "difference": 0.1,
        "ci_low": 0.05,
        "ci_high": 0.2,
        "p_holm": 0.01,
        "n": 50,
        "n_patients": 22,
        "status": "ok",
    }
    even = row | {"p_holm": 0.2, "first": "gradcam"}
    rank = row | {"metric": "rank"}
    runs = row | {"method": "ig", "compared": "runs", "first": "a@1", "second": "b@2", "p_holm": 0.7}
    found = printed_comparisons(pd.DataFrame([row, even, rank, runs]))
    assert {name: table["first"].tolist() for name, table in found.items()} == {"methods": ["ig"], "runs": ["a@1"]}
    assert "method" not in found["methods"]
    assert found["runs"]["method"].tolist() == ["ig"]
    # nobody needs the difference of the same name twice, and annotators are told apart
    assert "annotator" not in found["runs"]
    assert "annotator" in printed_comparisons(pd.DataFrame([runs, runs | {"annotator": "A"}]))["runs"]


def test_readers_are_shown_without_what_made_the_maps():
    row = {"finding": "Edema", "first": "A", "second": "B", "iou": 0.8, "ci_low": 0.7, "ci_high": 0.9, "n": 5}
    table = pd.DataFrame([row | {"n_patients": 4, "status": "ok", "bootstrap": "patient"} | WAY])
    assert list(printed_readers(table)) == [*row, "n_patients", "status"]


def test_the_way_in_words():
    assert way_words(WAY) == "marks 1a2b3c4d, threshold otsu, films with the finding"
    other = WAY | {"rule": "top:0.1", "tolerance": "5.0", "slice": "full", "cutoff": "0.5", "options": "ig_steps=100"}
    assert way_words(other) == (
        "marks 1a2b3c4d, threshold top:0.1, tolerance 5 px, all films that were read, blank below p = 0.5, maps made "
        "with ig_steps=100"
    )
