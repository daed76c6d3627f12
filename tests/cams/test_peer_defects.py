"""The thirteen defects of tf-keras-vis 0.8.7: each shown on a small net with a number, and each absent from ours.

Each prints its figure, shown by `-rP`; docs/defects.md states them.
"""

import configparser
import inspect
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras_vis.gradcam
from scipy.ndimage import zoom
from tf_keras_vis.gradcam import Gradcam
from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
from tf_keras_vis.layercam import Layercam
from tf_keras_vis.scorecam import Scorecam
from tf_keras_vis.utils.model_modifiers import ExtractIntermediateLayerForGradcam, ReplaceToLinear
from tf_keras_vis.utils.scores import BinaryScore, CategoricalScore

from cxrkeras.cams import GradCAM, LayerCAM, ScoreCAM, explain_all
from cxrkeras.errors import TargetError
from cxrkeras.maps import min_max, resize

pytestmark = pytest.mark.filterwarnings("ignore:The structure of .inputs. does:UserWarning")
NATIVE = {"penultimate_layer": "last", "expand_cam": False}
RAW = {**NATIVE, "normalize_cam": False}


@pytest.fixture(scope="module")
def net():
    """Build heads on two strided convolutions whose layers the peer can handle; all share the trunk's tensors."""
    keras.utils.set_random_seed(8)
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    x = keras.layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="first")(x)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="last")(x)
    pooled = keras.layers.GlobalAveragePooling2D()(x)

    def build(units, activation, spread):
        head = keras.initializers.RandomNormal(stddev=spread, seed=1)
        return keras.Model(inputs, keras.layers.Dense(units, activation=activation, kernel_initializer=head)(pooled))

    return build


@pytest.fixture(scope="module")
def linear(net):
    return net(3, None, 6.0)


@pytest.fixture(scope="module")
def features(linear, films):
    """What enters the pooling, float32 [n, 8, 8, 8]."""
    return keras.Model(linear.inputs, linear.get_layer("last").output).predict(films, verbose=0)


def classes(targets):
    return CategoricalScore([int(target) for target in targets])


def largest_difference(one, other):
    """Per map, of the min-maxed maps."""
    return np.abs(min_max(np.asarray(one)) - min_max(np.asarray(other))).max((1, 2))


def masked_answers(model, film, features):
    """The model's answers to a film seen through each of its channels, one after the other: [K, units]."""
    answers = []
    for channel in np.moveaxis(features, -1, 0):
        mask = tf.image.resize(channel[..., None], film.shape[:2]).numpy()
        span = mask.max() - mask.min()
        seen = film * ((mask - mask.min()) / span if span else 0 * mask)
        answers.append(np.asarray(model(seen[None], training=False))[0])
    return np.array(answers)


@pytest.mark.parametrize(
    ("name", "size", "theirs", "ours"),
    [
        pytest.param("DenseNet201", 96, ("conv5_block32_2_conv", 32), ("relu", 1920), marks=pytest.mark.slow),
        ("InceptionV3", 139, ("conv2d_", 192), ("mixed10", 2048)),
        ("ResNet50V2", 96, ("conv5_block3_3_conv", 2048), ("post_relu", 2048)),
    ],
)
def test_1_the_default_layer_is_not_the_last_convolution(large_net, name, size, theirs, ours):
    model, explainer = large_net(name, size)
    sought = ExtractIntermediateLayerForGradcam(None, True, False)(model).outputs[0]
    found = model.get_layer(explainer.layers["gradcam"])
    assert sought._keras_history.operation.name.startswith(theirs[0])
    assert sought.shape[-1] == theirs[1]
    assert (found.name, found.output.shape[-1]) == ours
    assert found.output is model.get_layer("avg_pool").input
    assert tuple(found.output.shape[1:3]) == (3, 3)
    print("channels", f"peer {sought.shape[-1]}, ours {found.output.shape[-1]}")


def test_1_before_the_residual_add_the_map_is_another_one(large_net):
    model, explainer = large_net("ResNet50V2", 96)
    coarse = np.random.default_rng(0).uniform(-1, 1, (4, 6, 6, 3))
    inputs = np.kron(coarse, np.ones((1, 16, 16, 1))).astype(np.float32)
    peer = np.asarray(Gradcam(model)(CategoricalScore(1), inputs, expand_cam=False))
    ours = explainer.explain(inputs, [1] * 4)["gradcam"]
    weights = model.get_layer("predictions").get_weights()[0][:, 1]
    entering = keras.Model(model.inputs, model.get_layer("avg_pool").input)(inputs)
    expected = np.maximum(np.asarray(entering, np.float64) @ weights, 0) / 9
    np.testing.assert_allclose(ours.values, expected, atol=1e-4 * expected.max())
    difference = largest_difference(peer, ours.values)
    assert difference.max() > 0.2
    print("largest difference", difference.max())


def test_2_scorecam_takes_the_models_probability_once(net, films, targets, features):
    model = net(3, "softmax", 20.0)
    peer = np.asarray(Scorecam(model)(classes(targets), films, **NATIVE))
    ours = ScoreCAM(model)(classes(targets), films, **RAW)
    doubled = []
    for film, target, channels, actual, theirs in zip(films, targets, features, ours, peer, strict=True):
        answers = masked_answers(model, film, channels)
        np.testing.assert_allclose(actual, channels @ answers[:, target], atol=1e-4 * actual.max())
        twice = np.exp(answers) / np.exp(answers).sum(1, keepdims=True)
        doubled.append(largest_difference((channels @ twice[:, target])[None], theirs[None]))
    difference = largest_difference(peer, ours)
    assert difference.max() > 0.2
    assert np.max(doubled) < 0.1 * difference.max(), "the second softmax explains the peer's map but for its resizing"
    print("largest difference", difference.max())


def test_2_scorecam_of_a_sigmoid_unit_is_not_the_channel_sum(net, films, features):
    model = net(1, "sigmoid", 20.0)
    plain = features.sum(-1)
    peer = {side: np.asarray(Scorecam(model)(BinaryScore(side), films, **RAW)) for side in (True, False)}
    ours = {side: ScoreCAM(model)(BinaryScore(side), films, **RAW) for side in (True, False)}
    np.testing.assert_allclose(peer[True], plain, rtol=1e-5)
    assert (peer[False] == 0).all()
    for i, film in enumerate(films):
        answers = masked_answers(model, film, features[i])[:, 0]
        np.testing.assert_allclose(ours[True][i], features[i] @ answers, atol=1e-4 * plain.max())
        np.testing.assert_allclose(ours[False][i], features[i] @ (1 - answers), atol=1e-4 * plain.max())
    difference = max(largest_difference(ours[side], plain).max() for side in ours)
    assert difference > 0.05
    print("largest difference from the channel sum", difference)


def test_3_a_capped_scorecam_does_not_depend_on_the_batch(linear, films, targets):
    def alone_and_together(engine):
        together = np.asarray(engine(classes(targets), films, max_N=2, **NATIVE))
        parts = [engine(classes([t]), films[i : i + 1], max_N=2, **NATIVE) for i, t in enumerate(targets)]
        return largest_difference(together, np.concatenate([np.asarray(part) for part in parts])).max()

    peer, ours = alone_and_together(Scorecam(linear)), alone_and_together(ScoreCAM(linear))
    assert peer > 0.1
    assert ours < 1e-5
    print("largest difference", f"peer {peer}, ours {ours}")


@pytest.mark.parametrize(("logit", "theirs"), [(100.0, "nan"), (89.0, "nan"), (-110.0, "blank")])
def test_4_gradcam_plus_plus_is_finite_at_any_logit(net, films, targets, logit, theirs):
    """A bias moves the logits and changes no gradient, so it must change no map."""
    model = net(3, None, 6.0)
    kernel, bias = model.layers[-1].get_weights()
    before = explain_all(model, films, targets, methods="gradcam++")["gradcam++"]
    top = np.asarray(model(films))[np.arange(5), targets].max()
    model.layers[-1].set_weights([kernel, bias + np.float32(logit - top)])
    peer = np.asarray(GradcamPlusPlus(model)(classes(targets), films, **NATIVE))
    lost = np.isnan(peer).any((1, 2)) if theirs == "nan" else (peer == 0).all((1, 2))
    assert lost.any()
    after = explain_all(model, films, targets, methods="gradcam++")["gradcam++"]
    np.testing.assert_allclose(after.values, before.values, rtol=1e-6)
    assert set(after.status) == {"ok"}
    print(f"maps that are {theirs} at a logit of {logit}", f"peer {lost.sum()} of 5, ours 0")


def test_5_gradcam_plus_plus_is_not_normalised_over_cells_without_evidence():
    """One negative cell brings the peer's Σα to 0: a film 0.1 % darker or brighter gets the opposite map."""
    film = np.random.default_rng(3).uniform(0.5, 1.5, (1, 3, 3, 2)).astype(np.float32)
    gradients = np.full((3, 3, 2), 0.1)
    mass = float(film[..., 0].sum())
    # α = 1 / (2 + g Σ A); eight positive cells, and the ninth such that all nine cancel
    gradients[0, 0, 0] = -(2 + (2 + 0.1 * mass) / 8) / mass
    inputs = keras.Input((3, 3, 2))
    top = keras.layers.ReLU(name="top")(inputs)
    head = keras.layers.Dense(1, use_bias=False)
    model = keras.Model(inputs, head(keras.layers.Flatten()(top)))
    head.set_weights([gradients.reshape(-1, 1)])
    pair = np.concatenate([film * 0.999, film * 1.001]).astype(np.float32)
    arguments = {**NATIVE, "penultimate_layer": "top", "seek_penultimate_conv_layer": False}
    peer = np.asarray(GradcamPlusPlus(model)(CategoricalScore(0), pair, **arguments))
    ours = explain_all(model, pair, [1, 1], methods="gradcam++")["gradcam++"].values
    positive = np.maximum(gradients, 0)
    expected = np.maximum(film * (positive / (2 + positive * film.sum((1, 2)))).sum((0, 1)), 0).sum(-1)
    np.testing.assert_allclose(ours, np.repeat(expected, 2, axis=0), rtol=5e-3)
    changes = {"peer": largest_difference(*peer[:, None])[0], "ours": largest_difference(*ours[:, None])[0]}
    assert changes["peer"] > 0.9
    assert changes["ours"] < 1e-3
    print("change of the map by a film 0.2 % brighter", str(changes))


def test_6_a_weak_map_still_reaches_one(net, films, targets):
    model = net(3, None, 6e-6)
    peer = np.asarray(Gradcam(model)(classes(targets), films, **NATIVE)).max((1, 2))
    ours = GradCAM(model)(classes(targets), films, **NATIVE).max((1, 2))
    assert peer.max() < 0.7
    assert (ours == 1).all()
    print("peak", f"peer {peer.min()} to {peer.max()}, ours 1")


def test_7_a_saturated_softmax_still_has_a_map(net, films):
    model = net(3, "softmax", 1500.0)
    best = model.predict(films, verbose=0).argmax(1)
    peer = np.asarray(Gradcam(model)(classes(best), films, **NATIVE))
    ours = GradCAM(model)(classes(best), films, **RAW)
    expected = GradCAM(net(3, None, 1500.0))(classes(best), films, **RAW)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6 * expected.max())
    assert (peer == 0).all()
    assert (ours.max((1, 2)) > 0).all()
    print("blank maps", f"peer {(peer.max((1, 2)) == 0).sum()} of 5, ours 0")


@pytest.mark.parametrize(("engine", "peer"), [(GradCAM, Gradcam), (LayerCAM, Layercam)])
def test_8_a_missing_target_is_an_error(linear, films, engine, peer):
    blank = np.asarray(peer(linear)(CategoricalScore([0, 1]), films, **NATIVE)).max((1, 2)) == 0
    assert blank.tolist() == [False, False, True, True, True]
    with pytest.raises(TargetError, match="expected 5 targets, one per image; received 2"):
        engine(linear)(CategoricalScore([0, 1]), films, **NATIVE)
    print("blank maps", f"peer {blank.sum()} of 5")


def test_9_maps_are_resized_with_half_pixel_centres(linear, films, targets):
    arguments = {"penultimate_layer": "last", "normalize_cam": False}
    native = GradCAM(linear)(classes(targets), films, **RAW)
    peer = np.asarray(Gradcam(linear)(classes(targets), films, **arguments))
    ours = GradCAM(linear)(classes(targets), films, **arguments)
    np.testing.assert_allclose(ours, tf.image.resize(native[..., None], (32, 32))[..., 0], atol=1e-6 * native.max())
    difference = largest_difference(peer, ours)
    assert difference.max() > 0.2
    print("largest difference, 8 cells on 32 px", difference.max())


def test_9_the_peak_of_a_cell_stays_over_its_cell():
    """A ramp is 0 where column 0 ends its reach: cell 0 of 7 is seen around pixel 15.5 of 224."""
    ramp = np.tile(np.arange(7, dtype=np.float32), (1, 7, 1))
    peer, ours = zoom(ramp, (1, 32, 32), order=1)[0, 100], resize(ramp, 224)[0, 100]
    centres = (np.arange(1, 6) + 0.5) * 32 - 0.5
    reached = {
        "peer": np.interp(np.arange(1, 6), peer, np.arange(224)),
        "ours": np.interp(np.arange(1, 6), ours, np.arange(224)),
    }
    shifts = {name: np.abs(places - centres).max() for name, places in reached.items()}
    assert shifts["ours"] < 0.01
    assert shifts["peer"] > 10
    print("displacement in pixels, 7 cells on 224 px", str(shifts))


def test_10_no_row_is_lost_when_a_map_is_resized():
    """28 cells on 192 px; every cell of the map is positive, so every pixel has to be."""
    inputs = keras.Input((192, 192, 1))
    conv = keras.layers.Conv2D(2, 3, strides=7, activation="relu", name="last", kernel_initializer="ones")(inputs)
    ones = keras.layers.Dense(1, kernel_initializer="ones")
    model = keras.Model(inputs, ones(keras.layers.GlobalAveragePooling2D()(conv)))
    film = np.random.default_rng(0).uniform(0.5, 1, (1, 192, 192, 1)).astype(np.float32)
    arguments = {"penultimate_layer": "last", "normalize_cam": False}
    peer = np.asarray(Gradcam(model)(CategoricalScore(0), film, **arguments))[0]
    ours = GradCAM(model)(CategoricalScore(0), film, **arguments)[0]
    native = GradCAM(model)(CategoricalScore(0), film, expand_cam=False, normalize_cam=False)[0]
    assert native.shape == (28, 28)
    empty = {"rows": int((peer == 0).all(1).sum()), "columns": int((peer == 0).all(0).sum())}
    assert empty == {"rows": 1, "columns": 1}
    assert ours.min() >= native.min() > 0
    assert (zoom(np.ones((1, 14, 14), np.float32), (1, 384 / 14, 384 / 14), order=1) == 0).any()
    assert (resize(np.ones((1, 14, 14), np.float32), 384) > 0.999).all()
    print("zero rows and columns, 28 on 192", f"peer {empty}, ours 0")


def test_11_the_users_model_keeps_its_activation(net, films, targets):
    model, other = net(3, "softmax", 6.0), net(3, "softmax", 6.0)
    before = model.predict(films, verbose=0)
    Gradcam(model, model_modifier=ReplaceToLinear(), clone=False)
    changed = np.abs(np.asarray(model(films)) - before).max()
    assert model.layers[-1].activation is keras.activations.linear
    assert changed > 1
    ours = GradCAM(other, model_modifier=ReplaceToLinear(), clone=False)(classes(targets), films, **RAW)
    np.testing.assert_allclose(ours, GradCAM(net(3, None, 6.0))(classes(targets), films, **RAW), rtol=1e-5, atol=1e-7)
    assert other.layers[-1].activation is keras.activations.softmax
    np.testing.assert_array_equal(np.asarray(other(films)), np.asarray(net(3, "softmax", 6.0)(films)))
    print("change of the model's answer", f"peer {changed}, ours 0")


class Plain(keras.Model):
    """A subclassed model in the words of the Keras guide."""

    def __init__(self, conv, pool, dense):
        super().__init__()
        self.conv, self.pool, self.dense = conv, pool, dense

    def call(self, inputs):
        return self.dense(self.pool(self.conv(inputs)))


def unlike_flat(kind):
    """One convolution, pooling and a softmax of three, in the form asked for."""
    keras.utils.set_random_seed(2)
    films = keras.Input((32, 32, 3))
    policy = "mixed_bfloat16" if kind == "bfloat16" else "float32"
    conv = keras.layers.Conv2D(4, 3, activation="relu", name="last", dtype=policy)
    pool = keras.layers.GlobalAveragePooling2D()
    positive = keras.initializers.RandomUniform(0, 1, seed=1)
    dense = keras.layers.Dense(3, activation="softmax", kernel_initializer=positive, dtype=policy)
    if kind == "subclassed":
        model = Plain(conv, pool, dense)
        model(np.zeros((1, 32, 32, 3), np.float32))
        return model
    if kind == "sequential":
        return keras.Sequential([films, conv, pool, dense])
    if kind == "nested":
        inner = keras.Input((32, 32, 3))
        base = keras.Model(inner, conv(inner))
        return keras.Model(films, dense(pool(base(films))))
    if kind == "shared":
        keras.Model(films, conv(films))
        other = keras.Input((32, 32, 3))
        return keras.Model(other, dense(pool(conv(other))))
    return keras.Model(films, dense(pool(conv(films))))


@pytest.mark.parametrize(
    ("kind", "modifier", "error"),
    [
        ("sequential", ReplaceToLinear(), AttributeError),
        ("nested", None, ValueError),
        ("shared", None, ValueError),
        ("subclassed", None, AttributeError),
        ("bfloat16", None, RuntimeError),
    ],
)
def test_12_every_kind_of_model_is_explained(films, targets, kind, modifier, error):
    model = unlike_flat(kind)
    with pytest.raises(error) as raised:
        Gradcam(model, model_modifier=modifier)(classes(targets), films, penultimate_layer="last")
    flat = unlike_flat("flat")
    flat.set_weights(model.get_weights())
    ours = GradCAM(model, model_modifier=modifier)(classes(targets), films, penultimate_layer="last")
    expected = GradCAM(flat)(classes(targets), films, penultimate_layer="last")
    assert expected.max() == 1
    np.testing.assert_allclose(ours, expected, atol=0.02 if kind == "bfloat16" else 1e-5)
    print(f"peer on {kind}: {raised.value!r:.120}; ours differs by {np.abs(ours - expected).max()} from flat float32")


def test_13_scipy_stays_under_the_version_that_breaks_the_peer():
    """The peer imports a module that SciPy 2 removes; we inherit from the peer, so the pin is ours to keep."""
    assert "scipy.ndimage.interpolation" in inspect.getsource(tf_keras_vis.gradcam)
    with pytest.warns(DeprecationWarning, match=r"scipy\.ndimage\.interpolation.*deprecated"):
        from scipy.ndimage.interpolation import zoom as _  # noqa: F401
    settings, root = configparser.ConfigParser(), Path(__file__).resolve().parents[2]
    settings.read(root / "setup.cfg", encoding="utf-8")
    (pin,) = [line for line in settings["options"]["install_requires"].split() if line.startswith("scipy")]
    assert "<2" in pin.split(",")
    sources = [path.read_text(encoding="utf-8") for path in (root / "cxrkeras").rglob("*.py")]
    assert sources
    assert not any("ndimage.interpolation" in source for source in sources)


def test_the_documented_table_names_a_test_for_each_defect():
    text = (Path(__file__).resolve().parents[2] / "docs" / "defects.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(row[0]) for row in rows] == list(range(1, 14))
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row[2])
        assert named
        assert all(name in globals() and name.startswith(f"test_{int(row[0])}_") for name in named)
    assert {name for row in rows for name in re.findall(r"`(test_\w+)`", row[2])} == {
        name for name in globals() if re.match(r"test_\d", name)
    }
