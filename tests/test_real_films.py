"""Real chest films through the whole way, small: counts, splits, training, maps, scores."""

from __future__ import annotations

import numpy as np
import pytest

from cxrkeras.data.check import check_data
from cxrkeras.workflow.evaluate import evaluate
from cxrkeras.workflow.evidence import ensure
from cxrkeras.workflow.map_options import MapOptions
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.score.score import score_selection
from cxrkeras.workflow.selection import select
from cxrkeras.workflow.train import train

pytestmark = pytest.mark.films


@pytest.fixture(scope="module")
def kermany_run(real_films, tmp_path_factory):
    return train(
        data=real_films / "kermany",
        split_column="iid_split",
        backbone="compact",
        weights="random",
        image_size=64,
        epochs=(1, 4),
        checkpoint_every=5,
        learning_rate=(1e-3, 1e-3),
        batch_norm="train",
        run=tmp_path_factory.mktemp("runs") / "kermany",
    )


def test_compact_learns_real_pneumonia_and_its_maps_can_be_scored(kermany_run):
    opened = OpenRun(kermany_run)
    selection = select(opened)
    assert len(selection) == 200
    evaluation = evaluate(opened, 5, selection).summary.iloc[0]
    assert evaluation["auc_ci_low"] > 0.8, "a ridge on 48×48 pixels reaches .905 accuracy on this split"
    table = score_selection(opened, [5], selection, "gradcam,eigencam", MapOptions(), {})
    classes = table[(table["level"] == "class") & (table["method"] == "gradcam")]
    assert classes["n_gold"].min() >= 10
    assert classes["score"].between(0, 1).all()
    assert (classes["stderr"] > 0).all()


def test_maps_of_real_films_differ_between_films(kermany_run):
    opened = OpenRun(kermany_run)
    selection = select(opened, limit=6)
    maps = ensure(opened, 5, selection, ["gradcam"], MapOptions())["gradcam"]
    assert np.isfinite(maps.values).all()
    flat = maps.values.reshape(len(maps), -1)
    assert len(np.unique(flat.round(6), axis=0)) > len(maps) // 2


def test_another_hospital_is_an_outside_manifest(kermany_run, real_films, tmp_path):
    opened = OpenRun(kermany_run)
    outside = select(
        opened, data=real_films / "nih_cxr14", map_class=[("NO_FINDING", "NORMAL")], split="test", out=tmp_path
    )
    assert len(outside) == 377
    row = evaluate(opened, 5, outside).summary.iloc[0]
    assert row["n_patients"] == 217
    assert row["auc_ci_low"] < row["auc"] < row["auc_ci_high"]


def test_real_sets_have_no_findings_that_forbid_training(real_films):
    for name in ("kermany", "nih_cxr14"):
        assert check_data(real_films / name).ok
