"""Localization of a run: planted maps score what they must, films and findings are chosen as said, rows are kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrkeras.data.annotations import read_annotations
from cxrkeras.errors import CxrKerasError, DataError, RunError, UsageError
from cxrkeras.events import Reporter
from cxrkeras.localization import Threshold, film_localization
from cxrkeras.maps import resize
from cxrkeras.workflow.evidence import ensure
from cxrkeras.workflow.localize import maps as localize_maps
from cxrkeras.workflow.localize.chance import chance_rows
from cxrkeras.workflow.localize.films import annotated_films, own_masks
from cxrkeras.workflow.localize.localize import LocalizeSettings, localize, made_with
from cxrkeras.workflow.localize.maps import Rule, film_maps, film_rows
from cxrkeras.workflow.localize.matching import mapped_findings
from cxrkeras.workflow.localize.models import Model, films_in_run, model_of
from cxrkeras.workflow.localize.tables import WAY, read_localization
from cxrkeras.workflow.localize.tuning import tuning_films
from cxrkeras.workflow.map_options import MapOptions
from cxrkeras.workflow.opened import OpenRun
from cxrkeras.workflow.selection import select

METHODS = ["gradcam", "eigencam"]
QUICK = LocalizeSettings(chance=False)


class Told(Reporter):
    def __init__(self):
        self.texts = []

    def notice(self, text):
        self.texts.append(text)


def phantom_truth(opened, **choices):
    selection = select(opened)
    return annotated_films(opened, selection, own_masks(opened, selection), **choices)


def boxes(tmp_path, selection, rows, size=64):
    """A box list: `rows` are (film number, finding, x, y, w, h[, annotator])."""
    lines = ["image,finding,annotator,x,y,w,h"]
    for film, finding, x, y, w, h, *by in rows:
        lines.append(f"{selection.films.ids[film]},{finding},{by[0] if by else ''},{x},{y},{w},{h}")
    file = tmp_path / "boxes.csv"
    file.write_text("\n".join(lines) + "\n")
    return read_annotations(file, box_size=size)


def planted(monkeypatch, heats):
    """Replace the values of every map: `heats(image, method)` -> ``[h, w]``."""

    def ensured(opened, epoch, selection, methods, options, reporter=None):
        found = ensure(opened, epoch, selection, methods, options)
        return {
            name: replace(maps, values=np.stack([heats(str(image), name) for image in maps.images]))
            for name, maps in found.items()
        }

    monkeypatch.setattr(localize_maps, "ensure", ensured)


def test_a_map_equal_to_the_truth_scores_one_and_a_blank_one_is_not_scored(opened, monkeypatch):
    truth = phantom_truth(opened)
    masks = {member.image: truth.truth(i).astype(np.float32) for i, member in enumerate(truth.members)}
    planted(monkeypatch, lambda image, name: masks[image] if name == "gradcam" else np.ones((8, 8), np.float32))
    found = localize(opened, 4, truth, METHODS, MapOptions(), QUICK)
    films = found.films.set_index("method")
    for metric in ("iou", "hit", "mass", "rank", "peak_iou", "pixel_ap", "pixel_auroc"):
        np.testing.assert_allclose(films.loc["gradcam", metric], 1, err_msg=metric)
    np.testing.assert_allclose(films.loc["gradcam", "area_gt"], [m.mean() for m in masks.values()])
    assert set(films.loc["eigencam", "status"]) == {"degenerate"}
    assert films.loc["eigencam", ["iou", "hit", "mass"]].isna().all(axis=None)
    rows = found.summary.set_index(["method", "metric"])
    assert rows.loc[("gradcam", "iou"), ["mean", "mean_zero", "n", "n_degenerate"]].tolist() == [1, 1, len(masks), 0]
    assert np.isnan(rows.loc[("eigencam", "iou"), "mean"])
    assert rows.loc[("eigencam", "iou"), ["mean_zero", "n", "n_degenerate"]].tolist() == [0, 0, len(masks)]


def test_films_are_those_of_the_label_with_the_probability_and_key_of_their_maps(opened):
    truth = phantom_truth(opened)
    frame = opened.frame
    marked = frame[(frame["split"] == "test") & frame["mask"].notna()]
    assert [member.image for member in truth.members] == marked["path"].tolist()
    assert truth.findings == {"lobar": "lobar"}
    found = localize(opened, 4, truth, METHODS, MapOptions(), replace(QUICK, overlays=1))
    columns = (
        "image patient finding class annotator method iou hit mass rank peak_iou pixel_ap pixel_auroc area_gt "
        "area_pred threshold prob status map_status grid layer maps_key annotations rule tolerance slice cutoff options"
    )
    assert list(found.films) == columns.split()
    maps = ensure(opened, 4, truth.selection, METHODS, MapOptions(target="lobar"))
    for name, own in found.films.groupby("method"):
        assert own["image"].tolist() == marked["path"].tolist()
        assert own["patient"].tolist() == marked["patient"].tolist()
        lobar = opened.classes.index("lobar")
        np.testing.assert_allclose(own["prob"], maps[name].probabilities[:, lobar], rtol=1e-6)
        for row, (heat, i) in enumerate(zip(maps[name].values, range(len(truth)), strict=True)):
            scored = film_localization(heat, truth.truth(i))
            assert own["iou"].iloc[row] == scored["iou"]
            assert own["mass"].iloc[row] == scored["mass"]
    stored = read_localization(opened.run.localization_path(4, "test", "films"))
    pd.testing.assert_frame_equal(stored, found.films, check_dtype=False)
    assert found.figure.read_bytes()[:4] == b"\x89PNG"
    drawn = sorted(opened.run.overlays_path(4, "").glob("*localization/*/*.png"))
    assert [file.parts[-3:-1] for file in drawn] == [
        ("eigencam@lobar--localization", "lobar"), ("gradcam@lobar--localization", "lobar"),
    ]  # fmt: skip


def test_marks_of_twice_the_size_give_the_same_numbers(opened, tmp_path, monkeypatch):
    selection = select(opened)
    lobar = opened.classes.index("lobar")
    rows = [(film, "lobar", 8, 12, 20, 24) for film in np.flatnonzero(selection.films.labels == lobar)[:3]]
    heat = np.arange(64, dtype=np.float32).reshape(8, 8) % 13
    planted(monkeypatch, lambda image, name: heat)
    found = {}
    for scale in (1, 2):
        scaled = [(film, finding, *(scale * value for value in box)) for film, finding, *box in rows]
        marks = boxes(tmp_path, selection, scaled, size=64 * scale)
        truth = annotated_films(opened, selection, marks)
        assert truth.truth(0).shape == (64 * scale, 64 * scale)
        maps = film_maps(opened, 4, truth, ["gradcam"], MapOptions())
        found[scale] = film_rows(maps, Rule({("lobar", "gradcam"): Threshold("fixed", 0.5)}))
    assert found[1]["area_gt"].tolist() == found[2]["area_gt"].tolist() == [20 * 24 / 64**2] * 3
    # the finer raster samples the same surface, so shares agree to the width of a pixel
    for metric in ("iou", "mass", "rank"):
        np.testing.assert_allclose(found[1][metric], found[2][metric], atol=0.01, err_msg=metric)
    assert found[1]["hit"].tolist() == found[2]["hit"].tolist()


def test_a_padded_film_is_scored_on_the_part_of_the_map_that_it_fills(opened, tmp_path, monkeypatch):
    wide = tmp_path / "wide" / "lobar"
    wide.mkdir(parents=True)
    for number in range(2):
        Image.fromarray(np.full((50, 100), 90 + number, np.uint8)).save(wide / f"w{number}.png")
    opened.config = opened.config.model_copy(update={"data": opened.config.data.model_copy(update={"resize": "pad"})})
    selection = select(opened, data=wide.parent, out=tmp_path / "out")
    marks = boxes(tmp_path, selection, [(0, "lobar", 0, 0, 100, 25), (1, "lobar", 0, 0, 100, 25)], (50, 100))
    truth = annotated_films(opened, selection, marks)
    heat = np.zeros((8, 8), np.float32)
    # the film fills rows 2 to 5 of the input, so its upper half is rows 2 and 3
    heat[2:4] = 1
    planted(monkeypatch, lambda image, name: heat)
    maps = film_maps(opened, 4, truth, ["gradcam"], MapOptions())
    assert maps.regions == ((0.25, 0.0, 0.75, 1.0),) * 2
    (row,) = film_rows(maps, Rule({("lobar", "gradcam"): Threshold("fixed", 0.5)})).to_dict("records")[:1]
    assert row["iou"] == 1
    shown = resize(heat[None], (50, 100), (0.25, 0.0, 0.75, 1.0))[0]
    assert row["mass"] == pytest.approx(shown[:25].sum() / shown.sum(), rel=1e-5)
    assert row["mass"] > 0.8
    # taken for the whole input, the same map would lie a quarter too high
    whole = film_localization(heat, truth.truth(0), threshold=Threshold("fixed", 0.5))
    assert whole["iou"] < 0.55


def test_chance_rows_and_the_checkpoint_that_is_loaded_again(opened):
    truth = phantom_truth(opened)
    maps = film_maps(opened, 4, truth, METHODS, MapOptions())
    rule = Rule({("lobar", name): Threshold("otsu") for name in METHODS})
    opened.load(4)
    weights = [weight.copy() for weight in opened.classifier.model.get_weights()]
    table = chance_rows(opened, 4, maps, MapOptions(), rule, 2)
    for now, value in zip(opened.classifier.model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, value)
    n = len(truth)
    assert table.groupby("against").size().to_dict() == {
        "area": n, "centre": n, "mean_mask": n, "random_weights": 2 * n,
    }  # fmt: skip
    area = table[table["against"] == "area"]
    for metric in ("iou", "hit", "mass"):
        assert area[metric].tolist() == [truth.truth(i).mean() for i in range(n)]
    again = chance_rows(opened, 4, maps, MapOptions(), rule, 2)
    pd.testing.assert_frame_equal(again, table)
    # the mean of two draws: one draw is one of its parts, and a hit is 0, a half or 1
    one = chance_rows(opened, 4, maps, MapOptions(), rule, 1)
    pick = lambda frame: frame.loc[frame["against"] == "random_weights"].set_index(["image", "method"])  # noqa: E731
    assert set(pick(one)["hit"].dropna()) <= {0, 1}
    assert set(pick(table)["hit"].dropna()) <= {0, 0.5, 1}
    trained = film_rows(maps, rule).set_index(["image", "method"])
    # every layer is drawn anew: eigencam does not read the head
    moved = (pick(one)["mass"] - trained["mass"]).abs().groupby("method").max()
    assert moved["gradcam"] > 0.01
    assert moved["eigencam"] > 0.01
    assert (pick(table)["mass"] - pick(one)["mass"]).abs().max() > 0.01, "two draws are two networks"
    # the mean mask of a film knows nothing of any film of its patient
    patients, masks = [member.patient for member in truth.members], [truth.truth(i) for i in range(n)]
    several = max(range(n), key=lambda i: patients.count(patients[i]))
    assert patients.count(patients[several]) > 1
    others = [masks[i] for i in range(n) if patients[i] != patients[several]]
    expected = film_localization(np.mean(others, axis=0), masks[several])
    own = table[(table["against"] == "mean_mask") & (table["image"] == truth.members[several].image)].iloc[0]
    assert own["mass"] == pytest.approx(expected["mass"], rel=1e-5)


def test_a_repeat_replaces_its_rows_and_keeps_the_others(opened):
    truth = phantom_truth(opened)
    file = opened.run.localization_path(4, "test", "summary")
    localize(opened, 4, truth, ["gradcam"], MapOptions(), QUICK)
    first = read_localization(file)
    localize(opened, 4, truth, ["eigencam"], MapOptions(), QUICK)
    both = read_localization(file)
    assert both["method"].value_counts().to_dict() == {"gradcam": len(first), "eigencam": len(first)}
    pd.testing.assert_frame_equal(both[both["method"] == "gradcam"].reset_index(drop=True), first)
    localize(opened, 4, truth, ["gradcam"], MapOptions(), QUICK)
    pd.testing.assert_frame_equal(
        read_localization(file).sort_values(["method", "metric"], ignore_index=True),
        both.sort_values(["method", "metric"], ignore_index=True),
    )
    localize(opened, 4, truth, ["gradcam"], MapOptions(), replace(QUICK, threshold="top:0.1"))
    rules = read_localization(file).groupby("rule")["method"].unique().map(sorted).to_dict()
    assert rules == {"otsu": ["eigencam", "gradcam"], "top:0.1": ["gradcam"]}
    # maps of another baseline stand beside, not in place of, those of the default
    assert made_with(MapOptions(seed=3, target="lobar")) == ""
    assert made_with(MapOptions(layer="stride4", given={"ig_steps": 20})) == "layer=stride4 ig_steps=20"
    assert "options" in WAY


def test_against_itself_nothing_differs_and_another_epoch_does(opened, run_copy):
    truth = phantom_truth(opened)
    models = [Model(OpenRun(run_copy), 4), Model(OpenRun(run_copy), 1)]
    found = localize(opened, 4, truth, METHODS, MapOptions(), QUICK, against=models)
    runs = found.comparisons[found.comparisons["compared"] == "runs"]
    assert set(runs["method"]) == set(METHODS)
    itself = runs[runs["second"] == "copy@4 #2"]
    assert (itself["first"] == "copy@4").all()
    assert itself["difference"].tolist() == [0] * len(itself)
    assert runs.loc[(runs["first"] == "copy@4") & (runs["second"] == "copy@1"), "difference"].abs().max() > 0
    assert set(runs["status"]) == {"too_few_patients"}
    assert runs["p_holm"].isna().all()
    assert model_of(f"{run_copy.path}@2").name == "copy@2"
    assert model_of(str(run_copy.path)).name == "copy@4"


def test_films_that_another_run_does_not_hold_are_films_from_outside_it(opened, run_copy, tmp_path):
    truth, other = phantom_truth(opened), OpenRun(run_copy)
    other.frame["sha256"] = "0" * 64
    there = films_in_run(truth.selection, ["lobar"], opened, other)
    assert not there.inside
    assert there.films.ids.tolist() == truth.selection.films.ids.tolist()
    np.testing.assert_array_equal(there.films.labels, truth.selection.films.labels)
    pixels = [chosen.films.store.get(chosen.films.indices) for chosen in (there, truth.selection)]
    np.testing.assert_array_equal(*pixels)
    with pytest.raises(UsageError, match="has no class 'nodule', which is compared"):
        films_in_run(truth.selection, ["nodule"], opened, other)


def test_an_untrained_head_is_refused_or_marked(opened, run_copy):
    truth = phantom_truth(opened)
    run_copy.write_history(run_copy.history().iloc[:0])
    with pytest.raises(RunError, match="never trained: its head is random"):
        localize(opened, 4, truth, ["gradcam"], MapOptions(), QUICK)
    told = Told()
    found = localize(opened, 4, truth, ["gradcam"], MapOptions(), replace(QUICK, allow_untrained=True), reporter=told)
    assert set(found.summary["trained"]) == {"no"}
    assert any("head not trained" in text for text in told.texts)


def test_findings_go_by_name_by_alias_or_as_mapped():
    told = Told()
    classes = ("NO_FINDING", "Pneumonia", "Lung_Opacity")
    found = mapped_findings(["Lung Opacity", "pneumonia", "Mass"], classes, {}, told)
    assert found == {"Lung Opacity": "Lung_Opacity", "pneumonia": "Pneumonia"}
    assert any("left out: Mass" in text for text in told.texts)
    assert mapped_findings(["Lung Opacity"], classes, {"Airspace Opacity": "PNEUMONIA"}) == {
        "Lung Opacity": "Pneumonia"
    }
    for given, message in (
        ({"Lung Opcity": "Pneumonia"}, "is not annotated.*Did you mean 'Lung Opacity'"),
        ({"Lung Opacity": "Pneumona"}, "is no class of the run.*Did you mean 'Pneumonia'"),
    ):
        with pytest.raises(UsageError, match=message):
            mapped_findings(["Lung Opacity"], classes, given)
    with pytest.raises(UsageError, match="no finding of Mass is a class of the run"):
        mapped_findings(["Mass"], classes, {})


def test_labels_views_annotators_and_readers_decide_what_is_scored(opened, tmp_path):
    selection = select(opened)
    lobar = np.flatnonzero(selection.films.labels == opened.classes.index("lobar"))
    normal = np.flatnonzero(selection.films.labels == opened.classes.index("normal"))
    views = np.full(len(selection), "AP Supine", object)
    views[lobar[1]] = "LL"
    selection = replace(selection, frame=selection.frame.assign(view=views))
    rows = [
        (lobar[0], "lobar", 0, 0, 10, 20, "A"),
        (lobar[0], "lobar", 5, 0, 10, 20, "B"),
        (lobar[1], "lobar", 0, 0, 10, 20, "A"),
        (lobar[2], "lobar", 0, 0, 10, 20, "A"),
        (normal[0], "lobar", 0, 0, 10, 20, "A"),
    ]
    marks, told = boxes(tmp_path, selection, rows), Told()
    truth = annotated_films(opened, selection, marks, reporter=told)
    assert [member.image for member in truth.members] == selection.films.ids[lobar[[0, 2]]].tolist()
    assert truth.truth(0).sum() == 15 * 20
    assert {member.annotator for member in truth.members} == {"union"}
    for words in ("whose label is not the class, left out: lobar 1", "lateral films left out: 1", "lobar → lobar"):
        assert any(words in text for text in told.texts), words
    each = annotated_films(opened, selection, marks, annotators="each", views="all")
    assert [(member.annotator, each.truth(i).sum()) for i, member in enumerate(each.members)] == [
        ("A", 200), ("B", 200), ("A", 200), ("A", 200),
    ]  # fmt: skip
    found = localize(opened, 4, truth, ["gradcam"], MapOptions(), QUICK)
    (row,) = found.readers.to_dict("records")
    # 5 of 15 columns are marked by both
    assert (row["first"], row["second"], row["n"], row["iou"]) == ("A", "B", 1, pytest.approx(1 / 3))


def test_the_slice_full_needs_read_negatives_and_counts_misses_and_false_alarms(opened, tmp_path):
    selection = select(opened)
    lobar = np.flatnonzero(selection.films.labels == opened.classes.index("lobar"))
    marks = boxes(tmp_path, selection, [(film, "lobar", 8, 8, 16, 16) for film in lobar])
    with pytest.raises(UsageError, match="do not say which films were read"):
        annotated_films(opened, selection, marks, slice="full")
    truth = annotated_films(opened, selection, marks, slice="full", negatives_read=True)
    assert len(truth) == len(selection)
    with pytest.raises(UsageError, match="go together"):
        localize(opened, 4, truth, ["gradcam"], MapOptions(), QUICK)
    maps = film_maps(opened, 4, truth, ["gradcam"], MapOptions())
    cutoff = float(np.median([maps.probability(i) for i in range(len(truth))]))
    films = film_rows(maps, Rule({("lobar", "gradcam"): Threshold("otsu")}, cutoff=cutoff))
    probabilities = ensure(opened, 4, selection, ["gradcam"], MapOptions())["gradcam"].probabilities
    np.testing.assert_allclose(films["prob"], probabilities[:, opened.classes.index("lobar")], rtol=1e-6)
    below, marked = (films["prob"] < cutoff).to_numpy(), (films["area_gt"] > 0).to_numpy()
    assert marked.sum() == len(lobar)
    assert films.loc[below & marked, "iou"].tolist() == [0] * (below & marked).sum()
    assert films.loc[~below & ~marked, "iou"].tolist() == [0] * (~below & ~marked).sum()
    assert films.loc[below & ~marked, "iou"].isna().all()
    chance = chance_rows(opened, 4, maps, MapOptions(), Rule({("lobar", "gradcam"): Threshold("otsu")}, 0, cutoff), 1)
    area = chance[chance["against"] == "area"]
    expected = np.where(below, np.where(marked, 0, np.nan), np.where(marked, films["area_gt"], 0))
    np.testing.assert_allclose(area["iou"], expected)
    # an unmarked film has other patients too, whose mean mask is a false alarm on it
    mean = chance[chance["against"] == "mean_mask"]
    assert mean.loc[(~below & ~marked), "iou"].tolist() == [0] * (~below & ~marked).sum()
    assert (~below & ~marked).any()
    assert not (mean["status"] == "one_patient").any()


def test_a_threshold_is_tuned_on_other_patients_only(opened, tmp_path, monkeypatch):
    truth = phantom_truth(opened)
    table = own_masks(opened, truth.whole)
    validation = set(opened.frame.loc[opened.frame["split"] == "val", "path"])
    marks = replace(table, regions=tuple(r for r in table.regions if r.image in validation))
    tuning = tuning_films(opened, truth, marks)
    assert {member.image for member in tuning.members} <= validation
    masks = {r.image: r.mask() for r in table.regions}
    # 1 inside, 0.65 around it: only thresholds of 0.7 and 0.8 give the truth itself, and ties go to the smaller
    planted(monkeypatch, lambda image, name: _shaded(masks[image]))
    told = Told()
    found = localize(
        opened, 4, truth, ["gradcam"], MapOptions(), replace(QUICK, threshold="tuned"), tuning=tuning, reporter=told
    )
    assert "tuned thresholds: lobar gradcam 0.7." in told.texts
    assert found.films["iou"].tolist() == [1] * len(truth)
    assert set(found.films["rule"]) == {f"tuned on {tuning.annotations}"}
    scored = set(opened.frame.loc[opened.frame["split"] == "test", "path"])
    with pytest.raises(DataError, match="cannot be tuned on patients they are used on"):
        tuning_films(opened, truth, replace(table, regions=tuple(r for r in table.regions if r.image in scored)))
    with pytest.raises(UsageError, match="of several splits"):
        tuning_films(opened, truth, table)
    with pytest.raises(UsageError, match="needs films to be tuned on"):
        localize(opened, 4, truth, ["gradcam"], MapOptions(), replace(QUICK, threshold="tuned"))


def _shaded(mask):
    heat = np.where(mask, 1, 0.65).astype(np.float32)
    heat[0, 0] = 0
    return heat


def test_statements_and_human_readers(opened, tmp_path):
    truth = phantom_truth(opened)
    ids = truth.selection.films.ids
    sides = tmp_path / "sides.csv"
    sides.write_text(
        f"image,finding,side,zone\n{ids[0]},lobar,left,\n{ids[1]},lobar,bilateral,\nelsewhere,lobar,right,\n"
    )
    human = tmp_path / "human.csv"
    human.write_text("image,finding,iou\n" + "".join(f"{image},lobar,0.5\n" for image in ids))
    settings = replace(QUICK, statements=sides, human=human)
    found = localize(opened, 4, truth, ["gradcam"], MapOptions(), settings)
    first, second = found.statement_films.to_dict("records")
    heat = ensure(opened, 4, truth.selection, ["gradcam"], MapOptions(target="lobar"))["gradcam"].values[0]
    scaled = resize((heat - heat.min())[None], 192)[0]
    scaled = scaled - scaled.min()
    # the patient's left is the right half of the film
    assert first["share"] == pytest.approx(scaled[:, 96:].sum() / scaled.sum(), rel=1e-4)
    assert (first["chance"], second["status"]) == (0.5, "bilateral")
    row = found.summary.set_index("metric").loc["iou"]
    assert row["human"] == 0.5
    assert row["percent_decrease"] == pytest.approx(100 * (0.5 - row["mean"]) / 0.5)


@pytest.mark.parametrize("name", ["human", "statements"])
def test_a_table_that_is_not_there_is_said_before_anything_is_computed(opened, tmp_path, monkeypatch, name):
    monkeypatch.setattr("cxrkeras.workflow.localize.localize.film_maps", lambda *_: pytest.fail("maps were made first"))
    with pytest.raises(CxrKerasError, match=r"nix\.csv"):
        localize(
            opened, 4, phantom_truth(opened), METHODS, MapOptions(), replace(QUICK, **{name: tmp_path / "nix.csv"})
        )


def test_films_of_unknown_patients_are_said_to_count_as_one_each(opened, tmp_path):
    told, selection = Told(), select(opened, out=tmp_path)
    for frame, said in ((selection.frame.drop(columns="patient"), True), (selection.frame, False)):
        truth = annotated_films(opened, replace(selection, frame=frame), own_masks(opened, selection))
        assert ([member.patient for member in truth.members] == [member.image for member in truth.members]) is said
        told.texts.clear()
        localize(opened, 4, truth, ["gradcam"], MapOptions(), QUICK, reporter=told)
        assert any("every film counts as a patient of its own" in text for text in told.texts) is said


def test_films_without_masks_of_their_own_need_marks(opened):
    selection = select(opened)
    bare = replace(selection, frame=selection.frame.drop(columns="mask"))
    with pytest.raises(UsageError, match=r"no masks of their own. Give expert marks with --boxes FILE"):
        own_masks(opened, bare)
