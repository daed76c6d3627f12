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


class Bare(keras.Model):
    """A subclassed model that pools by an operation of its own."""

    def __init__(self, body, pool, head):
        super().__init__(name="bare")
        self.body, self.pool, self.head = body, pool, head

    def call(self, inputs):
        return self.head(self.pool(self.body(inputs)))


POOLINGS = {
    "layer": lambda x: keras.layers.GlobalAveragePooling2D()(x),
    "kept": lambda x: keras.layers.Flatten()(keras.layers.GlobalAveragePooling2D(keepdims=True)(x)),
    "window and flatten": lambda x: keras.layers.Flatten()(keras.layers.AveragePooling2D(8)(x)),
    "window and reshape": lambda x: keras.layers.Reshape((6,))(keras.layers.AveragePooling2D(8)(x)),
    "op": lambda x: keras.ops.mean(x, axis=(1, 2)),
    "op by axis": lambda x: keras.ops.mean(keras.ops.mean(x, axis=2), axis=1),
    "sum": lambda x: keras.ops.sum(x, axis=(1, 2)) / 64,
    "einsum": lambda x: keras.ops.einsum("nhwk->nk", x) / 64,
    "tokens": lambda x: keras.layers.GlobalAveragePooling1D()(keras.layers.Reshape((64, 6))(x)),
}


@pytest.fixture(scope="module")
def pooled_by():
    """Squeeze and excite, a convolution and a head; how it is pooled is the caller's."""
    inputs = keras.Input((32, 32, 3))
    x = conv(4, "a", strides=2, activation="relu", kernel_initializer=keras.initializers.RandomNormal(seed=1))(inputs)
    gate = chain(x, keras.layers.GlobalAveragePooling2D(keepdims=True), keras.layers.Conv2D(4, 1, activation="sigmoid"))
    gated = keras.layers.Multiply(name="gated")([x, gate])
    positive = keras.initializers.RandomUniform(0, 0.02, seed=2)
    body = keras.Model(inputs, conv(6, "b", strides=2, activation="relu", kernel_initializer=positive)(gated))
    head = keras.layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(seed=3))

    def build(pooling):
        films = keras.Input((32, 32, 3))
        return keras.Model(films, head(POOLINGS[pooling](body(films))))

    def subclassed(pool):
        model = Bare(body, pool, head)
        model(np.zeros((1, 32, 32, 3), np.float32))
        return model

    return build, subclassed


@pytest.fixture(scope="module")
def pooled_maps(pooled_by, films, targets):
    """Layer and maps of the model that is pooled by a layer."""
    return explain_all(pooled_by[0]("layer"), films, targets, methods="gradcam")["gradcam"]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_last_pooling_is_the_head_however_it_is_made(pooled_by, pooled_maps, films, targets, pooling):
    result = explain_all(pooled_by[0](pooling), films, targets, methods="gradcam")["gradcam"]
    assert result.layer.split("/")[-1] == "b"
    assert (result.status == "ok").any()
    np.testing.assert_allclose(result.values, pooled_maps.values, rtol=1e-4, atol=1e-6 * pooled_maps.values.max())


@pytest.mark.parametrize("pooling", ["op", "op by axis", "sum"])
def test_a_subclassed_model_that_pools_by_operations(pooled_by, pooled_maps, films, targets, pooling):
    result = explain_all(pooled_by[1](POOLINGS[pooling]), films, targets, methods="gradcam")["gradcam"]
    assert result.layer.split("/")[-1] == "b"
    np.testing.assert_allclose(result.values, pooled_maps.values, rtol=1e-4, atol=1e-6 * pooled_maps.values.max())


def test_what_no_layer_makes_is_named_after_what_it_enters(pooled_by, pooled_maps, films, targets):
    end = keras.layers.GlobalAveragePooling2D(name="end")
    for pool, name in (
        (lambda x: keras.ops.mean(keras.ops.relu(2 * x), axis=(1, 2)), "input of Mean"),
        (lambda x: end(2 * x), "input of end"),
    ):
        result = explain_all(pooled_by[1](pool), films, targets, methods="gradcam")["gradcam"]
        assert result.layer == name
        np.testing.assert_allclose(result.values, 2 * pooled_maps.values, rtol=1e-4, atol=1e-5)


class PowerMean(keras.layers.Layer):
    def call(self, inputs):
        return keras.ops.sqrt(keras.ops.mean(keras.ops.square(inputs), axis=(1, 2)) + 1e-3)


def test_a_pooling_layer_of_the_users_own_is_taken_whole(pooled_by, films, targets):
    model = pooled_by[1](PowerMean(name="power"))
    result = explain_all(model, films, targets, methods="gradcam")["gradcam"]
    named = explain_all(model, films, targets, methods="gradcam", layer="b")["gradcam"]
    assert result.layer.split("/")[-1] == "b"
    np.testing.assert_array_equal(result.values, named.values)


def test_of_poolings_at_several_depths_the_deepest_is_the_head(films):
    inputs = keras.Input((32, 32, 3))
    pooled, x = [], inputs
    for name in ("first", "second", "third"):
        x = conv(4, name, strides=2, activation="relu")(x)
        pooled.insert(0, keras.layers.GlobalAveragePooling2D()(x))
    pooled.append(keras.layers.GlobalMaxPooling2D()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Concatenate()(pooled)))
    assert layer_of(model, films, "head_input") == "third"


def test_a_grid_of_one_cell_is_pooled_where_it_ended(films):
    """A head whose pooling has nothing left to pool: the window that left one cell is the pooling."""
    first, window, end = conv(4, "a", strides=8, activation="relu"), keras.layers.MaxPooling2D(4), conv(4, "c")
    model = model_of(first, window, end, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2))
    assert layer_of(model, films, "head_input") == "a"
    strided = conv(4, "c", strides=4, activation="relu")
    model = model_of(first, strided, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2))
    assert layer_of(model, films, "head_input") == "c"


def test_a_window_that_skips_cells_is_no_pooling(films):
    inputs = keras.Input((32, 32, 3))
    x = conv(4, "a", strides=16, activation="relu")(inputs)
    shortcut = keras.layers.MaxPooling2D(1, strides=2)(x)
    joined = keras.layers.Add(name="joined")([shortcut, conv(4, "b", strides=2, activation="relu")(x)])
    model = keras.Model(inputs, chain(joined, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)))
    assert layer_of(model, films, "head_input") == "joined"


def test_attention_between_cells_is_no_pooling(films):
    inputs = keras.Input((32, 32, 3))
    patches = conv(8, "patches", strides=8, activation="relu")(inputs)
    tokens = keras.layers.Reshape((16, 8))(patches)
    tokens = keras.layers.Add()([tokens, keras.layers.MultiHeadAttention(2, 4)(tokens, tokens)])
    heads = keras.layers.Reshape((16, 2, 4))(tokens)
    tokens = keras.layers.Reshape((16, 8))(keras.layers.Permute((1, 2, 3))(heads))
    pooled = keras.layers.GlobalAveragePooling1D()(tokens)
    assert layer_of(keras.Model(inputs, keras.layers.Dense(2)(pooled)), films, "head_input") == "patches"


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
def test_structural_roles_of_keras_applications(large_net, name, size, head, levels):
    _, explainer = large_net(name, size)
    assert explainer.layers["gradcam"] == head
    if levels:
        assert tuple(explainer.layers["ms-gradcam++"].split(", ")) == levels


def test_a_model_that_answers_with_a_grid_is_explained_before_its_answer():
    inputs = keras.Input((16, 16, 1))
    features = keras.layers.Conv2D(4, 3, activation="relu", name="features")(inputs)
    answer = keras.layers.Conv2D(3, 1, activation="softmax", kernel_initializer="ones", name="segments")
    model = keras.Model(inputs, answer(features))
    films = np.random.default_rng(0).uniform(size=(2, 16, 16, 1)).astype(np.float32)
    explainer = Explainer(model, "gradcam", score=lambda outputs: outputs[..., 1], batch_size=2)
    assert explainer.explain(films)["gradcam"].values.max() > 0
    assert explainer.layers["gradcam"] == "features"
