"""ScoreCAM scored by functions: they see all films' answers to a channel at once, in one call per channel."""

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from tf_keras_vis.utils.scores import CategoricalScore

from cxrkeras.cams import Explainer, GradCAM, ScoreCAM
from cxrkeras.cams.scorecam.masked import unit_masks
from cxrkeras.errors import MethodError, TargetError

SIDE, CHANNELS = 16, 6


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(7)
    films = keras.Input((SIDE, SIDE, 1))
    features = keras.layers.Conv2D(CHANNELS, 3, 2, padding="same", activation="relu", name="last")(films)
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    outputs = keras.layers.Dense(3, activation="softmax", kernel_initializer=keras.initializers.RandomNormal(0, 6))
    return keras.Model(films, outputs(pooled))


@pytest.fixture(scope="module")
def films():
    films = np.random.default_rng(2).uniform(-1, 1, (4, SIDE, SIDE, 1)).astype(np.float32)
    films[2] += 3  # channels that count darkness are dead in it
    return films


def brute_force(model, films, score):
    features = keras.Model(model.input, model.get_layer("last").output)(films).numpy().astype(np.float64)
    weights = np.zeros((len(films), CHANNELS))
    for k in range(CHANNELS):
        masks = unit_masks(tf.constant(features[..., k : k + 1], tf.float32), (SIDE, SIDE)).numpy()
        weights[:, k] = np.asarray(score(model(films * masks, training=False)))
    return np.maximum(np.einsum("nhwk,nk->nhw", features, weights), 0)


def test_films_differ_in_their_live_channels(model, films):
    result = Explainer(model, "scorecam", batch_size=4).explain(films)["scorecam"]
    assert len(set(result.extras["n_live"].tolist())) > 1


SCORES = {
    "its own class": lambda outputs: tuple(outputs[i][i % 3] for i in range(len(outputs))),
    "over the mean of all films": lambda outputs: outputs[:, 1] - tf.reduce_mean(outputs[:, 1]),
    "the film before it": lambda outputs: tf.roll(outputs[:, 0], 1, 0),
}


@pytest.mark.parametrize("name", SCORES)
def test_maps_are_those_of_a_plain_loop_over_channels(model, films, name):
    maps = ScoreCAM(model)(SCORES[name], films, expand_cam=False, normalize_cam=False)
    expected = brute_force(model, films, SCORES[name])
    np.testing.assert_allclose(maps, expected, atol=1e-5 * expected.max())
    assert expected.max() > 0


def test_a_function_of_one_class_gives_the_maps_of_that_class(model, films):
    settings = {"expand_cam": False, "normalize_cam": False}
    by_class = ScoreCAM(model)(CategoricalScore(1), films, **settings)
    by_function = ScoreCAM(model)(lambda outputs: outputs[:, 1], films, **settings)
    np.testing.assert_allclose(by_function, by_class, atol=1e-6 * by_class.max())


def test_the_function_is_called_once_per_channel(model, films):
    calls = []

    def counted(outputs):
        calls.append(outputs.shape)
        return outputs[:, 1]

    ScoreCAM(model)(counted, films)
    assert len(calls) <= CHANNELS + 1
    assert set(calls) == {(4, 3)}


def test_sampled_channels_are_those_of_a_class(model, films):
    settings = {"batch_size": 4, "max_channels": 3, "seed": 5}
    ids = list("abcd")
    by_class = Explainer(model, "scorecam", **settings).explain(films, np.ones(4, int), ids)["scorecam"]
    by_function = Explainer(model, "scorecam", score=lambda o: o[:, 1], **settings).explain(films, None, ids)[
        "scorecam"
    ]
    np.testing.assert_allclose(by_function.values, by_class.values, atol=1e-6 * by_class.values.max())
    np.testing.assert_array_equal(by_function.extras["channels_used"], by_class.extras["channels_used"])
    np.testing.assert_array_equal(by_function.extras["n_live"], by_class.extras["n_live"])


def test_the_paper_s_weights_are_gains_over_a_hidden_film(model, films):
    settings = {"batch_size": 4, "weighting": "softmax"}
    by_class = Explainer(model, "scorecam", **settings).explain(films, np.ones(4, int))["scorecam"]
    by_function = Explainer(model, "scorecam", score=lambda o: o[:, 1], **settings).explain(films)["scorecam"]
    np.testing.assert_allclose(by_function.values, by_class.values, atol=1e-6 * by_class.values.max())


@pytest.mark.parametrize("score", [lambda o: o[0][1], lambda o: tf.reduce_sum(o[:, 1]), lambda o: o[:2, 1]])
def test_one_value_per_film_is_needed(model, films, score):
    with pytest.raises(TargetError, match="expected 4 targets"):
        ScoreCAM(model)(score, films)


def test_a_tolerance_needs_class_targets(model):
    with pytest.raises(MethodError, match="tolerance is for class targets"):
        Explainer(model, "scorecam", score=lambda o: o[:, 1], tolerance=0.1)


@pytest.mark.filterwarnings("ignore:.* gradcam maps are constant")
@pytest.mark.parametrize("engine", [GradCAM, ScoreCAM])
def test_threads_do_not_take_each_others_scores(model, films, engine):
    explain = engine(model)
    settings = {"expand_cam": False, "normalize_cam": False}
    alone = [explain(lambda o, c=c: o[:, c], films, **settings) for c in range(3)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda i: explain(lambda o: o[:, i % 3], films, **settings), range(18)))
    for i, maps in enumerate(together):
        np.testing.assert_allclose(maps, alone[i % 3], atol=1e-6 * max(alone[i % 3].max(), 1e-9))
