"""The report of a real run and of a study of it: what is gathered, what is made, and what is only named."""

from __future__ import annotations

import base64
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from cxrkeras.events import Reporter
from cxrkeras.maps import min_max
from cxrkeras.report import viewer as viewer_module
from cxrkeras.run import Run
from cxrkeras.study import Study
from cxrkeras.study.config import parse_study
from cxrkeras.study.results import Results
from cxrkeras.tables import write_csv
from cxrkeras.workflow.evidence import ensure
from cxrkeras.workflow.map_options import MapOptions, map_options
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.report.evidence import main_scores, scored_evidence
from cxrkeras.workflow.report.report import report_run, report_study
from cxrkeras.workflow.report.viewer import spread_films
from cxrkeras.workflow.score.score import score_selection
from cxrkeras.workflow.selection import select

METHODS = ("gradcam", "eigencam")


class Ear(Reporter):
    """Keeps what it is told."""

    def __init__(self):
        self.told = []

    def notice(self, text):
        self.told.append(text)


def data_of(page) -> dict:
    return json.loads(re.search(r'id="viewer-data">(.*?)</script>', page.read_text(encoding="utf-8")).group(1))


@pytest.fixture(scope="module")
def scored(tiny_run, tmp_path_factory) -> Run:
    """A copy of the tiny run with two methods scored at every checkpoint."""
    path = tmp_path_factory.mktemp("report") / "scored"
    shutil.copytree(tiny_run.path, path)
    opened = OpenRun(Run(path))
    selection = select(opened)
    options = map_options(opened, selection)
    score_selection(opened, opened.run.epochs(), selection, ",".join(METHODS), options, {})
    return Run(path)


@pytest.fixture(scope="module")
def told() -> Ear:
    return Ear()


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Results:
    """Results of `sources` with one candidate."""
    results = Results.create("sources", tmp_path_factory.mktemp("results") / "weights", {"seed": 0})
    row = {"candidate": "own", "arch": "compact", "probe_auc": 0.8, "ci_lo": 0.7, "ci_hi": 0.9, "rank": 1,
           "rank_lo": 1, "rank_hi": 1, "tied_with": "", "n_films": 40, "n_patients": 38, "status": "ok"}  # fmt: skip
    results.write_table("sources", pd.DataFrame([row]))
    return results


@pytest.fixture(scope="module")
def page(scored, weights, told):
    return report_run(scored, beside=[weights, weights], reporter=told)


def test_the_analysis_is_made_and_the_page_written(scored, page, told):
    assert page == scored.report_path()
    assert scored.analysis_path("test", "recommendation").exists()
    assert "no analysis of split test yet; making it." in told.told[0]
    html = page.read_text(encoding="utf-8")
    assert f"compact on {scored.config.data.path.rstrip('/').split('/')[-1]}" in html
    for command in ("cxrkeras drift --run scored", "cxrkeras validity --run scored"):
        assert command in html
    # results that were named stand on the page, once; others are asked for
    assert html.count("own has the highest probe AUC (0.800)") == 1
    assert "cxrkeras robustness --sources run:scored@best" in html
    # nothing of this machine's folders
    assert str(scored.path.parent) not in html
    assert str(scored.config.data.path) not in html
    macro = pd.read_csv(scored.report_folder() / "tables" / "macro-scored.csv")
    assert macro["method"].tolist() == [*METHODS] * 4


def test_the_viewer_holds_the_maps_of_every_checkpoint_and_class(scored, page):
    data = data_of(page)
    opened = OpenRun(scored)
    whole = select(opened)
    images = [film["id"] for film in data["films"]]
    assert len(images) == min(24, len(whole)) or len(images) >= 8
    rows = [whole.films.ids.tolist().index(image) for image in images]
    (run,) = data["runs"]
    assert run["epochs"] == [1, 2, 3, 4]
    assert run["stages"] == ["transfer learning"] * 2 + ["fine tuning"] * 2
    for place, epoch in enumerate(run["epochs"]):
        predicted = scored.predictions(epoch).set_index("image").loc[images]
        wanted = predicted[[f"probability_{name}" for name in opened.classes]].to_numpy()
        assert np.abs(np.array(run["probabilities"][place]) - wanted).max() < 1e-4
    films = whole.take(np.array(rows))
    for target, name in enumerate(opened.classes):
        made = ensure(opened, 3, films, ["gradcam"], MapOptions(target=name, seed=opened.config.training.seed))
        stored = run["maps"][f"0|{target}"]["2"]
        cells = np.frombuffer(base64.b64decode(stored["cells"]), np.uint8).reshape(-1, *stored["grid"])
        assert stored["grid"] == list(made["gradcam"].grid)
        wanted = np.rint(255 * min_max(made["gradcam"].values))
        for film, at in enumerate(stored["places"]):
            if at is not None:
                assert np.abs(cells[at].astype(int) - wanted[film]).max() <= 1
    assert data["methods"] == [*METHODS]


def test_a_report_outlives_its_films_and_shows_drift_and_validity(scored, page, tmp_path):
    shutil.copytree(scored.path, tmp_path / "more")
    run = Run(tmp_path / "more")
    drift = {
        "backbone": "compact", "seed": 0, "method": "gradcam", "class": "all", "metric": "displacement",
        "estimate": 0.25, "ci_low": 0.125, "ci_high": 0.375, "n_films": 9, "n_patients": 9, "retained": 0.5,
        "n_undefined": 0, "status": "ok",
    }  # fmt: skip
    write_csv(run.drift_path(2, 4, "test", "summary"), pd.DataFrame([drift]))
    check = {
        "method": "gradcam", "stage": "everything", "layers": "all", "correlation": 0.95, "correlation_low": 0.9,
        "correlation_high": 1.0, "top_iou": 0.9, "n_films": 9, "n_compared": 9, "n_degenerate": 0,
        "verdict": "unchanged",
    }  # fmt: skip
    write_csv(run.validity_path(4, "test", "randomisation"), pd.DataFrame([check]))
    manifest = run.manifest()
    run.write_manifest(manifest.assign(path="gone/" + manifest["path"]))
    ear = Ear()
    html = report_run(run, reporter=ear).read_text(encoding="utf-8")
    assert any("its films cannot be used" in text for text in ear.told)
    assert "No viewer." in html
    assert "viewer-data" not in html
    assert "Macro C-Score per checkpoint" in html
    assert "From epoch 2 to epoch 4" in html
    assert "gradcam 0.250 [0.125, 0.375]" in html
    assert "Verdict after the last stage: gradcam unchanged." in html
    assert "cxrkeras drift --run" not in html


def test_a_study_reports_every_run_and_views_one_a_backbone(scored, page, tmp_path, monkeypatch):
    monkeypatch.setattr(viewer_module, "STILL_FILMS", 1)
    config = scored.config.model_dump()
    config["study"] = {"backbones": [{"name": "compact", "label": "small"}], "seeds": [0, 1], "methods": list(METHODS)}
    study = Study.create(tmp_path / "study", parse_study(config, "test"))
    for seed in (0, 1):
        shutil.copytree(scored.path, study.run_path(f"small-seed{seed}"))
    ear = Ear()
    file = report_study(study, reporter=ear)
    assert file == study.report_path
    # all was there: nothing had to be made or left out
    assert ear.told == []
    data = data_of(file)
    assert [(run["name"], run["backbone"]) for run in data["runs"]] == [("small-seed0", "small")]
    tables = study.report_folder / "tables"
    headline = pd.read_csv(tables / "headline.csv")
    assert headline["method"].tolist() == [*METHODS] * 2
    assert (tables / "macro-small-seed1.csv").exists()


def test_of_several_ways_to_score_the_fullest_counts():
    def rows(epochs, films, layer, method="gradcam", engine="cxrkeras", split="test"):
        shared = {"split": split, "engine": engine, "target": "label", "method": method, "films": films, "layer": layer}
        constants = {"max_channels": "exact", "threshold": 0.7, "gamma": 2.0, "grid": "56x56"}
        rules = {"pair_weights": "product", "macro_rule": "strict", "same_patient": "drop"}
        return [shared | constants | rules | {"epoch": epoch} for epoch in epochs]

    table = pd.DataFrame(
        rows([1, 2, 3], "20-aa", "late")
        + rows([1, 2], "40-bb", "late")
        + rows([3, 1, 2], "40-cc", "early")
        + rows([1], "40-bb", "late", method="scorecam")
        + rows([1, 2, 3, 4], "99-dd", "late", engine="tf-keras-vis")
        + rows([1, 2, 3, 4], "99-dd", "late", split="val")
    )
    kept = main_scores(table, "test")
    assert kept[["epoch", "method", "films"]].to_numpy().tolist() == [
        [1, "gradcam", "40-cc"], [1, "scorecam", "40-bb"], [2, "gradcam", "40-cc"], [3, "gradcam", "40-cc"],
    ]  # fmt: skip
    assert main_scores(pd.DataFrame(), "test").empty


def test_evidence_is_what_was_scored(scored):
    opened = OpenRun(scored)
    ear = Ear()
    found = scored_evidence(opened, main_scores(scored.scores(), "test"), "test", ear)
    assert list(found) == list(METHODS)
    assert {len(one.selection) for one in found.values()} == {len(select(opened))}
    changed = main_scores(scored.scores(), "test").assign(maps_key="00000000")
    assert scored_evidence(opened, changed, "test", ear) == {}
    assert ear.told[0].startswith("gradcam is left out where maps are needed")


def test_films_are_spread_over_classes_right_and_wrong():
    labels = np.repeat([0, 1, 2], 40)
    correct = np.ones(120, bool)
    correct[[0, 1, 2, 3, 4, 40]] = False
    preferred = np.zeros(120, bool)
    preferred[[7, 47]] = True
    rows = spread_films(labels, correct, preferred, 12, seed=0)
    assert labels[rows].tolist() == [0, 1, 2] * 4
    assert [(~correct[rows][labels[rows] == label]).sum() for label in range(3)] == [1, 1, 0]
    assert {7, 47} <= set(rows.tolist())
    assert rows.tolist() == spread_films(labels, correct, preferred, 12, seed=0).tolist()
    assert rows.tolist() != spread_films(labels, correct, preferred, 12, seed=1).tolist()
    few = spread_films(np.array([0, 1, 1]), np.array([False, True, False]), np.zeros(3, bool), 24, seed=0)
    assert sorted(few.tolist()) == [0, 1, 2]
