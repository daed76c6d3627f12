"""A gallery: what stands where, one scale for all, and how much a page holds."""

import io

import numpy as np
import pytest

from cxrkeras.errors import UsageError
from cxrkeras.render.gallery import GalleryCell, GalleryRow, save_gallery

FILM = np.linspace(10, 240, 48 * 40, dtype=np.float32).reshape(48, 40)
HEAT = np.arange(49, dtype=np.float32).reshape(7, 7)
MASK = np.zeros((96, 80), bool)
MASK[20:40, 10:30] = True
NUMBERS = ("p = 0.970", "IoU 0.123 · hit yes", "mass 0.310")


def row(columns, outline=MASK, heat=HEAT, status="ok", name="00013118_008.png"):
    cells = {column: GalleryCell(heat, NUMBERS, status) for column in columns}
    return GalleryRow(FILM, name, outline, cells, ("class PNEUMONIA", "marked Lung Opacity"))


def picture(rows, columns, **options):
    file = io.BytesIO()
    save_gallery(file, rows, columns, **options)
    return file.getvalue()


def test_films_columns_and_numbers_are_named(drawn_texts, assert_apart_and_inside):
    columns = ["nih-random@20\ngradcam++", "a-run-of-a-very-long-name-that-goes-on-and-on@120\nlayercam"]
    rows = [row(columns), row(columns[:1], None, name="a-film-with-a-very-long-name-" * 3 + ".png")]
    texts, size = drawn_texts(save_gallery, rows, columns, title="Two films", note="Hit: the peak lies inside.")
    words = [text for text, _ in texts]
    assert {"Two films", "film", "nih-random@20", "gradcam++", "layercam", "00013118_008.png", "expert"} <= set(words)
    assert [words.count(line) for line in NUMBERS] == [3, 3, 3]
    assert words.count("not computed") == 1
    assert words.count("class PNEUMONIA") == 2
    assert "Hit: the peak lies inside." in words
    assert "Each map is scaled to its own minimum and maximum (0–1):" in words
    assert_apart_and_inside(texts, size)


def test_a_full_width_page_keeps_its_numbers_whole(drawn_texts, assert_apart_and_inside):
    columns = [f"run-{place}@20" for place in range(12)]
    texts, size = drawn_texts(save_gallery, [row(columns)], columns)
    assert [sum(text == line for text, _ in texts) for line in NUMBERS] == [12, 12, 12]
    assert_apart_and_inside(texts, size)


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [(13, 1, "1 to 12 films. Received 13"), (1, 13, "1 to 12 columns. Received 13"), (0, 1, "Received 0")],
)
def test_a_page_says_what_it_holds(rows, columns, words):
    names = [str(place) for place in range(columns)]
    with pytest.raises(UsageError, match=words):
        save_gallery(io.BytesIO(), [row(names)] * rows, names)


def test_every_map_has_the_same_scale_whatever_its_range():
    assert picture([row(["a"])], ["a"]) == picture([row(["a"], heat=4 * HEAT)], ["a"])
    assert picture([row(["a"])], ["a"]) != picture([row(["a"], heat=HEAT**2)], ["a"])


@pytest.mark.parametrize(
    ("heat", "status", "plate"),
    [(np.zeros((7, 7)), "ok", "degenerate"), (HEAT, "ambiguous_sign", "ambiguous sign"), (None, "no_map", "no map")],
)
def test_what_needs_care_has_a_plate(drawn_texts, heat, status, plate):
    texts, _ = drawn_texts(save_gallery, [row(["a"], heat=heat, status=status)], ["a"])
    assert [text for text, _ in texts].count(plate) == 1


def test_no_outline_no_legend_and_a_watermark_only_when_given(drawn_texts):
    plain, _ = drawn_texts(save_gallery, [row(["a"], None)], ["a"])
    marked, _ = drawn_texts(save_gallery, [row(["a"], None)], ["a"], watermark="head not trained")
    assert "expert" not in {text for text, _ in plain}
    assert {text for text, _ in marked} - {text for text, _ in plain} == {"head not trained"}
