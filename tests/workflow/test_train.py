"""A run from its first epoch to its last: what is written, refused, resumed and repeated."""

from __future__ import annotations

import signal
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
from cxrkeras_cli.main import main

from cxrkeras.errors import CheckpointError, ConfigError, DataError, FilmError, RunError, WeightsError
from cxrkeras.events import Reporter
from cxrkeras.models.classifier import build_classifier
from cxrkeras.run import Run
from cxrkeras.stats.auc import exact_auc
from cxrkeras.store import sha256_file
from cxrkeras.training import routine
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.runs import checkpoint_table
from cxrkeras.workflow.train import train


class StopAt(Reporter):
    """Behaves like Ctrl-C during the named epoch."""

    def __init__(self, epoch: int) -> None:
        self._detail = f"epoch {epoch}"

    def task(self, label, total):
        import contextlib

        @contextlib.contextmanager
        def bar():
            def advance(n=1, detail=""):
                if detail == self._detail:
                    raise KeyboardInterrupt

            yield advance

        return bar()


def weights_of(run: Run, epoch: int) -> list[np.ndarray]:
    opened = OpenRun(run)
    opened.load(epoch)
    return opened.classifier.model.get_weights()


def test_a_complete_run_holds_what_the_design_says(tiny_run):
    assert tiny_run.state == "complete"
    assert tiny_run.epochs() == [1, 2, 3, 4]
    history = tiny_run.history()
    assert list(history.columns) == ["epoch", "stage", "loss", "val_loss", "val_auc", "learning_rate", "seconds"]
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert history["stage"].tolist() == ["transfer_learning"] * 2 + ["fine_tuning"] * 2
    assert not (tiny_run.path / "state").exists()
    info = tiny_run.info
    assert info["classes"] == ["lobar", "normal"]
    assert info["preprocessing"] == "tf"
    assert len(info["weights"]["sha256"]) == 64
    for epoch in tiny_run.epochs():
        assert info["checkpoints"][str(epoch)] == sha256_file(tiny_run.checkpoint_path(epoch))
    manifest = tiny_run.manifest()
    assert set(manifest["split"]) == {"train", "val", "test"}
    assert manifest["sha256"].str.len().eq(64).all()


def test_a_checkpoint_holds_weights_only(tiny_run):
    with h5py.File(tiny_run.checkpoint_path(4)) as file:
        names = []
        file.visit(names.append)
    assert names
    assert not [name for name in names if "optimizer" in name]


def test_stored_predictions_are_those_of_the_stored_weights_and_give_the_history_s_auc(tiny_run):
    opened = OpenRun(tiny_run)
    for epoch in (2, 4):
        for split in ("val", "test"):
            table = tiny_run.predictions(epoch, split)
            assert list(table.columns) == ["image", "label", "probability_lobar", "probability_normal", "patient"]
            films = opened.films.take(opened.split(split))
            assert table["image"].tolist() == films.ids.tolist()
            opened.load(epoch)
            pixels = np.repeat(films.store.get(films.indices)[..., None], 3, axis=3)
            again = opened.classifier.model.predict(pixels, verbose=0)
            stored = table[["probability_lobar", "probability_normal"]].to_numpy()
            np.testing.assert_allclose(again, stored, atol=1e-5)
        labels = (tiny_run.predictions(epoch, "val")["label"] == "normal").astype(int)
        stored = tiny_run.predictions(epoch, "val")[["probability_lobar", "probability_normal"]].to_numpy()
        row = tiny_run.history().set_index("epoch").loc[epoch]
        assert exact_auc(labels, stored).value == pytest.approx(row["val_auc"])


def test_best_is_the_highest_validation_auc_and_the_earliest_of_ties(run_copy):
    history = run_copy.history().assign(val_auc=[0.6, 0.9, 0.9, 0.7])
    run_copy.write_history(history)
    assert run_copy.resolve_epoch("best") == 2
    assert run_copy.resolve_epoch("last") == 4
    assert run_copy.resolve_epoch("3") == 3
    with pytest.raises(CheckpointError, match=r"no checkpoint for epoch 99\. Stored: 1, 2, 3, 4"):
        run_copy.resolve_epoch(99)


def test_a_finished_a_running_and_a_foreign_directory_are_refused(
    tiny_run, run_copy, phantom_folder, tiny_settings, tmp_path
):
    with pytest.raises(RunError, match="already holds a run"):
        train(data=phantom_folder, run=run_copy.path, **tiny_settings)
    with pytest.raises(RunError, match="is complete; nothing is left to resume"):
        train(data=phantom_folder, run=run_copy.path, resume=True, **tiny_settings)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="not a cxrkeras run"):
        train(data=phantom_folder, run=foreign, **tiny_settings)
    assert [p.name for p in foreign.iterdir()] == ["thesis.txt"]
    run_copy.update_info(state="running")
    with pytest.raises(RunError, match=r"other settings: training\.seed stored 0, received 5"):
        train(data=phantom_folder, run=run_copy.path, resume=True, **{**tiny_settings, "seed": 5})


# on cached features up to the change of stages; and inside the second stage, an epoch past its last checkpoint
STOPPED = {
    "plain": {"epochs": (2, 1), "checkpoint_every": 1},
    "augmented": {
        "epochs": (1, 3), "checkpoint_every": 2, "augment": True, "layerwise_decay": 0.5, "weight_decay": 1e-2,
        "plateau": {"factor": 0.5, "patience": 1},
    },
}  # fmt: skip


def falling_auc(job, probabilities, epoch):
    """A validation AUC that never gains after a stage's first epoch."""
    return 1 / epoch


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, phantom_folder, tiny_settings):
    """A deterministic run of a kind and the options that made it; the AUC of `augmented` falls while a test runs."""
    found = {}

    def run_of(kind, monkeypatch):
        if kind == "augmented":
            monkeypatch.setattr(routine._Job, "_validation_auc", falling_auc)
        if kind not in found:
            options = {**tiny_settings, "backbone": "tiny", "deterministic": True, **STOPPED[kind]}
            found[kind] = train(data=phantom_folder, run=tmp_path_factory.mktemp("runs") / kind, **options), options
        return found[kind]

    return run_of


@pytest.mark.usefixtures("tiny_backbone")
@pytest.mark.parametrize(
    ("kind", "stop", "stored"),
    [
        pytest.param("plain", 1, [], marks=pytest.mark.slow),
        ("plain", 2, [1]),
        ("plain", 3, [1, 2]),
        ("augmented", 4, [1, 2]),
    ],
)
def test_a_run_stopped_and_resumed_has_the_weights_of_an_uninterrupted_one(
    uninterrupted, tmp_path, phantom_folder, monkeypatch, kind, stop, stored
):
    """Wherever it stopped: before any state, inside the head's stage, between the stages, and inside the second."""
    whole, options = uninterrupted(kind, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(data=phantom_folder, run=tmp_path / "cut", reporter=StopAt(stop), **options)
    assert Run(tmp_path / "cut").state == "running"
    assert Run(tmp_path / "cut").epochs() == stored
    resumed = train(data=phantom_folder, run=tmp_path / "cut", resume=True, **options)
    last = sum(options["epochs"])
    for a, b in zip(weights_of(whole, last), weights_of(resumed, last), strict=True):
        np.testing.assert_array_equal(a, b)
    columns = ["epoch", "stage", "loss", "val_loss", "val_auc", "learning_rate"]
    pd.testing.assert_frame_equal(whole.history()[columns], resumed.history()[columns])
    if "plateau" in options:
        assert whole.history()["learning_rate"].tolist() == [1e-3, 1e-3, 1e-3, 5e-4]


KILLED = """
import os, signal, sys
from cxrkeras.run import Run
from cxrkeras_cli.main import main

def killed(self, epoch, optimizer):
    if epoch == 3:
        os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
    written(self, epoch, optimizer)

written, Run.write_resume = Run.write_resume, killed
main(sys.argv[1:])
"""


def test_kill_minus_nine_loses_nothing_that_was_stored(tmp_path, phantom_folder, capsys):
    """Killed while it writes the third epoch's state: the second epoch's is whole, and the half one goes."""
    arguments = [
        "train", "--data", str(phantom_folder), "--backbone", "compact", "--weights", "random", "--image-size", "64",
        "--epochs", "4,0", "--checkpoint-every", "1", "--batch-norm", "train", "--run", str(tmp_path / "run"),
    ]  # fmt: skip
    ended = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, timeout=240)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    run = Run(tmp_path / "run")
    assert (run.state, run.epochs(), run.read_resume()[0]) == ("running", [1, 2, 3], 2)
    assert list(run.path.rglob(".partial-*"))
    with pytest.raises(SystemExit) as resumed:
        main(["train", "--run", str(run.path), "--resume"])
    shown = capsys.readouterr()
    assert not resumed.value.code, shown.err
    assert "after epoch 2." in shown.err
    assert Run(tmp_path / "run").state == "complete"
    assert Run(tmp_path / "run").history()["epoch"].tolist() == [1, 2, 3, 4]
    assert not list(run.path.rglob(".partial-*"))


def test_a_start_killed_before_its_run_json_is_started_again(tmp_path, phantom_folder, tiny_settings, tiny_backbone):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("half")
    (tmp_path / "run" / ".lock").touch()
    options = {**tiny_settings, "backbone": tiny_backbone, "epochs": (1, 0)}
    assert train(data=phantom_folder, run=tmp_path / "run", resume=True, **options).state == "complete"


def test_a_config_object_takes_single_settings(phantom_folder):
    from cxrkeras.config import load_config
    from cxrkeras.workflow.train import resolved_config

    config = resolved_config(load_config("phantom"), phantom_folder, {"epochs": (1, 1), "seed": 7})
    assert config.training.epochs == (1, 1)
    assert config.training.seed == 7
    assert config.data.path == str(phantom_folder)
    assert config.model.backbone == "compact"


def test_a_diverged_training_records_nan_and_goes_on(tmp_path, phantom_folder, tiny_settings, tiny_backbone):
    options = {**tiny_settings, "backbone": tiny_backbone, "learning_rate": (3e38, 3e38), "epochs": (2, 0)}
    run = train(data=phantom_folder, run=tmp_path / "run", **options)
    assert np.isnan(run.history()["val_auc"].iloc[-1])
    assert run.state == "complete"


def test_a_broken_film_stops_before_anything_is_written(tmp_path, phantom_folder, tiny_settings):
    import shutil

    data = tmp_path / "films"
    shutil.copytree(phantom_folder, data)
    bad = data / pd.read_csv(data / "manifest.csv")["path"][3]
    bad.write_text("not an image")
    with pytest.raises(FilmError, match=bad.name):
        train(data=data, run=tmp_path / "run", **tiny_settings)
    assert not (tmp_path / "run").exists()


def test_a_film_changed_since_the_start_is_noticed_on_resume(tmp_path, phantom_folder, tiny_settings, tiny_backbone):
    import shutil

    data = tmp_path / "films"
    shutil.copytree(phantom_folder, data)
    options = {**tiny_settings, "backbone": tiny_backbone, "epochs": (2, 1)}
    with pytest.raises(KeyboardInterrupt):
        train(data=data, run=tmp_path / "run", reporter=StopAt(2), **options)
    first, second = pd.read_csv(data / "manifest.csv")["path"][:2]
    shutil.copy(data / first, data / second)
    with pytest.raises(DataError, match="1 films are not the ones this run was started with"):
        train(data=data, run=tmp_path / "run", resume=True, **options)


def test_a_truncated_checkpoint_names_the_file_and_the_epochs_left(run_copy):
    file = run_copy.checkpoint_path(3)
    file.write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(CheckpointError, match=r"epoch_003\.weights\.h5 is not the file that training wrote.*truncated"):
        OpenRun(run_copy).load(3)
    OpenRun(run_copy).load(4)


def test_weights_from_another_run_fill_the_backbone(tmp_path, tiny_run, phantom_folder, tiny_settings):
    options = {**tiny_settings, "weights": f"run:{tiny_run.path}@4", "epochs": (1, 0), "batch_norm": "inference"}
    made = train(data=phantom_folder, run=tmp_path / "next", **options)
    source, target = OpenRun(tiny_run), OpenRun(made)
    source.load(4)
    target.load(1)
    pairs = zip(source.classifier.backbone_layers, target.classifier.backbone_layers, strict=True)
    for one, other in pairs:
        for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    assert made.info["weights"]["sha256"] == tiny_run.info["checkpoints"]["4"]
    with pytest.raises(WeightsError, match="trained compact, which does not fit ResNet50V2"):
        train(data=phantom_folder, **{**options, "backbone": "ResNet50V2"})


def test_calibrated_statistics_are_stored_with_the_first_checkpoint(
    tmp_path, phantom_folder, tiny_settings, tiny_backbone
):
    options = {**tiny_settings, "backbone": tiny_backbone, "batch_norm": None, "epochs": (1, 0)}
    made = train(data=phantom_folder, run=tmp_path / "calibrated", **options)
    assert made.info["batch_norm"] == "calibrate"
    opened = OpenRun(made)
    opened.load(1)
    fresh = build_classifier(opened.classifier.backbone, made.classes, 64, seed=0)
    for ours, first in zip(opened.classifier.batch_norms, fresh.batch_norms, strict=True):
        assert np.abs(ours.get_weights()[3] - first.get_weights()[3]).max() > 1e-3


class Told(StopAt):
    """Remembers notices, and stops at an epoch if one is named."""

    def __init__(self, epoch: int = -1) -> None:
        super().__init__(epoch)
        self.notices = []

    def notice(self, text):
        self.notices.append(text)


def test_a_recipe_keeps_the_best_and_the_last_checkpoint_and_says_its_rates(
    tmp_path, phantom_folder, tiny_backbone, monkeypatch
):
    aucs = {1: 0.5, 2: 0.9, 3: 0.7}
    monkeypatch.setattr(routine._Job, "_validation_auc", lambda job, probabilities, epoch: aucs[epoch])
    options = {
        "data": phantom_folder, "backbone": tiny_backbone, "weights": "random", "recipe": "convirt", "head_steps": 2,
        "epochs": (9, 2), "layerwise_decay": 0.5,
    }  # fmt: skip
    told = Told()
    whole = train(run=tmp_path / "whole", reporter=told, **options)
    assert whole.epochs() == [2, 3]
    assert set(whole.info["checkpoints"]) == {"2", "3"}
    assert [whole.predictions(epoch) is not None for epoch in (1, 2, 3)] == [False, True, True]
    assert all(whole.predictions(epoch, "val") is not None for epoch in (1, 2, 3))
    assert whole.resolve_epoch("best") == 2
    assert whole.head_trained
    assert whole.history()["learning_rate"].tolist() == [1e-3, 1e-4, 1e-4]
    rates = {row["group"]: (row["rate"], row["parameters"]) for row in whole.info["layer_rates"]}
    assert rates == {"head": (1e-4, 10), "stride 4": (5e-5, 156), "stride 2": (2.5e-5, 120)}
    said = [" ".join(line.split()) for line in told.notices]
    assert "recipe convirt: epochs 1,2; as given, unlike the recipe: head_steps 2 (recipe: 200)." in said
    assert "stride 4 × 0.5 rate 5e-05 156 parameters in 2 layers" in said


def test_layer_groups_that_do_not_fit_stop_before_anything_is_written(tmp_path, phantom_folder, tiny_settings):
    groups = [{"layers": ["conv9"], "multiplier": 0.1}]
    with pytest.raises(ConfigError, match=r"'conv9' fits no trained layer of compact\. Did you mean 'conv8'"):
        train(data=phantom_folder, run=tmp_path / "run", layer_groups=groups, **tiny_settings)
    assert not (tmp_path / "run").exists()


def test_a_run_without_epochs_has_checkpoint_zero_and_says_that_its_head_is_untrained(
    tmp_path, phantom_folder, tiny_backbone, tiny_run
):
    options = {"backbone": tiny_backbone, "weights": "random", "batch_norm": "train", "epochs": (0, 0)}
    told = Told()
    run = train(data=phantom_folder, run=tmp_path / "run", reporter=told, **options)
    assert told.notices[0].startswith("THE HEAD WAS NEVER TRAINED: epochs 0,0")
    assert (run.state, run.epochs(), run.head_trained, tiny_run.head_trained) == ("complete", [0], False, True)
    assert run.resolve_epoch("last") == 0
    with pytest.raises(CheckpointError, match=r"none is the best\. Name an epoch: 0, or last"):
        run.resolve_epoch("best")
    assert len(run.predictions(0)) == (run.manifest()["split"] == "test").sum()
    fresh = build_classifier(OpenRun(run).classifier.backbone, run.classes, 32, seed=0)
    for stored, first in zip(weights_of(run, 0), fresh.model.get_weights(), strict=True):
        np.testing.assert_array_equal(stored, first)
    (row,) = checkpoint_table(run).to_dict("records")
    assert (row["epoch"], row["stage"], row["best"]) == (0, "untrained", "")
    assert np.isnan(row["val_auc"])
    assert np.isfinite(row["test_auc"])
