"""A study at work: what it takes over, scores once, leaves out when it is broken, and says it would take."""

from __future__ import annotations

import shutil
from concurrent.futures import Future, ProcessPoolExecutor

import numpy as np
import pandas as pd
import pytest
import yaml

from cxrkeras.config import dump_yaml
from cxrkeras.errors import ConfigError, MethodError, RunError, UsageError
from cxrkeras.models.randomise import cascade
from cxrkeras.run import Run
from cxrkeras.study import Study
from cxrkeras.study.config import parse_study
from cxrkeras.tables import read_scores
from cxrkeras.workflow.map_options import MapOptions
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.score import score as score_module
from cxrkeras.workflow.score.score import score_selection
from cxrkeras.workflow.selection import select
from cxrkeras.workflow.study import later as study_later
from cxrkeras.workflow.study import run as study_run
from cxrkeras.workflow.study import study as study_module
from cxrkeras.workflow.study.config import resolved_members, resolved_study
from cxrkeras.workflow.study.later import reported_epoch
from cxrkeras.workflow.study.plan import study_plan
from cxrkeras.workflow.study.study import run_study

TABLES = ("headline", "findings", "drift", "reversals")


@pytest.fixture(scope="module")
def make_config(phantom_folder, tiny_settings):
    """A study whose `compact-seed0` is the session's tiny run."""

    def make(**study):
        settings = dict(tiny_settings)
        model = {name: settings.pop(name) for name in ("backbone", "weights", "image_size")}
        values = {
            "data": {"path": str(phantom_folder)},
            "model": model,
            "training": settings,
            "score": {"threshold": 0.5},
            "study": {
                "backbones": ["compact"],
                "methods": ["gradcam", "eigencam"],
                "recommend_on": "test",
                "drift": {"methods": ["gradcam", "eigencam"]},
                "validity": False,
                "report": False,
                **study,
            },
        }
        return resolved_study(parse_study(values, "test"))

    return make


@pytest.fixture(scope="module")
def whole(tiny_run, tmp_path_factory, make_config):
    """The study done without a stop, and its path; do not change it."""
    config, path = make_config(), tmp_path_factory.mktemp("studies") / "whole"
    run = path / "runs" / "compact-seed0"
    shutil.copytree(tiny_run.path, run)
    (run / "config.yaml").write_text(dump_yaml(resolved_members(config)[0].config))
    return run_study(config, path)


@pytest.fixture
def adopted(whole, tmp_path, make_config):
    """A directory that holds the trained run, and its maps, under the study's name for it, for these seeds."""

    def adopt(folder="s", seeds=(0,)):
        for seed in seeds:
            path = tmp_path / folder / "runs" / f"compact-seed{seed}"
            done = shutil.ignore_patterns("scores", "analysis", "drift")
            shutil.copytree(whole.study.run_path("compact-seed0"), path, ignore=done)
            config = next(m.config for m in resolved_members(make_config(seeds=list(seeds))) if m.seed == seed)
            (path / "config.yaml").write_text(dump_yaml(config))
        return tmp_path / folder

    return adopt


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr(study_run, "train", refuse)


def without_times(study: Study) -> dict[str, pd.DataFrame]:
    return {name: study.table(name) for name in TABLES} | {"cells": study.table("cells").drop(columns="seconds")}


def test_a_run_s_configuration_is_the_one_that_train_would_resolve(make_config, tiny_run):
    (member,) = resolved_members(make_config())
    unscored = member.config.model_copy(update={"score": tiny_run.config.score})
    assert unscored == tiny_run.config


def test_every_method_is_reported_at_its_checkpoint_with_what_its_run_stored(whole):
    assert whole.failed.empty
    assert whole.cells.groupby("work").size().to_dict() == {"train": 1, "score": 8, "analyse": 1, "drift": 1}
    run = whole.study.runs()[0]
    recommendation = pd.read_csv(run.analysis_path("test", "recommendation")).set_index("method")
    auc = pd.read_csv(run.analysis_path("test", "auc")).set_index("epoch")
    assert whole.headline["method"].tolist() == ["gradcam", "eigencam"]
    for row in whole.headline.itertuples():
        chosen = recommendation.loc[row.method, "status"] == "recommended"
        best = int(auc["auc"].idxmax())
        assert row.checkpoint == (recommendation.loc[row.method, "checkpoint"] if chosen else best)
        assert row.recommendation == ("recommended" if chosen else "none")
        assert row.auc == pytest.approx(auc.loc[row.checkpoint, "auc"])
        stored = read_scores(run.scores_path(row.checkpoint))
        own = stored[stored["method"] == row.method].set_index("class")
        assert row.macro == pytest.approx(own.loc["macro", "score"], nan_ok=True)
        for name in run.classes:
            assert getattr(row, f"score_{name}") == pytest.approx(own.loc[name, "score"], nan_ok=True)
            assert getattr(row, f"coverage_{name}") == pytest.approx(own.loc[name, "coverage"], nan_ok=True)
    assert set(whole.headline["randomisation"]) == {"not checked"}
    drift = whole.study.table("drift")
    assert set(drift["method"]) == {"gradcam", "eigencam"}
    assert set(zip(drift["from_epoch"], drift["to_epoch"], strict=True)) == {(2, 4)}
    assert whole.study.info["state"] == "complete"


def test_what_is_done_is_not_done_again_and_a_study_may_grow(whole, make_config, no_training, monkeypatch, tmp_path):
    shutil.copytree(whole.study.path, tmp_path / "s")
    monkeypatch.setattr(score_module, "c_score", no_call)
    monkeypatch.setattr(study_later, "analyse", no_call)
    monkeypatch.setattr(study_later, "drift", no_call)
    with monkeypatch.context() as context:
        context.setattr(study_later, "validity", no_call)
        again = run_study(make_config(), tmp_path / "s")
    assert again.failed.empty
    for name, table in without_times(again.study).items():
        pd.testing.assert_frame_equal(table, without_times(whole.study)[name])
    pd.testing.assert_series_equal(again.cells["seconds"], whole.cells["seconds"].where(whole.cells["work"] != "train"))

    grown = run_study(make_config(validity={"films": 4, "steps": 2, "methods": ["gradcam"]}), tmp_path / "s")
    assert grown.failed.empty
    assert grown.cells["work"].tolist() == [*again.cells["work"], "validity"]
    (run,) = grown.study.runs()
    checkpoint = int(grown.cells["epoch"].iloc[-1])
    assert checkpoint == grown.headline["checkpoint"].iloc[0]
    verdicts = pd.read_csv(run.validity_path(checkpoint, "test", "randomisation"))["verdict"]
    assert grown.headline["randomisation"].tolist() == [verdicts.iloc[-1], "not checked"]


def no_call(*arguments, **options):
    raise AssertionError("done again")


def test_a_killed_study_resumes_to_the_tables_of_an_uninterrupted_one(
    whole, adopted, make_config, no_training, monkeypatch
):
    path, real, calls = adopted(), score_module.c_score, []

    def killed(maps, *arguments, **options):
        calls.append((maps.method, maps.parameters["checkpoint"]))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(maps, *arguments, **options)

    monkeypatch.setattr(score_module, "c_score", killed)
    with pytest.raises(KeyboardInterrupt):
        run_study(make_config(), path)
    kept = Run(path / "runs" / "compact-seed0")
    assert sorted(kept.scores()["epoch"].unique()) == [1], "the second checkpoint was not finished"
    first = kept.scores_path(1).read_bytes()
    resumed = run_study(make_config(), path)
    assert kept.scores_path(1).read_bytes() == first
    assert len(calls) == 4 + 6, "the first checkpoint's two methods were not scored again"
    expected = without_times(whole.study)
    for name, table in without_times(resumed.study).items():
        pd.testing.assert_frame_equal(table, expected[name], rtol=1e-12)


def test_a_broken_checkpoint_fails_alone_and_is_done_when_it_is_restored(adopted, make_config, no_training):
    config, path = make_config(drift=False), adopted()
    file = Run(path / "runs" / "compact-seed0").checkpoint_path(3)
    good = file.read_bytes()
    file.write_bytes(good[:-5000])
    result = run_study(config, path)
    assert result.failed[["work", "epoch", "method"]].to_numpy().tolist() == [
        ["score", 3, "gradcam"],
        ["score", 3, "eigencam"],
    ]
    assert result.failed["error"].str.contains("is not the file that training wrote").all()
    assert result.study.info["state"] == "incomplete"
    (run,) = result.study.runs()
    assert pd.read_csv(run.analysis_path("test", "auc"))["epoch"].tolist() == [1, 2, 4]
    assert len(result.headline) == 2
    file.write_bytes(good)
    again = run_study(config, path)
    assert again.failed.empty
    assert pd.read_csv(run.analysis_path("test", "auc"))["epoch"].tolist() == [1, 2, 3, 4]


def test_a_run_with_other_settings_stops_the_study_before_it_begins(adopted, make_config):
    path = adopted("s")
    other = make_config()
    other = other.model_copy(update={"training": other.training.model_copy(update={"epochs": (2, 3)})})
    with pytest.raises(RunError, match=r"training\.epochs stored \(2, 2\), received \(2, 3\)"):
        run_study(other, path)
    assert not (path / "study.yaml").exists()


def test_a_study_in_use_is_refused(adopted, make_config):
    from cxrkeras.store import exclusive

    path = adopted("s")
    with exclusive(path), pytest.raises(RunError, match="in use by another cxrkeras process"):
        run_study(make_config(), path)


def test_a_run_that_cannot_be_trained_leaves_the_others(adopted, make_config, monkeypatch):
    def broken(*arguments, **options):
        raise RunError("no weights.")

    monkeypatch.setattr(study_run, "train", broken)
    path = adopted("s", seeds=(0, 1))
    shutil.rmtree(path / "runs" / "compact-seed1")
    config = make_config(seeds=[0, 1], methods=["eigencam"], drift=False)
    result = run_study(config, path)
    assert result.failed[["run", "work", "error"]].to_numpy().tolist() == [["compact-seed1", "train", "no weights."]]
    assert result.headline["seed"].tolist() == [0]


def test_a_study_trains_what_is_not_there_and_only_that(tmp_path, make_config, monkeypatch):
    config = make_config(methods=["eigencam"], drift=False)
    config = config.model_copy(update={"training": config.training.model_copy(update={"epochs": (1, 0)})})
    assert run_study(config, tmp_path / "s").failed.empty
    (run,) = Study.open(tmp_path / "s").runs()
    assert (run.state, run.epochs()) == ("complete", [1])
    assert run.config == resolved_members(config)[0].config
    monkeypatch.setattr(study_run, "train", no_call)
    assert run_study(config, tmp_path / "s").failed.empty


class FirstInAProcess(ProcessPoolExecutor):
    """A process takes seconds to start: the first work gets one, the rest is done here."""

    started = False

    def submit(self, work, *arguments):
        if not self.started:
            self.started = True
            return super().submit(work, *arguments)
        done = Future()
        done.set_result(work(*arguments))
        return done


def test_runs_in_processes_of_their_own_give_the_same_tables(adopted, make_config, monkeypatch):
    monkeypatch.setattr(study_module, "ProcessPoolExecutor", FirstInAProcess)
    alone = {"methods": ["eigencam"], "drift": False}
    two = run_study(make_config(seeds=[0, 1], **alone), adopted(seeds=(0, 1)), jobs=2)
    assert two.failed.empty
    assert two.headline["seed"].tolist() == [0, 1]
    one = run_study(make_config(**alone), adopted("one"))
    for seed in (0, 1):
        own = two.headline[two.headline["seed"] == seed].reset_index(drop=True)
        pd.testing.assert_frame_equal(own.drop(columns="seed"), one.headline.drop(columns="seed"))
    with pytest.raises(UsageError, match="jobs"):
        run_study(make_config(), "three", jobs=0)


def test_stored_rows_are_read_and_learn_what_a_later_method_coincides_with(adopted, monkeypatch):
    run = Run(adopted() / "runs" / "compact-seed0")
    opened = OpenRun(run)
    selection = select(opened)
    alone = score_selection(opened, [4], selection, "gradcam", MapOptions(), {}, reuse=True)
    assert set(alone["nearest_method"]) == {""}
    real, scored = score_module.c_score, []
    monkeypatch.setattr(
        score_module, "c_score", lambda maps, *a, **o: scored.append(maps.method) or real(maps, *a, **o)
    )
    both = score_selection(opened, [4], selection, "gradcam,eigencam", MapOptions(), {}, reuse=True)
    assert scored == ["eigencam"]
    nearest = {"gradcam": "eigencam", "eigencam": "gradcam"}
    assert both.groupby("method")["nearest_method"].first().to_dict() == nearest
    columns = ["class", "score", "stderr", "n_gold", "status"]
    pd.testing.assert_frame_equal(both[both["method"] == "gradcam"][columns].reset_index(drop=True), alone[columns])
    again = score_selection(opened, [4], selection, "gradcam,eigencam", MapOptions(), {}, reuse=True)
    pd.testing.assert_frame_equal(again, both)
    assert scored == ["eigencam"]


@pytest.mark.parametrize(("column", "value"), [("threshold", 0.6), ("gamma", 1.0), ("score_version", 0)])
def test_rows_of_another_constant_or_of_an_older_score_are_not_taken(adopted, monkeypatch, column, value):
    run = Run(adopted() / "runs" / "compact-seed0")
    opened = OpenRun(run)
    selection = select(opened)
    first = score_selection(opened, [2], selection, "eigencam", MapOptions(), {}, reuse=True)
    read_scores(run.scores_path(2)).assign(**{column: value}).to_csv(run.scores_path(2), index=False)
    real, scored = score_module.c_score, []
    monkeypatch.setattr(score_module, "c_score", lambda *a, **o: scored.append(1) or real(*a, **o))
    again = score_selection(opened, [2], selection, "eigencam", MapOptions(), {}, reuse=True)
    assert scored == [1]
    np.testing.assert_allclose(again["score"], first["score"], rtol=1e-12)


@pytest.mark.usefixtures("no_training")
def test_a_split_without_films_is_refused_before_training(make_config, tmp_path):
    wrong = make_config(split="tset", drift=False, validity=False)
    for act in (study_plan, run_study):
        with pytest.raises(ConfigError, match=r"unknown split of the study 'tset'.*test, train, val.*'test'"):
            act(wrong, tmp_path / "s")
    assert not (tmp_path / "s" / "study.yaml").exists()


def test_a_plan_counts_cells_and_forwards_and_writes_nothing(whole, make_config, phantom_folder, tmp_path):
    methods = ["gradcam", "eigencam", {"name": "scorecam", "limit": 3, "epochs": [2, 4]}]
    config = make_config(methods=methods, recommend_on="val")
    plan = study_plan(config, tmp_path / "new").set_index(["work", "method"])
    assert not (tmp_path / "new").exists()
    manifest = pd.read_csv(phantom_folder / "manifest.csv")
    frame = whole.study.runs()[0].manifest()
    train, val, test = ((frame["split"] == name).sum() for name in ("train", "val", "test"))
    assert train + val + test == len(manifest)
    # frozen stage: every film once; tuning: validation films after both epochs, test films at both checkpoints
    tuning = 2 * val + 2 * test
    assert plan.loc[("train", ""), "forwards"] == (train + val + test) + tuning + 3 * 2 * train
    assert plan["cells"].to_dict() == {
        ("train", ""): 1, ("score", "gradcam"): 8, ("score", "eigencam"): 8, ("score", "scorecam"): 4, ("", ""): 21,
    }  # fmt: skip
    assert plan.loc[("score", "gradcam"), "forwards"] == 4 * (test + val)
    assert plan.loc[("score", "eigencam"), "forwards"] == 0, "it shares gradcam's forward"
    few = sum(np.minimum(frame[frame["split"] == name]["label"].value_counts(), 3).sum() for name in ("test", "val"))
    assert plan.loc[("score", "scorecam"), "forwards"] == 2 * few * 128
    assert plan.loc[("", ""), "minutes"] == pytest.approx(plan["minutes"].iloc[:-1].sum())
    assert plan.loc[("", ""), "minutes"] > 0

    shutil.copytree(whole.study.run_path("compact-seed0"), tmp_path / "t" / "runs" / "compact-seed0")
    file = Run(tmp_path / "t" / "runs" / "compact-seed0").scores_path(3)
    rows = read_scores(file)
    rows[rows["method"] == "eigencam"].to_csv(file, index=False)
    plan = study_plan(make_config(), tmp_path / "t").set_index(["work", "method"])
    assert plan["done"].to_dict() == {("train", ""): 1, ("score", "gradcam"): 3, ("score", "eigencam"): 4, ("", ""): 8}
    assert plan["forwards"].to_dict() == {
        ("train", ""): 0, ("score", "gradcam"): test, ("score", "eigencam"): 0, ("", ""): test,
    }  # fmt: skip
    assert not (tmp_path / "t" / "study.yaml").exists()

    checked = make_config(validity={"films": 4, "steps": 2, "methods": ["gradcam", "eigencam"]})
    (row,) = study_plan(checked, whole.study.path).set_index("work").loc[["validity"]].itertuples()
    stages = len(cascade(OpenRun(whole.study.runs()[0]).classifier))
    # a film and its baseline, one inner step of two curves a method and three random maps; then three random networks
    assert row.forwards == 4 * (2 + 1 * (2 * 2 + 3)) + 3 * stages * 4
    assert (row.cells, row.done) == (whole.headline["checkpoint"].nunique(), 0)


def test_names_are_spelled_out_and_wrong_ones_refused(make_config):
    config = make_config(methods=["all"], backbones=["COMPACT"])
    assert len(config.study.methods) == 6
    assert (config.study.backbones[0].name, config.study.backbones[0].label) == ("compact", "compact")
    for study, error, message in (
        ({"methods": ["gradcm"]}, MethodError, "Did you mean 'gradcam'"),
        ({"methods": [{"name": "scorecam", "options": {"max_chanels": 3}}]}, MethodError, "max_channels"),
        ({"methods": [{"name": "scorecam", "backbones": ["compct"]}]}, ConfigError, "Did you mean 'compact'"),
        ({"methods": [{"name": "gradcam", "epochs": [5]}]}, ConfigError, r"epochs 5, which leave no.*1, 2, 3, 4"),
        ({"methods": ["gradcam", "all"]}, ConfigError, "gradcam stands more than once"),
        ({"drift": {"from": 9}}, ConfigError, "epoch 9 leaves no checkpoint"),
        ({"drift": {"from": 3, "to": 2}}, ConfigError, "Received from 3 to 2"),
        ({"backbones": [{"name": "compact", "label": "a"}, "compact"],
          "methods": [{"name": "gradcam", "backbones": ["a"]}]}, ConfigError, "no method works on compact"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            make_config(**study)
    assert yaml.safe_load(dump_yaml(config))["study"]["methods"][0]["name"] == "gradcam"


def test_a_method_is_reported_where_it_is_recommended_else_at_the_earliest_best_auc():
    auc = pd.DataFrame({"epoch": [1, 2, 3, 4], "auc": [0.7, 0.9, 0.9, np.nan]})
    table = pd.DataFrame({"method": ["a", "b"], "status": ["recommended", "none"], "checkpoint": [3, np.nan]})
    assert reported_epoch(table, auc, "a") == (3, True)
    assert reported_epoch(table, auc, "b") == (2, False)
