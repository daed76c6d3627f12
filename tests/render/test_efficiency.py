"""Label efficiency: means, bars and single seeds at their places, and what is said of the spread."""

import numpy as np
import pandas as pd
import pytest

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.render import style
from cxrkeras.render.efficiency import efficiency_panel, save_efficiency_figure, series_names, spread_words

SHARES = (0.01, 0.1, 1.0)


def table(sources=("imagenet",), n_seeds=3, methods=()):
    rows = [
        {"backbone": "compact", "source": source, "recipe": "linear", "fraction": share, "method": method,
         "metric": metric, "mean": 0.6 + 0.1 * place, "sd": 0.02 if n_seeds > 1 else np.nan, "n_seeds": n_seeds,
         "status": "ok" if n_seeds > 1 else "one_seed"}
        for source in sources
        for place, share in enumerate(SHARES)
        for method, metrics in (("", ("auc",)), *((m, ("iou", "hit", "mass")) for m in methods))
        for metric in metrics
    ]  # fmt: skip
    return pd.DataFrame(rows)


def drawn(fractions, **options):
    """The axes of one AUC panel."""
    return efficiency_panel(fractions, "auc", "", "AUC", **options).axes[0]


def test_means_lie_at_their_share_with_one_standard_deviation():
    ax = drawn(table())
    assert ax.get_xscale() == "log"
    curve = ax.lines[0]
    assert curve.get_xdata() == pytest.approx(SHARES)
    assert curve.get_ydata() == pytest.approx([0.6, 0.7, 0.8])
    (bars,) = ax.collections
    assert np.array(bars.get_segments()) == pytest.approx(
        np.array(
            [[(share, mean - 0.02), (share, mean + 0.02)] for share, mean in zip(SHARES, (0.6, 0.7, 0.8), strict=True)]
        )
    )
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1 %", "10 %", "100 %"]


def test_one_seed_has_no_bar_and_it_is_said(drawn_texts):
    assert not [bar for bar in drawn(table(n_seeds=1)).collections if len(bar.get_segments())]
    texts, _ = drawn_texts(save_efficiency_figure, table(n_seeds=1))
    assert "One seed a point: no bar, and nothing is known about the spread." in [text for text, _ in texts]


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((3, 3), ["Points: means over 3 seeds; bars: one standard deviation."]),
        ((5, 1), ["Points: means over 5 seeds; bars: one standard deviation.", "Points without a bar: one seed."]),
        ((5, 3, 0), ["Points: means over 3 to 5 seeds; bars: one standard deviation."]),
        ((0,), []),
    ],
)
def test_the_spread_is_described(counts, words):
    assert spread_words(pd.DataFrame({"n_seeds": pd.array(counts, "Int64")})) == words


def test_single_seeds_are_dots_beside_their_mean():
    seeds = table().assign(value=0.65, seed=1)
    dots = [line for line in drawn(table(), seeds=seeds).lines if line.get_marker() == "."]
    assert [line.get_ydata().tolist() for line in dots] == [[0.65] * 3]


def test_every_metric_and_method_has_its_panel(drawn_texts, assert_apart_and_inside):
    fractions = table(("imagenet", "random"), methods=("gradcam++", "ig"))
    lost = (fractions["method"] == "ig") & (fractions["fraction"] == 0.01)
    fractions.loc[lost, ["mean", "sd", "status"]] = [np.nan, np.nan, "undefined"]
    fractions.loc[(fractions["source"] == "random") & (fractions["metric"] == "auc"), "status"] = "head_not_trained"
    texts, size = drawn_texts(save_efficiency_figure, fractions, title="What labels buy")
    words = [text for text, _ in texts]
    assert {"AUC", "IoU, gradcam++", "hit rate, ig", "mass inside, ig", "imagenet", "random"} <= set(words)
    assert words.count("hollow: head not trained") == 1
    assert words.count("not drawn: undefined") == 3
    assert_apart_and_inside(texts, size)


def test_names_say_only_what_differs():
    series = [("ResNet50V2", "imagenet", "linear"), ("ResNet50V2", "random", "linear")]
    assert series_names(series) == ["imagenet", "random"]
    assert series_names([*series, ("ResNet50V2", "random", "finetune")]) == [
        "imagenet, linear", "random, linear", "random, finetune",
    ]  # fmt: skip


def test_too_many_curves_and_too_few_columns_are_refused():
    with pytest.raises(UsageError, match=f"up to {len(style.OKABE_ITO)} curves apart. Received 9"):
        drawn(table([str(place) for place in range(9)]))
    with pytest.raises(ScoreInputError, match="Missing: sd"):
        drawn(table().drop(columns="sd"))
