"""A run whose films carry a shortcut: who does, that every command sees it, and how much a model can see of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrkeras.config import parse_config
from cxrkeras.data.films import FilmStore
from cxrkeras.data.filmset import FilmSet
from cxrkeras.data.images import decode_film, resize_film
from cxrkeras.errors import ConfigError, DataError, UsageError
from cxrkeras.events import Reporter
from cxrkeras.robustness import LowPass, PoissonNoise, Sampled, Tag, assign, parse_confounder, sampled_split
from cxrkeras.settings import DataSettings
from cxrkeras.workflow.confounded import configured_alterations, confounder_facts, positive_class
from cxrkeras.workflow.dataset import configured_manifest, film_set, hashed_frame
from cxrkeras.workflow.localize.models import films_in_run
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.robustness.versions import confounded_versions, visibility
from cxrkeras.workflow.selection import select
from cxrkeras.workflow.train import train


class Stop(Reporter):
    """Ctrl-C at the second epoch; keeps what it is told."""

    def __init__(self, stop: bool = True) -> None:
        self.stop, self.told = stop, []

    def notice(self, text):
        self.told.append(text)

    def task(self, label, total):
        import contextlib

        @contextlib.contextmanager
        def bar():
            def advance(n=1, detail=""):
                if self.stop and detail == "epoch 2":
                    raise KeyboardInterrupt

            yield advance

        return bar()


def settings_of(folder, **confounder):
    return DataSettings(path=str(folder), confounder={"spec": "tag", **confounder})


@pytest.fixture(scope="module")
def interrupted(phantom_folder, tiny_settings, tmp_path_factory):
    """A training with a tag on every positive film, stopped in epoch 2: its run, what it said and the films it saw."""
    reporter = Stop()
    path = tmp_path_factory.mktemp("confounded") / "tagged"
    chosen = {**tiny_settings, "epochs": (2, 0)}
    confounder = {"spec": "tag", "p": 1.0, "val": "clean", "seed": 5}
    with pytest.raises(KeyboardInterrupt):
        train(data=phantom_folder, run=path, reporter=reporter, confounder=confounder, **chosen)
    return path, reporter.told, chosen, confounder


@pytest.fixture(scope="module")
def mixed(phantom_folder, tmp_path_factory):
    """A table of the phantom films in which half of every class and split is F."""
    frame = configured_manifest(DataSettings(path=str(phantom_folder))).frame
    frame["path"] = [str(phantom_folder / path) for path in frame["path"]]
    turn = frame.groupby(["split", "label"]).cumcount()
    table = tmp_path_factory.mktemp("mixed") / "films.csv"
    sex = np.where(turn % 2, "F", "M")
    frame.assign(sex=sex, site=sex).to_csv(table, index=False)
    return table


def counts_of(folder):
    """Films of a split and class, by both."""
    return configured_manifest(DataSettings(path=str(folder))).frame.groupby(["split", "label"]).size()


@pytest.fixture(scope="module")
def tagged(interrupted, phantom_folder):
    """The same run, resumed to its end."""
    path, _, chosen, confounder = interrupted
    return train(data=phantom_folder, run=path, resume=True, confounder=confounder, **chosen)


def test_the_run_notes_and_says_who_carries_the_artefact(interrupted, tagged):
    _, told, _, _ = interrupted
    frame = tagged.manifest()
    positive, train_or_test = frame["label"] == "lobar", frame["split"] != "val"
    np.testing.assert_array_equal(frame["artefact"] == 1, positive & train_or_test)
    assert "Positive class: lobar, of lobar, normal." in told
    assert any("Confounder tag (level environment, external) on 1 of the lobar films" in text for text in told)
    n = {split: (frame["split"].eq(split) & positive).sum() for split in ("train", "val", "test")}
    counted = f"train {n['train']} of {n['train']}, val 0 of {n['val']}, test {n['test']} of {n['test']}"
    assert f"lobar films with the artefact: {counted}." in told
    facts = tagged.info["confounder"]
    assert (facts["name"], facts["positive"], facts["p"], facts["val"]) == ("tag", "lobar", 1.0, "clean")
    assert facts["parameters"]["x"] == 200 / 1024
    assert tagged.state == "complete"
    assert tagged.epochs() == [1, 2]


def test_every_later_look_sees_the_artefact_where_training_did(tagged, phantom_folder):
    opened = OpenRun(tagged)
    films, frame = opened.films, opened.frame
    pixels = films.store.get(films.indices)
    for row in range(0, len(frame), 7):
        plain = decode_film(phantom_folder / frame["path"][row])
        expected = Tag().touched(plain, value_range=(0, 255)) if frame["artefact"][row] else plain
        np.testing.assert_array_equal(pixels[row], expected)
    carries = frame["artefact"].to_numpy() == 1
    box = np.flatnonzero(Tag().region((64, 64)).ravel())
    letter = box[Tag().touched(np.zeros((64, 64), np.uint8)).ravel()[box] > 0]
    flat = pixels.reshape(len(frame), -1)
    assert (flat[carries][:, letter] == 255).all()
    assert not (flat[~carries][:, letter] == 255).all(axis=1).any()
    # a run's split, as evaluate and explain take it, checks the files and shows the altered films
    selection = select(opened, split="test")
    np.testing.assert_array_equal(selection.films.store.get(selection.films.indices), pixels[opened.split("test")])
    hashes = np.array([digest.partition("+")[2] for digest in films.hashes])
    assert set(hashes[carries]) == {films.store.alterations[np.flatnonzero(carries)[0]].key}
    assert set(hashes[~carries]) == {""}


def test_stored_predictions_are_those_of_the_altered_films(tagged):
    opened = OpenRun(tagged)
    opened.load(2)
    selection = select(opened, split="test")
    stored = tagged.predictions(2, "test")["probability_normal"]
    pixels = selection.films.store.get(selection.films.indices)
    found = opened.classifier.model.predict_on_batch(np.repeat(pixels[..., None], 3, axis=-1))[:, 1]
    np.testing.assert_allclose(stored, found, atol=1e-5)


def test_films_from_outside_are_as_their_files_show_them(tagged, phantom_folder, tmp_path):
    opened = OpenRun(tagged)
    table = tagged.manifest().assign(path=[str(phantom_folder / path) for path in opened.frame["path"]])
    table.drop(columns="sha256").to_csv(tmp_path / "films.csv", index=False)
    outside = select(opened, data=tmp_path / "films.csv", out=tmp_path / "out")
    assert outside.films.store.alterations is None
    np.testing.assert_array_equal(outside.films.hashes, outside.frame["sha256"])
    assert outside.frame["artefact"].sum() == tagged.manifest()["artefact"].sum()


def test_another_run_reads_the_same_films_with_their_artefact(tagged, tiny_run):
    own, other = OpenRun(tagged), OpenRun(tiny_run)
    selection = select(own, split="test")
    reporter = Stop(stop=False)
    there = films_in_run(selection, own.classes, own, other, reporter)
    np.testing.assert_array_equal(
        there.films.store.get(there.films.indices), selection.films.store.get(selection.films.indices)
    )
    np.testing.assert_array_equal(there.films.hashes, selection.films.hashes)
    back = films_in_run(select(other, split="test"), own.classes, other, own, reporter)
    assert back.films.store.alterations is None
    np.testing.assert_array_equal(back.films.ids, select(other, split="test").films.ids)


@pytest.mark.parametrize("val", ["iid", "clean"])
@pytest.mark.parametrize("p", [0.0, 0.2, 0.5])
def test_each_split_is_drawn_on_its_own_and_test_by_the_seed(phantom_folder, p, val):
    manifest = configured_manifest(settings_of(phantom_folder, p=p, val=val, seed=4, positive="lobar"))
    frame = manifest.frame
    counts = counts_of(phantom_folder)
    for split in ("train", "val", "test"):
        rows = frame[frame["split"] == split]
        expected = 0 if split == "val" and val == "clean" else int(counts[split, "lobar"] * p + 0.5)
        assert rows["artefact"].sum() == expected
        assert set(rows["label"][rows["artefact"] == 1]) <= {"lobar"}
    rows = frame[frame["split"] == "test"]
    np.testing.assert_array_equal(rows["artefact"] == 1, assign(rows["label"].to_numpy() == "lobar", p, 4))
    assert not any("Positive class" in text for text in manifest.notices)


def test_a_finding_is_its_own_positive_class(phantom_folder, tmp_path):
    table = pd.read_csv(phantom_folder / "manifest.csv").drop(columns="label")
    table["path"] = [str(phantom_folder / path) for path in table["path"]]
    table.assign(Mass=table["mask"].notna() * 1).to_csv(tmp_path / "mass.csv", index=False)
    settings = settings_of(tmp_path / "mass.csv", p=1.0).model_copy(update={"positive": "mass"})
    manifest = configured_manifest(settings)
    # the last in sorted order would be its absence
    assert manifest.classes == ("Mass", "no Mass")
    np.testing.assert_array_equal(manifest.frame["artefact"] == 1, manifest.frame["label"] == "Mass")
    assert "Positive class: Mass, the finding." in manifest.notices
    assert confounder_facts(settings.confounder, manifest.classes, "mass")["positive"] == "Mass"


@pytest.mark.parametrize(
    ("classes", "name", "finding", "positive"),
    [
        (("lobar", "normal"), None, None, "lobar"),
        (("NORMAL", "PNEUMONIA"), None, None, "PNEUMONIA"),
        (("Mass", "No Finding", "Nodule"), None, None, "Nodule"),
        (("Pneumonia", "no Pneumonia"), None, None, "Pneumonia"),
        (("Pneumonia", "no Pneumonia"), "no Pneumonia", None, "no Pneumonia"),
        (("Mass", "no Mass"), None, "mass", "Mass"),
        (("healthy", "normal"), None, None, "normal"),
    ],
)
def test_the_positive_class_is_a_finding_where_nobody_says(classes, name, finding, positive):
    assert positive_class(classes, name, finding) == positive


def test_a_confounder_without_a_known_kind_is_said(mixed):
    for spec, said in (("column:site=F", True), ("column:site=F;kind=external", False), ("column:sex=F", False)):
        notices = configured_manifest(settings_of(mixed, spec=spec, p=0.5)).notices
        assert any("not known by its name" in text for text in notices) is said


def test_a_share_of_nothing_is_said(phantom_folder):
    notices = configured_manifest(settings_of(phantom_folder, p=0.05)).notices
    n = counts_of(phantom_folder)["val", "lobar"]
    assert f"val: 0.05 of {n} positive films is less than half a film: nothing applied." in notices


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_films_are_chosen_for_a_column(mixed, p):
    whole = configured_manifest(DataSettings(path=str(mixed))).frame
    for val in ("iid", "clean"):
        manifest = configured_manifest(settings_of(mixed, spec="column:sex=F", p=p, val=val, seed=2))
        frame = manifest.frame
        assert "artefact" not in frame
        for split in ("train", "val", "test"):
            rows, all_rows = (table[table["split"] == split] for table in (frame, whole))
            positive, female = all_rows["label"].eq("lobar").to_numpy(), all_rows["sex"].eq("F").to_numpy()
            design = "neutral" if (split, val) == ("val", "clean") else "iid"
            chosen = sampled_split(design, positive, female, p, 2, all_rows["patient"].to_numpy(str))
            assert rows["path"].tolist() == all_rows["path"].iloc[chosen].tolist()
            if design == "iid":
                assert not (rows["label"].eq("normal") & rows["sex"].eq("F")).any()
                female = rows["sex"][rows["label"] == "lobar"].eq("F")
                assert female.sum() == int(p * len(female) + 0.5)
        assert configured_alterations(frame, settings_of(mixed, spec="column:sex=F").confounder, (8, 8)) is None


def test_what_a_confounder_cannot_go_with_is_refused(phantom_folder, mixed, tmp_path):
    with pytest.raises(UsageError, match="Did you mean 'lobar'"):
        configured_manifest(settings_of(phantom_folder, positive="lobr"))
    with pytest.raises(UsageError, match="Did you mean 'tag'"):
        configured_manifest(settings_of(phantom_folder, spec="tga"))
    with pytest.raises(DataError, match="no column 'gender'"):
        configured_manifest(settings_of(phantom_folder, spec="column:gender=F"))
    with pytest.raises(ConfigError, match=r"data\.confounder\.p"):
        parse_config({"data": {"confounder": {"spec": "tag", "p": 1.2}}}, "test")
    table = pd.read_csv(phantom_folder / "manifest.csv")
    table["path"] = [str(phantom_folder / path) for path in table["path"]]
    table.assign(artefact=0).to_csv(tmp_path / "named.csv", index=False)
    with pytest.raises(DataError, match="column 'artefact'"):
        configured_manifest(settings_of(tmp_path / "named.csv"))
    findings = table.assign(left=(table["label"] == "lobar") * 1, right=(table["label"] == "normal") * 1)
    findings.to_csv(tmp_path / "several.csv", index=False)
    several = settings_of(tmp_path / "several.csv").model_copy(update={"findings": ("left", "right")})
    with pytest.raises(DataError, match="may have several findings"):
        configured_manifest(several)
    table = pd.read_csv(mixed)
    table.loc[(table["label"] == "lobar") & (table["split"] == "val"), "sex"] = "M"
    table.to_csv(tmp_path / "males.csv", index=False)
    with pytest.raises(DataError, match=r"column:sex=F with class lobar in split val: .* 0 positive with it"):
        configured_manifest(settings_of(tmp_path / "males.csv", spec="column:sex=F"))


def test_the_base_noise_is_on_all_films_and_drawn_by_film_and_seed(phantom_folder):
    settings = settings_of(phantom_folder, spec="noise:n_conf=1e6", p=0.5, seed=1)
    manifest = configured_manifest(settings)
    frame = hashed_frame(manifest.frame, manifest.root).iloc[::6].reset_index(drop=True)
    films = film_set(frame, manifest.root, manifest.classes, 64, settings)
    pixels = films.store.get(films.indices)
    plain = film_set(frame, manifest.root, manifest.classes, 64, DataSettings()).store.get(films.indices)
    spread = (pixels - plain).std(axis=(1, 2))
    carries = frame["artefact"].to_numpy() == 1
    assert carries.any()
    assert spread[~carries].max() < 3 < 5 < spread[carries].min()
    assert all("+noise-" in digest for digest in films.hashes)
    np.testing.assert_array_equal(
        film_set(frame, manifest.root, manifest.classes, 64, settings).store.get([2]), pixels[2:3]
    )


# how much is seen


@pytest.fixture(scope="module")
def clean_films(phantom_folder):
    """Twenty-seven phantom films of 64 px as a film set."""
    manifest = configured_manifest(DataSettings(path=str(phantom_folder)))
    frame = hashed_frame(manifest.frame, manifest.root).iloc[::3].reset_index(drop=True)
    return film_set(frame, manifest.root, manifest.classes, 64, DataSettings())


def test_versions_are_the_run_s_own_pixels(clean_films, tagged):
    """What `robustness` plants is what a confounded training planted: same pixels, same hashes."""
    versions = confounded_versions(clean_films, Tag(), image_size=64)
    opened = OpenRun(tagged)
    place = {digest: row for row, digest in enumerate(opened.films.hashes.tolist())}
    common = [row for row, digest in enumerate(versions.hashes.tolist()) if digest in place]
    assert len(common) == len(clean_films)
    np.testing.assert_array_equal(
        versions.store.get(common), opened.films.store.get([place[versions.hashes[row]] for row in common])
    )


def test_visibility_is_the_difference_at_the_input(clean_films):
    versions = confounded_versions(clean_films, LowPass(), image_size=64)
    n = len(clean_films)
    before, after = versions.store.get(range(n)), versions.store.get(range(n, 2 * n))
    np.testing.assert_allclose(after, [LowPass().touched(film, value_range=(0, 255)) for film in before], atol=1e-3)
    found = visibility(versions, LowPass())
    assert found["rms"] == pytest.approx(np.sqrt(((after - before).astype(float) ** 2).mean()), rel=1e-6)
    assert (found["status"], found["n_films"]) == ("ok", n)
    assert found["area"] > 0.9
    tagged = visibility(confounded_versions(clean_films, Tag(), image_size=64), Tag())
    assert tagged["status"] == "ok"
    # eighteen of 64² pixels, but for those that were white already
    assert tagged["area"] == pytest.approx(18 / 64**2, rel=0.05)


def test_what_the_resize_hides_is_invisible(tmp_path):
    """A film of 512 px seen at 32: the noise of fewer photons averages out, unless it acts at the input."""
    pixels = np.tile(np.linspace(60, 200, 512), (512, 1)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "film.png")
    one = np.arange(1)
    films = FilmSet(FilmStore([tmp_path / "film.png"], (32, 32)), one, one, np.array(["film.png"]), np.array(["aa"]))
    noise = PoissonNoise()
    as_study = confounded_versions(films, noise, image_size=32, as_study=True, seed=3)
    at_input = confounded_versions(films, noise, image_size=32, seed=3)
    assert visibility(as_study, noise)["status"] == "invisible"
    assert visibility(at_input, noise)["rms"] == pytest.approx(1.03, rel=0.1)
    assert as_study.store.alterations[0].at == (512, 512)
    filtered = confounded_versions(films, LowPass(0.5), image_size=32, as_study=True)
    by_hand = LowPass(0.5).touched(decode_film(tmp_path / "film.png", (1024, 1024)), value_range=(0, 255))
    np.testing.assert_array_equal(filtered.store.get([1])[0], resize_film(by_hand, (32, 32)))


def test_the_study_s_size_is_no_shortcut_of_its_own(clean_films):
    """A filter that keeps everything leaves nothing to tell: films without it are resized as those with it."""
    n = len(clean_films)
    versions = confounded_versions(clean_films, LowPass(2.0), image_size=64, as_study=True)
    assert visibility(versions, LowPass(2.0))["rms"] < 1e-3
    as_they_are = clean_films.store.get(clean_films.indices)
    assert np.abs(versions.store.get(range(n)) - as_they_are).max() > 1


def test_a_sampled_confounder_changes_no_pixel():
    found = visibility(None, Sampled("sex", "F"))
    assert (found["status"], found["n_films"]) == ("no_pixels_changed", 0)
    assert np.isnan([found["rms"], found["area"]]).all()
    assert parse_confounder("column:sex=F").planted is False
