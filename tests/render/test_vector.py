"""Figures as SVG: texts stay texts and cannot become markup, and figures of one page do not share ids."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from cxrkeras.render.panels import Mark, curve_panel, histogram_panel, interval_panel, matrix_panel
from cxrkeras.render.pictures import colour_table, film_jpeg
from cxrkeras.render.style import ALERT, QUIET
from cxrkeras.render.vector import svg_texts

NAME = """<b>$x$ "&'</b>"""


def curves(values=(0.4, np.nan, 0.6)) -> pd.DataFrame:
    score = np.array(values, float)
    table = {"epoch": [1, 2, 3], "method": NAME, "score": score, "ci_low": score - 0.1, "ci_high": score + 0.1}
    return pd.DataFrame(table | {"status": ["ok", "empty_gold_list", "ok"]})


def panel(**options):
    return curve_panel(curves(), [NAME], "title", quantity="C-Score", **options)


def lines_of(figure, gid):
    return [line for line in figure.axes[0].lines if line.get_gid() == gid]


def test_texts_are_text_and_the_drawing_repeats():
    inline, alone = svg_texts(panel(), "one")
    assert "<b>" not in inline
    for text, sized in ((inline, False), (alone, True)):
        root = ElementTree.fromstring(text)
        assert NAME in [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        assert ("width" in root.attrib) == sized
        assert root.get("viewBox")
    assert "<style" not in inline
    assert ElementTree.fromstring(inline).get("aria-hidden") == "true"
    assert svg_texts(panel(), "one") == (inline, alone)


def test_figures_share_no_id_and_refer_to_their_own():
    texts = [svg_texts(panel(), name)[0] for name in ("one", "two")]
    ids = [re.findall(r' id="([^"]+)"', text) for text in texts]
    assert all(len(own) == len(set(own)) > 3 for own in ids)
    assert not set(ids[0]) & set(ids[1])
    for own, text in zip(ids, texts, strict=True):
        assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)[0]) - {""} <= set(own)
        referred = {a or b for a, b in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)}
        assert referred == set(own)


def test_an_undefined_point_is_a_cross_below_the_scores_and_a_finding_a_ring():
    figure = panel(marks=[Mark(1, NAME), Mark(2, NAME)])
    (curve,) = lines_of(figure, NAME)
    assert np.isnan(curve.get_ydata()[1])
    (cross,) = lines_of(figure, f"undefined {NAME}")
    assert cross.get_xdata() == [2]
    assert cross.get_ydata()[0] < 0.3
    rings = [line for line in figure.axes[0].lines if line.get_color() == ALERT]
    # on the curve where it has a value, on the upper edge where it has none
    assert [(list(r.get_xdata()), list(r.get_ydata()), r.get_marker()) for r in rings] == [
        ([1], [0.4], "o"),
        ([2], [0.985], "v"),
    ]


def test_ticks_are_the_checkpoints():
    figure = panel()
    assert figure.axes[0].get_xticks().tolist() == [1, 2, 3]
    named = panel(across="stage", ticks=[(1, "head"), (3, "all")])
    assert [label.get_text() for label in named.axes[0].get_xticklabels()] == ["head", "all"]


def test_intervals_histograms_and_matrices_hold_their_numbers():
    rows = pd.DataFrame({"name": ["a", "b"], "value": [0.2, np.nan], "low": [0.1, np.nan], "high": [0.4, np.nan]})
    figure = interval_panel(rows.assign(place=[3, 4]), "t", across="iou", reference=0.12, reference_name="chance")
    drawn = [line.get_xdata() for line in figure.axes[0].lines]
    assert [list(x) for x in drawn] == [[0.12, 0.12], [0.1, 0.4], [0.2]]
    assert [t.get_text() for t in figure.axes[0].texts] == ["chance", "undefined", "a", "b"]
    (span, mark) = interval_panel(rows[:1].assign(place=-1), "t", across="iou").axes[0].lines
    assert (span.get_color(), mark.get_color(), mark.get_marker()) == (QUIET, QUIET, "|")
    bins = pd.DataFrame({"pairs": ["within"] * 2, "low": [0, 0.5], "high": [0.5, 1], "share": [0.25, 0.75]})
    (step,) = histogram_panel(bins, "t", 0, across="iou").axes[0].patches
    assert step.get_data().values.tolist() == [0.25, 0.75]
    matrix = matrix_panel(["a", "b"], np.array([[1, np.nan], [np.nan, 1]]), "t")
    assert [t.get_text() for t in matrix.axes[0].texts] == ["1.00", "–", "–", "1.00"]


def test_colours_and_films_as_bytes():
    table = np.frombuffer(colour_table(), np.uint8).reshape(256, 3)
    lightness = table @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(np.convolve(lightness, np.ones(8) / 8, "valid")) > 0).all()
    assert film_jpeg(np.full((8, 8), 300.0)) == film_jpeg(np.full((8, 8), 255.0))
    assert film_jpeg(np.zeros((8, 8)))[:2] == b"\xff\xd8"


@pytest.mark.parametrize("values", [(np.nan,) * 3, (0.5, 0.5, 0.5)])
def test_flat_and_empty_curves_can_be_drawn(values):
    figure = curve_panel(curves(values), [NAME], NAME * 9, quantity="C-Score")
    inline, _ = svg_texts(figure, "x")
    assert "…" in inline
