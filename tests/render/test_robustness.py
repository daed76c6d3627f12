"""Curves over the share of artefacts: means over seeds at their places, gaps, the control, and texts that fit."""

import numpy as np
import pandas as pd
import pytest

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.render import shares, style
from cxrkeras.render.robustness import gain_panel, reliance_panel, robustness_panel, save_robustness_figure

PS = (0.0, 0.1, 0.2, 0.5, 0.8, 1.0)
SPLITS = ("iid", "reversed", "aligned", "clean", "neutral")
SLOPE = {"iid": 0.2, "reversed": -0.6, "aligned": 0.3, "clean": 0.0, "neutral": -0.1}


def results(sources=("imagenet", "random"), confounders=("tag",), seeds=(0, 1), mode="probe"):
    rows = [
        {"source": source, "arch": "compact", "mode": mode, "seed": seed, "confounder": confounder, "p": p,
         "split": split, "auc": 0.6 + SLOPE[split] * p + 0.02 * seed, "ci_lo": 0.5 + SLOPE[split] * p,
         "ci_hi": 0.8 + SLOPE[split] * p, "sensitivity": 0.7, "specificity": 0.6, "ece": 0.1 + 0.3 * p, "status": "ok"}
        for source in sources
        for confounder in confounders
        for p in PS
        for seed in seeds
        for split in SPLITS
    ]  # fmt: skip
    alone = [
        {"source": "artefact-only", "arch": "none", "mode": "control", "seed": 0, "confounder": confounder, "p": p,
         "split": "iid", "auc": (1 + p) / 2, "ci_lo": np.nan, "ci_hi": np.nan, "sensitivity": p, "specificity": 1.0,
         "ece": 0.9, "status": "ok"}
        for confounder in confounders
        for p in PS
    ]  # fmt: skip
    return pd.DataFrame([*rows, *alone])


def line(ax, name):
    (found,) = [one for one in ax.lines if one.get_gid() == name]
    return found


def test_a_split_has_the_means_over_seeds_at_their_share_and_the_control_below():
    form = pd.DataFrame({"p": PS, "split": "iid", "expected": [(1 + p) / 2 for p in PS]})
    axes = robustness_panel(results(), "tag", "auc", "AUC", control=form).axes
    iid, reverse = axes[:2]
    assert [ax.get_title(loc="left") for ax in axes[:5]] == [
        "as in training (iid)", "reversed", "clean", "neutral", "aligned",
    ]  # fmt: skip
    curve = line(iid, "imagenet compact probe")
    assert curve.get_xdata() == pytest.approx(PS)
    assert curve.get_ydata() == pytest.approx([0.61 + 0.2 * p for p in PS])
    assert line(reverse, "random compact probe").get_ydata() == pytest.approx([0.61 - 0.6 * p for p in PS])
    assert line(iid, "artefact-only").get_ydata() == pytest.approx([(1 + p) / 2 for p in PS])
    assert line(iid, "closed form").get_ydata() == pytest.approx([(1 + p) / 2 for p in PS])
    # the dots are the seeds
    dots = [one for one in iid.lines if one.get_gid() == "seeds"]
    assert sorted(dots[0].get_ydata()) == pytest.approx(sorted(0.6 + 0.2 * p + 0.02 * s for p in PS for s in (0, 1)))
    # a true scale: the ticks are the measured shares, and where two names would touch one gives way
    assert iid.get_xticks() == pytest.approx(PS)
    assert [tick.get_text() for tick in iid.get_xticklabels()] == ["0", "", "0.2", "0.5", "0.8", "1"]
    assert iid.get_ylim() == reverse.get_ylim()


def test_the_band_is_the_mean_of_the_seeds_own_limits():
    curves = shares.curves_of(results(("imagenet",)), "auc").table
    row = curves[(curves["split"] == "reversed") & (curves["p"] == 0.5)].iloc[0]
    assert (row["value"], row["low"], row["high"]) == pytest.approx((0.31, 0.2, 0.5))
    assert row["n_seeds"] == 2
    assert shares.curves_of(results(("imagenet",)), "ece").table["low"].isna().all()


def test_an_undefined_point_is_a_gap_and_one_that_lacks_a_seed_is_hollow():
    table = results(("imagenet",))
    lost = (table["split"] == "iid") & (table["source"] == "imagenet")
    table.loc[lost & (table["p"] == 0.5), ["auc", "status"]] = [np.nan, "class_absent"]
    table.loc[lost & (table["p"] == 0.2) & (table["seed"] == 1), ["auc", "status"]] = [np.nan, "not_finite"]
    figure = robustness_panel(table, "tag", "auc", "AUC")
    curve = line(figure.axes[0], "imagenet compact probe")
    assert np.isnan(curve.get_ydata()[3])
    assert np.isfinite(np.delete(curve.get_ydata(), 3)).all()
    hollow = [one for one in figure.axes[0].lines if one.get_markerfacecolor() == "white"]
    assert [one.get_xdata().tolist() for one in hollow] == [[0.2]]
    assert any("gaps: class absent" in text.get_text() for text in figure.texts)


def test_a_run_measured_as_it_is_lies_across():
    table = results(("imagenet",), seeds=(-1,), mode="trained")
    table = table[table["p"] == 0].assign(p=np.nan)
    table = pd.concat([results(("imagenet",)), table], ignore_index=True)
    figure = robustness_panel(table, "tag", "auc", "AUC")
    across = [one for one in figure.axes[1].lines if one.get_gid() is None and list(one.get_xdata()) == [0, 1]]
    assert [one.get_ydata()[0] for one in across] == pytest.approx([0.58])
    # one source in two modes is told apart, and the key of the line across is such a line
    assert {"imagenet, probe", "imagenet, trained"} <= {text.get_text() for text in figure.texts}
    keys = [one for one in figure.axes[-1].lines if one.get_color() == style.OKABE_ITO[1]]
    assert [one.get_linestyle() for one in keys] == [across[0].get_linestyle()]


def test_a_name_says_only_what_tells_it_apart():
    series = [("a", "compact", "probe"), ("b", "compact", "probe"), ("b", "ResNet50V2", "probe")]
    assert shares.series_names(series) == ["a", "b, compact", "b, ResNet50V2"]


def test_a_reliance_of_zero_by_definition_is_not_hollow():
    table = pd.DataFrame(
        {"source": "imagenet", "arch": "compact", "mode": "probe", "confounder": "tag", "p": [0.0, 1.0],
         "reliance": [0.0, 0.4], "ci_lo": [0.0, 0.3], "ci_hi": [0.0, 0.5], "status": ["baseline", "ok"]}
    )  # fmt: skip
    ax = reliance_panel(table, "tag", "Reliance").axes[0]
    assert line(ax, "imagenet compact probe").get_ydata().tolist() == [0.0, 0.4]
    assert [one for one in ax.lines if one.get_markerfacecolor() == "white" and len(one.get_xdata())] == []


def test_what_the_artefact_draws_stands_beside_its_area():
    rows = pd.DataFrame(
        [
            {"method": method, "p": p, "value": gain * p + 0.01 * seed, "ci_lo": gain * p, "ci_hi": gain * p + 0.1,
             "status": "ok"}
            for method, gain in (("gradcam", 0.0), ("layercam", 0.4))
            for p in (0.0, 1.0)
            for seed in (0, 1)
        ]
    )  # fmt: skip
    ax = gain_panel(rows, ["gradcam", "layercam"], "Mass", area=0.02).axes[0]
    assert line(ax, "layercam").get_ydata() == pytest.approx([0.005, 0.405])
    assert line(ax, "layercam").get_color() == style.OKABE_ITO[1]
    assert set(line(ax, "area").get_ydata()) == {0.02}


def test_the_whole_figure_has_a_column_a_confounder_and_its_texts_fit(drawn_texts, assert_apart_and_inside):
    table = results(confounders=("tag", "column:sex=F"))
    table = table[table["split"].isin(["iid", "clean"])]
    table = table[(table["confounder"] == "tag") | (table["split"] != "clean")]
    one = table[(table["split"] == "iid") & (table["seed"] == 0) & (table["source"] != "artefact-only")]
    options = {"title": "Two", "metrics": ("auc", "ece")}
    reliance = one.assign(reliance=0.2, ci_lo=0.1, ci_hi=0.3)
    texts, size = drawn_texts(save_robustness_figure, table, reliance, **options)
    words = [text for text, _ in texts]
    for block in ("reliance", "AUC", "calibration error"):
        assert words.count(block) == 1
    assert words.count("tag") == words.count("column:sex=F") == 3
    # sampled films have no clean set, in either quantity
    assert words.count("not measured") == 2
    assert {"imagenet", "random", "the artefact alone"} <= set(words)
    assert_apart_and_inside(texts, size)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ScoreInputError, match="Missing: split"):
        robustness_panel(results().drop(columns="split"), "tag", "auc", "AUC")
    with pytest.raises(ScoreInputError, match=r"Expected one of: tag\. Received noise"):
        robustness_panel(results(), "noise", "auc", "AUC")
    with pytest.raises(UsageError, match=r"up to 8 curves apart\. Received 9"):
        robustness_panel(results([str(i) for i in range(9)], seeds=(0,)), "tag", "auc", "AUC")
    with pytest.raises(ScoreInputError, match="Received none"):
        save_robustness_figure("", results().iloc[:0], results().iloc[:0])
