"""The border of a mask: where it runs, that it is seen on every ground, and what the overlay says of it."""

import io

import numpy as np
import pytest
from PIL import Image

from cxrkeras.errors import ScoreInputError
from cxrkeras.render import style
from cxrkeras.render.outline import border_segments
from cxrkeras.render.overlay import save_overlay, show_picture

BOX = np.zeros((8, 8), bool)
BOX[2:6, 1:4] = True


def length(mask):
    """Length of the border in pixel edges."""
    steps = np.abs(np.diff(border_segments(mask) * mask.shape[::-1], axis=1))
    return steps.sum()


def edges(mask):
    """The same, one pixel and neighbour at a time; outside nothing is marked."""
    height, width = mask.shape
    return sum(
        not (0 <= y + dy < height and 0 <= x + dx < width and mask[y + dy, x + dx])
        for y, x in np.argwhere(mask)
        for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0))
    )


def test_a_box_has_four_sides_at_the_edges_of_its_pixels():
    sides = {tuple(map(tuple, np.round(8 * piece).astype(int))) for piece in border_segments(BOX)}
    assert sides == {((1, 2), (4, 2)), ((1, 6), (4, 6)), ((1, 2), (1, 6)), ((4, 2), (4, 6))}


def test_boxes_that_overlap_have_one_border():
    union = BOX.copy()
    union[4:8, 2:8] = True
    # 3×4 and 6×4 boxes that share 2×2 pixels: perimeters 14 and 20, less that of what they share
    assert length(union) == 14 + 20 - 8


def test_a_hole_has_a_border_too():
    ring = np.ones((5, 7), bool)
    ring[2, 3] = False
    assert length(ring) == 24 + 4


@pytest.mark.parametrize("seed", range(3))
def test_border_is_every_edge_between_marked_and_not(seed):
    mask = np.random.default_rng(seed).random((9, 13)) < 0.5
    assert length(mask) == edges(mask)


def test_nothing_marked_has_no_border():
    assert border_segments(np.zeros((4, 4), bool)).shape == (0, 2, 2)


def test_only_a_plane_has_a_border():
    with pytest.raises(ScoreInputError, match=r"Received shape \(1, 8, 8\)"):
        border_segments(BOX[None])


def drawn(film, heat=None, mask=BOX, side=400):
    """A picture that fills its figure, RGB ``[side, side, 3]``."""
    file = io.BytesIO()
    with style.drawing():
        inches = side / style.DPI
        fig = style.new_figure(inches, inches)
        show_picture(fig, (0, 0, inches, inches), film, heat, outline=mask)
        style.write_png(fig, file)
    file.seek(0)
    return np.asarray(Image.open(file).convert("RGB")).astype(int)


@pytest.mark.parametrize(
    ("grey", "heat"), [(0, None), (255, None), (128, None), (128, np.linspace(0, 1, 64).reshape(8, 8))]
)
def test_the_line_is_white_on_black_on_every_ground(grey, heat):
    picture = drawn(np.full((32, 32), grey, np.float32), heat)
    # the left side of the box, at an eighth of the picture, halfway down
    across = picture[200, 42:59]
    assert across[6:11].min(axis=1).max() > 230, "a white core"
    assert across[:8].max(axis=1).min() < 60, "black left of it"
    assert across[9:].max(axis=1).min() < 60, "black right of it"


def test_only_the_border_is_touched():
    film = np.full((32, 32), 128, np.float32)
    changed = (drawn(film) != 128).any(axis=2)
    assert changed[:, :40].sum() == 0
    assert changed[110:290, 60:190].sum() == 0
    assert changed[100, 60:190].all()


def test_the_size_of_the_mask_does_not_matter():
    film = np.random.default_rng(0).uniform(0, 255, (32, 32)).astype(np.float32)
    finer = np.kron(BOX, np.ones((16, 16), bool))
    assert np.array_equal(drawn(film), drawn(film, mask=finer))


FILM = np.linspace(10, 240, 48 * 40, dtype=np.float32).reshape(48, 40)
HEAT = np.arange(49, dtype=np.float32).reshape(7, 7)
WHOSE = {"class_name": "PNEUMONIA", "probability": 0.9, "method": "gradcam"}


def test_an_overlay_names_the_line_and_prints_the_numbers(drawn_texts, assert_apart_and_inside):
    lines = ["IoU 0.143 · hit yes · mass 0.417", "marked: Lung Opacity, 8.7 % of the film"]
    texts, size = drawn_texts(
        save_overlay, FILM, HEAT, **WHOSE, outline=BOX, lines=lines, status="ambiguous_sign", title="film.png"
    )
    assert {"expert", *lines} <= {text for text, _ in texts}
    assert_apart_and_inside(texts, size)
    plain, lower = drawn_texts(save_overlay, FILM, HEAT, **WHOSE, title="film.png")
    assert "expert" not in {text for text, _ in plain}
    assert size[1] > lower[1]


def test_both_panels_of_an_overlay_have_the_outline(tmp_path):
    pictures = []
    for mask in (None, BOX):
        save_overlay(tmp_path / "one.png", FILM, HEAT, **WHOSE, outline=mask)
        pictures.append(np.asarray(Image.open(tmp_path / "one.png").convert("RGB")).astype(int))
    changed = (pictures[0] != pictures[1]).any(axis=2)
    film, heat = changed[90:600, 45:585], changed[90:600, 615:1155]
    assert film.sum() > 1000
    assert np.array_equal(film, heat)


def test_a_watermark_crosses_the_picture(drawn_texts):
    texts, size = drawn_texts(save_overlay, FILM, HEAT, **WHOSE, watermark="head not trained")
    (box,) = (box for text, box in texts if text == "head not trained")
    assert box.width > 0.5 * size[0]
    assert box.x0 >= 0
    assert box.x1 <= size[0]
