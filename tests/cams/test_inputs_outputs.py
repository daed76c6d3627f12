"""Models with several inputs and outputs in the engine: named, chosen, scored by functions, streamed and checked."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cxrkeras.cams import Explainer, explain_all
from cxrkeras.cams.batches import film_batch
from cxrkeras.errors import DataError, MethodError, TargetError, UnconnectedLayerError
from cxrkeras.maps import min_max, resize

N = 5


def conv(filters, name):
    return keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu", name=name)


def dense(units, name, activation=None):
    spread = keras.initializers.RandomNormal(stddev=2, seed=units)
    return keras.layers.Dense(units, activation, kernel_initializer=spread, name=name)


@pytest.fixture(scope="module")
def net():
    """A film, a smaller film and an age in; a softmax of three classes and one sigmoid unit out, all by name."""
    keras.utils.set_random_seed(4)
    film, small = keras.Input((32, 32, 3), name="film"), keras.Input((16, 16, 1), name="small")
    age = keras.Input((1,), name="age", dtype="int32")
    scaled = keras.layers.Rescaling(1 / 127.5, -1)(film)
    pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(conv(6, "top")(conv(4, "first")(scaled)))
    beside = keras.layers.GlobalAveragePooling2D()(conv(3, "beside")(keras.layers.Rescaling(1 / 255)(small)))
    aged = keras.layers.Flatten()(keras.layers.Embedding(90, 2)(age))
    joined = keras.layers.Concatenate()([pooled, beside, aged])
    outputs = {"kind": dense(3, "kind", "softmax")(joined), "acute": dense(1, "acute", "sigmoid")(joined)}
    return keras.Model({"film": film, "small": small, "age": age}, outputs, name="net")


@pytest.fixture(scope="module")
def inputs(net, films):
    """In the order of `net.inputs`: age, film, small."""
    assert [one.name for one in net.inputs] == ["age", "film", "small"]
    small = np.random.default_rng(2).uniform(0, 255, (N, 16, 16, 1)).astype(np.float32)
    return np.arange(20, 20 + N)[:, None], films, small


@pytest.fixture(scope="module")
def features(net, inputs):
    """What enters the pooling of the film, float64 [n, 8, 8, 6]."""
    top = keras.Model(net.inputs[1], net.get_layer("top").output)
    return top.predict(inputs[1], verbose=0).astype(np.float64)


def predicted(net, inputs):
    """Probabilities by name, float64."""
    named = dict(zip(("age", "film", "small"), inputs, strict=True))
    return {name: np.asarray(one, np.float64) for name, one in net(named, training=False).items()}


def kernel(net, name):
    """Of the channels of `top`."""
    return np.asarray(net.get_layer(name).get_weights()[0], np.float64)[:6]


@pytest.mark.parametrize("output", ["kind", 1])
def test_a_target_refers_to_the_output_that_was_chosen(net, inputs, features, targets, output):
    assert net.output_names == ["acute", "kind"]
    explained = explain_all(net, inputs, targets, methods="gradcam", layer="top", output=output)
    expected = np.maximum(np.einsum("nhwk,kn->nhw", features, kernel(net, "kind")[:, targets]) / 64, 0)
    np.testing.assert_allclose(explained["gradcam"].values, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(explained.probabilities, predicted(net, inputs)["kind"], atol=1e-6)
    assert explained["gradcam"].parameters["output"] == output


def test_a_choice_that_is_missing_or_wrong_names_the_outputs(net, inputs):
    for output, received in ((None, "none was named"), ("grade", "received 'grade'"), (2, "received 2")):
        message = rf"2 outputs and {received}.*0 'acute' \(5, 1\), 1 'kind' \(5, 3\); or score="
        with pytest.raises(TargetError, match=message):
            explain_all(net, inputs, methods="gradcam", output=output)


def test_scores_of_several_outputs_are_added(net, inputs, features):
    scores = (lambda z: -z[:, 0], lambda z: [row[1] for row in z])
    explained = explain_all(net, inputs, methods="gradcam", layer="top", score=scores, batch_size=2)
    weights = kernel(net, "kind")[:, 1] - kernel(net, "acute")[:, 0]
    np.testing.assert_allclose(
        explained["gradcam"].values, np.maximum(features @ weights / 64, 0), rtol=1e-4, atol=1e-6
    )
    assert explained.probabilities.shape == explained.logits.shape == (N, 0)
    np.testing.assert_array_equal(explained.targets, [-1] * N)
    probable = explain_all(
        net, inputs, methods="gradcam", layer="top", score=scores, on="probability", batch_size=N, rectify=tf.identity
    )
    p = predicted(net, inputs)
    slopes = np.eye(3)[1] - p["kind"]
    by_film = p["kind"][:, [1]] * slopes @ kernel(net, "kind").T
    by_film -= p["acute"] * (1 - p["acute"]) * kernel(net, "acute").T
    expected = np.einsum("nhwk,nk->nhw", features, by_film) / 64
    np.testing.assert_allclose(probable["gradcam"].values, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def brute_force(net, inputs, features, film, weight_of):
    """ScoreCAM of one film in plain loops: both films masked, the age left as it is."""
    total = 0
    for channel in np.moveaxis(features[film], -1, 0):
        masks = [min_max(resize(channel[None].astype(np.float32), side))[..., None] for side in (32, 16)]
        seen = inputs[0][film][None], inputs[1][film] * masks[0], inputs[2][film] * masks[1]
        total = total + weight_of(predicted(net, seen)) * channel
    return np.maximum(total, 0)


@pytest.fixture(scope="module")
def in_loops(net, inputs, features):
    """(film, score) -> ScoreCAM of it in plain loops, of one output's class and of two outputs added."""
    scores = {"chosen": lambda p: p["kind"][0, 2], "added": lambda p: p["kind"][0, 2] + 1 - p["acute"][0, 0]}
    return {(i, name): brute_force(net, inputs, features, i, score) for i in (0, 3) for name, score in scores.items()}


@pytest.mark.parametrize("pack_size", [2, 7])
def test_scorecam_masks_every_input_with_a_grid(net, inputs, in_loops, pack_size):
    settings = {"methods": "scorecam", "layer": "top", "pack_size": pack_size}
    chosen = explain_all(net, inputs, [2] * N, output="kind", **settings)["scorecam"].values
    scores = (lambda s: 1 - s[:, 0], lambda p: p[:, 2])
    added = explain_all(net, inputs, score=scores, batch_size=N, **settings)["scorecam"].values
    for film in (0, 3):
        expected, both = in_loops[film, "chosen"], in_loops[film, "added"]
        np.testing.assert_allclose(chosen[film], expected, rtol=1e-3, atol=1e-4 * expected.max())
        np.testing.assert_allclose(added[film], both, rtol=1e-3, atol=1e-4 * both.max())


@pytest.fixture(scope="module")
def by_twos(net):
    """An explainer of two films a batch."""
    return Explainer(net, "gradcam,eigencam", output="kind", batch_size=2)


@pytest.fixture(scope="module")
def whole(net, inputs, targets):
    """All films explained in one batch."""
    return explain_all(net, inputs, targets, methods="gradcam,eigencam", output="kind", batch_size=N)


@pytest.mark.parametrize("form", ["tuple", "stream", "callable", "batches"])
def test_inputs_come_as_a_tuple_or_a_stream_of_tuples(by_twos, whole, inputs, targets, form):
    cuts = [slice(0, 1), slice(1, 4), slice(4, 5)]
    parts = [tuple(one[cut] for one in inputs) for cut in cuts]
    if form == "batches":
        stream = by_twos.explain_batches(zip(parts, (targets[cut] for cut in cuts), strict=True))
        maps = {name: np.concatenate([part[name].values for part in stream]) for name in ("gradcam",)}
    else:
        given = {"tuple": inputs, "stream": iter(parts), "callable": lambda: iter(parts)}[form]
        maps = {name: result.values for name, result in by_twos.explain(given, targets).results.items()}
    for name, values in maps.items():
        np.testing.assert_allclose(values, whole[name].values, rtol=1e-4, atol=1e-6)
    assert by_twos.traces == 1


def test_every_input_counts_in_the_name_of_a_film(net, inputs):
    """A film's draw must differ when only its age does."""
    other = (inputs[0] + 1, *inputs[1:])
    assert not set(film_batch(inputs).film_ids()) & set(film_batch(other).film_ids())
    assert film_batch(inputs).part(2, 3).film_ids() == film_batch(inputs).film_ids()[2:3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i[1], r"takes 3 inputs. Expected a tuple of one array each, for 'age' \[n, 1\].*received 1"),
        (lambda i: i[:2], "takes 3 inputs.*received 2"),
        (lambda i: (i[0], i[2], i[1]), r"input 'film' does not fit net. Expected \[n, 32, 32, 3\]; received \[n, 16"),
        (lambda i: (i[0][:3], *i[1:]), r"one row per film.*\(3, 1\), \(5, 32, 32, 3\)"),
        (lambda i: (), "do not fit together"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_by_name(net, inputs, change, message):
    with pytest.raises(DataError, match=message):
        explain_all(net, change(inputs), methods="gradcam", output="kind")


def test_a_list_stays_a_stream(flat, films):
    explained = explain_all(flat, [films[:2], films[2:]], methods="gradcam")
    assert len(explained) == N


def test_a_subclassed_model_takes_a_list_and_answers_in_a_dict(inputs, films, targets):
    class Both(keras.Model):
        def __init__(self):
            super().__init__(name="both")
            self.first, self.left, self.right = conv(4, "first"), dense(3, "left"), dense(2, "right")

        def call(self, values):
            film, ages = values
            pooled = keras.ops.mean(self.first(film), (1, 2)) / 100
            seen = keras.ops.concatenate([pooled, keras.ops.cast(ages, "float32")], -1)
            return {"b": self.right(seen), "a": self.left(seen)}

    model = Both()
    explained = explain_all(model, (films, inputs[0]), targets, methods="gradcam", output="a", rectify=tf.identity)
    features = np.asarray(model.first(films), np.float64)
    weights = np.asarray(model.left.get_weights()[0], np.float64)[:4, targets]
    expected = np.einsum("nhwk,kn->nhw", features, weights) / 100 / 256
    np.testing.assert_allclose(explained["gradcam"].values, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(TargetError, match=r"0 'a'.*1 'b'"):
        explain_all(model, (films, inputs[0]), methods="gradcam")
    with pytest.raises(TargetError, match="each of the model's 2 outputs; received 1"):
        explain_all(model, (films, inputs[0]), methods="gradcam", score=lambda z: z[:, 0], batch_size=N)


def test_an_output_with_a_grid_takes_a_score_function(films):
    """The mean over the cells of z is linear in the features, so Grad-CAM is the weighted features over hw."""
    film = keras.Input((32, 32, 3))
    top = conv(4, "top")(film)
    cells = keras.Model(film, keras.layers.Conv2D(2, 1, activation="softmax", name="cells")(top), name="cells")
    features = keras.Model(film, top).predict(films, verbose=0).astype(np.float64)
    weights = np.asarray(cells.get_layer("cells").get_weights()[0], np.float64)[0, 0, :, 1]
    settings = {"methods": "gradcam,scorecam", "layer": "top", "batch_size": N}
    explained = explain_all(cells, films, score=lambda z: z[..., 1], **settings)
    expected = np.maximum(features @ weights / 256, 0)
    np.testing.assert_allclose(explained["gradcam"].values, expected, rtol=1e-4, atol=1e-5 * expected.max())
    assert explained.probabilities.shape == (N, 0)
    # the two probabilities of a cell add up to 1, and so do the weights of every channel
    other = explain_all(cells, films, score=lambda z: z[..., 0], **settings)["scorecam"].values
    np.testing.assert_allclose(explained["scorecam"].values + other, features.sum(-1), rtol=1e-4)
    with pytest.raises(TargetError, match="Give a score function for it"):
        explain_all(cells, films, methods="gradcam", layer="top")


def test_a_score_function_sees_the_whole_batch_and_may_loop(flat, films, targets):
    seen = []

    def score(z):
        seen.append(z.numpy().shape)
        return [row[int(c)] for row, c in zip(z, targets, strict=True)]

    explainer = Explainer(flat, "gradcam,layercam", score=score, batch_size=N)
    maps = explainer.explain(films)
    expected = explain_all(flat, films, targets, methods="gradcam,layercam")
    for method in ("gradcam", "layercam"):
        np.testing.assert_allclose(maps[method].values, expected[method].values, rtol=1e-5, atol=1e-7)
    explainer.explain(films)
    assert seen == [(N, 3)] * 2
    assert explainer.traces == 1
    np.testing.assert_allclose(maps.probabilities, expected.probabilities, atol=1e-6)
    with pytest.raises(TargetError, match="every batch has to be full"):
        explainer.explain(films[:2])


def test_what_a_score_raises_comes_out_as_it_was(flat, films):
    class Mine(Exception):
        pass

    def score(z):
        raise Mine("as it was")

    with pytest.raises(Mine, match="as it was"):
        explain_all(flat, films, methods="gradcam", score=score, batch_size=N)
    with pytest.raises(TargetError, match="expected 5 targets, one per image; received 3 scores"):
        explain_all(flat, films, methods="gradcam", score=lambda z: z[:3, 0], batch_size=N)
    with pytest.raises(UnconnectedLayerError, match="goes through NumPy has no gradient"):
        explain_all(flat, films, methods="gradcam", score=lambda z: z.numpy()[:, 0], batch_size=N)


def test_one_score_for_the_batch_is_shared_out(flat, films):
    one = explain_all(flat, films, methods="gradcam", score=lambda z: tf.reduce_sum(z[:, 1]), batch_size=N)
    each = explain_all(flat, films, [1] * N, methods="gradcam")
    np.testing.assert_allclose(one["gradcam"].values, each["gradcam"].values, rtol=1e-5, atol=1e-7)


def test_training_mode_is_recorded_and_changes_nothing_in_the_model(flat, films, targets):
    before = [np.array(weight) for weight in flat.get_weights()]
    drawn = explain_all(flat, films, targets, methods="gradcam", layer="fine", training=True)
    plain = explain_all(flat, films, targets, methods="gradcam", layer="fine")
    assert drawn["gradcam"].parameters["training"] is True
    assert "training" not in plain["gradcam"].parameters
    assert np.abs(drawn["gradcam"].values - plain["gradcam"].values).max() > 0
    for old, new in zip(before, flat.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_ig_reads_one_input_and_a_class(net, inputs, flat, films):
    with pytest.raises(MethodError, match="ig reads one input"):
        explain_all(net, inputs, methods="ig", output="kind")
    with pytest.raises(MethodError, match="ig explains a class"):
        explain_all(flat, films, methods="ig", score=lambda z: z[:, 0])
