"""Pixels of overlays against the blend's formula, and what the annotated pictures say."""

import io

import matplotlib
import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from cxrkeras import maps
from cxrkeras.errors import FilmError, ScoreInputError, UsageError
from cxrkeras.render import style
from cxrkeras.render.overlay import ALPHA, COLOURS, caption, contact_sheet, overlay, probability_text, save_overlay

FILM = np.linspace(10, 240, 48 * 40, dtype=np.float32).reshape(48, 40)
PEAK = np.zeros((7, 7), np.float32)
PEAK[0, 0] = 3.0


def written(draw, *args, **options):
    file = io.BytesIO()
    draw(file, *args, **options)
    file.seek(0)
    return np.asarray(Image.open(file).convert("RGB"))


def test_pixels_are_the_blend_of_film_and_colour():
    heat = np.random.default_rng(0).random((7, 7)).astype(np.float32)
    resized = maps.resize(heat[None], (48, 40))[0].astype(float)
    t = ((resized - resized.min()) / (resized.max() - resized.min()))[..., None]
    colour = 255 * colormaps[COLOURS](t[..., 0])[..., :3]
    expected = (1 - ALPHA * t) * FILM[..., None] + ALPHA * t * colour
    assert np.abs(overlay(FILM, heat) - expected).max() <= 1.5


def test_no_heat_is_the_film_and_most_heat_the_last_colour():
    film = np.full((14, 14), 100, np.float32)
    picture = overlay(film, PEAK)
    assert picture.shape == (14, 14, 3)
    assert picture.dtype == np.uint8
    assert (picture[7:, 7:] == 100).all()
    top = np.rint(0.4 * 100 + 0.6 * 255 * np.array(colormaps[COLOURS](1.0)[:3]))
    assert np.array_equal(picture[0, 0], top)


@pytest.mark.parametrize("corner", [(0, 0), (0, -1), (-1, 0), (-1, -1)])
def test_heat_lands_in_its_corner(corner):
    heat = np.zeros((7, 5), np.float32)
    heat[corner] = 1
    changed = (overlay(np.full((70, 40), 90, np.float32), heat) != 90).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert changed[corner]
    assert (rows.mean() < 35) == (corner[0] == 0)
    assert (columns.mean() < 20) == (corner[1] == 0)


@pytest.mark.parametrize(
    "heat", [np.zeros((7, 7)), np.full((7, 7), 5.0), np.full((7, 7), np.nan), np.where(PEAK, np.inf, 0)]
)
def test_degenerate_map_leaves_the_film(heat):
    expected = np.repeat(np.rint(FILM)[..., None], 3, axis=2)
    assert np.array_equal(overlay(FILM, heat), expected)


def test_scale_and_offset_of_a_map_do_not_matter():
    heat = np.random.default_rng(1).random((12, 12)).astype(np.float32)
    difference = overlay(FILM, heat).astype(int) - overlay(FILM, 40 * heat - 7)
    assert np.abs(difference).max() <= 1


def test_more_heat_is_lighter_for_every_eye():
    red, green, blue = colormaps[COLOURS](np.linspace(0, 1, 64))[:, :3].T ** 2.2
    assert (np.diff(0.2126 * red + 0.7152 * green + 0.0722 * blue) > 0).all()


def test_film_outside_the_grey_range_is_clipped():
    picture = overlay(np.array([[-5.0, 300.0]]), np.zeros((2, 2)))
    assert picture[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize(
    ("film", "heat", "error", "words"),
    [
        (np.zeros((4, 4, 3)), PEAK, FilmError, r"Received shape \(4, 4, 3\)"),
        (np.full((4, 4), np.nan), PEAK, FilmError, "must be finite"),
        (FILM, PEAK[None], ScoreInputError, r"Received shape \(1, 7, 7\)"),
    ],
)
def test_wrong_arrays_are_refused(film, heat, error, words):
    with pytest.raises(error, match=words):
        overlay(film, heat)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.97, "p = 0.970"), (0.99996, "p > 0.999"), (1.0, "p = 1.000"), (1e-7, "p < 0.001"), (np.nan, "p –")],
)
def test_probabilities_are_not_rounded_to_certainty(value, text):
    assert probability_text(value) == text
    assert caption("NORMAL", value) == f"NORMAL\n{text}"


def test_saved_picture_has_its_size_and_both_panels(tmp_path):
    path = tmp_path / "one.png"
    save_overlay(path, FILM, PEAK, class_name="NORMAL", probability=0.9, method="gradcam", layer="relu", epoch=3)
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert picture.shape == (round((0.6 + 3.6 * 1.2 + 0.4) * 150), 1290, 3)
    coloured = np.ptp(picture, axis=2) > 20
    assert not coloured[100:600, 45:585].any()
    assert coloured[95:150, 615:700].any()
    assert not coloured[400:600, 800:1150].any()


def test_same_picture_same_bytes():
    options = {"class_name": "NORMAL", "probability": 0.9, "method": "gradcam"}
    first, second = io.BytesIO(), io.BytesIO()
    save_overlay(first, FILM, PEAK, **options)
    save_overlay(second, FILM, PEAK, **options)
    assert first.getvalue() == second.getvalue()


def test_degenerate_picture_says_so_and_shows_no_heat(drawn_texts):
    options = {"class_name": "NORMAL", "probability": 0.9, "method": "gradcam"}
    picture = written(save_overlay, FILM, np.zeros((7, 7)), **options).astype(int)
    assert not (np.ptp(picture[90:600], axis=2) > 20)[:, :1150].any()
    words = [text for text, _ in drawn_texts(save_overlay, FILM, np.zeros((7, 7)), **options)[0]]
    assert "degenerate" in words
    assert "heat, min–max" not in words
    assert any(word.startswith("degenerate: the map is constant") for word in words)


def test_status_and_facts_are_printed(drawn_texts, assert_apart_and_inside):
    texts, size = drawn_texts(
        save_overlay, FILM, PEAK, class_name="VIRUS", probability=0.8, method="eigencam", layer="relu", epoch=4,
            status="ambiguous_sign", title="film.png",
    )  # fmt: skip
    words = [text for text, _ in texts]
    assert {"VIRUS", "p = 0.800", "eigencam · layer relu · epoch 4", "film.png", "ambiguous sign"} <= set(words)
    assert "ambiguous_sign: the sign of the component is a convention" in words
    assert_apart_and_inside(texts, size)


def test_long_and_strange_names_stay_inside(drawn_texts, assert_apart_and_inside):
    name = "consolidation $x_1$ \n with effusion 日本 " * 4
    texts, size = drawn_texts(
        save_overlay, FILM, PEAK, class_name=name, probability=0.5, method="ms-gradcam++",
        layer="conv5_block32_concat," * 5, epoch=100, status="a_status_of_tomorrow", title=name * 2,
    )  # fmt: skip
    assert_apart_and_inside(texts, size)
    assert sum("…" in text for text, _ in texts) == 3


def test_shortened_text_keeps_both_ends_and_uses_its_room():
    with style.drawing():
        fig = style.new_figure(4, 1)
        text = style.label(fig, 0, 0, "PNEUMONIA of bacterial origin", 1.2)
        assert text.get_text().startswith("PNEU")
        assert text.get_text().endswith("gin")
        assert 1.0 < style.width_of(text) <= 1.2


def test_contact_sheet_places_every_tile(drawn_texts, assert_apart_and_inside):
    films = [np.full((20, 20), 40.0 * i, np.float32) for i in range(5)]
    picture = written(contact_sheet, films, [np.zeros((7, 7))] * 5, ["a"] * 5, columns=3)
    side = 2.2
    for place in range(5):
        row, column = divmod(place, 3)
        x = round((0.3 + column * (side + 0.12) + side / 2) * 150)
        y = round((0.2 + row * (side + 0.265) + side / 2) * 150)
        assert (picture[y, x] == 40 * place).all()
    texts, size = drawn_texts(
        contact_sheet, films * 4, [PEAK] * 20, [caption("a very long class name", 0.5)] * 20, title="t"
    )
    assert sum(text == "p = 0.500" for text, _ in texts) == 20
    assert_apart_and_inside(texts, size)


def test_contact_sheet_is_bounded():
    with pytest.raises(UsageError, match=r"holds 1\.\.48 films\. Received 49"):
        contact_sheet(io.BytesIO(), [FILM] * 49, [PEAK] * 49, [""] * 49, columns=8)
    with pytest.raises(UsageError, match=r"holds 1\.\.12 films\. Received 13"):
        contact_sheet(io.BytesIO(), [FILM] * 13, [PEAK] * 13, [""] * 13, columns=1)
    with pytest.raises(ScoreInputError, match=r"expected 2 heats, one per film\. Received 1"):
        contact_sheet(io.BytesIO(), [FILM] * 2, [PEAK], [""] * 2)
    with pytest.raises(FilmError, match="one grey plane"):
        contact_sheet(io.BytesIO(), [FILM[0]], [PEAK], [""])
    tall = written(contact_sheet, [FILM] * 12, [PEAK] * 12, [""] * 12, columns=1)
    assert max(tall.shape) < 6000


def test_a_fine_map_keeps_its_peak_in_a_small_tile():
    heat = np.zeros((600, 600), np.float32)
    heat[:, 299] = 1
    films = [np.full((100, 100), 60, np.float32)]
    picture = written(contact_sheet, films, [heat], ["a"]).astype(int)
    middle = round((0.3 + 1.1) * 150)
    assert np.ptp(picture[150, middle - 3 : middle + 3], axis=1).max() > 20


def test_callers_matplotlib_is_left_alone():
    with matplotlib.rc_context({"font.size": 33, "axes.facecolor": "red", "text.color": "blue"}):
        before = dict(matplotlib.rcParams)
        inside = written(save_overlay, FILM, PEAK, class_name="a", probability=0.5, method="m")
        assert dict(matplotlib.rcParams) == before
    outside = written(save_overlay, FILM, PEAK, class_name="a", probability=0.5, method="m")
    assert np.array_equal(inside, outside)
