"""A model from outside any run: `explain --model` gives the engine's maps, and says what it cannot take."""

from __future__ import annotations

import json

import keras
import numpy as np
import pandas as pd
import pytest
from cxrkeras_cli.main import main
from PIL import Image

from cxrkeras.cams import explain_all
from cxrkeras.errors import CxrKerasError, DataError, TargetError, WeightsError
from cxrkeras.models.saved import saved_model
from cxrkeras.store import sha256_file
from cxrkeras.tables import load_maps
from cxrkeras.workflow.user_model import class_names

SIZE = (24, 40)


def network(size=SIZE, channels=1, units=3, activation="softmax"):
    keras.utils.set_random_seed(2)
    base_films = keras.Input((*size, channels))
    features = keras.layers.Conv2D(5, 3, padding="same", activation="relu", name="last")(base_films)
    base = keras.Model(base_films, keras.layers.MaxPooling2D(4)(features), name="base")
    films = keras.Input((*size, channels))
    pooled = keras.layers.GlobalAveragePooling2D()(base(films))
    return keras.Model(films, keras.layers.Dense(units, activation=activation)(pooled), name="mine")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    network().save(folder / "mine.keras")
    rng = np.random.default_rng(0)
    (folder / "films").mkdir()
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 256, SIZE, dtype=np.uint8)).save(folder / "films" / f"{name}.png")
    (folder / "names.txt").write_text("normal\nviral\nbacterial\n")
    return folder


@pytest.fixture
def run(capsys):
    """Run a command: (exit code, stdout, stderr)."""

    def command(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return command


def test_the_command_gives_the_maps_of_the_engine(run, saved, tmp_path):
    before = sha256_file(saved / "mine.keras")
    code, out, error = run(
        "explain", "--model", saved / "mine.keras", "--classes", saved / "names.txt", "--pixel-range", "-1,1",
        "--image", saved / "films", "--method", "gradcam,layercam,scorecam", "--layer", "last", "--target", "viral",
        "--out", tmp_path / "out", "--format", "json",
    )  # fmt: skip
    assert code == 0, error
    rows = pd.DataFrame(json.loads(out)).set_index("method")
    pixels = np.stack([np.asarray(Image.open(saved / "films" / f"{name}.png"), np.float32) for name in "ab"])
    direct = explain_all(
        network(), (pixels / 127.5 - 1)[..., None], [1, 1], methods="gradcam,layercam,scorecam", layer="base/last"
    )
    for method in ("gradcam", "layercam"):
        maps = load_maps(type(saved)(rows.loc[method, "maps"]))
        assert maps.classes == ("normal", "viral", "bacterial")
        assert maps.grid == SIZE
        peak = direct[method].values.max()
        np.testing.assert_allclose(maps.values, direct[method].values, atol=1e-5 * peak)
        np.testing.assert_allclose(maps.probabilities, direct.probabilities, atol=1e-5)
    # black is -1 for this model: hidden pixels are black on the film, not grey in the model's own range
    maps = load_maps(type(saved)(rows.loc["scorecam", "maps"]))
    assert np.abs(maps.values - direct["scorecam"].values).max() > 1e-3 * direct["scorecam"].values.max()
    assert (tmp_path / "out" / "overlays" / "epoch_000").is_dir()
    predictions = pd.read_csv(tmp_path / "out" / "predictions" / "all---1..1" / "epoch_000.csv")
    np.testing.assert_allclose(predictions["probability_viral"], direct.probabilities[:, 1], atol=1e-5)
    assert sha256_file(saved / "mine.keras") == before


def test_classes_are_their_index_without_names_and_one_unit_is_two_classes(tmp_path):
    network(units=1, activation="sigmoid").save(tmp_path / "one.keras")
    model = saved_model(tmp_path / "one.keras")
    assert model.n_classes == 2
    assert class_names(None, 2) == ("0", "1")
    assert model.input_shape == (*SIZE, 1)
    films = np.full((1, *SIZE, 1), 100, np.float32)
    expected = np.asarray(network(units=1, activation="sigmoid")(films))
    np.testing.assert_allclose(np.asarray(model.model(films)), expected, rtol=1e-6)


def test_a_model_that_takes_our_films_is_used_as_it_is(tmp_path):
    network(channels=3).save(tmp_path / "three.keras")
    assert saved_model(tmp_path / "three.keras").model.name == "mine"
    scaled = saved_model(tmp_path / "three.keras", pixel_range=(0, 1)).model
    films = np.random.default_rng(0).uniform(0, 255, (2, *SIZE, 3)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(scaled(films)), np.asarray(network(channels=3)(films / 255)), rtol=1e-5)


def test_an_open_size_has_to_be_named(tmp_path):
    network(size=(None, None)).save(tmp_path / "open.keras")
    with pytest.raises(DataError, match="--image-size"):
        saved_model(tmp_path / "open.keras")
    assert saved_model(tmp_path / "open.keras", image_size=32).image_size == (32, 32)


def two_outputs():
    model = network()
    return keras.Model(model.inputs, [model.outputs[0], keras.layers.Dense(2)(model.layers[-2].output)])


def two_inputs():
    films, age = keras.Input((8, 8, 1)), keras.Input((1,))
    joined = keras.layers.Concatenate()([keras.layers.Flatten()(films), age])
    return keras.Model([films, age], keras.layers.Dense(2)(joined))


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (two_outputs, TargetError, "one output"),
        (two_inputs, DataError, "does not take one film"),
        (lambda: network(channels=2), DataError, "1 or 3"),
    ],
)
def test_models_that_do_not_fit_are_refused_with_the_way_out(tmp_path, build, error, words):
    build().save(tmp_path / "odd.keras")
    with pytest.raises(error, match=words) as caught:
        saved_model(tmp_path / "odd.keras")
    assert "cxrkeras.cams" in str(caught.value) or "received" in str(caught.value)


def test_files_that_are_no_model_are_refused(tmp_path):
    (tmp_path / "text.keras").write_text("no model")
    network().save_weights(tmp_path / "only.weights.h5")
    for name in ("absent.keras", "text.keras", "only.weights.h5"):
        with pytest.raises(WeightsError, match=r"Expected|Save it"):
            saved_model(tmp_path / name)
    network().save(tmp_path / "fine.keras")
    with pytest.raises(DataError, match="black < white"):
        saved_model(tmp_path / "fine.keras", pixel_range=(1, 1))


def with_preprocessing():
    """Its own preprocessing is 0 at .5 of a film in 0..1."""
    keras.utils.set_random_seed(4)
    films = keras.Input((*SIZE, 1))
    x = keras.layers.Rescaling(2, -1)(films)
    x = keras.layers.Conv2D(5, 3, padding="same", activation="relu", name="last")(x)
    return keras.Model(films, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x)))


def test_the_range_of_the_pixels_leaves_the_models_own_preprocessing_in_sight(tmp_path):
    with_preprocessing().save(tmp_path / "unit.keras")
    opened = saved_model(tmp_path / "unit.keras", pixel_range=(0, 1))
    films = np.random.default_rng(0).uniform(0, 255, (2, *SIZE, 1)).astype(np.float32)
    settings = {"methods": "ig,scorecam", "mask_space": "preprocessed", "layer": "last", "ig_steps": 10}
    ours = explain_all(opened.model, films, [0, 1], **settings)
    direct = explain_all(with_preprocessing(), films / 255, [0, 1], **settings)
    for method in ("ig", "scorecam"):
        peak = direct[method].values.max()
        np.testing.assert_allclose(ours[method].values, direct[method].values, atol=1e-4 * peak)


def test_maps_grow_with_the_folder_and_take_new_class_names(run, saved, tmp_path):
    films, out = tmp_path / "films", tmp_path / "out"
    films.mkdir()
    for name in ("a", "b"):
        (films / f"{name}.png").write_bytes((saved / "films" / f"{name}.png").read_bytes())
        command = ["explain", "--model", saved / "mine.keras", "--image", films, "--method", "gradcam", "--out", out]
        if name == "b":
            command += ["--classes", saved / "names.txt"]
        code, shown, error = run(*command, "--format", "json")
        assert code == 0, error
        maps = load_maps(type(saved)(json.loads(shown)[0]["maps"]))
        assert maps.images.tolist() == ["a.png", "b.png"][: len(maps)]
    assert len(maps) == 2
    assert maps.classes == ("normal", "viral", "bacterial")
    assert maps.grid == (6, 10)
    code, _, error = run(*command, "--pixel-range", "0,1")
    assert code == 0, error
    assert len(list((out / "overlays" / "epoch_000").iterdir())) == 2
    code, _, error = run(*command[:3], "--image", films / "a.png", "--method", "gradcam", "--out", out)
    assert code == 0, error
    tables = {table.parent.name: pd.read_csv(table) for table in (out / "predictions").rglob("*.csv")}
    assert {name: sorted(table["image"]) for name, table in tables.items()} == {
        "all": ["a.png", "b.png"], "all--0..1": ["a.png", "b.png"],
    }  # fmt: skip


@pytest.mark.parametrize("text", ["a\nb\n", "a\nb\nb\n", ""])
def test_class_names_have_to_fit(tmp_path, text):
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(CxrKerasError, match="Expected 3 different names"):
        class_names(tmp_path / "names.txt", 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "m.keras"], "--model needs films"),
        (["--model", "m.keras", "--run", "r", "--image", "x"], "--run belongs to a run"),
        (["--model", "m.keras", "--epoch", "3", "--image", "x"], "--epoch belongs to a run"),
        (["--classes", "names.txt"], "--classes describes --model"),
        (["--pixel-range", "0,1"], "--pixel-range describes --model"),
    ],
)
def test_flags_that_do_not_go_together_are_usage_errors(run, arguments, words):
    code, _, error = run("explain", *arguments)
    assert code == 2
    assert words in error


def test_an_unknown_layer_names_the_candidates_with_their_grids(run, saved, tmp_path):
    code, _, error = run(
        "explain", "--model", saved / "mine.keras", "--image", saved / "films", "--layer", "lasd",
        "--method", "gradcam", "--out", tmp_path,
    )  # fmt: skip
    assert code == 2
    assert "base/last 24×40" in error
    assert "Did you mean 'last'" in error
