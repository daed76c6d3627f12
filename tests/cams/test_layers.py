"""Roles and names of layers in models of every build, and the errors that help to name the right one."""

import keras
import numpy as np
import pytest

from cxrkeras.cams import Explainer, explain_all
from cxrkeras.errors import DataError, LayerError


def layer_of(model, films, wanted):
    explainer = Explainer(model, "gradcam", layer=wanted, batch_size=1)
    explainer.prepare(films.shape[1:])
    return explainer.layers["gradcam"]


@pytest.mark.parametrize(
    ("kind", "wanted", "found"),
    [
        ("flat", "head_input", "top"),
        ("flat", "last_conv", "top"),
        ("flat", "stride1", "fine"),
        ("flat", "stride2", "middle"),
        ("flat", "stride4", "top"),
        ("nested", "head_input", "base/top"),
        ("nested", "middle", "base/middle"),
        ("nested", "base/middle", "base/middle"),
        ("nested", "base", "base"),
        ("sequential", "stride2", "middle"),
        ("subclassed", "head_input", "top"),
        ("subclassed", "norm", "norm"),
    ],
)
def test_roles_and_names(models, films, kind, wanted, found):
    assert layer_of(models[kind], films, wanted) == found


def chain(tensor, *layers):
    for layer in layers:
        tensor = layer(tensor)
    return tensor


def conv(filters, name, **kwargs):
    return keras.layers.Conv2D(filters, 3, padding="same", name=name, **kwargs)


def model_of(*layers):
    inputs = keras.Input((32, 32, 3))
    return keras.Model(inputs, chain(inputs, *layers))


def test_a_flattened_head_and_a_bare_mean(films):
    layers = keras.layers
    flattened = model_of(
        conv(4, "a", activation="relu"), layers.MaxPooling2D(name="pool"), layers.Flatten(), layers.Dense(2)
    )
    assert layer_of(flattened, films, "head_input") == "pool"

    class Mean(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv, self.dense = conv(4, "inside", activation="relu"), layers.Dense(2)

        def call(self, inputs):
            return self.dense(keras.ops.mean(self.conv(inputs), axis=(1, 2)))

    model = Mean()
    model(films)
    assert layer_of(model, films, "head_input") == "inside"


def test_a_squeeze_and_excite_pooling_is_not_the_head(films):
    inputs = keras.Input((32, 32, 3))
    x = conv(4, "a", activation="relu")(inputs)
    gate = chain(x, keras.layers.GlobalAveragePooling2D(keepdims=True), keras.layers.Conv2D(4, 1, activation="sigmoid"))
    x = keras.layers.Multiply(name="gated")([x, gate])
    x = conv(6, "b", strides=2, activation="relu")(x)
    model = keras.Model(inputs, chain(x, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)))
    assert layer_of(model, films, "head_input") == "b"


def test_a_stride_means_the_widest_activated_tensor(films):
    inputs = keras.Input((32, 32, 3))
    wide = conv(12, "wide", strides=2, activation="relu")(inputs)
    bottleneck = conv(3, "narrow", activation="relu")(wide)
    linear = conv(20, "linear")(wide)
    joined = keras.layers.Concatenate(name="joined")([bottleneck, linear])
    x = conv(8, "deep", strides=2, activation="relu")(joined)
    model = keras.Model(inputs, chain(x, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)))
    assert layer_of(model, films, "stride2") == "wide"
    assert layer_of(model, films, "stride4") == "deep"


def test_concatenated_activations_count_as_activated(films):
    inputs = keras.Input((32, 32, 3))
    parts = [conv(4, name, strides=2, activation="relu")(inputs) for name in ("left", "right")]
    joined = keras.layers.Concatenate(name="mixed")(parts)
    x = conv(8, "deep", strides=2, activation="relu")(joined)
    model = keras.Model(inputs, chain(x, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)))
    assert layer_of(model, films, "stride2") == "mixed"


def test_unknown_layers_get_suggestions(models, films):
    with pytest.raises(LayerError, match=r"'midle' is not in flat.*middle 16×16, top 8×8.*Did you mean 'middle'"):
        layer_of(models["flat"], films, "midle")


def test_layers_without_a_grid_are_refused_with_their_shape(models, films):
    with pytest.raises(LayerError, match=r"'scores' of flat cannot carry a map.*received \(1, 3\).*top 8×8"):
        layer_of(models["flat"], films, "scores")


def test_a_missing_stride_is_an_error_that_lists_grids(models, films):
    with pytest.raises(LayerError, match=r"stride 32 for a 32-pixel input.*fine 32×32"):
        layer_of(models["flat"], films, "stride32")


def test_a_layer_called_twice_has_no_single_map(films):
    twice = conv(3, "twice", activation="relu")
    model = model_of(twice, twice, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2))
    with pytest.raises(LayerError, match="'twice' is called 2 times"):
        layer_of(model, films, "twice")


def test_one_name_in_two_models_is_ambiguous_until_the_path_is_given(films):
    def inner(name):
        inputs = keras.Input((32, 32, 3))
        return keras.Model(inputs, conv(3, "same", activation="relu")(inputs), name=name)

    model = model_of(inner("one"), inner("two"), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2))
    with pytest.raises(LayerError, match=r"ambiguous.*one/same, two/same"):
        layer_of(model, films, "same")
    assert layer_of(model, films, "one/same") == "one/same"


def test_a_model_without_convolutions_says_so(films):
    model = model_of(keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2))
    with pytest.raises(LayerError, match="no convolution"):
        layer_of(model, films, "last_conv")


def test_films_that_do_not_fit_are_refused(flat, films):
    with pytest.raises(DataError, match=r"Expected \[n, 32, 32, 3\]; received \[n, 16, 32, 3\]"):
        explain_all(flat, films[:, :16], methods="gradcam")
    with pytest.raises(DataError, match=r"Expected \[n, H, W, channels\]"):
        explain_all(flat, films[0], methods="gradcam")
    with pytest.raises(DataError, match="nothing to explain"):
        explain_all(flat, films[:0], methods="gradcam")


def test_a_coarse_grid_is_called_so(films):
    pooled = [keras.layers.MaxPooling2D(16), keras.layers.GlobalAveragePooling2D()]
    positive = {"activation": "relu", "kernel_initializer": "ones"}
    model = model_of(conv(4, "a", **positive), *pooled, keras.layers.Dense(2, kernel_initializer="ones"))
    result = explain_all(model, films, np.zeros(5, int), methods="gradcam")["gradcam"]
    assert result.values.shape == (5, 2, 2)
    assert set(result.status) == {"grid_too_coarse"}


@pytest.mark.parametrize(
    ("name", "size", "head", "levels"),
    [
        pytest.param("DenseNet121", 96, "relu", ("pool3_relu", "pool4_relu", "relu"), marks=pytest.mark.slow),
        ("ResNet50V2", 96, "post_relu", ("conv3_block4_preact_relu", "conv4_block6_preact_relu", "post_relu")),
        pytest.param(
            "ResNet50",
            96,
            "conv5_block3_out",
            ("conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
            marks=pytest.mark.slow,
        ),
        ("InceptionV3", 139, "mixed10", ("mixed2", "mixed7", "mixed10")),
        pytest.param("MobileNetV2", 96, "out_relu", None, marks=pytest.mark.slow),
    ],
)
def test_structural_roles_of_keras_applications(name, size, head, levels):
    base = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=(size, size, 3))
    inputs = keras.Input((size, size, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(base(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(pooled))
    explainer = Explainer(model, "gradcam,ms-gradcam++", batch_size=1)
    explainer.prepare((size, size, 3))
    assert explainer.layers["gradcam"].split("/")[-1] == head
    if levels:
        assert tuple(one.split("/")[-1] for one in explainer.layers["ms-gradcam++"].split(", ")) == levels
