"""The replay is tf-keras-vis' own answer, bit for bit, and its defects are visible in it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.ndimage import zoom
from tf_keras_vis.gradcam import Gradcam
from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
from tf_keras_vis.layercam import Layercam
from tf_keras_vis.scorecam import Scorecam
from tf_keras_vis.utils.model_modifiers import ExtractIntermediateLayerForGradcam, ReplaceToLinear
from tf_keras_vis.utils.scores import CategoricalScore

from cxrkeras.cams.replay import PEER_METHODS, PeerExplainer, peer_layer, peer_methods, peer_parameters
from cxrkeras.cams.results import concatenated
from cxrkeras.errors import LayerError, MethodError, TargetError
from cxrkeras.maps import resize
from cxrkeras.models.backbones import backbone
from cxrkeras.models.classifier import LOGITS, build_classifier

# the peer hands its models a bare tensor where Keras expects a list
pytestmark = pytest.mark.filterwarnings("ignore:The structure of .inputs. does:UserWarning")

SIDE = 48
PEERS = {"gradcam": Gradcam, "gradcam++": GradcamPlusPlus, "layercam": Layercam, "scorecam": Scorecam}


@pytest.fixture(scope="module")
def classifier():
    built = build_classifier(backbone("compact"), ("a", "b"), SIDE, seed=2)
    kernel, bias = built.model.get_layer(LOGITS).get_weights()
    built.model.get_layer(LOGITS).set_weights([kernel * 4, bias])
    return built


@pytest.fixture(scope="module")
def wide():
    """Films of blocks, float32 [3, 48, 48, 3]."""
    coarse = np.random.default_rng(2).uniform(0, 255, (3, 6, 6, 1))
    return np.kron(coarse, np.ones((1, 8, 8, 3))).astype(np.float32)


@pytest.fixture(scope="module")
def replayed(classifier, wide):
    explainer = PeerExplainer(classifier.model, classifier.logits, PEER_METHODS)
    return concatenated(list(explainer.explain_batches([(wide[:2], [0, 1]), (wide[2:], [1])])))


@pytest.fixture
def head(classifier):
    """The head, put back afterwards."""
    layer = classifier.model.get_layer(LOGITS)
    before = layer.get_weights()
    yield layer
    layer.set_weights(before)


def explained(classifier, films, targets, method, **settings):
    explainer = PeerExplainer(classifier.model, classifier.logits, method, **settings)
    return concatenated(list(explainer.explain_batches([(films, targets)])))[method]


@pytest.mark.parametrize("method", PEER_METHODS)
def test_bit_identical_to_what_its_user_gets(classifier, wide, replayed, method):
    """A user's model ends in Dense(softmax); the documentation has him replace it, but for ScoreCAM."""
    layer = classifier.model.get_layer(LOGITS)
    dense = keras.layers.Dense(2, activation="softmax")
    user = keras.Model(classifier.model.inputs, dense(classifier.model.get_layer("head_pooling").output))
    dense.set_weights(layer.get_weights())
    peer = PEERS[method](user, None if method == "scorecam" else ReplaceToLinear(), clone=True)
    for row, target in enumerate([0, 1, 1]):
        direct = peer(CategoricalScore([target]), wide[row : row + 1])
        np.testing.assert_array_equal(replayed[method].values[row], direct[0])
    assert replayed[method].values.shape == (3, SIDE, SIDE)
    assert replayed[method].values.dtype == np.float32
    assert replayed[method].status.tolist() == ["ok"] * 3


def test_probabilities_logits_and_targets_are_the_model_s(classifier, wide, replayed):
    np.testing.assert_allclose(replayed.probabilities, classifier.model.predict(wide, verbose=0), atol=1e-6)
    np.testing.assert_allclose(replayed.logits, classifier.logits.predict(wide, verbose=0), atol=1e-5)
    assert replayed.targets.tolist() == [0, 1, 1]
    predicted = PeerExplainer(classifier.model, classifier.logits, "gradcam")
    targets = [int(part.targets[0]) for part in predicted.explain_batches([(wide, None)])]
    assert targets == replayed.probabilities.argmax(1).tolist()


def test_it_explains_the_last_convolution_and_never_what_enters_the_pooling(classifier, replayed):
    assert replayed["gradcam"].layer == "conv8"
    features = keras.Model(classifier.model.inputs, classifier.model.get_layer("conv8").output)
    assert features.predict(np.full((1, SIDE, SIDE, 3), 90.0), verbose=0).min() < 0, "not activated yet"
    assert peer_layer(classifier.model, classifier.backbone.head_input).name == "conv8", "even where it is named"


@pytest.mark.parametrize("name", [None, "conv3", "stride4_relu", "relu7", "probabilities"])
def test_its_search_for_a_layer_is_followed(classifier, name):
    model = ExtractIntermediateLayerForGradcam(name, include_model_outputs=False)(classifier.model)
    assert peer_layer(classifier.model, name).output is model.outputs[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "found"), [("DenseNet201", "conv5_block32_2_conv"), ("ResNet50V2", "conv5_block3_3_conv")]
)
def test_on_the_large_backbones_too(name, found):
    built = build_classifier(backbone(name), ("a", "b"), 96)
    assert peer_layer(built.model).name == found != built.backbone.head_input


def test_a_named_layer_is_passed_on_with_its_seeking(classifier, wide):
    found = explained(classifier, wide[:1], [1], "layercam", layer="stride4_relu")
    assert found.layer == "conv4"
    direct = Layercam(classifier.logits)(CategoricalScore([1]), wide[:1], penultimate_layer="stride4_relu")
    np.testing.assert_array_equal(found.values, direct)


def test_its_scorecam_weights_are_softmaxed_twice(classifier, wide, replayed):
    """Rebuilt by hand: masks by corner-aligned zoom, weights 1/(1 + e^(1 − 2p)), so never outside 0.27 to 0.73."""
    features = keras.Model(classifier.model.inputs, classifier.model.get_layer("conv8").output)
    maps = features.predict(wide[:1], verbose=0)[0]
    masks = zoom(maps, (8, 8, 1), order=1, mode="nearest").transpose(2, 0, 1)
    low, high = masks.min((1, 2), keepdims=True), masks.max((1, 2), keepdims=True)
    masked = wide[:1] * ((masks - low) / (high - low + 1e-7))[..., None]
    p = classifier.model.predict(masked, verbose=0)[:, 0].astype(np.float64)
    weights = 1 / (1 + np.exp(1 - 2 * p))
    assert weights.min() > 1 / (1 + np.e)
    assert weights.max() < np.e / (1 + np.e)
    twice, once = (zoom(np.maximum(maps @ w, 0), (8, 8), order=1) for w in (weights, p))
    np.testing.assert_allclose(replayed["scorecam"].values[0], twice / twice.max(), atol=1e-4)
    assert np.abs(once / once.max() - twice / twice.max()).max() > 0.01, "and that changes the map"


def test_its_gradcam_plus_plus_is_nan_at_large_logits_and_says_degenerate(classifier, wide, head):
    kernel, bias = head.get_weights()
    head.set_weights([kernel, bias + 100])
    result = explained(classifier, wide, [0, 1, 0], "gradcam++")
    assert np.isnan(result.values).all()
    assert result.status.tolist() == ["degenerate"] * 3
    # the same net to a softmax, so the map should be the same one
    head.set_weights([kernel, bias])
    assert np.isfinite(explained(classifier, wide, [0, 1, 0], "gradcam++").values).all()


def test_its_replacement_of_the_softmax_misses_a_softmax_layer(classifier, wide):
    """It sets `activation`, which a Softmax layer does not read; the replay therefore reads the logits themselves."""
    arguments = (CategoricalScore([1]), wide[:1])
    replaced, softmax, linear = (
        np.asarray(peer(*arguments, expand_cam=False, normalize_cam=False))
        for peer in (
            Gradcam(classifier.model, ReplaceToLinear()),
            Gradcam(classifier.model),
            Gradcam(classifier.logits),
        )
    )
    np.testing.assert_array_equal(replaced, softmax)
    assert np.abs(replaced - linear).max() > 0.1 * linear.max()


def test_its_weak_maps_never_reach_one(classifier, wide, head):
    kernel, bias = head.get_weights()
    raw = Gradcam(classifier.logits)(CategoricalScore([1]), wide[:1], expand_cam=False, normalize_cam=False)
    raw = np.asarray(raw)
    head.set_weights([kernel * (1e-7 / raw.max()), bias])
    peak = explained(classifier, wide[:1], [1], "gradcam").values.max()
    assert peak == pytest.approx(0.5, abs=0.05)


def test_its_corners_are_aligned(classifier, wide, replayed):
    native = Layercam(classifier.logits)(
        CategoricalScore([0]), wide[:1], penultimate_layer=None, expand_cam=False, normalize_cam=False
    )
    edge, shown = np.asarray(native)[0, 0], replayed["layercam"].values[0][0]
    aligned = np.interp(np.arange(SIDE) * (len(edge) - 1) / (SIDE - 1), np.arange(len(edge)), edge)
    half_pixel = resize(np.asarray(native), SIDE)[0, 0]
    # min-max is affine
    assert np.corrcoef(shown, aligned)[0, 1] > 1 - 1e-6
    assert np.corrcoef(shown, half_pixel)[0, 1] < 0.999
    assert (half_pixel[:4] == half_pixel[0]).all(), "half-pixel centres leave a plateau of half a cell at the edge"
    assert shown[3] != shown[0]


def test_films_do_not_touch_each_other(classifier, wide, replayed):
    alone = explained(classifier, wide[2:], [1], "scorecam")
    np.testing.assert_array_equal(alone.values[0], replayed["scorecam"].values[2])
    capped = explained(classifier, wide, [0, 1, 1], "scorecam", max_channels=9)
    single = explained(classifier, wide[1:2], [1], "scorecam", max_channels=9)
    np.testing.assert_array_equal(capped.values[1], single.values[0])
    assert capped.status.tolist() == ["approximate"] * 3
    assert capped.extras["channels_used"].tolist() == [9] * 3
    assert capped.parameters["max_channels"] == 9
    direct = Scorecam(classifier.model)(CategoricalScore([1]), wide[1:2], max_N=9)
    np.testing.assert_array_equal(single.values, direct)


def test_weights_are_read_at_every_call(classifier, wide, head):
    explainer = PeerExplainer(classifier.model, classifier.logits, "gradcam")
    before = next(explainer.explain_batches([(wide[:1], [0])]))["gradcam"].values
    kernel, bias = head.get_weights()
    head.set_weights([kernel[:, ::-1], bias])
    after = next(explainer.explain_batches([(wide[:1], [0])]))["gradcam"].values
    other = next(explainer.explain_batches([(wide[:1], [1])]))["gradcam"].values
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_allclose(other, before, atol=1e-6)


def test_the_model_and_the_screen_stay_as_they_are(classifier, wide, capfd):
    before = [array.copy() for array in classifier.model.get_weights()]
    layers, logging = len(classifier.model.layers), keras.config.is_interactive_logging_enabled()
    counted = []
    explainer = PeerExplainer(classifier.model, classifier.logits, "all", classes=("a", "b"))
    stream = explainer.explain_batches([(wide, [0, 1, 0])], n_films=3, progress=lambda *a: counted.append(a))
    assert len(list(stream)) == 3
    each = 3 + 128
    assert explainer.channels == 128
    assert counted == [(each, 3 * each), (2 * each, 3 * each), (3 * each, 3 * each)]
    assert capfd.readouterr().out == ""
    assert keras.config.is_interactive_logging_enabled() == logging
    assert len(classifier.model.layers) == layers
    for old, new in zip(before, classifier.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_parameters_tell_its_maps_from_ours():
    named = peer_parameters("scorecam", "conv8", 9)
    assert named["engine"] == "tf-keras-vis"
    assert named["layers"] == ["conv8"]
    assert named["expanded"] is True
    assert named["max_channels"] == 9
    assert "max_channels" not in peer_parameters("gradcam", "conv8", 9)


def test_what_it_does_not_have_is_refused(classifier, wide):
    assert peer_methods("all") == PEER_METHODS
    for method in ("eigencam", "ms-gradcam++"):
        with pytest.raises(MethodError, match=r"has no .*expected gradcam, gradcam\+\+, layercam, scorecam"):
            PeerExplainer(classifier.model, classifier.logits, ["gradcam", method])
    with pytest.raises(LayerError, match="Did you mean 'conv8'"):
        PeerExplainer(classifier.model, classifier.logits, "gradcam", layer="convv8")
    with pytest.raises(LayerError, match="no convolution up to layer 'preprocessing'"):
        PeerExplainer(classifier.model, classifier.logits, "gradcam", layer="preprocessing")
    with pytest.raises(MethodError, match="takes 1 to 128 channels at layer 'conv8'; received 129"):
        PeerExplainer(classifier.model, classifier.logits, "scorecam", max_channels=129)
    explainer = PeerExplainer(classifier.model, classifier.logits, "gradcam", classes=("a", "b"))
    with pytest.raises(TargetError, match=r"target 2 is out of range.*\(a, b\)"):
        list(explainer.explain_batches([(wide[:1], [2])]))


def test_where_it_fails_the_error_names_it(wide):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        built = build_classifier(backbone("compact"), ("a", "b"), SIDE)
    finally:
        keras.config.set_dtype_policy(before)
    for method in PEER_METHODS:
        with pytest.raises(MethodError, match=r"tf-keras-vis fails at .* of compact .* Use --engine cxrkeras"):
            explained(built, wide[:1], [0], method)
