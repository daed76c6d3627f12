"""Planted artefacts and columns: closed forms of what they change, for every pixel type and size; and their names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import fft

from cxrkeras.errors import CxrKerasError, DataError, UsageError
from cxrkeras.robustness import (
    LowPass,
    PlantedAlteration,
    PoissonNoise,
    Sampled,
    Tag,
    film_alterations,
    parse_confounder,
)

GREY = (0.0, 255.0)


# the letter


@pytest.mark.parametrize(("side", "step"), [(1024, 9), (512, 4), (224, 2), (128, 1), (64, 1)])
def test_the_tag_changes_eighteen_cells_inside_its_box(side, step):
    film = np.zeros((side, side), np.uint8)
    tagged = Tag().touched(film)
    changed = tagged != film
    assert changed.sum() == 18 * step**2
    assert set(tagged[changed]) == {255}
    box = Tag().region(film.shape)
    assert box.sum() == 35 * step**2
    assert not (changed & ~box).any()
    top, left = (np.flatnonzero(changed.any(axis=axis))[0] for axis in (1, 0))
    assert (top, left) == (side * 200 // 1024, side * 200 // 1024)


def test_the_tag_keeps_every_other_bit_is_idempotent_and_leaves_its_input_alone():
    film = np.random.default_rng(0).integers(0, 65536, (301, 200), dtype=np.uint16)
    before = film.copy()
    tagged = Tag().touched(film)
    np.testing.assert_array_equal(film, before)
    outside = ~Tag().region(film.shape)
    np.testing.assert_array_equal(tagged[outside], film[outside])
    np.testing.assert_array_equal(Tag().touched(tagged), tagged)
    assert (tagged == 65535).sum() >= 18 * 2**2


def test_decimal_shares_do_not_fall_a_pixel_short():
    # .29 · 100 is 28.999… and .21 · 100 / 7 is 2.999… or 3.000… in binary
    box = Tag(x=0.29, y=0.57, height=0.21).region((100, 100))
    rows, columns = np.nonzero(box)
    assert (rows.min(), columns.min()) == (57, 29)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (21, 15)


@pytest.mark.parametrize(
    ("dtype", "value_range", "white"),
    [
        (np.uint8, None, 255),
        (np.uint16, None, 65535),
        (np.uint16, (0, 4095), 4095),
        (np.float32, None, 1.0),
        (np.float64, (-1, 1), 1.0),
        (np.float32, GREY, 255.0),
    ],
)
def test_white_is_that_of_the_range_and_shape_and_type_stay(dtype, value_range, white):
    for shape in ((40, 50), (40, 50, 1), (40, 50, 3)):
        film = np.zeros(shape, dtype)
        tagged = Tag().touched(film, value_range=value_range)
        assert (tagged.shape, tagged.dtype) == (shape, dtype)
        assert tagged.max() == white
        assert (tagged.reshape(40, 50, -1).max(axis=2) > 0).sum() == 18
    half = Tag(value=0.5).touched(np.zeros((40, 50), np.uint8))
    assert half.max() == 128


def test_a_tag_beyond_the_image_is_refused_with_sizes():
    with pytest.raises(ValueError, match="7×5 pixels at row 25, column 125 reaches beyond the image of 128×128"):
        Tag(x=0.98).touched(np.zeros((128, 128), np.uint8))
    with pytest.raises(UsageError, match="shares of the image's sides"):
        Tag(x=1.2)


# the low-pass filter


@pytest.mark.parametrize(("cycles", "amplitude"), [(249, 50), (250, 50), (251, 0), (300, 0)])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_filter_cuts_where_the_study_cut(cycles, amplitude, axis):
    wave = 128 + 50 * np.cos(2 * np.pi * cycles * np.arange(1024) / 1024)
    # the other side may have any length: the cut is in cycles a pixel
    film = np.repeat(np.expand_dims(wave, 1 - axis), 30, axis=1 - axis)
    filtered = LowPass().filtered(film)
    lines = np.moveaxis(filtered, axis, -1)
    found = 2 * np.abs(fft.fft(lines))[:, cycles] / 1024
    np.testing.assert_allclose(found, amplitude, atol=1e-10)
    np.testing.assert_allclose(lines.mean(), 128, atol=1e-10)


@pytest.mark.parametrize("shape", [(64, 64), (65, 64), (64, 65), (33, 71), (5, 1)])
def test_the_filter_is_the_disk_of_the_full_spectrum(shape):
    film = np.random.default_rng(1).normal(size=shape)
    down, across = np.meshgrid(*(np.fft.fftfreq(n) / 0.5 for n in shape), indexing="ij")
    kept = np.sqrt(down**2 + across**2) <= 0.4
    expected = np.fft.ifft2(np.fft.fft2(film) * kept).real
    once = LowPass(cutoff=0.4).filtered(film)
    np.testing.assert_allclose(once, expected, atol=1e-12)
    np.testing.assert_allclose(LowPass(cutoff=0.4).filtered(once), once, atol=1e-12)


def test_white_noise_keeps_the_disk_s_share_of_its_variance():
    noise = np.random.default_rng(2).normal(size=(1024, 1024))
    share = LowPass().filtered(noise).var() / noise.var()
    assert share == pytest.approx(np.pi * (500 / 1024) ** 2 / 4, abs=1e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_a_constant_image_comes_back_bit_for_bit(dtype):
    film = np.full((37, 52, 3), 0.3 if np.issubdtype(dtype, np.floating) else 77, dtype)
    np.testing.assert_array_equal(LowPass().touched(film), film)


def test_the_filter_clips_and_rounds_integers_only():
    film = np.where(np.indices((64, 64)).sum(axis=0) % 16 < 8, 0, 255).astype(np.uint8)
    exact = LowPass(cutoff=0.3).filtered(film)
    assert exact.min() < -1
    assert exact.max() > 256
    touched = LowPass(cutoff=0.3).touched(film)
    assert touched.dtype == np.uint8
    np.testing.assert_array_equal(touched, np.rint(np.clip(exact, 0, 255)))
    floats = LowPass(cutoff=0.3).touched(film / 255)
    np.testing.assert_allclose(floats, np.clip(exact, 0, 255) / 255, atol=1e-12)
    assert LowPass().region((64, 64)) is None


def test_the_channels_of_a_colour_image_are_filtered_alike():
    film = np.random.default_rng(3).uniform(size=(31, 44, 3))
    whole = LowPass().filtered(film)
    for channel in range(3):
        np.testing.assert_allclose(whole[..., channel], LowPass().filtered(film[..., channel]), atol=1e-14)


def test_single_precision_agrees_with_double():
    film = np.random.default_rng(4).uniform(0, 255, (224, 200)).astype(np.float32)
    single = LowPass().touched(film, value_range=GREY)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, LowPass().touched(film.astype(float), value_range=GREY), atol=1e-3)


# photon noise


@pytest.mark.parametrize(("version", "sd", "sd_float"), [("untouched", 1.830, 1.783), ("touched", 2.102, 2.059)])
def test_the_noise_has_the_closed_form_s_spread(version, sd, sd_float):
    film = np.full((512, 512), 128, np.uint8)
    noisy = getattr(PoissonNoise(), version)(film)
    assert noisy.dtype == np.uint8
    assert noisy.mean() == pytest.approx(128, abs=0.05)
    assert noisy.std() == pytest.approx(sd, rel=0.01)
    exact = getattr(PoissonNoise(), version)(film.astype(float), value_range=GREY)
    assert exact.mean() == pytest.approx(128, abs=0.05)
    assert exact.std() == pytest.approx(sd_float, rel=0.01)


def test_the_two_versions_differ_by_the_noise_of_the_missing_photons_alone():
    film = np.full((512, 512), 128.0)
    noise = PoissonNoise()
    without, with_it = (v(film, value_range=GREY, seed=5) for v in (noise.untouched, noise.touched))
    attenuation = (-1200 + 128 / 255 * 2000) * (0.1837 - 0.1662) / 1000 + 0.1837
    extra = np.sqrt(np.exp(attenuation) * (1 / 1.5e7 - 1 / 2e7)) * 1000 / 0.0175 / 2000 * 255
    assert (with_it - without).std() == pytest.approx(extra, rel=0.01)
    # fewer photons may be the base as well
    other = PoissonNoise(n_base=1.5e7, n_conf=2e7)
    np.testing.assert_array_equal(other.untouched(film, value_range=GREY, seed=5), with_it)
    np.testing.assert_array_equal(other.touched(film, value_range=GREY, seed=5), without)


def test_the_noise_is_the_seed_s_and_nobody_else_s():
    film = np.full((32, 32), 100, np.uint8)
    before = np.random.get_state()[1].copy()
    first = PoissonNoise().touched(film, seed=3)
    np.testing.assert_array_equal(PoissonNoise().touched(film, seed=3), first)
    assert (PoissonNoise().touched(film, seed=4) != first).mean() > 0.5
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_noise_of_grey_in_three_channels_is_grey_and_colour_is_refused():
    film = np.repeat(np.random.default_rng(6).integers(0, 256, (20, 20, 1), dtype=np.uint8), 3, axis=2)
    noisy = PoissonNoise().touched(film)
    np.testing.assert_array_equal(noisy, np.repeat(PoissonNoise().touched(film[..., :1]), 3, axis=2))
    film[0, 0, 0] ^= 1
    with pytest.raises(UsageError, match="received colour"):
        PoissonNoise().touched(film)


def test_no_photon_is_white():
    film = np.full((16, 16), 0.5)
    assert (PoissonNoise(n_base=1e-9, n_conf=1e-9).touched(film) == 1).all()


# what all have in common


@pytest.mark.parametrize("confounder", [Tag(), LowPass(), PoissonNoise()], ids=lambda c: c.name)
def test_pixels_that_no_range_explains_are_refused(confounder):
    for version in (confounder.touched, confounder.untouched):
        with pytest.raises(UsageError, match=r"values 0\.\.255, outside its range 0\.\.1"):
            version(np.linspace(0, 255, 4096).reshape(64, 64))
        with pytest.raises(UsageError, match="outside its range"):
            version(np.full((64, 64), np.nan))
        with pytest.raises(UsageError, match=r"grey.*RGB.*\(64, 64, 4\)"):
            version(np.zeros((64, 64, 4), np.uint8))
        with pytest.raises(UsageError, match="black below white"):
            version(np.zeros((64, 64), np.uint8), value_range=(1, 1))
        with pytest.raises(UsageError, match="bool"):
            version(np.zeros((64, 64), bool))
        # resampling overshoots by less than a hundredth
        assert version(np.full((64, 64), 1.005)).max() <= 1.005


@pytest.mark.parametrize("confounder", [Tag(), LowPass()], ids=lambda c: c.name)
def test_films_without_the_artefact_are_copies(confounder):
    film = np.random.default_rng(7).integers(0, 256, (64, 64), dtype=np.uint8)
    copy = confounder.untouched(film)
    np.testing.assert_array_equal(copy, film)
    assert not np.shares_memory(copy, film)


# names


@pytest.mark.parametrize(
    ("text", "made", "name", "level", "kind"),
    [
        ("tag", Tag(), "tag", "environment", "external"),
        ("tag:x=.8,y=.1,value=1", Tag(0.8, 0.1), "tag:x=0.8,y=0.1", "environment", "external"),
        ("tag:x=200/1024", Tag(), "tag", "environment", "external"),
        ("lowpass", LowPass(), "lowpass", "environment", "imaging"),
        ("lowpass:cutoff=.3", LowPass(0.3), "lowpass:cutoff=0.3", "environment", "imaging"),
        ("noise:n_conf=1e7", PoissonNoise(n_conf=1e7), "noise:n_conf=1e+07", "environment", "imaging"),
        ("column:sex=F", Sampled("sex", "F"), "column:sex=F", "patient", "demographic"),
        ("column:View=AP", Sampled("View", "AP"), "column:View=AP", "environment", "external"),
        ("column:site=B", Sampled("site", "B"), "column:site=B", "unknown", "unknown"),
        ("column:bmi=30;kind=anatomical", Sampled("bmi", "30", "anatomical"), "column:bmi=30", "patient", "anatomical"),
    ],
)  # fmt: skip
def test_confounders_as_typed(text, made, name, level, kind):
    confounder = parse_confounder(text)
    assert confounder == made
    assert (confounder.name, confounder.level, confounder.kind) == (name, level, kind)
    assert confounder.planted is not isinstance(made, Sampled)
    assert parse_confounder(name).parameters == made.parameters


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tagg", "Did you mean 'tag'"),
        ("lowpass:cutof=.3", "Did you mean 'cutoff'"),
        ("tag:x=left", "'x=left' of confounder 'tag:x=left' is no number"),
        ("tag:x", "no number"),
        ("tag:x=.1,x=.2", "gives x twice"),
        ("tag:x=1/0", "no number"),
        ("lowpass:cutoff=0", "more than 0"),
        ("noise:n_base=-1", "count photons"),
        ("column:sex", "column:NAME=VALUE"),
        ("column:sex=F;kind=demografic", "Did you mean 'demographic'"),
        ("column:sex=F;level=patient", "column:NAME=VALUE"),
        ("", "unknown confounder ''"),
    ],
)
def test_what_cannot_be_understood_is_said(text, message):
    with pytest.raises(CxrKerasError, match=message):
        parse_confounder(text)


def test_a_column_tells_who_has_the_value():
    frame = pd.DataFrame(
        {"sex": ["F", "M", " F"], "age": [57, 3, 57], "size": [1.0, 2.5, 1.0], "site": ["1", "01", "1"]}
    )
    for column, value in (("sex", "F"), ("age", "57"), ("size", "1"), ("site", "1")):
        np.testing.assert_array_equal(Sampled(column, value).has(frame), [True, False, True])
    np.testing.assert_array_equal(Sampled("size", "2.50").has(frame), [False, True, False])
    with pytest.raises(DataError, match="Did you mean 'sex'"):
        Sampled("sexe", "F").has(frame)
    with pytest.raises(
        DataError, match=r"no film has sex=f\. Values and their films: F \(2\), M \(1\)\. Did you mean 'F'"
    ):
        Sampled("sex", "f").has(frame)
    with pytest.raises(DataError, match="2 of 4 films have no entry"):
        Sampled("sex", "F").has(pd.DataFrame({"sex": ["F", None, "", "M"]}))


# as the film store applies it


def test_an_alteration_s_key_tells_everything_that_decides_its_pixels():
    def key(text="tag", touched=True, size=(64, 64), seed=0, as_study=False):
        return film_alterations(parse_confounder(text), size, as_study=as_study, seed=seed)[touched].key

    assert key("tag").startswith("tag-")
    assert key("tag") == key("tag", seed=1) == key("tag", size=(32, 32))
    assert len({key(text) for text in ("tag", "tag:x=.3", "lowpass", "lowpass:cutoff=.3", "noise")}) == 5
    assert key("lowpass") == key("lowpass", seed=1)
    assert key("lowpass") != key("lowpass", size=(32, 32))
    assert key("lowpass", as_study=True) == key("lowpass", size=(32, 32), as_study=True)
    assert len({key("noise", touched, seed=seed) for touched in (False, True) for seed in (0, 1)}) == 4


def test_where_alterations_act_and_on_whom():
    at = {}
    for text in ("tag", "lowpass", "noise"):
        for as_study in (False, True):
            untouched, touched = film_alterations(parse_confounder(text), (96, 64), as_study=as_study)
            at[text, as_study] = touched.at
            # where films with it are resized once more than to the input, so are those without
            assert (untouched is None) == (text == "tag" or (text == "lowpass" and not as_study))
            assert untouched is None or untouched.at == touched.at
    assert at == {
        ("tag", False): None,
        ("tag", True): None,
        ("lowpass", False): (96, 64),
        ("lowpass", True): (1024, 1024),
        ("noise", False): (96, 64),
        ("noise", True): (512, 512),
    }


def test_the_noise_of_a_film_depends_on_its_name_and_the_seed():
    film = np.full((16, 16), 99.0, np.float32)
    done = PlantedAlteration(PoissonNoise(), True, None, 0)
    np.testing.assert_array_equal(done(film, "a"), done(film, "a"))
    assert done(film, "a").dtype == np.float32
    other = PlantedAlteration(PoissonNoise(), True, None, 1)
    assert not np.array_equal(done(film, "a"), done(film, "b"))
    assert not np.array_equal(done(film, "a"), other(film, "a"))
