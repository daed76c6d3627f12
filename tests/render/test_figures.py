"""What the summary draws: the curves' numbers, their gaps, and a layout without collisions."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrkeras.errors import ScoreInputError, UsageError
from cxrkeras.render import curves, style
from cxrkeras.render.figures import Tile, summary_figure

METHODS = ["gradcam", "gradcam++", "layercam", "eigencam", "scorecam", "ms-gradcam++"]
PEAK = np.zeros((7, 7), np.float32)
PEAK[2, 2] = 1


def history(epochs=12, boundary=4):
    stages = ["transfer_learning"] * boundary + ["fine_tuning"] * (epochs - boundary)
    auc = np.linspace(0.7, 0.99, epochs)
    return pd.DataFrame({"epoch": range(1, epochs + 1), "stage": stages[:epochs], "val_auc": auc})


def scores(methods=METHODS, epochs=(4, 8, 12)):
    rows = [
        (e, m, c, level, 0.5 + 0.01 * e - 0.002 * i, 0.45, 0.75, "ok")
        for i, m in enumerate(methods)
        for e in epochs
        for c, level in (("macro", "global"), ("NORMAL", "class"))
    ]
    columns = ["epoch", "method", "class", "level", "score", "ci_low", "ci_high", "status"]
    return pd.DataFrame(rows, columns=columns)


def tiles(methods=METHODS, classes=("NORMAL", "VIRUS")):
    film = np.full((32, 32), 120, np.float32)
    return [Tile(film, PEAK, c, 0.9, m, image=f"{c}.png") for c in classes for m in methods]


def score_axes(table, epochs=history()):  # noqa: B008
    fig = style.new_figure(10, 5)
    ax = style.panel(fig, 1, 1, 3.5, 2.2)
    macro = table[table["class"] == "macro"]
    curves.score_panel(ax, epochs, macro, list(dict.fromkeys(table["method"])), (0.4, 12.6))
    return ax


def line(ax, gid):
    return next(one for one in ax.lines if one.get_gid() == gid)


def test_curves_hold_the_macro_rows_in_epoch_order():
    table = scores(["gradcam"], (8, 4, 12))
    drawn = line(score_axes(table), "gradcam")
    assert drawn.get_xdata().tolist() == [4, 8, 12]
    assert drawn.get_ydata() == pytest.approx([0.54, 0.58, 0.62])


def test_undefined_score_is_a_gap_and_a_cross_below_every_score():
    table = scores(["gradcam", "layercam"])
    lost = (table["method"] == "gradcam") & (table["epoch"] == 8)
    table.loc[lost, ["score", "ci_low", "ci_high"]] = np.nan
    table.loc[lost, "status"] = "too_few_gold"
    ax = score_axes(table)
    assert np.isnan(line(ax, "gradcam").get_ydata()).tolist() == [False, True, False]
    cross = line(ax, "undefined gradcam")
    assert cross.get_xdata().tolist() == [8]
    assert ax.get_ylim()[0] < cross.get_ydata()[0] < 0.45
    assert not any(ax.get_ylim()[0] < tick < 0.44 for tick in ax.get_yticks())
    assert any("× undefined: too few gold" in text.get_text() for text in ax.texts)


def test_a_method_without_any_score_is_still_named():
    table = scores(["gradcam", "layercam"])
    table.loc[table["method"] == "gradcam", ["score", "ci_low", "ci_high"]] = np.nan
    assert {"gradcam", "layercam"} <= {text.get_text() for text in score_axes(table).texts}


def test_doubtful_score_has_a_hollow_marker():
    table = scores(["gradcam"])
    table.loc[table["epoch"] == 12, "status"] = "approximate"
    ax = score_axes(table)
    hollow = [one for one in ax.lines if one.get_markerfacecolor() == "white" and len(one.get_xdata())]
    assert [one.get_xdata().tolist() for one in hollow] == [[12]]
    assert any("hollow: approximate" in text.get_text() for text in ax.texts)


def test_stage_boundary_lies_between_the_stages():
    ax = score_axes(scores())
    assert line(ax, "stage boundary").get_xdata() == [4.5, 4.5]
    assert {"transfer learning", "fine tuning"} <= {text.get_text() for text in ax.texts}


def test_test_auc_is_drawn_where_given_and_gaps_stay():
    table = history()
    table["test_auc"] = table["val_auc"] - 0.05
    table.loc[3, "val_auc"] = np.nan
    ax = style.panel(style.new_figure(10, 5), 1, 1, 3, 2)
    curves.auc_panel(ax, table, (0.4, 12.6))
    assert np.isnan(line(ax, "validation").get_ydata()[3])
    assert line(ax, "test").get_ydata() == pytest.approx(table["test_auc"])


def test_methods_differ_in_colour_marker_and_line():
    ax = score_axes(scores())
    looks = [(one.get_color(), one.get_marker(), str(one.get_linestyle())) for one in (line(ax, m) for m in METHODS)]
    assert len({colour for colour, *_ in looks}) == len({marker for _, marker, _ in looks}) == len(METHODS)
    assert len(set(map(str, style.LINES))) == len(set(style.MARKERS)) == len(set(style.OKABE_ITO)) == 8


def test_labels_are_moved_apart_but_not_reordered():
    placed = curves._apart([0.5, 0.5, 0.51, 0.9, 0.99], 0.1, 1.0)
    assert (np.diff(placed) >= 0.1 - 1e-12).all()
    assert placed.max() <= 1.0
    assert placed[0] == 0.5


@pytest.mark.parametrize("case", ["full", "one checkpoint", "nothing yet", "eight films", "long names"])
def test_texts_never_collide(drawn_texts, assert_apart_and_inside, case):
    table, epochs, grid, title = scores(), history(), tiles(), "demo"
    if case == "one checkpoint":
        table, epochs, grid = scores(epochs=(1,)), history(1), tiles(METHODS[:1])
    elif case == "nothing yet":
        table, epochs, grid, title = scores()[:0], history()[:0], [], ""
    elif case == "eight films":
        grid = tiles(METHODS, [f"class {i}" for i in range(8)])
        table.loc[table["method"] == "scorecam", "score"] = np.nan
    elif case == "long names":
        long = [f"a method whose name $never_{i}$ ends" for i in range(8)]
        table, grid, title = scores(long), tiles(long, ["consolidation with pleural effusion 日本"]), "title " * 60
    assert_apart_and_inside(*drawn_texts(summary_figure, epochs, table, grid, title=title))


def test_missing_and_degenerate_maps_are_named(drawn_texts):
    grid = tiles(METHODS[:2])
    blank = Tile(grid[0].film, PEAK * 0, "NORMAL", 0.9, "gradcam", image="NORMAL.png")
    texts, _ = drawn_texts(summary_figure, history(), scores(), [blank, *grid[1:3]])
    words = [text for text, _ in texts]
    assert words.count("degenerate") == 1
    assert words.count("not computed") == 1
    assert words.count("p = 0.900") == 2


def test_summary_is_a_png_ten_inches_wide():
    file = io.BytesIO()
    summary_figure(file, history(), scores(), tiles(), title="demo")
    picture = Image.open(file)
    assert (picture.format, picture.width) == ("PNG", 1500)


def test_tables_that_do_not_fit_are_refused():
    with pytest.raises(ScoreInputError, match=r"scores table lacks level\. Expected epoch, method"):
        summary_figure(io.BytesIO(), history(), scores().drop(columns="level"), [])
    with pytest.raises(ScoreInputError, match="Received several for gradcam at epoch 4"):
        summary_figure(io.BytesIO(), history(), pd.concat([scores(), scores()]), [])
    with pytest.raises(UsageError, match="Received 9 and 0"):
        summary_figure(io.BytesIO(), history(), scores([f"m{i}" for i in range(9)]), [])
