"""Maps are made once, for exactly the films and parameters asked for, and a stopped ScoreCAM keeps what it finished."""

from __future__ import annotations

import contextlib

import numpy as np
import pandas as pd
import pytest

from cxrkeras.cams import Explainer
from cxrkeras.errors import MethodError, TargetError
from cxrkeras.events import Reporter
from cxrkeras.tables import load_maps
from cxrkeras.workflow import evidence
from cxrkeras.workflow.evidence import chosen_methods, ensure
from cxrkeras.workflow.map_options import MapOptions, map_options
from cxrkeras.workflow.selection import select

CHEAP = ["gradcam", "gradcam++", "layercam", "eigencam", "ms-gradcam++"]


def test_maps_are_those_of_the_engine_at_that_checkpoint(opened):
    selection = select(opened, limit=3)
    maps = ensure(opened, 4, selection, CHEAP, MapOptions())
    opened.load(4)
    row = opened.classifier.backbone
    films = np.repeat(selection.films.store.get(selection.films.indices)[..., None], 3, axis=3)
    direct = Explainer(
        opened.classifier.model, CHEAP, layer=row.head_input, multiscale_layers=row.multiscale, batch_size=4
    ).explain(films, selection.films.labels)
    for name in CHEAP:
        np.testing.assert_allclose(maps[name].values, direct[name].values, atol=1e-5 * direct[name].values.max())
        assert maps[name].images.tolist() == selection.films.ids.tolist()
        assert maps[name].targets.tolist() == selection.films.labels.tolist()
        np.testing.assert_allclose(maps[name].probabilities, direct.probabilities, atol=1e-5)
    assert maps["gradcam"].grid == (8, 8)
    assert maps["ms-gradcam++"].grid == (32, 32)


def test_stored_maps_are_read_and_only_missing_films_are_computed(opened, monkeypatch):
    few, more = select(opened, limit=2), select(opened, limit=4)
    first = ensure(opened, 4, few, ["gradcam"], MapOptions())["gradcam"]
    computed = []
    real = evidence._compute
    monkeypatch.setattr(evidence, "_compute", lambda *a, **k: (computed.append(len(a[4])), real(*a, **k))[1])
    ensure(opened, 4, few, ["gradcam"], MapOptions())
    assert computed == []
    second = ensure(opened, 4, more, ["gradcam"], MapOptions())["gradcam"]
    assert computed == [len(more) - len(few)]
    assert second.images.tolist() == more.films.ids.tolist()
    np.testing.assert_array_equal(second.subset(few.films.ids).values, first.values)


def test_another_checkpoint_target_or_layer_is_another_file(opened):
    selection = select(opened, limit=2)
    for epoch, options in [
        (3, MapOptions()),
        (4, MapOptions()),
        (4, MapOptions(target="predicted")),
        (4, MapOptions(target="lobar")),
        (4, MapOptions(layer="stride4")),
    ]:
        ensure(opened, epoch, selection, ["gradcam"], options)
    names = sorted(file.name.split("--")[0] for file in (opened.run.path / "maps/epoch_004/test").glob("*.npz"))
    assert names == ["gradcam", "gradcam", "gradcam@lobar", "gradcam@predicted"]
    assert len(list((opened.run.path / "maps/epoch_003/test").glob("*.npz"))) == 1
    lobar = ensure(opened, 4, selection, ["gradcam"], MapOptions(target="lobar"))["gradcam"]
    assert set(lobar.targets) == {opened.classes.index("lobar")}
    predicted = ensure(opened, 4, selection, ["gradcam"], MapOptions(target="predicted"))["gradcam"]
    np.testing.assert_array_equal(predicted.targets, predicted.probabilities.argmax(axis=1))
    assert ensure(opened, 4, selection, ["gradcam"], MapOptions(layer="stride4"))["gradcam"].grid == (16, 16)


def test_a_role_and_the_layer_it_stands_for_share_one_file(opened):
    selection = select(opened, limit=2)
    by_role = ensure(opened, 4, selection, ["layercam"], MapOptions())["layercam"]
    by_name = ensure(opened, 4, selection, ["layercam"], MapOptions(layer=by_role.layer))["layercam"]
    assert by_role.parameters == by_name.parameters


class StopAfter(Reporter):
    """Ctrl-C after so many films' worth of forwards."""

    def __init__(self, films: float) -> None:
        self.left = films

    @contextlib.contextmanager
    def task(self, label, total):
        def advance(n=1, detail=""):
            if label.startswith("explain"):
                self.left -= n
                if self.left <= 0:
                    raise KeyboardInterrupt

        yield advance


def test_a_stopped_scorecam_keeps_the_films_it_finished(opened):
    selection = select(opened, limit=3)
    options = MapOptions()
    with pytest.raises(KeyboardInterrupt):
        ensure(opened, 4, selection, ["scorecam"], options, StopAfter(4.5))
    parameters = evidence.map_parameters(opened, 4, "scorecam", options)
    kept = load_maps(opened.run.maps_path(4, "test", "scorecam", parameters))
    assert 3 <= len(kept) <= 5, "the films before the one it was stopped at; films differ in live channels"
    assert evidence.missing_forwards(opened, 4, selection, options) == (6 - len(kept)) * 128
    whole = ensure(opened, 4, selection, ["scorecam"], options)["scorecam"]
    np.testing.assert_array_equal(whole.subset(kept.images).values, kept.values)
    assert whole.images.tolist() == selection.films.ids.tolist()


def test_a_film_whose_bytes_changed_is_explained_again(opened, tmp_path):
    data = tmp_path / "outside"
    data.mkdir()
    selection = select(opened, limit=1)
    import shutil

    for number, index in enumerate(selection.films.indices):
        shutil.copy(selection.films.store.files[index], data / f"{number}.png")
    loose = select(opened, image=[data], out=tmp_path / "out")
    first = ensure(opened, 4, loose, ["gradcam"], map_options(opened, loose))["gradcam"]
    shutil.copy(data / "1.png", data / "0.png")
    again = select(opened, image=[data], out=tmp_path / "out")
    second = ensure(opened, 4, again, ["gradcam"], map_options(opened, again))["gradcam"]
    assert first.images.tolist() == second.images.tolist() == ["0.png", "1.png"]
    np.testing.assert_allclose(second.values[0], first.values[1], atol=1e-6)
    assert np.abs(second.values[0] - first.values[0]).max() > 1e-3


def test_expensive_methods_are_left_out_unless_named(opened, monkeypatch):
    selection, said = select(opened), []

    class Told(Reporter):
        def notice(self, text):
            said.append(text)

    monkeypatch.setattr(evidence, "AFFORDABLE_FORWARDS", 10)
    assert "scorecam" not in chosen_methods(None, opened, 4, selection, MapOptions(), Told())
    assert f"{len(selection) * 128:,} forwards" in said[0]
    assert "scorecam" in chosen_methods("all", opened, 4, selection, MapOptions(), Told())
    monkeypatch.setattr(evidence, "AFFORDABLE_FORWARDS", 10**6)
    assert "scorecam" in chosen_methods(None, opened, 4, selection, MapOptions(), Told())


def test_options_that_make_no_sense_are_refused(opened, phantom_folder):
    selection = select(opened, limit=1)
    with pytest.raises(MethodError, match="max_channels belongs to scorecam, but the methods are gradcam"):
        ensure(opened, 4, selection, ["gradcam"], MapOptions(given={"max_channels": 8}))
    with pytest.raises(TargetError, match="Did you mean 'lobar'"):
        map_options(opened, selection, target="lobr")
    first = pd.read_csv(phantom_folder / "manifest.csv")["path"][0]
    loose = select(opened, image=[phantom_folder / first])
    assert map_options(opened, loose).target == "predicted"
    with pytest.raises(TargetError, match="needs a label for every film"):
        map_options(opened, loose, target="label")


def test_maps_at_the_input_are_stored_as_half_and_read_as_they_were(opened):
    selection = select(opened, limit=2)
    options = {"saliency": MapOptions(), "ig": MapOptions(given={"ig_steps": 4})}
    maps = {name: ensure(opened, 4, selection, [name], wanted)[name] for name, wanted in options.items()}
    opened.load(4)
    films = np.repeat(selection.films.store.get(selection.films.indices)[..., None], 3, axis=3)
    direct = Explainer(opened.classifier.model, "saliency,ig", batch_size=4, ig_steps=4).explain(
        films, selection.films.labels
    )
    for name in ("saliency", "ig"):
        peak = direct[name].values.max((1, 2), keepdims=True)
        assert np.abs((maps[name].values - direct[name].values) / peak).max() < 2e-3
        file = selection.sink.maps_path(4, "test", name, maps[name].parameters)
        with np.load(file) as arrays:
            assert arrays["values"].dtype == np.float16
        first = load_maps(file).values
        ensure(opened, 4, select(opened, limit=3), [name], options[name])
        np.testing.assert_array_equal(load_maps(file).values[: len(first)], first)
    assert maps["ig"].extras["completeness_gap"].shape == (len(selection),)


def test_several_layers_go_to_the_methods_that_join_them(opened):
    selection, options = select(opened, limit=1), MapOptions(layer="stride2,stride4,head_input")
    assert chosen_methods(None, opened, 4, selection, options) == ["layercam", "ms-gradcam++"]
    maps = ensure(opened, 4, selection, ["layercam", "ms-gradcam++"], options)
    assert maps["layercam"].grid == (32, 32)
    assert len(maps["layercam"].layer.split(", ")) == 3
    with pytest.raises(MethodError, match="gradcam reads one layer"):
        ensure(opened, 4, selection, ["gradcam"], options)
    alone = ensure(opened, 4, selection, ["layercam"], MapOptions())["layercam"]
    assert alone.grid == (8, 8)


@pytest.mark.parametrize("method", ["ms-gradcam++", "saliency"])
def test_a_layer_that_no_method_reads_is_refused(opened, method):
    with pytest.raises(MethodError, match="would change nothing"):
        ensure(opened, 4, select(opened, limit=1), [method], MapOptions(layer="nonsense"))
