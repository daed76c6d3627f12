"""Around the run: evaluate, explain with pictures, export, runs, clean, films from outside."""

from __future__ import annotations

import json
import sys
import zipfile

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, roc_auc_score

import cxrkeras as cx
from cxrkeras.errors import DataError, RunError, UsageError
from cxrkeras.workflow.evaluate import evaluate, save_evaluation
from cxrkeras.workflow.explain import explain_selection, flat_name, spread_over_classes
from cxrkeras.workflow.export import export
from cxrkeras.workflow.map_options import MapOptions, map_options
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.runs import checkpoint_table, clean
from cxrkeras.workflow.selection import select


@pytest.fixture(scope="module")
def evaluation(tiny_run):
    """The test films of the last checkpoint."""
    run = OpenRun(tiny_run)
    return evaluate(run, 4, select(run))


def test_evaluation_numbers_equal_scikit_learn_s(opened, evaluation):
    result = evaluation
    table = opened.run.predictions(4, "test")
    truth = (table["label"] == "normal").to_numpy()
    row = result.summary.iloc[0]
    assert row["auc"] == pytest.approx(roc_auc_score(truth, table["probability_normal"]))
    assert row["n_images"] == len(table)
    assert row["n_patients"] == table["patient"].nunique() < len(table)
    predicted = (table["probability_normal"] > 0.5).to_numpy()
    np.testing.assert_array_equal(
        result.confusion[["predicted_lobar", "predicted_normal"]].to_numpy(), confusion_matrix(truth, predicted)
    )
    assert row["accuracy"] == pytest.approx((truth == predicted).mean())


def test_rates_have_intervals_over_patients(opened, evaluation):
    rates = evaluation.per_class
    table = opened.run.predictions(4, "test")
    for row in rates.itertuples():
        own = table[table["label"] == row[1]]
        called = (own["probability_normal"] > 0.5).map({True: "normal", False: "lobar"})
        assert row.sensitivity == pytest.approx((called == row[1]).mean())
        assert row.sensitivity_ci_low <= row.sensitivity <= row.sensitivity_ci_high
    # with two classes the one's specificity is the other's sensitivity, interval and all
    for name in ("", "_ci_low", "_ci_high"):
        np.testing.assert_allclose(rates[f"specificity{name}"], rates[f"sensitivity{name}"][::-1])


def test_outside_films_give_the_run_s_own_numbers_and_labels_can_be_renamed(
    opened, evaluation, phantom_folder, tmp_path
):
    inside = evaluation
    outside = evaluate(opened, 4, select(opened, data=phantom_folder, split="test"))
    assert outside.summary["auc"].iloc[0] == pytest.approx(inside.summary["auc"].iloc[0])
    frame = pd.read_csv(phantom_folder / "manifest.csv")
    frame["label"] = frame["label"].replace({"normal": "NO_FINDING"})
    frame["path"] = [str(phantom_folder / path) for path in frame["path"]]
    frame.to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(DataError, match=r"no class of run.*NO_FINDING.*--map-class NO_FINDING=lobar"):
        select(opened, data=tmp_path / "other.csv")
    with pytest.raises(UsageError, match=r"unknown class 'norml'.*Did you mean 'normal'"):
        select(opened, data=tmp_path / "other.csv", map_class=[("NO_FINDING", "norml")])
    with pytest.raises(UsageError, match="unknown label 'NO_FINDNG'"):
        select(opened, data=tmp_path / "other.csv", map_class=[("NO_FINDNG", "normal")])
    renamed = select(
        opened, data=tmp_path / "other.csv", map_class=[("NO_FINDING", "normal")], split="test", out=tmp_path / "out"
    )
    again = evaluate(opened, 4, renamed)
    assert again.summary["auc"].iloc[0] == pytest.approx(inside.summary["auc"].iloc[0])
    save_evaluation(renamed.sink, 4, renamed.split, again)
    assert len(renamed.sink.predictions(4, "all")) == len(renamed)
    assert not (opened.run.path / "outside").exists()


def test_one_class_outside_has_an_undefined_auc_not_a_number(opened, phantom_folder, tmp_path):
    frame = pd.read_csv(phantom_folder / "manifest.csv")
    frame = frame[frame["label"] == "normal"]
    frame["path"] = [str(phantom_folder / path) for path in frame["path"]]
    frame.to_csv(tmp_path / "normal.csv", index=False)
    row = evaluate(opened, 4, select(opened, data=tmp_path / "normal.csv")).summary.iloc[0]
    assert np.isnan(row["auc"])
    assert row["status"] == "class_absent"


def test_pictures_are_drawn_for_every_method_and_film(opened):
    selection = select(opened, limit=2)
    table = explain_selection(opened, 4, selection, "gradcam,layercam", MapOptions(), overlays=3)
    for row in table.itertuples():
        folder = opened.run.overlays_path(4, row.method)
        names = sorted(file.name for file in folder.iterdir())
        assert len(names) == 3 + 1
        assert "contact_sheet.png" in names
        for name in names:
            with Image.open(folder / name) as picture:
                assert picture.size[0] > 600
                assert len(set(picture.convert("RGB").resize((40, 40)).get_flattened_data())) > 50
        assert row.overlays == 3
        assert row.n_maps == 4


def test_pictures_of_another_split_layer_or_target_stand_apart(opened):
    few = {"limit": 1}
    for split, options in [
        ("test", MapOptions()),
        ("val", MapOptions()),
        ("test", MapOptions(target="predicted")),
        ("test", MapOptions(layer="stride4")),
    ]:
        explain_selection(opened, 4, select(opened, split=split, **few), "gradcam", options, overlays=1)
    names = sorted(p.name.split("--")[0] + ("--…" if "--" in p.name else "") for p in
                   opened.run.overlays_path(4, "x").parent.iterdir())  # fmt: skip
    assert names == ["gradcam", "gradcam--…", "gradcam--…", "gradcam@predicted"]


def test_file_names_of_pictures_are_distinct_and_short_enough():
    images = ("a/b.png", "a__b.png", "a%5F%5Fb.png", "x/" * 200 + "f.png", "x/" * 201 + "f.png")
    names = [flat_name(image) for image in images]
    assert len(set(names)) == 5
    assert names[0] == "a__b.png"
    assert max(len(name.encode()) for name in names) <= 200


def test_loose_images_are_explained_for_their_predicted_class_outside_the_run(opened, phantom_folder, tmp_path):
    films = pd.read_csv(phantom_folder / "manifest.csv")["path"][:2]
    selection = select(opened, image=[phantom_folder / film for film in films], out=tmp_path / "here")
    options = map_options(opened, selection)
    table = explain_selection(opened, 4, selection, "gradcam", options)
    assert options.target == "predicted"
    pictures = sorted((tmp_path / "here" / "overlays" / "epoch_004" / "gradcam@predicted").glob("*.png"))
    assert len(pictures) == 3
    assert table["n_maps"].tolist() == [2]
    assert not (opened.run.path / "overlays").exists()


def test_selections_that_cannot_be_are_refused(opened, phantom_folder, tmp_path):
    with pytest.raises(DataError, match=r"no films in split 'tset'\. Expected one of: test, train, val"):
        select(opened, split="tset")
    with pytest.raises(DataError, match="does not exist"):
        select(opened, image=[tmp_path / "none.png"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no films"):
        select(opened, image=[tmp_path / "empty"])
    with pytest.raises(UsageError, match="leave out --data"):
        select(opened, image=[tmp_path], data=phantom_folder)
    with pytest.raises(UsageError, match="which was not given"):
        select(opened, label_column="x")


def test_taking_classes_in_turn():
    labels = np.array([1, 1, 1, 0, 0, 1])
    assert spread_over_classes(labels, 4).tolist() == [3, 0, 4, 1]
    assert sorted(spread_over_classes(labels, 99).tolist()) == list(range(6))


def modules_of(config) -> set[str]:
    """The packages whose classes and functions a Keras configuration names."""
    if isinstance(config, list):
        return set().union(*map(modules_of, config))
    if not isinstance(config, dict):
        return set()
    own = {config["module"].split(".")[0]} if config.get("module") else set()
    return own.union(*map(modules_of, config.values()))


def test_an_exported_model_needs_no_cxrkeras_and_gives_the_stored_probabilities(opened, tmp_path, monkeypatch):
    file = export(opened, 4, tmp_path / "model.keras")
    films = opened.films.take(opened.split("test")[:5])
    pixels = np.repeat(films.store.get(films.indices)[..., None], 3, axis=3)
    with zipfile.ZipFile(file) as archive:
        assert modules_of(json.loads(archive.read("config.json"))) == {"keras"}
    with monkeypatch.context() as without:
        for name in [name for name in sys.modules if name.split(".")[0] == "cxrkeras"]:
            without.setitem(sys.modules, name, None)
        probabilities = keras.models.load_model(file).predict(pixels, verbose=0)
    stored = opened.run.predictions(4, "test").set_index("image").loc[films.ids]
    np.testing.assert_allclose(probabilities, stored[["probability_lobar", "probability_normal"]], atol=1e-5)
    with pytest.raises(RunError, match="exists"):
        export(opened, 4, file)
    with pytest.raises(UsageError, match=r"does not end in \.keras"):
        export(opened, 4, tmp_path / "model.h5")


def test_cleaning_keeps_what_is_named_and_only_checkpoints_go(opened):
    run = opened.run
    best = run.resolve_epoch("best")
    plan = clean(run, ["best", "last"], dry_run=True)
    assert run.epochs() == [1, 2, 3, 4]
    assert set(plan["action"]) <= {"kept", "would go"}
    clean(run, ["best", "last"])
    assert run.epochs() == sorted({best, 4})
    assert run.predictions(1, "test") is not None
    assert len(checkpoint_table(run)) == len({best, 4})
    with pytest.raises(UsageError, match="nothing to keep"):
        clean(run, [])
    run.update_info(state="running")
    with pytest.raises(UsageError, match="needed to resume"):
        clean(run, ["last"])


def test_the_python_interface_of_the_design(run_copy):
    maps = cx.explain(run_copy, epoch=4, method="layercam")
    assert isinstance(maps, cx.Maps)
    assert maps.values.shape == (len(maps), 8, 8)
    score = cx.score(run_copy, epoch=4, method="layercam", threshold=0.5)
    assert isinstance(score, cx.ConsistencyScore)
    assert list(score.per_class["class"]) == ["lobar", "normal"]
    assert score.parameters["threshold"] == 0.5
    assert cx.evaluate(run_copy.path, epoch="last").summary["epoch"].iloc[0] == 4
    assert run_copy.find_maps(4, "test", "layercam", maps.parameters) is not None


def test_a_run_is_no_place_for_results_of_other_films(opened, run_copy):
    with pytest.raises(UsageError, match="is a run"):
        select(opened, limit=2, out=run_copy.path)


def test_a_film_of_the_run_that_changed_is_noticed(tmp_path, phantom_folder, tiny_settings):
    import shutil

    from cxrkeras.workflow.train import train

    data = tmp_path / "films"
    shutil.copytree(phantom_folder, data)
    run = train(data=data, run=tmp_path / "run", **{**tiny_settings, "epochs": (1, 0)})
    frame = run.manifest()
    first, second = frame[frame["split"] == "test"]["path"][:2]
    shutil.copy(data / first, data / second)
    with pytest.raises(DataError, match="1 films are not the ones this run was started with"):
        select(OpenRun(run))
