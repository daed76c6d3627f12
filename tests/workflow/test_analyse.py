"""The analysis of a run: its tables are what the pure parts say of the stored maps and predictions."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from cxrkeras.consistency import c_score
from cxrkeras.consistency.agreement import agreement
from cxrkeras.consistency.history import Checkpoint, GoldState, History
from cxrkeras.consistency.paired import consistency_change
from cxrkeras.consistency.recommendation import Recommendation, Standing
from cxrkeras.errors import UsageError
from cxrkeras.stats import exact_auc, patient_bootstrap, resampled_auc
from cxrkeras.tables import probability_columns
from cxrkeras.workflow import analyse as module
from cxrkeras.workflow.analyse import (
    analyse,
    headline_epoch,
    methods_of_all,
    read_analysis,
    recommending,
    stored_validation,
)
from cxrkeras.workflow.analysis_tables import (
    CHANGE_COLUMNS,
    FINDING_COLUMNS,
    RECOMMENDATION_COLUMNS,
    SIMILARITY_COLUMNS,
    SWEEP_COLUMNS,
    printed_checkpoints,
    spoken,
)
from cxrkeras.workflow.evidence import Evidence, ensure
from cxrkeras.workflow.map_options import MapOptions
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.predictions import ensure_predictions
from cxrkeras.workflow.selection import select

SETTINGS = {"threshold": 0.5}


def confident(run, epoch, split="test", share=0.85):
    """Predictions as of a model that has learnt: the tiny one has not, and no film of its would be gold."""
    table = run.predictions(epoch, split)
    rng = np.random.default_rng(epoch)
    right = np.where(rng.random(len(table)) < share, rng.uniform(0.55, 0.95, len(table)), 0.3)
    lobar, normal = probability_columns(run.classes)
    table[lobar] = np.where(table["label"] == "lobar", right, 1 - right)
    table[normal] = 1 - table[lobar]
    run.write_predictions(epoch, split, table)


@pytest.fixture(scope="module")
def analysed(tiny_run, tmp_path_factory):
    """The tiny run with three methods over its four checkpoints; one of them has a few films only."""
    import shutil

    from cxrkeras.run import Run

    folder = tmp_path_factory.mktemp("analysed") / "tiny"
    shutil.copytree(tiny_run.path, folder)
    opened = OpenRun(Run(folder))
    for epoch in opened.run.epochs():
        confident(opened.run, epoch)
    whole, few = select(opened), select(opened, limit=8)
    evidence = {
        "gradcam": Evidence(whole, MapOptions()),
        "eigencam": Evidence(whole, MapOptions()),
        "layercam": Evidence(few, MapOptions()),
    }
    return opened, evidence, analyse(opened, evidence, SETTINGS)


def sides(opened, own, method, epoch):
    maps = ensure(opened, epoch, own.selection, [method], own.options)[method]
    table = opened.run.predictions(epoch, "test").set_index("image")
    probabilities = table.loc[list(own.selection.films.ids), probability_columns(opened.classes)].to_numpy()
    return maps, probabilities


def test_tables_have_the_promised_columns(analysed):
    _, _, result = analysed
    assert result.auc.columns.tolist() == ["epoch", "stage", "split", "auc", "ci_low", "ci_high", "status"]
    assert result.changes.columns.tolist() == CHANGE_COLUMNS
    assert result.findings.columns.tolist() == FINDING_COLUMNS
    assert result.recommendation.columns.tolist() == RECOMMENDATION_COLUMNS
    assert result.sweep.columns.tolist() == SWEEP_COLUMNS
    assert result.similarity.columns.tolist() == SIMILARITY_COLUMNS
    assert result.agreement.columns.tolist()[:3] == ["epoch", "first", "second"]
    assert result.status == "ok"


def test_auc_stands_on_the_whole_split_with_its_interval(analysed):
    opened, _, result = analysed
    assert result.auc["epoch"].tolist() == [1, 2, 3, 4]
    assert result.auc["stage"].tolist() == ["transfer_learning"] * 2 + ["fine_tuning"] * 2
    for row in result.auc.itertuples():
        table = opened.run.predictions(row.epoch, "test")
        labels = (table["label"] == opened.classes[1]).to_numpy(int)
        probabilities = table[probability_columns(opened.classes)].to_numpy()
        assert row.auc == pytest.approx(exact_auc(labels, probabilities).value)
        if row.epoch == 4:
            around = patient_bootstrap(resampled_auc(labels, probabilities), table["patient"])
            assert (row.ci_low, row.ci_high) == (around.low, around.high)
            assert row.ci_low < row.auc <= row.ci_high
            assert row.status == around.status


def test_changes_are_those_of_the_stored_maps(analysed):
    opened, evidence, result = analysed
    pairs = set(result.changes[["method", "from_epoch", "to_epoch"]].itertuples(index=False, name=None))
    assert {(name, e, e + 1) for name in evidence for e in (1, 2, 3)} <= pairs
    for name in ("gradcam", "layercam"):
        own = evidence[name]
        (before, p), (after, q) = (sides(opened, own, name, epoch) for epoch in (3, 4))
        direct = consistency_change(
            before, p, after, q, own.selection.films.labels, patients=own.selection.patients, **SETTINGS
        )
        rows = result.changes.query("method == @name and from_epoch == 3 and to_epoch == 4").set_index("class")
        assert rows.loc["macro", "change"] == pytest.approx(direct.macro.change)
        for label, one in direct.classes.items():
            assert rows.loc[label, "stderr"] == pytest.approx(one.stderr)
            assert rows.loc[label, "n_films"] == one.n_films
    assert result.changes["stderr"].notna().sum() > 10
    assert result.n_comparisons == result.changes["stderr"].notna().sum()


def test_recommendation_reports_the_measured_numbers(analysed):
    _, evidence, result = analysed
    table = result.recommendation
    assert table["method"].tolist() == list(evidence)
    assert set(table["chosen_on"]) == set(table["measured_on"]) == {"test"}
    assert set(table["note"]) == {"chosen and measured on the same films"}
    assert (table["status"] == "recommended").any()
    for row in table[table["status"] == "recommended"].itertuples():
        here = result.scores.query("epoch == @row.checkpoint and method == @row.method and level == 'class'")
        assert row.min_excess == row.chosen_min_excess == pytest.approx(here["excess"].min())
        assert row.min_coverage == pytest.approx(here["coverage"].min())
        assert row.auc == pytest.approx(result.auc.set_index("epoch").loc[row.checkpoint, "auc"])
    none = table[table["status"] == "none"]
    assert none["checkpoint"].isna().all()
    assert none["reason"].str.contains("epoch 1: ").all()


def test_scores_carry_the_error_of_the_mean_over_classes(analysed):
    opened, evidence, result = analysed
    maps, probabilities = sides(opened, evidence["gradcam"], "gradcam", 4)
    selection = evidence["gradcam"].selection
    direct = c_score(maps, selection.films.labels, probabilities, patients=selection.patients, **SETTINGS)
    own = result.scores.query("epoch == 4 and method == 'gradcam' and level == 'global'").set_index("class")
    assert own.loc["macro", ["score", "stderr", "ci_low", "ci_high"]].astype(float).tolist() == pytest.approx(
        [direct.macro, direct.macro_stderr, direct.macro_ci_low, direct.macro_ci_high]
    )
    assert own.loc[["micro", "min", "range"], "stderr"].isna().all()


def test_sweep_and_similarity_agree_with_the_scores(analysed):
    _, evidence, result = analysed
    assert sorted(result.sweep["gamma"].unique()) == [1, 2, 4]
    assert len(result.sweep) == 4 * len(evidence) * 3 * 10 * 2
    classes = result.scores[result.scores["level"] == "class"]
    both = result.sweep.query("threshold == 0.5 and gamma == 2").merge(classes, on=["epoch", "method", "class"])
    assert len(both) == len(classes)
    np.testing.assert_allclose(both["score_x"], both["score_y"], atol=1e-9)
    np.testing.assert_allclose(both["stderr_x"], both["stderr_y"], atol=1e-9)
    assert set(result.similarity["pairs"]) == {"within", "between"}
    for row in classes.dropna(subset=["score"]).itertuples():
        key = (result.similarity["epoch"] == row.epoch) & (result.similarity["method"] == row.method)
        bins = result.similarity[
            key & (result.similarity["class"] == row[8]) & (result.similarity["pairs"] == "within")
        ]
        middle = (bins["low"] + bins["high"]) / 2
        assert bins["share"] @ middle == pytest.approx(row.score, abs=0.5 / 20 + 1e-9)


def test_agreement_is_of_the_films_both_methods_have(analysed):
    opened, evidence, result = analysed
    (epoch,) = set(result.agreement["epoch"])
    pairs = result.agreement.set_index(["first", "second"])
    assert pairs["n_films"].to_dict() == {
        ("gradcam", "eigencam"): len(evidence["gradcam"].selection),
        ("gradcam", "layercam"): len(evidence["layercam"].selection),
        ("eigencam", "layercam"): len(evidence["layercam"].selection),
    }
    few = evidence["layercam"]
    ours, theirs = (ensure(opened, epoch, few.selection, [name], few.options)[name] for name in ("gradcam", "layercam"))
    direct = agreement(ours.values, theirs.values).summary()
    assert pairs.loc[("gradcam", "layercam"), "correlation"] == pytest.approx(direct["correlation"])


def test_what_is_stored_reads_back_the_same(analysed):
    opened, _, result = analysed
    stored = read_analysis(opened.run, "test")
    for name in ("auc", "changes", "findings", "recommendation", "sweep", "similarity", "agreement", "scores"):
        table, again = getattr(result, name), getattr(stored, name)
        assert table.columns.tolist() == again.columns.tolist()
        pd.testing.assert_frame_equal(
            table.reset_index(drop=True), again, check_dtype=False, rtol=1e-9, check_column_type=False
        )
        assert opened.run.analysis_path("test", name).exists()
    for text in stored.findings["evidence"]:
        assert isinstance(json.loads(text), dict)
    assert read_analysis(opened.run, "val") is None


def test_an_analysis_that_is_stored_by_half_is_not_read(analysed, monkeypatch):
    opened, _, result = analysed
    real, written = module.write_csv, []

    def stopped(file, table):
        if len(written) == 3:
            raise OSError("no space left")
        written.append(file)
        real(file, table)

    assert read_analysis(opened.run, "test") is not None
    monkeypatch.setattr(module, "write_csv", stopped)
    with pytest.raises(OSError, match="no space left"):
        module._store(opened.run, "test", result)
    assert read_analysis(opened.run, "test") is None
    monkeypatch.setattr(module, "write_csv", real)
    module._store(opened.run, "test", result)
    assert read_analysis(opened.run, "test") is not None


def test_a_choice_on_other_films_is_reported_beside_them(analysed, monkeypatch):
    opened, evidence, _ = analysed
    two = {name: evidence[name] for name in ("gradcam", "eigencam")}
    assert stored_validation(opened, two, [3, 4], split="train") is None, "no maps of these films yet"
    other = recommending(opened, two, "train")
    assert other["gradcam"].selection.split == "train"
    del other["eigencam"]
    for epoch in (2, 3, 4):
        ensure_predictions(opened, epoch, other["gradcam"].selection)
        confident(opened.run, epoch, "train", share=0.95)
    result = analyse(opened, two, SETTINGS, epochs=[2, 3, 4], recommend=other)
    assert result.auc["epoch"].tolist() == [2, 3, 4]
    table = result.recommendation.set_index("method")
    assert table["chosen_on"].to_dict() == {"gradcam": "train", "eigencam": "test"}
    assert table["measured_on"].tolist() == ["test", "test"]
    assert table["note"].to_dict() == {
        "gradcam": "chosen on train, measured on test",
        "eigencam": "chosen and measured on the same films",
    }
    assert set(opened.run.scores()["split"]) >= {"train", "test"}
    row = table.loc["gradcam"]
    assert row["status"] == "recommended", row["reason"]
    predictions = opened.run.predictions(int(row["checkpoint"]), "train")
    labels = (predictions["label"] == opened.classes[1]).to_numpy(int)
    probabilities = predictions[probability_columns(opened.classes)].to_numpy()
    assert row["chosen_auc"] == pytest.approx(exact_auc(labels, probabilities).value)
    measured = result.auc.set_index("epoch").loc[row["checkpoint"], "auc"]
    assert row["auc"] == pytest.approx(measured)
    assert row["auc"] != pytest.approx(row["chosen_auc"])
    found = stored_validation(opened, {"gradcam": two["gradcam"]}, [2, 3, 4], split="train")
    assert found["gradcam"].selection.split == "train"
    assert stored_validation(opened, two, [2, 3, 4], split="train") is None


def test_a_long_sweep_is_of_one_checkpoint(analysed, monkeypatch):
    opened, evidence, whole = analysed
    monkeypatch.setattr(module, "AFFORDABLE_PAIRS", 1)
    one = {"gradcam": evidence["gradcam"]}
    result = analyse(opened, one, SETTINGS)
    assert result.sweep["epoch"].nunique() == result.similarity["epoch"].nunique() == 1
    assert result.agreement.empty
    assert result.agreement.columns.tolist() == whole.agreement.columns.tolist()


def test_two_checkpoints_are_measured_but_not_judged(analysed):
    opened, evidence, _ = analysed
    result = analyse(opened, {"eigencam": evidence["eigencam"]}, SETTINGS, epochs=[3, 4])
    assert result.status == "too_few_checkpoints"
    assert result.findings.empty
    assert result.changes.empty
    assert result.recommendation.loc[0, "status"] == "none"
    assert "too_few_checkpoints" in result.recommendation.loc[0, "reason"]
    assert read_analysis(opened.run, "test").changes.columns.tolist() == CHANGE_COLUMNS


def test_films_of_two_splits_are_refused(analysed):
    opened, evidence, _ = analysed
    other = Evidence(select(opened, split="val"), MapOptions())
    with pytest.raises(UsageError, match="of one split"):
        analyse(opened, {"gradcam": evidence["gradcam"], "eigencam": other})
    with pytest.raises(UsageError, match="at least one method"):
        analyse(opened, {})


def test_methods_are_those_affordable_everywhere_and_it_is_said_once(analysed, monkeypatch):
    opened, evidence, _ = analysed
    from cxrkeras.events import Reporter

    class Heard(Reporter):
        def __init__(self):
            self.lines = []

        def notice(self, text):
            self.lines.append(text)

    heard, selection = Heard(), evidence["gradcam"].selection
    monkeypatch.setattr("cxrkeras.workflow.evidence.AFFORDABLE_FORWARDS", 1)
    names = methods_of_all(None, opened, [1, 2, 3], selection, MapOptions(), heard)
    assert "scorecam" not in names
    assert "gradcam" in names
    assert len(heard.lines) == 1
    assert methods_of_all("layercam,gradcam", opened, [1, 2], selection, MapOptions()) == ["layercam", "gradcam"]


def test_one_checkpoint_is_shown():
    points = tuple(
        Checkpoint(epoch, auc, {"a": GoldState(0.5, 9)}, {}) for epoch, auc in ((5, 0.9), (10, 0.95), (15, 0.95))
    )
    history = History("r", points, lambda *_: None)

    def chosen(*epochs):
        return [Recommendation("m", e, "recommended" if e else "none", "", Standing()) for e in epochs]

    assert headline_epoch(chosen(None, None), history) == 10
    assert headline_epoch(chosen(5, 5, 15), history) == 5
    assert headline_epoch(chosen(5, 15, None), history) == 15
    assert headline_epoch(chosen(10, 15), history) == 10


def test_the_printed_table_has_a_column_a_checkpoint(analysed):
    _, evidence, result = analysed
    table = printed_checkpoints(result.scores, result.auc)
    assert table.columns.tolist() == ["method", "class", "1", "2", "3", "4"]
    assert table["method"].tolist() == ["AUC", *(name for name in evidence for _ in range(3))]
    assert table["class"].tolist() == ["", *(["macro", "lobar", "normal"] * 3)]
    assert table.loc[0, "4"].startswith(f"{result.auc['auc'].iloc[-1]:.3f}")
    score = result.scores.query("epoch == 4 and method == 'gradcam' and `class` == 'lobar'").iloc[0]
    half = (score["ci_high"] - score["ci_low"]) / 2
    assert table.loc[2, "4"] == f"{score['score']:.3f} ±{half:.3f}"


def test_findings_are_spoken_with_the_number_of_looks():
    rows = [
        ["early_warning", "r", "m", "macro", 3, "hit", "It warned.", "{}"],
        ["class_gap", "r", "m", "a", 1, "", "small gap.", json.dumps({"gap": 0.2})],
        ["class_gap", "r", "m", "a", 3, "", "wide gap.", json.dumps({"gap": 0.4})],
    ]
    lines = spoken(pd.DataFrame(rows, columns=FINDING_COLUMNS), 12)
    assert lines[0] == "It warned."
    assert lines[1] == "For information: classes differ by more than 0.15 at epoch 1, 3; widest: wide gap."
    assert lines[2].startswith("12 differences between checkpoints were looked at")
    quiet = spoken(pd.DataFrame(columns=FINDING_COLUMNS), 1)
    assert quiet[0] == "Nothing was found against these checkpoints."
    assert quiet[1].startswith("1 difference between checkpoints was looked at")
    few = spoken(pd.DataFrame(columns=FINDING_COLUMNS), 0, "too_few_checkpoints")
    assert few == ["Fewer than 3 checkpoints: nothing could be judged (too_few_checkpoints)."]
