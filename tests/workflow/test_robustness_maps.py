"""Maps under the shortcut: a network whose map is known, regions to the pixel, kept feature maps, a measured probe."""

from __future__ import annotations

import sys
import types

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrkeras.data.films import FilmStore
from cxrkeras.data.filmset import FilmSet
from cxrkeras.errors import ScoreInputError
from cxrkeras.localization import film_localization
from cxrkeras.models.backbones import BACKBONES, Backbone
from cxrkeras.models.classifier import build_classifier
from cxrkeras.robustness import hidden_table, parse_confounder, reliance_table
from cxrkeras.robustness.answers import ArmAnswers, TestFilms
from cxrkeras.workflow.opened import ExplainerCache
from cxrkeras.workflow.robustness import maps_gallery
from cxrkeras.workflow.robustness.maps import arm_maps, film_masses, limited_films
from cxrkeras.workflow.robustness.maps_explained import MapMemory, explained_rows
from cxrkeras.workflow.robustness.maps_region import Regions, half_a_cell, input_region
from cxrkeras.workflow.robustness.versions import confounded_versions

SIDE, N = 32, 24
BLOCK = 20  # white pixels of every film as it is
LETTER = 18  # white pixels of the tag
TAG = parse_confounder("tag")
METHODS = ("gradcam", "gradcam++", "layercam", "eigencam")


class Source(ExplainerCache):
    """What an explainer needs of an opened source."""

    def __init__(self, classifier):
        super().__init__()
        self.classifier, self.classes = classifier, classifier.classes

    def set_head(self, weights, bias=0.0):
        """A head that says z/2 for the second class and −z/2 for the first."""
        half = np.array([-0.5, 0.5])
        head = self.classifier.model.get_layer("logits")
        head.set_weights([np.asarray(weights, np.float32)[:, None] * half, bias * half])


@pytest.fixture(scope="module")
def spot():
    """A network with one channel that is white where a pixel is, at the film's own size."""

    def build(include_top, weights, input_tensor):
        (films,) = keras.utils.get_source_inputs(input_tensor)
        tensor = keras.layers.Conv2D(1, 1, name="white")(input_tensor)
        return keras.Model(films, keras.layers.ReLU(name="relu1")(tensor))

    with pytest.MonkeyPatch.context() as patch:
        module = types.ModuleType("spot_backbone")
        module.build = build
        patch.setitem(sys.modules, module.__name__, module)
        row = Backbone("spot", "spot_backbone.build", SIDE, "tf", "relu1", {"stride1": "relu1"}, 1, None)
        patch.setitem(BACKBONES, row.name, row)
        classifier = build_classifier(row, ("healthy", "ill"), SIDE)
    # pixels come as −1..1: only white passes, as 1
    classifier.model.get_layer("white").set_weights([np.full((1, 1, 3, 1), 2 / 3), np.array([-1.0])])
    return Source(classifier)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Black films with a white block, and what is known of them."""
    folder = tmp_path_factory.mktemp("spots")
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[24:28, 22:27] = 255
    for i in range(N):
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    positive = np.arange(N) % 2 == 0
    store = FilmStore([folder / f"{i:02}.png" for i in range(N)], (SIDE, SIDE))
    names = np.array([f"{i:02}.png" for i in range(N)])
    found = FilmSet(store, np.arange(N), positive.astype(int), names, np.array([f"{i:064x}" for i in range(N)]))
    return found, TestFilms(names, positive, [f"p{i}" for i in range(N)])


@pytest.fixture(scope="module")
def versions(films):
    return confounded_versions(films[0], TAG, image_size=SIDE)


def answers_of(p=1.0, seed=0, mode="probe", touched=True):
    zeros = np.zeros(N)
    about = ("spot", "spot", mode, seed, 0, TAG.name, TAG.level, TAG.kind, p, 0.5)
    return ArmAnswers(*about, zeros, zeros if touched else None)


def measured(spot, versions, films, weight=400.0, methods=METHODS, confounder=TAG, **more):
    spot.set_head([weight])
    more = {"memory": MapMemory(), "arm": answers_of(), **more}
    arm = more.pop("arm")
    return arm_maps(spot, versions, films[1], confounder, methods, arm, **more)


def row_of(table, **where):
    for name, value in where.items():
        table = table[table[name] == value]
    (row,) = table.to_dict("records")
    return row


def test_mass_is_the_share_of_the_white_pixels_that_are_the_letter(spot, versions, films):
    found = measured(spot, versions, films)
    for split in ("aligned", "reversed"):
        mass = row_of(found.table, split=split, method="gradcam", metric="mass")
        assert mass["value"] == pytest.approx(LETTER / (LETTER + BLOCK), abs=1e-6)
        # a tag of 7 × 5 pixels
        assert mass["chance"] == pytest.approx(35 / SIDE**2)
        assert (mass["n"], mass["n_patients"], mass["status"]) == (12, 12, "ok")
        before = row_of(found.table, split=split, method="gradcam", metric="mass_before")
        assert before["value"] == 0
        gain = row_of(found.table, split=split, method="gradcam", metric="mass_gain")
        expected = [LETTER / (LETTER + BLOCK)] * 3
        assert [gain[name] for name in ("ci_lo", "value", "ci_hi")] == pytest.approx(expected, abs=1e-6)
        # equal pixels: the first in the raster, which the letter's is
        assert row_of(found.table, split=split, method="gradcam", metric="hit")["value"] == 1
    layer = found.films.query("method == 'layercam'")["mass"].to_numpy()
    assert layer == pytest.approx(np.full(N, LETTER / (LETTER + BLOCK)), abs=1e-6)


def test_c_score_is_one_where_the_maps_of_a_class_are_one_and_empty_lists_are_seen(spot, versions, films):
    table = measured(spot, versions, films).table
    at = {"method": "gradcam"}
    assert row_of(table, split="clean", metric="c_score_positive", **at)["value"] == pytest.approx(1)
    assert row_of(table, split="iid", metric="c_score_positive", **at)["value"] == pytest.approx(1)
    # everybody is called ill: no negative film is right
    negative = row_of(table, split="reversed", metric="c_score_negative", **at)
    assert np.isnan(negative["value"])
    assert negative["status"] == "empty_gold_list"
    assert row_of(table, split="reversed", metric="c_score", **at)["status"] == "undefined_class"
    assert row_of(table, split="clean", metric="n_gold", **at)["value"] == 12


def test_a_head_of_zeros_has_no_map_and_no_gold_film(spot, versions, films):
    table = measured(spot, versions, films, weight=0.0).table
    blank = table.query("method == 'gradcam' and split == 'aligned' and metric != 'hit'")
    assert blank["value"].isna().all()
    assert blank["status"].tolist() == ["degenerate"] * 3
    assert blank["n_degenerate"].tolist() == [12] * 3
    # features are all that eigencam reads
    assert row_of(table, method="eigencam", split="aligned", metric="mass_gain")["status"] == "ok"
    assert set(table.query("metric == 'n_gold'")["value"]) == {0.0}


def test_equal_versions_gain_nothing(spot, versions, films):
    same = versions.take(np.tile(np.arange(N), 2))
    table = measured(spot, same, films).table.query("metric == 'mass_gain'")
    assert (table[["value", "ci_lo", "ci_hi"]] == 0).all(axis=None)


def test_an_artefact_without_a_place_has_c_scores_only(spot, films):
    lowpass = parse_confounder("lowpass")
    found = measured(spot, confounded_versions(films[0], lowpass, image_size=SIDE), films, confounder=lowpass)
    masses = found.table[found.table["metric"].isin(["mass", "mass_before", "mass_gain", "hit"])]
    assert set(masses["status"]) == {"no_region"}
    assert masses["value"].isna().all()
    assert found.films.empty
    assert (found.table["metric"] == "c_score_positive").sum() == 4 * 3


def test_a_sampled_confounder_is_explained_on_the_films_of_each_split(spot, films):
    sampled = parse_confounder("column:sex=F")
    has = np.arange(N) % 4 < 2
    own = films[0], TestFilms(films[1].images, films[1].positive, films[1].patients, has)
    table = measured(spot, own[0], own, confounder=sampled, arm=answers_of(touched=False)).table
    table = table[table["method"] == "gradcam"]
    splits = table.query("metric == 'n_gold'")["split"].tolist()
    assert splits == ["iid", "reversed", "neutral"]
    # six of each kind of film: half of the positive ones are taken
    assert row_of(table, split="reversed", metric="n_gold")["n"] == 12
    assert row_of(table, split="reversed", metric="n_gold")["value"] == 6


def test_films_are_limited_patients_first_and_the_smaller_choice_is_in_the_larger():
    positive = np.arange(40) < 10
    patients = np.arange(40) // 2
    twelve, thirty = (limited_films(positive, patients, most) for most in (12, 30))
    assert len(twelve) == 12
    assert set(twelve) <= set(thirty)
    assert len(set(patients[twelve])) == 12
    assert positive[limited_films(positive, patients, 10)].sum() == 5
    assert limited_films(positive, patients, None).tolist() == list(range(40))


def test_limits_are_kept_and_methods_of_the_whole_network_have_their_own(spot, versions, films):
    found = measured(spot, versions, films, methods=("gradcam", "saliency"), limit=20, limit_passed=14)
    gains = found.table[found.table["metric"] == "mass_gain"]
    assert gains.groupby("method")["n"].sum().to_dict() == {"gradcam": 20, "saliency": 14}
    assert {name: heat.shape for name, heat in found.heats.items()} == {
        "gradcam": (2, 4, SIDE, SIDE),
        "saliency": (2, 4, SIDE, SIDE),
    }
    # the gradient of a sum of white pixels is the same at each of them, whatever version they are in
    assert row_of(gains, method="saliency", split="aligned")["value"] == pytest.approx(LETTER / (LETTER + BLOCK))


def test_versions_of_other_films_or_classes_are_refused(spot, versions, films):
    with pytest.raises(ScoreInputError, match="need 48 films"):
        measured(spot, versions.take(np.arange(N)), films)
    mixed = FilmSet(versions.store, versions.indices, np.zeros(2 * N, int), versions.ids, versions.hashes)
    with pytest.raises(ScoreInputError, match="one class"):
        measured(spot, mixed, films)


def test_the_region_is_the_changed_pixels_where_nothing_is_resized(versions):
    without, with_it = (versions.store.get(versions.indices[[row]])[0] for row in (0, N))
    mask = input_region(TAG.region((SIDE, SIDE)), "squash", (SIDE, SIDE))
    changed = without != with_it
    assert changed.sum() == LETTER
    assert not changed[~mask].any()
    rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
    assert mask.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)


def test_a_region_goes_where_the_film_goes():
    region = np.zeros((50, 100), bool)
    region[5:15, 20:30] = True
    padded = input_region(region, "pad", (40, 40))
    # 40 × 20 pixels with 10 black rows above: rows 10 + 5·0.4 to 10 + 15·0.4, columns 8 to 12
    expected = np.zeros((40, 40), bool)
    expected[12:16, 8:12] = True
    np.testing.assert_array_equal(padded, expected)
    squashed = input_region(region, "squash", (30, 30))
    expected = np.zeros((30, 30), bool)
    expected[3:9, 6:9] = True
    np.testing.assert_array_equal(squashed, expected)
    assert input_region(None, "squash", (30, 30)) is None


def test_masses_are_those_of_localization_and_half_chance_maps_have_the_area():
    rng = np.random.default_rng(0)
    masks = tuple(input_region(TAG.region((side, side)), "squash", (48, 48)) for side in (96, 200))
    places = np.array([0, 1, 1, 0, 1])
    regions, maps = Regions(masks, places), rng.random((5, 6, 6)).astype(np.float32)
    maps[3] = 7.0
    found = regions.masses(maps)
    tolerance = half_a_cell((48, 48), (6, 6))
    assert tolerance == 4
    for i, place in enumerate(places):
        single = film_localization(maps[i], masks[place], tolerance=tolerance)
        np.testing.assert_allclose([found.mass[i], found.hit[i]], [single["mass"], single["hit"]])
    assert np.isnan(found.mass[3])
    assert regions.areas() == pytest.approx([mask.mean() for mask in np.array(masks)[places]])
    # a chequerboard is uniform over every even box
    even = np.zeros((48, 48), bool)
    even[10:14, 20:28] = True
    board = np.indices((48, 48)).sum(axis=0)[None] % 2.0
    assert Regions((even,), np.zeros(1, int)).masses(board).mass[0] == even.mean()


def test_no_map_of_a_grid_has_more_of_its_mass_on_the_artefact_than_its_ceiling():
    mask = input_region(TAG.region((96, 96)), "squash", (48, 48))
    regions = Regions((mask,), np.zeros(20, int))
    cells = np.eye(20, dtype=np.float32).reshape(20, 4, 5)
    found, ceiling = regions.masses(cells), regions.ceilings((4, 5))
    # the best of all maps has one cell alone, and the ceiling is what it has
    np.testing.assert_allclose(ceiling, found.mass.max(), rtol=1e-6)
    mixed = np.random.default_rng(3).random((20, 4, 5)).astype(np.float32) ** 8
    assert (regions.masses(mixed).mass < ceiling).all()
    # at the input's own size a map can name the region alone
    np.testing.assert_allclose(regions.ceilings((48, 48)), 1)


def test_the_two_versions_are_paired_film_by_film():
    region = input_region(TAG.region((SIDE, SIDE)), "squash", (SIDE, SIDE))
    hot = np.where(region, 1.0, 0.0)
    other = np.roll(hot, 12, axis=0)
    maps = {"gradcam": np.stack([np.stack([other, hot]), np.stack([hot, hot + other])])}
    who = pd.DataFrame({"image": ["a", "b"], "patient": ["a", "b"], "positive": [1, 0]})
    rows = film_masses(maps, Regions((region,), np.zeros(2, int)), who)
    assert rows["mass_before"].tolist() == [0, 1]
    assert rows["mass"].tolist() == [1, 0.5]
    assert rows["hit"].tolist() == [1, 1]


@pytest.fixture(scope="module")
def compact(phantom_folder):
    """A random network, its films in two versions, and arms at p = 0 and 1 with their maps."""
    from cxrkeras.config import load_config
    from cxrkeras.sources.candidates import Candidate
    from cxrkeras.workflow.candidates import open_candidate
    from cxrkeras.workflow.robustness.data import robustness_data
    from cxrkeras.workflow.robustness.probe import fitted_arms, split_versions

    data = robustness_data(load_config(None, {"data": {"path": str(phantom_folder)}}).data)
    train = np.flatnonzero(data.frame["split"] == "train")
    opened = open_candidate(
        Candidate("drawn", "compact", "random"), data.classes, image_size=64, calibrate_on=data.films(64).take(train)
    )
    tag = parse_confounder("tag:height=.25")
    versions, known = split_versions(data.versions(tag, 64), data.test), data.test_films(tag)
    memory, arms = MapMemory(), {}
    for arm in fitted_arms(opened, data, tag, [(0, 0.0), (0, 1.0)]):
        arms[arm.answers.p] = arm.answers, arm_maps(opened, versions, known, tag, METHODS, arm.answers, memory=memory)
    return opened, versions, known, tag, arms


def test_a_probe_that_learnt_the_tag_puts_more_of_its_map_on_it(compact):
    _, _, known, _, arms = compact
    before, after = (arms[p][1].table for p in (0.0, 1.0))
    gains = [row_of(t, method="layercam", split="aligned", metric="mass_gain")["value"] for t in (before, after)]
    assert gains[1] > gains[0]
    answers = [arms[p][0] for p in arms]
    tables = [pd.concat([getattr(arms[p][1], name) for p in arms]) for name in ("table", "films")]
    hidden = hidden_table(answers, known, *tables, reliance_table(answers, known)).set_index("method")
    films = [arms[p][1].films.query("method == 'layercam'") for p in (0.0, 1.0)]
    expected = np.subtract(*[(one["mass"] - one["mass_before"]).to_numpy() for one in films[::-1]]).mean()
    assert hidden.loc["layercam", "mass_gain"] == pytest.approx(expected)
    assert hidden.loc["layercam", "ci_lo"] > 0
    # eigencam does not read the head, so nothing that the head learnt can be seen in it
    assert hidden.loc["eigencam", ["mass_gain", "ci_lo", "ci_hi", "visible"]].tolist() == [0, 0, 0, "no"]


def test_maps_from_kept_features_are_those_of_the_whole_network(compact):
    opened, versions, *_ = compact
    rows, targets = np.array([0, 3, 17, 3]), np.array([0, 1, 1, 0])
    memory = MapMemory()
    kept = explained_rows(opened, versions, rows, targets, METHODS, memory=memory, frozen=True)
    whole = explained_rows(opened, versions, rows, targets, METHODS, memory=MapMemory(most=0), frozen=True)
    for name in METHODS:
        scale = np.abs(whole[name].values).max()
        np.testing.assert_allclose(kept[name].values, whole[name].values, atol=1e-5 * scale)
    np.testing.assert_allclose(kept.probabilities, whole.probabilities, atol=1e-6)
    assert kept.targets.tolist() == targets.tolist()
    # both arms and this: one trace
    assert opened.explainer(("head", METHODS), pytest.fail).traces == 1
    features = memory.features(opened, versions, True)
    assert memory.features(opened, versions, True) is features
    assert memory.features(opened, versions, False) is not features


def test_the_gallery_shows_both_versions_by_both_arms(compact, tmp_path, monkeypatch):
    _, versions, known, tag, arms = compact
    seen = {}
    monkeypatch.setattr(
        maps_gallery, "save_gallery", lambda file, rows, columns, **more: seen.update(rows=rows, columns=columns) or
        file.write_bytes(b"png"),
    )  # fmt: skip
    target = tmp_path / "gallery.png"
    maps_gallery.save_shortcut_gallery(target, versions, known, tag, {p: found for p, (_, found) in arms.items()})
    assert target.read_bytes() == b"png"
    assert seen["columns"][:2] == ["gradcam\ntrained at share 0", "gradcam\ntrained at share 1"]
    assert len(seen["columns"]) == 8
    assert [row.caption[1] for row in seen["rows"]] == ["as it is", f"with {tag.name}"] * 4
    assert sorted(row.caption[0] for row in seen["rows"]) == ["negative"] * 4 + ["positive"] * 4
    without, with_it = seen["rows"][:2]
    inside = with_it.outline
    assert (without.film != with_it.film)[inside].any()
    mass = arms[1.0][1].films.query("method == 'gradcam' and image == @known.images[@arms[1.0][1].examples[0]]")["mass"]
    assert with_it.cells["gradcam\ntrained at share 1"].lines[1] == f"mass {mass.iloc[0]:.3f}"
