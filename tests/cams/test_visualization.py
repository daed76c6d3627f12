"""The tf-keras-vis interface, with tf-keras-vis itself as the oracle where it is right."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tf_keras_vis import ModelVisualization
from tf_keras_vis.gradcam import Gradcam
from tf_keras_vis.layercam import Layercam
from tf_keras_vis.scorecam import Scorecam
from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
from tf_keras_vis.utils.scores import BinaryScore, CategoricalScore, InactiveScore

import cxrkeras.cams
from cxrkeras.cams import (
    EigenCAM,
    GradCAM,
    GradCAMPlusPlus,
    LayerCAM,
    MSGradCAMPlusPlus,
    ScoreCAM,
    explain_all,
)
from cxrkeras.cams.dropin.kept import KEPT
from cxrkeras.errors import LayerError, TargetError
from cxrkeras.maps import min_max, resize

ENGINES = {
    "gradcam": GradCAM,
    "gradcam++": GradCAMPlusPlus,
    "layercam": LayerCAM,
    "eigencam": EigenCAM,
    "scorecam": ScoreCAM,
}
LEVELS = ["fine", "middle", "top"]
ONE = CategoricalScore(1)
RAW = {"expand_cam": False, "normalize_cam": False}


@pytest.fixture(scope="module")
def plain():
    """A flat net with a linear head and layers of its own: what the peer can handle."""
    keras.utils.set_random_seed(8)
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    x = keras.layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="first")(x)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="last")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    head = keras.initializers.RandomNormal(stddev=6, seed=1)
    return keras.Model(inputs, keras.layers.Dense(3, kernel_initializer=head, name="scores")(x), name="plain")


@pytest.fixture(scope="module")
def gradcams(models):
    """Kind -> one drop-in Grad-CAM, whose explainers its tests share."""
    return {kind: GradCAM(models[kind]) for kind in ("flat", "nested", "sequential", "subclassed")}


@pytest.fixture(scope="module")
def engines(flat, gradcams):
    """Method -> one drop-in of the flat model, whose explainers its tests share."""
    return {name: engine(flat) for name, engine in ENGINES.items()} | {"gradcam": gradcams["flat"]}


@pytest.fixture(scope="module")
def of_class_one(flat, films):
    """Layer -> the engine's raw Grad-CAM of class 1 at it, in the flat model."""
    found = {}

    def maps(layer):
        if layer not in found:
            found[layer] = explain_all(flat, films, [1] * 5, methods="gradcam", layer=layer)["gradcam"].values
        return found[layer]

    return maps


@pytest.mark.parametrize("layer", ["first", "last"])
@pytest.mark.parametrize(("ours", "peer"), [(GradCAM, Gradcam), (LayerCAM, Layercam)])
def test_agrees_with_the_peer_at_a_named_layer(plain, films, targets, ours, peer, layer):
    arguments = {"penultimate_layer": layer, "expand_cam": False, "normalize_cam": False}
    score = CategoricalScore(targets.tolist())
    expected = np.asarray(peer(plain)(score, films, **arguments))
    actual = ours(plain)(score, films, **arguments)
    np.testing.assert_allclose(actual, expected, atol=1e-6 * expected.max())


@pytest.mark.filterwarnings("ignore:The structure of .inputs. does:UserWarning")
def test_scorecam_equals_the_peer_once_it_upsamples_as_the_peer_does(plain, films, targets, monkeypatch):
    """With a linear head the peer's softmax is the right one; what is left is its corner-aligned `zoom`."""
    arguments = {"penultimate_layer": "last", "expand_cam": False, "normalize_cam": False}
    score = CategoricalScore(targets.tolist())
    expected = np.asarray(Scorecam(plain)(score, films, **arguments))
    half_pixel = ScoreCAM(plain)(score, films, **arguments)
    monkeypatch.setattr(tf.image, "resize", corner_aligned)
    ours = ScoreCAM(plain)(score, films, **arguments)
    np.testing.assert_allclose(ours, expected, atol=1e-5 * expected.max())
    assert 1e-3 < np.abs(half_pixel - expected).max() / expected.max() < 0.05


@pytest.mark.filterwarnings("ignore:The structure of .inputs. does:UserWarning")
def test_scorecam_equals_the_peer_once_its_second_softmax_is_undone(plain, films, monkeypatch):
    """Two classes: the peer hands its score o = softmax(p), and log(o_1 / o_0) = 2 p_1 − 1."""
    pooled = keras.layers.GlobalAveragePooling2D()(plain.get_layer("last").output)
    keras.utils.set_random_seed(9)
    initializer = keras.initializers.RandomNormal(stddev=4.0, seed=2)
    head = keras.layers.Dense(2, activation="softmax", kernel_initializer=initializer)
    model = keras.Model(plain.inputs, head(pooled))
    arguments = {"penultimate_layer": "last", "expand_cam": False, "normalize_cam": False}
    monkeypatch.setattr(tf.image, "resize", corner_aligned)
    undone = Scorecam(model)(lambda o: (tf.math.log(o[:, 1] / o[:, 0]) + 1) / 2, films, **arguments)
    ours = ScoreCAM(model)(CategoricalScore([1] * len(films)), films, **arguments)
    np.testing.assert_allclose(ours, np.asarray(undone), atol=1e-5 * np.max(undone))
    doubled = np.asarray(Scorecam(model)(CategoricalScore([1] * len(films)), films, **arguments))
    assert np.abs(doubled - ours).max() > 1e-2 * ours.max(), "taken twice, the softmax changes the map"


def corner_aligned(images, size, **_):
    """`scipy.ndimage.zoom(order=1)` as two matrices: the corners of both grids coincide."""

    def matrix(n_in: int, n_out: int) -> np.ndarray:
        at = np.arange(n_out) * (n_in - 1) / max(n_out - 1, 1)
        return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(n_in)[None])).astype(np.float32)

    rows, columns = matrix(images.shape[1], int(size[0])), matrix(images.shape[2], int(size[1]))
    return tf.einsum("yh,nhwc,xw->nyxc", rows, images, columns)


@pytest.fixture(scope="module")
def raw_maps(flat, films, targets):
    """The engine's maps of every method, each film for its target."""
    return explain_all(flat, films, targets, methods=tuple(ENGINES))


@pytest.mark.parametrize("method", ENGINES)
def test_maps_are_expanded_and_normalised(engines, films, targets, raw_maps, method):
    heat = engines[method](CategoricalScore(targets.tolist()), films)
    raw = raw_maps[method].values
    assert heat.shape == (5, 32, 32)
    np.testing.assert_allclose(heat, min_max(resize(raw, 32)), atol=1e-5)
    assert heat.min() == 0
    assert (heat.max((1, 2)) == 1).all()


def test_multiscale_takes_several_layers(flat, films, targets):
    heat = MSGradCAMPlusPlus(flat)(CategoricalScore(targets.tolist()), films, penultimate_layer=LEVELS)
    raw = explain_all(flat, films, targets, methods="ms-gradcam++", multiscale_layers=LEVELS)["ms-gradcam++"].values
    np.testing.assert_allclose(heat, min_max(raw), atol=1e-5)
    with pytest.raises(LayerError, match="reads several layers"):
        MSGradCAMPlusPlus(flat)(ONE, films, penultimate_layer="top")


@pytest.mark.parametrize("method", ["gradcam", "scorecam"])
def test_every_form_of_score_means_the_same(engines, films, targets, method):
    visualization = engines[method]
    expected = visualization(CategoricalScore(targets.tolist()), films)
    forms = [
        [CategoricalScore(targets.tolist())],
        lambda output: [output[i][c] for i, c in enumerate(targets)],
        lambda output: tf.gather(output, targets, batch_dims=1),
    ]
    for score in forms:
        np.testing.assert_allclose(visualization(score, films), expected, atol=1e-5)
    np.testing.assert_allclose(visualization(CategoricalScore([1] * 5), films), visualization(ONE, films))


@pytest.mark.parametrize("engine", [GradCAM, ScoreCAM])
def test_binary_scores_name_the_two_sides_of_one_unit(with_head, films, engine):
    model = with_head(1, "sigmoid", spread=4.0)
    signs = [True, False, True, False, True]
    heat = engine(model)(BinaryScore(signs), films, normalize_cam=False)
    expected = explain_all(model, films, [1, 0, 1, 0, 1], methods=engine.method)[engine.method].values
    np.testing.assert_allclose(heat, resize(expected, 32), rtol=1e-4, atol=1e-5)
    ones = engine(model)(BinaryScore(True), films, normalize_cam=False)
    np.testing.assert_allclose(engine(model)(CategoricalScore(0), films, normalize_cam=False), ones, rtol=1e-5)


def test_binary_scores_need_one_unit(flat, films):
    with pytest.raises(TargetError, match="one output unit; received one with 3"):
        GradCAM(flat)(BinaryScore(True), films)


def test_scores_are_counted(flat, films):
    with pytest.raises(TargetError, match="expected 5 targets, one per image; received 2"):
        GradCAM(flat)(CategoricalScore([0, 1]), films)
    with pytest.raises(TargetError, match="expected 5 targets, one per image; received 2 scores"):
        GradCAM(flat)(lambda output: output[:2, 0], films)
    with pytest.raises(TargetError, match="one score for each of the model's 1 outputs; received 2"):
        GradCAM(flat)([CategoricalScore(0), CategoricalScore(1)], films)


@pytest.mark.parametrize(
    ("kind", "clone"),
    [("flat", True), ("flat", False), ("nested", True), ("sequential", True), ("subclassed", True)],
)
def test_replace_to_linear_needs_no_clone_and_no_change(models, gradcams, films, kind, clone):
    model = models[kind]
    visualization = GradCAM(model, model_modifier=ReplaceToLinear(), clone=clone)
    assert visualization.model is model
    np.testing.assert_array_equal(visualization(ONE, films), gradcams[kind](ONE, films))
    assert model.layers[-1].activation is keras.activations.softmax or kind == "subclassed"


def test_replace_to_linear_is_kept_where_no_logit_can_be_found(plain, films):
    squashed = keras.Model(plain.inputs, keras.layers.Dense(3, "tanh", name="squashed")(plain.layers[-2].output))
    arguments = {"penultimate_layer": "last", **RAW}
    expected = np.asarray(Gradcam(squashed, ReplaceToLinear())(ONE, films, **arguments))
    actual = GradCAM(squashed, ReplaceToLinear())(ONE, films, **arguments)
    np.testing.assert_allclose(actual, expected, atol=1e-5 * expected.max())
    assert squashed.layers[-1].activation is keras.activations.tanh


def test_shapes_of_input_and_output(engines, films):
    visualization = engines["gradcam"]
    assert isinstance(visualization, ModelVisualization)
    alone = visualization(ONE, films[0])
    assert alone.shape == (1, 32, 32)
    listed = visualization(ONE, [films])
    assert isinstance(listed, list)
    np.testing.assert_allclose(listed[0][:1], alone, atol=1e-5)
    assert visualization(ONE, [films], expand_cam=False).shape == (5, 8, 8)


@pytest.mark.parametrize(
    ("kind", "layer"),
    [
        *((kind, "middle") for kind in ("flat", "nested", "sequential", "subclassed")),
        *((kind, "instance") for kind in ("nested", "subclassed")),
    ],
)
def test_layers_by_name_and_instance(gradcams, of_class_one, flat, films, kind, layer):
    given = flat.get_layer("middle") if layer == "instance" else layer
    heat = gradcams[kind](ONE, films, penultimate_layer=given, **RAW)
    np.testing.assert_allclose(heat, of_class_one("middle"), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("kind", "layer", "found"),
    [
        *((kind, "norm", "middle") for kind in ("flat", "nested", "sequential", "subclassed")),
        *((kind, "scores", "top") for kind in ("flat", "nested", "sequential", "subclassed")),
        *((kind, -1, "top") for kind in ("flat", "nested")),
        ("flat", "drop", "middle"),
    ],
)
def test_convolutions_are_sought_in_every_kind_of_model(gradcams, of_class_one, films, kind, layer, found):
    heat = gradcams[kind](ONE, films, penultimate_layer=layer, **RAW)
    np.testing.assert_allclose(heat, of_class_one(found), rtol=1e-5, atol=1e-7)
    if layer == "norm":
        unsought = gradcams[kind](ONE, films, penultimate_layer=layer, seek_penultimate_conv_layer=False, **RAW)
        np.testing.assert_allclose(unsought, of_class_one(layer), rtol=1e-5, atol=1e-7)


def test_a_subclassed_model_is_searched_in_the_order_of_its_calls(films):
    class Backwards(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2, name="dense")
            self.second, self.first = (keras.layers.Conv2D(3, 3, name=name) for name in ("second", "first"))

        def call(self, inputs):
            return self.dense(keras.ops.mean(self.second(self.first(inputs)), (1, 2)))

    model = Backwards()
    model(films)
    heat = GradCAM(model)(ONE, films, penultimate_layer="dense", activation_modifier=None, **RAW)
    assert heat.shape == (5, 28, 28), "the last convolution that is called, not the last that was made"
    with pytest.raises(LayerError, match="layer 'late' is not a layer of"):
        GradCAM(model)(ONE, films, penultimate_layer=keras.layers.Dense(2, name="late"))


def test_no_layer_means_the_heads_input(models, films, targets):
    """Where tf-keras-vis takes the last convolution: here one branch of two, behind which comes a concatenation."""
    inputs = keras.Input((32, 32, 3))
    conv = {"strides": 4, "padding": "same", "activation": "relu"}
    branches = [keras.layers.Conv2D(4, 3, name=name, **conv)(inputs) for name in ("left", "right")]
    joined = keras.layers.Concatenate(name="joined")(branches)
    pooled = keras.layers.GlobalAveragePooling2D()(joined)
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(pooled))
    features = keras.Model(inputs, joined).predict(films, verbose=0)
    weights = model.get_layer("head").get_weights()[0][:, 1]
    whole = GradCAM(model)(ONE, films, activation_modifier=None, **RAW)
    np.testing.assert_allclose(whole, features @ weights / 64, rtol=1e-4, atol=1e-3)
    peer = np.asarray(Gradcam(model)(ONE, films, activation_modifier=None, **RAW))
    np.testing.assert_allclose(peer, features[..., 4:] @ weights[4:] / 64, rtol=1e-4, atol=1e-3)


def test_roles_and_paths_name_layers_too(models, films):
    nested = GradCAM(models["nested"])
    by_path = nested(ONE, films, penultimate_layer="base/middle", **RAW)
    np.testing.assert_array_equal(nested(ONE, films, penultimate_layer="stride2", **RAW), by_path)
    with pytest.raises(LayerError, match="'nowhere' is not in nested"):
        nested(ONE, films, penultimate_layer="nowhere")


@pytest.mark.filterwarnings("ignore:.*maps are constant:UserWarning")
def test_modifiers_are_applied(plain, films):
    features = keras.Model(plain.inputs, plain.get_layer("last").output).predict(films, verbose=0).astype(np.float64)
    weights = plain.get_layer("scores").get_weights()[0][:, 1]
    unrectified = GradCAM(plain)(ONE, films, activation_modifier=None, **RAW)
    np.testing.assert_allclose(unrectified, features @ weights / 64, rtol=1e-4, atol=1e-4)
    counter = GradCAM(plain)(ONE, films, gradient_modifier=lambda gradients: -gradients, **RAW)
    np.testing.assert_allclose(counter, np.maximum(-unrectified, 0), atol=1e-5)
    # LayerCAM without its ReLU of the gradients is, at the pooling, the same sum as Grad-CAM's
    every_sign = LayerCAM(plain)(ONE, films, gradient_modifier=None, activation_modifier=None, **RAW)
    np.testing.assert_allclose(every_sign, unrectified, rtol=1e-4, atol=1e-4)
    # Grad-CAM++ has its modifier inside the weights, too: squared, they and the map are
    inside = weights / 64
    alphas = np.where(inside > 0, 1 / (2 + np.maximum(inside, 0) * features.sum((1, 2))), 0)[:, None, None]
    expected = (features * alphas * 64 * inside**2).sum(-1) ** 2
    squared = GradCAMPlusPlus(plain)(ONE, films, activation_modifier=tf.square, **RAW)
    np.testing.assert_allclose(squared, expected, rtol=1e-4, atol=1e-6 * expected.max())


def test_a_modifier_that_changes_the_shape_is_refused(plain, films):
    with pytest.raises(ValueError, match=r"keep the shape.*Expected \(5, 8, 8\); received \(5, 8\)"):
        GradCAM(plain)(ONE, films, activation_modifier=lambda cam: cam[:, 0])


@pytest.mark.filterwarnings("ignore:.*maps are constant:UserWarning")
@pytest.mark.parametrize("engine", [GradCAM, GradCAMPlusPlus, LayerCAM])
def test_a_layer_the_scores_do_not_see(films, engine):
    inputs, others = keras.Input((32, 32, 3)), keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 3, name="seen")(inputs))
    beside = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 3, name="beside")(others))
    model = keras.Model([inputs, others], [keras.layers.Dense(2)(pooled), keras.layers.Dense(2)(beside)])
    scores = [ONE, lambda output: tf.zeros(5)]
    arguments = {"penultimate_layer": "beside", **RAW}
    with pytest.raises(LayerError, match="do not depend on the model's outputs"):
        engine(model)([scores[1]] * 2, [films, films], **arguments)
    connected = {"unconnected_gradients": tf.UnconnectedGradients.ZERO}
    for given, more in (([scores[1]] * 2, connected), ([ONE, InactiveScore()], {})):
        zero = engine(model)(given, [films, films], **arguments, **more)
        np.testing.assert_array_equal(zero, np.zeros((5, 30, 30)))


def test_scorecam_has_a_cap_and_ignores_its_batch_size(flat, engines, films):
    scorecam = engines["scorecam"]
    exact = scorecam(ONE, films)
    np.testing.assert_allclose(ScoreCAM(flat)(ONE, films, batch_size=3, max_N=0), exact, atol=1e-4)
    capped = scorecam(ONE, films, max_N=2, normalize_cam=False)
    result = explain_all(flat, films, [1] * 5, methods="scorecam", max_channels=2)["scorecam"]
    np.testing.assert_allclose(capped, resize(result.values, 32), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="max_N has to be 1 to 10"):
        scorecam(ONE, films, max_N=11)


def test_the_cap_does_not_look_at_the_other_images(engines, films):
    """tf-keras-vis keeps the union of every image's top channels; here each image has a draw of its own."""
    together = engines["scorecam"](ONE, films, max_N=3, normalize_cam=False)
    alone = engines["scorecam"](ONE, films[2], max_N=3, normalize_cam=False)
    np.testing.assert_allclose(together[2:3], alone, rtol=1e-4, atol=1e-4)


def test_training_mode_draws_and_leaves_the_model_alone(flat, engines, films):
    weights = [np.array(weight) for weight in flat.get_weights()]
    visualization = GradCAM(flat)
    drawn = [visualization(ONE, films, training=True, **RAW) for _ in range(3)]
    assert np.abs(drawn[0] - drawn[1]).max() > 0
    assert np.abs(drawn[1] - drawn[2]).max() > 0
    for before, after in zip(weights, flat.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(visualization(ONE, films), engines["gradcam"](ONE, films))


def test_blank_maps_are_announced(with_head, films):
    dead = with_head(3, "softmax", name="dead")
    dead.get_layer("scores").set_weights([np.zeros_like(weight) for weight in dead.get_layer("scores").get_weights()])
    with pytest.warns(UserWarning, match="5 of 5 gradcam maps are constant"):
        heat = GradCAM(dead)(CategoricalScore(0), films)
    assert (heat == 0).all()


def test_repeated_calls_share_one_trace(flat, films, targets):
    """Whatever the scores and modifiers are: only whether there is one is compiled."""
    visualization = GradCAM(flat)
    for score in (CategoricalScore(targets.tolist()), CategoricalScore(0)):
        visualization(score, films)
    explainer = visualization._kept.latest
    visualization(ONE, films)
    assert visualization._kept.latest is explainer
    assert explainer.traces == 1
    maps = {}
    for unit in (0, 1, 2):
        maps[unit] = visualization(lambda output, unit=unit: output[:, unit], films, gradient_modifier=lambda g: 2 * g)
        np.testing.assert_allclose(maps[unit], visualization(CategoricalScore(unit), films), atol=1e-5)
    visualization(lambda output: output[:, 0], films, gradient_modifier=lambda g: 3 * g)
    assert visualization._kept.latest.traces == 1
    assert len(visualization._kept) == 2


def test_explainers_are_kept_within_bounds(plain, films, monkeypatch):
    assert KEPT == 8
    monkeypatch.setattr("cxrkeras.cams.dropin.kept.KEPT", 2)
    visualization, used = GradCAM(plain), []
    for layer in ("first", "last", "first", None, "first"):
        visualization(ONE, films[:1], penultimate_layer=layer)
        used.append(visualization._kept.latest)
        assert len(visualization._kept) <= 2
    assert used[0] is used[2] is used[4], "the one that is used is not the one that is forgotten"


def test_large_batches_are_streamed_unless_a_function_scores_them(plain, films):
    many = np.concatenate([films] * 4)[:18]
    visualization = GradCAM(plain)
    by_class = visualization(ONE, many, **RAW)
    assert visualization._kept.latest.batch_size == 16
    by_function = visualization(lambda output: output[:, 1], many, **RAW)
    assert visualization._kept.latest.batch_size == 18
    np.testing.assert_allclose(by_class, by_function, rtol=1e-5, atol=1e-6)


def test_an_input_without_a_grid_has_no_map(films):
    inputs, table = keras.Input((32, 32, 3)), keras.Input((2,))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 3, name="seen")(inputs))
    model = keras.Model([table, inputs], keras.layers.Dense(2)(keras.layers.Concatenate()([pooled, table])))
    given = [np.ones((5, 2), np.float32), films]
    maps = GradCAM(model)(CategoricalScore([0, 1, 0, 1, 0]), given, activation_modifier=None)
    assert maps[0] is None
    assert maps[1].shape == (5, 32, 32)
    weights = model.layers[-1].get_weights()[0][:3, [0, 1, 0, 1, 0]]
    features = np.asarray(model.get_layer("seen")(films))
    expected = min_max(resize(np.einsum("nhwk,kn->nhw", features, weights), 32))
    np.testing.assert_allclose(maps[1], expected, atol=1e-4)


def test_the_tests_named_in_the_documentation_exist():
    here = Path(__file__)
    named = set(re.findall(r"`(test_\w+)`", (here.parents[2] / "docs" / "tf-keras-vis.md").read_text(encoding="utf-8")))
    defined = re.findall(
        r"^def (test_\w+)", "".join(f.read_text(encoding="utf-8") for f in here.parent.glob("*.py")), re.M
    )
    assert len(named) > 20
    assert named <= set(defined)


def test_the_peers_spellings_are_ours():
    for ours, peer in (("GradCAM", "Gradcam"), ("GradCAMPlusPlus", "GradcamPlusPlus"), ("LayerCAM", "Layercam")):
        assert getattr(cxrkeras.cams, peer) is getattr(cxrkeras.cams, ours)
    assert cxrkeras.cams.Scorecam is ScoreCAM
