"""The localization figure: intervals, chance and statuses at their places."""

import numpy as np
import pandas as pd
import pytest

from cxrkeras.errors import ScoreInputError
from cxrkeras.render import style
from cxrkeras.render.localization import save_localization_figure

METHODS = ["gradcam", "gradcam++", "layercam", "eigencam", "scorecam", "ms-gradcam++", "saliency", "ig"]
LEVELS = {"area": 0.1, "centre": 0.13, "mean_mask": 0.17, "random_weights": 0.08}


def tables(methods=METHODS, findings=(("Pneumonia", "PNEUMONIA"),), metrics=("iou", "hit", "mass", "rank")):
    about = [
        {"finding": finding, "class": name, "annotator": "union", "method": method, "metric": metric}
        for finding, name in findings
        for method in methods
        for metric in metrics
    ]
    summary = [
        row
        | {"mean": 0.2 + 0.01 * methods.index(row["method"]), "n": 77, "n_patients": 65, "status": "ok"}
        | {"ci_low": 0.15, "ci_high": 0.3, "n_nan": 0, "n_degenerate": 0, "bootstrap": "patient"}
        for row in about
    ]
    chance = [
        row | {"against": name, "chance": level + (name == "random_weights") * 0.01 * methods.index(row["method"])}
        for row in about
        for name, level in LEVELS.items()
    ]
    return pd.DataFrame(summary), pd.DataFrame(chance)


@pytest.fixture
def panels(monkeypatch):
    """Return a function that draws and gives the axes of the panels, in reading order."""

    def draw(summary, chance, **options):
        kept = []
        with monkeypatch.context() as patch:
            patch.setattr(style, "write_png", lambda fig, target: kept.extend(fig.axes))
            save_localization_figure("", summary, chance, **options)
        return [ax for ax in kept if ax.get_title(loc="left")]

    return draw


def points(ax, marker):
    """Places ``[n, 2]`` of the marks of a kind, leftmost and topmost first."""
    marks = [line for line in ax.lines if line.get_marker() == marker]
    return np.array(sorted((float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in marks))


def test_values_intervals_and_chance_stand_where_they_belong(panels):
    summary, chance = tables(METHODS[:3])
    iou, hit, mass = panels(summary, chance)
    assert [ax.get_title(loc="left") for ax in (iou, hit, mass)] == ["IoU", "hit rate", "mass inside"]
    for ax in (iou, hit, mass):
        assert points(ax, "o") == pytest.approx(np.array([(0.2, 0), (0.21, 1), (0.22, 2)]))
        assert points(ax, "v") == pytest.approx(np.array([(0.08, 0), (0.09, 1), (0.1, 2)]))
        assert points(ax, "+") == pytest.approx(np.array([(0.13, line) for line in range(3)]))
        assert points(ax, "x") == pytest.approx(np.array([(0.17, line) for line in range(3)]))
        spans = [tuple(map(float, line.get_xdata())) for line in ax.lines if len(line.get_xdata()) == 2]
        assert spans.count((0.15, 0.3)) == 3
        area = [line.get_ydata() for line in ax.lines if tuple(line.get_xdata()) == (0.1, 0.1)]
        assert np.sort(np.concatenate(area)).tolist() == [-0.5, 0.5, 0.5, 1.5, 1.5, 2.5]


def test_a_chance_for_all_methods_counts_for_each(panels):
    summary, chance = tables(METHODS[:2])
    shared = chance[(chance["against"] == "centre") & (chance["method"] == "gradcam")].assign(method=float("nan"))
    ax = panels(summary, shared)[0]
    assert points(ax, "+") == pytest.approx(np.array([(0.13, 0), (0.13, 1)]))


def test_findings_share_the_axis_of_a_metric(panels):
    summary, chance = tables(METHODS[:1], (("A", "A"), ("B", "B")))
    summary.loc[(summary["finding"] == "B") & (summary["metric"] == "iou"), "ci_high"] = 0.6
    drawn = panels(summary, chance)
    assert drawn[0].get_xlim() == drawn[3].get_xlim()
    assert drawn[0].get_xlim()[1] == pytest.approx(0.648)
    assert drawn[1].get_xlim()[1] == pytest.approx(0.324)


def test_eight_methods_and_three_findings_stay_readable(drawn_texts, assert_apart_and_inside):
    findings = (("Pneumonia", "PNEUMONIA"), ("Lung Opacity", "PNEUMONIA"), ("A finding of a long name " * 4, "X"))
    summary, chance = tables(findings=findings)
    few = summary["finding"] == "Lung Opacity"
    summary.loc[few, ["ci_low", "ci_high", "n_patients", "status"]] = [np.nan, np.nan, 7, "too_few_patients"]
    lost = (summary["finding"] == "Pneumonia") & (summary["method"] == "ig")
    summary.loc[lost, ["mean", "ci_low", "ci_high", "n", "n_nan", "n_degenerate"]] = [np.nan, np.nan, np.nan, 0, 77, 77]
    summary.loc[lost, "status"] = "undefined"
    texts, size = drawn_texts(save_localization_figure, summary, chance, title="nih-random, epoch 20, split test")
    words = [text for text, _ in texts]
    assert words.count("undefined: degenerate") == 3
    assert "77 films, 7 patients · hollow: too few patients" in words
    assert "0–77 films, 65 patients · degenerate: ig 77" in words
    assert {"chance: area", "centre Gaussian", "mean mask of other patients", "random weights"} <= set(words)
    assert "mean, 95 % interval over patients" in words
    assert_apart_and_inside(texts, size)


def test_needing_care_is_hollow(panels):
    summary, chance = tables(METHODS[:2])
    summary.loc[summary["method"] == "gradcam", "status"] = "too_few_patients"
    faces = [line.get_markerfacecolor() for line in panels(summary, chance)[0].lines if line.get_marker() == "o"]
    assert faces == ["white", style.OKABE_ITO[0]]


def test_without_chance_and_with_a_watermark(drawn_texts):
    summary, chance = tables(METHODS[:1])
    texts, _ = drawn_texts(save_localization_figure, summary, chance.iloc[:0], watermark="head not trained")
    words = {text for text, _ in texts}
    assert "head not trained" in words
    assert not {"chance: area", "centre Gaussian"} & words


def test_tables_that_cannot_be_drawn_are_refused():
    summary, chance = tables(METHODS[:1])
    with pytest.raises(ScoreInputError, match="Missing: mean"):
        save_localization_figure("", summary.drop(columns="mean"), chance)
    with pytest.raises(ScoreInputError, match="needs rows of iou, hit, mass"):
        save_localization_figure("", summary[summary["metric"] == "rank"], chance)
