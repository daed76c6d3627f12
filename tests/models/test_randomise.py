"""Weights are drawn anew from the head down, as the layers' initialisers draw them, and always put back."""

from __future__ import annotations

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from cxrkeras.errors import BackboneError
from cxrkeras.models.backbones import backbone
from cxrkeras.models.classifier import build_classifier
from cxrkeras.models.randomise import cascade, randomised


@pytest.fixture(scope="module")
def classifier():
    """`compact` with weights as training leaves them: biased, scaled, with statistics of their own."""
    built = build_classifier(backbone("compact"), ("a", "b"), 32, seed=1)
    rng = np.random.default_rng(0)
    for weight in built.model.weights:
        weight.assign(0.5 + np.abs(rng.normal(size=weight.shape)))
    return built


def names(classifier):
    return [(stage.name, stage.layers) for stage in cascade(classifier)]


def layer_weights(classifier, name):
    return classifier.model.get_layer(name).get_weights()


def test_stages_run_from_the_head_to_everything(classifier):
    assert names(classifier) == [
        ("head", ("logits",)),
        ("4×4", ("conv5", "bn5", "conv6", "bn6", "conv7", "bn7", "conv8", "bn8")),
        ("8×8", ("conv3", "bn3", "conv4", "bn4")),
        ("everything", ("conv1", "bn1", "conv2", "bn2")),
    ]
    weighted = [layer.name for layer in classifier.model.layers if layer.weights]
    assert sorted(name for _, layers in names(classifier) for name in layers) == sorted(weighted)


def test_grids_that_differ_by_their_borders_are_one_stage():
    """InceptionV3 pads some convolutions and not others; a branch may be built before the layer it follows."""
    sides = [149, 147, 147, 73, 71, 35, 17, 35, 17, 8, 8]
    layers = [
        SimpleNamespace(name=f"l{i}", weights=[1], output=SimpleNamespace(shape=(None, side, side, 3)))
        for i, side in enumerate(sides)
    ]
    layers.insert(2, SimpleNamespace(name="relu", weights=[], output=layers[0].output))
    stages = names(SimpleNamespace(backbone_layers=layers))
    assert stages == [
        ("head", ("logits",)),
        ("8×8", ("l9", "l10")),
        ("17×17", ("l6", "l8")),
        ("35×35", ("l5", "l7")),
        ("71×71", ("l3", "l4")),
        ("everything", ("l0", "l1", "l2")),
    ]


def test_each_stage_adds_its_layers_and_keeps_the_earlier_draws(classifier):
    trained = {layer.name: layer_weights(classifier, layer.name) for layer in classifier.model.layers if layer.weights}
    drawn = {}
    with randomised(classifier, seed=3) as stages:
        for stage in stages:
            for name in stage.layers:
                drawn[name] = layer_weights(classifier, name)
            for name, before in trained.items():
                now = layer_weights(classifier, name)
                expected = drawn.get(name, before)
                for a, b, c in zip(now, expected, before, strict=True):
                    np.testing.assert_array_equal(a, b)
                    assert (name not in drawn) or not np.array_equal(a, c)
    assert drawn.keys() == trained.keys()


def test_draws_are_those_of_the_initialisers(classifier):
    with randomised(classifier) as stages:
        list(stages)
        for number in range(1, 9):
            gamma, beta, mean, variance = layer_weights(classifier, f"bn{number}")
            assert (gamma == 1).all()
            assert (beta == 0).all()
            assert (mean == 0).all()
            assert (variance == 1).all()
        for name in ("conv6", "conv7", "conv8"):
            (kernel,) = layer_weights(classifier, name)
            # he_normal: variance 2 / fan-in, cut at two standard deviations
            assert kernel.std() == pytest.approx(np.sqrt(2 / np.prod(kernel.shape[:3])), rel=0.02)
            assert abs(kernel.mean()) < 4 * kernel.std() / np.sqrt(kernel.size)
        kernel, bias = layer_weights(classifier, "logits")
        assert np.abs(kernel).max() <= np.sqrt(6 / sum(kernel.shape))
        assert (bias == 0).all()


def test_a_fresh_network_neither_dies_nor_blows_up(classifier):
    """Its ReLUs are positively homogeneous: films twice as far from grey give features twice as large."""
    rng = np.random.default_rng(2)
    contrast = rng.uniform(-60, 60, (2, 32, 32, 3)).astype(np.float32)
    with randomised(classifier) as stages:
        list(stages)
        once, twice = (classifier.pooled.predict_on_batch(127.5 + scale * contrast) for scale in (1, 2))
    assert 0.2 < (once > 0).mean() <= 1
    assert 1e-3 < once.mean() < 1e3
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-4)


def test_a_seed_is_a_draw(classifier):
    def drawn(seed):
        with randomised(classifier, seed) as stages:
            next(stages)
            return layer_weights(classifier, "logits")[0]

    np.testing.assert_array_equal(drawn(4), drawn(4))
    assert not np.allclose(drawn(4), drawn(5))
    assert not np.allclose(drawn((4, 0)), drawn((4, 1)))


@pytest.mark.parametrize("failing", [False, True])
def test_the_weights_are_put_back_even_after_an_error(classifier, failing):
    before = [weight.copy() for weight in classifier.model.get_weights()]

    def use():
        with randomised(classifier) as stages:
            next(stages)
            next(stages)
            if failing:
                raise KeyboardInterrupt

    if failing:
        with pytest.raises(KeyboardInterrupt):
            use()
    else:
        use()
    for now, value in zip(classifier.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, value)


def test_a_weight_without_an_initialiser_is_named():
    films = keras.Input((4, 4, 3))
    layer = keras.layers.SeparableConv2D(2, 1, name="separable")
    model = keras.Model(films, keras.layers.Dense(2, name="logits")(layer(films)))
    layer.weights[0]._name = "strange"
    before = model.get_weights()
    parts = SimpleNamespace(model=model, backbone_layers=[layer])
    with pytest.raises(BackboneError, match="weight 'strange' of layer 'separable'"), randomised(parts) as stages:
        list(stages)
    for now, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, value)
