"""The tf-keras-vis interface, with tf-keras-vis itself as the oracle where it is right."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tf_keras_vis import ModelVisualization
from tf_keras_vis.gradcam import Gradcam
from tf_keras_vis.layercam import Layercam
from tf_keras_vis.scorecam import Scorecam
from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
from tf_keras_vis.utils.scores import BinaryScore, CategoricalScore

from cxrkeras.cams import (
    EigenCAM,
    GradCAM,
    GradCAMPlusPlus,
    LayerCAM,
    MSGradCAMPlusPlus,
    ScoreCAM,
    explain_all,
)
from cxrkeras.errors import LayerError, MethodError, TargetError
from cxrkeras.maps import min_max, resize

ENGINES = {
    "gradcam": GradCAM,
    "gradcam++": GradCAMPlusPlus,
    "layercam": LayerCAM,
    "eigencam": EigenCAM,
    "scorecam": ScoreCAM,
}
LEVELS = ["fine", "middle", "top"]


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


@pytest.mark.parametrize("method", ENGINES)
def test_maps_are_expanded_and_normalised(flat, films, targets, method):
    heat = ENGINES[method](flat)(CategoricalScore(targets.tolist()), films)
    raw = explain_all(flat, films, targets, methods=method)[method].values
    assert heat.shape == (5, 32, 32)
    np.testing.assert_allclose(heat, min_max(resize(raw, 32)), atol=1e-5)
    assert heat.min() == 0
    assert (heat.max((1, 2)) == 1).all()


def test_multiscale_takes_several_layers(flat, films, targets):
    heat = MSGradCAMPlusPlus(flat)(targets, films, penultimate_layer=LEVELS)
    raw = explain_all(flat, films, targets, methods="ms-gradcam++", multiscale_layers=LEVELS)["ms-gradcam++"].values
    np.testing.assert_allclose(heat, min_max(raw), atol=1e-5)
    with pytest.raises(LayerError, match="reads several layers"):
        MSGradCAMPlusPlus(flat)(targets, films, penultimate_layer="top")


@pytest.mark.parametrize("engine", [GradCAM, ScoreCAM])
def test_every_form_of_score_means_the_same(flat, films, targets, engine):
    visualization = engine(flat)
    expected = visualization(CategoricalScore(targets.tolist()), films)
    forms = [
        targets,
        targets.tolist(),
        [CategoricalScore(targets.tolist())],
        lambda output: [output[i][c] for i, c in enumerate(targets)],
        lambda output: tf.gather(output, targets, batch_dims=1),
    ]
    for score in forms:
        np.testing.assert_allclose(visualization(score, films), expected, atol=1e-5)
    np.testing.assert_allclose(visualization(0, films), visualization(CategoricalScore(0), films))


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
    with pytest.raises(TargetError, match="one output; received 2"):
        GradCAM(flat)([CategoricalScore(0), CategoricalScore(1)], films)


@pytest.mark.parametrize("kind", ["flat", "nested", "sequential", "subclassed"])
def test_replace_to_linear_needs_no_clone_and_no_change(models, films, targets, kind):
    model = models[kind]
    with_modifier = GradCAM(model, model_modifier=ReplaceToLinear(), clone=False)(targets, films)
    np.testing.assert_array_equal(with_modifier, GradCAM(model)(targets, films))
    assert model.layers[-1].activation is keras.activations.softmax or kind != "flat"


def test_shapes_of_input_and_output(flat, films):
    visualization = GradCAM(flat)
    assert isinstance(visualization, ModelVisualization)
    alone = visualization(1, films[0])
    assert alone.shape == (1, 32, 32)
    listed = visualization(1, [films])
    assert isinstance(listed, list)
    np.testing.assert_allclose(listed[0][:1], alone, atol=1e-5)
    assert visualization(1, films, expand_cam=False).shape == (5, 8, 8)


@pytest.mark.parametrize("layer", ["middle", 4, "instance"])
def test_layers_by_name_index_and_instance(flat, films, layer):
    assert flat.layers[4].name == "middle"
    given = flat.get_layer("middle") if layer == "instance" else layer
    heat = GradCAM(flat)(1, films, penultimate_layer=given, expand_cam=False, normalize_cam=False)
    np.testing.assert_array_equal(
        heat, explain_all(flat, films, [1] * 5, methods="gradcam", layer="middle")["gradcam"].values
    )


def test_a_layer_without_a_grid_stands_for_the_heads_input_only_when_sought(flat, films):
    np.testing.assert_array_equal(GradCAM(flat)(1, films, penultimate_layer=-1), GradCAM(flat)(1, films))
    dense = flat.get_layer("scores")
    np.testing.assert_array_equal(GradCAM(flat)(1, films, penultimate_layer=dense), GradCAM(flat)(1, films))
    with pytest.raises(LayerError, match="cannot carry a map"):
        GradCAM(flat)(1, films, penultimate_layer=dense, seek_penultimate_conv_layer=False)
    with pytest.raises(LayerError, match="Expected an index under 11"):
        GradCAM(flat)(1, films, penultimate_layer=99)


@pytest.mark.filterwarnings("ignore:.*maps are constant:UserWarning")
def test_modifiers_are_applied(flat, films, features, head_weights):
    raw = {"expand_cam": False, "normalize_cam": False}
    unrectified = GradCAM(flat)(1, films, activation_modifier=None, **raw)
    np.testing.assert_allclose(unrectified, features @ head_weights[0][:, 1] / 64, rtol=1e-4, atol=1e-5)
    counter = GradCAM(flat)(1, films, gradient_modifier=lambda gradients: -gradients, **raw)
    np.testing.assert_allclose(counter, np.maximum(-unrectified, 0), atol=1e-6)


def test_scorecam_has_a_cap_and_ignores_its_batch_size(flat, films):
    exact = ScoreCAM(flat)(1, films)
    np.testing.assert_allclose(ScoreCAM(flat)(1, films, batch_size=3, max_N=0), exact, atol=1e-4)
    capped = ScoreCAM(flat)(1, films, max_N=2, normalize_cam=False)
    result = explain_all(flat, films, [1] * 5, methods="scorecam", max_channels=2)["scorecam"]
    np.testing.assert_allclose(capped, resize(result.values, 32), rtol=1e-4, atol=1e-4)


def test_training_mode_is_refused(flat, films):
    with pytest.raises(MethodError, match="received training=True"):
        GradCAM(flat)(0, films, training=True)


def test_blank_maps_are_announced(flat, films):
    dead = keras.models.clone_model(flat)
    dead.set_weights([np.zeros_like(weight) for weight in dead.get_weights()])
    with pytest.warns(UserWarning, match="5 of 5 gradcam maps are constant"):
        heat = GradCAM(dead)(0, films)
    assert (heat == 0).all()


def test_repeated_calls_share_one_trace(flat, films, targets):
    visualization = GradCAM(flat)
    visualization(targets, films)
    first = visualization._cached[1]
    visualization(0, films)
    assert visualization._cached[1] is first
    assert first.traces == 1
