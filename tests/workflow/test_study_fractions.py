"""A study over weights, recipes and label fractions: its runs, its cells, and the table over seeds."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pandas as pd
import pytest

from cxrkeras.config import dump_yaml
from cxrkeras.errors import ConfigError, UsageError
from cxrkeras.run import Run
from cxrkeras.study import Study, load_study
from cxrkeras.study.config import parse_study
from cxrkeras.study.directory import members
from cxrkeras.workflow.localize.tables import read_localization
from cxrkeras.workflow.runs import stored_auc
from cxrkeras.workflow.study import localize as study_localize
from cxrkeras.workflow.study import run as study_run
from cxrkeras.workflow.study import study as study_module
from cxrkeras.workflow.study.config import resolved_members, resolved_study
from cxrkeras.workflow.study.fractions import FRACTIONS, SEEDS, fraction_table, seed_table
from cxrkeras.workflow.study.localize import best_checkpoint
from cxrkeras.workflow.study.plan import study_plan
from cxrkeras.workflow.study.study import run_study


def values_of(folder, tiny_settings, training=None, **study):
    settings = dict(tiny_settings) | (training or {})
    model = {name: settings.pop(name) for name in ("backbone", "weights", "image_size")}
    return {
        "data": {"path": str(folder)},
        "model": model,
        "training": settings,
        "score": {"threshold": 0.5},
        "study": {
            "backbones": ["compact"],
            "methods": ["eigencam"],
            "recommend_on": "test",
            "drift": False,
            "validity": False,
            "report": False,
            **study,
        },
    }


@pytest.fixture(scope="module")
def make_config(phantom_folder, tiny_settings):
    def make(training=None, **study):
        return resolved_study(parse_study(values_of(phantom_folder, tiny_settings, training, **study), "test"))

    return make


def test_the_shipped_study_is_a_matrix_of_recipes_fractions_and_seeds():
    config = load_study("kermany-fractions")
    made = members(config)
    shares = itertools.product(["linear", "finetune"], ["0.01", "0.1", "1"], [0, 1, 2])
    assert [one.name for one in made] == [f"ResNet50V2-random-{r}-f{f}-seed{s}" for r, f, s in shares]
    for one in made:
        assert one.config.data.fraction == one.fraction
        assert (one.config.data.fraction_seed, one.config.training.seed) == (one.seed, one.seed)
        assert one.config.training.epochs == ((6, 0) if one.recipe == "linear" else (6, 4))
        assert (one.config.model.weights, one.config.model.image_size) == ("random", 96)
    assert [method.name for method in config.study.methods] == ["layercam"]
    parts = config.study.drift, config.study.validity, config.study.localize
    assert [part.enabled for part in parts] == [False, False, False]


def test_names_have_a_part_for_what_is_asked_and_no_other(make_config):
    def names(**study):
        return [member.name for member in resolved_members(make_config(**study))]

    assert names(seeds=[0, 1]) == ["compact-seed0", "compact-seed1"]
    assert names(fractions=[0.01, 1]) == ["compact-f0.01-seed0", "compact-f1-seed0"]
    assert names(recipes=["linear"]) == ["compact-linear-seed0"]
    two = ["random", {"name": "nih", "source": "run:nih-random@best"}]
    assert names(weights=two) == ["compact-random-seed0", "compact-nih-seed0"]
    assert names(weights=two[1:], recipes=["linear"], fractions=[0.1]) == ["compact-nih-linear-f0.1-seed0"]
    (nih,) = resolved_members(make_config(weights=two[1:]))
    assert nih.config.model.weights == "run:nih-random@best"
    (plain,) = resolved_members(make_config())
    assert (plain.config.data.fraction, plain.config.data.fraction_seed) == (1.0, 0)


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ({"weights": ["run:nih"]}, r"weights 'run:nih' name a directory.*\{name: …, source: 'run:nih'\}"),
        ({"weights": []}, "expected at least one, or leave it out"),
        ({"weights": [{"nam": "a"}]}, r"unknown field 'study\.weights\.0\.nam'.*Did you mean 'name'"),
        ({"weights": ["random"], "backbones": [{"name": "compact", "weights": "random"}]}, "weights of its own"),
        ({"recipes": ["liner"]}, "'finetune', 'linear' or 'convirt'"),
        ({"fractions": [0]}, r"study\.fractions\.0.*greater than 0"),
        ({"fractions": [0.1, 0.1]}, r"compact-f0\.1-seed0 more than once"),
        ({"localize": {"boxes": "a", "masks": "b"}}, "boxes and masks both"),
        ({"localize": {"boxes": "nowhere.csv"}}, r"nowhere\.csv does not exist"),
        ({"localize": {"box": "a"}}, r"unknown field 'study\.localize\.box'.*Did you mean 'boxes'"),
        ({"localize": {"threshold": "tuned"}}, "'tuned' has no value yet"),
    ],
)
def test_a_wrong_matrix_names_the_field(make_config, study, message):
    with pytest.raises((ConfigError, UsageError), match=message):
        make_config(**study)


def test_a_shared_recipe_beside_the_studys_is_refused(make_config):
    """`linear` turns epochs 6,6 into 6,0, with which `finetune` would never fine-tune."""
    shared = {"recipe": "linear", "epochs": (6, 6)}
    with pytest.raises(ConfigError, match=r"training\.recipe is linear.*crosses recipes \(linear, finetune\)"):
        make_config(shared, recipes=["linear", "finetune"])
    assert [m.config.training.epochs for m in resolved_members(make_config(shared))] == [(6, 0)]
    crossed = resolved_members(make_config({"epochs": (6, 6)}, recipes=["linear", "finetune", "convirt"]))
    assert [m.config.training.epochs for m in crossed] == [(6, 0), (6, 6), (1, 6)]


def test_untrained_runs_are_refused_unless_allowed(make_config):
    with pytest.raises(ConfigError, match=r"compact-seed0 would have no epoch.*allow_untrained"):
        make_config({"epochs": (0, 0)})
    assert make_config({"epochs": (0, 0)}, allow_untrained=True).study.allow_untrained


def test_a_recipe_fills_the_same_settings_after_the_study_was_stored(phantom_folder, tiny_settings, tmp_path):
    values = values_of(phantom_folder, tiny_settings, recipes=["finetune", "convirt"])
    # given: epochs; left to the recipe: batch size, rates and the head's steps
    for name in ("batch_size", "learning_rate"):
        values["training"].pop(name)
    config = resolved_study(parse_study(values, "test"))
    study = Study.create(tmp_path / "s", config)
    first, second = ([member.config for member in resolved_members(one)] for one in (config, study.config))
    assert first == second
    assert [one.training.head_steps for one in first] == [None, 200]
    assert [one.training.batch_size for one in first] == [32, 64]
    assert [one.data.resize for one in first] == ["squash", "pad"]
    assert [one.training.epochs for one in first] == [(2, 2), (1, 2)]
    again = resolved_study(study.config)
    assert [member.config for member in resolved_members(again)] == first


@pytest.fixture(scope="module")
def whole(make_config, tmp_path_factory):
    """A study of two fractions of which one cannot be drawn; its runs are one-epoch heads."""
    config = make_config(
        {"epochs": (1, 1)},
        weights=["random"],
        recipes=["linear"],
        fractions=[0.01, 0.5],
        localize={"methods": ["eigencam"], "chance": False},
    )
    path = tmp_path_factory.mktemp("studies") / "fractions"
    assert len(study_plan(config, path)["run"].unique()) == 3
    return config, run_study(config, path)


def test_a_fraction_that_cannot_be_drawn_fails_alone_with_its_reason(whole):
    _, result = whole
    (failed,) = result.failed.itertuples()
    assert (failed.run, failed.work) == ("compact-random-linear-f0.01-seed0", "train")
    assert "label fraction 0.01 of train is 0 of" in failed.error
    assert "the smallest fraction that has it is" in failed.error
    good = result.cells[result.cells["state"] == "done"]
    assert good["work"].tolist() == ["train", "score", "analyse", "localize"]
    assert good["epoch"].tolist()[3] == 1


def test_the_runs_know_their_fraction_and_the_tables_say_it(whole):
    config, result = whole
    (run,) = result.study.runs()
    manifest = run.manifest()
    train = manifest[manifest["split"] == "train"]
    assert set(manifest["label_fraction"]) == {0.5}
    assert set(train["label"]) == set(run.classes)
    assert (manifest.groupby("patient")["split"].nunique() == 1).all()
    (row,) = result.headline.itertuples()
    assert result.headline.columns.tolist()[:5] == ["backbone", "source", "recipe", "fraction", "seed"]
    assert (row.source, row.recipe, row.fraction, row.checkpoint) == ("random", "linear", 0.5, 1)
    assert "watermark" not in result.headline

    table = result.fractions
    assert table.columns.tolist() == FRACTIONS
    key = table[["fraction", "method", "metric"]].itertuples(index=False, name=None)
    rows = [("", "auc"), ("eigencam", "iou"), ("eigencam", "hit"), ("eigencam", "mass")]
    assert list(key) == [(share, *row) for share in (0.01, 0.5) for row in rows]
    assert set(table["status"][:4]) == {"no_run"}
    assert table["mean"][:4].isna().all()
    assert set(table["status"][4:]) == {"one_seed"}
    assert table["sd"].isna().all()
    auc, iou = table.iloc[4], table.iloc[5]
    assert auc["mean"] == stored_auc(run, 1, "test")
    assert auc["n_films"] == (manifest["split"] == "test").sum()
    summary = pd.read_csv(run.localization_path(1, "test", "summary"))
    assert iou["mean"] == summary.loc[summary["metric"] == "iou", "mean"].item()
    assert iou["n_films"] == pd.read_csv(run.localization_path(1, "test", "films"))["image"].nunique()
    assert (result.study.report_folder / "figures" / "efficiency.png").stat().st_size > 5000
    pd.testing.assert_frame_equal(
        seed_table(config, [(m, Run(result.study.run_path(m.name))) for m in members(config)])["value"].to_frame(),
        result.study.table("fraction_seeds")["value"].to_frame(),
    )


def test_what_is_done_is_not_done_again_and_localized_anew_for_other_settings(whole, tmp_path, monkeypatch):
    config, result = whole
    shutil.copytree(result.study.path, tmp_path / "s")
    real = study_localize.localize

    def refuse(*arguments, **options):
        raise AssertionError("done again")

    def only_what_cannot_be_drawn(config, **options):
        assert config.data.fraction < 0.1, "trained again"
        return plain(config, **options)

    plain = study_run.train
    monkeypatch.setattr(study_localize, "localize", refuse)
    monkeypatch.setattr(study_run, "train", only_what_cannot_be_drawn)
    again = run_study(config, tmp_path / "s")
    assert again.failed["work"].tolist() == ["train"]
    pd.testing.assert_frame_equal(again.fractions, result.fractions)
    plan = study_plan(config, tmp_path / "s").set_index("work")
    assert plan.loc["localize", ["done", "forwards"]].tolist() == [1, 0]

    calls = []
    monkeypatch.setattr(study_localize, "localize", lambda *a, **o: calls.append(a[5].threshold) or real(*a, **o))
    wanted = config.study.localize.model_copy(update={"threshold": "fixed:0.5"})
    other = config.model_copy(update={"study": config.study.model_copy(update={"localize": wanted})})
    fixed = run_study(other, tmp_path / "s")
    assert calls == ["fixed:0.5"]
    changed = fixed.fractions["mean"][4:].to_numpy() - result.fractions["mean"][4:].to_numpy()
    assert changed[1] != 0, "another threshold, another IoU"
    assert changed[[0, 2, 3]].tolist() == [0, 0, 0]


def test_rows_that_others_asked_for_are_not_the_studys(whole, tmp_path):
    """A run localized by hand with other marks, classes or maps keeps the study's numbers."""
    config, result = whole
    shutil.copytree(result.study.path, tmp_path / "s")
    (run,) = Study(tmp_path / "s").runs()
    file = run.localization_path(1, "test", "summary")
    own = read_localization(file)
    other_class = own.assign(**{"finding": "Lung Opacity", "mean": 0.9})
    other_maps = own.assign(**{"options": "ig_steps=20", "mean": 0.9})
    pd.concat([own, other_class, other_maps]).to_csv(file, index=False)
    wanted = [(m, Run(tmp_path / "s" / "runs" / m.name)) for m in members(config)]
    pd.testing.assert_series_equal(seed_table(config, wanted)["value"], result.study.table("fraction_seeds")["value"])
    pd.concat([own, own.assign(**{"annotations": "0" * 8, "mean": 0.9})]).to_csv(file, index=False)
    again = run_study(config, tmp_path / "s")
    pd.testing.assert_frame_equal(again.fractions, result.fractions)


@pytest.mark.parametrize(("seeds", "jobs", "way"), [(4, 1, "in turn"), (5, 1, "processes"), (2, 2, "processes")])
def test_more_than_four_trainings_each_get_a_process(make_config, tmp_path, monkeypatch, seeds, jobs, way):
    class ChosenError(Exception):
        pass

    def chosen(name):
        def work(*arguments):
            raise ChosenError(name)

        return work

    monkeypatch.setattr(study_module, "_in_turn", chosen("in turn"))
    monkeypatch.setattr(study_module, "_in_processes", chosen("processes"))
    with pytest.raises(ChosenError, match=way):
        run_study(make_config(seeds=list(range(seeds))), tmp_path / "s", jobs=jobs)


def seeds_of(*rows):
    table = pd.DataFrame(rows, columns=["fraction", "seed", "metric", "value", "status"])
    table = table.assign(backbone="compact", source="random", recipe="linear", epoch=1, n_films=9, n_patients=4)
    table["method"] = table["metric"].map({"auc": "", "iou": "gradcam"})
    return table.assign(value_zero=table["value"].fillna(0), n_degenerate=1)[SEEDS]


def test_mean_and_spread_over_seeds_by_hand():
    table = fraction_table(
        seeds_of(
            (0.1, 0, "auc", 0.6, "ok"),
            (0.1, 1, "auc", 0.7, "ok"),
            (0.1, 2, "auc", 0.95, "ok"),
            (0.1, 0, "iou", 0.2, "ok"),
            (0.1, 1, "iou", np.nan, "undefined"),
            (1.0, 0, "auc", np.nan, "no_run"),
            (1.0, 1, "auc", np.nan, "undefined"),
        )
    )
    assert table[["fraction", "method", "metric"]].to_numpy().tolist() == [
        [0.1, "", "auc"], [0.1, "gradcam", "iou"], [1.0, "", "auc"],
    ]  # fmt: skip
    np.testing.assert_allclose(table["mean"], [0.75, 0.2, np.nan])
    # squares of the deviations: .0225 + .0025 + .04 = .065 over 2
    np.testing.assert_allclose(table["sd"], [np.sqrt(0.0325), np.nan, np.nan])
    np.testing.assert_allclose(table["low"], [0.6, 0.2, np.nan])
    np.testing.assert_allclose(table["high"], [0.95, 0.2, np.nan])
    assert table["n_seeds"].tolist() == [3, 1, 0]
    assert table["status"].tolist() == ["ok", "one_seed", "no_run+undefined"]
    np.testing.assert_allclose(table["mean_zero"], [0.75, 0.1, 0.0])
    assert table["n_degenerate"].tolist() == [3, 2, 2]


def test_an_untrained_run_is_marked_in_every_row(make_config, tiny_run, tmp_path):
    config = make_config({"epochs": (0, 0)}, recipes=["finetune"], allow_untrained=True)
    (member,) = resolved_members(config)
    run = Run(tmp_path / "runs" / member.name)
    shutil.copytree(tiny_run.path, run.path)
    (run.path / "config.yaml").write_text(dump_yaml(member.config))
    (run.path / "history.csv").unlink()
    assert best_checkpoint(run) == 4, "without a validation AUC, the last"
    seeds = seed_table(config, [(member, run)])
    assert seeds["status"].tolist() == ["head_not_trained"]
    assert fraction_table(seeds)["status"].tolist() == ["head_not_trained"]
    assert best_checkpoint(tiny_run) == tiny_run.resolve_epoch("best")
