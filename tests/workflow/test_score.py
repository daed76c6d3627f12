"""Scores of a run: the same numbers as the pure metric, stored once per parameter set; and maps from elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cxrkeras.consistency import c_score
from cxrkeras.consistency.coincidence import SAME
from cxrkeras.errors import DataError, ScoreInputError
from cxrkeras.events import Reporter
from cxrkeras.run import Run
from cxrkeras.tables import probability_columns
from cxrkeras.workflow.evidence import ensure
from cxrkeras.workflow.map_options import MapOptions
from cxrkeras.workflow.predictions import ensure_predictions
from cxrkeras.workflow.score.files import score_files
from cxrkeras.workflow.score.score import films_key, score_selection
from cxrkeras.workflow.score.table import every_status, printed_classes, printed_globals
from cxrkeras.workflow.selection import select

SETTINGS = {"threshold": 0.5}


def test_a_run_s_scores_are_the_metric_of_its_maps_and_predictions(opened):
    selection = select(opened)
    table = score_selection(opened, [4], selection, "gradcam,layercam", MapOptions(), SETTINGS)
    predictions = opened.run.predictions(4, "test")
    for method in ("gradcam", "layercam"):
        maps = ensure(opened, 4, selection, [method], MapOptions())[method]
        direct = c_score(
            maps,
            selection.films.labels,
            predictions[probability_columns(opened.classes)].to_numpy(),
            patients=predictions["patient"].to_numpy(str),
            threshold=0.5,
        )
        rows = table[(table["method"] == method) & (table["level"] == "class")]
        np.testing.assert_allclose(rows["score"], direct.per_class["score"])
        np.testing.assert_allclose(rows["excess_stderr"], direct.per_class["excess_stderr"])
        over_all = table[(table["method"] == method) & (table["level"] == "global")].set_index("class")["score"]
        assert over_all["macro"] == pytest.approx(direct.macro, nan_ok=True)
        assert over_all["micro"] == pytest.approx(direct.micro, nan_ok=True)
    assert (rows["n_patients"] < rows["n_gold"]).any(), "phantom patients have several films"
    assert {"threshold", "gamma", "grid", "pair_weights", "macro_rule", "native_grid", "layer", "split"} <= set(table)


def test_repeating_replaces_its_own_rows_and_keeps_others(opened):
    selection = select(opened)
    first = score_selection(opened, [4], selection, "gradcam", MapOptions(), SETTINGS)
    score_selection(opened, [4], selection, "gradcam", MapOptions(), {"threshold": 0.6})
    score_selection(opened, [4], selection, "gradcam", MapOptions(), SETTINGS)
    stored = opened.run.scores(4)
    assert len(stored) == 2 * len(first)
    assert sorted(stored["threshold"].unique()) == [0.5, 0.6]
    again = stored[stored["threshold"] == 0.5].reset_index(drop=True)
    np.testing.assert_allclose(again["score"], first["score"], rtol=1e-12)
    score_selection(opened, [4], select(opened, limit=4), "gradcam", MapOptions(), SETTINGS)
    assert len(opened.run.scores(4)) == 3 * len(first), "other films are other rows"


def test_an_unreachable_threshold_is_nan_with_its_reason_and_never_zero(opened):
    table = score_selection(opened, [4], select(opened), "gradcam", MapOptions(), {"threshold": 1.0})
    classes = table[table["level"] == "class"]
    assert classes["score"].isna().all()
    assert set(classes["status"]) <= {"empty_gold_list", "undefined_gold_list"}
    assert table[table["class"] == "macro"]["score"].isna().all()
    assert len(printed_classes(table, 4)) == 2
    assert printed_globals(table, 4)["macro"].isna().all()


def test_outside_films_with_corrected_labels_or_patients_are_scored_anew(opened, tmp_path):
    inside = select(opened, limit=8)
    outside = replace(inside, sink=Run(tmp_path), inside=False)
    flipped = replace(outside, films=replace(outside.films, labels=1 - outside.films.labels))
    pooled = replace(outside, frame=outside.frame.assign(patient="one"))
    given = "eigencam", MapOptions(), {"threshold": 0.0}
    first, again, other, one = (
        score_selection(opened, [4], films, *given, reuse=True).query("level == 'class'").set_index("class")
        for films in (outside, outside, flipped, pooled)
    )
    pd.testing.assert_frame_equal(again, first)
    probabilities = ensure_predictions(opened, 4, outside)
    right = (probabilities.argmax(axis=1) == 1) == (outside.films.labels == 1)
    assert first["n_gold"].sum() == right.sum()
    assert other["n_gold"].sum() == len(right) - right.sum()
    assert set(one["n_patients"]) <= {0, 1}
    assert first["n_patients"].max() > 1
    assert films_key(inside) == films_key(replace(inside, frame=pooled.frame)), "a run's own films cannot change"


def test_methods_that_coincide_are_said_once_for_all_checkpoints(opened):
    lines: list[str] = []
    told = Reporter()
    told.notice = lines.append
    selection = select(opened, limit=4)
    options = MapOptions()
    for reuse in (False, True):
        table = score_selection(
            opened, [2, 4], selection, "gradcam++,layercam,eigencam", options, {}, reuse=reuse, reporter=told
        )
        near = table[table["largest_difference"] <= SAME]
        assert set(near["method"]) == {"gradcam++", "layercam"}
        (line,) = [line for line in lines if "coincide" in line]
        assert line.startswith("gradcam++ and layercam coincide at epoch 2, 4: ")
        assert f"any cell {near['largest_difference'].max():.3f}." in line
        lines.clear()
    score_selection(opened, [2, 4], selection, "layercam", options, {}, reuse=True, reporter=told)
    assert not [line for line in lines if "coincide" in line], "nothing to read beside it"


def test_every_checkpoint_is_scored_into_its_own_file(opened):
    score_selection(opened, [2, 3], select(opened), "eigencam", MapOptions(), SETTINGS)
    assert [file.name for file in sorted((opened.run.path / "scores").glob("*.csv"))] == [
        "epoch_002.csv",
        "epoch_003.csv",
    ]
    assert sorted(opened.run.scores()["epoch"].unique()) == [2, 3]


def test_loose_images_cannot_be_scored(opened, phantom_folder):
    film = pd.read_csv(phantom_folder / "manifest.csv")["path"][0]
    with pytest.raises(DataError, match="needs a label for every film"):
        score_selection(opened, [4], select(opened, image=[phantom_folder / film]), "gradcam", MapOptions(), {})


@pytest.fixture
def any_framework(tmp_path):
    rng = np.random.default_rng(0)
    maps = rng.random((12, 7, 7)).astype("float32")
    table = pd.DataFrame(
        {
            "image": [f"f{i}" for i in range(12)],
            "label": ["sick", "well"] * 6,
            "patient": [f"p{i // 4}" for i in range(12)],
            "probability_sick": np.tile([0.9, 0.2], 6),
            "probability_well": np.tile([0.1, 0.8], 6),
        }
    )
    np.savez(tmp_path / "maps.npz", maps=maps)
    table.to_csv(tmp_path / "predictions.csv", index=False)
    return tmp_path, maps, table


def test_maps_of_any_framework_are_scored_as_the_metric_does(any_framework):
    folder, maps, table = any_framework
    scored = score_files(str(folder / "maps.npz"), str(folder / "predictions.csv"), {"gamma": 1.5, "grid": "native"})
    probabilities = table[["probability_sick", "probability_well"]].to_numpy()
    names = {"classes": ["sick", "well"], "patients": table["patient"]}
    direct = c_score(maps, table["label"], probabilities, **names, gamma=1.5, grid="native")
    rows = scored[scored["level"] == "class"]
    np.testing.assert_allclose(rows["score"], direct.per_class["score"])
    assert rows["n_patients"].tolist() == [3, 3]
    shuffled = np.random.default_rng(1).permutation(12)
    np.savez(folder / "named.npz", values=maps[shuffled], images=table["image"].to_numpy(str)[shuffled])
    named = score_files(str(folder / "named.npz"), str(folder / "predictions.csv"), {"gamma": 1.5, "grid": "native"})
    np.testing.assert_allclose(named[named["level"] == "class"]["score"], rows["score"])
    plain = table.rename(columns={"probability_sick": "sick", "probability_well": "well"})
    plain.to_csv(folder / "plain.csv", index=False)
    same = score_files(str(folder / "maps.npz"), str(folder / "plain.csv"), {"gamma": 1.5, "grid": "native"})
    np.testing.assert_allclose(same[same["level"] == "class"]["score"], rows["score"])


def test_files_that_do_not_fit_say_what_is_missing(any_framework):
    folder, maps, table = any_framework
    maps_file, predictions = str(folder / "maps.npz"), str(folder / "predictions.csv")
    with pytest.raises(DataError, match="does not exist"):
        score_files(str(folder / "none.npz"), predictions, {})
    with pytest.raises(DataError, match="do not exist"):
        score_files(maps_file, str(folder / "none.csv"), {})
    np.savez(folder / "wrong.npz", heat=maps)
    with pytest.raises(ScoreInputError, match=r"no array named 'maps' or 'values'\. Received: heat"):
        score_files(str(folder / "wrong.npz"), predictions, {})
    (folder / "text.npz").write_text("no")
    with pytest.raises(DataError, match="cannot be read"):
        score_files(str(folder / "text.npz"), predictions, {})
    table.drop(columns=["label"]).to_csv(folder / "bare.csv", index=False)
    with pytest.raises(ScoreInputError, match="no column 'label'"):
        score_files(maps_file, str(folder / "bare.csv"), {})
    table[["image", "label", "probability_sick"]].rename(columns={"probability_sick": "p"}).to_csv(
        folder / "one.csv", index=False
    )
    with pytest.raises(ScoreInputError, match="no probability columns"):
        score_files(maps_file, str(folder / "one.csv"), {})
    table.iloc[:5].to_csv(folder / "short.csv", index=False)
    with pytest.raises(ScoreInputError, match="12"):
        score_files(maps_file, str(folder / "short.csv"), {})


def test_a_capped_scorecam_is_approximate_even_where_it_says_nothing(opened):
    selection = select(opened, limit=3)
    options = MapOptions(given={"max_channels": 8})
    maps = ensure(opened, 4, selection, ["scorecam"], options)["scorecam"]
    hidden = replace(maps, status=np.full(len(maps), "uninformative"))
    assert set(every_status(hidden)) == {"uninformative,approximate"}
    table = score_selection(opened, [4], selection, "scorecam", options, {"threshold": 0.0})
    classes = table[table["level"] == "class"]
    for row in classes.itertuples():
        assert "approximate" in f"{row.status},{row.flags}" or row.status == "empty_gold_list"
    assert set(table["max_channels"]) == {"8"}


def test_our_own_map_files_keep_their_targets_and_statuses(opened, tmp_path):
    selection = select(opened)
    predictions = str(opened.run.predictions_path(4))
    own = ensure(opened, 4, selection, ["gradcam"], MapOptions())["gradcam"]
    file = opened.run.maps_path(4, "test", "gradcam", own.parameters)
    inside = score_selection(opened, [4], selection, "gradcam", MapOptions(), SETTINGS)
    outside = score_files(str(file), predictions, SETTINGS)
    np.testing.assert_allclose(
        outside[outside["level"] == "class"]["score"], inside[inside["level"] == "class"]["score"]
    )
    lobar = ensure(opened, 4, selection, ["gradcam"], MapOptions(target="lobar"))["gradcam"]
    with pytest.raises(ScoreInputError, match="do not explain the true label"):
        score_files(str(opened.run.maps_path(4, "test", "gradcam", lobar.parameters)), predictions, SETTINGS)


def test_a_film_without_a_patient_is_refused_not_pooled(any_framework):
    folder, _, table = any_framework
    table.assign(patient=["p", ""] * 6).to_csv(folder / "holes.csv", index=False)
    with pytest.raises(ScoreInputError, match="patient"):
        score_files(str(folder / "maps.npz"), str(folder / "holes.csv"), {})
    (folder / "cut.npz").write_bytes((folder / "maps.npz").read_bytes()[:300])
    with pytest.raises(DataError, match="cannot be read"):
        score_files(str(folder / "cut.npz"), str(folder / "predictions.csv"), {})
