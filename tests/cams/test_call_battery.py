"""The same calls on tf-keras-vis and on ours: return types, shapes, exceptions, and values where the peer is right."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from tf_keras_vis.gradcam import Gradcam as PeerGradcam
from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus as PeerGradcamPlusPlus
from tf_keras_vis.layercam import Layercam as PeerLayercam
from tf_keras_vis.scorecam import Scorecam as PeerScorecam
from tf_keras_vis.utils.model_modifiers import ExtractIntermediateLayer, GuidedBackpropagation, ReplaceToLinear
from tf_keras_vis.utils.scores import BinaryScore, CategoricalScore, InactiveScore

from cxrkeras.cams import GradCAM, GradCAMPlusPlus, LayerCAM, ScoreCAM
from cxrkeras.errors import CxrKerasError

pytestmark = [
    pytest.mark.filterwarnings("ignore:The structure of .inputs. does:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*maps are constant:UserWarning"),
]

GRADIENT = {"gradcam": (GradCAM, PeerGradcam), "layercam": (LayerCAM, PeerLayercam)}
ALL = {**GRADIENT, "gradcam++": (GradCAMPlusPlus, PeerGradcamPlusPlus), "scorecam": (ScoreCAM, PeerScorecam)}
RAW = {"expand_cam": False, "normalize_cam": False}
N = 5


def conv(filters, name, **more):
    return keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu", name=name, **more)


def dense(units, name, activation=None, seed=1):
    return keras.layers.Dense(
        units, activation, kernel_initializer=keras.initializers.RandomNormal(stddev=4, seed=seed), name=name
    )


def trunk(inputs, prefix=""):
    x = keras.layers.Rescaling(1 / 127.5, -1, name=f"{prefix}scale")(inputs)
    x = conv(5, f"{prefix}first")(x)
    return conv(6, f"{prefix}last")(x)


@pytest.fixture(scope="module")
def nets():
    """Kind -> model; each has convolutions `first` and `last` that tf-keras-vis can read."""
    keras.utils.set_random_seed(21)
    pool = keras.layers.GlobalAveragePooling2D
    film, small, table = keras.Input((32, 32, 3)), keras.Input((16, 16, 1)), keras.Input((2,))
    linear = keras.Model(film, dense(3, "scores")(pool()(trunk(film))), name="linear")
    both = keras.layers.Concatenate()([pool()(trunk(film)), pool()(conv(4, "other")(small))])
    with_table = keras.layers.Concatenate()([pool()(trunk(film)), table])
    seen = pool()(trunk(film))
    grid = trunk(film)
    return {
        "linear": linear,
        "softmax": keras.Model(film, dense(3, "scores", "softmax")(pool()(trunk(film))), name="softmax"),
        "sigmoid": keras.Model(film, dense(1, "scores", "sigmoid")(pool()(trunk(film))), name="sigmoid"),
        "sequential": keras.Sequential(
            [keras.Input((32, 32, 3)), conv(5, "first"), conv(6, "last"), pool(), dense(3, "scores")], name="sequential"
        ),
        "two films": keras.Model([film, small], dense(3, "scores")(both), name="two_films"),
        "film and table": keras.Model([film, table], dense(3, "scores")(with_table), name="film_and_table"),
        "two outputs": keras.Model(film, [dense(3, "kind")(seen), dense(1, "side", seed=2)(seen)], name="two_outputs"),
        "grid output": keras.Model(film, keras.layers.Conv2D(3, 1, name="each_cell")(grid), name="grid_output"),
    }


@pytest.fixture(scope="module")
def given(films):
    """Inputs of every kind of model."""
    random = np.random.default_rng(5)
    small = random.uniform(0, 255, (N, 16, 16, 1)).astype(np.float32)
    return {"two films": [films, small], "film and table": [films, random.normal(size=(N, 2)).astype(np.float32)]}


@pytest.fixture(scope="module")
def engines(nets):
    """(method, kind) -> our drop-in of a model as it is, kept over calls as a user keeps it."""
    kept = {}

    def engine(method, kind):
        if (method, kind) not in kept:
            kept[method, kind] = ALL[method][0](nets[kind])
        return kept[method, kind]

    return engine


CALLS = {
    "one class for all": ("linear", CategoricalScore(1), {}),
    "a class each": ("linear", CategoricalScore([0, 1, 2, 0, 1]), {}),
    "the last class, counted from the end": ("linear", CategoricalScore(-1), {}),
    "a softmax made linear": ("softmax", CategoricalScore([0, 1, 2, 0, 1]), {"peer_modifier": ReplaceToLinear()}),
    "the sides of a sigmoid": (
        "sigmoid",
        BinaryScore([True, False] * 2 + [True]),
        {"peer_modifier": ReplaceToLinear()},
    ),
    "one side of a sigmoid": ("sigmoid", BinaryScore(False), {"peer_modifier": ReplaceToLinear()}),
    "a sequential model": ("sequential", CategoricalScore([0, 1, 2, 0, 1]), {}),
    "a tuple of values": ("linear", lambda o: (o[0][1], o[1][2], o[2][0], o[3][1], o[4][2]), {}),
    "a list from a loop over the films": ("linear", lambda o: [row[1] for row in o], {}),
    "a tensor": ("linear", lambda o: o[:, 2] - 2 * o[:, 0], {}),
    "several values a film": ("linear", lambda o: o[:, 1:], {}),
    "one value for the batch": ("linear", lambda o: tf.reduce_mean(o[:, 1]), {}),
    "a function that reads its values": ("linear", lambda o: o[:, int(o.numpy()[0].argmax())], {}),
    "a list of one": ("linear", [CategoricalScore(2)], {}),
    "two outputs": ("two outputs", [CategoricalScore([0, 1, 2, 0, 1]), BinaryScore(False)], {}),
    "one of two outputs": ("two outputs", [InactiveScore(), BinaryScore(False)], {}),
    "functions of two outputs": ("two outputs", [lambda o: o[:, 0], lambda o: [row[0] for row in o]], {}),
    "an output with a grid": ("grid output", CategoricalScore([0, 1, 2, 0, 1]), {}),
    "two films": ("two films", CategoricalScore([0, 1, 2, 0, 1]), {}),
    "a film and a table": ("film and table", CategoricalScore([0, 1, 2, 0, 1]), {}),
    "no last ReLU": ("linear", CategoricalScore(1), {"activation_modifier": None}),
    "another last step": ("linear", CategoricalScore(1), {"activation_modifier": lambda cam: tf.abs(cam) ** 0.5}),
    "gradients turned": ("linear", CategoricalScore(1), {"gradient_modifier": lambda g: -g}),
    "gradients through NumPy": ("linear", CategoricalScore(1), {"gradient_modifier": lambda g: tf.constant(np.abs(g))}),
    "gradients rectified": ("linear", CategoricalScore(1), {"gradient_modifier": tf.nn.relu}),
    "no gradient modifier": ("linear", CategoricalScore(1), {"gradient_modifier": None}),
    "sought from the end": ("linear", CategoricalScore(1), {"penultimate_layer": -1}),
    "sought from the head's name": ("linear", CategoricalScore(1), {"penultimate_layer": "scores"}),
    "sought back to the first": ("linear", CategoricalScore(1), {"penultimate_layer": 2}),
    "by name": ("linear", CategoricalScore(1), {"penultimate_layer": "first"}),
    "a layer as it is": (
        "linear",
        CategoricalScore(1),
        {"penultimate_layer": "scale", "seek_penultimate_conv_layer": False},
    ),
    "in training mode": ("linear", CategoricalScore(1), {"training": True}),
    "guided backpropagation": (
        "linear",
        CategoricalScore(1),
        {"peer_modifier": GuidedBackpropagation(), "penultimate_layer": "first"},
    ),
    "an intermediate layer made the output": (
        "linear",
        CategoricalScore(1),
        {"peer_modifier": [ExtractIntermediateLayer("last"), ReplaceToLinear()], "penultimate_layer": "first"},
    ),
}


# what is called is read before the method is asked; of a second method, what reaches into the method itself
OF_TWO_METHODS = (
    "a class each",
    "several values a film",
    "two outputs",
    "two films",
    "no last ReLU",
    "another last step",
    "gradients turned",
    "gradients through NumPy",
    "by name",
    "guided backpropagation",
)


@pytest.mark.parametrize(
    ("method", "name"), [*(("gradcam", name) for name in CALLS), *(("layercam", name) for name in OF_TWO_METHODS)]
)
def test_the_same_call_gives_the_same_map(nets, engines, films, given, method, name):
    kind, score, arguments = CALLS[name]
    arguments = {"penultimate_layer": "last", **RAW, **arguments}
    modifier, inputs = arguments.pop("peer_modifier", None), given.get(kind, films)
    ours, peer = GRADIENT[method]
    engine = engines(method, kind) if modifier is None else ours(nets[kind], modifier)
    ours = engine(score, inputs, **arguments)
    peer = np.asarray(peer(nets[kind], modifier)(score, inputs, **arguments))
    assert isinstance(ours, np.ndarray)
    assert ours.dtype == peer.dtype == np.float32
    np.testing.assert_allclose(ours, peer, rtol=1e-5, atol=1e-5 * np.abs(peer).max())
    assert np.abs(peer).max() > 0 or name in ("gradients turned", "an output with a grid")


@pytest.mark.parametrize("method", ALL)
def test_signatures_are_the_same(method):
    """By name, order and default; the default modifiers are ReLUs on both sides."""
    ours, peer = (inspect.signature(one.__call__).parameters for one in ALL[method])
    assert list(ours) == list(peer)
    for name in ours:
        mine, theirs = ours[name].default, peer[name].default
        if callable(theirs) and theirs is not inspect.Parameter.empty and "modifier" in name:
            np.testing.assert_array_equal(mine(tf.constant([-1.0, 2.0])), theirs(tf.constant([-1.0, 2.0])))
        else:
            assert mine == theirs, name


SHAPES = {
    "an array": ("linear", lambda f: f, {}),
    "one film": ("linear", lambda f: f[0], {}),
    "a tensor": ("linear", tf.constant, {}),
    "a list of one": ("linear", lambda f: [f], {}),
    "a tuple of one": ("linear", lambda f: (f,), {}),
    "a list, not expanded": ("linear", lambda f: [f], {"expand_cam": False}),
    "not expanded": ("linear", lambda f: f, {"expand_cam": False}),
    "not normalised": ("linear", lambda f: f, {"normalize_cam": False}),
    "two films": ("two films", lambda f: f, {}),
    "two films, not expanded": ("two films", lambda f: f, {"expand_cam": False}),
    "two films, one of each": ("two films", lambda f: [one[0] for one in f], {}),
}


@pytest.mark.parametrize("method", ["gradcam", "scorecam"])
@pytest.mark.parametrize("name", SHAPES)
def test_the_same_call_returns_the_same_shapes(nets, engines, films, given, method, name):
    kind, form, arguments = SHAPES[name]
    called_with = form(given.get(kind, films))
    visualizations = engines(method, kind), ALL[method][1](nets[kind])
    ours, peer = (one(CategoricalScore(1), called_with, **arguments) for one in visualizations)
    assert isinstance(ours, list) == isinstance(peer, list)
    pairs = zip(ours, peer, strict=True) if isinstance(ours, list) else [(ours, peer)]
    for mine, theirs in pairs:
        theirs = np.asarray(theirs)
        assert isinstance(mine, np.ndarray)
        assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)


MISTAKES = {
    "a class number for a score": ("linear", {"score": 1}),
    "no score": ("linear", {"score": None}),
    "two scores for one output": ("linear", {"score": [CategoricalScore(0), CategoricalScore(1)]}),
    "one score for two outputs": ("two outputs", {"score": CategoricalScore(0)}),
    "a class the model does not have": ("linear", {"score": CategoricalScore(3)}),
    "a binary score for three units": ("linear", {"score": BinaryScore(True)}),
    "two inputs for one": ("linear", {"seed_input": lambda f: [f, f]}),
    "a film in nested lists": ("linear", {"seed_input": lambda f: f[0].tolist()}),
    "one input for two": ("two films", {"seed_input": lambda f: f[0]}),
    "a film without channels": ("linear", {"seed_input": lambda f: f[0, :, :, 0]}),
    "too many axes": ("linear", {"seed_input": lambda f: f[None]}),
    "films of another size": ("linear", {"seed_input": lambda f: f[:, :, :, :1]}),
    "an unknown layer": ("linear", {"penultimate_layer": "nowhere"}),
    "an index beyond the last": ("linear", {"penultimate_layer": 99}),
    "an index before the first": ("linear", {"penultimate_layer": -99}),
    "a layer that is none": ("linear", {"penultimate_layer": 1.5}),
    "nothing to seek": ("linear", {"penultimate_layer": 0}),
    "a layer without a grid": ("linear", {"penultimate_layer": "scores", "seek_penultimate_conv_layer": False}),
    "a score that fails": ("linear", {"score": lambda o: o[:, 0] + {}["missing"]}),
}
GRADIENT_MISTAKES = {
    "a score without a gradient": ("linear", {"score": lambda o: tf.ones(N)}),
    "no gradient option": ("linear", {"unconnected_gradients": "maybe"}),
    "a gradient modifier that fails": ("linear", {"gradient_modifier": lambda g: g.missing}),
}
SCORECAM_MISTAKES = {
    "more channels than there are": ("linear", {"max_N": 7}),
    "too few scores": ("linear", {"score": lambda o: o[:2, 0]}),
}


def fail(kind, call, model, films):
    call = dict(call)
    score, form = call.pop("score", CategoricalScore(1)), call.pop("seed_input", lambda f: f)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        kind(model)(score, form(films), **call)
    return caught.value


@pytest.mark.parametrize(
    ("method", "name"),
    [
        *(("gradcam", name) for name in MISTAKES | GRADIENT_MISTAKES),
        *(("scorecam", name) for name in MISTAKES | SCORECAM_MISTAKES),
    ],
)
def test_the_same_mistake_raises_the_same_kind(nets, films, given, method, name):
    kind, call = (MISTAKES | GRADIENT_MISTAKES | SCORECAM_MISTAKES)[name]
    ours, peer = (fail(one, call, nets[kind], given.get(kind, films)) for one in ALL[method])
    assert isinstance(ours, type(peer)), f"{type(ours)}: {ours}; peer {type(peer)}: {peer}"
    if not name.endswith("that fails"):
        assert isinstance(ours, CxrKerasError)
