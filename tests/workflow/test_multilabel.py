"""A CheXpert-shaped folder from first word to last: trained with a sigmoid each, evaluated, explained, scored."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from cxrkeras.data.annotations import read_annotations
from cxrkeras.data.findings import truth_of
from cxrkeras.errors import DataError, TargetError, UsageError
from cxrkeras.events import Reporter
from cxrkeras.localization import film_localization
from cxrkeras.run import Run
from cxrkeras.workflow.analyse import analyse
from cxrkeras.workflow.compare import compare_selection
from cxrkeras.workflow.drift.drift import drift
from cxrkeras.workflow.evaluate import evaluate, save_evaluation
from cxrkeras.workflow.evidence import Evidence, ensure
from cxrkeras.workflow.explain import explain_selection
from cxrkeras.workflow.export import export
from cxrkeras.workflow.localize.films import annotated_films
from cxrkeras.workflow.localize.localize import LocalizeSettings, localize
from cxrkeras.workflow.map_options import MapOptions, map_options
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.report.report import report_run
from cxrkeras.workflow.runs import checkpoint_table
from cxrkeras.workflow.score.score import score_selection
from cxrkeras.workflow.selection import select
from cxrkeras.workflow.train import train
from cxrkeras.workflow.validity import validity

FINDINGS = ("Pleural Effusion", "Consolidation")
METHOD = "layercam"


def write_chexpert(root: Path, phantom: Path) -> Path:
    """Phantom films as CheXpert has them: `lobar` is a consolidation, and every third lobar film also has an effusion.

    In train.csv some entries are −1 or blank; a lateral film is listed that is not there.
    """
    films = pd.read_csv(phantom / "manifest.csv").sort_values("path").to_dict("records")
    rng, rows = np.random.default_rng(0), {"train": [], "valid": []}
    for n, film in enumerate(films):
        part = "valid" if film["split"] == "test" else "train"
        pixels = np.asarray(Image.open(phantom / film["path"]).convert("L")).copy()
        lobar = film["label"] == "lobar"
        effusion = n % 3 == 0
        if effusion:
            pixels[-20:, :24] = np.maximum(pixels[-20:, :24], 190)
        cells = [float(effusion), float(lobar)]
        if part == "train":
            cells = [rng.choice([c, -1.0, np.nan], p=[0.8, 0.12, 0.08]) if c == 0 else c for c in cells]
        path = f"{part}/patient{film['patient'][1:]:0>5}/study1/view{n}_frontal.png"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / path)
        rows[part].append([f"CheXpert-v1.0-small/{path}", "Female", 50, "Frontal", "AP", *cells])
    rows["train"].append(["CheXpert-v1.0-small/train/patient00001/s/view_lateral.png", "Male", 5, "Lateral", "", 1, 1])
    for part, listed in rows.items():
        columns = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS]
        pd.DataFrame(listed, columns=columns).to_csv(root / f"{part}.csv", index=False)
    return root


class Notices(Reporter):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def notice(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture
def notices():
    return Notices()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, phantom_folder):
    return write_chexpert(tmp_path_factory.mktemp("chexpert"), phantom_folder)


@pytest.fixture(scope="module")
def opened(tmp_path_factory, folder, tiny_settings):
    options = {**tiny_settings, "epochs": (1, 1), "findings": FINDINGS, "learning_rate": (1e-2, 1e-2)}
    return OpenRun(train(data=folder, run=tmp_path_factory.mktemp("runs") / "several", **options))


@pytest.fixture(scope="module")
def selection(opened):
    return select(opened)


def truth_and_probabilities(opened, epoch, split):
    table = opened.run.predictions(epoch, split)
    columns = [[f"{kind}_{name}" for name in FINDINGS] for kind in ("truth", "probability")]
    return tuple(table[names].to_numpy(float) for names in columns)


def mean_auc(truth, p):
    known = ~np.isnan(truth)
    return np.mean([roc_auc_score(truth[k, c], p[k, c]) for c, k in enumerate(known.T)])


def test_the_run_says_what_it_is_and_keeps_the_policies_with_their_counts(opened, folder):
    info = opened.run.info
    assert (info["activation"], tuple(info["classes"])) == ("sigmoid", FINDINGS)
    assert opened.config.data.findings == FINDINGS
    written = pd.read_csv(folder / "train.csv").iloc[:-1]
    uncertain, blank = (written[list(FINDINGS)] == -1).sum(), written[list(FINDINGS)].isna().sum()
    told = " ".join(info["notices"])
    each = ", ".join(f"{name} {uncertain[name]}" for name in FINDINGS)
    assert f"--uncertain ignore: {uncertain.sum()} uncertain (−1) entries ({each}) are unknown." in told
    assert f"--blank zeros: {blank.sum()} blank" in told
    frame = opened.frame
    np.testing.assert_array_equal(np.isnan(truth_of(frame, FINDINGS)).sum(axis=0), uncertain)
    assert frame.groupby("patient")["split"].nunique().max() == 1
    assert set(frame["split"]) == {"train", "val", "test"}
    assert set(frame.loc[frame["split"] == "test", "path"].str.split("/").str[0]) == {"valid"}
    assert not frame["path"].str.contains("lateral").any()


def test_history_is_over_the_known_entries(opened):
    truth, p = truth_and_probabilities(opened, 2, "val")
    last = opened.run.history().set_index("epoch").loc[2]
    assert last["val_auc"] == pytest.approx(mean_auc(truth, p), abs=1e-9)
    known = ~np.isnan(truth)
    entries = -np.log(np.where(truth == 1, p, 1 - p)[known])
    assert last["val_loss"] == pytest.approx(entries.mean(), rel=1e-5)
    table = checkpoint_table(opened.run).set_index("epoch")
    assert table.loc[2, "test_auc"] == pytest.approx(mean_auc(*truth_and_probabilities(opened, 2, "test")), abs=1e-9)


def test_evaluation_is_per_finding_over_the_films_where_it_is_known(opened, tmp_path):
    train_films = select(opened, split="train")
    result = evaluate(opened, 2, train_films)
    truth, p = truth_and_probabilities(opened, 2, "train")
    assert np.isnan(truth).any(axis=0).all()
    rows = result.per_class.set_index("class")
    assert rows.index.tolist() == [*FINDINGS, "macro"]
    for c, name in enumerate(FINDINGS):
        row, known = rows.loc[name], ~np.isnan(truth[:, c])
        positive, called = truth[known, c] == 1, p[known, c] >= 0.5
        counts = [known.sum(), positive.sum(), (~positive).sum(), (~known).sum()]
        assert row[["n_images", "n_positive", "n_negative", "n_ignored"]].tolist() == counts
        assert row["auc"] == pytest.approx(roc_auc_score(positive, p[known, c]), abs=1e-12)
        assert row["auc_ci_low"] < row["auc"] < row["auc_ci_high"]
        assert row["sensitivity"] == pytest.approx(called[positive].mean())
        assert row["specificity"] == pytest.approx((~called)[~positive].mean())
    assert rows.loc["macro", "auc"] == pytest.approx(rows["auc"].iloc[:2].mean(), abs=1e-12)
    summary = result.summary.iloc[0]
    assert (summary["auc"], summary["n_findings"], summary["n_defined"]) == (rows.loc["macro", "auc"], 2, 2)
    assert result.confusion.empty
    save_evaluation(Run(tmp_path), 2, "train", result)
    assert not Run(tmp_path).evaluation_path(2, "train", "confusion").exists()
    assert Run(tmp_path).evaluation_path(2, "train", "per_class").exists()


def test_the_label_is_explained_finding_by_finding_on_its_positives(opened, selection, notices):
    options = map_options(opened, selection)
    assert options.target == "label"
    table = explain_selection(opened, 2, selection, METHOD, options, overlays=1, reporter=notices)
    truth = selection.films.truth
    assert table["target"].tolist() == list(FINDINGS)
    assert table["n_maps"].tolist() == (truth == 1).sum(axis=0).tolist()
    nothing = int((truth != 1).all(axis=1).sum())
    assert f"{nothing} of {len(selection)} films have no positive finding and get no map." in notices.texts
    for c, name in enumerate(FINDINGS):
        stored = ensure(opened, 2, selection.take(truth[:, c] == 1), [METHOD], MapOptions(target=name))[METHOD]
        assert stored.parameters["target"] == name
        assert set(stored.targets) == {c}
        assert stored.images.tolist() == selection.films.ids[truth[:, c] == 1].tolist()
    with pytest.raises(TargetError, match="Name a finding: Pleural Effusion, Consolidation"):
        ensure(opened, 2, selection, [METHOD], options)
    predicted = ensure(opened, 2, selection, [METHOD], MapOptions(target="predicted"))[METHOD]
    np.testing.assert_array_equal(predicted.targets, predicted.probabilities.argmax(axis=1))
    # each sigmoid's own, no softmax over them
    np.testing.assert_allclose(predicted.probabilities, truth_and_probabilities(opened, 2, "test")[1], atol=1e-6)


def score_by_hand(maps, confidence, patients):
    """Σ w s / Σ w over pairs of different patients, with s = Σ min / Σ max of the squared min-maxed maps."""
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    seen, total, weights = (((maps - low) / (high - low)) ** 2).astype(float), 0.0, 0.0
    for i in range(len(maps)):
        for j in range(i):
            if patients[i] != patients[j]:
                weight = confidence[i] * confidence[j]
                total += weight * np.minimum(seen[i], seen[j]).sum() / np.maximum(seen[i], seen[j]).sum()
                weights += weight
    return total / weights


def test_the_c_score_of_a_finding_is_over_its_positive_films(opened, selection):
    options, settings = MapOptions(), {"threshold": 0.4, "grid": "native"}
    table = score_selection(opened, [2], selection, METHOD, options, settings)
    truth, p = truth_and_probabilities(opened, 2, "test")
    rows = table[table["level"] == "class"].set_index("class")
    both = (truth == 1).all(axis=1)
    assert both.any(), "some film is in both lists"
    for c, name in enumerate(FINDINGS):
        films = truth[:, c] == 1
        gold = films & (p[:, c] >= 0.5)
        assert rows.loc[name, ["n_images", "n_gold"]].tolist() == [films.sum(), gold.sum()]
        maps = ensure(opened, 2, selection.take(gold), [METHOD], MapOptions(target=name))[METHOD]
        expected = score_by_hand(maps.values, p[gold, c], selection.patients[gold])
        assert rows.loc[name, "score"] == pytest.approx(expected, rel=1e-5)
        assert rows.loc[name, "n_degenerate"] == 0
    assert set(table["decision"]) == {"threshold"}
    assert set(table["target"]) == {"label"}
    again = score_selection(opened, [2], selection, METHOD, options, settings, reuse=True)
    assert len(opened.run.scores(2)) == len(table)
    assert again["score"].tolist() == pytest.approx(table["score"].tolist(), nan_ok=True)


def test_a_film_with_two_findings_is_localized_for_each_by_its_own_map(opened, selection, tmp_path, notices):
    truth, ids = selection.films.truth, selection.films.ids
    rows = [f"{image},{name},{8 + 20 * c},8,16,24" for image in ids for c, name in enumerate(FINDINGS)]
    (tmp_path / "boxes.csv").write_text("\n".join(["image,finding,x,y,w,h", *rows]))
    marks = read_annotations(tmp_path / "boxes.csv", box_size=64)
    chosen = annotated_films(opened, selection, marks, reporter=notices)
    absent = dict(zip(FINDINGS, (truth == 0).sum(axis=0), strict=True))
    told = ", ".join(f"{name} {absent[name]}" for name in sorted(FINDINGS))
    assert f"annotated films whose label is not the class, left out: {told} (slice tp)." in notices.texts
    settings = LocalizeSettings(chance=False)
    films = localize(opened, 2, chosen, [METHOD], MapOptions(), settings).films.set_index("finding")
    _, p = truth_and_probabilities(opened, 2, "test")
    both = ids[(truth == 1).all(axis=1)]
    assert len(both) > 1
    for c, name in enumerate(FINDINGS):
        positive = truth[:, c] == 1
        own = films.loc[name]
        assert own["image"].tolist() == ids[positive].tolist()
        assert set(own["class"]) == {name}
        np.testing.assert_allclose(own["prob"], p[positive, c], atol=1e-6)
        maps = ensure(opened, 2, selection.take(positive), [METHOD], MapOptions(target=name))[METHOD]
        box = np.zeros((64, 64), bool)
        box[8:32, 8 + 20 * c : 24 + 20 * c] = True
        expected = [film_localization(heat, box)["mass"] for heat in maps.values]
        np.testing.assert_allclose(own["mass"], expected)
    keys = films["maps_key"].groupby("finding").unique()
    assert keys.map(len).tolist() == [1, 1]
    assert keys.iloc[0] != keys.iloc[1]


@pytest.mark.parametrize(
    "work",
    [
        lambda opened, films: drift(opened, {METHOD: Evidence(films, MapOptions())}, 1, 2),
        lambda opened, films: validity(opened, 2, {METHOD: Evidence(films, MapOptions())}),
        lambda opened, films: analyse(opened, {METHOD: Evidence(films, MapOptions())}),
        lambda opened, films: compare_selection(opened, 2, films, "gradcam", MapOptions(), {}),
        lambda opened, films: report_run(opened.run),
    ],
    ids=["drift", "validity", "analyse", "compare", "report"],
)
def test_work_for_one_class_a_film_says_so(opened, selection, work):
    with pytest.raises(UsageError, match=r"works on one class a film.*Pleural Effusion, Consolidation.*evaluate"):
        work(opened, selection)


def test_films_from_outside_are_read_by_the_runs_findings_and_policies(opened, folder, tmp_path):
    outside = select(opened, data=folder / "valid.csv", out=tmp_path)
    inside = evaluate(opened, 2, select(opened)).per_class
    found = evaluate(opened, 2, outside).per_class
    pd.testing.assert_frame_equal(found, inside, rtol=1e-12)
    with pytest.raises(UsageError, match="--map-class renames one label"):
        select(opened, data=folder / "valid.csv", map_class=[("Consolidation", "Pleural Effusion")])
    pd.read_csv(folder / "valid.csv").drop(columns="Consolidation").to_csv(folder / "half.csv", index=False)
    with pytest.raises(DataError, match=r"unknown finding.*'Consolidation'"):
        select(opened, data=folder / "half.csv")
    loose = select(opened, image=[folder / "valid"], out=tmp_path)
    assert not loose.labelled
    assert map_options(opened, loose).target == "predicted"
    with pytest.raises(DataError, match="needs a label for every film"):
        evaluate(opened, 2, loose)


def test_a_run_of_one_class_refuses_films_of_several(compiled, opened, folder, tmp_path):
    frame = opened.frame.drop(columns="sha256")
    frame.assign(path=[str(folder / path) for path in frame["path"]]).to_csv(tmp_path / "films.csv", index=False)
    with pytest.raises(DataError, match="several findings a film, and run tiny one class"):
        select(compiled, data=tmp_path / "films.csv")


def test_the_exported_model_answers_with_the_runs_probabilities(opened, selection, tmp_path):
    export(opened, 2, tmp_path / "model.keras")
    films = selection.films
    pixels = np.repeat(films.store.get(films.indices[:4])[..., None], 3, axis=-1).astype("float32")
    answers = keras.saving.load_model(tmp_path / "model.keras", compile=False)(pixels).numpy()
    _, p = truth_and_probabilities(opened, 2, "test")
    np.testing.assert_allclose(answers, p[:4], atol=1e-5)
    assert np.abs(answers.sum(axis=1) - 1).max() > 0.01


def test_a_stopped_run_of_findings_goes_on_to_the_same_weights(folder, tmp_path, tiny_settings, monkeypatch):
    options = {**tiny_settings, "epochs": (2, 0), "findings": FINDINGS}
    whole = train(data=folder, run=tmp_path / "whole", **options)
    real = Run.write_resume

    def killed(self, epoch, optimizer):
        real(self, epoch, optimizer)
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "write_resume", killed)
    with pytest.raises(KeyboardInterrupt):
        train(data=folder, run=tmp_path / "cut", **options)
    monkeypatch.undo()
    cut = train(run=tmp_path / "cut", resume=True)
    columns = ["epoch", "loss", "val_loss", "val_auc"]
    pd.testing.assert_frame_equal(whole.history()[columns], cut.history()[columns])
    pd.testing.assert_frame_equal(whole.predictions(2), cut.predictions(2))


def test_the_command_line_takes_the_policies(folder, capsys):
    from cxrkeras_cli.main import main

    with pytest.raises(SystemExit) as stop:
        main(
            ["data", "check", str(folder), "--findings", ",".join(FINDINGS), "--uncertain", "ones", "--format", "json"]
        )
    shown = capsys.readouterr()
    assert "--uncertain ones:" in shown.err
    counts = pd.DataFrame(json.loads(shown.out)["counts"])
    assert counts["n_unknown"].sum() == 0
    written = pd.read_csv(folder / "train.csv").iloc[:-1]["Consolidation"]
    here = (counts["split"] == "train") & (counts["class"] == "Consolidation")
    assert counts.loc[here, "n_films"].tolist() == [int(written.isin([1, -1]).sum())]
    assert stop.value.code == 0
    with pytest.raises(SystemExit) as stop:
        main(["data", "check", str(folder), "--findings", "Consolidation,Edema"])
    assert stop.value.code == 1
    assert "unknown finding" in capsys.readouterr().err
