"""Every pixel kind to grey levels, checked against values written here."""

import numpy as np
import pytest
from PIL import Image

from cxrkeras.data.images import decode_film
from cxrkeras.errors import FilmError, UsageError

GREY = np.array([[0, 10, 20], [128, 200, 255]], dtype=np.uint8)
LUMA = (0.299, 0.587, 0.114)


def saved(folder, image, name="film.png", **options):
    image.save(folder / name, **options)
    return folder / name


def overlap_weights(size, new_size):
    """Triangle filter of half-width max(1, size/new_size) around each output pixel's centre, rows summing to 1."""
    scale = size / new_size
    reach = max(1.0, scale)
    weights = np.zeros((new_size, size))
    for out in range(new_size):
        centre = (out + 0.5) * scale
        for into in range(size):
            weights[out, into] = max(0.0, 1 - abs(into + 0.5 - centre) / reach)
    return weights / weights.sum(axis=1, keepdims=True)


def independent_resize(grey, height, width):
    grey = grey.astype(np.float64)
    return overlap_weights(grey.shape[0], height) @ grey @ overlap_weights(grey.shape[1], width).T


def test_8_bit_grey_is_unchanged(tmp_path):
    film = decode_film(saved(tmp_path, Image.fromarray(GREY)))
    assert film.dtype == np.float32
    np.testing.assert_array_equal(film, GREY)


def test_grey_jpeg_matches_its_own_decoding(tmp_path):
    file = saved(tmp_path, Image.fromarray(np.full((16, 16), 77, np.uint8)), "film.jpeg", quality=95)
    np.testing.assert_array_equal(decode_film(file), np.full((16, 16), 77))


def test_16_bit_is_divided_by_257_without_rounding(tmp_path):
    values = np.array([[0, 1, 257], [1000, 32768, 65535]], dtype=np.uint16)
    film = decode_film(saved(tmp_path, Image.fromarray(values)))
    np.testing.assert_allclose(film, values / 257, rtol=1e-6)
    assert film[1, 2] == 255


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_fewer_bits_fill_the_same_scale(tmp_path, bits):
    values = np.array([[0, 1, 2**bits - 1], [7, 100, 2 ** (bits - 1)]], dtype=np.uint16)
    film = decode_film(saved(tmp_path, Image.fromarray(values)), bits=bits)
    np.testing.assert_allclose(film, values * (255 / (2**bits - 1)), rtol=1e-6)


def test_bits_do_not_touch_8_bit_films(tmp_path):
    np.testing.assert_array_equal(decode_film(saved(tmp_path, Image.fromarray(GREY)), bits=12), GREY)


def test_values_above_the_named_bits_are_refused(tmp_path):
    file = saved(tmp_path, Image.fromarray(np.array([[0, 5000]], np.uint16)))
    with pytest.raises(FilmError, match=r"film\.png has values 0\.\.5000\. Expected 0\.\.4095 for 12 bits"):
        decode_film(file, bits=12)


def test_16_bit_tiff_and_32_bit_integers(tmp_path):
    values = np.array([[0, 257, 65535]], dtype=np.uint16)
    np.testing.assert_allclose(decode_film(saved(tmp_path, Image.fromarray(values), "a.tif")), [[0, 1, 255]])
    wide = Image.fromarray(values.astype(np.int32))
    np.testing.assert_allclose(decode_film(saved(tmp_path, wide, "b.tif")), [[0, 1, 255]])
    negative = Image.fromarray(np.array([[-1, 5]], np.int32))
    with pytest.raises(FilmError, match=r"values -1\.\.5"):
        decode_film(saved(tmp_path, negative, "c.tif"))


def test_floating_point_pixels_are_refused(tmp_path):
    file = saved(tmp_path, Image.fromarray(np.zeros((2, 2), np.float32)), "a.tif")
    with pytest.raises(FilmError, match="floating-point"):
        decode_film(file)


def test_colour_becomes_unrounded_luma(tmp_path):
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]]], np.uint8)
    film = decode_film(saved(tmp_path, Image.fromarray(pixels)))
    np.testing.assert_allclose(film, pixels @ np.array(LUMA), rtol=1e-6)


def test_grey_stored_as_colour_is_exactly_grey(tmp_path):
    every = np.arange(256, dtype=np.uint8)[None]
    film = decode_film(saved(tmp_path, Image.fromarray(np.repeat(every[..., None], 3, axis=-1))))
    np.testing.assert_array_equal(film, every)


def test_transparency_is_laid_over_black(tmp_path):
    colour = np.array([[[100, 150, 200, 255], [100, 150, 200, 51], [255, 255, 255, 0]]], np.uint8)
    film = decode_film(saved(tmp_path, Image.fromarray(colour)))
    luma = 0.299 * 100 + 0.587 * 150 + 0.114 * 200
    np.testing.assert_allclose(film, [[luma, luma * 51 / 255, 0]], rtol=1e-5)
    grey = Image.fromarray(np.array([[[200, 255], [200, 51], [200, 0]]], np.uint8))
    assert grey.mode == "LA"
    np.testing.assert_allclose(decode_film(saved(tmp_path, grey, "la.png")), [[200, 40, 0]], rtol=1e-6)


def test_palette_with_and_without_transparency(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("L")
    image = image.convert("P")
    image.putpalette([0, 0, 0, 90, 90, 90, 255, 0, 0])
    np.testing.assert_allclose(decode_film(saved(tmp_path, image)), [[0, 90, 0.299 * 255]], rtol=1e-6)
    file = saved(tmp_path, image, "clear.png", transparency=1)
    np.testing.assert_allclose(decode_film(file), [[0, 0, 0.299 * 255]], rtol=1e-6)


def test_one_bit_is_black_and_white(tmp_path):
    image = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    np.testing.assert_array_equal(decode_film(saved(tmp_path, image)), [[0, 255], [255, 0]])


def test_cmyk_film(tmp_path):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, 1] = [0, 0, 0, 255]
    pixels[0, 2] = [0, 0, 0, 155]
    file = saved(tmp_path, Image.fromarray(pixels, mode="CMYK"), "film.tif")
    np.testing.assert_array_equal(decode_film(file), [[255, 0, 100]])


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, GREY),
        (2, GREY[:, ::-1]),
        (3, GREY[::-1, ::-1]),
        (4, GREY[::-1]),
        (6, np.rot90(GREY, -1)),
        (8, np.rot90(GREY)),
    ],
)
@pytest.mark.parametrize("depth", [8, 16])
def test_exif_orientation_is_applied(tmp_path, orientation, upright, depth):
    pixels = GREY if depth == 8 else GREY.astype(np.uint16) * 257
    exif = Image.Exif()
    exif[0x0112] = orientation
    film = decode_film(saved(tmp_path, Image.fromarray(pixels), exif=exif))
    np.testing.assert_array_equal(film, upright)


@pytest.mark.parametrize("size", [(5, 7), (12, 9), (24, 36), (3, 40)])
def test_squash_is_an_antialiased_bilinear_resize(tmp_path, size):
    grey = np.random.default_rng(0).integers(0, 256, (24, 18), dtype=np.uint8)
    film = decode_film(saved(tmp_path, Image.fromarray(grey)), size)
    assert film.shape == size
    np.testing.assert_allclose(film, independent_resize(grey, *size), atol=2e-3)


def test_resize_keeps_the_depth_of_16_bit_films(tmp_path):
    values = np.random.default_rng(1).integers(0, 600, (20, 20), dtype=np.uint16)
    film = decode_film(saved(tmp_path, Image.fromarray(values)), (8, 8))
    np.testing.assert_allclose(film, independent_resize(values / 257, 8, 8), atol=1e-5)


def test_pad_keeps_the_aspect_ratio_between_black_borders(tmp_path):
    grey = np.random.default_rng(2).integers(1, 256, (10, 40), dtype=np.uint8)
    file = saved(tmp_path, Image.fromarray(grey))
    film = decode_film(file, (20, 20), resize="pad")
    np.testing.assert_array_equal(film[:7], 0)
    np.testing.assert_array_equal(film[12:], 0)
    np.testing.assert_allclose(film[7:12], independent_resize(grey, 5, 20), atol=2e-3)
    tall = decode_film(saved(tmp_path, Image.fromarray(grey.T), "tall.png"), (20, 20), resize="pad")
    np.testing.assert_allclose(tall, film.T, atol=2e-3)


def test_size_is_height_then_width_and_follows_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = saved(tmp_path, Image.fromarray(np.zeros((4, 8), np.uint8)), exif=exif)
    assert decode_film(file).shape == (8, 4)
    assert decode_film(file, (3, 5)).shape == (3, 5)


def test_broken_files_name_themselves_and_the_next_step(tmp_path):
    whole = saved(
        tmp_path, Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)), "a.jpg"
    )
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    png = saved(tmp_path, Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)))
    cut_png = tmp_path / "cut.png"
    cut_png.write_bytes(png.read_bytes()[: png.stat().st_size // 2])
    text = tmp_path / "text.png"
    text.write_text("no film")
    empty = tmp_path / "empty.png"
    empty.touch()
    for file, reason in [
        (cut, "truncated"),
        (cut_png, "cannot be read"),
        (text, "not an image"),
        (empty, "not an image"),
        (tmp_path / "gone.png", "no such file"),
        (tmp_path, "Is a directory"),
    ]:
        with pytest.raises(FilmError, match=reason) as caught:
            decode_film(file)
        assert str(file) in str(caught.value)
        assert "cxrkeras data check" in str(caught.value)


def test_several_images_in_one_file_are_refused(tmp_path):
    frame = Image.fromarray(GREY)
    with pytest.raises(FilmError, match="holds 2 images"):
        decode_film(saved(tmp_path, frame, "two.tif", save_all=True, append_images=[frame]))


def test_wrong_options_are_named(tmp_path):
    file = saved(tmp_path, Image.fromarray(GREY))
    with pytest.raises(UsageError, match="Did you mean 'squash'"):
        decode_film(file, (2, 2), resize="squahs")
    with pytest.raises(UsageError, match="8 to 16, received 20"):
        decode_film(file, bits=20)


@pytest.mark.films
def test_real_films_are_read_as_stored(real_films):
    file = sorted((real_films / "kermany" / "test/NORMAL").iterdir())[0]
    film = decode_film(file)
    assert film.shape == (224, 224)
    with Image.open(file) as image:
        np.testing.assert_array_equal(film, np.asarray(image))
