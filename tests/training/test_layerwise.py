"""Layer-wise rates: who is in which group, what one step does under each optimizer, and what a file keeps of it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from cxrkeras.errors import ConfigError, WeightsError
from cxrkeras.models.backbones import backbone
from cxrkeras.models.classifier import build_classifier
from cxrkeras.settings import LayerGroupSettings, TrainingSettings
from cxrkeras.training.layer_groups import (
    HEAD,
    REST,
    configured_groups,
    freeze_unmoved,
    layer_rates,
    layerwise_decay,
    named_groups,
    strides_of,
    variable_multipliers,
)
from cxrkeras.training.layerwise import LayerwiseLR
from cxrkeras.training.routine import optimizer_arrays, restore_optimizer

MULTIPLIERS = (("a/kernel", 1.0), ("b/kernel", 0.1), ("c/kernel", 0.0))


def variables(values=((0.0, 0.0), (0.0, 0.0), (0.0, 0.0))):
    """Three variables with the paths of `MULTIPLIERS`."""
    made = []
    for (path, _), value in zip(MULTIPLIERS, values, strict=True):
        with keras.name_scope(path.split("/")[0]):
            made.append(keras.Variable(np.array(value, np.float32), name="kernel"))
    assert [v.path for v in made] == [path for path, _ in MULTIPLIERS]
    return made


def arrays(made) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(v).copy() for v in made]


def stepped(optimizer, gradients, steps=1, values=((0.0, 0.0),) * 3) -> list[np.ndarray]:
    """The variables after some steps with the same gradients."""
    made = variables(values)
    optimizer.build(made)
    for _ in range(steps):
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], made)
    return arrays(made)


GRADIENTS = [np.array([0.3, -2.0], np.float32)] * 3


def five_strides() -> keras.Model:
    """One convolution at each stride from 2 to 32, with BatchNormalization at the last, and a head."""
    films = keras.Input((96, 96, 1))
    tensor = films
    for stride in (2, 4, 8, 16, 32):
        tensor = layers.Conv2D(2, 3, strides=2, padding="same", name=f"conv{stride}")(tensor)
    tensor = layers.BatchNormalization(name="norm32")(tensor)
    return keras.Model(films, layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D()(tensor)))


def test_decay_of_a_five_stride_network_gives_the_rates_of_the_specification():
    groups = layerwise_decay(five_strides(), 0.8)
    rows = layer_rates(groups, 1e-4)
    assert [row["group"] for row in rows] == [HEAD, "stride 32", "stride 16", "stride 8", "stride 4", "stride 2"]
    assert [row["rate"] for row in rows] == [1e-4, 8e-5, 6.4e-5, 5.12e-5, 4.096e-5, 3.2768e-5]
    assert [row["parameters"] for row in rows] == [2 * 3 + 3, 2 * 2 * 9 + 2 + 4, 38, 38, 38, 2 * 9 + 2]
    assert [layer.name for layer in groups[1].layers] == ["conv32", "norm32"]


@pytest.mark.parametrize(
    ("side", "grids", "strides"),
    [
        (96, (48, 24, 12, 6, 3), (2, 4, 8, 16, 32)),  # ResNet50V2
        (299, (149, 147, 73, 71, 35, 17, 8), (2, 2, 4, 4, 8, 16, 32)),  # InceptionV3, convolutions without padding
        (160, (79, 77, 38, 36, 17, 8, 3), (2, 2, 4, 4, 8, 16, 32)),  # here 160 / 3 alone would be nearer to 64
        (64, (64, 16), (1, 4)),
    ],
)
def test_strides_are_read_from_the_grids(side, grids, strides):
    assert strides_of(side, set(grids)) == dict(zip(grids, strides, strict=True))


def test_the_classifier_s_head_is_a_group_and_preprocessing_is_none():
    classifier = build_classifier(backbone("compact"), ("a", "b"), 32)
    groups = layerwise_decay(classifier, 0.5)
    assert [(group.name, group.multiplier) for group in groups] == [
        (HEAD, 1.0), ("stride 8", 0.5), ("stride 4", 0.25), ("stride 2", 0.125),
    ]  # fmt: skip
    assert [layer.name for layer in groups[0].layers] == ["logits"]
    trained = classifier.with_frozen_statistics().trainable_variables
    assert sum(group.parameters for group in groups) == sum(int(np.prod(v.shape)) for v in trained)


def test_a_side_branch_under_the_last_grid_is_refused():
    films = keras.Input((32, 32, 1))
    whole = layers.Conv2D(2, 3, strides=2, padding="same")(films)
    squeezed = layers.Conv2D(2, 1, name="squeeze")(layers.GlobalAveragePooling2D(keepdims=True)(whole))
    pooled = layers.GlobalAveragePooling2D()(layers.Multiply()([whole, squeezed]))
    with pytest.raises(ConfigError, match=r"'squeeze'.*works on 1×1.*side branch.*layer_groups"):
        layerwise_decay(keras.Model(films, layers.Dense(2)(pooled)))
    with pytest.raises(ConfigError, match=r"0 < decay ≤ 1, received 1\.5"):
        layerwise_decay(five_strides(), 1.5)


def test_named_groups_take_layers_by_name_and_leave_the_rest_at_the_base_rate():
    model = five_strides()
    groups = named_groups(model, [(("conv2", "conv4"), 0.0), (("*32",), 0.5)])
    assert [(g.name, g.multiplier, [layer.name for layer in g.layers]) for g in groups] == [
        ("conv2, conv4", 0.0, ["conv2", "conv4"]),
        ("*32", 0.5, ["conv32", "norm32"]),
        (REST, 1.0, ["conv8", "conv16", "logits"]),
    ]
    by_path = dict(variable_multipliers(model, groups))
    assert len(by_path) == len(model.trainable_variables) == 14
    assert (by_path["conv2/bias"], by_path["norm32/gamma"], by_path["logits/kernel"]) == (0.0, 0.5, 1.0)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([(("conv5",), 1)], r"'conv5' fits no trained layer of .*Did you mean 'conv\d+'"),
        ([(("global_*",), 1)], "fits no trained layer"),
        (
            [(("conv*",), 0.5), (("logits", "conv2"), 1)],
            r"'conv2' is in two layer groups: \[conv\*\] and \[logits, conv2",
        ),
        ([(("conv2",), -1)], "0 or more. Received -1"),
        ([(("conv2",), float("nan"))], "0 or more"),
    ],
)
def test_groups_that_do_not_fit_are_refused(wanted, message):
    with pytest.raises(ConfigError, match=message):
        named_groups(five_strides(), wanted)


def test_names_that_depend_on_what_was_built_before_are_refused_unless_all_are_meant():
    films = keras.Input((8, 8, 1))
    tensor = layers.Conv2D(1, 3)(layers.Conv2D(1, 3)(films))
    model = keras.Model(films, layers.Dense(1, name="logits")(layers.Flatten()(tensor)))
    with pytest.raises(ConfigError, match=r"fits some layers 'conv2d_N'.*numbers by what the process built before"):
        named_groups(model, [((model.layers[1].name,), 0.5)])
    assert len(named_groups(model, [(("conv2d*",), 0.5)])[0].layers) == 2


def test_nested_layers_are_found_by_their_path_and_each_once():
    inner = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(1, 3, name="conv")], name="body")
    films = keras.Input((8, 8, 1))
    model = keras.Model(films, layers.Dense(1, name="logits")(layers.Flatten()(inner(films))))
    groups = named_groups(model, [(("body/conv",), 0.5)])
    assert [len(group.layers) for group in groups] == [1, 1]
    assert [m for _, m in variable_multipliers(model, groups)] == [0.5, 0.5, 1.0, 1.0]


def test_a_configuration_asks_for_one_kind_of_groups():
    classifier = build_classifier(backbone("compact"), ("a", "b"), 32)
    assert configured_groups(classifier, TrainingSettings()) is None
    decayed = configured_groups(classifier, TrainingSettings(layerwise_decay=0.5))
    assert [group.multiplier for group in decayed] == [1, 0.5, 0.25, 0.125]
    named = TrainingSettings(layer_groups=(LayerGroupSettings(layers=("conv8",), multiplier=0.2),))
    assert [group.name for group in configured_groups(classifier, named)] == ["conv8", REST]
    with pytest.raises(ConfigError, match="nothing would be trained"):
        freeze_unmoved(named_groups(classifier, [(("*",), 0.0)]))


def test_a_step_of_sgd_is_rate_times_multiplier_times_gradient_to_the_bit():
    after = stepped(LayerwiseLR(keras.optimizers.SGD(0.01), MULTIPLIERS), GRADIENTS)
    for values, (_, multiplier) in zip(after, MULTIPLIERS, strict=True):
        np.testing.assert_array_equal(values, -(np.float32(0.01) * np.float32(multiplier)) * GRADIENTS[0])


def test_adam_s_first_step_is_rate_times_multiplier_where_scaled_gradients_change_nothing():
    after = stepped(LayerwiseLR(keras.optimizers.Adam(0.01, epsilon=1e-12), MULTIPLIERS), GRADIENTS)
    for values, (_, multiplier) in zip(after, MULTIPLIERS, strict=True):
        np.testing.assert_allclose(values, -0.01 * multiplier * np.sign(GRADIENTS[0]), rtol=1e-5)
    gradients = [g * scale for g, scale in zip(GRADIENTS, (1, 0.1, 1), strict=True)]
    scaled = stepped(keras.optimizers.Adam(0.01, epsilon=1e-12), gradients)
    np.testing.assert_allclose(scaled[1], scaled[0], rtol=1e-5)


@pytest.mark.parametrize("kind", [keras.optimizers.AdamW, keras.optimizers.Adam, keras.optimizers.SGD])
def test_decoupled_weight_decay_takes_the_multiplier_too(kind):
    optimizer = LayerwiseLR(kind(0.1, weight_decay=0.01), MULTIPLIERS)
    after = stepped(optimizer, [np.zeros(2, np.float32)] * 3, values=((1.0, -3.0),) * 3)
    for values, (_, multiplier) in zip(after, MULTIPLIERS, strict=True):
        np.testing.assert_allclose(values, np.array([1.0, -3.0]) * (1 - 0.1 * multiplier * 0.01), rtol=1e-6)
    np.testing.assert_array_equal(after[2], np.float32([1.0, -3.0]))


def test_a_multiplier_of_zero_stands_even_against_gradients_that_are_not_finite():
    gradients = [GRADIENTS[0], GRADIENTS[0], np.array([np.nan, np.inf], np.float32)]
    after = stepped(LayerwiseLR(keras.optimizers.AdamW(0.1), MULTIPLIERS), gradients, 3, values=((1.0, 2.0),) * 3)
    np.testing.assert_array_equal(after[2], np.float32([1.0, 2.0]))
    assert np.isfinite(after[0]).all()


@pytest.mark.parametrize(
    "kind", [keras.optimizers.AdamW, lambda rate, **o: keras.optimizers.SGD(rate, momentum=0.9, **o)]
)
def test_several_steps_agree_with_keras_s_multi_optimizer_and_with_one_optimizer_a_variable(kind):
    rates, values = [0.05, 0.005, 0.0], ((1.0, 2.0), (3.0, -1.0), (0.5, 0.5))
    ours = stepped(LayerwiseLR(kind(0.05, weight_decay=0.1), MULTIPLIERS), GRADIENTS, 5, values)
    by_name = {path: kind(rate, weight_decay=0.1) for (path, _), rate in zip(MULTIPLIERS, rates, strict=True)}
    routes = keras.optimizers.OptimizerMap(kind(1.0), by_name)
    theirs = stepped(keras.optimizers.MultiOptimizer(routes), GRADIENTS, 5, values)
    for i, rate in enumerate(rates):
        alone = keras.Variable(np.float32(values[i]))
        single = kind(rate, weight_decay=0.1)
        single.build([alone])
        for _ in range(5):
            single.apply([keras.ops.convert_to_tensor(GRADIENTS[i])], [alone])
        np.testing.assert_allclose(ours[i], theirs[i], rtol=2e-6)
        np.testing.assert_allclose(ours[i], keras.ops.convert_to_numpy(alone), rtol=2e-6)


def test_the_base_rate_is_one_number_to_read_and_to_set():
    optimizer = LayerwiseLR(keras.optimizers.SGD(0.01), MULTIPLIERS)
    made = variables()
    optimizer.build(made)
    assert float(optimizer.learning_rate) == pytest.approx(0.01)
    optimizer.learning_rate = 0.5
    optimizer.apply([keras.ops.convert_to_tensor(g) for g in GRADIENTS], made)
    np.testing.assert_allclose(arrays(made)[1], -0.05 * GRADIENTS[1], rtol=1e-6)
    schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 1, 0.5)
    after = stepped(LayerwiseLR(keras.optimizers.SGD(schedule), MULTIPLIERS), GRADIENTS, 3)
    np.testing.assert_allclose(after[1], -0.1 * (1 + 0.5 + 0.25) * GRADIENTS[1], rtol=1e-6)


def test_keras_s_callbacks_log_and_lower_the_base_rate(compiled):
    weights, stored = compiled.get_weights(), optimizer_arrays(compiled)
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="val_auc", mode="max", factor=0.5, patience=1)
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    for callback in (plateau, scheduler):
        callback.set_model(compiled)
        callback.on_train_begin()
    for auc in (0.9, 0.8):
        logs = {"val_auc": auc}
        plateau.on_epoch_end(0, logs)
        assert logs["learning_rate"] == pytest.approx(0.004)
    assert float(compiled.optimizer.learning_rate) == pytest.approx(0.002)
    scheduler.on_epoch_begin(0)
    assert float(compiled.optimizer.learning_rate) == pytest.approx(0.001)
    compiled.set_weights(weights)
    restore_optimizer(compiled, stored)


def test_loss_scaling_wraps_it_and_skips_steps_that_are_not_finite():
    inner = LayerwiseLR(keras.optimizers.SGD(0.01), MULTIPLIERS)
    scaled = keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0)
    made = variables()
    scaled.build(made)
    scaled.apply([keras.ops.convert_to_tensor(8 * g) for g in GRADIENTS], made)
    before = arrays(made)
    np.testing.assert_allclose(before[1], -0.001 * GRADIENTS[1], rtol=1e-6)
    scaled.apply([keras.ops.convert_to_tensor(g * np.float32(np.inf)) for g in GRADIENTS], made)
    for a, b in zip(before, arrays(made), strict=True):
        np.testing.assert_array_equal(a, b)
    assert float(scaled.learning_rate) == pytest.approx(0.01)
    with pytest.raises(ConfigError, match="Wrap the LayerwiseLR in a LossScaleOptimizer"):
        LayerwiseLR(scaled, MULTIPLIERS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: keras.optimizers.SGD(0.1, global_clipnorm=1.0), "Use clipnorm or clipvalue"),
        (lambda: _built(), "has no variables yet, and this one is built"),
        (lambda: _excluding(), "exclude variables from weight decay on the LayerwiseLR"),
    ],
)
def test_optimizers_whose_meaning_would_change_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        LayerwiseLR(make(), MULTIPLIERS)


def _built():
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(variables())
    return optimizer


def _excluding():
    optimizer = keras.optimizers.AdamW(0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def test_variables_left_out_of_weight_decay_stay_out():
    optimizer = LayerwiseLR(keras.optimizers.AdamW(0.1, weight_decay=0.5), MULTIPLIERS)
    made = variables(((1.0, 1.0),) * 3)
    optimizer.exclude_from_weight_decay(var_list=made[:1])
    optimizer.build(made)
    optimizer.apply([keras.ops.zeros(2)] * 3, made)
    np.testing.assert_allclose([v[0] for v in arrays(made)], [1.0, 1 - 0.1 * 0.1 * 0.5, 1.0], rtol=1e-6)


def test_other_variables_than_the_multipliers_were_made_for_are_refused():
    made = variables()
    with pytest.raises(WeightsError, match=r"made for 3 trainable variables and met 2; the counts differ"):
        LayerwiseLR(keras.optimizers.SGD(0.1), MULTIPLIERS).build(made[:2])
    with pytest.raises(WeightsError, match=r"met 3; expected 'a/kernel', received 'b/kernel'"):
        LayerwiseLR(keras.optimizers.SGD(0.1), MULTIPLIERS).build([made[1], made[0], made[2]])


def small_model() -> keras.Model:
    keras.utils.set_random_seed(4)
    rows = keras.Input((4,))
    return keras.Model(rows, layers.Dense(1, name="top")(layers.Dense(3, name="low", activation="tanh")(rows)))


def fitted(model, steps=3) -> keras.Model:
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    for _ in range(steps):
        model.train_on_batch(x, x[:, :1])
    return model


@pytest.fixture(scope="module")
def compiled():
    """A small compiled network after three steps, its rate set anew on the way."""
    model = small_model()
    groups = named_groups(model, [(("low",), 0.25)])
    model.compile(LayerwiseLR(keras.optimizers.AdamW(0.01), variable_multipliers(model, groups)), loss="mse")
    model.optimizer.build(model.trainable_variables)
    fitted(model)
    model.optimizer.learning_rate = 0.004
    return model


def test_a_compiled_model_goes_on_from_its_file_as_if_it_had_not_been_stored(compiled, tmp_path):
    compiled.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, LayerwiseLR)
    assert loaded.optimizer.multipliers == compiled.optimizer.multipliers
    assert dict(loaded.optimizer.multipliers) == {
        "low/kernel": 0.25, "low/bias": 0.25, "top/kernel": 1.0, "top/bias": 1.0,
    }  # fmt: skip
    assert float(loaded.optimizer.learning_rate) == pytest.approx(0.004)
    for ours, theirs in zip(compiled.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    before = compiled.get_weights(), optimizer_arrays(compiled)
    for a, b in zip(fitted(compiled).get_weights(), fitted(loaded).get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    compiled.set_weights(before[0])
    restore_optimizer(compiled, before[1])


def test_the_arrays_of_a_resumed_run_restore_every_multiplier_s_state(compiled):
    weights, stored = compiled.get_weights(), optimizer_arrays(compiled)
    expected = fitted(compiled).get_weights()
    compiled.set_weights(weights)
    restore_optimizer(compiled, stored)
    for a, b in zip(expected, fitted(compiled).get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(stored) > 2 + 2 * 4, "momenta and velocities of four variables"
    compiled.set_weights(weights)
    restore_optimizer(compiled, stored)


def test_a_stored_configuration_with_other_paths_is_refused_on_load(compiled):
    config = compiled.optimizer.get_config()
    assert config["multipliers"] == [["low/kernel", 0.25], ["low/bias", 0.25], ["top/kernel", 1.0], ["top/bias", 1.0]]
    config["multipliers"][0][0] = "other/kernel"
    with pytest.raises(WeightsError, match="expected 'other/kernel', received 'low/kernel'"):
        LayerwiseLR.from_config(config).build(compiled.trainable_variables)
