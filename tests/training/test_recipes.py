"""Recipes: the settings they fill in, and what a training decides from its validation AUC, resumed or not."""

from __future__ import annotations

import types

import keras
import numpy as np
import pytest
import yaml

from cxrkeras.config import Config, dump_yaml, load_config, overridden, parse_config
from cxrkeras.data.films import FilmStore
from cxrkeras.data.filmset import FilmSet
from cxrkeras.errors import ConfigError
from cxrkeras.events import Reporter
from cxrkeras.models.backbones import backbone
from cxrkeras.models.classifier import build_classifier
from cxrkeras.training import routine
from cxrkeras.training.gains import best_epoch, is_exhausted, plateau_rate
from cxrkeras.training.routine import Progress, epoch_order, train_two_stages


def of(**training) -> Config:
    return load_config(None, {"training": training})


def test_convirt_is_the_published_protocol():
    config = of(recipe="convirt")
    training = config.training
    assert (training.epochs[0], training.head_steps, training.learning_rate) == (1, 200, (1e-3, 1e-4))
    assert (training.weight_decay, training.batch_size, training.patience, training.keep) == (1e-6, 64, 10, "best")
    assert (training.plateau.factor, training.plateau.patience) == (0.5, 3)
    assert (config.model.dropout, config.data.resize) == (0.2, "pad")
    assert config.recipe_departures == []


def test_what_the_user_gives_stays_and_is_told(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("training: {recipe: convirt, batch_size: 8, plateau: {patience: 5}, epochs: [7, 9]}\n")
    config = load_config(file, {"model": {"dropout": 0.0}})
    assert (config.training.batch_size, config.model.dropout, config.training.head_steps) == (8, 0.0, 200)
    assert config.training.epochs == (1, 9), "the first stage is one epoch of 200 steps"
    assert config.recipe_departures == [
        "dropout 0.0 (recipe: 0.2)",
        "batch_size 8 (recipe: 64)",
        "plateau {'factor': 0.5, 'patience': 5} (recipe: {'factor': 0.5, 'patience': 3})",
    ]


def test_a_stored_configuration_reads_back_as_itself_and_another_recipe_starts_from_what_was_given():
    config = of(recipe="convirt", seed=3)
    assert parse_config(yaml.safe_load(dump_yaml(config)), "stored") == config
    linear = overridden(config, {"training": {"recipe": "linear", "epochs": (4, 4)}})
    assert linear == of(recipe="linear", seed=3, epochs=(4, 0))
    assert (linear.training.batch_size, linear.training.weight_decay, linear.data.resize) == (32, None, "squash")
    shared = Config(training=of(batch_size=8).training.model_copy(update={"recipe": "convirt"}))
    assert (shared.training.batch_size, shared.training.head_steps, shared.model.dropout) == (8, 200, 0.2)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"recipe": "linear", "epochs": (0, 3)}, "trains the first stage only. Expected epochs N,0"),
        ({"head_steps": 9, "epochs": (2, 3)}, "Expected epochs 1,N, received 2,3"),
        ({"layerwise_decay": 0.8, "layer_groups": [{"layers": ["a"], "multiplier": 1}]}, "expected one of them"),
        ({"layer_groups": [{"layer": ["a"], "multiplier": 1}]}, "Did you mean 'layers'"),
        ({"plateau": {"factr": 0.5}}, "Did you mean 'factor'"),
        ({"layerwise_decay": 0}, "greater than 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(training, message):
    with pytest.raises(ConfigError, match=message):
        of(**training)


def test_the_rate_falls_where_keras_s_plateau_callback_lowers_it_and_training_ends_after_the_last_gain():
    rng = np.random.default_rng(0)
    for factor, patience in ((0.5, 3), (0.1, 1), (0.5, 2)):
        # Keras takes whatever comes first for the best, a NaN too
        aucs = [0.5, *rng.choice([0.5, 0.6, 0.7, 0.8, np.nan], size=25)]
        plateau = keras.callbacks.ReduceLROnPlateau(
            monitor="val_auc", mode="max", factor=factor, patience=patience, min_delta=0
        )
        model = types.SimpleNamespace(optimizer=keras.optimizers.SGD(1.0), stop_training=False)
        plateau.set_model(model)
        plateau.on_train_begin()
        best, since, ended = -np.inf, 0, None
        for epoch, auc in enumerate(aucs):
            assert plateau_rate(1.0, aucs[:epoch], factor, patience) == pytest.approx(
                float(model.optimizer.learning_rate), rel=1e-5
            )
            plateau.on_epoch_end(epoch, {"val_auc": auc})
            best, since = (auc, 0) if auc > best else (best, since + 1)
            ended = epoch if ended is None and since >= patience else ended
            assert is_exhausted(aucs[: epoch + 1], patience) == (since >= patience)
        assert ended is not None
    assert not is_exhausted([], 1)
    assert is_exhausted([np.nan], 1)
    assert plateau_rate(1e-4, [0.9, 0.8, 0.9, 0.8, 0.7, 0.6, 0.5], 0.5, 3) == 2.5e-5, "an equal AUC is no gain"


def test_best_is_the_highest_auc_and_the_earliest_of_ties():
    assert best_epoch({1: 0.6, 2: 0.9, 3: 0.9, 4: float("nan")}) == 2
    assert best_epoch({}) is None
    assert best_epoch({1: float("nan")}) is None


def test_an_epoch_of_steps_goes_through_the_films_pass_by_pass():
    order = epoch_order(5, 1, 1, 12)
    np.testing.assert_array_equal(order[:5], epoch_order(5, 1, 1))
    assert [sorted(order[:5]), sorted(order[5:10])] == [list(range(5))] * 2
    assert (order[:5] != order[5:10]).any()
    assert len(order) == 12


class Kept(Reporter):
    """Events and notices that are only remembered, a checkpoint with the weights it stands for."""

    def __init__(self) -> None:
        self.records, self.checkpoints, self.notices = [], {}, []

    def notice(self, text):
        self.notices.append(text)

    def epoch(self, record, probabilities):
        self.records.append(record)

    def checkpoint(self, epoch, optimizer, predict):
        self.checkpoints[epoch] = optimizer, self.classifier.model.get_weights()


@pytest.fixture(scope="module")
def films(phantom_folder):
    store = FilmStore(sorted(phantom_folder.rglob("*.png"))[:24], (32, 32))
    ids = np.array([str(i) for i in range(24)])
    everything = FilmSet(store, np.arange(24), np.arange(24) % 2, ids, ids)
    return everything.take(np.arange(12)), everything.take(np.arange(12, 24))


@pytest.fixture
def fit(films, tiny_backbone, monkeypatch):
    """Train the tiny network, its validation AUC by epoch as told."""

    def trained(aucs=None, progress=None, weights=None, batch_norm="inference", **training):
        if aucs is not None:
            monkeypatch.setattr(routine._Job, "_validation_auc", lambda job, probabilities, epoch: aucs[epoch - 1])
        kept = Kept()
        kept.classifier = build_classifier(backbone(tiny_backbone), ("a", "b"), 32, seed=5)
        kept.before = kept.classifier.model.get_weights()
        if weights is not None:
            kept.classifier.model.set_weights(weights)
        settings = of(**{"batch_size": 4, "learning_rate": (1e-2, 1e-2), "checkpoint_every": 1, **training}).training
        arguments = kept.classifier, *films, settings, batch_norm, kept
        train_two_stages(*arguments, resume=progress, reporter=kept)
        return kept

    return trained


@pytest.mark.parametrize("augment", [False, True], ids=["cached features", "films"])
def test_the_head_gets_exactly_the_steps_asked_for(fit, augment):
    kept = fit(epochs=(1, 0), head_steps=7, augment=augment)
    iterations, *_ = kept.checkpoints[1][0].values()
    assert (int(iterations), len(kept.records)) == (7, 1)


def test_the_last_stage_slows_down_and_stops_by_its_own_validation_auc(fit):
    settings = {"epochs": (1, 4), "plateau": {"factor": 0.5, "patience": 1}, "patience": 2, "keep": "best"}
    kept = fit([0.99, 0.5, 0.5, 0.4, 0.9], **settings)
    assert [record.learning_rate for record in kept.records] == [1e-2, 1e-2, 1e-2, 5e-3]
    assert list(kept.checkpoints) == [1, 4], "the first stage's head is the best, and the last stands beside it"
    assert kept.notices == ["stopped after epoch 4: 2 epochs without a gain in validation AUC."]


def test_keep_best_leaves_a_checkpoint_at_every_gain_and_at_the_end(fit):
    assert list(fit([0.5, 0.6, 0.6, 0.7, 0.1], epochs=(5, 0), keep="best").checkpoints) == [1, 2, 4, 5]


def test_a_resumed_training_decides_as_an_uninterrupted_one(fit):
    """From the checkpoint at 3, inside a wait for the plateau that began before it."""
    aucs = [0.99, 0.6, 0.5, 0.4, 0.3]
    settings = {"epochs": (1, 9), "checkpoint_every": 3, "plateau": {"factor": 0.5, "patience": 2}, "patience": 3}
    settings |= {"layerwise_decay": 0.5, "weight_decay": 1e-2}
    whole = fit(aucs, **settings)
    rates = [record.learning_rate for record in whole.records]
    assert rates == [1e-2] * 4 + [5e-3]
    optimizer, weights = whole.checkpoints[3]
    resumed = fit(aucs, progress=Progress(3, optimizer, tuple(aucs[:3])), weights=weights, **settings)
    assert [record.learning_rate for record in resumed.records] == rates[3:]
    for a, b in zip(whole.checkpoints[5][1], resumed.checkpoints[5][1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_training_stopped_for_good_stays_stopped_when_resumed(fit):
    aucs = [0.6, 0.5, 0.4]
    ended = fit(aucs, epochs=(5, 0), patience=2)
    assert [record.epoch for record in ended.records] == [1, 2, 3]
    optimizer, weights = ended.checkpoints[3]
    again = fit(aucs, epochs=(5, 0), patience=2, progress=Progress(3, optimizer, tuple(aucs)), weights=weights)
    assert again.records == []


def test_a_frozen_group_stands_still_statistics_and_all(fit):
    groups = [{"layers": ["conv2", "norm2"], "multiplier": 0}]
    kept = fit(epochs=(0, 1), layer_groups=groups, weight_decay=0.5, batch_norm="train")
    after = kept.classifier.model.get_weights()
    paths = [v.path for v in kept.classifier.model.weights]
    same = {path for path, a, b in zip(paths, kept.before, after, strict=True) if np.array_equal(a, b)}
    names = ("conv2/kernel", "conv2/bias", "norm2/gamma", "norm2/beta", "norm2/moving_mean", "norm2/moving_variance")
    assert same >= set(names)
    assert {"conv4/kernel", "norm4/moving_mean", "norm4/gamma", "logits/kernel"}.isdisjoint(same)


def test_no_epochs_at_all_leave_checkpoint_zero_as_loaded(fit):
    kept = fit(epochs=(0, 0))
    assert (kept.records, list(kept.checkpoints)) == ([], [0])
    optimizer, weights = kept.checkpoints[0]
    assert optimizer == {}
    for a, b in zip(kept.before, weights, strict=True):
        np.testing.assert_array_equal(a, b)
