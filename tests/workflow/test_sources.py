"""A comparison of weight sources from films to tables: known answers, what is cached, and what is refused."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from cxrkeras.errors import DataError, RunError, UsageError, WeightsError
from cxrkeras.events import Reporter
from cxrkeras.models.backbones import backbone
from cxrkeras.models.classifier import build_classifier
from cxrkeras.stats import exact_auc
from cxrkeras.study.results import Results
from cxrkeras.workflow.dataset import data_name
from cxrkeras.workflow.sources.features import RAW_PIXELS, file_features
from cxrkeras.workflow.sources.films import target_films
from cxrkeras.workflow.sources.leaning import held_out_data
from cxrkeras.workflow.sources.preprocess import preprocessing_distances
from cxrkeras.workflow.sources.settings import sources_settings
from cxrkeras.workflow.sources.sources import SOURCE_COLUMNS, sources
from cxrkeras.workflow.sources.truth import training_command


class Heard(Reporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def notice(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(scope="module")
def films(phantom_folder):
    return target_films(sources_settings(data=phantom_folder, candidates=["a=compact:random"]).data)


@pytest.fixture(scope="module")
def asked(tmp_path_factory, phantom_folder, tiny_run):
    """Settings of a comparison of two equal random networks, a run on these very films, and features of no network."""
    folder = tmp_path_factory.mktemp("sources")
    target = target_films(sources_settings(data=phantom_folder, candidates=["a=compact:random"]).data)
    answers = np.column_stack([target.labels, np.arange(len(target)) % 7]).astype(np.float32)
    np.savez(folder / "oracle.npz", features=answers[::-1], images=target.images[::-1])
    (folder / "cards.yaml").write_text(yaml.safe_dump({"first": {"modality": "X-ray", "licence": "CC0"}}))
    pd.DataFrame(
        {"candidate": ["first", "second", "ours", "ours"], "auc": [0.6, 0.7, 0.9, 0.8], "seed": [0, 0, 0, 1]}
    ).to_csv(folder / "truth.csv", index=False)
    return sources_settings(
        data=phantom_folder,
        candidates=["first=compact:random", "second=compact:random:tf", f"ours=run:{tiny_run.path}@best"],
        features={"oracle": folder / "oracle.npz"},
        image_size=64,
        cards=[folder / "cards.yaml"],
        source_images={"ours": phantom_folder / "images"},
        extractor="compact:random",
        check_preprocess=True,
        truth=folder / "truth.csv",
        include_seen=True,
        folder=folder / "results",
    )


@pytest.fixture(scope="module")
def made(asked):
    heard = Heard()
    return sources(asked, reporter=heard), heard.said


@pytest.fixture
def rows(made):
    return made[0].tables["sources"].set_index("candidate")


def test_equal_weights_have_equal_scores_cka_1_and_are_tied(made, rows):
    same = ["sha256", "probe_auc", "ci_lo", "ci_hi", "logme", "logme_se", "h_score", "h_score_se", "tag_reversed_auc"]
    assert rows.loc["first", same].tolist() == rows.loc["second", same].tolist()
    assert rows.loc["first", "rank"] == rows.loc["second", "rank"]
    assert "second" in rows.loc["first", "tied_with"]
    assert "first" in rows.loc["second", "tied_with"]
    cka = made[0].tables["cka"].set_index(["first", "second"])["cka"]
    assert cka["first", "second"] == pytest.approx(1, abs=1e-12)


def test_random_weights_rank_below_a_run_that_was_trained_on_the_task(rows):
    assert rows.loc["ours", "probe_auc"] > rows.loc["first", "probe_auc"]
    assert rows.loc["ours", "rank"] < rows.loc["first", "rank"]
    assert rows.loc["ours", "logme"] > rows.loc["first", "logme"]


def test_features_that_hold_the_label_are_perfect_and_the_floor_has_no_rank(rows):
    assert rows.loc["oracle", ["probe_auc", "rank"]].tolist() == [1.0, 1]
    assert rows.loc["oracle", ["arch", "n_features", "kid_extractor"]].tolist() == ["external", 2, "unavailable"]
    assert rows.loc[RAW_PIXELS, "status"] == "floor"
    assert pd.isna(rows.loc[RAW_PIXELS, "rank"])
    assert RAW_PIXELS not in ", ".join(rows["tied_with"])


def test_the_columns_are_those_of_the_contract_and_stored_as_they_are(made, asked):
    result, _ = made
    assert list(result.tables["sources"]) == SOURCE_COLUMNS
    stored = Results.open(asked.folder)
    assert stored.kind == "sources"
    for name, table in result.tables.items():
        read = stored.table(name, ("candidate", "tied_with", "sha256"))
        assert list(read) == list(table)
        assert len(read) == len(table)
    assert stored.info["sentences"] == list(result.sentences)
    assert stored.settings["part"] == "train"


def test_probe_aucs_are_those_of_the_stored_predictions(made, rows, films):
    for name, table in made[0].tables["predictions"].groupby("candidate"):
        assert len(table) == len(films)
        probabilities = table[[f"probability_{c}" for c in films.classes]].to_numpy()
        labels = table["label"].map({c: i for i, c in enumerate(films.classes)}).to_numpy()
        assert exact_auc(labels, probabilities).value == pytest.approx(rows.loc[name, "probe_auc"], abs=1e-12)
        np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-12)
        assert table.groupby("patient")["fold"].nunique().max() == 1


def test_a_run_that_was_trained_on_these_films_is_found_by_their_hashes(made, rows, films):
    assert rows.loc["ours", "saw_target"] == "yes"
    assert f"ours saw the target films: {len(films)} of {len(films)} target films are among its own." in made[1]
    assert rows.loc[["first", "second"], "saw_target"].tolist() == ["no", "no"]
    assert rows.loc["oracle", "saw_target"] == "unknown"


@pytest.fixture(scope="module")
def fewer(made, asked, tmp_path_factory):
    """The same directory taken up with fewer candidates and fewer wishes, without a forward pass for features."""
    folder = tmp_path_factory.mktemp("again") / "results"
    shutil.copytree(asked.folder, folder)
    kept = tuple(candidate for candidate in asked.candidates if candidate.name != "second")
    settings = dataclasses.replace(
        asked, candidates=kept, features={}, truth=None, include_seen=False, source_images={}, robustness=False,
        check_preprocess=False, folder=folder,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cxrkeras.models.inference.forward", lambda *a, **k: pytest.fail("a forward pass"))
        return sources(settings), settings


def test_a_run_on_the_same_films_is_not_ranked_by_default(fewer):
    result, _ = fewer
    found = result.tables["sources"].set_index("candidate")
    assert found.loc["ours", "status"] == "excluded_saw_target"
    assert pd.isna(found.loc["ours", "rank"])
    assert found.loc["first", ["rank", "tied_with"]].tolist() == [1, ""]
    assert any(sentence.startswith("ours was trained on the target films") for sentence in result.sentences)
    assert len(result.commands) == 1


def test_a_repeated_command_reads_its_features_and_makes_every_table_anew(fewer, rows):
    result, settings = fewer
    found = result.tables["sources"].set_index("candidate")
    same = ["sha256", "probe_auc", "ci_lo", "ci_hi", "logme", "logme_se", "h_score", "h_score_se"]
    pd.testing.assert_frame_equal(found[same], rows.loc[found.index, same])
    assert np.isnan(found["tag_reversed_auc"].astype(float)).all()
    stored = Results.open(settings.folder)
    assert [stored.table(name) is None for name in ("agreement", "robustness", "sources")] == [True, True, False]
    with pytest.raises(RunError, match="started with other settings: seed stored 0, received 1"):
        sources(dataclasses.replace(settings, seed=1))


def test_the_robustness_columns_are_the_reversed_split(made, rows):
    table = made[0].tables["robustness"].set_index(["candidate", "confounder", "split"])["auc"]
    for name in ("first", "ours"):
        assert rows.loc[name, "tag_reversed_auc"] == table[name, "tag", "reversed"]
        assert rows.loc[name, "lowpass_reversed_auc"] == table[name, "lowpass", "reversed"]
    assert set(made[0].tables["robustness"]["p"]) == {0.5}


def test_kid_names_its_extractor_and_the_others_stay_unavailable(made, rows):
    named = rows.loc["ours", "kid_extractor"]
    assert named.startswith("compact random ")
    assert named.endswith(" tf 96 px")
    # the films of the target are among the source's own: no distance beyond its spread
    assert abs(rows.loc["ours", "kid"]) < 4 * rows.loc["ours", "kid_sd"]
    assert 0 <= rows.loc["ours", "visual_distance"] < 0.02
    assert rows.loc[["first", "oracle"], "kid_extractor"].tolist() == ["unavailable"] * 2
    assert np.isnan(rows.loc[["first", "oracle"], "visual_distance"].astype(float)).all()


def test_cards_fill_in_what_is_known_and_count_the_rest(made, rows, tiny_run):
    cards = made[0].tables["cards"].set_index(["candidate", "field"])["value"]
    assert cards["first", "licence"] == "CC0"
    assert cards["ours", "classes"] == ", ".join(tiny_run.classes)
    assert cards["ours", "n_images"] == str((tiny_run.manifest()["split"] != "test").sum())
    assert cards["oracle", "modality"] == "unknown"
    for name in ("first", "ours", "oracle"):
        assert rows.loc[name, "unknown_fields"] == (cards[name] == "unknown").sum()
    # one class list, one modality, one anatomy: the run's films are the target's
    assert rows.loc["ours", "semantic_similarity"] == 1


def test_truth_gives_regret_and_no_correlation_below_six(made):
    table = made[0].tables["agreement"].set_index("score")
    # probe AUC picks the run, which fine-tuned best: (0.9 + 0.8) / 2
    assert table.loc["probe_auc", ["pick", "regret", "status"]].tolist() == ["ours", 0, "too_few_candidates"]
    assert table.loc["probe_auc", "best_auc"] == pytest.approx(0.85)
    # the prior has the run first too; the two random ones share the last place
    assert table.loc["prior", "pick"] == "ours"
    scores = made[0].tables["agreement_scores"].set_index("candidate")
    assert scores.loc["ours", "transfer_gain"] == pytest.approx(0.85 - 0.65)


def test_commands_fine_tune_the_top_two_networks(made, phantom_folder, tiny_run):
    first, second = made[0].commands
    assert first == (
        f"cxrkeras train --data {phantom_folder} --backbone compact --weights run:{tiny_run.path}@best "
        "--preprocessing tf --image-size 64 --run finetune-ours"
    )
    assert second.endswith("--weights random --preprocessing tf --image-size 64 --run finetune-first")
    facts = {"arch": "ResNet50", "weights": "a b.h5", "preprocess": "caffe/255", "image_size": 224}
    assert training_command({"data": None, "findings": ("A", "B"), "drop_shared": True}, facts, "x") == (
        "cxrkeras train --findings A,B --drop-shared --backbone ResNet50 --weights 'a b.h5' "
        "--preprocessing caffe/255 --image-size 224 --run x"
    )


def test_the_first_norm_is_nearest_to_the_mode_its_statistics_come_from(made):
    table = made[0].tables["preprocess"]
    assert table.groupby("candidate").size().to_dict() == {"first": 6, "second": 6, "ours": 6}
    for _, modes in table.groupby("candidate"):
        own = modes[modes["own"]].iloc[0]
        assert own["mode"] == "tf"
        assert own["mean_distance"] == modes["mean_distance"].min()
    assert set(table.loc[table["candidate"] == "ours", "status"]) == {"ok"}
    assert set(table.loc[table["candidate"] == "first", "status"]) == {"set_from_these_films"}


def test_preprocessing_distances_are_those_of_the_formula():
    net = build_classifier(backbone("compact"), ("a", "b"), 64, preprocessing="unit", seed=0)
    films = np.random.default_rng(0).uniform(0, 255, (5, 64, 64)).astype(np.float32)
    norm = net.batch_norms[0]
    first = net.model.get_layer(norm.input._keras_history.operation.name)
    values = np.asarray(first(np.repeat(films[..., None], 3, -1) / 255), np.float64).reshape(
        -1, 16 * 0 + norm.input.shape[-1]
    )
    mean, variance = values.mean(0), values.var(0)
    norm.set_weights([*norm.get_weights()[:-2], mean - 0.5 * np.sqrt(variance + norm.epsilon), variance])
    table = preprocessing_distances("x", net, films, False).set_index("mode")
    assert table.loc["unit", "mean_distance"] == pytest.approx(0.5, rel=1e-4)
    assert table.loc["unit", "log_variance_distance"] == pytest.approx(0, abs=1e-4)
    # films 255 times as bright: the variance, far above epsilon or not, is compared with it
    bright = np.log((variance * 255**2 + norm.epsilon) / (variance + norm.epsilon)).mean()
    assert table.loc["none", "log_variance_distance"] == pytest.approx(bright, rel=1e-4)


def test_test_films_stay_out_and_patients_stay_whole(phantom_folder):
    settings = sources_settings(data=phantom_folder, candidates=["a=compact:random"]).data
    heard = Heard()
    every, some = target_films(settings, part="all"), target_films(settings, max_images=31, reporter=heard)
    train = target_films(settings)
    assert len(every) == 80
    assert set(train.frame["split"]) == {"train", "val"}
    assert len(some) <= 31
    whole = train.frame["patient"].value_counts()
    assert some.frame["patient"].value_counts().to_dict() == whole[some.frame["patient"].unique()].to_dict()
    assert abs(np.mean(some.labels) - np.mean(train.labels)) < 0.1
    assert any(f"{len(some)} of {len(train)} films are taken" in text for text in heard.said)
    again = target_films(settings, max_images=31)
    assert again.images.tolist() == some.images.tolist()


def test_artefacts_are_tested_on_a_fifth_of_the_patients(films):
    data = held_out_data(films)
    held = np.zeros(len(films), bool)
    held[data.test] = True
    assert not set(films.patients[held]) & set(films.patients[~held])
    assert held.mean() == pytest.approx(0.2, abs=0.08)
    # lobar is the finding, normal the absence of one
    assert data.positive.tolist() == (films.labels == 0).tolist()
    assert data.classes == ("normal", "lobar")
    three = dataclasses.replace(films, classes=(*films.classes, "zoster"))
    assert three.sides == ("not zoster", "zoster")
    with pytest.raises(DataError, match="a class has 0 patients; expected at least 10"):
        held_out_data(three)


def test_films_are_called_after_their_folder():
    assert (
        data_name("/data/kermany/manifest.csv") == data_name("/data/kermany") == data_name("kermany.csv") == "kermany"
    )


def test_films_of_the_same_bytes_count_once(phantom_folder, tmp_path):
    copy = tmp_path / "copies"
    shutil.copytree(phantom_folder, copy)
    table = pd.read_csv(copy / "manifest.csv")
    one, two = table[table["split"] == "train"]["path"].iloc[:2]
    shutil.copy(copy / one, copy / two)
    heard = Heard()
    settings = sources_settings(data=copy, candidates=["a=compact:random"]).data
    found = target_films(settings, reporter=heard)
    assert found.n_identical == 1
    assert len(found) == found.n_available - 1
    assert "1 films are left out: another one has the same bytes." in heard.said


def test_external_features_are_put_in_order_or_refused(films, tmp_path):
    values = np.arange(2 * len(films), dtype=np.float64).reshape(-1, 2)
    file = tmp_path / "x.npz"
    np.savez(file, features=values[::-1], images=films.images[::-1])
    np.testing.assert_array_equal(file_features("x", file, films).values, values.astype(np.float32))
    twice = [0, *range(len(films))]
    for arrays, message in (
        ({"features": values}, "lacks images"),
        ({"features": values[:-1], "images": films.images}, "one film path each"),
        (
            {"features": values[1:], "images": films.images[1:]},
            f"films are not in .* {films.images[0]}",
        ),
        (
            {"features": values[twice], "images": films.images[twice]},
            "more than once",
        ),
        ({"features": values * np.nan, "images": films.images}, "not finite"),
    ):
        np.savez(file, **arrays)
        with pytest.raises(DataError, match=message):
            file_features("x", file, films)
    file.write_bytes(b"no archive")
    with pytest.raises(DataError, match="cannot be read"):
        file_features("x", file, films)


def test_wrong_requests_say_what_is_wrong(asked, phantom_folder, tmp_path):
    def wanted(**changes):
        return sources_settings(**{"data": phantom_folder, "candidates": ["a=compact:random"], **changes})

    with pytest.raises(UsageError, match="nothing to compare: expected --candidate"):
        wanted(candidates=[])
    with pytest.raises(UsageError, match="two candidates are called 'a'"):
        wanted(candidates=["a=compact:random", "a=compact:random"])
    with pytest.raises(UsageError, match="the name raw-pixels is taken"):
        wanted(candidates=["raw-pixels=compact:random"])
    with pytest.raises(UsageError, match=r"--reduce 256 is not known\. Expected pca:N"):
        wanted(reduce="256")
    with pytest.raises(UsageError, match="unknown candidate 'b'"):
        wanted(source_images={"b": tmp_path})
    with pytest.raises(UsageError, match="the configuration confounds its own films"):
        wanted(confounder={"spec": "tag", "p": 0.5})
    with pytest.raises(DataError, match="does not exist"):
        wanted(truth=tmp_path / "none.csv")
    with pytest.raises(UsageError, match="pca:100 cannot be fitted for oracle: it has 2 features"):
        sources(dataclasses.replace(asked, candidates=(), reduce=100, robustness=False, source_images={}, cards=(),
                                    truth=None, folder=tmp_path / "r"))  # fmt: skip
    with pytest.raises(WeightsError, match="candidate a: compact has no ImageNet weights"):
        sources(dataclasses.replace(wanted(candidates=["a=compact:imagenet"], image_size=64), folder=tmp_path / "i"))
    (tmp_path / "t.csv").write_text("candidate,score\nfirst,1\n")
    with pytest.raises(DataError, match="has the columns candidate, score"):
        sources(dataclasses.replace(asked, truth=tmp_path / "t.csv"))
    (tmp_path / "t.csv").write_text("candidate,auc\nfrist,1\n")
    with pytest.raises(DataError, match="Did you mean 'first'"):
        sources(dataclasses.replace(asked, truth=tmp_path / "t.csv"))
