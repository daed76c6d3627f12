"""Where a film lies in the model's input, and what reports state about sides and zones."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cxrkeras.data.annotations import film_region, read_statements
from cxrkeras.data.images import decode_film
from cxrkeras.errors import DataError, UsageError
from cxrkeras.maps import resize

SIZES = [(100, 200), (200, 100), (101, 57), (57, 101), (3, 500), (64, 64), (1000, 999), (2320, 2828)]


@pytest.mark.parametrize("film", SIZES, ids=str)
@pytest.mark.parametrize("size", [(224, 224), (75, 31), (64, 65)], ids=str)
def test_the_region_of_a_padded_film_is_where_its_pixels_land(tmp_path, film, size):
    Image.fromarray(np.full(film, 255, np.uint8)).save(tmp_path / "white.png", compress_level=1)
    bright = decode_film(tmp_path / "white.png", size, "pad") > 0
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    expected = (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
    region = film_region(film, "pad", size) or (0, 0, 1, 1)
    np.testing.assert_allclose(np.multiply(region, size * 2), expected, atol=1e-9)


def test_a_film_that_fills_the_input_has_no_region():
    assert film_region((100, 200), "squash", (224, 224)) is None
    assert film_region((300, 300), "pad", (224, 224)) is None
    assert film_region((100, 200), "pad", (224, 224)) == (0.25, 0.0, 0.75, 1.0)
    with pytest.raises(UsageError, match="unknown resize 'crop'"):
        film_region((100, 200), "crop", (224, 224))


def test_a_map_of_a_padded_film_returns_to_the_films_own_pixels():
    # a map whose rows count upwards over the input: the film's middle row reads the input's middle
    ramp = np.broadcast_to(np.arange(224.0)[:, None], (224, 224))[None]
    film = resize(ramp, (100, 200), film_region((100, 200), "pad", (224, 224)))[0]
    np.testing.assert_allclose(film[:, 0], (np.arange(100) + 0.5) * 1.12 + 56 - 0.5, atol=1e-4)


def test_statements_of_side_and_zone(tmp_path):
    file = tmp_path / "reports.csv"
    file.write_text(
        "Image,Finding,Side,Zone,report\na.png,Infiltrate,Left,lower,x\nb.png,Mass,,UPPER,\nc.png,Mass,bilateral,,\n"
        "c.png,Mass,bilateral,,again\nd.png,Mass,,,\n"
    )
    frame = read_statements(file)
    assert frame.columns.tolist() == ["image", "finding", "side", "zone"]
    assert frame.to_numpy().tolist() == [
        ["a.png", "Infiltration", "left", "lower"],
        ["b.png", "Mass", "", "upper"],
        ["c.png", "Mass", "bilateral", ""],
        ["d.png", "Mass", "", ""],
    ]
    assert frame.attrs["notices"] == ["Finding 'Infiltrate' is read as 'Infiltration'."]
    file.write_text("image,label,zone\na.png,Mass,mid\n")
    assert read_statements(file).to_numpy().tolist() == [["a.png", "Mass", "", "mid"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,finding\na.png,Mass\n", r"no side or zone column"),
        ("image,side\na.png,left\n", r"no finding \(label\) column"),
        ("finding,side\nMass,left\n", r"no image column"),
        ("image,finding,side\na.png,Mass,lft\n", r"line 2: unknown side 'lft'.*Did you mean 'left'"),
        ("image,finding,zone\na.png,Mass,middle\n", r"unknown zone 'middle'.*upper, mid, lower"),
        (
            "image,finding,side\na.png,Mass,left\na.png,mass,right\n",
            r"line 3: .* stated as 'right -' here and as 'left -'",
        ),
        ("image,finding,side\n", r"states nothing"),
        ("image,finding,side\n,Mass,left\n", r"column 'image' is empty"),
    ],
)
def test_bad_statements_are_refused_by_name(tmp_path, text, message):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_statements(tmp_path / "s.csv")
