"""The phantom: same bytes from same options, honest splits, exact masks, shortcuts that change nothing else."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict
from inspect import Parameter, signature
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage

from cxrkeras.data import phantom
from cxrkeras.data.phantom import cached_phantom, generate_phantom, tag_box
from cxrkeras.errors import DataError, UsageError

SIZE = 64


def pixels_of(path, side=None):
    with Image.open(path) as film:
        return np.array(film.convert("F").resize((side, side), Image.Resampling.BILINEAR) if side else film)


def films_of(manifest, frame=None):
    frame = pd.read_csv(manifest) if frame is None else frame
    return {path: pixels_of(manifest.parent / path) for path in frame["path"]}


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return generate_phantom(tmp_path_factory.mktemp("full") / "phantom", films=200)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return generate_phantom(tmp_path_factory.mktemp("plain") / "phantom", films=40, size=SIZE, seed=4)


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    return generate_phantom(tmp_path_factory.mktemp("five") / "phantom", films=100, classes=5, size=SIZE, seed=1)


def test_same_options_give_the_same_bytes_and_another_seed_does_not(plain, tmp_path):
    again = generate_phantom(tmp_path / "again", films=40, size=SIZE, seed=4)
    other = generate_phantom(tmp_path / "other", films=20, size=SIZE, seed=5)
    files = sorted(path.relative_to(plain.parent) for path in plain.parent.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again.parent) for path in again.parent.rglob("*") if path.is_file())
    assert all((plain.parent / file).read_bytes() == (again.parent / file).read_bytes() for file in files)
    assert plain.read_bytes() != other.read_bytes()


def test_default_films_and_splits():
    options = phantom.PhantomOptions()
    assert Counter((film.split, film.label) for film in phantom._plan(options)) == {
        (split, label): n for split, n in (("train", 120), ("val", 30), ("test", 50)) for label in ("normal", "lobar")
    }
    defaults = {name: parameter.default for name, parameter in signature(generate_phantom).parameters.items()}
    assert {"out": Parameter.empty, **asdict(options)} == defaults


def test_a_manifest_says_what_is_in_the_folder(full):
    frame = pd.read_csv(full)
    assert tuple(frame.columns) == phantom.COLUMNS
    counts = frame.groupby(["split", "label"]).size().to_dict()
    assert counts == {
        (split, label): n for split, n in (("train", 60), ("val", 15), ("test", 25)) for label in ("normal", "lobar")
    }
    assert not frame["shortcut"].any()
    assert frame["path"].is_monotonic_increasing
    with Image.open(full.parent / frame["path"][0]) as film:
        assert (film.mode, film.size) == ("L", (128, 128))


def test_a_patient_has_one_split_one_label_one_sex_and_up_to_three_films(full):
    frame = pd.read_csv(full)
    by_patient = frame.groupby("patient")
    assert (by_patient[["split", "label", "sex"]].nunique() == 1).all(axis=None)
    assert set(by_patient.size()) == {1, 2, 3}
    assert 0.35 < (by_patient["sex"].first() == "F").mean() < 0.65
    assert not frame["path"].str.contains("normal|lobar").any()


def test_no_two_films_are_alike(full):
    assert len({film.tobytes() for film in films_of(full).values()}) == 200


@pytest.mark.parametrize("name", ["full", "five"])
def test_box_is_the_bounding_box_of_the_mask_and_normal_has_neither(name, request):
    manifest = request.getfixturevalue(name)
    frame = pd.read_csv(manifest)
    lesion = frame["label"] != "normal"
    boxes = ["box_x", "box_y", "box_w", "box_h"]
    assert frame.loc[~lesion, ["mask", *boxes]].isna().all(axis=None)
    assert frame.loc[lesion, ["mask", *boxes]].notna().all(axis=None)
    assert len(list((manifest.parent / "masks").iterdir())) == lesion.sum()
    for row in frame[lesion].itertuples():
        mask = pixels_of(manifest.parent / row.mask)
        assert set(np.unique(mask)) == {0, 255}
        rows, columns = ndimage.find_objects(mask // 255)[0]
        assert (columns.start, rows.start) == (row.box_x, row.box_y)
        assert (columns.stop - columns.start, rows.stop - rows.start) == (row.box_w, row.box_h)


def test_lobar_area_and_place(full):
    frame = pd.read_csv(full).query("label == 'lobar'")
    masks = np.stack([pixels_of(full.parent / name) > 0 for name in frame["mask"]])
    share = masks.mean(axis=(1, 2))
    assert share.min() >= 0.035
    assert share.max() <= 0.10
    centres = np.array([ndimage.center_of_mass(mask) for mask in masks]) / 128
    assert 0.35 < (centres[:, 1] < 0.5).mean() < 0.65
    # A lobe takes about half of one lung: the middle of a lung is in most lesions of its side, and in few of the other.
    assert np.std(centres[:, 0]) > 0.07
    assert masks.mean(axis=0).max() < 0.65


def test_lesion_pixels_differ_from_the_same_film_without_it_and_others_hardly_do(monkeypatch, tmp_path):
    options = {"films": 24, "size": 96, "seed": 2}
    ill = generate_phantom(tmp_path / "ill", **options)
    monkeypatch.setattr(phantom, "draw_lesion", lambda kind, rng: None)
    healthy = films_of(generate_phantom(tmp_path / "healthy", **options))
    frame = pd.read_csv(ill)
    for row in frame.itertuples():
        change = np.abs(pixels_of(ill.parent / row.path).astype(float) - healthy[row.path])
        if row.label == "normal":
            assert change.max() == 0
            continue
        mask = pixels_of(ill.parent / row.mask) > 0
        far = ~ndimage.binary_dilation(mask, iterations=6)
        assert change[mask].mean() > 8
        assert change[mask].mean() > 8 * change[far].mean()


def test_five_classes_in_order_share_every_split(five):
    frame = pd.read_csv(five)
    counts = frame.groupby(["label", "split"]).size().unstack()
    assert set(counts.index) == set(phantom.CLASSES)
    assert (counts.nunique() == 1).all()
    assert counts.loc["nodule"].to_dict() == {"test": 5, "train": 12, "val": 3}
    areas = {
        label: np.mean([pixels_of(five.parent / name).mean() / 255 for name in rows["mask"]])
        for label, rows in frame[frame["label"] != "normal"].groupby("label")
    }
    assert areas["nodule"] < areas["effusion"] < areas["lobar"] < areas["interstitial"]


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_fewer_classes_are_the_first_ones(classes, tmp_path):
    manifest = generate_phantom(tmp_path / "out", films=24, classes=classes, size=SIZE)
    assert set(pd.read_csv(manifest)["label"]) == set(phantom.CLASSES[:classes])


@pytest.mark.parametrize("shortcut", phantom.SHORTCUTS)
def test_probability_zero_plants_nothing(shortcut, plain, tmp_path):
    manifest = generate_phantom(tmp_path / "out", films=40, size=SIZE, seed=4, shortcut=shortcut)
    assert manifest.read_bytes() == plain.read_bytes()
    expected = films_of(plain)
    assert all(np.array_equal(film, expected[path]) for path, film in films_of(manifest).items())


def test_tagged_films_equal_their_pairs_outside_the_tag(plain, tmp_path):
    manifest = generate_phantom(tmp_path / "out", films=40, size=SIZE, seed=4, shortcut="tag", shortcut_probability=0.5)
    frame, clean = pd.read_csv(manifest), films_of(plain)
    assert frame.drop(columns="shortcut").equals(pd.read_csv(plain).drop(columns="shortcut"))
    x, y, width, height = tag_box(SIZE)
    inside = np.zeros((SIZE, SIZE), bool)
    inside[y : y + height, x : x + width] = True
    for row in frame.itertuples():
        film = pixels_of(manifest.parent / row.path)
        assert np.array_equal(film[~inside], clean[row.path][~inside])
        assert np.array_equal(film, clean[row.path]) == (row.shortcut == 0)
        if row.shortcut:
            assert film[inside].max() == 255
    tags = pd.read_csv(manifest.parent / "tags.csv")
    assert tags["path"].tolist() == frame.loc[frame["shortcut"] == 1, "path"].tolist()
    assert tags.drop(columns="path").drop_duplicates().values.tolist() == [["tag", 3, 3, 5, 7, SIZE, SIZE]]
    assert not (plain.parent / "tags.csv").exists()


def test_exposure_brightens_planted_films_only_and_keeps_the_order_of_grey(plain, tmp_path):
    manifest = generate_phantom(
        tmp_path / "out", films=40, size=SIZE, seed=4, shortcut="exposure", shortcut_probability=1
    )
    clean = films_of(plain)
    for row in pd.read_csv(manifest).itertuples():
        film, pair = pixels_of(manifest.parent / row.path).astype(float), clean[row.path].astype(float)
        if row.shortcut:
            # Both were rounded once; the curve's slope is at most (1/255)^-0.25 at grey 1.
            expected = 255 * (pair / 255) ** phantom.EXPOSURE_GAMMA
            bright = pair > 20
            assert np.abs(film - expected)[bright].max() < 1.5
            assert film.mean() > pair.mean() + 5
        else:
            assert np.array_equal(film, pair)


def test_sex_follows_the_planted_patients_and_leaves_the_rest(plain, tmp_path):
    manifest = generate_phantom(tmp_path / "out", films=40, size=SIZE, seed=4, shortcut="sex", shortcut_probability=1)
    frame, before = pd.read_csv(manifest), pd.read_csv(plain)
    positive = frame["label"] == "lobar"
    assert (frame.loc[positive, "sex"] == "F").all()
    assert (frame["shortcut"] == positive).all()
    assert frame.loc[~positive, "sex"].equals(before.loc[~positive, "sex"])
    clean, planted = films_of(plain), films_of(manifest)
    same = {path: np.array_equal(clean[path], planted[path]) for path in planted}
    assert [same[path] for path in frame["path"]] == (frame["sex"] == before["sex"]).tolist()


@pytest.mark.parametrize(("probability", "expected"), [(0.1, (4, 1, 2)), (0.5, (18, 5, 8)), (1.0, (36, 9, 15))])
def test_planted_number_is_rounded_half_up_per_split_on_positives_only(probability, expected):
    options = phantom.PhantomOptions(films=120, shortcut="tag", shortcut_probability=probability)
    planted = phantom._planted(options, phantom._plan(options))
    assert tuple(sum(film.split == split for film in planted) for split in phantom.SPLITS) == expected
    assert {film.label for film in planted} == {"lobar"}


def test_planted_films_are_nested_in_probability():
    chosen = []
    for probability in (0.0, 0.1, 0.2, 0.5, 0.8, 1.0):
        options = phantom.PhantomOptions(classes=3, shortcut="exposure", shortcut_probability=probability)
        chosen.append(phantom._planted(options, phantom._plan(options)))
    assert all(small < large for small, large in pairwise(chosen))


def test_tag_box_scales_with_the_film():
    assert tag_box(128) == (6, 6, 10, 14)
    assert tag_box(64) == (3, 3, 5, 7)
    assert tag_box(512) == (26, 26, 40, 56)


def test_pixels_on_a_ridge_are_near_chance(full):
    from sklearn.linear_model import RidgeClassifier
    from sklearn.metrics import roc_auc_score

    frame = pd.read_csv(full)
    pixels = np.stack([pixels_of(full.parent / path, side=48).ravel() for path in frame["path"]])
    label, test = (frame["label"] == "lobar").to_numpy(int), (frame["split"] == "test").to_numpy()
    for alpha in (1.0, 100.0):
        ridge = RidgeClassifier(alpha=alpha).fit(pixels[~test] / 255, label[~test])
        assert roc_auc_score(label[test], ridge.decision_function(pixels[test] / 255)) <= 0.65


def test_cache_generates_once_and_keys_by_options(monkeypatch, tmp_path):
    monkeypatch.setenv("CXRKERAS_CACHE", str(tmp_path))
    first = cached_phantom(films=20, size=SIZE)
    stamp = first.stat().st_mtime_ns
    assert first.parent.parent == tmp_path / "phantom"
    assert len(first.parent.name) == 8
    assert cached_phantom(films=20, size=SIZE, seed=0) == first
    assert first.stat().st_mtime_ns == stamp
    assert cached_phantom(films=20, size=SIZE, seed=1) != first
    monkeypatch.setattr(phantom, "GENERATOR_VERSION", phantom.GENERATOR_VERSION + 1)
    assert cached_phantom(films=20, size=SIZE) != first


def test_a_killed_generation_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("CXRKERAS_CACHE", str(tmp_path))

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(phantom, "_write_film", killed)
        with pytest.raises(KeyboardInterrupt):
            cached_phantom(films=20, size=SIZE)
    assert not [path for path in (tmp_path / "phantom").iterdir() if path.is_dir()]
    assert cached_phantom(films=20, size=SIZE).exists()


def test_files_in_the_way_are_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="not an empty directory"):
        generate_phantom(tmp_path, films=20, size=SIZE)
    assert os.listdir(tmp_path) == ["mine.txt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 6}, "classes from 2 to 5, received 6"),
        ({"classes": 1}, "classes from 2 to 5, received 1"),
        ({"size": 32}, "received 32"),
        ({"seed": -1}, "received -1"),
        ({"films": 3}, "class 'normal'"),
        ({"splits": (0.5, 0.5, 0.5)}, "sum to 1"),
        ({"shortcut": "tags"}, "Did you mean 'tag'"),
        ({"shortcut": "tag", "shortcut_probability": 1.5}, "0 to 1, received 1.5"),
        ({"shortcut_probability": 0.5}, "without a shortcut"),
    ],
)
def test_options_that_make_no_sense_say_so(options, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        generate_phantom(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
