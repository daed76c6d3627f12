"""tf-keras-vis' maps on a run, stored apart from ours, and the comparison of both."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tf_keras_vis.gradcam import Gradcam
from tf_keras_vis.utils.scores import CategoricalScore

from cxrkeras.consistency.agreement import agreement
from cxrkeras.errors import DataError, LayerError, MethodError
from cxrkeras.tables import read_scores
from cxrkeras.workflow import evidence
from cxrkeras.workflow.compare import compare_selection, conclusions, printed_comparison
from cxrkeras.workflow.evidence import chosen_methods, ensure
from cxrkeras.workflow.explain import explain_selection
from cxrkeras.workflow.map_options import MapOptions, map_options, map_parameters
from cxrkeras.workflow.score.score import score_selection
from cxrkeras.workflow.selection import select

pytestmark = pytest.mark.filterwarnings("ignore:The structure of .inputs. does:UserWarning")

PEER = MapOptions(engine="tf-keras-vis")
SETTINGS = {"threshold": 0.5}


def test_replayed_maps_of_a_run_are_the_peer_s_own_and_lie_beside_ours(opened):
    selection = select(opened, limit=2)
    ours = ensure(opened, 4, selection, ["gradcam"], MapOptions())["gradcam"]
    theirs = ensure(opened, 4, selection, ["gradcam"], PEER)["gradcam"]
    opened.load(4)
    films = np.repeat(selection.films.store.get(selection.films.indices)[..., None], 3, axis=3).astype(np.float32)
    peer = Gradcam(opened.classifier.logits)
    for row, target in enumerate(selection.films.labels):
        direct = peer(CategoricalScore([int(target)]), films[row : row + 1])
        np.testing.assert_array_equal(theirs.values[row], direct[0])
    np.testing.assert_allclose(theirs.probabilities, ours.probabilities, atol=1e-5)
    assert (theirs.layer, theirs.grid) == ("conv8", (64, 64))
    assert (ours.layer, ours.grid) == ("stride8_relu", (8, 8))
    assert theirs.parameters["layers"] == ["conv8"]
    assert theirs.parameters["expanded"] is True
    assert len(list((opened.run.path / "maps/epoch_004/test").glob("gradcam--*.npz"))) == 2


def test_layers_that_lead_to_one_convolution_share_their_maps(opened):
    wanted = [None, "last_conv", "stride8", "stride8_relu", "conv8"]
    keys = [
        map_parameters(opened, 4, "layercam", MapOptions(engine="tf-keras-vis", **({"layer": w} if w else {})))
        for w in wanted
    ]
    assert all(key == keys[0] for key in keys)
    other = map_parameters(opened, 4, "layercam", MapOptions(engine="tf-keras-vis", layer="stride4"))
    assert other["layers"] == ["conv4"]
    with pytest.raises(LayerError, match="Did you mean"):
        ensure(opened, 4, select(opened, limit=1), ["layercam"], MapOptions(engine="tf-keras-vis", layer="conv88"))


def test_without_a_name_the_methods_are_those_it_has(opened, monkeypatch):
    selection = select(opened, limit=1)
    every = ["gradcam", "gradcam++", "layercam", "scorecam"]
    assert chosen_methods(None, opened, 4, selection, PEER) == every
    assert chosen_methods("all", opened, 4, selection, PEER) == every
    monkeypatch.setattr(evidence, "AFFORDABLE_FORWARDS", 10)
    assert chosen_methods(None, opened, 4, selection, PEER) == every[:3]
    with pytest.raises(MethodError, match="has no eigencam"):
        chosen_methods("gradcam,eigencam", opened, 4, selection, PEER)


def test_options_it_does_not_have_are_refused(opened):
    selection = select(opened, limit=1)
    for options, named in [
        (MapOptions(engine="tf-keras-vis", on="margin"), "on margin"),
        (MapOptions(engine="tf-keras-vis", given={"weighting": "softmax"}), "weighting"),
        (MapOptions(engine="tf-keras-vis", layer="stride4,stride8"), "layers stride4,stride8"),
    ]:
        with pytest.raises(MethodError, match=f"replayed as it is.*received {named}"):
            ensure(opened, 4, selection, ["scorecam"], options)
    with pytest.raises(MethodError, match="Did you mean 'tf-keras-vis'"):
        map_options(opened, selection, engine="tf-keras-viz")


def test_explain_and_score_keep_the_engines_apart(opened):
    selection = select(opened, limit=3)
    for options in (MapOptions(), PEER):
        told = explain_selection(opened, 4, selection, "layercam", options, overlays=1)
        assert told["n_maps"].item() == 6
    assert told["layer"].item() == "conv8"
    folders = {path.name for path in (opened.run.path / "overlays/epoch_004").iterdir()}
    assert folders == {"layercam", "layercam--tf-keras-vis"}
    ours = score_selection(opened, [4], selection, "layercam", MapOptions(), SETTINGS)
    theirs = score_selection(opened, [4], selection, "layercam", PEER, SETTINGS)
    stored = opened.run.scores(4)
    assert len(stored) == len(ours) + len(theirs)
    assert set(stored["engine"]) == {"cxrkeras", "tf-keras-vis"}
    assert not np.allclose(ours["score"], theirs["score"], atol=1e-3)


def test_the_comparison_is_made_of_agreement_and_scores_of_both_engines(opened):
    selection = select(opened, limit=6)
    compared = compare_selection(opened, 4, selection, "gradcam,layercam", MapOptions(), SETTINGS)
    table = compared.table
    assert list(zip(table["method"], table["class"], strict=True)) == [
        (method, name) for method in ("gradcam", "layercam") for name in (*opened.classes, "macro")
    ]
    scores = opened.run.scores(4)
    for method in ("gradcam", "layercam"):
        pair = [ensure(opened, 4, selection, [method], own)[method].values for own in (PEER, MapOptions())]
        alike = agreement(*pair)
        rows = table[table["method"] == method].set_index("class")
        whole = alike.summary()
        for name in ("correlation", "correlation_low", "top_iou", "top_iou_high"):
            assert rows.loc["macro", name] == pytest.approx(whole[name])
        first = alike.summary(selection.films.labels == 0)
        assert rows.loc[opened.classes[0], "correlation"] == pytest.approx(first["correlation"])
        assert rows.loc[opened.classes[0], "n_films"] == 6
        for side, engine in (("published", "tf-keras-vis"), ("corrected", "cxrkeras")):
            stored = scores[(scores["engine"] == engine) & (scores["method"] == method)].set_index("class")
            for name in (*opened.classes, "macro"):
                np.testing.assert_allclose(rows.loc[name, f"score_{side}"], stored.loc[name, "score"])
            np.testing.assert_allclose(
                rows.loc[opened.classes[1], f"ci_high_{side}"], stored.loc[opened.classes[1], "ci_high"]
            )
    assert set(table["layer_published"]) == {"conv8"}
    assert set(table["layer_corrected"]) == {"stride8_relu"}
    assert set(table["grid_published"]) == {"64×64"}
    assert rows.loc["macro", "n_compared"] + rows.loc["macro", "n_degenerate_published"] >= 12
    assert "correlation" in printed_comparison(table)
    assert len(compared.conclusions) == 2


def test_repeating_replaces_its_rows_and_keeps_others(opened):
    selection = select(opened, limit=4)
    for settings in (SETTINGS, {"threshold": 0.6}, SETTINGS):
        compared = compare_selection(opened, 4, selection, "gradcam", MapOptions(), settings)
    stored = read_scores(opened.run.comparison_path(4))
    assert len(stored) == 2 * len(compared.table)
    assert sorted(stored["threshold"].unique()) == [0.5, 0.6]
    again = stored[stored["threshold"] == 0.5].reset_index(drop=True)
    np.testing.assert_allclose(again["correlation"], compared.table["correlation"])
    np.testing.assert_allclose(again["score_published"], compared.table["score_published"])


def test_the_same_layer_for_both_leaves_the_methods_difference(opened):
    """At one convolution and a linear head gradcam is right in the peer too: only its resizing differs."""
    table = compare_selection(
        opened, 4, select(opened, limit=3), "gradcam", MapOptions(layer="conv8"), SETTINGS
    ).table.set_index("class")
    assert table.loc["macro", "layer_corrected"] == table.loc["macro", "layer_published"] == "conv8"
    own = compare_selection(opened, 4, select(opened, limit=3), "gradcam", MapOptions(), SETTINGS).table
    assert table.loc["macro", "correlation"] > own.set_index("class").loc["macro", "correlation"]
    assert 0.8 < table.loc["macro", "correlation"] < 0.99999


def row(method, name, published, corrected, half=0.05, **more):
    found = {"method": method, "class": name}
    for side, score in (("published", published), ("corrected", corrected)):
        ends = (np.nan, np.nan) if name == "macro" else (score - half, score + half)
        found |= {f"score_{side}": score, f"ci_low_{side}": ends[0], f"ci_high_{side}": ends[1], f"status_{side}": "ok"}
    return found | more


def test_conclusions_say_what_changes_and_what_does_not():
    same = pd.DataFrame([row("a", "x", 0.5, 0.52), row("a", "macro", 0.5, 0.5), row("b", "macro", 0.4, 0.3)])
    order, parted = conclusions(same)
    assert order == "Order of methods by macro C-Score: the same with both engines (a > b)."
    assert parted == "Classes whose intervals do not overlap: none."
    changed = pd.DataFrame(
        [
            row("a", "x", 0.5, 0.7),
            row("a", "y", 0.5, np.nan),
            row("a", "macro", 0.5, 0.2),
            row("b", "macro", 0.4, 0.3),
            row("c", "macro", np.nan, 0.3),
            row("d", "macro", 0.9, 0.9, status_corrected="approximate"),
        ]
    )
    order, parted = conclusions(changed)
    assert "changes: as published a > b; as corrected b > a." in order
    assert "Change places: a and b (0.100 apart published, 0.100 corrected; within their intervals" in order
    assert order.endswith("Left out, undefined or sampled: c, d.")
    assert "a x (0.500 [0.450, 0.550] published, 0.700 [0.650, 0.750] corrected)" in parted
    assert parted.endswith("Without an interval: 1 of 2.")
    told = pd.concat([changed, pd.DataFrame([row("b", "x", 0.1, 0.6)])])
    assert "their intervals part in x)" in conclusions(told)[0]
    tied = pd.DataFrame([row("a", "macro", 0.5, 0.4), row("b", "macro", 0.4, 0.4)])
    assert "the same with both engines" in conclusions(tied)[0], "equal is not a change of places"
    assert "fewer than two methods" in conclusions(changed[changed["method"].isin(["a", "c"])])[0]


def test_films_without_labels_cannot_be_compared(opened, phantom_folder):
    film = pd.read_csv(phantom_folder / "manifest.csv")["path"][0]
    loose = select(opened, image=[phantom_folder / film])
    with pytest.raises(DataError, match="needs a label for every film"):
        compare_selection(opened, 4, loose, "gradcam", MapOptions(), {})


def test_only_a_run_s_classifier_is_replayed():
    model = SimpleNamespace(classifier=object(), classes=("a", "b"))
    with pytest.raises(MethodError, match="classifiers of a run; received a model of another kind"):
        map_options(model, SimpleNamespace(labelled=True), engine="tf-keras-vis")
