"""Drift through a run: which films and checkpoints, what is stored, the floor of another seed, and several runs."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from cxrkeras.config import load_config, overridden
from cxrkeras.data.phantom import generate_phantom
from cxrkeras.drift.metrics import DriftOptions, film_drift
from cxrkeras.errors import CheckpointError, DataError, RunError, UsageError
from cxrkeras.events import Reporter
from cxrkeras.run import Run
from cxrkeras.tables import HISTORY_COLUMNS, prediction_table, read_csv
from cxrkeras.workflow.dataset import hashed_frame
from cxrkeras.workflow.drift.drift import drift, study_drift
from cxrkeras.workflow.drift.films import checkpoints
from cxrkeras.workflow.drift.floor import drift_floor
from cxrkeras.workflow.drift.tables import printed_floor, printed_reversals, printed_summary, stored_drift
from cxrkeras.workflow.evidence import Evidence, ensure
from cxrkeras.workflow.map_options import MapOptions
from cxrkeras.workflow.opened import OpenRun, configured_classifier
from cxrkeras.workflow.selection import select

pytestmark = pytest.mark.filterwarnings("ignore:The structure of .inputs. does:UserWarning")

FILM_COLUMNS = [
    "image", "class", "patient", "method", "backbone", "seed", "status", "displacement", "peak_displacement", "iou",
    "iou_chance", "correlation", "concentration_change",
]  # fmt: skip
SUMMARY_COLUMNS = [
    "backbone", "seed", "method", "class", "metric", "estimate", "ci_low", "ci_high", "n_films", "n_patients",
    "retained", "n_undefined", "status",
]  # fmt: skip


class Told(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def notice(self, text: str) -> None:
        self.lines.append(text)


def predict(opened: OpenRun, epoch: int, wrong=()) -> None:
    """Store predictions that are right for every test film but those at the positions `wrong`."""
    selection = select(opened)
    chosen = selection.films.labels.copy()
    chosen[list(wrong)] = (chosen[list(wrong)] + 1) % len(opened.classes)
    probabilities = np.eye(len(opened.classes))[chosen]
    table = prediction_table(
        selection.films.ids, selection.frame["label"], probabilities, opened.classes, selection.patients
    )
    opened.run.write_predictions(epoch, "test", table)


def evidence(opened: OpenRun, *methods: str) -> dict[str, Evidence]:
    return dict.fromkeys(methods, Evidence(select(opened), MapOptions()))


@pytest.fixture
def opened(run_copy):
    found = OpenRun(run_copy)
    predict(found, 2, wrong=[0, 3])
    predict(found, 4, wrong=[3, 5])
    return found


def test_films_correct_at_both_checkpoints_are_compared_and_stored(opened):
    given = evidence(opened, "layercam", "gradcam++")
    found = drift(opened, given)
    assert (found.first, found.last) == (2, 4)
    assert found.films.columns.tolist() == [*FILM_COLUMNS, "layer", "grid", "iou_rule", "correlation_rule"]
    assert found.summary.columns.tolist() == [*SUMMARY_COLUMNS, "iou_rule", "correlation_rule"]
    selection = given["layercam"].selection
    kept = np.setdiff1d(np.arange(len(selection)), [0, 3, 5])
    maps = [ensure(opened, epoch, selection, ["layercam", "gradcam++"], MapOptions()) for epoch in (2, 4)]
    for method in ("layercam", "gradcam++"):
        rows = found.films[found.films["method"] == method].reset_index(drop=True)
        assert rows["image"].tolist() == selection.films.ids[kept].tolist()
        assert rows["class"].tolist() == [opened.classes[label] for label in selection.films.labels[kept]]
        assert rows["patient"].tolist() == selection.patients[kept].tolist()
        expected = film_drift(*(each[method].values[kept] for each in maps))
        pd.testing.assert_frame_equal(rows[expected.columns.tolist()], expected, check_dtype=False)
        assert set(rows["grid"]) == {"8×8"}
        own = found.summary[(found.summary["method"] == method) & (found.summary["metric"] == "displacement")]
        own = own.set_index("class")
        assert own["n_films"].tolist() == [*(rows["class"].value_counts()[list(opened.classes)]), len(kept)]
        assert own.loc["all", "retained"] == len(kept) / len(selection)
        assert own.loc["all", "estimate"] == pytest.approx(expected["displacement"].mean())
        assert own.loc["all", "ci_low"] < own.loc["all", "estimate"] < own.loc["all", "ci_high"]
    stored = stored_drift([opened.run], "summary")
    pd.testing.assert_frame_equal(stored, found.summary, check_dtype=False)
    printed = printed_summary(found.summary)
    assert printed["iou"].iloc[0].endswith("(chance 0.117)")
    assert printed["class"].tolist() == [*opened.classes, "all"] * 2


def test_another_method_joins_the_table_and_another_rule_replaces_it(opened):
    drift(opened, evidence(opened, "layercam"))
    told = Told()
    drift(opened, evidence(opened, "eigencam"), reporter=told)
    assert told.lines == []
    assert stored_drift([opened.run], "films")["method"].unique().tolist() == ["layercam", "eigencam"]
    halved = drift(opened, evidence(opened, "eigencam"), options=DriftOptions("half-max", "spearman"), reporter=told)
    assert ["rows of layercam go" in line for line in told.lines] == [True]
    stored = stored_drift([opened.run], "films")
    assert stored[["method", "iou_rule", "correlation_rule"]].drop_duplicates().to_numpy().tolist() == [
        ["eigencam", "half-max", "spearman"]
    ]
    assert len(stored) == len(halved.films)


def test_a_method_without_films_takes_no_rows_of_others_with_it(opened):
    drift(opened, evidence(opened, "layercam", "eigencam"))
    predict(opened, 4, wrong=range(len(select(opened))))
    assert drift(opened, evidence(opened, "eigencam")).films.empty
    films = read_csv(opened.run.drift_path(2, 4, "test", "films"))
    assert set(films["method"]) == {"layercam"}, "its own rows are gone: no film is correct at both any more"
    summary = read_csv(opened.run.drift_path(2, 4, "test", "summary"))
    assert set(summary["method"]) == {"layercam", "eigencam"}


def test_checkpoints_are_the_end_of_each_stage_unless_named(opened):
    run = opened.run
    assert checkpoints(run) == (2, 4)
    assert checkpoints(run, 1, 3) == (1, 3)
    for first, last in ((4, None), (3, 3), (4, 2)):
        with pytest.raises(UsageError, match="from an earlier checkpoint to a later one"):
            checkpoints(run, first, last)
    with pytest.raises(CheckpointError, match="no checkpoint for epoch 9"):
        checkpoints(run, 2, 9)
    run.update_info(state="running")
    run.checkpoint_path(4).unlink()
    assert checkpoints(run) == (2, 3)
    history = run.history()
    run.write_history(history[history["stage"] == "fine_tuning"])
    with pytest.raises(CheckpointError, match="no checkpoint of transfer learning"):
        checkpoints(run)


def test_no_film_correct_at_both_is_named_and_needs_no_map(opened):
    predict(opened, 4, wrong=range(len(select(opened))))
    found = drift(opened, evidence(opened, "scorecam"))
    assert found.films.empty
    assert set(found.summary["status"]) == {"no_film"}
    assert set(found.summary["retained"]) == {0}
    assert not (opened.run.path / "maps").exists()


def test_what_drift_cannot_be_measured_on_is_refused(opened):
    own = evidence(opened, "layercam")["layercam"]
    with pytest.raises(UsageError, match="at least one method"):
        drift(opened, {})
    with pytest.raises(UsageError, match="Received target 'predicted' for layercam"):
        drift(opened, {"layercam": Evidence(own.selection, MapOptions(target="predicted"))})
    with pytest.raises(UsageError, match="one split at a time"):
        drift(opened, {"layercam": own, "gradcam": Evidence(select(opened, split="val"), MapOptions())})


@pytest.fixture
def twin(opened, tmp_path):
    """The same run with another seed in its configuration."""
    shutil.copytree(opened.run.path, tmp_path / "twin")
    run = Run(tmp_path / "twin")
    config = (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").write_text(config.replace("  seed: 0\n", "  seed: 1\n"))
    assert run.config.training.seed == opened.config.training.seed + 1
    return OpenRun(run)


def test_the_floor_of_a_run_with_the_same_weights_is_nothing(opened, twin):
    given = evidence(opened, "layercam")
    found = drift_floor(opened, twin, given)
    assert found["at"].tolist() == ["from"] * 15 + ["to"] * 15
    assert set(found["floor_run"]) == {"twin"}
    summary = drift(opened, given).summary.set_index(["class", "metric"])
    for at, epoch in (("from", 2), ("to", 4)):
        rows = found[(found["at"] == at) & (found["class"] == "all")].set_index("metric")
        assert set(rows["epoch"]) == {epoch}
        np.testing.assert_allclose(rows["floor"], 0, atol=1e-12)
        np.testing.assert_allclose(rows["difference"], rows["drift"])
        assert rows.loc["displacement", "drift"] == pytest.approx(summary.loc[("all", "displacement"), "estimate"])
        assert rows.loc["iou", "drift"] == pytest.approx(1 - summary.loc[("all", "iou"), "estimate"])
        assert rows.loc["iou", "above"] == "yes"
    assert len(printed_floor(found)) == 30


def test_the_floor_stands_on_films_that_the_other_run_has_right_too(opened, twin):
    predict(twin, 4, wrong=[7, 8])
    # the checkpoint before fine-tuning in place of the last: its floor is then the drift itself
    shutil.copy(twin.run.checkpoint_path(2), twin.run.checkpoint_path(4))
    twin.run.update_info(checkpoints={})
    found = drift_floor(opened, twin, evidence(opened, "layercam", "eigencam"))
    rows = found[(found["class"] == "all") & (found["method"] == "eigencam")].set_index(["at", "metric"])
    whole = len(select(opened))
    assert rows.loc[("from", "iou"), "n_films"] == whole - 3
    assert rows.loc[("to", "iou"), "n_films"] == whole - 5
    for metric in ("displacement", "iou", "correlation"):
        assert rows.loc[("to", metric), "floor"] == pytest.approx(rows.loc[("to", metric), "drift"], abs=1e-9)
        assert rows.loc[("to", metric), "above"] == "no"


def test_a_floor_needs_another_seed_and_the_same_films_and_settings(opened, twin):
    given = evidence(opened, "layercam")
    with pytest.raises(UsageError, match="needs another seed"):
        drift_floor(opened, opened, given)
    manifest = twin.run.manifest()
    moved = manifest["path"] == given["layercam"].selection.films.ids[1]
    twin.run.write_manifest(manifest.assign(split=manifest["split"].where(~moved, "train")))
    with pytest.raises(DataError, match="do not have the same films"):
        drift_floor(opened, OpenRun(twin.run), given)
    settings = twin.run.path / "config.yaml"
    written = settings.read_text()
    for name, value, other in (("dropout", "0.3", "0.1"), ("augment", "false", "true"), ("batch_size", "16", "8")):
        assert f"  {name}: {value}\n" in written
        settings.write_text(written.replace(f"  {name}: {value}\n", f"  {name}: {other}\n"))
        with pytest.raises(UsageError, match=f"{name.replace('_', ' ')} differs too"):
            drift_floor(opened, OpenRun(Run(twin.run.path)), given)
    settings.write_text(written)
    history = twin.run.history()
    twin.run.write_history(history.assign(stage="fine_tuning"))
    with pytest.raises(UsageError, match="stage of epoch 2 differs too"):
        drift_floor(opened, OpenRun(twin.run), given)


def test_runs_are_compared_across_backbones_by_what_they_stored(opened, tmp_path):
    told = Told()
    with pytest.raises(RunError, match="no drift of split 'test' is stored in copy"):
        study_drift([opened.run])
    drift(opened, evidence(opened, "layercam", "eigencam"))
    shutil.copytree(opened.run.path, tmp_path / "wide-seed0")
    other = Run(tmp_path / "wide-seed0")
    file = other.drift_path(2, 4, "test", "films")
    table = pd.read_csv(file)
    # the two methods change places, and move twenty times as far apart
    far = table["displacement"] + 0.5 * (table["method"] == "layercam")
    swapped = table["method"].map({"layercam": "eigencam", "eigencam": "layercam"})
    table.assign(method=swapped, displacement=far).to_csv(file, index=False)
    near = opened.run.drift_path(2, 4, "test", "films")
    table.assign(displacement=far).to_csv(near, index=False)
    shutil.copytree(opened.run.path, tmp_path / "none-seed0")
    shutil.rmtree(tmp_path / "none-seed0" / "drift")
    runs = [opened.run, other, Run(tmp_path / "none-seed0")]
    found = study_drift(runs, reporter=told)
    assert told.lines == ["left out, for no drift of split 'test' is stored: none-seed0."]
    row = found.query("metric == 'displacement' and compared == 'methods' and `class` == 'all'").iloc[0]
    # both are compact with seed 0, so they go by their own names
    assert (row["first"], row["second"], row["within_a"], row["within_b"]) == ("layercam", "eigencam", "copy", "wide")
    assert row["difference_b"] == pytest.approx(-row["difference_a"])
    assert row["reversed"] == "yes"
    assert len(printed_reversals(found)) == (found["reversed"] == "yes").sum() > 0
    table.assign(iou_rule="half-max").to_csv(near, index=False)
    with pytest.raises(RunError, match="measured in different ways: half-max and pearson; top and pearson"):
        study_drift(runs)


@pytest.fixture
def five(tmp_path) -> OpenRun:
    """A run of five classes whose two checkpoints were drawn at random instead of trained."""
    manifest = generate_phantom(tmp_path / "films", films=75, classes=5, seed=1, size=64)
    model = {"backbone": "compact", "weights": "random", "image_size": 64}
    config = load_config(None, {"data": {"path": str(manifest)}, "model": model, "training": {"epochs": (1, 1)}})
    run = Run.create(tmp_path / "five", config)
    run.write_manifest(hashed_frame(pd.read_csv(manifest), manifest.parent))
    classes = tuple(sorted(set(run.manifest()["label"])))
    run.update_info(state="complete", classes=classes, data_root=str(manifest.parent))
    for epoch in (1, 2):
        drawn = overridden(config, {"training": {"seed": epoch}})
        run.checkpoint_path(epoch).parent.mkdir(exist_ok=True)
        configured_classifier(drawn, classes, None, "float32").model.save_weights(run.checkpoint_path(epoch))
    rows = {"epoch": [1, 2], "stage": ["transfer_learning", "fine_tuning"]}
    run.write_history(pd.DataFrame(rows, columns=HISTORY_COLUMNS))
    return OpenRun(run)


def test_five_classes_and_methods_on_two_grids(five):
    predict(five, 1)
    predict(five, 2, wrong=[0])
    found = drift(five, evidence(five, "gradcam", "ms-gradcam++"))
    assert (found.first, found.last) == (1, 2)
    for method, grid in (("gradcam", "8×8"), ("ms-gradcam++", "32×32")):
        rows = found.summary[(found.summary["method"] == method) & (found.summary["metric"] == "iou")]
        assert rows["class"].tolist() == ["effusion", "interstitial", "lobar", "nodule", "normal", "all"]
        assert rows["n_films"].iloc[:-1].sum() == rows["n_films"].iloc[-1] == len(select(five)) - 1
        own = found.films[found.films["method"] == method]
        means = own.groupby("class")["iou"].mean()
        assert means.notna().all()
        np.testing.assert_allclose(rows.set_index("class")["estimate"].loc[means.index], means)
        assert set(own["grid"]) == {grid}
